/* ops/rows.h -- operators that treat an input row by row along an axis: the Softmax family and LpNormalization. A row is
** loaded into the thread's scratch in the type of the arithmetic, changed there and stored. */
#ifndef MIEN_OPS_ROWS_H
#define MIEN_OPS_ROWS_H

#include "ops/loop.h"
#include "ops/shape.h"
#include <math.h>

/* Element j of row (o, i) is at (o * count + j) * inner + i. First member of the state. */
typedef struct rows {
  int64_t outer, count, inner;
} rows;

static inline mien_status rows_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis;
  /* A scalar is a row of one element. */
  if (x->rank > 0) MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  return mien_infer_same(n);
}

static inline mien_status rows_prepare_as(mien_node *n, int64_t outer, int64_t count, int64_t inner) {
  rows *r = mien_state(n);
  size_t bytes;
  *r = (rows){.outer = outer, .count = count, .inner = inner};
  if (__builtin_mul_overflow((size_t)count, sizeof(double), &bytes)) return mien_fail(n, MIEN_LIMIT, "rows too long");
  MIEN_TRY(mien_scratch(n, bytes));
  mien_work(n, count ? outer * inner : 0, 2 * (double)count + 5);
  return MIEN_OK;
}

/* Along the axis alone. */
static inline mien_status rows_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis = 0;
  if (x->rank == 0) return rows_prepare_as(n, 1, 1, 1);
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  return rows_prepare_as(n, shape_elements(x, 0, axis), x->dim[axis], shape_elements(x, axis + 1, x->rank));
}

/* Before opset 13 the Softmax family took everything from the axis on as one row. */
static inline mien_status rows_prepare_flat(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis = 0;
  if (x->rank == 0) return rows_prepare_as(n, 1, 1, 1);
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  return rows_prepare_as(n, shape_elements(x, 0, axis), shape_elements(x, axis, x->rank), 1);
}

#define ROWS_EXP(v) _Generic((v), float : expf, default : exp)(v)
#define ROWS_LOG(v) _Generic((v), float : logf, default : log)(v)

/* row(C, state, values, count) changes `count` values of type C in place. */
#define ROWS_ONE(D, T, C, K, op)                                                        \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {               \
    const rows *r = mien_state(n);                                                      \
    C *row = mien_scratch_of(n);                                                        \
    for (int64_t i = begin; i < end; i++) {                                             \
      const int64_t at = i / r->inner * r->count * r->inner + i % r->inner;             \
      const T *x = (const T *)mien_in(n, 0)->data + at;                                 \
      T *y = (T *)mien_out(n, 0)->data + at;                                            \
      for (int64_t j = 0; j < r->count; j++) row[j] = MIEN_GET_##K(C, x[j * r->inner]); \
      op##_row_##D(n, row, r->count);                                                   \
      for (int64_t j = 0; j < r->count; j++) y[j * r->inner] = MIEN_PUT_##K(T, row[j]); \
    }                                                                                   \
    return MIEN_OK;                                                                     \
  }

#endif
