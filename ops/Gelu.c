/* Gelu: Y[i] = X[i] * the probability that a standard normal number is below X[i].  ai.onnx 20.
** approximate: "none" is exact (by the error function), "tanh" the usual approximation of it. */
#include "ops/loop.h"
#include <tgmath.h>

#define gelu_exact(C, s, x) ((C)0.5 * (x) * ((C)1 + erf((x) * (C)0.70710678118654752440)))
#define gelu_tanh(C, s, x) \
  ((C)0.5 * (x) * ((C)1 + tanh((C)0.79788456080286535588 * ((x) + (C)0.044715 * (x) * (x) * (x)))))

#define gelu_fast(m, x, y, count) (m)->activate(MIEN_ACT_GELU, 0, 0, (x), (y), (count))
MIEN_UNARY_FAST(gelu_exact, void, MIEN_FLOATS_BUT_F32, activate, gelu_fast)
MIEN_FLOATS(MIEN_UNARY_SAME, gelu_tanh, void)

typedef struct {
  bool tanh;
} gelu_state;

#define GELU_EITHER(D, T, C, K, op)                                                \
  static mien_status gelu_##D(mien_node *n, int64_t begin, int64_t end) {          \
    const gelu_state *s = mien_state(n);                                           \
    return s->tanh ? gelu_tanh_##D(n, begin, end) : gelu_exact_##D(n, begin, end); \
  }
MIEN_FLOATS(GELU_EITHER, gelu)
MIEN_KERNELS(gelu, MIEN_FLOATS)

static mien_status gelu_infer(mien_node *n) {
  const char *approximate = mien_attr_s(n, "approximate");
  if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "approximate is '%s', expected 'none' or 'tanh'", approximate);
  return mien_infer_same(n);
}

static mien_status gelu_prepare(mien_node *n) {
  gelu_state *s = mien_state(n);
  s->tanh = strcmp(mien_attr_s(n, "approximate"), "tanh") == 0;
  mien_work(n, mien_count(&mien_out(n, 0)->type), 4);
  mien_note_vector(n, !s->tanh && MIEN_MATH_HAS(mien_math_of(n), activate));
  return MIEN_OK;
}

static const mien_attr gelu_attrs[] = {{.name = "approximate", .kind = 's', .s = "none"}, {.name = NULL}};

const mien_op mien_ops_Gelu[] = {
    {.name = "Gelu",
     .since = 20,
     .signature = "X:T -> Y:T",
     .attrs = gelu_attrs,
     .kernels = gelu_kernels,
     .state = sizeof(gelu_state),
     .infer = gelu_infer,
     .prepare = gelu_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] / 2 * (1 + erf(X[i] / sqrt(2))), or its tanh approximation"},
    {.name = NULL},
};
