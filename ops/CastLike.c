/* CastLike: the elements of X in the type of input 1, whose elements do not matter.  ai.onnx 25, 24 (round_mode), 23, 21,
** 19 (saturate), 15.  Converts as Cast does. */
#include "ops/convert.h"

static mien_status cast_like_infer(mien_node *n) {
  mien_type t = mien_in(n, 0)->type;
  t.dtype = mien_in(n, 1)->type.dtype;
  return mien_set_type(n, 0, &t);
}

static mien_status cast_like_run(mien_node *n, int64_t begin, int64_t end) {
  mien_narrowing how = {.saturate = true, .e8m0 = 'u'};
  if (mien_has_attr(n, "saturate")) how.saturate = mien_attr_i(n, "saturate") != 0;
  if (mien_has_attr(n, "round_mode")) how.e8m0 = mien_attr_s(n, "round_mode")[0];
  mien_convert_elements(mien_in(n, 0), mien_out(n, 0), begin, end, how);
  return MIEN_OK;
}

static const mien_kernel cast_like_kernels[] = {MIEN_CONVERTIBLE_ROWS(cast_like_run), {MIEN_NONE, NULL}};

static const mien_attr cast_like_19_attrs[] = {{.name = "saturate", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_attr cast_like_24_attrs[] = {
    {.name = "saturate", .kind = 'i', .i = 1}, {.name = "round_mode", .kind = 's', .s = "up"}, {.name = NULL}};

#define CAST_LIKE                                                                                                 \
  .name = "CastLike", .signature = "X:T, like:U{" MIEN_CONVERTIBLE_TEXT "} -> Y:U", .kernels = cast_like_kernels, \
  .infer = cast_like_infer, .doc = "the elements of X in the type of another tensor"

const mien_op mien_ops_CastLike[] = {
    {CAST_LIKE, .since = 15, .until = 18},
    {CAST_LIKE, .since = 19, .until = 23, .attrs = cast_like_19_attrs},
    {CAST_LIKE, .since = 24, .attrs = cast_like_24_attrs},
    {.name = NULL},
};
