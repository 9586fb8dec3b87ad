/* ops/quantize.h -- what QuantizeLinear and DequantizeLinear share: which element of the scale, and of the zero point, each
** element of x has. One for all (a scale of one element), one for each place along the axis (a vector), or one for each
** block of `block_size` places along the axis (a scale of x's rank). */
#ifndef MIEN_OPS_QUANTIZE_H
#define MIEN_OPS_QUANTIZE_H

#include "ops/convert.h"
#include "ops/shape.h"

/* Element (o, i, e) of x as outer x length x inner has scale o * outer_step + i / block * axis_step + e * inner_step. */
typedef struct quantize_state {
  int64_t length, inner, block, outer_step, axis_step, inner_step;
} quantize_state;

static inline bool quantize_differ(int64_t a, int64_t b) { return a != b && !mien_is_symbol(a) && !mien_is_symbol(b); }

/* The element type that attribute output_dtype names, 0 where it names none. */
static inline mien_status quantize_wanted(mien_node *n, int32_t *dtype) {
  const int64_t wanted = mien_has_attr(n, "output_dtype") ? mien_attr_i(n, "output_dtype") : 0;
  if (wanted < 0 || wanted > 31)
    return mien_fail(n, MIEN_INVALID_MODEL, "output_dtype is %lld, which is no element type", (long long)wanted);
  *dtype = (int32_t)wanted;
  return MIEN_OK;
}

/* Types and sizes of inputs 1 (scale) and 2 (zero point) against x; Y has x's shape and `dtype`. */
static inline mien_status quantize_infer(mien_node *n, int32_t dtype) {
  const mien_type *scale = &mien_in(n, 1)->type,
                  *zero = mien_in_count(n) > 2 && mien_in(n, 2) ? &mien_in(n, 2)->type : NULL;
  mien_type y = mien_in(n, 0)->type;
  int axis = 0;
  const int64_t block = mien_has_attr(n, "block_size") ? mien_attr_i(n, "block_size") : 0;
  if (block < 0) return mien_fail(n, MIEN_INVALID_MODEL, "block_size is %lld, expected 0 or more", (long long)block);
  if (scale->rank > 0 && !(scale->rank == 1 && scale->dim[0] == 1 && block == 0)) {
    MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), y.rank, &axis));
    if (scale->rank != (block ? y.rank : 1))
      return mien_fail(n, MIEN_INVALID_MODEL, "the scale has rank %d, expected %d", (int)scale->rank,
                       block ? y.rank : 1);
    for (int i = 0; i < scale->rank; i++) {
      const int place = block ? i : axis;
      const int64_t size = block && i == axis ? mien_dim(n, 'c', y.dim[place], block) : y.dim[place];
      if (quantize_differ(scale->dim[i], size))
        return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d of the scale is %lld, expected %lld", i,
                         (long long)scale->dim[i], (long long)size);
    }
  }
  bool alike = !zero || zero->rank == scale->rank;
  for (int i = 0; zero && alike && i < scale->rank; i++) alike = !quantize_differ(zero->dim[i], scale->dim[i]);
  if (!alike && mien_count(zero) != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "the zero point has not the scale's shape");
  y.dtype = dtype;
  return mien_set_type(n, 0, &y);
}

static inline mien_status quantize_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *scale = &mien_in(n, 1)->type;
  quantize_state *s = mien_state(n);
  const int64_t block = mien_has_attr(n, "block_size") ? mien_attr_i(n, "block_size") : 0;
  int axis = 0;
  mien_work(n, mien_count(x), 3);
  *s = (quantize_state){.length = 1, .inner = mien_count(x), .block = 1};
  if (mien_count(scale) == 1 && block == 0) return MIEN_OK;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  s->length = x->dim[axis];
  s->inner = shape_elements(x, axis + 1, x->rank);
  s->axis_step = 1;
  if (block == 0) return MIEN_OK;
  s->block = block;
  s->inner_step = 1;
  s->axis_step = s->inner;
  s->outer_step = scale->dim[axis] * s->inner;
  return MIEN_OK;
}

/* The scales of `count` elements from `at` on, and where `zero` is given their zero points, as floats and as integers. */
typedef struct quantize_block {
  float scale[MIEN_BLOCK];
  double zero[MIEN_BLOCK];
} quantize_block;

static inline double quantize_number(const mien_tensor *t, int64_t i) {
  mien_wide_block one;
  mien_widen(t->type.dtype, (const char *)t->data + (size_t)i * mien_dtype_bytes(t->type.dtype), 1, &one);
  switch (mien_wide_of(t->type.dtype)) {
    case MIEN_WIDE_F32: return (double)one.f32[0];
    case MIEN_WIDE_F64: return one.f64[0];
    case MIEN_WIDE_I64: return (double)one.i64[0];
    case MIEN_WIDE_U64: return (double)one.u64[0];
    case MIEN_WIDE_NONE: break;
  }
  return 0;
}

static inline void quantize_scales(mien_node *n, int64_t at, int64_t count, quantize_block *b) {
  const quantize_state *s = mien_state(n);
  const mien_tensor *scale = mien_in(n, 1), *zero = mien_in_count(n) > 2 ? mien_in(n, 2) : NULL;
  int64_t e = at % s->inner, i = at / s->inner % s->length, o = at / s->inner / s->length, last = -1;
  for (int64_t k = 0; k < count; k++) {
    const int64_t from = o * s->outer_step + i / s->block * s->axis_step + e * s->inner_step;
    b->scale[k] = from == last ? b->scale[k - 1] : (float)quantize_number(scale, from);
    b->zero[k] = !zero          ? 0
                 : from == last ? b->zero[k - 1]
                                : quantize_number(zero, mien_count(&zero->type) == 1 ? 0 : from);
    last = from;
    if (++e < s->inner) continue;
    e = 0;
    if (++i < s->length) continue;
    i = 0;
    o++;
  }
}

#endif
