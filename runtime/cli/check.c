/* check.c -- mien check: the golden values of a plan, on this machine. */
#include "cli.h"

#include <math.h>

static const struct option table[] = {CLI_COMMON, CLI_THREADS, {0}};

static void print_text(const mien_check_row *rows, size_t count, const mien_session_info *info) {
  printf("%-40s %12s %12s %12s\n", "value", "max abs", "max rel", "tolerance");
  for (size_t i = 0; i < count; i++)
    printf("%-40.40s %12.3g %12.3g %12.3g  %s\n", rows[i].name, rows[i].max_abs, rows[i].max_rel, rows[i].tolerance,
           rows[i].good ? "good" : "WRONG");
  printf("kernels %s, threads %d\n", info->isa, info->threads);
}

static int print_json(const mien_check_row *rows, size_t count, const mien_session_info *info, bool good) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddNumberToObject(json, "schema", 1);
  cJSON_AddBoolToObject(json, "good", good);
  cJSON_AddStringToObject(json, "isa", info->isa);
  cJSON_AddNumberToObject(json, "threads", info->threads);
  cJSON *list = cJSON_AddArrayToObject(json, "values");
  for (size_t i = 0; i < count; i++) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", rows[i].name);
    cJSON_AddNumberToObject(row, "max_abs", rows[i].max_abs);
    cJSON_AddNumberToObject(row, "max_rel", rows[i].max_rel);
    cJSON_AddNumberToObject(row, "tolerance", rows[i].tolerance);
    cJSON_AddBoolToObject(row, "good", rows[i].good);
    cJSON_AddItemToArray(list, row);
  }
  return cli_print_json(cli_check.name, json);
}

static int run(int argc, char **argv) {
  cli_options options = {0};
  if (cli_option(&cli_check, argc, argv, table, &options) != -1) return CLI_USAGE;
  const char *path = cli_argument(&cli_check, argc, argv, "plan");
  if (!path) return CLI_USAGE;
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_error error = {0};
  mien_check_row rows[CLI_MAX_LIST];
  size_t count = CLI_MAX_LIST;
  mien_session_options session_options = {.threads = options.threads};
  mien_status status = cli_env(&options, &env, &error);
  if (status == MIEN_OK) status = cli_open(env, path, &plan, &error);
  if (status == MIEN_OK) status = mien_session_create(plan, &session_options, &session, &error);
  if (status == MIEN_OK) status = mien_session_check(session, rows, &count, &error);
  int result = CLI_FAILED;
  if (status == MIEN_OK || status == MIEN_MISMATCH) {
    mien_session_info info;
    mien_session_get_info(session, &info);
    if (count > CLI_MAX_LIST) count = CLI_MAX_LIST;
    if (options.json)
      result = print_json(rows, count, &info, status == MIEN_OK);
    else {
      print_text(rows, count, &info);
      result = cli_finish(cli_check.name);
    }
  }
  if (status != MIEN_OK) result = cli_fail(cli_check.name, "%s", error.message);
  mien_session_destroy(session);
  mien_plan_close(plan);
  mien_env_destroy(env);
  return result;
}

const cli_command cli_check = {
    .name = "check",
    .summary = "compare this machine's results with the recorded ones",
    .usage = "usage: mien check MODEL.plan [--threads N] [--json] [--plugin FILE]...\n\n"
             "A plan carries the seed of an input and what the converter computed from it. Runs that here, with this\n"
             "machine's kernels; the exit status is the verdict: 0 all values within tolerance, 1 not.\n",
    .run = run,
};
