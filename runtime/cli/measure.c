/* measure.c -- what bench and profile share: options, opening everything, one timed run. */
#include "cli.h"

#include <string.h>

enum { OPTION_INPUT = CLI_OPTION_MEASURE, OPTION_BATCH, OPTION_RUNS, OPTION_SECONDS, OPTION_WARMUP };

const struct option cli_measure_options[CLI_MEASURE_OPTIONS] = {CLI_COMMON,
                                                                CLI_THREADS,
                                                                {"input", required_argument, NULL, OPTION_INPUT},
                                                                {"batch", required_argument, NULL, OPTION_BATCH},
                                                                {"runs", required_argument, NULL, OPTION_RUNS},
                                                                {"seconds", required_argument, NULL, OPTION_SECONDS},
                                                                {"warmup", required_argument, NULL, OPTION_WARMUP}};

int cli_measure_option(const cli_command *command, int option, cli_measure *m) {
  switch (option) {
    case OPTION_INPUT:
      if (!cli_pairs_add(&m->pairs, optarg)) return cli_usage(command, "--input is '%s', expected NAME=FILE", optarg);
      return CLI_GOOD;
    case OPTION_BATCH:
      if (!cli_integer(optarg, 1, 1 << 20, &m->batch))
        return cli_usage(command, "--batch is '%s', expected a number from 1", optarg);
      return CLI_GOOD;
    case OPTION_RUNS:
      if (!cli_integer(optarg, 1, 1000000, &m->runs))
        return cli_usage(command, "--runs is '%s', expected a number from 1 to 1000000", optarg);
      return CLI_GOOD;
    case OPTION_SECONDS:
      if (!cli_number(optarg, 0, 86400, &m->seconds))
        return cli_usage(command, "--seconds is '%s', expected a number from 0 to 86400", optarg);
      return CLI_GOOD;
    case OPTION_WARMUP:
      if (!cli_number(optarg, 0, 1e6, &m->warmup))
        return cli_usage(command, "--warmup is '%s', expected milliseconds from 0 to 1000000", optarg);
      return CLI_GOOD;
    default: return CLI_USAGE;
  }
}

static mien_status name_outputs(cli_measure *m) {
  m->output_count = mien_plan_output_count(m->plan);
  if (m->output_count > CLI_MAX_LIST) m->output_count = CLI_MAX_LIST;
  for (size_t i = 0; i < m->output_count; i++) {
    mien_port port;
    mien_status status = mien_plan_output(m->plan, i, &port);
    if (status != MIEN_OK) return status;
    m->outputs[i] = (mien_binding){.name = port.name};
  }
  return MIEN_OK;
}

mien_status cli_measure_open(cli_measure *m, mien_error *error) {
  double start = cli_now();
  mien_status status = cli_env(&m->options, &m->env, error);
  if (status == MIEN_OK) status = cli_open(m->env, m->path, &m->plan, error);
  mien_session_options options = {.threads = m->options.threads};
  if (status == MIEN_OK) status = mien_session_create(m->plan, &options, &m->session, error);
  m->load_ms = (cli_now() - start) * 1e-6;
  if (status == MIEN_OK) status = cli_inputs_read(m->env, m->plan, &m->pairs, true, m->batch, 0, &m->inputs, error);
  return status == MIEN_OK ? name_outputs(m) : status;
}

void cli_measure_close(cli_measure *m) {
  if (m->env) cli_inputs_clear(m->env, &m->inputs);
  mien_session_destroy(m->session);
  mien_plan_close(m->plan);
  mien_env_destroy(m->env);
  cli_pairs_clear(&m->pairs);
}

mien_status cli_measure_run(cli_measure *m, double *ms, mien_error *error) {
  for (size_t i = 0; i < m->output_count; i++) m->outputs[i].tensor = (mien_tensor){0};
  double start = cli_now();
  mien_status status =
      mien_session_run(m->session, m->inputs.bindings, m->inputs.count, m->outputs, m->output_count, error);
  *ms = (cli_now() - start) * 1e-6;
  return status;
}

mien_status cli_measure_warm(cli_measure *m, mien_error *error) {
  double ms, warm = 0;
  mien_status status = cli_measure_run(m, &m->first_ms, error);
  while (status == MIEN_OK && warm < m->warmup) {
    status = cli_measure_run(m, &ms, error);
    warm += ms + 1e-3;
  }
  return status;
}
