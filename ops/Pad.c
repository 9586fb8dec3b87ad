/* Pad: the input with elements added, or with negative pads taken away, before and behind every dimension.
** ai.onnx 19 (wrap), 18 (axes), 11 (pads, constant_value inputs), 2 (attributes pads, value).
** constant; edge: the last element again; reflect: mirrored at the last element; wrap: as if the input were periodic. */
#include "ops/loop.h"
#include "ops/shape.h"
#include "ops/strided.h"

typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } pad_mode;

typedef struct pad_amounts {
  bool known;
  int64_t before[MIEN_MAX_RANK], after[MIEN_MAX_RANK];
} pad_amounts;

static mien_status pad_mode_read(mien_node *n, pad_mode *mode) {
  static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
  const char *name = mien_attr_s(n, "mode");
  for (int i = 0; i < 4; i++)
    if (strcmp(name, names[i]) == 0) {
      *mode = (pad_mode)i;
      return MIEN_OK;
    }
  return mien_fail(n, MIEN_INVALID_MODEL, "mode is '%s', expected constant, reflect, edge or wrap", name);
}

/* values: amounts before each of the axes, then those behind. */
static mien_status pad_set(mien_node *n, const int64_t *values, int64_t count, const shape_list *axes, pad_amounts *p) {
  int rank = mien_in(n, 0)->type.rank, axis[MIEN_MAX_RANK];
  int64_t expected = axes->given ? axes->count : rank;
  if (count != 2 * expected)
    return mien_fail(n, MIEN_INVALID_MODEL, "pads has %lld elements, expected %lld", (long long)count,
                     (long long)(2 * expected));
  for (int i = 0; i < rank; i++) axis[i] = i;
  if (axes->given) MIEN_TRY(shape_axes(n, axes, rank, axis));
  memset(p, 0, sizeof *p);
  for (int64_t i = 0; i < expected; i++) {
    p->before[axis[i]] = values[i];
    p->after[axis[i]] = values[expected + i];
  }
  p->known = true;
  return MIEN_OK;
}

static mien_status pad_type(mien_node *n, const pad_amounts *p) {
  const mien_type *x = &mien_in(n, 0)->type;
  pad_mode mode;
  MIEN_TRY(pad_mode_read(n, &mode));
  if (!p->known) return shape_open(n, x->rank);
  mien_type y = *x;
  for (int i = 0; i < x->rank; i++) {
    y.dim[i] = mien_dim(n, '+', mien_dim(n, '+', x->dim[i], p->before[i]), p->after[i]);
    if (mien_is_symbol(y.dim[i])) continue;
    if (y.dim[i] < 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "pads %lld and %lld leave a negative size of dimension %d, which is %lld",
                       (long long)p->before[i], (long long)p->after[i], i, (long long)x->dim[i]);
    int64_t kept = x->dim[i] + (p->before[i] < 0 ? p->before[i] : 0) + (p->after[i] < 0 ? p->after[i] : 0);
    if (mode != PAD_CONSTANT && kept <= 0 && y.dim[i] > 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d has nothing to pad with in mode '%s'", i,
                       mien_attr_s(n, "mode"));
  }
  return mien_set_type(n, 0, &y);
}

static mien_status pad_infer(mien_node *n) {
  pad_amounts p = {.known = false};
  shape_list axes;
  int64_t count = 0;
  const int64_t *values = mien_ints(n, 1, &count);
  MIEN_TRY(shape_list_infer(n, 3, "axes", &axes));
  if (values && (!axes.given || axes.known)) MIEN_TRY(pad_set(n, values, count, &axes, &p));
  return pad_type(n, &p);
}

static mien_status pad_attrs_read(mien_node *n, pad_amounts *p) {
  int64_t count = 0;
  const int64_t *values = mien_attr_ints(n, "pads", &count);
  shape_list axes = {.given = false};
  return pad_set(n, values, count, &axes, p);
}

static mien_status pad_infer_2(mien_node *n) {
  pad_amounts p;
  MIEN_TRY(pad_attrs_read(n, &p));
  return pad_type(n, &p);
}

static mien_status pad_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.5);
  return MIEN_OK;
}

/* Dimension i of the output: `before` added elements, then `length` of the input from `skip` on, then more added ones. */
typedef struct pad_plan {
  pad_mode mode;
  int last; /* innermost dimension that changes; those behind it are one piece of `inner` elements */
  int64_t inner;
  int64_t before[MIEN_MAX_RANK], skip[MIEN_MAX_RANK], length[MIEN_MAX_RANK], stride[MIEN_MAX_RANK];
  const mien_type *y;
  size_t size;
  const char *x;
  const void *value;
} pad_plan;

static mien_status pad_plan_make(mien_node *n, const pad_amounts *p, const void *value, pad_plan *plan) {
  const mien_tensor *x = mien_in(n, 0);
  MIEN_TRY(pad_mode_read(n, &plan->mode));
  plan->y = &mien_out(n, 0)->type;
  plan->size = mien_dtype_bytes(x->type.dtype);
  plan->x = x->data;
  plan->value = value;
  plan->last = -1;
  strided_dense(x->type.rank, x->type.dim, plan->stride);
  for (int i = 0; i < x->type.rank; i++) {
    int64_t cut = p->after[i] < 0 ? -p->after[i] : 0;
    plan->before[i] = p->before[i] > 0 ? p->before[i] : 0;
    plan->skip[i] = p->before[i] < 0 ? -p->before[i] : 0;
    plan->length[i] = x->type.dim[i] - plan->skip[i] - cut;
    if (plan->length[i] < 0) plan->length[i] = 0;
    if (p->before[i] || p->after[i]) plan->last = i;
  }
  plan->inner = shape_elements(&x->type, plan->last + 1, x->type.rank);
  return MIEN_OK;
}

/* The kept element that position q (relative to the first kept one) shows; -1: the constant. */
static int64_t pad_source(pad_mode mode, int64_t q, int64_t length) {
  if (q >= 0 && q < length) return q;
  int64_t period = mode == PAD_REFLECT ? 2 * (length - 1) : length;
  switch (mode) {
    case PAD_EDGE: return q < 0 ? 0 : length - 1;
    case PAD_REFLECT:
    case PAD_WRAP:
      if (period == 0) return 0;
      q %= period;
      if (q < 0) q += period;
      return q < length ? q : period - q;
    case PAD_CONSTANT: break;
  }
  return -1;
}

/* Elements [first, end) of one row of the dimension `last`; base: where the row lies in the input, NULL: all constant. */
static void pad_row(const pad_plan *p, const char *base, int64_t first, int64_t end, char *y) {
  int d = p->last;
  while (first < end) {
    int64_t o = first / p->inner, q = o - p->before[d], from = base ? pad_source(p->mode, q, p->length[d]) : -1;
    int64_t stop = (o + 1) * p->inner; /* one position */
    if (base && q >= 0 && q < p->length[d])
      stop = (p->before[d] + p->length[d]) * p->inner;
    else if (from < 0)
      stop = base && q < 0 && p->length[d] > 0 ? p->before[d] * p->inner : end;
    if (stop > end) stop = end;
    int64_t count = stop - first;
    if (from < 0)
      strided_fill(p->size, p->value, y, count);
    else
      memcpy(y, base + ((p->skip[d] + from) * p->stride[d] + first % p->inner) * (int64_t)p->size,
             (size_t)count * p->size);
    y += (size_t)count * p->size;
    first = stop;
  }
}

static void pad_fill(const pad_plan *p, char *y, int64_t begin, int64_t end) {
  int64_t row = shape_elements(p->y, p->last, p->y->rank);
  while (begin < end) {
    int64_t rest = begin / row, first = begin % row, stop = row - first < end - begin ? row : first + (end - begin);
    const char *base = p->x;
    for (int i = p->last - 1; i >= 0; i--) {
      int64_t from = pad_source(p->mode, rest % p->y->dim[i] - p->before[i], p->length[i]);
      rest /= p->y->dim[i];
      if (from < 0 || !base)
        base = NULL;
      else
        base += (p->skip[i] + from) * p->stride[i] * (int64_t)p->size;
    }
    pad_row(p, base, first, stop, y + (size_t)begin * p->size);
    begin += stop - first;
  }
}

static mien_status pad_run_with(mien_node *n, const pad_amounts *p, const void *value, int64_t begin, int64_t end) {
  pad_plan plan;
  if (begin >= end) return MIEN_OK;
  MIEN_TRY(pad_plan_make(n, p, value, &plan));
  if (plan.last < 0) return shape_copy(n, begin, end);
  pad_fill(&plan, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static mien_status pad_run(mien_node *n, int64_t begin, int64_t end) {
  static const mien_string zero; /* as many zero bytes as the largest element has */
  const mien_tensor *pads = mien_in(n, 1), *value = mien_in_count(n) > 2 ? mien_in(n, 2) : NULL;
  int64_t values[2 * MIEN_MAX_RANK], count = mien_count(&pads->type);
  pad_amounts p;
  shape_list axes;
  if (count > 2 * MIEN_MAX_RANK) return mien_fail(n, MIEN_LIMIT, "pads has %lld elements", (long long)count);
  for (int64_t i = 0; i < count; i++) values[i] = shape_element(pads, i);
  MIEN_TRY(shape_list_run(n, 3, "axes", &axes));
  MIEN_TRY(pad_set(n, values, count, &axes, &p));
  return pad_run_with(n, &p, value ? value->data : &zero, begin, end);
}

static mien_status pad_run_2(mien_node *n, int64_t begin, int64_t end) {
  double d = mien_attr_f(n, "value");
  float f = (float)d;
  uint16_t h = mien_f32_to_f16(f);
  int32_t dtype = mien_in(n, 0)->type.dtype;
  pad_amounts p;
  MIEN_TRY(pad_attrs_read(n, &p));
  return pad_run_with(n, &p,
                      dtype == MIEN_F64   ? (const void *)&d
                      : dtype == MIEN_F16 ? (const void *)&h
                                          : &f,
                      begin, end);
}

static const mien_attr pad_attrs_2[] = {{.name = "pads", .kind = 'I', .required = true},
                                        {.name = "mode", .kind = 's', .s = "constant"},
                                        {.name = "value", .kind = 'f'},
                                        {.name = NULL}};
static const mien_attr pad_attrs_11[] = {{.name = "mode", .kind = 's', .s = "constant"}, {.name = NULL}};
static const mien_kernel pad_kernels_2[] = {
    {MIEN_F32, pad_run_2}, {MIEN_F64, pad_run_2}, {MIEN_F16, pad_run_2}, {MIEN_NONE, NULL}};
static const mien_kernel pad_kernels[] = {{MIEN_ANY, pad_run}, {MIEN_NONE, NULL}};

#define PAD .name = "Pad", .prepare = pad_prepare, .flags = MIEN_OP_MOVES_DATA, .doc = "adds or removes border elements"

const mien_op mien_ops_Pad[] = {
    {PAD, .since = 2, .until = 10, .signature = "data:T -> output:T", .attrs = pad_attrs_2, .kernels = pad_kernels_2,
     .infer = pad_infer_2},
    {PAD, .since = 11, .until = 17, .signature = "data:T, pads:i64, constant_value:T? -> output:T",
     .attrs = pad_attrs_11, .kernels = pad_kernels, .infer = pad_infer},
    {PAD, .since = 18, .signature = "data:T, pads:i64, constant_value:T?, axes:I{i32,i64}? -> output:T",
     .attrs = pad_attrs_11, .kernels = pad_kernels, .infer = pad_infer},
    {.name = NULL},
};
