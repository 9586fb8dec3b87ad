/* A session's threads. A run's work is cut into pieces; every thread has its share of them, takes them in order and, when
** none is left, those of the others. The caller takes pieces as its workers do. Nodes one after another that are cut alike
** thus find their operands in the cache of the core that wrote them.
**
** Why not a pool of a library: those we know (pthreadpool, OpenMP) end a run when every thread has reported, also one that got no
** piece because it was not even scheduled yet. On a machine that does other work, a run of a hundred small nodes then waits
** a hundred times for a time slice: measured on two busy cores, 135 ms with two threads instead of 11 with one. Here the
** caller closes the job when no piece is left and waits for those workers alone that are computing one. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PIECE_NS 10e3     /* a piece worth less costs more to hand out than it saves */
#define PIECES_PER_LANE 4 /* so that a lane that starts late or is interrupted takes fewer */
#define TAPERED 6         /* pieces of a long share, ever smaller ones: lanes end together */
#define ALIGNED_ITEMS 64  /* cheap items are cut at multiples of this */
#define MAX_LANES 1024
#define AHEAD_BYTES ((size_t)256 << 10) /* of the next node's weights, that a thread fetches while it waits: */
#define AHEAD_LINES 4                   /* a look, */
#define AHEAD_LINE 64
#define SPINS 3000 /* looks, some 50 to 150 us in all, before a thread sleeps */
#define RESTING 16 /* what a look counts for between runs: the next one may follow at once */

#define OPEN 0x10000u /* in `state`: workers may join; below it: how many are inside */

/* What belongs to a thread: lane 0 is the caller's. */
typedef struct lane {
  _Alignas(64) struct mien__threads *threads;
  pthread_t thread;
  bool started;
  void *scratch;
  size_t scratch_bytes;
  int64_t failed_piece; /* its piece that failed; -1: none */
  mien_status status;
  mien_error error;
  const char *ahead; /* its share of weights to come, of which so many bytes are fetched */
  size_t fetched;
  _Alignas(64) _Atomic int64_t next; /* of the job's pieces, its share: [next, end) is left */
  int64_t end;
} lane;

typedef struct job {
  mien_node *node;
  mien_task_fn *fn;
  void *arg;
  int64_t count, unit, pieces; /* pieces of nearly as many units of items each, or */
  bool tapered;                /* shares of nearly as many, of TAPERED pieces each */
  const mien__watch *watch;    /* NULL: nobody */
  uint32_t phase;
  _Atomic int64_t lowest_failed;
} job;

struct mien__threads {
  mien_env *env;
  pid_t pid;
  int count;
  bool begun;
  fenv_t caller;
  lane *lanes;
  job *job; /* under way; read by those who have joined */
  mien__watch *watch;
  _Atomic(const char *) ahead; /* weights that come next, NULL: none */
  atomic_size_t ahead_bytes;
  _Alignas(64) atomic_uint state;
  _Alignas(64) atomic_uint epoch; /* counts jobs */
  atomic_bool running, rest, leave, caller_waits;
  atomic_int sleepers;
  pthread_mutex_t mutex;
  pthread_cond_t work, done;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void expect(mien__threads *threads, mien__range ahead) {
  atomic_store_explicit(&threads->ahead, ahead.data, memory_order_relaxed);
  atomic_store_explicit(&threads->ahead_bytes, ahead.bytes, memory_order_relaxed);
}

/* One look of a thread that waits: it asks for some more of its share of the weights that come next. They are panels, which are
** shared out as pieces are. A prefetch reads nothing, so it does no harm where address and size belong to two nodes. */
static void wait_a_little(lane *l) {
  const mien__threads *threads = l->threads;
  const char *data = atomic_load_explicit(&threads->ahead, memory_order_relaxed);
  if (!data) {
    l->ahead = NULL;
  } else {
    const size_t share = atomic_load_explicit(&threads->ahead_bytes, memory_order_relaxed) / (size_t)threads->count;
    const size_t most = share < AHEAD_BYTES ? share : AHEAD_BYTES;
    data += share * (size_t)(l - threads->lanes);
    if (l->ahead != data) l->fetched = 0;
    l->ahead = data;
    for (int i = 0; i < AHEAD_LINES && l->fetched < most; i++, l->fetched += AHEAD_LINE)
      __builtin_prefetch(data + l->fetched, 0, 2);
  }
  relax();
}

/* ---------------------------------------------------------------- subnormal numbers */

/* Reads the mode; sets it: x86's DAZ and FTZ, ARM's FZ. Elsewhere subnormal numbers are computed with. */
#if defined(__x86_64__)
#define FLUSH_BITS 0x8040u
static uint64_t float_mode(void) { return __builtin_ia32_stmxcsr(); }
static void set_float_mode(uint64_t mode) { __builtin_ia32_ldmxcsr((unsigned)mode); }
#elif defined(__aarch64__)
#define FLUSH_BITS (1u << 24)
static uint64_t float_mode(void) {
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
static void set_float_mode(uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode) : "memory"); }
#else
#define FLUSH_BITS 0u
static uint64_t float_mode(void) { return 0; }
static void set_float_mode(uint64_t mode) { (void)mode; }
#endif

mien_status mien__call(mien_node *n, mien_task_fn *fn, void *arg, int64_t begin, int64_t end) {
  if (!n || !(n->record->op->flags & MIEN_OP_FLUSH)) return fn(n, arg, begin, end);
  const uint64_t before = float_mode();
  set_float_mode(before | FLUSH_BITS);
  mien_status status = fn(n, arg, begin, end);
  set_float_mode(before);
  return status;
}

/* ---------------------------------------------------------------- pieces */

static void lower(_Atomic int64_t *least, int64_t piece) {
  int64_t old = atomic_load(least);
  while (piece < old && !atomic_compare_exchange_weak(least, &old, piece)) {}
}

static mien_status do_piece(const lane *l, const job *j, mien_node *node, int64_t begin, int64_t end) {
  if (!j->watch) return mien__call(node, j->fn, j->arg, begin, end);
  int thread = (int)(l - l->threads->lanes);
  mien__watch_tell(j->watch, MIEN_EVENT_WORK, false, thread, j->phase, begin, end);
  mien_status status = mien__call(node, j->fn, j->arg, begin, end);
  mien__watch_tell(j->watch, MIEN_EVENT_WORK, true, thread, j->phase, begin, end);
  return status;
}

/* The item with which a piece begins. */
static int64_t piece_begin(const job *j, int64_t piece) {
  static const int64_t begins[TAPERED] = {0, 6, 10, 12, 14, 15}; /* of 16 */
  const int64_t units = j->count / j->unit + (j->count % j->unit != 0);
  const int64_t each = j->tapered ? TAPERED : 1, parts = j->pieces / each, part = piece / each;
  const int64_t size = units / parts, more = units % parts;
  int64_t unit = size * part + more * part / parts;
  if (j->tapered) unit += (size + more * (part + 1) / parts - more * part / parts) * begins[piece % each] / 16;
  return unit < units ? unit * j->unit : j->count;
}

/* Every share is fetched in order, and of each those pieces alone are left out that come after one that failed. So all
** before the first failing piece are computed, and which one that is does not change from run to run. */
static void lane_share(lane *l, lane *owner, job *j, mien_node *node) {
  for (;;) {
    int64_t piece = atomic_fetch_add_explicit(&owner->next, 1, memory_order_relaxed);
    if (piece >= owner->end || piece > atomic_load_explicit(&j->lowest_failed, memory_order_relaxed)) return;
    int64_t begin = piece_begin(j, piece), end = piece_begin(j, piece + 1);
    if (begin == end) continue;
    mien_status status = do_piece(l, j, node, begin, end);
    if (status == MIEN_OK) continue;
    l->failed_piece = piece; /* of two, the second is the lower one; its text replaces the first one's */
    l->status = status;
    if (node) atomic_store(&node->scope->failed, 0);
    lower(&j->lowest_failed, piece);
    return;
  }
}

static void lane_work(lane *l, job *j, mien_node *node) {
  const mien__threads *threads = l->threads;
  const int64_t own = l - threads->lanes;
  for (int64_t i = 0; i < threads->count; i++) lane_share(l, &threads->lanes[(own + i) % threads->count], j, node);
}

/* A lane computes with a copy of the node whose scope has an error of its own: two failing lanes would otherwise race for
** one text, and the faster would win. */
static void lane_run(lane *l, job *j) {
  if (!j->node) {
    lane_work(l, j, NULL);
    return;
  }
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
}

static mien_status first_failure(const mien__threads *threads, const job *j) {
  const lane *first = NULL;
  for (int i = 0; i < threads->count; i++) {
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

/* Cuts a job. Cheap items are elements, which kernels take in vectors: cut at a multiple, every element is in a vector's body
** or in the tail as it would be without threads, so results have the same bits. Every lane has as many pieces as the others
** where there are more pieces than lanes. */
static void cut(job *j, double cost, int threads) {
  j->unit = j->pieces = 1;
  j->tapered = false;
  if (threads == 1) return;
  if (!(cost > 1e-3)) cost = 1e-3;
  if (PIECE_NS / cost >= ALIGNED_ITEMS) j->unit = ALIGNED_ITEMS;
  const int64_t units = j->count / j->unit + (j->count % j->unit != 0), most = (int64_t)threads * PIECES_PER_LANE;
  const double worth = (double)j->count * cost / PIECE_NS;
  j->pieces = worth < (double)most ? (int64_t)worth + ((double)(int64_t)worth < worth) : most;
  if (j->pieces > threads) j->pieces = (j->pieces + threads - 1) / threads * threads;
  if (j->pieces > units) j->pieces = units;
  j->tapered = j->pieces == most && worth >= 16 * (double)threads;
  if (j->tapered) j->pieces = (int64_t)threads * TAPERED;
}

/* ---------------------------------------------------------------- workers */

static bool join_job(mien__threads *threads) {
  unsigned state = atomic_load(&threads->state);
  while (state & OPEN)
    if (atomic_compare_exchange_weak(&threads->state, &state, state + 1)) return true;
  return false;
}

static void leave_job(mien__threads *threads) {
  if (atomic_fetch_sub(&threads->state, 1) != 1 || !atomic_load(&threads->caller_waits)) return;
  pthread_mutex_lock(&threads->mutex);
  pthread_cond_signal(&threads->done);
  pthread_mutex_unlock(&threads->mutex);
}

/* Waits for a job after `seen`: actively for a while between the nodes of a run, for a shorter one after it, asleep otherwise. */
static void await_job(lane *l, unsigned seen) {
  mien__threads *threads = l->threads;
  for (int i = 0; i < SPINS; i += atomic_load_explicit(&threads->rest, memory_order_relaxed) ? RESTING : 1) {
    if (atomic_load_explicit(&threads->epoch, memory_order_relaxed) != seen) return;
    wait_a_little(l);
  }
  pthread_mutex_lock(&threads->mutex);
  atomic_fetch_add(&threads->sleepers, 1);
  while (atomic_load(&threads->epoch) == seen && !atomic_load(&threads->leave))
    pthread_cond_wait(&threads->work, &threads->mutex);
  atomic_fetch_sub(&threads->sleepers, 1);
  pthread_mutex_unlock(&threads->mutex);
}

static void *worker_main(void *context) {
  lane *l = context;
  mien__threads *threads = l->threads;
  unsigned seen = 0;
  for (;;) {
    await_job(l, seen);
    if (atomic_load(&threads->leave)) return NULL;
    seen = atomic_load(&threads->epoch);
    if (!join_job(threads)) continue;
    lane_run(l, threads->job);
    leave_job(threads);
  }
}

/* ---------------------------------------------------------------- jobs */

/* A worker adds itself to `sleepers`, then looks at `epoch`; here it is the other way round: one of the two sees the other. */
static void open_job(mien__threads *threads, job *j) {
  for (int i = 0; i < threads->count; i++) {
    lane *l = &threads->lanes[i];
    l->failed_piece = -1;
    l->end = (i + 1) * j->pieces / threads->count;
    atomic_store_explicit(&l->next, i * j->pieces / threads->count, memory_order_relaxed);
  }
  threads->job = j;
  atomic_store_explicit(&threads->rest, !threads->begun, memory_order_relaxed);
  atomic_store(&threads->state, OPEN);
  atomic_fetch_add(&threads->epoch, 1);
  if (atomic_load(&threads->sleepers) == 0) return;
  pthread_mutex_lock(&threads->mutex);
  pthread_cond_broadcast(&threads->work);
  pthread_mutex_unlock(&threads->mutex);
}

/* Who is inside computes a piece that has begun and seldom takes longer than to fall asleep and be woken, which on virtual machines
** costs a hundred microseconds. */
static void close_job(mien__threads *threads) {
  atomic_fetch_and(&threads->state, ~OPEN);
  for (int i = 0; i < 4 * SPINS; i++) {
    if (atomic_load(&threads->state) == 0) return;
    wait_a_little(&threads->lanes[0]);
  }
  pthread_mutex_lock(&threads->mutex);
  atomic_store(&threads->caller_waits, true);
  while (atomic_load(&threads->state) != 0) pthread_cond_wait(&threads->done, &threads->mutex);
  atomic_store(&threads->caller_waits, false);
  pthread_mutex_unlock(&threads->mutex);
}

static mien_status run_job(mien__threads *threads, job *j) {
  if (!threads->begun && threads->count > 1 && getpid() != threads->pid) j->pieces = 1;
  if (j->pieces <= 1) return do_piece(&threads->lanes[0], j, j->node, 0, j->count);
  atomic_init(&j->lowest_failed, INT64_MAX);
  atomic_store_explicit(&threads->running, true, memory_order_relaxed);
  open_job(threads, j);
  lane_run(&threads->lanes[0], j);
  close_job(threads);
  atomic_store_explicit(&threads->running, false, memory_order_relaxed);
  return first_failure(threads, j);
}

mien_status mien__threads_run(mien__threads *threads, mien_node *n, int64_t count, double cost, mien_task_fn *fn,
                              void *arg) {
  if (count <= 0) return MIEN_OK;
  /* A run inside a run is computed by whoever asks for it. */
  if (!threads || atomic_load_explicit(&threads->running, memory_order_relaxed)) return fn(n, arg, 0, count);
  expect(threads, n ? n->ahead : (mien__range){0});
  job j = {.node = n, .fn = fn, .arg = arg, .count = count, .watch = threads->watch};
  cut(&j, cost, threads->count);
  if (!threads->watch) return run_job(threads, &j);
  j.phase = threads->watch->phase++;
  mien__watch_tell(j.watch, MIEN_EVENT_PHASE, false, 0, j.phase, 0, count);
  mien_status status = run_job(threads, &j);
  mien__watch_tell(j.watch, MIEN_EVENT_PHASE, true, 0, j.phase, 0, count);
  return status;
}

mien__watch *mien__threads_watch(mien__threads *threads, mien__watch *watch) {
  mien__watch *before = threads->watch;
  threads->watch = watch;
  return before;
}

/* ---------------------------------------------------------------- around a run */

mien_status mien__threads_begin(mien__threads *threads, mien_error *error) {
  if (!threads) return MIEN_OK;
  if (threads->count > 1 && getpid() != threads->pid)
    return mien__fail(error, MIEN_INVALID_ARGUMENT,
                      "the session was created in process %ld and its threads do not exist in process %ld: create "
                      "sessions after fork()",
                      (long)threads->pid, (long)getpid());
  if (fegetenv(&threads->caller) != 0 || fesetenv(FE_DFL_ENV) != 0)
    return mien__fail(error, MIEN_INTERNAL, "the floating-point environment cannot be set");
  threads->begun = true;
  return MIEN_OK;
}

void mien__threads_rest(mien__threads *threads) {
  if (!threads || !threads->begun) return;
  threads->begun = false;
  expect(threads, (mien__range){0});
  atomic_store_explicit(&threads->rest, true, memory_order_relaxed);
  fesetenv(&threads->caller);
}

/* ---------------------------------------------------------------- create, destroy, scratch */

/* Workers inherit the creator's signal mask and floating-point environment: all signals go to the host program's threads,
** and rounding and denormals are the default whatever the creating thread has set. */
static mien_status start_workers(mien__threads *threads, mien_error *error) {
  sigset_t all, before;
  fenv_t environment;
  int failed = 0;
  sigfillset(&all);
  fegetenv(&environment);
  fesetenv(FE_DFL_ENV);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 1; i < threads->count && !failed; i++) {
    lane *l = &threads->lanes[i];
    failed = pthread_create(&l->thread, NULL, worker_main, l);
    l->started = !failed;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  fesetenv(&environment);
  if (!failed) return MIEN_OK;
  return mien__fail(error, failed == ENOMEM ? MIEN_NO_MEMORY : MIEN_IO, "cannot start %d threads: %s",
                    threads->count - 1, strerrordesc_np(failed));
}

static void stop_workers(mien__threads *threads) {
  pthread_mutex_lock(&threads->mutex);
  atomic_store(&threads->leave, true);
  atomic_store(&threads->rest, true);
  pthread_cond_broadcast(&threads->work);
  pthread_mutex_unlock(&threads->mutex);
  for (int i = 1; threads->lanes && i < threads->count; i++)
    if (threads->lanes[i].started) pthread_join(threads->lanes[i].thread, NULL);
  pthread_cond_destroy(&threads->done);
  pthread_cond_destroy(&threads->work);
  pthread_mutex_destroy(&threads->mutex);
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
  atomic_init(&threads->rest, true);
  pthread_mutex_init(&threads->mutex, NULL);
  pthread_cond_init(&threads->work, NULL);
  pthread_cond_init(&threads->done, NULL);
  threads->lanes = mien__alloc(env, (size_t)count * sizeof *threads->lanes);
  mien_status status = threads->lanes ? MIEN_OK : mien__no_memory(error, (size_t)count * sizeof *threads->lanes);
  for (int i = 0; status == MIEN_OK && i < count; i++) threads->lanes[i].threads = threads;
  if (status == MIEN_OK) status = start_workers(threads, error);
  if (status == MIEN_OK)
    *out = threads;
  else
    mien__threads_destroy(threads);
  return status;
}

void mien__threads_destroy(mien__threads *threads) {
  if (!threads) return;
  /* In a forked child the workers do not exist: nobody to join, and conditions that would wait for those who waited. */
  if (getpid() == threads->pid) stop_workers(threads);
  for (int i = 0; threads->lanes && i < threads->count; i++) mien__free(threads->env, threads->lanes[i].scratch);
  mien__free(threads->env, threads->lanes);
  mien__free(threads->env, threads);
}

int mien__threads_count(const mien__threads *threads) { return threads ? threads->count : 1; }

int mien__threads_lane(const mien__threads *threads) {
  pthread_t self = pthread_self();
  for (int i = 1; i < threads->count; i++)
    if (pthread_equal(threads->lanes[i].thread, self)) return i;
  return 0;
}

void *mien__threads_scratch(mien__threads *threads) {
  return threads ? threads->lanes[mien__threads_lane(threads)].scratch : NULL;
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
