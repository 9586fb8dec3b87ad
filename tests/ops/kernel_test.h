/* tests/ops/kernel_test.h -- runs one row of a table of kernels over many sizes: in memory that ends where nothing may be
** touched, and in allocations of exactly the size (for AddressSanitizer and valgrind); whole and in parts on 2 and 3 threads,
** which must give the same bits; against a reference in double precision. */
#ifndef MIEN_TESTS_OPS_KERNEL_TEST_H
#define MIEN_TESTS_OPS_KERNEL_TEST_H

#include "ops/isa.h"
#include "ops/reference.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { KERNEL_SIZES = 4, KERNEL_BUFFERS = 8, KERNEL_OUT = KERNEL_BUFFERS - 1 };

typedef struct kernel_call {
  const mien_math *m;
  int64_t size[KERNEL_SIZES];
  int variant;                   /* of row's `variants`, from `first` on */
  int64_t count[KERNEL_BUFFERS]; /* floats; the last is the output, the first ones inputs */
  float *data[KERNEL_BUFFERS];
} kernel_call;

/* A new kernel is one row. */
typedef struct kernel_row {
  const char *name;
  int64_t sizes[KERNEL_SIZES][2]; /* from, to */
  int variants;
  int inputs; /* filled at random; the buffers from there to the output are work */
  void (*counts)(kernel_call *c);
  void (*before)(const kernel_call *c); /* once, e.g. packs; may be NULL */
  /* Part `part` of `parts` of the output, at the same time as others. */
  void (*run)(const kernel_call *c, int64_t part, int64_t parts);
  void (*reference)(const kernel_call *c, double *want);
  double absolute, relative;
  int first; /* variant */
} kernel_row;

/* [*begin, *end) of so many units. */
static inline void kernel_part(int64_t units, int64_t part, int64_t parts, int64_t *begin, int64_t *end) {
  *begin = units * part / parts;
  *end = units * (part + 1) / parts;
}

typedef struct kernel_memory {
  char *base[KERNEL_BUFFERS];
  size_t bytes[KERNEL_BUFFERS]; /* mapped; 0: allocated */
} kernel_memory;

static inline void kernel_allocate(kernel_call *c, kernel_memory *k, bool mapped) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < KERNEL_BUFFERS; i++) {
    const size_t bytes = (size_t)c->count[i] * sizeof(float);
    k->bytes[i] = 0;
    if (!mapped) {
      k->base[i] = malloc(bytes ? bytes : 1);
      assert_non_null(k->base[i]);
      c->data[i] = (float *)(void *)k->base[i];
      continue;
    }
    k->bytes[i] = (bytes + page - 1) / page * page + page;
    k->base[i] = mmap(NULL, k->bytes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(k->base[i] != MAP_FAILED);
    assert_int_equal(mprotect(k->base[i] + k->bytes[i] - page, page, PROT_NONE), 0);
    c->data[i] = (float *)(void *)(k->base[i] + k->bytes[i] - page - bytes);
  }
}

static inline void kernel_free(kernel_memory *k) {
  for (int i = 0; i < KERNEL_BUFFERS; i++)
    if (k->bytes[i])
      munmap(k->base[i], k->bytes[i]);
    else
      free(k->base[i]);
}

typedef struct kernel_thread {
  pthread_t thread;
  const kernel_row *row;
  const kernel_call *call;
  int64_t part, parts;
} kernel_thread;

static inline void *kernel_thread_run(void *arg) {
  const kernel_thread *t = arg;
  t->row->run(t->call, t->part, t->parts);
  return NULL;
}

static inline void kernel_run(const kernel_row *row, const kernel_call *c, int64_t parts) {
  kernel_thread t[3];
  for (int64_t i = 0; i < parts; i++) {
    t[i] = (kernel_thread){.row = row, .call = c, .part = i, .parts = parts};
    if (i) assert_int_equal(pthread_create(&t[i].thread, NULL, kernel_thread_run, &t[i]), 0);
  }
  kernel_thread_run(&t[0]);
  for (int64_t i = 1; i < parts; i++) assert_int_equal(pthread_join(t[i].thread, NULL), 0);
}

static inline void kernel_compare(const kernel_row *row, const kernel_call *c) {
  const int64_t count = c->count[KERNEL_OUT];
  const float *y = c->data[KERNEL_OUT];
  double *want = malloc((size_t)(count ? count : 1) * sizeof *want);
  assert_non_null(want);
  row->reference(c, want);
  for (int64_t i = 0; i < count; i++)
    if (isnan(want[i]) ? !isnan(y[i])
                       : !((double)y[i] == want[i] ||
                           fabs((double)y[i] - want[i]) <= row->absolute + row->relative * fabs(want[i])))
      fail_msg("%s %s, variant %d of sizes %d %d %d %d: element %d is %.9g, expected %.9g", c->m->isa, row->name,
               c->variant, (int)c->size[0], (int)c->size[1], (int)c->size[2], (int)c->size[3], (int)i, (double)y[i],
               want[i]);
  free(want);
}

static inline void kernel_one(const kernel_row *row, kernel_call *c) {
  row->counts(c);
  kernel_memory mapped, exact;
  kernel_allocate(c, &mapped, true);
  const size_t bytes = (size_t)c->count[KERNEL_OUT] * sizeof(float);
  uint64_t seed = 99;
  for (int b = 0; b < KERNEL_BUFFERS; b++)
    for (int64_t i = 0; i < c->count[b]; i++) c->data[b][i] = b < row->inputs ? (float)op_random(&seed, -1, 1) : NAN;
  if (row->before) row->before(c);
  kernel_run(row, c, 1);
  kernel_compare(row, c);
  kernel_call again = *c;
  kernel_allocate(&again, &exact, false); /* another alignment, too */
  for (int b = 0; b < row->inputs; b++)
    if (c->count[b]) memcpy(again.data[b], c->data[b], (size_t)c->count[b] * sizeof(float));
  if (row->before) row->before(&again);
  for (int64_t parts = 1; parts <= 3; parts++) {
    if (bytes) memset(again.data[KERNEL_OUT], 0xff, bytes);
    kernel_run(row, &again, parts);
    if (bytes) assert_memory_equal(again.data[KERNEL_OUT], c->data[KERNEL_OUT], bytes);
  }
  kernel_free(&exact);
  kernel_free(&mapped);
}

/* Every variant; each size through all its values while the others are at random; all at their ends; `random` more, of the
** largest sizes few. */
static inline void kernel_sweep(const mien_math *m, const kernel_row *row, int random) {
  uint64_t seed = 7;
  int turn = 0;
  double work = 1;
  for (int d = 0; d < KERNEL_SIZES; d++) work *= (double)row->sizes[d][1] + 1;
  if (work > 1e7 && random > 8) random = 8;
  for (int d = -1; d < KERNEL_SIZES; d++) {
    const int64_t from = d < 0 ? 0 : row->sizes[d][0];
    const int64_t to = d < 0 ? (1 << KERNEL_SIZES) + random - 1 : row->sizes[d][1];
    for (int64_t v = from; v <= to; v++) {
      kernel_call c = {.m = m, .variant = row->first + turn++ % row->variants};
      for (int e = 0; e < KERNEL_SIZES; e++) {
        const int64_t low = row->sizes[e][0], high = row->sizes[e][1];
        c.size[e] = (int64_t)op_random(&seed, (double)low, (double)high + 1);
        if (e == d) c.size[e] = v;
        if (d < 0 && v < 1 << KERNEL_SIZES) c.size[e] = v >> e & 1 ? high : low;
      }
      kernel_one(row, &c);
    }
  }
}

#endif
