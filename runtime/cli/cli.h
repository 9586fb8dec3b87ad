/* runtime/cli/cli.h -- what the subcommands of the program share. Results go to stdout, all else to stderr. Exit status:
** 0 good, 1 failed or mismatch, 2 wrong usage. */
#ifndef MIEN_CLI_H
#define MIEN_CLI_H

#include <cjson/cJSON.h>
#include <getopt.h>
#include <mien/convert.h>
#include <mien/mien.h>
#include <stdio.h>

enum { CLI_GOOD = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#define CLI_MAX_LIST 256

/* Options that every subcommand may have. */
typedef struct cli_options {
  bool json;
  const char *plugins[CLI_MAX_LIST];
  int plugin_count;
  int threads;
} cli_options;

typedef struct cli_command {
  const char *name, *summary, *usage; /* usage: the whole help text */
  int (*run)(int argc, char **argv);  /* argv[0] is the subcommand's name */
} cli_command;

extern const cli_command cli_convert, cli_run, cli_info, cli_check, cli_bench, cli_profile_command, cli_ops, cli_passes;

/* ---- common.c */

/* "mien run: message" on stderr; returns CLI_FAILED or CLI_USAGE. */
int cli_fail(const char *command, const char *format, ...) MIEN_PRINTF(2, 3);
int cli_usage(const cli_command *command, const char *format, ...) MIEN_PRINTF(2, 3);
/* The next option of argv by getopt_long; common ones (plugin, json, threads) are taken into *options here. Returns the `val` of the
** command's own table, -1 at the end, '?' after a message about wrong usage. The command's table starts with CLI_COMMON. */
int cli_option(const cli_command *command, int argc, char **argv, const struct option *table, cli_options *options);
enum { CLI_OPTION_PLUGIN = 1000, CLI_OPTION_JSON, CLI_OPTION_THREADS, CLI_OPTION_MEASURE };
#define CLI_COMMON \
  {"plugin", required_argument, NULL, CLI_OPTION_PLUGIN}, { "json", no_argument, NULL, CLI_OPTION_JSON }
#define CLI_THREADS \
  { "threads", required_argument, NULL, CLI_OPTION_THREADS }
/* The one positional argument; NULL after a message. */
const char *cli_argument(const cli_command *command, int argc, char **argv, const char *what);
/* An env with the plugins of --plugin, MIEN_PLUGIN_PATH, the program's own and the installation's directory. */
mien_status cli_env(const cli_options *options, mien_env **env, mien_error *error);
/* Whole decimal numbers within [low, high]; false with no message otherwise. */
bool cli_integer(const char *text, long long low, long long high, long long *value);
bool cli_number(const char *text, double low, double high, double *value);
/* Prints and frees. */
int cli_print_json(const char *command, cJSON *json);
/* Status of stdout after the last write: a full disk is a failure. */
int cli_finish(const char *command);
/* Nanoseconds of a clock that only goes forward. */
double cli_now(void);
/* Opens a plan and says once which operators run through their decomposition. */
mien_status cli_open(mien_env *env, const char *path, mien_plan **plan, mien_error *error);

/* ---- tensors.c */

/* A list of NAME=FILE words. */
typedef struct cli_pairs {
  const char *name[CLI_MAX_LIST]; /* NULL: no name was given */
  const char *value[CLI_MAX_LIST];
  char *storage[CLI_MAX_LIST];
  int count;
} cli_pairs;
bool cli_pairs_add(cli_pairs *pairs, const char *word);
void cli_pairs_clear(cli_pairs *pairs);

/* Inputs of a plan read from files: .npy, TensorProto .pb, JPEG and PNG (told apart by content); "random" gives the seeded
** input. Several pictures for one input make a batch. Inputs that are not given are an error unless `fill` (then random).
** batch: the size of open dimensions of random inputs. */
typedef struct cli_inputs {
  mien_binding bindings[CLI_MAX_LIST];
  size_t count;
} cli_inputs;
mien_status cli_inputs_read(mien_env *env, const mien_plan *plan, const cli_pairs *pairs, bool fill, int64_t batch,
                            uint64_t seed, cli_inputs *inputs, mien_error *error);
void cli_inputs_clear(mien_env *env, cli_inputs *inputs);

/* ---- measure.c */

/* What commands that run a plan many times have in common. */
typedef struct cli_measure {
  cli_options options;
  cli_pairs pairs;
  long long batch, runs;  /* runs: at least */
  double seconds, warmup; /* seconds: at least; warmup: ms */
  const char *path;
  mien_env *env;
  mien_plan *plan;
  mien_session *session;
  cli_inputs inputs;
  mien_binding outputs[CLI_MAX_LIST];
  size_t output_count;
  double load_ms, first_ms;
} cli_measure;
/* Their options, to begin a command's table with. */
enum { CLI_MEASURE_OPTIONS = 8 };
extern const struct option cli_measure_options[CLI_MEASURE_OPTIONS];
#define CLI_MEASURE_HELP                                                                 \
  "  --input NAME=FILE  as for `mien run`; inputs that are not given are seeded noise\n" \
  "  --batch N          size of open dimensions (1)\n"                                   \
  "  --threads N        default: what affinity, the cgroup and OMP_NUM_THREADS allow\n"  \
  "  --warmup MS        (200)\n"                                                         \
  "  --plugin FILE      load a plugin (repeat for more)\n"                               \
  "  --json             one JSON object\n"
/* Takes one of them; CLI_USAGE after a message. */
int cli_measure_option(const cli_command *command, int option, cli_measure *m);
/* Env, plan, session and inputs. */
mien_status cli_measure_open(cli_measure *m, mien_error *error);
void cli_measure_close(cli_measure *m);
mien_status cli_measure_run(cli_measure *m, double *ms, mien_error *error);
/* The first run and the warm-up. */
mien_status cli_measure_warm(cli_measure *m, mien_error *error);

/* "f32[1,7]" with open dimensions by name. */
const char *cli_port_text(const mien_port *port, char *text, size_t size);
const char *cli_type_text(const mien_type *type, char *text, size_t size); /* "?" where it depends on data */
cJSON *cli_tensor_json(const mien_tensor *tensor);
/* The first rows, as numpy prints them. */
void cli_tensor_print(FILE *file, const char *name, const mien_tensor *tensor);

#endif
