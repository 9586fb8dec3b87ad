/* Everything that picks a regular part of a value is a Slice. */
#include "pass.h"

/* Gather of one index, or of indices that follow each other. */
static mien_status gather_to_slice(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), index = h->bound(r, "i"), y = pass_root_out(r), z;
  const mien_type *t = h->type(r, x), *ti = h->type(r, index), *to = h->type(r, y);
  if (!pass_is_known(t) || !pass_is_known(to) || ti->rank < 0 || ti->rank > 1 || t->rank < 1) return MIEN_OK;
  int axis = pass_axis(h->attr_i(r, h->root(r), "axis"), t->rank);
  int64_t count = 0;
  const int64_t *i = pass_numbers(r, index, &count);
  if (!i || count < 1 || axis < 0) return MIEN_OK;
  int64_t first = i[0], size = t->dim[axis];
  for (int64_t k = 1; k < count; k++)
    if (i[k] != first + k) return MIEN_OK;
  /* An index outside is an error that must stay one; Slice would clamp it. */
  if (mien_is_symbol(size)) return MIEN_OK;
  if (first < -size || (first < 0 && first + count > 0) || (first >= 0 && first > size - count)) return MIEN_OK;
  if (first < 0) first += size;
  if (ti->rank == 0 && !pass_can_reshape(r, x, to->dim, to->rank)) return MIEN_OK;
  MIEN_TRY(pass_slice_one(r, x, axis, first, first + count, &z));
  if (ti->rank == 0) MIEN_TRY(pass_reshape(r, z, to->dim, to->rank, &z));
  return h->replace(r, y, z);
}

static mien_status split_to_slices(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = pass_in(r, root, 0);
  const mien_type *t = h->type(r, x);
  if (!pass_is_known(t) || t->rank < 1) return MIEN_OK;
  int axis = pass_axis(h->attr_i(r, root, "axis"), t->rank), count = h->out_count(r, root);
  if (axis < 0 || count > 32) return MIEN_OK;
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    mien_value y = h->out(r, root, i);
    if (y == MIEN_NO_VALUE || !pass_is_known(h->type(r, y)) || mien_is_symbol(h->type(r, y)->dim[axis])) return MIEN_OK;
    at += h->type(r, y)->dim[axis];
  }
  if (at != t->dim[axis]) return MIEN_OK;
  at = 0;
  for (int i = 0; i < count; i++) {
    mien_value y = h->out(r, root, i), z;
    int64_t size = h->type(r, y)->dim[axis];
    MIEN_TRY(pass_slice_one(r, x, axis, at, at + size, &z));
    MIEN_TRY(h->replace(r, y, z));
    at += size;
  }
  return MIEN_OK;
}

/* A window of one element takes every stride-th. */
static mien_status pool_to_slice(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), z;
  const mien_type *t = h->type(r, x), *to = h->type(r, y);
  int64_t count = 0, given = 0;
  const int64_t *kernel = h->attr_ints(r, root, "kernel_shape", &count);
  if (!kernel || pass_is_read(r, root, 1) || !pass_is_known(t) || !pass_is_known(to)) return MIEN_OK;
  if (t->rank < 3 || t->rank - 2 != count || to->rank != t->rank) return MIEN_OK;
  for (int64_t i = 0; i < count; i++)
    if (kernel[i] != 1) return MIEN_OK;
  const int64_t *pads = h->attr_ints(r, root, "pads", &given);
  for (int64_t i = 0; pads && i < given; i++)
    if (pads[i] != 0) return MIEN_OK;
  const int64_t *strides = h->attr_ints(r, root, "strides", &given);
  if (strides && given && given != count) return MIEN_OK;
  int64_t axes[MIEN_MAX_RANK], starts[MIEN_MAX_RANK], ends[MIEN_MAX_RANK], steps[MIEN_MAX_RANK];
  int used = 0;
  for (int i = 0; i < count; i++) {
    int64_t step = strides && given ? strides[i] : 1, size = t->dim[i + 2];
    if (step < 1) return MIEN_OK;
    int64_t kept = h->dim(r, 'c', size, step);
    if (!pass_same_dim(kept, to->dim[i + 2])) return MIEN_OK;
    if (step == 1) continue;
    axes[used] = i + 2;
    starts[used] = 0;
    ends[used] = mien_is_symbol(size) ? INT64_MAX : size;
    steps[used++] = step;
  }
  if (used == 0) return h->replace(r, y, x);
  MIEN_TRY(pass_slice(r, x, used, axes, starts, ends, steps, &z));
  return h->replace(r, y, z);
}

/* Nearest neighbours at a whole multiple, counted from the corner: element o * k. */
static mien_status resize_to_slice(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = pass_in(r, root, 0), y = pass_root_out(r), scales = pass_in(r, root, 2), z;
  if (y == MIEN_NO_VALUE || h->since(r, root) < 11) return MIEN_OK;
  const char *where = h->attr_s(r, root, "coordinate_transformation_mode"), *mode = h->attr_s(r, root, "mode");
  const char *nearest = h->attr_s(r, root, "nearest_mode");
  if (!where || !mode || !nearest || strcmp(where, "asymmetric") != 0 || strcmp(mode, "nearest") != 0 ||
      strcmp(nearest, "floor") != 0)
    return MIEN_OK;
  const mien_type *t = h->type(r, x), *to = h->type(r, y);
  if (!pass_is_known(t) || !pass_is_known(to) || to->rank != t->rank) return MIEN_OK;
  /* Version 11 writes empty scales beside sizes. Scales of their own may differ from the ratio of the sizes. */
  if (scales != MIEN_NO_VALUE && mien_count(h->type(r, scales)) != 0) return MIEN_OK;
  int64_t axes[MIEN_MAX_RANK], starts[MIEN_MAX_RANK] = {0}, ends[MIEN_MAX_RANK], steps[MIEN_MAX_RANK];
  int used = 0;
  for (int i = 0; i < t->rank; i++) {
    if (pass_same_dim(t->dim[i], to->dim[i])) continue;
    if (t->dim[i] <= 0 || to->dim[i] <= 0 || t->dim[i] % to->dim[i] != 0) return MIEN_OK;
    axes[used] = i;
    ends[used] = t->dim[i];
    steps[used++] = t->dim[i] / to->dim[i];
  }
  if (used == 0) return MIEN_OK;
  MIEN_TRY(pass_slice(r, x, used, axes, starts, ends, steps, &z));
  return h->replace(r, y, z);
}

static const char *const gather_patterns[] = {"Gather(x, #i)", NULL};
static const char *const split_patterns[] = {"Split(x, ...)", NULL};
static const char *const pool_patterns[] = {"MaxPool|AveragePool(x)", NULL};
static const char *const resize_patterns[] = {"Resize(x, ...)", NULL};

const mien_rewrite mien_pass_slice[] = {{.name = "gather-to-slice",
                                         .doc = "Gather of one constant index or of a run of them -> Slice",
                                         .stage = MIEN_STAGE_CANONICALISE,
                                         .patterns = gather_patterns,
                                         .apply = gather_to_slice},
                                        {.name = "split-to-slices",
                                         .doc = "Split -> a Slice for each part",
                                         .stage = MIEN_STAGE_CANONICALISE,
                                         .patterns = split_patterns,
                                         .apply = split_to_slices},
                                        {.name = "pool-to-slice",
                                         .doc = "a pool with a window of one element -> Slice with steps",
                                         .stage = MIEN_STAGE_CANONICALISE,
                                         .patterns = pool_patterns,
                                         .apply = pool_to_slice},
                                        {.name = "resize-to-slice",
                                         .doc = "nearest-neighbour Resize to a whole fraction -> Slice with steps",
                                         .stage = MIEN_STAGE_CANONICALISE,
                                         .patterns = resize_patterns,
                                         .apply = resize_to_slice},
                                        {.name = NULL}};
