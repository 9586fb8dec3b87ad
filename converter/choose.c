/* choose.c -- rounds as many products as a bound on the outputs' errors allows. Errors of different products hardly correlate, so that
** their squares add up: each product is measured alone, those with the least square for what they multiply come first, and the
** longest such row whose errors, measured together, stay within the bound is the choice. What is not in the row is fp32; or, where
** bfloat16 is asked for and all products in 16-bit integers stay within the bound, those, which are as fast. Where they do not, the
** row is of integers. Everything is measured against the plan with none, on seeded inputs; nothing depends on time, so the choice is
** the same each time. */
#include "converter/choose.h"

#include <math.h>
#include <stdlib.h>

enum { INPUTS_ALONE = 3, INPUTS_TOGETHER = 24, INPUTS_FAILED = 16 };
/* Errors are nearly normal: of some thousand outputs that we do not see, few are beyond five times their root mean square. */
static const double RMS_IN_BOUND = 5;

typedef struct errors {
  double square, largest; /* of the worst output; square: mean */
  int inputs;
  bool seen; /* an output of floats */
} errors;

mien_status mien__choice_accepts(void *context, const mien__graph *g, mien_node_id node, mien_precision precision,
                                 bool *accepted, mien_error *error) {
  mien__choice *c = context;
  *accepted = false;
  for (int32_t i = 0; i < c->count; i++) /* passes look at a node more than once */
    if (c->products[i].node == node) {
      *accepted = c->listed && c->products[i].precision == precision;
      if (!c->listed && precision == MIEN_PRECISION_INT16) c->products[i].integers = true;
      return MIEN_OK;
    }
  if (c->listed) return MIEN_OK;
  if (c->count == c->room) {
    int32_t room = c->room ? 2 * c->room : 64;
    mien__product *grown = mien__realloc(c->env, c->products, (size_t)room * sizeof *grown);
    if (!grown) return mien__no_memory(error, (size_t)room * sizeof *grown);
    c->products = grown;
    c->room = room;
  }
  const mien__gnode *n = mien__node_at(g, node);
  const mien_type *w = &mien__value_at(g, n->in[1])->v.tensor.type, *y = &mien__value_at(g, n->out[0])->v.tensor.type;
  double work = (double)mien_count(w);
  for (int d = 0; d + 1 < y->rank; d++) work *= y->dim[d] > 0 ? (double)y->dim[d] : 1;
  c->products[c->count++] = (mien__product){.node = node, .work = work, .integers = precision == MIEN_PRECISION_INT16};
  return MIEN_OK;
}

int32_t mien__choice_count(const mien__choice *c, mien_precision precision) {
  int32_t count = 0;
  for (int32_t i = 0; i < c->count; i++) count += c->products[i].precision == precision;
  return count;
}

void mien__choice_clear(mien__choice *c) {
  if (c->env) mien__free(c->env, c->products);
  *c = (mien__choice){0};
}

/* ---- measuring */

typedef struct chooser {
  mien__choice *c;
  mien__choice_build build;
  void *context;
  const mien_convert_options *options;
  mien__trial none;         /* the plan without rounding */
  mien_precision row, rest; /* of the products in the row, and of the others */
  int done, total;          /* plans */
  mien_error *error;
} chooser;

/* Of one output in one run: its mean square; the largest goes into e. */
static double squares(const mien_tensor *a, const mien_tensor *b, errors *e) {
  const int64_t count = mien_count(&a->type);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) {
    const double x = mien__tensor_f64(a, i), y = mien__tensor_f64(b, i);
    if (x == y || (isnan(x) && isnan(y))) continue;
    const double d = isfinite(x) && isfinite(y) ? fabs(x - y) : (double)INFINITY;
    sum += d * d / (double)count;
    if (d > e->largest) e->largest = d;
  }
  return sum;
}

static void add_run(const mien__trial *none, const mien__trial *trial, double *square, errors *e) {
  e->inputs++;
  for (size_t i = 0; i < none->output_count; i++) {
    const mien_tensor *a = &none->outputs[i].tensor, *b = &trial->outputs[i].tensor;
    if ((a->type.dtype != MIEN_F32 && a->type.dtype != MIEN_F64) || !mien__type_equal(&a->type, &b->type)) continue;
    square[i] += squares(a, b, e);
    e->seen = true;
  }
}

static mien_status differences(chooser *r, mien__trial *trial, int inputs, errors *e) {
  const size_t outputs = r->none.output_count;
  const uint64_t first = r->none.seed;
  double *square = mien__alloc(r->c->env, (outputs + 1) * sizeof *square);
  if (!square) return mien__no_memory(r->error, (outputs + 1) * sizeof *square);
  mien_status status = MIEN_OK;
  *e = (errors){0};
  for (int k = 0; status == MIEN_OK && e->inputs < inputs && k < inputs + INPUTS_FAILED; k++) {
    mien_error inner = {0};
    const mien_status none = mien__trial_run(&r->none, first + (uint64_t)k, r->none.size, &inner);
    if (none == MIEN_NO_MEMORY || none == MIEN_INTERNAL) status = mien__fail(r->error, none, "%s", inner.message);
    if (none != MIEN_OK) continue; /* not every model takes every seed */
    status = mien__trial_run(trial, first + (uint64_t)k, r->none.size, r->error);
    if (status == MIEN_OK) add_run(&r->none, trial, square, e);
  }
  r->none.seed = first;
  for (size_t i = 0; i < outputs; i++)
    if (e->inputs && square[i] / e->inputs > e->square) e->square = square[i] / e->inputs;
  mien__free(r->c->env, square);
  return status;
}

static mien_status measure(chooser *r, int inputs, errors *e) {
  mien__trial trial = {0};
  if (r->options->progress) r->options->progress(r->options->progress_context, "choose", r->done, r->total);
  r->done++;
  mien_status status = r->build(r->context, r->c, &trial, r->error);
  if (status == MIEN_OK) status = differences(r, &trial, inputs, e);
  mien__trial_close(&trial);
  return status;
}

/* ---- choosing */

static double price(const mien__product *p) { return p->work > 0 ? p->square / p->work : (double)INFINITY; }

static int by_price(const void *a, const void *b) {
  const mien__product *p = a, *q = b;
  const double x = price(p), y = price(q);
  return x != y ? (x > y) - (x < y) : (p->node > q->node) - (p->node < q->node);
}

static void take(const chooser *r, int32_t first, int32_t end) {
  for (int32_t i = 0; i < r->c->count; i++) {
    mien__product *p = &r->c->products[i];
    p->precision = i >= first && i < end ? r->row : r->rest;
    if (p->precision == MIEN_PRECISION_INT16 && !p->integers) p->precision = MIEN_PRECISION_FP32;
  }
}

static mien_status measure_alone(chooser *r) {
  const mien_precision rest = r->rest;
  r->rest = MIEN_PRECISION_FP32;
  for (int32_t i = 0; i < r->c->count; i++) {
    errors e;
    take(r, i, i + 1);
    MIEN_TRY(measure(r, INPUTS_ALONE, &e));
    if (!e.seen || !e.inputs)
      return mien__fail(r->error, MIEN_UNSUPPORTED,
                        "the errors of precisions cannot be measured: %s; convert without a bound on them",
                        e.seen ? "the model takes no seeded inputs" : "no output is of floats");
    r->c->products[i].square = e.square;
  }
  r->rest = rest;
  return MIEN_OK;
}

/* A row of that length, all of them measured; what is measured last of those that hold is kept. */
static mien_status holds(chooser *r, int32_t length, bool *good) {
  mien__choice *c = r->c;
  errors e;
  take(r, 0, length);
  MIEN_TRY(measure(r, INPUTS_TOGETHER, &e));
  *good = e.largest <= c->bound && RMS_IN_BOUND * sqrt(e.square) <= c->bound;
  if (!*good) return MIEN_OK;
  c->largest = e.largest;
  c->rms = sqrt(e.square);
  c->inputs = e.inputs;
  return MIEN_OK;
}

/* The longest row that holds, by halving; none holds. */
static mien_status measure_together(chooser *r) {
  mien__choice *c = r->c;
  int32_t good = 0, bad = c->count + 1;
  while (bad - good > 1) {
    const int32_t middle = bad == c->count + 1 && good == 0 ? c->count : good + (bad - good) / 2;
    bool held;
    MIEN_TRY(holds(r, middle, &held));
    *(held ? &good : &bad) = middle;
  }
  take(r, 0, good);
  return MIEN_OK;
}

/* What the row and the rest are of. */
static mien_status choose_levels(chooser *r) {
  bool good = false;
  r->row = r->c->precision;
  r->rest = MIEN_PRECISION_FP32;
  if (r->row == MIEN_PRECISION_INT16 || r->c->count == 0) return MIEN_OK;
  r->rest = MIEN_PRECISION_INT16;
  MIEN_TRY(holds(r, 0, &good));
  if (good) return MIEN_OK;
  r->row = MIEN_PRECISION_INT16;
  r->rest = MIEN_PRECISION_FP32;
  return MIEN_OK;
}

mien_status mien__choose(mien__choice *c, mien__choice_build build, void *context, const mien_convert_options *options,
                         mien_error *error) {
  chooser r = {.c = c, .build = build, .context = context, .options = options, .error = error, .total = 1};
  mien_status status = build(context, c, &r.none, error);
  c->listed = true;
  r.total = c->count + 2;
  for (int32_t left = c->count; left > 0; left /= 2) r.total++;
  if (status == MIEN_OK) status = choose_levels(&r);
  if (status == MIEN_OK) status = measure_alone(&r);
  if (status == MIEN_OK && c->count) qsort(c->products, (size_t)c->count, sizeof *c->products, by_price);
  if (status == MIEN_OK) status = measure_together(&r);
  mien__trial_close(&r.none);
  return status;
}
