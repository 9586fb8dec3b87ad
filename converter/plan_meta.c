/* plan_meta.c -- section meta: provenance, passes, and what the model's metadata says for mien: mien.variant, mien.labels (a
** JSON list of texts), mien.picture (a JSON object, as in mien_picture). */
#include "converter/plan_write.h"

#include <cJSON.h>
#include <math.h>
#include <string.h>

/* NULL when absent. */
static mien_status metadata(mien__plan_builder *b, const char *key, const char **value) {
  *value = NULL;
  for (int32_t i = 0; i < b->g->metadata_count; i++) {
    if (strcmp(b->g->metadata[i].key, key) != 0) continue;
    if (*value) return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata '%s' stands there twice", key);
    *value = b->g->metadata[i].value;
  }
  return MIEN_OK;
}

static char *meta_text(mien__plan_builder *b, const char *text) {
  char *copy = mien__pool_string(&b->pool, text, strlen(text));
  if (!copy) (void)mien__no_memory(b->error, strlen(text));
  return copy;
}

/* ---- labels */

static mien_status labels_of(mien__plan_builder *b, const cJSON *json) {
  size_t count = (size_t)cJSON_GetArraySize(json), n = 0;
  if (!cJSON_IsArray(json) || count == 0)
    return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.labels' is no JSON list of texts");
  b->meta.labels = mien__plan_take(b, count, sizeof *b->meta.labels);
  if (!b->meta.labels) return MIEN_NO_MEMORY;
  const cJSON *item;
  cJSON_ArrayForEach(item, json) {
    if (!cJSON_IsString(item) || !item->valuestring[0])
      return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.labels': item %zu is no text", n);
    if (!(b->meta.labels[n++] = meta_text(b, item->valuestring))) return MIEN_NO_MEMORY;
  }
  b->meta.n_labels = count;
  for (int32_t i = 0; i < b->g->output_count; i++) {
    const mien_type *t = &mien__value_at(b->g, b->g->outputs[i].value)->v.tensor.type;
    if (t->rank < 1 || mien_is_symbol(t->dim[t->rank - 1]) || t->dim[t->rank - 1] == (int64_t)count) return MIEN_OK;
  }
  return mien__fail(b->error, MIEN_INVALID_MODEL,
                    "metadata 'mien.labels' has %zu labels, no output has so many classes", count);
}

/* ---- picture */

static mien_status picture_error(mien__plan_builder *b, const char *key, const char *expected) {
  return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.picture': '%s' is wrong or missing, expected %s", key,
                    expected);
}

static mien_status picture_size(mien__plan_builder *b, const cJSON *json, const char *key, uint32_t *size) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
  double v = cJSON_IsNumber(item) ? item->valuedouble : 0;
  if (!(v >= 1 && v <= 65536) || v != floor(v)) return picture_error(b, key, "a whole number from 1 to 65536");
  *size = (uint32_t)v;
  return MIEN_OK;
}

static mien_status picture_choice(mien__plan_builder *b, const cJSON *json, const char *key, const char *const *choices,
                                  const char *expected, char **text) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
  for (; cJSON_IsString(item) && *choices; choices++)
    if (strcmp(item->valuestring, *choices) == 0) {
      *text = meta_text(b, *choices);
      return *text ? MIEN_OK : MIEN_NO_MEMORY;
    }
  return picture_error(b, key, expected);
}

static bool finite_number(const cJSON *item, bool positive, float *value) {
  if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble)) return false;
  *value = (float)item->valuedouble;
  return isfinite(*value) && (!positive || *value > 0);
}

static mien_status picture_triple(mien__plan_builder *b, const cJSON *json, const char *key, bool positive,
                                  size_t *count, float **values) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(json, key), *item;
  *values = mien__plan_take(b, 3, sizeof **values);
  if (!*values) return MIEN_NO_MEMORY;
  bool good = cJSON_IsArray(list) && cJSON_GetArraySize(list) == 3;
  if (good) cJSON_ArrayForEach(item, list) good = good && finite_number(item, positive, &(*values)[(*count)++]);
  return good ? MIEN_OK : picture_error(b, key, positive ? "three numbers above 0" : "three numbers");
}

/* The input that the picture is for: the one it names, else the first of rank 4 and type f32. */
static mien_status picture_input(mien__plan_builder *b, const cJSON *json, Mien__Plan__Picture *p) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "input");
  if (item && !cJSON_IsString(item)) return picture_error(b, "input", "the name of an input");
  for (int32_t i = 0; i < b->g->input_count; i++) {
    const mien__graph_port *port = &b->g->inputs[i];
    const mien_type *t = &port->declared;
    if (item ? strcmp(item->valuestring, port->name) != 0 : t->rank != 4 || t->dtype != MIEN_F32) continue;
    const int64_t want[4] = {-1, 3, p->height, p->width};
    bool fits = t->rank == 4 && t->dtype == MIEN_F32;
    for (int k = 1; k < 4 && fits; k++) fits = mien_is_symbol(t->dim[k]) || t->dim[k] == want[k];
    char text[256];
    if (!fits)
      return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.picture' is for f32[N,3,%u,%u], input '%s' is %s",
                        p->height, p->width, port->name, mien__type_text(t, b->g->scope.symbols, text, sizeof text));
    p->input = (char *)(uintptr_t)port->name;
    return MIEN_OK;
  }
  return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.picture': the model has no input for it");
}

static mien_status picture_of(mien__plan_builder *b, const cJSON *json) {
  static const char *const keys[] = {"width", "height", "resize", "color", "scale", "mean", "std", "input"};
  static const char *const resizes[] = {"pillow-bilinear", NULL}, *const colors[] = {"RGB", "BGR", NULL};
  Mien__Plan__Picture *p = mien__plan_take(b, 1, sizeof *p);
  if (!p) return MIEN_NO_MEMORY;
  mien__plan__picture__init(p);
  if (!cJSON_IsObject(json))
    return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.picture' is no JSON object");
  const cJSON *item;
  cJSON_ArrayForEach(item, json) {
    size_t k = 0;
    while (k < sizeof keys / sizeof *keys && strcmp(item->string, keys[k]) != 0) k++;
    if (k == sizeof keys / sizeof *keys)
      return mien__fail(b->error, MIEN_INVALID_MODEL, "metadata 'mien.picture': '%.64s' is not known", item->string);
  }
  MIEN_TRY(picture_size(b, json, "width", &p->width));
  MIEN_TRY(picture_size(b, json, "height", &p->height));
  MIEN_TRY(picture_choice(b, json, "resize", resizes, "\"pillow-bilinear\"", &p->resize));
  MIEN_TRY(picture_choice(b, json, "color", colors, "\"RGB\" or \"BGR\"", &p->color));
  if (!finite_number(cJSON_GetObjectItemCaseSensitive(json, "scale"), true, &p->scale))
    return picture_error(b, "scale", "a number above 0");
  MIEN_TRY(picture_triple(b, json, "mean", false, &p->n_mean, &p->mean));
  MIEN_TRY(picture_triple(b, json, "std", true, &p->n_std, &p->std));
  MIEN_TRY(picture_input(b, json, p));
  b->meta.picture = p;
  return MIEN_OK;
}

static mien_status parsed(mien__plan_builder *b, const char *key,
                          mien_status (*use)(mien__plan_builder *b, const cJSON *json)) {
  const char *text;
  MIEN_TRY(metadata(b, key, &text));
  if (!text) return MIEN_OK;
  cJSON *json = cJSON_ParseWithOpts(text, NULL, true);
  mien_status status =
      json ? use(b, json) : mien__fail(b->error, MIEN_INVALID_MODEL, "metadata '%s' is no JSON text", key);
  cJSON_Delete(json);
  return status;
}

/* ---- the rest */

static bool has_output(const mien__graph *g, const char *name) {
  for (int32_t i = 0; i < g->output_count; i++)
    if (strcmp(g->outputs[i].name, name) == 0) return true;
  return false;
}

static mien_status sampling_of(mien__plan_builder *b) {
  if (!has_output(b->g, "mu") || !has_output(b->g, "logvar")) return MIEN_OK;
  Mien__Plan__Sampling *s = mien__plan_take(b, 1, sizeof *s);
  if (!s) return MIEN_NO_MEMORY;
  mien__plan__sampling__init(s);
  static char generator[] = "philox4x32-10", transform[] = "box-muller-f64",
              key[] = "seed; counter = item, sample, class", mu[] = "mu", logvar[] = "logvar";
  s->generator = generator;
  s->transform = transform;
  s->key = key;
  s->mu = mu;
  s->logvar = logvar;
  b->meta.sampling = s;
  return MIEN_OK;
}

static mien_status passes_of(mien__plan_builder *b) {
  const mien__passes *passes = b->facts->passes;
  size_t count = passes ? (size_t)passes->run_count : 0, skipped = 0;
  Mien__Plan__PassRun **list = mien__plan_messages(b, count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < count; i++) {
    if (passes->runs[i].patches == 0) continue;
    Mien__Plan__PassRun *run = list[b->meta.n_passes++];
    mien__plan__pass_run__init(run);
    run->name = (char *)(uintptr_t)passes->runs[i].rewrite->name;
    run->patches = (uint32_t)passes->runs[i].patches;
  }
  b->meta.passes = list;
  while (b->facts->skipped && b->facts->skipped[skipped]) skipped++;
  b->meta.skipped = mien__plan_take(b, skipped, sizeof *b->meta.skipped);
  if (!b->meta.skipped) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < skipped; i++) b->meta.skipped[i] = (char *)(uintptr_t)b->facts->skipped[i];
  b->meta.n_skipped = skipped;
  return MIEN_OK;
}

static mien_status counts_of(mien__plan_builder *b) {
  size_t count = b->facts->nodes_before_count;
  Mien__Plan__Count **list = mien__plan_messages(b, count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < count; i++) {
    mien__plan__count__init(list[i]);
    list[i]->op = (char *)(uintptr_t)b->facts->nodes_before[i].op;
    list[i]->count = b->facts->nodes_before[i].count;
  }
  b->meta.n_nodes_before = count;
  b->meta.nodes_before = list;
  return MIEN_OK;
}

mien_status mien__plan_build_meta(mien__plan_builder *b) {
  const mien__graph *g = b->g;
  mien__plan__meta__init(&b->meta);
  b->meta.converter = mien__pool_format(&b->pool, "mien %s", mien_version());
  b->meta.producer =
      mien__pool_format(&b->pool, "%s%s%s", g->producer, *g->producer_version ? " " : "", g->producer_version);
  if (!b->meta.converter || !b->meta.producer) return mien__no_memory(b->error, 64);
  if (b->facts->sha256)
    b->meta.source_sha256 = (ProtobufCBinaryData){.len = 32, .data = (uint8_t *)(uintptr_t)b->facts->sha256};
  b->meta.arena_bytes = b->facts->arena_bytes;
  b->meta.live_bytes = b->facts->live_bytes;
  if (b->facts->precision != MIEN_PRECISION_FP32)
    b->meta.precision = (char *)(uintptr_t)mien_precision_name(b->facts->precision);
  const char *variant;
  MIEN_TRY(metadata(b, "mien.variant", &variant));
  if (variant) b->meta.variant = (char *)(uintptr_t)variant;
  MIEN_TRY(parsed(b, "mien.labels", labels_of));
  MIEN_TRY(parsed(b, "mien.picture", picture_of));
  MIEN_TRY(sampling_of(b));
  MIEN_TRY(counts_of(b));
  return passes_of(b);
}
