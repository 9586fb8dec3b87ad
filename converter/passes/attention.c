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

/* Whether the view, brought to [b, h, n, d], is columns of token rows. */
static bool is_rows(mien_rewriter *r, const pass_view *v, const operand *o, const sizes *z, operand *found) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int64_t dim[4] = {z->b, z->h, 0, 0}, stride[4] = {0, 0, 0, 0};
  int last = v->rank - 1, n = o->transposed ? last : last - 1, d = o->transposed ? last - 1 : last;
  dim[2] = v->dim[n];
  dim[3] = v->dim[d];
  stride[2] = v->stride[n];
  stride[3] = v->stride[d];
  if (v->rank == 4) {
    stride[0] = v->stride[0];
    stride[1] = v->stride[1];
  } else {
    stride[pass_same_dim(z->b, v->dim[0]) && z->h == 1 ? 0 : 1] = v->stride[0];
  }
  int64_t width = h->dim(r, '*', dim[1], dim[3]);
  if (mien_is_symbol(width) || width < 1) return false;
  if (dim[3] != 1 && stride[3] != 1) return false;
  if (dim[1] != 1 && stride[1] != dim[3]) return false;
  const mien_type *t = h->type(r, v->base);
  int64_t total = pass_size_of(r, t->dim, t->rank);
  int64_t columns = dim[2] != 1 ? stride[2] : dim[0] != 1 ? stride[0] : total;
  if (mien_is_symbol(columns) || columns < 1 || mien_is_symbol(v->offset)) return false;
  int64_t batch = h->dim(r, '*', dim[2], columns);
  if (dim[0] != 1 && !pass_same_dim(stride[0], batch)) return false;
  if (!pass_same_dim(total, h->dim(r, '*', dim[0], batch))) return false;
  if (v->offset < 0 || width > columns || v->offset > columns - width) return false;
  if (!pass_can_reshape(r, v->base, (int64_t[]){dim[0], dim[2], columns}, 3)) return false;
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
  const mien_type *t = mien_rewrite_host_of(r)->type(r, o->value);
  int last = t->rank - 1;
  int64_t n = t->dim[o->transposed ? last : last - 1], d = t->dim[o->transposed ? last - 1 : last];
  mien_value v = o->value;
  if (o->rows) {
    MIEN_TRY(pass_reshape(r, o->base, (int64_t[]){z->b, n, o->columns}, 3, &v));
    int64_t width = z->h * d;
    if (width != o->columns) MIEN_TRY(pass_slice_one(r, v, 2, o->first, o->first + width, &v));
  } else {
    int64_t perm[4] = {0, 1, 2, 3};
    perm[last] = last - 1;
    perm[last - 1] = last;
    if (o->transposed) MIEN_TRY(pass_transpose(r, v, perm, t->rank, &v));
    if (t->rank != 4) MIEN_TRY(pass_reshape(r, v, (int64_t[]){z->b, z->h, n, d}, 4, &v));
  }
  *out = v;
  return MIEN_OK;
}

/* Sum of the terms, as something that broadcasts to [b, h, nq, nk]. */
static mien_status bias_input(mien_rewriter *r, const scores *s, int rank, const sizes *z, mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *out = MIEN_NO_VALUE;
  for (int i = 0; i < s->terms; i++) {
    mien_value b = s->bias[i];
    const mien_type *t = h->type(r, b);
    /* [batch, nq, nk] would be read as [heads, nq, nk]. */
    if (rank == 3 && t->rank == 3 && z->h == 1)
      MIEN_TRY(pass_reshape(r, b, (int64_t[]){t->dim[0], 1, t->dim[1], t->dim[2]}, 4, &b));
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
    if (rank == 3 && t->rank == 3 && z->h == 1 &&
        !pass_can_reshape(r, s->bias[i], (int64_t[]){t->dim[0], 1, t->dim[1], t->dim[2]}, 4))
      return false;
  }
  return true;
}

/* All of it for one reading of the leading axes as batch and heads; tells how many operands are token rows. */
static int read_operands(mien_rewriter *r, operand *o, const sizes *z) {
  int rows = 0;
  for (int i = 0; i < 3; i++) rows += find_rows(r, &o[i], z);
  return rows;
}

static bool leading_axes_agree(const mien_type *a, const mien_type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank - 2; i++)
    if (!pass_same_dim(a->dim[i], b->dim[i])) return false;
  return true;
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
  sizes z = {ts->dim[0], ts->rank == 4 ? ts->dim[1] : 1};
  int rows = read_operands(r, o, &z);
  if (ts->rank == 3 && rows < 3) {
    operand other[3] = {o[0], o[1], o[2]};
    for (int i = 0; i < 3; i++) other[i].rows = false, other[i].scale = 1;
    sizes as_heads = {1, ts->dim[0]};
    if (!mien_is_symbol(as_heads.h) && read_operands(r, other, &as_heads) > rows) {
      memcpy(o, other, sizeof o);
      z = as_heads;
    }
  }
  int64_t depth = ty->dim[ty->rank - 1], queries = ty->dim[ty->rank - 2];
  if (mien_is_symbol(z.h) || mien_is_symbol(depth) || z.h < 1 || z.b == 0 || !biases_fit(r, &s, ts->rank, &z))
    return MIEN_OK;
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
