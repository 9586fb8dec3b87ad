/* ops/kernels/impl_finish.c -- what follows a product: bias, activation, scale and residual. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

/* Lines of rows: from one to the next so many floats of the tile and of c, and rows of the whole output. */
typedef struct finish_place {
  float *tile, *c;
  int64_t tile_row, rows, columns, c_row, c_column, row0, column0;
  int64_t lines, tile_line, c_line, row_line;
} finish_place;

typedef void finish_fn(const finish_place *p, const mien_epilogue *e);

VEC vf finish_load(const bool whole, const float *x, int64_t count) { return whole ? vf_load(x) : vf_load_n(x, count); }

/* Elements `step` apart, next to each other. No part of the loops below: it is long, and they are many. */
__attribute__((noinline)) static void finish_gather(const float *r, int64_t step, int64_t count, float *gathered) {
  for (int64_t i = 0; i < count; i++) gathered[i] = r[i * step];
}

/* v scaled and a vector of the residual, whose elements are `step` apart. */
VEC vf finish_add(const bool whole, const float *r, int64_t step, int64_t count, vf v, vf scale) {
  if (step == 1) return finish_load(whole, r, count) + v * scale;
  float gathered[VL] = {0};
  finish_gather(r, step, count, gathered);
  return vf_load(gathered) + v * scale;
}

/* `count` columns from j on, of all rows; whole: a vector of them. One activation for an epilogue of any kind: each is long. */
VEC void finish_columns(const mien_activation act, const bool whole, const finish_place *p, const mien_epilogue *e,
                        int64_t j, int64_t count) {
  const vf alpha = vf_set(e->alpha), beta = vf_set(e->beta);
  const int64_t column = p->column0 + j, rows = p->rows, step = e->residual_step ? e->residual_step : 1;
  const vf bias = e->bias ? finish_load(whole, e->bias + column, count) : vf_set(-0.0f); /* x + -0 is x */
  const vf slope = e->slope ? finish_load(whole, e->slope + column, count) : vf_set(0);
  const vf scale = e->scale ? finish_load(whole, e->scale + column, count) : vf_set(1);
  const bool direct = p->c_column == 1, residual = e->residual, before = residual && e->act_last;
  const bool after = residual && !before;
  const float *x_line = p->tile + j;
  const float *r_line = x_line; /* stays there where there is no residual */
  if (residual) r_line = e->residual + p->row0 * e->residual_stride + column * step;
  float *y_line = direct ? p->c + j : p->tile + j;
  const int64_t lines = p->lines, x_step = p->tile_line, y_step = direct ? p->c_line : p->tile_line;
  const int64_t x_row = p->tile_row, y_row = direct ? p->c_row : p->tile_row, r_row = residual ? e->residual_stride : 0;
  const int64_t r_step = p->row_line * r_row;
  const bool part = !whole && direct; /* the tile has room for whole vectors */
  for (int64_t line = 0; line < lines; line++, x_line += x_step, y_line += y_step, r_line += r_step) {
    const float *x = x_line, *r = r_line;
    float *y = y_line;
    for (int64_t i = 0; i < rows; i++, x += x_row, y += y_row, r += r_row) {
      vf v = vf_load(x) + bias;
      if (before) v = finish_add(whole, r, step, count, v, scale);
      v = v_activate(act, v, alpha, beta, slope);
      if (after) v = finish_add(whole, r, step, count, v, scale);
      if (part)
        vf_store_n(y, v, count);
      else
        vf_store(y, v);
    }
  }
}

VEC void finish_tile(const mien_activation act, const finish_place *p, const mien_epilogue *e) {
  int64_t j = 0;
  for (; j + VL <= p->columns; j += VL) finish_columns(act, true, p, e, j, VL);
  if (j < p->columns) finish_columns(act, false, p, e, j, p->columns - j);
}

#define X(name, text) \
  static void finish_##name(const finish_place *p, const mien_epilogue *e) { finish_tile(MIEN_ACT_##name, p, e); }
MIEN_ACTIVATION_MAP(X)
#undef X
#define X(name, text) finish_##name,
static finish_fn *const finish_by_activation[] = {MIEN_ACTIVATION_MAP(X)};
#undef X

static void finish_all(const finish_place *p, const mien_epilogue *e) {
  static const mien_epilogue nothing = {.act = MIEN_ACT_IDENTITY};
  finish_by_activation[e ? e->act : MIEN_ACT_IDENTITY](p, e ? e : &nothing);
}

void MIEN_K(mien__finish)(float *tile, int64_t tile_row, int64_t rows, int64_t columns, float *c, int64_t c_row,
                          int64_t c_column, const mien_epilogue *e, int64_t row0, int64_t column0) {
  const finish_place p = {tile, c, tile_row, rows, columns, c_row, c_column, row0, column0, 1, 0, 0, 0};
  finish_all(&p, e);
  if (c_column != 1)
    for (int64_t j = 0; j < columns; j++)
      for (int64_t i = 0; i < rows; i++) c[i * c_row + j * c_column] = tile[i * tile_row + j];
}

void MIEN_K(mien__finish_lines)(float *tile, int64_t tile_row, int64_t tile_line, int64_t lines, int64_t rows,
                                int64_t columns, float *c, int64_t c_row, const mien_epilogue *e, int64_t row0,
                                int64_t row_line, int64_t column0) {
  const finish_place p = {tile, c,       tile_row, rows,      columns,          c_row,   1,
                          row0, column0, lines,    tile_line, row_line * c_row, row_line};
  finish_all(&p, e);
}
