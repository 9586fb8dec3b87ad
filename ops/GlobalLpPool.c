/* GlobalLpPool: the p-norm of every channel.  ai.onnx 2. */
#include "ops/pool.h"

#define GLOBALLPPOOL(D, T, C, K, ...)                                                                   \
  static mien_status globallppool_##D(mien_node *n, int64_t begin, int64_t end) {                       \
    const int64_t size = pool_global_size(n);                                                           \
    const double p = (double)mien_attr_i(n, "p");                                                       \
    const T *x = mien_in(n, 0)->data;                                                                   \
    T *y = mien_out(n, 0)->data;                                                                        \
    for (int64_t i = begin; i < end; i++) {                                                             \
      double sum = 0;                                                                                   \
      for (int64_t j = 0; j < size; j++) sum += pow(fabs((double)MIEN_GET_##K(C, x[i * size + j])), p); \
      y[i] = MIEN_PUT_##K(T, (C)pow(sum, 1 / p));                                                       \
    }                                                                                                   \
    return MIEN_OK;                                                                                     \
  }
MIEN_FLOATS(GLOBALLPPOOL, 0)
MIEN_KERNELS(globallppool, MIEN_FLOATS)

static mien_status globallppool_infer(mien_node *n) {
  if (mien_attr_i(n, "p") < 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "p is %lld, expected >= 1", (long long)mien_attr_i(n, "p"));
  return pool_global_infer(n);
}

static const mien_attr globallppool_attrs[] = {{.name = "p", .kind = 'i', .i = 2}, {.name = NULL}};

const mien_op mien_ops_GlobalLpPool[] = {
    {.name = "GlobalLpPool",
     .since = 2,
     .signature = "X:T -> Y:T",
     .attrs = globallppool_attrs,
     .kernels = globallppool_kernels,
     .infer = globallppool_infer,
     .prepare = pool_global_prepare,
     .doc = "the p-norm of every channel"},
    {.name = NULL},
};
