/* Relu: Y[i] = max(0, X[i]).  ai.onnx 14, 13, 6. */
#include "ops/loop.h"

#define RELU_TYPES(X, ...) MIEN_FLOATS(X, __VA_ARGS__) MIEN_SIGNED(X, __VA_ARGS__)
#define relu(C, s, x) ((x) < 0 ? (C)0 : (x))
MIEN_UNARY(relu, void, RELU_TYPES)

const mien_op mien_ops_Relu[] = {
    {.name = "Relu",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = relu_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = max(0, X[i])"},
    {.name = NULL},
};
