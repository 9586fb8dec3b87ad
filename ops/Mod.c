/* Mod: C[i] = the remainder of A[i] / B[i], stretched to one shape.  ai.onnx 28 (floats with fmod 0), 13, 10.
** fmod 1: with the sign of A, as C's fmod and %; fmod 0: with the sign of B, as Python's. An integer's remainder by zero
** is an error. */
#include "ops/broadcast.h"
#include <tgmath.h>

typedef struct {
  mien_broadcast at;
  bool fmod;
} mod_state;

#define mod_never(C, x, y) false
#define mod_by_zero(C, x, y) ((y) == 0)
#define MOD_WHY "integer remainder by zero"
/* NaN is neither below 0 nor 0, and stays; a remainder of 0 takes B's sign. */
#define mod_floored(C, r, y) ((r) == 0 ? copysign((r), (y)) : ((r) < 0) != ((y) < 0) ? (r) + (y) : (r))
#define mod_floats(C, s, x, y) ((s)->fmod ? fmod((x), (y)) : mod_floored(C, fmod((x), (y)), (y)))
#define mod_unsigned(C, s, x, y) ((C)((x) % ((y) == 0 ? (C)1 : (y))))
/* By -1 the remainder is 0, and the smallest number must not reach %. */
#define mod_rest(C, x, y) ((C)((y) == 0 || (y) == -1 ? 0 : (x) % (y)))
#define mod_signed(C, s, x, y) \
  ((C)(mod_rest(C, x, y) + (!(s)->fmod && mod_rest(C, x, y) != 0 && (mod_rest(C, x, y) < 0) != ((y) < 0) ? (y) : 0)))

MIEN_FLOATS(MIEN_BINARY_SAME, mod_floats, mod_state, mod_never, "")
MIEN_UNSIGNED(MIEN_BINARY_SAME, mod_unsigned, mod_state, mod_by_zero, MOD_WHY)
MIEN_SIGNED(MIEN_BINARY_SAME, mod_signed, mod_state, mod_by_zero, MOD_WHY)
static const mien_kernel mod_kernels[] = {MIEN_FLOATS(MIEN_ROW, mod_floats) MIEN_UNSIGNED(MIEN_ROW, mod_unsigned)
                                              MIEN_SIGNED(MIEN_ROW, mod_signed){MIEN_NONE, NULL}};

static mien_status mod_infer_10(mien_node *n) {
  const int32_t dtype = mien_in(n, 0)->type.dtype;
  const bool is_float = dtype == MIEN_F32 || dtype == MIEN_F64 || dtype == MIEN_F16 || dtype == MIEN_BF16;
  if (is_float && mien_attr_i(n, "fmod") == 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "fmod is 0, expected 1 for floating-point operands");
  return mien_infer_broadcast(n);
}

static mien_status mod_prepare(mien_node *n) {
  mod_state *s = mien_state(n);
  s->fmod = mien_attr_i(n, "fmod") != 0;
  return mien_prepare_broadcast(n);
}

/* Symbols are never negative; a negative number beside them follows the kernels. */
static int64_t mod_dim(mien_node *n, int64_t a, int64_t b) {
  if (mien_attr_i(n, "fmod") != 0 && !mien_is_symbol(a) && !mien_is_symbol(b) && b != 0 && b != -1) return a % b;
  return mien_dim(n, '%', a, b);
}

static const mien_attr mod_attrs[] = {{.name = "fmod", .kind = 'i', .i = 0}, {.name = NULL}};

#define MOD                                                                                           \
  .name = "Mod", .signature = "A:T, B:T -> C:T", .attrs = mod_attrs, .kernels = mod_kernels,          \
  .state = sizeof(mod_state), .prepare = mod_prepare, .flags = MIEN_OP_IN_PLACE, .dim_eval = mod_dim, \
  .doc = "C[i] = the remainder of A[i] / B[i], stretched to one shape"

const mien_op mien_ops_Mod[] = {
    {MOD, .since = 10, .until = 27, .infer = mod_infer_10},
    {MOD, .since = 28, .infer = mien_infer_broadcast},
    {.name = NULL},
};
