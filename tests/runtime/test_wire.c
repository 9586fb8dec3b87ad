#include "tests/converter/onnx_writer.h"

#include "plan.pb-c.h"

static mien_status scan_bytes(const void *data, size_t size, mien_error *error) {
  return mien__wire_scan(&mien__onnx__model_proto__descriptor, data, size, 100, UINT64_MAX, "m", NULL, error);
}

static void bad(const void *data, size_t size, const char *text) {
  mien_error error = {0};
  assert_int_equal(scan_bytes(data, size, &error), MIEN_CORRUPT);
  if (!strstr(error.message, text)) fail_msg("expected '%s' in '%s'", text, error.message);
}

static void good_message(void **state) {
  (void)state;
  wire model = onnx_model((wire){0});
  assert_int_equal(scan_bytes(model.at, model.length, NULL), MIEN_OK);
  assert_int_equal(scan_bytes("", 0, NULL), MIEN_OK);
}

static void truncated_everywhere(void **state) {
  (void)state;
  wire graph = {0}, model;
  const float w[2] = {1, 2};
  wire_message(&graph, 5, onnx_floats("w", "2", w, 2));
  wire_message(&graph, 1, onnx_node("Add", "n", "x,w", "y"));
  model = onnx_model(graph);
  /* Whole fields make a shorter message, not a damaged one: those cuts are the ends of the model's four fields. */
  size_t whole = 0;
  for (size_t n = 0; n < model.length; n++)
    if (scan_bytes(model.at, n, NULL) == MIEN_OK) whole++;
  assert_int_equal(whole, 4);
}

static void bad_varints_and_tags(void **state) {
  (void)state;
  bad("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "no varint");
  bad("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "no varint");
  bad("\x08", 1, "no varint");
  bad("\x00\x01", 2, "no field");
  bad("\x02\x01", 2, "no field");
  bad("\xff\xff\xff\xff\xff\x01", 6, "no field");
  bad("\x0b", 1, "wire type 3");
  bad("\x0c", 1, "wire type 4");
  bad("\x0e", 1, "wire type 6");
  bad("\x0f", 1, "wire type 7");
  bad("\x0d\x01\x02\x03\x04", 5, "wire type 5, expected 0");
}

static void bad_lengths(void **state) {
  (void)state;
  bad("\x12\x05"
      "ab",
      4, "needs 5 bytes, 2 are left");
  bad("\x12\xff\xff\xff\xff\x07"
      "a",
      7, "left"); /* 2^31 - 1 */
  bad("\x12\x80\x80\x80\x80\x08"
      "a",
      7, "length"); /* 2^31 */
  bad("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
      "a",
      11, "length"); /* 2^63 - 1 */
}

static void bad_texts(void **state) {
  (void)state;
  static const struct {
    const char *bytes;
    size_t size;
  } rows[] = {{"a\0b", 3},         {"\xff", 1},         {"\xc0\xaf", 2},
              {"\xe0\x80\xaf", 3}, {"\xed\xa0\x80", 3}, {"\xf4\x90\x80\x80", 4},
              {"\xe2\x82", 2},     {"\x80", 1}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    wire m = {0};
    wire_bytes(&m, 2, rows[i].bytes, rows[i].size);
    bad(m.at, m.length, "field 'producer_name' of ModelProto is not UTF-8");
  }
  assert_true(mien__utf8_valid("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", 10));
  assert_true(mien__utf8_valid("", 0));
}

static wire nested(int graphs) {
  wire graph = {0};
  for (int i = 0; i < graphs; i++) {
    wire attribute = {0}, node = {0}, outer = {0};
    wire_message(&attribute, 6, graph);
    wire_message(&node, 5, attribute);
    wire_message(&outer, 1, node);
    graph = outer;
  }
  wire model = {0};
  wire_message(&model, 7, graph);
  return model;
}

static void depth_is_bounded(void **state) {
  (void)state;
  mien_error error;
  /* The model and its graph are two levels, each further graph three more. */
  wire fits = nested(32), over = nested(33), far = nested(3000);
  assert_int_equal(scan_bytes(fits.at, fits.length, NULL), MIEN_OK);
  assert_int_equal(scan_bytes(over.at, over.length, &error), MIEN_LIMIT);
  assert_non_null(strstr(error.message, "nested more than 100 deep"));
  assert_int_equal(scan_bytes(far.at, far.length, NULL), MIEN_LIMIT);
  /* Exactly at the limit and one below. */
  assert_int_equal(
      mien__wire_scan(&mien__onnx__model_proto__descriptor, fits.at, fits.length, 98, UINT64_MAX, "m", NULL, NULL),
      MIEN_OK);
  assert_int_equal(
      mien__wire_scan(&mien__onnx__model_proto__descriptor, fits.at, fits.length, 97, UINT64_MAX, "m", NULL, NULL),
      MIEN_LIMIT);
}

static void singular_messages_stand_once(void **state) {
  (void)state;
  wire model = {0};
  wire_message(&model, 7, (wire){0});
  wire_message(&model, 7, (wire){0});
  bad(model.at, model.length, "field 'graph' of ModelProto stands there twice");
}

static void packed_fields(void **state) {
  (void)state;
  wire t = {0};
  wire_bytes(&t, 4, "12345", 5);
  mien_error error;
  const ProtobufCMessageDescriptor *d = &mien__onnx__tensor_proto__descriptor;
  assert_int_equal(mien__wire_scan(d, t.at, t.length, 0, UINT64_MAX, "m", NULL, &error), MIEN_CORRUPT);
  assert_non_null(strstr(error.message, "no whole number of elements"));
  wire u = {0};
  wire_bytes(&u, 1, "\x80", 1);
  assert_int_equal(mien__wire_scan(d, u.at, u.length, 0, UINT64_MAX, "m", NULL, &error), MIEN_CORRUPT);
  wire both = {0};
  wire_bytes(&both, 1, "\x02\x03", 2);
  wire_int(&both, 1, 4);
  mien_env *env;
  assert_int_equal(mien_env_create(NULL, &env, NULL), MIEN_OK);
  mien__pool pool;
  mien__pool_init(&pool, env, 0);
  struct ProtobufCMessage *message;
  assert_int_equal(mien__wire_unpack(d, both.at, both.length, 0, UINT64_MAX, "m", &pool, NULL, &message, &error),
                   MIEN_OK);
  const Mien__Onnx__TensorProto *p = (const Mien__Onnx__TensorProto *)message;
  assert_int_equal(p->n_dims, 3);
  assert_int_equal(p->dims[0] * 100 + p->dims[1] * 10 + p->dims[2], 234);
  mien__pool_clear(&pool);
  mien_env_destroy(env);
}

/* What the scan predicts is what unpacking takes: never less, and not much more. */
static void memory_is_predicted(void **state) {
  (void)state;
  wire graph = {0};
  for (int i = 0; i < 1000; i++) {
    wire_message(&graph, 1, onnx_node("Add", "some_name", "left,right", "result"));
    const float w[5] = {1, 2, 3, 4, 5};
    wire_message(&graph, 5, onnx_floats("weight", "5", w, 5));
    wire_message(&graph, 13, onnx_value("x", 1, "2,N"));
    wire t = onnx_tensor("t", 7, "9");
    wire_bytes(&t, 7, "\x01\x02\x03\x04\x05\x06\x07\x08\x09", 9);
    wire_message(&graph, 5, t);
  }
  wire_text(&graph, 99, "unknown");
  wire model = onnx_model(graph);
  mien_env *env;
  assert_int_equal(mien_env_create(NULL, &env, NULL), MIEN_OK);
  mien__pool pool;
  mien__pool_init(&pool, env, 0);
  mien__wire_info info;
  struct ProtobufCMessage *message;
  assert_int_equal(mien__wire_unpack(&mien__onnx__model_proto__descriptor, model.at, model.length, 0, UINT64_MAX, "m",
                                     &pool, &info, &message, NULL),
                   MIEN_OK);
  assert_true(pool.used <= info.memory + 65536 + info.memory / 8);
  assert_true(info.memory <= pool.used + pool.used / 8);
  assert_string_equal(info.unknown_message, "GraphProto");
  assert_int_equal(info.unknown_field, 99);
  mien_error error;
  assert_int_equal(
      mien__wire_scan(&mien__onnx__model_proto__descriptor, model.at, model.length, 0, info.memory, "m", NULL, NULL),
      MIEN_OK);
  assert_int_equal(mien__wire_scan(&mien__onnx__model_proto__descriptor, model.at, model.length, 0, info.memory - 1,
                                   "m", NULL, &error),
                   MIEN_LIMIT);
  mien__pool_clear(&pool);
  /* A pool that is too small is want of memory, not damage. */
  mien__pool_init(&pool, env, 1000);
  assert_int_equal(mien__wire_unpack(&mien__onnx__model_proto__descriptor, model.at, model.length, 0, UINT64_MAX, "m",
                                     &pool, NULL, &message, &error),
                   MIEN_NO_MEMORY);
  mien__pool_clear(&pool);
  mien_env_destroy(env);
}

/* proto3 messages go the same way. */
static void plan_messages(void **state) {
  (void)state;
  wire p = {0}, op = {0};
  wire_text(&op, 2, "Add");
  wire_message(&p, 1, op);
  assert_int_equal(
      mien__wire_scan(&mien__plan__program__descriptor, p.at, p.length, 0, UINT64_MAX, "program", NULL, NULL), MIEN_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good_message),
                                     cmocka_unit_test(truncated_everywhere),
                                     cmocka_unit_test(bad_varints_and_tags),
                                     cmocka_unit_test(bad_lengths),
                                     cmocka_unit_test(bad_texts),
                                     cmocka_unit_test(depth_is_bounded),
                                     cmocka_unit_test(singular_messages_stand_once),
                                     cmocka_unit_test(packed_fields),
                                     cmocka_unit_test(memory_is_predicted),
                                     cmocka_unit_test(plan_messages)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
