/* softmax(scale * Q K^T + bias) V in every spelling -> mien.Attention over tokens [batch, tokens, heads * depth]. Transposes,
** reshapes, slices of a common projection and factors of q and k are seen through as views of what they start from. */
#include "pass.h"

enum { MAX_TERMS = 6 };

/* What stands between the product Q K^T and the softmax. */
typedef struct scores {
  mien_value q, kt;
  double scale;
  int terms;
  mien_value bias[MAX_TERMS];
  double factor[MAX_TERMS];
} scores;

/* Made by an operator that occurs between the product and the softmax. */
static bool might_lead(mien_rewriter *r, mien_value v) {
  mien_node_id n = mien_rewrite_host_of(r)->producer(r, v);
  return pass_is_op(r, n, "MatMul") || pass_is_op(r, n, "Mul") || pass_is_op(r, n, "Div") || pass_is_op(r, n, "Add") ||
         pass_is_op(r, n, "Sub");
}

/* The operand of a Mul, Div, Add or Sub that leads on to the product; false at anything else. Where both operands of an Add
** might, the lowest bit of *choice decides. */
static bool scores_step(mien_rewriter *r, mien_node_id n, mien_value *v, double *outer, scores *s, unsigned *choice) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const char *op = h->op_name(r, n);
  const mien_type *t = h->type(r, *v);
  bool mul = strcmp(op, "Mul") == 0, div = strcmp(op, "Div") == 0, sub = strcmp(op, "Sub") == 0;
  if (!mul && !div && !sub && strcmp(op, "Add") != 0) return false;
  int skip = 0;
  if (!mul && !div && !sub && might_lead(r, pass_in(r, n, 0)) && might_lead(r, pass_in(r, n, 1))) {
    skip = (int)(*choice & 1);
    *choice >>= 1;
  }
  for (int i = skip; i < (div || sub ? 1 : 2); i++) {
    mien_value x = pass_in(r, n, i), other = pass_in(r, n, 1 - i);
    mien_node_id from = h->producer(r, x);
    double factor;
    if (from == MIEN_NO_NODE || !pass_is_single(r, x) || !pass_is_f32(r, x) || !pass_is_f32(r, other)) continue;
    if (!pass_same_type(h->type(r, x), t)) continue;
    if (mul || div) {
      if (!pass_scalar(r, other, &factor) || !isfinite(factor) || factor == 0) continue;
      *outer *= div ? 1 / factor : factor;
    } else {
      if (!might_lead(r, x) || s->terms == MAX_TERMS || pass_rank(r, other) > 4) continue;
      s->bias[s->terms] = other;
      s->factor[s->terms++] = sub ? -*outer : *outer;
    }
    *v = x;
    return true;
  }
  return false;
}

static bool follow_scores(mien_rewriter *r, mien_value v, unsigned choice, scores *s) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  double outer = 1;
  *s = (scores){.scale = 1};
  for (int i = 0; i < 2 * MAX_TERMS; i++) {
    mien_node_id n = h->producer(r, v);
    if (n == MIEN_NO_NODE || !pass_is_single(r, v)) return false;
    if (pass_is_op(r, n, "MatMul")) {
      s->q = pass_in(r, n, 0);
      s->kt = pass_in(r, n, 1);
      s->scale = outer;
      return true;
    }
    if (!scores_step(r, n, &v, &outer, s, &choice)) return false;
  }
  return false;
}

static bool find_scores(mien_rewriter *r, mien_value v, scores *s) {
  for (unsigned choice = 0; choice < 8; choice++)
    if (follow_scores(r, v, choice, s)) return true;
  return false;
}

/* An operand seen as [batch, heads, tokens, depth]. */
typedef struct operand {
  mien_value value; /* as it stands in the graph */
  int flags;
  bool transposed; /* the view's last two axes are depth, tokens */
  /* Found: token rows of `base` seen as [batch, tokens, columns], of which [first, first + heads * depth) is meant. */
  bool rows;
  mien_value base;
  int64_t columns, first;
  double scale;
} operand;

typedef struct sizes {
  int64_t b, h; /* batch and heads, however the graph's rank says them */
} sizes;

static int64_t tokens_of(const mien_rewriter *r, const operand *o) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, o->value);
  return t->dim[t->rank - (o->transposed ? 1 : 2)];
}
static int64_t depth_of(const mien_rewriter *r, const operand *o) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, o->value);
  return t->dim[t->rank - (o->transposed ? 2 : 1)];
}

/* Whether the view, brought to [b, h, n, d], is columns of token rows. */
static bool is_rows(mien_rewriter *r, pass_view *v, const operand *o, const sizes *z, operand *found) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int64_t n = tokens_of(r, o), d = depth_of(r, o), width = h->dim(r, '*', z->h, d), stride[4];
  int64_t dim[4] = {z->b, z->h, o->transposed ? d : n, o->transposed ? n : d};
  if (!mien__view_reshape(r, v, dim, 4)) return false;
  for (int i = 0; i < 4; i++) {
    if (v->first[i + 1] - v->first[i] > 1) return false;
    stride[i] = v->first[i + 1] > v->first[i] ? v->stride[v->first[i]] : 0; /* 0: an axis of size 1 */
  }
  int64_t row = stride[o->transposed ? 3 : 2], element = stride[o->transposed ? 2 : 3];
  if (mien_is_symbol(width) || width < 1 || (d != 1 && element != 1) || (z->h != 1 && stride[1] != d)) return false;
  const mien_type *t = h->type(r, v->base);
  int64_t total = pass_size_of(r, t->dim, t->rank);
  int64_t columns = n != 1 ? row : z->b != 1 ? stride[0] : total;
  if (mien_is_symbol(columns) || columns < 1 || mien_is_symbol(v->offset)) return false;
  int64_t batch = h->dim(r, '*', n, columns);
  if (z->b != 1 && !pass_same_dim(stride[0], batch)) return false;
  if (!pass_same_dim(total, h->dim(r, '*', z->b, batch))) return false;
  if (v->offset < 0 || width > columns || v->offset > columns - width) return false;
  if (!pass_can_reshape(r, v->base, (int64_t[]){z->b, n, columns}, 3)) return false;
  *found = *o;
  found->rows = true;
  found->base = v->base;
  found->columns = columns;
  found->first = v->offset;
  found->scale = v->scale;
  return true;
}

/* The farthest base that serves. */
static bool find_rows(mien_rewriter *r, operand *o, const sizes *z) {
  for (int depth = mien__view_depth(r, o->value, o->flags); depth >= 0; depth--) {
    pass_view v;
    if (mien__view(r, o->value, depth, o->flags, &v) && is_rows(r, &v, o, z, o)) return true;
  }
  return false;
}

/* The operand as a node input: rank 3 where rows were found, else rank 4. */
static mien_status operand_input(mien_rewriter *r, const operand *o, const sizes *z, mien_value *out) {
  int rank = pass_rank(r, o->value);
  int64_t n = tokens_of(r, o), d = depth_of(r, o);
  mien_value v = o->value;
  if (o->rows) {
    MIEN_TRY(pass_reshape(r, o->base, (int64_t[]){z->b, n, o->columns}, 3, &v));
    int64_t width = z->h * d;
    if (width != o->columns) MIEN_TRY(pass_slice_one(r, v, 2, o->first, o->first + width, &v));
  } else {
    int64_t perm[4] = {0, 1, 2, 3};
    perm[rank - 1] = rank - 2;
    perm[rank - 2] = rank - 1;
    if (o->transposed) MIEN_TRY(pass_transpose(r, v, perm, rank, &v));
    if (rank != 4) MIEN_TRY(pass_reshape(r, v, (int64_t[]){z->b, z->h, n, d}, 4, &v));
  }
  *out = v;
  return MIEN_OK;
}

/* A term of rank 3 over scores of rank 3, [b * h, nq, nk], would be read as [h, nq, nk]: its sizes as [b, h, nq, nk]. */
static bool bias_unfolds(const mien_type *t, int rank, const sizes *z, int64_t *dim) {
  if (rank != 3 || t->rank != 3 || t->dim[0] == 1 || z->b == 1) return false;
  dim[0] = z->b;
  dim[1] = z->h;
  dim[2] = t->dim[1];
  dim[3] = t->dim[2];
  return true;
}

/* Sum of the terms, as something that broadcasts to [b, h, nq, nk]. */
static mien_status bias_input(mien_rewriter *r, const scores *s, int rank, const sizes *z, mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *out = MIEN_NO_VALUE;
  for (int i = 0; i < s->terms; i++) {
    mien_value b = s->bias[i];
    const mien_type *t = h->type(r, b);
    int64_t dim[4];
    if (bias_unfolds(t, rank, z, dim)) MIEN_TRY(pass_reshape(r, b, dim, 4, &b));
    if (s->factor[i] != 1) {
      float factor = (float)s->factor[i];
      mien_type scalar = {.dtype = MIEN_F32};
      mien_value c;
      MIEN_TRY(h->constant_floats(r, &factor, &scalar, &c));
      MIEN_TRY(PASS_ADD(r, "Mul", &b, b, c));
    }
    if (*out == MIEN_NO_VALUE)
      *out = b;
    else
      MIEN_TRY(PASS_ADD(r, "Add", out, *out, b));
  }
  return MIEN_OK;
}

static bool biases_fit(mien_rewriter *r, const scores *s, int rank, const sizes *z) {
  for (int i = 0; i < s->terms; i++) {
    const mien_type *t = mien_rewrite_host_of(r)->type(r, s->bias[i]);
    if (t->rank > rank || !pass_is_known(t)) return false;
    int64_t dim[4];
    if (bias_unfolds(t, rank, z, dim) && !pass_can_reshape(r, s->bias[i], dim, 4)) return false;
  }
  return true;
}

/* Readings of a leading axis as batch and heads: as an operand's view has merged it, all batch, all heads. */
static int readings(mien_rewriter *r, const operand *o, int64_t leading, sizes *z) {
  int count = 0;
  for (int i = 0; i < 3; i++)
    for (int depth = mien__view_depth(r, o[i].value, o[i].flags); depth > 0; depth--) {
      pass_view v;
      if (!mien__view(r, o[i].value, depth, o[i].flags, &v) || v.first[1] != 2) continue;
      if (mien_is_symbol(v.size[1])) continue;
      z[count++] = (sizes){v.size[0], v.size[1]};
      break;
    }
  z[count++] = (sizes){leading, 1};
  if (!mien_is_symbol(leading)) z[count++] = (sizes){1, leading};
  return count;
}

/* The reading under which most operands are token rows. */
static sizes best_reading(mien_rewriter *r, operand *o, const mien_type *t) {
  sizes z[5] = {{t->dim[0], t->dim[1]}}, best = z[0];
  int count = t->rank == 4 ? 1 : readings(r, o, t->dim[0], z), most = -1;
  operand given[3] = {o[0], o[1], o[2]};
  for (int i = 0; i < count; i++) {
    operand now[3] = {given[0], given[1], given[2]};
    int rows = 0;
    for (int k = 0; k < 3; k++) rows += find_rows(r, &now[k], &z[i]);
    if (rows <= most) continue;
    most = rows;
    best = z[i];
    memcpy(o, now, sizeof now);
  }
  return best;
}

/* A factor right before the operand goes into the scale even where no rows were found. */
static void take_factors(mien_rewriter *r, operand *o) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  for (int i = 0; i < 4 && !o->rows && (o->flags & PASS_VIEW_SCALES); i++) {
    mien_node_id n = h->producer(r, o->value);
    pass_view v;
    if (!pass_is_op(r, n, "Mul") && !pass_is_op(r, n, "Div")) return;
    if (mien__view_depth(r, o->value, o->flags) < 1 || !mien__view(r, o->value, 1, o->flags, &v)) return;
    o->value = v.base;
    o->scale *= v.scale;
  }
}

static bool leading_axes_agree(const mien_type *a, const mien_type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank - 2; i++)
    if (!pass_same_dim(a->dim[i], b->dim[i])) return false;
  return true;
}

/* Whether the Reshapes of operands that are no rows, and of the result, can be said where sizes are open. */
static bool shapes_can_be_told(mien_rewriter *r, const operand *o, const mien_type *ts, const mien_type *ty,
                               const sizes *z) {
  int64_t spec[MIEN_MAX_RANK];
  if (ts->rank != 3) return true;
  for (int i = 0; i < 3; i++) {
    int64_t dim[4] = {z->b, z->h, tokens_of(r, &o[i]), depth_of(r, &o[i])};
    const mien_type turned = {.rank = 3, .dim = {ts->dim[0], dim[2], dim[3]}};
    if (!o[i].rows && !pass_reshape_spec(&turned, dim, 4, spec)) return false;
  }
  const mien_type heads = {.rank = 4, .dim = {z->b, z->h, ty->dim[1], ty->dim[2]}};
  return pass_reshape_spec(&heads, ty->dim, 3, spec);
}

static mien_status fuse_attention(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value p = h->bound(r, "p"), y = pass_root_out(r);
  mien_node_id softmax = h->producer(r, p);
  scores s;
  if (!pass_is_f32(r, y) || !pass_is_single(r, p) || !find_scores(r, h->bound(r, "s"), &s)) return MIEN_OK;
  operand o[3] = {{.value = s.q, .flags = PASS_VIEW_SLICES | PASS_VIEW_SCALES, .scale = 1},
                  {.value = s.kt, .flags = PASS_VIEW_SLICES | PASS_VIEW_SCALES, .transposed = true, .scale = 1},
                  {.value = h->bound(r, "v"), .flags = PASS_VIEW_SLICES, .scale = 1}};
  const mien_type *ts = h->type(r, p), *ty = h->type(r, y);
  if (pass_axis(h->attr_i(r, softmax, "axis"), ts->rank) != ts->rank - 1) return MIEN_OK;
  if ((ts->rank != 3 && ts->rank != 4) || !pass_is_known(ts) || !pass_is_known(ty)) return MIEN_OK;
  for (int i = 0; i < 3; i++) {
    const mien_type *t = h->type(r, o[i].value);
    if (!pass_is_f32(r, o[i].value) || !pass_is_known(t) || !leading_axes_agree(t, ts)) return MIEN_OK;
    if (t->dim[t->rank - 1] == 0 || t->dim[t->rank - 2] == 0) return MIEN_OK;
    if (mien_is_symbol(t->dim[t->rank - (i == 1 ? 2 : 1)])) return MIEN_OK;
  }
  sizes z = best_reading(r, o, ts);
  for (int i = 0; i < 3; i++) take_factors(r, &o[i]);
  int64_t depth = ty->dim[ty->rank - 1], queries = ty->dim[ty->rank - 2];
  if (mien_is_symbol(z.h) || mien_is_symbol(depth) || z.h < 1 || z.b == 0 || !biases_fit(r, &s, ts->rank, &z))
    return MIEN_OK;
  if (!shapes_can_be_told(r, o, ts, ty, &z)) return MIEN_OK;
  int64_t split[4] = {z.b, queries, z.h, depth};
  mien_value in[4], out;
  for (int i = 0; i < 3; i++) MIEN_TRY(operand_input(r, &o[i], &z, &in[i]));
  MIEN_TRY(bias_input(r, &s, ts->rank, &z, &in[3]));
  MIEN_TRY(h->begin(r, "mien.Attention", in, in[3] == MIEN_NO_VALUE ? 3 : 4));
  MIEN_TRY(h->set_i(r, "heads", z.h));
  MIEN_TRY(h->set_i(r, "y_rank", 3));
  MIEN_TRY(h->set_f(r, "scale", s.scale * o[0].scale * o[1].scale));
  MIEN_TRY(h->end(r, &out, 1));
  MIEN_TRY(pass_reshape(r, out, split, 4, &out));
  MIEN_TRY(pass_transpose(r, out, (int64_t[]){0, 2, 1, 3}, 4, &out));
  if (ty->rank != 4) MIEN_TRY(pass_reshape(r, out, ty->dim, ty->rank, &out));
  return h->replace(r, y, out);
}

/* Heads that are left apart after all. */
static mien_status attention_heads(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value a = h->bound(r, "a"), s = h->bound(r, "s"), y = pass_root_out(r), z;
  mien_node_id n = h->producer(r, a);
  if (!pass_is_single(r, a) || !pass_is_single(r, s) || h->attr_i(r, n, "y_rank") != 3) return MIEN_OK;
  const mien_type *t = h->type(r, a), *ts = h->type(r, s);
  int64_t count = 0;
  const int64_t *perm = h->attr_ints(r, h->root(r), "perm", &count);
  if (!perm || count != 4 || perm[0] != 0 || perm[1] != 2 || perm[2] != 1 || perm[3] != 3) return MIEN_OK;
  if (ts->rank != 4 || ts->dim[2] != h->attr_i(r, n, "heads") || !pass_same_dim(ts->dim[0], t->dim[0]) ||
      !pass_same_dim(ts->dim[1], t->dim[1]))
    return MIEN_OK;
  mien_value in[4];
  int inputs = h->in_count(r, n);
  for (int i = 0; i < 4; i++) in[i] = pass_in(r, n, i);
  MIEN_TRY(h->begin(r, "mien.Attention", in, inputs < 4 ? inputs : 4));
  MIEN_TRY(h->copy_attrs(r, n));
  MIEN_TRY(h->set_i(r, "y_rank", 4));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static const char *const attention_patterns[] = {"MatMul(p:Softmax(s), v)", NULL};
static const char *const heads_patterns[] = {"Transpose(s:Reshape(a:mien.Attention(...), ...))", NULL};

const mien_rewrite mien_pass_attention[] = {{.name = "fuse-attention",
                                             .doc = "softmax(scale * Q K^T + bias) V -> mien.Attention",
                                             .stage = MIEN_STAGE_FUSE,
                                             .patterns = attention_patterns,
                                             .apply = fuse_attention},
                                            {.name = "attention-heads",
                                             .doc = "mien.Attention whose heads are parted again -> with y_rank 4",
                                             .stage = MIEN_STAGE_FINISH,
                                             .patterns = heads_patterns,
                                             .apply = attention_heads},
                                            {.name = NULL}};
