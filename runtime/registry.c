/* registry.c -- the table of operators: records checked and their signatures parsed once, found by (domain, name, version). */
#include "internal.h"

#include <string.h>

const char *mien__domain_text(const char *domain) { return domain && *domain ? domain : "ai.onnx"; }

/* ---- signatures */

typedef struct reader {
  const char *at;
  char variable[8][8]; /* names of type variables */
  uint32_t allowed[8]; /* their sets; 0: not stated */
  int variables;
} reader;

static void skip_spaces(reader *r) {
  while (*r->at == ' ') r->at++;
}

static bool read_set(reader *r, uint32_t *set) {
  for (r->at++; *r->at && *r->at != '}';) {
    size_t n = strcspn(r->at, ",} ");
    int32_t dtype = mien__dtype_named(r->at, n);
    if (dtype == MIEN_NONE) return false;
    *set |= 1u << dtype;
    r->at += n;
    if (*r->at == ',') r->at++;
    skip_spaces(r);
  }
  return *r->at++ == '}' && *set;
}

static bool read_type(reader *r, mien__slot *slot) {
  slot->variable = -1;
  if (*r->at == '{') return read_set(r, &slot->dtypes);
  size_t n = strcspn(r->at, "{?., ");
  if (*r->at < 'A' || *r->at > 'Z') {
    int32_t dtype = mien__dtype_named(r->at, n);
    if (dtype == MIEN_NONE) return false;
    slot->dtypes = 1u << dtype;
    r->at += n;
    return true;
  }
  if (n >= sizeof r->variable[0]) return false;
  int v = 0;
  while (v < r->variables && (strlen(r->variable[v]) != n || memcmp(r->variable[v], r->at, n) != 0)) v++;
  if (v == (int)(sizeof r->variable / sizeof r->variable[0])) return false;
  if (v == r->variables) memcpy(r->variable[r->variables++], r->at, n);
  slot->variable = (int8_t)v;
  r->at += n;
  return *r->at != '{' || read_set(r, &r->allowed[v]);
}

static bool read_slot(reader *r, mien__slot *slot) {
  size_t n = strcspn(r->at, ":");
  if (r->at[n] != ':' || n == 0 || n >= sizeof slot->name) return false;
  memcpy(slot->name, r->at, n);
  r->at += n + 1;
  if (!read_type(r, slot)) return false;
  if (*r->at == '?') slot->optional = true, r->at++;
  if (strncmp(r->at, "...", 3) == 0) slot->variadic = true, r->at += 3;
  return true;
}

static bool read_slots(reader *r, mien__slot *slots, int *count) {
  for (skip_spaces(r); *r->at && strncmp(r->at, "->", 2) != 0; skip_spaces(r)) {
    if (*count == MIEN__MAX_SLOTS || (*count && slots[*count - 1].variadic) || !read_slot(r, &slots[*count]))
      return false;
    ++*count;
    skip_spaces(r);
    if (*r->at == ',') r->at++;
  }
  return true;
}

#define ALL_DTYPES 0x07fffffeu

static bool parse_signature(const mien_op *op, mien__signature *s) {
  reader r = {.at = op->signature};
  memset(s, 0, sizeof *s);
  s->variable_T = -1;
  if (!read_slots(&r, s->in, &s->in_count) || strncmp(r.at, "->", 2) != 0) return false;
  r.at += 2;
  if (!read_slots(&r, s->out, &s->out_count) || *r.at || s->out_count == 0) return false;
  for (int v = 0; v < r.variables; v++)
    if (strcmp(r.variable[v], "T") == 0) {
      s->variable_T = v;
      uint32_t kernels = 0;
      for (const mien_kernel *k = op->kernels; k->dtype != MIEN_NONE; k++)
        kernels |= k->dtype == MIEN_ANY ? ALL_DTYPES : 1u << k->dtype;
      r.allowed[v] = r.allowed[v] ? r.allowed[v] & kernels : kernels;
    }
  for (int i = 0; i < s->in_count + s->out_count; i++) {
    mien__slot *slot = i < s->in_count ? &s->in[i] : &s->out[i - s->in_count];
    if (slot->variable >= 0) slot->dtypes = r.allowed[slot->variable] ? r.allowed[slot->variable] : ALL_DTYPES;
  }
  return true;
}

/* ---- records */

static int order(const char *domain_a, const char *name_a, const char *domain_b, const char *name_b) {
  int d = strcmp(domain_a, domain_b);
  return d ? d : strcmp(name_a, name_b);
}

static int record_order(const mien__record *x, const mien__record *y) {
  int o = order(x->domain, x->op->name, y->domain, y->op->name);
  return o ? o : x->op->since - y->op->since;
}

static const char *record_defect(const mien_env *env, const mien_op *op, mien__record *record) {
  if (!op->signature) return "no signature";
  if (!op->infer) return "no infer function";
  if (!op->kernels) return "no kernels";
  if (op->since < 1 || (op->until && op->until < op->since)) return "a wrong range of versions";
  for (const mien_kernel *k = op->kernels; k->dtype != MIEN_NONE; k++)
    if (!k->run || (k->dtype != MIEN_ANY && !mien__dtype_valid(k->dtype))) return "a wrong kernel row";
  for (const mien_attr *a = op->attrs; a && a->name; a++)
    if (!strchr("ifstgIFS", a->kind) || !a->kind) return "an attribute of unknown kind";
  if (!parse_signature(op, &record->signature)) return "a signature that cannot be read";
  for (size_t i = 0; i < env->record_count; i++) {
    const mien__record *other = env->records[i];
    if (order(other->domain, other->op->name, record->domain, op->name) != 0) continue;
    bool before = other->op->until && other->op->until < op->since;
    bool after = op->until && op->until < other->op->since;
    if (!before && !after) return other->plugin ? "versions that another plugin has" : "versions that mien has";
  }
  return NULL;
}

static int32_t *list_dtypes(mien_env *env, const mien_op *op) {
  size_t count = 0;
  while (op->kernels[count].dtype != MIEN_NONE) count++;
  int32_t *list = mien__alloc(env, (count + 1) * sizeof *list);
  for (size_t i = 0; list && i < count; i++) list[i] = (int32_t)op->kernels[i].dtype;
  return list;
}

static mien_status add_one(mien_env *env, const mien_op *op, const char *plugin, const char *plugin_version,
                           mien_error *error) {
  mien__record *record = mien__alloc(env, sizeof *record);
  mien__record **records = record ? mien__realloc(env, env->records, (env->record_count + 1) * sizeof *records) : NULL;
  if (!records) {
    mien__free(env, record);
    return mien__no_memory(error, sizeof *record);
  }
  env->records = records;
  record->op = op;
  record->domain = op->domain ? op->domain : "";
  record->plugin = plugin;
  record->plugin_version = plugin_version;
  const char *defect = record_defect(env, op, record);
  if (defect) {
    mien__free(env, record);
    return mien__fail(error, plugin ? MIEN_PLUGIN : MIEN_INTERNAL, "operator %s.%s of %s%s has %s",
                      mien__domain_text(op->domain), op->name, plugin ? "plugin " : "mien", plugin ? plugin : "",
                      defect);
  }
  record->dtypes = list_dtypes(env, op);
  if (!record->dtypes) {
    mien__free(env, record);
    return mien__no_memory(error, 64);
  }
  size_t at = env->record_count++;
  for (; at && record_order(records[at - 1], record) > 0; at--) records[at] = records[at - 1];
  records[at] = record;
  return MIEN_OK;
}

mien_status mien__registry_add(mien_env *env, const mien_op *ops, const char *plugin, const char *plugin_version,
                               mien_error *error) {
  mien_status status = MIEN_OK;
  for (const mien_op *op = ops; status == MIEN_OK && op->name; op++)
    status = add_one(env, op, plugin, plugin_version, error);
  return status;
}

void mien__registry_remove(mien_env *env, const char *plugin) {
  size_t kept = 0;
  for (size_t i = 0; i < env->record_count; i++) {
    mien__record *record = env->records[i];
    if (record->plugin != plugin) {
      env->records[kept++] = record;
      continue;
    }
    mien__free(env, record->dtypes);
    mien__free(env, record);
  }
  env->record_count = kept;
}

void mien__registry_clear(mien_env *env) {
  for (size_t i = 0; i < env->record_count; i++) {
    mien__free(env, env->records[i]->dtypes);
    mien__free(env, env->records[i]);
  }
  mien__free(env, env->records);
  env->records = NULL;
  env->record_count = 0;
}

const mien__record *mien__registry_find(const mien_env *env, const char *domain, const char *name, int64_t version,
                                        bool *known) {
  size_t low = 0, high = env->record_count;
  if (strcmp(domain, "ai.onnx") == 0) domain = "";
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const mien__record *r = env->records[middle];
    if (order(r->domain, r->op->name, domain, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (known) *known = false;
  for (; low < env->record_count; low++) {
    const mien__record *r = env->records[low];
    if (order(r->domain, r->op->name, domain, name) != 0) break;
    if (known) *known = true;
    if (r->op->since <= version && (r->op->until == 0 || version <= r->op->until)) return r;
  }
  return NULL;
}

size_t mien_env_op_count(const mien_env *env) { return env ? env->record_count : 0; }

mien_status mien_env_op(const mien_env *env, size_t index, mien_op_info *info) {
  if (!env || !info || index >= env->record_count) return MIEN_INVALID_ARGUMENT;
  const mien__record *r = env->records[index];
  *info = (mien_op_info){.domain = r->domain,
                         .name = r->op->name,
                         .signature = r->op->signature,
                         .doc = r->op->doc,
                         .plugin = r->plugin,
                         .since = r->op->since,
                         .until = r->op->until,
                         .dtypes = r->dtypes};
  return MIEN_OK;
}
