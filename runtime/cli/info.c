/* info.c -- mien info: what is in a plan. */
#include "cli.h"

#include <string.h>

static const struct option table[] = {CLI_COMMON, {0}};

static const char *text_of(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsString(item) ? item->valuestring : "";
}

static double number_of(const cJSON *object, const char *key) {
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
  return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static void print_ports(const mien_plan *plan) {
  char text[256];
  mien_port port;
  for (size_t i = 0; i < mien_plan_input_count(plan); i++)
    if (mien_plan_input(plan, i, &port) == MIEN_OK)
      printf("%-9s %-24s %s\n", i ? "" : "inputs", port.name, cli_port_text(&port, text, sizeof text));
  for (size_t i = 0; i < mien_plan_output_count(plan); i++)
    if (mien_plan_output(plan, i, &port) == MIEN_OK)
      printf("%-9s %-24s %s\n", i ? "" : "outputs", port.name, cli_port_text(&port, text, sizeof text));
}

static void print_pairs(const char *title, const cJSON *object) {
  const cJSON *item;
  int i = 0;
  cJSON_ArrayForEach(item, object) {
    const char *head = i++ ? "" : title;
    if (cJSON_IsNumber(item))
      printf("%-9s %-40s %10.0f\n", head, item->string, item->valuedouble);
    else if (cJSON_IsString(item))
      printf("%-9s %-24s %s\n", head, item->string, item->valuestring);
  }
}

static void print_operators(const cJSON *list) {
  const cJSON *row;
  int i = 0;
  cJSON_ArrayForEach(row, list) {
    const char *plugin = text_of(row, "plugin"), *domain = text_of(row, "domain");
    char op[160];
    bool standard = strcmp(domain, "ai.onnx") == 0;
    snprintf(op, sizeof op, "%s%s%s", standard ? "" : domain, standard ? "" : ".", text_of(row, "op"));
    printf("%-9s %-32s %8.0f%s%s\n", i++ ? "" : "operators", op, number_of(row, "count"), *plugin ? "  plugin " : "",
           plugin);
  }
}

static void print_labels(const mien_plan *plan) {
  size_t count;
  const char *const *labels = mien_plan_labels(plan, &count);
  for (size_t i = 0; i < count; i++) printf("%s%s", i ? ", " : "labels    ", labels[i]);
  if (count) putchar('\n');
}

static int run(int argc, char **argv) {
  cli_options options = {0};
  if (cli_option(&cli_info, argc, argv, table, &options) != -1) return CLI_USAGE;
  const char *path = cli_argument(&cli_info, argc, argv, "plan");
  if (!path) return CLI_USAGE;
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_error error = {0};
  mien_status status = cli_env(&options, &env, &error);
  if (status == MIEN_OK) status = cli_open(env, path, &plan, &error);
  int result = CLI_GOOD;
  if (status != MIEN_OK) {
    result = cli_fail(cli_info.name, "%s", error.message);
  } else if (options.json) {
    puts(mien_plan_json(plan));
  } else {
    cJSON *json = cJSON_Parse(mien_plan_json(plan));
    printf("%-9s %s\n", "plan", path);
    print_ports(plan);
    print_labels(plan);
    print_operators(cJSON_GetObjectItemCaseSensitive(json, "operators"));
    print_pairs("bytes", cJSON_GetObjectItemCaseSensitive(json, "sections"));
    print_pairs("meta", cJSON_GetObjectItemCaseSensitive(json, "meta"));
    cJSON_Delete(json);
  }
  mien_plan_close(plan);
  mien_env_destroy(env);
  return result ? result : cli_finish(cli_info.name);
}

const cli_command cli_info = {
    .name = "info",
    .summary = "show what is in a plan",
    .usage = "usage: mien info MODEL.plan [--json] [--plugin FILE]...\n\n"
             "Inputs, outputs, labels, operators, sizes and provenance. --json adds the constants with the checkpoint\n"
             "names and folds they came from, the picture contract and the names of golden values.\n",
    .run = run,
};
