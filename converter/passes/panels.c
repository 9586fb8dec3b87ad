/* Weights of products into panels, the order in which kernels read them (ops/panels.h): what is mapped is then used as it lies. */
#include "pass.h"

enum { COLUMNS = 32 }; /* what the kernels want whose panels are widest; others pack panels as well as a matrix */

/* Whether node n takes w as its weights, and they can be in panels. */
static bool takes_panels(mien_rewriter *r, mien_node_id n, mien_value w) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  pass_product p;
  if (!pass_product_of(r, n, &p) || p.in[PASS_W] != w) return false;
  for (int i = 0; i < h->in_count(r, n); i++)
    if (i != PASS_W && h->in(r, n, i) == w) return false;
  const mien_type *t = h->type(r, w);
  const int rank = p.conv ? pass_rank(r, p.in[PASS_X]) : 2;
  if (t->rank != rank || (p.conv && h->attr_i(r, n, "group") != 1)) return false;
  return t->dim[p.conv || h->attr_i(r, n, "trans_w") ? 0 : 1] % COLUMNS == 0 && mien_count(t) > 0;
}

static mien_status weights_to_panels(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value w = h->bound(r, "w"), z;
  mien_node_id root = h->root(r);
  if (!pass_is_f32(r, w) || h->is_output(r, w) || !takes_panels(r, root, w)) return MIEN_OK;
  for (int i = 0; i < h->uses(r, w); i++) /* else it would be stored twice */
    if (!takes_panels(r, h->user(r, w, i), w)) return MIEN_OK;
  const mien_type *t = h->type(r, w);
  const bool conv = pass_is_op(r, root, "mien.Conv"), first = conv || h->attr_i(r, root, "trans_w");
  const int rank = t->rank + 1, from = first ? 2 : 0; /* the other axes stand behind or in front of the columns */
  int64_t dim[MIEN_MAX_RANK], perm[MIEN_MAX_RANK];
  pass_product p;
  if (rank > MIEN_MAX_RANK || !pass_product_of(r, root, &p)) return MIEN_OK;
  dim[first ? 0 : 1] = p.channels / COLUMNS;
  dim[first ? 1 : 2] = COLUMNS;
  for (int i = 0; i < rank - 2; i++) dim[from + i] = t->dim[first ? i + 1 : i];
  perm[0] = first ? 0 : 1;
  perm[rank - 1] = first ? 1 : 2;
  for (int i = 1; i < rank - 2; i++) perm[i] = from + i; /* a convolution's window, then its channels */
  perm[rank - 2] = from;
  MIEN_TRY(pass_reshape(r, w, dim, rank, &p.in[PASS_W]));
  MIEN_TRY(pass_transpose(r, p.in[PASS_W], perm, rank, &p.in[PASS_W]));
  int count = h->in_count(r, root);
  MIEN_TRY(h->begin(r, conv ? "mien.Conv" : "mien.Linear", p.in, count));
  MIEN_TRY(h->copy_attrs(r, root));
  if (!conv) MIEN_TRY(h->set_i(r, "trans_w", 0));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, p.y, z);
}

static const char *const panel_patterns[] = {"mien.Linear|mien.Conv(x, #w, ...)", NULL};

const mien_rewrite mien_pass_panels[] = {{.name = "weights-to-panels",
                                          .doc = "weights of products -> in the order in which kernels read them",
                                          .stage = MIEN_STAGE_FINISH,
                                          .after = "merge-duplicates-last attention-heads fuse-bias-late "
                                                   "fuse-activation-late fuse-residual-late store-weights-bf16 "
                                                   "store-weights-int16 store-weights-fp16",
                                          .patterns = panel_patterns,
                                          .apply = weights_to_panels},
                                         {.name = NULL}};
