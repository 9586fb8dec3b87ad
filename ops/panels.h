/* ops/panels.h -- weights in panels: [panels][depth][columns], which is a matrix [depth][panels * columns] cut into strips of
** columns, as gemm_pack lays it out where gemm_columns is `columns`. Plans hold the weights of products so (passes/panels.c):
** kernels that want just these columns read them where they lie in the file, and loading copies nothing; for others they are
** packed anew. */
#ifndef MIEN_OPS_PANELS_H
#define MIEN_OPS_PANELS_H

#include <mien/plugin.h>
#include <string.h>

/* Columns [first, first + count) of W for gemm; first is a multiple of gemm_columns. */
static inline void panels_pack(const mien_math *math, int64_t depth, int64_t columns, const float *w, int64_t first,
                               int64_t count, float *packed) {
  const int64_t width = math->gemm_columns;
  if (depth == 0) return; /* W may be nowhere */
  for (int64_t j0 = 0; j0 < count; j0 += width, packed += depth * width) {
    const int64_t have = count - j0 < width ? count - j0 : width, panel = (first + j0) / columns;
    const int64_t at = (first + j0) % columns;
    if (have <= columns - at) {
      math->gemm_pack(depth, have, w + panel * depth * columns + at, columns, 1, packed);
      continue;
    }
    memset(packed, 0, (size_t)(depth * width) * sizeof(float));
    for (int64_t j = 0; j < have; j++) {
      const int64_t column = first + j0 + j;
      const float *from = w + column / columns * depth * columns + column % columns;
      for (int64_t d = 0; d < depth; d++) packed[d * width + j] = from[d * columns];
    }
  }
}

#endif
