/* ops/kernels/kernels.h -- what the files of one instruction set share. Everything else reaches them through mien_math. */
#ifndef MIEN_OPS_KERNELS_KERNELS_H
#define MIEN_OPS_KERNELS_KERNELS_H

#include "ops/kernels/simd.h"

size_t MIEN_K(mien__gemm_pack_bytes)(int64_t k, int64_t n);
void MIEN_K(mien__gemm_pack)(int64_t k, int64_t n, const float *b, int64_t row_stride, int64_t col_stride,
                             float *packed);
void MIEN_K(mien__gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *packed,
                        float *c, int64_t c_stride, int64_t n0, int64_t n1, const mien_epilogue *e);
void MIEN_K(mien__gemm_plain)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *b,
                              int64_t b_stride, float *c, int64_t c_stride, const mien_epilogue *e);
void MIEN_K(mien__gemm_pieces)(int64_t m, int64_t n, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                               int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e);
void MIEN_K(mien__depthwise)(int64_t m, const mien_depthwise *d, float *c, int64_t c_row, const mien_epilogue *e);
extern const mien_gemm16 MIEN_T(mien__bf16), MIEN_T(mien__int16);
/* Applies e to rows x columns elements of a tile with `tile_row` floats a row and writes them to c. row0, column0: place in
** the whole output, for the vectors of e. The tile is destroyed. e NULL: nothing to apply. */
void MIEN_K(mien__finish)(float *tile, int64_t tile_row, int64_t rows, int64_t columns, float *c, int64_t c_row,
                          int64_t c_column, const mien_epilogue *e, int64_t row0, int64_t column0);
/* The same for `lines` lines of rows, tile_line floats apart in the tile, row_line rows in the output. */
void MIEN_K(mien__finish_lines)(float *tile, int64_t tile_row, int64_t tile_line, int64_t lines, int64_t rows,
                                int64_t columns, float *c, int64_t c_row, const mien_epilogue *e, int64_t row0,
                                int64_t row_line, int64_t column0);

size_t MIEN_K(mien__attention_scratch)(const mien_attention *a);
void MIEN_K(mien__attention)(const mien_attention *a, int64_t begin, int64_t end, void *scratch);

void MIEN_K(mien__activate)(mien_activation act, float alpha, float beta, const float *x, float *y, int64_t count);
void MIEN_K(mien__exp)(const float *x, float *y, int64_t count);
void MIEN_K(mien__erf)(const float *x, float *y, int64_t count);
void MIEN_K(mien__largest)(int64_t count, const float *const *rows, int64_t length, float *y);
void MIEN_K(mien__softmax)(const float *x, float *y, int64_t count);
void MIEN_K(mien__layer_norm)(const float *x, const float *gamma, const float *beta, float epsilon, float *y,
                              int64_t count, float *mean, float *inv_std);

double MIEN_K(mien__peak)(int64_t rounds, float *sum);

/* Whether e's activation is min(high, max(low, x)), of which a NaN stays a NaN: no function need be called for it. */
VEC bool clamp_of(const mien_epilogue *e, float *low, float *high) {
  *low = e->act == MIEN_ACT_RELU ? 0 : e->act == MIEN_ACT_CLIP ? e->alpha : -INFINITY;
  *high = e->act == MIEN_ACT_CLIP ? e->beta : INFINITY;
  return e->act == MIEN_ACT_IDENTITY || e->act == MIEN_ACT_RELU || e->act == MIEN_ACT_CLIP;
}

extern const mien_math MIEN_T(mien__math);

#endif
