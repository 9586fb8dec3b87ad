/* ops/broadcast.h -- several inputs stretched to one shape as numpy does: inference, the walk over the output's rows,
** and the loops of two-operand and many-operand elementwise operators. */
#ifndef MIEN_OPS_BROADCAST_H
#define MIEN_OPS_BROADCAST_H

#include "ops/loop.h"
#include <stdio.h>

/* ---- inference */

/* "[2,?,3]" for messages; an open size is "?". */
static inline const char *mien_shape_text(const mien_type *t, char *text, size_t size) {
  size_t at = 0;
  if (t->rank < 0) {
    snprintf(text, size, "[...]");
    return text;
  }
  for (int i = 0; i <= t->rank && at < size; i++) {
    const char *before = i == 0 ? "[" : i < t->rank ? "," : "";
    int wrote;
    if (i == t->rank)
      wrote = snprintf(text + at, size - at, "%s]", before);
    else if (mien_is_symbol(t->dim[i]))
      wrote = snprintf(text + at, size - at, "%s?", before);
    else
      wrote = snprintf(text + at, size - at, "%s%lld", before, (long long)t->dim[i]);
    if (wrote < 0) break;
    at += (size_t)wrote;
  }
  return text;
}

/* Size of two stretched dimensions. false: never compatible. Symbol against 1: the symbol; against any other number: that
** number, since the symbol can only be 1 or equal to it. */
static inline bool mien_broadcast_dim(mien_node *n, int64_t a, int64_t b, int64_t *result) {
  if (a == b || b == 1)
    *result = a;
  else if (a == 1)
    *result = b;
  else if (mien_is_symbol(a) && mien_is_symbol(b))
    *result = mien_dim(n, 'M', a, b);
  else if (mien_is_symbol(a))
    *result = b;
  else if (mien_is_symbol(b))
    *result = a;
  else
    return false;
  return true;
}

/* Stretches shape `with` into `shape` (dtype and nest of `shape` stay). */
MIEN_CHECKED static inline mien_status mien_broadcast_shape(mien_node *n, mien_type *shape, const mien_type *with) {
  mien_type r = *shape;
  r.rank = shape->rank > with->rank ? shape->rank : with->rank;
  for (int i = 1; i <= r.rank; i++) {
    const int64_t a = i <= shape->rank ? shape->dim[shape->rank - i] : 1;
    const int64_t b = i <= with->rank ? with->dim[with->rank - i] : 1;
    if (!mien_broadcast_dim(n, a, b, &r.dim[r.rank - i])) {
      char ta[192], tb[192];
      return mien_fail(n, MIEN_INVALID_MODEL, "shapes %s and %s cannot be broadcast together",
                       mien_shape_text(shape, ta, sizeof ta), mien_shape_text(with, tb, sizeof tb));
    }
  }
  *shape = r;
  return MIEN_OK;
}

/* Output 0: the common shape of all inputs with `dtype`. */
MIEN_CHECKED static inline mien_status mien_infer_broadcast_as(mien_node *n, int first, int32_t dtype) {
  mien_type t = mien_in(n, first)->type;
  for (int i = first + 1; i < mien_in_count(n); i++) MIEN_TRY(mien_broadcast_shape(n, &t, &mien_in(n, i)->type));
  t.dtype = dtype;
  return mien_set_type(n, 0, &t);
}
static inline mien_status mien_infer_broadcast(mien_node *n) {
  return mien_infer_broadcast_as(n, 0, mien_in(n, 0)->type.dtype);
}
static inline mien_status mien_infer_broadcast_bool(mien_node *n) { return mien_infer_broadcast_as(n, 0, MIEN_BOOL); }

/* ---- the walk */

#define MIEN_BROADCAST_INPUTS 3

/* The output's shape with neighbouring dimensions merged wherever every input allows it. Since inputs have no gaps, the
** innermost stride of each is 1 or 0 (repeated). First member of the state of operators that use it. */
typedef struct mien_broadcast {
  int rank; /* >= 1 */
  int64_t dim[MIEN_MAX_RANK];
  int64_t stride[MIEN_BROADCAST_INPUTS][MIEN_MAX_RANK]; /* in elements */
} mien_broadcast;

typedef struct mien_walk {
  int64_t index[MIEN_MAX_RANK];        /* of the row; the last entry is the column */
  int64_t base[MIEN_BROADCAST_INPUTS]; /* element where the row begins */
} mien_walk;

static inline void mien_broadcast_make(mien_broadcast *b, const mien_type *out, int inputs,
                                       const mien_type *const *in) {
  int64_t dim[MIEN_MAX_RANK], stride[MIEN_BROADCAST_INPUTS][MIEN_MAX_RANK], running[MIEN_BROADCAST_INPUTS];
  int rank = 0; /* innermost first, reversed at the end */
  for (int k = 0; k < inputs; k++) running[k] = 1;
  for (int i = 1; i <= out->rank; i++) {
    const int64_t d = out->dim[out->rank - i];
    int64_t here[MIEN_BROADCAST_INPUTS];
    bool merges = rank > 0;
    if (d == 1) continue;
    for (int k = 0; k < inputs; k++) {
      const int64_t e = i <= in[k]->rank ? in[k]->dim[in[k]->rank - i] : 1;
      here[k] = e == 1 ? 0 : running[k];
      running[k] *= e;
      if (rank > 0 && here[k] != stride[k][rank - 1] * dim[rank - 1]) merges = false;
    }
    if (merges) {
      dim[rank - 1] *= d;
    } else {
      dim[rank] = d;
      for (int k = 0; k < inputs; k++) stride[k][rank] = here[k];
      rank++;
    }
  }
  b->rank = rank > 0 ? rank : 1;
  b->dim[0] = 1;
  for (int k = 0; k < inputs; k++) b->stride[k][0] = 1;
  for (int i = 0; i < rank; i++) {
    b->dim[i] = dim[rank - 1 - i];
    for (int k = 0; k < inputs; k++) b->stride[k][i] = stride[k][rank - 1 - i];
  }
}

/* Stands at output element `at`, which must exist. */
static inline void mien_walk_start(const mien_broadcast *b, int inputs, mien_walk *w, int64_t at) {
  for (int k = 0; k < inputs; k++) w->base[k] = 0;
  for (int i = b->rank - 1; i >= 0; i--) {
    w->index[i] = at % b->dim[i];
    at /= b->dim[i];
    if (i == b->rank - 1) continue;
    for (int k = 0; k < inputs; k++) w->base[k] += w->index[i] * b->stride[k][i];
  }
}

/* Element of input k under the current position. */
static inline int64_t mien_walk_at(const mien_broadcast *b, const mien_walk *w, int k) {
  return w->base[k] + w->index[b->rank - 1] * b->stride[k][b->rank - 1];
}

/* Items from here to the end of the row, at most `limit`. */
static inline int64_t mien_walk_length(const mien_broadcast *b, const mien_walk *w, int64_t limit) {
  const int64_t left = b->dim[b->rank - 1] - w->index[b->rank - 1];
  return left < limit ? left : limit;
}

/* Moves `count` items on, not beyond the row's end. */
static inline void mien_walk_advance(const mien_broadcast *b, int inputs, mien_walk *w, int64_t count) {
  w->index[b->rank - 1] += count;
  for (int i = b->rank - 1; i > 0 && w->index[i] == b->dim[i]; i--) {
    w->index[i] = 0;
    w->index[i - 1]++;
    for (int k = 0; k < inputs; k++) {
      w->base[k] += b->stride[k][i - 1];
      if (w->index[i - 1] == b->dim[i - 1]) w->base[k] -= b->stride[k][i - 1] * b->dim[i - 1];
    }
  }
}

/* prepare of operators whose state begins with a mien_broadcast over inputs 0 .. 1 or 0 .. 2. */
static inline mien_status mien_prepare_broadcast(mien_node *n) {
  mien_broadcast *b = mien_state(n);
  const mien_type *in[MIEN_BROADCAST_INPUTS];
  const int inputs = mien_in_count(n) < MIEN_BROADCAST_INPUTS ? mien_in_count(n) : MIEN_BROADCAST_INPUTS;
  for (int k = 0; k < inputs; k++) in[k] = &mien_in(n, k)->type;
  mien_broadcast_make(b, &mien_out(n, 0)->type, inputs, in);
  return MIEN_OK;
}

/* ---- two operands */

/* One row: one_x, one_y say that the operand is a single element repeated. false: an element had no result. */
typedef bool mien_binary_row(const void *s, const void *x, bool one_x, const void *y, bool one_y, void *z,
                             int64_t count);

/* State begins with a mien_broadcast. */
static inline mien_status mien_binary_run(mien_node *n, int64_t begin, int64_t end, mien_binary_row *row,
                                          const char *why) {
  const mien_broadcast *b = mien_state(n);
  const mien_tensor *x = mien_in(n, 0), *y = mien_in(n, 1);
  const mien_tensor *z = mien_out(n, 0);
  const size_t in_bytes = mien_dtype_bytes(x->type.dtype), out_bytes = mien_dtype_bytes(z->type.dtype);
  const bool one_x = b->stride[0][b->rank - 1] == 0, one_y = b->stride[1][b->rank - 1] == 0;
  mien_walk w;
  if (begin >= end) return MIEN_OK;
  mien_walk_start(b, 2, &w, begin);
  for (int64_t i = begin, count; i < end; i += count) {
    const char *at_x = (const char *)x->data + (size_t)mien_walk_at(b, &w, 0) * in_bytes;
    const char *at_y = (const char *)y->data + (size_t)mien_walk_at(b, &w, 1) * in_bytes;
    count = mien_walk_length(b, &w, end - i);
    if (!row(b, at_x, one_x, at_y, one_y, (char *)z->data + (size_t)i * out_bytes, count))
      return mien_fail(n, MIEN_INVALID_ARGUMENT, "%s", why);
    mien_walk_advance(b, 2, &w, count);
  }
  return MIEN_OK;
}

/* bad(C, a, c) is true where there is no result; the run then fails with `why`. */
#define MIEN_BINARY_TO(D, T, C, K, op, S, R, PUT, bad, why)                                                     \
  static bool op##_row_##D(const void *state, const void *xs, bool one_x, const void *ys, bool one_y, void *zs, \
                           int64_t count) {                                                                     \
    const S *s = state;                                                                                         \
    const T *x = xs, *y = ys;                                                                                   \
    R *z = zs;                                                                                                  \
    bool wrong = false;                                                                                         \
    (void)s;                                                                                                    \
    if (one_x) {                                                                                                \
      const C a = MIEN_GET_##K(C, x[0]);                                                                        \
      MIEN_INDEPENDENT                                                                                          \
      for (int64_t i = 0; i < count; i++) {                                                                     \
        const C c = MIEN_GET_##K(C, y[i]);                                                                      \
        wrong |= bad(C, a, c);                                                                                  \
        z[i] = PUT(R, op(C, s, a, c));                                                                          \
      }                                                                                                         \
    } else if (one_y) {                                                                                         \
      const C c = MIEN_GET_##K(C, y[0]);                                                                        \
      MIEN_INDEPENDENT                                                                                          \
      for (int64_t i = 0; i < count; i++) {                                                                     \
        const C a = MIEN_GET_##K(C, x[i]);                                                                      \
        wrong |= bad(C, a, c);                                                                                  \
        z[i] = PUT(R, op(C, s, a, c));                                                                          \
      }                                                                                                         \
    } else {                                                                                                    \
      MIEN_INDEPENDENT                                                                                          \
      for (int64_t i = 0; i < count; i++) {                                                                     \
        const C a = MIEN_GET_##K(C, x[i]), c = MIEN_GET_##K(C, y[i]);                                           \
        wrong |= bad(C, a, c);                                                                                  \
        z[i] = PUT(R, op(C, s, a, c));                                                                          \
      }                                                                                                         \
    }                                                                                                           \
    return !wrong;                                                                                              \
  }                                                                                                             \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {                                       \
    return mien_binary_run(n, begin, end, op##_row_##D, why);                                                   \
  }

#define MIEN_NEVER(C, a, c) false
#define MIEN_BINARY_SAME(D, T, C, K, op, S, bad, why) MIEN_BINARY_TO(D, T, C, K, op, S, T, MIEN_PUT_##K, bad, why)
#define MIEN_BINARY_BOOL(D, T, C, K, op, S) MIEN_BINARY_TO(D, T, C, K, op, S, uint8_t, MIEN_PUT_PLAIN, MIEN_NEVER, "")

/* z[i] = op(C, s, x[i], y[i]); S begins with a mien_broadcast, prepare is mien_prepare_broadcast. */
#define MIEN_BINARY(op, S, TYPES)                \
  TYPES(MIEN_BINARY_SAME, op, S, MIEN_NEVER, "") \
  MIEN_KERNELS(op, TYPES)
/* The same where some elements have no result. */
#define MIEN_BINARY_CHECKED(op, S, TYPES, bad, why) \
  TYPES(MIEN_BINARY_SAME, op, S, bad, why)          \
  MIEN_KERNELS(op, TYPES)
/* The same where the result is a truth value. */
#define MIEN_COMPARE(op, S, TYPES) \
  TYPES(MIEN_BINARY_BOOL, op, S)   \
  MIEN_KERNELS(op, TYPES)

/* ---- any number of operands */

/* take: acc[i] = first ? x[i] : op(acc[i], x[i]), x a single element repeated where `one`. give: z[i] from acc[i]. */
typedef void mien_variadic_take(void *acc, const void *x, bool one, bool first, int64_t count);
typedef void mien_variadic_give(const void *acc, void *z, int64_t count, int inputs);

/* Block by block, so that every input's items are read before the output's are written (it may be an input's memory). */
static inline mien_status mien_variadic_run(mien_node *n, int64_t begin, int64_t end, mien_variadic_take *take,
                                            mien_variadic_give *give, size_t acc_bytes) {
  const mien_tensor *z = mien_out(n, 0);
  const size_t bytes = mien_dtype_bytes(z->type.dtype);
  const int inputs = mien_in_count(n);
  double acc[MIEN_BLOCK]; /* as wide as the widest C */
  for (int64_t i = begin, block; i < end; i += block) {
    block = end - i < MIEN_BLOCK ? end - i : MIEN_BLOCK;
    for (int k = 0; k < inputs; k++) {
      const mien_tensor *x = mien_in(n, k);
      const mien_type *type = &x->type;
      mien_broadcast b;
      mien_walk w;
      mien_broadcast_make(&b, &z->type, 1, &type);
      mien_walk_start(&b, 1, &w, i);
      for (int64_t at = 0, count; at < block; at += count) {
        count = mien_walk_length(&b, &w, block - at);
        take((char *)acc + (size_t)at * acc_bytes, (const char *)x->data + (size_t)mien_walk_at(&b, &w, 0) * bytes,
             b.stride[0][b.rank - 1] == 0, k == 0, count);
        mien_walk_advance(&b, 1, &w, count);
      }
    }
    give(acc, (char *)z->data + (size_t)i * bytes, block, inputs);
  }
  return MIEN_OK;
}

static inline mien_status mien_prepare_variadic(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.5 * mien_in_count(n));
  return MIEN_OK;
}

#define MIEN_VARIADIC_ONE(D, T, C, K, op, last)                                                \
  static void op##_take_##D(void *accs, const void *xs, bool one, bool first, int64_t count) { \
    C *acc = accs;                                                                             \
    const T *x = xs;                                                                           \
    for (int64_t i = 0; i < count; i++) {                                                      \
      const C a = MIEN_GET_##K(C, x[one ? 0 : i]);                                             \
      acc[i] = first ? a : (C)op(C, acc[i], a);                                                \
    }                                                                                          \
  }                                                                                            \
  static void op##_give_##D(const void *accs, void *zs, int64_t count, int inputs) {           \
    const C *acc = accs;                                                                       \
    T *z = zs;                                                                                 \
    (void)inputs;                                                                              \
    for (int64_t i = 0; i < count; i++) z[i] = MIEN_PUT_##K(T, last(C, acc[i], inputs));       \
  }                                                                                            \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {                      \
    return mien_variadic_run(n, begin, end, op##_take_##D, op##_give_##D, sizeof(C));          \
  }

#define MIEN_LAST_SAME(C, acc, inputs) (acc)
/* z[i] = last(C, op(C, ... op(C, x0[i], x1[i]) ..., xn[i]), inputs) */
#define MIEN_VARIADIC(op, last, TYPES) \
  TYPES(MIEN_VARIADIC_ONE, op, last)   \
  MIEN_KERNELS(op, TYPES)

#endif
