/* common.c -- messages, numbers, plugins, JSON: what every subcommand needs. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int cli_fail(const char *command, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "mien %s: ", command);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  return CLI_FAILED;
}

int cli_usage(const cli_command *command, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "mien %s: ", command->name);
  vfprintf(stderr, format, args);
  fprintf(stderr, "; `mien %s --help` says how it is used\n", command->name);
  va_end(args);
  return CLI_USAGE;
}

int cli_option(const cli_command *command, int argc, char **argv, const struct option *table, cli_options *options) {
  long long threads;
  opterr = 0;
  for (;;) {
    int option = getopt_long(argc, argv, ":o:", table, NULL);
    switch (option) {
      case CLI_OPTION_JSON: options->json = true; break;
      case CLI_OPTION_PLUGIN:
        if (options->plugin_count == CLI_MAX_LIST) {
          cli_usage(command, "at most %d plugins", CLI_MAX_LIST);
          return '?';
        }
        options->plugins[options->plugin_count++] = optarg;
        break;
      case CLI_OPTION_THREADS:
        if (!cli_integer(optarg, 1, 4096, &threads)) {
          cli_usage(command, "--threads is '%s', expected a number from 1 to 4096", optarg);
          return '?';
        }
        options->threads = (int)threads;
        break;
      case ':': cli_usage(command, "option '%s' needs a value", argv[optind - 1]); return '?';
      case '?': cli_usage(command, "unknown option '%s'", argv[optind - 1]); return '?';
      default: return option;
    }
  }
}

const char *cli_argument(const cli_command *command, int argc, char **argv, const char *what) {
  if (argc - optind == 1) return argv[optind];
  if (argc - optind < 1)
    cli_usage(command, "%s is missing", what);
  else
    cli_usage(command, "one %s is expected, '%s' is one too many", what, argv[optind + 1]);
  return NULL;
}

bool cli_integer(const char *text, long long low, long long high, long long *value) {
  char *end;
  errno = 0;
  long long v = strtoll(text, &end, 10);
  if (end == text || *end || errno || v < low || v > high) return false;
  *value = v;
  return true;
}

bool cli_number(const char *text, double low, double high, double *value) {
  char *end;
  double v = strtod(text, &end); /* the program never calls setlocale: '.' is the decimal point */
  if (end == text || *end || !(v >= low && v <= high)) return false;
  *value = v;
  return true;
}

/* The directory `plugins` beside the program: a build tree that has not been installed. */
static void own_plugins(char *path, size_t size) {
  ssize_t n = readlink("/proc/self/exe", path, size - 1);
  path[n < 0 ? 0 : n] = 0;
  char *slash = strrchr(path, '/');
  size_t room = slash ? size - (size_t)(slash - path) : 0;
  if (!slash || (size_t)snprintf(slash, room, "/plugins") >= room) path[0] = 0;
}

mien_status cli_env(const cli_options *options, mien_env **env, mien_error *error) {
  char own[PATH_MAX + 16];
  mien_env *fresh;
  mien_status status = mien_env_create(NULL, &fresh, error);
  if (status != MIEN_OK) return status;
  for (int i = 0; status == MIEN_OK && i < options->plugin_count; i++)
    status = mien_env_load_plugin(fresh, options->plugins[i], error);
  const char *path = getenv("MIEN_PLUGIN_PATH");
  if (status == MIEN_OK && path) status = mien_env_load_plugins(fresh, path, error);
  own_plugins(own, sizeof own);
  if (status == MIEN_OK) status = mien_env_load_plugins(fresh, own, error);
  if (status == MIEN_OK) status = mien_env_load_plugins(fresh, mien_plugin_directory(), error);
  if (status != MIEN_OK) {
    mien_env_destroy(fresh);
    return status;
  }
  *env = fresh;
  return MIEN_OK;
}

int cli_print_json(const char *command, cJSON *json) {
  char *text = json ? cJSON_Print(json) : NULL;
  cJSON_Delete(json);
  if (!text) return cli_fail(command, "no memory for the JSON text");
  puts(text);
  cJSON_free(text);
  return cli_finish(command);
}

int cli_finish(const char *command) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_GOOD;
  return cli_fail(command, "cannot write to stdout: %s", strerror(errno));
}

double cli_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

mien_status cli_open(mien_env *env, const char *path, mien_plan **plan, mien_error *error) {
  mien_status status = mien_plan_open(env, path, 0, plan, error);
  if (status == MIEN_OK && *mien_plan_notice(*plan)) fprintf(stderr, "mien: %s\n", mien_plan_notice(*plan));
  return status;
}
