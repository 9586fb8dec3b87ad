/* Elu: Y[i] = X[i] < 0 ? alpha * (exp(X[i]) - 1) : X[i].  ai.onnx 22, 6. */
#include "ops/loop.h"
#include <tgmath.h>

typedef struct {
  float alpha;
} elu_state;

static mien_status elu_prepare(mien_node *n) {
  elu_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  mien_work(n, mien_count(&mien_out(n, 0)->type), 6);
  return MIEN_OK;
}

#define elu(C, s, x) ((x) < 0 ? (C)(s)->alpha * expm1(x) : (x))
MIEN_UNARY(elu, elu_state, MIEN_FLOATS)

static const mien_attr elu_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1}, {.name = NULL}};

const mien_op mien_ops_Elu[] = {
    {.name = "Elu",
     .since = 6,
     .signature = "X:T -> Y:T",
     .attrs = elu_attrs,
     .kernels = elu_kernels,
     .state = sizeof(elu_state),
     .infer = mien_infer_same,
     .prepare = elu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] < 0 ? alpha * (exp(X[i]) - 1) : X[i]"},
    {.name = NULL},
};
