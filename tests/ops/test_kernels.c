/* The kernels of every instruction set, one row each: products, convolutions, attention, rows and elementwise functions. What
** the elementary functions do over all floats, and what rows do with NaN and infinities, is in test_vmath.c. */
#include "ops/kernel_test.h"
#include "ops/kernels/winograd.h"

#define OUT(c) ((c)->data[KERNEL_OUT])
#define SIZES(c, a, b, d, e) const int64_t a = (c)->size[0], b = (c)->size[1], d = (c)->size[2], e = (c)->size[3]
#define UNUSED(x) (void)(x)

static int64_t up(int64_t x, int64_t unit) { return (x + unit - 1) / unit * unit; }

/* ---- epilogues: 0 none at all, 1 to 10 an activation after a bias, then the same with a residual, before and after */

enum { TAILS = 31 };

static const char *act_name(int act) {
#define X(id, text) text,
  static const char *const names[] = {MIEN_ACTIVATION_MAP(X)};
#undef X
  return names[act];
}

static int tail_act(int variant) { return variant ? (variant - 1) % 10 : 0; }

/* Buffers from `at`: bias, slope, scale, residual. */
static void tail_counts(kernel_call *c, int at, int64_t rows, int64_t columns) {
  for (int i = 0; i < 3; i++) c->count[at + i] = columns;
  c->count[at + 3] = rows * columns;
}

static const mien_epilogue *tail_of(const kernel_call *c, int at, int64_t columns, mien_epilogue *e) {
  if (!c->variant) return NULL;
  *e =
      (mien_epilogue){.act = (mien_activation)tail_act(c->variant), .alpha = -0.25f, .beta = 0.5f, .bias = c->data[at]};
  e->slope = c->data[at + 1];
  if (c->variant > 10) {
    e->scale = c->data[at + 2];
    e->residual = c->data[at + 3];
    e->residual_stride = columns;
    e->act_last = c->variant > 20;
  }
  return e;
}

static double tail_finish(const kernel_call *c, int at, double x, int64_t column, int64_t element) {
  if (!c->variant) return x;
  reference_tail t = {.act = act_name(tail_act(c->variant)), .alpha = -0.25, .beta = 0.5, .bias = c->data[at]};
  t.slope = c->data[at + 1];
  if (c->variant > 10) t.scale = c->data[at + 2], t.residual = c->data[at + 3], t.act_last = c->variant > 20;
  return reference_finish(&t, x, column, element);
}

/* ---- gemm: sizes m, n, k, and 0: B by rows, 1: by columns. Buffers A, B, the tail's, then packed B */

static int64_t packed_count(const kernel_call *c, int64_t k, int64_t n) {
  const size_t bytes = c->m->gemm_pack_bytes(k, n);
  assert_true(bytes % sizeof(float) == 0 && bytes < 1 << 24);
  return (int64_t)(bytes / sizeof(float));
}

static void gemm_counts(kernel_call *c) {
  SIZES(c, m, n, k, by_columns);
  UNUSED(by_columns);
  c->count[0] = m * k, c->count[1] = k * n;
  tail_counts(c, 2, m, n);
  c->count[6] = packed_count(c, k, n);
  c->count[KERNEL_OUT] = m * n;
}
static void gemm_before(const kernel_call *c) {
  SIZES(c, m, n, k, by_columns);
  UNUSED(m);
  c->m->gemm_pack(k, n, c->data[1], by_columns ? 1 : n, by_columns ? k : 1, c->data[6]);
}
static void gemm_run(const kernel_call *c, int64_t part, int64_t parts) {
  SIZES(c, m, n, k, by_columns);
  UNUSED(by_columns);
  const int64_t width = c->m->gemm_columns;
  int64_t begin, end;
  kernel_part(up(n, width) / width, part, parts, &begin, &end);
  mien_epilogue e;
  c->m->gemm(m, n, k, c->data[0], k, c->data[6], OUT(c), n, begin * width, end * width, tail_of(c, 2, n, &e));
}
static void gemm_reference(const kernel_call *c, double *want) {
  SIZES(c, m, n, k, by_columns);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++)
        sum += (double)c->data[0][i * k + p] * (double)c->data[1][by_columns ? j * k + p : p * n + j];
      want[i * n + j] = tail_finish(c, 2, sum, j, i * n + j);
    }
}

/* ---- gemm_plain: sizes m, vectors of columns, k, elements from a row of B to the next. Buffers A, B, the tail's */

static int64_t plain_columns(const kernel_call *c) { return c->size[1] * c->m->gemm_columns / 2; }
static void plain_counts(kernel_call *c) {
  SIZES(c, m, vectors, k, gap);
  UNUSED(vectors);
  const int64_t n = plain_columns(c);
  c->count[0] = m * k, c->count[1] = k > 0 ? (k - 1) * (n + gap) + n : 0;
  tail_counts(c, 2, m, n);
  c->count[KERNEL_OUT] = m * n;
}
/* Parts are of rows: columns are not asked for in parts. */
static void plain_run(const kernel_call *c, int64_t part, int64_t parts) {
  SIZES(c, m, vectors, k, gap);
  UNUSED(vectors);
  const int64_t n = plain_columns(c);
  int64_t begin, end;
  kernel_part(m, part, parts, &begin, &end);
  mien_epilogue e;
  const mien_epilogue *tail = tail_of(c, 2, n, &e);
  if (tail && e.residual) e.residual += begin * n;
  c->m->gemm_plain(end - begin, n, k, c->data[0] + begin * k, k, c->data[1], n + gap, OUT(c) + begin * n, n, tail);
}
static void plain_reference(const kernel_call *c, double *want) {
  SIZES(c, m, vectors, k, gap);
  UNUSED(vectors);
  const int64_t n = plain_columns(c);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += (double)c->data[0][i * k + p] * (double)c->data[1][p * (n + gap) + j];
      want[i * n + j] = tail_finish(c, 2, sum, j, i * n + j);
    }
}

/* ---- gemm_pieces: sizes m, n, pieces, length; variant / TAILS: 1 the output and the residual by columns, 2 steps of 3 in A */

static void pieces_counts(kernel_call *c) {
  SIZES(c, m, n, pieces, length);
  c->count[0] = m * pieces * length * 3, c->count[1] = pieces * length * n;
  tail_counts(c, 2, m, n);
  c->count[6] = packed_count(c, pieces * length, n);
  c->count[KERNEL_OUT] = m * n;
}
static void pieces_before(const kernel_call *c) {
  SIZES(c, m, n, pieces, length);
  UNUSED(m);
  c->m->gemm_pack(pieces * length, n, c->data[1], n, 1, c->data[6]);
}
/* Element r of piece t of row i: the step-3 layout of a piece holds the rows' elements interleaved in threes. */
static int64_t pieces_at(const kernel_call *c, int64_t i, int64_t t) { return (t * c->size[0] + i) * c->size[3] * 3; }
static int64_t pieces_step(const kernel_call *c) { return c->variant / TAILS == 2 ? 3 : 1; }
static void pieces_run(const kernel_call *c, int64_t part, int64_t parts) {
  SIZES(c, m, n, pieces, length);
  const float *rows[40 * 8];
  for (int64_t t = 0; t < pieces; t++)
    for (int64_t i = 0; i < m; i++) rows[t * m + i] = c->data[0] + pieces_at(c, i, t);
  const int64_t width = c->m->gemm_columns;
  int64_t begin, end;
  kernel_part(up(n, width) / width, part, parts, &begin, &end);
  const mien_pieces a = {.rows = rows, .stride = m, .count = pieces, .length = length, .step = pieces_step(c)};
  const bool by_columns = c->variant / TAILS == 1;
  kernel_call tail = *c;
  tail.variant %= TAILS;
  mien_epilogue e;
  if (tail_of(&tail, 2, n, &e) && by_columns) e.residual_stride = 1, e.residual_step = m;
  c->m->gemm_pieces(m, n, &a, c->data[6], OUT(c), by_columns ? 1 : n, by_columns ? m : 1, begin * width, end * width,
                    tail.variant ? &e : NULL);
}
static void pieces_reference(const kernel_call *c, double *want) {
  SIZES(c, m, n, pieces, length);
  kernel_call tail = *c;
  tail.variant %= TAILS;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < pieces * length; p++)
        sum += (double)c->data[0][pieces_at(c, i, p / length) + p % length * pieces_step(c)] *
               (double)c->data[1][p * n + j];
      const int64_t at = c->variant / TAILS == 1 ? j * m + i : i * n + j;
      want[at] = tail_finish(&tail, 2, sum, j, at);
    }
}

/* ---- depthwise: sizes rows, channels, lines, taps a line; variants: strides and dilations */

enum { DEPTHWISE_STEPS = 4 };
static const int64_t depthwise_steps[DEPTHWISE_STEPS][2] = {{1, 1}, {2, 1}, {3, 1}, {1, 2}};
static int64_t depthwise_stride(const kernel_call *c) { return depthwise_steps[c->variant / TAILS][0]; }
static int64_t depthwise_dilation(const kernel_call *c) { return depthwise_steps[c->variant / TAILS][1]; }
/* Pixels of a line of the map that `rows` output pixels take. */
static int64_t depthwise_pixels(const kernel_call *c, int64_t rows) {
  const int64_t taps = c->size[3];
  return rows && taps ? (rows - 1) * depthwise_stride(c) + (taps - 1) * depthwise_dilation(c) + 1 : 0;
}
static void depthwise_counts(kernel_call *c) {
  SIZES(c, rows, channels, lines, taps);
  c->count[0] = lines * depthwise_pixels(c, rows) * channels, c->count[1] = lines * taps * channels;
  tail_counts(c, 2, rows, channels);
  c->count[KERNEL_OUT] = rows * channels;
}
static void depthwise_run(const kernel_call *c, int64_t part, int64_t parts) {
  SIZES(c, rows, channels, lines, taps);
  const float **line[8];
  int64_t begin, end;
  kernel_part(rows, part, parts, &begin, &end);
  const int64_t all = depthwise_pixels(c, rows), pixels = depthwise_pixels(c, end - begin);
  for (int64_t a = 0; a < lines; a++) {
    line[a] = malloc((size_t)pixels * sizeof **line + 1);
    for (int64_t x = 0; x < pixels; x++)
      line[a][x] = c->data[0] + (a * all + begin * depthwise_stride(c) + x) * channels;
  }
  const mien_depthwise d = {.pixels = (const float *const *const *)line,
                            .w = c->data[1],
                            .lines = lines,
                            .width = taps,
                            .stride = depthwise_stride(c),
                            .dilation = depthwise_dilation(c),
                            .channels = channels};
  kernel_call tail = *c;
  tail.variant %= TAILS;
  mien_epilogue e;
  const mien_epilogue *used = tail_of(&tail, 2, channels, &e);
  if (used && e.residual) e.residual += begin * channels;
  c->m->depthwise(end - begin, &d, OUT(c) + begin * channels, channels, used);
  for (int64_t a = 0; a < lines; a++) free(line[a]);
}
static void depthwise_reference(const kernel_call *c, double *want) {
  SIZES(c, rows, channels, lines, taps);
  kernel_call tail = *c;
  tail.variant %= TAILS;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < channels; j++) {
      double sum = 0;
      for (int64_t t = 0; t < lines * taps; t++) {
        const int64_t x = i * depthwise_stride(c) + t % taps * depthwise_dilation(c);
        sum += (double)c->data[0][(t / taps * depthwise_pixels(c, rows) + x) * channels + j] *
               (double)c->data[1][t * channels + j];
      }
      want[i * channels + j] = tail_finish(&tail, 2, sum, j, i * channels + j);
    }
}

/* ---- largest: sizes rows, length; variant 1: a NaN in every third column */

static void largest_counts(kernel_call *c) { c->count[0] = c->size[0] * c->size[1], c->count[KERNEL_OUT] = c->size[1]; }
static void largest_before(const kernel_call *c) {
  for (int64_t j = 0; c->variant && c->size[0] && j < c->size[1]; j += 3)
    c->data[0][j % c->size[0] * c->size[1] + j] = NAN;
}
static void largest_run(const kernel_call *c, int64_t part, int64_t parts) {
  int64_t begin, end;
  const float *rows[40];
  kernel_part(c->size[1], part, parts, &begin, &end);
  for (int64_t i = 0; i < c->size[0]; i++) rows[i] = c->data[0] + i * c->size[1] + begin;
  c->m->largest(c->size[0], rows, end - begin, OUT(c) + begin);
}
static void largest_reference(const kernel_call *c, double *want) {
  for (int64_t j = 0; j < c->size[1]; j++) {
    want[j] = -INFINITY;
    for (int64_t i = 0; i < c->size[0]; i++) {
      const double v = (double)c->data[0][i * c->size[1] + j];
      if (v > want[j] || isnan(v)) want[j] = v;
    }
  }
}

/* ---- attention: sizes queries, keys, depth, value depth; two heads side by side; variant 1: with a bias */

enum { HEADS = 2 };
static void attention_counts(kernel_call *c) {
  SIZES(c, queries, keys, depth, values);
  c->count[0] = queries * HEADS * depth, c->count[1] = keys * HEADS * depth, c->count[2] = keys * HEADS * values;
  c->count[3] = queries * keys;
  c->count[KERNEL_OUT] = queries * HEADS * values;
}
static void attention_run(const kernel_call *c, int64_t part, int64_t parts) {
  SIZES(c, queries, keys, depth, values);
  const mien_attention a = {.batches = 1,
                            .heads = HEADS,
                            .queries = queries,
                            .keys = keys,
                            .depth = depth,
                            .value_depth = values,
                            .kv_batch_div = 1,
                            .q_batch_div = 1,
                            .q = c->data[0],
                            .k = c->data[1],
                            .v = c->data[2],
                            .bias = c->variant ? c->data[3] : NULL,
                            .y = OUT(c),
                            .qs = {0, depth, HEADS * depth},
                            .ks = {0, depth, HEADS * depth},
                            .vs = {0, values, HEADS * values},
                            .bs = {0, 0, keys},
                            .ys = {0, values, HEADS * values},
                            .scale = 0.75f};
  const int64_t rows = c->m->attention_rows;
  int64_t begin, end;
  kernel_part(HEADS * (up(queries, rows) / rows), part, parts, &begin, &end);
  const size_t bytes = c->m->attention_scratch(&a);
  void *scratch = malloc(bytes ? bytes : 1);
  assert_non_null(scratch);
  c->m->attention(&a, begin, end, scratch);
  free(scratch);
}
static void attention_reference(const kernel_call *c, double *want) {
  SIZES(c, queries, keys, depth, values);
  double p[128];
  for (int64_t h = 0; h < HEADS; h++)
    for (int64_t i = 0; i < queries; i++) {
      double top = -INFINITY, sum = 0;
      for (int64_t j = 0; j < keys; j++) {
        p[j] = c->variant ? (double)c->data[3][i * keys + j] : 0;
        for (int64_t d = 0; d < depth; d++)
          p[j] +=
              0.75 * (double)c->data[0][(i * HEADS + h) * depth + d] * (double)c->data[1][(j * HEADS + h) * depth + d];
        if (p[j] > top) top = p[j];
      }
      for (int64_t j = 0; j < keys; j++) sum += p[j] = exp(p[j] - top);
      for (int64_t d = 0; d < values; d++) {
        double o = 0;
        for (int64_t j = 0; j < keys; j++) o += p[j] / sum * (double)c->data[2][(j * HEADS + h) * values + d];
        want[(i * HEADS + h) * values + d] = o;
      }
    }
}

/* ---- elementwise: size count; variant: the activation, then exp and erf */

enum { EXP = 10, ERF, FUNCTIONS };
static void each_counts(kernel_call *c) { c->count[0] = c->count[KERNEL_OUT] = c->size[0]; }
static void each_run(const kernel_call *c, int64_t part, int64_t parts) {
  int64_t begin, end;
  kernel_part(c->size[0], part, parts, &begin, &end);
  const float *x = c->data[0] + begin;
  if (c->variant == EXP)
    c->m->exp(x, OUT(c) + begin, end - begin);
  else if (c->variant == ERF)
    c->m->erf(x, OUT(c) + begin, end - begin);
  else
    c->m->activate((mien_activation)c->variant, -0.25f, 0.5f, x, OUT(c) + begin, end - begin);
}
static void each_reference(const kernel_call *c, double *want) {
  for (int64_t i = 0; i < c->size[0]; i++) {
    const double x = (double)c->data[0][i];
    want[i] = c->variant == EXP   ? exp(x)
              : c->variant == ERF ? erf(x)
                                  : reference_activation(act_name(c->variant), x, -0.25, 0.5, -0.25);
  }
}

/* ---- rows: sizes rows, count; layer_norm's variant: 1 with gamma, 2 with beta, 3 with both */

static void rows_counts(kernel_call *c) {
  c->count[0] = c->count[KERNEL_OUT] = c->size[0] * c->size[1];
  c->count[1] = c->count[2] = c->size[1];
}
static void softmax_run(const kernel_call *c, int64_t part, int64_t parts) {
  int64_t begin, end;
  kernel_part(c->size[0], part, parts, &begin, &end);
  for (int64_t i = begin; i < end; i++) c->m->softmax(c->data[0] + i * c->size[1], OUT(c) + i * c->size[1], c->size[1]);
}
static void softmax_reference(const kernel_call *c, double *want) {
  for (int64_t i = 0; i < c->size[0]; i++) {
    const int64_t count = c->size[1];
    double sum = 0;
    for (int64_t j = 0; j < count; j++) sum += want[i * count + j] = exp((double)c->data[0][i * count + j]);
    for (int64_t j = 0; j < count; j++) want[i * count + j] /= sum;
  }
}
static void layer_norm_run(const kernel_call *c, int64_t part, int64_t parts) {
  const int64_t count = c->size[1];
  int64_t begin, end;
  kernel_part(c->size[0], part, parts, &begin, &end);
  for (int64_t i = begin; i < end; i++)
    c->m->layer_norm(c->data[0] + i * count, c->variant & 1 ? c->data[1] : NULL, c->variant & 2 ? c->data[2] : NULL,
                     1e-3f, OUT(c) + i * count, count, NULL, NULL);
}
static void layer_norm_reference(const kernel_call *c, double *want) {
  const int64_t count = c->size[1];
  for (int64_t i = 0; i < c->size[0]; i++) {
    const float *x = c->data[0] + i * count;
    double mean = 0, squares = 0;
    for (int64_t j = 0; j < count; j++) mean += (double)x[j] / (double)count;
    for (int64_t j = 0; j < count; j++) squares += ((double)x[j] - mean) * ((double)x[j] - mean);
    for (int64_t j = 0; j < count; j++) {
      double y = ((double)x[j] - mean) / sqrt(squares / (double)count + (double)1e-3f);
      if (c->variant & 1) y *= (double)c->data[1][j];
      if (c->variant & 2) y += (double)c->data[2][j];
      want[i * count + j] = y;
    }
  }
}

/* ---- Winograd's method: sizes tiles, input and output channels; variant / TAILS: the scheme, and whether its weights are
** transformed in passing. Every tile has inputs and outputs of its own. Buffers inputs, W, the tail's, then one of work:
** packed W, V, M */

static const int winograd_schemes[][2] = {{2, 1}, {4, 1}, {4, 2}, {5, 1}, {5, 2}}; /* size, stride */
enum { WINOGRAD5 = 2 * 3, WINOGRADS = 2 * sizeof winograd_schemes / sizeof *winograd_schemes };
static bool winograd_raw(const kernel_call *c) { return c->variant / TAILS & 1; }
static int winograd_size(const kernel_call *c) { return winograd_schemes[c->variant / TAILS / 2][0]; }
static int winograd_stride(const kernel_call *c) { return winograd_schemes[c->variant / TAILS / 2][1]; }
static int64_t winograd_matrices(const kernel_call *c) { return (winograd_size(c) + 2) * (winograd_size(c) + 2); }
static int64_t winograd_pixels(const kernel_call *c) {
  const mien__winograd_shape s = {.size = winograd_size(c), .stride = winograd_stride(c)};
  return mien__winograd_pixels(&s);
}
static int64_t winograd_points(const kernel_call *c) { return winograd_pixels(c) * winograd_pixels(c); }

typedef struct winograd_places {
  int64_t panel, v, m, end; /* floats from panel to panel of packed W, and where in the work buffer the others begin */
} winograd_places;

static mien__winograd_shape winograd_shape(const kernel_call *c, winograd_places *p) {
  SIZES(c, tiles, in, out, none);
  UNUSED(none);
  const int64_t width = c->m->gemm_columns, points = winograd_points(c), panels = up(out, width) / width;
  mien__winograd_shape s = {.size = winograd_size(c), .in_channels = in, .out_channels = out};
  s.stride = winograd_stride(c);
  s.v_row = up(in, mien__winograd_of(c->m)->vector);
  s.v_step = tiles * s.v_row;
  s.m_step = tiles * width;
  p->panel = (winograd_raw(c) ? 9 : winograd_matrices(c)) * in * width;
  p->v = panels * p->panel;
  p->m = p->v + points * s.v_step;
  p->end = p->m + points * s.m_step * panels; /* a place of its own for every panel */
  return s;
}
static void winograd_counts(kernel_call *c) {
  SIZES(c, tiles, in, out, none);
  UNUSED(none);
  winograd_places p;
  const mien__winograd_shape s = winograd_shape(c, &p);
  c->count[0] = tiles * winograd_points(c) * in, c->count[1] = out * in * 9;
  tail_counts(c, 2, tiles * s.size * s.size, out);
  c->count[6] = p.end;
  c->count[KERNEL_OUT] = tiles * s.size * s.size * out;
}
static void winograd_before(const kernel_call *c) {
  winograd_places p;
  const mien__winograd_shape s = winograd_shape(c, &p);
  const int64_t points = winograd_points(c), width = c->m->gemm_columns, in = s.in_channels;
  if (!winograd_raw(c)) mien__winograd_of(c->m)->pack(&s, c->data[1], c->data[6]);
  for (int64_t j = 0; winograd_raw(c) && j < s.out_channels; j += width)
    for (int64_t tap = 0; tap < 9; tap++)
      c->m->gemm_pack(in, s.out_channels - j < width ? s.out_channels - j : width, c->data[1] + j * in * 9 + tap, 9,
                      in * 9, c->data[6] + j / width * p.panel + tap * in * width);
  for (int64_t t = 0; t < c->size[0]; t++) {
    const float *pixels[MIEN_WINOGRAD_POINTS];
    for (int64_t i = 0; i < points; i++) pixels[i] = c->data[0] + (t * points + i) * in;
    mien__winograd_of(c->m)->input(&s, pixels, c->data[6] + p.v + t * s.v_row);
  }
}
static void winograd_panel(const kernel_call *c, int64_t panel, bool last, float *u, float *tile) {
  winograd_places p;
  const mien__winograd_shape s = winograd_shape(c, &p);
  const mien__winograd *w = mien__winograd_of(c->m);
  const int64_t width = c->m->gemm_columns, tiles = c->size[0], rest = s.out_channels - panel * width;
  const int64_t columns = rest < width ? rest : width;
  const float *v = c->data[6] + p.v, *weights = c->data[6] + panel * p.panel, *next = last ? NULL : weights + p.panel;
  float *m = c->data[6] + p.m + panel * winograd_points(c) * s.m_step;
  if (winograd_raw(c))
    w->product_raw(&s, tiles, columns, v, weights, next, u, m);
  else
    w->product(&s, tiles, columns, v, weights, next, m);
  kernel_call tail = *c;
  tail.variant %= TAILS;
  mien_epilogue e;
  const mien_epilogue *finish = tail_of(&tail, 2, s.out_channels, &e);
  for (int64_t t = 0; t < tiles; t++) {
    const int64_t place = t * s.size * s.size;
    assert_true(w->output(&s, m + t * width, columns, tile));
    w->finish(&s, tile, s.size, s.size, s.size, panel * width, columns, OUT(c) + place * s.out_channels + panel * width,
              place, finish);
  }
}
static void winograd_run(const kernel_call *c, int64_t part, int64_t parts) {
  const int64_t width = c->m->gemm_columns, points = winograd_matrices(c);
  int64_t begin, end;
  kernel_part(up(c->size[2], width) / width, part, parts, &begin, &end);
  float *u = malloc((size_t)(points * (MIEN_WINOGRAD_BLOCK * width + MIEN_WINOGRAD_SKEW)) * sizeof *u);
  float *tile = malloc((size_t)(winograd_size(c) * winograd_size(c) * width) * sizeof *tile);
  assert_true(u && tile);
  for (int64_t panel = begin; panel < end; panel++) winograd_panel(c, panel, panel + 1 == end, u, tile);
  free(u);
  free(tile);
}
static void winograd_reference(const kernel_call *c, double *want) {
  SIZES(c, tiles, in, out, none);
  UNUSED(none);
  const int64_t size = winograd_size(c), stride = winograd_stride(c), n = winograd_pixels(c);
  kernel_call tail = *c;
  tail.variant %= TAILS;
  for (int64_t at = 0; at < tiles * size * size; at++)
    for (int64_t j = 0; j < out; j++) {
      const int64_t t = at / (size * size), y = at / size % size, x = at % size;
      double sum = 0;
      for (int64_t k = 0; k < in; k++)
        for (int64_t w = 0; w < 9; w++)
          sum += (double)c->data[1][(j * in + k) * 9 + w] *
                 (double)c->data[0][(t * n * n + (y * stride + w / 3) * n + x * stride + w % 3) * in + k];
      want[at * out + j] = tail_finish(&tail, 2, sum, j, at * out + j);
    }
}

/* ---- the table */

#define plain_before NULL
#define depthwise_before NULL
#define attention_before NULL
#define each_before NULL
#define softmax_before NULL
#define softmax_counts rows_counts
#define layer_norm_before NULL
#define layer_norm_counts rows_counts

#define BY(k) k##_counts, k##_before, k##_run, k##_reference
static const kernel_row kernels[] = {
    {"gemm", {{0, 33}, {0, 67}, {0, 67}, {0, 1}}, TAILS, 6, BY(gemm), 4e-6, 2e-6, 0},
    {"long gemm", {{0, 30}, {1, 67}, {250, 530}, {0, 1}}, TAILS, 6, BY(gemm), 3e-5, 2e-6, 0},
    /* Several parts of k, groups of rows and spans of panels; rows that collide in the cache. */
    {"deep gemm", {{158, 161}, {126, 131}, {1023, 1025}, {0, 0}}, TAILS, 6, BY(gemm), 5e-5, 2e-6, 0},
    {"gemm_plain", {{0, 33}, {0, 9}, {0, 67}, {0, 19}}, TAILS, 6, BY(plain), 4e-6, 2e-6, 0},
    {"long gemm_plain", {{0, 30}, {1, 5}, {250, 800}, {0, 19}}, TAILS, 6, BY(plain), 4e-5, 2e-6, 0},
    {"gemm_pieces", {{0, 33}, {0, 67}, {0, 8}, {0, 17}}, 3 * TAILS, 6, BY(pieces), 4e-6, 2e-6, 0},
    {"depthwise", {{0, 33}, {0, 67}, {0, 4}, {0, 5}}, DEPTHWISE_STEPS *TAILS, 6, BY(depthwise), 2e-6, 2e-6, 0},
    {"largest", {{0, 33}, {0, 67}}, 2, 1, BY(largest), 0, 0, 0},
    {"attention", {{0, 33}, {0, 67}, {0, 35}, {0, 35}}, 2, 4, BY(attention), 2e-6, 2e-6, 0},
    {"elementwise", {{0, 67}}, FUNCTIONS, 1, BY(each), 1e-7, 1e-6, 0},
    {"softmax", {{0, 7}, {0, 67}}, 1, 1, BY(softmax), 1e-7, 1e-6, 0},
    {"layer_norm", {{0, 7}, {0, 67}}, 4, 3, BY(layer_norm), 5e-6, 2e-6, 0},
    {"winograd", {{1, 20}, {1, 67}, {0, 67}}, WINOGRAD5 *TAILS, 6, BY(winograd), 6e-5, 2e-6, 0},
    {"winograd of size 5",
     {{1, 20}, {1, 67}, {0, 67}},
     (WINOGRADS - WINOGRAD5) * TAILS,
     6,
     BY(winograd),
     1.8e-4,
     2e-6,
     WINOGRAD5 *TAILS},
};

/* MIEN_TEST_RANDOM: so many cases more of every kernel. */
static void kernels_body(mien_env *env) {
  const char *more = getenv("MIEN_TEST_RANDOM");
  for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
    kernel_sweep(env->host.math, &kernels[i], more ? atoi(more) : 100);
}
static void test_kernels(void **state) { (void)state, isa_each(kernels_body); }

static void test_select(void **state) {
  (void)state;
  const char *set = getenv("MIEN_ISA");
  char *before = set ? strdup(set) : NULL;
  const mien_math *best = NULL, *math = NULL;
  mien_error error = {0};
  unsetenv("MIEN_ISA");
  assert_int_equal(mien__math_select(&math, &error), MIEN_OK);
  for (size_t i = 0; mien__math_tier(i); i++) {
    const char *name = mien__math_tier(i)->isa;
    const mien_math *runs = mien__math_named(name);
    if (runs) best = runs;
    setenv("MIEN_ISA", name, 1);
    const mien_math *chosen = best;
    assert_int_equal(mien__math_select(&chosen, &error), runs ? MIEN_OK : MIEN_INVALID_ARGUMENT);
    assert_ptr_equal(chosen, best); /* untouched on failure */
  }
  assert_ptr_equal(math, best);
  setenv("MIEN_ISA", "avx10.7", 1);
  assert_int_equal(mien__math_select(&math, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "MIEN_ISA is 'avx10.7', expected what this machine runs: portable"));
  assert_non_null(strstr(error.message, best->isa));
  mien_env *env = NULL;
  assert_int_equal(mien_env_create(NULL, &env, &error), MIEN_INVALID_ARGUMENT);
  assert_null(env);
  assert_null(mien__math_named("avx10.7"));
  setenv("MIEN_ISA", "", 1);
  assert_int_equal(mien__math_select(&math, &error), MIEN_OK);
  assert_ptr_equal(math, best);
  if (before)
    setenv("MIEN_ISA", before, 1);
  else
    unsetenv("MIEN_ISA");
  free(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels), cmocka_unit_test(test_select)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
