/* Products with a constant matrix -> mien.Linear. */
#include "pass.h"

/* f32 [K, N] (or [N, K]) without empty sizes. */
static bool is_matrix(mien_rewriter *r, mien_value w) {
  if (!pass_is_f32(r, w) || !pass_is_constant(r, w)) return false;
  const mien_type *t = mien_rewrite_host_of(r)->type(r, w);
  return t->rank == 2 && t->dim[0] > 0 && t->dim[1] > 0;
}

static mien_status linear(mien_rewriter *r, mien_value x, mien_value w, mien_value b, bool trans_w, mien_value *y) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  MIEN_TRY(h->begin(r, "mien.Linear", (mien_value[]){x, w, b}, b == MIEN_NO_VALUE ? 2 : 3));
  if (trans_w) MIEN_TRY(h->set_i(r, "trans_w", 1));
  return h->end(r, y, 1);
}

static mien_status matmul_to_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), w = h->bound(r, "w"), y = pass_root_out(r), z;
  if (!pass_is_f32(r, x) || pass_rank(r, x) < 2 || !is_matrix(r, w)) return MIEN_OK;
  MIEN_TRY(linear(r, x, w, MIEN_NO_VALUE, false, &z));
  return h->replace(r, y, z);
}

static mien_status scaled(mien_rewriter *r, mien_value v, double factor, mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *out = v;
  if (factor == 1) return MIEN_OK;
  mien_value c;
  float f = (float)factor;
  mien_type scalar = {.dtype = MIEN_F32};
  MIEN_TRY(h->constant_floats(r, &f, &scalar, &c));
  return PASS_ADD(r, "Mul", out, v, c);
}

static mien_status gemm_to_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value a = h->bound(r, "a"), w = h->bound(r, "w"), c = h->bound(r, "c"), y = pass_root_out(r), z;
  if (!pass_is_f32(r, a) || pass_rank(r, a) != 2 || !is_matrix(r, w) || h->attr_i(r, root, "transA")) return MIEN_OK;
  bool trans_w = h->attr_i(r, root, "transB") != 0;
  int64_t columns = h->type(r, w)->dim[trans_w ? 0 : 1];
  double alpha = h->attr_f(r, root, "alpha"), beta = h->attr_f(r, root, "beta");
  if (!isfinite(alpha) || !isfinite(beta)) return MIEN_OK;
  if (c != MIEN_NO_VALUE && beta == 0) c = MIEN_NO_VALUE;
  bool bias = c != MIEN_NO_VALUE && pass_is_per_channel(r, c, 2, 1, columns);
  if (c != MIEN_NO_VALUE && !bias && !pass_is_f32(r, c)) return MIEN_OK;
  MIEN_TRY(scaled(r, w, alpha, &w));
  mien_value b = MIEN_NO_VALUE;
  if (bias) {
    MIEN_TRY(pass_per_channel(r, c, columns, &b));
    MIEN_TRY(scaled(r, b, beta, &b));
  }
  MIEN_TRY(linear(r, a, w, b, trans_w, &z));
  if (c != MIEN_NO_VALUE && !bias) {
    MIEN_TRY(scaled(r, c, beta, &c));
    MIEN_TRY(PASS_ADD(r, "Add", &z, z, c));
  }
  return h->replace(r, y, z);
}

/* Slices of a Linear's columns, all of its readers: each part is a Linear of its own (q, k and v of an attention). */
static bool column_slice(mien_rewriter *r, mien_node_id n, int rank, int64_t columns, int64_t *start, int64_t *end) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (!pass_is_op(r, n, "Slice") || h->since(r, n) < 10) return false;
  int64_t count = 0;
  const int64_t *values = pass_numbers(r, pass_in(r, n, 3), &count);
  if (!values || count != 1 || pass_axis(values[0], rank) != rank - 1) return false;
  values = pass_numbers(r, pass_in(r, n, 1), &count);
  if (!values || count != 1 || values[0] < 0 || values[0] >= columns) return false;
  *start = values[0];
  *end = *start + h->type(r, h->out(r, n, 0))->dim[rank - 1];
  if (pass_in(r, n, 4) == MIEN_NO_VALUE) return true;
  values = pass_numbers(r, pass_in(r, n, 4), &count);
  return values && count == 1 && values[0] == 1;
}

static mien_status split_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value f = h->bound(r, "f"), y = pass_root_out(r), z;
  pass_product p;
  if (!pass_product_of(r, h->producer(r, f), &p) || !pass_product_is_bare(&p) || h->is_output(r, f)) return MIEN_OK;
  int rank = pass_rank(r, f), readers = h->uses(r, f);
  int64_t start = 0, end = 0, total = 0;
  if (readers > 16 || !pass_is_constant(r, p.in[PASS_W])) return MIEN_OK;
  for (int i = 0; i < readers; i++) {
    if (!column_slice(r, h->user(r, f, i), rank, p.channels, &start, &end)) return MIEN_OK;
    total += end - start;
  }
  if (total > p.channels || !column_slice(r, h->root(r), rank, p.channels, &start, &end)) return MIEN_OK;
  if (start >= end) return MIEN_OK;
  bool trans_w = h->attr_i(r, p.node, "trans_w") != 0;
  mien_value w, b = p.in[PASS_B];
  MIEN_TRY(pass_slice_one(r, p.in[PASS_W], trans_w ? 0 : 1, start, end, &w));
  if (b != MIEN_NO_VALUE) MIEN_TRY(pass_slice_one(r, b, 0, start, end, &b));
  MIEN_TRY(linear(r, p.in[PASS_X], w, b, trans_w, &z));
  return h->replace(r, y, z);
}

static const char *const matmul_patterns[] = {"MatMul(x, #w)", NULL};
static const char *const gemm_patterns[] = {"Gemm(a, #w, ?c)", NULL};
static const char *const split_patterns[] = {"Slice(f:mien.Linear(...), ...)", NULL};

const mien_rewrite mien_pass_linear[] = {{.name = "matmul-to-linear",
                                          .doc = "MatMul with a constant matrix -> mien.Linear",
                                          .stage = MIEN_STAGE_CANONICALISE,
                                          .patterns = matmul_patterns,
                                          .apply = matmul_to_linear},
                                         {.name = "gemm-to-linear",
                                          .doc = "Gemm with a constant matrix -> mien.Linear",
                                          .stage = MIEN_STAGE_CANONICALISE,
                                          .patterns = gemm_patterns,
                                          .apply = gemm_to_linear},
                                         {.name = "split-linear",
                                          .doc = "slices of the columns of one mien.Linear -> a mien.Linear each",
                                          .stage = MIEN_STAGE_FUSE,
                                          .after = "fuse-attention",
                                          .patterns = split_patterns,
                                          .apply = split_linear},
                                         {.name = NULL}};
