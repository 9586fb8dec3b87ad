/* ReduceL1: the sum of the magnitudes of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"
#include <math.h>

/* Floats. */
#define reduce_l1_first(A) ((A)0)
#define reduce_l1_step(A, a, x, at) ((a) + fabs((A)(x)))
#define reduce_l1_merge(A, a, b) ((a) + (b))
#define reduce_l1_last(A, C, a, count) ((C)(a))
/* Integers wrap. */
#define reduce_l1_whole_first(A) ((A)0)
#define reduce_l1_whole_step(A, a, x, at) ((x) < 0 ? (a) - (A)(x) : (a) + (A)(x))
#define reduce_l1_whole_merge(A, a, b) ((a) + (b))
#define reduce_l1_whole_last(A, C, a, count) ((C)(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_l1, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_l1_whole, uint64_t, 8)
static const mien_kernel reduce_l1_kernels[] = {MIEN_FLOATS(MIEN_ROW, reduce_l1)
                                                    MIEN_WIDE_INTS(MIEN_ROW, reduce_l1_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceL1, reduce_l1, 17, "the sum of the magnitudes of each set")
