/* LogSoftmax: x - log(sum exp(x)) along an axis.  ai.onnx 1, 11 (everything from the axis on is one row; default 1),
** 13 (the axis alone; default -1). */
#include "ops/rows.h"

#define LOG_SOFTMAX_ROW(D, T, C, K, ...)                                   \
  static void log_softmax_row_##D(mien_node *n, C *row, int64_t count) {   \
    C top = row[0], sum = 0;                                               \
    (void)n;                                                               \
    for (int64_t j = 1; j < count; j++) top = row[j] > top ? row[j] : top; \
    for (int64_t j = 0; j < count; j++) sum += ROWS_EXP(row[j] - top);     \
    sum = ROWS_LOG(sum);                                                   \
    for (int64_t j = 0; j < count; j++) row[j] = row[j] - top - sum;       \
  }
MIEN_FLOATS(LOG_SOFTMAX_ROW, )
MIEN_FLOATS(ROWS_ONE, log_softmax)
MIEN_KERNELS(log_softmax, MIEN_FLOATS)
static const mien_kernel log_softmax_old_kernels[] = {
    {MIEN_F32, log_softmax_F32}, {MIEN_F64, log_softmax_F64}, {MIEN_F16, log_softmax_F16}, {MIEN_NONE, NULL}};

static const mien_attr log_softmax_attrs[] = {{.name = "axis", .kind = 'i', .i = -1}, {.name = NULL}};
static const mien_attr log_softmax_old_attrs[] = {{.name = "axis", .kind = 'i', .i = 1}, {.name = NULL}};

const mien_op mien_ops_LogSoftmax[] = {
    {.name = "LogSoftmax",
     .since = 1,
     .until = 12,
     .signature = "X:T -> Y:T",
     .attrs = log_softmax_old_attrs,
     .kernels = log_softmax_old_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = rows_prepare_flat,
     .doc = "x - log sum exp(x) from the axis on"},
    {.name = "LogSoftmax",
     .since = 13,
     .signature = "X:T -> Y:T",
     .attrs = log_softmax_attrs,
     .kernels = log_softmax_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = rows_prepare,
     .doc = "x - log sum exp(x) along the axis"},
    {.name = NULL},
};
