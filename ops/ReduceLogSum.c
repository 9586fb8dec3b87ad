/* ReduceLogSum: the logarithm of the sum of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"
#include <math.h>

/* Floats. */
#define reduce_log_sum_first(A) ((A)0)
#define reduce_log_sum_step(A, a, x, at) ((a) + (A)(x))
#define reduce_log_sum_merge(A, a, b) ((a) + (b))
#define reduce_log_sum_last(A, C, a, count) ((C)log(a))
/* Integers are computed in double and truncated. */
#define reduce_log_sum_whole_first(A) ((A)0)
#define reduce_log_sum_whole_step(A, a, x, at) ((a) + (A)(x))
#define reduce_log_sum_whole_merge(A, a, b) ((a) + (b))
#define reduce_log_sum_whole_last(A, C, a, count) MIEN_FROM_F64(C, log(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_log_sum, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_log_sum_whole, double, 8)
static const mien_kernel reduce_log_sum_kernels[] = {
    MIEN_FLOATS(MIEN_ROW, reduce_log_sum) MIEN_WIDE_INTS(MIEN_ROW, reduce_log_sum_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceLogSum, reduce_log_sum, 17, "the logarithm of the sum of each set")
