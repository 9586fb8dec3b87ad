/* GlobalAveragePool: the mean of every channel.  ai.onnx 1. */
#include "ops/pool.h"

#define GLOBALAVERAGEPOOL(D, T, C, K, ...)                                                \
  static mien_status globalaveragepool_##D(mien_node *n, int64_t begin, int64_t end) {    \
    const int64_t size = pool_global_size(n);                                             \
    const T *x = mien_in(n, 0)->data;                                                     \
    T *y = mien_out(n, 0)->data;                                                          \
    for (int64_t i = begin; i < end; i++) {                                               \
      double sum = 0;                                                                     \
      for (int64_t j = 0; j < size; j++) sum += (double)MIEN_GET_##K(C, x[i * size + j]); \
      y[i] = MIEN_PUT_##K(T, (C)(sum / (double)size));                                    \
    }                                                                                     \
    return MIEN_OK;                                                                       \
  }
MIEN_FLOATS(GLOBALAVERAGEPOOL, 0)
MIEN_KERNELS(globalaveragepool, MIEN_FLOATS)

const mien_op mien_ops_GlobalAveragePool[] = {
    {.name = "GlobalAveragePool",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = globalaveragepool_kernels,
     .infer = pool_global_infer,
     .prepare = pool_global_prepare,
     .doc = "the mean of every channel"},
    {.name = NULL},
};
