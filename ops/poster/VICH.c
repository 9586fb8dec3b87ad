/* VICH: the variational head. Mu = X WM + BM, Logvar = X WV + BV.  poster 1.
** X [..., K]; WM, WV [K, classes]. Both halves of the distribution over logits are outputs; sampling is the session's. */
#include "ops/poster/poster.h"

enum { X, WM, BM, WV, BV };

typedef struct vich_state {
  poster_packing packing;
  poster_matrix mu, logvar;
} vich_state;

static mien_status vich_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, X)->type;
  if (x->rank < 1) return mien_fail(n, MIEN_INVALID_MODEL, "X has rank %d, expected at least 1", (int)x->rank);
  for (int i = 0; i < 2; i++) {
    int w = i ? WV : WM, b = i ? BV : BM;
    MIEN_TRY(poster_check_matrix(n, i ? "WV" : "WM", w, x->dim[x->rank - 1], -1));
    mien_type y = *x;
    y.dim[y.rank - 1] = mien_in(n, w)->type.dim[1];
    MIEN_TRY(poster_check_vector(n, i ? "BV" : "BM", b, y.dim[y.rank - 1]));
    MIEN_TRY(mien_set_type(n, i, &y));
  }
  return MIEN_OK;
}

static mien_status vich_prepare(mien_node *n) {
  vich_state *s = mien_state(n);
  const double rows = (double)poster_rows(&mien_in(n, X)->type);
  MIEN_TRY(poster_pack(n, WM, &s->mu));
  MIEN_TRY(poster_pack(n, WV, &s->logvar));
  mien_note(n, poster_flops(rows, &s->mu) + poster_flops(rows, &s->logvar), "gemm");
  return MIEN_OK;
}

static mien_status vich_run(mien_node *n, int64_t begin, int64_t end) {
  const vich_state *s = mien_state(n);
  const mien_tensor *x = mien_in(n, X);
  mien_epilogue mu = {.bias = poster_data(n, BM)}, logvar = {.bias = poster_data(n, BV)};
  (void)begin, (void)end;
  if (mien_out(n, 0)) MIEN_TRY(poster_multiply(n, poster_rows(&x->type), x->data, &s->mu, mien_out(n, 0)->data, &mu));
  if (!mien_out(n, 1)) return MIEN_OK;
  return poster_multiply(n, poster_rows(&x->type), x->data, &s->logvar, mien_out(n, 1)->data, &logvar);
}

static mien_status vich_decompose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = h->bound(r, "0"), mu, logvar;
  MIEN_TRY(poster_add_linear(r, x, h->bound(r, "1"), h->bound(r, "2"), "", &mu));
  MIEN_TRY(poster_add_linear(r, x, h->bound(r, "3"), h->bound(r, "4"), "", &logvar));
  if (h->out(r, root, 0) != MIEN_NO_VALUE) MIEN_TRY(h->replace(r, h->out(r, root, 0), mu));
  return h->out(r, root, 1) == MIEN_NO_VALUE ? MIEN_OK : h->replace(r, h->out(r, root, 1), logvar);
}

static const mien_kernel vich_kernels[] = {{MIEN_F32, vich_run}, {MIEN_NONE, NULL}};

extern const mien_op mien_poster_VICH[];
const mien_op mien_poster_VICH[] = {{.domain = "poster",
                                     .name = "VICH",
                                     .since = 1,
                                     .signature = "X:T, WM:T, BM:T?, WV:T, BV:T? -> Mu:T, Logvar:T",
                                     .kernels = vich_kernels,
                                     .state = sizeof(vich_state),
                                     .infer = vich_infer,
                                     .prepare = vich_prepare,
                                     .flags = MIEN_OP_SERIAL | MIEN_OP_FLUSH,
                                     .decompose = vich_decompose,
                                     .doc = "mean and logarithm of the variance of the class logits"},
                                    {.name = NULL}};

/* ---------------------------------------------------------------- rewrite */

/* "logvar", "log_var", "head.LogVar_0". */
static bool says_logvar(const char *name) {
  static const char wanted[] = "logvar";
  size_t have = 0;
  for (; *name; name++) {
    char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
    if (c == '_') continue;
    have = c == wanted[have] ? have + 1 : c == wanted[0];
    if (have == sizeof wanted - 1) return true;
  }
  return false;
}

/* The root is the head of logvar; the other output of the model over the same x is mu. */
static mien_status find_vich(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  poster_linear logvar, mu;
  if (!poster_linear_of(r, h->root(r), "", &logvar) || !h->is_output(r, logvar.y)) return MIEN_OK;
  if (!says_logvar(h->name(r, logvar.y))) return MIEN_OK;
  mien_node_id other = MIEN_NO_NODE;
  for (int i = 0; i < 64; i++) {
    mien_node_id n = h->user(r, logvar.x, i);
    if (n == MIEN_NO_NODE) break;
    if (n == logvar.node || !poster_linear_of(r, n, "", &mu) || mu.x != logvar.x || !h->is_output(r, mu.y)) continue;
    if (other != MIEN_NO_NODE) return MIEN_OK; /* which of them? */
    other = n;
  }
  if (other == MIEN_NO_NODE || !poster_linear_of(r, other, "", &mu) || says_logvar(h->name(r, mu.y))) return MIEN_OK;
  const mien_type *a = h->type(r, mu.y), *b = h->type(r, logvar.y);
  if (a->rank != b->rank || a->dim[a->rank - 1] != b->dim[b->rank - 1]) return MIEN_OK;
  mien_value in[5] = {mu.x, MIEN_NO_VALUE, mu.b, MIEN_NO_VALUE, logvar.b}, out[2];
  MIEN_TRY(poster_weights(r, &mu, &in[WM]));
  MIEN_TRY(poster_weights(r, &logvar, &in[WV]));
  MIEN_TRY(h->begin(r, "poster.VICH", in, logvar.b == MIEN_NO_VALUE ? 4 : 5));
  MIEN_TRY(h->end(r, out, 2));
  MIEN_TRY(h->replace(r, mu.y, out[0]));
  return h->replace(r, logvar.y, out[1]);
}

static const char *const vich_patterns[] = {"mien.Linear(...)", NULL};
extern const mien_rewrite mien_poster_vich_rewrite;
const mien_rewrite mien_poster_vich_rewrite = {.name = "poster-vich",
                                               .doc = "two linear heads, outputs mu and logvar -> poster.VICH",
                                               .stage = MIEN_STAGE_PLUGIN,
                                               .patterns = vich_patterns,
                                               .apply = find_vich};
