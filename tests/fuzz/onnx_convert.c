/* An ONNX model from outside: converted, and what comes of it opened and run. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fuzz_seed(const char *path, uint8_t **data, size_t *size) {
  (void)data;
  (void)size;
  return strlen(path) > 3 && strcmp(path + strlen(path) - 3, ".pb") != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char model[96], plan_path[96];
  snprintf(model, sizeof model, "%s", fuzz_path("model.onnx"));
  snprintf(plan_path, sizeof plan_path, "%s", fuzz_path("model.plan"));
  fuzz_write(model, data, size);
  mien_env *env = fuzz_env(data, size);
  mien_convert_options options = {.verify = getenv("MIEN_FUZZ_VERIFY") ? 1 : 0, .seed = 1};
  mien_convert_report report = {0};
  mien_plan *plan = NULL;
  mien_error error = {0};
  mien_status status = mien_convert(env, model, plan_path, &options, &report, &error);
  fuzz_failed(status, &error);
  if (status == MIEN_MISMATCH && options.verify) fuzz_die("plan and graph differ", error.message);
  if (status != MIEN_OK && access(plan_path, F_OK) == 0) fuzz_die("a failed conversion left a plan", error.message);
  mien_convert_report_free(env, &report);
  if (status == MIEN_OK) {
    status = mien_plan_open(env, plan_path, 0, &plan, &error);
    fuzz_failed(status, &error);
    if (status != MIEN_OK && status != MIEN_NO_MEMORY) fuzz_die("a new plan does not open", error.message);
  }
  if (status == MIEN_OK) fuzz_plan(plan, true);
  mien_plan_close(plan);
  unlink(plan_path);
  fuzz_env_close(env);
  return 0;
}
