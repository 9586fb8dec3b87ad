/* ReduceProd: the product of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"

/* Floats. */
#define reduce_prod_first(A) ((A)1)
#define reduce_prod_step(A, a, x, at) ((a) * (A)(x))
#define reduce_prod_merge(A, a, b) ((a) * (b))
#define reduce_prod_last(A, C, a, count) ((C)(a))
/* Integers wrap. */
#define reduce_prod_whole_first(A) ((A)1)
#define reduce_prod_whole_step(A, a, x, at) ((a) * (A)(x))
#define reduce_prod_whole_merge(A, a, b) ((a) * (b))
#define reduce_prod_whole_last(A, C, a, count) ((C)(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_prod, double, 8)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_prod_whole, uint64_t, 8)
static const mien_kernel reduce_prod_kernels[] = {MIEN_FLOATS(MIEN_ROW, reduce_prod)
                                                      MIEN_WIDE_INTS(MIEN_ROW, reduce_prod_whole){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceProd, reduce_prod, 17, "the product of each set")
