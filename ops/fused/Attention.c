/* mien.Attention: Y = softmax(scale Q K^T + B) V for every batch and head, never holding all logits. Q, K, V each
** [b, h, n, d] or [b, n, h * d] (`heads` says h); Y as y_rank says. B is added to the logits and broadcast to
** [b, h, nq, nk]. fp32.  mien 1. */
#include "ops/epilogue.h"
#include "ops/loop.h"

enum { ATTENTION_Q, ATTENTION_K, ATTENTION_V, ATTENTION_B };

typedef struct attention_state {
  mien_attention a; /* without data */
  bool copy_bias;   /* B's rows are a single element repeated: stretched in scratch */
  size_t kernel_scratch;
} attention_state;

/* An operand as [b, h, n, d]; open sizes stay symbols. */
static mien_status attention_shape(mien_node *n, int i, int64_t heads, int64_t *s) {
  static const char names[] = "QKV";
  const mien_type *t = &mien_in(n, i)->type;
  if (t->rank != 3 && t->rank != 4)
    return mien_fail(n, MIEN_INVALID_MODEL, "input %c has rank %d, expected 3 or 4", names[i], (int)t->rank);
  if (t->rank == 4) {
    for (int d = 0; d < 4; d++) s[d] = t->dim[d];
    return MIEN_OK;
  }
  if (heads < 1) return mien_fail(n, MIEN_INVALID_MODEL, "input %c has rank 3 and needs attribute heads", names[i]);
  if (!mien_is_symbol(t->dim[2]) && t->dim[2] % heads != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "input %c has %lld features, not a multiple of heads %lld", names[i],
                     (long long)t->dim[2], (long long)heads);
  s[0] = t->dim[0], s[1] = heads, s[2] = t->dim[1], s[3] = mien_dim(n, '/', t->dim[2], heads);
  return MIEN_OK;
}

static mien_status attention_check_bias(mien_node *n, const int64_t *logits) {
  const mien_tensor *b = mien_in(n, ATTENTION_B);
  if (!b) return MIEN_OK;
  if (b->type.rank > 4) return mien_fail(n, MIEN_INVALID_MODEL, "input B has rank %d, at most 4", (int)b->type.rank);
  for (int i = 1; i <= b->type.rank; i++) {
    const int64_t have = b->type.dim[b->type.rank - i];
    if (have != 1 && epilogue_differs(have, logits[4 - i]))
      return mien_fail(n, MIEN_INVALID_MODEL,
                       "input B has %lld elements along dimension %d from the end, expected %lld", (long long)have, i,
                       (long long)logits[4 - i]);
  }
  return MIEN_OK;
}

static mien_status attention_infer(mien_node *n) {
  const int64_t heads = mien_attr_i(n, "heads"), y_rank = mien_attr_i(n, "y_rank");
  int64_t q[4], k[4], v[4];
  MIEN_TRY(attention_shape(n, ATTENTION_Q, heads, q));
  MIEN_TRY(attention_shape(n, ATTENTION_K, heads, k));
  MIEN_TRY(attention_shape(n, ATTENTION_V, heads, v));
  bool agree = !epilogue_differs(q[3], k[3]) && !epilogue_differs(k[2], v[2]);
  for (int d = 0; d < 2; d++) agree = agree && !epilogue_differs(q[d], k[d]) && !epilogue_differs(q[d], v[d]);
  if (!agree) return mien_fail(n, MIEN_INVALID_MODEL, "the shapes of Q, K and V do not fit together");
  if (y_rank != 3 && y_rank != 4)
    return mien_fail(n, MIEN_INVALID_MODEL, "y_rank is %lld, expected 3 or 4", (long long)y_rank);
  const int64_t logits[4] = {q[0], q[1], q[2], k[2]};
  MIEN_TRY(attention_check_bias(n, logits));
  mien_type y = {.dtype = MIEN_F32, .rank = (int)y_rank};
  y.dim[0] = q[0];
  y.dim[1] = y_rank == 4 ? q[1] : q[2];
  y.dim[2] = y_rank == 4 ? q[2] : mien_dim(n, '*', q[1], v[3]);
  y.dim[3] = y_rank == 4 ? v[3] : 0;
  return mien_set_type(n, 0, &y);
}

/* Strides of a tensor of shape [b, h, n, d] (rank 4) or [b, n, h * d]. */
static mien_strides attention_strides(int rank, const int64_t *s) {
  if (rank == 4) return (mien_strides){.batch = s[1] * s[2] * s[3], .head = s[2] * s[3], .row = s[3]};
  return (mien_strides){.batch = s[1] * s[2] * s[3], .head = s[3], .row = s[1] * s[3]};
}

static mien_status attention_prepare(mien_node *n) {
  attention_state *s = mien_state(n);
  mien_attention *a = &s->a;
  const mien_math *math = mien_math_of(n);
  const int64_t heads = mien_attr_i(n, "heads");
  int64_t q[4], k[4], v[4];
  MIEN_TRY(attention_shape(n, ATTENTION_Q, heads, q));
  MIEN_TRY(attention_shape(n, ATTENTION_K, heads, k));
  MIEN_TRY(attention_shape(n, ATTENTION_V, heads, v));
  a->batches = q[0], a->heads = q[1], a->queries = q[2], a->keys = k[2], a->depth = q[3], a->value_depth = v[3];
  a->kv_batch_div = a->q_batch_div = 1;
  a->scale = (float)mien_attr_f(n, "scale");
  a->qs = attention_strides(mien_in(n, ATTENTION_Q)->type.rank, q);
  a->ks = attention_strides(mien_in(n, ATTENTION_K)->type.rank, k);
  a->vs = attention_strides(mien_in(n, ATTENTION_V)->type.rank, v);
  const int64_t y[4] = {q[0], q[1], q[2], v[3]};
  a->ys = attention_strides(mien_out(n, 0)->type.rank, y);
  const mien_tensor *b = mien_in(n, ATTENTION_B);
  if (b) {
    int64_t dim[4] = {1, 1, 1, 1};
    for (int i = 1; i <= b->type.rank; i++) dim[4 - i] = b->type.dim[b->type.rank - i];
    a->bs.row = dim[2] == 1 ? 0 : dim[3];
    a->bs.head = dim[1] == 1 ? 0 : dim[2] * dim[3];
    a->bs.batch = dim[0] == 1 ? 0 : dim[1] * dim[2] * dim[3];
    s->copy_bias = dim[3] == 1 && a->keys != 1;
  }
  const size_t bytes = math->attention_scratch(a);
  if (bytes == SIZE_MAX || bytes > SIZE_MAX - 64) return mien_fail(n, MIEN_LIMIT, "the attention is too large");
  s->kernel_scratch = (bytes + 63) / 64 * 64;
  size_t stretched = 0, total;
  if (s->copy_bias && __builtin_mul_overflow((size_t)(a->keys * math->attention_rows), sizeof(float), &stretched))
    return mien_fail(n, MIEN_LIMIT, "the attention is too large");
  if (__builtin_add_overflow(s->kernel_scratch, stretched, &total))
    return mien_fail(n, MIEN_LIMIT, "the attention is too large");
  MIEN_TRY(mien_scratch(n, total));
  const int64_t blocks = (a->queries + math->attention_rows - 1) / math->attention_rows;
  const double flops = 2.0 * (double)a->keys * (double)(a->depth + a->value_depth) * (double)math->attention_rows;
  mien_work(n, a->batches * a->heads * blocks, flops / 40 + (double)a->keys * (double)math->attention_rows + 100);
  mien_note(n, 2.0 * (double)q[0] * (double)q[1] * (double)q[2] * (double)k[2] * (double)(q[3] + v[3]),
            s->copy_bias ? "attention by rows, copies bias" : "attention by rows");
  return MIEN_OK;
}

/* A bias with one element a row: each block's rows are written out before the kernel reads them. */
static void attention_stretched(mien_node *n, const attention_state *s, mien_attention *a, int64_t item) {
  const mien_math *math = mien_math_of(n);
  const int64_t blocks = (a->queries + math->attention_rows - 1) / math->attention_rows, block = item % blocks;
  const int64_t head = item / blocks % a->heads, batch = item / blocks / a->heads;
  const int64_t first = block * math->attention_rows;
  const int64_t rows = a->queries - first < math->attention_rows ? a->queries - first : math->attention_rows;
  const float *bias = a->bias + batch * s->a.bs.batch + head * s->a.bs.head + first * s->a.bs.row;
  float *to = (float *)(void *)((char *)mien_scratch_of(n) + s->kernel_scratch);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < a->keys; j++) to[i * a->keys + j] = bias[i * s->a.bs.row];
  mien_attention one = *a;
  one.bias = to - first * a->keys;
  one.bs = (mien_strides){.row = a->keys};
  math->attention(&one, item, item + 1, mien_scratch_of(n));
}

static mien_status attention_run(mien_node *n, int64_t begin, int64_t end) {
  const attention_state *s = mien_state(n);
  mien_attention a = s->a;
  a.q = mien_in(n, ATTENTION_Q)->data;
  a.k = mien_in(n, ATTENTION_K)->data;
  a.v = mien_in(n, ATTENTION_V)->data;
  a.bias = epilogue_data(n, ATTENTION_B);
  a.y = mien_out(n, 0)->data;
  if (!s->copy_bias)
    mien_math_of(n)->attention(&a, begin, end, mien_scratch_of(n));
  else
    for (int64_t item = begin; item < end; item++) attention_stretched(n, s, &a, item);
  return MIEN_OK;
}

static const mien_kernel attention_kernels[] = {{MIEN_F32, attention_run}, {MIEN_NONE, NULL}};
static const mien_attr attention_attrs[] = {{.name = "heads", .kind = 'i'},
                                            {.name = "y_rank", .kind = 'i', .i = 4},
                                            {.name = "scale", .kind = 'f', .required = true},
                                            {.name = NULL}};

const mien_op mien_ops_fused_Attention[] = {
    {.domain = "mien",
     .name = "Attention",
     .since = 1,
     .signature = "Q:T, K:T, V:T, B:T? -> Y:T",
     .attrs = attention_attrs,
     .kernels = attention_kernels,
     .state = sizeof(attention_state),
     .infer = attention_infer,
     .prepare = attention_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "softmax(scale Q K^T + B) V"},
    {.name = NULL},
};
