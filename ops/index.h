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

/* The index tuple of `depth` elements from `from` on, into dimensions [axis, axis + depth) with these strides. */
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

#endif
