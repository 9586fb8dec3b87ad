/* record.c -- mien profile: listens to a session and takes medians. While runs are under way nothing is allocated. */
#include "profile.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_RUNS = 3, MOST_SAMPLES = 1 << 25 };

/* ---------------------------------------------------------------- listening */

static void begin_span(cli_track *t, const mien_event *e) {
  t->wanted++;
  if (t->count == t->room || t->lost) {
    t->lost++;
    return;
  }
  t->spans[t->count] = (cli_span){.start = e->time_ns,
                                  .first = e->first,
                                  .last = e->last,
                                  .node = e->node,
                                  .phase = e->phase,
                                  .kind = (int32_t)e->kind,
                                  .outer = t->open};
  if (e->kind == MIEN_EVENT_PHASE)
    for (int32_t o = t->open; o >= 0 && t->spans[o].kind != MIEN_EVENT_NODE; o = t->spans[o].outer)
      t->spans[o].split = true;
  t->open = (int32_t)t->count++;
}

static void end_span(cli_track *t, const mien_event *e) {
  if (t->lost) {
    t->lost--;
  } else if (t->open >= 0) {
    t->spans[t->open].end = e->time_ns;
    t->open = t->spans[t->open].outer;
  }
}

static void listen(void *context, const mien_event *e) {
  const cli_profile *p = context;
  if (e->thread >= 0 && e->thread < p->threads) (e->end ? end_span : begin_span)(&p->tracks[e->thread], e);
}

static void rewind_tracks(cli_profile *p) {
  for (int i = 0; i < p->threads; i++) {
    cli_track *t = &p->tracks[i];
    t->count = t->wanted = 0;
    t->open = -1;
    t->lost = 0;
  }
}

/* Any thread may do all of the work: every track has room for every span of a run. */
static mien_status reserve_tracks(cli_profile *p, mien_error *error) {
  double ms;
  rewind_tracks(p);
  mien_status status = cli_measure_run(&p->m, &ms, error);
  if (status != MIEN_OK) return status;
  size_t wanted = 64;
  for (int i = 0; i < p->threads; i++) wanted += p->tracks[i].wanted;
  if (wanted > INT32_MAX / 2) return MIEN_LIMIT;
  for (int i = 0; i < 2 * p->threads; i++) {
    cli_track *t = i < p->threads ? &p->tracks[i] : &p->best[i - p->threads];
    t->spans = calloc(wanted * 2, sizeof *t->spans);
    if (!t->spans) return MIEN_NO_MEMORY;
    t->room = wanted * 2;
  }
  return MIEN_OK;
}

bool cli_is_nested(const cli_track *t, const cli_span *s) {
  return s->kind == MIEN_EVENT_PHASE && s->outer >= 0 && t->spans[s->outer].kind == MIEN_EVENT_WORK;
}

/* ---------------------------------------------------------------- one run */

static mien_status reserve_samples(cli_profile *p) {
  if (p->runs < p->room) return MIEN_OK;
  size_t room = p->room ? p->room * 2 : 64;
  float *samples = realloc(p->samples, (room * p->node_count + 1) * sizeof *samples);
  if (samples) p->samples = samples;
  float *run = realloc(p->run_us, room * sizeof *run);
  if (run) p->run_us = run;
  float *between = realloc(p->between_us, room * sizeof *between);
  if (between) p->between_us = between;
  float *plain = realloc(p->plain_us, room * sizeof *plain);
  if (plain) p->plain_us = plain;
  if (!samples || !run || !between || !plain) return MIEN_NO_MEMORY;
  p->room = room;
  return MIEN_OK;
}

static void take_sample(cli_profile *p) {
  float *sample = p->samples + p->runs * p->node_count;
  double run = 0, covered = 0;
  memset(sample, 0, p->node_count * sizeof *sample);
  for (size_t i = 0; i < p->node_count; i++) {
    p->nodes[i].phases = p->nodes[i].pieces = 0;
    p->nodes[i].items = 0;
  }
  for (int t = 0; t < p->threads; t++)
    for (size_t i = 0; i < p->tracks[t].count; i++) {
      const cli_span *s = &p->tracks[t].spans[i];
      double ns = (double)(s->end - s->start);
      if (s->kind == MIEN_EVENT_RUN) run = ns;
      if (s->kind == MIEN_EVENT_RUN || s->node >= p->node_count) continue;
      cli_node *n = &p->nodes[s->node];
      if (s->kind == MIEN_EVENT_WORK) n->busy_ns += ns;
      if (cli_is_nested(&p->tracks[t], s)) n->busy_ns -= ns; /* what is done in it is counted by itself */
      if (!s->split) {
        n->pieces += s->kind == MIEN_EVENT_WORK;
        n->phases += s->kind == MIEN_EVENT_PHASE;
        if (s->kind == MIEN_EVENT_PHASE) n->items += s->last;
      }
      if (s->kind != MIEN_EVENT_NODE) continue;
      n->total_ns += ns;
      covered += ns;
      sample[s->node] = (float)(ns * 1e-3);
    }
  p->run_us[p->runs] = (float)(run * 1e-3);
  p->between_us[p->runs] = (float)((run - covered) * 1e-3);
  p->runs++;
  if (p->runs == 1 || run * 1e-6 < p->best_ms) {
    cli_track *kept = p->tracks;
    p->best_ms = run * 1e-6;
    p->tracks = p->best;
    p->best = kept;
  }
}

/* Observed runs and others take turns, so that their difference is the observer's. */
static mien_status run_twice(cli_profile *p, mien_error *error) {
  double ms;
  mien_status status = reserve_samples(p);
  if (status == MIEN_OK) status = mien_session_observe(p->m.session, NULL, NULL, error);
  if (status == MIEN_OK) status = cli_measure_run(&p->m, &ms, error);
  if (status == MIEN_OK) p->plain_us[p->plain_runs++] = (float)(ms * 1e3);
  rewind_tracks(p);
  if (status == MIEN_OK) status = mien_session_observe(p->m.session, listen, p, error);
  if (status == MIEN_OK) status = cli_measure_run(&p->m, &ms, error);
  if (status == MIEN_OK) take_sample(p);
  return status;
}

/* ---------------------------------------------------------------- medians */

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double median(float *values, size_t count) {
  qsort(values, count, sizeof *values, ascending);
  return count ? ((double)values[(count - 1) / 2] + (double)values[count / 2]) / 2 : 0;
}

static mien_status summarise(cli_profile *p) {
  float *column = calloc(p->runs + 1, sizeof *column);
  if (!column) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < p->node_count; i++) {
    cli_node *n = &p->nodes[i];
    for (size_t r = 0; r < p->runs; r++) column[r] = p->samples[r * p->node_count + i];
    n->ms = 1e-3 * median(column, p->runs);
    n->least_ms = 1e-3 * (double)column[0];
    n->busy = n->total_ns > 0 ? n->busy_ns / n->total_ns / p->threads : 0;
  }
  free(column);
  for (size_t i = 0; i < p->node_count; i++) {
    p->nodes_ms += p->nodes[i].ms;
    p->idle_ms += (1 - p->nodes[i].busy) * p->nodes[i].ms;
  }
  p->run_ms = 1e-3 * median(p->run_us, p->runs);
  p->between_ms = 1e-3 * median(p->between_us, p->runs);
  p->plain_ms = 1e-3 * median(p->plain_us, p->plain_runs);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- all of it */

static mien_status prepare(cli_profile *p, mien_error *error) {
  mien_session_get_info(p->m.session, &p->info);
  p->threads = p->info.threads;
  p->node_count = mien_session_node_count(p->m.session);
  p->nodes = calloc(p->node_count + 1, sizeof *p->nodes);
  p->tracks = aligned_alloc(64, (size_t)p->threads * sizeof *p->tracks);
  p->best = aligned_alloc(64, (size_t)p->threads * sizeof *p->best);
  if (p->tracks) memset(p->tracks, 0, (size_t)p->threads * sizeof *p->tracks);
  if (p->best) memset(p->best, 0, (size_t)p->threads * sizeof *p->best);
  if (!p->nodes || !p->tracks || !p->best) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < p->node_count; i++) {
    mien_status status = mien_session_node(p->m.session, i, &p->nodes[i].info);
    if (status != MIEN_OK) return status;
  }
  mien_status status = mien_session_observe(p->m.session, listen, p, error);
  return status == MIEN_OK ? reserve_tracks(p, error) : status;
}

mien_status cli_profile_record(cli_profile *p, mien_error *error) {
  double before = 0;
  mien_status status = cli_measure_warm(&p->m, error);
  if (status == MIEN_OK) status = prepare(p, error);
  if (status == MIEN_OK) status = mien_session_peak(p->m.session, &before, error);
  double start = cli_now();
  while (status == MIEN_OK &&
         (p->runs < (size_t)p->m.runs || p->runs < LEAST_RUNS || (cli_now() - start) * 1e-9 < p->m.seconds)) {
    if (p->runs >= LEAST_RUNS && (p->runs + 1) * (p->node_count + 1) > MOST_SAMPLES) break;
    status = run_twice(p, error);
  }
  if (status == MIEN_OK) status = mien_session_peak(p->m.session, &p->peak, error);
  if (before > p->peak) p->peak = before; /* a neighbour may have disturbed one of them */
  if (p->m.session && mien_session_observe(p->m.session, NULL, NULL, NULL) != MIEN_OK && status == MIEN_OK)
    status = MIEN_INTERNAL;
  return status == MIEN_OK ? summarise(p) : status;
}

static void clear_tracks(cli_track *tracks, int count) {
  for (int i = 0; tracks && i < count; i++) free(tracks[i].spans);
  free(tracks);
}

void cli_profile_clear(cli_profile *p) {
  clear_tracks(p->tracks, p->threads);
  clear_tracks(p->best, p->threads);
  free(p->nodes);
  free(p->samples);
  free(p->run_us);
  free(p->between_us);
  free(p->plain_us);
  cli_measure_close(&p->m);
}

typedef struct timed {
  double ms;
  size_t index;
} timed;

static int longest_first(const void *a, const void *b) {
  const timed *x = a, *y = b;
  return x->ms != y->ms ? (x->ms < y->ms) - (x->ms > y->ms) : (x->index > y->index) - (x->index < y->index);
}

size_t *cli_profile_order(const cli_profile *p) {
  timed *nodes = malloc((p->node_count + 1) * sizeof *nodes);
  size_t *order = malloc((p->node_count + 1) * sizeof *order);
  for (size_t i = 0; nodes && i < p->node_count; i++) nodes[i] = (timed){p->nodes[i].ms, i};
  if (nodes) qsort(nodes, p->node_count, sizeof *nodes, longest_first);
  for (size_t i = 0; nodes && order && i < p->node_count; i++) order[i] = nodes[i].index;
  if (!nodes) {
    free(order);
    order = NULL;
  }
  free(nodes);
  return order;
}
