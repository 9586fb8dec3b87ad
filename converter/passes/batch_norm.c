/* BatchNormalization (inference) folded into the product before or after it. Exact: only constants change. */
#include "pass.h"

enum { SCALE = 1, SHIFT, MEAN, VARIANCE };

/* Whether n is y = s * x + t per channel with known numbers. invertible: all of them finite and none of s zero, so that the x
** with s * x + t = 0 exists. */
static bool is_affine(mien_rewriter *r, mien_node_id n, int64_t channels, bool *invertible) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  for (int i = 1; i < h->out_count(r, n); i++)
    if (pass_is_read(r, n, i)) return false;
  if (h->since(r, n) >= 14 && h->attr_i(r, n, "training_mode")) return false;
  if (h->since(r, n) < 9) return false; /* attribute `spatial` */
  const float *data[5] = {NULL};
  for (int i = SCALE; i <= VARIANCE; i++) {
    mien_value v = pass_in(r, n, i);
    if (!pass_is_f32(r, v) || !pass_is_constant(r, v)) return false;
    const mien_tensor *t = h->constant(r, v);
    if (t->type.rank != 1 || t->type.dim[0] != channels || !t->data) return false;
    data[i] = t->data;
  }
  double epsilon = h->attr_f(r, n, "epsilon");
  *invertible = true;
  for (int64_t i = 0; i < channels; i++) {
    float s = data[SCALE][i] / sqrtf(data[VARIANCE][i] + (float)epsilon), t = data[SHIFT][i] - data[MEAN][i] * s;
    if (!isfinite(s) || !isfinite(t)) return false;
    if (fabsf(s) < 1e-30f || !isfinite(t / s)) *invertible = false;
  }
  return true;
}

/* s and t as nodes over the constants. */
static mien_status affine(mien_rewriter *r, mien_node_id n, mien_value *s, mien_value *t) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  float epsilon = (float)h->attr_f(r, n, "epsilon");
  mien_type scalar = {.dtype = MIEN_F32};
  mien_value e, v;
  MIEN_TRY(h->constant_floats(r, &epsilon, &scalar, &e));
  MIEN_TRY(PASS_ADD(r, "Add", &v, pass_in(r, n, VARIANCE), e));
  MIEN_TRY(PASS_ADD(r, "Sqrt", &v, v));
  MIEN_TRY(PASS_ADD(r, "Div", s, pass_in(r, n, SCALE), v));
  MIEN_TRY(PASS_ADD(r, "Mul", &v, pass_in(r, n, MEAN), *s));
  return PASS_ADD(r, "Sub", t, pass_in(r, n, SHIFT), v);
}

static mien_status fold_after(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), y = pass_root_out(r), s, t, column, z;
  pass_product p;
  bool invertible;
  if (!pass_is_f32(r, v) || !pass_is_single(r, v) || !pass_product_of(r, h->producer(r, v), &p)) return MIEN_OK;
  if (!pass_product_is_bare(&p) || p.axis != 1 || !is_affine(r, h->root(r), p.channels, &invertible)) return MIEN_OK;
  mien_value w = p.in[PASS_W];
  if (!pass_is_constant(r, w)) return MIEN_OK;
  int axis = p.conv || h->attr_i(r, p.node, "trans_w") ? 0 : 1;
  MIEN_TRY(affine(r, h->root(r), &s, &t));
  MIEN_TRY(pass_along(r, s, p.channels, pass_rank(r, w), axis, &column));
  MIEN_TRY(PASS_ADD(r, "Mul", &p.in[PASS_W], w, column));
  if (p.in[PASS_B] != MIEN_NO_VALUE) {
    MIEN_TRY(PASS_ADD(r, "Mul", &s, p.in[PASS_B], s));
    MIEN_TRY(PASS_ADD(r, "Add", &t, s, t));
  }
  p.in[PASS_B] = t;
  MIEN_TRY(pass_product_end(r, &p, &z));
  return h->replace(r, y, z);
}

/* Conv(s * x + t) = Conv'(x) with W' = W * s and B' = B + sum over inputs of W * t, where the padding of x is what becomes 0. */
static mien_status fold_before(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), y = pass_root_out(r), s, t, ws, wt, z;
  pass_product p;
  bool invertible, padded = false;
  if (!pass_is_f32(r, v) || !pass_is_single(r, v) || !pass_product_of(r, h->root(r), &p) || !p.conv) return MIEN_OK;
  mien_node_id norm = h->producer(r, v);
  mien_value w = p.in[PASS_W];
  const mien_type *tx = h->type(r, v), *tw = h->type(r, w);
  int64_t count = 0, group = h->attr_i(r, p.node, "group");
  const int64_t *pads = h->attr_ints(r, p.node, "pads", &count);
  for (int64_t i = 0; pads && i < count; i++) padded |= pads[i] != 0;
  if (p.in[PASS_P] != MIEN_NO_VALUE || h->attr_i(r, p.node, "channels_last") || !pass_is_constant(r, w)) return MIEN_OK;
  if (tx->rank < 3 || tx->dim[1] < 1 || group < 1 || tw->rank != tx->rank || tw->rank + 1 > MIEN_MAX_RANK)
    return MIEN_OK;
  if (tw->dim[1] * group != tx->dim[1] || tw->dim[0] % group != 0) return MIEN_OK;
  if (!is_affine(r, norm, tx->dim[1], &invertible) || (padded && !invertible)) return MIEN_OK;

  /* Weights as [group, out, in, kernel...], per-channel numbers as [group, 1, in, 1...]. */
  int64_t full[MIEN_MAX_RANK] = {group, tw->dim[0] / group}, channel[MIEN_MAX_RANK] = {group, 1, tw->dim[1]};
  int64_t summed[MIEN_MAX_RANK];
  int rank = tw->rank + 1;
  for (int i = 2; i < rank; i++) {
    full[i] = tw->dim[i - 1];
    if (i > 2) channel[i] = 1;
    summed[i - 2] = i;
  }
  MIEN_TRY(affine(r, norm, &s, &t));
  if (padded) {
    mien_value negative;
    MIEN_TRY(PASS_ADD(r, "Neg", &negative, t));
    MIEN_TRY(PASS_ADD(r, "Div", &p.in[PASS_P], negative, s));
  }
  MIEN_TRY(pass_reshape(r, s, channel, rank, &s));
  MIEN_TRY(pass_reshape(r, t, channel, rank, &t));
  MIEN_TRY(pass_reshape(r, w, full, rank, &w));
  MIEN_TRY(PASS_ADD(r, "Mul", &ws, w, s));
  MIEN_TRY(pass_reshape(r, ws, tw->dim, tw->rank, &p.in[PASS_W]));
  MIEN_TRY(PASS_ADD(r, "Mul", &wt, w, t));
  mien_value in[2] = {wt, MIEN_NO_VALUE};
  MIEN_TRY(pass_ints(r, summed, rank - 2, &in[1]));
  MIEN_TRY(h->begin_at(r, "ReduceSum", 13, in, 2));
  MIEN_TRY(h->set_i(r, "keepdims", 0));
  MIEN_TRY(h->end(r, &wt, 1));
  MIEN_TRY(pass_reshape(r, wt, tw->dim, 1, &wt));
  if (p.in[PASS_B] != MIEN_NO_VALUE) MIEN_TRY(PASS_ADD(r, "Add", &wt, p.in[PASS_B], wt));
  p.in[PASS_B] = wt;
  p.in[PASS_X] = pass_in(r, norm, 0);
  MIEN_TRY(pass_product_end(r, &p, &z));
  return h->replace(r, y, z);
}

static const char *const after_patterns[] = {"BatchNormalization(v:mien.Conv|mien.Linear(...), #s, #b, #m, #v2)", NULL};
static const char *const before_patterns[] = {"mien.Conv(v:BatchNormalization(...), ...)", NULL};

const mien_rewrite mien_pass_batch_norm[] = {
    {.name = "fold-batch-norm-after",
     .doc = "BatchNormalization of a product -> its weights and bias",
     .stage = MIEN_STAGE_FUSE,
     .patterns = after_patterns,
     .apply = fold_after},
    {.name = "fold-batch-norm-before",
     .doc = "mien.Conv of a BatchNormalization -> its weights, bias and padding",
     .stage = MIEN_STAGE_FUSE,
     .after = "fold-batch-norm-after",
     .patterns = before_patterns,
     .apply = fold_before},
    {.name = NULL}};
