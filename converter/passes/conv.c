/* Conv with constant weights -> mien.Conv, with its padding spelled out. */
#include "pass.h"

enum { MAX_SPATIAL = 3 };

/* Fills begin and end pads of auto_pad; false when that needs sizes that are open. */
static bool auto_pads(mien_rewriter *r, mien_node_id n, const char *mode, int count, const int64_t *kernel,
                      const int64_t *strides, const int64_t *dilations, int64_t *pads) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *t = h->type(r, pass_in(r, n, 0));
  for (int i = 0; i < count; i++) {
    int64_t size = t->dim[i + 2], total = 0;
    pads[i] = pads[count + i] = 0;
    if (strcmp(mode, "VALID") == 0) continue;
    if (strncmp(mode, "SAME_", 5) != 0 || size < 0 || strides[i] < 1) return false;
    int64_t out = size / strides[i] + (size % strides[i] != 0);
    if (out > 0) total = (out - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 - size;
    if (total < 0) total = 0;
    pads[i] = strcmp(mode, "SAME_LOWER") == 0 ? total - total / 2 : total / 2;
    pads[count + i] = total - pads[i];
  }
  return true;
}

static bool list_or(mien_rewriter *r, mien_node_id n, const char *name, int count, int64_t otherwise, int64_t *list) {
  int64_t given = 0;
  const int64_t *values = mien_rewrite_host_of(r)->attr_ints(r, n, name, &given);
  if (values && given && given != count) return false;
  for (int i = 0; i < count; i++) {
    list[i] = values && given ? values[i] : otherwise;
    if (list[i] < 0 || list[i] > INT32_MAX) return false;
  }
  return true;
}

static mien_status to_conv(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[3] = {h->bound(r, "x"), h->bound(r, "w"), h->bound(r, "b")}, y = pass_root_out(r), z;
  if (!pass_is_f32(r, in[0]) || !pass_is_f32(r, in[1])) return MIEN_OK;
  if (in[2] != MIEN_NO_VALUE && !(pass_is_f32(r, in[2]) && pass_is_constant(r, in[2]))) return MIEN_OK;
  const mien_type *t = h->type(r, in[0]), *tw = h->type(r, in[1]);
  int count = t->rank - 2;
  if (count < 1 || count > MAX_SPATIAL || tw->rank != t->rank) return MIEN_OK;
  for (int i = 0; i < tw->rank; i++)
    if (tw->dim[i] < 1) return MIEN_OK;
  int64_t kernel[MAX_SPATIAL], strides[MAX_SPATIAL], dilations[MAX_SPATIAL], pads[2 * MAX_SPATIAL];
  if (!list_or(r, root, "kernel_shape", count, 0, kernel) || !list_or(r, root, "strides", count, 1, strides) ||
      !list_or(r, root, "dilations", count, 1, dilations) || !list_or(r, root, "pads", 2 * count, 0, pads))
    return MIEN_OK;
  for (int i = 0; i < count; i++) kernel[i] = tw->dim[i + 2];
  const char *mode = h->attr_s(r, root, "auto_pad");
  if (mode && *mode && strcmp(mode, "NOTSET") != 0 &&
      !auto_pads(r, root, mode, count, kernel, strides, dilations, pads))
    return MIEN_OK;
  MIEN_TRY(h->begin(r, "mien.Conv", in, in[2] == MIEN_NO_VALUE ? 2 : 3));
  MIEN_TRY(h->set_ints(r, "kernel_shape", kernel, count));
  MIEN_TRY(h->set_ints(r, "strides", strides, count));
  MIEN_TRY(h->set_ints(r, "pads", pads, 2 * count));
  MIEN_TRY(h->set_ints(r, "dilations", dilations, count));
  MIEN_TRY(h->set_i(r, "group", h->attr_i(r, root, "group")));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static const char *const conv_patterns[] = {"Conv(x, #w, ?b)", NULL};

const mien_rewrite mien_pass_conv[] = {{.name = "to-fused-conv",
                                        .doc = "Conv with constant weights -> mien.Conv",
                                        .stage = MIEN_STAGE_CANONICALISE,
                                        .after = "pixel-to-linear",
                                        .patterns = conv_patterns,
                                        .apply = to_conv},
                                       {.name = NULL}};
