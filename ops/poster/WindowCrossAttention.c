/* WindowCrossAttention: tokens of one map attend with queries of another one.  poster 1.
**   K = X WK + BK, V = X WV + BV, A = softmax(scale * Q K^T + B) V, Y = R + G * (A WP + BP)
** X [b, n, C] (normalised); Q [b, nq, heads * d] or [b, heads, nq, d], used as it is; WK [C, heads * d]; WV [C, heads * e]; WP [heads * e, N]; B
** broadcasts to [b, heads, nq, n] (the relative position bias); Y and R [b, nq, N]. G and R are absent or given. */
#include "ops/poster/poster.h"

enum { X, Q, WK, BK, WV, BV, B, WP, BP, G, R, INPUTS };

typedef struct window_state {
  poster_packing packing;
  poster_matrix k, v, proj;
  mien_attention a;
  int64_t blocks;            /* of queries */
  size_t shared, v_at, y_at; /* in the calling thread's scratch: K at `shared`; multiples of 64 bytes */
} window_state;

static mien_status window_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, X)->type, *q = &mien_in(n, Q)->type;
  if (x->rank != 3 || (q->rank != 3 && q->rank != 4))
    return mien_fail(n, MIEN_INVALID_MODEL, "X has rank %d and Q rank %d, expected 3 and 3 or 4", (int)x->rank,
                     (int)q->rank);
  int64_t heads = mien_attr_i(n, "heads"), queries = q->dim[q->rank - 2], columns = q->dim[q->rank - 1];
  if (q->rank == 4 && !poster_same(q->dim[1], heads))
    return mien_fail(n, MIEN_INVALID_MODEL, "Q has %lld heads, expected %lld", (long long)q->dim[1], (long long)heads);
  if (q->rank == 4) columns = mien_dim(n, '*', columns, heads);
  MIEN_TRY(poster_check_matrix(n, "WK", WK, x->dim[2], columns));
  MIEN_TRY(poster_check_vector(n, "BK", BK, columns));
  MIEN_TRY(poster_check_matrix(n, "WV", WV, x->dim[2], -1));
  int64_t width = mien_in(n, WV)->type.dim[1];
  MIEN_TRY(poster_check_vector(n, "BV", BV, width));
  MIEN_TRY(poster_check_matrix(n, "WP", WP, width, -1));
  mien_type y = *x;
  y.dim[1] = queries;
  y.dim[2] = mien_in(n, WP)->type.dim[1];
  MIEN_TRY(poster_check_vector(n, "BP", BP, y.dim[2]));
  MIEN_TRY(poster_check_vector(n, "G", G, y.dim[2]));
  if (heads < 1 || columns < 0 || columns % heads != 0 || width < 0 || width % heads != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "%lld heads do not divide the columns of WK and WV", (long long)heads);
  if (!poster_same(x->dim[0], q->dim[0])) return mien_fail(n, MIEN_INVALID_MODEL, "X and Q are of different batches");
  const mien_tensor *r = mien_in(n, R), *b = mien_in(n, B);
  for (int i = 0; r && i < 3; i++)
    if (r->type.rank != 3 || !poster_same(r->type.dim[i], y.dim[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "R has not the shape of Y");
  if (mien_in(n, G) && !r) return mien_fail(n, MIEN_INVALID_MODEL, "G is given without R");
  const int64_t full[4] = {q->dim[0], heads, queries, x->dim[1]};
  for (int i = 0; b && i < b->type.rank; i++) {
    int at = i + 4 - b->type.rank;
    bool fits = at >= 0 && (poster_same(b->type.dim[i], full[at]) || (b->type.dim[i] == 1 && at < 3));
    if (!fits) return mien_fail(n, MIEN_INVALID_MODEL, "B does not broadcast over rows to [b, heads, nq, n]");
  }
  if (b && b->type.rank < 1) return mien_fail(n, MIEN_INVALID_MODEL, "B has rank 0, expected at least 1");
  return mien_set_type(n, 0, &y);
}

static bool add_floats(size_t *total, int64_t a, int64_t b, int64_t c) {
  size_t bytes = sizeof(float);
  return !__builtin_mul_overflow(bytes, (size_t)a, &bytes) && !__builtin_mul_overflow(bytes, (size_t)b, &bytes) &&
         !__builtin_mul_overflow(bytes, (size_t)c, &bytes) && !__builtin_add_overflow(*total, bytes, total) &&
         !__builtin_add_overflow(*total, 63, total) && (*total &= ~(size_t)63, true);
}

static mien_status window_prepare(mien_node *n) {
  window_state *s = mien_state(n);
  const mien_math *math = mien_math_of(n);
  const mien_type *x = &mien_in(n, X)->type, *q = &mien_in(n, Q)->type;
  MIEN_TRY(poster_pack(n, WK, &s->k));
  MIEN_TRY(poster_pack(n, WV, &s->v));
  MIEN_TRY(poster_pack(n, WP, &s->proj));
  int64_t heads = mien_attr_i(n, "heads"), d = s->k.n / heads, e = s->v.n / heads;
  int64_t queries = q->dim[q->rank - 2];
  s->a = (mien_attention){.batches = x->dim[0],
                          .heads = heads,
                          .queries = queries,
                          .keys = x->dim[1],
                          .depth = d,
                          .value_depth = e,
                          .kv_batch_div = 1,
                          .q_batch_div = 1,
                          .qs = {queries * s->k.n, d, s->k.n},
                          .ks = {x->dim[1] * s->k.n, d, s->k.n},
                          .vs = {x->dim[1] * s->v.n, e, s->v.n},
                          .ys = {queries * s->v.n, e, s->v.n},
                          .scale = (float)mien_attr_f(n, "scale")};
  if (q->rank == 4) {
    s->a.qs.head = queries * d;
    s->a.qs.row = d;
  }
  const mien_tensor *b = mien_in(n, B);
  if (b) {
    int64_t stride = 1, *at[4] = {&s->a.bs.batch, &s->a.bs.head, &s->a.bs.row, NULL};
    for (int i = b->type.rank - 1; i >= 0; i--) {
      int k = i + 4 - b->type.rank;
      if (k < 3) *at[k] = b->type.dim[i] == 1 ? 0 : stride;
      stride *= b->type.dim[i];
    }
  }
  s->blocks = (s->a.queries + math->attention_rows - 1) / math->attention_rows;
  s->shared = (math->attention_scratch(&s->a) + 63) & ~(size_t)63;
  size_t total = s->shared;
  bool fits = add_floats(&total, x->dim[0], x->dim[1], s->k.n);
  s->v_at = total;
  fits = fits && add_floats(&total, x->dim[0], x->dim[1], s->v.n);
  s->y_at = total;
  fits = fits && add_floats(&total, q->dim[0], queries, s->v.n);
  const double tokens = (double)(x->dim[0] * x->dim[1]), rows = (double)(q->dim[0] * queries);
  mien_note(n,
            poster_flops(tokens, &s->k) + poster_flops(tokens, &s->v) + poster_flops(rows, &s->proj) +
                2.0 * rows * (double)heads * (double)x->dim[1] * (double)(d + e),
            "gemm and attention by rows");
  return fits ? mien_scratch(n, total) : mien_fail(n, MIEN_LIMIT, "too many tokens");
}

static mien_status window_attend(mien_node *n, void *arg, int64_t begin, int64_t end) {
  mien_math_of(n)->attention(arg, begin, end, mien_scratch_of(n));
  return MIEN_OK;
}

static mien_status window_run(mien_node *n, int64_t begin, int64_t end) {
  const window_state *s = mien_state(n);
  const float *x = mien_in(n, X)->data;
  char *memory = mien_scratch_of(n);
  float *k = (float *)(void *)(memory + s->shared), *v = (float *)(void *)(memory + s->v_at);
  float *y = (float *)(void *)(memory + s->y_at);
  mien_attention a = s->a;
  int64_t tokens = a.batches * a.keys;
  mien_epilogue ek = {.bias = poster_data(n, BK)}, ev = {.bias = poster_data(n, BV)};
  mien_epilogue ep = {.bias = poster_data(n, BP),
                      .scale = poster_data(n, G),
                      .residual = poster_data(n, R),
                      .residual_stride = s->proj.n};
  (void)begin, (void)end;
  MIEN_TRY(poster_multiply(n, tokens, x, &s->k, k, &ek));
  MIEN_TRY(poster_multiply(n, tokens, x, &s->v, v, &ev));
  a.q = mien_in(n, Q)->data;
  a.k = k;
  a.v = v;
  a.bias = poster_data(n, B);
  a.y = y;
  double cost = (double)mien_math_of(n)->attention_rows * (double)a.keys * (double)(a.depth + a.value_depth + 8) / 25;
  MIEN_TRY(mien_parallel(n, a.batches * a.heads * s->blocks, cost, window_attend, &a));
  return poster_multiply(n, a.batches * a.queries, y, &s->proj, mien_out(n, 0)->data, &ep);
}

static mien_status window_decompose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = h->bound(r, "0"), q = h->bound(r, "1"), k, v, y, b = h->bound(r, "6");
  MIEN_TRY(poster_add_linear(r, x, h->bound(r, "2"), h->bound(r, "3"), "", &k));
  MIEN_TRY(poster_add_linear(r, x, h->bound(r, "4"), h->bound(r, "5"), "", &v));
  MIEN_TRY(h->begin(r, "mien.Attention", (mien_value[]){q, k, v, b}, b == MIEN_NO_VALUE ? 3 : 4));
  MIEN_TRY(h->set_i(r, "heads", h->attr_i(r, root, "heads")));
  MIEN_TRY(h->set_i(r, "y_rank", 3));
  MIEN_TRY(h->set_f(r, "scale", h->attr_f(r, root, "scale")));
  MIEN_TRY(h->end(r, &y, 1));
  mien_value in[6] = {y, h->bound(r, "7"), h->bound(r, "8"), MIEN_NO_VALUE, h->bound(r, "9"), h->bound(r, "10")};
  int count = 6;
  while (in[count - 1] == MIEN_NO_VALUE) count--;
  MIEN_TRY(h->begin(r, "mien.Linear", in, count));
  MIEN_TRY(h->end(r, &y, 1));
  return h->replace(r, h->out(r, root, 0), y);
}

static const mien_kernel window_kernels[] = {{MIEN_F32, window_run}, {MIEN_NONE, NULL}};
static const mien_attr window_attrs[] = {
    {.name = "heads", .kind = 'i', .required = true}, {.name = "scale", .kind = 'f', .required = true}, {.name = NULL}};

extern const mien_op mien_poster_WindowCrossAttention[];
const mien_op mien_poster_WindowCrossAttention[] = {
    {.domain = "poster",
     .name = "WindowCrossAttention",
     .since = 1,
     .signature = "X:T, Q:T, WK:T, BK:T?, WV:T, BV:T?, B:T?, WP:T, BP:T?, G:T?, R:T? -> Y:T",
     .attrs = window_attrs,
     .kernels = window_kernels,
     .state = sizeof(window_state),
     .infer = window_infer,
     .prepare = window_prepare,
     .flags = MIEN_OP_SERIAL | MIEN_OP_FLUSH,
     .decompose = window_decompose,
     .doc = "attention of one map's tokens with another map's queries, in windows, and its projection"},
    {.name = NULL}};

/* ---------------------------------------------------------------- rewrite */

static bool is_f32(const mien_rewriter *r, mien_value v, int least, int most) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, v);
  return t->dtype == MIEN_F32 && t->rank >= least && t->rank <= most && !t->nest[0];
}

/* The bias rows are whole: the kernel reads `keys` elements of each. */
static bool bias_fits(const mien_rewriter *r, mien_value bias, int64_t keys) {
  const mien_type *t = mien_rewrite_host_of(r)->type(r, bias);
  return t->rank >= 1 && t->rank <= 4 && t->dim[t->rank - 1] == keys;
}

static mien_status find_window(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r), attention = h->producer(r, h->bound(r, "a"));
  mien_value a = h->bound(r, "a"), q = h->bound(r, "q"), bias = h->bound(r, "bias"), y = h->out(r, root, 0), z;
  poster_linear k, v;
  if (!poster_linear_of(r, h->producer(r, h->bound(r, "k")), "", &k) ||
      !poster_linear_of(r, h->producer(r, h->bound(r, "v")), "", &v))
    return MIEN_OK;
  if (!poster_is_single(r, a) || !poster_is_single(r, k.y) || !poster_is_single(r, v.y) || k.x != v.x) return MIEN_OK;
  if (poster_in(r, k.node, 4) != MIEN_NO_VALUE || poster_in(r, k.node, 5) != MIEN_NO_VALUE ||
      poster_in(r, v.node, 4) != MIEN_NO_VALUE || poster_in(r, v.node, 5) != MIEN_NO_VALUE)
    return MIEN_OK;
  if (h->attr_i(r, attention, "y_rank") != 3 || !is_f32(r, k.x, 3, 3) || !is_f32(r, q, 3, 4)) return MIEN_OK;
  if (!bias_fits(r, bias, h->type(r, k.x)->dim[1])) return MIEN_OK;
  /* Self-attention projects its queries from the same tokens. */
  mien_node_id from = h->producer(r, q);
  if (from != MIEN_NO_NODE && strcmp(h->op_name(r, from), "mien.Linear") == 0 && poster_in(r, from, 0) == k.x)
    return MIEN_OK;
  poster_linear proj = {
      root, poster_in(r, root, 0), poster_in(r, root, 1), poster_in(r, root, 2), y, h->attr_i(r, root, "trans_w") != 0};
  if (*h->attr_s(r, root, "activation") || poster_in(r, root, 3) != MIEN_NO_VALUE || !h->constant(r, proj.w))
    return MIEN_OK;
  mien_value in[INPUTS] = {k.x,
                           q,
                           MIEN_NO_VALUE,
                           k.b,
                           MIEN_NO_VALUE,
                           v.b,
                           bias,
                           MIEN_NO_VALUE,
                           proj.b,
                           poster_in(r, root, 4),
                           poster_in(r, root, 5)};
  if (in[G] != MIEN_NO_VALUE && in[R] == MIEN_NO_VALUE) return MIEN_OK;
  MIEN_TRY(poster_weights(r, &k, &in[WK]));
  MIEN_TRY(poster_weights(r, &v, &in[WV]));
  MIEN_TRY(poster_weights(r, &proj, &in[WP]));
  int count = INPUTS;
  while (in[count - 1] == MIEN_NO_VALUE) count--;
  MIEN_TRY(h->begin(r, "poster.WindowCrossAttention", in, count));
  MIEN_TRY(h->set_i(r, "heads", h->attr_i(r, attention, "heads")));
  MIEN_TRY(h->set_f(r, "scale", h->attr_f(r, attention, "scale")));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static const char *const window_patterns[] = {
    "mien.Linear(a:mien.Attention(q, k:mien.Linear(x, ...), v:mien.Linear(x, ...), bias), ...)", NULL};
extern const mien_rewrite mien_poster_window_rewrite;
const mien_rewrite mien_poster_window_rewrite = {
    .name = "poster-window-cross-attention",
    .doc = "projections of keys and values, attention with a bias, projection -> poster.WindowCrossAttention",
    .stage = MIEN_STAGE_PLUGIN,
    .patterns = window_patterns,
    .apply = find_window};
