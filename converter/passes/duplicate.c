/* Nodes that compute what another one computes already. */
#include "pass.h"

enum { MAX_READERS = 64, MAX_BYTES = 4096 };

/* The same value, or two small constants with the same bytes. */
static bool same_value(mien_rewriter *r, mien_value a, mien_value b) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (a == b) return true;
  if (a == MIEN_NO_VALUE || b == MIEN_NO_VALUE) return false;
  const mien_tensor *x = h->constant(r, a), *y = h->constant(r, b);
  if (!x || !y || x->type.nest[0] || x->type.dtype == MIEN_STRING || !pass_same_type(&x->type, &y->type)) return false;
  size_t bytes = (size_t)mien_count(&x->type) * mien_dtype_bytes(x->type.dtype);
  return bytes <= MAX_BYTES && (bytes == 0 || (x->data && y->data && memcmp(x->data, y->data, bytes) == 0));
}

static bool same_node(mien_rewriter *r, mien_node_id a, mien_node_id b) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (a == b || !h->same(r, a, b) || h->in_count(r, a) != h->in_count(r, b) || h->out_count(r, a) != h->out_count(r, b))
    return false;
  for (int i = 0; i < h->in_count(r, a); i++)
    if (!same_value(r, h->in(r, a, i), h->in(r, b, i))) return false;
  for (int i = 0; i < h->out_count(r, a); i++) {
    mien_value x = h->out(r, a, i), y = h->out(r, b, i);
    if ((x == MIEN_NO_VALUE) != (y == MIEN_NO_VALUE)) return false;
    if (x != MIEN_NO_VALUE && !pass_same_type(h->type(r, x), h->type(r, y))) return false;
  }
  return true;
}

static mien_status merge_duplicates(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value shared = MIEN_NO_VALUE;
  for (int i = 0; i < h->in_count(r, root); i++) {
    mien_value v = h->in(r, root, i);
    if (v == MIEN_NO_VALUE || h->constant(r, v)) continue;
    if (shared == MIEN_NO_VALUE || h->uses(r, v) < h->uses(r, shared)) shared = v;
  }
  if (shared == MIEN_NO_VALUE) return MIEN_OK;
  for (int i = 0; i < MAX_READERS; i++) {
    mien_node_id other = h->user(r, shared, i);
    if (other == MIEN_NO_NODE) break;
    if (other > root || !same_node(r, root, other)) continue;
    for (int k = 0; k < h->out_count(r, root); k++)
      if (h->out(r, root, k) != MIEN_NO_VALUE) MIEN_TRY(h->replace(r, h->out(r, root, k), h->out(r, other, k)));
    return MIEN_OK;
  }
  return MIEN_OK;
}

static const char *const any_patterns[] = {"*(...)", NULL};

const mien_rewrite mien_pass_duplicate[] = {{.name = "merge-duplicates",
                                             .doc = "two nodes of one operator, attributes and inputs -> one",
                                             .stage = MIEN_STAGE_CANONICALISE,
                                             .after = "add-token fuse-bias fuse-gelu fuse-layer-norm-affine",
                                             .patterns = any_patterns,
                                             .apply = merge_duplicates},
                                            {.name = "merge-duplicates-fused",
                                             .doc = "merge-duplicates between products that came apart",
                                             .stage = MIEN_STAGE_FUSE,
                                             .after = "split-linear",
                                             .patterns = any_patterns,
                                             .apply = merge_duplicates},
                                            {.name = "merge-duplicates-sunk",
                                             .doc = "merge-duplicates between slices that move",
                                             .stage = MIEN_STAGE_SINK,
                                             .patterns = any_patterns,
                                             .apply = merge_duplicates},
                                            {.name = "merge-duplicates-last",
                                             .doc = "merge-duplicates once more at the end",
                                             .stage = MIEN_STAGE_FINISH,
                                             .patterns = any_patterns,
                                             .apply = merge_duplicates},
                                            {.name = NULL}};
