/* SpaceToDepth: blocks of pixels become blocks of channels.  ai.onnx 28 (mode DCR or CRD), 1 (DCR). N x C x H x W. */
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

static mien_status space_to_depth_infer_28(mien_node *n) {
  const char *mode = mien_attr_s(n, "mode");
  if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "mode is '%s', expected DCR or CRD", mode);
  return space_to_depth_infer(n);
}

static mien_status space_to_depth_box(mien_node *n, bool column_major) {
  strided_box *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type;
  int64_t b = mien_attr_i(n, "blocksize"), c = x->dim[1], h = x->dim[2] / b, w = x->dim[3] / b, plane = h * w;
  strided_start(s);
  strided_push(s, x->dim[0], b * b * c * plane, b * b * c * plane);
  if (column_major) strided_push(s, c, b * b * plane, b * b * plane);
  strided_push(s, b, b * w, (column_major ? b : b * c) * plane);
  strided_push(s, b, 1, (column_major ? 1 : c) * plane);
  if (!column_major) strided_push(s, c, b * b * plane, plane);
  strided_push(s, h, b * b * w, w);
  strided_push(s, w, b, 1);
  strided_finish(s);
  mien_work(n, s->count, 0.6);
  return MIEN_OK;
}

static mien_status space_to_depth_prepare(mien_node *n) { return space_to_depth_box(n, false); }
static mien_status space_to_depth_prepare_28(mien_node *n) {
  return space_to_depth_box(n, strcmp(mien_attr_s(n, "mode"), "CRD") == 0);
}

static mien_status space_to_depth_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_attr space_to_depth_attrs[] = {{.name = "blocksize", .kind = 'i', .required = true}, {.name = NULL}};
static const mien_attr space_to_depth_28_attrs[] = {
    {.name = "blocksize", .kind = 'i', .required = true}, {.name = "mode", .kind = 's', .s = "DCR"}, {.name = NULL}};
static const mien_kernel space_to_depth_kernels[] = {{MIEN_ANY, space_to_depth_run}, {MIEN_NONE, NULL}};

#define SPACE_TO_DEPTH                                                                           \
  .name = "SpaceToDepth", .signature = "input:T -> output:T", .kernels = space_to_depth_kernels, \
  .state = sizeof(strided_box), .flags = MIEN_OP_MOVES_DATA, .doc = "blocks of pixels become blocks of channels"

const mien_op mien_ops_SpaceToDepth[] = {
    {SPACE_TO_DEPTH, .since = 1, .until = 27, .attrs = space_to_depth_attrs, .infer = space_to_depth_infer,
     .prepare = space_to_depth_prepare},
    {SPACE_TO_DEPTH, .since = 28, .attrs = space_to_depth_28_attrs, .infer = space_to_depth_infer_28,
     .prepare = space_to_depth_prepare_28},
    {.name = NULL},
};
