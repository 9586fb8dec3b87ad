/* bench.c -- mien bench: load, first run, latency and throughput of a plan. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { OPTION_INPUT = 1, OPTION_BATCH, OPTION_RUNS, OPTION_SECONDS, OPTION_WARMUP };

static const struct option table[] = {CLI_COMMON,
                                      CLI_THREADS,
                                      {"input", required_argument, NULL, OPTION_INPUT},
                                      {"batch", required_argument, NULL, OPTION_BATCH},
                                      {"runs", required_argument, NULL, OPTION_RUNS},
                                      {"seconds", required_argument, NULL, OPTION_SECONDS},
                                      {"warmup", required_argument, NULL, OPTION_WARMUP},
                                      {0}};

typedef struct request {
  cli_options options;
  cli_pairs inputs;
  long long batch, runs;
  double seconds, warmup;
  const char *path;
} request;

typedef struct figures {
  double *ms; /* sorted */
  size_t count;
  double load_ms, first_ms, mean, variation, total_s, cpu;
  mien_session_info info;
} figures;

static int parse(int argc, char **argv, request *r) {
  int option;
  while ((option = cli_option(&cli_bench, argc, argv, table, &r->options)) != -1) {
    switch (option) {
      case OPTION_INPUT:
        if (!cli_pairs_add(&r->inputs, optarg))
          return cli_usage(&cli_bench, "--input is '%s', expected NAME=FILE", optarg);
        break;
      case OPTION_BATCH:
        if (!cli_integer(optarg, 1, 1 << 20, &r->batch))
          return cli_usage(&cli_bench, "--batch is '%s', expected a number from 1", optarg);
        break;
      case OPTION_RUNS:
        if (!cli_integer(optarg, 1, 1000000, &r->runs))
          return cli_usage(&cli_bench, "--runs is '%s', expected a number from 1 to 1000000", optarg);
        break;
      case OPTION_SECONDS:
        if (!cli_number(optarg, 0, 86400, &r->seconds))
          return cli_usage(&cli_bench, "--seconds is '%s', expected a number from 0 to 86400", optarg);
        break;
      case OPTION_WARMUP:
        if (!cli_number(optarg, 0, 1e6, &r->warmup))
          return cli_usage(&cli_bench, "--warmup is '%s', expected milliseconds from 0 to 1000000", optarg);
        break;
      default: return CLI_USAGE;
    }
  }
  r->path = cli_argument(&cli_bench, argc, argv, "plan");
  return r->path ? CLI_GOOD : CLI_USAGE;
}

static double cpu_seconds(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* Peak of this program, bytes. ru_maxrss may count the program that started this one: VmHWM does not. */
static double peak_bytes(void) {
  char line[256];
  double kilobytes = 0;
  FILE *file = fopen("/proc/self/status", "r");
  while (file && fgets(line, sizeof line, file))
    if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtod(line + 6, NULL);
  if (file) fclose(file);
  return kilobytes * 1024;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Nearest rank. */
static double percentile(const figures *f, double p) {
  size_t rank = (size_t)ceil(p / 100 * (double)f->count);
  return f->ms[rank ? rank - 1 : 0];
}

static mien_status time_run(mien_session *session, const cli_inputs *inputs, mien_binding *outputs, size_t count,
                            double *ms, mien_error *error) {
  for (size_t i = 0; i < count; i++) outputs[i].tensor = (mien_tensor){0};
  double start = cli_now();
  mien_status status = mien_session_run(session, inputs->bindings, inputs->count, outputs, count, error);
  *ms = (cli_now() - start) * 1e-6;
  return status;
}

static mien_status measure(const mien_plan *plan, mien_session *session, const request *r, const cli_inputs *inputs,
                           figures *f, mien_error *error) {
  mien_binding outputs[CLI_MAX_LIST];
  size_t count = mien_plan_output_count(plan), room = 0;
  double ms, warm = 0;
  if (count > CLI_MAX_LIST) count = CLI_MAX_LIST;
  for (size_t i = 0; i < count; i++) {
    mien_port port;
    mien_status status = mien_plan_output(plan, i, &port);
    if (status != MIEN_OK) return status;
    outputs[i] = (mien_binding){.name = port.name};
  }
  mien_status status = time_run(session, inputs, outputs, count, &f->first_ms, error);
  while (status == MIEN_OK && warm < r->warmup) {
    status = time_run(session, inputs, outputs, count, &ms, error);
    warm += ms + 1e-3;
  }
  double start = cli_now(), cpu = cpu_seconds();
  while (status == MIEN_OK && (f->count < (size_t)r->runs || (cli_now() - start) * 1e-9 < r->seconds)) {
    if (f->count == room) {
      room = room ? room * 2 : 1024;
      double *grown = realloc(f->ms, room * sizeof *grown);
      if (!grown) return MIEN_NO_MEMORY;
      f->ms = grown;
    }
    status = time_run(session, inputs, outputs, count, &f->ms[f->count], error);
    f->count += status == MIEN_OK;
  }
  f->total_s = (cli_now() - start) * 1e-9;
  f->cpu = (cpu_seconds() - cpu) / f->total_s;
  return status;
}

static void summarise(figures *f) {
  qsort(f->ms, f->count, sizeof *f->ms, ascending);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < f->count; i++) sum += f->ms[i];
  f->mean = sum / (double)f->count;
  for (size_t i = 0; i < f->count; i++) squares += (f->ms[i] - f->mean) * (f->ms[i] - f->mean);
  f->variation = f->mean > 0 ? 100 * sqrt(squares / (double)f->count) / f->mean : 0;
}

static void print_text(const request *r, const figures *f) {
  printf("=== Performance summary: %s ===\n", r->path);
  printf("Kernels: %s, threads %d, batch %lld\n", f->info.isa, f->info.threads, r->batch);
  printf("Load: %.2f ms, first run: %.2f ms\n", f->load_ms, f->first_ms);
  printf("Throughput: %.2f runs/s, %.2f items/s (%zu runs in %.2f s)\n", (double)f->count / f->total_s,
         (double)f->count * (double)r->batch / f->total_s, f->count, f->total_s);
  printf("Latency: min = %.3f ms, max = %.3f ms, mean = %.3f ms, median = %.3f ms, percentile(90%%) = %.3f ms, "
         "percentile(95%%) = %.3f ms, percentile(99%%) = %.3f ms\n",
         f->ms[0], f->ms[f->count - 1], f->mean, percentile(f, 50), percentile(f, 90), percentile(f, 95),
         percentile(f, 99));
  printf("CPU: %.2f cores, peak memory: %.1f MiB (arena %.1f, packed constants %.1f)\n", f->cpu, peak_bytes() / 1048576,
         (double)f->info.arena_bytes / 1048576, (double)f->info.packed_bytes / 1048576);
  if (f->variation > 5)
    fprintf(stderr,
            "mien bench: the times are unsteady (coefficient of variation %.1f %%): something else uses the processor; "
            "repeat, and trust the median\n",
            f->variation);
}

static int print_json(const request *r, const figures *f) {
  cJSON *json = cJSON_CreateObject();
  const struct {
    const char *name;
    double value;
  } rows[] = {{"schema", 1},
              {"batch", (double)r->batch},
              {"threads", f->info.threads},
              {"runs", (double)f->count},
              {"load_ms", f->load_ms},
              {"first_run_ms", f->first_ms},
              {"min_ms", f->ms[0]},
              {"max_ms", f->ms[f->count - 1]},
              {"mean_ms", f->mean},
              {"median_ms", percentile(f, 50)},
              {"p90_ms", percentile(f, 90)},
              {"p95_ms", percentile(f, 95)},
              {"p99_ms", percentile(f, 99)},
              {"variation_percent", f->variation},
              {"runs_per_second", (double)f->count / f->total_s},
              {"items_per_second", (double)f->count * (double)r->batch / f->total_s},
              {"cpu_cores", f->cpu},
              {"peak_bytes", peak_bytes()},
              {"arena_bytes", (double)f->info.arena_bytes},
              {"live_bytes", (double)f->info.live_bytes},
              {"packed_bytes", (double)f->info.packed_bytes}};
  cJSON_AddStringToObject(json, "plan", r->path);
  cJSON_AddStringToObject(json, "isa", f->info.isa);
  cJSON_AddStringToObject(json, "version", mien_version());
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) cJSON_AddNumberToObject(json, rows[i].name, rows[i].value);
  cJSON_AddBoolToObject(json, "noisy", f->variation > 5);
  return cli_print_json(cli_bench.name, json);
}

static int run(int argc, char **argv) {
  request r = {.batch = 1, .runs = 10, .seconds = 3, .warmup = 200};
  figures f = {0};
  cli_inputs inputs = {0};
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_error error = {0};
  int result = parse(argc, argv, &r);
  if (result != CLI_GOOD) goto done;
  double start = cli_now();
  mien_status status = cli_env(&r.options, &env, &error);
  if (status == MIEN_OK) status = cli_open(env, r.path, &plan, &error);
  mien_session_options options = {.threads = r.options.threads};
  if (status == MIEN_OK) status = mien_session_create(plan, &options, &session, &error);
  f.load_ms = (cli_now() - start) * 1e-6;
  if (status == MIEN_OK) status = cli_inputs_read(env, plan, &r.inputs, true, r.batch, 0, &inputs, &error);
  if (status == MIEN_OK) status = measure(plan, session, &r, &inputs, &f, &error);
  if (status != MIEN_OK) {
    result = cli_fail(cli_bench.name, "%s", *error.message ? error.message : mien_status_text(status));
  } else {
    mien_session_get_info(session, &f.info);
    summarise(&f);
    if (r.options.json)
      result = print_json(&r, &f);
    else {
      print_text(&r, &f);
      result = cli_finish(cli_bench.name);
    }
  }
done:
  free(f.ms);
  if (env) cli_inputs_clear(env, &inputs);
  mien_session_destroy(session);
  mien_plan_close(plan);
  mien_env_destroy(env);
  cli_pairs_clear(&r.inputs);
  return result;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "measure load, latency and throughput",
    .usage = "usage: mien bench MODEL.plan [options]\n\n"
             "Warms up, then runs at least so many times and so long; inputs that are not given are seeded noise.\n\n"
             "  --input NAME=FILE  as for `mien run`\n"
             "  --batch N          size of open dimensions (1)\n"
             "  --threads N        default: what affinity, the cgroup and OMP_NUM_THREADS allow\n"
             "  --warmup MS        (200)\n"
             "  --runs N           at least (10)\n"
             "  --seconds S        at least (3)\n"
             "  --plugin FILE      load a plugin (repeat for more)\n"
             "  --json             one JSON object\n",
    .run = run,
};
