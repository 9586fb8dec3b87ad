/* GroupNormalization: zero mean and unit variance over groups of channels of each image, then scale and bias.
** ai.onnx 18 (scale and bias for each group), 21 (for each channel; stash_type, of which only 1, float, is supported). */
#include "ops/group.h"

static mien_status group_norm_infer_of(mien_node *n, bool by_channel) {
  const mien_type *x = &mien_in(n, 0)->type;
  if (x->rank < 2) return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d, expected 2 or more", (int)x->rank);
  const int64_t groups = mien_attr_i(n, "num_groups");
  if (groups < 1 || (!mien_is_symbol(x->dim[1]) && x->dim[1] % groups != 0))
    return mien_fail(n, MIEN_INVALID_MODEL, "num_groups is %lld, expected a divisor of the %lld channels",
                     (long long)groups, (long long)x->dim[1]);
  MIEN_TRY(group_vector(n, 1, "scale", by_channel ? x->dim[1] : groups));
  MIEN_TRY(group_vector(n, 2, "bias", by_channel ? x->dim[1] : groups));
  return mien_infer_same(n);
}
static mien_status group_norm_infer_18(mien_node *n) { return group_norm_infer_of(n, false); }
static mien_status group_norm_infer_21(mien_node *n) {
  if (mien_attr_i(n, "stash_type") != 1)
    return mien_fail(n, MIEN_UNSUPPORTED, "stash_type is %lld, only 1 (float) is supported",
                     (long long)mien_attr_i(n, "stash_type"));
  return group_norm_infer_of(n, true);
}

static mien_status group_norm_prepare_18(mien_node *n) { return group_prepare(n, mien_attr_i(n, "num_groups"), false); }
static mien_status group_norm_prepare_21(mien_node *n) { return group_prepare(n, mien_attr_i(n, "num_groups"), true); }

MIEN_FLOATS(GROUP_ONE, group_norm)
MIEN_KERNELS(group_norm, MIEN_FLOATS)
static const mien_attr group_norm_attrs_18[] = {
    {.name = "epsilon", .kind = 'f', .f = 1e-5}, {.name = "num_groups", .kind = 'i', .required = true}, {.name = NULL}};
static const mien_attr group_norm_attrs_21[] = {{.name = "epsilon", .kind = 'f', .f = 1e-5},
                                                {.name = "num_groups", .kind = 'i', .required = true},
                                                {.name = "stash_type", .kind = 'i', .i = 1},
                                                {.name = NULL}};

#define GROUP_NORM_RECORD(first, last, attributes, inference, preparation)                                   \
  {                                                                                                          \
    .name = "GroupNormalization", .since = first, .until = last, .signature = "X:T, scale:T, bias:T -> Y:T", \
    .attrs = attributes, .kernels = group_norm_kernels, .state = sizeof(group_state), .infer = inference,    \
    .prepare = preparation, .flags = MIEN_OP_FLUSH,                                                          \
    .doc = "zero mean and unit variance for groups of channels of each image"                                \
  }

const mien_op mien_ops_GroupNormalization[] = {
    GROUP_NORM_RECORD(18, 20, group_norm_attrs_18, group_norm_infer_18, group_norm_prepare_18),
    GROUP_NORM_RECORD(21, 0, group_norm_attrs_21, group_norm_infer_21, group_norm_prepare_21),
    {.name = NULL},
};
