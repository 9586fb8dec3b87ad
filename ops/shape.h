/* ops/shape.h -- what operators that change shapes share: axes, and lists of integers that come as an attribute or as an
** input whose contents may be known while shapes are inferred. */
#ifndef MIEN_OPS_SHAPE_H
#define MIEN_OPS_SHAPE_H

#include <mien/plugin.h>
#include <string.h>

/* axis in [-rank, rank) into [0, rank). */
static inline mien_status shape_axis(mien_node *n, int64_t axis, int rank, int *out) {
  if (axis < -rank || axis >= rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "axis is %lld, expected %d .. %d", (long long)axis, -rank, rank - 1);
  *out = (int)(axis < 0 ? axis + rank : axis);
  return MIEN_OK;
}

/* A list with at most one element a dimension. count -1: not even its length is known; !known: its elements are not. */
typedef struct shape_list {
  bool given, known;
  int64_t count;
  int64_t value[MIEN_MAX_RANK]; /* numbers or symbols */
} shape_list;

static inline mien_status shape_list_limit(mien_node *n, const char *what, int64_t count) {
  if (count <= MIEN_MAX_RANK) return MIEN_OK;
  return mien_fail(n, MIEN_LIMIT, "%s has %lld elements, expected at most %d", what, (long long)count, MIEN_MAX_RANK);
}

static inline mien_status shape_list_set(mien_node *n, const char *what, const int64_t *values, int64_t count,
                                         shape_list *list) {
  MIEN_TRY(shape_list_limit(n, what, count));
  list->given = list->known = true;
  list->count = count;
  for (int64_t i = 0; i < count; i++) list->value[i] = values[i];
  return MIEN_OK;
}

/* What is known to be numbers: "to the very beginning" is often written as a number that a symbol could have. */
static inline mien_status shape_list_numbers(mien_node *n, const char *what, const int64_t *values, int64_t count,
                                             shape_list *list) {
  MIEN_TRY(shape_list_set(n, what, values, count, list));
  for (int64_t i = 0; i < count; i++)
    if (mien_is_symbol(list->value[i])) list->value[i] = MIEN_SYMBOL_MAX;
  return MIEN_OK;
}

static inline mien_status shape_list_attr(mien_node *n, const char *name, shape_list *list) {
  memset(list, 0, sizeof *list);
  if (!mien_has_attr(n, name)) return MIEN_OK;
  int64_t count = 0;
  const int64_t *values = mien_attr_ints(n, name, &count);
  return shape_list_numbers(n, name, values, count, list);
}

/* The length of an input that is a list; a scalar counts as one element. -1: open. */
static inline mien_status shape_list_length(mien_node *n, int i, const char *what, int64_t *length) {
  const mien_type *t = &mien_in(n, i)->type;
  if (t->rank > 1) return mien_fail(n, MIEN_INVALID_MODEL, "input %s has rank %d, expected 1", what, (int)t->rank);
  *length = t->rank < 0 ? -1 : t->rank == 0 ? 1 : t->dim[0];
  if (*length < 0) *length = -1;
  return MIEN_OK;
}

/* In infer. */
static inline mien_status shape_list_infer(mien_node *n, int i, const char *what, shape_list *list) {
  memset(list, 0, sizeof *list);
  if (i >= mien_in_count(n) || !mien_in(n, i)) return MIEN_OK;
  MIEN_TRY(shape_list_length(n, i, what, &list->count));
  list->given = true;
  MIEN_TRY(shape_list_limit(n, what, list->count));
  int64_t count = 0;
  const int64_t *values = mien_ints(n, i, &count);
  if (!values) return MIEN_OK;
  return mien_contents(n, i) ? shape_list_numbers(n, what, values, count, list)
                             : shape_list_set(n, what, values, count, list);
}

static inline int64_t shape_element(const mien_tensor *t, int64_t i) {
  return t->type.dtype == MIEN_I32 ? ((const int32_t *)t->data)[i] : ((const int64_t *)t->data)[i];
}

/* In run, where every input has its data. Of type i32 or i64. */
static inline mien_status shape_list_run(mien_node *n, int i, const char *what, shape_list *list) {
  memset(list, 0, sizeof *list);
  if (i >= mien_in_count(n) || !mien_in(n, i)) return MIEN_OK;
  int64_t length = 0;
  MIEN_TRY(shape_list_length(n, i, what, &length));
  MIEN_TRY(shape_list_limit(n, what, length));
  int64_t values[MIEN_MAX_RANK];
  for (int64_t k = 0; k < length; k++) values[k] = shape_element(mien_in(n, i), k);
  return shape_list_numbers(n, what, values, length, list);
}

/* Axes of a list into [0, rank), each once; axes[] has room for MIEN_MAX_RANK. */
static inline mien_status shape_axes(mien_node *n, const shape_list *list, int rank, int *axes) {
  bool seen[MIEN_MAX_RANK] = {false};
  for (int64_t i = 0; i < list->count; i++) {
    MIEN_TRY(shape_axis(n, list->value[i], rank, &axes[i]));
    if (seen[axes[i]]) return mien_fail(n, MIEN_INVALID_MODEL, "axis %d is given twice", axes[i]);
    seen[axes[i]] = true;
  }
  return MIEN_OK;
}

/* Product of dimensions [from, to). */
static inline int64_t shape_product(mien_node *n, const mien_type *t, int from, int to) {
  int64_t product = 1;
  for (int i = from; i < to; i++) product = mien_dim(n, '*', product, t->dim[i]);
  return product;
}

/* The same where all are numbers. */
static inline int64_t shape_elements(const mien_type *t, int from, int to) {
  int64_t product = 1;
  for (int i = from; i < to; i++) product *= t->dim[i];
  return product;
}

static inline mien_type shape_type(int32_t dtype, int rank) {
  mien_type t;
  memset(&t, 0, sizeof t);
  t.dtype = dtype;
  t.rank = rank;
  return t;
}

/* Output 0 has input 0's element type and a shape of which at most the rank is known. */
static inline mien_status shape_open(mien_node *n, int64_t rank) {
  mien_type t = shape_type(mien_in(n, 0)->type.dtype, rank < 0 ? -1 : (int)rank);
  for (int i = 0; i < t.rank; i++) t.dim[i] = mien_new_symbol(n);
  return mien_set_type(n, 0, &t);
}

/* Whether a box of sizes y within x is consecutive elements: only its innermost cut dimension has more than one index, among those
** from there outwards. */
static inline bool shape_is_block(const mien_type *x, const mien_type *y) {
  int cut = y->rank - 1;
  while (cut >= 0 && x->dim[cut] == y->dim[cut]) cut--;
  for (int i = 0; i < cut; i++)
    if (y->dim[i] != 1) return false;
  return true;
}

/* For view operators, should a host run them all the same. Works in bytes of output 0's elements. */
static inline mien_status shape_copy(mien_node *n, int64_t begin, int64_t end) {
  size_t size = mien_dtype_bytes(mien_in(n, 0)->type.dtype);
  const char *x = mien_in(n, 0)->data;
  char *y = mien_out(n, 0)->data;
  if (x != y && begin < end) memmove(y + (size_t)begin * size, x + (size_t)begin * size, (size_t)(end - begin) * size);
  return MIEN_OK;
}

#endif
