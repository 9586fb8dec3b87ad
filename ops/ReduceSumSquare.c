/* ReduceSumSquare: the sum of the squares of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"

/* Floats. */
#define reduce_sum_square_first(A) ((A)0)
#define reduce_sum_square_step(A, a, x, at) ((a) + (A)(x) * (A)(x))
#define reduce_sum_square_merge(A, a, b) ((a) + (b))
#define reduce_sum_square_last(A, C, a, count) ((C)(a))
/* Integers wrap. */
#define reduce_sum_square_whole_first(A) ((A)0)
#define reduce_sum_square_whole_step(A, a, x, at) ((a) + (A)(x) * (A)(x))
#define reduce_sum_square_whole_merge(A, a, b) ((a) + (b))
#define reduce_sum_square_whole_last(A, C, a, count) ((C)(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_sum_square, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_sum_square_whole, uint64_t, 8)
static const mien_kernel reduce_sum_square_kernels[] = {
    MIEN_FLOATS(MIEN_ROW, reduce_sum_square) MIEN_WIDE_INTS(MIEN_ROW, reduce_sum_square_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceSumSquare, reduce_sum_square, 17, "the sum of the squares of each set")
