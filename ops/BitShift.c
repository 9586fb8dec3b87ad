/* BitShift: Z[i] = X[i] moved by Y[i] bits in `direction`, stretched to one shape.  ai.onnx 28 (signed types), 11.
** Left: zeros come in. Right: copies of the sign bit, zeros for unsigned types. A shift by the width or more, or by less
** than nothing, leaves what came in. */
#include "ops/broadcast.h"

typedef struct {
  mien_broadcast at;
  bool left;
} bit_shift_state;

#define bit_shift_by(C, s, x, y) ((s)->left ? (C)(MIEN_WRAP(x) << (y)) : (C)((x) >> (y)))
#define bit_shift_out(C, s, x) (!(s)->left && (x) < 0 ? (C)-1 : (C)0)
#define bit_shift(C, s, x, y) \
  ((y) < 0 || (uint64_t)(y) >= 8 * sizeof(C) ? bit_shift_out(C, s, x) : bit_shift_by(C, s, x, y))
MIEN_BINARY(bit_shift, bit_shift_state, MIEN_INTS)
static const mien_kernel bit_shift_unsigned_kernels[] = {MIEN_UNSIGNED(MIEN_ROW, bit_shift){MIEN_NONE, NULL}};

static mien_status bit_shift_infer(mien_node *n) {
  const char *direction = mien_attr_s(n, "direction");
  if (strcmp(direction, "LEFT") != 0 && strcmp(direction, "RIGHT") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "direction is '%s', expected 'LEFT' or 'RIGHT'", direction);
  return mien_infer_broadcast(n);
}

static mien_status bit_shift_prepare(mien_node *n) {
  bit_shift_state *s = mien_state(n);
  s->left = strcmp(mien_attr_s(n, "direction"), "LEFT") == 0;
  return mien_prepare_broadcast(n);
}

static const mien_attr bit_shift_attrs[] = {{.name = "direction", .kind = 's', .required = true}, {.name = NULL}};

#define BIT_SHIFT                                                                                                 \
  .name = "BitShift", .signature = "X:T, Y:T -> Z:T", .attrs = bit_shift_attrs, .state = sizeof(bit_shift_state), \
  .infer = bit_shift_infer, .prepare = bit_shift_prepare, .flags = MIEN_OP_IN_PLACE,                              \
  .doc = "Z[i] = X[i] moved by Y[i] bits, stretched to one shape"

const mien_op mien_ops_BitShift[] = {
    {BIT_SHIFT, .since = 11, .until = 27, .kernels = bit_shift_unsigned_kernels},
    {BIT_SHIFT, .since = 28, .kernels = bit_shift_kernels},
    {.name = NULL},
};
