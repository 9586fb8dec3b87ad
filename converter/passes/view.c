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
  int64_t stride[MIEN_MAX_RANK], step = 1;
  int parts = 0;
  *v = (pass_view){.base = base, .rank = t->rank, .scale = 1};
  for (int i = t->rank - 1; i >= 0; i--) {
    stride[i] = step;
    step = mien_rewrite_host_of(r)->dim(r, '*', step, t->dim[i]);
  }
  for (int i = 0; i < t->rank; i++) {
    if (t->dim[i] != 1) {
      v->size[parts] = t->dim[i];
      v->stride[parts++] = stride[i];
    }
    v->first[i + 1] = parts;
  }
}

static bool view_transpose(mien_rewriter *r, mien_node_id n, pass_view *v) {
  int64_t count = 0;
  const int64_t *perm = mien_rewrite_host_of(r)->attr_ints(r, n, "perm", &count);
  pass_view old = *v;
  int parts = 0;
  if (perm && count && count != v->rank) return false;
  for (int i = 0; i < v->rank; i++) {
    int from = perm && count ? pass_axis(perm[i], v->rank) : v->rank - 1 - i;
    if (from < 0) return false;
    for (int p = old.first[from]; p < old.first[from + 1]; p++) {
      v->size[parts] = old.size[p];
      v->stride[parts++] = old.stride[p];
    }
    v->first[i + 1] = parts;
  }
  return true;
}

/* a = b * *times for a whole number of times, for certain. */
static bool divides(mien_rewriter *r, int64_t a, int64_t b, int64_t *times) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (b == 0 || a == INT64_MIN || b == INT64_MIN) return false;
  *times = h->dim(r, '/', a, b);
  return pass_same_dim(h->dim(r, '*', *times, b), a);
}

bool mien__view_reshape(mien_rewriter *r, pass_view *v, const int64_t *dim, int rank) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  pass_view old = *v;
  int parts = 0, at = 0, end = old.first[old.rank];
  v->rank = rank;
  for (int i = 0; i < rank; i++) {
    int64_t need = dim[i], times;
    if (need == 0) return false;
    while (need != 1) {
      if (at == end || parts == PASS_VIEW_PARTS || old.size[at] == 0) return false;
      v->stride[parts] = old.stride[at];
      if (divides(r, need, old.size[at], &times)) {
        v->size[parts++] = old.size[at++];
        need = times;
      } else if (divides(r, old.size[at], need, &times)) {
        v->size[parts] = need;
        v->stride[parts++] = h->dim(r, '*', old.stride[at], times);
        old.size[at] = times;
        need = 1;
      } else {
        return false;
      }
    }
    v->first[i + 1] = parts;
  }
  return at == end;
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
    int p = v->first[axis], parts = v->first[axis + 1] - p;
    if (parts == 0) continue;
    if (parts > 1) return false;
    if (start < 0) {
      if (mien_is_symbol(v->size[p])) return false;
      start = start + v->size[p] < 0 ? 0 : start + v->size[p];
    }
    v->offset = h->dim(r, '+', v->offset, h->dim(r, '*', start, v->stride[p]));
    v->stride[p] = h->dim(r, '*', v->stride[p], step);
    v->size[p] = t->dim[axis];
    if (t->dim[axis] != 1) continue;
    for (int k = p; k + 1 < v->first[v->rank]; k++) {
      v->size[k] = v->size[k + 1];
      v->stride[k] = v->stride[k + 1];
    }
    for (int k = axis + 1; k <= v->rank; k++) v->first[k]--;
  }
  return true;
}

/* Parts of an axis that follow each other without a gap become one. */
static void view_merge(mien_rewriter *r, pass_view *v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int parts = 0, from = 0;
  for (int i = 0; i < v->rank; i++) {
    int start = parts;
    for (; from < v->first[i + 1]; from++) {
      if (parts > start && pass_same_dim(v->stride[parts - 1], h->dim(r, '*', v->stride[from], v->size[from]))) {
        v->size[parts - 1] = h->dim(r, '*', v->size[parts - 1], v->size[from]);
        v->stride[parts - 1] = v->stride[from];
      } else {
        v->size[parts] = v->size[from];
        v->stride[parts++] = v->stride[from];
      }
    }
    v->first[i + 1] = parts;
  }
}

bool mien__view(mien_rewriter *r, mien_value value, int depth, int flags, pass_view *view) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id steps[MAX_DEPTH];
  if (depth < 0 || depth > trace(r, value, flags, steps) || !pass_is_known(h->type(r, value))) return false;
  double scale = 1;
  view_whole(r, depth ? step_input(r, steps[depth - 1], &scale) : value, view);
  for (int i = depth - 1; i >= 0; i--) {
    const char *op = h->op_name(r, steps[i]);
    const mien_type *t = h->type(r, h->out(r, steps[i], 0));
    if (!pass_is_known(t)) return false;
    step_input(r, steps[i], &scale);
    view->scale *= scale;
    if (strcmp(op, "Transpose") == 0 && !view_transpose(r, steps[i], view)) return false;
    if (strcmp(op, "Reshape") == 0 && !mien__view_reshape(r, view, t->dim, t->rank)) return false;
    if (strcmp(op, "Slice") == 0 && !view_slice(r, steps[i], view)) return false;
    view_merge(r, view);
  }
  for (int i = 0; i < view->first[view->rank]; i++)
    if (view->size[i] == INT64_MIN || view->stride[i] == INT64_MIN || view->size[i] == 0) return false;
  return view->offset != INT64_MIN;
}

/* ---------------------------------------------------------------- collapse-views */

/* Row-major without gaps: a Reshape says it. */
static bool is_contiguous(mien_rewriter *r, const pass_view *v) {
  int64_t stride = 1;
  for (int i = v->first[v->rank] - 1; i >= 0; i--) {
    if (!pass_same_dim(v->stride[i], stride)) return false;
    stride = mien_rewrite_host_of(r)->dim(r, '*', stride, v->size[i]);
  }
  return v->offset == 0;
}

/* A permutation of the axes of base, each used once: a Transpose says it. Axes of size 1 fill up what is left. */
static bool is_permutation(mien_rewriter *r, const pass_view *v, int64_t *perm) {
  pass_view base;
  view_whole(r, v->base, &base);
  if (base.rank != v->rank || base.first[base.rank] != v->first[v->rank]) return false;
  bool used[MIEN_MAX_RANK] = {false};
  for (int i = 0; i < v->rank; i++) {
    int p = v->first[i], parts = v->first[i + 1] - p;
    perm[i] = -1;
    if (parts > 1) return false;
    for (int k = 0; k < v->rank && parts && perm[i] < 0; k++) {
      int q = base.first[k];
      if (used[k] || base.first[k + 1] == q || !pass_same_dim(base.size[q], v->size[p]) ||
          !pass_same_dim(base.stride[q], v->stride[p]))
        continue;
      perm[i] = k;
      used[k] = true;
    }
    if (parts && perm[i] < 0) return false;
  }
  for (int i = 0, k = 0; i < v->rank; i++) {
    if (perm[i] >= 0) continue;
    while (used[k]) k++;
    perm[i] = k;
    used[k] = true;
  }
  return true;
}

/* A view of all of base as Reshape (splits axes), Transpose, Reshape (merges axes). */
typedef struct three_steps {
  int parts;
  int64_t split[PASS_VIEW_PARTS], perm[PASS_VIEW_PARTS];
  bool splits, merges;
} three_steps;

static bool in_three_steps(mien_rewriter *r, const pass_view *v, const mien_type *ty, three_steps *s) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *t = h->type(r, v->base);
  int64_t stride = 1;
  s->parts = v->first[v->rank];
  if (v->offset != 0 || s->parts > MIEN_MAX_RANK || s->parts < 1) return false;
  /* The part of stride 1 is the last axis of base once that is split, and so on to the front. */
  bool used[PASS_VIEW_PARTS] = {false};
  for (int at = s->parts - 1; at >= 0; at--) {
    int p = 0;
    while (p < s->parts && (used[p] || !pass_same_dim(v->stride[p], stride))) p++;
    if (p == s->parts) return false;
    used[p] = true;
    s->split[at] = v->size[p];
    s->perm[p] = at;
    stride = h->dim(r, '*', stride, v->size[p]);
  }
  if (!pass_same_dim(stride, pass_size_of(r, t->dim, t->rank))) return false;
  s->splits = t->rank != s->parts;
  s->merges = ty->rank != s->parts;
  for (int i = 0; i < s->parts; i++) {
    s->splits = s->splits || !pass_same_dim(t->dim[i], s->split[i]);
    s->merges = s->merges || !pass_same_dim(ty->dim[i], v->size[i]);
  }
  int64_t spec[MIEN_MAX_RANK];
  mien_type turned = {.dtype = t->dtype, .rank = s->parts};
  for (int i = 0; i < s->parts; i++) turned.dim[i] = v->size[i];
  return pass_can_reshape(r, v->base, s->split, s->parts) && pass_reshape_spec(&turned, ty->dim, ty->rank, spec);
}

/* Nothing else reads what stands between base and y. */
static bool is_private(mien_rewriter *r, mien_value y, int depth) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  for (; depth > 1; depth--) {
    y = pass_in(r, h->producer(r, y), 0);
    if (!pass_is_single(r, y)) return false;
  }
  return true;
}

static mien_status collapse(mien_rewriter *r, bool far) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value y = pass_root_out(r), z = MIEN_NO_VALUE;
  if (y == MIEN_NO_VALUE) return MIEN_OK;
  bool transpose = pass_is_op(r, root, "Transpose");
  for (int depth = mien__view_depth(r, y, 0); depth >= 1; depth--) {
    pass_view v;
    int64_t perm[MIEN_MAX_RANK];
    if (!mien__view(r, y, depth, 0, &v)) continue;
    const mien_type *t = h->type(r, v.base), *ty = h->type(r, y);
    if (is_contiguous(r, &v)) {
      bool same = pass_same_type(t, ty);
      if (depth == 1 && !transpose && !same) return MIEN_OK;
      if (!same && !pass_can_reshape(r, v.base, ty->dim, ty->rank)) continue;
      MIEN_TRY(pass_reshape(r, v.base, ty->dim, ty->rank, &z));
      return h->replace(r, y, z);
    }
    if (depth == 1) continue;
    three_steps s;
    if (is_permutation(r, &v, perm)) {
      MIEN_TRY(pass_transpose(r, v.base, perm, v.rank, &z));
    } else if (far && is_private(r, y, depth) && in_three_steps(r, &v, ty, &s) && 1 + s.splits + s.merges < depth) {
      MIEN_TRY(pass_reshape(r, v.base, s.split, s.parts, &z));
      MIEN_TRY(pass_transpose(r, z, s.perm, s.parts, &z));
      MIEN_TRY(pass_reshape(r, z, ty->dim, ty->rank, &z));
    } else {
      continue;
    }
    return h->replace(r, y, z);
  }
  return MIEN_OK;
}

static mien_status collapse_views(mien_rewriter *r) { return collapse(r, false); }
/* Not before attentions are found: those look for token rows on the way. */
static mien_status collapse_far_views(mien_rewriter *r) { return collapse(r, true); }

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
     .after = "fuse-attention",
     .patterns = view_patterns,
     .apply = collapse_far_views},
    {.name = "collapse-views-layout",
     .doc = "collapse-views between layouts: a Transpose meets its inverse",
     .stage = MIEN_STAGE_LAYOUT,
     .patterns = view_patterns,
     .apply = collapse_far_views},
    {.name = NULL},
};
