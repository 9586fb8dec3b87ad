/* verify.c -- seeded runs of a plan: golden values to keep in it, and comparison with the graph as it was imported. */
#include "converter/convert.h"

#include <math.h>
#include <string.h>

#define GOLDEN_ELEMENTS 64 /* of an output */
#define WAY_VALUES 6       /* on the way */
#define WAY_ELEMENTS 16
#define GOLDEN_SEEDS 4 /* tried one after the other: random indices may lie outside */

/* For open dimensions, tried in this order: the smallest that the model can do anything with. */
static const int64_t golden_sizes[] = {1, 2, 16, 64, 224};

/* ---- trials */

mien_status mien__trial_open(mien__trial *t, mien_env *env, const char *path, mien_error *error) {
  *t = (mien__trial){.env = env};
  mien_status status = mien_plan_open(env, path, 0, &t->plan, error);
  if (status == MIEN_OK) status = mien_session_create(t->plan, NULL, &t->session, error);
  if (status == MIEN_OK) {
    t->input_count = mien_plan_input_count(t->plan);
    t->output_count = mien_plan_output_count(t->plan);
    t->inputs = mien__alloc(env, (t->input_count + 1) * sizeof *t->inputs);
    t->outputs = mien__alloc(env, (t->output_count + WAY_VALUES) * sizeof *t->outputs);
    if (!t->inputs || !t->outputs) status = mien__no_memory(error, (t->input_count + 1) * sizeof *t->inputs);
  }
  if (status != MIEN_OK) mien__trial_close(t);
  return status;
}

static void free_inputs(mien__trial *t) {
  for (size_t i = 0; t->inputs && i < t->input_count; i++) mien_tensor_clear(t->env, &t->inputs[i].tensor);
}

void mien__trial_close(mien__trial *t) {
  free_inputs(t);
  if (t->env) {
    mien__free(t->env, t->inputs);
    mien__free(t->env, t->outputs);
  }
  mien_session_destroy(t->session);
  mien_plan_close(t->plan);
  *t = (mien__trial){0};
}

static mien_status fill_inputs(mien__trial *t, uint64_t seed, int64_t size, mien_error *error) {
  free_inputs(t);
  t->seed = seed;
  t->size = size;
  for (size_t i = 0; i < t->input_count; i++) {
    mien_port port;
    MIEN_TRY(mien_plan_input(t->plan, i, &port));
    if (port.type.rank < 0)
      return mien__fail(error, MIEN_UNSUPPORTED, "input '%s' has no rank: it cannot be made up", port.name);
    for (int k = 0; k < port.type.rank; k++)
      if (port.type.dim[k] < 0) port.type.dim[k] = size;
    t->inputs[i].name = port.name;
    MIEN_TRY(mien__tensor_alloc(t->env, &port.type, &t->inputs[i].tensor, error));
    MIEN_TRY(mien__golden_fill(seed, (uint32_t)i, &t->inputs[i].tensor, error));
  }
  return MIEN_OK;
}

static mien_status run_for(mien__trial *t, size_t outputs, mien_error *error) {
  for (size_t i = 0; i < outputs; i++) t->outputs[i].tensor = (mien_tensor){0};
  for (size_t i = 0; i < t->output_count; i++) {
    mien_port port;
    MIEN_TRY(mien_plan_output(t->plan, i, &port));
    t->outputs[i].name = port.name;
  }
  return mien_session_run(t->session, t->inputs, t->input_count, t->outputs, outputs, error);
}

mien_status mien__trial_run(mien__trial *t, uint64_t seed, int64_t size, mien_error *error) {
  MIEN_TRY(fill_inputs(t, seed, size, error));
  return run_for(t, t->output_count, error);
}

/* ---- golden values */

/* What other instruction sets may differ by, as a part of the largest magnitude; 0: not at all. Products of bfloat16 and of integers
** have the same bits everywhere, but what comes between them has not, and the last bit of a float decides how its neighbours round. */
static double tolerance_of(int32_t dtype, mien_precision precision) {
  if (precision == MIEN_PRECISION_BF16 && (dtype == MIEN_F32 || dtype == MIEN_F64)) return 2e-2;
  if (precision == MIEN_PRECISION_INT16 && (dtype == MIEN_F32 || dtype == MIEN_F64)) return 2e-3;
  switch (dtype) {
    case MIEN_F32:
    case MIEN_F64: return 1e-4;
    case MIEN_F16: return 1e-2;
    case MIEN_BF16: return 5e-2;
    default: return 0;
  }
}

static bool is_number(int32_t dtype) { return dtype != MIEN_STRING && dtype != MIEN_C64 && dtype != MIEN_C128; }

static mien_status golden_type(mien__pool *pool, const mien_type *type, Mien__Plan__Type **out) {
  size_t rank = (size_t)type->rank;
  Mien__Plan__Type *t = mien__pool_alloc(pool, sizeof *t);
  Mien__Plan__Dim **dims = mien__pool_alloc(pool, (rank + 1) * sizeof *dims);
  Mien__Plan__Dim *bodies = mien__pool_alloc(pool, (rank + 1) * sizeof *bodies);
  if (!t || !dims || !bodies) return MIEN_NO_MEMORY;
  mien__plan__type__init(t);
  t->dtype = (uint32_t)type->dtype;
  t->n_dims = rank;
  t->dims = dims;
  for (size_t i = 0; i < rank; i++) {
    mien__plan__dim__init(&bodies[i]);
    bodies[i].value = type->dim[i];
    dims[i] = &bodies[i];
  }
  *out = t;
  return MIEN_OK;
}

static mien_status golden_value(mien__pool *pool, const mien_binding *b, bool output, mien_precision precision,
                                Mien__Plan__GoldenValue **out) {
  Mien__Plan__GoldenValue *v = mien__pool_alloc(pool, sizeof *v);
  int64_t count = mien_count(&b->tensor.type), wanted = output ? GOLDEN_ELEMENTS : WAY_ELEMENTS;
  int64_t n = count < wanted ? count : wanted;
  if (!v) return MIEN_NO_MEMORY;
  mien__plan__golden_value__init(v);
  v->name = mien__pool_string(pool, b->name, strlen(b->name));
  v->index = mien__pool_alloc(pool, ((size_t)n + 1) * sizeof *v->index);
  v->expected = mien__pool_alloc(pool, ((size_t)n + 1) * sizeof *v->expected);
  if (!v->name || !v->index || !v->expected) return MIEN_NO_MEMORY;
  v->output = output;
  MIEN_TRY(golden_type(pool, &b->tensor.type, &v->type));
  v->n_index = v->n_expected = (size_t)n;
  for (int64_t i = 0; i < n; i++) {
    int64_t at = count <= wanted ? i : count / n * i + count % n * i / n;
    v->index[i] = (uint64_t)at;
    v->expected[i] = mien__tensor_f64(&b->tensor, at);
  }
  double largest = 0, part = tolerance_of(b->tensor.type.dtype, precision);
  for (int64_t i = 0; i < count && part > 0; i++) {
    double x = fabs(mien__tensor_f64(&b->tensor, i));
    if (isfinite(x) && x > largest) largest = x;
  }
  v->tolerance = part > 0 ? part * largest + 1e-6 : 0;
  *out = v;
  return MIEN_OK;
}

/* Named values at even distances between input and output. */
static mien_status values_on_the_way(const mien__graph *g, mien__pool *pool, const char **names, size_t *count,
                                     mien_error *error) {
  mien_node_id *order;
  const char **found = mien__pool_alloc(pool, ((size_t)g->live_count + 1) * sizeof *found);
  size_t n = 0;
  *count = 0;
  if (!found) return mien__no_memory(error, (size_t)g->live_count * sizeof *found);
  MIEN_TRY(mien__graph_order((mien__graph *)(uintptr_t)g, &order, error));
  for (int32_t i = 0; i < g->live_count; i++) {
    const mien__gnode *node = mien__node_at(g, order[i]);
    mien_value out = node->n.out_count ? node->out[0] : MIEN_NO_VALUE;
    if (out == MIEN_NO_VALUE) continue;
    const mien__gvalue *v = mien__value_at(g, out);
    if (v->names && !v->output_count && v->v.tensor.type.dtype == MIEN_F32 && !v->v.tensor.type.nest[0])
      found[n++] = v->names->text;
  }
  mien__free(g->env, order);
  for (size_t i = 0; i < WAY_VALUES && n > 0; i++) {
    const char *name = found[(2 * i + 1) * n / (2 * WAY_VALUES)];
    if (*count == 0 || names[*count - 1] != name) names[(*count)++] = name;
  }
  return MIEN_OK;
}

static mien_status record(mien__trial *t, size_t outputs, mien__pool *pool, Mien__Plan__Check *c) {
  mien__plan__check__init(c);
  c->inputs = mien__pool_alloc(pool, (t->input_count + 1) * sizeof *c->inputs);
  c->values = mien__pool_alloc(pool, (outputs + 1) * sizeof *c->values);
  if (!c->inputs || !c->values) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < t->input_count; i++) {
    Mien__Plan__GoldenInput *in = mien__pool_alloc(pool, sizeof *in);
    if (!in) return MIEN_NO_MEMORY;
    mien__plan__golden_input__init(in);
    in->name = mien__pool_string(pool, t->inputs[i].name, strlen(t->inputs[i].name));
    in->seed = t->seed;
    if (!in->name) return MIEN_NO_MEMORY;
    MIEN_TRY(golden_type(pool, &t->inputs[i].tensor.type, &in->type));
    c->inputs[c->n_inputs++] = in;
  }
  for (size_t i = 0; i < outputs; i++) {
    if (!is_number(t->outputs[i].tensor.type.dtype)) continue;
    MIEN_TRY(golden_value(pool, &t->outputs[i], i < t->output_count, t->precision, &c->values[c->n_values]));
    c->n_values++;
  }
  return MIEN_OK;
}

/* How many sizes are open, counted up to 2; those of one name are one. */
static int open_sizes(const mien__trial *t) {
  const char *first = NULL;
  for (size_t i = 0; i < t->input_count; i++) {
    mien_port port;
    if (mien_plan_input(t->plan, i, &port) != MIEN_OK) continue;
    for (int k = 0; k < port.type.rank; k++) {
      if (port.type.dim[k] >= 0) continue;
      if (first && (!*first || strcmp(first, port.dim_name[k]) != 0)) return 2;
      first = port.dim_name[k];
    }
  }
  return first ? 1 : 0;
}

static void fill_with_ones(mien_tensor *t) {
  static const float f32 = 1;
  static const double f64 = 1;
  static const uint16_t f16 = 0x3c00, bf16 = 0x3f80;
  uint64_t integer = 1; /* its low bytes come first */
  int32_t dtype = t->type.dtype;
  const void *one = dtype == MIEN_F32    ? (const void *)&f32
                    : dtype == MIEN_F64  ? (const void *)&f64
                    : dtype == MIEN_F16  ? (const void *)&f16
                    : dtype == MIEN_BF16 ? (const void *)&bf16
                                         : (const void *)&integer;
  size_t size = mien_dtype_size(dtype);
  for (int64_t i = 0; i < mien_count(&t->type); i++) memcpy((char *)t->data + (size_t)i * size, one, size);
}

/* Random integers may be indices outside or impossible sizes, random numbers impossible scales, and open sizes may be meant for
** numbers that nobody guesses or need not be all the same (channels, height): then nothing is said against the model. But one of
** numbers alone, of sizes that are known, that fails on random ones, on zeros and on ones fails by itself. */
static bool runs_on_anything(mien__trial *t) {
  if (open_sizes(t) > 0) return true;
  for (size_t i = 0; i < t->input_count; i++)
    if (tolerance_of(t->inputs[i].tensor.type.dtype, t->precision) == 0) return true;
  for (int ones = 0; ones < 2; ones++) {
    if (fill_inputs(t, 0, golden_sizes[0], NULL) != MIEN_OK) return true;
    for (size_t i = 0; i < t->input_count; i++) {
      memset(t->inputs[i].tensor.data, 0, t->inputs[i].tensor.bytes);
      if (ones) fill_with_ones(&t->inputs[i].tensor);
    }
    if (run_for(t, t->output_count, NULL) == MIEN_OK) return true;
  }
  return false;
}

mien_status mien__golden_record(mien__trial *t, const mien__graph *g, uint64_t seed, mien__pool *pool,
                                Mien__Plan__Check **check, mien_error *why, mien_error *error) {
  const char *names[WAY_VALUES];
  size_t way = 0, sizes = open_sizes(t) ? sizeof golden_sizes / sizeof *golden_sizes : 1;
  mien_status status = MIEN_INTERNAL;
  *check = NULL;
  MIEN_TRY(values_on_the_way(g, pool, names, &way, error));
  MIEN_TRY(mien_session_keep(t->session, names, way, error));
  for (size_t i = 0; i < way; i++) t->outputs[t->output_count + i].name = names[i];
  for (size_t s = 0; s < sizes && status != MIEN_OK; s++)
    for (uint64_t k = 0; k < GOLDEN_SEEDS && status != MIEN_OK; k++) {
      mien_error inner = {0};
      status = fill_inputs(t, seed + k, golden_sizes[s], &inner);
      if (status == MIEN_UNSUPPORTED) { /* inputs that cannot be made up */
        *why = inner;
        return MIEN_OK;
      }
      if (status == MIEN_OK) status = run_for(t, t->output_count + way, &inner);
      if (status == MIEN_NO_MEMORY || status == MIEN_INTERNAL || status == MIEN_UNSUPPORTED)
        return mien__fail(error, status, "%s", inner.message);
      if (status != MIEN_OK && s == 0 && k == 0) *why = inner;
    }
  if (status != MIEN_OK && !runs_on_anything(t))
    return mien__fail(error, why->code == MIEN_INVALID_ARGUMENT ? MIEN_INVALID_MODEL : why->code, "%s", why->message);
  if (status != MIEN_OK) return MIEN_OK;
  Mien__Plan__Check *c = mien__pool_alloc(pool, sizeof *c);
  if (!c || record(t, t->output_count + way, pool, c) != MIEN_OK) return mien__no_memory(error, sizeof *c);
  *check = c;
  return MIEN_OK;
}

/* ---- comparison */

/* Looser than any rounding, tighter than any wrong rewrite. The graph as imported is fp32. */
double mien__verify_bound(int32_t dtype, mien_precision precision) {
  const bool floats = dtype == MIEN_F32 || dtype == MIEN_F64;
  if (floats && precision == MIEN_PRECISION_BF16) return 1e-1;
  if (floats && (precision == MIEN_PRECISION_INT16 || precision == MIEN_PRECISION_FP16_WEIGHTS)) return 1e-2;
  return 10 * tolerance_of(dtype, MIEN_PRECISION_FP32);
}

static bool same_number(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

static void compare(const mien_tensor *a, const mien_tensor *b, mien_precision precision, mien__difference *row) {
  int64_t count = mien_count(&a->type);
  if (!mien__type_equal(&a->type, &b->type)) {
    row->good = false;
    row->max_abs = INFINITY;
    return;
  }
  if (!is_number(a->type.dtype)) return;
  for (int64_t i = 0; i < count; i++) {
    double x = mien__tensor_f64(a, i), y = mien__tensor_f64(b, i);
    if (isfinite(x) && fabs(x) > row->largest) row->largest = fabs(x);
    if (same_number(x, y)) continue;
    double d = fabs(x - y);
    if (!isfinite(x) || !isfinite(y)) d = INFINITY;
    if (d > row->max_abs) row->max_abs = d;
    double relative = x != 0 ? d / fabs(x) : INFINITY;
    if (relative > row->max_rel) row->max_rel = relative;
  }
  const double bound = mien__verify_bound(a->type.dtype, precision);
  if (!(row->max_abs <= bound * row->largest + (bound > 0 ? 1e-5 : 0))) row->good = false;
}

mien_status mien__verify_rows(const mien__trial *reference, mien__difference *rows) {
  for (size_t i = 0; i < reference->output_count; i++) {
    mien_port port;
    MIEN_TRY(mien_plan_output(reference->plan, i, &port));
    rows[i] = (mien__difference){.name = port.name, .good = true};
  }
  return MIEN_OK;
}

mien_status mien__verify(mien__trial *reference, mien__trial *trial, int run, uint64_t seed, int64_t size,
                         mien__difference *rows, bool *compared, mien_error *error) {
  /* Other sizes too where sizes are open; not every model takes every size, or every seed. */
  int64_t sized = size * (1 + run % 3);
  mien_error inner = {0};
  *compared = false;
  mien_status status = mien__trial_run(reference, seed, sized, &inner);
  if (status != MIEN_OK && sized != size) {
    sized = size;
    status = mien__trial_run(reference, seed, sized, &inner);
  }
  if (status == MIEN_NO_MEMORY || status == MIEN_INTERNAL) return mien__fail(error, status, "%s", inner.message);
  if (status != MIEN_OK) return MIEN_OK;
  MIEN_TRY(mien__trial_run(trial, seed, sized, error));
  *compared = true;
  for (size_t i = 0; i < reference->output_count; i++) {
    compare(&reference->outputs[i].tensor, &trial->outputs[i].tensor, trial->precision, &rows[i]);
    if (!rows[i].good)
      return mien__fail(error, MIEN_MISMATCH,
                        "output '%s' of the plan differs from the imported graph by %g where values reach %g",
                        rows[i].name, rows[i].max_abs, rows[i].largest);
  }
  return MIEN_OK;
}
