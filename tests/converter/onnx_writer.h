/* tests/converter/onnx_writer.h -- ONNX models for tests, written field by field: bad ones too. Their memory
** lasts until exit. */
#ifndef MIEN_ONNX_WRITER_H
#define MIEN_ONNX_WRITER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "converter/import.h"

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif

typedef struct wire {
  uint8_t *at;
  size_t length, room;
} wire;

/* Stands before the bytes; all blocks are freed at exit. */
typedef struct wire_block {
  struct wire_block *next, *prev;
} wire_block;
static wire_block *wire_blocks;

static void wire_free_all(void) {
  for (wire_block *b = wire_blocks, *next; b; b = next) {
    next = b->next;
    free(b);
  }
  wire_blocks = NULL;
}

static void wire_raw(wire *w, const void *data, size_t size) {
  if (w->length + size > w->room) {
    w->room = 2 * (w->length + size) + 64;
    if (!wire_blocks) atexit(wire_free_all);
    wire_block *old = w->at ? (wire_block *)(void *)w->at - 1 : NULL;
    wire_block *b = realloc(old, sizeof *b + w->room);
    assert_non_null(b);
    if (!old) *b = (wire_block){.next = wire_blocks};
    if (b->next) b->next->prev = b;
    if (b->prev)
      b->prev->next = b;
    else
      wire_blocks = b;
    w->at = (uint8_t *)(b + 1);
  }
  if (size) memcpy(w->at + w->length, data, size);
  w->length += size;
}

static wire wire_copy(wire w) {
  wire copy = {0};
  wire_raw(&copy, w.at, w.length);
  return copy;
}

static void wire_varint(wire *w, uint64_t v) {
  uint8_t bytes[10];
  size_t n = 0;
  do {
    bytes[n] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    v >>= 7;
    n++;
  } while (v);
  wire_raw(w, bytes, n);
}

static void wire_tag(wire *w, uint32_t field, int type) { wire_varint(w, (uint64_t)field << 3 | (unsigned)type); }

static void wire_int(wire *w, uint32_t field, int64_t v) {
  wire_tag(w, field, 0);
  wire_varint(w, (uint64_t)v);
}
static void wire_bytes(wire *w, uint32_t field, const void *data, size_t size) {
  wire_tag(w, field, 2);
  wire_varint(w, size);
  wire_raw(w, data, size);
}
static void wire_text(wire *w, uint32_t field, const char *text) { wire_bytes(w, field, text, strlen(text)); }
static void wire_message(wire *w, uint32_t field, wire inner) { wire_bytes(w, field, inner.at, inner.length); }
static void wire_float(wire *w, uint32_t field, float v) {
  wire_tag(w, field, 5);
  wire_raw(w, &v, sizeof v);
}

/* ---- ONNX messages */

/* dims: "2,N,3"; "" is a scalar; NULL: no shape. */
static wire onnx_type(int dtype, const char *dims) {
  wire type = {0}, tensor = {0}, shape = {0};
  if (dtype) wire_int(&tensor, 1, dtype);
  for (const char *p = dims; p && *p;) {
    wire dim = {0};
    char part[64];
    size_t n = strcspn(p, ",");
    snprintf(part, sizeof part, "%.*s", (int)n, p);
    if (part[0] == '-' || (part[0] >= '0' && part[0] <= '9'))
      wire_int(&dim, 1, strtoll(part, NULL, 10));
    else if (part[0] != '?')
      wire_text(&dim, 2, part);
    wire_message(&shape, 1, dim);
    p += n + (p[n] == ',');
  }
  if (dims) wire_message(&tensor, 2, shape);
  wire_message(&type, 1, tensor);
  return type;
}

static wire onnx_value(const char *name, int dtype, const char *dims) {
  wire value = {0};
  wire_text(&value, 1, name);
  wire_message(&value, 2, onnx_type(dtype, dims));
  return value;
}

/* Without data: add some with wire_bytes(&t, 9, ...) or a typed field. */
static wire onnx_tensor(const char *name, int dtype, const char *dims) {
  wire t = {0};
  for (const char *p = dims; *p;) {
    size_t n = strcspn(p, ",");
    wire_int(&t, 1, strtoll(p, NULL, 10));
    p += n + (p[n] == ',');
  }
  wire_int(&t, 2, dtype);
  if (name) wire_text(&t, 8, name);
  return t;
}

static wire onnx_floats(const char *name, const char *dims, const float *data, size_t count) {
  wire t = onnx_tensor(name, MIEN_F32, dims);
  wire_bytes(&t, 9, data, count * sizeof *data);
  return t;
}

/* inputs and outputs: "a,,b". */
static wire onnx_node(const char *op, const char *name, const char *inputs, const char *outputs) {
  wire node = {0};
  const char *lists[2] = {inputs, outputs};
  for (uint32_t k = 0; k < 2; k++)
    for (const char *p = lists[k]; *p || p != lists[k];) {
      size_t n = strcspn(p, ",");
      wire_bytes(&node, k + 1, p, n);
      if (!p[n]) break;
      p += n + 1;
    }
  wire_text(&node, 3, name);
  wire_text(&node, 4, op);
  return node;
}

static wire onnx_attr(const char *name, int type) {
  wire a = {0};
  wire_text(&a, 1, name);
  if (type) wire_int(&a, 20, type);
  return a;
}
static void onnx_add_int(wire *node, const char *name, int64_t v) {
  wire a = onnx_attr(name, 2);
  wire_int(&a, 3, v);
  wire_message(node, 5, a);
}
static void onnx_add_float(wire *node, const char *name, float v) {
  wire a = onnx_attr(name, 1);
  wire_float(&a, 2, v);
  wire_message(node, 5, a);
}

static wire onnx_opset(const char *domain, int64_t version) {
  wire o = {0};
  if (*domain) wire_text(&o, 1, domain);
  wire_int(&o, 2, version);
  return o;
}

static wire onnx_pair(const char *key, const char *value) {
  wire p = {0};
  wire_text(&p, 1, key);
  wire_text(&p, 2, value);
  return p;
}

/* IR version 10, opset 17. */
static wire onnx_model(wire graph) {
  wire m = {0};
  wire_int(&m, 1, 10);
  wire_text(&m, 2, "test");
  wire_message(&m, 7, graph);
  wire_message(&m, 8, onnx_opset("", 17));
  return m;
}

/* ---- files and imports */

static char test_directory[64];

static void test_directory_make(void) {
  strcpy(test_directory, "/tmp/mien-test-XXXXXX");
  assert_non_null(mkdtemp(test_directory));
}

static int test_directory_remove(void **state) {
  (void)state;
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", test_directory);
  return system(command);
}

static const char *test_path(const char *name) {
  static char paths[4][256]; /* the last four stay */
  static unsigned turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", test_directory, name);
  return path;
}

static void test_write(const char *name, const void *data, size_t size) {
  FILE *f = fopen(test_path(name), "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
}

typedef struct imported {
  mien_env *env;
  mien__import import;
  mien_error error;
  mien_status status;
} imported;

/* The model's bytes through a file and the importer; infer says whether to infer and fold as well. */
static imported *import_bytes(const void *data, size_t size, bool infer) {
  imported *i = calloc(1, sizeof *i);
  assert_non_null(i);
  test_write("model.onnx", data, size);
  assert_int_equal(mien_env_create(NULL, &i->env, NULL), MIEN_OK);
  i->status = mien__import_open(&i->import, i->env, test_path("model.onnx"), &i->error);
  if (i->status == MIEN_OK && infer) i->status = mien__import_infer(&i->import);
  return i;
}

static imported *import_model(wire model, bool infer) { return import_bytes(model.at, model.length, infer); }

static void import_free(imported *i) {
  mien__import_close(&i->import);
  mien_env_destroy(i->env);
  free(i);
}

/* The import fails with this code, and its message holds this text. */
static void import_fails(wire model, mien_status code, const char *text) {
  imported *i = import_model(model, false);
  if (i->status != code || !strstr(i->error.message, text))
    fail_msg("expected %s with '%s', got %s: %s", mien_status_name(code), text, mien_status_name(i->status),
             i->error.message);
  assert_int_equal(i->error.code, code);
  import_free(i);
}

#endif
