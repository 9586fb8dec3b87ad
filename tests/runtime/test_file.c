#include "tests/converter/onnx_writer.h"

#include <sys/resource.h>
#include <signal.h>

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

static int entries(void) {
  char command[128];
  snprintf(command, sizeof command, "ls -A '%s' | wc -l", test_directory);
  FILE *f = popen(command, "r");
  int n = -1;
  assert_non_null(f);
  assert_int_equal(fscanf(f, "%d", &n), 1);
  pclose(f);
  return n;
}

static void maps_and_copies(void **state) {
  (void)state;
  test_write("f", "hello", 5);
  for (int copy = 0; copy < 2; copy++) {
    mien__file file;
    assert_int_equal(mien__file_open(env, test_path("f"), copy, &file, NULL), MIEN_OK);
    assert_int_equal(file.size, 5);
    assert_int_equal(file.mapped, !copy);
    assert_memory_equal(file.data, "hello", 5);
    mien__file_close(env, &file);
    test_write("empty", "", 0);
    assert_int_equal(mien__file_open(env, test_path("empty"), copy, &file, NULL), MIEN_OK);
    assert_int_equal(file.size, 0);
    mien__file_close(env, &file);
  }
}

static void copies_are_limited(void **state) {
  (void)state;
  mien_env *small;
  mien__file file;
  mien_error error;
  const mien_env_options options = {.limits = {.load_bytes = 5}};
  assert_int_equal(mien_env_create(&options, &small, NULL), MIEN_OK);
  test_write("five", "12345", 5);
  test_write("six", "123456", 6);
  assert_int_equal(mien__file_open(small, test_path("five"), true, &file, NULL), MIEN_OK);
  mien__file_close(small, &file);
  assert_int_equal(mien__file_open(small, test_path("six"), true, &file, &error), MIEN_LIMIT);
  assert_non_null(strstr(error.message, "has 6 bytes, the limit for loading is 5"));
  mien_env_destroy(small);
}

static void regular_files_only(void **state) {
  (void)state;
  mien__file file;
  mien_error error;
  assert_int_equal(mien__file_open(env, test_directory, false, &file, &error), MIEN_IO);
  assert_non_null(strstr(error.message, "is a directory"));
  assert_int_equal(mkfifo(test_path("pipe"), 0600), 0);
  assert_int_equal(mien__file_open(env, test_path("pipe"), false, &file, &error), MIEN_IO); /* and does not wait */
  assert_non_null(strstr(error.message, "is a pipe"));
  assert_int_equal(mien__file_open(env, "/dev/zero", false, &file, &error), MIEN_IO);
  assert_non_null(strstr(error.message, "is a device"));
  assert_int_equal(mien__file_open(env, test_path("none"), false, &file, &error), MIEN_IO);
  assert_non_null(strstr(error.message, "No such file"));
}

static void writes_whole_files(void **state) {
  (void)state;
  mien__writer *w;
  int before = entries();
  mode_t old_mask = umask(027);
  assert_int_equal(mien__writer_create(env, test_path("new"), &w, NULL), MIEN_OK);
  umask(old_mask);
  char block[70000];
  memset(block, 'x', sizeof block);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(mien__writer_write(w, "abc", 3, NULL), MIEN_OK);
    assert_int_equal(mien__writer_write(w, block, sizeof block, NULL), MIEN_OK);
  }
  assert_int_equal(access(test_path("new"), F_OK), -1);
  assert_int_equal(mien__writer_flush(w, NULL), MIEN_OK);
  struct stat st;
  assert_int_equal(stat(mien__writer_temporary(w), &st), 0);
  assert_int_equal(st.st_size, 5 * 70003);
  assert_int_equal(mien__writer_finish(w, true, NULL), MIEN_OK);
  assert_int_equal(stat(test_path("new"), &st), 0);
  assert_int_equal(st.st_size, 5 * 70003);
  assert_int_equal(st.st_mode & 0777, 0640);
  assert_int_equal(entries(), before + 1);
}

/* Pieces that end before, at and behind the buffer's end, and such as are larger. */
static void writes_large_files(void **state) {
  (void)state;
  enum { BYTES = 13 << 20 };
  static const size_t sizes[] = {1, (2 << 20) - 1, 2 << 20, 5, 4 << 20, 3 << 20, 70000};
  uint8_t *data = test_malloc(BYTES);
  mien__writer *w;
  mien__file file;
  size_t at = 0;
  for (size_t i = 0; i < BYTES; i++) data[i] = (uint8_t)(i * 2654435761u >> 24);
  assert_int_equal(mien__writer_create(env, test_path("large"), &w, NULL), MIEN_OK);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; at += sizes[i++])
    assert_int_equal(mien__writer_write(w, data + at, sizes[i], NULL), MIEN_OK);
  assert_true(at <= BYTES);
  assert_int_equal(mien__writer_finish(w, true, NULL), MIEN_OK);
  assert_int_equal(mien__file_open(env, test_path("large"), false, &file, NULL), MIEN_OK);
  assert_int_equal(file.size, at);
  assert_memory_equal(file.data, data, at);
  mien__file_close(env, &file);
  test_free(data);
}

static void keeps_mode_and_old_file(void **state) {
  (void)state;
  mien__writer *w;
  test_write("old", "old", 3);
  assert_int_equal(chmod(test_path("old"), 0604), 0);
  assert_int_equal(symlink("old", test_path("link")), 0);
  int before = entries();
  assert_int_equal(mien__writer_create(env, test_path("old"), &w, NULL), MIEN_OK);
  assert_int_equal(mien__writer_write(w, "new", 3, NULL), MIEN_OK);
  assert_int_equal(mien__writer_finish(w, false, NULL), MIEN_OK);
  mien__file file;
  assert_int_equal(mien__file_open(env, test_path("old"), true, &file, NULL), MIEN_OK);
  assert_memory_equal(file.data, "old", 3);
  mien__file_close(env, &file);
  assert_int_equal(entries(), before);
  assert_int_equal(mien__writer_create(env, test_path("link"), &w, NULL), MIEN_OK);
  assert_int_equal(mien__writer_write(w, "newer", 5, NULL), MIEN_OK);
  assert_int_equal(mien__writer_finish(w, true, NULL), MIEN_OK);
  struct stat st;
  assert_int_equal(lstat(test_path("link"), &st), 0);
  assert_true(S_ISLNK(st.st_mode));
  assert_int_equal(lstat(test_path("old"), &st), 0);
  assert_int_equal(st.st_size, 5);
  assert_int_equal(st.st_mode & 0777, 0604);
}

static void write_failures(void **state) {
  (void)state;
  mien__writer *w;
  mien_error error;
  int before = entries();
  assert_int_equal(mien__writer_create(env, test_path("no/such/dir"), &w, &error), MIEN_IO);
  assert_int_equal(mien__writer_create(env, test_directory, &w, &error), MIEN_IO);
  assert_non_null(strstr(error.message, "no regular file"));
  struct rlimit old, small;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = old;
  small.rlim_cur = 100000;
  signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(mien__writer_create(env, test_path("big"), &w, &error), MIEN_OK);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
  char block[70000] = {0};
  mien_status status = MIEN_OK;
  for (int i = 0; i < 60 && status == MIEN_OK; i++) status = mien__writer_write(w, block, sizeof block, &error);
  assert_int_equal(status, MIEN_IO);
  assert_non_null(strstr(error.message, "cannot write"));
  assert_int_equal(mien__writer_finish(w, false, NULL), MIEN_OK);
  setrlimit(RLIMIT_FSIZE, &old);
  assert_int_equal(entries(), before);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(maps_and_copies),    cmocka_unit_test(copies_are_limited),
                                     cmocka_unit_test(regular_files_only), cmocka_unit_test(writes_whole_files),
                                     cmocka_unit_test(writes_large_files), cmocka_unit_test(keeps_mode_and_old_file),
                                     cmocka_unit_test(write_failures)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
