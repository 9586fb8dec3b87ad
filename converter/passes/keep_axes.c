/* A reduction that drops its axes, and the Reshape that puts them back. */
#include "pass.h"

/* The axes that n reduces, as flags; false when they are not known. */
static bool reduced_axes(mien_rewriter *r, mien_node_id n, int rank, bool *reduced) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  bool as_input = h->since(r, n) >= (pass_is_op(r, n, "ReduceSum") ? 13 : 18);
  int64_t count = 0;
  const int64_t *axes = NULL;
  if (!as_input) {
    axes = h->attr_ints(r, n, "axes", &count);
  } else if (pass_in(r, n, 1) != MIEN_NO_VALUE) {
    axes = pass_numbers(r, pass_in(r, n, 1), &count);
    if (!axes) return false;
  }
  if (count == 0) return false; /* all of them or none, as an attribute says */
  for (int i = 0; i < rank; i++) reduced[i] = false;
  for (int64_t i = 0; i < count; i++) {
    int axis = pass_axis(axes[i], rank);
    if (axis < 0) return false;
    reduced[axis] = true;
  }
  return true;
}

static mien_status keep_axes(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value v = h->bound(r, "v"), y = pass_root_out(r), z;
  mien_node_id n = h->producer(r, v);
  mien_value in[2] = {pass_in(r, n, 0), pass_in(r, n, 1)};
  const mien_type *t = h->type(r, in[0]), *ty = h->type(r, y);
  bool reduced[MIEN_MAX_RANK];
  if (!pass_is_single(r, v) || h->attr_i(r, n, "keepdims") || !pass_is_known(t) || t->rank != ty->rank ||
      !reduced_axes(r, n, t->rank, reduced))
    return MIEN_OK;
  for (int i = 0; i < t->rank; i++)
    if (reduced[i] ? ty->dim[i] != 1 : !pass_same_dim(ty->dim[i], t->dim[i])) return MIEN_OK;
  MIEN_TRY(h->begin_at(r, h->op_name(r, n), h->since(r, n), in, h->in_count(r, n) > 1 ? 2 : 1));
  MIEN_TRY(h->copy_attrs(r, n));
  MIEN_TRY(h->set_i(r, "keepdims", 1));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static const char *const keep_patterns[] = {"Reshape(v:ReduceMean|ReduceSum|ReduceMax|ReduceMin|ReduceProd(...), _)",
                                            NULL};

const mien_rewrite mien_pass_keep_axes[] = {{.name = "keep-axes",
                                             .doc = "a reduction whose axes a Reshape puts back -> with keepdims",
                                             .stage = MIEN_STAGE_CANONICALISE,
                                             .after = "constant-shape",
                                             .patterns = keep_patterns,
                                             .apply = keep_axes},
                                            {.name = NULL}};
