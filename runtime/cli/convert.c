/* convert.c -- mien convert: an ONNX model becomes a plan. */
#include "cli.h"

#include <string.h>
#include <unistd.h>

enum { OPTION_SKIP = 1, OPTION_VERIFY, OPTION_STOP, OPTION_SEED, OPTION_PRECISION, OPTION_MAX_ERROR };

static const struct option table[] = {CLI_COMMON,
                                      {"output", required_argument, NULL, 'o'},
                                      {"skip-pass", required_argument, NULL, OPTION_SKIP},
                                      {"verify", required_argument, NULL, OPTION_VERIFY},
                                      {"stop-after-patch", required_argument, NULL, OPTION_STOP},
                                      {"seed", required_argument, NULL, OPTION_SEED},
                                      {"precision", required_argument, NULL, OPTION_PRECISION},
                                      {"max-error", required_argument, NULL, OPTION_MAX_ERROR},
                                      {0}};

static bool precision_of(const char *text, mien_precision *precision) {
  const char *name;
  for (int i = 0; (name = mien_precision_name((mien_precision)i)) != NULL; i++)
    if (strcmp(text, name) == 0) {
      *precision = (mien_precision)i;
      return true;
    }
  return false;
}

/* One line on a terminal, rewritten; nothing in a pipe. */
static void show_progress(void *context, const char *step, int done, int total) {
  (void)context;
  if (total > 1)
    fprintf(stderr, "\r\033[K%s %d/%d", step, done, total);
  else
    fprintf(stderr, "\r\033[K%s", step);
  fflush(stderr);
}

static int report(const cli_options *options, const mien_convert_report *r) {
  fputs(options->json ? r->json : r->text, stdout);
  size_t n = strlen(options->json ? r->json : r->text);
  if (n && (options->json ? r->json : r->text)[n - 1] != '\n') fputc('\n', stdout);
  return cli_finish(cli_convert.name);
}

static int run(int argc, char **argv) {
  cli_options options = {0};
  const char *skip[CLI_MAX_LIST + 1] = {0}, *output = NULL;
  int skip_count = 0, option;
  long long number;
  mien_convert_options convert = {.skip_passes = skip};
  while ((option = cli_option(&cli_convert, argc, argv, table, &options)) != -1) {
    switch (option) {
      case 'o': output = optarg; break;
      case OPTION_SKIP:
        if (skip_count == CLI_MAX_LIST)
          return cli_usage(&cli_convert, "at most %d passes can be skipped", CLI_MAX_LIST);
        skip[skip_count++] = optarg;
        break;
      case OPTION_VERIFY:
        if (!cli_integer(optarg, 0, 1000, &number))
          return cli_usage(&cli_convert, "--verify is '%s', expected a number from 0 to 1000", optarg);
        convert.verify = (int)number;
        break;
      case OPTION_STOP:
        if (!cli_integer(optarg, 1, 1000000, &number))
          return cli_usage(&cli_convert, "--stop-after-patch is '%s', expected a number from 1", optarg);
        convert.stop_after_patch = (int)number;
        break;
      case OPTION_SEED:
        if (!cli_integer(optarg, 0, INT64_MAX, &number))
          return cli_usage(&cli_convert, "--seed is '%s', expected a number from 0", optarg);
        convert.seed = (uint64_t)number;
        break;
      case OPTION_PRECISION:
        if (!precision_of(optarg, &convert.precision))
          return cli_usage(&cli_convert, "--precision is '%s', expected fp32, bf16, int16 or fp16-weights", optarg);
        break;
      case OPTION_MAX_ERROR:
        if (!cli_number(optarg, 1e-30, 1e30, &convert.max_error))
          return cli_usage(&cli_convert, "--max-error is '%s', expected a number above 0", optarg);
        break;
      default: return CLI_USAGE;
    }
  }
  const char *model = cli_argument(&cli_convert, argc, argv, "model");
  if (!model) return CLI_USAGE;
  if (!output) return cli_usage(&cli_convert, "-o PLAN is missing");
  if (convert.max_error > 0 && convert.precision != MIEN_PRECISION_BF16 && convert.precision != MIEN_PRECISION_INT16)
    return cli_usage(&cli_convert, "--max-error is for --precision bf16 and int16");
  bool terminal = isatty(STDERR_FILENO) == 1;
  if (terminal) convert.progress = show_progress;
  mien_env *env = NULL;
  mien_error error = {0};
  mien_convert_report r = {0};
  mien_status status = cli_env(&options, &env, &error);
  if (status == MIEN_OK) status = mien_convert(env, model, output, &convert, &r, &error);
  if (terminal) fputs("\r\033[K", stderr);
  int result = status == MIEN_OK ? report(&options, &r) : cli_fail(cli_convert.name, "%s", error.message);
  /* A refused model may have more to say than fits one line: every node that is not supported. */
  if (status != MIEN_OK && r.text && *r.text) fputs(r.text, stderr);
  if (env) mien_convert_report_free(env, &r);
  mien_env_destroy(env);
  return result;
}

const cli_command cli_convert = {
    .name = "convert",
    .summary = "turn an ONNX model into a plan, verified by a run",
    .usage =
        "usage: mien convert MODEL.onnx -o MODEL.plan [options]\n\n"
        "Imports the model, folds what is constant, rewrites it with the passes (`mien passes`), writes the plan,\n"
        "opens it and runs it once. Nothing is left behind when a step fails. The same model and the same options\n"
        "always give the same bytes.\n\n"
        "  -o, --output FILE      the plan\n"
        "  --verify N             compare the imported graph and the plan on N seeded inputs\n"
        "  --precision P          fp32 (the default); bf16: linear layers and most convolutions in bfloat16, summed in "
        "fp32;\n"
        "                         int16: the same in 16-bit integers with a step for every 512 values, nearer to "
        "fp32;\n"
        "                         fp16-weights: their weights stored in float16, half the file, computed in fp32\n"
        "  --max-error E          with bf16 or int16: round only so many products that outputs stay within E of "
        "fp32's\n"
        "                         on seeded inputs, and 5 times their root mean square error too; what bf16 is too\n"
        "                         coarse for is in int16 where that is enough; converts once a product\n"
        "  --plugin FILE          load a plugin (repeat for more)\n"
        "  --skip-pass NAME       leave a pass out (repeat for more)\n"
        "  --stop-after-patch N   apply the first N patches only: bisects a wrong result\n"
        "  --seed K               seed of the golden and verification inputs (0)\n"
        "  --json                 the summary as one JSON object\n",
    .run = run,
};
