/* Resize: the input resampled to given scales or sizes.  ai.onnx 18 (antialias, axes, keep_aspect_ratio_policy),
** 11 (roi, sizes, coordinate_transformation_mode and the other modes), 10 (scales alone, asymmetric).
** mode nearest, linear or cubic, along any number of axes. */
#include "ops/resize.h"

RESIZE_TYPES(RESIZE_SUM, 0)

/* What node and version say. Scales are per dimension of the input; open: not known yet. */
typedef struct resize_request {
  resize_plan plan; /* modes only */
  bool open, by_size;
  int rank;
  float scale[MIEN_MAX_RANK], roi_start[MIEN_MAX_RANK], roi_end[MIEN_MAX_RANK];
  int64_t size[MIEN_MAX_RANK]; /* numbers or symbols */
} resize_request;

static mien_status resize_word(mien_node *n, const char *attr, const char *const *words, int count, int *at) {
  const char *word = mien_attr_s(n, attr);
  for (int i = 0; i < count; i++)
    if (strcmp(word, words[i]) == 0) {
      *at = i;
      return MIEN_OK;
    }
  return mien_fail(n, MIEN_INVALID_MODEL, "%s is '%s', which it does not know", attr, word);
}

static mien_status resize_modes(mien_node *n, int version, resize_plan *p) {
  static const char *const modes[] = {"nearest", "linear", "cubic"};
  static const char *const places[] = {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",  "align_corners",
                                       "asymmetric", "tf_crop_and_resize",   "tf_half_pixel_for_nn"};
  static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
  int at = 0;
  MIEN_TRY(resize_word(n, "mode", modes, version < 11 ? 2 : 3, &at));
  p->mode = (resize_mode)at;
  p->place = RESIZE_ASYMMETRIC;
  p->nearest = RESIZE_OLD;
  if (version < 11) return MIEN_OK;
  MIEN_TRY(resize_word(n, "coordinate_transformation_mode", places, 7, &at));
  p->place = (resize_place)at;
  MIEN_TRY(resize_word(n, "nearest_mode", nearest, 4, &at));
  p->nearest = (resize_nearest)at;
  p->cubic = (float)mien_attr_f(n, "cubic_coeff_a");
  p->exclude_outside = mien_attr_i(n, "exclude_outside") != 0;
  p->extrapolation = (float)mien_attr_f(n, "extrapolation_value");
  p->antialias = version >= 18 && mien_attr_i(n, "antialias") != 0 && p->mode != RESIZE_NEAREST;
  return MIEN_OK;
}

static float resize_float(int32_t dtype, const void *data, int64_t i) {
  switch (dtype) {
#define X(D, T, C, K, ...) \
  case MIEN_##D: return (float)MIEN_GET_##K(C, ((const T *)data)[i]);
    MIEN_FLOATS(X, 0)
#undef X
    default: return 0;
  }
}

/* Input i when it is given and not empty. */
static const mien_tensor *resize_given(const mien_node *n, int i) {
  const mien_tensor *t = i < mien_in_count(n) ? mien_in(n, i) : NULL;
  return t && !(t->type.rank == 1 && t->type.dim[0] == 0) ? t : NULL;
}

static mien_status resize_roi(mien_node *n, const int *axes, int count, resize_request *r) {
  const mien_tensor *roi = resize_given(n, 1);
  for (int i = 0; i < r->rank; i++) r->roi_start[i] = 0, r->roi_end[i] = 1;
  if (r->plan.place != RESIZE_CROP) return MIEN_OK;
  if (!roi) return mien_fail(n, MIEN_INVALID_MODEL, "tf_crop_and_resize needs roi");
  const void *data = mien_contents(n, 1);
  if (!data) {
    r->open = true;
    return MIEN_OK;
  }
  if (mien_count(&roi->type) != 2 * count)
    return mien_fail(n, MIEN_INVALID_MODEL, "roi has %lld elements, expected %d", (long long)mien_count(&roi->type),
                     2 * count);
  for (int k = 0; k < count; k++) {
    r->roi_start[axes[k]] = resize_float(roi->type.dtype, data, k);
    r->roi_end[axes[k]] = resize_float(roi->type.dtype, data, count + k);
    if (!isfinite(r->roi_start[axes[k]]) || !isfinite(r->roi_end[axes[k]]))
      return mien_fail(n, MIEN_INVALID_MODEL, "roi is not finite for dimension %d", axes[k]);
  }
  return MIEN_OK;
}

static mien_status resize_scales(mien_node *n, int input, const int *axes, int count, resize_request *r) {
  const mien_type *t = &mien_in(n, input)->type;
  const float *data = mien_contents(n, input);
  if (t->rank != 1 || (!mien_is_symbol(t->dim[0]) && t->dim[0] != count))
    return mien_fail(n, MIEN_INVALID_MODEL, "scales is not a list of %d numbers", count);
  r->open = r->open || !data;
  for (int k = 0; k < count && data; k++) {
    MIEN_TRY(resize_scale_check(n, k, data[k]));
    r->scale[axes[k]] = data[k];
  }
  return MIEN_OK;
}

/* keep_aspect_ratio_policy: the one scale that fits the sizes from inside or outside. */
static mien_status resize_keep_aspect(mien_node *n, const char *policy, const int *axes, int count, resize_request *r) {
  const mien_type *x = &mien_in(n, 0)->type;
  bool larger = strcmp(policy, "not_smaller") == 0;
  float best = 0;
  if (!larger && strcmp(policy, "not_larger") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "keep_aspect_ratio_policy is '%s'", policy);
  for (int k = 0; k < count; k++) {
    if (mien_is_symbol(x->dim[axes[k]]) || mien_is_symbol(r->size[axes[k]])) r->open = true;
    if (r->open || x->dim[axes[k]] == 0) continue;
    float scale = (float)r->size[axes[k]] / (float)x->dim[axes[k]];
    if (best == 0 || (larger ? scale > best : scale < best)) best = scale;
  }
  if (!r->open && best == 0) return mien_fail(n, MIEN_INVALID_MODEL, "sizes leave no scale above 0");
  for (int k = 0; k < count && !r->open; k++) {
    r->scale[axes[k]] = best;
    r->size[axes[k]] = (int64_t)floorf(best * (float)x->dim[axes[k]] + 0.5f);
  }
  return MIEN_OK;
}

static mien_status resize_sizes(mien_node *n, int version, const int *axes, int count, resize_request *r) {
  shape_list sizes;
  const mien_type *x = &mien_in(n, 0)->type;
  const char *policy = version >= 18 ? mien_attr_s(n, "keep_aspect_ratio_policy") : "stretch";
  MIEN_TRY(shape_list_infer(n, 3, "sizes", &sizes));
  if (sizes.count >= 0 && sizes.count != count)
    return mien_fail(n, MIEN_INVALID_MODEL, "sizes has %lld elements, expected %d", (long long)sizes.count, count);
  r->by_size = true;
  r->open = r->open || !sizes.known;
  for (int k = 0; k < count && sizes.known; k++) {
    int64_t d = x->dim[axes[k]], size = sizes.value[k];
    if (size < 0 && !mien_is_symbol(size))
      return mien_fail(n, MIEN_INVALID_MODEL, "sizes[%d] is %lld", k, (long long)size);
    r->size[axes[k]] = size;
    r->scale[axes[k]] = d > 0 && size >= 0 ? (float)size / (float)d : 1;
  }
  if (strcmp(policy, "stretch") == 0 || r->open) return MIEN_OK;
  return resize_keep_aspect(n, policy, axes, count, r);
}

static mien_status resize_read(mien_node *n, int version, resize_request *r) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axes[MIEN_MAX_RANK], count = x->rank;
  memset(r, 0, sizeof *r);
  r->rank = x->rank;
  MIEN_TRY(resize_modes(n, version, &r->plan));
  for (int i = 0; i < x->rank; i++) {
    axes[i] = i;
    r->scale[i] = r->roi_end[i] = 1;
    r->size[i] = x->dim[i];
  }
  shape_list list = {.given = false};
  if (version >= 18) MIEN_TRY(shape_list_attr(n, "axes", &list));
  if (list.given) {
    MIEN_TRY(shape_axes(n, &list, x->rank, axes));
    count = (int)list.count;
  }
  if (version < 11) return resize_scales(n, 1, axes, count, r);
  MIEN_TRY(resize_roi(n, axes, count, r));
  bool scales = resize_given(n, 2) != NULL, sizes = resize_given(n, 3) != NULL;
  if (scales == sizes && x->rank > 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "%s scales and sizes given", scales ? "both are" : "neither of");
  if (sizes) return resize_sizes(n, version, axes, count, r);
  return scales ? resize_scales(n, 2, axes, count, r) : MIEN_OK;
}

static int64_t resize_length(mien_node *n, const resize_request *r, int i) {
  if (r->by_size) return r->size[i];
  return resize_scaled(n, mien_in(n, 0)->type.dim[i], r->scale[i],
                       r->plan.place == RESIZE_CROP ? r->roi_end[i] - r->roi_start[i] : 1);
}

static mien_status resize_type(mien_node *n, int version) {
  resize_request r;
  MIEN_TRY(resize_read(n, version, &r));
  if (r.open) return shape_open(n, r.rank);
  mien_type y = mien_in(n, 0)->type;
  for (int i = 0; i < r.rank; i++) y.dim[i] = resize_length(n, &r, i);
  return mien_set_type(n, 0, &y);
}

static mien_status resize_plan_make(mien_node *n, int version) {
  resize_request r;
  resize_plan *p = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  MIEN_TRY(resize_read(n, version, &r));
  if (r.open) return mien_fail(n, MIEN_UNSUPPORTED, "scales, sizes or roi are not known before it runs");
  *p = r.plan;
  for (int i = 0; i < r.rank; i++) {
    bool whole = r.roi_start[i] == 0 && r.roi_end[i] == 1 && x->dim[i] == y->dim[i];
    resize_axis a = {.in = x->dim[i],
                     .out = y->dim[i],
                     .scale = whole && p->place == RESIZE_CROP ? 1 : r.scale[i],
                     .roi_start = r.roi_start[i],
                     .roi_end = r.roi_end[i]};
    /* Sizes that are met exactly are the width; a scale may ask for a fraction of an element more. */
    a.width = r.by_size && fabsf(a.scale * (float)a.in - (float)a.out) < 0.01f ? (float)a.out : a.scale * (float)a.in;
    MIEN_TRY(resize_plan_axis(n, p, a));
  }
  return resize_plan_finish(n, p);
}

static mien_status resize_infer_10(mien_node *n) { return resize_type(n, 10); }
static mien_status resize_infer_11(mien_node *n) { return resize_type(n, 11); }
static mien_status resize_infer_18(mien_node *n) { return resize_type(n, 18); }
static mien_status resize_prepare_10(mien_node *n) { return resize_plan_make(n, 10); }
static mien_status resize_prepare_11(mien_node *n) { return resize_plan_make(n, 11); }
static mien_status resize_prepare_18(mien_node *n) { return resize_plan_make(n, 18); }

MIEN_KERNELS(resize, RESIZE_TYPES)

static const mien_attr resize_attrs_10[] = {{.name = "mode", .kind = 's', .s = "nearest"}, {.name = NULL}};
#define RESIZE_ATTRS_11                                                                             \
  {.name = "mode", .kind = 's', .s = "nearest"},                                                    \
      {.name = "coordinate_transformation_mode", .kind = 's', .s = "half_pixel"},                   \
      {.name = "cubic_coeff_a", .kind = 'f', .f = -0.75}, {.name = "exclude_outside", .kind = 'i'}, \
      {.name = "extrapolation_value", .kind = 'f'}, {                                               \
    .name = "nearest_mode", .kind = 's', .s = "round_prefer_floor"                                  \
  }
static const mien_attr resize_attrs_11[] = {RESIZE_ATTRS_11, {.name = NULL}};
static const mien_attr resize_attrs_18[] = {RESIZE_ATTRS_11,
                                            {.name = "antialias", .kind = 'i'},
                                            {.name = "axes", .kind = 'I'},
                                            {.name = "keep_aspect_ratio_policy", .kind = 's', .s = "stretch"},
                                            {.name = NULL}};

#define RESIZE \
  .name = "Resize", .kernels = resize_kernels, .state = sizeof(resize_plan), .doc = "resamples along any dimensions"

const mien_op mien_ops_Resize[] = {
    {RESIZE, .since = 10, .until = 10, .signature = "X:T, scales:f32 -> Y:T", .attrs = resize_attrs_10,
     .infer = resize_infer_10, .prepare = resize_prepare_10},
    {RESIZE, .since = 11, .until = 17, .signature = "X:T, roi:R{f32,f64,f16,bf16}?, scales:f32?, sizes:i64? -> Y:T",
     .attrs = resize_attrs_11, .infer = resize_infer_11, .prepare = resize_prepare_11},
    {RESIZE, .since = 18, .signature = "X:T, roi:R{f32,f64,f16,bf16}?, scales:f32?, sizes:i64? -> Y:T",
     .attrs = resize_attrs_18, .infer = resize_infer_18, .prepare = resize_prepare_18},
    {.name = NULL},
};
