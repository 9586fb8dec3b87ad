/* runtime/cli/profile.h -- what the files of `mien profile` share: record.c collects, profile.c shows tables and JSON,
** profile_files.c writes files. */
#ifndef MIEN_CLI_PROFILE_H
#define MIEN_CLI_PROFILE_H

#include "cli.h"

/* One interval of a run on one thread. */
typedef struct cli_span {
  int64_t start, end; /* ns; end 0: it had none */
  int64_t first, last;
  uint32_t node, phase;
  int32_t kind;  /* mien_event_kind */
  int32_t outer; /* index of the span it is in; -1 */
  bool split;    /* PHASE or WORK: shared out again inside; a phase inside another one is in such work */
} cli_span;

/* What one thread did in a run. Written by that thread alone. */
typedef struct cli_track {
  _Alignas(64) cli_span *spans;
  size_t count, room, wanted; /* wanted: spans that there were, whether or not there was room */
  int32_t open;               /* the innermost span that has not ended; -1 */
  int32_t lost;               /* spans that began without room and have not ended */
} cli_track;

/* What a node did over all runs. */
typedef struct cli_node {
  mien_node_info info;
  double ms, least_ms; /* its time: median, fastest */
  double busy;         /* share of threads x time in which its items were computed */
  double busy_ns, total_ns;
  uint32_t phases, pieces; /* of the last run: phases, and spans of work */
  int64_t items;           /* of all phases */
} cli_node;

typedef struct cli_profile {
  cli_measure m;
  const char *trace, *html; /* files to write; NULL: none */
  struct mien__writer *trace_writer, *html_writer;
  long long top; /* nodes to show; 0: all */
  mien_session_info info;
  double peak; /* FLOP/s of all threads */
  size_t node_count;
  cli_node *nodes;
  int threads;
  cli_track *tracks, *best; /* of the run under way; of the fastest run */
  double best_ms;
  float *samples; /* us, [run][node] */
  float *run_us, *between_us, *plain_us;
  size_t runs, room, plain_runs;
  double run_ms, between_ms, plain_ms; /* medians: a run, what of it is in no node, a run that nobody observes */
  double nodes_ms, idle_ms;            /* sum of the nodes; what of it the average thread had no work */
} cli_profile;

/* record.c. Runs, collects, takes medians. */
mien_status cli_profile_record(cli_profile *p, mien_error *error);
void cli_profile_clear(cli_profile *p);
/* Whether it is a phase of what was one item of another phase. */
bool cli_is_nested(const cli_track *track, const cli_span *span);
/* The order of nodes by time, longest first: node_count indices, to be freed; NULL: no memory. */
size_t *cli_profile_order(const cli_profile *p);

/* Operator with its domain where that is not ai.onnx. */
const char *cli_node_op(const mien_node_info *info, char *text, size_t size);

/* profile.c: everything that the table says; NULL: no memory. */
cJSON *cli_profile_json(const cli_profile *p);

/* profile_files.c. begin, before anything is measured: whether the files can be written. end: writes the fastest run to them; nothing
** of them is left when status is, or becomes, a failure. */
mien_status cli_profile_files_begin(cli_profile *p, mien_error *error);
mien_status cli_profile_files_end(cli_profile *p, mien_status status, mien_error *error);

#endif
