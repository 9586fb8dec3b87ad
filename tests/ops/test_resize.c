/* Resize and Upsample against the definition in double precision, one output element at a time. */
#include "op_test.h"

static uint64_t seed = 521288629u;
static int pick(int low, int high) { return low + (int)op_random(&seed, 0, high - low + 0.999999); }

static const char *const places[] = {"half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
                                     "align_corners", "asymmetric",           "tf_crop_and_resize"};
static const char *const modes[] = {"nearest", "linear", "cubic"};
static const char *const nearest_modes[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
enum { HALF, SYMMETRIC, TORCH, CORNERS, ASYMMETRIC, CROP };
enum { NEAREST, LINEAR, CUBIC };

typedef struct request {
  int place, mode, nearest;
  bool exclude_outside, antialias;
  double a, extrapolation;
  int64_t in[2], out[2];
  double scale[2], width[2], start[2], end[2];
} request;

static double coordinate(const request *r, int d, int64_t o) {
  double x = (double)o, in = (double)r->in[d], out = (double)r->out[d], scale = r->scale[d];
  switch (r->place) {
    case SYMMETRIC: return in / 2 * (1 - out / r->width[d]) + (x + 0.5) / scale - 0.5;
    case TORCH: return r->out[d] > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case CORNERS: return r->width[d] == 1 ? 0 : x * (in - 1) / (r->width[d] - 1);
    case ASYMMETRIC: return x / scale;
    case CROP:
      if (r->out[d] == 1) return 0.5 * (r->start[d] + r->end[d]) * (in - 1);
      return r->start[d] * (in - 1) + x * (r->end[d] - r->start[d]) * (in - 1) / (out - 1);
    default: return (x + 0.5) / scale - 0.5;
  }
}

static double kernel(const request *r, double t) {
  t = fabs(t);
  if (r->mode == LINEAR) return t < 1 ? 1 - t : 0;
  if (t <= 1) return (r->a + 2) * t * t * t - (r->a + 3) * t * t + 1;
  return t < 2 ? r->a * t * t * t - 5 * r->a * t * t + 8 * r->a * t - 4 * r->a : 0;
}

/* Weights of the input positions along one dimension; false: the element shows the extrapolation value. */
static bool weights(const request *r, int d, int64_t o, double *w) {
  double x = coordinate(r, d, o), sum = 0, squeeze = r->antialias && r->scale[d] < 1 ? r->scale[d] : 1;
  int64_t last = r->in[d] - 1;
  for (int64_t i = 0; i <= last; i++) w[i] = 0;
  if (r->place == CROP && (x < 0 || x > (double)last)) return false;
  if (r->mode == NEAREST) {
    double down = floor(x), part = x - down;
    bool up = part > 0 && (r->nearest == 0 ? part > 0.5 : r->nearest == 1 ? part >= 0.5 : r->nearest == 3);
    double at = down + up;
    w[at < 0 ? 0 : at > (double)last ? last : (int64_t)at] = 1;
    return true;
  }
  /* Wide enough for every kernel used here. */
  for (int64_t i = (int64_t)floor(x) - 40; i <= (int64_t)floor(x) + 40; i++) {
    double k = kernel(r, ((double)i - x) * squeeze);
    if (r->exclude_outside && (i < 0 || i > last)) continue;
    w[i < 0 ? 0 : i > last ? last : i] += k;
    sum += k;
  }
  for (int64_t i = 0; i <= last; i++) w[i] /= sum;
  return true;
}

static double element(const request *r, const double *x, int64_t o0, int64_t o1) {
  double w0[16], w1[16], sum = 0;
  if (!weights(r, 0, o0, w0) || !weights(r, 1, o1, w1)) return r->extrapolation;
  for (int64_t i = 0; i < r->in[0]; i++)
    for (int64_t j = 0; j < r->in[1]; j++)
      if (w0[i] != 0 && w1[j] != 0) sum += w0[i] * w1[j] * x[i * r->in[1] + j];
  return sum;
}

/* Nearest neighbours that rounding of the coordinate could change are no test. */
static bool ambiguous(const request *r) {
  for (int d = 0; d < 2 && r->mode == NEAREST; d++)
    for (int64_t o = 0; o < r->out[d]; o++) {
      double part = coordinate(r, d, o) * 2;
      bool exact = part == round(part) && ldexp(r->scale[d], 4) == floor(ldexp(r->scale[d], 4));
      if (fabs(part - round(part)) < 1e-4 && !exact) return true;
    }
  for (int d = 0; d < 2 && r->place == CROP; d++)
    for (int64_t o = 0; o < r->out[d]; o++) {
      double x = coordinate(r, d, o);
      if (fabs(x) < 1e-4 || fabs(x - (double)r->in[d] + 1) < 1e-4) return true;
    }
  return false;
}

static void make(request *r, int version) {
  static const double scales[] = {0.5, 2, 3, 0.25, 1.5, 1, 4, 0.75};
  memset(r, 0, sizeof *r);
  r->place = pick(0, 5);
  r->mode = pick(0, 2);
  r->nearest = pick(0, 3);
  r->exclude_outside = pick(0, 1) && r->mode != NEAREST;
  r->antialias = version >= 18 && pick(0, 1);
  r->a = pick(0, 1) ? -0.75 : -0.5;
  r->extrapolation = pick(0, 3);
  for (int d = 0; d < 2; d++) {
    do {
      r->in[d] = pick(1, 12);
      r->scale[d] = scales[pick(0, 7)];
      r->start[d] = pick(-2, 4) / 8.0;
      r->end[d] = pick(5, 10) / 8.0;
      double part = r->place == CROP ? r->end[d] - r->start[d] : 1;
      r->width[d] = (double)r->in[d] * r->scale[d];
      r->out[d] = (int64_t)floor((double)r->in[d] * part * r->scale[d]);
    } while (r->out[d] == 0);
  }
}

static void attributes(op_call *c, const request *r, int version) {
  op_attr_s(c, "mode", modes[r->mode]);
  op_attr_s(c, "coordinate_transformation_mode", places[r->place]);
  op_attr_s(c, "nearest_mode", nearest_modes[r->nearest]);
  op_attr_f(c, "cubic_coeff_a", (float)r->a);
  op_attr_f(c, "extrapolation_value", (float)r->extrapolation);
  op_attr_i(c, "exclude_outside", r->exclude_outside);
  if (version >= 18) op_attr_i(c, "antialias", r->antialias);
}

/* N x C x H x W, or with the resized dimensions first, in the middle, or last. */
static void one_resize(mien_env *env, bool by_size) {
  static const int versions[] = {11, 13, 18, 19};
  int version = versions[pick(0, 3)];
  int64_t piece = pick(0, 3), outer = pick(1, 2), inner = pick(0, 1) ? pick(1, 3) : 1;
  request r;
  do make(&r, version);
  while (ambiguous(&r) || (by_size && r.place == CROP));
  op_call c = {.name = "Resize", .version = version, .piece = piece};
  float x[2 * 12 * 12 * 3];
  double plane[144], want[48 * 48];
  int64_t size = r.in[0] * r.in[1], count = r.out[0] * r.out[1];
  for (int64_t i = 0; i < outer * size * inner; i++) x[i] = (float)pick(-50, 50);
  op_in(&c, MIEN_F32, 4, OP_DIMS(outer, r.in[0], r.in[1], inner), x);
  const float roi[] = {0, (float)r.start[0], (float)r.start[1], 0, 1, (float)r.end[0], (float)r.end[1], 1};
  const float scales[] = {1, (float)r.scale[0], (float)r.scale[1], 1};
  if (r.place == CROP)
    op_in(&c, MIEN_F32, 1, OP_DIMS(8), roi);
  else if (version == 11)
    op_in(&c, MIEN_F32, 1, OP_DIMS(0), NULL);
  else
    op_absent(&c);
  if (by_size) {
    op_absent(&c);
    op_in(&c, MIEN_I64, 1, OP_DIMS(4), OP_DIMS(outer, r.out[0], r.out[1], inner));
    for (int d = 0; d < 2; d++) {
      r.scale[d] = (double)r.out[d] / (double)r.in[d];
      r.width[d] = (double)r.out[d];
    }
  } else {
    op_in(&c, MIEN_F32, 1, OP_DIMS(4), scales);
  }
  attributes(&c, &r, version);
  if (!ambiguous(&r)) {
    op_run_ok(env, &c);
    assert_true(c.out[0].type.dim[1] == r.out[0] && c.out[0].type.dim[2] == r.out[1]);
    for (int64_t b = 0; b < outer; b++)
      for (int64_t k = 0; k < inner; k++) {
        double got[48 * 48];
        for (int64_t i = 0; i < size; i++) plane[i] = x[(b * size + i) * inner + k];
        for (int64_t i = 0; i < count; i++) {
          want[i] = element(&r, plane, i / r.out[1], i % r.out[1]);
          got[i] = ((const float *)c.out[0].data)[(b * count + i) * inner + k];
        }
        mien_tensor t = {op_type(MIEN_F64, 1, OP_DIMS(count)), got, sizeof got};
        op_expect(&t, want, count, 2e-3, 1e-4);
      }
  }
  op_free(&c);
}

static void test_resize(void **state) {
  for (int round = 0; round < 3000; round++) one_resize(*state, round % 2);
}

/* ---- written out by hand */

static void nearest_line(mien_env *env, const char *op, int version, float scale, int64_t in, const double *want,
                         int64_t out) {
  op_call c = {.name = op, .version = version};
  const float scales[] = {1, 1, 1, scale}, x[] = {1, 2, 3, 4};
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 1, 1, in), x);
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), scales);
  op_run_ok(env, &c);
  assert_int_equal(c.out[0].type.dim[3], out);
  op_expect(&c.out[0], want, out, 0, 0);
  op_free(&c);
}

static void test_old_versions(void **state) {
  const double twice[] = {1, 1, 2, 2, 3, 3, 4, 4}, shrunk[] = {1, 3}, half[] = {1, 3};
  nearest_line(*state, "Upsample", 9, 2, 4, twice, 8);
  nearest_line(*state, "Resize", 10, 2, 4, twice, 8);
  nearest_line(*state, "Resize", 10, 0.6f, 4, shrunk, 2);
  nearest_line(*state, "Resize", 10, 0.5f, 4, half, 2);
  op_call c = {.name = "Upsample", .version = 7};
  const double linear[] = {1, 1.5, 2, 2};
  float scales[] = {1, 1, 2};
  op_in(&c, MIEN_F32, 3, OP_DIMS(1, 1, 2), (const float[]){1, 2});
  op_attr_s(&c, "mode", "linear");
  c.attrs[c.attr_count++] = (mien__attr_value){.name = "scales", .kind = 'F', .count = 3, .floats = scales};
  op_run_ok(*state, &c);
  op_expect(&c.out[0], linear, 4, 0, 0);
  op_free(&c);
}

static void test_axes_and_policy(void **state) {
  static const struct {
    const char *policy;
    int64_t sizes[2], want[2];
  } rows[] = {{"stretch", {7, 8}, {7, 8}},
              {"not_larger", {7, 8}, {4, 8}},
              {"not_smaller", {7, 8}, {7, 14}},
              {"not_larger", {3, 2}, {1, 2}},
              {"stretch", {0, 2}, {0, 2}}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    op_call c = {.name = "Resize", .version = 18};
    op_in(&c, MIEN_F32, 3, OP_DIMS(2, 2, 4), NULL);
    op_absent(&c);
    op_absent(&c);
    op_in(&c, MIEN_I64, 1, OP_DIMS(2), OP_DIMS(rows[i].sizes[1], rows[i].sizes[0]));
    op_attr_ints(&c, "axes", OP_DIMS(-1, 1), 2);
    op_attr_s(&c, "keep_aspect_ratio_policy", rows[i].policy);
    op_run_ok(*state, &c);
    assert_true(c.out[0].type.dim[0] == 2 && c.out[0].type.dim[1] == rows[i].want[0] &&
                c.out[0].type.dim[2] == rows[i].want[1]);
    op_free(&c);
  }
}

/* Integers lose their fraction and stay in their range. */
static void test_integers(void **state) {
  const double want[] = {0, 2, 7, 10};
  op_call c = {.name = "Resize", .version = 13};
  op_in(&c, MIEN_I32, 1, OP_DIMS(2), (const int32_t[]){0, 10});
  op_absent(&c);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (const float[]){2});
  op_attr_s(&c, "mode", "linear");
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 4, 0, 0);
  op_free(&c);
  c = (op_call){.name = "Resize", .version = 13};
  op_in(&c, MIEN_U8, 1, OP_DIMS(6), (const uint8_t[]){255, 255, 255, 0, 0, 0});
  op_absent(&c);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (const float[]){2});
  op_attr_s(&c, "mode", "cubic");
  op_run_ok(*state, &c);
  const uint8_t *y = c.out[0].data;
  for (int i = 0; i < 3; i++) assert_true(y[2 * i] >= 250 && y[11 - 2 * i] <= 5);
  op_free(&c);
}

/* NaN stays where its weight is not 0. */
static void test_nan(void **state) {
  op_call c = {.name = "Resize", .version = 13};
  const double want[] = {1, 1, NAN, NAN, 3, 3};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), (const float[]){1, NAN, 3});
  op_absent(&c);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (const float[]){2});
  op_attr_s(&c, "coordinate_transformation_mode", "asymmetric");
  op_attr_s(&c, "nearest_mode", "floor");
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 6, 0, 0);
  op_free(&c);
}

static void test_refuses(void **state) {
  static const float bad[] = {0, -1, NAN, 1e30f, INFINITY};
  for (int i = 0; i < 5; i++) {
    op_call c = {.name = "Resize", .version = 13};
    op_in(&c, MIEN_F32, 1, OP_DIMS(4), NULL);
    op_absent(&c);
    op_in(&c, MIEN_F32, 1, OP_DIMS(1), &bad[i]);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
  op_call c = {.name = "Resize", .version = 13}; /* roi missing */
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), NULL);
  op_absent(&c);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (const float[]){2});
  op_attr_s(&c, "coordinate_transformation_mode", "tf_crop_and_resize");
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "Resize", .version = 13}; /* neither */
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "Resize", .version = 13}; /* nothing to take from */
  op_in(&c, MIEN_F32, 1, OP_DIMS(0), NULL);
  op_absent(&c);
  op_absent(&c);
  op_in(&c, MIEN_I64, 1, OP_DIMS(1), OP_DIMS(3));
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "Resize", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), NULL);
  op_absent(&c);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (const float[]){2});
  op_attr_s(&c, "mode", "quintic");
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "quintic"));
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_resize),   cmocka_unit_test(test_old_versions), cmocka_unit_test(test_axes_and_policy),
      cmocka_unit_test(test_integers), cmocka_unit_test(test_nan),          cmocka_unit_test(test_refuses),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
