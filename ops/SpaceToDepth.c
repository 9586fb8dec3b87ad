/* SpaceToDepth: blocks of pixels become blocks of channels.  ai.onnx 1. N x C x H x W. */
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status space_to_depth_infer(mien_node *n) {
  mien_type y = mien_in(n, 0)->type;
  int64_t b = mien_attr_i(n, "blocksize");
  if (y.rank != 4) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected 4", (int)y.rank);
  if (b < 1 || b > INT32_MAX) return mien_fail(n, MIEN_INVALID_MODEL, "blocksize is %lld", (long long)b);
  for (int i = 2; i < 4; i++) {
    if (!mien_is_symbol(y.dim[i]) && y.dim[i] % b != 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d is %lld, no multiple of blocksize %lld", i,
                       (long long)y.dim[i], (long long)b);
    y.dim[i] = mien_dim(n, '/', y.dim[i], b);
  }
  y.dim[1] = mien_dim(n, '*', y.dim[1], b * b);
  return mien_set_type(n, 0, &y);
}

static mien_status space_to_depth_prepare(mien_node *n) {
  strided_box *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type;
  int64_t b = mien_attr_i(n, "blocksize"), c = x->dim[1], h = x->dim[2] / b, w = x->dim[3] / b, plane = h * w;
  strided_start(s);
  strided_push(s, x->dim[0], b * b * c * plane, b * b * c * plane);
  strided_push(s, b, b * w, b * c * plane);
  strided_push(s, b, 1, c * plane);
  strided_push(s, c, b * b * plane, plane);
  strided_push(s, h, b * b * w, w);
  strided_push(s, w, b, 1);
  strided_finish(s);
  mien_work(n, s->count, 0.6);
  return MIEN_OK;
}

static mien_status space_to_depth_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_attr space_to_depth_attrs[] = {{.name = "blocksize", .kind = 'i', .required = true}, {.name = NULL}};
static const mien_kernel space_to_depth_kernels[] = {{MIEN_ANY, space_to_depth_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_SpaceToDepth[] = {
    {.name = "SpaceToDepth",
     .since = 1,
     .signature = "input:T -> output:T",
     .attrs = space_to_depth_attrs,
     .kernels = space_to_depth_kernels,
     .state = sizeof(strided_box),
     .infer = space_to_depth_infer,
     .prepare = space_to_depth_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "blocks of pixels become blocks of channels"},
    {.name = NULL},
};
