/* ops/index.h -- indices that are data: read, checked, never clamped. */
#ifndef MIEN_OPS_INDEX_H
#define MIEN_OPS_INDEX_H

#include "ops/shape.h"

/* Element i of an i32 or i64 tensor as an index into dimension `axis` of size d; negative ones count from the end. */
static inline mien_status index_read(mien_node *n, const mien_tensor *t, int64_t i, int64_t d, int axis, int64_t *at) {
  int64_t value = shape_element(t, i);
  if (value < -d || value >= d)
    return mien_fail(n, MIEN_INVALID_ARGUMENT, "index %lld is outside dimension %d, which has size %lld",
                     (long long)value, axis, (long long)d);
  *at = value < 0 ? value + d : value;
  return MIEN_OK;
}

/* The offset in x of the index tuple of `depth` elements from `from` on, into dimensions [axis, axis + depth). */
static inline mien_status index_tuple(mien_node *n, const mien_tensor *t, int64_t from, int depth, const mien_type *x,
                                      int axis, const int64_t *stride, int64_t *offset) {
  *offset = 0;
  for (int k = 0; k < depth; k++) {
    int64_t at = 0;
    MIEN_TRY(index_read(n, t, from + k, x->dim[axis + k], axis + k, &at));
    *offset += at * stride[axis + k];
  }
  return MIEN_OK;
}

/* Walks over the elements of one shape and carries the offset that the same position has under other strides. */
typedef struct index_walk {
  int rank;
  int64_t dim[MIEN_MAX_RANK], at[MIEN_MAX_RANK], stride[MIEN_MAX_RANK], offset;
} index_walk;

static inline void index_walk_start(index_walk *w, const mien_type *shape, const int64_t *stride, int64_t position) {
  w->rank = shape->rank;
  w->offset = 0;
  for (int i = w->rank - 1; i >= 0; i--) {
    w->dim[i] = shape->dim[i];
    w->stride[i] = stride[i];
    w->at[i] = position % w->dim[i];
    position /= w->dim[i];
    w->offset += w->at[i] * stride[i];
  }
}

static inline void index_walk_next(index_walk *w) {
  for (int i = w->rank - 1; i >= 0; i--) {
    w->offset += w->stride[i];
    if (++w->at[i] < w->dim[i]) return;
    w->offset -= w->at[i] * w->stride[i];
    w->at[i] = 0;
  }
}

/* GatherElements, ScatterElements: dimensions of indices other than the axis may not exceed the input's. */
static inline mien_status index_fits(mien_node *n, const mien_type *x, const mien_type *indices, int axis) {
  if (indices->rank != x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "indices has rank %d, expected %d as data", (int)indices->rank,
                     (int)x->rank);
  for (int i = 0; i < x->rank; i++)
    if (i != axis && !mien_is_symbol(x->dim[i]) && !mien_is_symbol(indices->dim[i]) && indices->dim[i] > x->dim[i])
      return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d of indices is %lld, data has only %lld", i,
                       (long long)indices->dim[i], (long long)x->dim[i]);
  return MIEN_OK;
}

/* Two shapes that must agree: their numbers. */
static inline mien_status index_same(mien_node *n, const char *what, const mien_type *got, const mien_type *want) {
  bool same = got->rank == want->rank;
  for (int i = 0; same && i < got->rank; i++)
    same = mien_is_symbol(got->dim[i]) || mien_is_symbol(want->dim[i]) || got->dim[i] == want->dim[i];
  if (same) return MIEN_OK;
  for (int i = 0; got->rank == want->rank && i < got->rank; i++)
    if (got->dim[i] != want->dim[i] && !mien_is_symbol(got->dim[i]) && !mien_is_symbol(want->dim[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d of %s is %lld, expected %lld", i, what,
                       (long long)got->dim[i], (long long)want->dim[i]);
  return mien_fail(n, MIEN_INVALID_MODEL, "%s has rank %d, expected %d", what, (int)got->rank, (int)want->rank);
}

#endif
