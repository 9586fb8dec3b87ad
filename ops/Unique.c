/* Unique: the different elements of X, or along an axis its different slices; where each is found first, which one each
** element of X is, and how often each occurs.  ai.onnx 11.
** sorted: ascending, slices by their first differing element; else in the order of first occurrence. NaN counts as larger
** than every number and as equal to itself. Strings are not supported. */
#include "ops/loop.h"
#include "ops/shape.h"

/* What is compared: slice i has the elements (o, i, e) of outer x length x inner. */
typedef struct unique_call {
  const void *x;
  int64_t outer, length, inner;
} unique_call;

typedef int unique_order_fn(const unique_call *c, int64_t i, int64_t j);

#define UNIQUE_ORDER(D, T, C, K, ...)                                       \
  static int unique_order_##D(const unique_call *c, int64_t i, int64_t j) { \
    for (int64_t o = 0; o < c->outer; o++) {                                \
      const T *a = (const T *)c->x + (o * c->length + i) * c->inner;        \
      const T *b = (const T *)c->x + (o * c->length + j) * c->inner;        \
      for (int64_t e = 0; e < c->inner; e++) {                              \
        const C u = MIEN_GET_##K(C, a[e]), v = MIEN_GET_##K(C, b[e]);       \
        if (u == v) continue;                                               \
        if (u != u || v != v) {                                             \
          if (u != u && v != v) continue;                                   \
          return u != u ? 1 : -1;                                           \
        }                                                                   \
        return u < v ? -1 : 1;                                              \
      }                                                                     \
    }                                                                       \
    return 0;                                                               \
  }
MIEN_NUMBERS_AND_BOOL(UNIQUE_ORDER, 0)

static unique_order_fn *unique_order_of(int32_t dtype) {
  switch (dtype) {
#define X(D, ...) \
  case MIEN_##D: return unique_order_##D;
    MIEN_NUMBERS_AND_BOOL(X, 0)
#undef X
    default: return NULL; /* not in the kernel table */
  }
}

static mien_status unique_layout(mien_node *n, unique_call *c, int *axis) {
  const mien_tensor *x = mien_in(n, 0);
  *c = (unique_call){.x = x->data, .outer = 1, .length = mien_count(&x->type), .inner = 1};
  *axis = 0;
  if (!mien_has_attr(n, "axis")) return MIEN_OK;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, axis));
  c->outer = shape_elements(&x->type, 0, *axis);
  c->length = x->type.dim[*axis];
  c->inner = shape_elements(&x->type, *axis + 1, x->type.rank);
  return MIEN_OK;
}

/* Y and the three lists for `found` different slices of `length`. Either may be a symbol. */
static void unique_types(mien_node *n, int axis, int64_t length, int64_t found, mien_type *types) {
  types[0] = mien_in(n, 0)->type;
  if (!mien_has_attr(n, "axis")) types[0] = shape_type(types[0].dtype, 1);
  types[0].dim[axis] = found;
  for (int i = 1; i < 4; i++) {
    types[i] = shape_type(MIEN_I64, 1);
    types[i].dim[0] = i == 2 ? length : found;
  }
}

static mien_status unique_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_type types[4];
  int axis = 0;
  int64_t length = shape_product(n, x, 0, x->rank);
  if (mien_has_attr(n, "axis")) {
    MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
    length = x->dim[axis];
  }
  unique_types(n, axis, length, mien_new_symbol(n), types);
  for (int i = 0; i < mien_out_count(n); i++)
    if (mien_out(n, i)) MIEN_TRY(mien_set_type(n, i, &types[i]));
  return MIEN_OK;
}

/* Three lists of `length` indices. */
static mien_status unique_prepare(mien_node *n) {
  unique_call c;
  int axis;
  size_t bytes;
  MIEN_TRY(unique_layout(n, &c, &axis));
  if (__builtin_mul_overflow((size_t)c.length, 3 * sizeof(int64_t), &bytes))
    return mien_fail(n, MIEN_LIMIT, "%lld elements are too many", (long long)c.length);
  mien_work(n, 1, 1000);
  return mien_scratch(n, bytes);
}

/* Merges runs of growing length; equal slices stay in their order. The result is in `order`. */
static void unique_sort(const unique_call *c, unique_order_fn *compare, int64_t *order, int64_t *spare) {
  int64_t *from = order, *to = spare;
  for (int64_t i = 0; i < c->length; i++) order[i] = i;
  for (int64_t run = 1; run < c->length; run *= 2) {
    for (int64_t low = 0; low < c->length; low += 2 * run) {
      const int64_t middle = low + run < c->length ? low + run : c->length;
      const int64_t high = middle + run < c->length ? middle + run : c->length;
      for (int64_t at = low, a = low, b = middle; at < high; at++) {
        const bool left = a < middle && (b == high || compare(c, from[a], from[b]) <= 0);
        to[at] = left ? from[a++] : from[b++];
      }
    }
    int64_t *last = from;
    from = to;
    to = last;
  }
  if (from != order) memcpy(order, from, (size_t)c->length * sizeof *order);
}

/* first[k]: where slice k of the result is found first; slice_of[i]: which one i is. Returns how many there are. */
static int64_t unique_group(const unique_call *c, unique_order_fn *compare, bool sorted, int64_t *order, int64_t *first,
                            int64_t *slice_of) {
  int64_t found = 0;
  unique_sort(c, compare, order, first);
  for (int64_t i = 0; i < c->length; i++) {
    if (i == 0 || compare(c, order[i - 1], order[i]) != 0) first[found++] = order[i];
    slice_of[order[i]] = found - 1;
  }
  if (sorted) return found;
  /* Number them again as they come; a slice is the first of its kind where first[] says so. */
  int64_t next = 0;
  for (int64_t i = 0; i < c->length; i++) {
    const int64_t old = slice_of[i];
    if (first[old] == i) order[old] = next++;
    slice_of[i] = order[old];
  }
  for (int64_t i = c->length; i-- > 0;) first[slice_of[i]] = i;
  return found;
}

static void unique_copy(const unique_call *c, size_t size, const int64_t *first, int64_t found, char *y) {
  const size_t bytes = (size_t)c->inner * size;
  for (int64_t o = 0; o < c->outer; o++)
    for (int64_t k = 0; k < found && bytes; k++, y += bytes)
      memcpy(y, (const char *)c->x + (size_t)(o * c->length + first[k]) * bytes, bytes);
}

static mien_status unique_run(mien_node *n, int64_t begin, int64_t end) {
  unique_call c;
  mien_type types[4];
  int64_t *to[4] = {NULL};
  int axis;
  if (begin >= end) return MIEN_OK;
  MIEN_TRY(unique_layout(n, &c, &axis));
  int64_t *order = mien_scratch_of(n), *first = order, *slice_of = order;
  if (c.length > 0) first = order + c.length, slice_of = first + c.length; /* no elements: no scratch */
  const int32_t dtype = mien_in(n, 0)->type.dtype;
  const int64_t found =
      c.length ? unique_group(&c, unique_order_of(dtype), mien_attr_i(n, "sorted") != 0, order, first, slice_of) : 0;
  unique_types(n, axis, c.length, found, types);
  for (int i = 0; i < mien_out_count(n); i++) {
    if (!mien_out(n, i)) continue;
    MIEN_TRY(mien_host_of(n)->alloc_out(n, i, &types[i]));
    to[i] = mien_out(n, i)->data;
  }
  if (to[0]) unique_copy(&c, mien_dtype_bytes(dtype), first, found, (char *)to[0]);
  for (int64_t k = 0; k < found; k++) {
    if (to[1]) to[1][k] = first[k];
    if (to[3]) to[3][k] = 0;
  }
  for (int64_t i = 0; i < c.length; i++) {
    if (to[2]) to[2][i] = slice_of[i];
    if (to[3]) to[3][slice_of[i]]++;
  }
  return MIEN_OK;
}

static const mien_attr unique_attrs[] = {
    {.name = "axis", .kind = 'i'}, {.name = "sorted", .kind = 'i', .i = 1}, {.name = NULL}};
#define UNIQUE_ROW(D, ...) {MIEN_##D, unique_run},
static const mien_kernel unique_kernels[] = {MIEN_NUMBERS_AND_BOOL(UNIQUE_ROW, 0){MIEN_NONE, NULL}};

const mien_op mien_ops_Unique[] = {
    {.name = "Unique",
     .since = 11,
     .signature = "X:T -> Y:T, indices:i64?, inverse_indices:i64?, counts:i64?",
     .attrs = unique_attrs,
     .kernels = unique_kernels,
     .infer = unique_infer,
     .prepare = unique_prepare,
     .flags = MIEN_OP_DATA_SHAPE | MIEN_OP_SERIAL,
     .doc = "the different elements, where they are and how many"},
    {.name = NULL},
};
