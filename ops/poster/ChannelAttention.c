/* ChannelAttention: Y = X * sigmoid(relu(X W1 + B1) W2 + B2).  poster 1.
** X, Y [..., C]; W1 [C, H]; W2 [H, C]. Squeeze-and-excitation of a value that is one vector an item already. */
#include "ops/poster/poster.h"

enum { X, W1, B1, W2, B2 };

typedef struct gate_state {
  poster_packing packing;
  poster_matrix in, out;
  int64_t rows;
} gate_state;

static mien_status gate_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, X)->type;
  if (x->rank < 1) return mien_fail(n, MIEN_INVALID_MODEL, "X has rank %d, expected at least 1", (int)x->rank);
  int64_t channels = x->dim[x->rank - 1];
  MIEN_TRY(poster_check_matrix(n, "W1", W1, channels, -1));
  int64_t hidden = mien_in(n, W1)->type.dim[1];
  MIEN_TRY(poster_check_vector(n, "B1", B1, hidden));
  MIEN_TRY(poster_check_matrix(n, "W2", W2, hidden, channels));
  MIEN_TRY(poster_check_vector(n, "B2", B2, channels));
  return mien_infer_same(n);
}

static mien_status gate_prepare(mien_node *n) {
  gate_state *s = mien_state(n);
  s->rows = poster_rows(&mien_in(n, X)->type);
  MIEN_TRY(poster_pack(n, W1, &s->in));
  MIEN_TRY(poster_pack(n, W2, &s->out));
  size_t bytes;
  if (__builtin_mul_overflow((size_t)s->rows, (size_t)s->in.n * sizeof(float), &bytes))
    return mien_fail(n, MIEN_LIMIT, "too many rows");
  mien_note(n, poster_flops((double)s->rows, &s->in) + poster_flops((double)s->rows, &s->out), "gemm");
  return mien_scratch(n, bytes);
}

typedef struct gate_scale {
  const float *x;
  float *y;
} gate_scale;

static mien_status gate_multiply(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const gate_scale *g = arg;
  (void)n;
  for (int64_t i = begin; i < end; i++) g->y[i] *= g->x[i];
  return MIEN_OK;
}

static mien_status gate_run(mien_node *n, int64_t begin, int64_t end) {
  const gate_state *s = mien_state(n);
  float *hidden = mien_scratch_of(n);
  gate_scale g = {mien_in(n, X)->data, mien_out(n, 0)->data};
  mien_epilogue relu = {.act = MIEN_ACT_RELU, .bias = poster_data(n, B1)};
  mien_epilogue sigmoid = {.act = MIEN_ACT_SIGMOID, .bias = poster_data(n, B2)};
  (void)begin, (void)end;
  MIEN_TRY(poster_multiply(n, s->rows, g.x, &s->in, hidden, &relu));
  MIEN_TRY(poster_multiply(n, s->rows, hidden, &s->out, g.y, &sigmoid));
  return mien_parallel(n, s->rows * s->out.n, 0.5, gate_multiply, &g);
}

static mien_status gate_decompose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "0"), y;
  MIEN_TRY(poster_add_linear(r, x, h->bound(r, "1"), h->bound(r, "2"), "Relu", &y));
  MIEN_TRY(poster_add_linear(r, y, h->bound(r, "3"), h->bound(r, "4"), "Sigmoid", &y));
  MIEN_TRY(h->begin(r, "Mul", (mien_value[]){x, y}, 2));
  MIEN_TRY(h->end(r, &y, 1));
  return h->replace(r, h->out(r, h->root(r), 0), y);
}

static const mien_kernel gate_kernels[] = {{MIEN_F32, gate_run}, {MIEN_NONE, NULL}};

extern const mien_op mien_poster_ChannelAttention[];
const mien_op mien_poster_ChannelAttention[] = {{.domain = "poster",
                                                 .name = "ChannelAttention",
                                                 .since = 1,
                                                 .signature = "X:T, W1:T, B1:T?, W2:T, B2:T? -> Y:T",
                                                 .kernels = gate_kernels,
                                                 .state = sizeof(gate_state),
                                                 .infer = gate_infer,
                                                 .prepare = gate_prepare,
                                                 .flags = MIEN_OP_SERIAL | MIEN_OP_FLUSH,
                                                 .decompose = gate_decompose,
                                                 .doc = "x * sigmoid(linear(relu(linear(x))))"},
                                                {.name = NULL}};

/* ---------------------------------------------------------------- rewrite */

static mien_status find_gate(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), s = h->bound(r, "s"), y = h->out(r, h->root(r), 0), z;
  poster_linear in, out;
  if (!poster_linear_of(r, h->producer(r, s), "Sigmoid", &out) || !poster_is_single(r, s)) return MIEN_OK;
  if (!poster_linear_of(r, h->producer(r, out.x), "Relu", &in) || !poster_is_single(r, out.x)) return MIEN_OK;
  const mien_type *tx = h->type(r, x), *ts = h->type(r, s);
  if (in.x != x || tx->rank != ts->rank || tx->rank < 1) return MIEN_OK;
  for (int i = 0; i < tx->rank; i++)
    if (tx->dim[i] != ts->dim[i] || tx->dim[i] == INT64_MIN) return MIEN_OK;
  mien_value w[2];
  MIEN_TRY(poster_weights(r, &in, &w[0]));
  MIEN_TRY(poster_weights(r, &out, &w[1]));
  MIEN_TRY(h->begin(r, "poster.ChannelAttention", (mien_value[]){x, w[0], in.b, w[1], out.b},
                    out.b == MIEN_NO_VALUE ? 4 : 5));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, y, z);
}

static const char *const gate_patterns[] = {"Mul(x, s:mien.Linear(mien.Linear(x, ...), ...))", NULL};
extern const mien_rewrite mien_poster_channel_rewrite;
const mien_rewrite mien_poster_channel_rewrite = {.name = "poster-channel-attention",
                                                  .doc =
                                                      "x * sigmoid(linear(relu(linear(x)))) -> poster.ChannelAttention",
                                                  .stage = MIEN_STAGE_PLUGIN,
                                                  .patterns = gate_patterns,
                                                  .apply = find_gate};
