/* HardSigmoid: Y[i] = max(0, min(1, alpha * X[i] + beta)).  ai.onnx 22, 6. */
#include "ops/loop.h"

typedef struct {
  float alpha, beta;
} hard_sigmoid_state;

static mien_status hard_sigmoid_prepare(mien_node *n) {
  hard_sigmoid_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  s->beta = (float)mien_attr_f(n, "beta");
  return MIEN_OK;
}

#define hard_sigmoid_clip(C, g) ((g) < 0 ? (C)0 : (g) > 1 ? (C)1 : (g))
#define hard_sigmoid(C, s, x) hard_sigmoid_clip(C, (C)(s)->alpha *(x) + (C)(s)->beta)
MIEN_UNARY(hard_sigmoid, hard_sigmoid_state, MIEN_FLOATS)

static const mien_attr hard_sigmoid_attrs[] = {
    {.name = "alpha", .kind = 'f', .f = 0.2}, {.name = "beta", .kind = 'f', .f = 0.5}, {.name = NULL}};

const mien_op mien_ops_HardSigmoid[] = {
    {.name = "HardSigmoid",
     .since = 6,
     .signature = "X:T -> Y:T",
     .attrs = hard_sigmoid_attrs,
     .kernels = hard_sigmoid_kernels,
     .state = sizeof(hard_sigmoid_state),
     .infer = mien_infer_same,
     .prepare = hard_sigmoid_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = max(0, min(1, alpha * X[i] + beta))"},
    {.name = NULL},
};
