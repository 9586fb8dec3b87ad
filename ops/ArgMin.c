/* ArgMin: where along `axis` the smallest element stands.  ai.onnx 13, 12 (select_last_index), 11, 1.
** Of equal elements the first, or with select_last_index the last. NaN wins. */
#include "ops/reduce.h"

#define arg_min_early_better(x, best) ((x) < (best) || ((x) != (x) && (best) == (best)))
#define arg_min_late_better(x, best) ((x) <= (best) || (x) != (x))
#define arg_min_early_first(A) MIEN_ARG_FIRST(A)
#define arg_min_early_step(A, a, x, at) MIEN_ARG_STEP(A, a, x, at)
#define arg_min_early_merge(A, a, b) MIEN_ARG_MERGE(A, a, b)
#define arg_min_early_last(A, C, a, count) MIEN_ARG_LAST(A, C, a, count)
#define arg_min_late_first(A) MIEN_ARG_FIRST(A)
#define arg_min_late_step(A, a, x, at) MIEN_ARG_STEP(A, a, x, at)
#define arg_min_late_merge(A, a, b) MIEN_ARG_MERGE(A, a, b)
#define arg_min_late_last(A, C, a, count) MIEN_ARG_LAST(A, C, a, count)

MIEN_NUMBERS(MIEN_ARG_LOOPS, arg_min_early)
MIEN_NUMBERS(MIEN_ARG_LOOPS, arg_min_late)
MIEN_NUMBERS(MIEN_ARG_KERNEL, arg_min, arg_min_early, arg_min_late)
MIEN_KERNELS(arg_min, MIEN_NUMBERS)

static const mien_attr arg_min_attrs[] = {
    {.name = "axis", .kind = 'i', .i = 0}, {.name = "keepdims", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_attr arg_min_12_attrs[] = {{.name = "axis", .kind = 'i', .i = 0},
                                             {.name = "keepdims", .kind = 'i', .i = 1},
                                             {.name = "select_last_index", .kind = 'i', .i = 0},
                                             {.name = NULL}};

#define ARG_MIN                                                                                                \
  .name = "ArgMin", .signature = "data:T -> reduced:i64", .kernels = arg_min_kernels, .infer = mien_arg_infer, \
  .prepare = mien_reduce_prepare, .doc = "where along an axis the smallest element stands"

const mien_op mien_ops_ArgMin[] = {
    {ARG_MIN, .since = 1, .until = 11, .attrs = arg_min_attrs},
    {ARG_MIN, .since = 12, .attrs = arg_min_12_attrs},
    {.name = NULL},
};
