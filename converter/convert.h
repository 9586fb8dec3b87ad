/* converter/convert.h -- what the steps of a conversion share. convert.c: the steps; verify.c: seeded runs, golden values,
** comparison; report.c: what is told at the end. */
#ifndef MIEN_CONVERTER_CONVERT_H
#define MIEN_CONVERTER_CONVERT_H

#include "converter/import.h"
#include "converter/plan_write.h"

#include <mien/convert.h>

/* ---- verify.c */

/* A plan with a session and seeded inputs for it. */
typedef struct mien__trial {
  mien_env *env;
  mien_plan *plan;
  mien_session *session;
  mien_binding *inputs, *outputs;
  size_t input_count, output_count;
  uint64_t seed;            /* of the inputs that stand there */
  int64_t size;             /* that open dimensions have */
  mien_precision precision; /* of the plan */
} mien__trial;

mien_status mien__trial_open(mien__trial *trial, mien_env *env, const char *path, mien_error *error);
void mien__trial_close(mien__trial *trial);
/* Fills the inputs (open dimensions: size) and runs. Outputs are the session's until its next run. */
mien_status mien__trial_run(mien__trial *trial, uint64_t seed, int64_t size, mien_error *error);

/* Finds a seed and a size with which the plan runs, and records its outputs and some values on the way. *check: in the
** pool; NULL when the plan runs with none of them, then `why` tells. */
mien_status mien__golden_record(mien__trial *trial, const mien__graph *g, uint64_t seed, mien__pool *pool,
                                Mien__Plan__Check **check, mien_error *why, mien_error *error);

/* How far an output of this type may be from the imported graph's, as a part of its largest magnitude. */
double mien__verify_bound(int32_t dtype, mien_precision precision);

/* Largest differences of one output over all runs. */
typedef struct mien__difference {
  const char *name;
  double max_abs, max_rel, largest; /* largest: magnitude of the reference */
  bool good;
} mien__difference;

/* One row an output, of nothing compared so far. */
mien_status mien__verify_rows(const mien__trial *reference, mien__difference *rows);
/* Runs both plans once on the inputs of `seed` and adds what differs. MIEN_MISMATCH when a row is not good. *compared false:
** the reference cannot run on them. */
mien_status mien__verify(mien__trial *reference, mien__trial *trial, int run, uint64_t seed, int64_t size,
                         mien__difference *rows, bool *compared, mien_error *error);

/* ---- report.c */

typedef struct mien__summary {
  const char *source, *target;
  const mien__import *import;
  const mien__passes *passes;
  mien__op_count *before, *after;
  size_t before_count, after_count;
  mien__plan_sizes sizes;
  uint64_t source_bytes;
  mien_session_info session;
  const Mien__Plan__Check *check;
  const mien_error *no_golden; /* why there are no golden values */
  mien__difference *differences;
  size_t difference_count;
  int runs;
  mien_precision precision;
  const struct mien__choice *choice; /* NULL: all products */
} mien__summary;

mien_status mien__report(mien_env *env, const mien__summary *summary, mien_convert_report *report, mien_error *error);
/* All unsupported nodes. */
mien_status mien__report_unsupported(mien_env *env, const mien__import *import, mien_convert_report *report,
                                     mien_error *error);

#endif
