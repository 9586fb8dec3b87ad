/* Plans for random lives: nothing that is alive together overlaps, everything is aligned, the size is near the lower bound. */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static mien_env *env;

static int setup(void **state) {
  (void)state;
  return mien_env_create(NULL, &env, NULL) != MIEN_OK;
}

static int teardown(void **state) {
  (void)state;
  mien_env_destroy(env);
  return 0;
}

static uint32_t next(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}

static void plan(mien__life *lives, size_t count, size_t *arena, size_t *live) {
  mien_error error = {0};
  mien_status status = mien__arena_plan(env, lives, count, arena, live, &error);
  if (status != MIEN_OK) fail_msg("%s", error.message);
}

static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

/* All pairs: the oracle that needs no cleverness. */
static void check_pairs(const mien__life *lives, size_t count, size_t arena) {
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(lives[i].offset % 64, 0);
    if (lives[i].bytes) assert_true(lives[i].offset + lives[i].bytes <= arena);
    for (size_t j = 0; j < i && lives[i].bytes; j++) {
      const mien__life *a = &lives[i], *b = &lives[j];
      if (!b->bytes || a->first > b->last || b->first > a->last) continue;
      assert_true(a->offset + a->bytes <= b->offset || b->offset + b->bytes <= a->offset);
    }
  }
}

/* The largest sum alive, instruction by instruction. */
static size_t sum_alive(const mien__life *lives, size_t count, int32_t end) {
  size_t *sums = calloc((size_t)end + 1, sizeof *sums), most = 0;
  for (size_t i = 0; i < count; i++)
    for (int32_t t = lives[i].first; t <= lives[i].last; t++) sums[t] += rounded(lives[i].bytes);
  for (int32_t t = 0; t <= end; t++) most = sums[t] > most ? sums[t] : most;
  free(sums);
  return most;
}

static void random_lives(mien__life *lives, size_t count, int32_t end, uint32_t most_bytes, uint64_t seed) {
  for (size_t i = 0; i < count; i++) {
    int32_t first = (int32_t)(next(&seed) % (uint32_t)end);
    int32_t length = (int32_t)(next(&seed) % (next(&seed) % 8 == 0 ? (uint32_t)end : 6u));
    int32_t last = first + length < end ? first + length : end;
    size_t bytes = next(&seed) % 9 == 0 ? 0 : next(&seed) % most_bytes + 1;
    lives[i] = (mien__life){.bytes = bytes, .first = first, .last = last, .offset = 7};
  }
}

static void random_plans_do_not_overlap(void **state) {
  (void)state;
  static mien__life lives[400];
  for (uint64_t seed = 1; seed <= 60; seed++) {
    size_t count = seed * 6;
    random_lives(lives, count, 100, seed % 3 ? 100000 : 200, seed);
    size_t arena, live;
    plan(lives, count, &arena, &live);
    check_pairs(lives, count, arena);
    assert_int_equal(live, sum_alive(lives, count, 100));
    assert_true(arena >= live && arena <= live + live / 2);
  }
}

/* The other algorithm, on sizes where all pairs can still be compared. */
static void many_lives_do_not_overlap(void **state) {
  (void)state;
  size_t count = 9000;
  mien__life *lives = calloc(count, sizeof *lives);
  for (uint64_t seed = 100; seed < 104; seed++) {
    random_lives(lives, count, 3000, seed % 2 ? 100000 : 300, seed);
    size_t arena, live;
    plan(lives, count, &arena, &live);
    check_pairs(lives, count, arena);
    assert_int_equal(live, sum_alive(lives, count, 3000));
    assert_true(arena >= live && arena <= 2 * live);
  }
  free(lives);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void a_hundred_thousand_take_no_time(void **state) {
  (void)state;
  size_t count = 100000;
  mien__life *lives = calloc(count, sizeof *lives);
  size_t arena, live;
  for (int shape = 0; shape < 3; shape++) {
    for (size_t i = 0; i < count; i++) {
      int32_t first = (int32_t)i, last = (int32_t)i + 1;             /* a chain */
      if (shape == 1) first = 0, last = (int32_t)(i * 7919 % count); /* all begin together, end in disorder */
      if (shape == 2 && i % 2) last = (int32_t)count;                /* half of them stay: holes of one size */
      lives[i] = (mien__life){.bytes = i % 1000 + 1, .first = first, .last = last};
    }
    double start = seconds();
    plan(lives, count, &arena, &live);
    assert_true(seconds() - start < 5); /* all pairs would take minutes */
    assert_true(arena >= live && arena <= 2 * live);
  }
  free(lives);
}

static void a_chain_needs_two_values(void **state) {
  (void)state;
  mien__life lives[50];
  for (int i = 0; i < 50; i++) lives[i] = (mien__life){.bytes = 1000, .first = i, .last = i + 1};
  size_t arena, live;
  plan(lives, 50, &arena, &live);
  assert_int_equal(arena, 2048);
  assert_int_equal(live, 2048);
}

static void empty_and_zero_sized(void **state) {
  (void)state;
  size_t arena = 1, live = 1;
  plan(NULL, 0, &arena, &live);
  assert_int_equal(arena, 0);
  mien__life lives[2] = {{.first = 0, .last = 1, .offset = 5}, {.first = 0, .last = 1, .offset = 5}};
  plan(lives, 2, &arena, &live);
  assert_int_equal(arena, 0);
  assert_int_equal(live, 0);
  assert_int_equal(lives[1].offset, 0);
}

static void sizes_that_overflow_and_limits(void **state) {
  (void)state;
  mien_error error = {0};
  size_t arena, live;
  mien__life lives[2] = {{.bytes = SIZE_MAX - 10, .last = 1}, {.bytes = SIZE_MAX / 2, .last = 1}};
  assert_int_equal(mien__arena_plan(env, lives, 2, &arena, &live, &error), MIEN_LIMIT);
  lives[0].bytes = SIZE_MAX / 2 + 100;
  assert_int_equal(mien__arena_plan(env, lives, 2, &arena, &live, &error), MIEN_LIMIT);
  mien_env *small;
  assert_int_equal(mien_env_create(&(mien_env_options){.limits = {.arena_bytes = 128}}, &small, NULL), MIEN_OK);
  lives[0] = lives[1] = (mien__life){.bytes = 64, .last = 1};
  assert_int_equal(mien__arena_plan(small, lives, 2, &arena, &live, &error), MIEN_OK);
  lives[1].bytes = 65;
  assert_int_equal(mien__arena_plan(small, lives, 2, &arena, &live, &error), MIEN_LIMIT);
  assert_non_null(strstr(error.message, "arena_bytes"));
  mien_env_destroy(small);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_plans_do_not_overlap),
                                     cmocka_unit_test(many_lives_do_not_overlap),
                                     cmocka_unit_test(a_hundred_thousand_take_no_time),
                                     cmocka_unit_test(a_chain_needs_two_values),
                                     cmocka_unit_test(empty_and_zero_sized),
                                     cmocka_unit_test(sizes_that_overflow_and_limits)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
