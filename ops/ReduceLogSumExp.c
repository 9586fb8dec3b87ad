/* ReduceLogSumExp: the logarithm of the sum of the exponentials of each set.  ai.onnx 18 (axes as input), 1. */
#include "ops/reduce.h"
#include <math.h>

/* The largest element so far and the sum of exp(x - top): no exponential overflows. */
typedef struct {
  double top, sum;
} reduce_log_sum_exp_acc;

static inline reduce_log_sum_exp_acc reduce_log_sum_exp_add(reduce_log_sum_exp_acc a, double x) {
  if (x == a.top) {
    a.sum += 1; /* infinities too, whose difference is no number */
  } else if (x > a.top) {
    a.sum = a.sum * exp(a.top - x) + 1;
    a.top = x;
  } else {
    a.sum += exp(x - a.top); /* NaN comes this way and stays */
  }
  return a;
}

static inline double reduce_log_sum_exp_result(reduce_log_sum_exp_acc a) {
  return a.top == -INFINITY && a.sum == a.sum ? -INFINITY : a.top + log(a.sum);
}

#define reduce_log_sum_exp_first(A) ((A){-INFINITY, 0})
#define reduce_log_sum_exp_step(A, a, x, at) reduce_log_sum_exp_add((a), (double)(x))
#define reduce_log_sum_exp_merge(A, a, b) (a)
#define reduce_log_sum_exp_last(A, C, a, count) MIEN_FROM_F64(C, reduce_log_sum_exp_result(a))

MIEN_FLOATS(MIEN_REDUCE, reduce_log_sum_exp, reduce_log_sum_exp_acc, 1)
MIEN_WIDE_INTS(MIEN_REDUCE, reduce_log_sum_exp, reduce_log_sum_exp_acc, 1)
static const mien_kernel reduce_log_sum_exp_kernels[] = {
    MIEN_FLOATS(MIEN_ROW, reduce_log_sum_exp) MIEN_WIDE_INTS(MIEN_ROW, reduce_log_sum_exp){MIEN_NONE, NULL}};

MIEN_REDUCE_RECORDS(ReduceLogSumExp, reduce_log_sum_exp, 17, "the logarithm of the sum of the exponentials of each set")
