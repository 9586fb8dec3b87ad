/* Dropout: Y is X, as always at inference; the mask is all true.  ai.onnx 22, 13, 12, 10, 7.
** training_mode = true (12 on) is refused: mien draws no masks. */
#include "ops/loop.h"

static bool dropout_trains(const mien_tensor *mode) { return mode && mode->data && *(const uint8_t *)mode->data != 0; }

static mien_status dropout_refuse(mien_node *n) {
  return mien_fail(n, MIEN_UNSUPPORTED, "training_mode is true, expected false: mien runs inference only");
}

static mien_status dropout_infer(mien_node *n) {
  mien_type mask = mien_in(n, 0)->type;
  mask.dtype = MIEN_BOOL;
  if (dropout_trains(mien_in(n, 2))) return dropout_refuse(n);
  MIEN_TRY(mien_set_type(n, 0, &mien_in(n, 0)->type));
  return mien_set_type(n, 1, &mask);
}

/* Before 10 the mask has the type of X. */
static mien_status dropout_infer_7(mien_node *n) {
  MIEN_TRY(mien_set_type(n, 0, &mien_in(n, 0)->type));
  return mien_set_type(n, 1, &mien_in(n, 0)->type);
}

static mien_status dropout_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_in(n, 0)->type), 0.2); /* output 0 may be unused where only the mask is wanted */
  return MIEN_OK;
}

#define DROPOUT(D, T, C, K, op)                                                                        \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {                              \
    const T *x = mien_in(n, 0)->data;                                                                  \
    mien_tensor *y = mien_out(n, 0), *mask = mien_out(n, 1);                                           \
    if (dropout_trains(mien_in(n, 2))) return dropout_refuse(n);                                       \
    if (begin >= end) return MIEN_OK;                                                                  \
    if (y && y->data != x) memcpy((T *)y->data + begin, x + begin, (size_t)(end - begin) * sizeof(T)); \
    if (!mask) return MIEN_OK;                                                                         \
    if (mask->type.dtype == MIEN_BOOL)                                                                 \
      memset((uint8_t *)mask->data + begin, 1, (size_t)(end - begin));                                 \
    else                                                                                               \
      for (int64_t i = begin; i < end; i++) ((T *)mask->data)[i] = MIEN_PUT_##K(T, (C)1);              \
    return MIEN_OK;                                                                                    \
  }
MIEN_FLOATS(DROPOUT, dropout)
MIEN_KERNELS(dropout, MIEN_FLOATS)

static const mien_attr dropout_attrs[] = {{.name = "ratio", .kind = 'f', .f = 0.5}, {.name = NULL}};
static const mien_attr dropout_12_attrs[] = {{.name = "seed", .kind = 'i'}, {.name = NULL}};

#define DROPOUT_RECORD                                                                                  \
  .name = "Dropout", .kernels = dropout_kernels, .prepare = dropout_prepare, .flags = MIEN_OP_IN_PLACE, \
  .doc = "Y is X (inference)"

const mien_op mien_ops_Dropout[] = {
    {DROPOUT_RECORD, .since = 7, .until = 9, .signature = "X:T -> Y:T, mask:T?", .attrs = dropout_attrs,
     .infer = dropout_infer_7},
    {DROPOUT_RECORD, .since = 10, .until = 11, .signature = "X:T -> Y:T, mask:bool?", .attrs = dropout_attrs,
     .infer = dropout_infer},
    {DROPOUT_RECORD, .since = 12,
     .signature = "X:T, ratio:R{" MIEN_TEXT_FLOATS "}?, training_mode:bool? -> Y:T, mask:bool?",
     .attrs = dropout_12_attrs, .infer = dropout_infer},
    {.name = NULL},
};
