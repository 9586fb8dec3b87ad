/* ops/scatter.h -- writing updates over a copy: what meets at one place is replaced, or reduced by a named operation. */
#ifndef MIEN_OPS_SCATTER_H
#define MIEN_OPS_SCATTER_H

#include "ops/index.h"
#include "ops/loop.h"

typedef enum scatter_how { SCATTER_NONE, SCATTER_ADD, SCATTER_MUL, SCATTER_MIN, SCATTER_MAX } scatter_how;

static inline bool scatter_reduces(int32_t dtype) {
  switch (dtype) {
#define X(D, ...) case MIEN_##D:
    MIEN_NUMBERS(X, 0)
#undef X
    return true;
    default: return false;
  }
}

/* Attribute `reduction` of a record that has it; max and min from version 18 on. */
static inline mien_status scatter_attr(mien_node *n, scatter_how *how) {
  static const char *const names[] = {"none", "add", "mul", "min", "max"};
  const char *name = mien_attr_s(n, "reduction");
  for (int i = 0; i < 5; i++) {
    if (strcmp(name, names[i]) != 0) continue;
    if (i != 0 && !scatter_reduces(mien_in(n, 0)->type.dtype))
      return mien_fail(n, MIEN_UNSUPPORTED, "reduction '%s' has no arithmetic on this element type", name);
    *how = (scatter_how)i;
    return MIEN_OK;
  }
  return mien_fail(n, MIEN_INVALID_MODEL, "reduction is '%s', expected none, add, mul, min or max", name);
}

/* NaN wins over every number, as in numpy. */
#define SCATTER_LESS(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define SCATTER_MORE(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))

#define SCATTER_LOOP(T, C, K, expression)                             \
  for (int64_t i = 0; i < count; i++) {                               \
    const C a = MIEN_GET_##K(C, to[i]), b = MIEN_GET_##K(C, from[i]); \
    to[i] = MIEN_PUT_##K(T, (C)(expression));                         \
  }                                                                   \
  return;
#define SCATTER_REDUCE(D, T, C, K, ...)                                                         \
  static inline void scatter_reduce_##D(scatter_how how, const T *from, T *to, int64_t count) { \
    switch (how) {                                                                              \
      case SCATTER_ADD: SCATTER_LOOP(T, C, K, MIEN_WRAP(a) + MIEN_WRAP(b))                      \
      case SCATTER_MUL: SCATTER_LOOP(T, C, K, MIEN_WRAP(a) * MIEN_WRAP(b))                      \
      case SCATTER_MIN: SCATTER_LOOP(T, C, K, SCATTER_LESS(a, b))                               \
      case SCATTER_MAX: SCATTER_LOOP(T, C, K, SCATTER_MORE(a, b))                               \
      case SCATTER_NONE: memcpy(to, from, (size_t)count * sizeof *to); return;                  \
    }                                                                                           \
  }
MIEN_NUMBERS(SCATTER_REDUCE, 0)

/* count elements at `from` onto those at `to`. */
static inline void scatter_write(scatter_how how, int32_t dtype, size_t size, const void *from, void *to,
                                 int64_t count) {
  if (how == SCATTER_NONE) {
    memcpy(to, from, (size_t)count * size);
    return;
  }
  switch (dtype) {
#define X(D, ...) \
  case MIEN_##D: scatter_reduce_##D(how, from, to, count); return;
    MIEN_NUMBERS(X, 0)
#undef X
    default: return;
  }
}

static inline void scatter_copy(mien_node *n) {
  const mien_tensor *x = mien_in(n, 0);
  size_t bytes = (size_t)mien_count(&x->type) * mien_dtype_bytes(x->type.dtype);
  if (bytes && x->data != mien_out(n, 0)->data) memcpy(mien_out(n, 0)->data, x->data, bytes);
}

/* ---- elements along an axis: ScatterElements and its old name Scatter */

static inline mien_status scatter_elements_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *indices = &mien_in(n, 1)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  MIEN_TRY(index_fits(n, x, indices, axis));
  MIEN_TRY(index_same(n, "updates", &mien_in(n, 2)->type, indices));
  return mien_set_type(n, 0, x);
}

static inline mien_status scatter_elements(mien_node *n, scatter_how how) {
  const mien_tensor *x = mien_in(n, 0), *indices = mien_in(n, 1), *updates = mien_in(n, 2);
  size_t size = mien_dtype_bytes(x->type.dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  int64_t stride[MIEN_MAX_RANK], step = 1, count = mien_count(&indices->type);
  for (int i = x->type.rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= x->type.dim[i];
  }
  step = stride[axis];
  stride[axis] = 0;
  scatter_copy(n);
  if (count == 0) return MIEN_OK;
  index_walk w;
  index_walk_start(&w, &indices->type, stride, 0);
  for (int64_t i = 0; i < count; i++, index_walk_next(&w)) {
    int64_t at = 0;
    MIEN_TRY(index_read(n, indices, i, x->type.dim[axis], axis, &at));
    scatter_write(how, x->type.dtype, size, (const char *)updates->data + (size_t)i * size,
                  (char *)mien_out(n, 0)->data + (size_t)(w.offset + at * step) * size, 1);
  }
  return MIEN_OK;
}

static inline mien_status scatter_elements_plain(mien_node *n, int64_t begin, int64_t end) {
  return begin < end ? scatter_elements(n, SCATTER_NONE) : MIEN_OK;
}

#endif
