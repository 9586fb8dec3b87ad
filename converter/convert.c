/* convert.c -- the way from an ONNX file to a plan file, step by step. The plan gets its name when everything else is done. */
#include "converter/choose.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

typedef struct job {
  mien_env *env;
  const mien_convert_options *options;
  mien_error *error;
  const char *target;
  mien__pool pool;
  mien__import import;
  mien__passes *passes;
  mien__trial reference, trial;
  mien__plan_facts facts;
  mien__summary summary;
  mien_error no_golden;
  mien__writer *writer;
  mien__choice choice;
  mien__choice *chosen; /* what the passes ask; NULL: nothing */
} job;

static const mien_convert_options no_options;

static void progress(const job *j, const char *step, int done, int total) {
  if (j->options->progress) j->options->progress(j->options->progress_context, step, done, total);
}

static mien_status write_to_writer(void *writer, const void *data, size_t size, mien_error *error) {
  return mien__writer_write(writer, data, size, error);
}

/* The graph as it is now, in a temporary file beside the target. */
static mien_status write_temporary(job *j) {
  MIEN_TRY(mien__writer_create(j->env, j->target, &j->writer, j->error));
  mien__plan_sink sink = {.write = write_to_writer, .context = j->writer};
  MIEN_TRY(mien__plan_write(j->import.graph, &j->facts, &sink, &j->summary.sizes, j->error));
  return mien__writer_flush(j->writer, j->error);
}

static mien_status drop_temporary(job *j) {
  mien__writer *writer = j->writer;
  j->writer = NULL;
  return writer ? mien__writer_finish(writer, false, j->error) : MIEN_OK;
}

/* A plan of the graph before any pass; its file is gone at once, the mapping stays. */
static mien_status open_reference(job *j) {
  progress(j, "reference", 0, 1);
  MIEN_TRY(write_temporary(j));
  MIEN_TRY(mien__trial_open(&j->reference, j->env, mien__writer_temporary(j->writer), j->error));
  return drop_temporary(j);
}

static mien_status import(job *j, const char *path) {
  struct stat st, other;
  if (stat(path, &st) == 0) {
    j->summary.source_bytes = (uint64_t)st.st_size;
    if (stat(j->target, &other) == 0 && st.st_dev == other.st_dev && st.st_ino == other.st_ino)
      return mien__fail(j->error, MIEN_INVALID_ARGUMENT, "'%s' is the model itself; the plan needs another name",
                        j->target);
  }
  progress(j, "read", 0, 1);
  MIEN_TRY(mien__import_open(&j->import, j->env, path, j->error));
  MIEN_TRY(mien__count_ops(j->import.graph, &j->pool, &j->summary.before, &j->summary.before_count, j->error));
  progress(j, "infer", 0, 1);
  return mien__import_infer(&j->import);
}

static mien_status optimise(job *j) {
  progress(j, "passes", 0, 1);
  MIEN_TRY(mien__passes_run(j->passes, j->import.graph, j->options->stop_after_patch, j->error));
  MIEN_TRY(mien__graph_remove_dead(j->import.graph, j->error));
  return mien__count_ops(j->import.graph, &j->pool, &j->summary.after, &j->summary.after_count, j->error);
}

/* Written, opened and run once for the golden values; written again with them, opened and checked against them. */
static mien_status write_and_run(job *j) {
  Mien__Plan__Check *check = NULL;
  progress(j, "run", 0, 1);
  MIEN_TRY(write_temporary(j));
  MIEN_TRY(mien__trial_open(&j->trial, j->env, mien__writer_temporary(j->writer), j->error));
  j->trial.precision = j->options->precision;
  MIEN_TRY(
      mien__golden_record(&j->trial, j->import.graph, j->options->seed, &j->pool, &check, &j->no_golden, j->error));
  mien_session_get_info(j->trial.session, &j->summary.session);
  int64_t size = j->trial.size;
  uint64_t seed = j->trial.seed;
  mien__trial_close(&j->trial);
  MIEN_TRY(drop_temporary(j));
  j->facts.check = check;
  j->facts.arena_bytes = j->summary.session.arena_bytes;
  j->facts.live_bytes = j->summary.session.live_bytes;
  progress(j, "write", 0, 1);
  MIEN_TRY(write_temporary(j));
  MIEN_TRY(mien__trial_open(&j->trial, j->env, mien__writer_temporary(j->writer), j->error));
  j->trial.precision = j->options->precision;
  j->trial.size = size;
  j->trial.seed = seed;
  j->summary.check = check;
  j->summary.no_golden = check ? NULL : &j->no_golden;
  size_t rows = 0;
  return check ? mien_session_check(j->trial.session, NULL, &rows, j->error) : MIEN_OK;
}

static mien_status verify(job *j) {
  int runs = j->options->verify;
  if (runs <= 0) return MIEN_OK;
  if (!j->summary.check)
    return mien__fail(j->error, MIEN_UNSUPPORTED, "the plan cannot be verified, it did not run on made-up inputs: %s",
                      j->no_golden.message);
  j->summary.difference_count = j->reference.output_count;
  j->summary.differences = mien__pool_alloc(&j->pool, (j->reference.output_count + 1) * sizeof *j->summary.differences);
  if (!j->summary.differences) return mien__no_memory(j->error, sizeof *j->summary.differences);
  MIEN_TRY(mien__verify_rows(&j->reference, j->summary.differences));
  /* From the seed on that ran; others may not. */
  uint64_t seed = j->trial.seed;
  for (int failed = 0; j->summary.runs < runs && failed < 16; seed++) {
    bool compared;
    progress(j, "verify", j->summary.runs, runs);
    MIEN_TRY(mien__verify(&j->reference, &j->trial, j->summary.runs, seed, j->trial.size, j->summary.differences,
                          &compared, j->error));
    j->summary.runs += compared;
    failed += !compared;
  }
  return MIEN_OK;
}

/* Imports with the passes of the options, which run later. */
static mien_status begin(job *j, const char *path) {
  MIEN_TRY(mien__passes_create(j->env, NULL, &j->passes, j->error));
  mien__passes_precision(j->passes, j->options->precision);
  if (j->options->skip_passes) MIEN_TRY(mien__passes_skip(j->passes, j->options->skip_passes, j->error));
  if (j->chosen) {
    j->passes->accepts = mien__choice_accepts;
    j->passes->accepts_context = j->chosen;
    mien__passes_precision(j->passes, MIEN_PRECISION_INT16);
  }
  MIEN_TRY(import(j, path));
  j->facts = (mien__plan_facts){.sha256 = j->import.sha256,
                                .passes = j->passes,
                                .nodes_before = j->summary.before,
                                .nodes_before_count = j->summary.before_count,
                                .skipped = j->options->skip_passes,
                                .precision = j->options->precision};
  return MIEN_OK;
}

static void clear(job *j) {
  mien__trial_close(&j->trial);
  mien__trial_close(&j->reference);
  mien__passes_destroy(j->passes);
  if (j->import.env) mien__import_close(&j->import);
  mien__choice_clear(&j->choice);
  mien__pool_clear(&j->pool);
}

/* ---- products chosen by their errors */

typedef struct build_context {
  const job *j;
  const char *path;
} build_context;

/* The model once more, as far as a plan that has run. */
static mien_status build(void *context, mien__choice *choice, mien__trial *trial, mien_error *error) {
  const build_context *b = context;
  mien_convert_options options = *b->j->options;
  options.progress = NULL;
  job j = {.env = b->j->env, .options = &options, .error = error, .target = b->j->target, .chosen = choice};
  Mien__Plan__Check *check = NULL;
  mien__pool_init(&j.pool, j.env, (size_t)j.env->limits.load_bytes);
  mien_status status = begin(&j, b->path);
  if (status == MIEN_OK) status = optimise(&j);
  if (status == MIEN_OK) status = write_temporary(&j);
  if (status == MIEN_OK) status = mien__trial_open(&j.trial, j.env, mien__writer_temporary(j.writer), error);
  if (status == MIEN_OK)
    status = mien__golden_record(&j.trial, j.import.graph, options.seed, &j.pool, &check, &j.no_golden, error);
  if (status == MIEN_OK && !check)
    status = mien__fail(error, MIEN_UNSUPPORTED,
                        "errors cannot be measured, the plan did not run on made-up inputs: %s", j.no_golden.message);
  if (j.writer) {
    mien_status dropped = drop_temporary(&j);
    if (status == MIEN_OK) status = dropped;
  }
  if (status == MIEN_OK) {
    *trial = j.trial;
    j.trial = (mien__trial){0};
  }
  clear(&j);
  return status;
}

static mien_status choose(job *j, const char *path) {
  build_context context = {.j = j, .path = path};
  return j->chosen ? mien__choose(j->chosen, build, &context, j->options, j->error) : MIEN_OK;
}

static mien_status steps(job *j, const char *path) {
  if (j->options->max_error > 0) {
    j->choice = (mien__choice){.env = j->env, .bound = j->options->max_error, .precision = j->options->precision};
    j->summary.choice = j->chosen = &j->choice;
  }
  MIEN_TRY(begin(j, path)); /* says what is not supported before anything is measured */
  MIEN_TRY(choose(j, path));
  if (j->options->verify > 0) MIEN_TRY(open_reference(j));
  MIEN_TRY(optimise(j));
  MIEN_TRY(write_and_run(j));
  return verify(j);
}

mien_status mien_convert(mien_env *env, const char *onnx_path, const char *plan_path,
                         const mien_convert_options *options, mien_convert_report *report, mien_error *error) {
  if (!env || !onnx_path || !plan_path) return mien__fail(error, MIEN_INVALID_ARGUMENT, "a NULL argument");
  if (options && (options->verify < 0 || options->stop_after_patch < 0))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "verify and stop_after_patch are numbers >= 0");
  if (options && !mien_precision_name(options->precision))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "precision is %d, expected one of mien_precision",
                      (int)options->precision);
  if (options && !(options->max_error >= 0 && isfinite(options->max_error)))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "max_error is a number >= 0");
  if (options && options->max_error > 0 && options->precision != MIEN_PRECISION_BF16 &&
      options->precision != MIEN_PRECISION_INT16)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "max_error chooses what bf16 or int16 rounds; precision is %s",
                      mien_precision_name(options->precision));
  mien_error own = {0};
  job j = {.env = env, .options = options ? options : &no_options, .error = error ? error : &own, .target = plan_path};
  if (report) *report = (mien_convert_report){0};
  mien__pool_init(&j.pool, env, (size_t)env->limits.load_bytes);
  mien_status status = steps(&j, onnx_path);
  j.summary.source = onnx_path;
  j.summary.target = plan_path;
  j.summary.import = &j.import;
  j.summary.passes = j.passes;
  j.summary.precision = j.options->precision;
  if (status == MIEN_OK && report) status = mien__report(env, &j.summary, report, j.error);
  if (j.writer && status == MIEN_OK)
    status = mien__writer_finish(j.writer, true, j.error);
  else if (j.writer)
    (void)mien__writer_finish(j.writer, false, NULL);
  if (status != MIEN_OK && report) mien_convert_report_free(env, report);
  if (status == MIEN_UNSUPPORTED && report && j.import.unsupported &&
      mien__report_unsupported(env, &j.import, report, NULL) != MIEN_OK)
    *report = (mien_convert_report){0};
  clear(&j);
  return status;
}

mien_status mien_convert_passes(mien_env *env, mien_pass_info *rows, size_t *count, mien_error *error) {
  static const char *const stages[] = {"canonicalise", "fuse", "plugin", "sink", "layout", "finish"};
  if (!env || !count || (*count && !rows)) return mien__fail(error, MIEN_INVALID_ARGUMENT, "a NULL argument");
  mien__passes *passes;
  MIEN_TRY(mien__passes_create(env, NULL, &passes, error));
  for (int32_t i = 0; i < passes->run_count && (size_t)i < *count; i++) {
    const mien__pass_run *run = &passes->runs[i];
    rows[i] = (mien_pass_info){.name = run->rewrite->name,
                               .doc = run->rewrite->doc,
                               .stage = stages[run->rewrite->stage],
                               .plugin = run->plugin};
  }
  *count = (size_t)passes->run_count;
  mien__passes_destroy(passes);
  return MIEN_OK;
}
