/* import.c -- from a file's bytes to a graph: read, scan, unpack, check, build. */
#include "converter/import.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Larger than any that will ever be written; a damaged file says such a thing. */
#define ABSURD_IR_VERSION 255

const char *mien__import_domain(const char *domain) { return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain; }

/* Messages are unpacked from a copy: a mapping could change between the scan and the unpacking. */
static mien_status read_model(mien__import *im) {
  struct stat st;
  if (stat(im->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > INT_MAX)
    return mien__fail(im->error, MIEN_LIMIT, "'%s' has %lld bytes, a protobuf message has at most 2 GiB", im->path,
                      (long long)st.st_size);
  mien__file file;
  MIEN_TRY(mien__file_open(im->env, im->path, true, &file, im->error));
  mien_error inner = {0};
  mien__wire_info info;
  struct ProtobufCMessage *message = NULL;
  mien_status status = MIEN_OK;
  if (file.size == 0) status = mien__fail(&inner, MIEN_CORRUPT, "it is empty");
  if (status == MIEN_OK && EVP_Digest(file.data, file.size, im->sha256, NULL, EVP_sha256(), NULL) != 1)
    status = mien__no_memory(&inner, sizeof im->sha256);
  if (status == MIEN_OK)
    status = mien__wire_unpack(&mien__onnx__model_proto__descriptor, file.data, file.size, im->env->limits.depth,
                               mien__message_budget(im->env, file.size), "it", &im->pool, &info, &message, &inner);
  mien__file_close(im->env, &file);
  im->model = (const mien__model_proto *)message;
  if (status == MIEN_CORRUPT)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "'%s' is no ONNX model: %s", im->path, inner.message);
  if (status != MIEN_OK) return mien__fail(im->error, status, "'%s': %s", im->path, inner.message);
  if (info.unknown_message)
    return mien__fail(im->error, MIEN_UNSUPPORTED,
                      "'%s' has field %u of %s, which mien does not know (IR version %lld; known up to %d)", im->path,
                      info.unknown_field, info.unknown_message, (long long)im->model->ir_version, MIEN__IR_VERSION);
  return MIEN_OK;
}

mien_status mien__import_opsets(mien__import *im, Mien__Onnx__OperatorSetIdProto *const *protos, size_t count,
                                const char *what, const mien__opset **opsets, int32_t *opset_count) {
  if (count > 1000) return mien__fail(im->error, MIEN_LIMIT, "%s imports %zu opsets", what, count);
  mien__opset *list = mien__pool_alloc(&im->pool, (count + 1) * sizeof *list);
  if (!list) return mien__no_memory(im->error, (count + 1) * sizeof *list);
  for (size_t i = 0; i < count; i++) {
    list[i] = (mien__opset){.domain = mien__import_domain(protos[i]->domain), .version = protos[i]->version};
    const char *domain = mien__domain_text(list[i].domain);
    for (size_t k = 0; k < i; k++)
      if (strcmp(list[i].domain, list[k].domain) == 0)
        return mien__fail(im->error, MIEN_INVALID_MODEL, "%s imports domain '%s' twice", what, domain);
    if (list[i].version < 1)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "%s imports opset %lld of domain '%s', expected 1 or more", what,
                        (long long)list[i].version, domain);
    if (!*list[i].domain && list[i].version > MIEN__OPSET)
      return mien__fail(im->error, MIEN_UNSUPPORTED, "%s imports opset %lld of domain '%s', mien knows up to %d", what,
                        (long long)list[i].version, domain, MIEN__OPSET);
  }
  *opsets = list;
  *opset_count = (int32_t)count;
  return MIEN_OK;
}

static mien_status import_opsets(mien__import *im) {
  const mien__opset *list;
  int32_t count;
  if (im->model->n_opset_import == 0)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "the model has no opset_import: its operators have no version");
  MIEN_TRY(mien__import_opsets(im, im->model->opset_import, im->model->n_opset_import, "the model", &list, &count));
  for (int32_t i = 0; i < count; i++)
    MIEN_TRY(mien__graph_add_opset(im->graph, list[i].domain, list[i].version, im->error));
  return MIEN_OK;
}

static const char *copied(mien__graph *g, const char *text) {
  return text ? mien__pool_string(&g->pool, text, strlen(text)) : "";
}

static mien_status import_model(mien__import *im) {
  const mien__model_proto *m = im->model;
  mien__graph *g = im->graph;
  if (!m->graph) return mien__fail(im->error, MIEN_INVALID_MODEL, "'%s' is no ONNX model: it has no graph", im->path);
  if (m->ir_version < 1 || m->ir_version > ABSURD_IR_VERSION)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "the model has IR version %lld", (long long)m->ir_version);
  g->ir_version = m->ir_version;
  g->name = copied(g, m->graph->name);
  g->producer = copied(g, m->producer_name);
  g->producer_version = copied(g, m->producer_version);
  if (!g->name || !g->producer || !g->producer_version) return mien__no_memory(im->error, 64);
  MIEN_TRY(import_opsets(im));
  for (size_t i = 0; i < m->n_metadata_props; i++) {
    const Mien__Onnx__StringStringEntryProto *entry = m->metadata_props[i];
    MIEN_TRY(mien__graph_add_metadata(g, entry->key ? entry->key : "", entry->value ? entry->value : "", im->error));
  }
  MIEN_TRY(mien__import_functions(im));
  MIEN_TRY(mien__import_graph(im));
  /* A graph of nothing but functions need not import ai.onnx; passes need a version of it. */
  return mien__graph_opset(g, "") ? MIEN_OK : mien__graph_add_opset(g, "", MIEN__OPSET, im->error);
}

mien_status mien__import_open(mien__import *im, mien_env *env, const char *path, mien_error *error) {
  *im = (mien__import){.env = env, .error = error, .path = path};
  mien__pool_init(&im->pool, env, (size_t)env->limits.load_bytes);
  im->functions.pool = im->names.pool = &im->pool;
  mien__external_init(&im->external, env, &im->pool, path);
  MIEN_TRY(read_model(im));
  MIEN_TRY(mien__graph_create(env, &im->graph, error));
  return import_model(im);
}

void mien__import_close(mien__import *im) {
  mien__graph_destroy(im->graph);
  mien__external_clear(&im->external);
  mien__pool_clear(&im->pool);
  im->graph = NULL;
}

mien_status mien__import_unsupported_error(mien__import *im) {
  char text[400];
  size_t used = 0;
  int shown = 0;
  for (const mien__unsupported *u = im->unsupported; u; u = u->next, shown++) {
    char row[300];
    int n = snprintf(row, sizeof row, "%snode '%.80s' (%.60s-%lld): %.120s", shown ? "; " : "", u->node, u->op,
                     (long long)u->opset, u->reason);
    size_t length = n < 0 ? 0 : (size_t)n < sizeof row ? (size_t)n : sizeof row - 1;
    if (length >= sizeof text - used) break;
    memcpy(text + used, row, length);
    used += length;
  }
  text[used] = 0;
  char more[48] = "";
  if (shown < im->unsupported_count) snprintf(more, sizeof more, "; and %d more", im->unsupported_count - shown);
  return mien__fail(im->error, MIEN_UNSUPPORTED, "%d unsupported node%s: %s%s", im->unsupported_count,
                    im->unsupported_count == 1 ? "" : "s", text, more);
}

/* After a node whose types no operator takes: the others like it. What follows from a missing type is no news. */
static mien_status gather_types(mien__import *im) {
  mien__graph *g = im->graph;
  mien_node_id *order;
  MIEN_TRY(mien__graph_order(g, &order, im->error));
  mien_status status = MIEN_OK;
  int32_t count = g->live_count;
  for (int32_t i = 0; i < count && status == MIEN_OK; i++) {
    mien_error inner;
    const mien__gnode *n = mien__node_at(g, order[i]);
    if (mien__graph_infer_node(g, order[i], &inner) != MIEN_UNSUPPORTED) continue;
    const char *reason = strstr(inner.message, "): ");
    status = mien__import_refuse(im, n->n.name, n->n.record->domain, n->n.record->op->name, n->opset, "%s",
                                 reason ? reason + 3 : inner.message);
  }
  mien__free(im->env, order);
  return status;
}

static mien_status check_outputs(const mien__import *im) {
  const mien__graph *g = im->graph;
  for (int32_t i = 0; i < g->output_count; i++) {
    int32_t declared = g->outputs[i].declared.dtype,
            computed = mien__value_at(g, g->outputs[i].value)->v.tensor.type.dtype;
    if (declared != MIEN_NONE && computed != MIEN_NONE && declared != computed)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "output '%s' is declared as %s but computed as %s",
                        g->outputs[i].name, mien_dtype_name(declared), mien_dtype_name(computed));
  }
  return MIEN_OK;
}

mien_status mien__import_infer(mien__import *im) {
  mien_error inner;
  mien_status status = mien__graph_infer(im->graph, true, &inner);
  if (status == MIEN_OK) return check_outputs(im);
  if (status == MIEN_UNSUPPORTED) {
    MIEN_TRY(gather_types(im));
    if (im->unsupported) return mien__import_unsupported_error(im);
  }
  /* What an operator says of its caller's data was the model's own here. */
  if (status == MIEN_INVALID_ARGUMENT) status = MIEN_INVALID_MODEL;
  return mien__fail(im->error, status, "%s", inner.message);
}
