/* mien.Linear: Y = epilogue(X W), X [..., K], W [K, N] (trans_w: [N, K]; or in panels: [N / columns, K, columns]), Y [..., N].
** fp32. W of a half type is a constant, in no panels: float16 is widened; bfloat16: X is rounded to it, products are summed in
** fp32. int16, W a constant in no panels: X and W are rounded to integers of 16 bits times steps.  mien 1. */
#include "ops/product.h"

static mien_status linear_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *w = &mien_in(n, 1)->type;
  if (x->rank < 1 || w->rank < 2 || w->rank > 3)
    return mien_fail(n, MIEN_INVALID_MODEL,
                     "X has rank %d and W rank %d, expected at least 1 and 2, or 3 where W is in panels", (int)x->rank,
                     (int)w->rank);
  const bool trans = mien_attr_i(n, "trans_w") != 0, panels = w->rank == 3;
  if (panels && (trans || w->dtype != MIEN_F32))
    return mien_fail(n, MIEN_INVALID_MODEL, "W has rank 3 (in panels) and is %s, expected float32 without trans_w",
                     trans ? "transposed" : "of a half type");
  const int64_t depth = w->dim[trans || panels ? 1 : 0];
  if (epilogue_differs(x->dim[x->rank - 1], depth))
    return mien_fail(n, MIEN_INVALID_MODEL, "X has rows of %lld elements and W takes %lld",
                     (long long)x->dim[x->rank - 1], (long long)depth);
  mien_type y = *x;
  y.dim[y.rank - 1] = panels ? mien_dim(n, '*', w->dim[0], w->dim[2]) : w->dim[trans ? 0 : 1];
  MIEN_TRY(epilogue_infer(n, y.dim[y.rank - 1], &y));
  return mien_set_type(n, 0, &y);
}

static mien_status linear_prepare(mien_node *n) {
  product *p = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *w = &mien_in(n, 1)->type;
  const bool trans = mien_attr_i(n, "trans_w") != 0, panels = w->rank == 3;
  p->batches = p->b_count = 1;
  p->k = w->dim[trans || panels ? 1 : 0];
  p->n = mien_out(n, 0)->type.dim[x->rank - 1];
  p->w_columns = panels ? w->dim[2] : 0;
  p->m = 1;
  for (int i = 0; i < x->rank - 1; i++) p->m *= x->dim[i];
  p->a_row = p->k;
  p->a_col = 1;
  p->b_row = trans ? 1 : p->n;
  p->b_col = trans ? p->k : 1;
  MIEN_TRY(gemm16_prepare(n, p->w_columns, &p->gemm16));
  MIEN_TRY(epilogue_prepare(n, &p->epilogue));
  return p->gemm16 ? product_prepare_16(n) : product_prepare_f32(n);
}

static mien_status linear_run(mien_node *n, int64_t begin, int64_t end) {
  const product *p = mien_state(n);
  mien_epilogue e = epilogue_read(n, &p->epilogue);
  e.residual_stride = p->n;
  if (p->gemm16) return product_run_16(n, &e);
  product_run_f32(n, &e, begin, end);
  return MIEN_OK;
}

static const mien_kernel linear_kernels[] = {{MIEN_F32, linear_run}, {MIEN_NONE, NULL}};
static const mien_attr linear_attrs[] = {{.name = "trans_w", .kind = 'i'}, EPILOGUE_ATTRS, GEMM16_ATTR, {.name = NULL}};

const mien_op mien_ops_fused_Linear[] = {
    {.domain = "mien",
     .name = "Linear",
     .since = 1,
     .signature = "X:T, W:W{f32,f16,bf16}, B:T?, S:T?, G:T?, R:T? -> Y:T",
     .attrs = linear_attrs,
     .kernels = linear_kernels,
     .state = sizeof(product),
     .infer = linear_infer,
     .prepare = linear_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "rows times a matrix, with bias, activation, scale and residual"},
    {.name = NULL},
};
