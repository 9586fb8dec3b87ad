/* tests/ops/elementwise.h -- tensors of any numeric type from doubles, for the tables of the elementwise tests. */
#ifndef MIEN_TESTS_ELEMENTWISE_H
#define MIEN_TESTS_ELEMENTWISE_H

#include "op_test.h"

typedef struct shape {
  int rank;
  int64_t dim[5];
} shape;

static inline int64_t shape_count(const shape *s) {
  int64_t count = 1;
  for (int i = 0; i < s->rank; i++) count *= s->dim[i];
  return count;
}

static inline void store(void *data, int32_t dtype, int64_t i, double v) {
  switch (dtype) {
    case MIEN_F32: ((float *)data)[i] = (float)v; break;
    case MIEN_F64: ((double *)data)[i] = v; break;
    case MIEN_F16: ((uint16_t *)data)[i] = mien__f32_to_f16((float)v); break;
    case MIEN_BF16: ((uint16_t *)data)[i] = mien__f32_to_bf16((float)v); break;
    case MIEN_I8: ((int8_t *)data)[i] = (int8_t)v; break;
    case MIEN_I16: ((int16_t *)data)[i] = (int16_t)v; break;
    case MIEN_I32: ((int32_t *)data)[i] = (int32_t)v; break;
    case MIEN_I64: ((int64_t *)data)[i] = (int64_t)v; break;
    case MIEN_U8: ((uint8_t *)data)[i] = (uint8_t)v; break;
    case MIEN_U16: ((uint16_t *)data)[i] = (uint16_t)v; break;
    case MIEN_U32: ((uint32_t *)data)[i] = (uint32_t)v; break;
    case MIEN_U64: ((uint64_t *)data)[i] = (uint64_t)v; break;
    case MIEN_BOOL: ((uint8_t *)data)[i] = v != 0; break;
    default: fail_msg("no such type here");
  }
}

static inline bool is_float(int32_t dtype) {
  return dtype == MIEN_F32 || dtype == MIEN_F64 || dtype == MIEN_F16 || dtype == MIEN_BF16;
}
static inline bool is_unsigned(int32_t dtype) {
  return dtype == MIEN_U8 || dtype == MIEN_U16 || dtype == MIEN_U32 || dtype == MIEN_U64 || dtype == MIEN_BOOL;
}

/* What one rounding to the type may cost, relative. */
static inline double precision(int32_t dtype) {
  switch (dtype) {
    case MIEN_F32: return 1e-6;
    case MIEN_F64: return 1e-14;
    case MIEN_F16: return 1e-3;
    case MIEN_BF16: return 8e-3;
    default: return 0;
  }
}

/* Adds an input with random elements; whole ones for integers. */
static inline void random_in(op_call *c, int32_t dtype, const shape *s, uint64_t *seed, double low, double high) {
  void *data = op_in(c, dtype, s->rank, s->dim, NULL);
  if (is_unsigned(dtype) && low < 0) low = 0;
  for (int64_t i = 0; i < shape_count(s); i++) {
    double v = op_random(seed, low, high);
    store(data, dtype, i, is_float(dtype) ? v : floor(v));
  }
}

static inline double at(const mien_tensor *t, int64_t i) { return mien__tensor_f64(t, i); }

/* Element of a tensor under output element i, where the tensor is stretched to the output's shape. */
static inline int64_t stretched(const mien_type *out, const mien_type *in, int64_t i) {
  int64_t index = 0, stride = 1;
  for (int d = 1; d <= out->rank; d++) {
    int64_t coordinate = i % out->dim[out->rank - d];
    i /= out->dim[out->rank - d];
    if (d > in->rank) continue;
    int64_t size = in->dim[in->rank - d];
    if (size != 1) index += coordinate * stride;
    stride *= size;
  }
  return index;
}

static inline void expect_near(const op_call *c, int64_t i, double got, double want, double atol, double rtol) {
  bool good = (isnan(got) && isnan(want)) || got == want || fabs(got - want) <= atol + rtol * fabs(want);
  if (good) return;
  print_error("%s-%d %s: element %lld is %.9g, expected %.9g\n", c->name, c->version,
              mien_dtype_name(c->in[0].type.dtype), (long long)i, got, want);
  fail();
}

#endif
