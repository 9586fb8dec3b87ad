/* A constant row put before a value, and a constant added to both: the row can be added with the rest. Saves spelling out the
** batch of the row, which takes shape arithmetic where the batch is open. */
#include "pass.h"

static mien_status pad_rows(mien_rewriter *r, mien_value v, int axis, int64_t before, int64_t after, mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int64_t pads[2 * MIEN_MAX_RANK] = {0};
  int rank = pass_rank(r, v);
  pads[axis] = before;
  pads[rank + axis] = after;
  mien_value in[2] = {v, MIEN_NO_VALUE};
  MIEN_TRY(pass_ints(r, pads, 2 * rank, &in[1]));
  MIEN_TRY(h->begin_at(r, "Pad", 13, in, 2));
  return h->end(r, out, 1);
}

static mien_status add_token(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value cat = h->bound(r, "cat"), p = h->bound(r, "p"), y = pass_root_out(r);
  if (!pass_is_single(r, cat) || !pass_is_f32(r, p)) return MIEN_OK;
  mien_node_id n = h->producer(r, cat);
  const mien_type *t = h->type(r, y), *tp = h->type(r, p);
  int axis = pass_axis(h->attr_i(r, n, "axis"), t->rank);
  if (axis < 0 || !pass_same_type(t, h->type(r, cat)) || tp->rank != t->rank) return MIEN_OK;
  int row = -1;
  mien_value in[2] = {pass_in(r, n, 0), pass_in(r, n, 1)}, c = MIEN_NO_VALUE;
  for (int i = 0; i < 2 && row < 0; i++) {
    mien_node_id expand = pass_made_by(r, in[i], "Expand");
    c = expand == MIEN_NO_NODE ? in[i] : pass_in(r, expand, 0);
    if (pass_is_f32(r, c) && pass_is_constant(r, c) && !pass_is_constant(r, in[1 - i])) row = i;
  }
  if (row < 0) return MIEN_OK;
  mien_value x = in[1 - row];
  const mien_type *tx = h->type(r, x), *tc = h->type(r, c);
  int64_t rows = h->type(r, in[row])->dim[axis], others = tx->dim[axis];
  if (tc->rank != t->rank || tc->dim[axis] != rows || rows < 1 || others < 1 || tp->dim[axis] != rows + others)
    return MIEN_OK;
  /* x padded has the result's shape, so that c and p need not say the open sizes. */
  for (int i = 0; i < t->rank; i++)
    if (i != axis && !pass_same_dim(tx->dim[i], t->dim[i])) return MIEN_OK;
  mien_value z;
  MIEN_TRY(pad_rows(r, c, axis, row ? others : 0, row ? 0 : others, &c));
  MIEN_TRY(PASS_ADD(r, "Add", &p, p, c));
  MIEN_TRY(pad_rows(r, x, axis, row ? 0 : rows, row ? rows : 0, &x));
  MIEN_TRY(PASS_ADD(r, "Add", &z, x, p));
  return h->replace(r, y, z);
}

static const char *const token_patterns[] = {"Add(cat:Concat(_, _), #p)", NULL};

const mien_rewrite mien_pass_class_token[] = {{.name = "add-token",
                                               .doc = "Concat(constant row, x) + p -> Pad(x) + (p + row)",
                                               .stage = MIEN_STAGE_CANONICALISE,
                                               .after = "constant-expand shorten-shape",
                                               .patterns = token_patterns,
                                               .apply = add_token},
                                              {.name = NULL}};
