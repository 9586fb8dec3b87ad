#include "tests/converter/onnx_writer.h"

#include <sys/socket.h>
#include <sys/un.h>

static int setup(void **state) {
  (void)state;
  test_directory_make();
  float w[16];
  for (int i = 0; i < 16; i++) w[i] = (float)i;
  assert_int_equal(mkdir(test_path("dir"), 0755), 0);
  test_write("w.bin", w, sizeof w);
  test_write("dir/w.bin", w, sizeof w);
  test_write("empty.bin", "", 0);
  return 0;
}

/* y = x + w, with w f32[2] in a file. NULL leaves an entry out. */
static wire model_of(const char *location, const char *offset, const char *length) {
  wire graph = {0}, w = onnx_tensor("w", MIEN_F32, "2");
  wire_int(&w, 14, 1);
  if (location) wire_message(&w, 13, onnx_pair("location", location));
  if (offset) wire_message(&w, 13, onnx_pair("offset", offset));
  if (length) wire_message(&w, 13, onnx_pair("length", length));
  wire_message(&graph, 5, w);
  wire_message(&graph, 11, onnx_value("x", MIEN_F32, "2"));
  wire_message(&graph, 12, onnx_value("y", MIEN_F32, "2"));
  wire_message(&graph, 1, onnx_node("Add", "n", "x,w", "y"));
  return onnx_model(graph);
}

static void reads(wire model, float first) {
  imported *i = import_model(model, true);
  if (i->status != MIEN_OK) fail_msg("%s", i->error.message);
  const mien__graph *g = i->import.graph;
  const mien__gvalue *w = NULL;
  for (mien_value v = 0; v < g->value_count; v++)
    if (strcmp(mien__value_name(g, v), "w") == 0) w = mien__value_at(g, v);
  assert_non_null(w);
  assert_string_equal(w->initializer, "w");
  const float expected[2] = {first, first + 1};
  assert_memory_equal(w->v.tensor.data, expected, sizeof expected);
  import_free(i);
}

static void good_files(void **state) {
  (void)state;
  reads(model_of("w.bin", NULL, NULL), 0);
  reads(model_of("w.bin", "8", "8"), 2);
  reads(model_of("w.bin", "56", NULL), 14);
  reads(model_of("dir/w.bin", "0", "8"), 0);
  reads(model_of("./w.bin", "0", "8"), 0);
}

static void used_in_place_when_aligned(void **state) {
  (void)state;
  imported *i = import_model(model_of("w.bin", "4", "8"), false);
  assert_int_equal(i->status, MIEN_OK);
  assert_false(mien__value_at(i->import.graph, 0)->owned);
  import_free(i);
  uint8_t bytes[9] = {0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40};
  test_write("odd.bin", bytes, sizeof bytes);
  reads(model_of("odd.bin", "1", "8"), 1);
}

static void locations_are_refused(void **state) {
  (void)state;
  static const char *const rows[] = {"../x",         "a/../../x", "dir/../w.bin", "/etc/passwd",
                                     "//etc/passwd", "",          "a/",           "a//b"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    import_fails(model_of(rows[i], NULL, NULL), MIEN_INVALID_MODEL, "expected a path below the model's directory");
  import_fails(model_of(".", NULL, NULL), MIEN_IO, "is a directory");
  import_fails(model_of("..\\x", NULL, NULL), MIEN_IO, "No such file");
  import_fails(model_of("C:\\x", NULL, NULL), MIEN_IO, "No such file");
}

static void links_are_refused(void **state) {
  (void)state;
  assert_int_equal(symlink("w.bin", test_path("inside")), 0);
  assert_int_equal(symlink("/etc/passwd", test_path("outside")), 0);
  assert_int_equal(symlink("/etc", test_path("etc")), 0);
  assert_int_equal(symlink("dir", test_path("inner")), 0);
  import_fails(model_of("inside", NULL, NULL), MIEN_IO, "links are not followed");
  import_fails(model_of("outside", NULL, NULL), MIEN_IO, "initializer 'w': cannot open external data 'outside'");
  import_fails(model_of("etc/passwd", NULL, NULL), MIEN_IO, "cannot open external data");
  import_fails(model_of("inner/w.bin", NULL, NULL), MIEN_IO, "cannot open external data");
}

static void files_that_are_none(void **state) {
  (void)state;
  assert_int_equal(mkfifo(test_path("pipe"), 0600), 0);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  assert_true(strlen(test_path("socket")) < sizeof address.sun_path);
  strcpy(address.sun_path, test_path("socket"));
  assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
  import_fails(model_of("pipe", NULL, NULL), MIEN_IO, "is a pipe");
  import_fails(model_of("dir", NULL, NULL), MIEN_IO, "is a directory");
  import_fails(model_of("socket", NULL, NULL), MIEN_IO, "cannot open");
  import_fails(model_of("none", NULL, NULL), MIEN_IO, "No such file");
  close(s);
}

static void offsets_and_lengths(void **state) {
  (void)state;
  import_fails(model_of("w.bin", "60", "8"), MIEN_INVALID_MODEL, "has 64 bytes, offset 60 + 8 expected");
  import_fails(model_of("empty.bin", NULL, NULL), MIEN_INVALID_MODEL, "has 0 bytes");
  import_fails(model_of("w.bin", "18446744073709551612", "8"), MIEN_INVALID_MODEL, "expected");
  import_fails(model_of("w.bin", "9223372036854775807", "8"), MIEN_INVALID_MODEL, "expected");
  import_fails(model_of("w.bin", "0", "1125899906842624"), MIEN_INVALID_MODEL, "length is 1125899906842624 bytes");
  import_fails(model_of("w.bin", "0", "4"), MIEN_INVALID_MODEL, "length is 4 bytes, its type needs 8");
  import_fails(model_of("w.bin", "0", "0"), MIEN_INVALID_MODEL, "length is 0");
  static const char *const numbers[] = {"-1",  "12abc", " 12", "0x10",
                                        "1e3", "",      "+8",  "1234567890123456789012345678901234567890"};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    import_fails(model_of("w.bin", numbers[i], "8"), MIEN_INVALID_MODEL, "is no number");
    import_fails(model_of("w.bin", "0", numbers[i]), MIEN_INVALID_MODEL, "is no number");
  }
}

static wire model_with(wire w) {
  wire graph = {0};
  wire_message(&graph, 5, w);
  wire_message(&graph, 12, onnx_value("w", MIEN_F32, "2"));
  return onnx_model(graph);
}

static void entries(void **state) {
  (void)state;
  wire unknown = onnx_tensor("w", MIEN_F32, "2");
  wire_int(&unknown, 14, 1);
  wire_message(&unknown, 13, onnx_pair("location", "w.bin"));
  wire twice = wire_copy(unknown), raw = wire_copy(unknown), strange = wire_copy(unknown);
  wire_message(&unknown, 13, onnx_pair("__class__", "1"));
  wire_message(&twice, 13, onnx_pair("location", "w.bin"));
  wire_bytes(&raw, 9, "12345678", 8);
  wire_int(&strange, 14, 7);
  import_fails(model_with(unknown), MIEN_INVALID_MODEL, "has key '__class__'");
  import_fails(model_with(twice), MIEN_INVALID_MODEL, "has key 'location' twice");
  import_fails(model_with(raw), MIEN_INVALID_MODEL, "external but has data in raw_data");
  import_fails(model_with(strange), MIEN_INVALID_MODEL, "data location 7");
  import_fails(model_of(NULL, "0", "8"), MIEN_INVALID_MODEL, "no location");
  wire unmarked = onnx_tensor("w", MIEN_F32, "2");
  wire_message(&unmarked, 13, onnx_pair("location", "w.bin"));
  import_fails(model_with(unmarked), MIEN_INVALID_MODEL, "not marked as external");
  wire nul = onnx_tensor("w", MIEN_F32, "2"), pair = {0};
  wire_text(&pair, 1, "location");
  wire_bytes(&pair, 2, "w.bin\0x", 7);
  wire_int(&nul, 14, 1);
  wire_message(&nul, 13, pair);
  import_fails(model_with(nul), MIEN_INVALID_MODEL, "is not UTF-8 text without NUL");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(good_files),
                                     cmocka_unit_test(used_in_place_when_aligned),
                                     cmocka_unit_test(locations_are_refused),
                                     cmocka_unit_test(links_are_refused),
                                     cmocka_unit_test(files_that_are_none),
                                     cmocka_unit_test(offsets_and_lengths),
                                     cmocka_unit_test(entries)};
  return cmocka_run_group_tests(tests, setup, test_directory_remove);
}
