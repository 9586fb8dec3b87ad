/* .npy files: what numpy writes, what is written here, and headers that lie. */
#include "op_test.h"

#include <unistd.h>

static const char *scratch_path(void) {
  static char path[64];
  snprintf(path, sizeof path, "test_npy_%ld.tmp", (long)getpid());
  return path;
}

/* A file of a version, a header text and data. declared < 0: the text's own length. */
static mien_status read_made(mien_env *env, int version, const char *text, long long declared, const void *data,
                             size_t bytes, mien_tensor *t, mien_error *error) {
  unsigned char head[12] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0};
  size_t length = declared < 0 ? strlen(text) : (size_t)declared;
  for (int i = 0; i < 4; i++) head[8 + i] = (unsigned char)(length >> (8 * i));
  FILE *f = fopen(scratch_path(), "wb");
  assert_non_null(f);
  fwrite(head, 1, version == 1 ? 10 : 12, f);
  fwrite(text, 1, strlen(text), f);
  if (bytes) fwrite(data, 1, bytes, f);
  assert_int_equal(fclose(f), 0);
  memset(t, 0, sizeof *t);
  memset(error, 0, sizeof *error);
  mien_status status = mien_npy_read(env, scratch_path(), t, error);
  unlink(scratch_path());
  return status;
}

static void test_reads(void **state) {
  static const struct {
    int version;
    const char *text;
    int rank;
    int64_t dims[4];
  } rows[] = {
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n", 2, {2, 3}},
      {2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 2, {2, 3}},
      {3, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }\n", 1, {6}},
      {1, "{'shape': (1, 6,), \"descr\": \"<f4\", 'fortran_order': False}", 2, {1, 6}},
      {1, "{'descr': '=f4', 'fortran_order': False, 'shape': (6, 1, 1), }\n", 3, {6, 1, 1}},
  };
  const float data[] = {1, 2, 3, 4, 5, 6};
  const double want[] = {1, 2, 3, 4, 5, 6}, turned[] = {1, 3, 5, 2, 4, 6};
  mien_tensor t;
  mien_error error;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    assert_int_equal(read_made(*state, rows[i].version, rows[i].text, -1, data, sizeof data, &t, &error), MIEN_OK);
    assert_int_equal(t.type.rank, rows[i].rank);
    for (int d = 0; d < t.type.rank; d++) assert_int_equal(t.type.dim[d], rows[i].dims[d]);
    op_expect(&t, want, 6, 0, 0);
    mien_tensor_clear(*state, &t);
  }
  const char *fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }\n";
  assert_int_equal(read_made(*state, 1, fortran, -1, data, sizeof data, &t, &error), MIEN_OK);
  op_expect(&t, turned, 6, 0, 0);
  mien_tensor_clear(*state, &t);
  const char *scalar = "{'descr': '<f4', 'fortran_order': True, 'shape': (), }\n";
  assert_int_equal(read_made(*state, 1, scalar, -1, data, 4, &t, &error), MIEN_OK);
  assert_int_equal(t.type.rank, 0);
  op_expect(&t, want, 1, 0, 0);
  mien_tensor_clear(*state, &t);
  const char *empty = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }\n";
  assert_int_equal(read_made(*state, 1, empty, -1, NULL, 0, &t, &error), MIEN_OK);
  assert_int_equal(mien_count(&t.type), 0);
  mien_tensor_clear(*state, &t);
  const char *truth = "{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }\n";
  assert_int_equal(read_made(*state, 1, truth, -1, "\x02\x00", 2, &t, &error), MIEN_OK);
  assert_true(((const uint8_t *)t.data)[0] == 1 && ((const uint8_t *)t.data)[1] == 0);
  mien_tensor_clear(*state, &t);
}

/* Three dimensions in column-major order. */
static void test_fortran_order(void **state) {
  int16_t data[24];
  double want[24];
  mien_tensor t;
  mien_error error;
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 3; j++)
      for (int k = 0; k < 4; k++) data[i + 2 * j + 6 * k] = (int16_t)(want[(i * 3 + j) * 4 + k] = 100 * i + 10 * j + k);
  const char *text = "{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4), }\n";
  assert_int_equal(read_made(*state, 1, text, -1, data, sizeof data, &t, &error), MIEN_OK);
  op_expect(&t, want, 24, 0, 0);
  mien_tensor_clear(*state, &t);
}

static void test_refuses(void **state) {
#define HEAD(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"
  static const struct {
    int version;
    const char *text;
    long long declared;
    size_t bytes;
    mien_status status;
  } rows[] = {
      {2, "", 0xfffffff0, 0, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(2,)"), 65535, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(4611686018427387904, 4)"), -1, 8, MIEN_LIMIT},
      {1, HEAD("'<f4'", "False", "(4294967296, 4294967296)"), -1, 8, MIEN_LIMIT},
      {1, HEAD("'<f4'", "False", "(4611686018427387904, 4611686018427387904, 0)"), -1, 0, MIEN_LIMIT},
      {1, HEAD("'<f4'", "False", "(9223372036854775808,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(-2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(2)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(2 2)"), -1, 16, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(,)"), -1, 4, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "[2]"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(2.0,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(0x2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(np.int64(1),)"), -1, 4, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"), -1, 4, MIEN_LIMIT},
      {1, HEAD("''", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'<'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'<ixy'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'|O'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'>f4'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'<f16'", "False", "(2,)"), -1, 32, MIEN_UNSUPPORTED},
      {1, HEAD("'<U5'", "False", "(2,)"), -1, 40, MIEN_UNSUPPORTED},
      {1, HEAD("[('a', '<f4')]", "False", "(2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("__import__('os')", "False", "(2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "true", "(2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "1", "(2,)"), -1, 8, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "Falsehood", "(2,)"), -1, 8, MIEN_CORRUPT},
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)", -1, 8, MIEN_CORRUPT},
      {1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", -1, 8, MIEN_CORRUPT},
      {1, "{'descr': '<f4', 'shape': (2,)}", -1, 8, MIEN_CORRUPT},
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", -1, 8, MIEN_CORRUPT},
      {1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1", -1, 8, MIEN_CORRUPT},
      {1, "[[[[[[[[[[", -1, 8, MIEN_CORRUPT},
      {1, "", -1, 0, MIEN_CORRUPT},
      {9, HEAD("'<f4'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {0, HEAD("'<f4'", "False", "(2,)"), -1, 8, MIEN_UNSUPPORTED},
      {1, HEAD("'<f4'", "False", "(2,)"), -1, 7, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(2,)"), -1, 9, MIEN_CORRUPT},
      {1, HEAD("'<f4'", "False", "(0,)"), -1, 4, MIEN_CORRUPT},
  };
  static const char data[64];
  mien_tensor t;
  mien_error error;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    mien_status status =
        read_made(*state, rows[i].version, rows[i].text, rows[i].declared, data, rows[i].bytes, &t, &error);
    if (status != rows[i].status) print_error("row %zu: status %d: %s\n", i, (int)status, error.message);
    assert_int_equal(status, rows[i].status);
    assert_true(rows[i].status == MIEN_LIMIT || strstr(error.message, scratch_path()) != NULL);
    assert_null(t.data);
  }
}

static void test_no_npy(void **state) {
  static const char *const files[] = {"", "\x93NUMP", "\x93NUMPZ\x01\x00\x00\x00", "PK\x03\x04 an archive"};
  mien_tensor t = {0};
  mien_error error;
  for (int i = 0; i < 4; i++) {
    FILE *f = fopen(scratch_path(), "wb");
    assert_non_null(f);
    fputs(files[i], f);
    fclose(f);
    assert_int_equal(mien_npy_read(*state, scratch_path(), &t, &error), MIEN_CORRUPT);
    unlink(scratch_path());
  }
  assert_int_equal(mien_npy_read(*state, "/no/such/file.npy", &t, &error), MIEN_IO);
  assert_int_equal(mien_npy_read(*state, "/", &t, &error), MIEN_IO);
}

/* Every prefix of a good file is refused. */
static void test_truncated(void **state) {
  const float data[] = {1, 2, 3};
  const mien_tensor t = {op_type(MIEN_F32, 1, OP_DIMS(3)), (void *)(uintptr_t)data, sizeof data};
  char bytes[512];
  mien_tensor got = {0};
  mien_error error;
  assert_int_equal(mien_npy_write(*state, scratch_path(), &t, &error), MIEN_OK);
  FILE *f = fopen(scratch_path(), "rb");
  assert_non_null(f);
  size_t size = fread(bytes, 1, sizeof bytes, f);
  fclose(f);
  assert_int_equal(size, 128 + sizeof data);
  for (size_t n = 0; n < size; n++) {
    f = fopen(scratch_path(), "wb");
    assert_non_null(f);
    fwrite(bytes, 1, n, f);
    fclose(f);
    assert_int_equal(mien_npy_read(*state, scratch_path(), &got, &error), MIEN_CORRUPT);
  }
  unlink(scratch_path());
}

static void test_round_trip(void **state) {
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_I8,  MIEN_I16,  MIEN_I32, MIEN_I64,
                                   MIEN_U8,  MIEN_U16, MIEN_U32, MIEN_U64, MIEN_BOOL, MIEN_C64, MIEN_C128};
  static const struct {
    int rank;
    int64_t dims[4];
  } shapes[] = {{0, {0}}, {1, {5}}, {3, {2, 1, 3}}, {2, {4, 0}}, {4, {1, 2, 3, 2}}};
  mien_error error;
  for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
      unsigned char data[16 * 16];
      mien_tensor t = {op_type(dtypes[d], shapes[s].rank, shapes[s].dims), data, 0}, got = {0};
      t.bytes = (size_t)mien_count(&t.type) * mien_dtype_bytes(dtypes[d]);
      for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(dtypes[d] == MIEN_BOOL ? i % 2 : i * 7 + d);
      assert_int_equal(mien_npy_write(*state, scratch_path(), &t, &error), MIEN_OK);
      assert_int_equal(mien_npy_read(*state, scratch_path(), &got, &error), MIEN_OK);
      assert_true(mien__type_equal(&got.type, &t.type));
      assert_memory_equal(got.data, data, t.bytes);
      mien_tensor_clear(*state, &got);
    }
  unlink(scratch_path());
}

/* The bytes that numpy.save writes for int32 [[1, 2]]. */
static void test_bytes_as_numpy(void **state) {
  const int32_t data[] = {1, 2};
  const mien_tensor t = {op_type(MIEN_I32, 2, OP_DIMS(1, 2)), (void *)(uintptr_t)data, sizeof data};
  char want[136], got[200];
  mien_error error;
  memset(want, ' ', sizeof want);
  memcpy(want, "\x93NUMPY\x01\x00v\x00", 10);
  const char *text = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }";
  memcpy(want + 10, text, strlen(text));
  want[127] = '\n';
  memcpy(want + 128, data, sizeof data);
  assert_int_equal(mien_npy_write(*state, scratch_path(), &t, &error), MIEN_OK);
  FILE *f = fopen(scratch_path(), "rb");
  assert_non_null(f);
  assert_int_equal(fread(got, 1, sizeof got, f), sizeof want);
  fclose(f);
  unlink(scratch_path());
  assert_memory_equal(got, want, sizeof want);
}

static void test_write_refuses(void **state) {
  mien_string words[1] = {{"a", 1}};
  mien_tensor strings = {op_type(MIEN_STRING, 1, OP_DIMS(1)), words, sizeof words};
  mien_tensor small = {op_type(MIEN_I64, 1, OP_DIMS(2)), words, 8};
  mien_error error;
  assert_int_equal(mien_npy_write(*state, scratch_path(), &strings, &error), MIEN_UNSUPPORTED);
  assert_int_equal(mien_npy_write(*state, scratch_path(), &small, &error), MIEN_INVALID_ARGUMENT);
  small.bytes = 16;
  assert_int_equal(mien_npy_write(*state, "/no/such/directory/x.npy", &small, &error), MIEN_IO);
  assert_int_not_equal(access(scratch_path(), F_OK), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reads),          cmocka_unit_test(test_fortran_order), cmocka_unit_test(test_refuses),
      cmocka_unit_test(test_no_npy),         cmocka_unit_test(test_truncated),     cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_bytes_as_numpy), cmocka_unit_test(test_write_refuses),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
