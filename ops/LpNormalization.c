/* LpNormalization: x / (sum |x|^p)^(1/p) along an axis, p 1 or 2.  ai.onnx 1, 22 (bfloat16). A row of zeros gives zeros. */
#include "ops/rows.h"

static mien_status lp_norm_infer(mien_node *n) {
  const int64_t p = mien_attr_i(n, "p");
  if (p != 1 && p != 2) return mien_fail(n, MIEN_INVALID_MODEL, "p is %lld, expected 1 or 2", (long long)p);
  return rows_infer(n);
}

#define LP_NORM_ROW(D, T, C, K, ...)                                                                         \
  static void lp_norm_row_##D(mien_node *n, C *row, int64_t count) {                                         \
    const bool one = mien_attr_i(n, "p") == 1;                                                               \
    double sum = 0;                                                                                          \
    for (int64_t j = 0; j < count; j++) sum += one ? fabs((double)row[j]) : (double)row[j] * (double)row[j]; \
    const C norm = (C)(one ? sum : sqrt(sum));                                                               \
    for (int64_t j = 0; j < count; j++) row[j] = norm == 0 ? 0 : row[j] / norm;                              \
  }
MIEN_FLOATS(LP_NORM_ROW, )
MIEN_FLOATS(ROWS_ONE, lp_norm)
MIEN_KERNELS(lp_norm, MIEN_FLOATS)
static const mien_kernel lp_norm_old_kernels[] = {
    {MIEN_F32, lp_norm_F32}, {MIEN_F64, lp_norm_F64}, {MIEN_F16, lp_norm_F16}, {MIEN_NONE, NULL}};
static const mien_attr lp_norm_attrs[] = {
    {.name = "axis", .kind = 'i', .i = -1}, {.name = "p", .kind = 'i', .i = 2}, {.name = NULL}};

const mien_op mien_ops_LpNormalization[] = {
    {.name = "LpNormalization",
     .since = 1,
     .until = 21,
     .signature = "input:T -> output:T",
     .attrs = lp_norm_attrs,
     .kernels = lp_norm_old_kernels,
     .state = sizeof(rows),
     .infer = lp_norm_infer,
     .prepare = rows_prepare,
     .doc = "divides by the norm along the axis"},
    {.name = "LpNormalization",
     .since = 22,
     .signature = "input:T -> output:T",
     .attrs = lp_norm_attrs,
     .kernels = lp_norm_kernels,
     .state = sizeof(rows),
     .infer = lp_norm_infer,
     .prepare = rows_prepare,
     .doc = "divides by the norm along the axis"},
    {.name = NULL},
};
