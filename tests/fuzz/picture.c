/* PNG and JPEG: which one, the content says. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool fuzz_seed(const char *path, uint8_t **data, size_t *size) {
  (void)data;
  (void)size;
  return strstr(path, ".png") != NULL || strstr(path, ".jpg") != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[96];
  snprintf(path, sizeof path, "%s", fuzz_path("picture"));
  fuzz_write(path, data, size);
  mien_env *env = fuzz_env(data, size);
  mien_error error = {0};
  const mien_picture wanted = {.input = "image",
                               .width = 17,
                               .height = 11,
                               .resize = "pillow-bilinear",
                               .color = "RGB",
                               .scale = 255,
                               .mean = {0.5f, 0.5f, 0.5f},
                               .std = {0.25f, 0.25f, 0.25f}};
  float *out = malloc(3 * 17 * 11 * sizeof *out);
  if (!out) fuzz_die("memory", "no planes");
  fuzz_failed(mien_picture_read(env, path, &wanted, out, &error), &error);
  free(out);
  fuzz_env_close(env);
  return 0;
}
