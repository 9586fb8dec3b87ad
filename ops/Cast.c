/* Cast: the elements of X in the type of attribute `to`.  ai.onnx 25, 24 (round_mode), 23, 21, 19 (saturate), 13, 9, 6.
** Float to integer truncates toward zero, keeps within the type (below a byte: the lowest bits) and makes 0 of NaN;
** integer to integer keeps the lowest bits; 8-bit floats by `saturate`. Strings are not supported. */
#include "ops/convert.h"

static mien_status cast_infer(mien_node *n) {
  const int64_t to = mien_attr_i(n, "to");
  mien_type t = mien_in(n, 0)->type;
  if (to < 1 || to > 31 || mien_dtype_bytes((int32_t)to) == 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "to is %lld, which is no element type", (long long)to);
  t.dtype = (int32_t)to;
  return mien_set_type(n, 0, &t);
}

static mien_status cast_run(mien_node *n, int64_t begin, int64_t end) {
  mien_narrowing how = {.saturate = true, .e8m0 = 'u'};
  if (mien_has_attr(n, "saturate")) how.saturate = mien_attr_i(n, "saturate") != 0;
  if (mien_has_attr(n, "round_mode")) how.e8m0 = mien_attr_s(n, "round_mode")[0];
  mien_convert_elements(mien_in(n, 0), mien_out(n, 0), begin, end, how);
  return MIEN_OK;
}

static int64_t cast_dim(mien_node *n, int64_t a, int64_t b) {
  (void)n, (void)b;
  return a;
}

static const mien_kernel cast_kernels[] = {MIEN_CONVERTIBLE_ROWS(cast_run), {MIEN_NONE, NULL}};

#define CAST_TO \
  { .name = "to", .kind = 'i', .required = true }
#define CAST_SATURATE \
  { .name = "saturate", .kind = 'i', .i = 1 }
static const mien_attr cast_attrs[] = {CAST_TO, {.name = NULL}};
static const mien_attr cast_19_attrs[] = {CAST_TO, CAST_SATURATE, {.name = NULL}};
static const mien_attr cast_24_attrs[] = {
    CAST_TO, CAST_SATURATE, {.name = "round_mode", .kind = 's', .s = "up"}, {.name = NULL}};

#define CAST                                                                                                          \
  .name = "Cast", .signature = "X:T -> Y:U{" MIEN_CONVERTIBLE_TEXT "}", .kernels = cast_kernels, .infer = cast_infer, \
  .dim_eval = cast_dim, .doc = "the elements of X in another type"

const mien_op mien_ops_Cast[] = {
    {CAST, .since = 6, .until = 18, .attrs = cast_attrs},
    {CAST, .since = 19, .until = 23, .attrs = cast_19_attrs},
    {CAST, .since = 24, .attrs = cast_24_attrs},
    {.name = NULL},
};
