/* Softmax: exp(x) / sum exp(x) along an axis.  ai.onnx 1, 11 (everything from the axis on is one row; default 1),
** 13 (the axis alone; default -1). A row of nothing but -inf gives NaN. */
#include "ops/rows.h"

#define SOFTMAX_ROW(D, T, C, K, ...)                                            \
  static void softmax_row_##D(mien_node *n, C *row, int64_t count) {            \
    C top = row[0], sum = 0;                                                    \
    (void)n;                                                                    \
    for (int64_t j = 1; j < count; j++) top = row[j] > top ? row[j] : top;      \
    for (int64_t j = 0; j < count; j++) sum += row[j] = ROWS_EXP(row[j] - top); \
    for (int64_t j = 0; j < count; j++) row[j] /= sum;                          \
  }
#define SOFTMAX_TYPES(X, ...) X(F64, double, double, PLAIN, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
SOFTMAX_TYPES(SOFTMAX_ROW, )
SOFTMAX_TYPES(ROWS_ONE, softmax)

static mien_status softmax_F32(mien_node *n, int64_t begin, int64_t end) {
  const rows *r = mien_state(n);
  const mien_math *math = mien_math_of(n);
  const float *x = mien_in(n, 0)->data;
  float *y = mien_out(n, 0)->data, *row = mien_scratch_of(n);
  for (int64_t i = begin; i < end; i++) {
    const int64_t at = i / r->inner * r->count * r->inner + i % r->inner;
    if (r->inner == 1) {
      math->softmax(x + at, y + at, r->count);
      continue;
    }
    for (int64_t j = 0; j < r->count; j++) row[j] = x[at + j * r->inner];
    math->softmax(row, row, r->count);
    for (int64_t j = 0; j < r->count; j++) y[at + j * r->inner] = row[j];
  }
  return MIEN_OK;
}

static mien_status softmax_prepare(mien_node *n) {
  mien_note_vector(n, true);
  return rows_prepare(n);
}
static mien_status softmax_prepare_flat(mien_node *n) {
  mien_note_vector(n, true);
  return rows_prepare_flat(n);
}

static const mien_kernel softmax_kernels[] = {{MIEN_F32, softmax_F32},
                                              SOFTMAX_TYPES(MIEN_ROW, softmax){MIEN_NONE, NULL}};
static const mien_kernel softmax_old_kernels[] = {
    {MIEN_F32, softmax_F32}, {MIEN_F64, softmax_F64}, {MIEN_F16, softmax_F16}, {MIEN_NONE, NULL}};
static const mien_attr softmax_attrs[] = {{.name = "axis", .kind = 'i', .i = -1}, {.name = NULL}};
static const mien_attr softmax_old_attrs[] = {{.name = "axis", .kind = 'i', .i = 1}, {.name = NULL}};

const mien_op mien_ops_Softmax[] = {
    {.name = "Softmax",
     .since = 1,
     .until = 12,
     .signature = "X:T -> Y:T",
     .attrs = softmax_old_attrs,
     .kernels = softmax_old_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = softmax_prepare_flat,
     .doc = "exp(x) / sum exp(x) from the axis on"},
    {.name = "Softmax",
     .since = 13,
     .signature = "X:T -> Y:T",
     .attrs = softmax_attrs,
     .kernels = softmax_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = softmax_prepare,
     .doc = "exp(x) / sum exp(x) along the axis"},
    {.name = NULL},
};
