/* ReduceMin: the smallest element of each set; of none the highest number of the type.  ai.onnx 18 (axes as input), 1.
** NaN wins. */
#include "ops/reduce.h"
#include <math.h>

/* clang-format off */
#define reduce_min_first(A)                                                                                             \
  _Generic((A)0, float: (A)INFINITY, double: (A)INFINITY, bool: (A)1, uint64_t: (A)UINT64_MAX, \
           default: (A)MIEN_HIGH(A))
/* clang-format on */
/* NaN stays once it is there: the comparison with it is false, and x != x takes it in. */
#define reduce_min_step(A, a, x, at) ((x) < (a) || (x) != (x) ? (x) : (a))
#define reduce_min_merge(A, a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define reduce_min_last(A, C, a, count) (a)

MIEN_NUMBERS_AND_BOOL(MIEN_REDUCE_SAME, reduce_min, 8)
MIEN_KERNELS(reduce_min, MIEN_NUMBERS_AND_BOOL)

MIEN_REDUCE_RECORDS(ReduceMin, reduce_min, 17,
                    "the smallest element of each set; of none the highest number of the type")
