/* tests/op_test.h -- runs one operator in process, as a session would: infer, prepare, run on so many threads. */
#ifndef MIEN_OP_TEST_H
#define MIEN_OP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define OP_MAX_IN 16
#define OP_MAX_OUT 8
#define OP_MAX_ATTRS 16

/* One call. Zero it, fill it with op_in, op_attr_*, then op_run; op_free at the end. */
typedef struct op_call {
  const char *domain, *name;
  int version;              /* opset version that selects the record */
  int in_count, out_count;  /* out_count 0: 1 */
  bool absent[OP_MAX_IN];   /* an optional input that is not given */
  bool variable[OP_MAX_IN]; /* not a constant to infer and prepare */
  int threads;              /* 0: the caller alone, without a pool */
  int attr_count;
  mien__attr_value attrs[OP_MAX_ATTRS];
  mien_tensor in[OP_MAX_IN];   /* data from malloc */
  mien_tensor out[OP_MAX_OUT]; /* results, data from malloc */
  bool unused_out[OP_MAX_OUT];
  int64_t piece; /* not 0: the kernel is called for so many items at a time, the last ones first */
  bool in_place; /* output 0 takes the memory of a copy of input 0 */
  mien_error error;
} op_call;

static inline mien_type op_type(int32_t dtype, int rank, const int64_t *dims) {
  mien_type t = {.dtype = dtype, .rank = rank};
  for (int i = 0; i < rank; i++) t.dim[i] = dims[i];
  return t;
}

#define OP_DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Adds an input; data is copied (NULL: zeros). Returns its memory. */
static inline void *op_in(op_call *c, int32_t dtype, int rank, const int64_t *dims, const void *data) {
  mien_tensor *t = &c->in[c->in_count++];
  t->type = op_type(dtype, rank, dims);
  int64_t count = mien_count(&t->type);
  t->bytes = count > 0 ? (size_t)count * mien_dtype_bytes(dtype) : 0;
  t->data = calloc(1, t->bytes + 1);
  assert_non_null(t->data);
  if (data) memcpy(t->data, data, t->bytes);
  return t->data;
}

static inline void op_absent(op_call *c) { c->absent[c->in_count++] = true; }

static inline void op_attr_i(op_call *c, const char *name, int64_t value) {
  c->attrs[c->attr_count++] = (mien__attr_value){.name = name, .kind = 'i', .i = value};
}
static inline void op_attr_f(op_call *c, const char *name, float value) {
  c->attrs[c->attr_count++] = (mien__attr_value){.name = name, .kind = 'f', .f = value};
}
static inline void op_attr_s(op_call *c, const char *name, const char *value) {
  c->attrs[c->attr_count++] = (mien__attr_value){.name = name, .kind = 's', .s = {value, strlen(value)}};
}
/* The list must outlive the call. */
static inline void op_attr_ints(op_call *c, const char *name, const int64_t *values, int64_t count) {
  c->attrs[c->attr_count++] =
      (mien__attr_value){.name = name, .kind = 'I', .count = count, .ints = (int64_t *)(uintptr_t)values};
}

static inline mien_status op_run_pieces(mien_node *n, int64_t piece) {
  for (int64_t end = n->items; end > 0; end -= piece) {
    mien_status status = n->run(n, end > piece ? end - piece : 0, end);
    if (status != MIEN_OK) return status;
  }
  return MIEN_OK;
}

static inline mien_status op_run(mien_env *env, op_call *c) {
  mien__value in[OP_MAX_IN] = {0}, out[OP_MAX_OUT] = {0};
  mien__value *in_at[OP_MAX_IN] = {0}, *out_at[OP_MAX_OUT] = {0};
  mien__pool pool;
  mien__threads *threads = NULL;
  mien__pool_init(&pool, env, 0);
  memset(&c->error, 0, sizeof c->error);
  if (!c->out_count) c->out_count = 1;
  bool known;
  const mien__record *record = mien__registry_find(env, c->domain ? c->domain : "", c->name, c->version, &known);
  if (!record) return mien__fail(&c->error, MIEN_UNSUPPORTED, "no %s-%d", c->name, c->version);
  mien_status status = MIEN_OK;
  if (c->threads) status = mien__threads_create(env, c->threads, &threads, &c->error);
  assert_int_equal(status, MIEN_OK);
  mien__scope scope = {.env = env, .pool = &pool, .threads = threads, .error = &c->error};
  for (int i = 0; i < c->in_count; i++) {
    in[i].tensor = c->in[i];
    in[i].constant = !c->variable[i];
    if (c->variable[i]) in[i].tensor.data = NULL;
    in_at[i] = c->absent[i] ? NULL : &in[i];
  }
  for (int i = 0; i < c->out_count; i++) out_at[i] = c->unused_out[i] ? NULL : &out[i];
  mien_node n = {0};
  status =
      mien__node_init(&n, &scope, record, "test", c->attrs, c->attr_count, in_at, c->in_count, out_at, c->out_count);
  if (status == MIEN_OK) status = mien__node_infer(&n);
  bool data_shape = (record->op->flags & MIEN_OP_DATA_SHAPE) != 0;
  for (int i = 0; i < c->out_count && status == MIEN_OK && !data_shape; i++) {
    if (!out_at[i]) continue;
    out[i].tensor.bytes = (size_t)mien_count(&out[i].tensor.type) * mien_dtype_bytes(out[i].tensor.type.dtype);
    out[i].tensor.data = malloc(out[i].tensor.bytes + 1); /* not zeroed: kernels must write all of it */
    memset(out[i].tensor.data, 0xa5, out[i].tensor.bytes);
  }
  if (status == MIEN_OK) status = mien__node_prepare(&n);
  if (status == MIEN_OK && threads) status = mien__threads_reserve(threads, n.scratch_bytes, &c->error);
  for (int i = 0; i < c->in_count; i++) in[i].tensor.data = c->in[i].data;
  if (status == MIEN_OK && c->in_place) {
    memcpy(out[0].tensor.data, c->in[0].data, out[0].tensor.bytes);
    in[0].tensor.data = out[0].tensor.data;
  }
  bool pieces = c->piece && !(record->op->flags & (MIEN_OP_SERIAL | MIEN_OP_VIEW));
  if (status == MIEN_OK) status = pieces ? op_run_pieces(&n, c->piece) : mien__node_run(&n);
  mien__node_clear(&n);
  for (int i = 0; i < c->out_count; i++) {
    free(c->out[i].data);
    c->out[i] = out[i].tensor;
    if (data_shape && out[i].tensor.data) { /* env memory becomes malloc memory */
      c->out[i].data = malloc(out[i].tensor.bytes + 1);
      memcpy(c->out[i].data, out[i].tensor.data, out[i].tensor.bytes);
      mien__free(env, out[i].tensor.data);
    }
  }
  if (threads) mien__threads_destroy(threads);
  mien__pool_clear(&pool);
  return status;
}

static inline void op_free(op_call *c) {
  for (int i = 0; i < c->in_count; i++) free(c->in[i].data);
  for (int i = 0; i < OP_MAX_OUT; i++) free(c->out[i].data);
  memset(c, 0, sizeof *c);
}

/* Runs and expects success. */
static inline void op_run_ok(mien_env *env, op_call *c) {
  mien_status status = op_run(env, c);
  if (status != MIEN_OK) print_error("%s-%d: %s\n", c->name, c->version, c->error.message);
  assert_int_equal(status, MIEN_OK);
}

/* |got - want| <= atol + rtol * |want| for every element; NaN equals NaN, infinities equal. */
static inline void op_expect(const mien_tensor *got, const double *want, int64_t count, double atol, double rtol) {
  assert_int_equal(mien_count(&got->type), count);
  for (int64_t i = 0; i < count; i++) {
    double g = mien__tensor_f64(got, i), w = want[i];
    bool good = (isnan(w) && isnan(g)) || g == w || fabs(g - w) <= atol + rtol * fabs(w);
    if (!good) print_error("element %lld: got %.9g, expected %.9g\n", (long long)i, g, w);
    assert_true(good);
  }
}

/* The same random numbers everywhere: xorshift64*. */
static inline double op_random(uint64_t *state, double low, double high) {
  *state ^= *state >> 12, *state ^= *state << 25, *state ^= *state >> 27;
  return low + (high - low) * (double)(*state * 0x2545f4914f6cdd1du >> 11) * 0x1p-53;
}

static inline int op_env_setup(void **state) {
  mien_error error = {0};
  mien_env *env = NULL;
  if (mien_env_create(NULL, &env, &error) != MIEN_OK) {
    print_error("%s\n", error.message);
    return -1;
  }
  *state = env;
  return 0;
}
static inline int op_env_teardown(void **state) {
  mien_env_destroy(*state);
  return 0;
}

#endif
