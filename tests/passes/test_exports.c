/* tests/passes/test_exports.c -- what exporters make of one idea ends as the same operators: the small POSTER-Var of models/ and
** every network of models/spelled. */
#define PASS_PLUGIN MIEN_BINARY_DIR "/plugins/libmien_poster.so"
#include "pass_test.h"

#include "converter/import.h"
#include <dirent.h>

/* Imports, rewrites and counts; runs both graphs and compares. */
static void check_file(const char *path, const char *left) {
  mien_env *env = new_env();
  mien__import plain, rewritten;
  good(mien_env_load_plugin(env, PASS_PLUGIN, &failure));
  good(mien__import_open(&plain, env, path, &failure));
  good(mien__import_infer(&plain));
  good(mien__import_open(&rewritten, env, path, &failure));
  good(mien__import_infer(&rewritten));
  pass_apply(rewritten.graph, NULL);
  pass_expect(rewritten.graph, left);
  pass_run(plain.graph);
  pass_run(rewritten.graph);
  pass_compare(plain.graph, rewritten.graph, 2e-5);
  mien__import_close(&plain);
  mien__import_close(&rewritten);
  mien_env_destroy(env);
}

static void poster_var(void **state) {
  (void)state;
  check_file(MIEN_SOURCE_DIR "/models/poster_var_small/model.onnx",
             "= Add 4, Concat 1, LayerNormalization 12, Pad 1, Reshape 13, Slice 4, Transpose 1, mien.Attention 2, "
             "mien.Conv 44, "
             "mien.Linear 18, poster.ChannelAttention 1, poster.VICH 1, poster.WindowCrossAttention 3");
}

static const struct {
  const char *name, *left; /* the first row that is the beginning of the folder's name */
} spellings[] = {
    {"attention_", "= mien.Attention 1, mien.Linear 4"},
    {"channel_gate_", "= poster.ChannelAttention 1"},
    {"gelu_", "= Gelu 1"},
    {"layer_norm_", "= LayerNormalization 1"},
    {"vich_", "= poster.VICH 1"},
    {"window_one_", "= poster.WindowCrossAttention 1, LayerNormalization 2, Reshape 3, Transpose 2, mien.Linear 2"},
    {"window_", "poster.WindowCrossAttention 1, LayerNormalization 2, mien.Linear 2, mien.Attention 0"}};

static void spelled(void **state) {
  (void)state;
  const char *folder = MIEN_SOURCE_DIR "/models/spelled";
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  int count = 0;
  for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings; i++) {
      char path[512];
      if (strncmp(entry->d_name, spellings[i].name, strlen(spellings[i].name)) != 0) continue;
      snprintf(path, sizeof path, "%s/%.200s/model.onnx", folder, entry->d_name);
      print_message("%s\n", entry->d_name);
      check_file(path, spellings[i].left);
      count++;
      break;
    }
  closedir(dir);
  assert_true(count >= 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(poster_var), cmocka_unit_test(spelled)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
