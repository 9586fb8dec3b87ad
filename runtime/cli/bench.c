/* bench.c -- mien bench: load, first run, latency and throughput of a plan. */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPTION_IDLE_RATE = 1 };

typedef struct figures {
  double *ms; /* sorted */
  size_t count;
  double mean, variation, total_s, cpu, base_bytes;
  double idle_rate;               /* calls a second, 0: not measured */
  double paced_cores, idle_cores; /* at that rate: all that was burnt, and what was burnt between the calls */
  mien_session_info info;
} figures;

static int parse(int argc, char **argv, cli_measure *m, figures *f) {
  struct option table[CLI_MEASURE_OPTIONS + 2] = {0};
  int option;
  memcpy(table, cli_measure_options, sizeof cli_measure_options);
  table[CLI_MEASURE_OPTIONS] = (struct option){"idle-rate", required_argument, NULL, OPTION_IDLE_RATE};
  while ((option = cli_option(&cli_bench, argc, argv, table, &m->options)) != -1) {
    if (option == OPTION_IDLE_RATE) {
      if (!cli_number(optarg, 0.1, 1e4, &f->idle_rate))
        return cli_usage(&cli_bench, "--idle-rate is '%s', expected calls a second from 0.1 to 10000", optarg);
    } else if (cli_measure_option(&cli_bench, option, m) != CLI_GOOD) {
      return CLI_USAGE;
    }
  }
  m->path = cli_argument(&cli_bench, argc, argv, "plan");
  return m->path ? CLI_GOOD : CLI_USAGE;
}

/* Of all threads of this program. */
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

static void sleep_until(double ns) {
  struct timespec t = {.tv_sec = (time_t)(ns * 1e-9)};
  t.tv_nsec = (long)(ns - (double)t.tv_sec * 1e9);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

/* Calls at a steady rate for three seconds: what do the threads burn while there is nothing to do? */
static mien_status measure_idle(cli_measure *m, figures *f, mien_error *error) {
  double start = cli_now(), cpu_start = cpu_seconds(), in_calls = 0, ms;
  double count = ceil(3 * f->idle_rate);
  mien_status status = MIEN_OK;
  for (double i = 0; status == MIEN_OK && i < count; i++) {
    double cpu = cpu_seconds();
    status = cli_measure_run(m, &ms, error);
    in_calls += cpu_seconds() - cpu;
    sleep_until(start + (i + 1) * 1e9 / f->idle_rate);
  }
  double seconds = (cli_now() - start) * 1e-9, cpu = cpu_seconds() - cpu_start;
  f->paced_cores = cpu / seconds;
  f->idle_cores = (cpu - in_calls) / seconds;
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
  printf("CPU: %.2f cores, peak memory: %.1f MiB (arena %.1f, of which at most %.1f alive at once, packed constants "
         "%.1f)\n",
         f->cpu, peak_bytes() / 1048576, (double)f->info.arena_bytes / 1048576, (double)f->info.live_bytes / 1048576,
         (double)f->info.packed_bytes / 1048576);
  if (f->idle_rate > 0)
    printf("Idle: %.4f of a core between the calls at %g calls a second, %.4f with them\n", f->idle_cores, f->idle_rate,
           f->paced_cores);
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
              {"base_bytes", f->base_bytes},
              {"peak_bytes", peak_bytes()},
              {"arena_bytes", (double)f->info.arena_bytes},
              {"live_bytes", (double)f->info.live_bytes},
              {"packed_bytes", (double)f->info.packed_bytes}};
  cJSON_AddStringToObject(json, "plan", m->path);
  cJSON_AddStringToObject(json, "isa", f->info.isa);
  cJSON_AddStringToObject(json, "version", mien_version());
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) cJSON_AddNumberToObject(json, rows[i].name, rows[i].value);
  if (f->idle_rate > 0) {
    cJSON_AddNumberToObject(json, "idle_rate", f->idle_rate);
    cJSON_AddNumberToObject(json, "idle_cores", f->idle_cores);
    cJSON_AddNumberToObject(json, "paced_cores", f->paced_cores);
  }
  cJSON_AddBoolToObject(json, "noisy", f->variation > 5);
  return cli_print_json(cli_bench.name, json);
}

static int run(int argc, char **argv) {
  cli_measure m = {.batch = 1, .runs = 10, .seconds = 3, .warmup = 200};
  figures f = {.base_bytes = peak_bytes()};
  mien_error error = {0};
  int result = parse(argc, argv, &m, &f);
  if (result == CLI_GOOD) {
    mien_status status = cli_measure_open(&m, &error);
    if (status == MIEN_OK) status = measure(&m, &f, &error);
    if (status == MIEN_OK && f.idle_rate > 0) status = measure_idle(&m, &f, &error);
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
             "  --seconds S        at least (3)\n"
             "  --idle-rate R      then R calls a second for 3 s: CPU burnt between the calls\n",
    .run = run,
};
