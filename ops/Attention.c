/* Attention: softmax(scale Q K^T, capped, + mask) V for each head; heads of K and V may serve several of Q; a past of keys
** and values stands in front of the new ones.  ai.onnx 23, 24 (nonpad_kv_seqlen). A plain loop, one query row an item; the
** converter turns the plain cases into mien.Attention. A row whose mask leaves no key gives zeros, as the standard says. */
#include "ops/epilogue.h"
#include "ops/loop.h"
#include <math.h>

enum { ATTN_Q, ATTN_K, ATTN_V, ATTN_MASK, ATTN_PAST_K, ATTN_PAST_V, ATTN_LENGTHS };
enum { ATTN_RAW, ATTN_CAPPED, ATTN_MASKED, ATTN_SOFTMAX };

typedef struct attn_strides {
  int64_t batch, head, row;
} attn_strides;

/* Sizes may be symbols in infer. */
typedef struct attn_state {
  int64_t batches, heads, kv_heads, queries, past, fresh, keys, depth, value_depth;
  attn_strides q, k, v, y;
  int64_t mask_stride[3], mask_length; /* along batch, head, row; keys that it has */
  double scale, cap;
  bool causal;
  int64_t mode;
} attn_state;

/* Input i as [b, h, n, d]. */
static mien_status attn_shape(mien_node *n, int i, const char *attr, int64_t *s) {
  static const char names[] = "QKV";
  const mien_type *t = &mien_in(n, i)->type;
  if (t->rank == 4) {
    for (int d = 0; d < 4; d++) s[d] = t->dim[d];
    return MIEN_OK;
  }
  const int64_t heads = mien_attr_i(n, attr);
  if (t->rank != 3)
    return mien_fail(n, MIEN_INVALID_MODEL, "input %c has rank %d, expected 3 or 4", names[i], (int)t->rank);
  if (heads < 1) return mien_fail(n, MIEN_INVALID_MODEL, "input %c has rank 3 and needs attribute %s", names[i], attr);
  if (!mien_is_symbol(t->dim[2]) && t->dim[2] % heads != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "input %c has %lld features, not a multiple of %s %lld", names[i],
                     (long long)t->dim[2], attr, (long long)heads);
  s[0] = t->dim[0], s[1] = heads, s[2] = t->dim[1], s[3] = mien_dim(n, '/', t->dim[2], heads);
  return MIEN_OK;
}

static mien_status attn_past(mien_node *n, int i, const char *name, const attn_state *s, int64_t depth,
                             int64_t *length) {
  const mien_tensor *t = mien_in(n, i);
  if (!t) return MIEN_OK;
  const int64_t *d = t->type.dim;
  if (t->type.rank != 4 || epilogue_differs(d[0], s->batches) || epilogue_differs(d[1], s->kv_heads) ||
      epilogue_differs(d[3], depth))
    return mien_fail(n, MIEN_INVALID_MODEL,
                     "input %s has rank %d or sizes that do not fit, expected [%lld,%lld,?,%lld]", name,
                     (int)t->type.rank, (long long)s->batches, (long long)s->kv_heads, (long long)depth);
  *length = d[2];
  return MIEN_OK;
}

/* Everything about sizes; serves infer and prepare. */
static mien_status attn_sizes(mien_node *n, attn_state *s) {
  int64_t q[4], k[4], v[4], past_v = 0;
  memset(s, 0, sizeof *s);
  MIEN_TRY(attn_shape(n, ATTN_Q, "q_num_heads", q));
  MIEN_TRY(attn_shape(n, ATTN_K, "kv_num_heads", k));
  MIEN_TRY(attn_shape(n, ATTN_V, "kv_num_heads", v));
  bool fits = !epilogue_differs(q[3], k[3]) && !epilogue_differs(q[0], k[0]);
  for (int d = 0; d < 3; d++) fits = fits && !epilogue_differs(k[d], v[d]);
  if (!fits) return mien_fail(n, MIEN_INVALID_MODEL, "the shapes of Q, K and V do not fit together");
  s->batches = q[0], s->heads = q[1], s->kv_heads = k[1], s->queries = q[2], s->fresh = k[2];
  s->depth = q[3], s->value_depth = v[3];
  if (!mien_is_symbol(s->heads) && !mien_is_symbol(s->kv_heads) && (s->kv_heads < 1 || s->heads % s->kv_heads != 0))
    return mien_fail(n, MIEN_INVALID_MODEL, "%lld heads of Q are not a multiple of the %lld of K", (long long)s->heads,
                     (long long)s->kv_heads);
  if (!mien_in(n, ATTN_PAST_K) != !mien_in(n, ATTN_PAST_V))
    return mien_fail(n, MIEN_INVALID_MODEL, "past_key and past_value must be given together");
  MIEN_TRY(attn_past(n, ATTN_PAST_K, "past_key", s, s->depth, &s->past));
  MIEN_TRY(attn_past(n, ATTN_PAST_V, "past_value", s, s->value_depth, &past_v));
  if (epilogue_differs(s->past, past_v))
    return mien_fail(n, MIEN_INVALID_MODEL, "past_key and past_value have different lengths");
  s->keys = mien_dim(n, '+', s->past, s->fresh);
  s->mode = mien_attr_i(n, "qk_matmul_output_mode");
  s->causal = mien_attr_i(n, "is_causal") != 0;
  s->cap = mien_attr_f(n, "softcap");
  if (s->mode < ATTN_RAW || s->mode > ATTN_SOFTMAX)
    return mien_fail(n, MIEN_INVALID_MODEL, "qk_matmul_output_mode is %lld, expected 0 to 3", (long long)s->mode);
  return MIEN_OK;
}

static mien_status attn_check_mask(mien_node *n, const attn_state *s) {
  const mien_tensor *m = mien_in(n, ATTN_MASK), *l = mien_in_count(n) > ATTN_LENGTHS ? mien_in(n, ATTN_LENGTHS) : NULL;
  if (l && (l->type.rank != 1 || epilogue_differs(l->type.dim[0], s->batches)))
    return mien_fail(n, MIEN_INVALID_MODEL, "nonpad_kv_seqlen has rank %d, expected 1 with %lld elements",
                     (int)l->type.rank, (long long)s->batches);
  if (l && mien_in(n, ATTN_PAST_K))
    return mien_fail(n, MIEN_INVALID_MODEL, "nonpad_kv_seqlen and past_key cannot be given together");
  if (!m) return MIEN_OK;
  const int64_t want[3] = {s->batches, s->heads, s->queries};
  bool fits = m->type.rank >= 1 && m->type.rank <= 4;
  for (int i = 2; fits && i <= m->type.rank; i++) {
    const int64_t have = m->type.dim[m->type.rank - i];
    fits = have == 1 || !epilogue_differs(have, want[4 - i]);
  }
  const int64_t length = fits ? m->type.dim[m->type.rank - 1] : 0;
  if (fits && !mien_is_symbol(length) && !mien_is_symbol(s->keys)) fits = length <= s->keys;
  if (fits) return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "attn_mask does not fit to %lld queries and %lld keys", (long long)s->queries,
                   (long long)s->keys);
}

static mien_status attn_infer(mien_node *n) {
  attn_state s;
  MIEN_TRY(attn_sizes(n, &s));
  MIEN_TRY(attn_check_mask(n, &s));
  const mien_type *q = &mien_in(n, ATTN_Q)->type;
  mien_type t = {.dtype = q->dtype, .rank = 4};
  t.dim[0] = s.batches, t.dim[1] = s.kv_heads, t.dim[2] = s.keys, t.dim[3] = s.depth;
  MIEN_TRY(mien_set_type(n, 1, &t));
  t.dim[3] = s.value_depth;
  MIEN_TRY(mien_set_type(n, 2, &t));
  t.dim[1] = s.heads, t.dim[2] = s.queries, t.dim[3] = s.keys;
  MIEN_TRY(mien_set_type(n, 3, &t));
  t.dim[3] = s.value_depth;
  if (q->rank == 3) {
    t.rank = 3;
    t.dim[1] = s.queries, t.dim[2] = mien_dim(n, '*', s.heads, s.value_depth), t.dim[3] = 0;
  }
  return mien_set_type(n, 0, &t);
}

static attn_strides attn_strides_of(int rank, int64_t heads, int64_t rows, int64_t depth) {
  if (rank == 4) return (attn_strides){heads * rows * depth, rows * depth, depth};
  return (attn_strides){heads * rows * depth, depth, heads * depth};
}

static mien_status attn_prepare(mien_node *n) {
  attn_state *s = mien_state(n);
  MIEN_TRY(attn_sizes(n, s));
  s->q = attn_strides_of(mien_in(n, ATTN_Q)->type.rank, s->heads, s->queries, s->depth);
  s->k = attn_strides_of(mien_in(n, ATTN_K)->type.rank, s->kv_heads, s->fresh, s->depth);
  s->v = attn_strides_of(mien_in(n, ATTN_V)->type.rank, s->kv_heads, s->fresh, s->value_depth);
  s->y = attn_strides_of(mien_in(n, ATTN_Q)->type.rank, s->heads, s->queries, s->value_depth);
  s->scale = mien_has_attr(n, "scale") ? mien_attr_f(n, "scale") : 1 / sqrt((double)s->depth);
  const mien_tensor *m = mien_in(n, ATTN_MASK);
  if (m) {
    int64_t running = s->mask_length = m->type.dim[m->type.rank - 1];
    for (int i = 2; i <= m->type.rank; i++) {
      const int64_t size = m->type.dim[m->type.rank - i];
      s->mask_stride[4 - i] = size == 1 ? 0 : running;
      running *= size;
    }
  }
  size_t bytes;
  if (__builtin_add_overflow((size_t)s->keys, (size_t)s->value_depth, &bytes) ||
      __builtin_add_overflow(bytes, (size_t)s->keys, &bytes) || __builtin_mul_overflow(bytes, sizeof(double), &bytes))
    return mien_fail(n, MIEN_LIMIT, "the attention is too large");
  MIEN_TRY(mien_scratch(n, bytes));
  mien_work(n, 1, 1); /* serial: phases are handed out below */
  return MIEN_OK;
}

static double attn_mask_element(const mien_tensor *m, int64_t i) {
  switch (m->type.dtype) {
    case MIEN_BOOL: return ((const uint8_t *)m->data)[i] ? 0 : -INFINITY;
    case MIEN_F64: return ((const double *)m->data)[i];
    case MIEN_F16: return (double)mien_f16_to_f32(((const uint16_t *)m->data)[i]);
    case MIEN_BF16: return (double)mien_bf16_to_f32(((const uint16_t *)m->data)[i]);
    default: return (double)((const float *)m->data)[i];
  }
}

/* What is added to the logits of one row; whether it leaves any key. */
static bool attn_mask_row(mien_node *n, const attn_state *s, int64_t batch, int64_t head, int64_t row, double *bias) {
  const mien_tensor *m = mien_in(n, ATTN_MASK), *l = mien_in_count(n) > ATTN_LENGTHS ? mien_in(n, ATTN_LENGTHS) : NULL;
  const int64_t at = batch * s->mask_stride[0] + head * s->mask_stride[1] + row * s->mask_stride[2];
  const int64_t length = l ? ((const int64_t *)l->data)[batch] : INT64_MAX;
  /* The first key that a causal row may not see; without wrapping for any length. */
  int64_t seen = INT64_MAX;
  if (s->causal && !l) seen = row + 1 + s->past;
  if (s->causal && l)
    seen = length < s->queries - row - 1   ? 0
           : length > s->keys + s->queries ? INT64_MAX
                                           : row + 1 + length - s->queries;
  bool any = false;
  for (int64_t j = 0; j < s->keys; j++) {
    double b = m ? j < s->mask_length ? attn_mask_element(m, at + j) : -INFINITY : 0;
    if (j >= seen || j >= length) b += -INFINITY;
    bias[j] = b;
    any = any || b != -INFINITY;
  }
  return any;
}

/* Softmax of a row in place, with sums in double. */
static void attn_softmax(double *row, int64_t count) {
  double top = -INFINITY, sum = 0;
  for (int64_t j = 0; j < count; j++) top = row[j] > top ? row[j] : top;
  for (int64_t j = 0; j < count; j++) sum += row[j] = exp(row[j] - top);
  for (int64_t j = 0; j < count; j++) row[j] /= sum;
}

/* Row j of the keys or values of a head: in the past (may be NULL) or among the new ones. */
static const void *attn_row(const attn_state *s, const mien_tensor *old, const mien_tensor *fresh, int64_t depth,
                            const attn_strides *strides, int64_t batch, int64_t kv, int64_t j) {
  const size_t size = mien_dtype_bytes(fresh->type.dtype);
  if (j < s->past) return (const char *)old->data + (size_t)(((batch * s->kv_heads + kv) * s->past + j) * depth) * size;
  const int64_t at = batch * strides->batch + kv * strides->head + (j - s->past) * strides->row;
  return (const char *)fresh->data + (size_t)at * size;
}
static const void *attn_key(mien_node *n, const attn_state *s, int64_t batch, int64_t kv, int64_t j) {
  return attn_row(s, mien_in(n, ATTN_PAST_K), mien_in(n, ATTN_K), s->depth, &s->k, batch, kv, j);
}
static const void *attn_value(mien_node *n, const attn_state *s, int64_t batch, int64_t kv, int64_t j) {
  return attn_row(s, mien_in(n, ATTN_PAST_V), mien_in(n, ATTN_V), s->value_depth, &s->v, batch, kv, j);
}

/* One item: (batch, head, key row) of present_key and present_value. */
static mien_status attn_present(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const attn_state *s = mien_state(n);
  mien_tensor *k = mien_out(n, 1), *v = mien_out(n, 2);
  const size_t size = mien_dtype_bytes(mien_in(n, ATTN_K)->type.dtype);
  const size_t k_bytes = (size_t)s->depth * size, v_bytes = (size_t)s->value_depth * size;
  (void)arg;
  for (int64_t item = begin; item < end; item++) {
    const int64_t j = item % s->keys, kv = item / s->keys % s->kv_heads, batch = item / s->keys / s->kv_heads;
    if (k && k_bytes) memcpy((char *)k->data + (size_t)item * k_bytes, attn_key(n, s, batch, kv, j), k_bytes);
    if (v && v_bytes) memcpy((char *)v->data + (size_t)item * v_bytes, attn_value(n, s, batch, kv, j), v_bytes);
  }
  return MIEN_OK;
}

#define ATTN_ONE(D, T, C, K, ...)                                                                                  \
  static void attn_logits_##D(mien_node *n, const attn_state *s, int64_t batch, int64_t kv, const T *q,            \
                              double *logits) {                                                                    \
    for (int64_t j = 0; j < s->keys; j++) {                                                                        \
      const T *k = attn_key(n, s, batch, kv, j);                                                                   \
      C sum = 0;                                                                                                   \
      for (int64_t d = 0; d < s->depth; d++) sum += MIEN_GET_##K(C, q[d]) * MIEN_GET_##K(C, k[d]);                 \
      logits[j] = (double)sum * s->scale;                                                                          \
    }                                                                                                              \
  }                                                                                                                \
  static void attn_show_##D(mien_node *n, const attn_state *s, int64_t item, int64_t mode, const double *logits) { \
    mien_tensor *t = mien_out(n, 3);                                                                               \
    if (!t || s->mode != mode) return;                                                                             \
    T *to = (T *)t->data + item * s->keys;                                                                         \
    for (int64_t j = 0; j < s->keys; j++) to[j] = MIEN_PUT_##K(T, (C)logits[j]);                                   \
  }                                                                                                                \
  static void attn_output_##D(mien_node *n, const attn_state *s, int64_t batch, int64_t kv, const double *weight,  \
                              double *sum, T *y) {                                                                 \
    for (int64_t d = 0; d < s->value_depth; d++) sum[d] = 0;                                                       \
    for (int64_t j = 0; j < s->keys; j++) {                                                                        \
      const T *v = attn_value(n, s, batch, kv, j);                                                                 \
      for (int64_t d = 0; d < s->value_depth; d++) sum[d] += weight[j] * (double)MIEN_GET_##K(C, v[d]);            \
    }                                                                                                              \
    for (int64_t d = 0; d < s->value_depth; d++) y[d] = MIEN_PUT_##K(T, (C)sum[d]);                                \
  }                                                                                                                \
  /* One item: (batch, head, query row). */                                                                        \
  static mien_status attn_rows_##D(mien_node *n, void *arg, int64_t begin, int64_t end) {                          \
    const attn_state *s = mien_state(n);                                                                           \
    double *logits = mien_scratch_of(n), *bias = logits + s->keys, *sum = bias + s->keys;                          \
    (void)arg;                                                                                                     \
    for (int64_t item = begin; item < end; item++) {                                                               \
      const int64_t row = item % s->queries, head = item / s->queries % s->heads,                                  \
                    batch = item / s->queries / s->heads;                                                          \
      const int64_t kv = head / (s->heads / s->kv_heads);                                                          \
      const T *q = (const T *)mien_in(n, ATTN_Q)->data + batch * s->q.batch + head * s->q.head + row * s->q.row;   \
      attn_logits_##D(n, s, batch, kv, q, logits);                                                                 \
      attn_show_##D(n, s, item, ATTN_RAW, logits);                                                                 \
      if (s->cap > 0)                                                                                              \
        for (int64_t j = 0; j < s->keys; j++) logits[j] = s->cap * tanh(logits[j] / s->cap);                       \
      attn_show_##D(n, s, item, ATTN_CAPPED, logits);                                                              \
      const bool any = attn_mask_row(n, s, batch, head, row, bias);                                                \
      for (int64_t j = 0; j < s->keys; j++) logits[j] += bias[j];                                                  \
      attn_show_##D(n, s, item, ATTN_MASKED, logits);                                                              \
      if (any)                                                                                                     \
        attn_softmax(logits, s->keys);                                                                             \
      else                                                                                                         \
        for (int64_t j = 0; j < s->keys; j++) logits[j] = 0;                                                       \
      attn_show_##D(n, s, item, ATTN_SOFTMAX, logits);                                                             \
      attn_output_##D(n, s, batch, kv, logits, sum,                                                                \
                      (T *)mien_out(n, 0)->data + batch * s->y.batch + head * s->y.head + row * s->y.row);         \
    }                                                                                                              \
    return MIEN_OK;                                                                                                \
  }                                                                                                                \
  static mien_status attn_##D(mien_node *n, int64_t begin, int64_t end) {                                          \
    const attn_state *s = mien_state(n);                                                                           \
    (void)begin, (void)end;                                                                                        \
    const double cost = (double)s->keys * (double)(s->depth + s->value_depth + 10) + 50;                           \
    MIEN_TRY(mien_parallel(n, s->batches * s->heads * s->queries, cost, attn_rows_##D, NULL));                     \
    if (!mien_out(n, 1) && !mien_out(n, 2)) return MIEN_OK;                                                        \
    return mien_parallel(n, s->batches * s->kv_heads * s->keys, 20, attn_present, NULL);                           \
  }
MIEN_FLOATS(ATTN_ONE, )
MIEN_KERNELS(attn, MIEN_FLOATS)

static const mien_attr attn_attrs[] = {{.name = "is_causal", .kind = 'i'},
                                       {.name = "kv_num_heads", .kind = 'i'},
                                       {.name = "q_num_heads", .kind = 'i'},
                                       {.name = "qk_matmul_output_mode", .kind = 'i'},
                                       {.name = "scale", .kind = 'f'},
                                       {.name = "softcap", .kind = 'f'},
                                       {.name = "softmax_precision", .kind = 'i'}, /* at least double always */
                                       {.name = NULL}};

#define ATTN_RECORD(first, last, lengths)                                                                 \
  {                                                                                                       \
    .name = "Attention", .since = first, .until = last,                                                   \
    .signature = "Q:T, K:T, V:T, attn_mask:U{bool,f32,f64,f16,bf16}?, past_key:T?, past_value:T?" lengths \
                 " -> Y:T, present_key:T?, present_value:T?, qk_matmul_output:T?",                        \
    .attrs = attn_attrs, .kernels = attn_kernels, .state = sizeof(attn_state), .infer = attn_infer,       \
    .prepare = attn_prepare, .flags = MIEN_OP_SERIAL, .doc = "softmax(scale Q K^T + mask) V"              \
  }

const mien_op mien_ops_Attention[] = {
    ATTN_RECORD(23, 23, ""),
    ATTN_RECORD(24, 24, ", nonpad_kv_seqlen:i64?"),
    {.name = NULL},
};
