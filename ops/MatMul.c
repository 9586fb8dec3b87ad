/* MatMul: Y = A B as numpy.matmul: matrices in the last two dimensions, the others broadcast; a vector is a row on the
** left and a column on the right.  ai.onnx 1, 9, 13. */
#include "ops/broadcast.h"
#include "ops/product.h"

/* An operand as matrices: a vector gets its missing dimension. */
static mien_type matmul_matrix(const mien_type *t, bool left) {
  mien_type m = *t;
  if (t->rank != 1) return m;
  m.rank = 2;
  m.dim[0] = left ? 1 : t->dim[0];
  m.dim[1] = left ? t->dim[0] : 1;
  return m;
}

static mien_status matmul_infer(mien_node *n) {
  const mien_type *a = &mien_in(n, 0)->type, *b = &mien_in(n, 1)->type;
  if (a->rank < 1 || b->rank < 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "input %c is a scalar, expected rank 1 or more", a->rank < 1 ? 'A' : 'B');
  mien_type ma = matmul_matrix(a, true), mb = matmul_matrix(b, false);
  const int64_t ka = ma.dim[ma.rank - 1], kb = mb.dim[mb.rank - 2], rows = ma.dim[ma.rank - 2];
  const int64_t columns = mb.dim[mb.rank - 1];
  if (epilogue_differs(ka, kb))
    return mien_fail(n, MIEN_INVALID_MODEL, "A has rows of %lld elements and B columns of %lld", (long long)ka,
                     (long long)kb);
  ma.rank -= 2;
  mb.rank -= 2;
  mien_type y = ma;
  MIEN_TRY(mien_broadcast_shape(n, &y, &mb));
  if (y.rank + 2 > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "the output has more than %d dimensions", MIEN_MAX_RANK);
  if (a->rank > 1) y.dim[y.rank++] = rows;
  if (b->rank > 1) y.dim[y.rank++] = columns;
  return mien_set_type(n, 0, &y);
}

static mien_status matmul_prepare(mien_node *n) {
  product *p = mien_state(n);
  const mien_type a = matmul_matrix(&mien_in(n, 0)->type, true), b = matmul_matrix(&mien_in(n, 1)->type, false);
  p->m = a.dim[a.rank - 2];
  p->k = p->a_row = a.dim[a.rank - 1];
  p->n = p->b_row = b.dim[b.rank - 1];
  p->a_col = p->b_col = 1;
  product_batches(p, &a, &b);
  return a.dtype == MIEN_F32 ? product_prepare_f32(n) : product_prepare_plain(n);
}

static mien_status matmul_f32(mien_node *n, int64_t begin, int64_t end) {
  const mien_epilogue e = {.act = MIEN_ACT_IDENTITY};
  product_run_f32(n, &e, begin, end);
  return MIEN_OK;
}

#define MATMUL_ONE(D, T, C, K, ...)                                                 \
  static mien_status matmul_##D(mien_node *n, int64_t begin, int64_t end) {         \
    const product *p = mien_state(n);                                               \
    C *sum = mien_scratch_of(n);                                                    \
    T *y = mien_out(n, 0)->data;                                                    \
    for (int64_t i = begin; i < end; i++) {                                         \
      product_row_##D(p, mien_in(n, 0)->data, mien_in(n, 1)->data, sum, i);         \
      for (int64_t j = 0; j < p->n; j++) y[i * p->n + j] = MIEN_PUT_##K(T, sum[j]); \
    }                                                                               \
    return MIEN_OK;                                                                 \
  }
PRODUCT_TYPES(MATMUL_ONE, )

static const mien_kernel matmul_kernels[] = {{MIEN_F32, matmul_f32}, PRODUCT_TYPES(MIEN_ROW, matmul){MIEN_NONE, NULL}};
static const mien_kernel matmul_float_kernels[] = {
    {MIEN_F32, matmul_f32}, {MIEN_F64, matmul_F64}, {MIEN_F16, matmul_F16}, {MIEN_NONE, NULL}};

#define MATMUL_RECORD(first, last, table)                                                               \
  {                                                                                                     \
    .name = "MatMul", .since = first, .until = last, .signature = "A:T, B:T -> Y:T", .kernels = table,  \
    .state = sizeof(product), .infer = matmul_infer, .prepare = matmul_prepare, .flags = MIEN_OP_FLUSH, \
    .doc = "matrix product, broadcast over leading dimensions"                                          \
  }

const mien_op mien_ops_MatMul[] = {
    MATMUL_RECORD(1, 8, matmul_float_kernels),
    MATMUL_RECORD(9, 0, matmul_kernels),
    {.name = NULL},
};
