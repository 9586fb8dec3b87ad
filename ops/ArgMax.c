/* ArgMax: where along `axis` the largest element stands.  ai.onnx 13, 12 (select_last_index), 11, 1.
** Of equal elements the first, or with select_last_index the last. NaN wins. */
#include "ops/reduce.h"

#define arg_max_early_better(x, best) ((x) > (best) || ((x) != (x) && (best) == (best)))
#define arg_max_late_better(x, best) ((x) >= (best) || (x) != (x))
#define arg_max_early_first(A) MIEN_ARG_FIRST(A)
#define arg_max_early_step(A, a, x, at) MIEN_ARG_STEP(A, a, x, at)
#define arg_max_early_merge(A, a, b) MIEN_ARG_MERGE(A, a, b)
#define arg_max_early_last(A, C, a, count) MIEN_ARG_LAST(A, C, a, count)
#define arg_max_late_first(A) MIEN_ARG_FIRST(A)
#define arg_max_late_step(A, a, x, at) MIEN_ARG_STEP(A, a, x, at)
#define arg_max_late_merge(A, a, b) MIEN_ARG_MERGE(A, a, b)
#define arg_max_late_last(A, C, a, count) MIEN_ARG_LAST(A, C, a, count)

MIEN_NUMBERS(MIEN_ARG_LOOPS, arg_max_early)
MIEN_NUMBERS(MIEN_ARG_LOOPS, arg_max_late)
MIEN_NUMBERS(MIEN_ARG_KERNEL, arg_max, arg_max_early, arg_max_late)
MIEN_KERNELS(arg_max, MIEN_NUMBERS)

static const mien_attr arg_max_attrs[] = {
    {.name = "axis", .kind = 'i', .i = 0}, {.name = "keepdims", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_attr arg_max_12_attrs[] = {{.name = "axis", .kind = 'i', .i = 0},
                                             {.name = "keepdims", .kind = 'i', .i = 1},
                                             {.name = "select_last_index", .kind = 'i', .i = 0},
                                             {.name = NULL}};

#define ARG_MAX                                                                                                \
  .name = "ArgMax", .signature = "data:T -> reduced:i64", .kernels = arg_max_kernels, .infer = mien_arg_infer, \
  .prepare = mien_reduce_prepare, .doc = "where along an axis the largest element stands"

const mien_op mien_ops_ArgMax[] = {
    {ARG_MAX, .since = 1, .until = 11, .attrs = arg_max_attrs},
    {ARG_MAX, .since = 12, .attrs = arg_max_12_attrs},
    {.name = NULL},
};
