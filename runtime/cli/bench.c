/* bench.c -- mien bench: load, first run, latency and throughput of a plan. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct figures {
  double *ms; /* sorted */
  size_t count;
  double mean, variation, total_s, cpu;
  mien_session_info info;
} figures;

static int parse(int argc, char **argv, cli_measure *m) {
  struct option table[CLI_MEASURE_OPTIONS + 1] = {0};
  int option;
  memcpy(table, cli_measure_options, sizeof cli_measure_options);
  while ((option = cli_option(&cli_bench, argc, argv, table, &m->options)) != -1)
    if (cli_measure_option(&cli_bench, option, m) != CLI_GOOD) return CLI_USAGE;
  m->path = cli_argument(&cli_bench, argc, argv, "plan");
  return m->path ? CLI_GOOD : CLI_USAGE;
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

static mien_status measure(cli_measure *m, figures *f, mien_error *error) {
  size_t room = 0;
  mien_status status = cli_measure_warm(m, error);
  double start = cli_now(), cpu = cpu_seconds();
  while (status == MIEN_OK && (f->count < (size_t)m->runs || (cli_now() - start) * 1e-9 < m->seconds)) {
    if (f->count == room) {
      room = room ? room * 2 : 1024;
      double *grown = realloc(f->ms, room * sizeof *grown);
      if (!grown) return MIEN_NO_MEMORY;
      f->ms = grown;
    }
    status = cli_measure_run(m, &f->ms[f->count], error);
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

static void print_text(const cli_measure *m, const figures *f) {
  printf("=== Performance summary: %s ===\n", m->path);
  printf("Kernels: %s, threads %d, batch %lld\n", f->info.isa, f->info.threads, m->batch);
  printf("Load: %.2f ms, first run: %.2f ms\n", m->load_ms, m->first_ms);
  printf("Throughput: %.2f runs/s, %.2f items/s (%zu runs in %.2f s)\n", (double)f->count / f->total_s,
         (double)f->count * (double)m->batch / f->total_s, f->count, f->total_s);
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

static int print_json(const cli_measure *m, const figures *f) {
  cJSON *json = cJSON_CreateObject();
  const struct {
    const char *name;
    double value;
  } rows[] = {{"schema", 1},
              {"batch", (double)m->batch},
              {"threads", f->info.threads},
              {"runs", (double)f->count},
              {"load_ms", m->load_ms},
              {"first_run_ms", m->first_ms},
              {"min_ms", f->ms[0]},
              {"max_ms", f->ms[f->count - 1]},
              {"mean_ms", f->mean},
              {"median_ms", percentile(f, 50)},
              {"p90_ms", percentile(f, 90)},
              {"p95_ms", percentile(f, 95)},
              {"p99_ms", percentile(f, 99)},
              {"variation_percent", f->variation},
              {"runs_per_second", (double)f->count / f->total_s},
              {"items_per_second", (double)f->count * (double)m->batch / f->total_s},
              {"cpu_cores", f->cpu},
              {"peak_bytes", peak_bytes()},
              {"arena_bytes", (double)f->info.arena_bytes},
              {"live_bytes", (double)f->info.live_bytes},
              {"packed_bytes", (double)f->info.packed_bytes}};
  cJSON_AddStringToObject(json, "plan", m->path);
  cJSON_AddStringToObject(json, "isa", f->info.isa);
  cJSON_AddStringToObject(json, "version", mien_version());
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) cJSON_AddNumberToObject(json, rows[i].name, rows[i].value);
  cJSON_AddBoolToObject(json, "noisy", f->variation > 5);
  return cli_print_json(cli_bench.name, json);
}

static int run(int argc, char **argv) {
  cli_measure m = {.batch = 1, .runs = 10, .seconds = 3, .warmup = 200};
  figures f = {0};
  mien_error error = {0};
  int result = parse(argc, argv, &m);
  if (result == CLI_GOOD) {
    mien_status status = cli_measure_open(&m, &error);
    if (status == MIEN_OK) status = measure(&m, &f, &error);
    if (status != MIEN_OK) {
      result = cli_fail(cli_bench.name, "%s", *error.message ? error.message : mien_status_text(status));
    } else {
      mien_session_get_info(m.session, &f.info);
      summarise(&f);
      if (m.options.json) {
        result = print_json(&m, &f);
      } else {
        print_text(&m, &f);
        result = cli_finish(cli_bench.name);
      }
    }
  }
  free(f.ms);
  cli_measure_close(&m);
  return result;
}

const cli_command cli_bench = {
    .name = "bench",
    .summary = "measure load, latency and throughput",
    .usage = "usage: mien bench MODEL.plan [options]\n\n"
             "Warms up, then runs at least so many times and so long.\n\n" CLI_MEASURE_HELP
             "  --runs N           at least (10)\n"
             "  --seconds S        at least (3)\n",
    .run = run,
};
