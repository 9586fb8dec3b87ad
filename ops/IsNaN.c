/* IsNaN: Y[i] = whether X[i] is not a number.  ai.onnx 20, 13, 9. */
#include "ops/loop.h"

#define is_na_n(C, s, x) ((x) != (x))
MIEN_PREDICATE(is_na_n, void, MIEN_FLOATS)

const mien_op mien_ops_IsNaN[] = {
    {.name = "IsNaN",
     .since = 9,
     .signature = "X:T -> Y:bool",
     .kernels = is_na_n_kernels,
     .infer = mien_infer_same_bool,
     .doc = "Y[i] = whether X[i] is not a number"},
    {.name = NULL},
};
