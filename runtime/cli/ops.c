/* ops.c -- mien ops and mien passes: what this mien knows, from its own tables. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const struct option table[] = {CLI_COMMON, {0}};

static void dtypes_text(const mien_op_info *info, char *text, size_t size) {
  size_t at = 0;
  text[0] = 0;
  for (const int32_t *d = info->dtypes; *d != MIEN_NONE && at < size; d++)
    at += (size_t)snprintf(text + at, size - at, "%s%s", at ? " " : "", *d == MIEN_ANY ? "any" : mien_dtype_name(*d));
}

static cJSON *op_json(const mien_op_info *info) {
  cJSON *json = cJSON_CreateObject();
  cJSON_AddStringToObject(json, "domain", *info->domain ? info->domain : "ai.onnx");
  cJSON_AddStringToObject(json, "name", info->name);
  cJSON_AddNumberToObject(json, "since", info->since);
  if (info->until) cJSON_AddNumberToObject(json, "until", info->until);
  cJSON_AddStringToObject(json, "signature", info->signature);
  cJSON *types = cJSON_AddArrayToObject(json, "types");
  for (const int32_t *d = info->dtypes; *d != MIEN_NONE; d++)
    cJSON_AddItemToArray(types, cJSON_CreateString(*d == MIEN_ANY ? "any" : mien_dtype_name(*d)));
  if (info->plugin) cJSON_AddStringToObject(json, "plugin", info->plugin);
  return json;
}

static int run_ops(int argc, char **argv) {
  cli_options options = {0};
  mien_env *env = NULL;
  mien_error error = {0};
  if (cli_option(&cli_ops, argc, argv, table, &options) != -1) return CLI_USAGE;
  if (optind < argc) return cli_usage(&cli_ops, "'%s' is one argument too many", argv[optind]);
  if (cli_env(&options, &env, &error) != MIEN_OK) return cli_fail(cli_ops.name, "%s", error.message);
  cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "operators");
  cJSON_AddNumberToObject(json, "schema", 1);
  for (size_t i = 0; i < mien_env_op_count(env); i++) {
    mien_op_info info;
    char text[256], versions[32];
    if (mien_env_op(env, i, &info) != MIEN_OK) continue;
    if (options.json) cJSON_AddItemToArray(list, op_json(&info));
    dtypes_text(&info, text, sizeof text);
    if (info.until)
      snprintf(versions, sizeof versions, "%d-%d", info.since, info.until);
    else
      snprintf(versions, sizeof versions, "%d-", info.since);
    if (!options.json)
      printf("%-12s %-22s %-7s %s%s%s\n", *info.domain ? info.domain : "ai.onnx", info.name, versions, text,
             info.plugin ? "  plugin " : "", info.plugin ? info.plugin : "");
  }
  int result = options.json ? cli_print_json(cli_ops.name, json) : cli_finish(cli_ops.name);
  if (!options.json) cJSON_Delete(json);
  mien_env_destroy(env);
  return result;
}

const cli_command cli_ops = {
    .name = "ops",
    .summary = "list the operators with their opset versions and types",
    .usage =
        "usage: mien ops [--json] [--plugin FILE]...\n\n"
        "One line an operator and range of opset versions, with the element types of its main operand. The list is\n"
        "read from the tables that dispatch, plugins included.\n",
    .run = run_ops,
};

static int run_passes(int argc, char **argv) {
  cli_options options = {0};
  mien_env *env = NULL;
  mien_error error = {0};
  mien_pass_info rows[CLI_MAX_LIST];
  size_t count = CLI_MAX_LIST;
  if (cli_option(&cli_passes, argc, argv, table, &options) != -1) return CLI_USAGE;
  if (optind < argc) return cli_usage(&cli_passes, "'%s' is one argument too many", argv[optind]);
  mien_status status = cli_env(&options, &env, &error);
  if (status == MIEN_OK) status = mien_convert_passes(env, rows, &count, &error);
  if (status != MIEN_OK) {
    mien_env_destroy(env);
    return cli_fail(cli_passes.name, "%s", error.message);
  }
  cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "passes");
  cJSON_AddNumberToObject(json, "schema", 1);
  for (size_t i = 0; i < count && i < CLI_MAX_LIST; i++) {
    if (!options.json) printf("%-13s %-28s %s\n", rows[i].stage, rows[i].name, rows[i].doc);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", rows[i].name);
    cJSON_AddStringToObject(row, "stage", rows[i].stage);
    cJSON_AddStringToObject(row, "doc", rows[i].doc);
    if (rows[i].plugin) cJSON_AddStringToObject(row, "plugin", rows[i].plugin);
    cJSON_AddItemToArray(list, row);
  }
  int result = options.json ? cli_print_json(cli_passes.name, json) : cli_finish(cli_passes.name);
  if (!options.json) cJSON_Delete(json);
  mien_env_destroy(env);
  return result;
}

const cli_command cli_passes = {
    .name = "passes",
    .summary = "list the passes in the order in which they run",
    .usage = "usage: mien passes [--json] [--plugin FILE]...\n\n"
             "Stage, name and what each does. `mien convert --skip-pass NAME` leaves one out.\n",
    .run = run_passes,
};
