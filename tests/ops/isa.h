/* tests/ops/isa.h -- runs a body with the kernels that MIEN_ISA names (ctest runs every test once for each), or, where it is not
** set, once for every set that this machine runs; each in an env of its own. */
#ifndef MIEN_TESTS_OPS_ISA_H
#define MIEN_TESTS_OPS_ISA_H

#include "op_test.h"
#include "ops/kernels/select.h"

typedef void isa_body(mien_env *env);

static inline void isa_each(isa_body *body) {
  const char *set = getenv("MIEN_ISA");
  char *only = set ? strdup(set) : NULL;
  int ran = 0;
  for (size_t i = 0; mien__math_tier(i); i++) {
    const char *name = mien__math_tier(i)->isa;
    if (!mien__math_named(name) || (only && strcmp(only, name) != 0)) continue;
    assert_int_equal(setenv("MIEN_ISA", name, 1), 0);
    mien_error error = {0};
    mien_env *env = NULL;
    assert_int_equal(mien_env_create(NULL, &env, &error), MIEN_OK);
    assert_string_equal(env->host.math->isa, name);
    body(env);
    mien_env_destroy(env);
    ran++;
  }
  assert_true(only ? ran == 1 : ran > 0);
  if (only)
    setenv("MIEN_ISA", only, 1);
  else
    unsetenv("MIEN_ISA");
  free(only);
}

/* Random numbers as float input; returns the memory for the reference. */
static inline float *isa_in(op_call *c, int rank, const int64_t *dims, uint64_t *seed) {
  float *x = op_in(c, MIEN_F32, rank, dims, NULL);
  const int64_t count = mien_count(&c->in[c->in_count - 1].type);
  for (int64_t i = 0; i < count; i++) x[i] = (float)op_random(seed, -1, 1);
  return x;
}

/* All bits equal, but for a NaN's: which of two NaNs a sum keeps is the compiler's choice of instruction. */
static inline void isa_same_bits(const op_call *c, const void *want) {
  const float *a = c->out[0].data, *b = want;
  if (c->out[0].bytes == 0 || memcmp(a, b, c->out[0].bytes) == 0) return;
  assert_int_equal(c->out[0].type.dtype, MIEN_F32);
  for (int64_t i = 0; i < mien_count(&c->out[0].type); i++)
    if (!(isnan(a[i]) && isnan(b[i]))) assert_memory_equal(&a[i], &b[i], sizeof *a);
}

/* Runs on the caller alone, on 1, 2 and 3 threads, with input `weight` constant and not: all bits must be equal. */
static inline void isa_run_all(mien_env *env, op_call *c, int weight) {
  op_run_ok(env, c);
  const size_t bytes = c->out[0].bytes;
  void *first = malloc(bytes + 1);
  assert_non_null(first);
  if (bytes) memcpy(first, c->out[0].data, bytes);
  for (int threads = 1; threads <= 3; threads++) {
    c->threads = threads;
    if (weight >= 0) c->variable[weight] = threads != 2;
    op_run_ok(env, c);
    assert_int_equal(c->out[0].bytes, bytes);
    isa_same_bits(c, first);
  }
  c->threads = 0;
  if (weight >= 0) c->variable[weight] = false;
  free(first);
}

/* Of an output that was computed from all rows of input 0: each `step`th row alone has the same bits. */
static inline void isa_rows_alone(mien_env *env, op_call *c, int64_t step) {
  const int64_t rows = c->in[0].type.dim[0], k = c->in[0].type.dim[1], n = c->out[0].type.dim[1];
  float *x = c->in[0].data, *all = c->out[0].data;
  c->out[0].data = NULL;
  c->in[0].type.dim[0] = 1;
  for (int64_t i = 0; i < rows; i += step) {
    c->in[0].data = x + i * k;
    op_run_ok(env, c);
    assert_memory_equal(c->out[0].data, all + i * n, (size_t)n * sizeof *all);
  }
  c->in[0].type.dim[0] = rows;
  c->in[0].data = x;
  free(all);
}

#endif
