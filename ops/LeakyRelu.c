/* LeakyRelu: Y[i] = X[i] < 0 ? alpha * X[i] : X[i].  ai.onnx 16, 6. */
#include "ops/loop.h"

typedef struct {
  float alpha;
} leaky_relu_state;

static mien_status leaky_relu_prepare(mien_node *n) {
  leaky_relu_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  return MIEN_OK;
}

#define leaky_relu(C, s, x) ((x) < 0 ? (C)(s)->alpha * (x) : (x))
MIEN_UNARY(leaky_relu, leaky_relu_state, MIEN_FLOATS)

static const mien_attr leaky_relu_attrs[] = {{.name = "alpha", .kind = 'f', .f = 0.01}, {.name = NULL}};

const mien_op mien_ops_LeakyRelu[] = {
    {.name = "LeakyRelu",
     .since = 6,
     .signature = "X:T -> Y:T",
     .attrs = leaky_relu_attrs,
     .kernels = leaky_relu_kernels,
     .state = sizeof(leaky_relu_state),
     .infer = mien_infer_same,
     .prepare = leaky_relu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] < 0 ? alpha * X[i] : X[i]"},
    {.name = NULL},
};
