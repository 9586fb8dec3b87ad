/* A session's threads: lanes over a pthreadpool.
**
** pthreadpool decides which of its threads takes which item and says nothing about it. So each run hands out as many items
** as there are lanes, and a lane (an item) fetches pieces of the work from a shared counter until none is left. Whatever
** belongs to a thread during a run (scratch, error text) belongs to its lane. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <pthreadpool.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PIECE_NS 10e3     /* a piece worth less costs more to hand out than it saves */
#define PIECES_PER_LANE 4 /* so that a lane that starts late or is interrupted takes fewer */
#define ALIGNED_ITEMS 64  /* cheap items are cut at multiples of this */
#define MAX_LANES 1024

typedef struct lane {
  _Alignas(64) _Atomic(pthread_t) thread; /* who runs it, while `busy` */
  atomic_bool busy;
  void *scratch;
  size_t scratch_bytes;
  int64_t failed_piece; /* lowest of its pieces that failed; -1: none */
  mien_status status;
  mien_error error;
} lane;

struct mien__threads {
  mien_env *env;
  pthreadpool_t pool; /* NULL: the caller alone */
  pid_t pid;
  int count;
  bool spinning; /* workers wait actively */
  bool begun;
  fenv_t caller;
  atomic_bool running;
  atomic_int started, finished; /* see mien__threads_run */
  struct job *job;              /* under way */
  lane *lanes;
};

typedef struct job {
  mien_node *node;
  mien_task_fn *fn;
  void *arg;
  int64_t count, piece, pieces;
  _Atomic int64_t next, lowest_failed;
} job;

static lane *own_lane(mien__threads *threads) {
  if (!atomic_load_explicit(&threads->running, memory_order_relaxed)) return NULL;
  pthread_t self = pthread_self();
  for (int i = 0; i < threads->count; i++) {
    lane *l = &threads->lanes[i];
    if (atomic_load_explicit(&l->busy, memory_order_acquire) &&
        pthread_equal(atomic_load_explicit(&l->thread, memory_order_relaxed), self))
      return l;
  }
  return NULL;
}

/* ---------------------------------------------------------------- pieces */

static void lower(_Atomic int64_t *least, int64_t piece) {
  int64_t old = atomic_load(least);
  while (piece < old && !atomic_compare_exchange_weak(least, &old, piece)) {}
}

/* Pieces are fetched in order, so when one fails all before it are being computed already; the ones after it may be left
** out. Which piece failed first is therefore the same on every run. */
static void lane_work(lane *l, job *j, mien_node *node) {
  for (;;) {
    int64_t piece = atomic_fetch_add_explicit(&j->next, 1, memory_order_relaxed);
    if (piece >= j->pieces || piece > atomic_load_explicit(&j->lowest_failed, memory_order_relaxed)) return;
    int64_t begin = piece * j->piece;
    int64_t end = j->count - begin < j->piece ? j->count : begin + j->piece;
    mien_status status = j->fn(node, j->arg, begin, end);
    if (status == MIEN_OK) continue;
    l->failed_piece = piece;
    l->status = status;
    lower(&j->lowest_failed, piece);
    return;
  }
}

/* A lane computes with a copy of the node whose scope has an error of its own: two failing lanes would otherwise race for
** one text, and the faster would win. */
static void lane_run(void *context, size_t index) {
  mien__threads *threads = context;
  lane *l = &threads->lanes[index];
  /* pthreadpool orders memory itself; this pair says so to tools that cannot see into it. */
  (void)atomic_load_explicit(&threads->started, memory_order_acquire);
  job *j = threads->job;
  atomic_store_explicit(&l->thread, pthread_self(), memory_order_relaxed);
  atomic_store_explicit(&l->busy, true, memory_order_release);
  l->failed_piece = -1;
  if (j->node) {
    mien__scope scope = {.env = j->node->scope->env,
                         .pool = j->node->scope->pool,
                         .symbols = j->node->scope->symbols,
                         .threads = j->node->scope->threads,
                         .plan = j->node->scope->plan,
                         .error = j->node->scope->error ? &l->error : NULL};
    mien_node node = *j->node;
    node.scope = &scope;
    l->error.code = MIEN_OK;
    lane_work(l, j, &node);
  } else {
    lane_work(l, j, NULL);
  }
  atomic_store_explicit(&l->busy, false, memory_order_release);
  atomic_fetch_add_explicit(&threads->finished, 1, memory_order_acq_rel);
}

static mien_status first_failure(const mien__threads *threads, const job *j, int lanes) {
  const lane *first = NULL;
  for (int i = 0; i < lanes; i++) {
    const lane *l = &threads->lanes[i];
    if (l->failed_piece >= 0 && (!first || l->failed_piece < first->failed_piece)) first = l;
  }
  if (!first) return MIEN_OK;
  mien__scope *scope = j->node ? j->node->scope : NULL;
  if (scope && scope->error && first->error.code != MIEN_OK) {
    int none = 0;
    if (atomic_compare_exchange_strong(&scope->failed, &none, 1)) *scope->error = first->error;
  }
  return first->status;
}

/* Items of one piece. Cheap items are elements, which kernels take in vectors: cut at a multiple, every element is in a
** vector's body or in the tail as it would be without threads, so results have the same bits. */
static int64_t piece_size(int64_t count, double cost, int threads) {
  if (!(cost > 1e-3)) cost = 1e-3;
  double least = PIECE_NS / cost;
  int64_t piece = least >= (double)count ? count : (int64_t)least + 1;
  int64_t share = count / ((int64_t)threads * PIECES_PER_LANE) + 1;
  if (piece < share) piece = share;
  if (least >= ALIGNED_ITEMS && piece <= INT64_MAX - ALIGNED_ITEMS)
    piece = (piece + ALIGNED_ITEMS - 1) / ALIGNED_ITEMS * ALIGNED_ITEMS;
  return piece < count ? piece : count;
}

mien_status mien__threads_run(mien__threads *threads, mien_node *n, int64_t count, double cost, mien_task_fn *fn,
                              void *arg) {
  if (count <= 0) return MIEN_OK;
  if (!threads || !threads->pool) return fn(n, arg, 0, count);
  if (!threads->begun && getpid() != threads->pid) return fn(n, arg, 0, count);
  int64_t piece = piece_size(count, cost, threads->count);
  if (piece >= count || own_lane(threads)) return fn(n, arg, 0, count);
  job j = {.node = n, .fn = fn, .arg = arg, .count = count, .piece = piece};
  j.pieces = (count - 1) / piece + 1;
  atomic_init(&j.next, 0);
  atomic_init(&j.lowest_failed, INT64_MAX);
  int lanes = j.pieces < threads->count ? (int)j.pieces : threads->count;
  threads->spinning = threads->begun;
  atomic_store_explicit(&threads->running, true, memory_order_relaxed);
  atomic_store_explicit(&threads->finished, 0, memory_order_relaxed);
  threads->job = &j;
  atomic_fetch_add_explicit(&threads->started, 1, memory_order_release);
  pthreadpool_parallelize_1d(threads->pool, lane_run, threads, (size_t)lanes,
                             threads->begun ? 0 : PTHREADPOOL_FLAG_YIELD_WORKERS);
  (void)atomic_load_explicit(&threads->finished, memory_order_acquire);
  atomic_store_explicit(&threads->running, false, memory_order_relaxed);
  return first_failure(threads, &j, lanes);
}

/* ---------------------------------------------------------------- around a run */

mien_status mien__threads_begin(mien__threads *threads, mien_error *error) {
  if (!threads) return MIEN_OK;
  if (threads->pool && getpid() != threads->pid)
    return mien__fail(error, MIEN_INVALID_ARGUMENT,
                      "the session was created in process %ld and its threads do not exist in process %ld: create "
                      "sessions after fork()",
                      (long)threads->pid, (long)getpid());
  if (fegetenv(&threads->caller) != 0 || fesetenv(FE_DFL_ENV) != 0)
    return mien__fail(error, MIEN_INTERNAL, "the floating-point environment cannot be set");
  threads->begun = true;
  return MIEN_OK;
}

static void nothing(void *context, size_t index) {
  (void)context;
  (void)index;
}

void mien__threads_rest(mien__threads *threads) {
  if (!threads || !threads->begun) return;
  threads->begun = false;
  if (threads->spinning)
    pthreadpool_parallelize_1d(threads->pool, nothing, NULL, (size_t)threads->count, PTHREADPOOL_FLAG_YIELD_WORKERS);
  threads->spinning = false;
  fesetenv(&threads->caller);
}

/* ---------------------------------------------------------------- create, scratch */

typedef struct probe {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  bool leave;
} probe;

static void *probe_main(void *context) {
  probe *p = context;
  pthread_mutex_lock(&p->mutex);
  while (!p->leave) pthread_cond_wait(&p->cond, &p->mutex);
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

/* pthreadpool_create does not look at what pthread_create returns and then waits for ever for a thread that does not exist.
** So as many threads are started and ended once before. */
static int probe_threads(mien_env *env, int count) {
  pthread_t *threads = mien__alloc(env, (size_t)count * sizeof *threads);
  if (!threads) return ENOMEM;
  probe p = {.leave = false};
  pthread_mutex_init(&p.mutex, NULL);
  pthread_cond_init(&p.cond, NULL);
  int failed = 0, started = 0;
  for (; started < count && !failed; started += !failed)
    failed = pthread_create(&threads[started], NULL, probe_main, &p);
  pthread_mutex_lock(&p.mutex);
  p.leave = true;
  pthread_cond_broadcast(&p.cond);
  pthread_mutex_unlock(&p.mutex);
  for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
  pthread_cond_destroy(&p.cond);
  pthread_mutex_destroy(&p.mutex);
  mien__free(env, threads);
  return failed;
}

/* Workers inherit the creator's signal mask and floating-point environment: all signals go to the host program's threads,
** and rounding and denormals are the default whatever the creating thread has set. */
static mien_status start_pool(mien__threads *threads, mien_error *error) {
  int failed = probe_threads(threads->env, threads->count - 1);
  if (failed)
    return mien__fail(error, failed == ENOMEM ? MIEN_NO_MEMORY : MIEN_IO, "cannot start %d threads: %s",
                      threads->count - 1, strerrordesc_np(failed));
  sigset_t all, before;
  fenv_t environment;
  sigfillset(&all);
  fegetenv(&environment);
  fesetenv(FE_DFL_ENV);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  threads->pool = pthreadpool_create((size_t)threads->count);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  fesetenv(&environment);
  return threads->pool ? MIEN_OK : mien__fail(error, MIEN_NO_MEMORY, "cannot start %d threads", threads->count - 1);
}

mien_status mien__threads_create(mien_env *env, int count, mien__threads **out, mien_error *error) {
  if (count < 0 || count > MAX_LANES)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "%d threads, expected 0 to %d", count, MAX_LANES);
  if (count == 0) count = mien__threads_default();
  mien__threads *threads = mien__alloc(env, sizeof *threads);
  if (!threads) return mien__no_memory(error, sizeof *threads);
  threads->env = env;
  threads->pid = getpid();
  threads->count = count;
  threads->lanes = mien__alloc(env, (size_t)count * sizeof *threads->lanes);
  mien_status status = threads->lanes ? MIEN_OK : mien__no_memory(error, (size_t)count * sizeof *threads->lanes);
  if (status == MIEN_OK && count > 1) status = start_pool(threads, error);
  if (status != MIEN_OK) {
    mien__threads_destroy(threads);
    return status;
  }
  *out = threads;
  return MIEN_OK;
}

void mien__threads_destroy(mien__threads *threads) {
  if (!threads) return;
  /* In a forked child the workers do not exist; joining them would hang. What the pool holds stays until the child ends. */
  if (threads->pool && getpid() == threads->pid) pthreadpool_destroy(threads->pool);
  for (int i = 0; threads->lanes && i < threads->count; i++) mien__free(threads->env, threads->lanes[i].scratch);
  mien__free(threads->env, threads->lanes);
  mien__free(threads->env, threads);
}

int mien__threads_count(const mien__threads *threads) { return threads ? threads->count : 1; }

void *mien__threads_scratch(mien__threads *threads) {
  if (!threads) return NULL;
  lane *l = own_lane(threads);
  return l ? l->scratch : threads->lanes[0].scratch;
}

mien_status mien__threads_reserve(mien__threads *threads, size_t bytes, mien_error *error) {
  for (int i = 0; threads && i < threads->count; i++) {
    lane *l = &threads->lanes[i];
    if (bytes <= l->scratch_bytes) continue;
    void *memory = mien__alloc(threads->env, bytes);
    if (!memory) return mien__no_memory(error, bytes);
    mien__free(threads->env, l->scratch);
    l->scratch = memory;
    l->scratch_bytes = bytes;
  }
  return MIEN_OK;
}
