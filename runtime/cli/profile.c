/* profile.c -- mien profile: where the time of a run goes, node by node. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

enum { OPTION_TRACE = CLI_OPTION_MEASURE + 100, OPTION_HTML, OPTION_TOP };

static int parse(int argc, char **argv, cli_profile *p) {
  struct option table[CLI_MEASURE_OPTIONS + 4] = {0};
  int option;
  memcpy(table, cli_measure_options, sizeof cli_measure_options);
  table[CLI_MEASURE_OPTIONS] = (struct option){"top", required_argument, NULL, OPTION_TOP};
  table[CLI_MEASURE_OPTIONS + 1] = (struct option){"trace", required_argument, NULL, OPTION_TRACE};
  table[CLI_MEASURE_OPTIONS + 2] = (struct option){"html", required_argument, NULL, OPTION_HTML};
  while ((option = cli_option(&cli_profile_command, argc, argv, table, &p->m.options)) != -1) {
    switch (option) {
      case OPTION_TRACE: p->trace = optarg; break;
      case OPTION_HTML: p->html = optarg; break;
      case OPTION_TOP:
        if (!cli_integer(optarg, 0, 1000000, &p->top))
          return cli_usage(&cli_profile_command, "--top is '%s', expected a number of nodes", optarg);
        break;
      default:
        if (cli_measure_option(&cli_profile_command, option, &p->m) != CLI_GOOD) return CLI_USAGE;
    }
  }
  p->m.path = cli_argument(&cli_profile_command, argc, argv, "plan");
  return p->m.path ? CLI_GOOD : CLI_USAGE;
}

const char *cli_node_op(const mien_node_info *info, char *text, size_t size) {
  bool standard = strcmp(info->domain, "ai.onnx") == 0;
  snprintf(text, size, "%s%s%s", standard ? "" : info->domain, standard ? "" : ".", info->op);
  return text;
}

/* ---------------------------------------------------------------- totals */

/* All nodes of an operator. */
typedef struct total {
  const mien_node_info *info; /* of the first of them */
  size_t count;
  double ms, least_ms, flops, bytes;
} total;

static int longest_first(const void *a, const void *b) {
  const total *x = a, *y = b;
  return (x->ms < y->ms) - (x->ms > y->ms);
}

/* By operator, longest first; to be freed. NULL: no memory. */
static total *add_up(const cli_profile *p, size_t *count) {
  total *totals = calloc(p->node_count + 1, sizeof *totals);
  size_t have = 0;
  for (size_t i = 0; totals && i < p->node_count; i++) {
    const cli_node *n = &p->nodes[i];
    size_t k = 0;
    if (!n->info.runs) continue;
    while (k < have &&
           (strcmp(totals[k].info->op, n->info.op) != 0 || strcmp(totals[k].info->domain, n->info.domain) != 0))
      k++;
    if (k == have) totals[have++] = (total){.info = &n->info};
    totals[k].count++;
    totals[k].ms += n->ms;
    totals[k].least_ms += n->least_ms;
    totals[k].flops += n->info.flops;
    totals[k].bytes += n->info.bytes;
  }
  if (totals) qsort(totals, have, sizeof *totals, longest_first);
  *count = have;
  return totals;
}

/* Of the medians' sum: on a busy machine the median of runs is larger, and shares of it would not add up. */
static double share(const cli_profile *p, double ms) {
  double whole = p->nodes_ms + p->between_ms;
  return whole > 0 ? 100 * ms / whole : 0;
}

/* Units of 1e9 a second. */
static double rate(double work, double ms) { return ms > 0 ? work / ms * 1e-6 : 0; }

static double of_peak(const cli_profile *p, double flops, double ms) {
  return p->peak > 0 ? 100e9 * rate(flops, ms) / p->peak : 0;
}

/* Whether something else must have used the processor. */
static bool is_noisy(const cli_profile *p) { return p->run_ms > 1.2 * p->best_ms; }

/* ---------------------------------------------------------------- text */

/* A number, or a dash where nothing was counted. */
static void print_rate(int width, int digits, double value) {
  if (value > 0)
    printf(" %*.*f", width, digits, value);
  else
    printf(" %*s", width, "-");
}

static void print_numbers(const cli_profile *p, double ms, double least_ms, double flops, double bytes) {
  printf("%9.4f %9.4f %6.2f", ms, least_ms, share(p, ms));
  print_rate(8, 1, rate(flops, ms));
  print_rate(6, 1, of_peak(p, flops, ms));
  print_rate(8, 2, bytes / 1048576);
  print_rate(7, 1, rate(bytes, ms));
}

static void print_head(const cli_profile *p) {
  double live = (double)p->info.live_bytes;
  printf("=== Profile: %s ===\n", p->m.path);
  printf("Kernels: %s, threads %d, batch %lld\n", p->info.isa, p->threads, p->m.batch);
  printf("Run: median %.3f ms of %zu, fastest %.3f ms; %.3f ms without being observed\n", p->run_ms, p->runs,
         p->best_ms, p->plain_ms);
  printf("Nodes: %.3f ms, and %.3f ms between them, by their medians\n", p->nodes_ms, p->between_ms);
  printf("Peak: %.1f GFLOP/s (fp32 multiply-adds in registers, all threads together)\n", p->peak * 1e-9);
  if (live > 0)
    printf("Arena: %.1f KB, largest live set %.1f KB (%.2f times that)\n", (double)p->info.arena_bytes / 1024,
           live / 1024, (double)p->info.arena_bytes / live);
}

static void print_nodes(const cli_profile *p, const size_t *order) {
  size_t shown = 0, running = 0;
  printf("\n%9s %9s %6s %8s %6s %8s %7s %5s %6s %7s  %-30s %-26s %-24s %s\n", "ms", "fastest", "%", "GFLOP/s", "peak %",
         "MB", "GB/s", "busy%", "phases", "items", "kernel", "operator", "output", "node");
  for (size_t i = 0; i < p->node_count; i++) {
    const cli_node *n = &p->nodes[order[i]];
    char op[128], type[256];
    if (!n->info.runs) continue;
    running++;
    if (p->top && shown >= (size_t)p->top) continue;
    shown++;
    print_numbers(p, n->ms, n->least_ms, n->info.flops, n->info.bytes);
    printf(" %5.0f %6u %7lld  %-30s %-26s %-24s %s\n", 100 * n->busy, n->phases, (long long)n->items,
           *n->info.kernel ? n->info.kernel : "?", cli_node_op(&n->info, op, sizeof op),
           cli_type_text(&n->info.type, type, sizeof type), n->info.name);
  }
  if (shown < running) printf("... %zu more\n", running - shown);
}

static int print_text(const cli_profile *p) {
  size_t count = 0, *order = cli_profile_order(p);
  total *totals = add_up(p, &count);
  if (order && totals) {
    print_head(p);
    print_nodes(p, order);
    printf("\n%9s %9s %6s %8s %6s %8s %7s %5s  %s\n", "ms", "fastest", "%", "GFLOP/s", "peak %", "MB", "GB/s", "nodes",
           "operator");
    for (size_t i = 0; i < count; i++) {
      char op[128];
      print_numbers(p, totals[i].ms, totals[i].least_ms, totals[i].flops, totals[i].bytes);
      printf(" %5zu  %s\n", totals[i].count, cli_node_op(totals[i].info, op, sizeof op));
    }
    printf("%9.4f %9s %6.2f %38s  between nodes: binding of inputs, the executor, outputs\n", p->between_ms, "",
           share(p, p->between_ms), "");
    printf("%9.4f %9s %6.2f %38s  inside nodes, while a thread had no work: waiting for others, serial parts\n",
           p->idle_ms, "", share(p, p->idle_ms), "");
  }
  if (is_noisy(p))
    fprintf(
        stderr,
        "mien profile: the median run took %.1f times as long as the fastest: something else uses the processor; trust "
        "the column 'fastest', or repeat\n",
        p->run_ms / p->best_ms);
  int result = order && totals ? cli_finish(cli_profile_command.name)
                               : cli_fail(cli_profile_command.name, "no memory for the tables");
  free(order);
  free(totals);
  return result;
}

/* ---------------------------------------------------------------- JSON */

static void add_numbers(const cli_profile *p, cJSON *row, double ms, double least_ms, double flops, double bytes) {
  cJSON_AddNumberToObject(row, "ms", ms);
  cJSON_AddNumberToObject(row, "fastest_ms", least_ms);
  cJSON_AddNumberToObject(row, "percent", share(p, ms));
  cJSON_AddNumberToObject(row, "flops", flops);
  cJSON_AddNumberToObject(row, "gflops_per_second", rate(flops, ms));
  cJSON_AddNumberToObject(row, "percent_of_peak", of_peak(p, flops, ms));
  cJSON_AddNumberToObject(row, "bytes", bytes);
  cJSON_AddNumberToObject(row, "gbytes_per_second", rate(bytes, ms));
}

static void add_node(const cli_profile *p, cJSON *list, size_t index) {
  const cli_node *n = &p->nodes[index];
  cJSON *row = cJSON_CreateObject();
  char text[256];
  if (!row || !cJSON_AddItemToArray(list, row)) return;
  cJSON_AddNumberToObject(row, "index", (double)index);
  cJSON_AddStringToObject(row, "name", n->info.name);
  cJSON_AddStringToObject(row, "op", cli_node_op(&n->info, text, sizeof text));
  cJSON_AddNumberToObject(row, "since", n->info.since);
  cJSON_AddStringToObject(row, "output", cli_type_text(&n->info.type, text, sizeof text));
  cJSON_AddStringToObject(row, "kernel", n->info.kernel);
  add_numbers(p, row, n->ms, n->least_ms, n->info.flops, n->info.bytes);
  cJSON_AddNumberToObject(row, "busy_percent", 100 * n->busy);
  cJSON_AddNumberToObject(row, "phases", n->phases);
  cJSON_AddNumberToObject(row, "pieces", n->pieces);
  cJSON_AddNumberToObject(row, "items", (double)n->items);
}

static void add_head(const cli_profile *p, cJSON *json) {
  const struct {
    const char *name;
    double value;
  } rows[] = {{"schema", 1},
              {"batch", (double)p->m.batch},
              {"threads", p->threads},
              {"runs", (double)p->runs},
              {"run_ms", p->run_ms},
              {"fastest_ms", p->best_ms},
              {"unobserved_ms", p->plain_ms},
              {"nodes_ms", p->nodes_ms},
              {"between_nodes_ms", p->between_ms},
              {"idle_in_nodes_ms", p->idle_ms},
              {"peak_gflops_per_second", p->peak * 1e-9},
              {"arena_bytes", (double)p->info.arena_bytes},
              {"live_bytes", (double)p->info.live_bytes},
              {"packed_bytes", (double)p->info.packed_bytes}};
  cJSON_AddStringToObject(json, "plan", p->m.path);
  cJSON_AddStringToObject(json, "version", mien_version());
  cJSON_AddStringToObject(json, "isa", p->info.isa);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) cJSON_AddNumberToObject(json, rows[i].name, rows[i].value);
  cJSON_AddBoolToObject(json, "noisy", is_noisy(p));
}

cJSON *cli_profile_json(const cli_profile *p) {
  size_t count = 0, *order = cli_profile_order(p);
  total *totals = add_up(p, &count);
  cJSON *json = order && totals ? cJSON_CreateObject() : NULL;
  if (json) {
    add_head(p, json);
    cJSON *nodes = cJSON_AddArrayToObject(json, "nodes"), *operators = cJSON_AddArrayToObject(json, "operators");
    for (size_t i = 0; i < p->node_count; i++)
      if (p->nodes[order[i]].info.runs) add_node(p, nodes, order[i]);
    for (size_t i = 0; i < count; i++) {
      char op[128];
      cJSON *row = cJSON_CreateObject();
      cJSON_AddStringToObject(row, "op", cli_node_op(totals[i].info, op, sizeof op));
      cJSON_AddNumberToObject(row, "nodes", (double)totals[i].count);
      add_numbers(p, row, totals[i].ms, totals[i].least_ms, totals[i].flops, totals[i].bytes);
      cJSON_AddItemToArray(operators, row);
    }
  }
  free(order);
  free(totals);
  return json;
}

/* ---------------------------------------------------------------- the command */

static int run(int argc, char **argv) {
  cli_profile p = {.m = {.batch = 1, .runs = 10, .seconds = 1, .warmup = 200}};
  mien_error error = {0};
  int result = parse(argc, argv, &p);
  if (result == CLI_GOOD) {
    mien_status status = cli_measure_open(&p.m, &error);
    if (status == MIEN_OK) status = cli_profile_files_begin(&p, &error);
    if (status == MIEN_OK) status = cli_profile_record(&p, &error);
    status = cli_profile_files_end(&p, status, &error);
    if (status != MIEN_OK)
      result = cli_fail(cli_profile_command.name, "%s", *error.message ? error.message : mien_status_text(status));
    else
      result = p.m.options.json ? cli_print_json(cli_profile_command.name, cli_profile_json(&p)) : print_text(&p);
  }
  cli_profile_clear(&p);
  return result;
}

const cli_command cli_profile_command = {
    .name = "profile",
    .summary = "show where the time of a run goes",
    .usage =
        "usage: mien profile MODEL.plan [options]\n\n"
        "Warms up, then runs at least so many times and so long, and shows for every node, longest first: the median "
        "of\n"
        "its time; its share; GFLOP/s by the operator's definition (Winograd's method does fewer operations\n"
        "and may exceed the peak) and their share of the peak, which is measured here; the bytes of its inputs,\n"
        "constants as packed, and outputs; the share of its time in which threads computed its items; in how many\n"
        "phases; the items of work; the kernel chosen. Then the same by operator, and what is in no node.\n\n"
        "  --top N            this many nodes only (0: all)\n" CLI_MEASURE_HELP
        "  --trace FILE       the fastest run as Chrome trace JSON, for chrome://tracing or ui.perfetto.dev\n"
        "  --html FILE        a page with that run's timeline by thread, the arena's map and the tables\n"
        "  --runs N           at least (10)\n"
        "  --seconds S        at least (1)\n",
    .run = run,
};
