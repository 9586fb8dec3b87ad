/* LayerNormalization in its many spellings. */
#include "pass.h"

/* Whether a ReduceMean runs over the last axes of x, [axis, rank), and keeps them. */
static bool mean_axis(mien_rewriter *r, mien_node_id mean, int rank, int *axis) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (!h->attr_i(r, mean, "keepdims")) return false;
  int64_t count = 0;
  const int64_t *axes;
  if (h->since(r, mean) >= 18) {
    mien_value in = pass_in(r, mean, 1);
    if (in == MIEN_NO_VALUE) return false;
    axes = pass_numbers(r, in, &count);
  } else {
    axes = h->attr_ints(r, mean, "axes", &count);
  }
  if (!axes || count < 1 || count > rank) return false;
  bool reduced[MIEN_MAX_RANK] = {false};
  for (int64_t i = 0; i < count; i++) {
    int a = pass_axis(axes[i], rank);
    if (a < 0 || reduced[a]) return false;
    reduced[a] = true;
  }
  for (int i = (int)(rank - count); i < rank; i++)
    if (!reduced[i]) return false;
  *axis = (int)(rank - count);
  return true;
}

static mien_node_id mean_behind(mien_rewriter *r, const char *name) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return h->producer(r, h->bound(r, name));
}

static mien_status fuse_layer_norm(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), z;
  const mien_type *t = h->type(r, x);
  int axis, axis2, axis3;
  double epsilon;
  if (!pass_is_f32(r, x) || t->rank < 1 || !pass_same_type(t, h->type(r, y))) return MIEN_OK;
  if (!mean_axis(r, mean_behind(r, "m"), t->rank, &axis) || !mean_axis(r, mean_behind(r, "m2"), t->rank, &axis2) ||
      !mean_axis(r, mean_behind(r, "v"), t->rank, &axis3))
    return MIEN_OK;
  if (axis != axis2 || axis != axis3 || !pass_scalar(r, h->bound(r, "e"), &epsilon) || !(epsilon >= 0)) return MIEN_OK;
  /* The exponent of the square, and what stands for 1 / sqrt. */
  static const struct {
    const char *name;
    double value;
  } fixed[] = {{"two", 2}, {"one", 1}, {"minus", -0.5}, {"half", 0.5}};
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
    mien_value c = h->bound(r, fixed[i].name);
    if (c != MIEN_NO_VALUE && !pass_is_scalar(r, c, fixed[i].value)) return MIEN_OK;
  }
  int64_t count = 1;
  mien_type row = {.dtype = MIEN_F32, .rank = t->rank - axis};
  for (int i = axis; i < t->rank; i++) {
    if (t->dim[i] < 1 || count > 65536 / t->dim[i]) return MIEN_OK;
    row.dim[i - axis] = t->dim[i];
    count *= t->dim[i];
  }
  mien_value one, shape, ones;
  float value = 1;
  mien_type scalar = {.dtype = MIEN_F32};
  MIEN_TRY(h->constant_floats(r, &value, &scalar, &one));
  MIEN_TRY(pass_ints(r, row.dim, row.rank, &shape));
  MIEN_TRY(PASS_ADD(r, "Expand", &ones, one, shape));
  MIEN_TRY(h->begin_at(r, "LayerNormalization", 17, (mien_value[]){x, ones}, 2));
  MIEN_TRY(h->set_i(r, "axis", axis - t->rank));
  MIEN_TRY(h->set_f(r, "epsilon", epsilon));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

/* A constant as the scale or bias of a LayerNormalization of x: it must have that shape but for leading ones. */
static bool is_row_constant(mien_rewriter *r, mien_value c, const mien_type *x, int axis) {
  if (!pass_is_f32(r, c) || !pass_is_constant(r, c)) return false;
  const mien_type *t = mien_rewrite_host_of(r)->type(r, c);
  int rows = x->rank - axis;
  if (t->rank < rows || t->rank > x->rank) return false;
  for (int i = 0; i < t->rank; i++) {
    int at = i - (t->rank - rows);
    if (at < 0 ? t->dim[i] != 1 : !pass_same_dim(t->dim[i], x->dim[axis + at])) return false;
  }
  return true;
}

static mien_status layer_norm_affine(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value n = h->bound(r, "n"), c = h->bound(r, "c"), y = pass_root_out(r), z;
  mien_node_id norm = h->producer(r, n);
  bool scale = pass_is_op(r, h->root(r), "Mul");
  mien_value in[3] = {pass_in(r, norm, 0), pass_in(r, norm, 1), pass_in(r, norm, 2)};
  if (!pass_is_single(r, n) || !pass_is_f32(r, n) || pass_is_read(r, norm, 1) || pass_is_read(r, norm, 2))
    return MIEN_OK;
  const mien_type *t = h->type(r, in[0]), *ts = h->type(r, in[1]);
  int axis = pass_axis(h->attr_i(r, norm, "axis"), t->rank);
  if (axis < 0 || !pass_is_constant(r, in[1]) || !is_row_constant(r, c, t, axis)) return MIEN_OK;
  if (!is_row_constant(r, in[1], t, axis) || ts->rank != t->rank - axis) return MIEN_OK;
  if (in[2] != MIEN_NO_VALUE && !is_row_constant(r, in[2], t, axis)) return MIEN_OK;
  mien_value row;
  MIEN_TRY(pass_reshape(r, c, ts->dim, ts->rank, &row));
  if (scale) {
    if (pass_is_filled(r, in[1], 1))
      in[1] = row;
    else
      MIEN_TRY(PASS_ADD(r, "Mul", &in[1], in[1], row));
    if (in[2] != MIEN_NO_VALUE) MIEN_TRY(PASS_ADD(r, "Mul", &in[2], in[2], row));
  } else if (in[2] == MIEN_NO_VALUE) {
    in[2] = row;
  } else {
    MIEN_TRY(PASS_ADD(r, "Add", &in[2], in[2], row));
  }
  MIEN_TRY(h->begin_at(r, "LayerNormalization", 17, in, in[2] == MIEN_NO_VALUE ? 2 : 3));
  MIEN_TRY(h->copy_attrs(r, norm));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

/* d is x minus its mean, s the mean of d squared plus epsilon. */
#define D "Sub(x, m:ReduceMean(x, ...))"
#define D2 "Sub(x, m2:ReduceMean(x, ...))" /* may be another node */
#define S1 "Add(v:ReduceMean(Pow(" D2 ", #two), ...), #e)"
#define S2 "Add(v:ReduceMean(Mul(" D2 ", " D2 "), ...), #e)"
#define EACH(S)                                                                                           \
  "Div(" D ", Sqrt(" S "))", "Mul(" D ", Reciprocal(Sqrt(" S ")))", "Mul(" D ", Div(#one, Sqrt(" S ")))", \
      "Mul(" D ", Pow(" S ", #minus))", "Div(" D ", Pow(" S ", #half))"
static const char *const norm_patterns[] = {EACH(S1), EACH(S2), NULL};
static const char *const affine_patterns[] = {"Mul(n:LayerNormalization(x, s, ?b), #c)",
                                              "Add(n:LayerNormalization(x, s, ?b), #c)", NULL};

const mien_rewrite mien_pass_layer_norm[] = {
    {.name = "fuse-layer-norm",
     .doc = "(x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) -> LayerNormalization",
     .stage = MIEN_STAGE_CANONICALISE,
     .patterns = norm_patterns,
     .apply = fuse_layer_norm},
    {.name = "fuse-layer-norm-affine",
     .doc = "LayerNormalization times or plus a constant row -> its scale or bias",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "fuse-layer-norm",
     .patterns = affine_patterns,
     .apply = layer_norm_affine},
    {.name = NULL}};
