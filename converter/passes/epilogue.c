/* What follows a product -- bias, activation, scale, residual -- moves into it (see mien_epilogue in plugin.h). */
#include "pass.h"

/* A product found behind a value, perhaps through a Reshape that leaves the columns alone. */
typedef struct found {
  pass_product p;
  int axis; /* of the columns in the value */
} found;

static bool find_product(mien_rewriter *r, mien_value v, found *f) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (!pass_is_f32(r, v) || !pass_is_single(r, v)) return false;
  mien_node_id n = h->producer(r, v);
  bool reshaped = pass_is_op(r, n, "Reshape");
  if (reshaped) {
    mien_value behind = pass_in(r, n, 0);
    n = pass_made_by(r, behind, "mien.Linear");
    if (n == MIEN_NO_NODE || !pass_is_single(r, behind)) return false;
  }
  if (n == MIEN_NO_NODE || !pass_product_of(r, n, &f->p)) return false;
  f->axis = f->p.axis;
  if (!reshaped) return true;
  const mien_type *t = h->type(r, v), *ty = h->type(r, f->p.y);
  f->axis = t->rank - 1; /* the last one, but for axes of size 1 */
  while (f->axis > 0 && t->dim[f->axis] == 1 && f->p.channels != 1) f->axis--;
  if (f->axis < 0 || t->dim[f->axis] != f->p.channels) return false;
  return pass_can_reshape(r, f->p.y, t->dim, t->rank) && pass_can_reshape(r, v, ty->dim, ty->rank);
}

/* The changed product takes the place of the root. */
static mien_status finish(mien_rewriter *r, found *f) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value y = pass_root_out(r), z;
  const mien_type *t = h->type(r, y);
  MIEN_TRY(pass_product_end(r, &f->p, &z));
  MIEN_TRY(pass_reshape(r, z, t->dim, t->rank, &z));
  return h->replace(r, y, z);
}

static mien_status fuse_bias(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), c = h->bound(r, "c"), b;
  found f;
  if (!find_product(r, v, &f) || !pass_product_is_bare(&f.p)) return MIEN_OK;
  if (!pass_is_per_channel(r, c, pass_rank(r, v), f.axis, f.p.channels)) return MIEN_OK;
  MIEN_TRY(pass_per_channel(r, c, f.p.channels, &b));
  if (f.p.in[PASS_B] == MIEN_NO_VALUE)
    f.p.in[PASS_B] = b;
  else
    MIEN_TRY(PASS_ADD(r, "Add", &f.p.in[PASS_B], f.p.in[PASS_B], b));
  return finish(r, &f);
}

/* Whether the next activation may move in: nothing there yet, or a residual and nothing on top of it. */
static bool takes_activation(found *f) {
  if (*f->p.activation) return false;
  f->p.act_last = f->p.in[PASS_R] != MIEN_NO_VALUE;
  return f->p.in[PASS_R] != MIEN_NO_VALUE || f->p.in[PASS_G] == MIEN_NO_VALUE;
}

static bool clip_bounds(mien_rewriter *r, mien_node_id n, double *low, double *high) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *low = -INFINITY;
  *high = INFINITY;
  if (h->since(r, n) < 11) {
    *low = h->attr_f(r, n, "min");
    *high = h->attr_f(r, n, "max");
  } else {
    mien_value a = pass_in(r, n, 1), b = pass_in(r, n, 2);
    if (a != MIEN_NO_VALUE && (pass_rank(r, a) != 0 || !pass_scalar(r, a, low))) return false;
    if (b != MIEN_NO_VALUE && (pass_rank(r, b) != 0 || !pass_scalar(r, b, high))) return false;
  }
  return *low <= *high;
}

static mien_status fuse_activation(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value v = pass_in(r, root, 0);
  const char *op = h->op_name(r, root);
  found f;
  if (!find_product(r, v, &f) || !takes_activation(&f)) return MIEN_OK;
  if (!pass_same_type(h->type(r, v), h->type(r, pass_root_out(r)))) return MIEN_OK;
  f.p.activation = op;
  if (strcmp(op, "LeakyRelu") == 0) {
    f.p.alpha = h->attr_f(r, root, "alpha");
  } else if (strcmp(op, "Gelu") == 0) {
    const char *form = h->attr_s(r, root, "approximate");
    if (!form || strcmp(form, "none") != 0) return MIEN_OK;
  } else if (strcmp(op, "Clip") == 0) {
    if (!clip_bounds(r, root, &f.p.alpha, &f.p.beta)) return MIEN_OK;
  } else if (strcmp(op, "PRelu") == 0) {
    mien_value slope = pass_in(r, root, 1);
    if (!pass_is_per_channel(r, slope, pass_rank(r, v), f.axis, f.p.channels)) return MIEN_OK;
    MIEN_TRY(pass_per_channel(r, slope, f.p.channels, &f.p.in[PASS_S]));
  }
  return finish(r, &f);
}

static mien_status fuse_silu(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), s = h->bound(r, "s");
  found f;
  if (h->uses(r, v) != 2 || h->is_output(r, v) || !pass_is_single(r, s) || !pass_is_f32(r, v)) return MIEN_OK;
  mien_node_id n = h->producer(r, v);
  if (n == MIEN_NO_NODE || !pass_product_of(r, n, &f.p) || !takes_activation(&f)) return MIEN_OK;
  f.p.activation = "Silu";
  return finish(r, &f);
}

/* The other summand as R; with g, a scale between product and sum, as G. */
static mien_status add_residual(mien_rewriter *r, mien_value v, mien_value other, mien_value g, bool *done) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  found f;
  const mien_type *t = h->type(r, pass_root_out(r));
  if (!find_product(r, v, &f) || f.p.in[PASS_R] != MIEN_NO_VALUE || f.p.in[PASS_G] != MIEN_NO_VALUE) return MIEN_OK;
  if (!pass_is_f32(r, other) || !pass_same_type(h->type(r, other), t) || !pass_same_type(h->type(r, v), t))
    return MIEN_OK;
  const mien_type *ty = h->type(r, f.p.y);
  if (g != MIEN_NO_VALUE) {
    if (!pass_is_per_channel(r, g, t->rank, f.axis, f.p.channels)) return MIEN_OK;
    MIEN_TRY(pass_per_channel(r, g, f.p.channels, &f.p.in[PASS_G]));
  }
  MIEN_TRY(pass_reshape(r, other, ty->dim, ty->rank, &f.p.in[PASS_R]));
  *done = true;
  return finish(r, &f);
}

static mien_status fuse_residual(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value a = h->bound(r, "a"), b = h->bound(r, "b");
  bool done = false;
  if (a == b) return MIEN_OK;
  MIEN_TRY(add_residual(r, a, b, MIEN_NO_VALUE, &done));
  if (!done) MIEN_TRY(add_residual(r, b, a, MIEN_NO_VALUE, &done));
  return MIEN_OK;
}

static mien_status fuse_scale(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value scaled = h->bound(r, "scaled"), v = h->bound(r, "v"), other = h->bound(r, "other");
  bool done = false;
  if (!pass_is_single(r, scaled) || scaled == other) return MIEN_OK;
  return add_residual(r, v, other, h->bound(r, "g"), &done);
}

/* A scale that no residual follows: into weights and bias, where no other product shares them. */
static mien_status fold_scale(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), g = h->bound(r, "g"), column;
  found f;
  if (!find_product(r, v, &f) || !pass_product_is_bare(&f.p)) return MIEN_OK;
  mien_value w = f.p.in[PASS_W];
  if (!pass_is_constant(r, w) || h->uses(r, w) != 1) return MIEN_OK;
  if (!pass_is_per_channel(r, g, pass_rank(r, v), f.axis, f.p.channels)) return MIEN_OK;
  if (!pass_same_type(h->type(r, v), h->type(r, pass_root_out(r)))) return MIEN_OK;
  int axis = f.p.conv || h->attr_i(r, f.p.node, "trans_w") ? 0 : 1;
  MIEN_TRY(pass_per_channel(r, g, f.p.channels, &g));
  MIEN_TRY(pass_along(r, g, f.p.channels, pass_rank(r, w), axis, &column));
  MIEN_TRY(PASS_ADD(r, "Mul", &f.p.in[PASS_W], w, column));
  if (f.p.in[PASS_B] != MIEN_NO_VALUE) MIEN_TRY(PASS_ADD(r, "Mul", &f.p.in[PASS_B], f.p.in[PASS_B], g));
  return finish(r, &f);
}

/* A constant times each column of what a product multiplies: into its weights. Padding stays 0. */
static mien_status fold_scale_before(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), x = h->bound(r, "x"), g = h->bound(r, "g"), y = pass_root_out(r), z;
  pass_product p;
  if (!pass_is_f32(r, x) || !pass_is_single(r, v) || !pass_product_of(r, h->root(r), &p)) return MIEN_OK;
  if (!pass_same_type(h->type(r, x), h->type(r, v)) || p.in[PASS_P] != MIEN_NO_VALUE || v == p.in[PASS_R])
    return MIEN_OK;
  mien_value w = p.in[PASS_W];
  if (!pass_is_constant(r, w) || h->uses(r, w) != 1) return MIEN_OK;
  const mien_type *t = h->type(r, x), *tw = h->type(r, w);
  const int column = p.conv && !h->attr_i(r, p.node, "channels_last") ? 1 : t->rank - 1;
  if (p.conv && h->attr_i(r, p.node, "group") != 1 && mien_count(h->type(r, g)) != 1) return MIEN_OK;
  if (column >= t->rank || !pass_is_per_channel(r, g, t->rank, column, t->dim[column])) return MIEN_OK;
  const int axis = p.conv || h->attr_i(r, p.node, "trans_w") ? 1 : 0;
  if (mien_count(h->type(r, g)) != 1) {
    MIEN_TRY(pass_per_channel(r, g, t->dim[column], &g));
    MIEN_TRY(pass_along(r, g, t->dim[column], tw->rank, axis, &g));
  } else {
    MIEN_TRY(pass_reshape(r, g, NULL, 0, &g));
  }
  MIEN_TRY(PASS_ADD(r, "Mul", &p.in[PASS_W], w, g));
  p.in[PASS_X] = x;
  MIEN_TRY(pass_product_end(r, &p, &z));
  return h->replace(r, y, z);
}

static const char *const bias_patterns[] = {"Add(v, #c)", NULL};
static const char *const activation_patterns[] = {"Relu|LeakyRelu|Sigmoid|Tanh|Gelu|HardSwish(x)", "PRelu(x, #s)",
                                                  "Clip(x, ...)", NULL};
static const char *const silu_patterns[] = {"Mul(v, s:Sigmoid(v))", NULL};
static const char *const residual_patterns[] = {"Add(a, b)", NULL};
static const char *const scale_patterns[] = {"Add(scaled:Mul(v, #g), other)", NULL};
static const char *const fold_patterns[] = {"Mul(v, #g)", NULL};
static const char *const before_patterns[] = {"mien.Conv|mien.Linear(v:Mul(x, #g), ...)", NULL};

#define BIAS_DOC "a constant added to each column of a product -> its bias"
#define ACTIVATION_DOC "an activation of a product -> its epilogue"
#define SILU_DOC "x * sigmoid(x) of a product -> its epilogue"
#define RESIDUAL_DOC "a value added to a product -> its residual"

const mien_rewrite mien_pass_epilogue[] = {{.name = "fuse-bias",
                                            .doc = BIAS_DOC,
                                            .stage = MIEN_STAGE_CANONICALISE,
                                            .after = "matmul-to-linear gemm-to-linear to-fused-conv",
                                            .patterns = bias_patterns,
                                            .apply = fuse_bias},
                                           {.name = "fuse-activation",
                                            .doc = ACTIVATION_DOC,
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fuse-attention fold-batch-norm-after",
                                            .patterns = activation_patterns,
                                            .apply = fuse_activation},
                                           {.name = "fuse-silu",
                                            .doc = SILU_DOC,
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fuse-activation",
                                            .patterns = silu_patterns,
                                            .apply = fuse_silu},
                                           {.name = "fuse-scale",
                                            .doc = "residual + constant * product -> its scale and residual",
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fuse-activation",
                                            .patterns = scale_patterns,
                                            .apply = fuse_scale},
                                           {.name = "fuse-residual",
                                            .doc = RESIDUAL_DOC,
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fuse-scale",
                                            .patterns = residual_patterns,
                                            .apply = fuse_residual},
                                           {.name = "fold-scale",
                                            .doc = "a constant times each column of a product -> into its weights",
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fuse-residual",
                                            .patterns = fold_patterns,
                                            .apply = fold_scale},
                                           {.name = "fold-scale-before",
                                            .doc = "a product of a constant times each column -> into its weights",
                                            .stage = MIEN_STAGE_FUSE,
                                            .after = "fold-scale",
                                            .patterns = before_patterns,
                                            .apply = fold_scale_before},
                                           {.name = "fuse-bias-late",
                                            .doc = BIAS_DOC,
                                            .stage = MIEN_STAGE_FINISH,
                                            .patterns = bias_patterns,
                                            .apply = fuse_bias},
                                           {.name = "fuse-activation-late",
                                            .doc = ACTIVATION_DOC,
                                            .stage = MIEN_STAGE_FINISH,
                                            .patterns = activation_patterns,
                                            .apply = fuse_activation},
                                           {.name = "fuse-residual-late",
                                            .doc = RESIDUAL_DOC,
                                            .stage = MIEN_STAGE_FINISH,
                                            .patterns = residual_patterns,
                                            .apply = fuse_residual},
                                           {.name = NULL}};
