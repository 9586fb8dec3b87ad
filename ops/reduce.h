/* ops/reduce.h -- operators that make one element of a set of elements: which elements belong together, inference, and the
** loops, written once.
**
** An operator names itself op and defines, over an accumulator type A:
**   op_first(A)              an accumulator that has seen nothing
**   op_step(A, a, x, at)     a with element x, the at-th of its set
**   op_merge(A, a, b)        two accumulators in one (not used with one lane)
**   op_last(A, C, a, count)  the result of a set of `count` elements
** Sums of floats are accumulated in double. A set's elements are always taken in one order, whatever the threads. */
#ifndef MIEN_OPS_REDUCE_H
#define MIEN_OPS_REDUCE_H

#include "ops/loop.h"
#include "ops/shape.h"

/* ---- which axes */

/* The axes of the attribute or of input 1, in infer or (known always) in run. */
static inline mien_status mien_reduce_axes(mien_node *n, bool running, shape_list *axes) {
  if (mien_in_count(n) > 1 && mien_in(n, 1)) {
    if (running) return shape_list_run(n, 1, "axes", axes);
    return shape_list_infer(n, 1, "axes", axes);
  }
  return shape_list_attr(n, "axes", axes);
}

/* Marks the dimensions that are reduced. No axes: all, or none where the operator has noop_with_empty_axes set. */
static inline mien_status mien_reduce_mark(mien_node *n, const shape_list *axes, bool noop, bool *reduced) {
  const int rank = mien_in(n, 0)->type.rank;
  int axis[MIEN_MAX_RANK];
  MIEN_TRY(shape_axes(n, axes, rank, axis));
  const bool all = axes->count == 0 && !noop;
  for (int i = 0; i < rank; i++) reduced[i] = all;
  for (int i = 0; i < axes->count; i++) reduced[axis[i]] = true;
  return MIEN_OK;
}

static inline mien_status mien_reduce_infer_as(mien_node *n, bool noop) {
  const mien_type *x = &mien_in(n, 0)->type;
  const bool keep = mien_attr_i(n, "keepdims") != 0;
  shape_list axes;
  bool reduced[MIEN_MAX_RANK];
  mien_type y = shape_type(x->dtype, 0);
  MIEN_TRY(mien_reduce_axes(n, false, &axes));
  if (axes.given && !axes.known && axes.count != 0) {
    if (!keep && axes.count > x->rank)
      return mien_fail(n, MIEN_INVALID_MODEL, "has %lld axes, the input has rank %d", (long long)axes.count, x->rank);
    return shape_open(n, keep ? x->rank : axes.count < 0 ? -1 : x->rank - axes.count);
  }
  MIEN_TRY(mien_reduce_mark(n, &axes, noop, reduced));
  for (int i = 0; i < x->rank; i++)
    if (!reduced[i] || keep) y.dim[y.rank++] = reduced[i] ? 1 : x->dim[i];
  return mien_set_type(n, 0, &y);
}

static inline mien_status mien_reduce_infer(mien_node *n) { return mien_reduce_infer_as(n, false); }
static inline mien_status mien_reduce_infer_input(mien_node *n) {
  return mien_reduce_infer_as(n, mien_attr_i(n, "noop_with_empty_axes") != 0);
}

/* ---- which elements */

/* Dimensions merged where neighbours are of one kind; those of size 1 are gone. Innermost last. */
typedef struct mien_reduction {
  int kept, reduced;
  int64_t kept_dim[MIEN_MAX_RANK], kept_stride[MIEN_MAX_RANK];
  int64_t reduced_dim[MIEN_MAX_RANK], reduced_stride[MIEN_MAX_RANK];
  int64_t sets, count; /* sets of count elements each */
  bool across;         /* neighbours in memory belong to different sets */
} mien_reduction;

static inline void mien_reduction_make(const mien_type *x, const bool *reduced, mien_reduction *r) {
  int64_t dim[MIEN_MAX_RANK], stride[MIEN_MAX_RANK], running = 1;
  bool kind[MIEN_MAX_RANK];
  int rank = 0; /* innermost first */
  memset(r, 0, sizeof *r);
  r->sets = r->count = 1;
  for (int i = x->rank - 1; i >= 0; i--) {
    const int64_t d = x->dim[i];
    if (reduced[i])
      r->count *= d;
    else
      r->sets *= d;
    if (d == 1) continue;
    if (rank > 0 && kind[rank - 1] == reduced[i]) {
      dim[rank - 1] *= d;
    } else {
      dim[rank] = d;
      stride[rank] = running;
      kind[rank++] = reduced[i];
    }
    running *= d;
  }
  r->across = rank > 0 && !kind[0];
  for (int i = rank - 1; i >= 0; i--) {
    if (kind[i]) {
      r->reduced_dim[r->reduced] = dim[i];
      r->reduced_stride[r->reduced++] = stride[i];
    } else {
      r->kept_dim[r->kept] = dim[i];
      r->kept_stride[r->kept++] = stride[i];
    }
  }
}

/* Element where set `at` begins. */
static inline int64_t mien_reduction_base(const mien_reduction *r, int64_t at) {
  int64_t base = 0;
  for (int i = r->kept - 1; i >= 0; i--) {
    base += at % r->kept_dim[i] * r->kept_stride[i];
    at /= r->kept_dim[i];
  }
  return base;
}

/* Steps index over the first `rank` reduced dimensions; moves *offset along. false when all have been visited. */
static inline bool mien_reduction_next(const mien_reduction *r, int rank, int64_t *index, int64_t *offset) {
  for (int i = rank - 1; i >= 0; i--) {
    *offset += r->reduced_stride[i];
    if (++index[i] < r->reduced_dim[i]) return true;
    *offset -= r->reduced_stride[i] * r->reduced_dim[i];
    index[i] = 0;
  }
  return false;
}

/* ---- the loops */

#define MIEN_REDUCE_LANES 64
#define MIEN_REDUCE_ACC 16 /* bytes of the largest accumulator */

typedef struct mien_reduce_loops {
  size_t acc; /* bytes of an accumulator */
  void (*first)(void *accs, int64_t lanes);
  void (*along)(void *acc, const void *x, int64_t count, int64_t at);   /* one set, contiguous elements */
  void (*across)(void *accs, const void *x, int64_t lanes, int64_t at); /* one element of each of `lanes` sets */
  void (*last)(const mien_node *n, const void *accs, void *y, int64_t lanes, int64_t count);
} mien_reduce_loops;

static inline void mien_reduce_one(const mien_reduction *r, const mien_reduce_loops *loops, const char *x, size_t bytes,
                                   void *acc) {
  const int outer = r->reduced > 0 ? r->reduced - 1 : 0;
  const int64_t inner = r->reduced > 0 ? r->reduced_dim[outer] : 1;
  int64_t index[MIEN_MAX_RANK] = {0}, offset = 0, at = 0;
  do {
    loops->along(acc, x + (size_t)offset * bytes, inner, at);
    at += inner;
  } while (mien_reduction_next(r, outer, index, &offset));
}

static inline void mien_reduce_side_by_side(const mien_reduction *r, const mien_reduce_loops *loops, const char *x,
                                            size_t bytes, void *accs, int64_t lanes) {
  int64_t index[MIEN_MAX_RANK] = {0}, offset = 0, at = 0;
  do loops->across(accs, x + (size_t)offset * bytes, lanes, at++);
  while (mien_reduction_next(r, r->reduced, index, &offset));
}

/* Sets [begin, end) into output 0. */
static inline mien_status mien_reduce_sets(mien_node *n, const mien_reduction *r, const mien_reduce_loops *loops,
                                           int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *y = mien_out(n, 0);
  const size_t bytes = mien_dtype_bytes(x->type.dtype), out_bytes = mien_dtype_bytes(y->type.dtype);
  const int64_t row = r->across ? r->kept_dim[r->kept - 1] : 1;
  /* Whole sets one after another in memory: many at a time, for those of few elements. */
  const bool packed = !r->across && r->reduced == 1 && r->kept <= 1 && r->count > 0;
  _Alignas(16) char accs[MIEN_REDUCE_LANES * MIEN_REDUCE_ACC];
  for (int64_t i = begin, lanes; i < end; i += lanes) {
    lanes = packed ? end - i : row - i % row < end - i ? row - i % row : end - i;
    if (lanes > MIEN_REDUCE_LANES) lanes = MIEN_REDUCE_LANES;
    loops->first(accs, lanes);
    if (r->count > 0) {
      const char *from = (const char *)x->data + (size_t)mien_reduction_base(r, i) * bytes;
      if (packed)
        for (int64_t k = 0; k < lanes; k++)
          loops->along(accs + (size_t)k * loops->acc, from + (size_t)(k * r->count) * bytes, r->count, 0);
      else if (r->across)
        mien_reduce_side_by_side(r, loops, from, bytes, accs, lanes);
      else
        mien_reduce_one(r, loops, from, bytes, accs);
    }
    loops->last(n, accs, (char *)y->data + (size_t)i * out_bytes, lanes, r->count);
  }
  return MIEN_OK;
}

/* Axes may come from an input that is known only now. */
static inline mien_status mien_reduce_run(mien_node *n, int64_t begin, int64_t end, const mien_reduce_loops *loops) {
  const bool noop = mien_has_attr(n, "noop_with_empty_axes") && mien_attr_i(n, "noop_with_empty_axes") != 0;
  shape_list axes;
  bool reduced[MIEN_MAX_RANK];
  mien_reduction r;
  MIEN_TRY(mien_reduce_axes(n, true, &axes));
  MIEN_TRY(mien_reduce_mark(n, &axes, noop, reduced));
  mien_reduction_make(&mien_in(n, 0)->type, reduced, &r);
  if (r.sets != mien_count(&mien_out(n, 0)->type))
    return mien_fail(n, MIEN_INVALID_ARGUMENT, "axes leave %lld elements, the output has %lld", (long long)r.sets,
                     (long long)mien_count(&mien_out(n, 0)->type));
  return mien_reduce_sets(n, &r, loops, begin, end);
}

static inline mien_status mien_reduce_prepare(mien_node *n) {
  const int64_t sets = mien_count(&mien_out(n, 0)->type), elements = mien_count(&mien_in(n, 0)->type);
  mien_work(n, sets, sets > 0 ? 5 + 0.5 * (double)elements / (double)sets : 1);
  return MIEN_OK;
}

/* Loops over elements of one type, R the result's and PUT its conversion. `lanes` 1 or 8: accumulators that a row is
** spread over, so that a processor's vectors and several additions in flight can be used. */
#define MIEN_REDUCE_TO(D, T, C, K, op, A, lanes, R, PUT)                                                       \
  static void op##_first_##D(void *accs, int64_t count) {                                                      \
    A *a = accs;                                                                                               \
    for (int64_t i = 0; i < count; i++) a[i] = op##_first(A);                                                  \
  }                                                                                                            \
  static void op##_along_##D(void *acc, const void *xs, int64_t count, int64_t at) {                           \
    const T *x = xs;                                                                                           \
    A *total = acc;                                                                                            \
    int64_t i = 0;                                                                                             \
    (void)at;                                                                                                  \
    if (lanes > 1 && count >= lanes) {                                                                         \
      A lane[lanes];                                                                                           \
      for (int k = 0; k < lanes; k++) lane[k] = op##_first(A);                                                 \
      for (; i + lanes <= count; i += lanes)                                                                   \
        for (int k = 0; k < lanes; k++) {                                                                      \
          const C v = MIEN_GET_##K(C, x[i + k]);                                                               \
          lane[k] = op##_step(A, lane[k], v, at + i + k);                                                      \
        }                                                                                                      \
      for (int k = 0; k < lanes; k++) *total = op##_merge(A, *total, lane[k]);                                 \
    }                                                                                                          \
    for (; i < count; i++) {                                                                                   \
      const C v = MIEN_GET_##K(C, x[i]);                                                                       \
      *total = op##_step(A, *total, v, at + i);                                                                \
    }                                                                                                          \
  }                                                                                                            \
  static void op##_across_##D(void *accs, const void *xs, int64_t count, int64_t at) {                         \
    const T *x = xs;                                                                                           \
    A *a = accs;                                                                                               \
    (void)at;                                                                                                  \
    MIEN_INDEPENDENT                                                                                           \
    for (int64_t i = 0; i < count; i++) {                                                                      \
      const C v = MIEN_GET_##K(C, x[i]);                                                                       \
      a[i] = op##_step(A, a[i], v, at);                                                                        \
    }                                                                                                          \
  }                                                                                                            \
  static void op##_last_##D(const mien_node *n, const void *accs, void *ys, int64_t count, int64_t set) {      \
    const A *a = accs;                                                                                         \
    R *y = ys;                                                                                                 \
    (void)n, (void)set;                                                                                        \
    for (int64_t i = 0; i < count; i++) y[i] = PUT(R, op##_last(A, C, a[i], set));                             \
  }                                                                                                            \
  static const mien_reduce_loops op##_loops_##D = {sizeof(A), op##_first_##D, op##_along_##D, op##_across_##D, \
                                                   op##_last_##D};                                             \
  _Static_assert(sizeof(A) <= MIEN_REDUCE_ACC, "accumulator too large");

/* Over a type list: the kernels of a Reduce operator. */
#define MIEN_REDUCE(D, T, C, K, op, A, lanes)                             \
  MIEN_REDUCE_TO(D, T, C, K, op, A, lanes, T, MIEN_PUT_##K)               \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) { \
    return mien_reduce_run(n, begin, end, &op##_loops_##D);               \
  }
/* The accumulator is of the type computed in. */
#define MIEN_REDUCE_SAME(D, T, C, K, op, lanes) MIEN_REDUCE(D, T, C, K, op, C, lanes)

#define MIEN_REDUCE_ATTRS(op)                                                                         \
  static const mien_attr op##_attrs[] = {                                                             \
      {.name = "axes", .kind = 'I'}, {.name = "keepdims", .kind = 'i', .i = 1}, {.name = NULL}};      \
  static const mien_attr op##_input_attrs[] = {{.name = "keepdims", .kind = 'i', .i = 1},             \
                                               {.name = "noop_with_empty_axes", .kind = 'i', .i = 0}, \
                                               {.name = NULL}};

/* The two records of a Reduce operator: axes as attribute up to opset `before`, as input afterwards. */
#define MIEN_REDUCE_RECORDS(operator, op, before, text) \
  MIEN_REDUCE_ATTRS(op)                                 \
  const mien_op mien_ops_##operator[] = {               \
      {.name = #operator,                               \
       .since = 1,                                      \
       .until = before,                                 \
       .signature = "data:T -> reduced:T",              \
       .attrs = op##_attrs,                             \
       .kernels = op##_kernels,                         \
       .infer = mien_reduce_infer,                      \
       .prepare = mien_reduce_prepare,                  \
       .doc = text},                                    \
      {.name = #operator,                               \
       .since = before + 1,                             \
       .signature = "data:T, axes:i64? -> reduced:T",   \
       .attrs = op##_input_attrs,                       \
       .kernels = op##_kernels,                         \
       .infer = mien_reduce_infer_input,                \
       .prepare = mien_reduce_prepare,                  \
       .doc = text},                                    \
      {.name = NULL},                                   \
  };

/* ---- ArgMax and ArgMin: the accumulator is the best element and where it stood in its set */

/* op_better(x, best) is strict where the first of equals wins, and not where the last one does; NaN is better than any
** number. op_step is MIEN_ARG_STEP, the others below. */
#define MIEN_ARG_LOOPS(D, T, C, K, op)                                              \
  typedef struct {                                                                  \
    C best;                                                                         \
    int64_t at;                                                                     \
  } op##_acc_##D;                                                                   \
  static inline op##_acc_##D op##_acc_##D##_take(op##_acc_##D a, C x, int64_t at) { \
    return a.at < 0 || op##_better(x, a.best) ? (op##_acc_##D){x, at} : a;          \
  }                                                                                 \
  MIEN_REDUCE_TO(D, T, C, K, op, op##_acc_##D, 1, int64_t, MIEN_PUT_PLAIN)
#define MIEN_ARG_FIRST(A) ((A){0, -1})
#define MIEN_ARG_STEP(A, a, x, at) A##_take(a, x, at)
#define MIEN_ARG_MERGE(A, a, b) (a)
#define MIEN_ARG_LAST(A, C, a, count) ((a).at)
#define MIEN_ARG_KERNEL(D, T, C, K, op, first, end)                                 \
  static mien_status op##_##D(mien_node *n, int64_t begin_at, int64_t end_at) {     \
    return mien_arg_run(n, begin_at, end_at, &first##_loops_##D, &end##_loops_##D); \
  }

/* The one axis of the attribute `axis`. */
static inline mien_status mien_arg_mark(mien_node *n, bool *reduced) {
  const int rank = mien_in(n, 0)->type.rank;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), rank, &axis));
  for (int i = 0; i < rank; i++) reduced[i] = i == axis;
  return MIEN_OK;
}

static inline mien_status mien_arg_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  bool reduced[MIEN_MAX_RANK] = {false};
  mien_type y = shape_type(MIEN_I64, 0);
  if (x->rank == 0) return mien_fail(n, MIEN_INVALID_MODEL, "the input has rank 0, expected 1 or more");
  MIEN_TRY(mien_arg_mark(n, reduced));
  for (int i = 0; i < x->rank; i++) {
    if (reduced[i] && x->dim[i] == 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "axis %d has no elements to choose from", i);
    if (!reduced[i])
      y.dim[y.rank++] = x->dim[i];
    else if (mien_attr_i(n, "keepdims") != 0)
      y.dim[y.rank++] = 1;
  }
  return mien_set_type(n, 0, &y);
}

static inline mien_status mien_arg_run(mien_node *n, int64_t begin, int64_t end, const mien_reduce_loops *first,
                                       const mien_reduce_loops *last) {
  const bool from_end = mien_has_attr(n, "select_last_index") && mien_attr_i(n, "select_last_index") != 0;
  bool reduced[MIEN_MAX_RANK] = {false};
  mien_reduction r;
  MIEN_TRY(mien_arg_mark(n, reduced));
  mien_reduction_make(&mien_in(n, 0)->type, reduced, &r);
  return mien_reduce_sets(n, &r, from_end ? last : first, begin, end);
}

#endif
