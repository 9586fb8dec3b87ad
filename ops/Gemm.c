/* Gemm: Y = alpha A' B' + beta C, A' and B' transposed where transA, transB say so, C broadcast to Y.
** ai.onnx 1 (explicit broadcast, required C), 6, 7, 9, 11 (C optional), 13. */
#include "ops/broadcast.h"
#include "ops/product.h"
#include <math.h>

typedef struct gemm_state {
  product p; /* first */
  float alpha, beta;
  bool c;               /* is added */
  int64_t c_row, c_col; /* strides of C; 0: repeated */
} gemm_state;

static mien_status gemm_infer(mien_node *n) {
  const mien_type *a = &mien_in(n, 0)->type, *b = &mien_in(n, 1)->type;
  if (a->rank != 2 || b->rank != 2)
    return mien_fail(n, MIEN_INVALID_MODEL, "A has rank %d and B rank %d, expected 2", (int)a->rank, (int)b->rank);
  const int ta = mien_attr_i(n, "transA") != 0, tb = mien_attr_i(n, "transB") != 0;
  const int64_t ka = a->dim[ta ? 0 : 1], kb = b->dim[tb ? 1 : 0];
  if (epilogue_differs(ka, kb))
    return mien_fail(n, MIEN_INVALID_MODEL, "A has rows of %lld elements and B columns of %lld", (long long)ka,
                     (long long)kb);
  mien_type y = *a;
  y.dim[0] = a->dim[ta ? 1 : 0];
  y.dim[1] = b->dim[tb ? 0 : 1];
  const mien_tensor *c = mien_in(n, 2);
  if (c) {
    const mien_type *t = &c->type;
    bool fits = t->rank <= 2;
    for (int i = 1; fits && i <= t->rank; i++)
      fits = t->dim[t->rank - i] == 1 || !epilogue_differs(t->dim[t->rank - i], y.dim[2 - i]);
    char tc[128], ty[128];
    if (!fits)
      return mien_fail(n, MIEN_INVALID_MODEL, "C of shape %s cannot be broadcast to %s",
                       mien_shape_text(t, tc, sizeof tc), mien_shape_text(&y, ty, sizeof ty));
  }
  return mien_set_type(n, 0, &y);
}

/* Of integers the factors must be integers too; other factors are refused rather than rounded. */
static mien_status gemm_integer_factors(mien_node *n) {
  const gemm_state *s = mien_state(n);
  if (s->alpha == truncf(s->alpha) && s->beta == truncf(s->beta) && fabsf(s->alpha) < 0x1p31f &&
      fabsf(s->beta) < 0x1p31f)
    return MIEN_OK;
  return mien_fail(n, MIEN_UNSUPPORTED, "alpha is %g and beta %g, expected whole numbers for integers",
                   (double)s->alpha, (double)s->beta);
}
static mien_status gemm_prepare(mien_node *n) {
  gemm_state *s = mien_state(n);
  product *p = &s->p;
  const mien_type *a = &mien_in(n, 0)->type, *b = &mien_in(n, 1)->type, *y = &mien_out(n, 0)->type;
  const bool ta = mien_attr_i(n, "transA") != 0, tb = mien_attr_i(n, "transB") != 0;
  p->batches = p->b_count = 1;
  p->m = y->dim[0];
  p->n = y->dim[1];
  p->k = a->dim[ta ? 0 : 1];
  p->a_row = ta ? 1 : a->dim[1];
  p->a_col = ta ? a->dim[1] : 1;
  p->b_row = tb ? 1 : b->dim[1];
  p->b_col = tb ? b->dim[1] : 1;
  s->alpha = (float)mien_attr_f(n, "alpha");
  s->beta = (float)mien_attr_f(n, "beta");
  s->c = mien_in(n, 2) != NULL && s->beta != 0; /* as in BLAS, 0 * C is not computed */
  if (s->c) {
    const mien_type *t = &mien_in(n, 2)->type;
    s->c_col = t->rank >= 1 && t->dim[t->rank - 1] != 1;
    s->c_row = t->rank == 2 && t->dim[0] != 1 ? t->dim[1] : 0;
  }
  const bool half = a->dtype == MIEN_F16 || a->dtype == MIEN_BF16;
  if (a->dtype != MIEN_F32 && a->dtype != MIEN_F64 && !half) MIEN_TRY(gemm_integer_factors(n));
  return a->dtype == MIEN_F32 ? product_prepare_f32(n) : product_prepare_plain(n);
}

/* The kernel's own bias where C is one; everything else in a pass over the rows that are still in the cache. */
static void gemm_after(const gemm_state *s, const float *c, float *y, int64_t row, int64_t rows, int64_t n0,
                       int64_t n1) {
  for (int64_t i = row; i < row + rows; i++)
    for (int64_t j = n0; j < n1; j++) {
      const float v = s->alpha * y[i * s->p.n + j];
      y[i * s->p.n + j] = c ? v + s->beta * c[i * s->c_row + j * s->c_col] : v;
    }
}

static mien_status gemm_f32(mien_node *n, int64_t begin, int64_t end) {
  const gemm_state *s = mien_state(n);
  const product *p = &s->p;
  const float *c = s->c ? mien_in(n, 2)->data : NULL;
  mien_epilogue e = {.act = MIEN_ACT_IDENTITY};
  const bool as_bias = s->alpha == 1 && (!c || (s->beta == 1 && s->c_row == 0 && s->c_col == 1));
  if (as_bias) {
    e.bias = c;
    product_run_f32(n, &e, begin, end);
    return MIEN_OK;
  }
  const int64_t width = mien_math_of(n)->gemm_columns;
  for (int64_t item = begin; item < end; item++) {
    const int64_t panel = product_by_chunk(p) ? item % p->panels : item / p->chunks;
    const int64_t chunk = product_by_chunk(p) ? item / p->panels : item % p->chunks;
    const int64_t row = chunk * p->chunk, rows = p->m - row < p->chunk ? p->m - row : p->chunk;
    const int64_t n1 = (panel + 1) * width < p->n ? (panel + 1) * width : p->n;
    product_run_f32(n, &e, item, item + 1);
    gemm_after(s, c, mien_out(n, 0)->data, row, rows, panel * width, n1);
  }
  return MIEN_OK;
}

#define GEMM_PLAIN(X, ...) X(F64, double, double, PLAIN, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
#define GEMM_INTEGER(X, ...)                     \
  X(I32, int32_t, uint32_t, PLAIN, __VA_ARGS__)  \
  X(I64, int64_t, uint64_t, PLAIN, __VA_ARGS__)  \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) \
  X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)

#define GEMM_ONE(D, T, C, K, ...)                                               \
  static mien_status gemm_##D(mien_node *n, int64_t begin, int64_t end) {       \
    const gemm_state *s = mien_state(n);                                        \
    const T *c = s->c ? mien_in(n, 2)->data : NULL;                             \
    T *y = mien_out(n, 0)->data;                                                \
    C *sum = mien_scratch_of(n);                                                \
    const C alpha = (C)s->alpha, beta = (C)s->beta;                             \
    for (int64_t i = begin; i < end; i++) {                                     \
      product_row_##D(&s->p, mien_in(n, 0)->data, mien_in(n, 1)->data, sum, i); \
      for (int64_t j = 0; j < s->p.n; j++) {                                    \
        C v = alpha * sum[j];                                                   \
        if (c) v += beta * MIEN_GET_##K(C, c[i * s->c_row + j * s->c_col]);     \
        y[i * s->p.n + j] = MIEN_PUT_##K(T, v);                                 \
      }                                                                         \
    }                                                                           \
    return MIEN_OK;                                                             \
  }
GEMM_PLAIN(GEMM_ONE, )

#define GEMM_INTEGER_ONE(D, T, C, K, ...)                                       \
  static mien_status gemm_##D(mien_node *n, int64_t begin, int64_t end) {       \
    const gemm_state *s = mien_state(n);                                        \
    const T *c = s->c ? mien_in(n, 2)->data : NULL;                             \
    T *y = mien_out(n, 0)->data;                                                \
    C *sum = mien_scratch_of(n);                                                \
    const C alpha = (C)(int64_t)s->alpha, beta = (C)(int64_t)s->beta;           \
    for (int64_t i = begin; i < end; i++) {                                     \
      product_row_##D(&s->p, mien_in(n, 0)->data, mien_in(n, 1)->data, sum, i); \
      for (int64_t j = 0; j < s->p.n; j++) {                                    \
        C v = alpha * sum[j];                                                   \
        if (c) v += beta * (C)c[i * s->c_row + j * s->c_col];                   \
        y[i * s->p.n + j] = (T)v;                                               \
      }                                                                         \
    }                                                                           \
    return MIEN_OK;                                                             \
  }
GEMM_INTEGER(GEMM_INTEGER_ONE, )

static const mien_kernel gemm_kernels[] = {{MIEN_F32, gemm_f32},
                                           GEMM_PLAIN(MIEN_ROW, gemm) GEMM_INTEGER(MIEN_ROW, gemm){MIEN_NONE, NULL}};
static const mien_kernel gemm_float_kernels[] = {
    {MIEN_F32, gemm_f32}, {MIEN_F64, gemm_F64}, {MIEN_F16, gemm_F16}, {MIEN_NONE, NULL}};

static const mien_attr gemm_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1},
                                       {.name = "beta", .kind = 'f', .f = 1},
                                       {.name = "transA", .kind = 'i'},
                                       {.name = "transB", .kind = 'i'},
                                       {.name = NULL}};
/* Before 7, C was stretched only where `broadcast` said so: whatever the model says, its shape is now checked. */
static const mien_attr gemm_1_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1}, {.name = "beta", .kind = 'f', .f = 1},
                                         {.name = "transA", .kind = 'i'},        {.name = "transB", .kind = 'i'},
                                         {.name = "broadcast", .kind = 'i'},     {.name = NULL}};

#define GEMM_RECORD(first, last, sign, table, attributes)                                                    \
  {                                                                                                          \
    .name = "Gemm", .since = first, .until = last, .signature = sign, .kernels = table, .attrs = attributes, \
    .state = sizeof(gemm_state), .infer = gemm_infer, .prepare = gemm_prepare, .flags = MIEN_OP_FLUSH,       \
    .doc = "alpha A B + beta C"                                                                              \
  }

const mien_op mien_ops_Gemm[] = {
    GEMM_RECORD(1, 6, "A:T, B:T, C:T -> Y:T", gemm_float_kernels, gemm_1_attrs),
    GEMM_RECORD(7, 8, "A:T, B:T, C:T -> Y:T", gemm_float_kernels, gemm_attrs),
    GEMM_RECORD(9, 10, "A:T, B:T, C:T -> Y:T", gemm_kernels, gemm_attrs),
    GEMM_RECORD(11, 0, "A:T, B:T, C:T? -> Y:T", gemm_kernels, gemm_attrs),
    {.name = NULL},
};
