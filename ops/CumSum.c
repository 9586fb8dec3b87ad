/* CumSum: running sums along the axis that input 1 names.  ai.onnx 14, 11.
** exclusive: an element's own value is left out; reverse: from the end. Floats are summed in double, integers wrap. */
#include "ops/loop.h"
#include "ops/shape.h"

typedef struct {
  int64_t length, inner; /* elements along the axis; elements between neighbours on it */
  bool exclusive, reverse;
} cum_sum_line;

static mien_status cum_sum_layout(mien_node *n, cum_sum_line *s) {
  const mien_type *x = &mien_in(n, 0)->type;
  shape_list list;
  int axis = 0;
  MIEN_TRY(shape_list_run(n, 1, "axis", &list));
  if (list.count != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "axis has %lld elements, expected 1", (long long)list.count);
  MIEN_TRY(shape_axis(n, list.value[0], x->rank, &axis));
  s->length = x->dim[axis];
  s->inner = shape_elements(x, axis + 1, x->rank);
  s->exclusive = mien_attr_i(n, "exclusive") != 0;
  s->reverse = mien_attr_i(n, "reverse") != 0;
  return MIEN_OK;
}

/* Serial: the axis, and with it what a line is, may be known only now. */
#define CUM_SUM(D, T, C, K, op, A)                                        \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) { \
    const T *x = mien_in(n, 0)->data;                                     \
    T *y = mien_out(n, 0)->data;                                          \
    cum_sum_line s;                                                       \
    if (begin >= end) return MIEN_OK;                                     \
    MIEN_TRY(cum_sum_layout(n, &s));                                      \
    const int64_t lines = mien_count(&mien_out(n, 0)->type) / s.length;   \
    const int64_t step = s.reverse ? -s.inner : s.inner;                  \
    for (int64_t line = 0; line < lines; line++) {                        \
      int64_t at = line / s.inner * s.length * s.inner + line % s.inner;  \
      A sum = 0;                                                          \
      if (s.reverse) at += (s.length - 1) * s.inner;                      \
      for (int64_t i = 0; i < s.length; i++, at += step) {                \
        const C v = MIEN_GET_##K(C, x[at]);                               \
        const A with = sum + (A)v;                                        \
        y[at] = MIEN_PUT_##K(T, (C)(s.exclusive ? sum : with));           \
        sum = with;                                                       \
      }                                                                   \
    }                                                                     \
    return MIEN_OK;                                                       \
  }
MIEN_FLOATS(CUM_SUM, cum_sum, double)
MIEN_WIDE_INTS(CUM_SUM, cum_sum, uint64_t)
#define CUM_SUM_TYPES(X, ...) MIEN_FLOATS(X, __VA_ARGS__) MIEN_WIDE_INTS(X, __VA_ARGS__)
MIEN_KERNELS(cum_sum, CUM_SUM_TYPES)

static mien_status cum_sum_infer(mien_node *n) {
  shape_list list;
  int axis = 0;
  MIEN_TRY(shape_list_infer(n, 1, "axis", &list));
  if (list.count >= 0 && list.count != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "axis has %lld elements, expected 1", (long long)list.count);
  if (list.known) MIEN_TRY(shape_axis(n, list.value[0], mien_in(n, 0)->type.rank, &axis));
  return mien_infer_same(n);
}

static const mien_attr cum_sum_attrs[] = {
    {.name = "exclusive", .kind = 'i', .i = 0}, {.name = "reverse", .kind = 'i', .i = 0}, {.name = NULL}};

const mien_op mien_ops_CumSum[] = {
    {.name = "CumSum",
     .since = 11,
     .signature = "x:T, axis:{i32,i64} -> y:T",
     .attrs = cum_sum_attrs,
     .kernels = cum_sum_kernels,
     .infer = cum_sum_infer,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_SERIAL,
     .doc = "running sums along an axis"},
    {.name = NULL},
};
