/* A Slice of rows moves before the operator that made them, so that only the rows that are read get computed. */
#include "pass.h"

/* A slice along one axis. */
typedef struct cut {
  int axis;
  int64_t start, end, step, kept; /* kept: the size that is left */
} cut;

static bool cut_of(mien_rewriter *r, mien_node_id n, cut *c) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (h->since(r, n) < 10) return false;
  const mien_type *t = h->type(r, pass_in(r, n, 0)), *to = h->type(r, h->out(r, n, 0));
  const int64_t *list[4] = {NULL};
  for (int i = 0; i < 4; i++) {
    mien_value v = pass_in(r, n, i + 1);
    int64_t count = 0;
    list[i] = pass_numbers(r, v, &count);
    if (v == MIEN_NO_VALUE ? i < 2 : !list[i] || count != 1) return false;
  }
  if (!pass_is_known(t) || !pass_is_known(to)) return false;
  c->axis = pass_axis(list[2] ? *list[2] : 0, t->rank);
  if (c->axis < 0 || mien_is_symbol(t->dim[c->axis])) return false;
  int64_t size = t->dim[c->axis];
  c->step = list[3] ? *list[3] : 1;
  c->start = *list[0] < 0 ? *list[0] + size : *list[0];
  c->kept = to->dim[c->axis];
  if (c->step < 1 || c->start < 0 || c->kept < 1 || c->kept >= size) return false;
  if (c->start + (c->kept - 1) * c->step >= size) return false;
  c->end = c->start + (c->kept - 1) * c->step + 1;
  return true;
}

static mien_status apply_cut(mien_rewriter *r, mien_value v, int axis, const cut *c, mien_value *out) {
  int64_t at = axis;
  return pass_slice(r, v, 1, &at, &c->start, &c->end, &c->step, out);
}

/* The part of an input that broadcasts to a result of `rank`. */
static mien_status cut_broadcast(mien_rewriter *r, mien_value v, int rank, const cut *c, mien_value *out) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, v);
  int axis = c->axis - (rank - t->rank);
  *out = v;
  return axis < 0 || t->dim[axis] == 1 ? MIEN_OK : apply_cut(r, v, axis, c, out);
}

/* The node again with other inputs. */
static mien_status again(mien_rewriter *r, mien_node_id n, const mien_value *in, int count) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value z;
  MIEN_TRY(h->begin_at(r, h->op_name(r, n), h->since(r, n), in, count));
  MIEN_TRY(h->copy_attrs(r, n));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, pass_root_out(r), z);
}

/* The node whose rows are cut, when nothing else reads them. */
static bool sinkable(mien_rewriter *r, mien_node_id *n, cut *c) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = pass_in(r, h->root(r), 0);
  *n = h->producer(r, v);
  if (*n == MIEN_NO_NODE || !pass_is_single(r, v) || h->in_count(r, *n) > PASS_INPUTS || !cut_of(r, h->root(r), c))
    return false;
  for (int i = 1; i < h->out_count(r, *n); i++)
    if (pass_is_read(r, *n, i)) return false;
  return true;
}

static mien_status sink_elementwise(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c)) return MIEN_OK;
  mien_value in[PASS_INPUTS], y = pass_in(r, h->root(r), 0);
  int rank = pass_rank(r, y), count = h->in_count(r, n);
  bool first_only = pass_is_op(r, n, "Clip");
  for (int i = 0; i < count; i++) {
    in[i] = h->in(r, n, i);
    if (in[i] == MIEN_NO_VALUE) continue;
    const mien_type *t = h->type(r, in[i]);
    if (!pass_is_known(t) || t->rank > rank) return MIEN_OK;
    int axis = c.axis - (rank - t->rank);
    if (axis >= 0 && t->dim[axis] != 1 && !pass_same_dim(t->dim[axis], h->type(r, y)->dim[c.axis])) return MIEN_OK;
  }
  for (int i = 0; i < (first_only ? 1 : count); i++)
    if (in[i] != MIEN_NO_VALUE) MIEN_TRY(cut_broadcast(r, in[i], rank, &c, &in[i]));
  return again(r, n, in, count);
}

/* Operators that work along the last axes, [first, rank), and keep the shape. */
static mien_status sink_rows(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c)) return MIEN_OK;
  bool norm = pass_is_op(r, n, "LayerNormalization");
  int rank = pass_rank(r, pass_in(r, n, 0)), axis = pass_axis(h->attr_i(r, n, "axis"), rank);
  int count = h->in_count(r, n);
  if (axis < 0 || (norm || h->since(r, n) < 13 ? c.axis >= axis : c.axis == axis)) return MIEN_OK;
  mien_value in[PASS_INPUTS];
  for (int i = 0; i < count; i++) in[i] = h->in(r, n, i);
  /* Scale and bias that vary from row to row. */
  for (int i = 1; i < count; i++)
    if (in[i] != MIEN_NO_VALUE && pass_rank(r, in[i]) > rank - axis) return MIEN_OK;
  MIEN_TRY(apply_cut(r, in[0], c.axis, &c, &in[0]));
  return again(r, n, in, count);
}

static mien_status sink_linear(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  pass_product p;
  if (!sinkable(r, &n, &c) || !pass_product_of(r, n, &p) || c.axis == p.axis) return MIEN_OK;
  MIEN_TRY(apply_cut(r, p.in[PASS_X], c.axis, &c, &p.in[PASS_X]));
  if (p.in[PASS_R] != MIEN_NO_VALUE) MIEN_TRY(apply_cut(r, p.in[PASS_R], c.axis, &c, &p.in[PASS_R]));
  mien_value z;
  MIEN_TRY(pass_product_end(r, &p, &z));
  return h->replace(r, pass_root_out(r), z);
}

/* Rows of an attention are its queries. */
static mien_status sink_attention(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c) || h->attr_i(r, n, "y_rank") != 3 || c.axis != 1) return MIEN_OK;
  mien_value in[4];
  int count = h->in_count(r, n);
  if (count > 4) return MIEN_OK;
  for (int i = 0; i < count; i++) in[i] = h->in(r, n, i);
  int rank = pass_rank(r, in[0]);
  if (count == 4 && in[3] != MIEN_NO_VALUE) {
    const mien_type *t = h->type(r, in[3]);
    cut rows = c;
    rows.axis = 2; /* of [b, h, nq, nk] */
    if (!pass_is_known(t) || t->rank > 4) return MIEN_OK;
    MIEN_TRY(cut_broadcast(r, in[3], 4, &rows, &in[3]));
  }
  MIEN_TRY(apply_cut(r, in[0], rank - 2, &c, &in[0]));
  return again(r, n, in, count);
}

static mien_status sink_concat(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c)) return MIEN_OK;
  int count = h->in_count(r, n), axis = pass_axis(h->attr_i(r, n, "axis"), pass_rank(r, pass_in(r, h->root(r), 0)));
  mien_value in[PASS_INPUTS], z;
  if (axis < 0) return MIEN_OK;
  for (int i = 0; i < count; i++) in[i] = h->in(r, n, i);
  if (axis != c.axis) {
    for (int i = 0; i < count; i++) MIEN_TRY(apply_cut(r, in[i], c.axis, &c, &in[i]));
    return again(r, n, in, count);
  }
  for (int i = 0; i < count; i++) {
    int64_t size = h->type(r, in[i])->dim[axis];
    if (mien_is_symbol(size)) return MIEN_OK;
    if (c.start < size) {
      const mien_type *from = h->type(r, in[i]), *to = h->type(r, pass_root_out(r));
      if (c.end > size) return MIEN_OK;
      for (int k = 0; k < to->rank; k++) /* open sizes that another input has given a number */
        if (k != axis && !pass_same_dim(from->dim[k], to->dim[k])) return MIEN_OK;
      z = in[i];
      if (c.start > 0 || c.end < size || c.step > 1) MIEN_TRY(apply_cut(r, in[i], axis, &c, &z));
      return h->replace(r, pass_root_out(r), z);
    }
    c.start -= size;
    c.end -= size;
  }
  return MIEN_OK;
}

static mien_status sink_transpose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c)) return MIEN_OK;
  int64_t count = 0;
  int rank = pass_rank(r, pass_in(r, n, 0));
  const int64_t *perm = h->attr_ints(r, n, "perm", &count);
  int axis = perm && count == rank ? pass_axis(perm[c.axis], rank) : rank - 1 - c.axis;
  mien_value x = pass_in(r, n, 0);
  if (axis < 0) return MIEN_OK;
  MIEN_TRY(apply_cut(r, x, axis, &c, &x));
  return again(r, n, &x, 1);
}

/* A Reshape that leaves the axis alone: the same elements stand before it and behind it. */
static mien_status sink_reshape(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n;
  cut c;
  if (!sinkable(r, &n, &c)) return MIEN_OK;
  mien_value x = pass_in(r, n, 0), z = pass_root_out(r);
  const mien_type *t = h->type(r, x), *ty = h->type(r, h->out(r, n, 0)), *tz = h->type(r, z);
  if (!pass_is_known(t) || !pass_is_known(ty)) return MIEN_OK;
  int64_t before = pass_size_of(r, ty->dim, c.axis);
  for (int i = 0; i < t->rank; i++) {
    if (!pass_same_dim(t->dim[i], ty->dim[c.axis]) || !pass_same_dim(pass_size_of(r, t->dim, i), before)) continue;
    if (!pass_same_dim(pass_size_of(r, t->dim + i, t->rank - i), pass_size_of(r, ty->dim + c.axis, ty->rank - c.axis)))
      continue;
    if (!pass_can_reshape(r, x, tz->dim, tz->rank)) return MIEN_OK;
    MIEN_TRY(apply_cut(r, x, i, &c, &x));
    if (!pass_can_reshape(r, x, tz->dim, tz->rank)) return MIEN_OK;
    MIEN_TRY(pass_reshape(r, x, tz->dim, tz->rank, &x));
    return h->replace(r, z, x);
  }
  return MIEN_OK;
}

#define UNARY                                                                                               \
  "Abs|Neg|Exp|Log|Sqrt|Erf|Sin|Cos|Floor|Ceil|Round|Sign|Reciprocal|Relu|LeakyRelu|Elu|Selu|Celu|Sigmoid|" \
  "HardSigmoid|HardSwish|Tanh|Gelu|Mish|Softplus|Softsign|Not|Cast|Clip"
#define BROADCAST \
  "Add|Sub|Mul|Div|Pow|Mod|PRelu|And|Or|Xor|Equal|Less|Greater|LessOrEqual|GreaterOrEqual|Where|Max|Min|Sum|Mean"
static const char *const elementwise_patterns[] = {"Slice(" UNARY "(...), ...)", "Slice(" BROADCAST "(...), ...)",
                                                   NULL};
static const char *const rows_patterns[] = {"Slice(LayerNormalization|Softmax|LogSoftmax(...), ...)", NULL};
static const char *const linear_patterns[] = {"Slice(mien.Linear(...), ...)", NULL};
static const char *const attention_patterns[] = {"Slice(mien.Attention(...), ...)", NULL};
static const char *const concat_patterns[] = {"Slice(Concat(...), ...)", NULL};
static const char *const transpose_patterns[] = {"Slice(Transpose(_), ...)", NULL};
static const char *const reshape_patterns[] = {"Slice(Reshape(...), ...)", NULL};

#define SINK(NAME, WHAT)                                                                                      \
  {                                                                                                           \
    .name = "sink-into-" #NAME, .doc = "rows of " WHAT " -> of rows of its inputs", .stage = MIEN_STAGE_SINK, \
    .after = "merge-duplicates-sunk", .patterns = NAME##_patterns, .apply = sink_##NAME                       \
  }

const mien_rewrite mien_pass_sink[] = {SINK(elementwise, "an elementwise operator"),
                                       SINK(rows, "LayerNormalization or Softmax"),
                                       SINK(linear, "mien.Linear"),
                                       SINK(attention, "mien.Attention"),
                                       SINK(concat, "Concat"),
                                       SINK(transpose, "Transpose"),
                                       SINK(reshape, "Reshape"),
                                       {.name = NULL}};
