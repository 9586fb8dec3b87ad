/* plan_json.c -- everything that a plan says, as JSON for `mien info --json`. cJSON takes its memory from malloc: its only hooks
** are global. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON's creators give NULL without memory and its adders then say false; one flag collects both. */
typedef struct json {
  bool good;
} json;

static cJSON *json_add(json *j, cJSON *parent, const char *key, cJSON *item) {
  if (!item || !parent || !(key ? cJSON_AddItemToObject(parent, key, item) : cJSON_AddItemToArray(parent, item))) {
    j->good = false;
    cJSON_Delete(item);
    return NULL;
  }
  return item;
}

static void json_text(json *j, cJSON *parent, const char *key, const char *text) {
  json_add(j, parent, key, text ? cJSON_CreateString(text) : cJSON_CreateNull());
}
static void json_number(json *j, cJSON *parent, const char *key, double number) {
  json_add(j, parent, key, cJSON_CreateNumber(number));
}
static void json_flag(json *j, cJSON *parent, const char *key, bool flag) {
  json_add(j, parent, key, cJSON_CreateBool(flag));
}
/* A double would round integers beyond 2^53. */
static void json_u64(json *j, cJSON *parent, const char *key, uint64_t number) {
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, number);
  json_add(j, parent, key, cJSON_CreateRaw(text));
}
static cJSON *json_object(json *j, cJSON *parent, const char *key) {
  return json_add(j, parent, key, cJSON_CreateObject());
}
static cJSON *json_array(json *j, cJSON *parent, const char *key) {
  return json_add(j, parent, key, cJSON_CreateArray());
}

/* ---------------------------------------------------------------- recipes */

/* Text of limited length; what goes beyond is cut. */
typedef struct line {
  char text[512];
  size_t at;
} line;

static void line_add(line *l, const char *text) {
  for (; *text && l->at + 1 < sizeof l->text; text++) l->text[l->at++] = *text;
}

static bool line_full(const line *l) { return l->at + 1 >= sizeof l->text; }

static void line_end(line *l) {
  if (line_full(l)) {
    /* Not in the middle of a character. */
    l->at -= 4;
    while (l->at && ((unsigned char)l->text[l->at] & 0xc0) == 0x80) l->at--;
    line_add(l, "...");
  }
  l->text[l->at] = '\0';
}

/* The step that computes value id (> leaves). */
static const Mien__Plan__RecipeStep *recipe_step(const Mien__Plan__Recipe *r, uint32_t id) {
  uint64_t behind = r->n_leaves;
  for (size_t i = 0; i < r->n_steps; i++) {
    behind += r->steps[i]->outputs;
    if (id <= behind) return r->steps[i];
  }
  return NULL;
}

static void recipe_leaf(const Mien__Plan__RecipeLeaf *leaf, line *l) {
  char text[160];
  mien_type type;
  if (leaf->initializer[0]) {
    line_add(l, leaf->initializer);
  } else if (leaf->type && mien__plan_type(leaf->type, false, "leaf", &type, NULL) == MIEN_OK) {
    line_add(l, "const ");
    line_add(l, mien__type_text(&type, NULL, text, sizeof text));
  } else {
    line_add(l, "const");
  }
}

/* "Slice(Transpose(a.weight))". Without recursion, and steps whose result is used twice are written twice: the line's length
** bounds both. */
static void recipe_text(const Mien__Plan__Recipe *r, line *l) {
  struct {
    const Mien__Plan__RecipeStep *step;
    size_t next;
  } stack[64];
  size_t depth = 0;
  uint32_t id = r->result;
  for (;;) {
    const Mien__Plan__RecipeStep *step = id > r->n_leaves ? recipe_step(r, id) : NULL;
    if (id == 0)
      line_add(l, "");
    else if (id <= r->n_leaves)
      recipe_leaf(r->leaves[id - 1], l);
    else if (!step || depth == sizeof stack / sizeof *stack)
      line_add(l, "...");
    else {
      if (step->domain[0]) {
        line_add(l, step->domain);
        line_add(l, ".");
      }
      line_add(l, step->op);
      line_add(l, "(");
      stack[depth].step = step;
      stack[depth++].next = 0;
    }
    while (depth && stack[depth - 1].next == stack[depth - 1].step->n_inputs) {
      line_add(l, ")");
      depth--;
    }
    if (depth == 0 || line_full(l)) break;
    if (stack[depth - 1].next) line_add(l, ", ");
    id = stack[depth - 1].step->inputs[stack[depth - 1].next++];
  }
  line_end(l);
}

/* ---------------------------------------------------------------- parts */

static void json_shape(json *j, cJSON *parent, const mien_type *type, const char *const *names) {
  if (type->rank < 0) {
    json_add(j, parent, "shape", cJSON_CreateNull());
    return;
  }
  cJSON *shape = json_array(j, parent, "shape");
  for (int d = 0; d < type->rank; d++) {
    if (type->dim[d] >= 0)
      json_u64(j, shape, NULL, (uint64_t)type->dim[d]);
    else
      json_text(j, shape, NULL, names && names[d] ? names[d] : "");
  }
}

static void json_ports(json *j, cJSON *root, const char *key, const mien__port *ports, uint32_t count) {
  cJSON *list = json_array(j, root, key);
  for (uint32_t i = 0; i < count; i++) {
    cJSON *row = json_object(j, list, NULL);
    json_text(j, row, "name", ports[i].port.name);
    json_text(j, row, "dtype", mien_dtype_name(ports[i].port.type.dtype));
    json_shape(j, row, &ports[i].port.type, ports[i].port.dim_name);
  }
}

static void json_operators(json *j, cJSON *root, const mien_plan *plan) {
  const Mien__Plan__Program *s = plan->source;
  cJSON *list = json_array(j, root, "operators");
  uint64_t *counts = calloc(s->n_operators + 1, sizeof *counts);
  if (!counts) {
    j->good = false;
    return;
  }
  for (size_t i = 0; i < s->n_instructions; i++) counts[s->instructions[i]->op]++;
  for (size_t i = 0; i < s->n_operators; i++) {
    const Mien__Plan__Operator *op = s->operators[i];
    if (!counts[i]) continue; /* of decompositions only */
    cJSON *row = json_object(j, list, NULL);
    json_text(j, row, "domain", mien__domain_text(op->domain));
    json_text(j, row, "op", op->name);
    json_number(j, row, "version", op->version);
    json_u64(j, row, "count", counts[i]);
    json_text(j, row, "plugin", op->plugin[0] ? op->plugin : NULL);
    json_text(j, row, "plugin_version", op->plugin_version[0] ? op->plugin_version : NULL);
  }
  free(counts);
}

static void json_constants(json *j, cJSON *root, const mien_plan *plan) {
  cJSON *list = json_array(j, root, "constants");
  for (size_t i = 0; i < plan->source->n_constants && j->good; i++) {
    const mien_tensor *t = &plan->tensors[i];
    cJSON *row = json_object(j, list, NULL);
    json_text(j, row, "dtype", mien_dtype_name(t->type.dtype));
    json_shape(j, row, &t->type, NULL);
    json_u64(j, row, "bytes", t->bytes);
    line l = {.at = 0};
    if (plan->recipes[i]) recipe_text(plan->names->recipes[plan->recipes[i] - 1], &l);
    json_text(j, row, "origin", plan->recipes[i] ? l.text : NULL);
  }
}

static void json_meta(json *j, cJSON *root, const Mien__Plan__Meta *m) {
  cJSON *meta = json_object(j, root, "meta");
  json_text(j, meta, "converter", m->converter);
  char hex[129] = "";
  for (size_t i = 0; i < m->source_sha256.len && i < 64; i++)
    snprintf(hex + 2 * i, 3, "%02x", (unsigned)m->source_sha256.data[i]);
  json_text(j, meta, "source_sha256", hex);
  json_text(j, meta, "producer", m->producer);
  json_text(j, meta, "variant", m->variant);
  json_text(j, meta, "precision", m->precision[0] ? m->precision : "fp32");
  json_u64(j, meta, "arena_bytes", m->arena_bytes);
  json_u64(j, meta, "live_bytes", m->live_bytes);
  cJSON *passes = json_array(j, meta, "passes");
  for (size_t i = 0; i < m->n_passes; i++) {
    cJSON *row = json_object(j, passes, NULL);
    json_text(j, row, "name", m->passes[i]->name);
    json_number(j, row, "patches", m->passes[i]->patches);
  }
  cJSON *skipped = json_array(j, meta, "skipped");
  for (size_t i = 0; i < m->n_skipped; i++) json_text(j, skipped, NULL, m->skipped[i]);
  cJSON *before = json_array(j, meta, "nodes_before");
  for (size_t i = 0; i < m->n_nodes_before; i++) {
    cJSON *row = json_object(j, before, NULL);
    json_text(j, row, "op", m->nodes_before[i]->op);
    json_number(j, row, "count", m->nodes_before[i]->count);
  }
  cJSON *labels = json_array(j, root, "labels");
  for (size_t i = 0; i < m->n_labels; i++) json_text(j, labels, NULL, m->labels[i]);
}

static void json_picture(json *j, cJSON *root, const Mien__Plan__Picture *p) {
  if (!p) {
    json_add(j, root, "picture", cJSON_CreateNull());
    return;
  }
  cJSON *picture = json_object(j, root, "picture");
  json_text(j, picture, "input", p->input);
  json_number(j, picture, "width", p->width);
  json_number(j, picture, "height", p->height);
  json_text(j, picture, "resize", p->resize);
  json_text(j, picture, "color", p->color);
  json_number(j, picture, "scale", (double)p->scale);
  cJSON *mean = json_array(j, picture, "mean"), *std = json_array(j, picture, "std");
  for (int c = 0; c < 3; c++) {
    json_number(j, mean, NULL, (double)p->mean[c]);
    json_number(j, std, NULL, (double)p->std[c]);
  }
}

static void json_sampling(json *j, cJSON *root, const Mien__Plan__Sampling *s) {
  if (!s) {
    json_add(j, root, "sampling", cJSON_CreateNull());
    return;
  }
  cJSON *sampling = json_object(j, root, "sampling");
  json_text(j, sampling, "generator", s->generator);
  json_text(j, sampling, "transform", s->transform);
  json_text(j, sampling, "key", s->key);
  json_text(j, sampling, "mu", s->mu);
  json_text(j, sampling, "logvar", s->logvar);
}

static void json_golden_type(json *j, cJSON *row, const Mien__Plan__Type *from) {
  mien_type type;
  if (!from || mien__plan_type(from, false, "golden", &type, NULL) != MIEN_OK) return;
  json_text(j, row, "dtype", mien_dtype_name(type.dtype));
  json_shape(j, row, &type, NULL);
}

static void json_check(json *j, cJSON *root, const Mien__Plan__Check *c) {
  cJSON *check = json_object(j, root, "check");
  cJSON *inputs = json_array(j, check, "inputs"), *values = json_array(j, check, "values");
  for (size_t i = 0; i < c->n_inputs; i++) {
    cJSON *row = json_object(j, inputs, NULL);
    json_text(j, row, "name", c->inputs[i]->name);
    json_golden_type(j, row, c->inputs[i]->type);
    json_u64(j, row, "seed", c->inputs[i]->seed);
  }
  for (size_t i = 0; i < c->n_values; i++) {
    cJSON *row = json_object(j, values, NULL);
    json_text(j, row, "name", c->values[i]->name);
    json_flag(j, row, "output", c->values[i]->output);
    json_golden_type(j, row, c->values[i]->type);
    json_u64(j, row, "places", c->values[i]->n_index);
    json_number(j, row, "tolerance", c->values[i]->tolerance);
  }
}

char *mien__plan_json_text(const mien_plan *plan) {
  json j = {.good = true};
  cJSON *root = cJSON_CreateObject();
  json_number(&j, root, "schema", 1);
  json_u64(&j, root, "file_bytes", plan->file_size);
  json_number(&j, root, "plan_version", plan->version);
  cJSON *sections = json_object(&j, root, "sections");
  for (uint32_t kind = 1; kind <= 5; kind++)
    json_u64(&j, sections, mien__section_name(kind), plan->section_bytes[kind]);
  json_ports(&j, root, "inputs", plan->program.inputs, plan->program.input_count);
  json_ports(&j, root, "outputs", plan->program.outputs, plan->program.output_count);
  json_u64(&j, root, "instructions", plan->source->n_instructions);
  json_u64(&j, root, "values", plan->program.value_count);
  json_operators(&j, root, plan);
  json_constants(&j, root, plan);
  json_meta(&j, root, plan->meta);
  json_picture(&j, root, plan->meta->picture);
  json_sampling(&j, root, plan->meta->sampling);
  json_check(&j, root, plan->check);
  json_text(&j, root, "notice", plan->notice);
  char *text = j.good ? cJSON_Print(root) : NULL;
  cJSON_Delete(root);
  return text;
}
