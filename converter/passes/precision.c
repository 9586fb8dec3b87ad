/* Weights in a half type, where `mien convert --precision` asks for one: the right operand of a mien.Linear or a mien.Conv goes
** through a Cast, which is folded, so that the plan stores it once in that type and its recipe tells so.
**
** float16: every such operand; the session widens it. bfloat16, and float16 for products of 16-bit integers: those that are multiplied
** as a matrix. What Winograd's method at stride 1 or the depthwise kernel may take stays float32, on every machine: which of the
** methods that apply is fastest is each machine's choice. So do convolutions of few channels a group, whose rounding takes as long
** as their products gain, and biases, scales, norms and whatever plugins' operators take. With --max-error so do the products that
** converter/choose.c spares. */
#include "ops/conv.h"
#include "pass.h"

enum { LEAST_CHANNELS = 8 }; /* of convolutions of 16-bit operands, a group */

/* Weights' type, the largest finite number that does not become infinite in it, and how their products are computed. */
typedef struct storage {
  int32_t dtype;
  float largest;
  bool matrices, int16; /* only what is multiplied as a matrix; in 16-bit integers */
} storage;
static const storage f16 = {MIEN_F16, 65504.0f, false, false}, int16 = {MIEN_F16, 65504.0f, true, true},
                     bf16 = {MIEN_BF16, 3.3895313e38f, true, false};

static bool fits(const mien_rewriter *r, mien_value w, const storage *s) {
  const mien_tensor *t = mien_rewrite_host_of(r)->constant(r, w);
  const float *x = t ? t->data : NULL;
  for (int64_t i = 0, count = x ? mien_count(&t->type) : 0; i < count; i++)
    if (isfinite(x[i]) ? fabsf(x[i]) > s->largest : s->int16) return false;
  return x != NULL;
}

/* The convolution as far as its kernels look at it before sizes are known: open ones stand for large ones. */
static conv_problem problem_of(const mien_rewriter *r, mien_node_id node) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *x = h->type(r, pass_in(r, node, PASS_X)), *w = h->type(r, pass_in(r, node, PASS_W));
  const mien_type *y = h->type(r, h->out(r, node, 0));
  int64_t strides = 0, dilations = 0, pads = 0;
  const int64_t *stride = h->attr_ints(r, node, "strides", &strides), *pad = h->attr_ints(r, node, "pads", &pads);
  const int64_t *dilation = h->attr_ints(r, node, "dilations", &dilations);
  conv_problem p;
  mien_window window = {.rank = w->rank - 2};
  for (int d = 0; d < window.rank; d++) {
    window.in[d] = x->dim[1 + d] < 0 ? 64 : x->dim[1 + d];
    window.out[d] = y->dim[1 + d] < 0 ? 64 : y->dim[1 + d];
    window.kernel[d] = w->dim[2 + d];
    window.stride[d] = stride && d < strides ? stride[d] : 1;
    window.dilation[d] = dilation && d < dilations ? dilation[d] : 1;
    window.before[d] = pad && d < pads ? pad[d] : 0;
  }
  conv_problem_make(&p, &window, x, w, h->attr_i(r, node, "group"), true);
  p.constant = true;
  return p;
}

/* Known sizes, channels last. */
static bool is_plain_conv(const mien_rewriter *r, mien_node_id node) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *x = h->type(r, pass_in(r, node, PASS_X)), *w = h->type(r, pass_in(r, node, PASS_W));
  if (!h->attr_i(r, node, "channels_last") || w->rank < 3 || w->rank - 2 > MIEN_WINDOW_RANK || x->rank != w->rank)
    return false;
  return x->dim[x->rank - 1] > 0 && h->attr_i(r, node, "group") > 0 && mien_count(w) > 0;
}

static mien_status store_as(mien_rewriter *r, const storage *s) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_node_id root = h->root(r);
  const mien_value y = pass_root_out(r);
  mien_value in[PASS_INPUTS], z;
  const int count = h->in_count(r, root);
  if (count > PASS_INPUTS || !pass_is_f32(r, pass_in(r, root, PASS_W))) return MIEN_OK;
  if (pass_is_op(r, root, "mien.Linear") && pass_rank(r, pass_in(r, root, PASS_W)) != 2) return MIEN_OK; /* in panels */
  if (s->matrices && pass_is_op(r, root, "mien.Conv")) {
    if (!is_plain_conv(r, root)) return MIEN_OK;
    const conv_problem p = problem_of(r, root);
    if (conv_winograd_applies(&p, 1) || conv_depthwise_applies(&p) || p.in_each < LEAST_CHANNELS) return MIEN_OK;
  }
  for (int i = 0; i < count; i++) in[i] = h->in(r, root, i);
  if (!fits(r, in[PASS_W], s)) return MIEN_OK;
  MIEN_TRY(h->begin_at(r, "Cast", 13, &in[PASS_W], 1));
  MIEN_TRY(h->set_i(r, "to", s->dtype));
  MIEN_TRY(h->end(r, &in[PASS_W], 1));
  MIEN_TRY(h->begin(r, h->op_name(r, root), in, count));
  MIEN_TRY(h->copy_attrs(r, root));
  if (s->int16) MIEN_TRY(h->set_i(r, "int16", 1));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static mien_status store_bf16(mien_rewriter *r) { return store_as(r, &bf16); }
static mien_status store_int16(mien_rewriter *r) { return store_as(r, &int16); }
static mien_status store_f16(mien_rewriter *r) { return store_as(r, &f16); }

static const char *const product_patterns[] = {"mien.Linear|mien.Conv(x, #w, ...)", NULL};

const mien_rewrite mien_pass_precision[] = {
    {.name = "store-weights-bf16",
     .doc = "with --precision bf16: products by constants -> by constants rounded to bfloat16",
     .stage = MIEN_STAGE_FINISH,
     .after = "merge-duplicates-last attention-heads",
     .patterns = product_patterns,
     .apply = store_bf16},
    {.name = "store-weights-int16",
     .doc = "with --precision int16: products by constants -> in 16-bit integers, by constants stored in float16",
     .stage = MIEN_STAGE_FINISH,
     .after = "merge-duplicates-last attention-heads",
     .patterns = product_patterns,
     .apply = store_int16},
    {.name = "store-weights-fp16",
     .doc = "with --precision fp16-weights: constants of products -> stored in float16",
     .stage = MIEN_STAGE_FINISH,
     .after = "merge-duplicates-last attention-heads",
     .patterns = product_patterns,
     .apply = store_f16},
    {.name = NULL}};
