/* What runs and sessions cost in memory, on the small POSTER-Var: after the first run nothing is allocated and, on one thread,
** nothing is locked; the arena is close to what must be alive; weights are in memory once for all sessions, used where
** they lie in the file or packed and then dropped. */
#define _GNU_SOURCE
#include "sanitizer.h"
#include "session_test.h"

#include <dlfcn.h>
#include <mien/convert.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* ---------------------------------------------------------------- what is counted: this program's calls and its libraries' */

static atomic_bool counting;
static atomic_long allocations, locks;

/* A sanitizer's own come first. */
#define COUNTS (!MIEN_TEST_ASAN && !MIEN_TEST_TSAN)
#if COUNTS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *pointer, size_t bytes);

void *malloc(size_t bytes) {
  if (atomic_load(&counting)) atomic_fetch_add(&allocations, 1);
  return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
  if (atomic_load(&counting)) atomic_fetch_add(&allocations, 1);
  return __libc_calloc(count, bytes);
}
void *realloc(void *pointer, size_t bytes) {
  if (atomic_load(&counting)) atomic_fetch_add(&allocations, 1);
  return __libc_realloc(pointer, bytes);
}
int pthread_mutex_lock(pthread_mutex_t *mutex) {
  static int (*_Atomic real)(pthread_mutex_t *);
  if (atomic_load(&counting)) atomic_fetch_add(&locks, 1);
  if (!atomic_load(&real)) {
    void *found = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    int (*function)(pthread_mutex_t *);
    memcpy(&function, &found, sizeof function);
    atomic_store(&real, function);
  }
  return atomic_load(&real)(mutex);
}
#endif

/* ---------------------------------------------------------------- the small network */

static char plan_path[64];

static int convert_small(void **state) {
  (void)state;
  mien_error error = {0};
  assert_int_equal(mien_env_create(NULL, &env, NULL), MIEN_OK);
  mien_status status = mien_env_load_plugin(env, MIEN_BINARY_DIR "/plugins/libmien_poster.so", &error);
  snprintf(plan_path, sizeof plan_path, "/tmp/mien_memory_%ld.plan", (long)getpid());
  if (status == MIEN_OK)
    status = mien_convert(env, MIEN_SOURCE_DIR "/models/poster_var_small/model.onnx", plan_path, NULL, NULL, &error);
  if (status != MIEN_OK) print_error("%s\n", error.message);
  return status != MIEN_OK;
}

static int remove_small(void **state) {
  unlink(plan_path);
  return teardown(state);
}

static mien_plan *open_small(void) {
  mien_plan *plan = NULL;
  mien_error error = {0};
  if (mien_plan_open(env, plan_path, 0, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

static float image[3 * 224 * 224];

static mien_binding small_input(const mien_plan *plan) {
  mien_port port;
  assert_int_equal(mien_plan_input(plan, 0, &port), MIEN_OK);
  assert_true((size_t)mien_count(&port.type) <= sizeof image / sizeof *image);
  return bind(port.name, MIEN_F32, port.type.rank, port.type.dim, image);
}

/* ---------------------------------------------------------------- runs */

static void runs_after_the_first_allocate_nothing(void **state) {
  (void)state;
  if (!COUNTS) skip();
  mien_plan *plan = open_small();
  for (int threads = 1; threads <= 2; threads++) {
    mien_session *s = open_session(plan, threads);
    mien_binding in = small_input(plan);
    static float mine[7];
    for (int i = 0; i < 20; i++) {
      /* One output into memory of the session, one into the caller's. */
      mien_binding out[2] = {{.name = "mu"}, {.name = "logvar", .tensor = {.data = mine, .bytes = sizeof mine}}};
      atomic_store(&allocations, 0);
      atomic_store(&locks, 0);
      atomic_store(&counting, true);
      run(s, &in, 1, out, 2);
      atomic_store(&counting, false);
      if (i == 0) continue;
      assert_int_equal(allocations, 0);
      if (threads == 1) assert_int_equal(locks, 0); /* workers that sleep are woken under one */
    }
    /* The counters count. */
    atomic_store(&counting, true);
    mien_session_destroy(open_session(plan, threads));
    atomic_store(&counting, false);
    assert_true(allocations > 0 && locks > 0);
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
}

static size_t json_number(mien_plan *plan, const char *key) {
  char quoted[32];
  size_t value = 0;
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(mien_plan_json(plan), quoted);
  assert_non_null(at);
  assert_int_equal(sscanf(at + strlen(quoted), " %zu", &value), 1);
  return value;
}

static void the_arena_is_close_to_what_is_alive(void **state) {
  (void)state;
  mien_plan *plan = open_small();
  mien_session *s = open_session(plan, 1);
  mien_session_info info;
  mien_session_get_info(s, &info);
  assert_true(info.live_bytes > 100000 && info.arena_bytes >= info.live_bytes);
  assert_true((double)info.arena_bytes <= 1.3 * (double)info.live_bytes);
  /* The converter says the same of the same sizes. */
  assert_int_equal(json_number(plan, "arena_bytes"), info.arena_bytes);
  assert_int_equal(json_number(plan, "live_bytes"), info.live_bytes);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* ---------------------------------------------------------------- weights */

/* Bytes of the process's mapping of a file that are in memory for it. */
static size_t resident(const char *path) {
  FILE *file = fopen("/proc/self/smaps", "re");
  assert_non_null(file);
  char line[512];
  bool inside = false;
  size_t kb, total = 0;
  while (fgets(line, sizeof line, file)) {
    if (strchr(line, '-') && strchr(line, ' ') && strchr(line, ':') && line[0] >= '0' && line[0] <= 'f' &&
        strstr(line, " r"))
      inside = strstr(line, path) != NULL;
    if (inside && sscanf(line, "Rss: %zu kB", &kb) == 1) total += kb * 1024;
  }
  fclose(file);
  return total;
}

enum { SIDE = 1024 };

/* y = x W, W [SIDE, SIDE] or in panels of so many columns, as a file. */
static mien_plan *weights_plan(int64_t columns, char path[64]) {
  pb b;
  pb_init(&b);
  float *w = calloc(SIDE * SIDE, sizeof *w);
  assert_non_null(w);
  for (int i = 0; i < SIDE * SIDE; i++) w[i] = (float)(i % 7);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(1, SIDE)), y;
  uint32_t c = columns ? pb_constant(&b, MIEN_F32, 3, PB_DIMS(SIDE / columns, SIDE, columns), w)
                       : pb_constant(&b, MIEN_F32, 2, PB_DIMS(SIDE, SIDE), w);
  y = pb_value(&b);
  pb_append(&b, pb_instruction(&b, pb_operator(&b, "mien", "Linear", 1), "linear", PB_IDS(x, c), PB_IDS(y)));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(1, SIDE));
  size_t size;
  uint8_t *data = pb_pack(&b, &size);
  snprintf(path, 64, "/tmp/mien_weights_%ld.plan", (long)getpid());
  FILE *file = fopen(path, "wbe");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
  free(data);
  free(w);
  pb_free(&b);
  mien_plan *plan = NULL;
  mien_error error = {0};
  if (mien_plan_open(env, path, 0, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

static void weights_are_in_memory_once(void **state) {
  (void)state;
  const size_t all = SIDE * SIDE * sizeof(float), few = all / 8;
  const int64_t columns = env->host.math->gemm_columns;
  for (int in_place = 0; in_place < 2; in_place++) {
    char path[64];
    mien_plan *plan = weights_plan(in_place ? columns : 0, path);
    mien_session *s[2] = {open_session(plan, 1), open_session(plan, 2)};
    static float x[SIDE];
    for (int i = 0; i < SIDE; i++) x[i] = 1;
    for (int i = 0; i < 2; i++) {
      mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(1, SIDE), x), out = {.name = "y"};
      run(s[i], &in, 1, &out, 1);
      mien_session_info info;
      mien_session_get_info(s[i], &info);
      if (in_place) {
        assert_int_equal(info.packed_bytes, 0);
        assert_true(resident(path) >= all);
      } else {
        assert_int_equal(info.packed_bytes, all);
        if (!MIEN_TEST_TSAN) assert_true(resident(path) <= few); /* what was packed is not kept as well */
      }
    }
    mien_session_destroy(s[0]);
    mien_session_destroy(s[1]);
    mien_plan_close(plan);
    unlink(path);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(runs_after_the_first_allocate_nothing),
      cmocka_unit_test(the_arena_is_close_to_what_is_alive),
      cmocka_unit_test(weights_are_in_memory_once),
  };
  return cmocka_run_group_tests(tests, convert_small, remove_small);
}
