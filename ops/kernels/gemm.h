/* ops/kernels/gemm.h -- the blocking of products. The right operand B is packed in panels of GEMM_COLUMNS columns, each
** [k][GEMM_COLUMNS], or is read as it lies, columns one after another; a microkernel keeps up to GEMM_ROWS rows of one panel in
** registers and sums over k in ascending order with one accumulator an element: bits depend neither on how B lies, nor on how rows and
** columns are split, nor on the batch.
** A few panels of one part of k stay in the second-level cache while all rows pass by them, a block of rows at a time: A then
** passes once for so many panels, and B, which comes out of memory, is fetched while the panels before it are in use.
** Elements of A and B are four bytes, which only the microkernel looks into: the file that includes this one (impl_gemm.c: a
** float, impl_gemm_bf16.c: a pair of bfloat16, impl_gemm_int16.c: a pair of integers or their step) defines
**   gemm_micro(rows, vectors, half, a, b, b_row, f, tile, tile_row, add, end): tile[rows][tile_row] = (add ? tile : 0) + A B over
**   `vectors` vectors of columns; for each element of k it fetches what f says. end, if not NULL: gemm_finish in place of the last
**   store. */
#ifndef MIEN_OPS_KERNELS_GEMM_H
#define MIEN_OPS_KERNELS_GEMM_H

#include "ops/kernels/kernels.h"

/* What a core's second-level cache holds beside everything else. */
#define GEMM_CACHE (400 * 1024)
/* Elements of k that one accumulator sums. */
#ifndef GEMM_DEPTH
#define GEMM_DEPTH 256
#endif
/* Elements of k that are one part; more are cut into parts of GEMM_DEPTH. */
#define GEMM_WHOLE (3 * GEMM_DEPTH)
/* Floats of sums that wait for the next part. */
#define GEMM_TILES (20 * 1024)
#define GEMM_LINE (64 / (int64_t)sizeof(float))
/* Rows of which a part stays near while panels pass by. */
#define GEMM_NEAR_ROWS 160
/* So few rows wait for B, which is fetched so many elements of k ahead then. */
#define GEMM_FEW 4
#define GEMM_NEAR (512 / GEMM_COLUMNS)
/* The next rows of so few elements of k lie close by: to fetch them costs more than it saves. */
#define GEMM_SHORT 64

/* What is asked for at each element of k: a line of B, `step` floats further each time, and another one so many floats from it;
** and a line of A, of each row in turn. */
typedef struct gemm_fetch {
  const float *next;        /* NULL: nothing */
  int64_t step, other;      /* other 0: one line alone */
  const float *const *rows; /* elements [at, end) of `count` of them */
  int64_t count, row, at, end;
} gemm_fetch;

/* An epilogue that is done in registers: bias, residual, and an activation that clamps. */
typedef struct gemm_end {
  float *c;
  int64_t row;                  /* of C */
  const float *bias, *residual; /* or NULL */
  int64_t residual_row;
  bool late; /* the activation comes after the residual */
  float low, high;
} gemm_end;

typedef void gemm_fn(const mien_pieces *a, const float *b, int64_t b_row, const gemm_fetch *f, float *tile,
                     int64_t tile_row, bool add, const gemm_end *end);

VEC void gemm_micro(const int rows, const int vectors, const bool half, const mien_pieces *a, const float *b,
                    int64_t b_row, const gemm_fetch *f, float *tile, int64_t tile_row, bool add, const gemm_end *end);
/* C and the residual are far away: a row of each is asked for at each of the first elements of k. All at once would keep the
** first-level cache from what the sums need. */
typedef struct gemm_far {
  const float *c, *residual;
  int64_t rows; /* that are left */
} gemm_far;

VEC gemm_far gemm_far_of(const int rows, const gemm_end *end) {
  return end ? (gemm_far){.c = end->c, .residual = end->residual, .rows = rows} : (gemm_far){0};
}
VEC void gemm_expect(const int vectors, gemm_far *far, const gemm_end *end) {
  if (far->rows == 0) return;
  far->rows--;
  for (int v = 0; v < vectors; v++) __builtin_prefetch(far->c + v * VL, 1, 3);
  far->c += end->row;
  if (!far->residual) return;
  for (int v = 0; v < vectors; v++) __builtin_prefetch(far->residual + v * VL, 0, 3);
  far->residual += end->residual_row;
}

VEC vf gemm_clamp(vf x, vf low, vf high) { return vf_min2(high, vf_max2(low, x)); }

/* What mien__finish does, from registers. */
VEC void gemm_finish(const int rows, const int vectors, vf sum[GEMM_ROWS][2], const gemm_end *end) {
  const vf low = vf_set(end->low), high = vf_set(end->high);
  const float *r = end->residual;
  float *c = end->c;
  const int64_t row = end->row, residual_row = end->residual_row;
  const bool late = end->late;
  vf bias[2] = {vf_set(-0.0f), vf_set(-0.0f)}; /* x + -0 is x */
  for (int v = 0; v < vectors && end->bias; v++) bias[v] = vf_load(end->bias + v * VL);
  MIEN_UNROLL
  for (int i = 0; i < rows; i++, c += row) {
    MIEN_FORGET(c);
    MIEN_FORGET(r);
    for (int v = 0; v < vectors; v++) {
      vf x = sum[i][v] + bias[v];
      if (!r) {
        x = gemm_clamp(x, low, high);
      } else if (late) {
        x = gemm_clamp(vf_load(r + v * VL) + x, low, high);
      } else {
        x = vf_load(r + v * VL) + gemm_clamp(x, low, high);
      }
      vf_store(c + v * VL, x);
    }
    if (r) r += residual_row;
  }
}

VEC void gemm_prefetch(gemm_fetch *f) {
  if (f->at < f->end) {
    __builtin_prefetch(f->rows[f->row] + f->at, 0, 3);
    if (++f->row == f->count) {
      f->row = 0;
      f->at += GEMM_LINE;
    }
  }
  if (!f->next) return;
  vf_prefetch(f->next);
  if (f->other) vf_prefetch(f->next + f->other);
  f->next += f->step;
}

/* Vectors of columns: one, two, or two of which the second one is at most half in use. */
enum { GEMM_ONE, GEMM_TWO, GEMM_HALF, GEMM_WIDTHS };
/* How B lies. Packed, its row is known when compiling, which saves a register: where those are few, B as it lies has microkernels of
** its own. */
enum { GEMM_PACKED, GEMM_PLAIN, GEMM_LAYOUTS };
#if !defined(GEMM_READS_PLAIN)
#define GEMM_ROW(plain) GEMM_COLUMNS
#elif VL == 16
#define GEMM_ROW(plain) b_row
#else
#define GEMM_ROW(plain) ((plain) ? b_row : GEMM_COLUMNS)
#endif
#define GEMM_MICRO(name, rows, vectors, half, plain)                                                         \
  static void gemm_##rows##_##name(const mien_pieces *a, const float *b, int64_t b_row, const gemm_fetch *f, \
                                   float *tile, int64_t tile_row, bool add, const gemm_end *end) {           \
    (void)b_row;                                                                                             \
    gemm_micro(rows, vectors, half, a, b, GEMM_ROW(plain), f, tile, tile_row, add, end);                     \
  }
#define X(rows) GEMM_MICRO(one, rows, 1, false, false) GEMM_MICRO(two, rows, 2, false, false)
EACH_ROWS(X)
#undef X
#ifdef VF_HALF
#define X(rows) GEMM_MICRO(half, rows, 2, true, false)
EACH_ROWS(X)
#undef X
#define GEMM_OF(rows) {gemm_##rows##_one, gemm_##rows##_two, gemm_##rows##_half},
#else
#define GEMM_OF(rows) {gemm_##rows##_one, gemm_##rows##_two, gemm_##rows##_two},
#endif
#if defined(GEMM_READS_PLAIN) && VL != 16
#define X(rows) GEMM_MICRO(plain_one, rows, 1, false, true) GEMM_MICRO(plain_two, rows, 2, false, true)
EACH_ROWS(X)
#undef X
#define GEMM_PLAIN_OF(rows) {gemm_##rows##_plain_one, gemm_##rows##_plain_two, gemm_##rows##_plain_two},
#else
#define GEMM_PLAIN_OF(rows) GEMM_OF(rows)
#endif
static gemm_fn *const gemm_micros[GEMM_LAYOUTS][GEMM_ROWS][GEMM_WIDTHS] = {{EACH_ROWS(GEMM_OF)},
                                                                           {EACH_ROWS(GEMM_PLAIN_OF)}};

static int gemm_width(int64_t columns) {
  return columns <= VL ? GEMM_ONE : columns <= VL + VL / 2 ? GEMM_HALF : GEMM_TWO;
}

/* A product's left operand: rows of one piece `stride` apart, or as given. */
typedef struct gemm_left {
  const float *a;
  int64_t stride;
  const mien_pieces *pieces; /* NULL: a */
  int64_t count, length;     /* pieces a row, elements a piece */
} gemm_left;

/* Pieces [piece, piece + count), elements [from, from + length) of each: elements [at, at + depth) of k. */
typedef struct gemm_part {
  int64_t piece, count, from, length, at, depth;
} gemm_part;

/* Parts are a few whole pieces or a part of one. What they are depends on k alone. */
static int64_t gemm_most(const gemm_left *l) { return l->count * l->length <= GEMM_WHOLE ? GEMM_WHOLE : GEMM_DEPTH; }
static int64_t gemm_parts(const gemm_left *l) {
  const int64_t most = gemm_most(l);
  if (l->length == 0 || l->count == 0) return 1;
  if (l->length > most) return l->count * ((l->length + most - 1) / most);
  const int64_t each = most / l->length;
  return (l->count + each - 1) / each;
}
static gemm_part gemm_part_of(const gemm_left *l, int64_t i) {
  const int64_t most = gemm_most(l);
  gemm_part p = {.count = min_i64(1, l->count), .length = l->length};
  if (l->length > most) {
    const int64_t of_one = (l->length + most - 1) / most;
    p.piece = i / of_one;
    p.from = i % of_one * most;
    p.length = min_i64(most, l->length - p.from);
  } else if (l->length > 0) {
    const int64_t each = most / l->length;
    p.piece = i * each;
    p.count = min_i64(each, l->count - p.piece);
  }
  p.at = p.piece * l->length + p.from;
  p.depth = p.count * p.length;
  return p;
}

/* A block of rows of one part, and room for a copy of them. */
typedef struct gemm_rows {
  mien_pieces a;
  const float *at[GEMM_ROWS];
  float copy[GEMM_ROWS][GEMM_WHOLE + VL];
} gemm_rows;

/* Rows whose distance is a multiple of the first-level cache's span fall onto one set and push each other out. */
static bool gemm_rows_collide(const mien_pieces *a, int64_t rows) {
  if (a->step != 1 || rows < 8 || a->count == 0 || a->length < 64) return false;
  const uintptr_t first = (uintptr_t)a->rows[0], second = (uintptr_t)a->rows[1];
  return ((first - second) & 4095) == 0 && first != second;
}

static void gemm_rows_copy(gemm_rows *r, int64_t rows) {
  const mien_pieces a = r->a;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t t = 0; t < a.count; t++)
      memcpy(r->copy[i] + t * a.length, a.rows[t * a.stride + i], (size_t)a.length * sizeof(float));
  for (int64_t i = 0; i < rows; i++) r->at[i] = r->copy[i];
  r->a = (mien_pieces){.rows = r->at, .stride = 0, .count = 1, .length = a.count * a.length, .step = 1};
}

/* As they lie; `at` has room for their pointers. */
static mien_pieces gemm_rows_find(const float **at, const gemm_left *l, const gemm_part *p, int64_t row, int64_t rows) {
  mien_pieces a = {.rows = at, .stride = rows, .count = p->count, .length = p->length, .step = 1};
  if (!l->pieces) {
    for (int64_t i = 0; i < rows; i++) at[i] = p->length ? l->a + (row + i) * l->stride + p->from : l->a;
    return a;
  }
  a.rows = l->pieces->rows + p->piece * l->pieces->stride + row;
  a.stride = l->pieces->stride;
  a.step = l->pieces->step;
  if (p->from > 0) { /* of one piece */
    for (int64_t i = 0; i < rows; i++) at[i] = a.rows[i] + p->from * a.step;
    a.rows = at;
  }
  return a;
}

static void gemm_rows_make(gemm_rows *r, const gemm_left *l, const gemm_part *p, int64_t row, int64_t rows) {
  r->a = gemm_rows_find(r->at, l, p, row, rows);
  if (gemm_rows_collide(&r->a, rows)) gemm_rows_copy(r, rows);
}

typedef struct gemm_work {
  const gemm_left *l;
  int64_t k, n; /* of B */
  const float *b;
  int layout;
  int64_t b_row, b_panel; /* from one element of k, from one panel to the next */
  float *c;
  int64_t row, column; /* strides of C */
  const mien_epilogue *e;
  bool plain;   /* C is the sums alone, each row in one piece */
  bool clamped; /* rows in one piece and an epilogue that is done in registers */
  float low, high;
} gemm_work;

static bool gemm_is_plain(const mien_epilogue *e) {
  return !e || (!e->bias && !e->residual && e->act == MIEN_ACT_IDENTITY);
}

static gemm_work gemm_work_of(const gemm_left *l, int64_t n, const float *packed, float *c, int64_t row, int64_t column,
                              const mien_epilogue *e) {
  gemm_work w = {.l = l, .k = l->count * l->length, .n = n, .b = packed, .c = c, .row = row, .column = column, .e = e};
  w.b_row = GEMM_COLUMNS;
  w.b_panel = w.k * GEMM_COLUMNS;
  w.plain = column == 1 && gemm_is_plain(e);
  w.clamped = column == 1 && e && clamp_of(e, &w.low, &w.high);
  w.clamped = w.clamped && (!e->residual || (!e->scale && e->residual_step <= 1));
  return w;
}

static gemm_end gemm_end_of(const gemm_work *w, int64_t row, int64_t column) {
  const mien_epilogue *e = w->e;
  gemm_end end = {.c = w->c + row * w->row + column, .row = w->row, .low = w->low, .high = w->high};
  if (e->bias) end.bias = e->bias + column;
  if (e->residual) end.residual = e->residual + row * e->residual_stride + column;
  end.residual_row = e->residual_stride;
  end.late = e->act_last;
  return end;
}

/* [m0, m1) x [n0, n1) of C. */
typedef struct gemm_area {
  int64_t m0, m1, n0, n1;
} gemm_area;

/* One part of some panels, which comes next: fetched during the step before, a line for each element of k by each block of rows
** and panel, or all lines where there is one block of rows. Few rows take B as fast as it comes: a little ahead is best there. */
typedef struct gemm_ahead {
  const float *b; /* NULL: nothing */
  int64_t panels, depth;
} gemm_ahead;

static void gemm_fetch_ahead(gemm_fetch *f, const gemm_work *w, const gemm_ahead *next, int64_t call, bool all) {
  const int64_t lines = !all && GEMM_COLUMNS > GEMM_LINE ? GEMM_COLUMNS / GEMM_LINE : 1;
  const bool packed = w->layout == GEMM_PACKED; /* one line after another */
  const int64_t line = packed ? next->depth * GEMM_LINE : GEMM_LINE;
  if (!next->b || call >= lines * next->panels) return;
  f->next = next->b + call / lines * w->b_panel + call % lines * line;
  f->step = packed ? GEMM_LINE : w->b_row;
  f->other = all && GEMM_COLUMNS > GEMM_LINE ? line : 0;
}
/* A panel's elements of k as they are used, from b on. */
static void gemm_fetch_all(gemm_fetch *f, const gemm_work *w, const float *b) {
  f->next = b;
  f->step = w->b_row;
  f->other = GEMM_COLUMNS > GEMM_LINE ? GEMM_LINE : 0;
}

/* Of the block of rows that comes next, which is in one piece, the share of panel `i` of `panels`. */
static void gemm_fetch_rows(gemm_fetch *f, const mien_pieces *a, int64_t rows, int64_t i, int64_t panels) {
  if (a->count != 1 || a->step != 1) return;
  const int64_t lines = (a->length + GEMM_LINE - 1) / GEMM_LINE;
  f->rows = a->rows;
  f->count = rows;
  f->at = lines * i / panels * GEMM_LINE;
  f->end = lines * (i + 1) / panels * GEMM_LINE;
}

/* [*begin, *end) of part i of m in `parts` nearly equal ones. */
static void gemm_split(int64_t m, int64_t parts, int64_t i, int64_t *begin, int64_t *end) {
  const int64_t base = m / parts, more = m % parts;
  *begin = i * base + min_i64(i, more);
  *end = *begin + base + (i < more);
}

/* One part of some panels. Sums wait in C for the parts after it where its rows and the panel are whole, elsewhere in `tiles`.
** cold: nobody has fetched the panels, so the first block of rows fetches the next one each time. fresh: nor the rows. */
static void gemm_step(const gemm_work *w, const gemm_area *g, const gemm_part *p, const gemm_ahead *next, bool cold,
                      bool fresh, float *tiles) {
  const int64_t m = g->m1 - g->m0, blocks = (m + GEMM_ROWS - 1) / GEMM_ROWS;
  const int64_t panels = (g->n1 - g->n0 + GEMM_COLUMNS - 1) / GEMM_COLUMNS;
  const bool first = p->at == 0, last = p->at + p->depth == w->k;
  const int64_t own = cold && blocks > 1 ? panels - 1 : 0;
  gemm_rows r;
  for (int64_t i = 0; i < blocks; i++) {
    int64_t begin, end, after = 0;
    gemm_split(m, blocks, i, &begin, &end);
    const int64_t rows = end - begin, row = g->m0 + begin;
    gemm_rows_make(&r, w->l, p, row, rows);
    const float *at[GEMM_ROWS];
    mien_pieces a = {0};
    if (fresh && p->depth >= GEMM_SHORT && i + 1 < blocks) {
      gemm_split(m, blocks, i + 1, &begin, &end);
      after = end - begin;
      a = gemm_rows_find(at, w->l, p, g->m0 + begin, after);
    }
    for (int64_t t = 0; t < panels; t++) {
      const int64_t j = g->n0 + t * GEMM_COLUMNS, columns = min_i64(GEMM_COLUMNS, g->n1 - j), call = i * panels + t;
      const float *b = w->k ? w->b + j / GEMM_COLUMNS * w->b_panel + p->at * w->b_row : w->b;
      gemm_fetch f = {0};
      if (m <= GEMM_FEW && w->k)
        gemm_fetch_all(&f, w, b + GEMM_NEAR * w->b_row);
      else if (call < own)
        gemm_fetch_all(&f, w, b + w->b_panel);
      else
        gemm_fetch_ahead(&f, w, next, call - own, blocks == 1);
      if (after > 0) gemm_fetch_rows(&f, &a, after, t, panels);
      float *c = w->c + row * w->row + j * w->column;
      const bool in_c = w->column == 1 && columns == GEMM_COLUMNS && (w->plain || !first || !last);
      const bool done = in_c && w->plain;
      const bool ends = last && !done && w->clamped && columns % VL == 0; /* a part of a vector goes through the tile */
      float *tile = in_c ? c : tiles;
      const int64_t tile_row = in_c ? w->row : GEMM_COLUMNS;
      gemm_end tail;
      if (ends) tail = gemm_end_of(w, row, j);
      gemm_micros[w->layout][rows - 1][gemm_width(columns)](&r.a, b, w->b_row, &f, tile, tile_row, !first,
                                                            ends ? &tail : NULL);
      if (last && !done && !ends) MIEN_K(mien__finish)
      (tile, tile_row, rows, columns, c, w->row, w->column, w->e, row, j);
      if (!in_c && !(first && last)) tiles += rows * GEMM_COLUMNS;
    }
  }
}

/* Rows [0, m), columns [n0, n1): n0 begins a panel. One part of all panels comes before the next part, so that its rows stay near;
** where sums wait in `tiles`, a few panels with all parts come before the next panels. */
static void gemm_all(const gemm_work *w, int64_t m, int64_t n0, int64_t n1) {
  float tiles[GEMM_TILES];
  const int64_t parts = gemm_parts(w->l), depth = max_i64(1, gemm_part_of(w->l, 0).depth), width = GEMM_COLUMNS;
  const int64_t all = (n1 - n0 + width - 1) / width, cache = GEMM_CACHE / (int64_t)sizeof(float);
  /* One block of rows reads B once: in the order in which it lies. */
  const int64_t fit = m <= GEMM_ROWS ? 1 : max_i64(1, cache / (depth * width));
  const int64_t spans = (all + fit - 1) / fit, panels = (all + spans - 1) / spans;
  const bool in_c = w->column == 1 && m > GEMM_ROWS;
  const int64_t room = GEMM_TILES / width / (w->column == 1 ? 1 : panels);
  const int64_t most = parts == 1 ? m : min_i64(GEMM_NEAR_ROWS, room), groups = (m + most - 1) / most;
  for (int64_t i = 0; i < groups; i++)
    for (int64_t t = 0; t < spans * parts; t++) {
      const int64_t span = in_c ? t % spans : t / parts, j = n0 + span * panels * width;
      const gemm_part p = gemm_part_of(w->l, in_c ? t / spans : t % parts);
      gemm_area g = {.n0 = j, .n1 = min_i64(n1, j + panels * width)};
      gemm_split(m, groups, i, &g.m0, &g.m1);
      /* What comes next, perhaps of the next rows; or what the columns after these begin with. */
      const int64_t u = t + 1 < spans * parts ? t + 1 : 0;
      const gemm_part q = gemm_part_of(w->l, in_c ? u / spans : u % parts);
      const int64_t at = u == 0 && i + 1 == groups ? n1 : n0 + (in_c ? u % spans : u / parts) * panels * width;
      gemm_ahead next = {.panels = min_i64(panels, (w->n - at + width - 1) / width), .depth = q.depth};
      if (at < w->n && w->k) next.b = w->b + at / width * w->b_panel + q.at * w->b_row;
      gemm_step(w, &g, &p, &next, i == 0 && t == 0, span == 0, tiles);
    }
}

/* A product of pieces, as mien_math says. */
static void gemm_of_pieces(int64_t m, int64_t n, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                           int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  n1 = min_i64(n1, n);
  if (m <= 0 || n1 <= n0) return;
  const gemm_left l = {.pieces = a, .count = a->count, .length = a->length};
  const gemm_work w = gemm_work_of(&l, n, packed, c, c_row, c_column, e);
  gemm_all(&w, m, n0, n1);
}

#endif
