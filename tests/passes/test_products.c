/* tests/passes/test_products.c -- matrix products and convolutions with what comes before and after them. */
#include "pass_test.h"

#define PADS(...) LIST("pads", __VA_ARGS__)
#define KERNEL(...) LIST("kernel_shape", __VA_ARGS__)

/* ---------------------------------------------------------------- linear */

static void build_linears(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 5, 8)), row = input(g, "row", F32(3, 8)), y;
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 6));
  output(g, "a", NODE(g, "Add", NO_ATTRS, WEIGHTS(g, 6), y));
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 6));
  output(g, "b", NODE(g, "Add", NO_ATTRS, y, number(g, 2))); /* one number for all columns */
  output(g, "c", NODE(g, "Gemm", ATTRS(INT("transB", 1)), row, WEIGHTS(g, 4, 8), WEIGHTS(g, 1, 4)));
  output(g, "d", NODE(g, "Gemm", ATTRS(FLOAT("alpha", 0.5f), FLOAT("beta", 2)), row, WEIGHTS(g, 8, 4), WEIGHTS(g, 1)));
  output(g, "e", NODE(g, "Gemm", NO_ATTRS, row, WEIGHTS(g, 8, 4), WEIGHTS(g, 3, 4))); /* a matrix added: a residual */
  output(g, "f", NODE(g, "Gemm", NO_ATTRS, row, WEIGHTS(g, 8, 4)));
}
static void linears(void **state) {
  (void)state;
  pass_check(build_linears, "= mien.Linear 6");
}

static void build_no_linears(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), w = input(g, "w", F32(8, 6)), v = input(g, "v", F32(8));
  mien_value d = input(g, "d", type_of(MIEN_F64, 2, (int64_t[]){3, 2})), double_w;
  double numbers[4] = {1, 2, 3, 4};
  output(g, "a", NODE(g, "MatMul", NO_ATTRS, x, w));
  output(g, "b", NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 2, 8, 3)));
  output(g, "c", NODE(g, "MatMul", NO_ATTRS, v, WEIGHTS(g, 8, 3)));
  double_w = constant(g, NULL, type_of(MIEN_F64, 2, (int64_t[]){2, 2}), numbers);
  output(g, "d", NODE(g, "MatMul", NO_ATTRS, d, double_w));
  output(g, "e", NODE(g, "Gemm", ATTRS(INT("transA", 1)), w, WEIGHTS(g, 8, 2)));
}
static void no_linears(void **state) {
  (void)state;
  pass_check(build_no_linears, "= MatMul 4, Gemm 1");
}

static void build_no_bias(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), y;
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 5));
  output(g, "rows", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 5, 1))); /* along the rows */
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 1));
  output(g, "wider", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 4))); /* broadcasts the product */
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 3));
  output(g, "rank", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 1, 1, 1, 3)));
  y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 3));
  output(g, "bare", y);
  output(g, "both", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 3))); /* y is read elsewhere */
}
static void no_bias(void **state) {
  (void)state;
  pass_check(build_no_bias, "= mien.Linear 4, Add 4");
}

/* Tokens merged into rows around every product, as optimisers write them. */
static mien_value by_rows(mien__graph *g, mien_value x, int64_t rows, int64_t from, int64_t to) {
  return NODE(g, "Gemm", NO_ATTRS, NODE(g, "Reshape", NO_ATTRS, x, INTS(g, rows, from)), WEIGHTS(g, from, to),
              WEIGHTS(g, to));
}
static void build_rows(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), open = input(g, "open", F32(open_size(g, "N"), 5, 8)), y, z;
  mien_value map = input(g, "map", F32(2, 3, 4, 8)), token = input(g, "token", F32(2, 1, 8));
  y = NODE(g, "Relu", NO_ATTRS, NODE(g, "Reshape", NO_ATTRS, by_rows(g, x, 10, 8, 6), INTS(g, 2, 5, 6)));
  y = NODE(g, "Reshape", NO_ATTRS, by_rows(g, y, 10, 6, 8), INTS(g, 2, 5, 8));
  output(g, "block", NODE(g, "Add", NO_ATTRS, x, y)); /* a residual of three axes */
  output(g, "open", NODE(g, "Reshape", NO_ATTRS, by_rows(g, open, -1, 8, 6), INTS(g, -1, 5, 6)));
  output(g, "rows", by_rows(g, map, 24, 8, 6)); /* nothing parts them again */
  output(g, "token", by_rows(g, token, 2, 8, 6));
  /* Parted into other rows and halves of the columns: a product each, of the same rows. */
  y = NODE(g, "Reshape", NO_ATTRS, by_rows(g, NODE(g, "Exp", NO_ATTRS, map), 24, 8, 6), INTS(g, 2, 12, 2, 3));
  z = NODE(g, "Slice", NO_ATTRS, y, INTS(g, 0), INTS(g, 1), INTS(g, 2));
  output(g, "first", z);
  output(g, "second", NODE(g, "Slice", NO_ATTRS, y, INTS(g, 1), INTS(g, 2), INTS(g, 2)));
}
static void merged_rows(void **state) {
  (void)state;
  pass_check(build_rows, "mien.Linear 7, Exp 1, Add 0, Relu 0, Slice 0, Reshape 5");
}

/* ---------------------------------------------------------------- epilogues */

static void build_activations(mien__graph *g) {
  mien_value x = input(g, "x", F32(3, 4, 8)), y;
  const char *const names[] = {"Relu", "Sigmoid", "Tanh", "HardSwish"};
#define PRODUCT NODE(g, "Add", NO_ATTRS, NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 6)), WEIGHTS(g, 6))
  for (int i = 0; i < 4; i++) output(g, names[i], NODE(g, names[i], NO_ATTRS, PRODUCT));
  output(g, "leaky", NODE(g, "LeakyRelu", ATTRS(FLOAT("alpha", 0.3f)), PRODUCT));
  output(g, "prelu", NODE(g, "PRelu", NO_ATTRS, PRODUCT, WEIGHTS(g, 6)));
  output(g, "slope", NODE(g, "PRelu", NO_ATTRS, PRODUCT, WEIGHTS(g, 1)));
  output(g, "clip", NODE(g, "Clip", NO_ATTRS, PRODUCT, number(g, -0.25f), number(g, 0.5f)));
  output(g, "above", NODE(g, "Clip", NO_ATTRS, PRODUCT, NONE, number(g, 0.5f)));
  y = PRODUCT;
  output(g, "silu", NODE(g, "Mul", NO_ATTRS, y, NODE(g, "Sigmoid", NO_ATTRS, y)));
}
static void activations(void **state) {
  (void)state;
  pass_check(build_activations, "= mien.Linear 10");
}

static void build_no_activations(mien__graph *g) {
  mien_value x = input(g, "x", F32(3, 4, 8)), low = input(g, "low", (mien_type){.dtype = MIEN_F32}), y;
  output(g, "rows", NODE(g, "PRelu", NO_ATTRS, PRODUCT, WEIGHTS(g, 4, 1)));
  output(g, "open", NODE(g, "Clip", NO_ATTRS, PRODUCT, low));
  output(g, "crossed", NODE(g, "Clip", NO_ATTRS, PRODUCT, number(g, 1), number(g, -1)));
  output(g, "twice", NODE(g, "Tanh", NO_ATTRS, NODE(g, "Relu", NO_ATTRS, PRODUCT)));
  y = PRODUCT;
  output(g, "read", y);
  output(g, "relu", NODE(g, "Relu", NO_ATTRS, y));
  y = NODE(g, "Relu", NO_ATTRS, PRODUCT);
  output(g, "late", NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 6))); /* no bias any more */
}
static void no_activations(void **state) {
  (void)state;
  pass_check(build_no_activations, "= mien.Linear 6, PRelu 1, Clip 2, Tanh 1, Relu 1, Add 1");
}

static void build_residuals(mien__graph *g) {
  mien_value x = input(g, "x", F32(3, 4, 6)), r = input(g, "r", F32(3, 4, 6)), y;
#define SQUARE NODE(g, "Add", NO_ATTRS, NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 6, 6)), WEIGHTS(g, 6))
  output(g, "a", NODE(g, "Add", NO_ATTRS, SQUARE, x));
  output(g, "b", NODE(g, "Add", NO_ATTRS, r, NODE(g, "Mul", NO_ATTRS, WEIGHTS(g, 6), SQUARE)));
  output(g, "c", NODE(g, "Relu", NO_ATTRS, NODE(g, "Add", NO_ATTRS, SQUARE, r)));
  y = NODE(g, "Mul", NO_ATTRS, NODE(g, "Tanh", NO_ATTRS, SQUARE), WEIGHTS(g, 6));
  output(g, "d", NODE(g, "Add", NO_ATTRS, y, r));
  output(g, "e", NODE(g, "Add", NO_ATTRS, SQUARE, SQUARE));        /* either of them */
  output(g, "f", NODE(g, "Mul", NO_ATTRS, SQUARE, WEIGHTS(g, 6))); /* a scale alone goes into the weights */
  y = NODE(g, "Reshape", NO_ATTRS, SQUARE, INTS(g, 3, 2, 2, 6));   /* seen through where the columns stay */
  y = NODE(g, "Mul", NO_ATTRS, y, WEIGHTS(g, 6));
  output(g, "g", NODE(g, "Add", NO_ATTRS, NODE(g, "Reshape", NO_ATTRS, r, INTS(g, 3, 2, 2, 6)), y));
}
static void residuals(void **state) {
  (void)state;
  pass_check(build_residuals, "mien.Linear 8, Add 0, Mul 0, Relu 0");
}

static void build_no_residuals(mien__graph *g) {
  mien_value x = input(g, "x", F32(1, 4, 6)), r = input(g, "r", F32(3, 4, 6)), row = input(g, "row", F32(6)), y;
  output(g, "wider", NODE(g, "Add", NO_ATTRS, SQUARE, r)); /* the product broadcasts */
  output(g, "row", NODE(g, "Add", NO_ATTRS, SQUARE, row));
  y = SQUARE;
  output(g, "self", NODE(g, "Add", NO_ATTRS, y, y));
  y = NODE(g, "Add", NO_ATTRS, SQUARE, x);
  output(g, "twice", NODE(g, "Add", NO_ATTRS, y, NODE(g, "Neg", NO_ATTRS, x))); /* one residual is there */
  y = NODE(g, "Reshape", NO_ATTRS, SQUARE, INTS(g, 1, 6, 4));                   /* moves the columns */
  output(g, "moved", NODE(g, "Mul", NO_ATTRS, y, WEIGHTS(g, 4)));
}
static void no_residuals(void **state) {
  (void)state;
  pass_check(build_no_residuals, "mien.Linear 5, Add 4, Mul 1");
}

static void build_shared_weights(mien__graph *g) {
  mien_value x = input(g, "x", F32(4, 6)), w = WEIGHTS(g, 6, 6), y;
  y = NODE(g, "MatMul", NO_ATTRS, x, w);
  output(g, "a", NODE(g, "Mul", NO_ATTRS, y, WEIGHTS(g, 6))); /* scaled, w would be stored twice */
  output(g, "b", NODE(g, "MatMul", NO_ATTRS, NODE(g, "Neg", NO_ATTRS, x), w));
}
static void shared_weights(void **state) {
  (void)state;
  pass_check(build_shared_weights, "= mien.Linear 2, Mul 1, Neg 1");
}

/* ---------------------------------------------------------------- convolutions */

static void build_convs(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 4, 9, 7)), y;
  y = NODE(g, "Conv", ATTRS(KERNEL(3, 3), PADS(1, 1, 1, 1)), x, WEIGHTS(g, 6, 4, 3, 3));
  y = NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, 6, 1, 1));
  output(g, "a", NODE(g, "PRelu", NO_ATTRS, y, WEIGHTS(g, 1, 6, 1, 1)));
  y = NODE(g, "Conv", ATTRS(INT("group", 2), LIST("strides", 2, 1), PADS(0, 1, 1, 0)), x, WEIGHTS(g, 6, 2, 3, 2),
           WEIGHTS(g, 6));
  output(g, "b", NODE(g, "Mul", NO_ATTRS, y, WEIGHTS(g, 6, 1, 1)));
  y = NODE(g, "Conv", ATTRS(TEXT("auto_pad", "SAME_LOWER"), LIST("strides", 2, 2)), x, WEIGHTS(g, 3, 4, 4, 3));
  output(g, "c", y);
  y = NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), x, WEIGHTS(g, 4, 4, 3, 3));
  output(g, "d", NODE(g, "Relu", NO_ATTRS, NODE(g, "Add", NO_ATTRS, x, y)));
}
static void convs(void **state) {
  (void)state;
  pass_check(build_convs, "mien.Conv 4, Conv 0, Add 0, Mul 0, PRelu 0, Relu 0");
}

static mien_value norm(mien__graph *g, mien_value x, int64_t c) {
  return NODE(g, "BatchNormalization", NO_ATTRS, x, POSITIVE(g, c), WEIGHTS(g, c), WEIGHTS(g, c), POSITIVE(g, c));
}

static void build_norms(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 4, 6, 5)), line = input(g, "line", F32(2, 6, 8)), y;
  y = NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 6, 4, 1, 1), WEIGHTS(g, 6));
  output(g, "after", NODE(g, "Relu", NO_ATTRS, norm(g, y, 6)));
  y = NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), norm(g, x, 4), WEIGHTS(g, 6, 4, 3, 3), WEIGHTS(g, 6));
  output(g, "before", norm(g, y, 6));
  y = NODE(g, "Conv", ATTRS(INT("group", 2), PADS(2, 0, 0, 1)), norm(g, NODE(g, "Neg", NO_ATTRS, x), 4),
           WEIGHTS(g, 6, 2, 3, 2));
  output(g, "grouped", y);
  y = NODE(g, "Conv", ATTRS(INT("group", 6), PADS(1, 1)), norm(g, line, 6), WEIGHTS(g, 12, 1, 3));
  output(g, "depthwise", y);
  y = NODE(g, "MatMul", NO_ATTRS, input(g, "row", F32(2, 5)), WEIGHTS(g, 5, 7));
  output(g, "row", norm(g, y, 7));
}
static void norms(void **state) {
  (void)state;
  pass_check(build_norms, "mien.Conv 4, mien.Linear 1, BatchNormalization 0");
}

static void build_no_norms(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 4, 6, 5)), y, zero;
  zero = constant(g, NULL, F32(4), (float[]){1, 0, 2, 3}); /* nothing shifts to 0 where the scale is 0 */
  y = NODE(g, "BatchNormalization", NO_ATTRS, x, zero, WEIGHTS(g, 4), WEIGHTS(g, 4), POSITIVE(g, 4));
  output(g, "zero", NODE(g, "Conv", ATTRS(PADS(0, 0, 1, 1)), y, WEIGHTS(g, 6, 4, 2, 2)));
  y = norm(g, x, 4);
  output(g, "norm", y);
  output(g, "read", NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 1, 1)));
  y = NODE(g, "MatMul", NO_ATTRS, input(g, "rows", F32(2, 5, 4)), WEIGHTS(g, 4, 5)); /* channels are not the columns */
  output(g, "axis", norm(g, y, 5));
  y = NODE(g, "BatchNormalization", NO_ATTRS, NODE(g, "Neg", NO_ATTRS, x), input(g, "scale", F32(4)), WEIGHTS(g, 4),
           WEIGHTS(g, 4), POSITIVE(g, 4));
  output(g, "open", NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 1, 1)));
  y = NODE(g, "BatchNormalization", NO_ATTRS, NODE(g, "Abs", NO_ATTRS, x), zero, WEIGHTS(g, 4), WEIGHTS(g, 4),
           POSITIVE(g, 4));
  output(g, "unpadded", NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 2, 2))); /* folds all the same */
}
static void no_norms(void **state) {
  (void)state;
  pass_check(build_no_norms, "BatchNormalization 4, mien.Conv 4");
}

static void build_pixels(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), 4)), y;
  y = NODE(g, "Unsqueeze", NO_ATTRS, x, INTS(g, 2, 3));
  y = NODE(g, "Relu", NO_ATTRS, NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 1, 1), WEIGHTS(g, 6)));
  output(g, "y", NODE(g, "Flatten", NO_ATTRS, y));
  y = NODE(g, "Unsqueeze", NO_ATTRS, NODE(g, "Neg", NO_ATTRS, x), INTS(g, 2, 3));
  y = NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1), LIST("strides", 3, 3)), y, WEIGHTS(g, 6, 4, 1, 1), WEIGHTS(g, 6));
  output(g, "border", y); /* sees the padding only */
}
static void pixels(void **state) {
  (void)state;
  pass_check(build_pixels, "mien.Linear 1, mien.Conv 1, Relu 0");
}

static void build_no_convs(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 4, 6, 5)), y;
  output(g, "open", NODE(g, "Conv", NO_ATTRS, x, input(g, "w", F32(6, 4, 1, 1))));
  y = input(g, "d", type_of(MIEN_F64, 3, (int64_t[]){1, 1, 4}));
  output(g, "double",
         NODE(g, "Conv", NO_ATTRS, y, constant(g, NULL, type_of(MIEN_F64, 3, (int64_t[]){1, 1, 2}), (double[]){1, 2})));
}
static void no_convs(void **state) {
  (void)state;
  pass_check(build_no_convs, "= Conv 2");
}

/* ---------------------------------------------------------------- scales before a product */

static void build_scales_before(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 4, 5, 5)), row = input(g, "row", F32(3, 8)), y;
  y = NODE(g, "Mul", NO_ATTRS, NODE(g, "Exp", NO_ATTRS, x), number(g, 2));
  output(g, "number", NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), y, WEIGHTS(g, 6, 4, 3, 3), WEIGHTS(g, 6)));
  y = NODE(g, "Mul", NO_ATTRS, WEIGHTS(g, 4, 1, 1), x);
  output(g, "channels", NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 1, 1)));
  y = NODE(g, "Mul", NO_ATTRS, x, WEIGHTS(g, 1, 1, 1, 1));
  output(g, "groups", NODE(g, "Conv", ATTRS(INT("group", 2)), y, WEIGHTS(g, 6, 2, 3, 3)));
  output(g, "columns", NODE(g, "MatMul", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, row, WEIGHTS(g, 8)), WEIGHTS(g, 8, 3)));
  y = NODE(g, "Mul", NO_ATTRS, row, WEIGHTS(g, 1, 1));
  output(g, "turned", NODE(g, "Gemm", ATTRS(INT("transB", 1)), y, WEIGHTS(g, 3, 8)));
}
static void scales_before(void **state) {
  (void)state;
  pass_check(build_scales_before, "Mul 0, mien.Conv 3, mien.Linear 2");
}

static void build_no_scales_before(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 4, 5, 5)), row = input(g, "row", F32(1, 8)), y;
  y = NODE(g, "Mul", NO_ATTRS, x, WEIGHTS(g, 4, 1, 1));
  output(g, "groups", NODE(g, "Conv", ATTRS(INT("group", 2)), y, WEIGHTS(g, 6, 2, 3, 3)));
  y = NODE(g, "Mul", NO_ATTRS, x, WEIGHTS(g, 5));
  output(g, "across", NODE(g, "Conv", NO_ATTRS, y, WEIGHTS(g, 6, 4, 1, 1)));
  y = NODE(g, "Mul", NO_ATTRS, row, WEIGHTS(g, 3, 8)); /* more rows than the input has */
  output(g, "wider", NODE(g, "MatMul", NO_ATTRS, y, WEIGHTS(g, 8, 3)));
  y = NODE(g, "Mul", NO_ATTRS, NODE(g, "Exp", NO_ATTRS, row), WEIGHTS(g, 8));
  output(g, "read", y);
  output(g, "elsewhere", NODE(g, "MatMul", NO_ATTRS, y, WEIGHTS(g, 8, 3)));
}
static void no_scales_before(void **state) {
  (void)state;
  pass_check(build_no_scales_before, "Mul 4, mien.Conv 2, mien.Linear 2");
}

/* ---------------------------------------------------------------- layout */

static void build_layout(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 4, 8, 8)), a, b, y;
  a = NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), x, WEIGHTS(g, 6, 4, 3, 3));
  b = NODE(g, "MaxPool", ATTRS(KERNEL(2, 2), LIST("strides", 2, 2)), NODE(g, "Exp", NO_ATTRS, a));
  b = NODE(g, "Pad", NO_ATTRS, b, INTS(g, 0, 0, 1, 0, 0, 0, 0, 2));
  b = NODE(g, "Slice", NO_ATTRS, b, INTS(g, 1), INTS(g, 5), INTS(g, 2));
  b = NODE(g, "Concat", ATTRS(INT("axis", 1)), b, b);
  b = NODE(g, "Add", NO_ATTRS, b, WEIGHTS(g, 12, 1, 1));
  y = NODE(g, "Conv", NO_ATTRS, b, WEIGHTS(g, 5, 12, 1, 1));
  y = NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 2, 5, -1));
  output(g, "tokens", NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1)), y)); /* channels last as they are */
}
static void layout(void **state) {
  (void)state;
  pass_check(build_layout, "mien.Conv 2, mien.Pool 1, Transpose 1, MaxPool 0");
}

/* Only what is large, read once and not padded by other numbers. */
static mien_value pass_depthwise(mien__graph *g, mien_value z, int64_t channels, int64_t stride) {
  return NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1), INT("group", channels), LIST("strides", stride, stride)), z,
              WEIGHTS(g, channels, 1, 3, 3));
}
static void build_expansion(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 64, 64)), small = input(g, "small", F32(1, 5, 24, 24)), z;
  z = NODE(g, "Relu", NO_ATTRS, NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 72, 5, 1, 1), WEIGHTS(g, 72)));
  output(g, "fused", NODE(g, "Relu", NO_ATTRS, pass_depthwise(g, z, 72, 2)));
  z = NODE(g, "PRelu", NO_ATTRS, NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 64, 5, 1, 1)), WEIGHTS(g, 64, 1, 1));
  output(g, "panels", NODE(g, "PRelu", NO_ATTRS, pass_depthwise(g, z, 64, 1), WEIGHTS(g, 64, 1, 1)));
  z = NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 72, 5, 1, 1));
  output(g, "read", z);
  output(g, "elsewhere", pass_depthwise(g, z, 72, 1));
  z = NODE(g, "Conv", ATTRS(PADS(1, 0, 1, 0)), x, WEIGHTS(g, 72, 5, 3, 1));
  output(g, "three", pass_depthwise(g, z, 72, 1));
  z = NODE(g, "Conv", NO_ATTRS, small, WEIGHTS(g, 72, 5, 1, 1));
  output(g, "near", pass_depthwise(g, z, 72, 1));
  z = NODE(g, "Conv", NO_ATTRS, x, WEIGHTS(g, 72, 5, 1, 1));
  output(g, "holes", pass_depthwise(g, z, 72, 4));
}
static void expansion(void **state) {
  (void)state;
  pass_check(build_expansion, "mien.ExpandConv 2, mien.Conv 8");
}

/* Reductions of what a convolution makes: over channels last where the axes that are left stand in the same order. */
static mien_value pass_map(mien__graph *g, mien_value x) {
  return NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), x, WEIGHTS(g, 5, 3, 3, 3));
}
static void build_reductions(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3, 6, 7)), y;
  y = NODE(g, "ReduceMean", ATTRS(INT("keepdims", 0), LIST("axes", 2, 3)), pass_map(g, x));
  output(g, "a", NODE(g, "MatMul", NO_ATTRS, y, WEIGHTS(g, 5, 4)));
  y = NODE(g, "GlobalAveragePool", NO_ATTRS, pass_map(g, x));
  output(g, "b", NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 2, 5)));
  output(g, "c", NODE(g, "ReduceMax", ATTRS(INT("keepdims", 0), LIST("axes", -3)), pass_map(g, x)));
  output(g, "d", NODE(g, "ReduceSum", NO_ATTRS, pass_map(g, x), INTS(g, 1, 3, 2)));
  output(g, "e", NODE(g, "ReduceL2", ATTRS(INT("keepdims", 0), LIST("axes", 0, 1)), pass_map(g, x)));
}
static void reductions(void **state) {
  (void)state;
  pass_check(build_reductions, "= mien.Conv 5, mien.Linear 1, ReduceMean 2, ReduceMax 1, ReduceSum 1, ReduceL2 1, "
                               "Reshape 1, Transpose 1, GlobalAveragePool 0");
}
static void build_kept_reductions(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 3, 6, 7)), y;
  output(g, "height",
         NODE(g, "ReduceMin", ATTRS(INT("keepdims", 0), LIST("axes", 2)), pass_map(g, x))); /* N, C, W is left */
  output(g, "all", NODE(g, "ReduceMax", ATTRS(INT("keepdims", 0)), pass_map(g, x)));        /* axes are not said */
  y = NODE(g, "GlobalAveragePool", NO_ATTRS, x);                                            /* of channels first */
  output(g, "plain", y);
}
static void kept_reductions(void **state) {
  (void)state;
  pass_check(build_kept_reductions,
             "mien.Conv 2, ReduceMin 1, ReduceMax 1, GlobalAveragePool 1, ReduceMean 0, Transpose 3");
}

/* ---------------------------------------------------------------- weights in panels */

/* Ranks of the weights of nodes of `op`: how many have `rank`. */
static int count_rank(const mien__graph *g, const char *op, int rank) {
  int count = 0;
  char name[64];
  for (int32_t i = 0; i < g->node_count; i++) {
    const mien__gnode *n = g->nodes[i];
    if (n->state != MIEN__NODE_LIVE || strcmp(mien__op_text(n->n.record, name, sizeof name), op) != 0) continue;
    count += mien__value_at(g, n->in[1])->v.tensor.type.rank == rank;
  }
  return count;
}

static void build_panels(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, 5, 8)), map = input(g, "map", F32(2, 4, 6, 7)), w = WEIGHTS(g, 8, 32), y;
  mien_value indices[3] = {INTS(g, 0), INTS(g, 2), INTS(g, 1)};
  output(g, "a", NODE(g, "MatMul", NO_ATTRS, x, w));
  output(g, "b", NODE(g, "MatMul", NO_ATTRS, NODE(g, "Exp", NO_ATTRS, x), w)); /* both read one constant */
  y = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 10, 8));
  output(g, "c", NODE(g, "Gemm", ATTRS(INT("transB", 1)), y, WEIGHTS(g, 64, 8), WEIGHTS(g, 64)));
  output(g, "d", NODE(g, "Conv", ATTRS(PADS(1, 1, 1, 1)), map, WEIGHTS(g, 32, 4, 3, 3), WEIGHTS(g, 32)));
  output(g, "e", NODE(g, "Conv", ATTRS(LIST("strides", 2, 1)), map, WEIGHTS(g, 64, 4, 2, 3)));
  /* And these stay: 24 columns, two groups, read by something else, an output of the model. */
  output(g, "f", NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 24)));
  output(g, "g", NODE(g, "Conv", ATTRS(INT("group", 2)), map, WEIGHTS(g, 32, 2, 3, 3)));
  w = WEIGHTS(g, 8, 32);
  output(g, "h", NODE(g, "MatMul", NO_ATTRS, x, w));
  output(g, "i", NODE(g, "Sub", NO_ATTRS, w, input(g, "v", F32(8, 32))));
  w = WEIGHTS(g, 8, 32);
  output(g, "j", NODE(g, "MatMul", NO_ATTRS, x, w));
  output(g, "k", w);
  w = WEIGHTS(g, 32, 32); /* weights and residual at once */
  y = NODE(g, "MatMul", NO_ATTRS, NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, 8, 32)), w);
  output(g, "l", NODE(g, "Slice", NO_ATTRS, y, indices[0], indices[1], indices[2]));
}
static void panels(void **state) {
  (void)state;
  mien__graph *g = pass_build(build_panels);
  pass_apply(g, NULL);
  assert_int_equal(count_rank(g, "mien.Linear", 3), 5);
  assert_int_equal(count_rank(g, "mien.Linear", 2), 3);
  assert_int_equal(count_rank(g, "mien.Conv", 5), 2);
  assert_int_equal(count_rank(g, "mien.Conv", 4), 1);
  mien_env *env = g->env;
  mien__graph_destroy(g);
  mien_env_destroy(env);
  pass_check(build_panels, "MatMul 0, Gemm 0, Conv 0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reductions),   cmocka_unit_test(kept_reductions), cmocka_unit_test(panels),
      cmocka_unit_test(linears),      cmocka_unit_test(no_linears),      cmocka_unit_test(no_bias),
      cmocka_unit_test(merged_rows),  cmocka_unit_test(scales_before),   cmocka_unit_test(no_scales_before),
      cmocka_unit_test(activations),  cmocka_unit_test(no_activations),  cmocka_unit_test(residuals),
      cmocka_unit_test(no_residuals), cmocka_unit_test(shared_weights),  cmocka_unit_test(convs),
      cmocka_unit_test(norms),        cmocka_unit_test(no_norms),        cmocka_unit_test(pixels),
      cmocka_unit_test(no_convs),     cmocka_unit_test(layout),          cmocka_unit_test(expansion),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
