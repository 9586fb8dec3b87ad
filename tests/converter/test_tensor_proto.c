#include "tests/converter/onnx_writer.h"

#include <mien/convert.h>

static mien_env *env;

static int setup(void **state) {
  (void)state;
  test_directory_make();
  return mien_env_create(NULL, &env, NULL);
}

static int teardown(void **state) {
  mien_env_destroy(env);
  return test_directory_remove(state);
}

static mien_status read_tensor(wire t, mien_tensor *tensor, mien_error *error) {
  test_write("t.pb", t.at, t.length);
  return mien_tensor_proto_read(env, test_path("t.pb"), tensor, error);
}

/* The message reads as a tensor of this type with these bytes. */
static void reads(wire t, int32_t dtype, int rank, const void *bytes, size_t size) {
  mien_tensor tensor;
  mien_error error = {0};
  if (read_tensor(t, &tensor, &error) != MIEN_OK) fail_msg("%s", error.message);
  assert_int_equal(tensor.type.dtype, dtype);
  assert_int_equal(tensor.type.rank, rank);
  assert_int_equal((size_t)mien_count(&tensor.type) * mien_dtype_size(dtype), size);
  if (size) assert_memory_equal(tensor.data, bytes, size);
  mien_tensor_clear(env, &tensor);
}

static void fails(wire t, mien_status code, const char *text) {
  mien_tensor tensor = {.bytes = 77};
  mien_error error = {0};
  mien_status status = read_tensor(t, &tensor, &error);
  if (status != code || !strstr(error.message, text))
    fail_msg("expected %s with '%s', got %s: %s", mien_status_name(code), text, mien_status_name(status),
             error.message);
  assert_int_equal(tensor.bytes, 77);
}

static wire with(wire t, uint32_t field, const void *data, size_t size) {
  wire_bytes(&t, field, data, size);
  return t;
}

static wire tensor_of(int dtype, const char *dims, uint32_t field, const void *data, size_t size) {
  return with(onnx_tensor("t", dtype, dims), field, data, size);
}

enum { FLOAT_DATA = 4, INT32_DATA = 5, STRING_DATA = 6, INT64_DATA = 7, RAW = 9, DOUBLE_DATA = 10, UINT64_DATA = 11 };

static void raw_data_of_every_type(void **state) {
  (void)state;
  static const uint8_t bytes[64] = {1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1};
#define X(name, onnx, size, text)            \
  if (onnx != MIEN_STRING && onnx < MIEN_U4) \
    reads(tensor_of(onnx, "2,1", RAW, bytes, 2 * size), onnx, 2, bytes, 2 * size);
  MIEN_DTYPE_MAP(X)
#undef X
  reads(tensor_of(MIEN_F8E8M0, "3", RAW, bytes, 3), MIEN_F8E8M0, 1, bytes, 3);
}

static void small_elements_are_unpacked(void **state) {
  (void)state;
  reads(tensor_of(MIEN_U4, "3", RAW, "\x21\x0f", 2), MIEN_U4, 1, "\x01\x02\x0f", 3);
  reads(tensor_of(MIEN_I4, "3", RAW, "\x98\x07", 2), MIEN_I4, 1, "\xf8\xf9\x07", 3);
  reads(tensor_of(MIEN_F4E2M1, "2", RAW, "\x98", 1), MIEN_F4E2M1, 1, "\x08\x09", 2);
  reads(tensor_of(MIEN_U2, "5", RAW, "\xe4\x02", 2), MIEN_U2, 1, "\x00\x01\x02\x03\x02", 5);
  reads(tensor_of(MIEN_I2, "4", RAW, "\xe4", 1), MIEN_I2, 1, "\x00\x01\xfe\xff", 4);
  reads(tensor_of(MIEN_I4, "3", INT32_DATA, "\x98\x01\x07", 3), MIEN_I4, 1, "\xf8\xf9\x07", 3);
  fails(tensor_of(MIEN_I4, "3", INT32_DATA, "\x98\x02\x07", 3), MIEN_INVALID_MODEL, "int32_data[0] is 280");
  fails(tensor_of(MIEN_I4, "3", RAW, "\x98", 1), MIEN_INVALID_MODEL, "raw_data has 1 bytes, i4[3] needs 2");
}

static void typed_fields(void **state) {
  (void)state;
  const float floats[4] = {1.5f, -2, 3, 4};
  const double doubles[2] = {1e300, -3};
  reads(tensor_of(MIEN_F32, "4", FLOAT_DATA, floats, 16), MIEN_F32, 1, floats, 16);
  reads(tensor_of(MIEN_C64, "2", FLOAT_DATA, floats, 16), MIEN_C64, 1, floats, 16);
  reads(tensor_of(MIEN_F64, "1,2", DOUBLE_DATA, doubles, 16), MIEN_F64, 2, doubles, 16);
  reads(tensor_of(MIEN_C128, "", DOUBLE_DATA, doubles, 16), MIEN_C128, 0, doubles, 16);
  const int64_t int64s[2] = {-1, 300};
  reads(tensor_of(MIEN_I64, "2", INT64_DATA, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xac\x02", 12), MIEN_I64, 1,
        int64s, 16);
  const uint32_t u32s[1] = {300};
  const uint64_t u64s[1] = {300};
  reads(tensor_of(MIEN_U32, "1", UINT64_DATA, "\xac\x02", 2), MIEN_U32, 1, u32s, 4);
  reads(tensor_of(MIEN_U64, "1", UINT64_DATA, "\xac\x02", 2), MIEN_U64, 1, u64s, 8);
  fails(tensor_of(MIEN_U32, "1", UINT64_DATA, "\x80\x80\x80\x80\x10", 5), MIEN_INVALID_MODEL,
        "4294967296, outside u32");
  /* 300 fits these; 3 fits all. */
  static const struct {
    int dtype;
    size_t size;
    bool wide;
  } ints[] = {{MIEN_I32, 4, 1}, {MIEN_I16, 2, 1}, {MIEN_U16, 2, 1},      {MIEN_F16, 2, 1},    {MIEN_BF16, 2, 1},
              {MIEN_I8, 1, 0},  {MIEN_U8, 1, 0},  {MIEN_F8E4M3FN, 1, 0}, {MIEN_F8E8M0, 1, 0}, {MIEN_F8E5M2, 1, 0}};
  for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
    const uint8_t three[4] = {3}, many[4] = {0x2c, 1};
    reads(tensor_of(ints[i].dtype, "1", INT32_DATA, "\x03", 1), ints[i].dtype, 1, three, ints[i].size);
    if (ints[i].wide)
      reads(tensor_of(ints[i].dtype, "1", INT32_DATA, "\xac\x02", 2), ints[i].dtype, 1, many, ints[i].size);
    else
      fails(tensor_of(ints[i].dtype, "1", INT32_DATA, "\xac\x02", 2), MIEN_INVALID_MODEL, "int32_data[0] is 300");
  }
  reads(tensor_of(MIEN_I8, "1", INT32_DATA, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), MIEN_I8, 1, "\xff", 1);
  reads(tensor_of(MIEN_BOOL, "2", INT32_DATA, "\x01\x00", 2), MIEN_BOOL, 1, "\x01\x00", 2);
  fails(tensor_of(MIEN_BOOL, "1", INT32_DATA, "\x02", 1), MIEN_INVALID_MODEL, "outside bool");
}

static void strings(void **state) {
  (void)state;
  mien_tensor tensor;
  wire t = with(tensor_of(MIEN_STRING, "2", STRING_DATA, "", 0), STRING_DATA, "h\0llo", 5);
  assert_int_equal(read_tensor(t, &tensor, NULL), MIEN_OK);
  const mien_string *s = tensor.data;
  assert_int_equal(s[0].length, 0);
  assert_int_equal(s[1].length, 5);
  assert_memory_equal(s[1].data, "h\0llo", 5);
  mien_tensor_clear(env, &tensor);
  fails(tensor_of(MIEN_STRING, "1", RAW, "a", 1), MIEN_INVALID_MODEL, "has data in raw_data, expected string_data");
}

static void counts_are_checked(void **state) {
  (void)state;
  const float f[3] = {1, 2, 3};
  fails(tensor_of(MIEN_F32, "2", RAW, f, 7), MIEN_INVALID_MODEL, "raw_data has 7 bytes, f32[2] needs 8");
  fails(tensor_of(MIEN_F32, "2", RAW, f, 12), MIEN_INVALID_MODEL, "has 12 bytes");
  fails(tensor_of(MIEN_F32, "4", FLOAT_DATA, f, 12), MIEN_INVALID_MODEL, "float_data has 3 entries, f32[4] needs 4");
  fails(tensor_of(MIEN_C64, "3", FLOAT_DATA, f, 12), MIEN_INVALID_MODEL, "needs 6");
  fails(tensor_of(MIEN_F32, "", FLOAT_DATA, f, 8), MIEN_INVALID_MODEL, "float_data has 2 entries, f32[] needs 1");
  fails(onnx_tensor("t", MIEN_F32, ""), MIEN_INVALID_MODEL, "float_data has 0 entries");
  fails(with(tensor_of(MIEN_F32, "1", FLOAT_DATA, f, 4), RAW, f, 4), MIEN_INVALID_MODEL,
        "has data in raw_data and in float_data");
  fails(tensor_of(MIEN_F32, "1", DOUBLE_DATA, "12345678", 8), MIEN_INVALID_MODEL,
        "has data in double_data, expected raw_data or float_data");
  fails(tensor_of(MIEN_U4, "700000000", RAW, "\x01", 1), MIEN_INVALID_MODEL, "needs 350000000");
  fails(tensor_of(MIEN_BOOL, "2", RAW, "\x01\x02", 2), MIEN_INVALID_MODEL, "element 1 is byte 2");
}

static void types_and_dims_are_checked(void **state) {
  (void)state;
  reads(onnx_tensor("t", MIEN_F32, "3,0,2"), MIEN_F32, 3, "", 0);
  reads(tensor_of(MIEN_F32, "0", RAW, "", 0), MIEN_F32, 1, "", 0);
  fails(onnx_tensor("t", MIEN_F32, "0,4611686018427387904,8"), MIEN_LIMIT, "exceeds the limit");
  fails(onnx_tensor("t", MIEN_F32, "4294967296,4294967296"), MIEN_LIMIT, "exceeds the limit");
  fails(onnx_tensor("t", MIEN_F32, "2,-1"), MIEN_INVALID_MODEL, "dimension 1 is -1");
  fails(onnx_tensor("t", MIEN_F32, "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), MIEN_LIMIT, "rank 17");
  fails(onnx_tensor("t", 0, "1"), MIEN_INVALID_MODEL, "no element type");
  fails(onnx_tensor("t", 99, "1"), MIEN_UNSUPPORTED, "element type 99");
  fails(onnx_tensor("t", -1, "1"), MIEN_UNSUPPORTED, "element type -1");
  fails(onnx_tensor("t", 27, "1"), MIEN_UNSUPPORTED, "element type 27");
  wire segment = onnx_tensor("t", MIEN_F32, "1");
  wire_message(&segment, 3, (wire){0});
  fails(segment, MIEN_UNSUPPORTED, "segments");
  fails((wire){0}, MIEN_INVALID_MODEL, "no element type");
}

static void other_files(void **state) {
  (void)state;
  /* A SequenceProto: name, elem_type, tensor_values. */
  wire sequence = {0}, inner = tensor_of(MIEN_F32, "", FLOAT_DATA, "1234", 4);
  wire_text(&sequence, 1, "s");
  wire_int(&sequence, 2, 1);
  wire_message(&sequence, 3, inner);
  mien_tensor tensor;
  mien_error error;
  assert_int_not_equal(read_tensor(sequence, &tensor, &error), MIEN_OK);
  wire external = onnx_tensor("t", MIEN_F32, "1");
  wire_int(&external, 14, 1);
  wire_message(&external, 13, onnx_pair("location", "x"));
  fails(external, MIEN_UNSUPPORTED, "external data is not accepted here");
  wire html = {0};
  wire_raw(&html, "<html>", 6);
  assert_int_equal(read_tensor(html, &tensor, &error), MIEN_CORRUPT);
  wire strange = onnx_tensor("t", MIEN_F32, "0");
  wire_int(&strange, 50, 1);
  fails(strange, MIEN_CORRUPT, "field 50 of TensorProto is not known");
  assert_int_equal(mien_tensor_proto_read(env, test_path("none.pb"), &tensor, &error), MIEN_IO);
}

/* Outputs of a model in the tree, as its own exporter wrote them. */
static void committed_file(void **state) {
  (void)state;
  mien_tensor tensor;
  mien_error error = {0};
  const char *path = MIEN_SOURCE_DIR "/models/poster_var_small/test_data_set_0/input_0.pb";
  if (mien_tensor_proto_read(env, path, &tensor, &error) != MIEN_OK) fail_msg("%s", error.message);
  assert_int_equal(tensor.type.rank, 4);
  assert_int_equal(tensor.type.dim[3], 224);
  assert_int_equal(tensor.type.dtype, MIEN_F32);
  mien_tensor_clear(env, &tensor);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(raw_data_of_every_type),
                                     cmocka_unit_test(small_elements_are_unpacked),
                                     cmocka_unit_test(typed_fields),
                                     cmocka_unit_test(strings),
                                     cmocka_unit_test(counts_are_checked),
                                     cmocka_unit_test(types_and_dims_are_checked),
                                     cmocka_unit_test(other_files),
                                     cmocka_unit_test(committed_file)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
