/* The program of a plan: every id before its use, every value defined once and before it is read, every operator known. Where a
** plugin is missing, the decomposition that the plan carries takes its operator's place. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Of a value, while the instructions are walked. */
enum {
  UNDEFINED,
  DEFINED,
  AWAITED, /* output of an operator whose decomposition is being walked */
  INNER,   /* defined in that decomposition, for its own use */
  RETIRED  /* was INNER: not to be read or written any more */
};

typedef struct check {
  mien_plan *plan;
  const Mien__Plan__Program *source;
  mien_error *error;
  const mien__record **records; /* by operator; NULL: not here */
  bool *known;                  /* the operator exists at another version */
  uint8_t *missing;             /* instructions need it and cannot be spliced / spliced */
  uint8_t *state;               /* by value id - 1 */
} check;

#define corrupt(c, ...) mien__fail((c)->error, MIEN_CORRUPT, __VA_ARGS__)

static void *check_alloc(check *c, size_t count, size_t size) {
  void *memory = mien__pool_alloc(&c->plan->pool, count * size); /* fits: the messages are larger */
  if (!memory) (void)mien__no_memory(c->error, count * size);
  return memory;
}

/* ---------------------------------------------------------------- operators */

static bool standard(const Mien__Plan__Operator *op) {
  return op->domain[0] == '\0' || strcmp(op->domain, "mien") == 0;
}

static mien_status find_operators(check *c) {
  size_t count = c->source->n_operators;
  c->records = check_alloc(c, count, sizeof *c->records);
  c->known = check_alloc(c, count, 1);
  c->missing = check_alloc(c, count, 1);
  if (!c->records || !c->known || !c->missing) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < count; i++) {
    const Mien__Plan__Operator *op = c->source->operators[i];
    if (!op->name[0] || op->version == 0 || op->version > INT_MAX)
      return corrupt(c, "operator %zu: name '%.80s', version %u", i, op->name, op->version);
    const mien__record *r = mien__registry_find(c->plan->env, op->domain, op->name, op->version, &c->known[i]);
    if (r && r->plugin && !standard(op) && (c->plan->flags & MIEN_PLAN_NO_PLUGINS)) r = NULL;
    c->records[i] = r;
  }
  return MIEN_OK;
}

enum { MISSING = 1, SPLICED = 2 };

/* "com.x.Op-3 (plugin 'p' 1.0 is not loaded)" behind text. */
static size_t name_operator(const check *c, size_t i, char *text, size_t size) {
  const Mien__Plan__Operator *op = c->source->operators[i];
  int n = snprintf(text, size, "%s%s%.60s-%u", op->domain, op->domain[0] ? "." : "", op->name, op->version);
  size_t at = n < 0 ? 0 : (size_t)n < size ? (size_t)n : size - 1;
  const char *why = c->known[i] ? "only other versions are known" : "unknown";
  if (op->plugin[0])
    n = snprintf(text + at, size - at, " (plugin '%.60s'%s%.20s is not loaded)", op->plugin,
                 op->plugin_version[0] ? " " : "", op->plugin_version);
  else
    n = snprintf(text + at, size - at, " (%s)", why);
  return n < 0 ? at : at + (size_t)n;
}

static mien_status report_missing(const check *c) {
  char text[400] = "", row[300];
  size_t at = 0, missing = 0, shown = 0;
  for (size_t i = 0; i < c->source->n_operators; i++) {
    if (!(c->missing[i] & MISSING)) continue;
    missing++;
    name_operator(c, i, row, sizeof row);
    size_t length = strlen(row);
    if (shown + 1 < missing || at + length + 30 > sizeof text) continue; /* room for the count of the rest */
    at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? ", " : "", row);
    shown++;
  }
  if (missing == 0) return MIEN_OK;
  if (shown < missing) snprintf(text + at, sizeof text - at, " and %zu more", missing - shown);
  return mien__fail(c->error, MIEN_UNSUPPORTED, "the plan needs operators that are not here: %s", text);
}

static mien_status write_notice(check *c) {
  char row[300];
  size_t bytes = 1;
  c->plan->notice = "";
  if (c->plan->flags & MIEN_PLAN_NO_PLUGINS) return MIEN_OK;
  static const char tail[] = "; its decomposition runs instead, slower\n";
  for (size_t i = 0; i < c->source->n_operators; i++)
    if (c->missing[i] & SPLICED) bytes += sizeof row + sizeof tail;
  if (bytes == 1) return MIEN_OK;
  char *text = check_alloc(c, bytes, 1);
  if (!text) return MIEN_NO_MEMORY;
  size_t at = 0;
  for (size_t i = 0; i < c->source->n_operators; i++) {
    if (!(c->missing[i] & SPLICED)) continue;
    name_operator(c, i, row, sizeof row);
    at += (size_t)snprintf(text + at, bytes - at, "%s%s", row, tail);
  }
  c->plan->notice = text;
  return MIEN_OK;
}

/* ---------------------------------------------------------------- values and ports */

static mien_status read_values(check *c) {
  const Mien__Plan__Program *s = c->source;
  mien__program *p = &c->plan->program;
  if (s->n_values > UINT32_MAX / 2) return corrupt(c, "%zu values", s->n_values);
  p->value_count = (uint32_t)s->n_values;
  p->values = check_alloc(c, s->n_values, sizeof *p->values);
  p->value_names = check_alloc(c, s->n_values, sizeof *p->value_names);
  c->state = check_alloc(c, s->n_values, 1);
  if (!p->values || !p->value_names || !c->state) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < s->n_values; i++) {
    const Mien__Plan__Value *v = s->values[i];
    char what[48];
    snprintf(what, sizeof what, "value %zu", i + 1);
    if (v->constant > s->n_constants) return corrupt(c, "%s: is constant %u of %zu", what, v->constant, s->n_constants);
    if (v->constant) {
      p->values[i].tensor = c->plan->tensors[v->constant - 1];
      p->values[i].constant = true;
      c->state[i] = DEFINED;
    } else if (v->type) {
      MIEN_TRY(mien__plan_type(v->type, true, what, &p->values[i].tensor.type, c->error));
    }
  }
  return MIEN_OK;
}

static mien_status read_port(check *c, const Mien__Plan__Port *from, const char *kind, mien__port *to) {
  char what[160];
  snprintf(what, sizeof what, "%s '%.100s'", kind, from->name);
  if (!from->name[0]) return corrupt(c, "an %s without a name", kind);
  if (from->value == 0 || from->value > c->source->n_values)
    return corrupt(c, "%s: is value %u of %zu", what, from->value, c->source->n_values);
  MIEN_TRY(mien__plan_type(from->type, true, what, &to->port.type, c->error));
  if (to->port.type.nest[0] != MIEN_TENSOR) return mien__fail(c->error, MIEN_UNSUPPORTED, "%s: is no tensor", what);
  to->value = from->value;
  to->port.name = from->name;
  for (size_t d = 0; d < from->type->n_dims; d++)
    if (from->type->dims[d]->value < 0) to->port.dim_name[d] = from->type->dims[d]->name;
  return MIEN_OK;
}

#define MAX_PORTS 4096 /* names of ports are compared in pairs */

static mien_status read_ports(check *c, Mien__Plan__Port **from, size_t count, const char *kind, mien__port **ports,
                              uint32_t *port_count) {
  if (count > MAX_PORTS) return corrupt(c, "%zu %ss, at most %d", count, kind, MAX_PORTS);
  mien__port *to = check_alloc(c, count, sizeof *to);
  if (!to) return MIEN_NO_MEMORY;
  *ports = to;
  *port_count = (uint32_t)count;
  for (size_t i = 0; i < count; i++) {
    MIEN_TRY(read_port(c, from[i], kind, &to[i]));
    for (size_t j = 0; j < i; j++)
      if (strcmp(to[i].port.name, to[j].port.name) == 0)
        return corrupt(c, "two %ss are named '%.100s'", kind, to[i].port.name);
  }
  return MIEN_OK;
}

static mien_status define_inputs(check *c) {
  const mien__program *p = &c->plan->program;
  for (uint32_t i = 0; i < p->input_count; i++) {
    uint8_t *state = &c->state[p->inputs[i].value - 1];
    if (*state != UNDEFINED) return corrupt(c, "input '%.100s': its value is defined twice", p->inputs[i].port.name);
    *state = DEFINED;
  }
  return MIEN_OK;
}

/* ---------------------------------------------------------------- instructions */

static mien_status check_inputs(check *c, const Mien__Plan__Instruction *from, const char *what) {
  for (size_t i = 0; i < from->n_inputs; i++) {
    uint32_t id = from->inputs[i];
    if (id == 0) continue;
    if (id > c->source->n_values)
      return corrupt(c, "%s: input %zu is value %u of %zu", what, i, id, c->source->n_values);
    uint8_t state = c->state[id - 1];
    if (state == RETIRED) return corrupt(c, "%s: input %zu, value %u, belongs to another decomposition", what, i, id);
    if (state != DEFINED && state != INNER)
      return corrupt(c, "%s: input %zu, value %u, is used before it is computed", what, i, id);
  }
  return MIEN_OK;
}

/* An undefined output becomes `fresh`; one that a decomposition is to compute becomes defined. */
static mien_status define_outputs(check *c, const Mien__Plan__Instruction *in, const char *what, uint8_t fresh,
                                  bool decomposed) {
  for (size_t i = 0; i < in->n_outputs; i++) {
    uint32_t id = in->outputs[i];
    if (id == 0) continue;
    if (id > c->source->n_values)
      return corrupt(c, "%s: output %zu is value %u of %zu", what, i, id, c->source->n_values);
    uint8_t *state = &c->state[id - 1];
    if (*state == UNDEFINED)
      *state = fresh;
    else if (decomposed && *state == AWAITED)
      *state = DEFINED;
    else
      return corrupt(c, "%s: output %zu, value %u, is defined twice", what, i, id);
  }
  return MIEN_OK;
}

static mien_status place_name(const check *c, const Mien__Plan__Instruction *from, size_t index, char *what,
                              size_t size) {
  snprintf(what, size, "instruction %zu ('%.80s')", index, from->name);
  if (from->op >= c->source->n_operators)
    return corrupt(c, "%s: operator %u of %zu", what, from->op, c->source->n_operators);
  if (from->n_inputs > INT_MAX / 2 || from->n_outputs > INT_MAX / 2) return corrupt(c, "%s: too many operands", what);
  return MIEN_OK;
}

/* Appends an instruction to the program; arity and attributes are checked against its record at once. */
static mien_status append(check *c, const Mien__Plan__Instruction *from, const char *what) {
  mien__program *p = &c->plan->program;
  if (p->instruction_count >= c->plan->env->limits.nodes)
    return mien__fail(c->error, MIEN_LIMIT, "more than %u instructions (limit nodes)", c->plan->env->limits.nodes);
  if (from->n_attributes > 256) return corrupt(c, "%s: %zu attributes", what, from->n_attributes);
  bool computes = false;
  for (size_t i = 0; i < from->n_outputs; i++) computes = computes || from->outputs[i];
  if (!computes) return corrupt(c, "%s: has no output", what);
  mien__attr_value *attrs = check_alloc(c, from->n_attributes, sizeof *attrs);
  if (!attrs) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < from->n_attributes; i++)
    MIEN_TRY(mien__plan_attribute(c->plan, from->attributes[i], what, &attrs[i], c->error));
  mien__instruction *to = &p->instructions[p->instruction_count++];
  *to = (mien__instruction){.record = c->records[from->op],
                            .name = from->name,
                            .attrs = attrs,
                            .attr_count = (int)from->n_attributes,
                            .in = from->inputs,
                            .out = from->outputs,
                            .in_count = (int)from->n_inputs,
                            .out_count = (int)from->n_outputs};
  return MIEN_OK;
}

static mien_status check_decomposition(check *c, const Mien__Plan__Instruction *outer, const char *what) {
  const Mien__Plan__Program *s = c->source;
  if (standard(s->operators[outer->op]))
    return corrupt(c, "%s: an operator of mien's own carries a decomposition", what);
  MIEN_TRY(define_outputs(c, outer, what, AWAITED, false));
  for (size_t i = 0; i < outer->n_decomposition; i++) {
    const Mien__Plan__Instruction *inner = outer->decomposition[i];
    char place[128];
    MIEN_TRY(place_name(c, inner, i, place, sizeof place));
    if (inner->n_decomposition || !standard(s->operators[inner->op]))
      return corrupt(c, "%s: its decomposition uses an operator that would have one too", what);
    MIEN_TRY(check_inputs(c, inner, place));
    MIEN_TRY(define_outputs(c, inner, place, INNER, true));
  }
  for (size_t i = 0; i < outer->n_decomposition; i++)
    for (size_t k = 0; k < outer->decomposition[i]->n_outputs; k++) {
      uint32_t id = outer->decomposition[i]->outputs[k];
      if (id && c->state[id - 1] == INNER) c->state[id - 1] = RETIRED;
    }
  for (size_t k = 0; k < outer->n_outputs; k++)
    if (outer->outputs[k] && c->state[outer->outputs[k] - 1] == AWAITED)
      return corrupt(c, "%s: its decomposition does not compute output %zu", what, k);
  return MIEN_OK;
}

/* Operators that are not here are noted; the instructions before and after are checked all the same. */
static mien_status splice(check *c, const Mien__Plan__Instruction *outer, const char *what) {
  c->missing[outer->op] |= SPLICED;
  for (size_t i = 0; i < outer->n_decomposition; i++) {
    const Mien__Plan__Instruction *inner = outer->decomposition[i];
    if (c->records[inner->op])
      MIEN_TRY(append(c, inner, what));
    else
      c->missing[inner->op] |= MISSING;
  }
  return MIEN_OK;
}

static mien_status check_instruction(check *c, size_t index) {
  const Mien__Plan__Instruction *from = c->source->instructions[index];
  char what[128];
  MIEN_TRY(place_name(c, from, index, what, sizeof what));
  MIEN_TRY(check_inputs(c, from, what));
  if (from->n_decomposition)
    MIEN_TRY(check_decomposition(c, from, what));
  else
    MIEN_TRY(define_outputs(c, from, what, DEFINED, false));
  if (c->records[from->op]) return append(c, from, what);
  if (from->n_decomposition) return splice(c, from, what);
  c->missing[from->op] |= MISSING;
  return MIEN_OK;
}

static mien_status check_instructions(check *c) {
  const Mien__Plan__Program *s = c->source;
  size_t most = s->n_instructions;
  for (size_t i = 0; i < s->n_instructions; i++) most += s->instructions[i]->n_decomposition;
  c->plan->program.instructions = check_alloc(c, most, sizeof *c->plan->program.instructions);
  if (!c->plan->program.instructions) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < s->n_instructions; i++) MIEN_TRY(check_instruction(c, i));
  MIEN_TRY(report_missing(c));
  return write_notice(c);
}

/* Arity and attributes, by the code that sessions use. */
static mien_status check_nodes(check *c) {
  const mien__program *p = &c->plan->program;
  size_t most = 1;
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    size_t operands = (size_t)p->instructions[i].in_count + (size_t)p->instructions[i].out_count;
    most = operands > most ? operands : most;
  }
  mien__value **operands = mien__alloc(c->plan->env, most * sizeof *operands);
  if (!operands) return mien__no_memory(c->error, most * sizeof *operands);
  mien__scope scope = {.env = c->plan->env, .pool = &c->plan->pool, .error = c->error};
  mien_status status = MIEN_OK;
  for (uint32_t i = 0; status == MIEN_OK && i < p->instruction_count; i++) {
    const mien__instruction *in = &p->instructions[i];
    for (int k = 0; k < in->in_count; k++) operands[k] = in->in[k] ? &p->values[in->in[k] - 1] : NULL;
    mien__value **out = operands + in->in_count;
    for (int k = 0; k < in->out_count; k++) out[k] = in->out[k] ? &p->values[in->out[k] - 1] : NULL;
    mien_node node;
    status = mien__node_init(&node, &scope, in->record, in->name, in->attrs, in->attr_count, operands, in->in_count,
                             out, in->out_count);
  }
  mien__free(c->plan->env, operands);
  return status;
}

mien_status mien__plan_check_program(mien_plan *plan, mien_error *error) {
  check c = {.plan = plan, .source = plan->source, .error = error};
  mien__program *p = &plan->program;
  MIEN_TRY(mien__plan_check_constants(plan, error));
  MIEN_TRY(find_operators(&c));
  MIEN_TRY(read_values(&c));
  MIEN_TRY(read_ports(&c, c.source->inputs, c.source->n_inputs, "input", &p->inputs, &p->input_count));
  MIEN_TRY(read_ports(&c, c.source->outputs, c.source->n_outputs, "output", &p->outputs, &p->output_count));
  MIEN_TRY(define_inputs(&c));
  MIEN_TRY(check_instructions(&c));
  for (uint32_t i = 0; i < p->output_count; i++)
    if (c.state[p->outputs[i].value - 1] != DEFINED)
      return corrupt(&c, "output '%.100s': value %u is never computed", p->outputs[i].port.name, p->outputs[i].value);
  return check_nodes(&c);
}
