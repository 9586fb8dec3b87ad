/* What a plan tells about itself: names, recipes, picture contract, labels, golden values. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const mien__port *find_port(const mien__port *ports, uint32_t count, const char *name) {
  for (uint32_t i = 0; i < count; i++)
    if (strcmp(ports[i].port.name, name) == 0) return &ports[i];
  return NULL;
}

/* ---------------------------------------------------------------- names */

static mien_status check_recipe(mien_plan *plan, const Mien__Plan__Recipe *r, size_t index, mien_error *error) {
  char what[48];
  snprintf(what, sizeof what, "section names: recipe %zu", index);
  size_t constants = plan->source->n_constants;
  if (r->constant == 0 || r->constant > constants)
    return mien__fail(error, MIEN_CORRUPT, "%s: is for constant %u of %zu", what, r->constant, constants);
  for (size_t i = 0; i < r->n_leaves; i++) {
    mien_type type;
    if (r->leaves[i]->type) MIEN_TRY(mien__plan_type(r->leaves[i]->type, false, what, &type, error));
    if (r->leaves[i]->name > plan->names->n_values)
      return mien__fail(error, MIEN_CORRUPT, "%s: leaf %zu has name %u of %zu", what, i, r->leaves[i]->name,
                        plan->names->n_values);
    if (r->leaves[i]->name) r->leaves[i]->initializer = plan->names->values[r->leaves[i]->name - 1]->name;
    if (r->leaves[i]->constant > constants)
      return mien__fail(error, MIEN_CORRUPT, "%s: leaf %zu is constant %u of %zu", what, i, r->leaves[i]->constant,
                        constants);
  }
  uint64_t values = r->n_leaves;
  for (size_t i = 0; i < r->n_steps; i++) {
    const Mien__Plan__RecipeStep *step = r->steps[i];
    if (!step->op[0]) return mien__fail(error, MIEN_CORRUPT, "%s: step %zu has no operator", what, i);
    for (size_t k = 0; k < step->n_inputs; k++)
      if (step->inputs[k] > values)
        return mien__fail(error, MIEN_CORRUPT, "%s: step %zu reads value %u of %llu", what, i, step->inputs[k],
                          (unsigned long long)values);
    values += step->outputs;
  }
  if (r->result == 0 || r->result > values)
    return mien__fail(error, MIEN_CORRUPT, "%s: the result is value %u of %llu", what, r->result,
                      (unsigned long long)values);
  /* Of several recipes for the same bytes the first tells where they came from as well as any. */
  if (!plan->recipes[r->constant - 1]) plan->recipes[r->constant - 1] = (uint32_t)index + 1;
  return MIEN_OK;
}

/* Names by id become texts: a value's first name, else that of the instruction that computes or first reads it. */
static mien_status check_places(mien_plan *plan, mien_error *error) {
  const Mien__Plan__Names *names = plan->names;
  const mien__program *p = &plan->program;
  const char **place = mien__pool_alloc(&plan->pool, ((size_t)p->value_count + 1) * sizeof *place);
  if (!place) return mien__no_memory(error, ((size_t)p->value_count + 1) * sizeof *place);
  for (uint32_t i = p->instruction_count; i-- > 0;) {
    const mien__instruction *n = &p->instructions[i];
    for (int k = 0; k < n->in_count; k++)
      if (n->in[k]) place[n->in[k] - 1] = n->name;
  }
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    const mien__instruction *n = &p->instructions[i];
    for (int k = 0; k < n->out_count; k++)
      if (n->out[k]) place[n->out[k] - 1] = n->name;
  }
  for (size_t i = 0; i < names->n_values; i++) {
    Mien__Plan__ValueName *n = names->values[i];
    uint32_t into = n->went_into_value;
    if (into > p->value_count)
      return mien__fail(error, MIEN_CORRUPT, "section names: name %zu ('%.100s') went into value %u of %u", i, n->name,
                        into, p->value_count);
    const char *text = into ? p->value_names[into - 1] ? p->value_names[into - 1] : place[into - 1] : NULL;
    if (text) n->went_into = (char *)(uintptr_t)text;
  }
  return MIEN_OK;
}

static mien_status check_names(mien_plan *plan, mien_error *error) {
  const Mien__Plan__Names *names = plan->names;
  for (size_t i = 0; i < names->n_values; i++) {
    const Mien__Plan__ValueName *n = names->values[i];
    if (!n->name[0] || n->value > plan->program.value_count)
      return mien__fail(error, MIEN_CORRUPT, "section names: name %zu ('%.100s') is of value %u of %u", i, n->name,
                        n->value, plan->program.value_count);
    /* Of several names of one value the first is the main one. */
    if (n->value && !plan->program.value_names[n->value - 1]) plan->program.value_names[n->value - 1] = n->name;
  }
  MIEN_TRY(check_places(plan, error));
  size_t bytes = plan->source->n_constants * sizeof *plan->recipes;
  plan->recipes = mien__pool_alloc(&plan->pool, bytes);
  if (!plan->recipes) return mien__no_memory(error, bytes);
  for (size_t i = 0; i < names->n_recipes; i++) MIEN_TRY(check_recipe(plan, names->recipes[i], i, error));
  return MIEN_OK;
}

/* ---------------------------------------------------------------- meta */

#define bad_meta(...) mien__fail(error, MIEN_CORRUPT, "section meta: " __VA_ARGS__)

static mien_status check_picture(const mien_plan *plan, const Mien__Plan__Picture *p, mien_error *error) {
  const mien__program *program = &plan->program;
  if (!find_port(program->inputs, program->input_count, p->input))
    return bad_meta("the picture is for '%.100s', which is no input", p->input);
  if (p->width == 0 || p->height == 0 || p->width > 1 << 16 || p->height > 1 << 16)
    return bad_meta("a picture of %u x %u", p->width, p->height);
  if (strcmp(p->resize, "pillow-bilinear") != 0)
    return mien__fail(error, MIEN_UNSUPPORTED,
                      "section meta: the picture is resized by '%.40s', known is pillow-bilinear", p->resize);
  if (strcmp(p->color, "RGB") != 0 && strcmp(p->color, "BGR") != 0)
    return mien__fail(error, MIEN_UNSUPPORTED, "section meta: the picture has colours '%.40s', known are RGB and BGR",
                      p->color);
  if (!isfinite(p->scale) || p->scale == 0) return bad_meta("scale %g of the picture", (double)p->scale);
  if (p->n_mean != 3 || p->n_std != 3)
    return bad_meta("%zu means and %zu deviations of the picture", p->n_mean, p->n_std);
  for (int c = 0; c < 3; c++)
    if (!isfinite(p->mean[c]) || !isfinite(p->std[c]) || p->std[c] == 0)
      return bad_meta("mean %g and deviation %g of the picture", (double)p->mean[c], (double)p->std[c]);
  return MIEN_OK;
}

static mien_status check_sampling(const mien_plan *plan, const Mien__Plan__Meta *meta, mien_error *error) {
  const mien__program *program = &plan->program;
  const char *const outputs[] = {meta->sampling->mu, meta->sampling->logvar};
  for (int i = 0; i < 2; i++) {
    if (!outputs[i][0]) continue;
    const mien__port *port = find_port(program->outputs, program->output_count, outputs[i]);
    if (!port) return bad_meta("sampling uses '%.100s', which is no output", outputs[i]);
    const mien_type *type = &port->port.type;
    int64_t classes = type->rank > 0 ? type->dim[type->rank - 1] : -1;
    if (meta->n_labels && classes >= 0 && (uint64_t)classes != meta->n_labels)
      return bad_meta("%zu labels for the %lld classes of output '%.100s'", meta->n_labels, (long long)classes,
                      outputs[i]);
  }
  return MIEN_OK;
}

/* ---------------------------------------------------------------- check */

#define bad_check(...) mien__fail(error, MIEN_CORRUPT, "section check: " __VA_ARGS__)

#define MAX_GOLDEN 1000 /* names are compared in pairs */

/* The sizes that a golden input has must be those that its port allows; whether equal symbols are equal is seen when it runs. */
static bool fits_port(const mien_type *type, const mien_type *port) {
  if (type->dtype != port->dtype || type->nest[0] != MIEN_TENSOR) return false;
  if (port->rank >= 0 && type->rank != port->rank) return false;
  for (int d = 0; d < port->rank; d++)
    if (port->dim[d] >= 0 && port->dim[d] != type->dim[d]) return false;
  return true;
}

static mien_status check_golden_input(const mien_plan *plan, const Mien__Plan__Check *check, size_t i,
                                      mien_error *error) {
  const Mien__Plan__GoldenInput *in = check->inputs[i];
  const mien__port *port = find_port(plan->program.inputs, plan->program.input_count, in->name);
  if (!port) return bad_check("'%.100s' is no input", in->name);
  for (size_t k = 0; k < i; k++)
    if (strcmp(check->inputs[k]->name, in->name) == 0) return bad_check("input '%.100s' is given twice", in->name);
  mien_type type;
  int64_t count;
  size_t bytes;
  char what[160];
  snprintf(what, sizeof what, "section check: input '%.100s'", in->name);
  MIEN_TRY(mien__plan_type(in->type, false, what, &type, error));
  MIEN_TRY(mien__type_size(plan->env, &type, &count, &bytes, error));
  return fits_port(&type, &port->port.type) ? MIEN_OK
                                            : bad_check("input '%.100s' has another type than the plan's", in->name);
}

static mien_status check_golden_value(const mien_plan *plan, const Mien__Plan__Check *check, size_t i,
                                      mien_error *error) {
  const Mien__Plan__GoldenValue *v = check->values[i];
  char what[160];
  mien_type type;
  int64_t count;
  size_t bytes;
  snprintf(what, sizeof what, "section check: value '%.100s'", v->name);
  if (!v->name[0]) return bad_check("a value without a name");
  for (size_t k = 0; k < i; k++)
    if (strcmp(check->values[k]->name, v->name) == 0) return bad_check("value '%.100s' is given twice", v->name);
  if (v->output && !find_port(plan->program.outputs, plan->program.output_count, v->name))
    return bad_check("'%.100s' is no output", v->name);
  MIEN_TRY(mien__plan_type(v->type, false, what, &type, error));
  MIEN_TRY(mien__type_size(plan->env, &type, &count, &bytes, error));
  if (type.dtype == MIEN_STRING || type.dtype == MIEN_C64 || type.dtype == MIEN_C128)
    return bad_check("value '%.100s' is of type %s", v->name, mien_dtype_name(type.dtype));
  if (v->n_index != v->n_expected || (v->n_index == 0) != (count == 0))
    return bad_check("value '%.100s' has %zu places and %zu numbers", v->name, v->n_index, v->n_expected);
  if (!(v->tolerance >= 0) || isinf(v->tolerance))
    return bad_check("value '%.100s' has tolerance %g", v->name, v->tolerance);
  for (size_t k = 0; k < v->n_index; k++)
    if (v->index[k] >= (uint64_t)count)
      return bad_check("value '%.100s' has place %llu of %lld", v->name, (unsigned long long)v->index[k],
                       (long long)count);
  return MIEN_OK;
}

static mien_status check_golden(const mien_plan *plan, mien_error *error) {
  const Mien__Plan__Check *check = plan->check;
  if (check->n_values == 0) return MIEN_OK; /* no golden values */
  if (check->n_values > MAX_GOLDEN) return bad_check("%zu values, at most %d", check->n_values, MAX_GOLDEN);
  if (check->n_inputs != plan->program.input_count)
    return bad_check("%zu inputs, the plan has %u", check->n_inputs, plan->program.input_count);
  for (size_t i = 0; i < check->n_inputs; i++) MIEN_TRY(check_golden_input(plan, check, i, error));
  for (size_t i = 0; i < check->n_values; i++) MIEN_TRY(check_golden_value(plan, check, i, error));
  return MIEN_OK;
}

mien_status mien__plan_check_facts(mien_plan *plan, mien_error *error) {
  const Mien__Plan__Meta *meta = plan->meta;
  MIEN_TRY(check_names(plan, error));
  if (meta->picture) MIEN_TRY(check_picture(plan, meta->picture, error));
  if (meta->sampling) MIEN_TRY(check_sampling(plan, meta, error));
  return check_golden(plan, error);
}
