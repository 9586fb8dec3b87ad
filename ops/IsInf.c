/* IsInf: Y[i] = whether X[i] is infinite.  ai.onnx 20, 10.
** detect_positive, detect_negative: which of the two infinities count; both by default. */
#include "ops/loop.h"
#include <math.h>

typedef struct {
  bool positive, negative;
} is_inf_state;

static mien_status is_inf_prepare(mien_node *n) {
  is_inf_state *s = mien_state(n);
  s->positive = mien_attr_i(n, "detect_positive") != 0;
  s->negative = mien_attr_i(n, "detect_negative") != 0;
  return MIEN_OK;
}

#define is_inf(C, s, x) (((s)->positive && (x) == (C)INFINITY) || ((s)->negative && (x) == -(C)INFINITY))
MIEN_PREDICATE(is_inf, is_inf_state, MIEN_FLOATS)

static const mien_attr is_inf_attrs[] = {
    {.name = "detect_positive", .kind = 'i', .i = 1}, {.name = "detect_negative", .kind = 'i', .i = 1}, {.name = NULL}};

const mien_op mien_ops_IsInf[] = {
    {.name = "IsInf",
     .since = 10,
     .signature = "X:T -> Y:bool",
     .attrs = is_inf_attrs,
     .kernels = is_inf_kernels,
     .state = sizeof(is_inf_state),
     .infer = mien_infer_same_bool,
     .prepare = is_inf_prepare,
     .doc = "Y[i] = whether X[i] is infinite"},
    {.name = NULL},
};
