/* ops/kernels/impl_math.c -- the table of one tier. */
#include "ops/kernels/kernels.h"

const mien_math MIEN_T(mien__math) = {
    .size = sizeof(mien_math),
    .isa = MIEN_TIER_NAME,
    .gemm_pack_bytes = MIEN_K(mien__gemm_pack_bytes),
    .gemm_pack = MIEN_K(mien__gemm_pack),
    .gemm = MIEN_K(mien__gemm),
    .gemm_rows = GEMM_ROWS,
    .gemm_columns = GEMM_COLUMNS,
    .attention_scratch = MIEN_K(mien__attention_scratch),
    .attention = MIEN_K(mien__attention),
    .attention_rows = GEMM_ROWS,
    .activate = MIEN_K(mien__activate),
    .softmax = MIEN_K(mien__softmax),
    .layer_norm = MIEN_K(mien__layer_norm),
    .gemm_pieces = MIEN_K(mien__gemm_pieces),
    .depthwise = MIEN_K(mien__depthwise),
    .exp = MIEN_K(mien__exp),
    .erf = MIEN_K(mien__erf),
    .peak = MIEN_K(mien__peak),
    .bf16 = &MIEN_T(mien__bf16),
    .int16 = &MIEN_T(mien__int16),
    .largest = MIEN_K(mien__largest),
    .gemm_plain = MIEN_K(mien__gemm_plain),
};
