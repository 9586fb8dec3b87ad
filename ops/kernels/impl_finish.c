/* ops/kernels/impl_finish.c -- what follows a product: bias, activation, scale and residual. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

typedef struct finish_place {
  float *tile, *c;
  int64_t tile_row, rows, columns, c_row, c_column, row0, column0;
} finish_place;

typedef void finish_fn(const finish_place *p, const mien_epilogue *e);

VEC vf finish_vector(const float *v, int64_t at, int64_t count, float absent) {
  return v ? count == VL ? vf_load(v + at) : vf_load_n(v + at, count) : vf_set(absent);
}

VEC vf finish_residual(const mien_epilogue *e, int64_t row, int64_t column, int64_t count) {
  const int64_t step = e->residual_step ? e->residual_step : 1;
  const float *r = e->residual + row * e->residual_stride + column * step;
  if (step == 1) return count == VL ? vf_load(r) : vf_load_n(r, count);
  float gathered[VL] = {0};
  for (int64_t i = 0; i < count; i++) gathered[i] = r[i * step];
  return vf_load(gathered);
}

VEC void finish_tile(const mien_activation act, const finish_place *p, const mien_epilogue *e) {
  const vf alpha = vf_set(e->alpha), beta = vf_set(e->beta);
  const bool direct = p->c_column == 1, late = e->residual && e->act_last;
  for (int64_t j = 0; j < p->columns; j += VL) {
    const int64_t count = min_i64(VL, p->columns - j), column = p->column0 + j;
    const vf bias = finish_vector(e->bias, column, count, 0), slope = finish_vector(e->slope, column, count, 0);
    const vf scale = finish_vector(e->scale, column, count, 1);
    for (int64_t i = 0; i < p->rows; i++) {
      vf x = vf_load(p->tile + i * p->tile_row + j);
      if (e->bias) x = x + bias;
      if (!late) x = v_activate(act, x, alpha, beta, slope);
      if (e->residual) {
        if (e->scale) x = x * scale;
        x = finish_residual(e, p->row0 + i, column, count) + x;
        if (late) x = v_activate(act, x, alpha, beta, slope);
      }
      if (!direct)
        vf_store(p->tile + i * p->tile_row + j, x);
      else if (count == VL)
        vf_store(p->c + i * p->c_row + j, x);
      else
        vf_store_n(p->c + i * p->c_row + j, x, count);
    }
  }
}

#define X(name, text) \
  static void finish_##name(const finish_place *p, const mien_epilogue *e) { finish_tile(MIEN_ACT_##name, p, e); }
MIEN_ACTIVATION_MAP(X)
#undef X
#define X(name, text) finish_##name,
static finish_fn *const finish_by_activation[] = {MIEN_ACTIVATION_MAP(X)};
#undef X

void MIEN_K(mien__finish)(float *tile, int64_t tile_row, int64_t rows, int64_t columns, float *c, int64_t c_row,
                          int64_t c_column, const mien_epilogue *e, int64_t row0, int64_t column0) {
  static const mien_epilogue nothing = {.act = MIEN_ACT_IDENTITY};
  const finish_place p = {tile, c, tile_row, rows, columns, c_row, c_column, row0, column0};
  finish_by_activation[e ? e->act : MIEN_ACT_IDENTITY](&p, e ? e : &nothing);
  if (c_column != 1)
    for (int64_t j = 0; j < columns; j++)
      for (int64_t i = 0; i < rows; i++) c[i * c_row + j * c_column] = tile[i * tile_row + j];
}
