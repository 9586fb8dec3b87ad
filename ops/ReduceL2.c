/* ReduceL2: the square root of the sum of the squares of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"
#include <math.h>

/* Floats. */
#define reduce_l2_first(A) ((A)0)
#define reduce_l2_step(A, a, x, at) ((a) + (A)(x) * (A)(x))
#define reduce_l2_merge(A, a, b) ((a) + (b))
#define reduce_l2_last(A, C, a, count) ((C)sqrt(a))
/* Integers are computed in double and truncated. */
#define reduce_l2_whole_first(A) ((A)0)
#define reduce_l2_whole_step(A, a, x, at) ((a) + (A)(x) * (A)(x))
#define reduce_l2_whole_merge(A, a, b) ((a) + (b))
#define reduce_l2_whole_last(A, C, a, count) MIEN_FROM_F64(C, sqrt(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_l2, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_l2_whole, double, 8)
static const mien_kernel reduce_l2_kernels[] = {MIEN_FLOATS(MIEN_ROW, reduce_l2)
                                                    MIEN_WIDE_INTS(MIEN_ROW, reduce_l2_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceL2, reduce_l2, 17, "the square root of the sum of the squares of each set")
