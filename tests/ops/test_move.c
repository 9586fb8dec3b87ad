/* Operators that move elements, against index formulas: every element size, any split of the work, empty dimensions. */
#include "op_test.h"

/* One type for each element size. */
static const int32_t sizes[] = {MIEN_U8, MIEN_F16, MIEN_F32, MIEN_I64, MIEN_C128};
#define SIZES ((int)(sizeof sizes / sizeof sizes[0]))

static uint64_t seed = 88172645463325252u;

static int pick(int low, int high) { return low + (int)op_random(&seed, 0, high - low + 0.999999); }

static void in_random(op_call *c, int32_t dtype, int rank, const int64_t *dims) {
  unsigned char *data = op_in(c, dtype, rank, dims, NULL);
  const mien_tensor *t = &c->in[c->in_count - 1];
  for (size_t i = 0; i < t->bytes; i++) data[i] = (unsigned char)pick(0, 255);
}

static void in_ints(op_call *c, int64_t count, const int64_t *values) { op_in(c, MIEN_I64, 1, OP_DIMS(count), values); }

static void random_dims(int rank, int64_t *dims) {
  for (int i = 0; i < rank; i++) dims[i] = pick(0, 12) == 0 ? 0 : pick(0, 3) == 0 ? 1 : pick(1, 19 / rank + 1);
}

static void unravel(const mien_type *t, int64_t at, int64_t *index) {
  for (int i = t->rank - 1; i >= 0; i--) {
    index[i] = at % t->dim[i];
    at /= t->dim[i];
  }
}

static int64_t ravel(const mien_type *t, const int64_t *index) {
  int64_t at = 0;
  for (int i = 0; i < t->rank; i++) at = at * t->dim[i] + index[i];
  return at;
}

static void expect_dims(const mien_tensor *t, int rank, const int64_t *dims) {
  assert_int_equal(t->type.rank, rank);
  for (int i = 0; i < rank; i++) assert_int_equal(t->type.dim[i], dims[i]);
}

/* Where an output element comes from: an input and an index into it; -1: from nowhere, zero bytes. */
typedef int source_fn(const op_call *c, int out, const int64_t *at, int64_t *from);

static void expect_sources(const op_call *c, source_fn *source) {
  static const char zero[16];
  for (int k = 0; k < c->out_count; k++) {
    const mien_tensor *y = &c->out[k];
    size_t size = mien_dtype_bytes(y->type.dtype);
    for (int64_t i = 0; i < mien_count(&y->type); i++) {
      int64_t at[MIEN_MAX_RANK] = {0}, from[MIEN_MAX_RANK] = {0};
      unravel(&y->type, i, at);
      int input = source(c, k, at, from);
      const char *want = zero;
      if (input >= 0) want = (const char *)c->in[input].data + (size_t)ravel(&c->in[input].type, from) * size;
      assert_memory_equal((const char *)y->data + (size_t)i * size, want, size);
    }
  }
}

static void run_all(mien_env *env, op_call *c, source_fn *source) {
  for (c->piece = 0; c->piece <= 7; c->piece = c->piece ? c->piece + 6 : 1) {
    op_run_ok(env, c);
    expect_sources(c, source);
  }
}

/* ---- Transpose */

static int transpose_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  for (int i = 0; i < c->in[0].type.rank; i++) from[c->attrs[0].ints[i]] = at[i];
  return 0;
}

static void test_transpose(void **state) {
  for (int round = 0; round < 400; round++) {
    op_call c = {.name = "Transpose", .version = pick(0, 1) ? 13 : 1};
    int rank = pick(1, 6);
    int64_t dims[6], perm[6];
    random_dims(rank, dims);
    for (int i = 0; i < rank; i++) perm[i] = i;
    for (int i = rank - 1; i > 0; i--) {
      int k = pick(0, i);
      int64_t t = perm[i];
      perm[i] = perm[k];
      perm[k] = t;
    }
    in_random(&c, sizes[round % SIZES], rank, dims);
    op_attr_ints(&c, "perm", perm, rank);
    run_all(*state, &c, transpose_source);
    op_free(&c);
  }
}

/* Larger than the blocks, with remainders in both directions. */
static void test_transpose_blocks(void **state) {
  static const int64_t shapes[][3] = {{1, 100, 67}, {3, 33, 17}, {2, 16, 16}, {1, 1, 40}, {5, 7, 300},
                                      {2, 2, 77},   {1, 3, 101}, {3, 4, 65},  {2, 5, 33}};
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
    for (int d = 0; d < SIZES; d++) {
      op_call c = {.name = "Transpose", .version = 13};
      in_random(&c, sizes[d], 3, shapes[s]);
      op_attr_ints(&c, "perm", OP_DIMS(0, 2, 1), 3);
      run_all(*state, &c, transpose_source);
      op_free(&c);
      c = (op_call){.name = "Transpose", .version = 13};
      in_random(&c, sizes[d], 3, shapes[s]);
      op_attr_ints(&c, "perm", OP_DIMS(2, 1, 0), 3);
      run_all(*state, &c, transpose_source);
      op_free(&c);
    }
}

static void test_transpose_default(void **state) {
  op_call c = {.name = "Transpose", .version = 13};
  const double want[] = {1, 4, 2, 5, 3, 6};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), (const float[]){1, 2, 3, 4, 5, 6});
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(3, 2));
  op_expect(&c.out[0], want, 6, 0, 0);
  op_free(&c);
}

static void test_transpose_refuses(void **state) {
  static const int64_t bad[][2] = {{0, 0}, {0, 2}, {-1, 0}};
  for (int i = 0; i < 3; i++) {
    op_call c = {.name = "Transpose", .version = 13};
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    op_attr_ints(&c, "perm", bad[i], 2);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

/* ---- Expand, Tile */

static int expand_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  const mien_type *x = &c->in[0].type, *y = &c->out[out].type;
  for (int i = 0; i < x->rank; i++) from[i] = x->dim[i] == 1 ? 0 : at[y->rank - x->rank + i];
  return 0;
}

static void test_expand(void **state) {
  for (int round = 0; round < 200; round++) {
    op_call c = {.name = "Expand", .version = pick(0, 1) ? 8 : 13};
    int64_t full[6], x[6], shape[6];
    int rank = pick(1, 5), skip = pick(0, rank);
    random_dims(rank, full);
    for (int i = 0; i < rank; i++) {
      x[i] = pick(0, 1) ? 1 : full[i];
      shape[i] = x[i] == 1 || pick(0, 1) ? full[i] : 1;
    }
    for (int i = 0; i < skip; i++) shape[i] = full[i];
    in_random(&c, sizes[round % SIZES], rank - skip, x + skip);
    in_ints(&c, rank, shape);
    run_all(*state, &c, expand_source);
    expect_dims(&c.out[0], rank, full);
    op_free(&c);
  }
}

static int tile_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  for (int i = 0; i < c->in[0].type.rank; i++) from[i] = at[i] % c->in[0].type.dim[i];
  return 0;
}

static void test_tile(void **state) {
  for (int round = 0; round < 200; round++) {
    op_call c = {.name = "Tile", .version = 13};
    int64_t dims[4], repeats[4], want[4];
    int rank = pick(0, 4);
    random_dims(rank, dims);
    for (int i = 0; i < rank; i++) {
      repeats[i] = pick(0, 3);
      want[i] = dims[i] * repeats[i];
    }
    in_random(&c, sizes[round % SIZES], rank, dims);
    in_ints(&c, rank, repeats);
    run_all(*state, &c, tile_source);
    expect_dims(&c.out[0], rank, want);
    op_free(&c);
  }
}

/* ---- Concat, Split */

static int64_t axis_of(const op_call *c) {
  return c->attrs[0].i < 0 ? c->attrs[0].i + c->in[0].type.rank : c->attrs[0].i;
}

static int concat_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  int64_t axis = axis_of(c);
  memcpy(from, at, sizeof(int64_t) * MIEN_MAX_RANK);
  int k = 0;
  for (; from[axis] >= c->in[k].type.dim[axis]; k++) from[axis] -= c->in[k].type.dim[axis];
  return k;
}

static void test_concat(void **state) {
  for (int round = 0; round < 200; round++) {
    op_call c = {.name = "Concat", .version = pick(0, 1) ? 4 : 13};
    int64_t dims[5];
    int rank = pick(1, 5), axis = pick(0, rank - 1), count = pick(1, 5);
    random_dims(rank, dims);
    for (int k = 0; k < count; k++) {
      dims[axis] = pick(0, 4);
      in_random(&c, sizes[round % SIZES], rank, dims);
    }
    op_attr_i(&c, "axis", pick(0, 1) ? axis : axis - rank);
    run_all(*state, &c, concat_source);
    op_free(&c);
  }
}

static int split_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  int64_t axis = axis_of(c);
  memcpy(from, at, sizeof(int64_t) * MIEN_MAX_RANK);
  for (int k = 0; k < out; k++) from[axis] += c->out[k].type.dim[axis];
  return 0;
}

static void test_split(void **state) {
  for (int round = 0; round < 200; round++) {
    static const int versions[] = {2, 11, 13, 18};
    op_call c = {.name = "Split", .version = versions[pick(0, 3)], .out_count = pick(1, 5)};
    int64_t dims[5], parts[5], sum = 0;
    int rank = pick(1, 5), axis = pick(0, rank - 1), how = pick(0, 1);
    random_dims(rank, dims);
    for (int k = 0; k < c.out_count; k++) sum += parts[k] = pick(0, 4);
    dims[axis] = how ? sum : (int64_t)c.out_count * pick(0, 3);
    in_random(&c, sizes[round % SIZES], rank, dims);
    op_attr_i(&c, "axis", pick(0, 1) ? axis : axis - rank);
    if (how && c.version >= 13) in_ints(&c, c.out_count, parts);
    if (how && c.version < 13) op_attr_ints(&c, "split", parts, c.out_count);
    if (!how && c.version == 18) op_attr_i(&c, "num_outputs", c.out_count);
    run_all(*state, &c, split_source);
    for (int k = 0; k < c.out_count; k++)
      assert_int_equal(c.out[k].type.dim[axis], how ? parts[k] : dims[axis] / c.out_count);
    op_free(&c);
  }
}

static void test_split_uneven(void **state) {
  op_call c = {.name = "Split", .version = 18, .out_count = 3};
  const double last[] = {6};
  op_in(&c, MIEN_I64, 1, OP_DIMS(7), OP_DIMS(0, 1, 2, 3, 4, 5, 6));
  op_attr_i(&c, "axis", 0);
  op_attr_i(&c, "num_outputs", 3);
  op_run_ok(*state, &c);
  op_expect(&c.out[2], last, 1, 0, 0);
  op_free(&c);
}

/* What nobody reads still takes its place. */
static void test_split_unused_output(void **state) {
  op_call c = {.name = "Split", .version = 13, .out_count = 3, .unused_out = {false, true, false}};
  const double last[] = {3, 4};
  op_in(&c, MIEN_I64, 1, OP_DIMS(5), OP_DIMS(0, 1, 2, 3, 4));
  in_ints(&c, 3, OP_DIMS(1, 2, 2));
  op_run_ok(*state, &c);
  op_expect(&c.out[2], last, 2, 0, 0);
  op_free(&c);
}

static void test_split_refuses(void **state) {
  op_call c = {.name = "Split", .version = 13, .out_count = 2};
  op_in(&c, MIEN_I64, 1, OP_DIMS(5), NULL);
  in_ints(&c, 2, OP_DIMS(3, 3));
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "split sums to 6, the dimension is 5"));
  op_free(&c);
  c = (op_call){.name = "Split", .version = 13, .out_count = 2};
  op_in(&c, MIEN_I64, 1, OP_DIMS(5), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
}

/* ---- Slice: as Python's range over the dimension, bounds clamped as the operator says */

static int64_t slice_first[6], slice_step[6];

static int slice_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  for (int i = 0; i < c->in[0].type.rank; i++) from[i] = slice_first[i] + at[i] * slice_step[i];
  return 0;
}

static int64_t slice_count(int64_t d, int64_t start, int64_t end, int64_t step, int64_t *first) {
  int64_t low = 0, high = step > 0 ? d : d - 1, count = 0;
  start = start < 0 ? (start < -d ? -1 - d : start) + d : start;
  end = end < 0 ? (end < -d ? -1 - d : end) + d : end;
  *first = start < low ? low : start > high ? high : start;
  if (step > 0 && end > d) end = d;
  for (int64_t at = *first; step > 0 ? at < end : at > end && at >= 0; at += step) count++;
  return d == 0 ? 0 : count;
}

static void test_slice(void **state) {
  static const int64_t bounds[] = {0,  1,   -1,   2,         -2,        3,         -3,       7,
                                   -7, 100, -100, INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN};
  static const int64_t steps[] = {1, 1, 1, -1, 2, -2, 3, -7, 1000000};
  for (int round = 0; round < 1500; round++) {
    op_call c = {.name = "Slice", .version = pick(0, 1) ? 10 : 13};
    int64_t dims[4], starts[4], ends[4], axes[4], step[4], want[4];
    int rank = pick(1, 4), count = 0;
    random_dims(rank, dims);
    for (int i = 0; i < rank; i++) {
      slice_first[i] = 0;
      slice_step[i] = 1;
      want[i] = dims[i];
      if (pick(0, 2) == 0) continue;
      starts[count] = bounds[pick(0, 14)];
      ends[count] = bounds[pick(0, 14)];
      step[count] = steps[pick(0, 8)];
      axes[count] = pick(0, 1) ? i : i - rank;
      want[i] = slice_count(dims[i], starts[count], ends[count], step[count], &slice_first[i]);
      slice_step[i] = step[count++];
    }
    in_random(&c, sizes[round % SIZES], rank, dims);
    in_ints(&c, count, starts);
    in_ints(&c, count, ends);
    in_ints(&c, count, axes);
    in_ints(&c, count, step);
    run_all(*state, &c, slice_source);
    expect_dims(&c.out[0], rank, want);
    op_free(&c);
  }
}

static void test_slice_old(void **state) {
  op_call c = {.name = "Slice", .version = 1};
  const double want[] = {1, 2, 4, 5};
  op_in(&c, MIEN_I64, 2, OP_DIMS(2, 3), OP_DIMS(0, 1, 2, 3, 4, 5));
  op_attr_ints(&c, "starts", OP_DIMS(-2), 1);
  op_attr_ints(&c, "ends", OP_DIMS(100), 1);
  op_attr_ints(&c, "axes", OP_DIMS(1), 1);
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 4, 0, 0);
  op_free(&c);
}

static void test_slice_refuses(void **state) {
  op_call c = {.name = "Slice", .version = 13};
  op_in(&c, MIEN_I64, 1, OP_DIMS(3), NULL);
  in_ints(&c, 1, OP_DIMS(0));
  in_ints(&c, 1, OP_DIMS(3));
  in_ints(&c, 1, OP_DIMS(0));
  in_ints(&c, 1, OP_DIMS(0));
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "steps[0] is 0"));
  op_free(&c);
}

/* ---- Pad */

static const char *pad_mode;
static int64_t pad_before[4], pad_after[4];

static int pad_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  for (int i = 0; i < c->in[0].type.rank; i++) {
    int64_t d = c->in[0].type.dim[i], low = pad_before[i] < 0 ? -pad_before[i] : 0;
    int64_t high = pad_after[i] < 0 ? d + pad_after[i] : d, q = at[i] - pad_before[i];
    while (q < low || q >= high) {
      if (strcmp(pad_mode, "constant") == 0) return -1;
      if (strcmp(pad_mode, "edge") == 0)
        q = q < low ? low : high - 1;
      else if (strcmp(pad_mode, "wrap") == 0)
        q += q < low ? high - low : low - high;
      else if (high - low == 1)
        q = low;
      else
        q = q < low ? 2 * low - q : 2 * (high - 1) - q;
    }
    from[i] = q;
  }
  return 0;
}

static void test_pad(void **state) {
  static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
  for (int round = 0; round < 800; round++) {
    op_call c = {.name = "Pad", .version = 19};
    int64_t dims[4], pads[8], axes[4];
    int rank = pick(1, 4), count = 0, mode = pick(0, 3);
    pad_mode = modes[mode];
    random_dims(rank, dims);
    for (int i = 0; i < rank; i++) {
      if (dims[i] == 0 && mode) dims[i] = 2;
      pad_before[i] = pad_after[i] = 0;
      if (pick(0, 2) == 0) continue;
      pad_before[i] = pick(-2, 5);
      pad_after[i] = pick(-2, 5);
      int64_t kept = dims[i] + (pad_before[i] < 0 ? pad_before[i] : 0) + (pad_after[i] < 0 ? pad_after[i] : 0);
      if (dims[i] + pad_before[i] + pad_after[i] < 0 || (mode && kept <= 0)) pad_before[i] = pad_after[i] = 1;
      axes[count++] = i;
    }
    for (int k = 0; k < count; k++) {
      pads[k] = pad_before[axes[k]];
      pads[count + k] = pad_after[axes[k]];
      if (pick(0, 1)) axes[k] -= rank;
    }
    in_random(&c, sizes[round % SIZES], rank, dims);
    in_ints(&c, 2 * count, pads);
    op_absent(&c);
    in_ints(&c, count, axes);
    op_attr_s(&c, "mode", pad_mode);
    run_all(*state, &c, pad_source);
    op_free(&c);
  }
}

static void test_pad_value(void **state) {
  const double want[] = {9, 1, 2, 9, 9};
  op_call c = {.name = "Pad", .version = 11};
  op_in(&c, MIEN_I32, 1, OP_DIMS(2), (const int32_t[]){1, 2});
  in_ints(&c, 2, OP_DIMS(1, 2));
  op_in(&c, MIEN_I32, 0, NULL, (const int32_t[]){9});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 5, 0, 0);
  op_free(&c);
  c = (op_call){.name = "Pad", .version = 2};
  op_in(&c, MIEN_F16, 1, OP_DIMS(2), (const uint16_t[]){0x3c00, 0x4000});
  op_attr_ints(&c, "pads", OP_DIMS(1, 2), 2);
  op_attr_f(&c, "value", 9);
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 5, 0, 0);
  op_free(&c);
}

static void test_pad_refuses(void **state) {
  op_call c = {.name = "Pad", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL);
  in_ints(&c, 2, OP_DIMS(-2, -1));
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "Pad", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(0), NULL);
  in_ints(&c, 2, OP_DIMS(1, 1));
  op_attr_s(&c, "mode", "reflect");
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
}

/* ---- DepthToSpace, SpaceToDepth, Trilu, ReverseSequence */

static int depth_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  int64_t b = c->attrs[0].i, channels = c->out[out].type.dim[1];
  bool columns_first = c->attr_count > 1 && strcmp(c->attrs[1].s.data, "CRD") == 0;
  int64_t block = at[2] % b * b + at[3] % b;
  from[0] = at[0];
  from[1] = columns_first ? at[1] * b * b + block : block * channels + at[1];
  from[2] = at[2] / b;
  from[3] = at[3] / b;
  return 0;
}

static int space_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  int64_t b = c->attrs[0].i, channels = c->in[0].type.dim[1], block = at[1] / channels;
  from[0] = at[0];
  from[1] = at[1] % channels;
  from[2] = at[2] * b + block / b;
  from[3] = at[3] * b + block % b;
  return 0;
}

static void test_blocks(void **state) {
  for (int round = 0; round < 100; round++) {
    int64_t b = pick(1, 3);
    op_call c = {.name = "DepthToSpace", .version = 13};
    in_random(&c, sizes[round % SIZES], 4, OP_DIMS(pick(0, 2), b * b * pick(1, 3), pick(1, 4), pick(1, 5)));
    op_attr_i(&c, "blocksize", b);
    if (pick(0, 2)) op_attr_s(&c, "mode", pick(0, 1) ? "CRD" : "DCR");
    run_all(*state, &c, depth_source);
    op_free(&c);
    c = (op_call){.name = "SpaceToDepth", .version = 13};
    in_random(&c, sizes[round % SIZES], 4, OP_DIMS(pick(0, 2), pick(1, 3), b * pick(1, 4), b * pick(1, 5)));
    op_attr_i(&c, "blocksize", b);
    run_all(*state, &c, space_source);
    op_free(&c);
  }
}

static int trilu_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  int rank = c->out[out].type.rank;
  int64_t k = c->in_count > 1 ? *(const int64_t *)c->in[1].data : 0, over = at[rank - 1] - at[rank - 2];
  memcpy(from, at, sizeof(int64_t) * MIEN_MAX_RANK);
  return (c->attrs[0].i ? over >= k : over <= k) ? 0 : -1;
}

static void test_trilu(void **state) {
  for (int round = 0; round < 200; round++) {
    op_call c = {.name = "Trilu", .version = 14};
    int64_t dims[4], k = pick(0, 9) ? pick(-6, 6) : pick(0, 1) ? INT64_MAX : INT64_MIN;
    int rank = pick(2, 4);
    random_dims(rank, dims);
    in_random(&c, sizes[round % SIZES], rank, dims);
    if (pick(0, 2)) op_in(&c, MIEN_I64, 0, NULL, &k);
    op_attr_i(&c, "upper", pick(0, 1));
    run_all(*state, &c, trilu_source);
    op_free(&c);
  }
}

static int reverse_source(const op_call *c, int out, const int64_t *at, int64_t *from) {
  (void)out;
  int batch = (int)c->attrs[0].i, time = (int)c->attrs[1].i;
  int64_t length = ((const int64_t *)c->in[1].data)[at[batch]];
  memcpy(from, at, sizeof(int64_t) * MIEN_MAX_RANK);
  if (at[time] < length) from[time] = length - 1 - at[time];
  return 0;
}

static void test_reverse_sequence(void **state) {
  for (int round = 0; round < 100; round++) {
    op_call c = {.name = "ReverseSequence", .version = 10};
    int64_t dims[3] = {pick(1, 5), pick(1, 5), pick(0, 3)}, lengths[5];
    int batch = pick(0, 1);
    for (int i = 0; i < dims[batch]; i++) lengths[i] = pick(0, (int)dims[1 - batch]);
    in_random(&c, sizes[round % SIZES], pick(2, 3), dims);
    in_ints(&c, dims[batch], lengths);
    op_attr_i(&c, "batch_axis", batch);
    op_attr_i(&c, "time_axis", 1 - batch);
    run_all(*state, &c, reverse_source);
    op_free(&c);
  }
}

/* Handles of strings move like any element of 16 bytes. */
static void test_strings(void **state) {
  const mien_string words[] = {{"ab", 2}, {"c", 1}, {"", 0}, {"defg", 4}};
  op_call c = {.name = "Gather", .version = 13};
  op_in(&c, MIEN_STRING, 1, OP_DIMS(4), words);
  op_in(&c, MIEN_I64, 1, OP_DIMS(2), OP_DIMS(-1, 0));
  op_run_ok(*state, &c);
  assert_memory_equal(((const mien_string *)c.out[0].data)[0].data, "defg", 4);
  assert_memory_equal(((const mien_string *)c.out[0].data)[1].data, "ab", 2);
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_transpose),
      cmocka_unit_test(test_transpose_blocks),
      cmocka_unit_test(test_transpose_default),
      cmocka_unit_test(test_transpose_refuses),
      cmocka_unit_test(test_expand),
      cmocka_unit_test(test_tile),
      cmocka_unit_test(test_concat),
      cmocka_unit_test(test_split),
      cmocka_unit_test(test_split_uneven),
      cmocka_unit_test(test_split_unused_output),
      cmocka_unit_test(test_split_refuses),
      cmocka_unit_test(test_slice),
      cmocka_unit_test(test_slice_old),
      cmocka_unit_test(test_slice_refuses),
      cmocka_unit_test(test_pad),
      cmocka_unit_test(test_pad_value),
      cmocka_unit_test(test_pad_refuses),
      cmocka_unit_test(test_blocks),
      cmocka_unit_test(test_trilu),
      cmocka_unit_test(test_reverse_sequence),
      cmocka_unit_test(test_strings),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
