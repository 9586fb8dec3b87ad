/* run.c -- mien run: inputs from files, the answer on stdout or into files. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_INPUT = 1, OPTION_OUTPUT, OPTION_SAMPLES, OPTION_SEED, OPTION_CREDIBLE, OPTION_BATCH };

static const struct option table[] = {CLI_COMMON,
                                      CLI_THREADS,
                                      {"input", required_argument, NULL, OPTION_INPUT},
                                      {"output", required_argument, NULL, OPTION_OUTPUT},
                                      {"samples", required_argument, NULL, OPTION_SAMPLES},
                                      {"seed", required_argument, NULL, OPTION_SEED},
                                      {"credible", required_argument, NULL, OPTION_CREDIBLE},
                                      {"batch", required_argument, NULL, OPTION_BATCH},
                                      {0}};

typedef struct request {
  cli_options options;
  cli_pairs inputs, outputs;
  mien_predict_options predict;
  long long batch;
  const char *path;
} request;

/* A class head among the outputs: logits (mu), and logvar where the model says how wide they are. */
typedef struct head {
  const mien_binding *mu, *logvar;
  int64_t items, classes;
  const char *const *labels;
  size_t label_count;
} head;

static int parse(int argc, char **argv, request *r) {
  int option;
  long long number;
  while ((option = cli_option(&cli_run, argc, argv, table, &r->options)) != -1) {
    switch (option) {
      case OPTION_INPUT:
        if (!cli_pairs_add(&r->inputs, optarg))
          return cli_usage(&cli_run, "--input is '%s', expected NAME=FILE", optarg);
        break;
      case 'o':
      case OPTION_OUTPUT:
        if (!cli_pairs_add(&r->outputs, optarg) || !r->outputs.name[r->outputs.count - 1])
          return cli_usage(&cli_run, "--output is '%s', expected NAME=FILE.npy", optarg);
        break;
      case OPTION_SAMPLES:
        if (!cli_integer(optarg, 0, 100000000, &number))
          return cli_usage(&cli_run, "--samples is '%s', expected a number from 0 to 100000000", optarg);
        r->predict.samples = number;
        break;
      case OPTION_SEED:
        if (!cli_integer(optarg, 0, INT64_MAX, &number))
          return cli_usage(&cli_run, "--seed is '%s', expected a number from 0", optarg);
        r->predict.seed = (uint64_t)number;
        break;
      case OPTION_CREDIBLE:
        if (!cli_number(optarg, 0.01, 0.9999, &r->predict.credible))
          return cli_usage(&cli_run, "--credible is '%s', expected a number from 0.01 to 0.9999", optarg);
        break;
      case OPTION_BATCH:
        if (!cli_integer(optarg, 0, 1 << 20, &r->batch))
          return cli_usage(&cli_run, "--batch is '%s', expected a number from 0", optarg);
        break;
      default: return CLI_USAGE;
    }
  }
  r->path = cli_argument(&cli_run, argc, argv, "plan");
  return r->path ? CLI_GOOD : CLI_USAGE;
}

/* ---- outputs: the plan's, then other values that --output names */

typedef struct results {
  mien_binding bindings[CLI_MAX_LIST];
  size_t count, declared;
} results;

static mien_status list_results(const mien_plan *plan, const request *r, results *out, const char **kept,
                                size_t *kept_count, mien_error *error) {
  out->declared = mien_plan_output_count(plan);
  *kept_count = 0;
  if (out->declared > CLI_MAX_LIST) out->declared = CLI_MAX_LIST;
  for (size_t i = 0; i < out->declared; i++) {
    mien_port port;
    mien_status status = mien_plan_output(plan, i, &port);
    if (status != MIEN_OK) return status;
    out->bindings[out->count++] = (mien_binding){.name = port.name};
  }
  for (int j = 0; j < r->outputs.count; j++) {
    size_t i = 0;
    while (i < out->count && strcmp(out->bindings[i].name, r->outputs.name[j]) != 0) i++;
    if (i < out->count) continue;
    if (out->count == CLI_MAX_LIST) {
      if (error) snprintf(error->message, sizeof error->message, "at most %d outputs", CLI_MAX_LIST);
      return MIEN_LIMIT;
    }
    out->bindings[out->count++] = (mien_binding){.name = r->outputs.name[j]};
    kept[(*kept_count)++] = r->outputs.name[j];
  }
  return MIEN_OK;
}

static const mien_binding *find(const results *out, const char *name) {
  for (size_t i = 0; i < out->count; i++)
    if (strcmp(out->bindings[i].name, name) == 0) return &out->bindings[i];
  return NULL;
}

static mien_status write_files(mien_env *env, const request *r, const results *out, mien_error *error) {
  for (int j = 0; j < r->outputs.count; j++) {
    const mien_binding *b = find(out, r->outputs.name[j]);
    mien_status status = mien_npy_write(env, r->outputs.value[j], &b->tensor, error);
    if (status != MIEN_OK) return status;
  }
  return MIEN_OK;
}

/* ---- predictions */

static bool find_head(const mien_plan *plan, const results *out, head *h) {
  h->labels = mien_plan_labels(plan, &h->label_count);
  h->mu = find(out, "mu");
  if (!h->mu) h->mu = find(out, "logits");
  h->logvar = find(out, "logvar");
  if (!h->mu || h->mu->tensor.type.rank != 2 || h->mu->tensor.type.dtype != MIEN_F32) return false;
  h->items = h->mu->tensor.type.dim[0];
  h->classes = h->mu->tensor.type.dim[1];
  const mien_type *l = h->logvar ? &h->logvar->tensor.type : NULL;
  if (l && (l->rank != 2 || l->dtype != MIEN_F32 || l->dim[0] != h->items || l->dim[1] != h->classes)) h->logvar = NULL;
  return h->classes > 0 && h->classes <= 1000 && (h->logvar || h->label_count == (size_t)h->classes);
}

/* Twenty-four columns; a full block is 1/24. */
static void print_bar(double p) {
  static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int units = p > 0 ? (int)(p * 24 * 8 + 0.5) : 0;
  if (units > 24 * 8) units = 24 * 8;
  int width = units / 8 + (units % 8 != 0);
  for (int i = 0; i < units / 8; i++) fputs("█", stdout);
  fputs(eighths[units % 8], stdout);
  for (int i = width; i < 24; i++) putchar(' ');
}

static void print_prediction(const request *r, const head *h, int64_t item, const char *source,
                             const mien_prediction *p) {
  bool sampled = r->predict.samples > 0 && h->logvar;
  int64_t best = 0;
  for (int64_t c = 1; c < h->classes; c++)
    if (p->p[c] > p->p[best]) best = c;
  if (h->items > 1 || source) printf("%s%s\n", source ? source : "item", "");
  printf("  %-12s %-24s %7s", "emotion", "", "mean");
  if (sampled) printf(" %7s  %.0f %% interval", "sd", 100 * r->predict.credible);
  putchar('\n');
  for (int64_t c = 0; c < h->classes; c++) {
    char name[32];
    if ((size_t)c < h->label_count)
      snprintf(name, sizeof name, "%s", h->labels[c]);
    else
      snprintf(name, sizeof name, "class %lld", (long long)c);
    printf("%c %-12.12s ", c == best ? '>' : ' ', name);
    print_bar(p->p[c]);
    printf(" %7.4f", p->p[c]);
    if (sampled) printf(" %7.4f  %.4f .. %.4f", p->sd[c], p->low[c], p->high[c]);
    putchar('\n');
  }
  if (sampled)
    printf("  entropy %.4f nats = %.4f expected + %.4f mutual information; %lld samples, seed %llu, item %lld\n",
           p->entropy, p->expected_entropy, p->information, (long long)r->predict.samples,
           (unsigned long long)r->predict.seed, (long long)item);
  else
    printf("  entropy %.4f nats%s\n", p->entropy, h->logvar ? "; --samples 1000 shows how sure that is" : "");
}

static void add_numbers(cJSON *json, const char *name, const double *values, int64_t count) {
  cJSON_AddItemToObject(json, name, cJSON_CreateDoubleArray(values, (int)count));
}

static cJSON *prediction_json(const request *r, const head *h, int64_t item, const char *source,
                              const mien_prediction *p) {
  cJSON *json = cJSON_CreateObject();
  int64_t best = 0;
  for (int64_t c = 1; c < h->classes; c++)
    if (p->p[c] > p->p[best]) best = c;
  cJSON_AddNumberToObject(json, "item", (double)item);
  if (source) cJSON_AddStringToObject(json, "source", source);
  cJSON_AddNumberToObject(json, "class", (double)best);
  if ((size_t)best < h->label_count) cJSON_AddStringToObject(json, "label", h->labels[best]);
  add_numbers(json, "p", p->p, h->classes);
  add_numbers(json, "sd", p->sd, h->classes);
  add_numbers(json, "low", p->low, h->classes);
  add_numbers(json, "high", p->high, h->classes);
  add_numbers(json, "z_mean", p->z_mean, h->classes);
  add_numbers(json, "z_var", p->z_var, h->classes);
  cJSON_AddNumberToObject(json, "entropy", p->entropy);
  cJSON_AddNumberToObject(json, "expected_entropy", p->expected_entropy);
  cJSON_AddNumberToObject(json, "mutual_information", p->information);
  cJSON_AddNumberToObject(json, "samples", (double)r->predict.samples);
  cJSON_AddNumberToObject(json, "seed", (double)r->predict.seed);
  return json;
}

static mien_status predict(const mien_env *env, const request *r, const head *h, cJSON *list, mien_error *error) {
  double storage[6][1000];
  mien_prediction p = {storage[0], storage[1], storage[2], storage[3], storage[4], storage[5], 0, 0, 0};
  const float *mu = h->mu->tensor.data, *logvar = h->logvar ? h->logvar->tensor.data : NULL;
  for (int64_t item = 0; item < h->items; item++) {
    mien_predict_options o = r->predict;
    if (!logvar) o.samples = 0;
    mien_status status = mien_predict(env, &o, (uint64_t)item, (size_t)h->classes, mu + item * h->classes,
                                      logvar ? logvar + item * h->classes : NULL, &p, error);
    if (status != MIEN_OK) return status;
    const char *source = r->inputs.count == h->items ? r->inputs.value[item] : NULL;
    if (list)
      cJSON_AddItemToArray(list, prediction_json(r, h, item, source, &p));
    else
      print_prediction(r, h, item, source, &p);
  }
  return MIEN_OK;
}

/* ---- all of it */

static mien_status show(const mien_env *env, const mien_plan *plan, const request *r, const results *out, cJSON *json,
                        mien_error *error) {
  head h = {0};
  bool classes = find_head(plan, out, &h);
  cJSON *outputs = json ? cJSON_AddObjectToObject(json, "outputs") : NULL;
  for (size_t i = 0; i < out->count; i++) {
    const mien_binding *b = &out->bindings[i];
    bool filed = false;
    for (int j = 0; j < r->outputs.count; j++) filed = filed || strcmp(r->outputs.name[j], b->name) == 0;
    if (filed) continue;
    if (json)
      cJSON_AddItemToObject(outputs, b->name, cli_tensor_json(&b->tensor));
    else if (!classes || (b != h.mu && b != h.logvar))
      cli_tensor_print(stdout, b->name, &b->tensor);
  }
  if (!classes) return MIEN_OK;
  return predict(env, r, &h, json ? cJSON_AddArrayToObject(json, "predictions") : NULL, error);
}

static mien_status work(mien_env *env, const mien_plan *plan, mien_session *session, const request *r, cJSON *json,
                        mien_error *error) {
  cli_inputs inputs = {0};
  results out = {0};
  const char *kept[CLI_MAX_LIST];
  size_t kept_count;
  mien_status status = list_results(plan, r, &out, kept, &kept_count, error);
  if (status == MIEN_OK && kept_count) status = mien_session_keep(session, kept, kept_count, error);
  if (status == MIEN_OK)
    status = cli_inputs_read(env, plan, &r->inputs, false, r->batch, r->predict.seed, &inputs, error);
  if (status == MIEN_OK)
    status = mien_session_run(session, inputs.bindings, inputs.count, out.bindings, out.count, error);
  if (status == MIEN_OK) status = write_files(env, r, &out, error);
  if (status == MIEN_OK) status = show(env, plan, r, &out, json, error);
  cli_inputs_clear(env, &inputs);
  return status;
}

static int run(int argc, char **argv) {
  request r = {.predict = {.credible = 0.95}, .batch = 1};
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_error error = {0};
  int result = parse(argc, argv, &r);
  if (result != CLI_GOOD) goto done;
  mien_status status = cli_env(&r.options, &env, &error);
  if (status == MIEN_OK) status = cli_open(env, r.path, &plan, &error);
  mien_session_options options = {.threads = r.options.threads};
  if (status == MIEN_OK) status = mien_session_create(plan, &options, &session, &error);
  cJSON *json = r.options.json ? cJSON_CreateObject() : NULL;
  if (json) cJSON_AddNumberToObject(json, "schema", 1);
  if (status == MIEN_OK) status = work(env, plan, session, &r, json, &error);
  if (status != MIEN_OK) {
    cJSON_Delete(json);
    result = cli_fail(cli_run.name, "%s", *error.message ? error.message : mien_status_text(status));
  } else {
    result = json ? cli_print_json(cli_run.name, json) : cli_finish(cli_run.name);
  }
done:
  mien_session_destroy(session);
  mien_plan_close(plan);
  mien_env_destroy(env);
  cli_pairs_clear(&r.inputs);
  cli_pairs_clear(&r.outputs);
  return result;
}

const cli_command cli_run = {
    .name = "run",
    .summary = "run a plan on files and pictures",
    .usage =
        "usage: mien run MODEL.plan --input NAME=FILE... [options]\n\n"
        "  --input NAME=FILE    .npy, ONNX TensorProto (.pb), JPEG or PNG, told apart by content; `random` for a\n"
        "                       seeded input. Several pictures for one input make a batch. NAME= may be left out\n"
        "                       when the plan has one input.\n"
        "  --output NAME=FILE   write an output, or any value by its ONNX name, as .npy instead of printing it\n"
        "  --samples S          draw S samples of the class head: mean, standard deviation and credible interval of\n"
        "                       each class's probability (0: softmax of mu, the test-time rule)\n"
        "  --seed K             of the samples and of random inputs (0)\n"
        "  --credible P         mass of the interval (0.95)\n"
        "  --batch N            size of open dimensions of random inputs (1)\n"
        "  --threads N          default: what affinity, the cgroup and OMP_NUM_THREADS allow\n"
        "  --plugin FILE        load a plugin (repeat for more)\n"
        "  --json               outputs and predictions as one JSON object\n",
    .run = run,
};
