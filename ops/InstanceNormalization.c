/* InstanceNormalization: Y = scale * (X - mean) / sqrt(variance + epsilon) + B over each channel of each image.
** ai.onnx 1, 6, 22 (bfloat16). */
#include "ops/group.h"

static mien_status instance_norm_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  if (x->rank < 2) return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d, expected 2 or more", (int)x->rank);
  MIEN_TRY(group_vector(n, 1, "scale", x->dim[1]));
  MIEN_TRY(group_vector(n, 2, "B", x->dim[1]));
  return mien_infer_same(n);
}

static mien_status instance_norm_prepare(mien_node *n) { return group_prepare(n, mien_in(n, 0)->type.dim[1], true); }

MIEN_FLOATS(GROUP_ONE, instance_norm)
MIEN_KERNELS(instance_norm, MIEN_FLOATS)
static const mien_kernel instance_norm_old_kernels[] = {
    {MIEN_F32, instance_norm_F32}, {MIEN_F64, instance_norm_F64}, {MIEN_F16, instance_norm_F16}, {MIEN_NONE, NULL}};
static const mien_attr instance_norm_attrs[] = {{.name = "epsilon", .kind = 'f', .f = 1e-5}, {.name = NULL}};
static const mien_attr instance_norm_attrs_1[] = {
    {.name = "epsilon", .kind = 'f', .f = 1e-5}, {.name = "consumed_inputs", .kind = 'I'}, {.name = NULL}};

#define INSTANCE_NORM_RECORD(first, last, attributes, table)                                                 \
  {                                                                                                          \
    .name = "InstanceNormalization", .since = first, .until = last, .signature = "X:T, scale:T, B:T -> Y:T", \
    .attrs = attributes, .kernels = table, .state = sizeof(group_state), .infer = instance_norm_infer,       \
    .prepare = instance_norm_prepare, .flags = MIEN_OP_FLUSH,                                                \
    .doc = "zero mean and unit variance for each channel of each image"                                      \
  }

const mien_op mien_ops_InstanceNormalization[] = {
    INSTANCE_NORM_RECORD(1, 5, instance_norm_attrs_1, instance_norm_old_kernels),
    INSTANCE_NORM_RECORD(6, 21, instance_norm_attrs, instance_norm_old_kernels),
    INSTANCE_NORM_RECORD(22, 0, instance_norm_attrs, instance_norm_kernels),
    {.name = NULL},
};
