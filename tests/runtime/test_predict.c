/* The generator against published answers, the distribution against closed forms and sampling error. */
#include "internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
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

/* Known answers of the Random123 distribution. */
static void philox_known_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t counter[4], key[2], out[4];
  } rows[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t out[4];
    mien__philox(rows[i].counter, rows[i].key, out);
    assert_memory_equal(out, rows[i].out, sizeof out);
  }
}

static void normals_are_normal(void **state) {
  (void)state;
  enum { N = 200000 };
  double sum = 0, square = 0, fourth = 0, lag = 0, before = 0;
  int beyond_two = 0;
  for (int i = 0; i < N; i++) {
    double z = mien_normal(1, (uint64_t)(i / 1000), (uint64_t)(i % 1000 / 8), (uint32_t)i % 8);
    assert_true(isfinite(z));
    sum += z;
    square += z * z;
    fourth += z * z * z * z;
    lag += z * before;
    before = z;
    beyond_two += fabs(z) > 2;
  }
  /* Four standard errors of each statistic. */
  assert_true(fabs(sum / N) < 4 * sqrt(1.0 / N));
  assert_true(fabs(square / N - 1) < 4 * sqrt(2.0 / N));
  assert_true(fabs(fourth / N - 3) < 4 * sqrt(96.0 / N));
  assert_true(fabs(lag / N) < 4 * sqrt(1.0 / N));
  assert_true(fabs((double)beyond_two / N - 0.0455003) < 4 * sqrt(0.0455 * 0.9545 / N));
}

static void normals_depend_on_every_part_of_the_counter(void **state) {
  (void)state;
  double base = mien_normal(5, 6, 7, 8);
  assert_true(base == mien_normal(5, 6, 7, 8));
  const double others[] = {mien_normal(4, 6, 7, 8), mien_normal(5 + (UINT64_C(1) << 40), 6, 7, 8),
                           mien_normal(5, 7, 7, 8), mien_normal(5, 6 + (UINT64_C(1) << 40), 7, 8),
                           mien_normal(5, 6, 8, 8), mien_normal(5, 6, 7 + (UINT64_C(1) << 40), 8),
                           mien_normal(5, 6, 7, 9)};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) assert_true(others[i] != base);
}

enum { C = 3 };
typedef struct {
  double p[C], sd[C], low[C], high[C], z_mean[C], z_var[C];
  mien_prediction out;
} result;

static void link_result(result *r) {
  *r = (result){0};
  r->out =
      (mien_prediction){.p = r->p, .sd = r->sd, .low = r->low, .high = r->high, .z_mean = r->z_mean, .z_var = r->z_var};
}

static const float mu[C] = {1.5f, -0.5f, 0.25f}, logvar[C] = {-1.0f, 0.5f, -3.0f};

static void zero_samples_is_softmax_of_mu(void **state) {
  (void)state;
  result r;
  link_result(&r);
  mien_error error = {0};
  assert_int_equal(mien_predict(env, &(mien_predict_options){.credible = 0.9}, 0, C, mu, NULL, &r.out, &error),
                   MIEN_OK);
  double sum = exp(1.5) + exp(-0.5) + exp(0.25), entropy = 0;
  for (int c = 0; c < C; c++) {
    double p = exp((double)mu[c]) / sum;
    entropy -= p * log(p);
    assert_true(fabs(r.p[c] - p) < 1e-15);
    assert_true(r.sd[c] == 0 && r.low[c] == r.p[c] && r.high[c] == r.p[c] && r.z_var[c] == 0 &&
                r.z_mean[c] == (double)mu[c]);
  }
  assert_true(fabs(r.out.entropy - entropy) < 1e-14);
  assert_true(r.out.expected_entropy == r.out.entropy && r.out.information == 0);
}

static void samples_match_mu_and_logvar(void **state) {
  (void)state;
  result r;
  link_result(&r);
  const int64_t samples = 20000;
  mien_predict_options options = {.samples = samples, .seed = 42, .credible = 0.9};
  assert_int_equal(mien_predict(env, &options, 3, C, mu, logvar, &r.out, NULL), MIEN_OK);
  double total = 0;
  for (int c = 0; c < C; c++) {
    double var = exp((double)logvar[c]);
    assert_true(fabs(r.z_mean[c] - (double)mu[c]) < 4 * sqrt(var / (double)samples));
    assert_true(fabs(r.z_var[c] / var - 1) < 4 * sqrt(2.0 / (double)samples));
    assert_true(r.low[c] < r.p[c] && r.p[c] < r.high[c] && r.sd[c] > 0);
    total += r.p[c];
  }
  assert_true(fabs(total - 1) < 1e-12);
  assert_true(r.out.information > 0);
  assert_true(fabs(r.out.entropy - r.out.expected_entropy - r.out.information) < 1e-15);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The same numbers from mien_normal, straight from their definitions. */
static void statistics_follow_their_definitions(void **state) {
  (void)state;
  enum { S = 101 };
  double p[C][S], entropy = 0;
  for (int s = 0; s < S; s++) {
    double z[C], sum = 0, h = 0;
    for (int c = 0; c < C; c++)
      sum += exp(z[c] = (double)mu[c] + exp((double)logvar[c] / 2) * mien_normal(9, 77, (uint64_t)s, (uint32_t)c));
    for (int c = 0; c < C; c++) {
      p[c][s] = exp(z[c]) / sum;
      h -= p[c][s] * log(p[c][s]);
    }
    entropy += h / S;
  }
  result r;
  link_result(&r);
  mien_predict_options options = {.samples = S, .seed = 9, .credible = 0.9};
  assert_int_equal(mien_predict(env, &options, 77, C, mu, logvar, &r.out, NULL), MIEN_OK);
  for (int c = 0; c < C; c++) {
    double mean = 0, square = 0;
    for (int s = 0; s < S; s++) mean += p[c][s] / S;
    for (int s = 0; s < S; s++) square += (p[c][s] - mean) * (p[c][s] - mean);
    qsort(p[c], S, sizeof(double), by_value);
    assert_true(fabs(r.p[c] - mean) < 1e-13);
    assert_true(fabs(r.sd[c] - sqrt(square / (S - 1))) < 1e-13);
    assert_true(fabs(r.low[c] - p[c][5]) < 1e-13); /* 100 * 0.05 */
    assert_true(fabs(r.high[c] - p[c][95]) < 1e-13);
  }
  assert_true(fabs(r.out.expected_entropy - entropy) < 1e-12);
}

static void the_same_bits_whatever_else_is_asked(void **state) {
  (void)state;
  result a, b;
  link_result(&a);
  link_result(&b);
  b.out.low = b.out.high = NULL;
  mien_predict_options options = {.samples = 500, .seed = 1, .credible = 0.5};
  assert_int_equal(mien_predict(env, &options, 1, C, mu, logvar, &a.out, NULL), MIEN_OK);
  assert_int_equal(mien_predict(env, &options, 0, C, mu, logvar, &b.out, NULL), MIEN_OK);
  assert_true(a.p[0] != b.p[0]);
  assert_int_equal(mien_predict(env, &options, 1, C, mu, logvar, &b.out, NULL), MIEN_OK);
  assert_memory_equal(a.p, b.p, sizeof a.p);
  assert_memory_equal(a.sd, b.sd, sizeof a.sd);
}

static void one_sample_and_extreme_values(void **state) {
  (void)state;
  result r;
  link_result(&r);
  const float wild[C] = {88.0f, -200.0f, 1000.0f}, flat[C] = {-INFINITY, -INFINITY, -INFINITY};
  mien_predict_options options = {.samples = 1, .credible = 0.95};
  assert_int_equal(mien_predict(env, &options, 0, C, wild, flat, &r.out, NULL), MIEN_OK);
  assert_true(r.p[0] == 0 && r.p[2] == 1 && r.sd[2] == 0 && r.out.entropy == 0);
  const float broken[C] = {0, NAN, 0};
  options.samples = 10;
  assert_int_equal(mien_predict(env, &options, 0, C, broken, logvar, &r.out, NULL), MIEN_OK);
  for (int c = 0; c < C; c++) assert_true(isnan(r.p[c]) && isnan(r.low[c]) && isnan(r.high[c]));
  assert_true(isnan(r.out.entropy) && isnan(r.out.information));
}

static void arguments_are_checked(void **state) {
  (void)state;
  result r;
  link_result(&r);
  mien_error error = {0};
  mien_predict_options options = {.samples = -1, .credible = 0.9};
  assert_int_equal(mien_predict(env, &options, 0, C, mu, logvar, &r.out, &error), MIEN_INVALID_ARGUMENT);
  options.samples = 10;
  assert_int_equal(mien_predict(env, &options, 0, C, mu, NULL, &r.out, &error), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien_predict(env, &options, 0, 0, mu, logvar, &r.out, &error), MIEN_INVALID_ARGUMENT);
  const double bad[] = {0, 1, -1, 2, NAN};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    options.credible = bad[i];
    assert_int_equal(mien_predict(env, &options, 0, C, mu, logvar, &r.out, &error), MIEN_INVALID_ARGUMENT);
  }
  options.credible = 0.9;
  options.samples = INT64_MAX;
  r.p[0] = 123;
  assert_int_equal(mien_predict(env, &options, 0, C, mu, logvar, &r.out, &error), MIEN_LIMIT);
  assert_true(r.p[0] == 123);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(philox_known_answers),
                                     cmocka_unit_test(normals_are_normal),
                                     cmocka_unit_test(normals_depend_on_every_part_of_the_counter),
                                     cmocka_unit_test(zero_samples_is_softmax_of_mu),
                                     cmocka_unit_test(samples_match_mu_and_logvar),
                                     cmocka_unit_test(statistics_follow_their_definitions),
                                     cmocka_unit_test(the_same_bits_whatever_else_is_asked),
                                     cmocka_unit_test(one_sample_and_extreme_values),
                                     cmocka_unit_test(arguments_are_checked)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
