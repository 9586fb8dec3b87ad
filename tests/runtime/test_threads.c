/* Every item once, errors the same on every run, scratch of one's own, idle workers asleep, fork, quotas. */
#define _GNU_SOURCE
#include "internal.h"
#include "sanitizer.h"

#include <fenv.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static mien_env *env;

/* Sanitizers end the program where malloc gives NULL. */
static void *modest_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  (void)context, (void)old_size;
  if (new_size == 0) free(pointer);
  return new_size == 0 || new_size > (size_t)1 << 30 ? NULL : realloc(pointer, new_size);
}

static int setup(void **state) {
  (void)state;
  return mien_env_create(&(mien_env_options){.alloc = modest_alloc}, &env, NULL) != MIEN_OK;
}

static int teardown(void **state) {
  (void)state;
  mien_env_destroy(env);
  return 0;
}

static mien__threads *create(int count) {
  mien__threads *threads = NULL;
  mien_error error = {0};
  if (mien__threads_create(env, count, &threads, &error) != MIEN_OK) fail_msg("%s", error.message);
  return threads;
}

typedef struct {
  mien__threads *threads;
  atomic_int *hits;
  atomic_int pieces, misaligned;
  atomic_llong longest; /* of the pieces */
  int64_t count, fail_from, fail_to;
} work;

static mien_status count_items(mien_node *n, void *arg, int64_t begin, int64_t end) {
  work *w = arg;
  (void)n;
  atomic_fetch_add(&w->pieces, 1);
  long long longest = atomic_load(&w->longest);
  while (end - begin > longest && !atomic_compare_exchange_weak(&w->longest, &longest, end - begin)) {}
  if (begin % 64 || (end % 64 && end != w->count)) atomic_fetch_add(&w->misaligned, 1);
  for (int64_t i = begin; i < end; i++) atomic_fetch_add(&w->hits[i], 1);
  return MIEN_OK;
}

static void every_item_once(void **state) {
  (void)state;
  static atomic_int hits[100000];
  static const int64_t counts[] = {0, 1, 2, 63, 64, 65, 1000, 99999};
  static const double costs[] = {0, 0.5, 1, 100, 1e4, 1e7};
  for (int t = 1; t <= 5; t++) {
    mien__threads *threads = create(t);
    assert_int_equal(mien__threads_count(threads), t);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
      for (size_t k = 0; k < sizeof costs / sizeof *costs; k++) {
        memset(hits, 0, sizeof hits);
        work w = {.hits = hits, .count = counts[c]};
        assert_int_equal(mien__threads_run(threads, NULL, counts[c], costs[k], count_items, &w), MIEN_OK);
        for (int64_t i = 0; i < counts[c]; i++) assert_int_equal(hits[i], 1);
        /* Less than 10 us of work is not split; cheap items are cut at multiples of 64. */
        if ((double)counts[c] * costs[k] < 1e4 || t == 1) assert_true(w.pieces <= 1);
        if (costs[k] < 150) assert_int_equal(w.misaligned, 0);
        /* No piece is a whole unit longer than the mean, or of a long share than six sixteenths of it. */
        const int64_t unit = costs[k] < 150 ? 64 : 1, most = counts[c] * 6 / 16 / t;
        if (w.pieces)
          assert_true(w.longest <
                      (w.pieces >= 5 * t && most > counts[c] / w.pieces ? most : counts[c] / w.pieces) + 1 + unit);
        if (t > 1 && (double)counts[c] * costs[k] > 1e6 && counts[c] > 1000) assert_true(w.pieces > 1);
      }
    mien__threads_destroy(threads);
  }
}

static void without_threads_inline(void **state) {
  (void)state;
  static atomic_int hits[1000];
  work w = {.hits = hits, .count = 1000};
  assert_int_equal(mien__threads_run(NULL, NULL, 1000, 1e6, count_items, &w), MIEN_OK);
  assert_int_equal(w.pieces, 1);
  assert_int_equal(mien__threads_count(NULL), 1);
  mien__threads_rest(NULL);
  assert_int_equal(mien__threads_begin(NULL, NULL), MIEN_OK);
}

/* ---- errors */

static mien_status fail_somewhere(mien_node *n, void *arg, int64_t begin, int64_t end) {
  work *w = arg;
  for (int64_t i = begin; i < end; i++) {
    if (i < w->fail_from || i >= w->fail_to) continue;
    if (begin < 300) usleep(2000); /* later pieces fail sooner */
    int none = 0;
    if (atomic_compare_exchange_strong(&n->scope->failed, &none, 1))
      mien__fail(n->scope->error, MIEN_INVALID_MODEL, "item %lld is bad", (long long)i);
    return i < 600 ? MIEN_INVALID_MODEL : MIEN_MISMATCH;
  }
  return MIEN_OK;
}

static void the_first_failing_item_is_reported(void **state) {
  (void)state;
  for (int t = 1; t <= 4; t++) {
    mien__threads *threads = create(t);
    for (int repeat = 0; repeat < 30; repeat++) {
      mien_error error = {0};
      mien__scope scope = {.env = env, .threads = threads, .error = &error};
      static const mien_op op;
      mien__record record = {.op = &op};
      mien_node n = {.record = &record, .scope = &scope};
      work w = {.fail_from = 250, .fail_to = 1000};
      assert_int_equal(mien__threads_run(threads, &n, 1000, 1e4, fail_somewhere, &w), MIEN_INVALID_MODEL);
      assert_string_equal(error.message, "item 250 is bad");
      assert_int_equal(scope.failed, 1);
      scope = (mien__scope){.env = env, .threads = threads}; /* nobody wants the text */
      assert_int_equal(mien__threads_run(threads, &n, 1000, 1e4, fail_somewhere, &w), MIEN_INVALID_MODEL);
    }
    mien__threads_destroy(threads);
  }
}

/* ---- scratch and nesting */

static mien_status use_scratch(mien_node *n, void *arg, int64_t begin, int64_t end) {
  work *w = arg;
  (void)n;
  int64_t *mine = mien__threads_scratch(w->threads);
  if (!mine || (uintptr_t)mine % 64) return MIEN_INTERNAL;
  for (int64_t i = begin; i < end; i++) {
    for (int k = 0; k < 500; k++) mine[k] = i;
    for (int k = 0; k < 500; k++)
      if (mine[k] != i) return MIEN_INTERNAL; /* somebody else wrote here */
  }
  return MIEN_OK;
}

static void scratch_is_of_one_thread(void **state) {
  (void)state;
  mien__threads *threads = create(4);
  work w = {.threads = threads};
  assert_int_equal(mien__threads_reserve(threads, 10, NULL), MIEN_OK);
  assert_int_equal(mien__threads_reserve(threads, 4000, NULL), MIEN_OK);
  assert_int_equal(mien__threads_reserve(threads, 100, NULL), MIEN_OK); /* never shrinks */
  for (int repeat = 0; repeat < 20; repeat++)
    assert_int_equal(mien__threads_run(threads, NULL, 4000, 1e4, use_scratch, &w), MIEN_OK);
  assert_int_equal(mien__threads_run(threads, NULL, 3, 1, use_scratch, &w), MIEN_OK);
  assert_int_equal(mien__threads_reserve(threads, SIZE_MAX / 2, NULL), MIEN_NO_MEMORY);
  mien__threads_destroy(threads);
}

static mien_status run_inside(mien_node *n, void *arg, int64_t begin, int64_t end) {
  work *w = arg;
  for (int64_t i = begin; i < end; i++) MIEN_TRY(mien__threads_run(w->threads, n, 1000, 1e4, use_scratch, w));
  return MIEN_OK;
}

static void a_run_inside_a_run_does_not_hang(void **state) {
  (void)state;
  mien__threads *threads = create(3);
  work w = {.threads = threads};
  assert_int_equal(mien__threads_reserve(threads, 4000, NULL), MIEN_OK);
  assert_int_equal(mien__threads_run(threads, NULL, 30, 1e6, run_inside, &w), MIEN_OK);
  mien__threads_destroy(threads);
}

/* ---- environment of workers */

static mien_status look_at_thread(mien_node *n, void *arg, int64_t begin, int64_t end) {
  atomic_int *wrong = arg;
  (void)n, (void)begin, (void)end;
  usleep(500);
  volatile double tiny = 2.2250738585072014e-308; /* the smallest normal number */
  if (tiny / 2 == 0 || fegetround() != FE_TONEAREST) atomic_fetch_add(wrong, 1);
  return MIEN_OK;
}

static void bits_do_not_depend_on_the_caller_s_rounding(void **state) {
  (void)state;
  fesetround(FE_UPWARD);
#if defined(__x86_64__)
  unsigned before = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(before | 0x8040); /* flush denormals */
  before = __builtin_ia32_stmxcsr();
#endif
  for (int t = 1; t <= 3; t++) {
    mien__threads *threads = create(t);
    atomic_int wrong = 0;
    assert_int_equal(mien__threads_begin(threads, NULL), MIEN_OK);
    for (int repeat = 0; repeat < 5; repeat++)
      assert_int_equal(mien__threads_run(threads, NULL, 30, 1e6, look_at_thread, &wrong), MIEN_OK);
    mien__threads_rest(threads);
    assert_int_equal(wrong, 0);
    assert_int_equal(fegetround(), FE_UPWARD);
#if defined(__x86_64__)
    assert_int_equal(__builtin_ia32_stmxcsr(), before);
#endif
    mien__threads_destroy(threads);
  }
#if defined(__x86_64__)
  __builtin_ia32_ldmxcsr(0x1f80);
#endif
  fesetround(FE_TONEAREST);
}

static mien_status look_for_flush(mien_node *n, void *arg, int64_t begin, int64_t end) {
  atomic_int *kept = arg;
  (void)n, (void)begin, (void)end;
  usleep(500);
  volatile float tiny = 1e-40f;
  if (tiny * 1e5f != 0) atomic_fetch_add(kept, 1);
  return MIEN_OK;
}

/* In every thread while an operator that asks for it runs, and no longer. */
static void subnormal_numbers_are_zero_where_asked_for(void **state) {
  (void)state;
  mien_op op = {.flags = MIEN_OP_FLUSH}, other = {.flags = 0};
  mien__record record = {.op = &op}, other_record = {.op = &other};
  for (int t = 1; t <= 3; t++) {
    mien__threads *threads = create(t);
    mien__scope scope = {.threads = threads};
    mien_node n = {.record = &record, .scope = &scope}, plain = {.record = &other_record, .scope = &scope};
    atomic_int kept = 0;
    assert_int_equal(mien__threads_run(threads, &n, 30, 1e6, look_for_flush, &kept), MIEN_OK);
#if defined(__x86_64__) || defined(__aarch64__)
    assert_int_equal(kept, 0);
#endif
    kept = 0;
    assert_int_equal(mien__threads_run(threads, &plain, 30, 1e6, look_for_flush, &kept), MIEN_OK);
    assert_in_range(kept, 1, 30);
    volatile float tiny = 1e-40f;
    assert_true(tiny * 1e5f != 0);
    mien__threads_destroy(threads);
  }
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void idle_workers_sleep(void **state) {
  (void)state;
  mien__threads *threads = create(4);
  static atomic_int hits[1000];
  work w = {.hits = hits, .count = 1000};
  for (int repeat = 0; repeat < 20; repeat++) {
    assert_int_equal(mien__threads_begin(threads, NULL), MIEN_OK);
    assert_int_equal(mien__threads_run(threads, NULL, 1000, 1e5, count_items, &w), MIEN_OK);
    mien__threads_rest(threads);
  }
  usleep(20000);
  double before = cpu_seconds();
  usleep(200000);
  assert_true(cpu_seconds() - before < 0.05);
  mien__threads_destroy(threads);
}

/* Which threads run lanes; and whether one of them was interrupted. Other libraries may have threads of their own. */
static atomic_int lane_threads[64], lane_thread_count, signals_taken_by_workers;
static pid_t main_thread;

static bool runs_lanes(pid_t thread) {
  for (int i = 0; i < lane_thread_count; i++)
    if (lane_threads[i] == thread) return true;
  return false;
}

static mien_status note_thread(mien_node *n, void *arg, int64_t begin, int64_t end) {
  (void)n, (void)arg, (void)begin, (void)end;
  usleep(1000); /* so that every thread gets a piece */
  int at = atomic_fetch_add(&lane_thread_count, 1);
  if (at < 64) lane_threads[at] = gettid();
  return MIEN_OK;
}

static void on_signal(int number) {
  (void)number;
  if (gettid() != main_thread && runs_lanes(gettid())) atomic_fetch_add(&signals_taken_by_workers, 1);
}

static void workers_take_no_signals(void **state) {
  (void)state;
  main_thread = gettid();
  mien__threads *threads = create(3);
  assert_int_equal(mien__threads_run(threads, NULL, 12, 1e6, note_thread, NULL), MIEN_OK);
  int workers = 0;
  for (int i = 0; i < lane_thread_count; i++) workers += lane_threads[i] != main_thread;
  assert_true(workers > 0 && lane_thread_count <= 64);
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  struct sigaction action = {.sa_handler = on_signal}, old;
  sigaction(SIGUSR1, &action, &old);
  sigprocmask(SIG_BLOCK, &usr1, NULL);
  for (int i = 0; i < 20; i++) {
    kill(getpid(), SIGUSR1); /* a worker that does not block it may take it now */
    usleep(1000);
  }
  assert_int_equal(signals_taken_by_workers, 0);
  sigprocmask(SIG_UNBLOCK, &usr1, NULL);
  sigaction(SIGUSR1, &old, NULL);
  mien__threads_destroy(threads);
}

/* ---- fork */

static void a_forked_child_gets_an_error_and_does_not_hang(void **state) {
  (void)state;
  mien__threads *threads = create(3), *alone = create(1);
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    mien_error error = {0};
    bool good = mien__threads_begin(threads, &error) == MIEN_INVALID_ARGUMENT && strstr(error.message, "fork");
    good = good && mien__threads_begin(alone, &error) == MIEN_OK;
    static atomic_int hits[1000];
    work w = {.hits = hits, .count = 1000};
    good = good && mien__threads_run(alone, NULL, 1000, 1e6, count_items, &w) == MIEN_OK;
    mien__threads_rest(alone);
    good = good && mien__threads_run(threads, NULL, 1000, 1e6, count_items, &w) == MIEN_OK && w.pieces == 2;
    mien__threads_destroy(threads);
    mien__threads_destroy(alone);
    _exit(good ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assert_int_equal(mien__threads_begin(threads, NULL), MIEN_OK);
  mien__threads_rest(threads);
  mien__threads_destroy(threads);
  mien__threads_destroy(alone);
}

/* ---- how many */

static void write_file(const char *directory, const char *name, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
    *slash = '\0';
    mkdir(path, 0777);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static int quota(const char *self, const char *files[][2]) {
  char directory[] = "/tmp/mien-quota-XXXXXX", path[512], command[600];
  assert_non_null(mkdtemp(directory));
  write_file(directory, "self", self);
  for (int i = 0; files[i][0]; i++) write_file(directory, files[i][0], files[i][1]);
  snprintf(path, sizeof path, "%s/self", directory);
  int cpus = mien__cpu_quota(directory, path);
  snprintf(command, sizeof command, "rm -rf %s", directory);
  assert_int_equal(system(command), 0);
  return cpus;
}

static void quotas_of_cgroups(void **state) {
  (void)state;
  assert_int_equal(quota("0::/\n", (const char *[][2]){{"cpu.max", "150000 100000\n"}, {0}}), 2);
  assert_int_equal(quota("0::/\n", (const char *[][2]){{"cpu.max", "max 100000\n"}, {0}}), 0);
  assert_int_equal(quota("0::/\n", (const char *[][2]){{0}}), 0);
  assert_int_equal(
      quota("0::/a/b\n", (const char *[][2]){{"a/cpu.max", "300000 100000\n"}, {"a/b/cpu.max", "max 100000\n"}, {0}}),
      3);
  assert_int_equal(
      quota("0::/a/b\n", (const char *[][2]){{"cpu.max", "100000 100000\n"}, {"a/b/cpu.max", "800000 100000\n"}, {0}}),
      1);
  assert_int_equal(quota("0::/not/here\n", (const char *[][2]){{"cpu.max", "50000 100000\n"}, {0}}), 1);
  assert_int_equal(quota("3:memory:/\n4:cpu,cpuacct:/docker/x\n",
                         (const char *[][2]){{"cpu,cpuacct/docker/x/cpu.cfs_quota_us", "400000\n"},
                                             {"cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n"},
                                             {0}}),
                   4);
  assert_int_equal(
      quota("4:cpu:/gone\n",
            (const char *[][2]){{"cpu/cpu.cfs_quota_us", "-1\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}, {0}}),
      0);
  assert_int_equal(
      quota("4:cpuset:/\n",
            (const char *[][2]){{"cpu/cpu.cfs_quota_us", "100000\n"}, {"cpu/cpu.cfs_period_us", "100000\n"}, {0}}),
      0);
  static const char *const junk[] = {
      "", "x", "100000", "0 100000\n", "-5 100000\n", "100000 0\n", "99999999999999999999999 1\n"};
  for (size_t i = 0; i < sizeof junk / sizeof *junk; i++)
    assert_int_equal(quota("0::/\n", (const char *[][2]){{"cpu.max", junk[i]}, {0}}), 0);
  assert_int_equal(mien__cpu_quota("/nowhere", "/nowhere/self"), 0);
}

static void default_count_respects_affinity_and_omp(void **state) {
  (void)state;
  unsetenv("OMP_NUM_THREADS");
  int count = mien__threads_default();
  cpu_set_t set, one;
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  assert_true(count >= 1 && count <= CPU_COUNT(&set));
  setenv("OMP_NUM_THREADS", "1,2", 1);
  assert_int_equal(mien__threads_default(), 1);
  setenv("OMP_NUM_THREADS", "100000", 1);
  assert_int_equal(mien__threads_default(), count);
  setenv("OMP_NUM_THREADS", "many", 1);
  assert_int_equal(mien__threads_default(), count);
  unsetenv("OMP_NUM_THREADS");
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
    if (CPU_ISSET(i, &set)) CPU_SET(i, &one);
  assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
  assert_int_equal(mien__threads_default(), 1);
  mien__threads *threads = create(0);
  assert_int_equal(mien__threads_count(threads), 1);
  mien__threads_destroy(threads);
  assert_int_equal(sched_setaffinity(0, sizeof set, &set), 0);
}

static void counts_out_of_range_and_no_memory(void **state) {
  (void)state;
  mien__threads *threads = NULL;
  mien_error error = {0};
  assert_int_equal(mien__threads_create(env, -1, &threads, &error), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien__threads_create(env, 100000, &threads, &error), MIEN_INVALID_ARGUMENT);
  assert_null(threads);
}

/* In a child: threads that the system refuses are an error, not a wait without end. */
static void refused_threads_are_an_error(void **state) {
  (void)state;
  if (MIEN_TEST_TSAN || MIEN_TEST_ASAN) skip(); /* they need all address space */
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    struct rlimit space = {(rlim_t)256 << 20, (rlim_t)256 << 20}; /* each thread maps 8 MiB of stack */
    if (setrlimit(RLIMIT_AS, &space) != 0) _exit(2);
    if (mmap(NULL, (size_t)1 << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) _exit(77);
    mien__threads *threads = NULL;
    mien_error error = {0};
    mien_status status = mien__threads_create(env, 500, &threads, &error);
    _exit(status == MIEN_IO || status == MIEN_NO_MEMORY ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) skip(); /* emulators of user programs keep no such limit */
  assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_item_once),
                                     cmocka_unit_test(without_threads_inline),
                                     cmocka_unit_test(the_first_failing_item_is_reported),
                                     cmocka_unit_test(scratch_is_of_one_thread),
                                     cmocka_unit_test(a_run_inside_a_run_does_not_hang),
                                     cmocka_unit_test(bits_do_not_depend_on_the_caller_s_rounding),
                                     cmocka_unit_test(subnormal_numbers_are_zero_where_asked_for),
                                     cmocka_unit_test(idle_workers_sleep),
                                     cmocka_unit_test(workers_take_no_signals),
                                     cmocka_unit_test(a_forked_child_gets_an_error_and_does_not_hang),
                                     cmocka_unit_test(quotas_of_cgroups),
                                     cmocka_unit_test(default_count_respects_affinity_and_omp),
                                     cmocka_unit_test(counts_out_of_range_and_no_memory),
                                     cmocka_unit_test(refused_threads_are_an_error)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
