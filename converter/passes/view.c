/* Views: chains of Reshape and Transpose (and, for who asks, Slice and scaling) seen as offset and strides over the value they
** start from. All spellings of one rearrangement are the same view, so they are written back in one way. */
#include "pass.h"

enum { MAX_DEPTH = 24 };

static bool is_view_step(mien_rewriter *r, mien_node_id n, int flags) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (n == MIEN_NO_NODE) return false;
  const char *op = h->op_name(r, n);
  if (strcmp(op, "Reshape") == 0 || strcmp(op, "Transpose") == 0) return true;
  if (strcmp(op, "Slice") == 0) return (flags & PASS_VIEW_SLICES) != 0;
  return (flags & PASS_VIEW_SCALES) && (strcmp(op, "Mul") == 0 || strcmp(op, "Div") == 0);
}

/* The input that the step looks at; MIEN_NO_VALUE when it turns out to be none. */
static mien_value step_input(mien_rewriter *r, mien_node_id n, double *scale) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *scale = 1;
  if (!pass_is_op(r, n, "Mul") && !pass_is_op(r, n, "Div")) return pass_in(r, n, 0);
  bool div = pass_is_op(r, n, "Div");
  for (int i = 0; i < (div ? 1 : 2); i++) {
    mien_value x = pass_in(r, n, i);
    double factor;
    if (!pass_scalar(r, pass_in(r, n, 1 - i), &factor) || !pass_is_f32(r, x)) continue;
    if (!isfinite(factor) || factor == 0 || pass_is_constant(r, x)) continue;
    if (!pass_same_type(h->type(r, x), h->type(r, h->out(r, n, 0)))) continue;
    *scale = div ? 1 / factor : factor;
    return x;
  }
  return MIEN_NO_VALUE;
}

static int trace(mien_rewriter *r, mien_value v, int flags, mien_node_id *steps) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int depth = 0;
  while (depth < MAX_DEPTH) {
    mien_node_id n = h->producer(r, v);
    double scale;
    if (!is_view_step(r, n, flags)) break;
    v = step_input(r, n, &scale);
    if (v == MIEN_NO_VALUE || !pass_is_known(h->type(r, v)) || pass_is_constant(r, v)) break;
    steps[depth++] = n;
  }
  return depth;
}

int mien__view_depth(mien_rewriter *r, mien_value v, int flags) {
  mien_node_id steps[MAX_DEPTH];
  return trace(r, v, flags, steps);
}

static void view_whole(mien_rewriter *r, mien_value base, pass_view *v) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, base);
  *v = (pass_view){.base = base, .rank = t->rank, .scale = 1};
  int64_t stride = 1;
  for (int i = t->rank - 1; i >= 0; i--) {
    v->dim[i] = t->dim[i];
    v->stride[i] = stride;
    stride = mien_rewrite_host_of(r)->dim(r, '*', stride, t->dim[i]);
  }
}

static bool view_transpose(mien_rewriter *r, mien_node_id n, pass_view *v) {
  int64_t count = 0;
  const int64_t *perm = mien_rewrite_host_of(r)->attr_ints(r, n, "perm", &count);
  pass_view old = *v;
  if (perm && count && count != v->rank) return false;
  for (int i = 0; i < v->rank; i++) {
    int from = perm && count ? pass_axis(perm[i], v->rank) : v->rank - 1 - i;
    if (from < 0) return false;
    v->dim[i] = old.dim[from];
    v->stride[i] = old.stride[from];
  }
  return true;
}

/* Sizes old[0..] and new[0..] in groups of equal product, from the front. One group: [*a, a1) and [*b, b1). */
static bool next_group(mien_rewriter *r, const int64_t *old, int olds, const int64_t *new, int news, int *a, int *b) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int64_t left = old[(*a)++], right = new[(*b)++];
  while (!pass_same_dim(left, right)) {
    bool numbers = !mien_is_symbol(left) && !mien_is_symbol(right);
    bool grow_left = numbers ? left < right : !mien_is_symbol(left) || (mien_is_symbol(right) && *a < olds);
    if (grow_left && *a == olds) grow_left = false;
    if (!grow_left && *b == news) grow_left = true;
    if (grow_left && *a == olds) return false;
    if (grow_left)
      left = h->dim(r, '*', left, old[(*a)++]);
    else
      right = h->dim(r, '*', right, new[(*b)++]);
  }
  return true;
}

static bool view_reshape(mien_rewriter *r, mien_node_id n, pass_view *v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *t = h->type(r, h->out(r, n, 0));
  int64_t old_dim[MIEN_MAX_RANK], old_stride[MIEN_MAX_RANK], new_dim[MIEN_MAX_RANK];
  int place[MIEN_MAX_RANK], olds = 0, news = 0;
  for (int i = 0; i < v->rank; i++) {
    if (v->dim[i] == 0) return false;
    if (v->dim[i] == 1) continue;
    old_dim[olds] = v->dim[i];
    old_stride[olds++] = v->stride[i];
  }
  pass_view next = {.base = v->base, .rank = t->rank, .offset = v->offset, .scale = v->scale};
  for (int i = 0; i < t->rank; i++) {
    if (t->dim[i] == 0) return false;
    next.dim[i] = t->dim[i];
    next.stride[i] = 0;
    if (t->dim[i] == 1) continue;
    place[news] = i;
    new_dim[news++] = t->dim[i];
  }
  for (int a = 0, b = 0; a < olds || b < news;) {
    int a0 = a, b0 = b;
    if (a == olds || b == news || !next_group(r, old_dim, olds, new_dim, news, &a, &b)) return false;
    for (int i = a0; i + 1 < a; i++)
      if (!pass_same_dim(old_stride[i], h->dim(r, '*', old_stride[i + 1], old_dim[i + 1]))) return false;
    int64_t stride = old_stride[a - 1];
    for (int i = b - 1; i >= b0; i--) {
      next.stride[place[i]] = stride;
      stride = h->dim(r, '*', stride, new_dim[i]);
    }
  }
  *v = next;
  return true;
}

static bool view_slice(mien_rewriter *r, mien_node_id n, pass_view *v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (h->since(r, n) < 10) return false;
  const mien_type *t = h->type(r, h->out(r, n, 0));
  int64_t count = 0, axis_count = 0, step_count = 0;
  const int64_t *starts = pass_numbers(r, pass_in(r, n, 1), &count);
  const int64_t *axes = pass_numbers(r, pass_in(r, n, 3), &axis_count);
  const int64_t *steps = pass_numbers(r, pass_in(r, n, 4), &step_count);
  if (!starts || (!axes && pass_in(r, n, 3) != MIEN_NO_VALUE) || (!steps && pass_in(r, n, 4) != MIEN_NO_VALUE))
    return false;
  if ((axes && axis_count != count) || (steps && step_count != count)) return false;
  for (int64_t i = 0; i < count; i++) {
    int axis = pass_axis(axes ? axes[i] : i, v->rank);
    int64_t step = steps ? steps[i] : 1, start = starts[i];
    if (axis < 0 || step < 1 || t->dim[axis] == 0) return false;
    if (start < 0) {
      if (mien_is_symbol(v->dim[axis])) return false;
      start = start + v->dim[axis] < 0 ? 0 : start + v->dim[axis];
    }
    v->offset = h->dim(r, '+', v->offset, h->dim(r, '*', start, v->stride[axis]));
    v->stride[axis] = h->dim(r, '*', v->stride[axis], step);
    v->dim[axis] = t->dim[axis];
  }
  return true;
}

bool mien__view(mien_rewriter *r, mien_value value, int depth, int flags, pass_view *view) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id steps[MAX_DEPTH];
  if (depth < 0 || depth > trace(r, value, flags, steps)) return false;
  double scale = 1;
  view_whole(r, depth ? step_input(r, steps[depth - 1], &scale) : value, view);
  for (int i = depth - 1; i >= 0; i--) {
    const char *op = h->op_name(r, steps[i]);
    if (!pass_is_known(h->type(r, h->out(r, steps[i], 0)))) return false;
    step_input(r, steps[i], &scale);
    view->scale *= scale;
    if (strcmp(op, "Transpose") == 0 && !view_transpose(r, steps[i], view)) return false;
    if (strcmp(op, "Reshape") == 0 && !view_reshape(r, steps[i], view)) return false;
    if (strcmp(op, "Slice") == 0 && !view_slice(r, steps[i], view)) return false;
  }
  for (int i = 0; i < view->rank; i++)
    if (view->dim[i] == INT64_MIN || view->stride[i] == INT64_MIN) return false;
  return view->offset != INT64_MIN;
}

/* ---------------------------------------------------------------- collapse-views */

/* Row-major without gaps: a Reshape says it. */
static bool is_contiguous(mien_rewriter *r, const pass_view *v) {
  int64_t stride = 1;
  for (int i = v->rank - 1; i >= 0; i--) {
    if (v->dim[i] != 1 && !pass_same_dim(v->stride[i], stride)) return false;
    stride = mien_rewrite_host_of(r)->dim(r, '*', stride, v->dim[i]);
  }
  return v->offset == 0;
}

/* A permutation of the axes of base, each used once: a Transpose says it. Axes of size 1 fill up what is left. */
static bool is_permutation(mien_rewriter *r, const pass_view *v, int64_t *perm) {
  pass_view base;
  view_whole(r, v->base, &base);
  if (base.rank != v->rank) return false;
  bool used[MIEN_MAX_RANK] = {false};
  for (int i = 0; i < v->rank; i++) perm[i] = -1;
  for (int i = 0; i < v->rank; i++) {
    if (v->dim[i] == 1) continue;
    for (int k = 0; k < v->rank && perm[i] < 0; k++)
      if (!used[k] && pass_same_dim(base.dim[k], v->dim[i]) && pass_same_dim(base.stride[k], v->stride[i])) {
        perm[i] = k;
        used[k] = true;
      }
    if (perm[i] < 0) return false;
  }
  for (int i = 0, k = 0; i < v->rank; i++) {
    if (perm[i] >= 0) continue;
    while (k < v->rank && used[k]) k++;
    if (k == v->rank || base.dim[k] != 1) return false;
    perm[i] = k;
    used[k] = true;
  }
  return true;
}

static mien_status collapse_views(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value y = pass_root_out(r), z = MIEN_NO_VALUE;
  if (y == MIEN_NO_VALUE) return MIEN_OK;
  bool transpose = pass_is_op(r, root, "Transpose");
  for (int depth = mien__view_depth(r, y, 0); depth >= 1; depth--) {
    pass_view v;
    int64_t perm[MIEN_MAX_RANK];
    if (!mien__view(r, y, depth, 0, &v)) continue;
    const mien_type *t = h->type(r, v.base);
    if (is_contiguous(r, &v)) {
      bool same = t->rank == v.rank;
      for (int i = 0; same && i < v.rank; i++) same = pass_same_dim(t->dim[i], v.dim[i]);
      if (depth == 1 && !transpose && !same) return MIEN_OK;
      if (!same && !pass_can_reshape(r, v.base, v.dim, v.rank)) continue;
      MIEN_TRY(pass_reshape(r, v.base, v.dim, v.rank, &z));
      return h->replace(r, y, z);
    }
    if (depth == 1 || !is_permutation(r, &v, perm)) continue;
    MIEN_TRY(pass_transpose(r, v.base, perm, v.rank, &z));
    return h->replace(r, y, z);
  }
  return MIEN_OK;
}

static const char *const view_patterns[] = {"Reshape(x, ...)", "Transpose(x)", NULL};

const mien_rewrite mien_pass_view[] = {
    {.name = "collapse-views",
     .doc = "a chain of Reshape and Transpose -> the one Reshape or Transpose that does the same",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "constant-shape",
     .patterns = view_patterns,
     .apply = collapse_views},
    {.name = "collapse-views-fused",
     .doc = "collapse-views between fused operators",
     .stage = MIEN_STAGE_FUSE,
     .patterns = view_patterns,
     .apply = collapse_views},
    {.name = "collapse-views-layout",
     .doc = "collapse-views between layouts: a Transpose meets its inverse",
     .stage = MIEN_STAGE_LAYOUT,
     .patterns = view_patterns,
     .apply = collapse_views},
    {.name = NULL},
};
