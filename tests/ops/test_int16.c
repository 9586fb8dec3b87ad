/* Products of 16-bit integers: the steps that numbers are rounded by, sums against exact ones of the same integers and against those
** of the numbers, infinities and NaN where double precision has them; the same bits on any number of threads and in any batch. */
#include "ops/isa.h"
#include "ops/reference.h"

enum { BLOCK = 512, KINDS = 7 };
static const double LARGEST_SUM = 2147483647;

/* Even; near 0 but for one; one number alone; all equal; small; large; none. */
static float number(uint64_t *seed, int kind, int64_t at) {
  const float x = (float)op_random(seed, -1, 1);
  switch (kind) {
    case 1: return at % BLOCK == 7 ? 30 : x;
    case 2: return at == 3 ? x : 0;
    case 3: return 0.7f;
    case 4: return x * 0x1p-122f;
    case 5: return x * 1e34f;
    case 6: return 0;
    default: return x;
  }
}

/* Element at of an operand that begins at `first`, `step` elements apart; *unit: of its block. */
static int integer_of(const float *first, int64_t step, int64_t at, double *unit) {
  const float *block = first + at / BLOCK * (1 + BLOCK / 2) * step;
  int16_t pair[2];
  memcpy(pair, block + (1 + at % BLOCK / 2) * step, sizeof pair);
  *unit = (double)*block;
  return pair[at & 1];
}

/* ---- rounding */

static void rounding_one(const mien_gemm16 *g, int64_t k, int kind) {
  const int64_t elements = g->elements(k);
  uint64_t seed = (uint64_t)(k + kind);
  float *x = malloc((size_t)(k + 1) * sizeof *x), *to = malloc((size_t)elements * sizeof *to); /* valgrind looks on */
  for (int64_t i = 0; i < k; i++) x[i] = number(&seed, kind, i);
  g->round(x, k, to);
  for (int64_t from = 0; from < k; from += BLOCK) {
    const int64_t count = k - from < BLOCK ? k - from : BLOCK;
    double norm = 0, sum = 0, largest = 0, unit = 0;
    for (int64_t i = from; i < from + count; i++) {
      const int q = integer_of(to, 1, i, &unit);
      norm += (double)x[i] * (double)x[i];
      largest = fmax(largest, fabs((double)x[i]));
      sum += (double)q * q;
      assert_true(abs(q) <= 32767);
      if (unit > 0 ? fabs((double)x[i] - q * unit) > unit * 0.501 : q != 0 || fabs((double)x[i]) > 0x1p-109)
        fail_msg("kind %d: %a as %d times %a", kind, (double)x[i], q, unit);
    }
    assert_true(sum <= LARGEST_SUM);
    assert_true(unit <= 1.001 * fmax(sqrt(norm) / 46300, largest / 32767)); /* no bit is given away */
    if (count & 1) assert_int_equal(integer_of(to, 1, from + count, &unit), 0);
  }
  free(x), free(to);
}
static void rounding_body(mien_env *env) {
  const mien_gemm16 *g = env->host.math->int16;
  assert_int_equal(g->elements(0), 2);
  assert_int_equal(g->elements(1), 2);
  assert_int_equal(g->elements(512), 257);
  assert_int_equal(g->elements(513), 259);
  static const int64_t more[] = {127, 128, 511, 512, 513, 1023, 1025, 1600};
  for (int kind = 0; kind < KINDS; kind++) {
    for (int64_t k = 0; k <= 67; k++) rounding_one(g, k, kind);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) rounding_one(g, more[i], kind);
  }
}
static void test_rounding(void **state) { (void)state, isa_each(rounding_body); }

/* ---- products */

typedef struct operands {
  int64_t rows, columns, pieces, length, elements, k;
  float *x, *b;     /* [rows][k], [k][columns] */
  float *a, *right; /* rounded: of a row, piece by piece; packed */
  const float **at; /* [pieces][rows] */
  float *y;         /* [rows][columns] */
} operands;

static void operands_make(const mien_math *m, operands *o, int kind) {
  const mien_gemm16 *g = m->int16;
  const int64_t width = m->gemm_columns;
  o->elements = g->elements(o->length);
  o->k = o->pieces * o->length;
  uint64_t seed = (uint64_t)(o->rows * 1000 + o->columns * 10 + o->k + kind);
  o->x = calloc((size_t)(o->rows * o->k) + 1, sizeof *o->x);
  o->b = calloc((size_t)(o->k * o->columns) + 1, sizeof *o->b);
  o->a = calloc((size_t)(o->rows * o->pieces * o->elements), sizeof *o->a);
  o->right = calloc(m->gemm_pack_bytes(o->pieces * o->elements, o->columns), 1);
  o->at = calloc((size_t)(o->rows * o->pieces), sizeof *o->at);
  o->y = calloc((size_t)(o->rows * o->columns), sizeof *o->y);
  for (int64_t i = 0; i < o->rows * o->k; i++) o->x[i] = number(&seed, kind == 5 ? 0 : kind, i % o->length);
  for (int64_t i = 0; i < o->k * o->columns; i++)
    o->b[i] = number(&seed, kind == 4 ? 0 : kind, i / o->columns % o->length);
  for (int64_t i = 0; i < o->rows; i++)
    for (int64_t t = 0; t < o->pieces; t++) {
      float *to = o->a + (i * o->pieces + t) * o->elements;
      g->round(o->x + i * o->k + t * o->length, o->length, to);
      o->at[t * o->rows + i] = to;
    }
  for (int64_t j = 0; j < o->columns; j += width)
    for (int64_t t = 0; t < o->pieces; t++)
      g->pack(o->length, o->columns - j < width ? o->columns - j : width, o->b + t * o->length * o->columns + j,
              o->columns, 1, o->right + (j * o->pieces + t * width) * o->elements);
}
static void operands_free(operands *o) { free(o->x), free(o->b), free(o->a), free(o->right), free(o->at), free(o->y); }

/* Blocks' sums of integers are exact, below 2^31, and then floats, of which products of steps near 2^-126 lose bits; the numbers' own
** sum is as far as rounding lets it be. */
static void expect_sum(const mien_math *m, const operands *o, int64_t i, int64_t j) {
  const int64_t panel = j / m->gemm_columns * m->gemm_columns;
  double of_integers = 0, of_numbers = 0, size = 0, error = 0;
  for (int64_t t = 0; t < o->pieces; t++)
    for (int64_t from = 0; from < o->length; from += BLOCK) {
      const float *left = o->at[t * o->rows + i];
      const float *right = o->right + (panel * o->pieces + t * m->gemm_columns) * o->elements + j - panel;
      const int64_t count = o->length - from < BLOCK ? o->length - from : BLOCK;
      double u = 0, v = 0, sum = 0, a2 = 0, b2 = 0;
      for (int64_t p = from; p < from + count; p++) {
        const double a = (double)o->x[i * o->k + t * o->length + p],
                     b = (double)o->b[(t * o->length + p) * o->columns + j];
        const double q = integer_of(left, 1, p, &u), w = integer_of(right, m->gemm_columns, p, &v);
        assert_true(v == 0 || fabs(b - w * v) <= 1.001 * v);
        assert_true(b == 0 ? w == 0 : w != 0);
        sum += q * w;
        of_numbers += a * b;
        a2 += a * a, b2 += b * b;
      }
      assert_true(fabs(sum) <= LARGEST_SUM);
      of_integers += sum * u * v;
      size += fabs(sum * u * v);
      error += sqrt((double)count) * (sqrt(a2) * v + sqrt(b2) * u / 2) + (double)count * u * v;
    }
  const double y = (double)o->y[i * o->columns + j], small = 0x1p-95;
  if (fabs(y - of_integers) > 1e-6 * size + small) fail_msg("%s: %g, expected %g", m->isa, y, of_integers);
  if (fabs(y - of_numbers) > error + 1e-6 * size + small) fail_msg("%s: %g of %g", m->isa, y, of_numbers);
}

static void products_body(mien_env *env) {
  static const int64_t sizes[][4] = {{1, 1, 1, 1},     {1, 33, 1, 2},    {2, 7, 1, 67},    {3, 31, 9, 3},
                                     {5, 65, 4, 16},   {7, 16, 1, 65},   {14, 32, 2, 8},   {29, 20, 1, 33},
                                     {15, 9, 9, 7},    {13, 64, 1, 12},  {6, 5, 1, 1601},  {33, 3, 3, 5},
                                     {9, 40, 1, 512},  {16, 1, 25, 1},   {4, 12, 2, 1000}, {3, 5, 1, 513},
                                     {2, 40, 1, 4096}, {15, 33, 3, 700}, {1, 2, 1, 0},     {200, 48, 1, 1100}};
  const mien_math *m = env->host.math;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int kind = 0; kind < KINDS; kind++) {
      operands o = {.rows = sizes[i][0], .columns = sizes[i][1], .pieces = sizes[i][2], .length = sizes[i][3]};
      operands_make(m, &o, kind);
      const mien_pieces left = {.rows = o.at, .stride = o.rows, .count = o.pieces, .length = o.elements, .step = 1};
      m->int16->gemm(o.rows, o.columns, &left, o.right, o.y, o.columns, 1, 0, o.columns, NULL);
      for (int64_t r = 0; r<o.rows; r += o.rows> 50 ? 17 : 1)
        for (int64_t j = 0; j < o.columns; j++) expect_sum(m, &o, r, j);
      float *one = malloc((size_t)o.columns * sizeof *one); /* rows and columns as alone */
      for (int64_t r = 0; r < o.rows; r += 1 + o.rows / 3) {
        const mien_pieces row = {
            .rows = o.at + r, .stride = o.rows, .count = o.pieces, .length = o.elements, .step = 1};
        m->int16->gemm(1, o.columns, &row, o.right, one, o.columns, 1, 0, o.columns, NULL);
        assert_memory_equal(one, o.y + r * o.columns, (size_t)o.columns * sizeof *one);
      }
      free(one);
      operands_free(&o);
    }
}
static void test_products(void **state) { (void)state, isa_each(products_body); }

/* ---- mien.Linear */

static void expect_like(float y, double want, double tolerance) {
  const bool same = isnan(want) ? isnan(y) : isinf(want) ? (double)y == want : fabs((double)y - want) <= tolerance;
  if (!same) fail_msg("%g, expected %g", (double)y, want);
}

/* special: how many elements of X are infinite or NaN, wherever they fall. */
static void linear_one(mien_env *env, const int64_t *size, bool trans, const char *act, int special) {
  static const float specials[] = {INFINITY, -INFINITY, INFINITY, NAN};
  const int64_t m = size[0], n = size[1], k = size[2];
  uint64_t seed = (uint64_t)(m + n + k + special);
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "int16", 1);
  op_attr_i(&c, "trans_w", trans);
  op_attr_s(&c, "activation", act);
  float *x = isa_in(&c, 3, OP_DIMS(1, m, k), &seed);
  float *w = isa_in(&c, 2, trans ? OP_DIMS(n, k) : OP_DIMS(k, n), &seed);
  for (int64_t i = 0; i < k * n; i++)
    if (i % 11 == 0) w[i] = i % 2 ? 0 : 1e-9f; /* so small that it is 0 as an integer, and has a sign */
  for (int i = 0; i < special && m * k > 0; i++)
    x[(int64_t)op_random(&seed, 0, (double)(m * k))] = specials[i % (special > 6 ? 4 : 3)];
  const float *bias = isa_in(&c, 1, OP_DIMS(n), &seed);
  isa_run_all(env, &c, -1);
  const float *y = c.out[0].data;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = (double)bias[j];
      for (int64_t p = 0; p < k; p++) sum += (double)x[i * k + p] * (double)(trans ? w[j * k + p] : w[p * n + j]);
      expect_like(y[i * n + j], reference_activation(act, sum, 0, 0, 0), 1e-5 + 5e-4 * sqrt((double)k));
    }
  op_free(&c);
}

static void linear_body(mien_env *env) {
  static const int64_t sizes[][3] = {{1, 7, 33}, {15, 64, 20}, {29, 67, 5}, {3, 33, 64}, {50, 16, 1},   {2, 1, 2},
                                     {0, 4, 3},  {3, 0, 4},    {3, 5, 0},   {3, 40, 0},  {17, 100, 701}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int trans = 0; trans < 2; trans++)
      for (int special = 0; special < 9; special += 4) linear_one(env, sizes[i], trans, trans ? "Relu" : "", special);
}
static void test_linear(void **state) { (void)state, isa_each(linear_body); }

/* W of float16 is widened; rows that are taken in parts are as alone. */
static void linear_rows_body(mien_env *env) {
  enum { ROWS = 700, K = 2000 };
  uint64_t seed = 8;
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "int16", 1);
  const float *x = isa_in(&c, 2, OP_DIMS(ROWS, K), &seed);
  float w[K * 3];
  uint16_t *half = op_in(&c, MIEN_F16, 2, OP_DIMS(K, 3), NULL);
  for (int i = 0; i < K * 3; i++) {
    half[i] = mien__f32_to_f16((float)op_random(&seed, -1, 1));
    w[i] = mien__f16_to_f32(half[i]);
  }
  isa_run_all(env, &c, -1);
  const float *y = c.out[0].data;
  for (int64_t i = 0; i < ROWS; i += 233)
    for (int j = 0; j < 3; j++) {
      double sum = 0;
      for (int64_t p = 0; p < K; p++) sum += (double)x[i * K + p] * (double)w[p * 3 + j];
      expect_like(y[i * 3 + j], sum, 5e-4 * sqrt((double)K));
    }
  isa_rows_alone(env, &c, 233);
  op_free(&c);
}
static void test_linear_rows(void **state) { (void)state, isa_each(linear_rows_body); }

static void refused(mien_env *env, int32_t dtype, bool variable, bool panels, float first, mien_status code,
                    const char *text) {
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "int16", 1);
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
  void *w = panels ? op_in(&c, dtype, 3, OP_DIMS(1, 3, 4), NULL) : op_in(&c, dtype, 2, OP_DIMS(3, 4), NULL);
  if (dtype == MIEN_F32) memcpy(w, &first, sizeof first);
  c.variable[1] = variable;
  assert_int_equal(op_run(env, &c), code);
  if (!strstr(c.error.message, text)) print_error("%s\n", c.error.message);
  assert_non_null(strstr(c.error.message, text));
  op_free(&c);
}
static void test_refused(void **state) {
  refused(*state, MIEN_BF16, false, false, 1, MIEN_INVALID_MODEL, "input W is bfloat16, expected float16 or float32");
  refused(*state, MIEN_F32, false, true, 1, MIEN_INVALID_MODEL, "input W is in panels");
  refused(*state, MIEN_F32, true, false, 1, MIEN_UNSUPPORTED, "input W is computed, expected a constant");
  refused(*state, MIEN_F32, false, false, INFINITY, MIEN_INVALID_MODEL, "not finite, which int16 cannot hold");
}

#define WITH_ENV(f) cmocka_unit_test_setup_teardown(f, op_env_setup, op_env_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rounding),    cmocka_unit_test(test_products), cmocka_unit_test(test_linear),
      cmocka_unit_test(test_linear_rows), WITH_ENV(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
