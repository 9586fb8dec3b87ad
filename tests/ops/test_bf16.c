/* Products of bfloat16: on every instruction set the bits that vdpbf16ps is documented to give, worked out here one element after
** another in double precision; NaNs in the same places; the same bits on any number of threads and in any batch. */
#include "ops/isa.h"
#include "ops/reference.h"

static float wide(uint16_t x) {
  const float f = reference_float((uint32_t)x << 16);
  return fabsf(f) < 0x1p-126f ? copysignf(0, f) : f;
}

/* sum + a * b rounded once to 24 bits, whatever the exponent; then subnormals become zero. */
static float fused(float a, float b, float sum) {
  const double product = (double)a * (double)b; /* exact */
  if (!isfinite(product) || !isfinite(sum)) return (float)(product + (double)sum);
  /* Rounding to odd keeps the second rounding right: the error of the sum, by Knuth. */
  double exact = product + (double)sum;
  const double part = exact - product, error = (product - (exact - part)) + ((double)sum - part);
  uint64_t u;
  memcpy(&u, &exact, sizeof u);
  if (error != 0 && (u & 1) == 0) exact = nextafter(exact, error > 0 ? INFINITY : -INFINITY);
  int exponent = 0;
  const double mantissa = frexp(exact, &exponent);
  const double rounded = ldexp(rint(ldexp(mantissa, 24)), exponent - 24);
  return fabs(rounded) < 0x1p-126 ? copysignf(0, (float)exact) : (float)rounded;
}

static float dot(int64_t count, const uint16_t *a, const uint16_t *b, int64_t step) {
  float sum = 0;
  for (int64_t p = 0; p < count; p += 2) {
    if (p + 1 < count)
      sum = fused(wide(a[p + 1]), wide(b[(p + 1) * step]), sum);
    else
      sum = fused(0, 0, sum);
    sum = fused(wide(a[p]), wide(b[p * step]), sum);
  }
  return sum;
}

static void expect_bits(const mien_math *m, float got, float want) {
  if (isnan(got) && isnan(want)) return;
  if (reference_bits(got) != reference_bits(want))
    print_error("%s: %a, expected %a\n", m->isa, (double)got, (double)want);
  assert_int_equal(reference_bits(got), reference_bits(want));
}

/* Numbers of one order of magnitude; near the smallest; anything; mostly special. */
static uint32_t number(uint64_t *seed, int kind) {
  static const uint32_t special[] = {0,           0x80000000u, 0x7f800000u, 0xff800000u, 0x7fc00000u,
                                     0x7f810000u, 1,           0x007fffff,  0x00800000,  0x00810000,
                                     0x7f7fffff,  0x3f800000,  0x00400000,  0x80010000u};
  const uint32_t r = (uint32_t)(op_random(seed, 0, 4294967296.0)), pick = (uint32_t)op_random(seed, 0, 14);
  if (kind == 0) return (r & 0x807fffffu) | (120 + pick % 12) << 23;
  if (kind == 1) return (r & 0x807fffffu) | (56 + pick) << 23; /* products about 2^-126 */
  if (kind == 2) return r;
  return op_random(seed, 0, 1) < 0.8 ? special[pick] : r;
}

/* ---- the kernel */

static void product_one(const mien_math *m, int64_t rows, int64_t columns, int64_t pieces, int64_t length, int kind) {
  const int64_t pairs = (length + 1) / 2, k = pieces * length;
  uint64_t seed = (uint64_t)(rows * 1000 + columns * 10 + k + kind);
  float *x = calloc((size_t)(rows * k), sizeof *x), *y = calloc((size_t)(rows * columns), sizeof *y);
  uint16_t *a = calloc((size_t)(rows * pieces * pairs * 2), sizeof *a), *b = calloc((size_t)(k * columns), sizeof *b);
  uint16_t *flat = calloc((size_t)(k + pieces), sizeof *flat), *right = calloc((size_t)(k + pieces), sizeof *right);
  const float **at = calloc((size_t)(rows * pieces), sizeof *at);
  char *packed = calloc(m->gemm_pack_bytes(pieces * pairs, columns), 1);
  for (int64_t i = 0; i < rows * k; i++) x[i] = reference_float(number(&seed, kind));
  for (int64_t i = 0; i < k * columns; i++) b[i] = (uint16_t)(number(&seed, kind) >> 16);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t t = 0; t < pieces; t++) {
      uint16_t *to = a + (i * pieces + t) * pairs * 2;
      m->bf16->round(x + i * k + t * length, length, (float *)(void *)to);
      at[t * rows + i] = (const float *)(const void *)to;
    }
  const int64_t width = m->gemm_columns;
  for (int64_t j = 0; j < columns; j += width)
    for (int64_t t = 0; t < pieces; t++)
      m->bf16->pack(length, columns - j < width ? columns - j : width, b + t * length * columns + j, columns, 1,
                    packed + (size_t)(j * pieces * pairs + t * pairs * width) * sizeof(float));
  const mien_pieces left = {.rows = at, .stride = rows, .count = pieces, .length = pairs, .step = 1};
  m->bf16->gemm(rows, columns, &left, packed, y, columns, 1, 0, columns, NULL);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      /* Pieces of odd length end in a zero of their own. */
      const int64_t even = 2 * pairs;
      memset(right, 0, (size_t)(k + pieces) * sizeof *right);
      for (int64_t t = 0; t < pieces; t++)
        for (int64_t p = 0; p < even; p++) {
          flat[t * even + p] = a[(i * pieces + t) * even + p];
          if (p < length) right[t * even + p] = b[(t * length + p) * columns + j];
        }
      expect_bits(m, y[i * columns + j], dot(pieces * even, flat, right, 1));
    }
  free(x), free(y), free(a), free(b), free(flat), free(right), free(at), free(packed);
}

static void products_body(mien_env *env) {
  static const int64_t sizes[][4] = {{1, 1, 1, 1},    {1, 33, 1, 2},   {2, 7, 1, 67},   {3, 31, 9, 3},
                                     {5, 65, 4, 16},  {7, 16, 1, 65},  {14, 32, 2, 8},  {29, 20, 1, 33},
                                     {15, 9, 9, 7},   {13, 64, 1, 12}, {6, 5, 1, 1601}, {33, 3, 3, 5},
                                     {9, 40, 1, 128}, {16, 1, 25, 1},  {4, 12, 2, 1000}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int kind = 0; kind < 4; kind++)
      product_one(env->host.math, sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3], kind);
}
static void test_products(void **state) { (void)state, isa_each(products_body); }

/* Rows 4096 bytes apart, and so many that they are taken in blocks: as alone. */
static void blocks_body(mien_env *env) {
  enum { ROWS = 530, K = 2048, COLUMNS = 40 };
  const mien_math *m = env->host.math;
  uint64_t seed = 5;
  uint16_t *a = calloc((size_t)ROWS * K, sizeof *a), *b = calloc((size_t)K * COLUMNS, sizeof *b);
  float *y = calloc((size_t)ROWS * COLUMNS, sizeof *y), one[COLUMNS];
  void *packed = malloc(m->gemm_pack_bytes(K / 2, COLUMNS));
  const float **at = calloc(ROWS, sizeof *at);
  for (int64_t i = 0; i < ROWS * K; i++) a[i] = (uint16_t)(number(&seed, 0) >> 16);
  for (int64_t i = 0; i < K * COLUMNS; i++) b[i] = (uint16_t)(number(&seed, 0) >> 16);
  for (int64_t i = 0; i < ROWS; i++) at[i] = (const float *)(const void *)(a + i * K);
  m->bf16->pack(K, COLUMNS, b, COLUMNS, 1, packed);
  const mien_pieces all = {.rows = at, .stride = 0, .count = 1, .length = K / 2, .step = 1};
  m->bf16->gemm(ROWS, COLUMNS, &all, packed, y, COLUMNS, 1, 0, COLUMNS, NULL);
  for (int64_t i = 0; i < ROWS; i += 53) {
    const mien_pieces row = {.rows = at + i, .stride = 0, .count = 1, .length = K / 2, .step = 1};
    m->bf16->gemm(1, COLUMNS, &row, packed, one, COLUMNS, 1, 0, COLUMNS, NULL);
    assert_memory_equal(one, y + i * COLUMNS, sizeof one);
    expect_bits(m, one[COLUMNS - 1], dot(K, a + i * K, b + COLUMNS - 1, COLUMNS));
  }
  free(a), free(b), free(y), free(packed), free(at);
}
static void test_blocks(void **state) { (void)state, isa_each(blocks_body); }

static void rounding_body(mien_env *env) {
  static const struct {
    uint32_t x;
    uint16_t y;
  } known[] = {{0x3f800000, 0x3f80},
               {0x3f808000, 0x3f80},
               {0x3f818000, 0x3f82},
               {0x3f808001, 0x3f81},
               {0xbf80ffff, 0xbf81},
               {0x7f7fffff, 0x7f80},
               {0xff7f7fff, 0xff7f},
               {0x7f800000, 0x7f80},
               {0x7f800001, 0x7fc0},
               {0xffc12345, 0xffc1},
               {0, 0},
               {0x80000000u, 0x8000},
               {0x007fffff, 0},
               {0x80000001u, 0x8000},
               {0x00800000, 0x0080},
               {0x00808000, 0x0080},
               {0x477fffff, 0x4780}};
  enum { COUNT = sizeof known / sizeof *known, LONGEST = 3 * COUNT };
  for (int count = 1; count <= LONGEST; count++) { /* each number in a vector's body and in its tail */
    float x[LONGEST];
    uint16_t y[LONGEST + 2];
    for (int i = 0; i < count; i++) x[i] = reference_float(known[(i + count) % COUNT].x);
    memset(y, 0xee, sizeof y);
    env->host.math->bf16->round(x, count, (float *)(void *)y);
    for (int i = 0; i < count; i++) assert_int_equal(y[i], known[(i + count) % COUNT].y);
    assert_int_equal(y[count], count % 2 ? 0 : 0xeeee);
    assert_int_equal(y[count + 1], 0xeeee);
  }
}
static void test_rounding(void **state) { (void)state, isa_each(rounding_body); }

/* ---- mien.Linear */

static uint16_t *bf16_in(op_call *c, int rank, const int64_t *dims, uint64_t *seed) {
  uint16_t *w = op_in(c, MIEN_BF16, rank, dims, NULL);
  const int64_t count = mien_count(&c->in[c->in_count - 1].type);
  for (int64_t i = 0; i < count; i++) w[i] = mien__f32_to_bf16((float)op_random(seed, -1, 1));
  return w;
}

/* Same bits on any number of threads. */
static void run_all(mien_env *env, op_call *c) {
  op_run_ok(env, c);
  const size_t bytes = c->out[0].bytes;
  void *first = malloc(bytes + 1);
  assert_non_null(first);
  if (bytes) memcpy(first, c->out[0].data, bytes);
  for (c->threads = 1; c->threads <= 3; c->threads++) {
    op_run_ok(env, c);
    if (bytes) assert_memory_equal(first, c->out[0].data, bytes);
  }
  c->threads = 0;
  free(first);
}

static void linear_one(mien_env *env, int64_t m, int64_t n, int64_t k, bool trans, const char *act) {
  uint64_t seed = (uint64_t)(m + n + k);
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "trans_w", trans);
  op_attr_s(&c, "activation", act);
  const float *x = isa_in(&c, 3, OP_DIMS(1, m, k), &seed);
  const uint16_t *w = bf16_in(&c, 2, trans ? OP_DIMS(n, k) : OP_DIMS(k, n), &seed);
  const float *bias = isa_in(&c, 1, OP_DIMS(n), &seed);
  run_all(env, &c);
  const float *y = c.out[0].data;
  uint16_t *row = calloc((size_t)k + 1, sizeof *row);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t p = 0; p < k; p++) row[p] = mien__f32_to_bf16(x[i * k + p]);
    for (int64_t j = 0; j < n; j++) {
      const float sum = dot(k, row, trans ? w + j * k : w + j, trans ? 1 : n) + bias[j];
      expect_bits(env->host.math, y[i * n + j], *act && sum < 0 ? 0 : sum);
    }
  }
  free(row);
  op_free(&c);
}

static void linear_body(mien_env *env) {
  static const int64_t sizes[][3] = {{1, 7, 33}, {15, 64, 20}, {29, 67, 5}, {3, 33, 64}, {50, 16, 1},
                                     {2, 1, 2},  {0, 4, 3},    {3, 0, 4},   {3, 5, 0},   {17, 100, 301}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    for (int trans = 0; trans < 2; trans++)
      linear_one(env, sizes[i][0], sizes[i][1], sizes[i][2], trans, trans ? "Relu" : "");
}
static void test_linear(void **state) { (void)state, isa_each(linear_body); }

/* More rows than are rounded at once. */
static void linear_rows_body(mien_env *env) {
  enum { ROWS = 700, K = 2000 };
  uint64_t seed = 8;
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  isa_in(&c, 2, OP_DIMS(ROWS, K), &seed);
  bf16_in(&c, 2, OP_DIMS(K, 3), &seed);
  run_all(env, &c);
  isa_rows_alone(env, &c, 233);
  op_free(&c);
}
static void test_linear_rows(void **state) { (void)state, isa_each(linear_rows_body); }

static void test_linear_refused(void **state) {
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
  op_in(&c, MIEN_BF16, 2, OP_DIMS(3, 4), NULL);
  c.variable[1] = true;
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  assert_non_null(strstr(c.error.message, "input W is computed and of a half type, expected a constant or float32"));
  op_free(&c);
  op_call d = {.domain = "mien", .name = "Linear", .version = 1};
  op_in(&d, MIEN_BF16, 2, OP_DIMS(2, 3), NULL);
  op_in(&d, MIEN_BF16, 2, OP_DIMS(3, 4), NULL);
  assert_int_equal(op_run(*state, &d), MIEN_UNSUPPORTED);
  op_free(&d);
}

#define WITH_ENV(f) cmocka_unit_test_setup_teardown(f, op_env_setup, op_env_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_products), cmocka_unit_test(test_blocks),      cmocka_unit_test(test_rounding),
      cmocka_unit_test(test_linear),   cmocka_unit_test(test_linear_rows), WITH_ENV(test_linear_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
