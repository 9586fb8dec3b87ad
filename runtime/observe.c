/* observe.c -- what a profiler asks a session: events as they happen, what each node is and where each value lies, and how fast
** the session's threads could multiply at best. */
#include "session.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* ---------------------------------------------------------------- events */

static int64_t clock_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void mien__watch_tell(const mien__watch *watch, mien_event_kind kind, bool end, int thread, uint32_t phase,
                      int64_t first, int64_t last) {
  const mien_event event = {.kind = kind,
                            .end = end,
                            .thread = thread,
                            .node = watch->node,
                            .phase = phase,
                            .first = first,
                            .last = last,
                            .time_ns = clock_ns(CLOCK_MONOTONIC)};
  watch->observe(watch->context, &event);
}

void mien__watch_node(mien__watch *watch, uint32_t node, bool end) {
  watch->node = node;
  if (!end) watch->phase = 0;
  mien__watch_tell(watch, MIEN_EVENT_NODE, end, 0, 0, 0, 0);
}

mien_status mien_session_observe(mien_session *s, mien_observe_fn *observe, void *context, mien_error *error) {
  if (!s) return mien__fail(error, MIEN_INVALID_ARGUMENT, "session must not be NULL");
  MIEN_TRY(mien__session_enter(s, error));
  s->watch = (mien__watch){.observe = observe, .context = context};
  mien__session_leave(s);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- nodes */

size_t mien_session_node_count(const mien_session *s) { return s ? s->plan->program.instruction_count : 0; }

static double bytes_of(const mien__value *v) {
  if (!v || v->tensor.type.rank < 0) return 0;
  double count = (double)mien_count(&v->tensor.type);
  return count > 0 ? count * (double)mien_dtype_size(v->tensor.type.dtype) : 0;
}

/* What a node cannot avoid to read and write. Copies read no more than they write. */
static double traffic(const mien_node *n) {
  double in = 0, out = 0;
  for (int i = 0; i < n->in_count; i++) in += bytes_of(n->in[i]);
  for (int i = 0; i < n->out_count; i++) out += bytes_of(n->out[i]);
  if ((n->record->op->flags & MIEN_OP_MOVES_DATA) && in > out) in = out;
  return in + (double)n->packed_extra + out;
}

mien_status mien_session_node(const mien_session *s, size_t index, mien_node_info *info) {
  if (!s || !info || index >= s->plan->program.instruction_count) return MIEN_INVALID_ARGUMENT;
  const mien__instruction *in = &s->plan->program.instructions[index];
  const mien__layout *l = s->layouts;
  *info = (mien_node_info){.name = in->name ? in->name : "",
                           .domain = mien__domain_text(in->record->domain),
                           .op = in->record->op->name,
                           .since = in->record->op->since,
                           .kernel = "",
                           .type = {.rank = -1}};
  if (!l || l->dynamic) {
    info->runs = l != NULL;
    return MIEN_OK;
  }
  const mien_node *n = &l->nodes[index];
  for (int i = n->out_count - 1; i >= 0; i--)
    if (n->out[i]) info->type = n->out[i]->tensor.type;
  info->runs = !l->skip[index];
  if (!info->runs) return MIEN_OK;
  info->kernel = n->kernel ? n->kernel : "loop";
  info->flops = n->flops;
  info->bytes = traffic(n);
  info->items = n->items;
  return MIEN_OK;
}

/* ---------------------------------------------------------------- places in the arena */

mien_status mien_session_places(const mien_session *s, mien_place *places, size_t *count) {
  if (!s || !count || (!places && *count)) return MIEN_INVALID_ARGUMENT;
  const mien__program *p = &s->plan->program;
  const mien__layout *l = s->layouts;
  size_t room = *count, found = 0;
  for (uint32_t i = 0; l && !l->dynamic && i < p->instruction_count; i++) {
    const mien_node *n = &l->nodes[i];
    for (int k = 0; !l->settled[i] && k < n->out_count; k++) {
      if (!n->out[k]) continue;
      uint32_t v = (uint32_t)(n->out[k] - l->values);
      const mien_tensor *t = &l->values[v].tensor;
      if (l->root[v] != v || l->home[v] != MIEN__HOME_ARENA || t->bytes == 0) continue;
      if (found < room) {
        const char *name = v < p->value_count ? p->value_names[v] : NULL;
        places[found] = (mien_place){.name = name ? name : "",
                                     .type = t->type,
                                     .bytes = t->bytes,
                                     .offset = l->offset[v],
                                     .first = l->first[v],
                                     .last = l->last[v]};
      }
      found++;
    }
  }
  *count = found;
  return MIEN_OK;
}

/* ---------------------------------------------------------------- peak */

#define PEAK_ROUNDS 4096
#define PEAK_ITEMS 32 /* a thread and attempt: half a millisecond */
#define PEAK_ATTEMPTS 60

typedef struct peak_run {
  const mien_math *math;
  _Atomic int64_t operations, nanoseconds; /* of processors, all threads together */
} peak_run;

static mien_status peak_items(mien_node *n, void *arg, int64_t begin, int64_t end) {
  (void)n;
  peak_run *r = arg;
  int64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
  double operations = 0;
  for (int64_t i = begin; i < end; i++) {
    float sum;
    operations += r->math->peak(PEAK_ROUNDS, &sum);
    if (isnan(sum)) return MIEN_INTERNAL; /* never; but the sum is wanted */
  }
  atomic_fetch_add_explicit(&r->operations, (int64_t)operations, memory_order_relaxed);
  atomic_fetch_add_explicit(&r->nanoseconds, clock_ns(CLOCK_THREAD_CPUTIME_ID) - start, memory_order_relaxed);
  return MIEN_OK;
}

/* What a thread does in its processor time, times the threads that can have a processor: on a busy machine they rarely all have one at
** once. */
static mien_status peak_once(mien_session *s, int cpus, double *rate) {
  const int threads = mien__threads_count(s->threads);
  peak_run r = {.math = s->env->host.math};
  atomic_init(&r.operations, 0);
  atomic_init(&r.nanoseconds, 0);
  MIEN_TRY(mien__threads_run(s->threads, NULL, (int64_t)PEAK_ITEMS * threads, 1e4, peak_items, &r));
  double seconds = 1e-9 * (double)atomic_load(&r.nanoseconds);
  double once = seconds > 0 ? (threads < cpus ? threads : cpus) * (double)atomic_load(&r.operations) / seconds : 0;
  *rate = once > *rate ? once : *rate;
  return MIEN_OK;
}

mien_status mien_session_peak(mien_session *s, double *flops_per_second, mien_error *error) {
  if (!s || !flops_per_second)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "session and flops_per_second must not be NULL");
  MIEN_TRY(mien__session_enter(s, error));
  mien_status status = mien__threads_begin(s->threads, error);
  const int cpus = mien__cpus();
  double best = 0;
  for (int i = 0; status == MIEN_OK && i < PEAK_ATTEMPTS; i++) status = peak_once(s, cpus, &best);
  mien__threads_rest(s->threads);
  mien__session_leave(s);
  if (status == MIEN_OK) *flops_per_second = best;
  return status;
}
