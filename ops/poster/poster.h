/* ops/poster/poster.h -- what the operators of this plugin share. Only plugin.h is included: this folder is built as a stranger
** would build it.
**
** Domain `poster`. All operators are fp32, take constant weights (packed once) and run several parallel phases. */
#ifndef MIEN_POSTER_H
#define MIEN_POSTER_H

#include <mien/plugin.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- products with packed weights */

typedef struct poster_matrix {
  int64_t k, n;
  const float *packed; /* NULL: an empty matrix */
  char kind[64];       /* of the packing; says all that it depends on */
} poster_matrix;

/* First member of every state here: tells `fill` which input it packs. */
typedef struct poster_packing {
  int input;
} poster_packing;

static inline mien_status poster_fill(mien_node *n, void *memory) {
  const poster_packing *p = mien_state(n);
  const mien_tensor *w = mien_in(n, p->input);
  mien_math_of(n)->gemm_pack(w->type.dim[0], w->type.dim[1], w->data, w->type.dim[1], 1, memory);
  return MIEN_OK;
}

MIEN_CHECKED static inline mien_status poster_pack(mien_node *n, int input, poster_matrix *m) {
  poster_packing *p = mien_state(n);
  const mien_type *t = &mien_in(n, input)->type;
  m->k = t->dim[0];
  m->n = t->dim[1];
  if (!mien_is_constant(n, input)) return mien_fail(n, MIEN_UNSUPPORTED, "input %d is not constant", input);
  size_t bytes = mien_math_of(n)->gemm_pack_bytes(m->k, m->n);
  if (bytes == SIZE_MAX) return mien_fail(n, MIEN_LIMIT, "input %d is too large to pack", input);
  m->packed = NULL;
  if (bytes == 0) return MIEN_OK;
  const void *packed;
  p->input = input;
  snprintf(m->kind, sizeof m->kind, "poster %lldx%lld", (long long)m->k, (long long)m->n);
  MIEN_TRY(mien_packed(n, input, m->kind, bytes, poster_fill, &packed));
  m->packed = packed;
  return MIEN_OK;
}

typedef struct poster_product {
  const poster_matrix *w;
  const float *a;
  float *c;
  int64_t m, chunk, panels;
  const mien_epilogue *e;
} poster_product;

static inline mien_status poster_part(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const poster_product *p = arg;
  const mien_math *math = mien_math_of(n);
  for (int64_t i = begin, take; i < end; i += take) {
    int64_t row = i / p->panels * p->chunk, rows = p->m - row < p->chunk ? p->m - row : p->chunk;
    int64_t panel = i % p->panels, n0 = panel * math->gemm_columns;
    take = end - i < p->panels - panel ? end - i : p->panels - panel;
    int64_t n1 = n0 + take * math->gemm_columns;
    mien_epilogue e = *p->e;
    if (e.residual) e.residual += row * e.residual_stride;
    math->gemm(rows, p->w->n, p->w->k, p->a + row * p->w->k, p->w->k, p->w->packed, p->c + row * p->w->n, p->w->n, n0,
               n1 < p->w->n ? n1 : p->w->n, &e);
  }
  return MIEN_OK;
}

/* C[m, w.n] = epilogue(A[m, w.k] w), over the session's threads. */
MIEN_CHECKED static inline mien_status poster_multiply(mien_node *n, int64_t m, const float *a, const poster_matrix *w,
                                                       float *c, const mien_epilogue *e) {
  const mien_math *math = mien_math_of(n);
  if (m == 0 || w->n == 0) return MIEN_OK;
  poster_product p = {.w = w, .a = a, .c = c, .m = m, .chunk = 4 * math->gemm_rows, .e = e};
  p.panels = (w->n + math->gemm_columns - 1) / math->gemm_columns;
  int64_t items = (m + p.chunk - 1) / p.chunk * p.panels;
  double cost = 2.0 * (double)w->k * (double)p.chunk * (double)math->gemm_columns / 50 + 50;
  return mien_parallel(n, items, cost, poster_part, &p);
}

static inline double poster_flops(double m, const poster_matrix *w) { return 2.0 * m * (double)w->k * (double)w->n; }

static inline const float *poster_data(const mien_node *n, int input) {
  const mien_tensor *t = mien_in(n, input);
  return t ? t->data : NULL;
}

/* Rows of a value of rank >= 1: all its axes but the last. */
static inline int64_t poster_rows(const mien_type *t) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < t->rank; i++) rows *= t->dim[i];
  return rows;
}

/* ---------------------------------------------------------------- checks */

static inline bool poster_same(int64_t a, int64_t b) { return a == b || mien_is_symbol(a) || mien_is_symbol(b); }

MIEN_CHECKED static inline mien_status poster_check_matrix(mien_node *n, const char *name, int input, int64_t k,
                                                           int64_t columns) {
  const mien_type *t = &mien_in(n, input)->type;
  if (t->rank != 2 || !poster_same(t->dim[0], k) || (columns >= 0 && !poster_same(t->dim[1], columns)))
    return mien_fail(n, MIEN_INVALID_MODEL, "%s does not fit: expected %lld rows%s", name, (long long)k,
                     columns >= 0 ? " and as many columns as its result" : "");
  return MIEN_OK;
}

/* An optional vector of that length. */
MIEN_CHECKED static inline mien_status poster_check_vector(mien_node *n, const char *name, int input, int64_t length) {
  const mien_tensor *v = mien_in(n, input);
  if (!v || (v->type.rank == 1 && poster_same(v->type.dim[0], length))) return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "%s is no vector of %lld", name, (long long)length);
}

/* ---------------------------------------------------------------- rewrites */

/* A mien.Linear with constant weights of rank 2 and nothing but a bias and an activation. */
typedef struct poster_linear {
  mien_node_id node;
  mien_value x, w, b, y;
  bool trans_w;
} poster_linear;

static inline mien_value poster_in(const mien_rewriter *r, mien_node_id n, int i) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return i < h->in_count(r, n) ? h->in(r, n, i) : MIEN_NO_VALUE;
}

static inline bool poster_linear_of(const mien_rewriter *r, mien_node_id n, const char *activation, poster_linear *l) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (n == MIEN_NO_NODE || strcmp(h->op_name(r, n), "mien.Linear") != 0) return false;
  *l = (poster_linear){
      n, poster_in(r, n, 0), poster_in(r, n, 1), poster_in(r, n, 2), h->out(r, n, 0), h->attr_i(r, n, "trans_w") != 0};
  if (poster_in(r, n, 3) != MIEN_NO_VALUE || !h->constant(r, l->w)) return false;
  if (strcmp(h->attr_s(r, n, "activation"), activation) != 0 || h->attr_i(r, n, "act_last")) return false;
  return true;
}

static inline bool poster_is_single(const mien_rewriter *r, mien_value v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return h->uses(r, v) == 1 && !h->is_output(r, v);
}

/* The weights as [K, N]. */
MIEN_CHECKED static inline mien_status poster_weights(mien_rewriter *r, const poster_linear *l, mien_value *w) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  *w = l->w;
  if (!l->trans_w) return MIEN_OK;
  MIEN_TRY(h->begin(r, "Transpose", &l->w, 1));
  MIEN_TRY(h->set_ints(r, "perm", (int64_t[]){1, 0}, 2));
  return h->end(r, w, 1);
}

/* A mien.Linear of the patch, for decompositions. */
MIEN_CHECKED static inline mien_status poster_add_linear(mien_rewriter *r, mien_value x, mien_value w, mien_value b,
                                                         const char *activation, mien_value *y) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  MIEN_TRY(h->begin(r, "mien.Linear", (mien_value[]){x, w, b}, b == MIEN_NO_VALUE ? 2 : 3));
  MIEN_TRY(h->set_s(r, "activation", activation));
  return h->end(r, y, 1);
}

#endif
