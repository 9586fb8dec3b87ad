/* ThresholdedRelu: Y[i] = X[i] > alpha ? X[i] : 0.  ai.onnx 22, 10. */
#include "ops/loop.h"

typedef struct {
  float alpha;
} thresholded_relu_state;

static mien_status thresholded_relu_prepare(mien_node *n) {
  thresholded_relu_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  return MIEN_OK;
}

#define thresholded_relu(C, s, x) ((x) <= (C)(s)->alpha ? (C)0 : (x))
MIEN_UNARY(thresholded_relu, thresholded_relu_state, MIEN_FLOATS)

static const mien_attr thresholded_relu_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1}, {.name = NULL}};

const mien_op mien_ops_ThresholdedRelu[] = {
    {.name = "ThresholdedRelu",
     .since = 10,
     .signature = "X:T -> Y:T",
     .attrs = thresholded_relu_attrs,
     .kernels = thresholded_relu_kernels,
     .state = sizeof(thresholded_relu_state),
     .infer = mien_infer_same,
     .prepare = thresholded_relu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] > alpha ? X[i] : 0"},
    {.name = NULL},
};
