/* A plan from outside: as it is, and again with the right checksums, so that what they guard is reached. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool read_whole(const char *path, uint8_t **data, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f) return false;
  *size = 0;
  size_t room = (size_t)1 << 23;
  *data = malloc(room);
  if (*data) *size = fread(*data, 1, room, f);
  fclose(f);
  return *data && *size < room;
}

/* Models become plans: with names of weights, golden values, everything the converter writes. */
bool fuzz_seed(const char *path, uint8_t **data, size_t *size) {
  size_t length = strlen(path);
  if (length < 5 || strcmp(path + length - 5, ".onnx") != 0) return strstr(path, ".pb") == NULL;
  mien_env *env = NULL;
  if (mien_env_create(NULL, &env, NULL) != MIEN_OK) return false;
  char plan[96];
  snprintf(plan, sizeof plan, "%s", fuzz_path("seed.plan"));
  mien_convert_options options = {.seed = 1};
  bool good = mien_convert(env, path, plan, &options, NULL, NULL) == MIEN_OK && read_whole(plan, data, size);
  mien_env_destroy(env);
  return good;
}

static void try_plan(const uint8_t *data, size_t size) {
  mien_env *env = fuzz_env(data, size);
  mien_plan *plan = NULL;
  mien_error error = {0};
  mien_status status = mien_plan_open_memory(env, data, size, 0, &plan, &error);
  fuzz_failed(status, &error);
  if (status == MIEN_OK) fuzz_plan(plan, false);
  mien_plan_close(plan);
  fuzz_env_close(env);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try_plan(data, size);
  uint8_t *sealed = malloc(size + 1);
  if (!sealed) return 0;
  if (size) memcpy(sealed, data, size);
  fuzz_seal(sealed, size);
  if (size && memcmp(sealed, data, size) != 0) try_plan(sealed, size);
  free(sealed);
  return 0;
}
