/* LpPool: the p-norm of every window.  ai.onnx 18 (ceil_mode, dilations), 2 (p an integer). */
#include "ops/pool.h"

#define pool_lp_INIT(D) 0
#define pool_lp_STEP(s, a, v) ((a) + ((s)->p == 1 ? fabs(v) : (s)->p == 2 ? (v) * (v) : pow(fabs(v), (s)->p)))
#define pool_lp_DONE(s, a, valid, counted) ((s)->p == 1 ? (a) : (s)->p == 2 ? sqrt(a) : pow((a), 1 / (s)->p))
#define LPPOOL_ROWS(D, T, C, K, ...) POOL(D, T, C, K, pool_lp, double)
MIEN_FLOATS(LPPOOL_ROWS, 0)

#define LPPOOL_18 (MIEN_WINDOW_AUTO_PAD | MIEN_WINDOW_CEIL_MODE | MIEN_WINDOW_DILATIONS)

static mien_status lppool_infer_2(mien_node *n) { return pool_type(n, false, MIEN_WINDOW_AUTO_PAD); }
static mien_status lppool_infer_18(mien_node *n) { return pool_type(n, false, LPPOOL_18); }

static mien_status lppool_set(mien_node *n, uint32_t has) {
  pool_state *s = mien_state(n);
  s->p = (double)mien_attr_i(n, "p");
  if (s->p < 1) return mien_fail(n, MIEN_INVALID_MODEL, "p is %g, expected >= 1", s->p);
  return pool_set(n, s, false, has);
}
static mien_status lppool_prepare_2(mien_node *n) { return lppool_set(n, MIEN_WINDOW_AUTO_PAD); }
static mien_status lppool_prepare_18(mien_node *n) { return lppool_set(n, LPPOOL_18); }

#define LPPOOL_RUN(D, ...)                                                                  \
  static mien_status lppool_##D(mien_node *n, int64_t begin, int64_t end) {                 \
    pool_lp_rows_##D(mien_state(n), mien_in(n, 0)->data, mien_out(n, 0)->data, begin, end); \
    return MIEN_OK;                                                                         \
  }
MIEN_FLOATS(LPPOOL_RUN, 0)
MIEN_KERNELS(lppool, MIEN_FLOATS)

#define LPPOOL_ATTRS                                                                                         \
  {.name = "auto_pad", .kind = 's', .s = "NOTSET"}, {.name = "kernel_shape", .kind = 'I', .required = true}, \
      {.name = "pads", .kind = 'I'}, {.name = "strides", .kind = 'I'}, {                                     \
    .name = "p", .kind = 'i', .i = 2                                                                         \
  }
static const mien_attr lppool_attrs_2[] = {LPPOOL_ATTRS, {.name = NULL}};
static const mien_attr lppool_attrs_18[] = {
    LPPOOL_ATTRS, {.name = "ceil_mode", .kind = 'i'}, {.name = "dilations", .kind = 'I'}, {.name = NULL}};

#define LPPOOL                                                                                         \
  .name = "LpPool", .signature = "X:T -> Y:T", .kernels = lppool_kernels, .state = sizeof(pool_state), \
  .doc = "the p-norm of every window"

const mien_op mien_ops_LpPool[] = {
    {LPPOOL, .since = 2, .until = 17, .attrs = lppool_attrs_2, .infer = lppool_infer_2, .prepare = lppool_prepare_2},
    {LPPOOL, .since = 18, .attrs = lppool_attrs_18, .infer = lppool_infer_18, .prepare = lppool_prepare_18},
    {.name = NULL},
};
