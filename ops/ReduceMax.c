/* ReduceMax: the largest element of each set; of none the lowest number of the type.  ai.onnx 18 (axes as input), 1.
** NaN wins. */
#include "ops/reduce.h"
#include <math.h>

/* clang-format off */
#define reduce_max_first(A)                                                                                             \
  _Generic((A)0, float: (A)-INFINITY, double: (A)-INFINITY, bool: (A)0, uint64_t: (A)0, \
           default: (A)MIEN_LOW(A))
/* clang-format on */
/* NaN stays once it is there: the comparison with it is false, and x != x takes it in. */
#define reduce_max_step(A, a, x, at) ((x) > (a) || (x) != (x) ? (x) : (a))
#define reduce_max_merge(A, a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define reduce_max_last(A, C, a, count) (a)

MIEN_NUMBERS_AND_BOOL(MIEN_REDUCE_SAME, reduce_max, 8)
MIEN_KERNELS(reduce_max, MIEN_NUMBERS_AND_BOOL)

MIEN_REDUCE_RECORDS(ReduceMax, reduce_max, 17, "the largest element of each set; of none the lowest number of the type")
