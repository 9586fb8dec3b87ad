/* Shapes that inference has found out replace the arithmetic that computes them. */
#include "pass.h"

/* A Reshape that is told its sizes in the one way in which pass_reshape tells them. */
static bool is_told(mien_rewriter *r, mien_node_id n, const int64_t *spec, int rank) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (!pass_is_op(r, n, "Reshape") || !pass_is_constant(r, pass_in(r, n, 1))) return false;
  if (h->since(r, n) >= 14 && h->has_attr(r, n, "allowzero")) return false;
  int64_t count = 0;
  const int64_t *told = pass_numbers(r, pass_in(r, n, 1), &count);
  return told && count == rank && memcmp(told, spec, (size_t)count * sizeof *spec) == 0;
}

/* Squeeze, Unsqueeze and Flatten are Reshapes; a Reshape whose target is computed has it as a constant instead. */
static mien_status constant_shape(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = pass_in(r, root, 0), y = pass_root_out(r), z;
  if (x == MIEN_NO_VALUE || y == MIEN_NO_VALUE) return MIEN_OK;
  const mien_type *t = h->type(r, y), *from = h->type(r, x);
  int64_t spec[MIEN_MAX_RANK];
  if (!pass_is_known(t) || !pass_is_known(from) || !pass_reshape_spec(from, t->dim, t->rank, spec)) return MIEN_OK;
  if (is_told(r, root, spec, t->rank)) return MIEN_OK;
  MIEN_TRY(pass_reshape(r, x, t->dim, t->rank, &z));
  return h->replace(r, y, z);
}

/* Expand to a shape that is known but for sizes its input has already: Expand is told 1 there. */
static mien_status constant_expand(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = h->bound(r, "x"), shape = h->bound(r, "shape"), y = pass_root_out(r), target, z;
  if (y == MIEN_NO_VALUE || pass_is_constant(r, shape) || h->since(r, root) < 8) return MIEN_OK;
  const mien_type *t = h->type(r, y), *from = h->type(r, x);
  if (!pass_is_known(t) || !pass_is_known(from)) return MIEN_OK;
  int64_t dim[MIEN_MAX_RANK];
  for (int i = 0; i < t->rank; i++) {
    dim[i] = t->dim[i];
    int k = i - (t->rank - from->rank);
    if (k >= 0 && pass_same_dim(from->dim[k], t->dim[i])) dim[i] = 1;
    if (mien_is_symbol(dim[i])) return MIEN_OK;
  }
  MIEN_TRY(pass_ints(r, dim, t->rank, &target));
  MIEN_TRY(PASS_ADD(r, "Expand", &z, x, target));
  return h->replace(r, y, z);
}

/* Where a size was read from first: follows the main input back while the size is to be seen. */
static mien_value size_source(mien_rewriter *r, mien_value v, int64_t size) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value best = MIEN_NO_VALUE;
  for (int step = 0; step < 256 && v != MIEN_NO_VALUE; step++) {
    const mien_type *t = h->type(r, v);
    bool seen = false;
    for (int i = 0; i < t->rank; i++) seen |= pass_same_dim(t->dim[i], size);
    if (seen) best = v;
    mien_node_id n = h->producer(r, v);
    if (n == MIEN_NO_NODE) break;
    v = pass_in(r, n, 0);
  }
  return best;
}

/* A computed list of sizes of which one is open -> Concat of that one, read straight from the value it belongs to, with numbers. */
static mien_status shorten_shape(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value y = pass_root_out(r), z, in[3];
  if (y == MIEN_NO_VALUE || pass_is_constant(r, y)) return MIEN_OK;
  const mien_type *t = h->type(r, y);
  int64_t count = 0;
  const int64_t *sizes = t->rank == 1 && t->dtype == MIEN_I64 ? h->ints(r, y, &count) : NULL;
  if (!sizes || count > MIEN_MAX_RANK || count < 1) return MIEN_OK;
  int64_t at = -1, copy[MIEN_MAX_RANK];
  for (int64_t i = 0; i < count; i++) {
    copy[i] = sizes[i];
    if (!mien_is_symbol(sizes[i])) continue;
    if (at >= 0 || sizes[i] == INT64_MIN) return MIEN_OK;
    at = i;
  }
  if (at < 0) return MIEN_OK;
  mien_value source = size_source(r, pass_in(r, h->root(r), 0), copy[at]);
  if (source == MIEN_NO_VALUE) return MIEN_OK;
  const mien_type *from = h->type(r, source);
  int axis = 0;
  while (!pass_same_dim(from->dim[axis], copy[at])) axis++;
  int parts = 0;
  if (at > 0) MIEN_TRY(pass_ints(r, copy, at, &in[parts++]));
  MIEN_TRY(h->begin_at(r, "Shape", 15, &source, 1));
  MIEN_TRY(h->set_i(r, "start", axis));
  MIEN_TRY(h->set_i(r, "end", axis + 1));
  MIEN_TRY(h->end(r, &in[parts++], 1));
  if (at + 1 < count) MIEN_TRY(pass_ints(r, copy + at + 1, count - at - 1, &in[parts++]));
  z = in[0];
  if (parts > 1) {
    MIEN_TRY(h->begin(r, "Concat", in, parts));
    MIEN_TRY(h->set_i(r, "axis", 0));
    MIEN_TRY(h->end(r, &z, 1));
  }
  return h->replace(r, y, z);
}

/* Where is the last step of what exporters write for `expand(-1)`; the others of a chain follow from their readers. */
static const char *const shape_patterns[] = {"Reshape(x, shape)", "Squeeze|Unsqueeze|Flatten(x, ...)", NULL};
static const char *const expand_patterns[] = {"Expand(x, shape)", NULL};
static const char *const shorten_patterns[] = {"Where(c, x, y)", NULL};

const mien_rewrite mien_pass_shape[] = {
    {.name = "constant-shape",
     .doc = "Reshape to a computed shape, Squeeze, Unsqueeze, Flatten -> Reshape to a constant shape",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "remove-no-op",
     .patterns = shape_patterns,
     .apply = constant_shape},
    {.name = "constant-expand",
     .doc = "Expand to a computed shape that is known where it matters -> Expand to a constant shape",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "remove-no-op",
     .patterns = expand_patterns,
     .apply = constant_expand},
    {.name = "shorten-shape",
     .doc = "arithmetic that ends in a list of sizes with one open size -> Concat(Shape(x), numbers)",
     .stage = MIEN_STAGE_CANONICALISE,
     .after = "constant-shape",
     .patterns = shorten_patterns,
     .apply = shorten_shape},
    {.name = NULL}};
