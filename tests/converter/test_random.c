/* tests/converter/test_random.c -- random graphs compute the same before and after all built-in rewrites. Graphs are inferred with a
** symbolic batch; then inputs become constants, and folding by the runtime's operators evaluates the whole graph. */
#include "graph_test.h"

#include <math.h>
#include <stdlib.h>

static uint64_t seed;
static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)((seed >> 33) % below);
}
static float draw_float(void) { return (float)draw(2001) / 1000.0f - 1.0f; }

/* ---- random graphs */

#define MAX_VALUES 400
static mien_value values[MAX_VALUES];
static int value_count;

static const mien_type *type_at(const mien__graph *g, mien_value v) { return &g->values[v]->v.tensor.type; }
static int64_t last_dim(const mien__graph *g, mien_value v) {
  const mien_type *t = type_at(g, v);
  return t->rank ? t->dim[t->rank - 1] : 1;
}

static mien_value random_constant(mien__graph *g, int rank, const int64_t *dims) {
  mien_type type = type_of(MIEN_F32, rank, dims);
  int64_t count = mien_count(&type);
  float *data = calloc((size_t)count + 1, sizeof *data);
  for (int64_t i = 0; i < count; i++) data[i] = draw_float();
  mien_value v = constant(g, NULL, type, data);
  free(data);
  return v;
}
static mien_value scalar(mien__graph *g, float x) {
  return constant(g, NULL, type_of(MIEN_F32, draw(2) ? 0 : 1, (int64_t[]){1}), &x);
}

/* A node with inferred outputs. */
static mien_value op(mien__graph *g, const char *name, const mien__attr_value *attrs, int attr_count,
                     const mien_value *in, int in_count) {
  char text[32];
  snprintf(text, sizeof text, "v%d", g->value_count);
  mien_value v = op_node(g, name, NULL, attrs, attr_count, in, in_count);
  good(mien__graph_add_name(g, v, text, &failure));
  good(mien__graph_infer_node(g, g->values[v]->producer, &failure));
  return v;
}
static mien_value one(mien__graph *g, const char *name, mien_value x) { return op(g, name, NULL, 0, &x, 1); }
static mien_value two(mien__graph *g, const char *name, mien_value a, mien_value b) {
  bool swap = draw(2) && (!strcmp(name, "Add") || !strcmp(name, "Mul"));
  const mien_value in[2] = {swap ? b : a, swap ? a : b};
  return op(g, name, NULL, 0, in, 2);
}

/* Lists and numbers as attributes, in the graph's pool. */
static mien__attr_value ints_attr(mien__graph *g, const char *name, const int64_t *data, int64_t count) {
  mien__attr_value a = {.name = name, .kind = 'I', .count = count};
  a.ints = mien__pool_copy(&g->pool, data, (size_t)count * sizeof *data);
  assert_non_null(a.ints);
  return a;
}
static mien__attr_value int_attr(const char *name, int64_t i) {
  return (mien__attr_value){.name = name, .kind = 'i', .i = i};
}

static mien_value unary(mien__graph *g, mien_value x) {
  static const char *const names[] = {"Relu", "Sigmoid",   "Tanh",      "Neg", "Identity",
                                      "Abs",  "LeakyRelu", "HardSwish", "Erf"};
  return one(g, names[draw(sizeof names / sizeof *names)], x);
}

static mien_value activation(mien__graph *g, mien_value x) {
  mien_value y;
  switch (draw(6)) {
    case 0: return one(g, "Relu", x);
    case 1: return two(g, "Mul", x, one(g, "Sigmoid", x));
    case 2:
      y = two(g, "Add", one(g, "Erf", two(g, "Div", x, scalar(g, sqrtf(2)))), scalar(g, 1));
      return draw(2) ? two(g, "Mul", two(g, "Mul", x, y), scalar(g, 0.5f))
                     : two(g, "Mul", two(g, "Mul", x, scalar(g, 0.5f)), y);
    case 3:
      if (last_dim(g, x) > 0) return two(g, "PRelu", x, random_constant(g, 1, (int64_t[]){last_dim(g, x)}));
      return x;
    default: return x;
  }
}

static mien_value residual(mien__graph *g, mien_value y, mien_value x) {
  if (!mien__type_equal(type_at(g, y), type_at(g, x)) || draw(2)) return y;
  if (draw(2) && last_dim(g, y) > 0) y = two(g, "Mul", y, random_constant(g, 1, (int64_t[]){last_dim(g, y)}));
  y = two(g, "Add", y, x);
  return draw(2) ? one(g, "Relu", y) : y;
}

static mien_value linear(mien__graph *g, mien_value x) {
  int64_t k = last_dim(g, x), n = draw(2) ? k : 1 + draw(5);
  if (type_at(g, x)->rank < 1 || k <= 0) return x;
  mien_value y = two(g, "MatMul", x, random_constant(g, 2, (int64_t[]){k, n}));
  if (draw(3)) y = two(g, "Add", y, draw(5) ? random_constant(g, 1, &n) : scalar(g, 0.25f));
  if (draw(4) == 0) y = two(g, "Mul", y, draw(2) ? random_constant(g, 1, &n) : scalar(g, 0.5f));
  return residual(g, activation(g, y), x);
}

static mien_value layer_norm(mien__graph *g, mien_value x) {
  int64_t n = last_dim(g, x), minus = -1;
  if (type_at(g, x)->rank < 1 || n <= 0) return x;
  const mien__attr_value axes = ints_attr(g, "axes", &minus, 1);
  mien_value d = two(g, "Sub", x, op(g, "ReduceMean", &axes, 1, &x, 1));
  mien_value square = draw(2) ? two(g, "Mul", d, d) : two(g, "Pow", d, scalar(g, 2));
  mien_value var = op(g, "ReduceMean", &axes, 1, &square, 1);
  mien_value y = two(g, "Div", d, one(g, "Sqrt", two(g, "Add", var, scalar(g, 1e-2f))));
  if (draw(4)) y = two(g, "Mul", y, random_constant(g, 1, &n));
  return draw(4) ? two(g, "Add", y, random_constant(g, 1, &n)) : y;
}

static mien_value transpose(mien__graph *g, mien_value x) {
  int64_t perm[MIEN_MAX_RANK];
  int rank = type_at(g, x)->rank;
  for (int i = 0; i < rank; i++) perm[i] = i;
  for (int i = rank - 1; i > 0; i--) {
    int j = (int)draw((uint32_t)i + 1);
    int64_t t = perm[i];
    perm[i] = perm[j];
    perm[j] = t;
  }
  const mien__attr_value a = ints_attr(g, "perm", perm, rank);
  return op(g, "Transpose", &a, 1, &x, 1);
}

/* Merges two neighbours or splits one; the symbolic size becomes -1. */
static mien_value reshape(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  int64_t dims[MIEN_MAX_RANK];
  int rank = 0, open = 0, at = t->rank ? (int)draw((uint32_t)t->rank) : 0;
  bool merge = draw(2);
  for (int i = 0; i < t->rank; i++) {
    int64_t d = t->dim[i];
    if (i == at && merge && i + 1 < t->rank && d > 0 && t->dim[i + 1] > 0)
      dims[rank++] = d * t->dim[++i];
    else if (i == at && !merge && d > 0 && d % 2 == 0 && t->rank < 5) {
      dims[rank++] = 2;
      dims[rank++] = d / 2;
    } else
      dims[rank++] = mien_is_symbol(d) ? -1 : d;
    open += dims[rank - 1] < 0;
    if (dims[rank - 1] == 0) return x;
  }
  return open > 1 ? x : two(g, "Reshape", x, ints(g, rank, dims));
}

static mien_value slice(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  int64_t axis = t->rank ? draw((uint32_t)t->rank) : 0;
  if (!t->rank || t->dim[axis] <= 1) return x;
  int64_t from = draw((uint32_t)t->dim[axis]), to = from + 1 + draw((uint32_t)(t->dim[axis] - from));
  const mien_value in[4] = {x, ints(g, 1, &from), ints(g, 1, &to), ints(g, 1, &axis)};
  if (draw(3)) return op(g, "Slice", NULL, 0, in, 4);
  const mien__attr_value a = int_attr("axis", axis);
  const mien_value gather[2] = {x, draw(2) ? constant(g, NULL, type_of(MIEN_I64, 0, NULL), &from) : ints(g, 1, &from)};
  return op(g, "Gather", &a, 1, gather, 2);
}

static mien_value concat(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  if (!t->rank) return x;
  const mien__attr_value a = int_attr("axis", draw(2) ? -1 : (int64_t)draw((uint32_t)t->rank));
  const mien_value in[2] = {x, draw(2) ? unary(g, x) : x};
  return op(g, "Concat", &a, 1, in, 2);
}

static mien_value softmax(mien__graph *g, mien_value x) {
  const mien__attr_value a = int_attr("axis", -1);
  return type_at(g, x)->rank ? op(g, "Softmax", &a, 1, &x, 1) : x;
}

static mien_value attention(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  if (t->rank < 3 || t->rank > 4 || t->dim[t->rank - 1] <= 0 || t->dim[t->rank - 2] <= 0) return x;
  int64_t perm[4] = {0, 1, 2, 3}, d = last_dim(g, x);
  perm[t->rank - 1] = t->rank - 2;
  perm[t->rank - 2] = t->rank - 1;
  const mien__attr_value a = ints_attr(g, "perm", perm, t->rank);
  mien_value q = linear(g, x), k = two(g, "MatMul", x, random_constant(g, 2, (int64_t[]){d, last_dim(g, q)}));
  mien_value kt = op(g, "Transpose", &a, 1, &k, 1);
  mien_value scores = two(g, "MatMul", draw(2) ? two(g, "Mul", q, scalar(g, 0.5f)) : q, kt);
  if (draw(2)) scores = two(g, "Mul", scores, scalar(g, 0.7f));
  if (draw(2)) {
    const mien_type *s = type_at(g, scores);
    scores = two(g, "Add", scores, random_constant(g, 2, &s->dim[s->rank - 2]));
  }
  return two(g, "MatMul", softmax(g, scores), draw(2) ? x : k);
}

static mien_value batch_norm(mien__graph *g, mien_value x, int64_t channels) {
  mien_value var = one(g, "Abs", random_constant(g, 1, &channels));
  const mien_value in[5] = {x, random_constant(g, 1, &channels), random_constant(g, 1, &channels),
                            random_constant(g, 1, &channels), two(g, "Add", var, scalar(g, 0.5f))};
  return op(g, "BatchNormalization", NULL, 0, in, 5);
}

static mien_value conv(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  if (t->rank != 4 || t->dim[1] <= 0 || t->dim[2] <= 0 || t->dim[3] <= 0) return x;
  int64_t c = t->dim[1], k = 1 + 2 * (int64_t)draw(2), pad = k / 2, group = draw(3) ? 1 : c,
          m = draw(2) ? c : group * (1 + draw(3));
  mien_value v = draw(3) ? x : batch_norm(g, x, c);
  const int64_t pads[4] = {pad, pad, pad, pad}, strides[2] = {1 + draw(2), 1};
  const mien__attr_value attrs[3] = {ints_attr(g, "pads", pads, 4), ints_attr(g, "strides", strides, 2),
                                     int_attr("group", group)};
  const mien_value in[3] = {v, random_constant(g, 4, (int64_t[]){m, c / group, k, k}), random_constant(g, 1, &m)};
  mien_value y = op(g, "Conv", attrs, 3, in, 2 + (int)draw(2));
  if (draw(2)) y = batch_norm(g, y, m);
  return residual(g, draw(2) ? one(g, "Relu", y) : y, x);
}

static mien_value pool(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  if (t->rank != 4 || t->dim[2] < 2 || t->dim[3] < 2) return x;
  const int64_t size[2] = {1 + draw(2), 1 + draw(2)};
  const mien__attr_value attrs[2] = {ints_attr(g, "kernel_shape", size, 2), ints_attr(g, "strides", size, 2)};
  return op(g, draw(2) ? "MaxPool" : "AveragePool", attrs, 2, &x, 1);
}

static mien_value binary(mien__graph *g, mien_value x) {
  static const char *const names[] = {"Add", "Mul", "Sub", "Max"};
  const char *name = names[draw(4)];
  for (int i = 0; i < 8; i++) {
    mien_value other = values[draw((uint32_t)value_count)];
    if (mien__type_equal(type_at(g, other), type_at(g, x))) return two(g, name, x, other);
  }
  return two(g, name, x,
             last_dim(g, x) > 0 && draw(2) ? random_constant(g, 1, (int64_t[]){last_dim(g, x)})
                                           : scalar(g, draw_float()));
}

static mien_value gemm(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  int64_t n = 1 + draw(4), k, axis;
  if (t->rank < 1 || last_dim(g, x) <= 0) return x;
  axis = t->rank - 1;
  const mien__attr_value flat = int_attr("axis", axis);
  mien_value a = t->rank == 2 ? x : op(g, "Flatten", &flat, 1, &x, 1);
  k = last_dim(g, a);
  bool trans = draw(2);
  const mien__attr_value attrs[2] = {int_attr("transB", trans),
                                     {.name = "alpha", .kind = 'f', .f = draw(2) ? 1 : 0.5f}};
  const mien_value in[3] = {a, random_constant(g, 2, trans ? (int64_t[]){n, k} : (int64_t[]){k, n}),
                            draw(2) ? random_constant(g, 1, &n) : scalar(g, 0.5f)};
  return activation(g, op(g, "Gemm", attrs, 2, in, 2 + (int)draw(2)));
}

/* Both halves, in some order, or one alone. */
static mien_value split(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  int64_t axis = t->rank ? draw((uint32_t)t->rank) : 0;
  if (!t->rank || t->dim[axis] <= 0 || t->dim[axis] % 2) return x;
  mien_value halves[2] = {named(g, NULL), named(g, NULL)};
  mien__attr_value *a = mien__pool_alloc(&g->pool, sizeof *a);
  assert_non_null(a);
  *a = int_attr("axis", axis);
  const mien_value in[2] = {x, ints(g, 2, (int64_t[]){t->dim[axis] / 2, t->dim[axis] / 2})};
  mien_node_id node = node_of(g, "Split", a, 1, in, 2, halves, 2);
  good(mien__graph_infer_node(g, node, &failure));
  return draw(2) ? halves[draw(2)] : two(g, draw(2) ? "Mul" : "Sub", halves[1], halves[0]);
}

static mien_value pad(mien__graph *g, mien_value x) {
  int rank = type_at(g, x)->rank;
  int64_t pads[2 * MIEN_MAX_RANK] = {0};
  if (!rank) return x;
  int at = (int)draw((uint32_t)rank);
  pads[at] = draw(2);
  pads[rank + at] = draw(2);
  const mien_value in[3] = {x, ints(g, 2 * rank, pads), scalar(g, 0)};
  return op(g, "Pad", NULL, 0, in, 2);
}

static mien_value squeeze(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  if (t->rank > 4) return x;
  int64_t axis = draw((uint32_t)t->rank + 1);
  mien_value y = two(g, "Unsqueeze", x, ints(g, 1, &axis));
  if (draw(2)) y = activation(g, y);
  return draw(2) ? two(g, "Squeeze", y, ints(g, 1, &axis)) : y;
}

/* Reshape(x, [Shape(x)[0], rest]) by shape arithmetic. (With -1 for the rest a batch of 0 would be undefined.) */
static mien_value flatten(mien__graph *g, mien_value x) {
  const mien_type *t = type_at(g, x);
  int64_t rest = 1;
  if (t->rank < 2) return x;
  for (int i = 1; i < t->rank; i++) {
    if (t->dim[i] <= 0) return x;
    rest *= t->dim[i];
  }
  const mien__attr_value axis = int_attr("axis", 0);
  const mien_value pick[2] = {one(g, "Shape", x), ints(g, 1, (int64_t[]){0})};
  const mien_value parts[2] = {op(g, "Gather", &axis, 1, pick, 2), ints(g, 1, &rest)};
  if (mien_is_symbol(t->dim[0])) return two(g, "Reshape", x, op(g, "Concat", &axis, 1, parts, 2));
  return x;
}

typedef mien_value block(mien__graph *g, mien_value x);

static mien__graph *random_graph(mien_env *env, uint64_t number) {
  static block *const blocks[] = {unary,      binary, linear,  linear,    layer_norm, transpose, reshape,
                                  slice,      concat, softmax, attention, conv,       conv,      pool,
                                  activation, gemm,   split,   pad,       squeeze,    flatten};
  static const int64_t shapes[][3] = {{4, 6, 6}, {2, 3, 8}, {1, 5, 4}, {8, 1, 1}};
  seed = number * 0x9e3779b97f4a7c15u + 1;
  for (int i = 0; i < 8; i++) draw(2);
  mien__graph *g = new_graph(env);
  int64_t dims[4] = {mien__symbol_named(g->scope.symbols, "N", 1)};
  memcpy(dims + 1, shapes[draw(4)], sizeof shapes[0]);
  value_count = 0;
  values[value_count++] = input(g, "x", type_of(MIEN_F32, 4, dims));
  if (draw(2)) values[value_count++] = input(g, "z", type_of(MIEN_F32, 3, dims));
  int count = 2 + (int)draw(14);
  for (int i = 0; i < count && value_count < MAX_VALUES; i++) {
    int recent = draw(3) && value_count > 2 ? value_count - 2 : 0;
    mien_value x = values[recent + (int)draw((uint32_t)(value_count - recent))];
    mien_value y = blocks[draw(sizeof blocks / sizeof *blocks)](g, x);
    const mien_type *t = type_at(g, y);
    int64_t size = 1;
    for (int d = 0; d < t->rank; d++) size *= mien_is_symbol(t->dim[d]) ? 2 : t->dim[d];
    if (size < 5000) values[value_count++] = y;
  }
  for (int i = 0, outputs = 1 + (int)draw(3); i < outputs; i++)
    output(g, "y", values[i ? draw((uint32_t)value_count) : (uint32_t)value_count - 1]);
  return g;
}

/* ---- evaluation */

static void feed(mien__graph *g, int64_t batch) {
  for (int32_t i = 0; i < g->input_count; i++) {
    mien__gvalue *v = g->values[g->inputs[i].value];
    mien_type type = v->v.tensor.type;
    type.dim[0] = batch;
    good(mien__tensor_alloc(g->env, &type, &v->v.tensor, &failure));
    seed = 77 + (uint64_t)i;
    for (int64_t k = 0; k < mien_count(&type); k++) ((float *)v->v.tensor.data)[k] = draw_float();
    v->v.constant = v->owned = true;
    v->v.ints = NULL;
  }
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, 0);
}

static void compare(mien__graph *a, mien__graph *b, uint64_t number, int64_t batch) {
  for (int32_t i = 0; i < a->output_count; i++) {
    const mien_tensor *x = &a->values[a->outputs[i].value]->v.tensor, *y = &b->values[b->outputs[i].value]->v.tensor;
    assert_true(mien__type_equal(&x->type, &y->type));
    double largest = 1;
    for (int64_t k = 0; k < mien_count(&x->type); k++) largest = fmax(largest, fabs((double)((float *)x->data)[k]));
    for (int64_t k = 0; k < mien_count(&x->type); k++) {
      double p = (double)((float *)x->data)[k], q = (double)((float *)y->data)[k];
      if (isnan(p) ? !isnan(q) : !(fabs(p - q) <= 2e-5 * largest) && p != q)
        fail_msg("graph %d, batch %d, output %d, element %d: %g without rewrites, %g with", (int)number, (int)batch, i,
                 (int)k, p, q);
    }
  }
}

static int32_t fired[128];

static void check_graph(uint64_t number, int64_t batch, int stop_after) {
  mien_env *env = new_env();
  mien__graph *plain = random_graph(env, number), *rewritten = random_graph(env, number);
  mien__passes *passes;
  good(mien__graph_infer(plain, false, &failure));
  good(mien__graph_infer(rewritten, true, &failure));
  good(mien__passes_create(env, NULL, &passes, &failure));
  if (mien__passes_run(passes, rewritten, stop_after, &failure) != MIEN_OK) {
    char *text = NULL;
    if (mien__graph_dump(plain, &text, NULL) == MIEN_OK) print_error("%s", text);
    fail_msg("graph %d: %s", (int)number, failure.message);
  }
  good(mien__graph_check(rewritten, &failure));
  for (int32_t i = 0; i < passes->run_count && i < 128; i++) fired[i] += passes->runs[i].patches;
  feed(plain, batch);
  feed(rewritten, batch);
  compare(plain, rewritten, number, batch);
  mien__passes_destroy(passes);
  mien__graph_destroy(plain);
  mien__graph_destroy(rewritten);
  mien_env_destroy(env);
}

static void test_rewrites_keep_results(void **state) {
  (void)state;
  const char *first = getenv("MIEN_RANDOM_FIRST"), *count = getenv("MIEN_RANDOM_COUNT");
  uint64_t begin = first ? strtoull(first, NULL, 10) : 0, end = begin + (count ? strtoull(count, NULL, 10) : 400);
  for (uint64_t i = begin; i < end; i++) check_graph(i, i % 8 == 7 ? 0 : 1 + (int64_t)(i % 3), 0);
}

/* The graphs above are worth something only while rewrites match in them. */
static void test_rewrites_were_applied(void **state) {
  (void)state;
  static const char *const wanted[] = {"fuse-gelu",
                                       "fuse-layer-norm",
                                       "gather-to-slice",
                                       "gemm-to-linear",
                                       "matmul-to-linear",
                                       "remove-no-op",
                                       "collapse-views",
                                       "to-fused-conv",
                                       "fuse-bias",
                                       "merge-duplicates",
                                       "constant-shape",
                                       "fuse-attention",
                                       "fold-batch-norm-after",
                                       "fold-batch-norm-before",
                                       "fuse-activation",
                                       "fuse-residual",
                                       "fuse-silu",
                                       "split-to-slices",
                                       "conv-channels-last",
                                       "sink-into-linear"};
  mien_env *env = new_env();
  mien__passes *passes;
  good(mien__passes_create(env, NULL, &passes, &failure));
  for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++) {
    int32_t i = 0;
    while (i < passes->run_count && strcmp(passes->runs[i].rewrite->name, wanted[k])) i++;
    if (i == passes->run_count || !fired[i]) fail_msg("rewrite %s was never applied", wanted[k]);
  }
  mien__passes_destroy(passes);
  mien_env_destroy(env);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_rewrites_keep_results),
                                     cmocka_unit_test(test_rewrites_were_applied)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
