/* Memory plan: every value of a run gets an offset in one block, values that are never alive together may share bytes.
**
** Up to GREEDY_MAX lives: greedy by size (the largest first, each at the lowest gap that is free during its life), which comes
** within a few percent of the largest sum alive on real networks but compares all pairs. Beyond: a sweep over time with a
** good-fit allocator, O(n log n). */
#include "internal.h"

#include <stdlib.h>

#define ALIGN ((size_t)64)
#define GREEDY_MAX 6000

static bool round_up(size_t bytes, size_t *out) {
  if (!mien__add(bytes, ALIGN - 1, out)) return false;
  *out &= ~(ALIGN - 1);
  return true;
}

static bool meet(const mien__life *a, const mien__life *b) { return a->first <= b->last && b->first <= a->last; }

/* ---------------------------------------------------------------- greedy by size */

static int by_size(const void *left, const void *right) {
  const mien__life *a = *(mien__life *const *)left, *b = *(mien__life *const *)right;
  if (a->bytes != b->bytes) return a->bytes > b->bytes ? -1 : 1;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return a < b ? -1 : a > b;
}

/* order: lives with bytes > 0; afterwards sorted by offset. */
static size_t greedy(mien__life **order, size_t count) {
  size_t end = 0;
  qsort(order, count, sizeof *order, by_size);
  for (size_t placed = 0; placed < count; placed++) {
    mien__life *life = order[placed];
    size_t bytes = (life->bytes + ALIGN - 1) & ~(ALIGN - 1), offset = 0, at = 0;
    for (; at < placed; at++) { /* placed ones stand in the order of their offsets */
      const mien__life *other = order[at];
      if (other->offset >= offset + bytes) break;
      if (!meet(life, other)) continue;
      size_t behind = other->offset + ((other->bytes + ALIGN - 1) & ~(ALIGN - 1));
      if (behind > offset) offset = behind;
    }
    life->offset = offset;
    if (offset + bytes > end) end = offset + bytes;
    for (at = placed; at > 0 && order[at - 1]->offset > offset; at--) order[at] = order[at - 1];
    order[at] = life;
  }
  return end;
}

/* ---------------------------------------------------------------- sweep over time */

#define BINS 256

/* A stretch of the block, free or taken. Stretches are chained in the order of their offsets. */
typedef struct stretch {
  size_t offset, bytes;
  int32_t before, behind; /* neighbours; -1: none */
  int32_t next, previous; /* in its bin, while free */
  bool free;
} stretch;

typedef struct sweep {
  stretch *all;
  int32_t used, unused, last; /* unused: chain of records to take again, through `next` */
  int32_t bin[BINS];
  uint64_t filled[BINS / 64];
  size_t end;
} sweep;

/* Four bins to a power of two: stretches of bin b hold at least what floor_bin sizes of b need. */
static int floor_bin(size_t bytes) {
  size_t units = bytes / ALIGN;
  int top = 63 - __builtin_clzll((unsigned long long)units);
  return top < 2 ? (int)units : (top - 1) * 4 + (int)(units >> (top - 2) & 3);
}

static void bin_add(sweep *s, int32_t i) {
  int b = floor_bin(s->all[i].bytes);
  s->all[i].free = true;
  s->all[i].previous = -1;
  s->all[i].next = s->bin[b];
  if (s->bin[b] >= 0) s->all[s->bin[b]].previous = i;
  s->bin[b] = i;
  s->filled[b / 64] |= UINT64_C(1) << b % 64;
}

static void bin_remove(sweep *s, int32_t i) {
  stretch *x = &s->all[i];
  int b = floor_bin(x->bytes);
  if (x->next >= 0) s->all[x->next].previous = x->previous;
  if (x->previous >= 0)
    s->all[x->previous].next = x->next;
  else
    s->bin[b] = x->next;
  if (s->bin[b] < 0) s->filled[b / 64] &= ~(UINT64_C(1) << b % 64);
  x->free = false;
}

static int32_t record(sweep *s) {
  if (s->unused < 0) return s->used++;
  int32_t i = s->unused;
  s->unused = s->all[i].next;
  return i;
}

/* A free stretch of at least `bytes`: the head of the request's own bin if it fits, else of the next filled bin. */
static int32_t find_free(const sweep *s, size_t bytes) {
  int b = floor_bin(bytes);
  if (s->bin[b] >= 0 && s->all[s->bin[b]].bytes >= bytes) return s->bin[b];
  for (b++; b < BINS; b = (b / 64 + 1) * 64) {
    uint64_t rest = s->filled[b / 64] >> b % 64;
    if (rest) return s->bin[b + __builtin_ctzll(rest)];
  }
  return -1;
}

/* Makes the block longer: a free stretch at the end grows, or a new one is put behind all. */
static int32_t sweep_grow(sweep *s, size_t bytes) {
  int32_t i = s->last;
  if (i >= 0 && s->all[i].free) {
    bin_remove(s, i);
  } else {
    i = record(s);
    s->all[i] = (stretch){.offset = s->end, .before = s->last, .behind = -1};
    if (s->last >= 0) s->all[s->last].behind = i;
    s->last = i;
  }
  s->all[i].bytes = bytes;
  s->end = s->all[i].offset + bytes;
  return i;
}

static int32_t sweep_take(sweep *s, size_t bytes) {
  int32_t i = find_free(s, bytes);
  if (i < 0 && s->last >= 0 && s->all[s->last].free && s->all[s->last].bytes >= bytes) i = s->last;
  if (i < 0) return sweep_grow(s, bytes);
  bin_remove(s, i);
  size_t rest = s->all[i].bytes - bytes;
  if (rest) {
    int32_t r = record(s);
    s->all[r] = (stretch){.offset = s->all[i].offset + bytes, .bytes = rest, .before = i, .behind = s->all[i].behind};
    if (s->all[r].behind >= 0)
      s->all[s->all[r].behind].before = r;
    else
      s->last = r;
    s->all[i].behind = r;
    s->all[i].bytes = bytes;
    bin_add(s, r);
  }
  return i;
}

/* Appends stretch b, which stands right behind a, to a. */
static void merge(sweep *s, int32_t a, int32_t b) {
  s->all[a].bytes += s->all[b].bytes;
  s->all[a].behind = s->all[b].behind;
  if (s->all[b].behind >= 0)
    s->all[s->all[b].behind].before = a;
  else
    s->last = a;
  s->all[b].next = s->unused;
  s->unused = b;
}

static void sweep_give(sweep *s, int32_t i) {
  int32_t before = s->all[i].before, behind = s->all[i].behind;
  if (behind >= 0 && s->all[behind].free) {
    bin_remove(s, behind);
    merge(s, i, behind);
  }
  if (before >= 0 && s->all[before].free) {
    bin_remove(s, before);
    merge(s, before, i);
    i = before;
  }
  bin_add(s, i);
}

static int by_first(const void *left, const void *right) {
  const mien__life *a = *(mien__life *const *)left, *b = *(mien__life *const *)right;
  if (a->first != b->first) return a->first < b->first ? -1 : 1;
  return by_size(left, right);
}

typedef struct ending {
  int32_t last, stretch;
} ending;

static void heap_push(ending *heap, size_t count, ending e) {
  size_t at = count;
  for (; at > 0 && heap[(at - 1) / 2].last > e.last; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
  heap[at] = e;
}

static ending heap_pop(ending *heap, size_t count) {
  ending top = heap[0], e = heap[count - 1];
  size_t at = 0;
  for (count--; 2 * at + 1 < count;) {
    size_t child = 2 * at + 1;
    if (child + 1 < count && heap[child + 1].last < heap[child].last) child++;
    if (heap[child].last >= e.last) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = e;
  return top;
}

static mien_status sweep_all(mien_env *env, mien__life **order, size_t count, size_t *arena, mien_error *error) {
  size_t bytes = count * (2 * sizeof(stretch) + sizeof(ending)); /* cannot overflow: lives are larger and exist */
  sweep s = {.all = mien__alloc(env, bytes), .unused = -1, .last = -1};
  if (!s.all) return mien__no_memory(error, bytes);
  ending *heap = (ending *)(void *)(s.all + 2 * count);
  size_t alive = 0;
  for (int b = 0; b < BINS; b++) s.bin[b] = -1;
  qsort(order, count, sizeof *order, by_first);
  for (size_t i = 0; i < count; i++) {
    while (alive && heap[0].last < order[i]->first) sweep_give(&s, heap_pop(heap, alive--).stretch);
    int32_t at = sweep_take(&s, (order[i]->bytes + ALIGN - 1) & ~(ALIGN - 1));
    order[i]->offset = s.all[at].offset;
    heap_push(heap, alive++, (ending){order[i]->last, at});
  }
  *arena = s.end;
  mien__free(env, s.all);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- */

typedef struct change {
  int64_t time; /* 2 * instruction + 1 after it, for ends */
  size_t bytes;
  bool ends;
} change;

static int by_time(const void *left, const void *right) {
  const change *a = left, *b = right;
  return a->time < b->time ? -1 : a->time > b->time;
}

static mien_status largest_alive(mien_env *env, mien__life *const *order, size_t count, size_t *live,
                                 mien_error *error) {
  change *changes = mien__alloc(env, 2 * count * sizeof *changes);
  if (!changes) return mien__no_memory(error, 2 * count * sizeof *changes);
  for (size_t i = 0; i < count; i++) {
    size_t bytes = (order[i]->bytes + ALIGN - 1) & ~(ALIGN - 1);
    changes[2 * i] = (change){2 * (int64_t)order[i]->first, bytes, false};
    changes[2 * i + 1] = (change){2 * (int64_t)order[i]->last + 1, bytes, true};
  }
  qsort(changes, 2 * count, sizeof *changes, by_time);
  size_t sum = 0;
  *live = 0;
  for (size_t i = 0; i < 2 * count; i++) {
    sum = changes[i].ends ? sum - changes[i].bytes : sum + changes[i].bytes;
    if (sum > *live) *live = sum;
  }
  mien__free(env, changes);
  return MIEN_OK;
}

mien_status mien__arena_plan(mien_env *env, mien__life *lives, size_t count, size_t *arena, size_t *live,
                             mien_error *error) {
  size_t total = 0, used = 0, bytes;
  *arena = *live = 0;
  if (count == 0) return MIEN_OK;
  if (count > INT32_MAX / 4)
    return mien__fail(error, MIEN_LIMIT, "%zu values are alive, at most %d", count, INT32_MAX / 4);
  mien__life **order = mien__alloc(env, count * sizeof *order);
  if (!order) return mien__no_memory(error, count * sizeof *order);
  mien_status status = MIEN_OK;
  for (size_t i = 0; i < count; i++) {
    lives[i].offset = 0; /* values without bytes share the first */
    if (lives[i].bytes == 0) continue;
    /* With a total that fits, no sum of offsets below can overflow. */
    if (!round_up(lives[i].bytes, &bytes) || !mien__add(total, bytes, &total)) {
      status = mien__fail(error, MIEN_LIMIT, "the values of a run exceed the address space");
      goto done;
    }
    order[used++] = &lives[i];
  }
  if (used == 0) goto done;
  status = largest_alive(env, order, used, live, error);
  if (status != MIEN_OK) goto done;
  if (used <= GREEDY_MAX)
    *arena = greedy(order, used);
  else
    status = sweep_all(env, order, used, arena, error);
  if (status == MIEN_OK && *arena > env->limits.arena_bytes)
    status = mien__fail(error, MIEN_LIMIT, "the values of a run need %zu bytes, the limit (arena_bytes) is %llu",
                        *arena, (unsigned long long)env->limits.arena_bytes);
done:
  mien__free(env, order);
  return status;
}
