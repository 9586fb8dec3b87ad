/* ops/epilogue.h -- what the fused operators of domain mien do after a product: attributes activation, alpha, beta,
** act_last, and inputs B (bias), S (slope), G (scale), R (residual), in this order after X and W. */
#ifndef MIEN_OPS_EPILOGUE_H
#define MIEN_OPS_EPILOGUE_H

#include <mien/plugin.h>
#include <stdio.h>
#include <string.h>

enum { EPILOGUE_B = 2, EPILOGUE_S = 3, EPILOGUE_G = 4, EPILOGUE_R = 5 };

#define EPILOGUE_ATTRS                                                                                           \
  {.name = "activation", .kind = 's', .s = ""}, {.name = "alpha", .kind = 'f'}, {.name = "beta", .kind = 'f'}, { \
    .name = "act_last", .kind = 'i'                                                                              \
  }

static inline bool epilogue_differs(int64_t a, int64_t b) { return !mien_is_symbol(a) && !mien_is_symbol(b) && a != b; }

static inline mien_status epilogue_activation(mien_node *n, const char *attribute, mien_activation *act) {
  const char *name = mien_attr_s(n, attribute);
#define X(id, text)              \
  if (strcmp(name, text) == 0) { \
    *act = MIEN_ACT_##id;        \
    return MIEN_OK;              \
  }
  MIEN_ACTIVATION_MAP(X)
#undef X
  return mien_fail(n, MIEN_INVALID_MODEL, "%s '%.40s' is not known", attribute, name);
}

/* Input i, which may be absent, is an element for each column. */
static inline mien_status epilogue_vector(mien_node *n, int i, const char *name, int64_t columns) {
  const mien_tensor *v = mien_in(n, i);
  if (!v || (v->type.rank == 1 && !epilogue_differs(v->type.dim[0], columns))) return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "input %s has rank %d and %lld elements, expected 1 and %lld", name,
                   (int)v->type.rank, v->type.rank == 1 ? (long long)v->type.dim[0] : -1LL, (long long)columns);
}

/* In infer: checks everything that the attributes and inputs say against `columns` and the output's type. */
static inline mien_status epilogue_infer(mien_node *n, int64_t columns, const mien_type *y) {
  static const char *const names[] = {"B", "S", "G"};
  mien_activation act;
  MIEN_TRY(epilogue_activation(n, "activation", &act));
  for (int i = EPILOGUE_B; i <= EPILOGUE_G; i++) MIEN_TRY(epilogue_vector(n, i, names[i - EPILOGUE_B], columns));
  if (act == MIEN_ACT_PRELU && !mien_in(n, EPILOGUE_S))
    return mien_fail(n, MIEN_INVALID_MODEL, "activation PRelu needs input S");
  const mien_tensor *r = mien_in(n, EPILOGUE_R);
  if (!r) return MIEN_OK;
  bool same = r->type.rank == y->rank;
  for (int i = 0; same && i < y->rank; i++) same = !epilogue_differs(r->type.dim[i], y->dim[i]);
  if (!same) return mien_fail(n, MIEN_INVALID_MODEL, "input R does not have the output's shape");
  return MIEN_OK;
}

static inline const float *epilogue_data(const mien_node *n, int i) {
  const mien_tensor *t = mien_in(n, i);
  return t ? t->data : NULL;
}

/* In prepare: what the attributes say. */
static inline mien_status epilogue_prepare(mien_node *n, mien_epilogue *e) {
  *e = (mien_epilogue){.alpha = (float)mien_attr_f(n, "alpha"),
                       .beta = (float)mien_attr_f(n, "beta"),
                       .act_last = mien_attr_i(n, "act_last") != 0};
  return epilogue_activation(n, "activation", &e->act);
}

/* In run: that, and where the inputs are. The residual's strides are the caller's to fill in. */
static inline mien_epilogue epilogue_read(const mien_node *n, const mien_epilogue *prepared) {
  mien_epilogue e = *prepared;
  e.bias = epilogue_data(n, EPILOGUE_B);
  e.slope = epilogue_data(n, EPILOGUE_S);
  e.scale = epilogue_data(n, EPILOGUE_G);
  e.residual = epilogue_data(n, EPILOGUE_R);
  return e;
}

/* The epilogue of the part of the output that begins at (row, column). */
static inline mien_epilogue epilogue_at(const mien_epilogue *e, int64_t row, int64_t column) {
  mien_epilogue p = *e;
  if (p.bias) p.bias += column;
  if (p.slope) p.slope += column;
  if (p.scale) p.scale += column;
  if (p.residual) p.residual += row * p.residual_stride + column * (p.residual_step ? p.residual_step : 1);
  return p;
}

/* What a profile calls the kernel: `title`, or the product by the machine's blocking. packed: its right operand is, once and for all. */
static inline void epilogue_kernel(mien_node *n, char *text, size_t size, const char *title, bool packed) {
  const mien_math *math = mien_math_of(n);
  const char *suffix = packed ? "" : ", packs each run";
  if (title)
    snprintf(text, size, "%s%s", title, suffix);
  else
    snprintf(text, size, "gemm %lldx%lld%s", (long long)math->gemm_rows, (long long)math->gemm_columns, suffix);
}

#endif
