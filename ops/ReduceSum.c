/* ReduceSum: the sum of each set.  ai.onnx 13 (axes as input), 1. */
#include "ops/reduce.h"

/* Floats. */
#define reduce_sum_first(A) ((A)0)
#define reduce_sum_step(A, a, x, at) ((a) + (A)(x))
#define reduce_sum_merge(A, a, b) ((a) + (b))
#define reduce_sum_last(A, C, a, count) ((C)(a))
/* Integers wrap. */
#define reduce_sum_whole_first(A) ((A)0)
#define reduce_sum_whole_step(A, a, x, at) ((a) + (A)(x))
#define reduce_sum_whole_merge(A, a, b) ((a) + (b))
#define reduce_sum_whole_last(A, C, a, count) ((C)(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_sum, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_sum_whole, uint64_t, 8)
static const mien_kernel reduce_sum_kernels[] = {MIEN_FLOATS(MIEN_ROW, reduce_sum)
                                                     MIEN_WIDE_INTS(MIEN_ROW, reduce_sum_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceSum, reduce_sum, 12, "the sum of each set")
