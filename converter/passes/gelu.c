/* Gelu, Silu's relatives and what else exporters spell out. */
#include "pass.h"

/* Names of constants in the patterns below and the numbers they must be. A name stands for one value of the graph: equal
** numbers in one pattern have names of their own. */
static const struct {
  const char *name;
  double value;
} numbers[] = {{"half", 0.5},
               {"one", 1},
               {"one2", 1},
               {"six2", 6},
               {"two", 2},
               {"three", 3},
               {"six", 6},
               {"sixth", 1.0 / 6},
               {"root", 1.4142135623730951},
               {"inverse", 0.70710678118654757},
               {"k", 0.044715},
               {"s", 0.79788456080286536},
               {"zero", 0}};

static bool numbers_match(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    mien_value c = h->bound(r, numbers[i].name);
    if (c != MIEN_NO_VALUE && !pass_is_scalar(r, c, numbers[i].value)) return false;
  }
  return true;
}

static mien_status to_gelu(mien_rewriter *r, const char *approximate) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), z;
  if (!pass_is_f32(r, x) || !pass_same_type(h->type(r, x), h->type(r, y)) || !numbers_match(r)) return MIEN_OK;
  MIEN_TRY(h->begin_at(r, "Gelu", 20, &x, 1));
  MIEN_TRY(h->set_s(r, "approximate", approximate));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}
static mien_status fuse_gelu(mien_rewriter *r) { return to_gelu(r, "none"); }

/* x * (1 + erf(x / sqrt 2)), whose half an optimiser has moved into the weights of the next product: twice a Gelu. */
static mien_status fuse_gelu_doubled(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), two, z;
  if (!pass_is_f32(r, x) || !pass_same_type(h->type(r, x), h->type(r, y)) || !numbers_match(r)) return MIEN_OK;
  /* A half that follows is fuse-gelu's. */
  mien_node_id next = h->user(r, y, 0);
  double factor;
  for (int i = 0; next != MIEN_NO_NODE && h->uses(r, y) == 1 && i < 2; i++)
    if ((pass_is_op(r, next, "Mul") || pass_is_op(r, next, "Div")) && pass_scalar(r, pass_in(r, next, i), &factor))
      return MIEN_OK;
  MIEN_TRY(h->begin_at(r, "Gelu", 20, &x, 1));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(h->constant_floats(r, &(float){2}, &(mien_type){.dtype = MIEN_F32}, &two));
  MIEN_TRY(PASS_ADD(r, "Mul", &z, z, two));
  return h->replace(r, y, z);
}

static mien_status fuse_gelu_tanh(mien_rewriter *r) { return to_gelu(r, "tanh"); }

static mien_status fuse_hard_swish(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), z;
  if (!pass_is_f32(r, x) || !pass_same_type(h->type(r, x), h->type(r, y)) || !numbers_match(r)) return MIEN_OK;
  if (h->bound(r, "g") != MIEN_NO_VALUE) {
    mien_node_id gate = h->producer(r, h->bound(r, "g"));
    if (!pass_is_near(h->attr_f(r, gate, "alpha"), 1.0 / 6) || !pass_is_near(h->attr_f(r, gate, "beta"), 0.5))
      return MIEN_OK;
  }
  MIEN_TRY(h->begin_at(r, "HardSwish", 14, &x, 1));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

/* (1 + erf(x / sqrt 2)), x and 1/2 multiplied in any order. */
#define ORDERS(E)                                                                                                    \
  "Mul(Mul(x, " E "), #half)", "Mul(Mul(x, #half), " E ")", "Mul(x, Mul(" E ", #half))", "Div(Mul(x, " E "), #two)", \
      "Mul(Div(x, #two), " E ")", "Mul(x, Div(" E ", #two))"
#define ERF1 "Add(Erf(Div(x, #root)), #one)"
#define ERF2 "Add(Erf(Mul(x, #inverse)), #one)"
static const char *const erf_patterns[] = {ORDERS(ERF1), ORDERS(ERF2), NULL};
static const char *const doubled_patterns[] = {"Mul(x, " ERF1 ")", "Mul(x, " ERF2 ")", NULL};

#define TANH(INNER) "Add(Tanh(" INNER "), #one)"
#define CUBE1 "Mul(Add(x, Mul(Pow(x, #three), #k)), #s)"
#define CUBE2 "Mul(Add(x, Mul(Mul(Mul(x, x), x), #k)), #s)"
#define CUBE3 "Mul(Mul(x, #s), Add(Mul(Mul(x, x), #k), #one2))"
#define CUBE4 "Mul(x, Mul(Add(Mul(Mul(x, x), #k), #one2), #s))"
#define CUBE5 "Mul(Mul(x, Add(Mul(Mul(x, x), #k), #one2)), #s)"
#define CUBE6 "Mul(Add(x, Mul(x, Mul(Mul(x, x), #k))), #s)"
static const char *const tanh_patterns[] = {ORDERS(TANH(CUBE1)),
                                            ORDERS(TANH(CUBE2)),
                                            ORDERS(TANH(CUBE3)),
                                            ORDERS(TANH(CUBE4)),
                                            ORDERS(TANH(CUBE5)),
                                            ORDERS(TANH(CUBE6)),
                                            NULL};

#define CLIP "Clip(Add(x, #three), #zero, #six2)"
static const char *const hard_swish_patterns[] = {"Mul(x, g:HardSigmoid(x))",      "Div(Mul(x, " CLIP "), #six)",
                                                  "Mul(x, Div(" CLIP ", #six))",   "Mul(Mul(x, " CLIP "), #sixth)",
                                                  "Mul(x, Mul(" CLIP ", #sixth))", NULL};

const mien_rewrite mien_pass_gelu[] = {{.name = "fuse-gelu",
                                        .doc = "x / 2 * (1 + erf(x / sqrt 2)) -> Gelu",
                                        .stage = MIEN_STAGE_CANONICALISE,
                                        .patterns = erf_patterns,
                                        .apply = fuse_gelu},
                                       {.name = "fuse-gelu-doubled",
                                        .doc = "x * (1 + erf(x / sqrt 2)) -> Gelu * 2",
                                        .stage = MIEN_STAGE_CANONICALISE,
                                        .after = "fuse-gelu",
                                        .patterns = doubled_patterns,
                                        .apply = fuse_gelu_doubled},
                                       {.name = "fuse-gelu-tanh",
                                        .doc = "x / 2 * (1 + tanh(...)) -> Gelu of approximation tanh",
                                        .stage = MIEN_STAGE_CANONICALISE,
                                        .patterns = tanh_patterns,
                                        .apply = fuse_gelu_tanh},
                                       {.name = "fuse-hard-swish",
                                        .doc = "x * clip(x + 3, 0, 6) / 6 -> HardSwish",
                                        .stage = MIEN_STAGE_CANONICALISE,
                                        .patterns = hard_swish_patterns,
                                        .apply = fuse_hard_swish},
                                       {.name = NULL}};
