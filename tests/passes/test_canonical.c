/* tests/passes/test_canonical.c -- one spelling per idea: no-ops, shapes, views, slices, norms, activations. */
#include "pass_test.h"

/* ---------------------------------------------------------------- no-ops */

static void build_no_ops(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3)), y;
  y = NODE(g, "Identity", NO_ATTRS, x);
  y = NODE(g, "Dropout", NO_ATTRS, y);
  y = NODE(g, "Cast", ATTRS(INT("to", MIEN_F32)), y);
  y = NODE(g, "Relu", NO_ATTRS, y);
  y = NODE(g, "Slice", NO_ATTRS, y, INTS(g, 0), INTS(g, INT64_MAX), INTS(g, 1));
  y = NODE(g, "Expand", NO_ATTRS, y, INTS(g, 2, 1));
  y = NODE(g, "Tile", NO_ATTRS, y, INTS(g, 1, 1));
  y = NODE(g, "Pad", NO_ATTRS, y, INTS(g, 0, 0, 0, 0));
  y = NODE(g, "Concat", ATTRS(INT("axis", 0)), y);
  output(g, "y", NODE(g, "Identity", NO_ATTRS, y));
}
static void no_ops(void **state) {
  (void)state;
  pass_check(build_no_ops, "= Relu 1");
}

static void build_almost_no_ops(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3)), y, mask;
  y = NODE(g, "Slice", NO_ATTRS, x, INTS(g, -1), INTS(g, INT64_MIN), INTS(g, 1), INTS(g, -1)); /* reversed */
  output(g, "reversed", y);
  y = NODE(g, "Cast", ATTRS(INT("to", MIEN_F64)), x);
  output(g, "wider", y);
  y = NODE(g, "Pad", NO_ATTRS, x, INTS(g, 0, -1, 0, 1)); /* the same shape */
  output(g, "moved", y);
  mask = NODES(g, "Dropout", 2, NO_ATTRS, x);
  output(g, "mask", mask + 1);
  output(g, "dropped", mask);
}
static void almost_no_ops(void **state) {
  (void)state;
  pass_check(build_almost_no_ops, "Slice 1, Cast 1, Pad 1, Dropout 1");
}

static void build_outputs_are_inputs(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3));
  output(g, "a", NODE(g, "Identity", NO_ATTRS, x));
  output(g, "b", NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 2, -1)));
  output(g, "c", x);
}
static void outputs_are_inputs(void **state) {
  (void)state;
  pass_check(build_outputs_are_inputs, "Identity 0, Reshape 0");
}

/* A Conv without bias as dynamo writes it unoptimised: a zero like x, stretched to the channels. */
static void build_casts_like(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 2, 3)), y, zero;
  zero = NODE(g, "Expand", NO_ATTRS, NODE(g, "CastLike", NO_ATTRS, index_of(g, 0), x), INTS(g, 4));
  y = NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 4, 2, 1), zero);
  output(g, "y", NODE(g, "CastLike", NO_ATTRS, y, x));
  output(g, "wider", NODE(g, "CastLike", NO_ATTRS, x, input(g, "like", (mien_type){.dtype = MIEN_F64})));
}
static void casts_like(void **state) {
  (void)state;
  pass_check(build_casts_like, "CastLike 0, Cast 1, Expand 0, mien.Conv 1");
}

/* ---------------------------------------------------------------- shapes */

static void build_shape_arithmetic(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 4, 6)), shape, n, y;
  shape = NODE(g, "Shape", NO_ATTRS, x);
  n = NODE(g, "Unsqueeze", NO_ATTRS, NODE(g, "Gather", NO_ATTRS, shape, index_of(g, 0)), INTS(g, 0));
  y = NODE(g, "Reshape", NO_ATTRS, x, NODE(g, "Concat", ATTRS(INT("axis", 0)), n, INTS(g, 2, 2, 6)));
  y = NODE(g, "Relu", NO_ATTRS, y);
  y = NODE(g, "Expand", NO_ATTRS, y, NODE(g, "Concat", ATTRS(INT("axis", 0)), n, INTS(g, 2, 2, 6)));
  output(g, "y", NODE(g, "Flatten", NO_ATTRS, y));
}
static void shape_arithmetic(void **state) {
  (void)state;
  pass_check(build_shape_arithmetic, "= Relu 1, Reshape 2");
}

static void build_two_open_sizes(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), open_size(g, "M"), 6)), y;
  y = NODE(g, "Unsqueeze", NO_ATTRS, NODE(g, "Relu", NO_ATTRS, x), INTS(g, 3));
  output(g, "kept", NODE(g, "Neg", NO_ATTRS, y));
  output(g, "merged", NODE(g, "Flatten", ATTRS(INT("axis", 2)), x));           /* N * M rows */
  y = NODE(g, "Unsqueeze", NO_ATTRS, NODE(g, "Abs", NO_ATTRS, x), INTS(g, 0)); /* N moves to axis 1 */
  output(g, "moved", NODE(g, "Neg", NO_ATTRS, y));
}
static void two_open_sizes(void **state) {
  (void)state;
  pass_check(build_two_open_sizes, "Flatten 0, Relu 1, Abs 1, Unsqueeze 1");
}

static void build_empty(mien__graph *g) {
  mien_value x = input(g, "x", F32(0, 3)), y;
  y = NODE(g, "Unsqueeze", NO_ATTRS, x, INTS(g, 1));
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 1, 0, 2)), y);
  y = NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 1, 0, 3));
  output(g, "y", NODE(g, "Relu", NO_ATTRS, y));
}
static void empty(void **state) {
  (void)state;
  pass_check(build_empty, "Relu 1");
}

/* ---------------------------------------------------------------- views */

static void build_views(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 6, 4)), y;
  y = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 0, 2, 3, 4)); /* split, turned, merged, and all of it back */
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1, 3)), y);
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1, 3)), y);
  y = NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 0, 6, 4));
  output(g, "same", NODE(g, "Relu", NO_ATTRS, y));
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 2, 0, 1)), x);
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 2, 0, 1)), y);
  output(g, "once", NODE(g, "Neg", NO_ATTRS, y));
  y = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 0, 6, 1, 4));
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1, 3)), y); /* moves an axis of size 1 */
  output(g, "reshaped", NODE(g, "Abs", NO_ATTRS, y));
}
static void views(void **state) {
  (void)state;
  pass_check(build_views, "= Relu 1, Neg 1, Abs 1, Transpose 1, Reshape 1");
}

static void build_real_moves(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 6, 4)), y;
  y = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 4, 6, 2));
  output(g, "a", NODE(g, "Transpose", ATTRS(LIST("perm", 1, 0, 2)), y));
  y = NODE(g, "Transpose", NO_ATTRS, x); /* reverses the axes */
  output(g, "b", NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 2, 6, 4)));
  y = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 3, 4, 4)); /* splits no axis evenly */
  y = NODE(g, "Transpose", ATTRS(LIST("perm", 1, 0, 2)), y);
  output(g, "c", NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 2, 6, 4)));
}
static void real_moves(void **state) {
  (void)state;
  pass_check(build_real_moves, "Transpose 3");
}

/* ---------------------------------------------------------------- slices */

static void build_picks(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 4)), y;
  output(g, "a", NODE(g, "Gather", ATTRS(INT("axis", 1)), x, index_of(g, -1)));
  output(g, "b", NODE(g, "Gather", ATTRS(INT("axis", 1)), x, INTS(g, 1, 2, 3)));
  y = NODES(g, "Split", 2, ATTRS(INT("axis", 2)), x, INTS(g, 1, 3));
  output(g, "c", y);
  output(g, "d", y + 1);
  output(g, "e", NODE(g, "Gather", ATTRS(INT("axis", 1)), x, INTS(g, 1, 3)));  /* no run */
  output(g, "f", NODE(g, "Gather", ATTRS(INT("axis", 1)), x, INTS(g, -1, 0))); /* wraps */
}
static void picks(void **state) {
  (void)state;
  pass_check(build_picks, "Slice 4, Reshape 1, Gather 2, Split 0");
}

static void build_pools(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3, 7, 6)), y;
  output(g, "strided", NODE(g, "MaxPool", ATTRS(LIST("kernel_shape", 1, 1), LIST("strides", 2, 3)), x));
  output(g, "same", NODE(g, "AveragePool", ATTRS(LIST("kernel_shape", 1, 1)), x));
  output(g, "pool", NODE(g, "MaxPool", ATTRS(LIST("kernel_shape", 2, 1)), x));
  y = NODES(g, "MaxPool", 2, ATTRS(LIST("kernel_shape", 1, 1), LIST("strides", 2, 2)), x);
  output(g, "values", y);
  output(g, "indices", y + 1);
}
static void pools(void **state) {
  (void)state;
  pass_check(build_pools, "Slice 1, MaxPool 2, AveragePool 0");
}

static void build_resizes(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 2, 6, 8)), whole, odd, corner, sizes;
  sizes = NODE(g, "Shape", NO_ATTRS, x);
  sizes = NODE(g, "Slice", NO_ATTRS, sizes, INTS(g, 0), INTS(g, 2), INTS(g, 0));
#define RESIZE(WHERE, NEAREST, SIZES)                                                                                \
  NODE(g, "Resize",                                                                                                  \
       ATTRS(TEXT("mode", "nearest"), TEXT("coordinate_transformation_mode", WHERE), TEXT("nearest_mode", NEAREST)), \
       x, NONE, NONE, SIZES)
  whole = NODE(g, "Concat", ATTRS(INT("axis", 0)), sizes, INTS(g, 3, 2));
  output(g, "a", RESIZE("asymmetric", "floor", whole));
  odd = NODE(g, "Concat", ATTRS(INT("axis", 0)), sizes, INTS(g, 4, 4));
  output(g, "b", RESIZE("asymmetric", "floor", odd));
  corner = NODE(g, "Concat", ATTRS(INT("axis", 0)), sizes, INTS(g, 3, 4));
  output(g, "c", RESIZE("asymmetric", "ceil", corner));
  output(g, "d", RESIZE("half_pixel", "floor", corner));
}
static void resizes(void **state) {
  (void)state;
  pass_check(build_resizes, "Resize 3");
}

/* ---------------------------------------------------------------- LayerNormalization, Gelu and others */

static mien_value mean(mien__graph *g, mien_value x) {
  return NODE(g, "ReduceMean", ATTRS(LIST("axes", -1), INT("keepdims", 1)), x);
}

static void build_layer_norms(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 5, 8)), d, v, y;
  for (int i = 0; i < 5; i++) {
    char name[2] = {(char)('a' + i), 0};
    d = NODE(g, "Sub", NO_ATTRS, x, mean(g, x));
    v = i % 2 ? NODE(g, "Mul", NO_ATTRS, d, d) : NODE(g, "Pow", NO_ATTRS, d, number(g, 2));
    v = NODE(g, "Add", NO_ATTRS, mean(g, v), number(g, 1e-5f * (float)(i + 1)));
    if (i == 0) y = NODE(g, "Div", NO_ATTRS, d, NODE(g, "Sqrt", NO_ATTRS, v));
    if (i == 1) y = NODE(g, "Mul", NO_ATTRS, NODE(g, "Reciprocal", NO_ATTRS, NODE(g, "Sqrt", NO_ATTRS, v)), d);
    if (i == 2) y = NODE(g, "Mul", NO_ATTRS, d, NODE(g, "Pow", NO_ATTRS, v, number(g, -0.5f)));
    if (i == 3) y = NODE(g, "Div", NO_ATTRS, d, NODE(g, "Pow", NO_ATTRS, v, number(g, 0.5f)));
    if (i == 4) { /* axes dropped and put back; a difference of its own */
      v = NODE(g, "Sub", NO_ATTRS, x, mean(g, x));
      v = NODE(g, "ReduceMean", ATTRS(LIST("axes", 2), INT("keepdims", 0)), NODE(g, "Mul", NO_ATTRS, v, v));
      v = NODE(g, "Add", NO_ATTRS, NODE(g, "Unsqueeze", NO_ATTRS, v, INTS(g, 2)), number(g, 1e-4f));
      y = NODE(g, "Div", NO_ATTRS, d, NODE(g, "Sqrt", NO_ATTRS, v));
    }
    if (i != 1) y = NODE(g, "Mul", NO_ATTRS, WEIGHTS(g, 8), y);
    if (i != 2) y = NODE(g, "Add", NO_ATTRS, y, i == 3 ? WEIGHTS(g, 1, 1, 8) : WEIGHTS(g, 8));
    output(g, name, y);
  }
}
static void layer_norms(void **state) {
  (void)state;
  pass_check(build_layer_norms, "= LayerNormalization 5");
}

static mien_value almost_norm(mien__graph *g, mien_value x, const char *what) {
  mien_value m = mean(g, x), d, v;
  if (!strcmp(what, "axis")) m = NODE(g, "ReduceMean", ATTRS(LIST("axes", 1), INT("keepdims", 1)), x);
  d = NODE(g, "Sub", NO_ATTRS, x, m);
  v = NODE(g, "Pow", NO_ATTRS, d, number(g, strcmp(what, "cube") ? 2 : 4));
  v = NODE(g, "Add", NO_ATTRS, mean(g, v), number(g, 1e-5f));
  return NODE(g, "Div", NO_ATTRS, d, NODE(g, "Sqrt", NO_ATTRS, v));
}
static void build_no_layer_norms(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), z = input(g, "z", type_of(MIEN_F64, 2, (int64_t[]){2, 8})), d, v;
  output(g, "a", almost_norm(g, x, "axis"));
  output(g, "b", almost_norm(g, x, "cube"));
  d = NODE(g, "Sub", NO_ATTRS, z, mean(g, z)); /* of doubles */
  v = NODE(g, "Add", NO_ATTRS, mean(g, NODE(g, "Mul", NO_ATTRS, d, d)),
           constant(g, NULL, (mien_type){.dtype = MIEN_F64}, &(double){1e-5}));
  output(g, "c", NODE(g, "Div", NO_ATTRS, d, NODE(g, "Sqrt", NO_ATTRS, v)));
  /* A scale that broadcasts the norm to more rows. */
  output(g, "d", NODE(g, "Mul", NO_ATTRS, almost_norm(g, input(g, "w", F32(1, 8)), ""), WEIGHTS(g, 5, 8)));
}
static void no_layer_norms(void **state) {
  (void)state;
  pass_check(build_no_layer_norms, "LayerNormalization 1, Mul 2");
}

static void build_layer_norm_read_inside(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), y = almost_norm(g, x, "");
  output(g, "bare", y);
  y = NODE(g, "Mul", NO_ATTRS, y, WEIGHTS(g, 8));
  output(g, "scaled", y);
  output(g, "whole", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 8)));
}
static void layer_norm_read_inside(void **state) {
  (void)state;
  pass_check(build_layer_norm_read_inside, "= LayerNormalization 1, Mul 1, Add 1");
}

static void build_gelus(mien__graph *g) {
  mien_value x = input(g, "x", F32(4, 8)), e;
  for (int i = 0; i < 4; i++) {
    char name[2] = {(char)('a' + i), 0};
    mien_value v = NODE(g, "Mul", NO_ATTRS, x, number(g, (float)(i + 2)));
    e = i % 2 ? NODE(g, "Div", NO_ATTRS, v, number(g, 1.41421356f))
              : NODE(g, "Mul", NO_ATTRS, number(g, 0.70710678f), v);
    e = NODE(g, "Add", NO_ATTRS, number(g, 1), NODE(g, "Erf", NO_ATTRS, e));
    if (i == 0) e = NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, v, e), number(g, 0.5f));
    if (i == 1) e = NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, number(g, 0.5f), v), e);
    if (i == 2) e = NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, e, number(g, 0.5f)), v);
    if (i == 3) e = NODE(g, "Div", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, e, v), number(g, 2));
    output(g, name, e);
  }
  e = NODE(g, "Mul", NO_ATTRS, NODE(g, "Pow", NO_ATTRS, x, number(g, 3)), number(g, 0.044715f));
  e = NODE(g, "Mul", NO_ATTRS, NODE(g, "Add", NO_ATTRS, x, e), number(g, 0.7978845608f));
  e = NODE(g, "Add", NO_ATTRS, NODE(g, "Tanh", NO_ATTRS, e), number(g, 1));
  output(g, "tanh", NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, number(g, 0.5f)), e));
  e = NODE(g, "Clip", NO_ATTRS, NODE(g, "Add", NO_ATTRS, x, number(g, 3)), number(g, 0), number(g, 6));
  output(g, "hard", NODE(g, "Div", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, e), number(g, 6)));
}
static void gelus(void **state) {
  (void)state;
  pass_check(build_gelus, "= Gelu 5, HardSwish 1, Mul 4");
}

/* Without the half, which is in the weights of what follows. */
static void build_doubled_gelus(mien__graph *g) {
  mien_value x = input(g, "x", F32(4, 8)), e;
  e = NODE(g, "Add", NO_ATTRS, NODE(g, "Erf", NO_ATTRS, NODE(g, "Div", NO_ATTRS, x, number(g, 1.41421356f))),
           number(g, 1));
  output(g, "product", NODE(g, "MatMul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, e), WEIGHTS(g, 8, 3)));
  x = NODE(g, "Exp", NO_ATTRS, x);
  e = NODE(g, "Add", NO_ATTRS, number(g, 1),
           NODE(g, "Erf", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, number(g, 0.70710678f), x)));
  output(g, "bare", NODE(g, "Mul", NO_ATTRS, e, x));
}
static void doubled_gelus(void **state) {
  (void)state;
  pass_check(build_doubled_gelus, "= Gelu 2, Mul 1, Exp 1, mien.Linear 1");
}

static void build_no_gelus(mien__graph *g) {
  mien_value x = input(g, "x", F32(4, 8)), w = input(g, "w", F32(4, 8)), e;
  e = NODE(g, "Add", NO_ATTRS, NODE(g, "Erf", NO_ATTRS, NODE(g, "Div", NO_ATTRS, x, number(g, 1.5f))), number(g, 1));
  output(g, "root", NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, e), number(g, 0.5f)));
  e = NODE(g, "Add", NO_ATTRS, NODE(g, "Erf", NO_ATTRS, NODE(g, "Div", NO_ATTRS, x, number(g, 1.41421356f))),
           number(g, 1));
  output(g, "other", NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, w, e), number(g, 0.5f)));
  output(g, "rank",
         NODE(g, "Mul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, e), constant(g, NULL, F32(1, 1, 1), &(float){0.5f})));
  e = NODE(g, "HardSigmoid", ATTRS(FLOAT("alpha", 0.2f)), x);
  output(g, "hard", NODE(g, "Mul", NO_ATTRS, x, e));
}
static void no_gelus(void **state) {
  (void)state;
  pass_check(build_no_gelus, "Gelu 0, HardSwish 0");
}

/* ---------------------------------------------------------------- others */

static void build_tokens(mien__graph *g) {
  int64_t n = open_size(g, "N");
  mien_value x = input(g, "x", F32(n, 4, 8)), shape, cls, y;
  shape = NODE(g, "Slice", NO_ATTRS, NODE(g, "Shape", NO_ATTRS, x), INTS(g, 0), INTS(g, 1));
  shape = NODE(g, "Concat", ATTRS(INT("axis", 0)), shape, INTS(g, 1, 8));
  cls = NODE(g, "Expand", NO_ATTRS, WEIGHTS(g, 1, 1, 8), shape);
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), cls, x);
  output(g, "first", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 1, 5, 8)));
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), x, cls);
  output(g, "last", NODE(g, "Add", NO_ATTRS, WEIGHTS(g, 1, 5, 8), y));
}
static void tokens(void **state) {
  (void)state;
  pass_check(build_tokens, "= Pad 2, Add 2");
}

static void build_no_tokens(mien__graph *g) {
  mien_value x = input(g, "x", F32(1, 4, 8)), y;
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), WEIGHTS(g, 1, 1, 8), x);
  output(g, "row", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 8))); /* says nothing of rows */
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), WEIGHTS(g, 1, 1, 8), NODE(g, "Neg", NO_ATTRS, x));
  output(g, "more", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 2, 5, 8))); /* broadcasts */
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), WEIGHTS(g, 1, 1, 8), NODE(g, "Abs", NO_ATTRS, x));
  output(g, "read", y);
  output(g, "added", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 1, 5, 8)));
}
static void no_tokens(void **state) {
  (void)state;
  pass_check(build_no_tokens, "Concat 3, Pad 0");
}

static void build_einsums(mien__graph *g) {
  mien_value q = input(g, "q", F32(2, 5, 3, 4)), k = input(g, "k", F32(2, 6, 3, 4)),
             one = input(g, "one", F32(2, 5, 3, 1));
  output(g, "a", NODE(g, "Einsum", ATTRS(TEXT("equation", "nqhd,nkhd->nhqk")), q, k));
  output(g, "b", NODE(g, "Einsum", ATTRS(TEXT("equation", "nqhd, nkhd -> nkqh")), q, k));
  output(g, "c", NODE(g, "Einsum", ATTRS(TEXT("equation", "nqhd,nkhd->nhqkd")), q, k));  /* an outer product */
  output(g, "d", NODE(g, "Einsum", ATTRS(TEXT("equation", "nqhd,nkhd->nhqk")), one, k)); /* broadcasts a sum */
}
static void einsums(void **state) {
  (void)state;
  pass_check(build_einsums, "MatMul 1, Einsum 2");
}

static void build_duplicates(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3)), a, b;
  a = NODE(g, "Softmax", ATTRS(INT("axis", 1)), x);
  b = NODE(g, "Softmax", ATTRS(INT("axis", 1)), x);
  output(g, "a", a);
  output(g, "b", b);
  output(g, "c", NODE(g, "Softmax", ATTRS(INT("axis", 0)), x));
  output(g, "d", NODE(g, "Add", NO_ATTRS, x, constant(g, NULL, F32(1), &(float){1})));
  output(g, "e", NODE(g, "Add", NO_ATTRS, x, constant(g, NULL, F32(1), &(float){1})));
  output(g, "f", NODE(g, "Add", NO_ATTRS, x, constant(g, NULL, F32(1), &(float){2})));
}
static void duplicates(void **state) {
  (void)state;
  pass_check(build_duplicates, "= Softmax 2, Add 2");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_ops),
      cmocka_unit_test(almost_no_ops),
      cmocka_unit_test(outputs_are_inputs),
      cmocka_unit_test(casts_like),
      cmocka_unit_test(shape_arithmetic),
      cmocka_unit_test(two_open_sizes),
      cmocka_unit_test(empty),
      cmocka_unit_test(views),
      cmocka_unit_test(real_moves),
      cmocka_unit_test(picks),
      cmocka_unit_test(pools),
      cmocka_unit_test(resizes),
      cmocka_unit_test(layer_norms),
      cmocka_unit_test(no_layer_norms),
      cmocka_unit_test(layer_norm_read_inside),
      cmocka_unit_test(gelus),
      cmocka_unit_test(doubled_gelus),
      cmocka_unit_test(no_gelus),
      cmocka_unit_test(tokens),
      cmocka_unit_test(no_tokens),
      cmocka_unit_test(einsums),
      cmocka_unit_test(duplicates),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
