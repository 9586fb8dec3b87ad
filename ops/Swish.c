/* Swish: Y[i] = X[i] / (1 + exp(-alpha * X[i])).  ai.onnx 24. */
#include "ops/loop.h"
#include <tgmath.h>

typedef struct {
  float alpha;
} swish_state;

static mien_status swish_prepare(mien_node *n) {
  swish_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  mien_work(n, mien_count(&mien_out(n, 0)->type), 5);
  return MIEN_OK;
}

#define swish(C, s, x) ((x) / ((C)1 + exp(-(C)(s)->alpha * (x))))
MIEN_UNARY(swish, swish_state, MIEN_FLOATS)

static const mien_attr swish_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1}, {.name = NULL}};

const mien_op mien_ops_Swish[] = {
    {.name = "Swish",
     .since = 24,
     .signature = "X:T -> Y:T",
     .attrs = swish_attrs,
     .kernels = swish_kernels,
     .state = sizeof(swish_state),
     .infer = mien_infer_same,
     .prepare = swish_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] / (1 + exp(-alpha * X[i]))"},
    {.name = NULL},
};
