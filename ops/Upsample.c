/* Upsample: Resize before it had that name: asymmetric coordinates, mode nearest or linear.
** ai.onnx 9 (scales an input), 7 (an attribute); Resize from 10 on. */
#include "ops/resize.h"

RESIZE_TYPES(RESIZE_SUM, 0)

static mien_status upsample_type(mien_node *n, const float *scales, int64_t count) {
  mien_type y = mien_in(n, 0)->type;
  if (!scales) return shape_open(n, y.rank);
  if (count != y.rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "scales has %lld elements, the input has rank %d", (long long)count,
                     (int)y.rank);
  for (int i = 0; i < y.rank; i++) {
    MIEN_TRY(resize_scale_check(n, i, scales[i]));
    y.dim[i] = resize_scaled(n, y.dim[i], scales[i], 1);
  }
  return mien_set_type(n, 0, &y);
}

static mien_status upsample_plan(mien_node *n, const float *scales) {
  resize_plan *p = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  const char *mode = mien_attr_s(n, "mode");
  if (!scales) return mien_fail(n, MIEN_UNSUPPORTED, "scales are not known before it runs");
  if (strcmp(mode, "nearest") != 0 && strcmp(mode, "linear") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "mode is '%s', expected nearest or linear", mode);
  p->mode = strcmp(mode, "linear") == 0 ? RESIZE_LINEAR : RESIZE_NEAREST;
  p->place = RESIZE_ASYMMETRIC;
  p->nearest = RESIZE_OLD;
  for (int i = 0; i < x->rank; i++)
    MIEN_TRY(resize_plan_axis(n, p, (resize_axis){.in = x->dim[i], .out = y->dim[i], .scale = scales[i]}));
  return resize_plan_finish(n, p);
}

static mien_status upsample_infer_7(mien_node *n) {
  int64_t count = 0;
  const float *scales = mien_attr_floats(n, "scales", &count);
  return upsample_type(n, scales, count);
}

static mien_status upsample_prepare_7(mien_node *n) {
  int64_t count = 0;
  return upsample_plan(n, mien_attr_floats(n, "scales", &count));
}

static mien_status upsample_infer_9(mien_node *n) {
  return upsample_type(n, mien_contents(n, 1), mien_count(&mien_in(n, 1)->type));
}

static mien_status upsample_prepare_9(mien_node *n) { return upsample_plan(n, mien_contents(n, 1)); }

MIEN_KERNELS(resize, RESIZE_TYPES)

static const mien_attr upsample_attrs_7[] = {
    {.name = "mode", .kind = 's', .s = "nearest"}, {.name = "scales", .kind = 'F', .required = true}, {.name = NULL}};
static const mien_attr upsample_attrs_9[] = {{.name = "mode", .kind = 's', .s = "nearest"}, {.name = NULL}};

#define UPSAMPLE \
  .name = "Upsample", .kernels = resize_kernels, .state = sizeof(resize_plan), .doc = "Resize under its old name"

const mien_op mien_ops_Upsample[] = {
    {UPSAMPLE, .since = 7, .until = 8, .signature = "X:T -> Y:T", .attrs = upsample_attrs_7, .infer = upsample_infer_7,
     .prepare = upsample_prepare_7},
    {UPSAMPLE, .since = 9, .until = 9, .signature = "X:T, scales:f32 -> Y:T", .attrs = upsample_attrs_9,
     .infer = upsample_infer_9, .prepare = upsample_prepare_9},
    {.name = NULL},
};
