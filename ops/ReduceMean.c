/* ReduceMean: the mean of each set.  ai.onnx 18 (axes as input), 1.
** The mean of nothing is NaN; of integers, which have none, 0. */
#include "ops/reduce.h"

#define reduce_mean_first(A) ((A)0)
#define reduce_mean_step(A, a, x, at) ((a) + (A)(x))
#define reduce_mean_merge(A, a, b) ((a) + (b))
#define reduce_mean_last(A, C, a, count) ((C)((a) / (A)(count)))
/* Integers: the sum wraps, the quotient is truncated toward zero. */
#define reduce_mean_whole_first(A) ((A)0)
#define reduce_mean_whole_step(A, a, x, at) ((a) + (A)(x))
#define reduce_mean_whole_merge(A, a, b) ((a) + (b))
#define reduce_mean_whole_last(A, C, a, count) \
  ((count) == 0 ? (C)0 : (C)-1 < 0 ? (C)((int64_t)(a) / (count)) : (C)((a) / (uint64_t)(count)))

MIEN_FLOATS(MIEN_REDUCE, reduce_mean, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_mean_whole, uint64_t, 8)
static const mien_kernel reduce_mean_kernels[] = {MIEN_FLOATS(MIEN_ROW, reduce_mean)
                                                      MIEN_WIDE_INTS(MIEN_ROW, reduce_mean_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceMean, reduce_mean, 17, "the mean of each set")
