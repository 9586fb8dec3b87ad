/* ops/kernels/impl_winograd.c -- the transforms and products of Winograd's method. A line of points is infinity, pairs +-p and,
** where their number is even, 0; errors are smallest with points on both sides of 1. Every output element is the same sums
** in the same order wherever its tile lies in a block. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/winograd.h"

/* Elements of a sum before it is added to what there is, as in impl_gemm.c. */
#define WINOGRAD_DEPTH 256
#define WINOGRAD_BLOCK_STEP (MIEN_WINOGRAD_BLOCK * GEMM_COLUMNS + MIEN_WINOGRAD_SKEW)
#define WINOGRAD_LINE (64 / (int64_t)sizeof(float))
#define WINOGRAD_SIZE 5    /* the largest size */
#define WINOGRAD_PIXELS 11 /* the largest mien__winograd_pixels */

/* ---- points */

/* Points in the order 0, +p, -p, ..., infinity, and what the transforms need of them. s: p * p. r: of pair i, the product of
** (x - s) over the other pairs, c: over all pairs, lowest coefficients first; the highest is 1. f: 1 over the product of p's
** distances to the other finite points; that of -p is equal but for its sign. f0: of 0. These belong to the inputs here, so that
** weights, which may be transformed on every run, take as little as can be. */
typedef struct winograd_set {
  int zero, pairs;
  double p[3], s[3], r[3][3], c[4], f[3], f0;
} winograd_set;

#define PAIRS2(p0, s0, p1, s1) \
  {p0, p1}, {s0, s1}, {{-(s1), 1}, {-(s0), 1}}, { (s0) * (s1), -(s0) - (s1), 1 }
#define PAIRS3(p0, s0, p1, s1, p2, s2)                                                                    \
  {p0, p1, p2}, {s0, s1, s2},                                                                             \
      {{(s1) * (s2), -(s1) - (s2), 1}, {(s0) * (s2), -(s0) - (s2), 1}, {(s0) * (s1), -(s0) - (s1), 1}}, { \
    -(s0) * (s1) * (s2), (s0) * (s1) + (s0) * (s2) + (s1) * (s2), -(s0) - (s1) - (s2), 1                  \
  }

/* By their number, from 4 on. */
static const winograd_set winograd_sets[] = {
    {1, 1, {1}, {1}, {{1}}, {-1, 1}, {0.5}, -1},
    {0, 2, PAIRS2(0.5, 0.25, 1.25, 1.5625), {1 / (1.0 * (0.25 - 1.5625)), 1 / (2.5 * (1.5625 - 0.25))}, 0},
    {1, 2, PAIRS2(M_SQRT1_2, 0.5, M_SQRT2, 2.0), {1 / (1.0 * (0.5 - 2)), 1 / (4.0 * (2 - 0.5))}, 1},
    {0,
     3,
     PAIRS3(0.25, 0.0625, 0.875, 0.765625, 1.75, 3.0625),
     {1 / (0.5 * (0.0625 - 0.765625) * (0.0625 - 3.0625)), 1 / (1.75 * (0.765625 - 0.0625) * (0.765625 - 3.0625)),
      1 / (3.5 * (3.0625 - 0.0625) * (3.0625 - 0.765625))},
     0},
};

/* Of stride 1 the points of all pixels of a line, of stride 2 of the even ones. */
static inline int winograd_count(int size, int stride) { return stride == 1 ? size + 2 : size + 1; }

/* ---- weights */

/* The rows of G for a line: what its three weights are multiplied with. */
static void winograd_weights(int size, int stride, double g[WINOGRAD_SIZE + 2][3]) {
  const int count = winograd_count(size, stride);
  const winograd_set *set = &winograd_sets[count - 4];
  memset(g, 0, (size_t)(size + 2) * sizeof *g);
  if (set->zero) g[0][0] = 1;
  for (int i = 0; i < set->pairs; i++)
    for (int sign = 0; sign < 2; sign++) {
      double *row = g[set->zero + 2 * i + sign];
      row[0] = 1;
      row[stride] = sign ? -set->p[i] : set->p[i];
      if (stride == 1) row[2] = set->s[i];
    }
  g[count - 1][2] = 1;
  if (stride == 2) g[count][1] = 1;
}

/* One input channel of one panel: G w G^T for all columns at once. `step`: floats between points. */
static void winograd_pack_channel(int lines, const double g[WINOGRAD_SIZE + 2][3], double w[9][GEMM_COLUMNS], float *to,
                                  int64_t step) {
  for (int i = 0; i < lines; i++) {
    double t[3][GEMM_COLUMNS];
    for (int b = 0; b < 3; b++)
      for (int j = 0; j < GEMM_COLUMNS; j++)
        t[b][j] = g[i][0] * w[b][j] + g[i][1] * w[3 + b][j] + g[i][2] * w[6 + b][j];
    for (int k = 0; k < lines; k++, to += step)
      for (int j = 0; j < GEMM_COLUMNS; j++) to[j] = (float)(t[0][j] * g[k][0] + t[1][j] * g[k][1] + t[2][j] * g[k][2]);
  }
}

/* Where weight (out, in 0, tap 0) lies, with its strides. */
static const float *winograd_weight(const mien__winograd_shape *s, const float *w, int64_t out, int64_t *channel,
                                    int64_t *tap) {
  if (!s->w_columns) {
    *channel = 9;
    *tap = 1;
    return w + out * s->in_channels * 9;
  }
  *channel = s->w_columns;
  *tap = s->in_channels * s->w_columns;
  return w + out / s->w_columns * 9 * *tap + out % s->w_columns;
}

static void winograd_pack(const mien__winograd_shape *s, const float *w, float *packed) {
  const int lines = s->size + 2;
  const int64_t depth = s->in_channels, step = depth * GEMM_COLUMNS;
  double g[WINOGRAD_SIZE + 2][3];
  winograd_weights(s->size, s->stride, g);
  for (int64_t j0 = 0; j0 < s->out_channels; j0 += GEMM_COLUMNS, packed += lines * lines * step) {
    const int64_t columns = min_i64(GEMM_COLUMNS, s->out_channels - j0);
    double taps[9][GEMM_COLUMNS] = {{0}};
    for (int64_t c = 0; c < depth; c++) {
      for (int64_t j = 0; j < columns; j++) {
        int64_t channel, tap;
        const float *from = winograd_weight(s, w, j0 + j, &channel, &tap) + c * channel;
        for (int t = 0; t < 9; t++) taps[t][j] = (double)from[t * tap];
      }
      winograd_pack_channel(lines, (const double(*)[3])g, taps, packed + c * GEMM_COLUMNS, step);
    }
  }
}

/* ---- inputs */

/* c[0] x[0] + c[1] x[step] + ... + c[count - 1] x[(count - 1) step], all times f */
VEC vf winograd_sum(const double *c, const int count, const double f, const vf *x, const int step) {
  vf sum = x[(count - 1) * step] * vf_set((float)(f * c[count - 1]));
  MIEN_UNROLL
  for (int k = count - 2; k >= 0; k--) sum = vf_fma(vf_set((float)(f * c[k])), x[k * step], sum);
  return sum;
}

/* `count` points of as many pixels, `step` apart. */
VEC void winograd_input_points(const int count, const vf *x, const int step, vf *y) {
  const winograd_set *set = &winograd_sets[count - 4];
  const int zero = set->zero, pairs = set->pairs;
  if (zero) y[0] = winograd_sum(set->c, pairs + 1, set->f0, x, 2 * step);
  MIEN_UNROLL
  for (int i = 0; i < pairs; i++) {
    const double f = set->f[i], fp = set->f[i] * set->p[i];
    const vf a = winograd_sum(set->r[i], pairs, f, x + (1 + zero) * step, 2 * step);
    const vf b = winograd_sum(set->r[i], pairs, fp, x + zero * step, 2 * step);
    y[zero + 2 * i] = a + b;
    y[zero + 2 * i + 1] = zero ? a - b : b - a;
  }
  y[count - 1] = winograd_sum(set->c, pairs + 1, 1, x + zero * step, 2 * step);
}

/* Of stride 2 the points of the even pixels, then the odd pixels. */
VEC void winograd_input_line(const int size, const int stride, const vf *x, vf *y) {
  const int count = stride == 1 ? size + 2 : size + 1;
  winograd_input_points(count, x, stride, y);
  if (stride == 1) return;
  MIEN_UNROLL
  for (int i = 0; i < size; i++) y[count + i] = x[2 * i + 1];
}

VEC void winograd_input_vector(const int size, const int stride, const float *const *pixels, int64_t at, float *v,
                               int64_t step) {
  const int n = stride == 1 ? size + 2 : 2 * size + 1;
  vf t[WINOGRAD_PIXELS][WINOGRAD_PIXELS], line[WINOGRAD_PIXELS], y[WINOGRAD_PIXELS];
  MIEN_UNROLL
  for (int j = 0; j < n; j++) {
    MIEN_UNROLL
    for (int i = 0; i < n; i++) line[i] = vf_load(pixels[i * n + j] + at);
    winograd_input_line(size, stride, line, y);
    MIEN_UNROLL
    for (int i = 0; i < n; i++) t[i][j] = y[i];
  }
  MIEN_UNROLL
  for (int i = 0; i < n; i++) {
    winograd_input_line(size, stride, t[i], y);
    MIEN_UNROLL
    for (int j = 0; j < n; j++) vf_store(v + (i * n + j) * step, y[j]);
  }
}

/* A copy of the channels behind the whole vectors, with zeros up to one. */
typedef struct winograd_rest {
  const float *pixels[WINOGRAD_PIXELS * WINOGRAD_PIXELS];
  float copy[WINOGRAD_PIXELS * WINOGRAD_PIXELS][VL];
} winograd_rest;

static void winograd_rest_make(winograd_rest *r, int pixels, const float *const *from, int64_t at, int64_t count) {
  for (int i = 0; i < pixels; i++) {
    vf_store(r->copy[i], vf_load_n(from[i] + at, count));
    r->pixels[i] = r->copy[i];
  }
}

/* What the next vectors are made of is fetched meanwhile: the lines lie far apart, and often in another core's cache. */
VEC void winograd_input_tile(const int size, const int stride, const mien__winograd_shape *s,
                             const float *const *pixels, float *v) {
  enum { AHEAD = 2 };
  const int n = stride == 1 ? size + 2 : 2 * size + 1;
  winograd_rest rest;
  for (int64_t c = 0, at = 0; c < s->in_channels; c += VL, at += VL) {
    if (c + (1 + AHEAD) * VL <= s->in_channels)
      for (int i = 0; i < n * n; i++) vf_prefetch(pixels[i] + c + AHEAD * VL);
    if (c + VL > s->in_channels) {
      winograd_rest_make(&rest, n * n, pixels, c, s->in_channels - c);
      pixels = rest.pixels;
      at = 0;
    }
    winograd_input_vector(size, stride, pixels, at, v + c, s->v_step); /* once: it is long */
  }
}

/* ---- products */

typedef void winograd_fn(int64_t depth, const float *a, int64_t a_row, const float *b, const float *next, int64_t step,
                         float *c, bool add);

/* c[rows][GEMM_COLUMNS] = (add ? c : 0) + A B. `next`: what is wanted next out of memory, `step` floats (a line or two) for
** each element of k; NULL: it is near. */
VEC void winograd_micro(const int rows, const int vectors, int64_t depth, const float *a, int64_t a_row, const float *b,
                        const float *next, int64_t step, float *c, bool add) {
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
  for (int64_t k = 0; k < depth; k++, b += GEMM_COLUMNS) {
    const vf b0 = vf_load(b), b1 = vectors == 2 ? vf_load(b + VL) : b0;
    if (next) {
      vf_prefetch(next);
      vf_prefetch(next + step / 2);
      next += step;
    }
    MIEN_UNROLL
    for (int i = 0; i < rows; i++) {
      const vf x = vf_set(a[i * a_row + k]);
      sum[i][0] = vf_fma(x, b0, sum[i][0]);
      if (vectors == 2) sum[i][1] = vf_fma(x, b1, sum[i][1]);
    }
  }
  MIEN_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) {
      float *to = c + i * GEMM_COLUMNS + v * VL;
      if (add) sum[i][v] = vf_load(to) + sum[i][v];
      vf_store(to, sum[i][v]);
    }
}

#define X(rows)                                                                                                    \
  static void winograd_##rows##_1(int64_t depth, const float *a, int64_t a_row, const float *b, const float *next, \
                                  int64_t step, float *c, bool add) {                                              \
    winograd_micro(rows, 1, depth, a, a_row, b, next, step, c, add);                                               \
  }                                                                                                                \
  static void winograd_##rows##_2(int64_t depth, const float *a, int64_t a_row, const float *b, const float *next, \
                                  int64_t step, float *c, bool add) {                                              \
    winograd_micro(rows, 2, depth, a, a_row, b, next, step, c, add);                                               \
  }
EACH_ROWS(X)
#undef X
#define X(rows) {winograd_##rows##_1, winograd_##rows##_2},
static winograd_fn *const winograd_micros[GEMM_ROWS][2] = {EACH_ROWS(X)};
#undef X

/* Tiles in blocks of as many rows as a product has at once, or one fewer: `row` is the first of `rows`. */
#define WINOGRAD_EACH_BLOCK(tiles, row, rows)                                              \
  for (int64_t blocks_ = ((tiles) + GEMM_ROWS - 1) / GEMM_ROWS, base_ = (tiles) / blocks_, \
               more_ = (tiles)-base_ * blocks_, row = 0, rows;                             \
       row < (tiles) && (rows = base_ + (more_ > 0), true); more_--, row += rows)

static void winograd_point(const mien__winograd_shape *s, int64_t tiles, int64_t vectors, const float *v,
                           const float *b, const float *next, float *m) {
  for (int64_t k = 0; k < s->in_channels; k += WINOGRAD_DEPTH) {
    const int64_t depth = min_i64(WINOGRAD_DEPTH, s->in_channels - k), at = k * GEMM_COLUMNS;
    WINOGRAD_EACH_BLOCK(tiles, row, rows)
    winograd_micros[rows - 1][vectors - 1](depth, v + row * s->v_row + k, s->v_row, b + at,
                                           row == 0 && next ? next + at : NULL, GEMM_COLUMNS, m + row * GEMM_COLUMNS,
                                           k > 0);
  }
}

/* The points of a line that line `w` of weights is for: itself, or after the last the odd pixels. */
static int winograd_points_of(const mien__winograd_shape *s, int w) {
  return s->stride == 2 && w == s->size + 1 ? s->size : 1;
}

/* Calls `point` of every point that uses matrix (a, b) of weights. */
#define WINOGRAD_EACH_POINT(s, a, b, i)                                                                           \
  for (int row_ = 0, n_ = mien__winograd_pixels(s); row_ < winograd_points_of(s, a); row_++)                      \
    for (int column_ = 0, i; column_ < winograd_points_of(s, b) && (i = ((a) + row_) * n_ + (b) + column_, true); \
         column_++)

static void winograd_product(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v,
                             const float *panel, const float *next, float *m) {
  const int lines = s->size + 2;
  const int64_t step = s->in_channels * GEMM_COLUMNS;
  for (int a = 0; a < lines; a++)
    for (int b = 0; b < lines; b++, panel += step) {
      const float *after = a * lines + b + 1 < lines * lines ? panel + step : next;
      WINOGRAD_EACH_POINT(s, a, b, i) {
        winograd_point(s, tiles, columns > VL ? 2 : 1, v + i * s->v_step, panel, after, m + i * s->m_step);
        after = NULL;
      }
    }
}

/* ---- products with weights transformed in passing. Where a product holds all tiles, only the lines of weights are transformed
** before, as stores cost most: what is left for two points +-p of a line costs within their products what two more rows do. */

/* Points +-p of a line of three weights. */
VEC void winograd_weight_pair(const int stride, vf p, vf s, vf x0, vf x1, vf x2, vf *y) {
  const vf a = stride == 1 ? vf_fma(s, x2, x0) : x0, b = (stride == 1 ? x1 : x2) * p;
  y[0] = a + b;
  y[1] = a - b;
}

VEC void winograd_weight_set_pair(const winograd_set *set, const int i, const int stride, vf x0, vf x1, vf x2, vf *y) {
  winograd_weight_pair(stride, vf_set((float)set->p[i]), vf_set((float)set->s[i]), x0, x1, x2, y);
}

/* G of winograd_weights times a line, its results `step` floats apart. */
VEC void winograd_weight_line(const int size, const int stride, const vf *x, float *u, const int64_t step) {
  const int count = stride == 1 ? size + 2 : size + 1;
  const winograd_set *set = &winograd_sets[count - 4];
  if (set->zero) vf_store(u, x[0]);
  MIEN_UNROLL
  for (int i = 0; i < set->pairs; i++) {
    vf y[2];
    winograd_weight_set_pair(set, i, stride, x[0], x[1], x[2], y);
    vf_store(u + (set->zero + 2 * i) * step, y[0]);
    vf_store(u + (set->zero + 2 * i + 1) * step, y[1]);
  }
  vf_store(u + (count - 1) * step, x[2]);
  if (stride == 2) vf_store(u + count * step, x[1]);
}

/* A vector of channels' and columns' weights, whose tap t is x[t]: G w, to u [size + 2][3][WINOGRAD_BLOCK_STEP]. */
VEC void winograd_weight_lines(const int size, const int stride, const vf x[9], float *u) {
  MIEN_UNROLL
  for (int b = 0; b < 3; b++) {
    const vf column[3] = {x[b], x[3 + b], x[6 + b]};
    winograd_weight_line(size, stride, column, u + b * WINOGRAD_BLOCK_STEP, 3 * WINOGRAD_BLOCK_STEP);
  }
}

/* G w G^T, to u [size + 2][size + 2][WINOGRAD_BLOCK_STEP]. A pair of lines after the other: they stay in registers. */
VEC void winograd_weight_matrices(const int size, const int stride, const vf x[9], float *u) {
  const int count = stride == 1 ? size + 2 : size + 1;
  const int64_t step = WINOGRAD_BLOCK_STEP, line = (size + 2) * step;
  const winograd_set *set = &winograd_sets[count - 4];
  if (set->zero) winograd_weight_line(size, stride, x, u, step);
  MIEN_UNROLL
  for (int i = 0; i < set->pairs; i++) {
    vf t[2][3];
    MIEN_UNROLL
    for (int b = 0; b < 3; b++) {
      vf y[2];
      winograd_weight_set_pair(set, i, stride, x[b], x[3 + b], x[6 + b], y);
      t[0][b] = y[0], t[1][b] = y[1];
    }
    MIEN_UNROLL
    for (int sign = 0; sign < 2; sign++)
      winograd_weight_line(size, stride, t[sign], u + (set->zero + 2 * i + sign) * line, step);
  }
  winograd_weight_line(size, stride, x + 6, u + (count - 1) * line, step);
  if (stride == 2) winograd_weight_line(size, stride, x + 3, u + count * line, step);
}

/* Channels of a block: taps of the first at w, `step` floats from tap to tap. */
VEC void winograd_weight_block(const int size, const int stride, const bool lines, int64_t depth, const float *w,
                               int64_t step, float *u) {
  for (int64_t at = 0; at < depth * GEMM_COLUMNS; at += VL) {
    vf x[9];
    MIEN_UNROLL
    for (int t = 0; t < 9; t++) x[t] = vf_load(w + t * step + at);
    if (lines)
      winograd_weight_lines(size, stride, x, u + at);
    else
      winograd_weight_matrices(size, stride, x, u + at);
  }
}

typedef void winograd_pair_fn(int64_t depth, float p, float square, const float *a, int64_t a_row, int64_t a_step,
                              const float *u, const float *next, float *c, int64_t c_step, bool add);

/* winograd_micro for points +-p of a line u of weights, of one vector of columns. The second point is a_step, c_step further.
** `square`: of p, as the set has it. */
VEC void winograd_micro_pair(const int rows, const int stride, int64_t depth, float p, float square, const float *a,
                             int64_t a_row, int64_t a_step, const float *u, const float *next, float *c, int64_t c_step,
                             bool add) {
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
  const vf p1 = vf_set(p), p2 = vf_set(square);
  const float *second = a + a_step;
  for (int64_t k = 0; k < depth; k++, u += GEMM_COLUMNS, a++, second++) {
    const vf x0 = vf_load(u), x1 = stride == 1 ? vf_load(u + WINOGRAD_BLOCK_STEP) : x0;
    vf b[2];
    winograd_weight_pair(stride, p1, p2, x0, x1, vf_load(u + 2 * WINOGRAD_BLOCK_STEP), b);
    if (next) {
      vf_prefetch(next);
      next += GEMM_COLUMNS / 2;
    }
    MIEN_UNROLL
    for (int i = 0; i < rows; i++) {
      sum[i][0] = vf_fma(vf_set(a[i * a_row]), b[0], sum[i][0]);
      sum[i][1] = vf_fma(vf_set(second[i * a_row]), b[1], sum[i][1]);
    }
  }
  MIEN_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < 2; v++) {
      float *to = c + i * GEMM_COLUMNS + v * c_step;
      if (add) sum[i][v] = vf_load(to) + sum[i][v];
      vf_store(to, sum[i][v]);
    }
}

#define X(rows)                                                                                                     \
  static void winograd_pair_##rows##_1(int64_t depth, float p, float square, const float *a, int64_t a_row,         \
                                       int64_t a_step, const float *u, const float *next, float *c, int64_t c_step, \
                                       bool add) {                                                                  \
    winograd_micro_pair(rows, 1, depth, p, square, a, a_row, a_step, u, next, c, c_step, add);                      \
  }                                                                                                                 \
  static void winograd_pair_##rows##_2(int64_t depth, float p, float square, const float *a, int64_t a_row,         \
                                       int64_t a_step, const float *u, const float *next, float *c, int64_t c_step, \
                                       bool add) {                                                                  \
    winograd_micro_pair(rows, 2, depth, p, square, a, a_row, a_step, u, next, c, c_step, add);                      \
  }
EACH_ROWS(X)
#undef X
#define X(rows) {winograd_pair_##rows##_1, winograd_pair_##rows##_2},
static winograd_pair_fn *const winograd_pairs[GEMM_ROWS][2] = {EACH_ROWS(X)};
#undef X

/* A block of channels [k, k + depth) of one panel, whose transformed weights u holds: matrices or only lines. */
typedef struct winograd_block {
  const mien__winograd_shape *s;
  int64_t tiles, k, depth;
  int vectors; /* of columns in use */
  bool lines;
  const float *v, *u;
  float *m;
  const float *after; /* the weights of what comes next, of so many channels; NULL: they are near */
  int64_t after_depth;
} winograd_block;

/* What to fetch while matrix `matrix` is used: the next block's weights, 9 runs of memory, come in halves spread over the
** matrices (of 16, two halves are left out). NULL: nothing. */
static const float *winograd_fetch(const winograd_block *b, int matrix) {
  const int matrices = (b->s->size + 2) * (b->s->size + 2), part = matrix * 18 / matrices;
  if (!b->after || (matrix > 0 && (matrix - 1) * 18 / matrices == part)) return NULL;
  return b->after + part / 2 * b->s->in_channels * GEMM_COLUMNS + part % 2 * b->after_depth * (GEMM_COLUMNS / 2);
}

/* Points whose weights are u. */
static void winograd_block_single(const winograd_block *b, int line, int column, const float *u) {
  const mien__winograd_shape *s = b->s;
  const float *next = winograd_fetch(b, line * (s->size + 2) + column);
  WINOGRAD_EACH_POINT(s, line, column, i)
  WINOGRAD_EACH_BLOCK(b->tiles, row, rows) {
    winograd_micros[rows - 1][b->vectors - 1](b->depth, b->v + i * s->v_step + row * s->v_row + b->k, s->v_row, u, next,
                                              GEMM_COLUMNS / 2, b->m + i * s->m_step + row * GEMM_COLUMNS, b->k > 0);
    next = NULL;
  }
}

/* Pair `pair` of the points of a line, whose weights are u. */
static void winograd_block_pair(const winograd_block *b, int line, int pair, const float *u) {
  const mien__winograd_shape *s = b->s;
  const winograd_set *set = &winograd_sets[winograd_count(s->size, s->stride) - 4];
  const int column = set->zero + 2 * pair;
  WINOGRAD_EACH_POINT(s, line, column, i)
  for (int j = 0; j < b->vectors; j++) {
    const float *next = row_ == 0 ? winograd_fetch(b, line * (s->size + 2) + column + j) : NULL;
    winograd_pairs[b->tiles - 1][s->stride - 1](b->depth, (float)set->p[pair], (float)set->s[pair],
                                                b->v + i * s->v_step + b->k, s->v_row, s->v_step, u + j * VL, next,
                                                b->m + i * s->m_step + j * VL, s->m_step, b->k > 0);
  }
}

static void winograd_block_line(const winograd_block *b, int line) {
  const int count = winograd_count(b->s->size, b->s->stride);
  const winograd_set *set = &winograd_sets[count - 4];
  const float *u = b->u + line * 3 * WINOGRAD_BLOCK_STEP;
  if (set->zero) winograd_block_single(b, line, 0, u);
  for (int i = 0; i < set->pairs; i++) winograd_block_pair(b, line, i, u);
  winograd_block_single(b, line, count - 1, u + 2 * WINOGRAD_BLOCK_STEP);
  if (b->s->stride == 2) winograd_block_single(b, line, count, u + WINOGRAD_BLOCK_STEP);
}

static void winograd_product_block(const winograd_block *b) {
  const int lines = b->s->size + 2;
  for (int line = 0; line < lines; line++)
    if (b->lines)
      winograd_block_line(b, line);
    else
      for (int column = 0; column < lines; column++)
        winograd_block_single(b, line, column, b->u + (line * lines + column) * WINOGRAD_BLOCK_STEP);
}

/* ---- outputs */

/* Output k of a line: the sum of p^k times point p, infinity for the last alone; of stride 2 the odd pixels' too. */
VEC vf winograd_output_at(const int size, const int stride, const int k, const vf *x, const vf *sums) {
  const int count = stride == 1 ? size + 2 : size + 1;
  const winograd_set *set = &winograd_sets[count - 4];
  double power[3] = {1, 1, 1};
  MIEN_UNROLL
  for (int i = 0; i < set->pairs; i++) {
    if (k & 1) power[i] = set->p[i];
    MIEN_UNROLL
    for (int j = 1; j < k; j += 2) power[i] *= set->s[i];
  }
  vf y = sums[0] * vf_set((float)power[0]);
  MIEN_UNROLL
  for (int i = 1; i < set->pairs; i++) y = vf_fma(vf_set((float)power[i]), sums[i], y);
  if (k == 0 && set->zero) y = x[0] + y;
  if (k == size - 1) y = x[count - 1] + y;
  if (stride == 2) y = x[count + k] + y;
  return y;
}

VEC void winograd_output_line(const int size, const int stride, const vf *x, vf *y) {
  const int count = stride == 1 ? size + 2 : size + 1;
  const int zero = winograd_sets[count - 4].zero, pairs = winograd_sets[count - 4].pairs;
  vf even[3], odd[3];
  MIEN_UNROLL
  for (int i = 0; i < pairs; i++) {
    even[i] = x[zero + 2 * i] + x[zero + 2 * i + 1];
    odd[i] = x[zero + 2 * i] - x[zero + 2 * i + 1];
  }
  MIEN_UNROLL
  for (int k = 0; k < size; k++) y[k] = winograd_output_at(size, stride, k, x, k & 1 ? odd : even);
}

/* What is not finite times 0 is NaN, and stays in the sum. */
VEC bool winograd_output_tile(const int size, const int stride, const mien__winograd_shape *s, const float *m,
                              int64_t columns, float *tile) {
  const int n = stride == 1 ? size + 2 : 2 * size + 1;
  vf check[2] = {vf_set(0), vf_set(0)};
  for (int64_t j = 0; j < columns; j += VL) {
    vf t[WINOGRAD_SIZE][WINOGRAD_PIXELS], line[WINOGRAD_PIXELS], y[WINOGRAD_SIZE];
    MIEN_UNROLL
    for (int k = 0; k < n; k++) {
      MIEN_UNROLL
      for (int i = 0; i < n; i++) line[i] = vf_load(m + (i * n + k) * s->m_step + j);
      winograd_output_line(size, stride, line, y);
      MIEN_UNROLL
      for (int i = 0; i < size; i++) t[i][k] = y[i];
    }
    MIEN_UNROLL
    for (int i = 0; i < size; i++) {
      winograd_output_line(size, stride, t[i], y);
      MIEN_UNROLL
      for (int k = 0; k < size; k++) {
        vf_store(tile + (i * size + k) * GEMM_COLUMNS + j, y[k]);
        check[k & 1] = vf_fma(y[k], vf_set(0), check[k & 1]);
      }
    }
  }
  return !vm_any(vf_is_nan(check[0] + check[1]));
}

/* ---- the schemes */

typedef struct winograd_scheme {
  int size, stride;
  void (*input)(const mien__winograd_shape *s, const float *const *pixels, float *v);
  void (*weights)(bool lines, int64_t depth, const float *w, int64_t step, float *u);
  bool (*output)(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile);
} winograd_scheme;

#define WINOGRAD_SCHEMES(X) X(2, 1) X(4, 1) X(5, 1) X(4, 2) X(5, 2)

#define X(size, stride)                                                                                               \
  static void winograd_input_##size##_##stride(const mien__winograd_shape *s, const float *const *pixels, float *v) { \
    winograd_input_tile(size, stride, s, pixels, v);                                                                  \
  }                                                                                                                   \
  static void winograd_weights_##size##_##stride(bool lines, int64_t depth, const float *w, int64_t step, float *u) { \
    if (lines)                                                                                                        \
      winograd_weight_block(size, stride, true, depth, w, step, u);                                                   \
    else                                                                                                              \
      winograd_weight_block(size, stride, false, depth, w, step, u);                                                  \
  }                                                                                                                   \
  static bool winograd_output_##size##_##stride(const mien__winograd_shape *s, const float *m, int64_t columns,       \
                                                float *tile) {                                                        \
    return winograd_output_tile(size, stride, s, m, columns, tile);                                                   \
  }
WINOGRAD_SCHEMES(X)
#undef X

#define X(size, stride)                                                                \
  {size, stride, winograd_input_##size##_##stride, winograd_weights_##size##_##stride, \
   winograd_output_##size##_##stride},
static const winograd_scheme winograd_schemes[] = {WINOGRAD_SCHEMES(X)};
#undef X

static const winograd_scheme *winograd_scheme_of(const mien__winograd_shape *s) {
  const winograd_scheme *scheme = winograd_schemes;
  while (scheme->size != s->size || scheme->stride != s->stride) scheme++;
  return scheme;
}

static void winograd_input(const mien__winograd_shape *s, const float *const *pixels, float *v) {
  winograd_scheme_of(s)->input(s, pixels, v);
}
static bool winograd_output(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile) {
  return winograd_scheme_of(s)->output(s, m, columns, tile);
}

static void winograd_product_raw(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v,
                                 const float *panel, const float *next, float *u, float *m) {
  winograd_block b = {.s = s, .tiles = tiles, .vectors = columns > VL ? 2 : 1, .v = v, .u = u, .m = m};
  b.lines = tiles <= GEMM_ROWS;
  for (; b.k < s->in_channels; b.k += b.depth) {
    const int64_t left = s->in_channels - b.k;
    b.depth = min_i64(MIEN_WINOGRAD_BLOCK, left);
    b.after = left > b.depth ? panel + (b.k + b.depth) * GEMM_COLUMNS : next;
    b.after_depth = min_i64(MIEN_WINOGRAD_BLOCK, left > b.depth ? left - b.depth : s->in_channels);
    winograd_scheme_of(s)->weights(b.lines, b.depth, panel + b.k * GEMM_COLUMNS, s->in_channels * GEMM_COLUMNS, u);
    winograd_product_block(&b);
  }
}

static bool winograd_has_nan(const float *x, int64_t count) {
  vf found = vf_set(0);
  for (int64_t i = 0; i < count; i += VL) {
    const vf v = vf_load_n(x + i, min_i64(VL, count - i));
    found = vf_select(vf_is_nan(v), v, found);
  }
  return vm_any(vf_is_nan(found));
}

static void winograd_finish(const mien__winograd_shape *s, float *tile, int64_t rows, int64_t pixels, int64_t line,
                            int64_t column, int64_t columns, float *y, int64_t place, const mien_epilogue *e) {
  MIEN_K(mien__finish_lines)
  (tile, GEMM_COLUMNS, s->size * GEMM_COLUMNS, rows, pixels, columns, y, s->out_channels, e, place, line, column);
}

_Static_assert(GEMM_COLUMNS <= MIEN_WINOGRAD_COLUMNS, "a tile of outputs has room for a panel");

extern const mien__winograd MIEN_K(mien__winograd);
const mien__winograd MIEN_K(mien__winograd) = {.vector = VL,
                                               .pack = winograd_pack,
                                               .input = winograd_input,
                                               .product = winograd_product,
                                               .product_raw = winograd_product_raw,
                                               .output = winograd_output,
                                               .has_nan = winograd_has_nan,
                                               .finish = winograd_finish};
