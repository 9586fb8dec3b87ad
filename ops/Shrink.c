/* Shrink: Y[i] = X[i] moved by bias toward 0 where |X[i]| > lambd, 0 elsewhere.  ai.onnx 9. */
#include "ops/loop.h"

typedef struct {
  float bias, lambd;
} shrink_state;

static mien_status shrink_prepare(mien_node *n) {
  shrink_state *s = mien_state(n);
  s->bias = (float)mien_attr_f(n, "bias");
  s->lambd = (float)mien_attr_f(n, "lambd");
  return MIEN_OK;
}

/* Integers are compared and moved in double, then truncated. NaN is neither below nor above: it comes out as it is. */
#define shrink(C, s, x)                                                                   \
  ((double)(x) < -(double)(s)->lambd  ? MIEN_FROM_F64(C, (double)(x) + (double)(s)->bias) \
   : (double)(x) > (double)(s)->lambd ? MIEN_FROM_F64(C, (double)(x) - (double)(s)->bias) \
   : (x) != (x)                       ? (x)                                               \
                                      : (C)0)
MIEN_UNARY(shrink, shrink_state, MIEN_NUMBERS)

static const mien_attr shrink_attrs[] = {
    {.name = "bias", .kind = 'f', .f = 0}, {.name = "lambd", .kind = 'f', .f = 0.5}, {.name = NULL}};

const mien_op mien_ops_Shrink[] = {
    {.name = "Shrink",
     .since = 9,
     .signature = "X:T -> Y:T",
     .attrs = shrink_attrs,
     .kernels = shrink_kernels,
     .state = sizeof(shrink_state),
     .infer = mien_infer_same,
     .prepare = shrink_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] moved by bias toward 0 where |X[i]| > lambd, 0 elsewhere"},
    {.name = NULL},
};
