/* A 1x1 convolution that a depthwise one alone reads -> mien.ExpandConv, where the map between them is too large for a core's
** second-level cache and the lines of a window are not. */
#include "pass.h"

enum { LARGE = 1 << 20, SMALL = 512 * 1024 }; /* bytes: of the map of one picture, of the lines of a window */

static bool all_are(mien_rewriter *r, mien_node_id n, const char *name, int64_t wanted) {
  int64_t count = 0;
  const int64_t *values = mien_rewrite_host_of(r)->attr_ints(r, n, name, &count);
  for (int64_t i = 0; values && i < count; i++)
    if (values[i] != wanted) return false;
  return true;
}

/* Attribute `name` along the height. */
static int64_t down(mien_rewriter *r, mien_node_id n, const char *name) {
  int64_t count = 0;
  const int64_t *values = mien_rewrite_host_of(r)->attr_ints(r, n, name, &count);
  return values && count == 2 ? values[0] : 1;
}

static bool has_no(const pass_product *p, int first) {
  for (int i = first; i < PASS_INPUTS; i++)
    if (p->in[i] != MIEN_NO_VALUE) return false;
  return true;
}

/* A constant whose elements are floats when they are used. */
static bool is_wide(mien_rewriter *r, mien_value w) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, w);
  return pass_is_constant(r, w) && (t->dtype == MIEN_F32 || t->dtype == MIEN_F16);
}

static bool expands(mien_rewriter *r, const pass_product *p) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return p->conv && h->attr_i(r, p->node, "channels_last") && h->attr_i(r, p->node, "group") == 1 &&
         !h->attr_i(r, p->node, "int16") && is_wide(r, p->in[PASS_W]) && has_no(p, PASS_G) &&
         all_are(r, p->node, "kernel_shape", 1) && all_are(r, p->node, "strides", 1) && all_are(r, p->node, "pads", 0);
}

static bool is_depthwise(mien_rewriter *r, const pass_product *p) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *w = h->type(r, p->in[PASS_W]);
  return p->conv && h->attr_i(r, p->node, "channels_last") && h->attr_i(r, p->node, "group") == p->channels &&
         is_wide(r, p->in[PASS_W]) && w->rank == 4 && w->dim[0] == p->channels && w->dim[1] == 1 && has_no(p, PASS_P);
}

static mien_status fuse_expansion(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_value z = h->bound(r, "z");
  pass_product wide, narrow;
  mien_value y;
  if (!pass_is_f32(r, z) || !pass_is_single(r, z) || pass_rank(r, z) != 4) return MIEN_OK;
  if (!pass_product_of(r, h->producer(r, z), &wide) || !pass_product_of(r, h->root(r), &narrow)) return MIEN_OK;
  if (narrow.in[PASS_X] != z || !expands(r, &wide) || !is_depthwise(r, &narrow)) return MIEN_OK;
  const int64_t *dim = h->type(r, z)->dim, kernel = h->type(r, narrow.in[PASS_W])->dim[2];
  const int64_t lines = (kernel - 1) * down(r, narrow.node, "dilations") + 1;
  if (dim[1] < 1 || dim[2] < 1 || lines < 2 || lines > SMALL || down(r, narrow.node, "strides") > lines) return MIEN_OK;
  const double line = (double)dim[2] * (double)dim[3] * sizeof(float);
  if (line * (double)dim[1] < LARGE || line * (double)lines > SMALL) return MIEN_OK;
  const mien_value in[] = {wide.in[PASS_X],   narrow.in[PASS_W], narrow.in[PASS_B],
                           narrow.in[PASS_S], narrow.in[PASS_G], narrow.in[PASS_R],
                           wide.in[PASS_W],   wide.in[PASS_B],   wide.in[PASS_S]};
  int count = sizeof in / sizeof *in;
  while (in[count - 1] == MIEN_NO_VALUE) count--;
  MIEN_TRY(h->begin(r, "mien.ExpandConv", in, count));
  MIEN_TRY(h->copy_attrs(r, narrow.node));
  MIEN_TRY(h->set_s(r, "expand_activation", wide.activation));
  MIEN_TRY(h->set_f(r, "expand_alpha", wide.alpha));
  MIEN_TRY(h->set_f(r, "expand_beta", wide.beta));
  MIEN_TRY(h->end(r, &y, 1));
  return h->replace(r, narrow.y, y);
}

static const char *const expand_patterns[] = {"mien.Conv(z, #w, ...)", NULL};

const mien_rewrite mien_pass_expand[] = {{.name = "fuse-expansion",
                                          .doc = "1x1 convolution, depthwise convolution -> mien.ExpandConv",
                                          .stage = MIEN_STAGE_FINISH,
                                          .after = "weights-to-panels",
                                          .patterns = expand_patterns,
                                          .apply = fuse_expansion},
                                         {.name = NULL}};
