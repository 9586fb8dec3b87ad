/* DepthToSpace: blocks of channels become blocks of pixels.  ai.onnx 11 (mode DCR or CRD), 1 (DCR). N x C x H x W. */
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status depth_to_space_infer(mien_node *n) {
  mien_type y = mien_in(n, 0)->type;
  int64_t b = mien_attr_i(n, "blocksize");
  if (y.rank != 4) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected 4", (int)y.rank);
  if (b < 1 || b > INT32_MAX) return mien_fail(n, MIEN_INVALID_MODEL, "blocksize is %lld", (long long)b);
  if (!mien_is_symbol(y.dim[1]) && y.dim[1] % (b * b) != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "%lld channels cannot be cut into blocks of %lld x %lld",
                     (long long)y.dim[1], (long long)b, (long long)b);
  y.dim[1] = mien_dim(n, '/', y.dim[1], b * b);
  y.dim[2] = mien_dim(n, '*', y.dim[2], b);
  y.dim[3] = mien_dim(n, '*', y.dim[3], b);
  return mien_set_type(n, 0, &y);
}

static mien_status depth_to_space_infer_11(mien_node *n) {
  const char *mode = mien_attr_s(n, "mode");
  if (strcmp(mode, "DCR") != 0 && strcmp(mode, "CRD") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "mode is '%s', expected DCR or CRD", mode);
  return depth_to_space_infer(n);
}

static mien_status depth_to_space_box(mien_node *n, bool column_major) {
  strided_box *s = mien_state(n);
  const mien_type *y = &mien_out(n, 0)->type;
  int64_t b = mien_attr_i(n, "blocksize"), c = y->dim[1], h = y->dim[2] / b, w = y->dim[3] / b;
  int64_t plane = h * w, channel = column_major ? b * b * plane : plane, row = column_major ? b * plane : b * c * plane;
  int64_t column = column_major ? plane : c * plane;
  strided_start(s);
  strided_push(s, y->dim[0], b * b * c * plane, b * b * c * plane);
  strided_push(s, c, channel, b * b * plane);
  strided_push(s, h, w, b * b * w);
  strided_push(s, b, row, b * w);
  strided_push(s, w, 1, b);
  strided_push(s, b, column, 1);
  strided_finish(s);
  mien_work(n, s->count, 0.6);
  return MIEN_OK;
}

static mien_status depth_to_space_prepare(mien_node *n) { return depth_to_space_box(n, false); }
static mien_status depth_to_space_prepare_11(mien_node *n) {
  return depth_to_space_box(n, strcmp(mien_attr_s(n, "mode"), "CRD") == 0);
}

static mien_status depth_to_space_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_attr depth_to_space_attrs_1[] = {{.name = "blocksize", .kind = 'i', .required = true},
                                                   {.name = NULL}};
static const mien_attr depth_to_space_attrs_11[] = {
    {.name = "blocksize", .kind = 'i', .required = true}, {.name = "mode", .kind = 's', .s = "DCR"}, {.name = NULL}};
static const mien_kernel depth_to_space_kernels[] = {{MIEN_ANY, depth_to_space_run}, {MIEN_NONE, NULL}};

#define DEPTH_TO_SPACE                                                                           \
  .name = "DepthToSpace", .signature = "input:T -> output:T", .kernels = depth_to_space_kernels, \
  .state = sizeof(strided_box), .flags = MIEN_OP_MOVES_DATA, .doc = "blocks of channels become blocks of pixels"

const mien_op mien_ops_DepthToSpace[] = {
    {DEPTH_TO_SPACE, .since = 1, .until = 10, .attrs = depth_to_space_attrs_1, .infer = depth_to_space_infer,
     .prepare = depth_to_space_prepare},
    {DEPTH_TO_SPACE, .since = 11, .attrs = depth_to_space_attrs_11, .infer = depth_to_space_infer_11,
     .prepare = depth_to_space_prepare_11},
    {.name = NULL},
};
