/* ops/product.h -- matrix products for MatMul, Gemm and mien.Linear. fp32 goes through the machine's packed kernel: constant right
** operands are packed once in prepare, others are read as they lie or, where that costs more, packed panel by panel into a thread's
** scratch. All other types take a plain loop. Work items and their sums do not depend on how many threads there are. */
#ifndef MIEN_OPS_PRODUCT_H
#define MIEN_OPS_PRODUCT_H

#include "ops/epilogue.h"
#include "ops/gemm16.h"
#include "ops/loop.h"
#include "ops/panels.h"
#include <stdio.h>

/* C[b] = A[b] B[b] for `batches` of m x k by k x n. Strides in elements; a batch's matrices begin where product_a and
** product_b say. C is dense. */
typedef struct product {
  mien_epilogue epilogue; /* of mien.Linear, what its attributes say */
  int64_t batches, m, n, k;
  int64_t a_row, a_col, b_row, b_col;
  /* Batch dimensions of C, and the strides of A and B along them (0: repeated). */
  int batch_rank;
  int64_t batch_dim[MIEN_MAX_RANK], a_batch[MIEN_MAX_RANK], b_batch[MIEN_MAX_RANK];
  int64_t b_count; /* matrices that B holds */
  int64_t
      w_columns; /* of the panels that B, one matrix, lies in; 0: it does not, and b_row and b_col say how it lies */
  int64_t chunk, chunks, panels;
  const float *packed; /* NULL: B is not constant, */
  bool plain;          /* and is read as it lies, */
  int64_t together;    /* or so many panels are packed together */
  size_t packed_each;  /* floats a matrix */
  /* Operands of 16 bits: elements of a row, the floats from one row to the next, rows that are rounded at once, where in scratch they
  ** begin. */
  const mien_gemm16 *gemm16;
  int64_t elements, elements_row, rows_once;
  size_t elements_at;
  char kind[96], kernel[48];
} product;

static inline int64_t product_ceil(int64_t a, int64_t b) { return a / b + (a % b != 0); }

static inline int64_t product_offset(const product *p, const int64_t *stride, int64_t batch) {
  int64_t offset = 0;
  for (int i = p->batch_rank - 1; i >= 0; i--) {
    offset += batch % p->batch_dim[i] * stride[i];
    batch /= p->batch_dim[i];
  }
  return offset;
}

/* The batch dimensions of a numpy product: all but the last two of each operand, which must have them. */
static inline void product_batches(product *p, const mien_type *a, const mien_type *b) {
  const int ra = a->rank - 2, rb = b->rank - 2;
  int64_t sa = p->m * p->k, sb = p->k * p->n;
  p->batch_rank = ra > rb ? ra : rb;
  p->batches = p->b_count = 1;
  for (int i = 1; i <= p->batch_rank; i++) {
    const int64_t da = i <= ra ? a->dim[ra - i] : 1, db = i <= rb ? b->dim[rb - i] : 1;
    const int at = p->batch_rank - i;
    p->batch_dim[at] = da == 1 ? db : da;
    p->a_batch[at] = da == 1 ? 0 : sa;
    p->b_batch[at] = db == 1 ? 0 : sb;
    sa *= da;
    sb *= db;
    p->batches *= p->batch_dim[at];
    p->b_count *= db;
  }
  /* One right operand for all: the batch is more rows. */
  bool shared = p->b_count == 1 && p->a_row == p->k && p->a_col == 1;
  for (int i = 0; i < p->batch_rank; i++) shared = shared && (p->a_batch[i] != 0 || p->batch_dim[i] == 1);
  if (shared) {
    p->m *= p->batches;
    p->batches = 1;
    p->batch_rank = 0;
  }
}

enum { PRODUCT_NEAR = 128 * 1024, PRODUCT_DEEP = 768 }; /* floats of A that stay in a core's cache; of a row at once */
enum { PRODUCT_FRESH = 512 * 1024 }; /* floats of panels that are packed together, for one passage of A */

/* Rows an item takes: as many as stay near while all panels pass by, nearly equally many and for all threads; fewer where
** that leaves threads without work. */
static inline void product_split(mien_node *n, product *p) {
  const mien_math *math = mien_math_of(n);
  const int64_t threads = mien_threads(n), least = 4 * math->gemm_rows;
  p->panels = product_ceil(p->n, math->gemm_columns);
  p->chunk = p->m > 0 ? p->m : 1;
  const int64_t deep = p->k < 1 ? 1 : p->k < PRODUCT_DEEP ? p->k : PRODUCT_DEEP;
  const int64_t near = PRODUCT_NEAR / deep > least ? PRODUCT_NEAR / deep : least;
  if (p->m > near) p->chunk = product_ceil(p->m, product_ceil(product_ceil(p->m, near), threads) * threads);
  const int64_t wanted = 4 * threads, others = p->batches * p->panels;
  if (others < wanted) {
    const int64_t share = product_ceil(p->m, product_ceil(wanted, others ? others : 1));
    const int64_t rows = product_ceil(share > least ? share : least, math->gemm_rows) * math->gemm_rows;
    if (rows < p->chunk) p->chunk = rows;
  }
  p->chunks = product_ceil(p->m, p->chunk);
}

/* Columns [first, first + count) of the matrix that begins at b. */
static inline void product_pack(const mien_math *math, const product *p, const float *b, int64_t first, int64_t count,
                                float *packed) {
  if (p->w_columns)
    panels_pack(math, p->k, p->w_columns, b, first, count, packed);
  else
    math->gemm_pack(p->k, count, b + first * p->b_col, p->b_row, p->b_col, packed);
}

static inline mien_status product_fill(mien_node *n, void *memory) {
  const product *p = mien_state(n);
  const float *b = mien_in(n, 1)->data;
  for (int64_t i = 0; i < p->b_count; i++)
    product_pack(mien_math_of(n), p, b + i * p->k * p->n, 0, p->n, (float *)memory + (size_t)i * p->packed_each);
  return MIEN_OK;
}

static inline double product_flops(const product *p) {
  return 2.0 * (double)p->batches * (double)p->m * (double)p->n * (double)p->k;
}

enum { PRODUCT_FEW = 8, PRODUCT_SMALL = 64 * 1024, PRODUCT_LINE = 64 / sizeof(float) };

/* Read as it lies, B costs each block of rows a line of memory anew, which panels of two lines and more are worth; else for few blocks or
** a B that stays near. */
static inline bool product_is_plain(const mien_math *math, const product *p) {
  if (p->a_col != 1 || p->b_col != 1 || p->w_columns || p->k == 0) return false;
  return math->gemm_columns >= 2 * PRODUCT_LINE || p->m <= PRODUCT_FEW * math->gemm_rows ||
         p->n <= PRODUCT_SMALL / p->k;
}

/* No thread packs B in run. */
static inline bool product_by_chunk(const product *p) { return p->packed || p->plain; }

/* The product is the node's state or its first member, B is input 1; sizes, strides and batches are set. */
static inline mien_status product_prepare_f32(mien_node *n) {
  product *p = mien_state(n);
  const mien_math *math = mien_math_of(n);
  product_split(n, p);
  const size_t each = math->gemm_pack_bytes(p->k, p->n);
  if (each == SIZE_MAX) return mien_fail(n, MIEN_LIMIT, "the right operand is too large to pack");
  p->packed_each = each / sizeof(float);
  if (mien_is_constant(n, 1) && each > 0 && p->b_count > 0 && p->w_columns == math->gemm_columns) {
    p->packed = mien_in(n, 1)->data;
  } else if (mien_is_constant(n, 1) && each > 0 && p->b_count > 0) {
    size_t bytes;
    if (__builtin_mul_overflow(each, (size_t)p->b_count, &bytes))
      return mien_fail(n, MIEN_LIMIT, "the right operand is too large to pack");
    const void *packed;
    /* Equal constants of other shapes may be stored once: the name says all that the packing depends on. */
    snprintf(p->kind, sizeof p->kind, "product%s %lldx%lldx%lld%s by %lld",
             mien_in(n, 1)->type.dtype == MIEN_F16 ? " f16" : "", (long long)p->b_count, (long long)p->k,
             (long long)p->n, p->b_col == 1 ? "" : " transposed", (long long)p->w_columns);
    MIEN_TRY(mien_packed_later(n, 1, p->kind, bytes, product_fill, &packed));
    p->packed = packed;
  } else if (product_is_plain(math, p)) {
    p->plain = true;
    if (p->n % math->gemm_columns != 0) MIEN_TRY(mien_scratch(n, math->gemm_pack_bytes(p->k, 1)));
  } else {
    const int64_t panel = p->k < PRODUCT_FRESH ? (p->k < 1 ? 1 : p->k) * math->gemm_columns : PRODUCT_FRESH;
    p->together = panel < PRODUCT_FRESH / 2 ? PRODUCT_FRESH / panel : 1;
    if (p->together > p->panels) p->together = p->panels > 0 ? p->panels : 1;
    MIEN_TRY(mien_scratch(n, math->gemm_pack_bytes(p->k, p->together * math->gemm_columns)));
  }
  const double flops = 2.0 * (double)p->k * (double)math->gemm_columns * (double)p->chunk;
  mien_work(n, p->batches * p->chunks * p->panels, flops / 50 + 50);
  epilogue_kernel(n, p->kernel, sizeof p->kernel, NULL, product_by_chunk(p));
  mien_note(n, product_flops(p), p->kernel);
  return MIEN_OK;
}

/* Columns [n0, n1) of some rows: a and c begin at the first of them, packed, c and e at column 0. columns: that are packed. */
static inline void product_part(const mien_math *math, const product *p, const float *a, const float *packed,
                                int64_t columns, float *c, int64_t rows, int64_t n0, int64_t n1,
                                const mien_epilogue *e) {
  if (p->a_col == 1) {
    math->gemm(rows, columns, p->k, a, p->a_row, packed, c, p->n, n0, n1, e);
    return;
  }
  enum { BLOCK = 64 };
  const float *at[BLOCK];
  for (int64_t i = 0; i < rows; i += BLOCK) {
    const int64_t count = rows - i < BLOCK ? rows - i : BLOCK;
    for (int64_t r = 0; r < count; r++) at[r] = a + (i + r) * p->a_row;
    const mien_pieces pieces = {.rows = at, .stride = 0, .count = 1, .length = p->k, .step = p->a_col};
    const mien_epilogue part = epilogue_at(e, i, 0);
    math->gemm_pieces(count, columns, &pieces, packed, c + i * p->n, p->n, 1, n0, n1, &part);
  }
}

/* Columns [n0, n1) of some rows by the right operand b as it lies, n0 at a panel. Nothing is read past a row: the last columns
** are computed with some of those before them, or packed. */
static inline void product_part_plain(mien_node *n, const product *p, const float *a, const float *b, float *c,
                                      int64_t rows, int64_t n0, int64_t n1, const mien_epilogue *e) {
  const mien_math *math = mien_math_of(n);
  const int64_t unit = n1 - n0 < math->gemm_columns ? math->gemm_columns / 2 : math->gemm_columns;
  const int64_t rest = (n1 - n0) % unit, whole = n1 - rest;
  const mien_epilogue first = epilogue_at(e, 0, n0);
  math->gemm_plain(rows, whole - n0, p->k, a, p->a_row, b + n0, p->b_row, c + n0, p->n, &first);
  if (rest == 0) return;
  const bool twice = whole > n0 && !e->residual; /* which C may lie on */
  const int64_t at = twice ? n1 - unit : whole;
  const mien_epilogue last = epilogue_at(e, 0, at);
  if (twice) {
    math->gemm_plain(rows, unit, p->k, a, p->a_row, b + at, p->b_row, c + at, p->n, &last);
    return;
  }
  float *packed = mien_scratch_of(n);
  product_pack(math, p, b, at, rest, packed);
  math->gemm(rows, rest, p->k, a, p->a_row, packed, c + at, p->n, 0, rest, &last);
}

/* Items of a right operand that is not packed here are (batch, chunk, panel), neighbouring panels together; */
static inline void product_run_chunks(mien_node *n, const product *p, const float *a, float *c, const mien_epilogue *e,
                                      int64_t begin, int64_t end) {
  const mien_math *math = mien_math_of(n);
  for (int64_t item = begin; item < end;) {
    const int64_t panel = item % p->panels, rest = item / p->panels, chunk = rest % p->chunks;
    const int64_t batch = rest / p->chunks, take = end - item < p->panels - panel ? end - item : p->panels - panel;
    const int64_t row = chunk * p->chunk, rows = p->m - row < p->chunk ? p->m - row : p->chunk;
    const int64_t n0 = panel * math->gemm_columns, n1 = (panel + take) * math->gemm_columns;
    const int64_t b = p->b_count == 1 ? 0 : product_offset(p, p->b_batch, batch), last = n1 < p->n ? n1 : p->n;
    const float *left = a + product_offset(p, p->a_batch, batch) + row * p->a_row;
    float *to = c + (batch * p->m + row) * p->n;
    const mien_epilogue part = epilogue_at(e, batch * p->m + row, 0);
    if (p->plain)
      product_part_plain(n, p, left, (const float *)mien_in(n, 1)->data + b, to, rows, n0, last, &part);
    else
      product_part(math, p, left, p->packed + (size_t)(b ? b / (p->k * p->n) : 0) * p->packed_each, p->n, to, rows, n0,
                   last, &part);
    item += take;
  }
}

/* of any other (batch, panel, chunk), so that a packed panel serves all its rows; some panels together where all rows of
** theirs are asked for, which then pass by once. */
static inline void product_run_fresh(mien_node *n, const product *p, const float *a, const float *b, float *c,
                                     const mien_epilogue *e, int64_t begin, int64_t end) {
  const mien_math *math = mien_math_of(n);
  float *packed = mien_scratch_of(n);
  int64_t have = -1;
  for (int64_t item = begin, take; item < end; item += take) {
    const int64_t chunk = item % p->chunks, which = item / p->chunks, panel = which % p->panels;
    const int64_t batch = which / p->panels, column = panel * math->gemm_columns, row = chunk * p->chunk;
    int64_t whole = chunk > 0 ? 0 : (end - item) / p->chunks; /* panels of which all rows are asked for */
    if (whole > p->together) whole = p->together;
    if (whole > p->panels - panel) whole = p->panels - panel;
    take = whole > 0 ? whole * p->chunks : 1;
    const int64_t width = (whole > 0 ? whole : 1) * math->gemm_columns;
    const int64_t columns = p->n - column < width ? p->n - column : width;
    const int64_t rows = whole > 0 || p->m - row < p->chunk ? p->m - row : p->chunk;
    if (have != which) product_pack(math, p, b + product_offset(p, p->b_batch, batch), column, columns, packed);
    have = which;
    const mien_epilogue part = epilogue_at(e, batch * p->m + row, column);
    product_part(math, p, a + product_offset(p, p->a_batch, batch) + row * p->a_row, packed, columns,
                 c + (batch * p->m + row) * p->n + column, rows, 0, columns, &part);
  }
}

static inline void product_run_f32(mien_node *n, const mien_epilogue *e, int64_t begin, int64_t end) {
  const product *p = mien_state(n);
  const float *a = mien_in(n, 0)->data;
  if (product_by_chunk(p))
    product_run_chunks(n, p, a, mien_out(n, 0)->data, e, begin, end);
  else
    product_run_fresh(n, p, a, mien_in(n, 1)->data, mien_out(n, 0)->data, e, begin, end);
}

/* ---- operands of 16 bits, for one constant matrix and rows one after another: all threads round some rows of A into the
** caller's scratch, then multiply them */

enum { PRODUCT_ONCE = 2 * 1024 * 1024 }; /* bytes of rounded rows */

static inline mien_status product_fill_16(mien_node *n, void *memory) {
  const product *p = mien_state(n);
  MIEN_TRY(gemm16_check(n, p->gemm16));
  p->gemm16->pack(p->k, p->n, mien_in(n, 1)->data, p->b_row, p->b_col, memory);
  return MIEN_OK;
}

/* p->gemm16 is set. */
static inline mien_status product_prepare_16(mien_node *n) {
  static const float nothing[1];
  product *p = mien_state(n);
  const mien_math *math = mien_math_of(n);
  product_split(n, p);
  p->elements = p->gemm16->elements(p->k);
  p->elements_row = (product_ceil(p->elements, 16) | 1) * 16; /* rows on different sets of the first-level cache */
  const size_t bytes = math->gemm_pack_bytes(p->elements, p->n);
  if (bytes == SIZE_MAX || p->elements_row > INT32_MAX)
    return mien_fail(n, MIEN_LIMIT, "the right operand is too large to pack");
  p->packed = nothing;
  if (bytes > 0) {
    const void *packed;
    snprintf(p->kind, sizeof p->kind, "product %s%s %lldx%lld%s", p->gemm16->name,
             mien_in(n, 1)->type.dtype == MIEN_F16 ? " f16" : "", (long long)p->k, (long long)p->n,
             p->b_col == 1 ? "" : " transposed");
    MIEN_TRY(mien_packed_later(n, 1, p->kind, bytes, product_fill_16, &packed));
    p->packed = packed;
  }
  const int64_t row_bytes = p->elements_row * (int64_t)sizeof(float), least = math->gemm_rows * mien_threads(n);
  const int64_t fit = PRODUCT_ONCE / row_bytes > least ? PRODUCT_ONCE / row_bytes : least;
  p->rows_once = p->m < fit ? p->m : fit;
  p->elements_at = ((size_t)p->rows_once * sizeof(float *) + 63) / 64 * 64;
  MIEN_TRY(mien_scratch(n, p->elements_at + (size_t)p->rows_once * (size_t)row_bytes));
  mien_work(n, p->m > 0 && p->n > 0, product_flops(p) / 100);
  snprintf(p->kernel, sizeof p->kernel, "gemm %s %lldx%lld", p->gemm16->name, (long long)math->gemm_rows,
           (long long)math->gemm_columns);
  mien_note(n, product_flops(p), p->kernel);
  return MIEN_OK;
}

typedef struct product_rounded {
  const product *p;
  const mien_epilogue *e;
  int64_t row, rows, chunk;
  const float **table; /* rounded rows */
  char *elements;
} product_rounded;

/* Items: rows. */
static inline mien_status product_round(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const product_rounded *r = arg;
  const product *p = r->p;
  const float *a = mien_in(n, 0)->data;
  for (int64_t i = begin; i < end; i++) {
    void *to = r->elements + (size_t)i * (size_t)p->elements_row * sizeof(float);
    p->gemm16->round(a + (r->row + i) * p->a_row, p->k, to);
    r->table[i] = to;
  }
  return MIEN_OK;
}

/* Items: (chunk, panel), neighbouring panels together. */
static inline mien_status product_rounded_part(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const product_rounded *r = arg;
  const product *p = r->p;
  const int64_t width = mien_math_of(n)->gemm_columns;
  for (int64_t item = begin; item < end;) {
    const int64_t panel = item % p->panels, first = item / p->panels * r->chunk;
    const int64_t take = end - item < p->panels - panel ? end - item : p->panels - panel;
    const int64_t rows = r->rows - first < r->chunk ? r->rows - first : r->chunk, row = r->row + first;
    const int64_t n0 = panel * width, n1 = (panel + take) * width;
    const mien_pieces a = {.rows = r->table + first, .stride = 0, .count = 1, .length = p->elements, .step = 1};
    const mien_epilogue part = epilogue_at(r->e, row, 0);
    p->gemm16->gemm(rows, p->n, &a, p->packed, (float *)mien_out(n, 0)->data + row * p->n, p->n, 1, n0,
                    n1 < p->n ? n1 : p->n, &part);
    item += take;
  }
  return MIEN_OK;
}

static inline mien_status product_run_16(mien_node *n, const mien_epilogue *e) {
  const product *p = mien_state(n);
  char *scratch = mien_scratch_of(n);
  product_rounded r = {.p = p, .e = e, .table = (void *)scratch, .elements = scratch + p->elements_at};
  for (; r.row < p->m; r.row += r.rows) {
    r.rows = p->m - r.row < p->rows_once ? p->m - r.row : p->rows_once;
    r.chunk = p->chunk < r.rows ? p->chunk : r.rows;
    MIEN_TRY(mien_parallel(n, r.rows, (double)p->k / 8, product_round, &r));
    const double flops = 2.0 * (double)p->k * (double)mien_math_of(n)->gemm_columns * (double)r.chunk;
    MIEN_TRY(mien_parallel(n, product_ceil(r.rows, r.chunk) * p->panels, flops / 100 + 50, product_rounded_part, &r));
  }
  return MIEN_OK;
}

/* ---- other types: one item is one row of C, summed over k in ascending order in type C */

#define PRODUCT_TYPES(X, ...)                    \
  X(F64, double, double, PLAIN, __VA_ARGS__)     \
  MIEN_HALVES(X, __VA_ARGS__)                    \
  X(I32, int32_t, uint32_t, PLAIN, __VA_ARGS__)  \
  X(I64, int64_t, uint64_t, PLAIN, __VA_ARGS__)  \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) \
  X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)

static inline mien_status product_prepare_plain(mien_node *n) {
  const product *p = mien_state(n);
  size_t bytes;
  if (__builtin_mul_overflow((size_t)p->n, sizeof(double), &bytes)) return mien_fail(n, MIEN_LIMIT, "too many columns");
  MIEN_TRY(mien_scratch(n, bytes));
  mien_work(n, p->batches * p->m, (double)p->k * (double)p->n + 10);
  mien_note(n, product_flops(p), "loop");
  return MIEN_OK;
}

/* sum[0..n) = row `item` of the product. Integers are summed unsigned, so that they wrap. */
#define PRODUCT_ROW(D, T, C, K, ...)                                                                   \
  static inline void product_row_##D(const product *p, const T *a, const T *b, C *sum, int64_t item) { \
    const int64_t batch = item / p->m, row = item % p->m;                                              \
    const T *x = a + product_offset(p, p->a_batch, batch) + row * p->a_row;                            \
    const T *w = b + product_offset(p, p->b_batch, batch);                                             \
    for (int64_t j = 0; j < p->n; j++) sum[j] = 0;                                                     \
    for (int64_t q = 0; q < p->k; q++) {                                                               \
      const C v = MIEN_GET_##K(C, x[q * p->a_col]);                                                    \
      const T *from = w + q * p->b_row;                                                                \
      for (int64_t j = 0; j < p->n; j++) sum[j] += v * MIEN_GET_##K(C, from[j * p->b_col]);            \
    }                                                                                                  \
  }
PRODUCT_TYPES(PRODUCT_ROW, )

#endif
