/* Where: Z[i] = C[i] ? X[i] : Y[i], stretched to one shape.  ai.onnx 16, 9.
** Elements are moved, not computed on: any type, by its size. */
#include "ops/broadcast.h"

/* may_alias: the elements are floats, integers or strings to everybody else. */
typedef uint8_t __attribute__((may_alias)) where_1;
typedef uint16_t __attribute__((may_alias)) where_2;
typedef uint32_t __attribute__((may_alias)) where_4;
typedef uint64_t __attribute__((may_alias)) where_8;
typedef struct {
  uint64_t half[2];
} __attribute__((may_alias)) where_16;

/* Both sides are loaded, so that the choice is a blend and no jump. */
#define WHERE_ROW(T)                                                                                          \
  static void where_row_##T(const uint8_t *c, int64_t step_c, const void *xs, int64_t step_x, const void *ys, \
                            int64_t step_y, void *zs, int64_t count) {                                        \
    const T *x = xs, *y = ys;                                                                                 \
    T *z = zs;                                                                                                \
    if (step_c == 0) {                                                                                        \
      const T *from = *c ? x : y;                                                                             \
      const int64_t step = *c ? step_x : step_y;                                                              \
      for (int64_t i = 0; i < count; i++) z[i] = from[i * step];                                              \
    } else if (step_x && step_y) {                                                                            \
      MIEN_INDEPENDENT                                                                                        \
      for (int64_t i = 0; i < count; i++) {                                                                   \
        const T a = x[i], b = y[i];                                                                           \
        z[i] = c[i] ? a : b;                                                                                  \
      }                                                                                                       \
    } else {                                                                                                  \
      for (int64_t i = 0; i < count; i++) {                                                                   \
        const T a = x[i * step_x], b = y[i * step_y];                                                         \
        z[i] = c[i] ? a : b;                                                                                  \
      }                                                                                                       \
    }                                                                                                         \
  }
WHERE_ROW(where_1)
WHERE_ROW(where_2)
WHERE_ROW(where_4)
WHERE_ROW(where_8)
WHERE_ROW(where_16)

static mien_status where_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_broadcast *b = mien_state(n);
  const mien_tensor *c = mien_in(n, 0), *x = mien_in(n, 1), *y = mien_in(n, 2), *z = mien_out(n, 0);
  const size_t bytes = mien_dtype_bytes(x->type.dtype);
  const int inner = b->rank - 1;
  mien_walk w;
  if (begin >= end) return MIEN_OK;
  mien_walk_start(b, 3, &w, begin);
  for (int64_t i = begin, count; i < end; i += count) {
    const uint8_t *at_c = (const uint8_t *)c->data + mien_walk_at(b, &w, 0);
    const char *at_x = (const char *)x->data + (size_t)mien_walk_at(b, &w, 1) * bytes;
    const char *at_y = (const char *)y->data + (size_t)mien_walk_at(b, &w, 2) * bytes;
    char *at_z = (char *)z->data + (size_t)i * bytes;
    const int64_t step_c = b->stride[0][inner], step_x = b->stride[1][inner], step_y = b->stride[2][inner];
    count = mien_walk_length(b, &w, end - i);
    switch (bytes) {
      case 1: where_row_where_1(at_c, step_c, at_x, step_x, at_y, step_y, at_z, count); break;
      case 2: where_row_where_2(at_c, step_c, at_x, step_x, at_y, step_y, at_z, count); break;
      case 4: where_row_where_4(at_c, step_c, at_x, step_x, at_y, step_y, at_z, count); break;
      case 8: where_row_where_8(at_c, step_c, at_x, step_x, at_y, step_y, at_z, count); break;
      default: where_row_where_16(at_c, step_c, at_x, step_x, at_y, step_y, at_z, count); break;
    }
    mien_walk_advance(b, 3, &w, count);
  }
  return MIEN_OK;
}

static const mien_kernel where_kernels[] = {{MIEN_ANY, where_run}, {MIEN_NONE, NULL}};

static mien_status where_infer(mien_node *n) {
  mien_type t = mien_in(n, 0)->type;
  MIEN_TRY(mien_broadcast_shape(n, &t, &mien_in(n, 1)->type));
  MIEN_TRY(mien_broadcast_shape(n, &t, &mien_in(n, 2)->type));
  t.dtype = mien_in(n, 1)->type.dtype;
  return mien_set_type(n, 0, &t);
}

const mien_op mien_ops_Where[] = {
    {.name = "Where",
     .since = 9,
     .signature = "C:bool, X:T, Y:T -> Z:T",
     .kernels = where_kernels,
     .state = sizeof(mien_broadcast),
     .infer = where_infer,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_MOVES_DATA,
     .doc = "Z[i] = C[i] ? X[i] : Y[i], stretched to one shape"},
    {.name = NULL},
};
