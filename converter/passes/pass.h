/* converter/passes/pass.h -- what several rewrites share: questions about values, and the few nodes that most
** rewrites add. Everything goes through mien_rewrite_host; a plugin could use the same text. */
#ifndef MIEN_PASSES_PASS_H
#define MIEN_PASSES_PASS_H

#include <math.h>
#include <mien/plugin.h>
#include <string.h>

/* ---------------------------------------------------------------- sizes and types */

/* Whether two sizes are equal for certain. INT64_MIN is an open size of which nothing is known. */
static inline bool pass_same_dim(int64_t a, int64_t b) { return a == b && a != INT64_MIN; }

static inline bool pass_same_type(const mien_type *a, const mien_type *b) {
  if (a->dtype != b->dtype || a->rank != b->rank || a->rank < 0 || a->nest[0] || b->nest[0]) return false;
  for (int i = 0; i < a->rank; i++)
    if (!pass_same_dim(a->dim[i], b->dim[i])) return false;
  return true;
}

/* A tensor of floats of known rank. The operators of domain mien know no other type. */
static inline bool pass_is_f32(const mien_rewriter *r, mien_value v) {
  if (v == MIEN_NO_VALUE) return false;
  const mien_type *t = mien_rewrite_host_of(r)->type(r, v);
  return !t->nest[0] && t->dtype == MIEN_F32 && t->rank >= 0;
}

static inline int pass_rank(const mien_rewriter *r, mien_value v) { return mien_rewrite_host_of(r)->type(r, v)->rank; }

static inline bool pass_is_known(const mien_type *t) {
  if (t->nest[0] || t->rank < 0 || t->dtype == MIEN_NONE) return false;
  for (int i = 0; i < t->rank; i++)
    if (t->dim[i] == INT64_MIN) return false;
  return true;
}

static inline int64_t pass_size_of(mien_rewriter *r, const int64_t *dim, int count) {
  int64_t product = 1;
  for (int i = 0; i < count; i++) product = mien_rewrite_host_of(r)->dim(r, '*', product, dim[i]);
  return product;
}

/* Axis counted from the front; -1 when it is outside. */
static inline int pass_axis(int64_t axis, int rank) {
  if (axis < 0) axis += rank;
  return axis < 0 || axis >= rank ? -1 : (int)axis;
}

/* ---------------------------------------------------------------- values */

/* Read once, and not by the user of the model: it may vanish into its reader. */
static inline bool pass_is_single(const mien_rewriter *r, mien_value v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return h->uses(r, v) == 1 && !h->is_output(r, v);
}

static inline bool pass_is_op(const mien_rewriter *r, mien_node_id n, const char *op) {
  return n != MIEN_NO_NODE && strcmp(mien_rewrite_host_of(r)->op_name(r, n), op) == 0;
}

/* The node that made v when it is an `op`, else MIEN_NO_NODE. */
static inline mien_node_id pass_made_by(const mien_rewriter *r, mien_value v, const char *op) {
  if (v == MIEN_NO_VALUE) return MIEN_NO_NODE;
  mien_node_id n = mien_rewrite_host_of(r)->producer(r, v);
  return pass_is_op(r, n, op) ? n : MIEN_NO_NODE;
}

static inline mien_value pass_in(const mien_rewriter *r, mien_node_id n, int i) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return i < h->in_count(r, n) ? h->in(r, n, i) : MIEN_NO_VALUE;
}

static inline mien_value pass_root_out(const mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  return h->out(r, h->root(r), 0);
}

/* Whether output i of n exists and is read. */
static inline bool pass_is_read(const mien_rewriter *r, mien_node_id n, int i) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (i >= h->out_count(r, n)) return false;
  mien_value v = h->out(r, n, i);
  return v != MIEN_NO_VALUE && (h->uses(r, v) > 0 || h->is_output(r, v));
}

/* The only element of a constant of one number. */
static inline bool pass_scalar(const mien_rewriter *r, mien_value v, double *value) {
  if (v == MIEN_NO_VALUE) return false;
  const mien_tensor *t = mien_rewrite_host_of(r)->constant(r, v);
  if (!t || !t->data || t->type.nest[0] || mien_count(&t->type) != 1) return false;
  if (t->type.dtype == MIEN_F32)
    *value = (double)*(const float *)t->data;
  else if (t->type.dtype == MIEN_I64)
    *value = (double)*(const int64_t *)t->data;
  else if (t->type.dtype == MIEN_I32)
    *value = (double)*(const int32_t *)t->data;
  else
    return false;
  return true;
}

static inline bool pass_is_near(double value, double wanted) { return fabs(value - wanted) <= 1e-4 * fabs(wanted); }

static inline bool pass_is_scalar(const mien_rewriter *r, mien_value v, double wanted) {
  double value;
  return pass_scalar(r, v, &value) && pass_is_near(value, wanted);
}

static inline bool pass_is_constant(const mien_rewriter *r, mien_value v) {
  return v != MIEN_NO_VALUE && mien_rewrite_host_of(r)->constant(r, v);
}

/* All elements of a constant of floats are `wanted`. */
static inline bool pass_is_filled(const mien_rewriter *r, mien_value v, float wanted) {
  if (!pass_is_f32(r, v)) return false;
  const mien_tensor *t = mien_rewrite_host_of(r)->constant(r, v);
  if (!t || !t->data) return false;
  for (int64_t i = 0, count = mien_count(&t->type); i < count; i++)
    if (((const float *)t->data)[i] != wanted) return false;
  return true;
}

/* Known whole numbers without symbols. */
static inline const int64_t *pass_numbers(mien_rewriter *r, mien_value v, int64_t *count) {
  if (v == MIEN_NO_VALUE) return NULL;
  const int64_t *values = mien_rewrite_host_of(r)->ints(r, v, count);
  for (int64_t i = 0; values && i < *count; i++)
    if (mien_is_symbol(values[i])) return NULL;
  return values;
}

/* ---------------------------------------------------------------- nodes of the patch */

MIEN_CHECKED static inline mien_status pass_add(mien_rewriter *r, const char *op, mien_value *out,
                                                const mien_value *inputs, int count) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  MIEN_TRY(h->begin(r, op, inputs, count));
  return h->end(r, out, 1);
}
/* PASS_ADD(r, "Mul", &y, a, b): a node without attributes, in the version that the model has. */
#define PASS_ADD(r, op, out, ...)                               \
  pass_add((r), (op), (out), (const mien_value[]){__VA_ARGS__}, \
           (int)(sizeof((const mien_value[]){__VA_ARGS__}) / sizeof(mien_value)))

MIEN_CHECKED static inline mien_status pass_ints(mien_rewriter *r, const int64_t *values, int64_t count,
                                                 mien_value *out) {
  return mien_rewrite_host_of(r)->constant_ints(r, values, count, 1, out);
}

/* What Reshape must be told so that a value of type `from` gets the sizes `dim`: numbers, at most one -1, and 0 where the size
** is that of `from` in the same place. False when that cannot be said. */
static inline bool pass_reshape_spec(const mien_type *from, const int64_t *dim, int rank, int64_t *spec) {
  int open = 0;
  for (int i = 0; i < rank; i++) {
    if (dim[i] == 0) return false;
    spec[i] = dim[i];
    open += mien_is_symbol(dim[i]);
  }
  bool first = true;
  for (int i = 0; i < rank; i++) {
    if (!mien_is_symbol(dim[i])) continue;
    if (open > 1 && i < from->rank && pass_same_dim(from->dim[i], dim[i])) {
      spec[i] = 0;
    } else {
      if (!first) return false;
      spec[i] = -1;
      first = false;
    }
  }
  return true;
}

/* Whether pass_reshape will manage. Sizes are not compared: the caller knows that the elements are as many. */
static inline bool pass_can_reshape(const mien_rewriter *r, mien_value x, const int64_t *dim, int rank) {
  int64_t spec[MIEN_MAX_RANK];
  return rank >= 0 && rank <= MIEN_MAX_RANK && pass_reshape_spec(mien_rewrite_host_of(r)->type(r, x), dim, rank, spec);
}

MIEN_CHECKED static inline mien_status pass_reshape(mien_rewriter *r, mien_value x, const int64_t *dim, int rank,
                                                    mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  const mien_type *t = h->type(r, x);
  bool same = t->rank == rank;
  for (int i = 0; same && i < rank; i++) same = pass_same_dim(t->dim[i], dim[i]);
  if (same) {
    *out = x;
    return MIEN_OK;
  }
  int64_t spec[MIEN_MAX_RANK];
  if (!pass_reshape_spec(t, dim, rank, spec)) return h->fail(r, MIEN_INTERNAL, "no shape says these sizes");
  mien_value shape;
  MIEN_TRY(pass_ints(r, spec, rank, &shape));
  return PASS_ADD(r, "Reshape", out, x, shape);
}

MIEN_CHECKED static inline mien_status pass_transpose(mien_rewriter *r, mien_value x, const int64_t *perm, int rank,
                                                      mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  MIEN_TRY(h->begin(r, "Transpose", &x, 1));
  MIEN_TRY(h->set_ints(r, "perm", perm, rank));
  return h->end(r, out, 1);
}

/* Slices over some axes. Version 13: starts, ends, axes and steps are inputs. */
MIEN_CHECKED static inline mien_status pass_slice(mien_rewriter *r, mien_value x, int count, const int64_t *axes,
                                                  const int64_t *starts, const int64_t *ends, const int64_t *steps,
                                                  mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value in[5] = {x, MIEN_NO_VALUE, MIEN_NO_VALUE, MIEN_NO_VALUE, MIEN_NO_VALUE};
  MIEN_TRY(pass_ints(r, starts, count, &in[1]));
  MIEN_TRY(pass_ints(r, ends, count, &in[2]));
  MIEN_TRY(pass_ints(r, axes, count, &in[3]));
  MIEN_TRY(pass_ints(r, steps, count, &in[4]));
  MIEN_TRY(h->begin_at(r, "Slice", 13, in, 5));
  return h->end(r, out, 1);
}
MIEN_CHECKED static inline mien_status pass_slice_one(mien_rewriter *r, mien_value x, int axis, int64_t start,
                                                      int64_t end, mien_value *out) {
  return pass_slice(r, x, 1, &(int64_t){axis}, &start, &end, &(int64_t){1}, out);
}

/* A constant that varies along `axis` of a value of `rank` and `channels` there, and nowhere else; or has one element. Whether
** multiplying or adding it leaves that value's shape alone. */
static inline bool pass_is_per_channel(const mien_rewriter *r, mien_value c, int rank, int axis, int64_t channels) {
  if (!pass_is_f32(r, c) || !pass_is_constant(r, c) || channels <= 0) return false;
  const mien_type *t = mien_rewrite_host_of(r)->type(r, c);
  if (t->rank > rank) return false;
  for (int i = 0; i < t->rank; i++)
    if (t->dim[i] != 1 && (i + rank - t->rank != axis || t->dim[i] != channels)) return false;
  return true;
}

/* Such a constant as [channels]. */
MIEN_CHECKED static inline mien_status pass_per_channel(mien_rewriter *r, mien_value c, int64_t channels,
                                                        mien_value *out) {
  mien_value flat;
  int64_t elements = mien_count(mien_rewrite_host_of(r)->type(r, c));
  MIEN_TRY(pass_reshape(r, c, &elements, 1, &flat));
  *out = flat;
  if (elements == channels) return MIEN_OK;
  mien_value shape;
  MIEN_TRY(pass_ints(r, &channels, 1, &shape));
  return PASS_ADD(r, "Expand", out, flat, shape);
}

/* [channels] as a shape that broadcasts along `axis` of a value of `rank`. */
MIEN_CHECKED static inline mien_status pass_along(mien_rewriter *r, mien_value c, int64_t channels, int rank, int axis,
                                                  mien_value *out) {
  int64_t dim[MIEN_MAX_RANK];
  for (int i = 0; i < rank; i++) dim[i] = i == axis ? channels : 1;
  return pass_reshape(r, c, dim, rank, out);
}

/* ---------------------------------------------------------------- products with an epilogue: mien.Linear and mien.Conv */

enum { PASS_X, PASS_W, PASS_B, PASS_S, PASS_G, PASS_R, PASS_P, PASS_INPUTS };

/* A node with an epilogue, taken apart; what a rewrite changes in it becomes the node that takes its place. */
typedef struct pass_product {
  mien_node_id node;
  bool conv;
  int axis;         /* of the output channels in Y */
  int64_t channels; /* > 0 */
  mien_value y, in[PASS_INPUTS];
  const char *activation;
  double alpha, beta;
  bool act_last;
} pass_product;

static inline bool pass_product_of(const mien_rewriter *r, mien_node_id n, pass_product *p) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  bool conv = pass_is_op(r, n, "mien.Conv");
  if (!conv && !pass_is_op(r, n, "mien.Linear")) return false;
  *p = (pass_product){.node = n, .conv = conv, .y = h->out(r, n, 0)};
  for (int i = 0; i < PASS_INPUTS; i++) p->in[i] = pass_in(r, n, i);
  const mien_type *t = h->type(r, p->y);
  if (t->rank < 1) return false;
  p->axis = conv && !h->attr_i(r, n, "channels_last") ? 1 : t->rank - 1;
  p->channels = p->axis < t->rank ? t->dim[p->axis] : -1;
  p->activation = h->attr_s(r, n, "activation");
  p->alpha = h->attr_f(r, n, "alpha");
  p->beta = h->attr_f(r, n, "beta");
  p->act_last = h->attr_i(r, n, "act_last") != 0;
  return p->channels > 0 && p->activation;
}

/* Nothing yet but the product and its bias. */
static inline bool pass_product_is_bare(const pass_product *p) {
  return !*p->activation && p->in[PASS_S] == MIEN_NO_VALUE && p->in[PASS_G] == MIEN_NO_VALUE &&
         p->in[PASS_R] == MIEN_NO_VALUE;
}

MIEN_CHECKED static inline mien_status pass_product_end(mien_rewriter *r, const pass_product *p, mien_value *out) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int count = PASS_INPUTS;
  while (p->in[count - 1] == MIEN_NO_VALUE) count--;
  MIEN_TRY(h->begin(r, p->conv ? "mien.Conv" : "mien.Linear", p->in, count));
  MIEN_TRY(h->copy_attrs(r, p->node));
  MIEN_TRY(h->set_s(r, "activation", p->activation));
  MIEN_TRY(h->set_f(r, "alpha", p->alpha));
  MIEN_TRY(h->set_f(r, "beta", p->beta));
  MIEN_TRY(h->set_i(r, "act_last", p->act_last));
  return h->end(r, out, 1);
}

/* ---------------------------------------------------------------- views (view.c) */

enum { PASS_VIEW_PARTS = 2 * MIEN_MAX_RANK };

/* A value as a window onto another one. Axis i counts through its parts [first[i], first[i + 1]), the last one fastest; part p
** has `size` steps of `stride` elements of the row-major `base`, from element `offset` on. An axis of size 1 has no parts, a
** plain one has one, one that a Reshape merged may have more. The elements are those of base times `scale`. Sizes, strides and
** offset may be symbols. */
typedef struct pass_view {
  mien_value base;
  int rank, first[MIEN_MAX_RANK + 1];
  int64_t size[PASS_VIEW_PARTS], stride[PASS_VIEW_PARTS], offset;
  double scale;
} pass_view;

enum {
  PASS_VIEW_SLICES = 1, /* look through Slice */
  PASS_VIEW_SCALES = 2  /* look through multiplication by a constant number */
};

/* The nodes behind v that only rename elements: how many steps back mien__view can go (0 when there is none). */
int mien__view_depth(mien_rewriter *r, mien_value v, int flags);
/* v as a view of the value that stands `depth` steps before it; false when a step cannot be said that way. */
bool mien__view(mien_rewriter *r, mien_value v, int depth, int flags, pass_view *view);
/* The same elements in the same order with axes of other sizes; false when that splits no axis evenly. */
bool mien__view_reshape(mien_rewriter *r, pass_view *view, const int64_t *dim, int rank);

#endif
