/* Hardmax: 1 at the first largest element of a row, 0 elsewhere.  ai.onnx 1, 11 (everything from the axis on is one row;
** default 1), 13 (the axis alone; default -1). */
#include "ops/rows.h"

#define HARDMAX_ROW(D, T, C, K, ...)                                       \
  static void hardmax_row_##D(mien_node *n, C *row, int64_t count) {       \
    int64_t top = 0;                                                       \
    (void)n;                                                               \
    for (int64_t j = 1; j < count; j++) top = row[j] > row[top] ? j : top; \
    for (int64_t j = 0; j < count; j++) row[j] = j == top;                 \
  }
MIEN_FLOATS(HARDMAX_ROW, )
MIEN_FLOATS(ROWS_ONE, hardmax)
MIEN_KERNELS(hardmax, MIEN_FLOATS)
static const mien_kernel hardmax_old_kernels[] = {
    {MIEN_F32, hardmax_F32}, {MIEN_F64, hardmax_F64}, {MIEN_F16, hardmax_F16}, {MIEN_NONE, NULL}};

static const mien_attr hardmax_attrs[] = {{.name = "axis", .kind = 'i', .i = -1}, {.name = NULL}};
static const mien_attr hardmax_old_attrs[] = {{.name = "axis", .kind = 'i', .i = 1}, {.name = NULL}};

const mien_op mien_ops_Hardmax[] = {
    {.name = "Hardmax",
     .since = 1,
     .until = 12,
     .signature = "X:T -> Y:T",
     .attrs = hardmax_old_attrs,
     .kernels = hardmax_old_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = rows_prepare_flat,
     .doc = "one-hot of the first largest element from the axis on"},
    {.name = "Hardmax",
     .since = 13,
     .signature = "X:T -> Y:T",
     .attrs = hardmax_attrs,
     .kernels = hardmax_kernels,
     .state = sizeof(rows),
     .infer = rows_infer,
     .prepare = rows_prepare,
     .doc = "one-hot of the first largest element along the axis"},
    {.name = NULL},
};
