/* TopK: the k largest (or smallest) elements along an axis, in order, and where they are.
** ai.onnx 11 (largest, sorted), 10 (K an input), 1 (k an attribute).
** Of equal elements the one with the lower index comes first; NaN counts as larger than every number. */
#include "ops/loop.h"
#include "ops/shape.h"

static mien_status topk_type(mien_node *n, bool known, int64_t k) {
  mien_type y = mien_in(n, 0)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), y.rank, &axis));
  int64_t d = y.dim[axis];
  if (known && !mien_is_symbol(k) && (k < 0 || (!mien_is_symbol(d) && k > d)))
    return mien_fail(n, MIEN_INVALID_MODEL, "k is %lld, dimension %d has size %lld", (long long)k, axis, (long long)d);
  y.dim[axis] = known ? k : mien_new_symbol(n);
  MIEN_TRY(mien_set_type(n, 0, &y));
  y.dtype = MIEN_I64;
  return mien_set_type(n, 1, &y);
}

static mien_status topk_infer(mien_node *n) {
  shape_list k;
  MIEN_TRY(shape_list_infer(n, 1, "K", &k));
  if (k.count >= 0 && k.count != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "K has %lld elements, expected 1", (long long)k.count);
  return topk_type(n, k.known, k.value[0]);
}

static mien_status topk_infer_1(mien_node *n) { return topk_type(n, true, mien_attr_i(n, "k")); }

/* An item is a row along the axis. Scratch: a heap of the k best indices, the worst of them on top. */
static mien_status topk_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *y = &(mien_out(n, 0) ? mien_out(n, 0) : mien_out(n, 1))->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  int64_t rows = y->dim[axis] ? mien_count(y) / y->dim[axis] : 0;
  mien_work(n, rows, 5 * (double)x->dim[axis]);
  return mien_scratch(n, (size_t)y->dim[axis] * sizeof(int64_t));
}

typedef struct topk_call {
  int64_t length, inner, k;
  bool largest;
  int64_t *heap;
} topk_call;

#define TOPK_TYPED(D, T, C, K, ...)                                                          \
  /* Whether element i comes before element j. */                                            \
  static inline bool topk_before_##D(const topk_call *c, const T *x, int64_t i, int64_t j) { \
    const C a = MIEN_GET_##K(C, x[i * c->inner]), b = MIEN_GET_##K(C, x[j * c->inner]);      \
    const bool nan_a = a != a, nan_b = b != b;                                               \
    if (nan_a != nan_b) return c->largest ? nan_a : nan_b;                                   \
    if (!nan_a && a != b) return c->largest ? a > b : a < b;                                 \
    return i < j;                                                                            \
  }                                                                                          \
  static void topk_sink_##D(const topk_call *c, const T *x, int64_t at, int64_t count) {     \
    int64_t *h = c->heap, moved = h[at];                                                     \
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {                          \
      if (child + 1 < count && topk_before_##D(c, x, h[child], h[child + 1])) child++;       \
      if (!topk_before_##D(c, x, moved, h[child])) break;                                    \
      h[at] = h[child];                                                                      \
    }                                                                                        \
    h[at] = moved;                                                                           \
  }                                                                                          \
  static void topk_row_##D(const topk_call *c, const T *x) {                                 \
    for (int64_t i = 0; i < c->k; i++) c->heap[i] = i;                                       \
    for (int64_t i = c->k / 2; i-- > 0;) topk_sink_##D(c, x, i, c->k);                       \
    for (int64_t i = c->k; i < c->length; i++)                                               \
      if (topk_before_##D(c, x, i, c->heap[0])) {                                            \
        c->heap[0] = i;                                                                      \
        topk_sink_##D(c, x, 0, c->k);                                                        \
      }                                                                                      \
    for (int64_t last = c->k - 1; last > 0; last--) {                                        \
      const int64_t worst = c->heap[0];                                                      \
      c->heap[0] = c->heap[last];                                                            \
      c->heap[last] = worst;                                                                 \
      topk_sink_##D(c, x, 0, last);                                                          \
    }                                                                                        \
  }
MIEN_NUMBERS(TOPK_TYPED, 0)

static void topk_row(int32_t dtype, const topk_call *c, const char *x) {
  switch (dtype) {
#define X(D, T, ...) \
  case MIEN_##D: topk_row_##D(c, (const T *)(const void *)x); return;
    MIEN_NUMBERS(X, 0)
#undef X
    default: return;
  }
}

static mien_status topk_find(mien_node *n, bool largest, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *values = mien_out(n, 0), *indices = mien_out(n, 1);
  size_t size = mien_dtype_bytes(x->type.dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  topk_call c = {.length = x->type.dim[axis],
                 .inner = shape_elements(&x->type, axis + 1, x->type.rank),
                 .k = (values ? values : indices)->type.dim[axis],
                 .largest = largest,
                 .heap = mien_scratch_of(n)};
  for (int64_t r = begin; r < end; r++) {
    int64_t outer = r / c.inner, column = r % c.inner;
    const char *row = (const char *)x->data + (size_t)(outer * c.length * c.inner + column) * size;
    topk_row(x->type.dtype, &c, row);
    for (int64_t i = 0; i < c.k; i++) {
      int64_t to = (outer * c.k + i) * c.inner + column;
      if (values) memcpy((char *)values->data + (size_t)to * size, row + (size_t)(c.heap[i] * c.inner) * size, size);
      if (indices) ((int64_t *)indices->data)[to] = c.heap[i];
    }
  }
  return MIEN_OK;
}

static mien_status topk_largest(mien_node *n, int64_t begin, int64_t end) { return topk_find(n, true, begin, end); }
static mien_status topk_either(mien_node *n, int64_t begin, int64_t end) {
  return topk_find(n, mien_attr_i(n, "largest") != 0, begin, end);
}

#define TOPK_LARGEST(D, ...) {MIEN_##D, topk_largest},
#define TOPK_EITHER(D, ...) {MIEN_##D, topk_either},
static const mien_kernel topk_kernels_1[] = {MIEN_NUMBERS(TOPK_LARGEST, 0){MIEN_NONE, NULL}};
static const mien_kernel topk_kernels_11[] = {MIEN_NUMBERS(TOPK_EITHER, 0){MIEN_NONE, NULL}};
static const mien_attr topk_attrs_1[] = {
    {.name = "axis", .kind = 'i', .i = -1}, {.name = "k", .kind = 'i', .required = true}, {.name = NULL}};
static const mien_attr topk_attrs_10[] = {{.name = "axis", .kind = 'i', .i = -1}, {.name = NULL}};
static const mien_attr topk_attrs_11[] = {{.name = "axis", .kind = 'i', .i = -1},
                                          {.name = "largest", .kind = 'i', .i = 1},
                                          {.name = "sorted", .kind = 'i', .i = 1},
                                          {.name = NULL}};

#define TOPK .name = "TopK", .prepare = topk_prepare, .doc = "the k largest or smallest along an axis"

const mien_op mien_ops_TopK[] = {
    {TOPK, .since = 1, .until = 9, .signature = "X:T -> Values:T, Indices:i64", .attrs = topk_attrs_1,
     .kernels = topk_kernels_1, .infer = topk_infer_1},
    {TOPK, .since = 10, .until = 10, .signature = "X:T, K:i64 -> Values:T, Indices:i64", .attrs = topk_attrs_10,
     .kernels = topk_kernels_1, .infer = topk_infer},
    {TOPK, .since = 11, .signature = "X:T, K:i64 -> Values:T, Indices:i64", .attrs = topk_attrs_11,
     .kernels = topk_kernels_11, .infer = topk_infer},
    {.name = NULL},
};
