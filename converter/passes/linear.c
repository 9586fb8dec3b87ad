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

/* A Slice along one axis at or after `from`, of a value that ends in the axes `tail` (rank - from of them). */
typedef struct column_cut {
  int axis;
  int64_t start, end;
} column_cut;

static bool column_slice(mien_rewriter *r, mien_node_id n, int from, column_cut *c) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (!pass_is_op(r, n, "Slice") || h->since(r, n) < 10) return false;
  const mien_type *t = h->type(r, pass_in(r, n, 0));
  int64_t count = 0;
  const int64_t *values = pass_numbers(r, pass_in(r, n, 3), &count);
  if (!values || count != 1) return false;
  c->axis = pass_axis(values[0], t->rank);
  values = pass_numbers(r, pass_in(r, n, 1), &count);
  if (c->axis < from || !values || count != 1) return false;
  int64_t size = t->dim[c->axis];
  c->start = values[0] < 0 ? values[0] + size : values[0];
  c->end = c->start + h->type(r, h->out(r, n, 0))->dim[c->axis];
  if (mien_is_symbol(size) || c->start < 0 || c->end <= c->start || c->end > size) return false;
  if (pass_in(r, n, 4) == MIEN_NO_VALUE) return true;
  values = pass_numbers(r, pass_in(r, n, 4), &count);
  return values && count == 1 && values[0] == 1;
}

/* Columns of the weights (or of the bias: rank 1), which are axis `axis` and seen as `tail`. */
static mien_status cut_columns(mien_rewriter *r, mien_value w, int axis, const int64_t *tail, int tails,
                               const column_cut *c, mien_value *out) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, w);
  int64_t dim[MIEN_MAX_RANK], last[2] = {t->dim[0], t->rank > 1 ? t->dim[1] : 0};
  int rank = 0, before = axis;
  for (int i = 0; i < axis; i++) dim[rank++] = t->dim[i];
  for (int i = 0; i < tails; i++) dim[rank++] = tail[i];
  for (int i = axis + 1; i < t->rank; i++) dim[rank++] = t->dim[i];
  last[axis] = last[axis] / tail[c->axis] * (c->end - c->start);
  int rank_out = t->rank;
  MIEN_TRY(pass_reshape(r, w, dim, rank, &w));
  MIEN_TRY(pass_slice_one(r, w, before + c->axis, c->start, c->end, &w));
  return pass_reshape(r, w, last, rank_out, out);
}

/* The axes of v that are the columns of a product f which a Reshape parts, perhaps with other rows: those from the result on;
** -1 where there are none. */
static int columns_from(const mien_type *f, const mien_type *v) {
  const int64_t columns = f->dim[f->rank - 1];
  int64_t product = 1;
  for (int i = v->rank - 1; i >= 0; i--) {
    if (mien_is_symbol(v->dim[i]) || v->dim[i] < 1 || product > columns / v->dim[i]) return -1;
    product *= v->dim[i];
    if (product == columns) return i;
  }
  return -1;
}

/* Slices of a product's columns, perhaps after a Reshape that parts them (heads), are all its readers: each slice becomes a
** product of its own. So q, k and v of an attention come apart. Where the Reshape changes the rows too, it is the product's
** input that gets the new ones. */
static mien_status split_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value f = h->bound(r, "f"), v = pass_in(r, h->root(r), 0), y = pass_root_out(r), z;
  pass_product p;
  if (!pass_product_of(r, h->producer(r, f), &p) || !pass_product_is_bare(&p) || !pass_is_constant(r, p.in[PASS_W]))
    return MIEN_OK;
  if (h->is_output(r, v) || (f != v && !pass_is_single(r, f))) return MIEN_OK;
  const mien_type *tf = h->type(r, f), *tv = h->type(r, v), *ty = h->type(r, y);
  int from = columns_from(tf, tv), readers = h->uses(r, v), tails = tv->rank - from;
  if (from < 0 || readers > 16 || tails + 2 > MIEN_MAX_RANK) return MIEN_OK;
  bool same_rows = from == tf->rank - 1;
  for (int i = 0; i < from && same_rows; i++) same_rows = pass_same_dim(tf->dim[i], tv->dim[i]);
  mien_type rows = *tv;
  rows.rank = from + 1;
  rows.dim[from] = h->type(r, p.in[PASS_X])->dim[tf->rank - 1];
  if (!same_rows && (from < 1 || !pass_can_reshape(r, p.in[PASS_X], rows.dim, rows.rank))) return MIEN_OK;
  column_cut c;
  int64_t total = 0;
  for (int i = 0; i < readers; i++) {
    if (!column_slice(r, h->user(r, v, i), from, &c)) return MIEN_OK;
    total += p.channels / tv->dim[c.axis] * (c.end - c.start);
  }
  if (total > p.channels || !column_slice(r, h->root(r), from, &c)) return MIEN_OK;
  if (!pass_can_reshape(r, f, ty->dim, ty->rank)) return MIEN_OK;
  bool trans_w = h->attr_i(r, p.node, "trans_w") != 0;
  mien_value x = p.in[PASS_X], w, b = p.in[PASS_B];
  c.axis -= from;
  MIEN_TRY(cut_columns(r, p.in[PASS_W], trans_w ? 0 : 1, tv->dim + from, tails, &c, &w));
  if (b != MIEN_NO_VALUE) MIEN_TRY(cut_columns(r, b, 0, tv->dim + from, tails, &c, &b));
  if (!same_rows) MIEN_TRY(pass_reshape(r, x, rows.dim, rows.rank, &x));
  MIEN_TRY(linear(r, x, w, b, trans_w, &z));
  MIEN_TRY(pass_reshape(r, z, ty->dim, ty->rank, &z));
  return h->replace(r, y, z);
}

/* A 1x1 convolution of a map of one pixel. */
static mien_status pixel_to_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), w = h->bound(r, "w"), b = h->bound(r, "b"), y = pass_root_out(r), z;
  if (!pass_is_f32(r, x) || !pass_is_f32(r, w) || h->attr_i(r, h->root(r), "group") != 1) return MIEN_OK;
  if (b != MIEN_NO_VALUE && !(pass_is_f32(r, b) && pass_is_constant(r, b))) return MIEN_OK;
  const mien_type *t = h->type(r, x), *tw = h->type(r, w), *ty = h->type(r, y);
  if (!pass_is_known(t) || t->rank < 3 || tw->rank != t->rank || ty->rank != t->rank) return MIEN_OK;
  for (int i = 2; i < t->rank; i++)
    if (t->dim[i] != 1 || tw->dim[i] != 1 || ty->dim[i] != 1) return MIEN_OK;
  int64_t count = 0;
  const int64_t *pads = h->attr_ints(r, h->root(r), "pads", &count);
  for (int64_t i = 0; pads && i < count; i++)
    if (pads[i] != 0) return MIEN_OK;
  if (tw->dim[0] < 1 || tw->dim[1] < 1 || !pass_can_reshape(r, x, t->dim, 2)) return MIEN_OK;
  MIEN_TRY(pass_reshape(r, x, t->dim, 2, &x));
  MIEN_TRY(pass_reshape(r, w, tw->dim, 2, &w));
  MIEN_TRY(linear(r, x, w, b, true, &z));
  MIEN_TRY(pass_reshape(r, z, ty->dim, ty->rank, &z));
  return h->replace(r, y, z);
}

/* Two leading axes change places before a product: they can do so after it, where they meet what changes them back. */
static mien_status linear_before_transpose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value turned = h->bound(r, "turned"), merged = h->bound(r, "merged"), x = h->bound(r, "x");
  mien_value y = pass_root_out(r), z;
  pass_product p;
  if (!pass_product_of(r, h->root(r), &p) || !pass_product_is_bare(&p) || !pass_is_single(r, turned)) return MIEN_OK;
  int64_t count = 0;
  const int64_t *perm = h->attr_ints(r, h->producer(r, turned), "perm", &count);
  if (!perm || count != 3 || perm[0] != 1 || perm[1] != 0 || perm[2] != 2) return MIEN_OK;
  const mien_type *t = h->type(r, turned), *ty = h->type(r, y);
  if (merged != MIEN_NO_VALUE) {
    const mien_type *tm = h->type(r, merged);
    if (!pass_is_single(r, merged) || tm->rank != 2 || !pass_same_dim(tm->dim[1], t->dim[2])) return MIEN_OK;
    const mien_type after = {.rank = 3, .dim = {t->dim[0], t->dim[1], ty->dim[1]}};
    int64_t spec[MIEN_MAX_RANK];
    if (!pass_reshape_spec(&after, ty->dim, 2, spec)) return MIEN_OK;
  }
  p.in[PASS_X] = x;
  MIEN_TRY(pass_product_end(r, &p, &z));
  MIEN_TRY(pass_transpose(r, z, perm, 3, &z));
  MIEN_TRY(pass_reshape(r, z, ty->dim, ty->rank, &z));
  return h->replace(r, y, z);
}

/* Tokens that are merged into rows for a product, as optimisers write a MatMul and an Add that they make a Gemm: the product
** comes first, and the Reshape behind it meets the one that parts the rows again. An axis of size 1 that goes stays gone. */
static mien_status linear_before_reshape(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), z;
  const mien_type *t = h->type(r, x), *ty = h->type(r, y);
  pass_product p;
  if (!pass_is_f32(r, x) || !pass_product_of(r, h->root(r), &p)) return MIEN_OK;
  const mien_type *rows = h->type(r, p.in[PASS_X]);
  bool tokens = false;
  for (int i = 1; i < t->rank - 1; i++) tokens = tokens || t->dim[i] != 1;
  if (!tokens || rows->rank != 2 || !pass_same_dim(t->dim[t->rank - 1], rows->dim[1])) return MIEN_OK;
  mien_type after = *t;
  int64_t spec[MIEN_MAX_RANK];
  after.dim[t->rank - 1] = p.channels;
  if (!pass_reshape_spec(&after, ty->dim, 2, spec)) return MIEN_OK;
  mien_value *residual = &p.in[PASS_R];
  if (*residual != MIEN_NO_VALUE) {
    if (!pass_can_reshape(r, *residual, after.dim, after.rank)) return MIEN_OK;
    MIEN_TRY(pass_reshape(r, *residual, after.dim, after.rank, residual));
  }
  p.in[PASS_X] = x;
  MIEN_TRY(pass_product_end(r, &p, &z));
  MIEN_TRY(pass_reshape(r, z, ty->dim, 2, &z));
  return h->replace(r, y, z);
}

static const char *const matmul_patterns[] = {"MatMul(x, #w)", NULL};
static const char *const gemm_patterns[] = {"Gemm(a, #w, ?c)", NULL};
static const char *const split_patterns[] = {"Slice(f:mien.Linear(...), ...)",
                                             "Slice(Reshape(f:mien.Linear(...), _), ...)", NULL};
static const char *const pixel_patterns[] = {"Conv(x, #w, ?b)", NULL};
static const char *const turned_patterns[] = {"mien.Linear(turned:Transpose(x), ...)",
                                              "mien.Linear(merged:Reshape(turned:Transpose(x), _), ...)", NULL};
static const char *const merged_patterns[] = {"mien.Linear(Reshape(x, _), ...)", NULL};

const mien_rewrite mien_pass_linear[] = {
    {.name = "matmul-to-linear",
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
    {.name = "pixel-to-linear",
     .doc = "1x1 Conv of a map of one pixel -> mien.Linear",
     .stage = MIEN_STAGE_CANONICALISE,
     .patterns = pixel_patterns,
     .apply = pixel_to_linear},
    {.name = "linear-before-transpose",
     .doc = "mien.Linear of tokens whose batch stands second -> mien.Linear, then the Transpose",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "fuse-bias",
     .patterns = turned_patterns,
     .apply = linear_before_transpose},
    {.name = "linear-before-reshape",
     .doc = "mien.Linear of tokens that a Reshape merges into rows -> mien.Linear, then the Reshape",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "fuse-bias",
     .patterns = merged_patterns,
     .apply = linear_before_reshape},
    {.name = "linear-before-reshape-fused",
     .doc = "linear-before-reshape after an attention",
     .stage = MIEN_STAGE_FUSE,
     .after = "collapse-views-fused",
     .patterns = merged_patterns,
     .apply = linear_before_reshape},
    {.name = "linear-before-transpose-fused",
     .doc = "linear-before-transpose after an attention",
     .stage = MIEN_STAGE_FUSE,
     .after = "collapse-views-fused",
     .patterns = turned_patterns,
     .apply = linear_before_transpose},
    {.name = NULL}};
