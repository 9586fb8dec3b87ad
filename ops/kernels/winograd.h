/* ops/kernels/winograd.h -- 3x3 convolutions by Winograd's method F(size x size, 3x3): a tile of size x size outputs is made of
** n x n inputs, with n * n multiplications a channel instead of 9 * size * size; n is size + 2, of stride 2 2 * size + 1.
** Internal to libmien: the parts of one instruction set; ops/conv_winograd.h puts them together. */
#ifndef MIEN_OPS_KERNELS_WINOGRAD_H
#define MIEN_OPS_KERNELS_WINOGRAD_H

#include <mien/plugin.h>

enum {
  MIEN_WINOGRAD_POINTS = 121, /* the largest n * n */
  MIEN_WINOGRAD_PIXELS = 25,  /* the largest size * size */
  MIEN_WINOGRAD_COLUMNS = 32, /* the largest gemm_columns */
  MIEN_WINOGRAD_BLOCK = 64,   /* input channels that product_raw transforms at once */
  MIEN_WINOGRAD_SKEW = 16 /* floats, so that an element's transforms lie on different sets of the first-level cache */
};

/* Transformed inputs V [n * n][tiles][channels] and products M [n * n][tiles][gemm_columns], strides in floats. */
typedef struct mien__winograd_shape {
  int size, stride; /* 2, 4 or 5 of stride 1; 4 or 5 of stride 2 */
  int64_t in_channels, out_channels;
  int64_t v_row, v_step; /* from tile to tile and from point to point of V; v_row is a whole number of vectors */
  int64_t m_step;        /* from point to point of M */
  int64_t w_columns;     /* of the panels that W lies in; 0: it lies as ONNX says */
} mien__winograd_shape;

/* n, the pixels and the points of a line of a tile. */
static inline int mien__winograd_pixels(const mien__winograd_shape *s) {
  return s->stride == 1 ? s->size + 2 : 2 * s->size + 1;
}

typedef struct mien__winograd {
  int64_t vector; /* v_row is a multiple of this */
  /* W [out_channels][in_channels][3][3], or in panels [out_channels / w_columns][3][3][in_channels][w_columns], into panels of
  ** gemm_columns output channels, each [(size + 2)^2][in_channels][columns]. Computed in double precision, rounded once. */
  void (*pack)(const mien__winograd_shape *s, const float *w, float *packed);
  /* One tile: pixel i of its n * n inputs is in_channels floats at pixels[i]. */
  void (*input)(const mien__winograd_shape *s, const float *const *pixels, float *v);
  /* M = V times one panel, of which `columns` columns are in use. */
  void (*product)(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v, const float *panel,
                  const float *next, float *m);
  /* The same with a panel as gemm_pack lays it out, [9][in_channels][columns], whose weights are transformed in passing, into
  ** u: (size + 2)^2 * (MIEN_WINOGRAD_BLOCK * columns + MIEN_WINOGRAD_SKEW) floats. Out of memory come a fraction of the bytes. */
  void (*product_raw)(const mien__winograd_shape *s, int64_t tiles, int64_t columns, const float *v, const float *panel,
                      const float *next, float *u, float *m);
  /* One tile of M into tile[size * size][gemm_columns], of which `columns` columns are in use. False when an infinity or NaN
  ** is among the outputs: X held one, or values whose transforms overflow. Then every output of the tile may be wrong. */
  bool (*output)(const mien__winograd_shape *s, const float *m, int64_t columns, float *tile);
  bool (*has_nan)(const float *x, int64_t count);
  /* The rows x pixels outputs of a tile that exist through the epilogue to y, which is pixel `place` of the output, its
  ** columns from `column` on; `line` pixels to the next row. The tile is destroyed. */
  void (*finish)(const mien__winograd_shape *s, float *tile, int64_t rows, int64_t pixels, int64_t line, int64_t column,
                 int64_t columns, float *y, int64_t place, const mien_epilogue *e);
} mien__winograd;

const mien__winograd *mien__winograd_of(const mien_math *math);

#endif
