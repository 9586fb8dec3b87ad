/* ops/kernels/impl_winograd.c -- the transforms and products of Winograd's method. F(4,3) takes the points 0, +-sqrt(1/2),
** +-sqrt(2) and infinity, whose errors are about half those of small integers; F(2,3) takes 0, +-1 and infinity. Every
** output element is the same sums in the same order wherever its tile lies in a block. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/winograd.h"

/* Elements of a sum before it is added to what there is, as in impl_gemm.c. */
#define WINOGRAD_DEPTH 256
#define WINOGRAD_BLOCK_STEP (MIEN_WINOGRAD_BLOCK * GEMM_COLUMNS + MIEN_WINOGRAD_SKEW)
#define WINOGRAD_LINE (64 / (int64_t)sizeof(float))

#define ROOT_HALF 0.70710678118654752440f
#define ROOT_TWO 1.41421356237309504880f

/* ---- weights */

/* G: row r holds 1, p, p^2 over the product of p's distances to the other points; the last row is infinity's. */
static void winograd_weights(int n, double g[6][3]) {
  static const double all[2][5] = {{0, 1, -1}, {0, M_SQRT1_2, -M_SQRT1_2, M_SQRT2, -M_SQRT2}};
  const double *point = all[n == 6];
  for (int r = 0; r < n - 1; r++) {
    double f = 1;
    for (int q = 0; q < n - 1; q++)
      if (q != r) f *= point[r] - point[q];
    for (int k = 0; k < 3; k++) g[r][k] = (k == 0 ? 1 : k == 1 ? point[r] : point[r] * point[r]) / f;
  }
  g[n - 1][0] = g[n - 1][1] = 0;
  g[n - 1][2] = 1;
}

/* One input channel of one panel: G w G^T for all columns at once. `step`: floats between points. */
static void winograd_pack_channel(int n, const double g[6][3], double w[9][GEMM_COLUMNS], float *to, int64_t step) {
  for (int i = 0; i < n; i++) {
    double t[3][GEMM_COLUMNS];
    for (int b = 0; b < 3; b++)
      for (int j = 0; j < GEMM_COLUMNS; j++)
        t[b][j] = g[i][0] * w[b][j] + g[i][1] * w[3 + b][j] + g[i][2] * w[6 + b][j];
    for (int k = 0; k < n; k++, to += step)
      for (int j = 0; j < GEMM_COLUMNS; j++) to[j] = (float)(t[0][j] * g[k][0] + t[1][j] * g[k][1] + t[2][j] * g[k][2]);
  }
}

static void winograd_pack(const mien__winograd_shape *s, const float *w, float *packed) {
  const int n = s->size + 2;
  const int64_t depth = s->in_channels, step = depth * GEMM_COLUMNS;
  double g[6][3];
  winograd_weights(n, g);
  for (int64_t j0 = 0; j0 < s->out_channels; j0 += GEMM_COLUMNS, packed += n * n * step) {
    const int64_t columns = min_i64(GEMM_COLUMNS, s->out_channels - j0);
    double taps[9][GEMM_COLUMNS] = {{0}};
    for (int64_t c = 0; c < depth; c++) {
      for (int64_t j = 0; j < columns; j++)
        for (int t = 0; t < 9; t++) taps[t][j] = (double)w[((j0 + j) * depth + c) * 9 + t];
      winograd_pack_channel(n, (const double(*)[3])g, taps, packed + c * GEMM_COLUMNS, step);
    }
  }
}

/* ---- inputs */

VEC void winograd_input_line(const int n, const vf *x, vf *y) {
  if (n == 4) {
    y[0] = x[2] - x[0];
    y[1] = x[2] + x[1];
    y[2] = x[2] - x[1];
    y[3] = x[3] - x[1];
    return;
  }
  y[0] = vf_fnma(vf_set(2.5f), x[2], x[0] + x[4]);
  y[5] = vf_fnma(vf_set(2.5f), x[3], x[1] + x[5]);
  const vf e = vf_fnma(vf_set(2), x[2], x[4]), o = vf_fnma(vf_set(2), x[1], x[3]) * vf_set(ROOT_HALF);
  const vf f = vf_fnma(vf_set(0.5f), x[2], x[4]), p = vf_fnma(vf_set(0.5f), x[1], x[3]) * vf_set(ROOT_TWO);
  y[1] = e + o;
  y[2] = e - o;
  y[3] = f + p;
  y[4] = f - p;
}

VEC void winograd_input_vector(const int n, const float *const *pixels, int64_t at, int64_t count, float *v,
                               int64_t step) {
  vf t[6][6], line[6], y[6];
  MIEN_UNROLL
  for (int j = 0; j < n; j++) {
    MIEN_UNROLL
    for (int i = 0; i < n; i++) {
      const float *x = pixels[i * n + j] + at;
      line[i] = count == VL ? vf_load(x) : vf_load_n(x, count);
    }
    winograd_input_line(n, line, y);
    MIEN_UNROLL
    for (int i = 0; i < n; i++) t[i][j] = y[i];
  }
  MIEN_UNROLL
  for (int i = 0; i < n; i++) {
    winograd_input_line(n, t[i], y);
    MIEN_UNROLL
    for (int j = 0; j < n; j++) vf_store(v + (i * n + j) * step + at, y[j]);
  }
}

VEC void winograd_input_tile(const int n, const mien__winograd_shape *s, const float *const *pixels, float *v) {
  int64_t c = 0;
  for (; c + VL <= s->in_channels; c += VL) winograd_input_vector(n, pixels, c, VL, v, s->v_step);
  if (c < s->in_channels) winograd_input_vector(n, pixels, c, s->in_channels - c, v, s->v_step);
}

static void winograd_input_4(const mien__winograd_shape *s, const float *const *pixels, float *v) {
  winograd_input_tile(4, s, pixels, v);
}
static void winograd_input_6(const mien__winograd_shape *s, const float *const *pixels, float *v) {
  winograd_input_tile(6, s, pixels, v);
}
static void winograd_input(const mien__winograd_shape *s, const float *const *pixels, float *v) {
  (s->size == 2 ? winograd_input_4 : winograd_input_6)(s, pixels, v);
}

/* ---- products */

typedef void winograd_fn(int64_t depth, const float *a, int64_t a_row, const float *b, const float *next, float *c,
                         bool add);

/* c[rows][GEMM_COLUMNS] = (add ? c : 0) + A B. `next`: what comes after B, as long, out of memory; NULL: it is near. */
VEC void winograd_micro(const int rows, const int vectors, int64_t depth, const float *a, int64_t a_row, const float *b,
                        const float *next, float *c, bool add) {
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
  for (int64_t k = 0; k < depth; k++, b += GEMM_COLUMNS) {
    const vf b0 = vf_load(b), b1 = vectors == 2 ? vf_load(b + VL) : b0;
    if (next) {
      for (int64_t at = 0; at < GEMM_COLUMNS; at += WINOGRAD_LINE) vf_prefetch(next + at);
      next += GEMM_COLUMNS;
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
                                  float *c, bool add) {                                                            \
    winograd_micro(rows, 1, depth, a, a_row, b, next, c, add);                                                     \
  }                                                                                                                \
  static void winograd_##rows##_2(int64_t depth, const float *a, int64_t a_row, const float *b, const float *next, \
                                  float *c, bool add) {                                                            \
    winograd_micro(rows, 2, depth, a, a_row, b, next, c, add);                                                     \
  }
EACH_ROWS(X)
#undef X
#define X(rows) {winograd_##rows##_1, winograd_##rows##_2},
static winograd_fn *const winograd_micros[GEMM_ROWS][2] = {EACH_ROWS(X)};
#undef X

static void winograd_point(const mien__winograd_shape *s, int64_t tiles, int64_t vectors, const float *v,
                           const float *b, const float *next, float *m) {
  const int64_t blocks = (tiles + GEMM_ROWS - 1) / GEMM_ROWS, base = tiles / blocks, more = tiles % blocks;
  for (int64_t k = 0; k < s->in_channels; k += WINOGRAD_DEPTH) {
    const int64_t depth = min_i64(WINOGRAD_DEPTH, s->in_channels - k), at = k * GEMM_COLUMNS;
    for (int64_t i = 0, row = 0, rows; i < blocks; i++, row += rows) {
      rows = base + (i < more);
      winograd_micros[rows - 1][vectors - 1](depth, v + row * s->v_row + k, s->v_row, b + at,
                                             i == 0 && next ? next + at : NULL, m + row * GEMM_COLUMNS, k > 0);
    }
  }
}

static void winograd_product(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v,
                             const float *panel, const float *next, float *m) {
  const int64_t n = s->size + 2, points = n * n, step = s->in_channels * GEMM_COLUMNS;
  for (int64_t i = 0; i < points; i++) {
    const float *b = panel + i * step;
    winograd_point(s, tiles, columns > VL ? 2 : 1, v + i * s->v_step, b, i + 1 < points ? b + step : next,
                   m + i * s->m_step);
  }
}

/* ---- products with weights transformed in passing */

/* G of winograd_weights, times x. */
VEC void winograd_weight_line(const int n, const vf *x, vf *y) {
  if (n == 4) {
    const vf a = (x[0] + x[2]) * vf_set(0.5f), b = x[1] * vf_set(0.5f);
    y[0] = vf_set(0) - x[0];
    y[1] = a + b;
    y[2] = a - b;
    y[3] = x[2];
    return;
  }
  const vf a = vf_fma(vf_set(0.5f), x[2], x[0]) * vf_set(-2.0f / 3), b = x[1] * vf_set(-2.0f / 3 * ROOT_HALF);
  const vf c = vf_fma(vf_set(2), x[2], x[0]) * vf_set(1.0f / 6), d = x[1] * vf_set(ROOT_TWO / 6);
  y[0] = x[0];
  y[1] = a + b;
  y[2] = a - b;
  y[3] = c + d;
  y[4] = c - d;
  y[5] = x[2];
}

/* Channels of a block: taps of the first at w, `step` floats from tap to tap; to u [n * n][MIEN_WINOGRAD_BLOCK][columns]. */
VEC void winograd_weight_block(const int n, int64_t depth, const float *w, int64_t step, float *u) {
  for (int64_t at = 0; at < depth * GEMM_COLUMNS; at += VL) {
    vf t[6][3], line[6], y[6];
    MIEN_UNROLL
    for (int b = 0; b < 3; b++) {
      MIEN_UNROLL
      for (int a = 0; a < 3; a++) line[a] = vf_load(w + (a * 3 + b) * step + at);
      winograd_weight_line(n, line, y);
      MIEN_UNROLL
      for (int i = 0; i < n; i++) t[i][b] = y[i];
    }
    MIEN_UNROLL
    for (int i = 0; i < n; i++) {
      winograd_weight_line(n, t[i], y);
      MIEN_UNROLL
      for (int j = 0; j < n; j++) vf_store(u + (i * n + j) * WINOGRAD_BLOCK_STEP + at, y[j]);
    }
  }
}

static void winograd_weights_4(int64_t depth, const float *w, int64_t step, float *u) {
  winograd_weight_block(4, depth, w, step, u);
}
static void winograd_weights_6(int64_t depth, const float *w, int64_t step, float *u) {
  winograd_weight_block(6, depth, w, step, u);
}

/* Part `part` of `parts` of 9 rows of `depth` lines of weights that are `step` floats apart: towards the cache. */
static void winograd_fetch(const float *w, int64_t step, int64_t depth, int64_t part, int64_t parts) {
  const int64_t row = depth * GEMM_COLUMNS / WINOGRAD_LINE, all = 9 * row;
  for (int64_t i = part * all / parts; i < (part + 1) * all / parts; i++)
    vf_prefetch(w + i / row * step + i % row * WINOGRAD_LINE);
}

static void winograd_product_raw(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v,
                                 const float *panel, const float *next, float *u, float *m) {
  const int64_t n = s->size + 2, points = n * n, step = s->in_channels * GEMM_COLUMNS;
  const int64_t blocks = (tiles + GEMM_ROWS - 1) / GEMM_ROWS, base = tiles / blocks, more = tiles % blocks;
  const int vectors = columns > VL ? 2 : 1;
  for (int64_t k = 0; k < s->in_channels; k += MIEN_WINOGRAD_BLOCK) {
    const int64_t depth = min_i64(MIEN_WINOGRAD_BLOCK, s->in_channels - k), left = s->in_channels - k - depth;
    (n == 4 ? winograd_weights_4 : winograd_weights_6)(depth, panel + k * GEMM_COLUMNS, step, u);
    const float *after = left > 0 ? panel + (k + depth) * GEMM_COLUMNS : next;
    const int64_t after_depth = min_i64(MIEN_WINOGRAD_BLOCK, left > 0 ? left : s->in_channels);
    for (int64_t i = 0; i < points; i++) {
      if (after) winograd_fetch(after, step, after_depth, i, points);
      for (int64_t part = 0, row = 0, rows; part < blocks; part++, row += rows) {
        rows = base + (part < more);
        winograd_micros[rows - 1][vectors - 1](depth, v + i * s->v_step + row * s->v_row + k, s->v_row,
                                               u + i * WINOGRAD_BLOCK_STEP, NULL,
                                               m + i * s->m_step + row * GEMM_COLUMNS, k > 0);
      }
    }
  }
}

/* ---- outputs */

VEC void winograd_output_line(const int n, const vf *x, vf *y) {
  const vf p = x[1] + x[2], q = x[1] - x[2];
  if (n == 4) {
    y[0] = x[0] + p;
    y[1] = q + x[3];
    return;
  }
  const vf r = x[3] + x[4], s = x[3] - x[4];
  y[0] = x[0] + p + r;
  y[1] = vf_fma(vf_set(ROOT_TWO), s, q * vf_set(ROOT_HALF));
  y[2] = vf_fma(vf_set(2), r, p * vf_set(0.5f));
  y[3] = vf_fma(vf_set(2 * ROOT_TWO), s, vf_fma(vf_set(0.5f * ROOT_HALF), q, x[5]));
}

/* What is not finite times 0 is NaN, and stays in the sum. */
VEC bool winograd_output_tile(const int n, const mien__winograd_shape *s, const float *m, int64_t columns,
                              float *tile) {
  const int size = n - 2;
  vf check[2] = {vf_set(0), vf_set(0)};
  for (int64_t j = 0; j < columns; j += VL) {
    vf t[4][6], line[6], y[4];
    MIEN_UNROLL
    for (int k = 0; k < n; k++) {
      MIEN_UNROLL
      for (int i = 0; i < n; i++) line[i] = vf_load(m + (i * n + k) * s->m_step + j);
      winograd_output_line(n, line, y);
      MIEN_UNROLL
      for (int i = 0; i < size; i++) t[i][k] = y[i];
    }
    MIEN_UNROLL
    for (int i = 0; i < size; i++) {
      winograd_output_line(n, t[i], y);
      MIEN_UNROLL
      for (int k = 0; k < size; k++) {
        vf_store(tile + (i * size + k) * GEMM_COLUMNS + j, y[k]);
        check[k & 1] = vf_fma(y[k], vf_set(0), check[k & 1]);
      }
    }
  }
  return !vm_any(vf_is_nan(check[0] + check[1]));
}

static bool winograd_output_4(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile) {
  return winograd_output_tile(4, s, m, columns, tile);
}
static bool winograd_output_6(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile) {
  return winograd_output_tile(6, s, m, columns, tile);
}
static bool winograd_output(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile) {
  return (s->size == 2 ? winograd_output_4 : winograd_output_6)(s, m, columns, tile);
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
  for (int64_t i = 0; i < rows; i++) MIEN_K(mien__finish)
  (tile + i * s->size * GEMM_COLUMNS, GEMM_COLUMNS, pixels, columns, y + i * line * s->out_channels, s->out_channels, 1,
   e, place + i * line, column);
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
