#include "fuzz.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool fuzz_seed(const char *path, uint8_t **data, size_t *size) {
  (void)data;
  (void)size;
  return strstr(path, ".npy") != NULL;
}

/* What can be read can be written, and reads the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[96];
  snprintf(path, sizeof path, "%s", fuzz_path("tensor.npy"));
  fuzz_write(path, data, size);
  mien_env *env = fuzz_env(data, size);
  mien_tensor tensor = {0}, again = {0};
  mien_error error = {0};
  mien_status status = mien_npy_read(env, path, &tensor, &error);
  fuzz_failed(status, &error);
  if (status == MIEN_OK) {
    status = mien_npy_write(env, path, &tensor, &error);
    fuzz_failed(status, &error);
    if (status == MIEN_OK) status = mien_npy_read(env, path, &again, &error);
    if (status != MIEN_OK && status != MIEN_NO_MEMORY && status != MIEN_UNSUPPORTED)
      fuzz_die("what was read cannot be written and read", error.message);
    if (status == MIEN_OK &&
        (again.bytes != tensor.bytes || (tensor.bytes && memcmp(again.data, tensor.data, tensor.bytes) != 0)))
      fuzz_die("npy", "other elements after writing");
  }
  mien_tensor_clear(env, &tensor);
  mien_tensor_clear(env, &again);
  fuzz_env_close(env);
  return 0;
}
