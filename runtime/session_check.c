/* session_check.c -- the plan's golden input on this machine, against what the converter recorded. */
#include "plan_format.h"
#include "session.h"

#include "plan.pb-c.h"

#include <math.h>
#include <string.h>

typedef struct golden {
  mien_session *session; /* of its own: the caller's keeps its values and its memory */
  mien_binding *inputs, *outputs;
  const char **names;
} golden;

static mien_status golden_reserve(mien_env *env, const Mien__Plan__Check *check, golden *g, mien_error *error) {
  g->inputs = mien__alloc(env, (check->n_inputs + 1) * sizeof *g->inputs);
  g->outputs = mien__alloc(env, check->n_values * sizeof *g->outputs);
  g->names = mien__alloc(env, check->n_values * sizeof *g->names);
  if (!g->inputs || !g->outputs || !g->names) return mien__no_memory(error, check->n_values * sizeof *g->outputs);
  return MIEN_OK;
}

static mien_status golden_inputs(mien_env *env, const Mien__Plan__Check *check, golden *g, mien_error *error) {
  for (size_t i = 0; i < check->n_inputs; i++) {
    const Mien__Plan__GoldenInput *in = check->inputs[i];
    mien_type type;
    MIEN_TRY(mien__plan_type(in->type, false, in->name, &type, error));
    MIEN_TRY(mien__tensor_alloc(env, &type, &g->inputs[i].tensor, error));
    MIEN_TRY(mien__golden_fill(in->seed, (uint32_t)i, &g->inputs[i].tensor, error));
    g->inputs[i].name = in->name;
  }
  return MIEN_OK;
}

/* NaN is right where NaN was recorded, an infinity where the same was. */
static void compare(const Mien__Plan__GoldenValue *expected, const mien_tensor *got, mien_check_row *row) {
  double max_abs = 0, max_rel = 0;
  bool good = true;
  for (size_t i = 0; i < expected->n_index; i++) {
    double e = expected->expected[i], x = mien__tensor_f64(got, (int64_t)expected->index[i]);
    if (e == x || (isnan(e) && isnan(x))) continue;
    double difference = isfinite(e) && isfinite(x) ? fabs(e - x) : INFINITY;
    double relative = e != 0 ? difference / fabs(e) : INFINITY;
    max_abs = difference > max_abs ? difference : max_abs;
    max_rel = relative > max_rel ? relative : max_rel;
    good = good && difference <= expected->tolerance;
  }
  *row = (mien_check_row){
      .name = expected->name, .max_abs = max_abs, .max_rel = max_rel, .tolerance = expected->tolerance, .good = good};
}

static bool same_type(const mien_type *a, const mien_type *b) {
  if (a->dtype != b->dtype || a->rank != b->rank) return false;
  for (int d = 0; d < a->rank; d++)
    if (a->dim[d] != b->dim[d]) return false;
  return true;
}

static mien_status golden_compare(const Mien__Plan__Check *check, const golden *g, mien_check_row *rows, size_t *count,
                                  mien_error *error) {
  size_t room = rows ? *count : 0;
  mien_check_row row, first = {.good = true};
  for (size_t i = 0; i < check->n_values; i++) {
    const Mien__Plan__GoldenValue *v = check->values[i];
    const mien_tensor *got = &g->outputs[i].tensor;
    mien_type type;
    char want_text[200], got_text[200];
    MIEN_TRY(mien__plan_type(v->type, false, v->name, &type, error));
    if (!same_type(&type, &got->type))
      return mien__fail(error, MIEN_MISMATCH, "value '%.100s' is %s, recorded is %s", v->name,
                        mien__type_text(&got->type, NULL, got_text, sizeof got_text),
                        mien__type_text(&type, NULL, want_text, sizeof want_text));
    compare(v, got, &row);
    if (first.good && !row.good) first = row;
    if (i < room) rows[i] = row;
  }
  *count = check->n_values;
  if (first.good) return MIEN_OK;
  return mien__fail(error, MIEN_MISMATCH, "value '%.100s' differs by %.3g from the recorded one, tolerance %.3g",
                    first.name, first.max_abs, first.tolerance);
}

static mien_status golden_run(mien_session *s, golden *g, mien_check_row *rows, size_t *count, mien_error *error) {
  const Mien__Plan__Check *check = s->plan->check;
  MIEN_TRY(golden_reserve(s->env, check, g, error));
  MIEN_TRY(golden_inputs(s->env, check, g, error));
  MIEN_TRY(mien__session_create(s->plan, s->threads, &g->session, error));
  for (size_t i = 0; i < check->n_values; i++) g->names[i] = g->outputs[i].name = check->values[i]->name;
  MIEN_TRY(mien_session_keep(g->session, g->names, check->n_values, error));
  MIEN_TRY(mien_session_run(g->session, g->inputs, check->n_inputs, g->outputs, check->n_values, error));
  return golden_compare(check, g, rows, count, error);
}

mien_status mien_session_check(mien_session *s, mien_check_row *rows, size_t *count, mien_error *error) {
  if (!s || !count) return mien__fail(error, MIEN_INVALID_ARGUMENT, "session and count must not be NULL");
  const Mien__Plan__Check *check = s->plan->check;
  if (check->n_values == 0) return mien__fail(error, MIEN_UNSUPPORTED, "the plan carries no golden values");
  if (atomic_exchange(&s->busy, true))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "the session is in use by another thread");
  golden g = {0};
  mien_status status = golden_run(s, &g, rows, count, error);
  for (size_t i = 0; g.inputs && i < check->n_inputs; i++) mien_tensor_clear(s->env, &g.inputs[i].tensor);
  mien__free(s->env, g.inputs);
  mien__free(s->env, g.outputs);
  mien__free(s->env, g.names);
  mien_session_destroy(g.session);
  atomic_store(&s->busy, false);
  return status;
}
