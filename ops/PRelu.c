/* PRelu: Y[i] = X[i] < 0 ? slope[i] * X[i] : X[i], slope stretched to X's shape.  ai.onnx 16, 9, 7. */
#include "ops/broadcast.h"

#define PRELU_TYPES(X, ...)                      \
  MIEN_FLOATS(X, __VA_ARGS__)                    \
  X(I32, int32_t, int32_t, PLAIN, __VA_ARGS__)   \
  X(I64, int64_t, int64_t, PLAIN, __VA_ARGS__)   \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) \
  X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)
#define p_relu(C, s, x, slope) ((x) < 0 ? (C)(MIEN_WRAP(slope) * MIEN_WRAP(x)) : (x))
MIEN_BINARY(p_relu, mien_broadcast, PRELU_TYPES)

/* The slope never stretches X. */
static mien_status p_relu_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *slope = &mien_in(n, 1)->type;
  mien_type t = *x;
  MIEN_TRY(mien_broadcast_shape(n, &t, slope));
  bool same = t.rank == x->rank;
  for (int i = 0; same && i < t.rank; i++)
    if (x->dim[i] >= 0 && t.dim[i] >= 0 && t.dim[i] != x->dim[i]) same = false;
  if (!same) {
    char tx[192], ts[192];
    return mien_fail(n, MIEN_INVALID_MODEL, "slope has shape %s, which cannot be broadcast to X's %s",
                     mien_shape_text(slope, ts, sizeof ts), mien_shape_text(x, tx, sizeof tx));
  }
  return mien_infer_same(n);
}

const mien_op mien_ops_PRelu[] = {
    {.name = "PRelu",
     .since = 7,
     .signature = "X:T, slope:T -> Y:T",
     .kernels = p_relu_kernels,
     .state = sizeof(mien_broadcast),
     .infer = p_relu_infer,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] < 0 ? slope[i] * X[i] : X[i]"},
    {.name = NULL},
};
