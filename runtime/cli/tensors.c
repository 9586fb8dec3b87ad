/* tensors.c -- inputs from files and pictures, outputs for people and programs. */
#include "cli.h"

#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool cli_pairs_add(cli_pairs *pairs, const char *word) {
  if (pairs->count == CLI_MAX_LIST) return false;
  char *copy = strdup(word);
  if (!copy) return false;
  char *equals = strchr(copy, '=');
  int i = pairs->count++;
  pairs->storage[i] = copy;
  pairs->name[i] = equals ? copy : NULL;
  pairs->value[i] = equals ? equals + 1 : copy;
  if (equals) *equals = 0;
  return *pairs->value[i] != 0;
}

void cli_pairs_clear(cli_pairs *pairs) {
  for (int i = 0; i < pairs->count; i++) free(pairs->storage[i]);
  pairs->count = 0;
}

const char *cli_port_text(const mien_port *port, char *text, size_t size) {
  size_t at = (size_t)snprintf(text, size, "%s[", mien_dtype_name(port->type.dtype));
  for (int i = 0; i < port->type.rank && at < size; i++) {
    const char *comma = i ? "," : "";
    if (port->dim_name[i])
      at += (size_t)snprintf(text + at, size - at, "%s%s", comma, port->dim_name[i]);
    else if (port->type.dim[i] < 0)
      at += (size_t)snprintf(text + at, size - at, "%s?", comma);
    else
      at += (size_t)snprintf(text + at, size - at, "%s%lld", comma, (long long)port->type.dim[i]);
  }
  if (at < size) snprintf(text + at, size - at, port->type.rank < 0 ? "...]" : "]");
  return text;
}

/* ---- inputs */

typedef enum file_kind { FILE_NPY, FILE_PICTURE, FILE_PROTO } file_kind;

static mien_status sniff(const char *path, file_kind *kind, mien_error *error) {
  unsigned char head[8] = {0};
  FILE *file = fopen(path, "rb");
  if (!file) return mien__fail(error, MIEN_IO, "cannot open '%s' for reading", path);
  size_t n = fread(head, 1, sizeof head, file);
  bool failed = ferror(file) != 0;
  fclose(file);
  if (failed) return mien__fail(error, MIEN_IO, "cannot read '%s'", path);
  if (n >= 6 && memcmp(head, "\x93NUMPY", 6) == 0)
    *kind = FILE_NPY;
  else if (n >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0)
    *kind = FILE_PICTURE;
  else if (n >= 8 && memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0)
    *kind = FILE_PICTURE;
  else
    *kind = FILE_PROTO;
  return MIEN_OK;
}

/* A picture becomes one more item of the input's batch. */
static mien_status add_picture(mien_env *env, const mien_plan *plan, const mien_port *port, const char *path,
                               mien_tensor *tensor, mien_error *error) {
  mien_picture contract;
  MIEN_TRY(mien_plan_picture(plan, &contract, error));
  if (strcmp(contract.input, port->name) != 0)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%s' takes no picture; input '%s' does", port->name,
                      contract.input);
  size_t elements = (size_t)3 * (size_t)contract.width * (size_t)contract.height;
  mien_tensor grown = {.type = {.dtype = MIEN_F32, .rank = 4}};
  int64_t items = tensor->data ? tensor->type.dim[0] : 0;
  memcpy(grown.type.dim, (int64_t[]){items + 1, 3, contract.height, contract.width}, 4 * sizeof(int64_t));
  MIEN_TRY(mien__tensor_alloc(env, &grown.type, &grown, error));
  float *planes = grown.data;
  if (tensor->data) memcpy(planes, tensor->data, tensor->bytes);
  mien_status status = mien_picture_read(env, path, &contract, planes + (size_t)items * elements, error);
  if (status != MIEN_OK) {
    mien_tensor_clear(env, &grown);
    return status;
  }
  mien_tensor_clear(env, tensor);
  *tensor = grown;
  return MIEN_OK;
}

static mien_status fill_random(mien_env *env, const mien_port *port, uint32_t index, int64_t batch, uint64_t seed,
                               mien_tensor *tensor, mien_error *error) {
  mien_type type = port->type;
  if (type.rank < 0)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%s' has no fixed rank; give a file for it", port->name);
  for (int i = 0; i < type.rank; i++)
    if (type.dim[i] < 0) type.dim[i] = batch;
  MIEN_TRY(mien__tensor_alloc(env, &type, tensor, error));
  return mien__golden_fill(seed, index, tensor, error);
}

static mien_status read_one(mien_env *env, const mien_plan *plan, const mien_port *port, uint32_t index,
                            const char *path, int64_t batch, uint64_t seed, mien_tensor *tensor, mien_error *error) {
  file_kind kind = FILE_PROTO;
  bool random = strcmp(path, "random") == 0;
  if (!random) MIEN_TRY(sniff(path, &kind, error));
  if (!random && kind == FILE_PICTURE) return add_picture(env, plan, port, path, tensor, error);
  if (tensor->data)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%s' is given twice; only pictures make a batch",
                      port->name);
  if (random) return fill_random(env, port, index, batch, seed, tensor, error);
  return kind == FILE_NPY ? mien_npy_read(env, path, tensor, error) : mien_tensor_proto_read(env, path, tensor, error);
}

static mien_status no_such_input(const mien_plan *plan, const char *name, mien_error *error) {
  char names[256] = "";
  size_t at = 0;
  for (size_t i = 0; i < mien_plan_input_count(plan) && at < sizeof names; i++) {
    mien_port port;
    if (mien_plan_input(plan, i, &port) == MIEN_OK)
      at += (size_t)snprintf(names + at, sizeof names - at, "%s'%s'", i ? ", " : "", port.name);
  }
  return mien__fail(error, MIEN_INVALID_ARGUMENT, "the plan has no input '%.100s'; it has %s", name, names);
}

static mien_status read_pair(mien_env *env, const mien_plan *plan, const char *name, const char *path, int64_t batch,
                             uint64_t seed, cli_inputs *inputs, mien_error *error) {
  for (size_t i = 0; i < inputs->count; i++) {
    mien_port port;
    MIEN_TRY(mien_plan_input(plan, i, &port));
    if (name && strcmp(port.name, name) != 0) continue;
    if (!name && inputs->count > 1)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "the plan has %zu inputs: write NAME=%.200s", inputs->count,
                        path);
    return read_one(env, plan, &port, (uint32_t)i, path, batch, seed, &inputs->bindings[i].tensor, error);
  }
  return no_such_input(plan, name ? name : "", error);
}

mien_status cli_inputs_read(mien_env *env, const mien_plan *plan, const cli_pairs *pairs, bool fill, int64_t batch,
                            uint64_t seed, cli_inputs *inputs, mien_error *error) {
  inputs->count = mien_plan_input_count(plan);
  if (inputs->count > CLI_MAX_LIST)
    return mien__fail(error, MIEN_LIMIT, "the plan has %zu inputs, at most %d are supported here", inputs->count,
                      CLI_MAX_LIST);
  for (size_t i = 0; i < inputs->count; i++) {
    mien_port port;
    MIEN_TRY(mien_plan_input(plan, i, &port));
    inputs->bindings[i] = (mien_binding){.name = port.name};
  }
  for (int i = 0; i < pairs->count; i++)
    MIEN_TRY(read_pair(env, plan, pairs->name[i], pairs->value[i], batch, seed, inputs, error));
  for (size_t i = 0; i < inputs->count; i++) {
    mien_port port;
    char text[256];
    if (inputs->bindings[i].tensor.data) continue;
    MIEN_TRY(mien_plan_input(plan, i, &port));
    if (!fill)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%s' is missing: --input %s=FILE, of type %s", port.name,
                        port.name, cli_port_text(&port, text, sizeof text));
    MIEN_TRY(fill_random(env, &port, (uint32_t)i, batch, seed, &inputs->bindings[i].tensor, error));
  }
  return MIEN_OK;
}

void cli_inputs_clear(mien_env *env, cli_inputs *inputs) {
  for (size_t i = 0; i < inputs->count; i++) mien_tensor_clear(env, &inputs->bindings[i].tensor);
  inputs->count = 0;
}

const char *cli_type_text(const mien_type *type, char *text, size_t size) {
  if (type->rank < 0) return "?";
  return mien__type_text(type, NULL, text, size);
}

/* ---- outputs */

static cJSON *element_json(const mien_tensor *t, int64_t i) {
  if (t->type.dtype == MIEN_BOOL) return cJSON_CreateBool(((const uint8_t *)t->data)[i] != 0);
  if (t->type.dtype == MIEN_STRING) {
    mien_string s = ((const mien_string *)t->data)[i];
    char *copy = strndup(s.data ? s.data : "", s.length);
    cJSON *json = copy ? cJSON_CreateString(copy) : NULL;
    free(copy);
    return json;
  }
  if (t->type.dtype == MIEN_I64 || t->type.dtype == MIEN_U64) { /* doubles would round them */
    char text[32];
    if (t->type.dtype == MIEN_I64)
      snprintf(text, sizeof text, "%lld", (long long)((const int64_t *)t->data)[i]);
    else
      snprintf(text, sizeof text, "%llu", (unsigned long long)((const uint64_t *)t->data)[i]);
    return cJSON_CreateRaw(text);
  }
  double value = mien__tensor_f64(t, i);
  if (isnan(value)) return cJSON_CreateString("NaN"); /* JSON has no number for these */
  if (isinf(value)) return cJSON_CreateString(value > 0 ? "Infinity" : "-Infinity");
  if (t->type.dtype == MIEN_F32) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", value);
    return cJSON_CreateRaw(text);
  }
  return cJSON_CreateNumber(value);
}

cJSON *cli_tensor_json(const mien_tensor *tensor) {
  cJSON *json = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(json, "shape");
  cJSON_AddStringToObject(json, "dtype", mien_dtype_name(tensor->type.dtype));
  for (int i = 0; i < tensor->type.rank; i++)
    cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->type.dim[i]));
  cJSON *data = cJSON_AddArrayToObject(json, "data"), *last = NULL;
  int64_t count = mien_count(&tensor->type);
  for (int64_t i = 0; i < count; i++) { /* appended by hand: cJSON walks the list at each append */
    cJSON *item = element_json(tensor, i);
    if (!item) break;
    if (!last)
      cJSON_AddItemToArray(data, item);
    else {
      last->next = item;
      item->prev = last;
      data->child->prev = item;
    }
    last = item;
  }
  return json;
}

void cli_tensor_print(FILE *file, const char *name, const mien_tensor *t) {
  char text[256];
  int64_t count = mien_count(&t->type), width = t->type.rank ? t->type.dim[t->type.rank - 1] : 1;
  fprintf(file, "%s %s", name, mien__type_text(&t->type, NULL, text, sizeof text));
  for (int64_t i = 0; i < count && i < 64; i++) {
    if (i % (width > 0 ? width : 1) == 0 || (width > 8 && i % width % 8 == 0)) fputs("\n ", file);
    if (t->type.dtype == MIEN_STRING) {
      mien_string s = ((const mien_string *)t->data)[i];
      fprintf(file, " '%.*s'", (int)(s.length > 60 ? 60 : s.length), s.data ? s.data : "");
    } else if (t->type.dtype == MIEN_I64 || t->type.dtype == MIEN_U64) {
      fprintf(file, " %lld", (long long)mien__tensor_i64(t, i));
    } else {
      fprintf(file, " % .6g", mien__tensor_f64(t, i));
    }
  }
  if (count > 64) fprintf(file, "\n  ... %lld more", (long long)(count - 64));
  fputc('\n', file);
}
