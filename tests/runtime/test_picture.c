/* Pictures: pixels as Pillow decodes and resizes them, the contract's numbers, and files that are refused. */
#include "op_test.h"

#include <unistd.h>

#include "picture.h"
#include "picture_fixtures.h"

#define FIXTURES (sizeof fixtures / sizeof fixtures[0])

static const char *scratch_path(void) {
  static char path[64];
  snprintf(path, sizeof path, "test_picture_%ld.tmp", (long)getpid());
  return path;
}

static void write_file(const void *data, size_t size) {
  FILE *f = fopen(scratch_path(), "wb");
  assert_non_null(f);
  assert_int_equal(fwrite(data, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
}

/* Bytes as they are: scale 1, mean 0, std 1. */
static mien_picture plain(int width, int height) {
  return (mien_picture){.input = "x",
                        .width = width,
                        .height = height,
                        .resize = "pillow-bilinear",
                        .color = "RGB",
                        .scale = 1,
                        .mean = {0, 0, 0},
                        .std = {1, 1, 1}};
}

static mien_status read_bytes(mien_env *env, const void *data, size_t size, const mien_picture *p, float *out,
                              mien_error *error) {
  write_file(data, size);
  memset(error, 0, sizeof *error);
  mien_status status = mien_picture_read(env, scratch_path(), p, out, error);
  unlink(scratch_path());
  return status;
}

/* JPEG decoders may differ by one in a pixel; everything else is the same byte for byte. */
static void test_pixels_as_pillow(void **state) {
  for (size_t i = 0; i < FIXTURES; i++) {
    const struct fixture *f = &fixtures[i];
    mien_picture p = plain(f->width, f->height);
    mien_error error;
    float out[3 * 9 * 13];
    int plane = f->width * f->height, tolerance = strncmp(f->name, "jpeg", 4) == 0;
    mien_status status = read_bytes(*state, f->file, f->size, &p, out, &error);
    if (status != MIEN_OK) print_error("%s: %s\n", f->name, error.message);
    assert_int_equal(status, MIEN_OK);
    for (int c = 0; c < 3; c++)
      for (int k = 0; k < plane; k++) {
        float got = out[c * plane + k], want = f->pixels[3 * k + c];
        if (fabsf(got - want) > (float)tolerance)
          print_error("%s %dx%d: pixel %d channel %d is %g, expected %g\n", f->name, f->width, f->height, k, c,
                      (double)got, (double)want);
        assert_true(fabsf(got - want) <= (float)tolerance);
      }
  }
}

static const struct fixture *named(const char *name) {
  for (size_t i = 0; i < FIXTURES; i++)
    if (strcmp(fixtures[i].name, name) == 0) return &fixtures[i];
  fail();
  return NULL;
}

static void test_contract(void **state) {
  const struct fixture *f = named("png_rgb");
  mien_picture p = plain(f->width, f->height), q = p;
  mien_error error;
  float bytes[3 * 20], out[3 * 20];
  q.color = "BGR";
  q.scale = 255;
  const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
  memcpy(q.mean, mean, sizeof mean);
  memcpy(q.std, std, sizeof std);
  assert_int_equal(read_bytes(*state, f->file, f->size, &p, bytes, &error), MIEN_OK);
  assert_int_equal(read_bytes(*state, f->file, f->size, &q, out, &error), MIEN_OK);
  for (int c = 0; c < 3; c++)
    for (int k = 0; k < 20; k++) assert_true(out[c * 20 + k] == (bytes[(2 - c) * 20 + k] / 255 - mean[c]) / std[c]);
}

/* The portraits of the small model: what Pillow and numpy made of them is committed beside it. */
static void test_portraits(void **state) {
  static const char *const names[][2] = {
      {"models/pictures/astronaut.png", "models/poster_var_small/astronaut.input.npy"},
      {"models/pictures/grace_hopper.jpg", "models/poster_var_small/grace_hopper.input.npy"}};
  for (int i = 0; i < 2; i++) {
    char path[256];
    mien_error error = {0};
    mien_tensor want = {0};
    mien_picture p = plain(224, 224);
    p.scale = 255;
    memcpy(p.mean, (float[]){0.485f, 0.456f, 0.406f}, sizeof p.mean);
    memcpy(p.std, (float[]){0.229f, 0.224f, 0.225f}, sizeof p.std);
    float *out = calloc(3 * 224 * 224, sizeof *out), largest = 0;
    assert_non_null(out);
    snprintf(path, sizeof path, "%s/%s", MIEN_SOURCE_DIR, names[i][0]);
    assert_int_equal(mien_picture_read(*state, path, &p, out, &error), MIEN_OK);
    snprintf(path, sizeof path, "%s/%s", MIEN_SOURCE_DIR, names[i][1]);
    assert_int_equal(mien_npy_read(*state, path, &want, &error), MIEN_OK);
    assert_int_equal(mien_count(&want.type), 3 * 224 * 224);
    for (int k = 0; k < 3 * 224 * 224; k++) largest = fmaxf(largest, fabsf(out[k] - ((const float *)want.data)[k]));
    assert_true(largest <= 1.001f / 255 / 0.224f);
    if (i == 0) assert_true(largest < 1e-5f);
    free(out);
    mien_tensor_clear(*state, &want);
  }
}

/* A wrong picture is worse than none: no prefix of a file is one. */
static void test_truncated(void **state) {
  for (size_t i = 0; i < FIXTURES; i += 2) { /* every second row is the same file */
    const struct fixture *f = &fixtures[i];
    mien_picture p = plain(2, 2);
    mien_error error;
    float out[12];
    /* The last two bytes of a JPEG file are its end marker, the last 12 of a PNG its end chunk. */
    for (size_t size = 0; size<f->size; size += size> 64 ? 7 : 1) {
      mien_status status = read_bytes(*state, f->file, size, &p, out, &error);
      if (status != MIEN_CORRUPT && status != MIEN_UNSUPPORTED)
        print_error("%s cut to %zu of %zu bytes: status %d\n", f->name, size, f->size, (int)status);
      assert_true(status == MIEN_CORRUPT || (status == MIEN_UNSUPPORTED && size < 8));
      assert_true(error.message[0] != 0);
    }
  }
}

/* Damage may go unseen, but never ends the process or writes where it should not (run under the sanitizers too). */
static void test_damaged(void **state) {
  uint64_t seed = 1234567;
  for (size_t i = 0; i < FIXTURES; i += 2) {
    const struct fixture *f = &fixtures[i];
    unsigned char copy[4096];
    assert_true(f->size <= sizeof copy);
    for (int round = 0; round < 150; round++) {
      mien_picture p = plain(3, 3);
      mien_error error;
      float out[27];
      memcpy(copy, f->file, f->size);
      for (int k = 0; k < 3; k++)
        copy[(size_t)op_random(&seed, 0, (double)f->size)] = (unsigned char)op_random(&seed, 0, 256);
      mien_status status = read_bytes(*state, copy, f->size, &p, out, &error);
      assert_true(status == MIEN_OK || error.message[0] != 0);
    }
  }
}

static void test_refused(void **state) {
  mien_picture p = plain(2, 2);
  mien_error error;
  float out[12];
  assert_int_equal(read_bytes(*state, jpeg_cmyk_file, sizeof jpeg_cmyk_file, &p, out, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(error.message, "CMYK"));
  static const char *const others[] = {"GIF89a", "<svg xmlns='http://www.w3.org/2000/svg'/>", "RIFF1234WEBPVP8 ", ""};
  for (int i = 0; i < 4; i++) {
    assert_int_equal(read_bytes(*state, others[i], strlen(others[i]), &p, out, &error), MIEN_UNSUPPORTED);
    assert_non_null(strstr(error.message, "neither a JPEG nor a PNG"));
  }
  assert_int_equal(mien_picture_read(*state, "/no/such/picture", &p, out, &error), MIEN_IO);
  assert_int_equal(mien_picture_read(*state, "/", &p, out, &error), MIEN_IO);
}

static void test_bad_contracts(void **state) {
  const struct fixture *f = named("png_rgb");
  mien_error error;
  float out[12];
  for (int i = 0; i < 8; i++) {
    mien_picture p = plain(2, 2);
    if (i == 0) p.resize = "nearest";
    if (i == 1) p.resize = NULL;
    if (i == 2) p.color = "YUV";
    if (i == 3) p.width = 0;
    if (i == 4) p.height = -1;
    if (i == 5) p.std[1] = 0;
    if (i == 6) p.scale = 0;
    if (i == 7) p.mean[2] = NAN;
    assert_int_equal(read_bytes(*state, f->file, f->size, &p, out, &error),
                     i < 3 ? MIEN_UNSUPPORTED : MIEN_INVALID_ARGUMENT);
  }
}

static uint32_t crc(const unsigned char *data, size_t size) {
  uint32_t c = 0xffffffffu;
  for (size_t i = 0; i < size; i++) {
    c ^= data[i];
    for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
  }
  return ~c;
}

static void put32(unsigned char *to, uint32_t v) {
  for (int i = 0; i < 4; i++) to[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A few bytes that claim a huge picture: refused by the limit, at the limit good. */
static void test_pixel_limit(void **state) {
  const struct fixture *f = named("png_rgb"); /* 11 x 9 */
  static const uint32_t claims[][2] = {{0x7fffffff, 0x7fffffff}, {1, 0x7fffffff}, {65500, 65500}, {0, 5}};
  mien_picture p = plain(2, 2);
  mien_error error;
  float out[12];
  for (int i = 0; i < 4; i++) {
    unsigned char copy[4096];
    memcpy(copy, f->file, f->size);
    put32(copy + 16, claims[i][0]);
    put32(copy + 20, claims[i][1]);
    put32(copy + 29, crc(copy + 12, 17));
    mien_status status = read_bytes(*state, copy, f->size, &p, out, &error);
    assert_true(status == MIEN_LIMIT || status == MIEN_CORRUPT);
  }
  for (uint64_t limit = 98; limit <= 99; limit++) {
    mien_env_options options = {.limits = {.pixels = limit}};
    mien_env *env;
    assert_int_equal(mien_env_create(&options, &env, &error), MIEN_OK);
    assert_int_equal(read_bytes(env, f->file, f->size, &p, out, &error), limit == 99 ? MIEN_OK : MIEN_LIMIT);
    mien_env_destroy(env);
  }
}

/* ---- allocation k fails, for all k */

typedef struct meter {
  long left, live;
} meter;

static void *metered(void *context, void *pointer, size_t old_size, size_t new_size) {
  meter *m = context;
  (void)old_size;
  if (new_size == 0) {
    if (pointer) m->live--;
    free(pointer);
    return NULL;
  }
  if (m->left-- <= 0) return NULL;
  void *memory = realloc(pointer, new_size);
  if (memory && !pointer) m->live++;
  return memory;
}

static void test_no_memory(void **state) {
  (void)state;
  static const char *const files[] = {"png_rgb", "png_interlaced", "jpeg_420"};
  for (int i = 0; i < 3; i++) {
    const struct fixture *f = named(files[i]);
    mien_status status = MIEN_NO_MEMORY;
    for (long k = 0; status != MIEN_OK; k++) {
      meter m = {.left = 1000000};
      mien_env_options options = {.alloc = metered, .alloc_context = &m};
      mien_env *env;
      mien_error error;
      mien_picture p = plain(2, 2);
      float out[12];
      assert_true(k < 1000);
      assert_int_equal(mien_env_create(&options, &env, &error), MIEN_OK);
      long before = m.live;
      m.left = k;
      status = read_bytes(env, f->file, f->size, &p, out, &error);
      if (status != MIEN_OK && status != MIEN_NO_MEMORY) print_error("allocation %ld: %s\n", k, error.message);
      assert_true(status == MIEN_OK || status == MIEN_NO_MEMORY);
      assert_int_equal(m.live, before);
      mien_env_destroy(env);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pixels_as_pillow), cmocka_unit_test(test_contract),    cmocka_unit_test(test_portraits),
      cmocka_unit_test(test_truncated),        cmocka_unit_test(test_damaged),     cmocka_unit_test(test_refused),
      cmocka_unit_test(test_bad_contracts),    cmocka_unit_test(test_pixel_limit), cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
