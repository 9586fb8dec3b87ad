/* Selu: Y[i] = gamma * (X[i] < 0 ? alpha * (exp(X[i]) - 1) : X[i]).  ai.onnx 22, 6. */
#include "ops/loop.h"
#include <tgmath.h>

typedef struct {
  float alpha, gamma;
} selu_state;

static mien_status selu_prepare(mien_node *n) {
  selu_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  s->gamma = (float)mien_attr_f(n, "gamma");
  mien_work(n, mien_count(&mien_out(n, 0)->type), 6);
  return MIEN_OK;
}

#define selu(C, s, x) ((C)(s)->gamma * ((x) < 0 ? (C)(s)->alpha * expm1(x) : (x)))
MIEN_UNARY(selu, selu_state, MIEN_FLOATS)

static const mien_attr selu_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1.67326319217681884765625},
                                       {.name = "gamma", .kind = 'f', .f = 1.05070102214813232421875},
                                       {.name = NULL}};

const mien_op mien_ops_Selu[] = {
    {.name = "Selu",
     .since = 6,
     .signature = "X:T -> Y:T",
     .attrs = selu_attrs,
     .kernels = selu_kernels,
     .state = sizeof(selu_state),
     .infer = mien_infer_same,
     .prepare = selu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = gamma * (X[i] < 0 ? alpha * (exp(X[i]) - 1) : X[i])"},
    {.name = NULL},
};
