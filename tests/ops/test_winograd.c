/* mien.Conv by Winograd's method, every algorithm forced, against a double-precision reference: every size of edge
** tile, channels that do not fill vectors, pads, padding values, epilogues, batches; the same bits on any number of threads
** and in any batch; every instruction set. */
#include "ops/conv.h"
#include "ops/isa.h"
#include "ops/reference.h"

extern const mien_op mien_ops_fused_Conv[];

/* Of one layer, relative to the largest sum of the map. */
#define TOLERANCE 1e-5

static mien_status winograd_prepare(mien_node *n, const char *name) {
  conv_state *s = mien_state(n);
  mien_window w;
  mien_type y;
  mien_type weight;
  int64_t w_columns;
  MIEN_TRY(conv_weight_type(n, &weight, &w_columns));
  MIEN_TRY(conv_infer(n, &mien_in(n, 0)->type, &weight, true, MIEN_WINDOW_DILATIONS, &w, &y));
  conv_problem_make(&s->p, &w, &mien_in(n, 0)->type, &weight, 1, true);
  s->p.w_columns = w_columns;
  s->p.constant = true;
  MIEN_TRY(epilogue_prepare(n, &s->epilogue));
  for (size_t i = 0; i < sizeof conv_algorithms / sizeof *conv_algorithms; i++)
    if (strcmp(conv_algorithms[i].name, name) == 0 && conv_algorithms[i].applies(&s->p)) {
      MIEN_TRY(conv_prepare_as(n, s, &conv_algorithms[i]));
      /* Weights that are read as they are in panels are read where they lie. */
      const bool as_they_are = s->raw || strcmp(name, "product") == 0;
      const bool there = s->packed == (const float *)mien_in(n, 1)->data;
      assert_int_equal(there, as_they_are && w_columns == mien_math_of(n)->gemm_columns);
      return MIEN_OK;
    }
  return MIEN_INTERNAL;
}
#define X(name, title, size, stride, raw) \
  static mien_status prepare_##name(mien_node *n) { return winograd_prepare(n, #name); }
CONV_WINOGRADS(X)
#undef X
static mien_status prepare_product(mien_node *n) { return winograd_prepare(n, "product"); }

/* The algorithms by name, and the one that they are compared with; as operators that force them. */
typedef struct winograd_op {
  const char *name;
  int stride; /* of convolutions that it is for */
  mien_status (*prepare)(mien_node *n);
} winograd_op;
#define X(name, title, size, stride, raw) {#name, stride, prepare_##name},
static const winograd_op forced[] = {CONV_WINOGRADS(X){"product", 0, prepare_product}};
#undef X
enum { NAMES = sizeof forced / sizeof *forced, DIRECT = NAMES - 1, FORCED = DIRECT };

static void winograd_register(mien_env *env, mien_op ops[NAMES + 1]) {
  mien_error error = {0};
  for (int i = 0; i < NAMES; i++) {
    ops[i] = mien_ops_fused_Conv[0];
    ops[i].domain = "test";
    ops[i].name = forced[i].name;
    ops[i].prepare = forced[i].prepare;
  }
  ops[NAMES] = (mien_op){.name = NULL};
  assert_int_equal(mien__registry_add(env, ops, NULL, NULL, &error), MIEN_OK);
}

typedef struct winograd_case {
  int64_t n, c, m, in[2], pads[4];
  const char *act; /* NULL: bias alone */
  bool act_last, pad;
  int64_t stride;  /* 0: of every algorithm */
  int64_t columns; /* of W's panels; 0: W lies as ONNX says */
} winograd_case;

typedef struct winograd_call {
  op_call c;
  reference_conv r;
  reference_tail tail;
  float *x, *w, *plain; /* plain: W outside panels, for the reference; NULL: it is w */
  int64_t strides[2];
  int64_t count; /* elements of Y */
} winograd_call;

/* The weights of a call into panels; the reference keeps its own. */
static void winograd_to_panels(winograd_call *call, int64_t columns) {
  const reference_conv *r = &call->r;
  mien_tensor *t = &call->c.in[1];
  call->plain = call->w;
  t->data = call->w = calloc(1, t->bytes + 1);
  assert_non_null(call->w);
  for (int64_t i = 0; i < r->m * r->c * 9; i++) {
    const int64_t m = i / 9 / r->c, c = i / 9 % r->c, tap = i % 9;
    call->w[((m / columns * 9 + tap) * r->c + c) * columns + m % columns] = r->w[i];
  }
  t->type = op_type(MIEN_F32, 5, OP_DIMS(r->m / columns, 3, 3, r->c, columns));
}

/* Fills *call, which must stay where it is. */
static void winograd_make(winograd_call *call, const winograd_case *k, uint64_t seed) {
  *call = (winograd_call){.c = {.domain = "test", .version = 1}};
  op_call *c = &call->c;
  reference_conv *r = &call->r;
  const int64_t stride = k->stride ? k->stride : 1;
  *r = (reference_conv){.n = k->n, .c = k->c, .m = k->m, .group = 1, .last = true, .in = {1, k->in[0], k->in[1]}};
  for (int d = 0; d < 3; d++) {
    r->kernel[d] = d ? 3 : 1, r->stride[d] = d ? stride : 1, r->dilation[d] = r->out[d] = 1;
    if (!d) continue;
    r->before[d] = k->pads[d - 1];
    r->out[d] = (k->in[d - 1] + k->pads[d - 1] + k->pads[d + 1] - 3) / stride + 1;
  }
  call->count = k->n * r->out[1] * r->out[2] * k->m;
  op_attr_i(c, "channels_last", 1);
  op_attr_ints(c, "pads", k->pads, 4);
  call->strides[0] = call->strides[1] = stride;
  op_attr_ints(c, "strides", call->strides, 2);
  r->x = call->x = isa_in(c, 4, OP_DIMS(k->n, k->in[0], k->in[1], k->c), &seed);
  r->w = call->w = isa_in(c, 4, OP_DIMS(k->m, k->c, 3, 3), &seed);
  call->tail = (reference_tail){.act = k->act ? k->act : "", .alpha = (double)-0.25f, .beta = (double)0.5f};
  call->tail.act_last = k->act_last;
  op_attr_s(c, "activation", call->tail.act);
  op_attr_f(c, "alpha", -0.25f);
  op_attr_f(c, "beta", 0.5f);
  op_attr_i(c, "act_last", k->act_last);
  call->tail.bias = isa_in(c, 1, OP_DIMS(k->m), &seed);
  if (k->act) {
    call->tail.slope = isa_in(c, 1, OP_DIMS(k->m), &seed);
    call->tail.scale = isa_in(c, 1, OP_DIMS(k->m), &seed);
    call->tail.residual = isa_in(c, 4, OP_DIMS(k->n, r->out[1], r->out[2], k->m), &seed);
  }
  if (k->pad) {
    while (c->in_count < 6) op_absent(c);
    r->pad = isa_in(c, 1, OP_DIMS(k->c), &seed);
  }
  if (k->columns) winograd_to_panels(call, k->columns);
}

static void winograd_free(winograd_call *call) {
  free(call->plain);
  op_free(&call->c);
}

static void winograd_run(mien_env *env, const char *name, const winograd_case *k) {
  winograd_call call;
  winograd_make(&call, k, 77);
  call.c.name = name;
  isa_run_all(env, &call.c, -1);
  double *want = calloc((size_t)call.count + 1, sizeof *want), largest = 0;
  assert_non_null(want);
  const reference_tail none = {.act = ""};
  reference_conv_run(&call.r, &none, want);
  for (int64_t i = 0; i < call.count; i++) {
    largest = fmax(largest, fabs(want[i]));
    want[i] = reference_finish(&call.tail, want[i], i % k->m, i);
  }
  op_expect(&call.c.out[0], want, call.count, TOLERANCE * largest, 0);
  free(want);
  winograd_free(&call);
}

/* By every algorithm, of both strides. */
static void winograd_run_all(mien_env *env, const winograd_case *given) {
  winograd_case k = *given;
  for (int f = 0; f < FORCED; f++) {
    k.stride = forced[f].stride;
    winograd_run(env, forced[f].name, &k);
  }
}

static const char *const acts[] = {"",        "Relu", "LeakyRelu", "PRelu", "Clip",
                                   "Sigmoid", "Tanh", "Gelu",      "Silu",  "HardSwish"};

static void winograd_cases_body(mien_env *env) {
  static const winograd_case fixed[] = {
      {1, 1, 1, {1, 1}, {1, 1, 1, 1}, NULL, false, false, 0, 0},
      {0, 3, 4, {5, 5}, {1, 1, 1, 1}, NULL, false, false, 0, 0},
      {1, 64, 64, {14, 14}, {1, 1, 1, 1}, "PRelu", false, true, 0, 0},
      {3, 20, 67, {33, 33}, {1, 1, 1, 1}, "Relu", true, true, 0, 0}, /* chunks on one thread, phases on more */
      {3, 300, 5, {33, 31}, {0, 1, 2, 1}, NULL, false, true, 0, 0},  /* two parts of the sum; V in several groups */
      {1, 512, 33, {5, 6}, {1, 1, 1, 1}, "", false, false, 0, 0},
      {1, 20, 64, {9, 10}, {1, 1, 1, 1}, "PRelu", false, true, 0, 32},
      {1, 20, 48, {9, 10}, {1, 1, 1, 1}, NULL, false, false, 0, 8},
      {1, 20, 48, {9, 10}, {1, 1, 1, 1}, NULL, false, false, 0, 16},
      {2, 7, 48, {9, 6}, {1, 1, 1, 1}, NULL, false, false, 0, 24}, /* no multiple of anybody's panels */
  };
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) winograd_run_all(env, &fixed[i]);
}

static void winograd_random_body(mien_env *env) {
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  uint64_t seed = 2;
  for (int i = 0; i < 60; i++) {
    winograd_case k = {.n = (int64_t)op_random(&seed, 1, 4), .c = (int64_t)op_random(&seed, 1, 68)};
    k.m = (int64_t)op_random(&seed, 1, 68);
    for (int d = 0; d < 2; d++) k.in[d] = (int64_t)op_random(&seed, 1, i % 8 ? 14 : 34);
    for (int d = 0; d < 4; d++) k.pads[d] = (int64_t)op_random(&seed, k.in[d % 2] < 3 ? 1 : 0, 3);
    k.act = i % 4 ? acts[i % 10] : NULL;
    k.act_last = i & 1;
    k.pad = i % 3 == 0;
    winograd_run_all(env, &k);
  }
}

/* ---- what is not finite: at the same places as by the direct method and in the reference, and nothing else is disturbed */

/* Both runs have made their outputs. Values by tolerance, against the reference. */
static void winograd_same(winograd_call *got, const float *direct, const double *want, double tolerance) {
  const float *y = got->c.out[0].data;
  for (int64_t i = 0; i < got->count; i++) {
    const bool same = isnan(y[i]) == isnan(direct[i]) && isinf(y[i]) == isinf(direct[i]) &&
                      isnan(y[i]) == isnan(want[i]) && isinf(y[i]) == isinf(want[i]);
    bool good = same && (!isinf(y[i]) || (y[i] == direct[i] && (double)y[i] == want[i]));
    if (good && isfinite(y[i])) good = fabs((double)y[i] - want[i]) <= tolerance;
    if (!good)
      print_error("%s: element %lld is %g, direct %g, reference %g\n", got->c.name, (long long)i, (double)y[i],
                  (double)direct[i], want[i]);
    assert_true(good);
  }
}

/* tolerance: of finite values. */
static void winograd_poisoned(mien_env *env, winograd_call *call, double tolerance) {
  double *want = calloc((size_t)call->count + 1, sizeof *want);
  float *direct = NULL;
  assert_non_null(want);
  reference_conv_run(&call->r, &call->tail, want);
  for (int i = DIRECT; i >= 0; i--) {
    if (i != DIRECT && forced[i].stride != call->r.stride[1]) continue;
    call->c.name = forced[i].name;
    isa_run_all(env, &call->c, -1);
    if (i == DIRECT) {
      direct = call->c.out[0].data;
      call->c.out[0].data = NULL;
    } else
      winograd_same(call, direct, want, tolerance);
  }
  free(direct);
  free(want);
}

/* One element of X after the other, wherever it lies in a tile and at the map's edge. */
static void winograd_one_special_body(mien_env *env) {
  static const float specials[] = {INFINITY, -INFINITY, NAN};
  static const winograd_case cases[] = {
      {1, 5, 35, {7, 9}, {1, 1, 1, 1}, NULL, false, false, 1, 0},
      {2, 3, 9, {6, 5}, {0, 1, 2, 0}, "PRelu", false, true, 1, 0},
      {1, 17, 20, {5, 6}, {1, 1, 1, 1}, "Relu", true, false, 1, 10},
      {1, 5, 35, {7, 9}, {1, 1, 1, 1}, NULL, false, false, 2, 0},
      {2, 3, 9, {11, 12}, {0, 1, 2, 0}, "PRelu", false, true, 2, 0},
  };
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    winograd_call call;
    winograd_make(&call, &cases[i], 40 + i);
    const int64_t elements = cases[i].n * cases[i].in[0] * cases[i].in[1] * cases[i].c;
    for (int64_t at = 0; at < elements; at += 7) {
      const float before = call.x[at];
      call.x[at] = specials[at % 3];
      winograd_poisoned(env, &call, 1e-4);
      call.x[at] = before;
    }
    winograd_free(&call);
  }
}

/* Many of them, of both signs and beside each other; weights of 0 under an infinity; whole maps. */
static void winograd_many_specials_body(mien_env *env) {
  static const float specials[] = {INFINITY, -INFINITY, NAN};
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  for (int i = 0; i < 40; i++) {
    uint64_t seed = 90 + (uint64_t)i;
    winograd_case k = {.n = 2, .c = (int64_t)op_random(&seed, 1, 40), .m = (int64_t)op_random(&seed, 1, 40)};
    for (int d = 0; d < 2; d++) k.in[d] = (int64_t)op_random(&seed, 3, 15);
    for (int d = 0; d < 4; d++) k.pads[d] = (int64_t)op_random(&seed, 0, 2);
    k.act = i % 4 ? acts[i % 10] : NULL;
    k.act_last = i & 1;
    k.pad = i % 3 == 0;
    k.stride = 1 + i % 2;
    winograd_call call;
    winograd_make(&call, &k, seed);
    const int64_t elements = k.n * k.in[0] * k.in[1] * k.c, weights = k.m * k.c * 9;
    const int64_t one_in = i % 5 == 0 ? 1 : i % 5 == 1 ? 3 : (int64_t)op_random(&seed, 10, 200);
    for (int64_t e = (int64_t)op_random(&seed, 0, (double)one_in); e < elements; e += one_in)
      call.x[e] = specials[(i + (i % 2 ? (int)op_random(&seed, 0, 3) : 0)) % 3];
    for (int64_t e = 0; e < weights; e += 2 + i % 7) call.w[e] = 0;
    winograd_poisoned(env, &call, 1e-4);
    winograd_free(&call);
  }
}

/* Values whose transforms overflow where the sums do not. */
static void winograd_large_body(mien_env *env) {
  winograd_case k = {1, 9, 21, {11, 10}, {1, 1, 1, 1}, NULL, false, false, 1, 0};
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  for (int i = 0; i < 12; i++) {
    uint64_t seed = 7 + (uint64_t)i;
    k.stride = 1 + i / 3 % 2;
    winograd_call call;
    winograd_make(&call, &k, seed);
    for (int64_t e = 0; e < k.m * k.c * 9; e++) call.w[e] *= 0.004f; /* 81 of them stay below 1/3 */
    for (int64_t e = i % 3; e < 11 * 10 * k.c; e += 1 + 9 * (i / 3))
      call.x[e] = op_random(&seed, -1, 1) < 0 ? -3.3e38f : 3.3e38f;
    winograd_poisoned(env, &call, 1e33);
    winograd_free(&call);
  }
}

/* Tiles of an image that a product holds at once, unlike those of the batch, among them. */
static void winograd_batch_of(mien_env *env, int64_t high, int64_t wide) {
  for (int k = 0; k <= FORCED; k++) {
    uint64_t seed = 5;
    const int64_t stride = k < FORCED ? forced[k].stride : 1;
    const int64_t one = high * wide * 64, out = ((high - 1) / stride + 1) * ((wide - 1) / stride + 1) * 64;
    op_call c = {.domain = k < FORCED ? "test" : "mien", .name = k < FORCED ? forced[k].name : "Conv", .version = 1};
    op_attr_ints(&c, "pads", OP_DIMS(1, 1, 1, 1), 4);
    op_attr_ints(&c, "strides", OP_DIMS(stride, stride), 2);
    op_attr_i(&c, "channels_last", 1);
    float *x = isa_in(&c, 4, OP_DIMS(3, high, wide, 64), &seed);
    isa_in(&c, 4, OP_DIMS(64, 64, 3, 3), &seed);
    op_run_ok(env, &c);
    float *all = c.out[0].data;
    c.out[0].data = NULL;
    c.in[0].type.dim[0] = 1;
    for (int64_t i = 0; i < 3; i++) {
      if (i) memmove(x, x + one, (size_t)((3 - i) * one) * sizeof *x);
      c.threads = (int)i;
      op_run_ok(env, &c);
      assert_memory_equal(c.out[0].data, all + i * out, (size_t)out * sizeof *all);
    }
    free(all);
    op_free(&c);
  }
}

/* An image alone has the bits that it has in a batch, also by what mien.Conv itself chooses. */
static void winograd_batch_body(mien_env *env) {
  mien_op ops[NAMES + 1];
  winograd_register(env, ops);
  winograd_batch_of(env, 19, 27);
  winograd_batch_of(env, 14, 13);
  winograd_batch_of(env, 7, 8);
}

static conv_problem problem(int64_t channels, int64_t size, int64_t kernel, int64_t stride, int64_t dilation,
                            int64_t group, bool last) {
  const int64_t reach = (kernel - 1) * dilation, out = (size + 2 - reach - 1) / stride + 1;
  const mien_window w = {.rank = 2,
                         .in = {size, size},
                         .out = {out, out},
                         .kernel = {kernel, kernel},
                         .stride = {stride, stride},
                         .dilation = {dilation, dilation},
                         .before = {1, 1},
                         .after = {1, 1}};
  const mien_type x = op_type(MIEN_F32, 4, last ? OP_DIMS(1, size, size, channels) : OP_DIMS(1, channels, size, size));
  const mien_type k = op_type(MIEN_F32, 4, OP_DIMS(channels, channels / group, kernel, kernel));
  conv_problem p;
  conv_problem_make(&p, &w, &x, &k, group, last);
  p.constant = true;
  return p;
}

static bool chosen(mien_env *env, const conv_problem *p) {
  return strncmp(conv_choose(p, env->host.math)->name, "winograd", 8) == 0;
}

static void winograd_choice_body(mien_env *env) {
  for (int64_t channels = 64, size = 112; channels <= 256; channels *= 2, size /= 2) {
    conv_problem p = problem(channels, size, 3, 1, 1, 1, true);
    assert_true(chosen(env, &p));
    p.constant = false;
    assert_false(chosen(env, &p));
  }
  const conv_problem halved = problem(64, 112, 3, 2, 1, 1, true);
  assert_true(chosen(env, &halved));
  const conv_problem others[] = {
      problem(64, 56, 3, 3, 1, 1, true), problem(64, 56, 3, 1, 2, 1, true), problem(64, 56, 3, 1, 1, 2, true),
      problem(64, 56, 5, 1, 1, 1, true), problem(64, 56, 1, 1, 1, 1, true), problem(64, 56, 3, 1, 1, 1, false),
      problem(512, 1, 3, 1, 1, 1, true), /* one pixel: weights are all there is */
  };
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_false(chosen(env, &others[i]));
}

static void test_cases(void **state) { (void)state, isa_each(winograd_cases_body); }
static void test_random(void **state) { (void)state, isa_each(winograd_random_body); }
static void test_one_special(void **state) { (void)state, isa_each(winograd_one_special_body); }
static void test_many_specials(void **state) { (void)state, isa_each(winograd_many_specials_body); }
static void test_large(void **state) { (void)state, isa_each(winograd_large_body); }
static void test_batch(void **state) { (void)state, isa_each(winograd_batch_body); }
static void test_choice(void **state) { (void)state, isa_each(winograd_choice_body); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),         cmocka_unit_test(test_random), cmocka_unit_test(test_one_special),
      cmocka_unit_test(test_many_specials), cmocka_unit_test(test_large),  cmocka_unit_test(test_batch),
      cmocka_unit_test(test_choice),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
