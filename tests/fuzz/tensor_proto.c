#include "fuzz.h"

#include <stdio.h>
#include <string.h>

bool fuzz_seed(const char *path, uint8_t **data, size_t *size) {
  (void)data;
  (void)size;
  return strstr(path, ".pb") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[96];
  snprintf(path, sizeof path, "%s", fuzz_path("tensor.pb"));
  fuzz_write(path, data, size);
  mien_env *env = fuzz_env(data, size);
  mien_tensor tensor = {0};
  mien_error error = {0};
  fuzz_failed(mien_tensor_proto_read(env, path, &tensor, &error), &error);
  mien_tensor_clear(env, &tensor);
  fuzz_env_close(env);
  return 0;
}
