/* AveragePool: the mean of every window.  ai.onnx 19 (dilations), 10 (ceil_mode), 7 (count_include_pad), 1.
** The divisor is the number of elements in the input; with count_include_pad, of those in it and its padding. What a
** last window covers beyond the padding (ceil_mode) is never counted. */
#include "ops/pool.h"

#define AVERAGEPOOL_ROWS(D, T, C, K, ...) POOL(D, T, C, K, pool_average, C)
MIEN_FLOATS(AVERAGEPOOL_ROWS, 0)

#define AVERAGEPOOL_10 (MIEN_WINDOW_AUTO_PAD | MIEN_WINDOW_CEIL_MODE)
#define AVERAGEPOOL_19 (AVERAGEPOOL_10 | MIEN_WINDOW_DILATIONS)

static mien_status averagepool_infer_1(mien_node *n) { return pool_type(n, false, MIEN_WINDOW_AUTO_PAD); }
static mien_status averagepool_infer_10(mien_node *n) { return pool_type(n, false, AVERAGEPOOL_10); }
static mien_status averagepool_infer_19(mien_node *n) { return pool_type(n, false, AVERAGEPOOL_19); }

static mien_status averagepool_set(mien_node *n, uint32_t has) {
  pool_state *s = mien_state(n);
  s->include_pad = mien_attr_i(n, "count_include_pad") != 0;
  return pool_set(n, s, false, has);
}

static mien_status averagepool_prepare_1(mien_node *n) {
  return pool_set(n, mien_state(n), false, MIEN_WINDOW_AUTO_PAD);
}
static mien_status averagepool_prepare_7(mien_node *n) { return averagepool_set(n, MIEN_WINDOW_AUTO_PAD); }
static mien_status averagepool_prepare_10(mien_node *n) { return averagepool_set(n, AVERAGEPOOL_10); }
static mien_status averagepool_prepare_19(mien_node *n) { return averagepool_set(n, AVERAGEPOOL_19); }

#define AVERAGEPOOL_RUN(D, ...)                                                                  \
  static mien_status averagepool_##D(mien_node *n, int64_t begin, int64_t end) {                 \
    pool_average_rows_##D(mien_state(n), mien_in(n, 0)->data, mien_out(n, 0)->data, begin, end); \
    return MIEN_OK;                                                                              \
  }
MIEN_FLOATS(AVERAGEPOOL_RUN, 0)
MIEN_KERNELS(averagepool, MIEN_FLOATS)

#define AVERAGEPOOL_ATTRS                                                                                    \
  {.name = "auto_pad", .kind = 's', .s = "NOTSET"}, {.name = "kernel_shape", .kind = 'I', .required = true}, \
      {.name = "pads", .kind = 'I'}, {                                                                       \
    .name = "strides", .kind = 'I'                                                                           \
  }
static const mien_attr averagepool_attrs_1[] = {AVERAGEPOOL_ATTRS, {.name = NULL}};
static const mien_attr averagepool_attrs_7[] = {
    AVERAGEPOOL_ATTRS, {.name = "count_include_pad", .kind = 'i'}, {.name = NULL}};
static const mien_attr averagepool_attrs_10[] = {
    AVERAGEPOOL_ATTRS, {.name = "count_include_pad", .kind = 'i'}, {.name = "ceil_mode", .kind = 'i'}, {.name = NULL}};
static const mien_attr averagepool_attrs_19[] = {AVERAGEPOOL_ATTRS,
                                                 {.name = "count_include_pad", .kind = 'i'},
                                                 {.name = "ceil_mode", .kind = 'i'},
                                                 {.name = "dilations", .kind = 'I'},
                                                 {.name = NULL}};

#define AVERAGEPOOL                                                                                              \
  .name = "AveragePool", .signature = "X:T -> Y:T", .kernels = averagepool_kernels, .state = sizeof(pool_state), \
  .doc = "the mean of every window"

const mien_op mien_ops_AveragePool[] = {
    {AVERAGEPOOL, .since = 1, .until = 6, .attrs = averagepool_attrs_1, .infer = averagepool_infer_1,
     .prepare = averagepool_prepare_1},
    {AVERAGEPOOL, .since = 7, .until = 9, .attrs = averagepool_attrs_7, .infer = averagepool_infer_1,
     .prepare = averagepool_prepare_7},
    {AVERAGEPOOL, .since = 10, .until = 18, .attrs = averagepool_attrs_10, .infer = averagepool_infer_10,
     .prepare = averagepool_prepare_10},
    {AVERAGEPOOL, .since = 19, .attrs = averagepool_attrs_19, .infer = averagepool_infer_19,
     .prepare = averagepool_prepare_19},
    {.name = NULL},
};
