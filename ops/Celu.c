/* Celu: Y[i] = X[i] < 0 ? alpha * (exp(X[i] / alpha) - 1) : X[i].  ai.onnx 28, 12. */
#include "ops/loop.h"
#include <tgmath.h>

typedef struct {
  float alpha;
} celu_state;

static mien_status celu_prepare(mien_node *n) {
  celu_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  mien_work(n, mien_count(&mien_out(n, 0)->type), 6);
  return MIEN_OK;
}

#define celu(C, s, x) ((x) < 0 ? (C)(s)->alpha * expm1((x) / (C)(s)->alpha) : (x))
MIEN_UNARY(celu, celu_state, MIEN_FLOATS)

static const mien_attr celu_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1}, {.name = NULL}};

const mien_op mien_ops_Celu[] = {
    {.name = "Celu",
     .since = 12,
     .signature = "X:T -> Y:T",
     .attrs = celu_attrs,
     .kernels = celu_kernels,
     .state = sizeof(celu_state),
     .infer = mien_infer_same,
     .prepare = celu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] < 0 ? alpha * (exp(X[i] / alpha) - 1) : X[i]"},
    {.name = NULL},
};
