/* GlobalMaxPool: the largest element of every channel.  ai.onnx 1. */
#include "ops/pool.h"

#define GLOBALMAXPOOL(D, T, C, K, ...)                                             \
  static mien_status globalmaxpool_##D(mien_node *n, int64_t begin, int64_t end) { \
    const int64_t size = pool_global_size(n);                                      \
    const T *x = mien_in(n, 0)->data;                                              \
    T *y = mien_out(n, 0)->data;                                                   \
    for (int64_t i = begin; i < end; i++) {                                        \
      C best = POOL_LOW_##D;                                                       \
      for (int64_t j = 0; j < size; j++) {                                         \
        const C v = MIEN_GET_##K(C, x[i * size + j]);                              \
        best = pool_max_STEP(0, best, v);                                          \
      }                                                                            \
      y[i] = MIEN_PUT_##K(T, best);                                                \
    }                                                                              \
    return MIEN_OK;                                                                \
  }
MIEN_FLOATS(GLOBALMAXPOOL, 0)
MIEN_KERNELS(globalmaxpool, MIEN_FLOATS)

const mien_op mien_ops_GlobalMaxPool[] = {
    {.name = "GlobalMaxPool",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = globalmaxpool_kernels,
     .infer = pool_global_infer,
     .prepare = pool_global_prepare,
     .doc = "the largest element of every channel"},
    {.name = NULL},
};
