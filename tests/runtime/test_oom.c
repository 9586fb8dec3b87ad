/* Allocation k fails, once or from then on, for all k, through conversion, opening, running and checking: every time the answer is
** MIEN_NO_MEMORY or a right result, nothing leaks, no plan is half written, and the next attempt succeeds. */
#include "op_test.h"

#include <mien/convert.h>
#include <unistd.h>

typedef struct counter {
  long count, fail_at; /* fail_at 0: never */
  bool persistent;
  size_t alive;
} counter;

static void *counting_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  counter *c = context;
  if (new_size == 0) {
    free(pointer);
    c->alive -= old_size;
    return NULL;
  }
  c->count++;
  if (c->fail_at && (c->count == c->fail_at || (c->persistent && c->count > c->fail_at))) return NULL;
  void *fresh = realloc(pointer, new_size);
  if (fresh) c->alive += new_size - old_size;
  return fresh;
}

typedef struct job {
  const char *model;
  char plan[64];
} job;

static mien_status whole_way(const job *j, counter *c, mien_error *error) {
  mien_env_options options = {.alloc = counting_alloc, .alloc_context = c};
  mien_session_options alone = {.threads = 1};
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_convert_report report = {0};
  mien_check_row rows[64];
  size_t count = 64;
  mien_status status = mien_env_create(&options, &env, error);
  if (status == MIEN_OK) status = mien_convert(env, j->model, j->plan, NULL, &report, error);
  if (env) mien_convert_report_free(env, &report);
  if (status == MIEN_OK) status = mien_plan_open(env, j->plan, MIEN_PLAN_COPY, &plan, error);
  if (status == MIEN_OK) status = mien_session_create(plan, &alone, &session, error);
  if (status == MIEN_OK) status = mien_session_check(session, rows, &count, error);
  mien_session_destroy(session);
  mien_plan_close(plan);
  mien_env_destroy(env);
  return status;
}

static void try_failure(const job *j, long k, bool persistent) {
  counter c = {.fail_at = k, .persistent = persistent};
  mien_error error = {0};
  unlink(j->plan);
  mien_status status = whole_way(j, &c, &error);
  if (status != MIEN_OK && status != MIEN_NO_MEMORY) print_error("allocation %ld: %s\n", k, error.message);
  assert_true(status == MIEN_OK || status == MIEN_NO_MEMORY);
  if (c.alive) print_error("allocation %ld: %zu bytes leak\n", k, c.alive);
  assert_int_equal(c.alive, 0);
}

static void all_allocations_may_fail(const char *model, long most) {
  job j = {.model = model};
  counter c = {0};
  mien_error error = {0};
  snprintf(j.plan, sizeof j.plan, "/tmp/mien-oom-%ld.plan", (long)getpid());
  mien_status status = whole_way(&j, &c, &error);
  if (status != MIEN_OK) print_error("%s\n", error.message);
  assert_int_equal(status, MIEN_OK);
  assert_int_equal(c.alive, 0);
  uint64_t seed = 11;
  long step = c.count > most ? c.count / most : 1;
  for (long k = 1; k <= c.count; k += step > 1 ? (long)op_random(&seed, 1, 2 * (double)step) : 1) {
    try_failure(&j, k, false);
    try_failure(&j, k, true);
  }
  unlink(j.plan);
}

static void small_model(void **state) {
  (void)state;
  all_allocations_may_fail(MIEN_SOURCE_DIR "/tests/plugin/hypot.onnx", 2000);
}

static void poster_var(void **state) {
  (void)state;
  all_allocations_may_fail(MIEN_SOURCE_DIR "/models/poster_var_small/model.onnx", 25);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(small_model), cmocka_unit_test(poster_var)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
