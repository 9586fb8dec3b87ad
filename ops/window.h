/* ops/window.h -- geometry of windows that slide over 1 to 3 spatial dimensions: convolutions and pools. */
#ifndef MIEN_OPS_WINDOW_H
#define MIEN_OPS_WINDOW_H

#include <mien/plugin.h>
#include <string.h>

#define MIEN_WINDOW_RANK 3

/* Window o along dimension d covers the input positions o * stride - before + k * dilation for k in [0, kernel); those
** outside [0, in) are padding. During inference `in`, and with it out, before and after, may be symbols. */
typedef struct mien_window {
  int rank; /* spatial dimensions */
  int64_t in[MIEN_WINDOW_RANK], out[MIEN_WINDOW_RANK];
  int64_t kernel[MIEN_WINDOW_RANK], stride[MIEN_WINDOW_RANK], dilation[MIEN_WINDOW_RANK];
  int64_t before[MIEN_WINDOW_RANK], after[MIEN_WINDOW_RANK];
} mien_window;

/* Which attributes the record has beside kernel_shape, strides and pads; OVERHANG: see mien_window_size. */
enum { MIEN_WINDOW_DILATIONS = 1, MIEN_WINDOW_AUTO_PAD = 2, MIEN_WINDOW_CEIL_MODE = 4, MIEN_WINDOW_OVERHANG = 8 };

/* Attributes beyond this are refused, so that the sums below cannot wrap. */
#define MIEN_WINDOW_MAX INT32_MAX

/* The list attribute `name` into to[0..count), each in [low, MIEN_WINDOW_MAX]; untouched when absent. */
static inline mien_status mien_window_list(mien_node *n, const char *name, int64_t low, int count, int64_t *to) {
  int64_t given = 0;
  const int64_t *list = mien_attr_ints(n, name, &given);
  if (given == 0) return MIEN_OK;
  if (given != count)
    return mien_fail(n, MIEN_INVALID_MODEL, "%s has %lld elements, expected %d", name, (long long)given, count);
  for (int i = 0; i < count; i++) {
    if (list[i] < low || list[i] > MIEN_WINDOW_MAX)
      return mien_fail(n, MIEN_INVALID_MODEL, "%s[%d] is %lld, expected %lld .. %lld", name, i, (long long)list[i],
                       (long long)low, (long long)MIEN_WINDOW_MAX);
    to[i] = list[i];
  }
  return MIEN_OK;
}

/* SAME_UPPER, SAME_LOWER: the padding that makes out = ceil(in / stride). */
static inline void mien_window_same(mien_node *n, mien_window *w, int d, int64_t span, bool upper) {
  w->out[d] = mien_dim(n, 'c', w->in[d], w->stride[d]);
  int64_t reach = mien_dim(n, '+', mien_dim(n, '*', mien_dim(n, '-', w->out[d], 1), w->stride[d]), span);
  int64_t total = mien_dim(n, 'M', mien_dim(n, '-', reach, w->in[d]), 0);
  int64_t half = mien_dim(n, '/', total, 2), rest = mien_dim(n, '-', total, half);
  w->before[d] = upper ? half : rest;
  w->after[d] = upper ? rest : half;
}

/* A window larger than its padded input is refused, or with OVERHANG (pools) treated as ONNX Runtime does, which divides as C
** does, toward zero: one that is larger by less than a stride hangs over the end, one larger by less than two strides
** leaves nothing, the others are refused. Over an input of size 0 no window lies. */
static inline mien_status mien_window_size(mien_node *n, mien_window *w, int d, int64_t span, uint32_t has,
                                           bool ceil_mode) {
  const bool overhang = has & MIEN_WINDOW_OVERHANG;
  int64_t padded = mien_dim(n, '+', w->in[d], w->before[d] + w->after[d]), room = mien_dim(n, '-', padded, span);
  const bool larger = !mien_is_symbol(room) && room < 0;
  int64_t out = mien_dim(n, '+', mien_dim(n, ceil_mode || larger ? 'c' : '/', room, w->stride[d]), 1);
  /* A last window that would start in the padding behind the input is left out. */
  if (ceil_mode) out = mien_dim(n, 'm', out, mien_dim(n, 'c', mien_dim(n, '+', w->in[d], w->before[d]), w->stride[d]));
  if (larger && overhang && w->in[d] == 0) out = 0;
  if (larger && (!overhang || out < 0))
    return mien_fail(n, MIEN_INVALID_MODEL,
                     "the window spans %lld along spatial dimension %d, expected at most the padded input's %lld",
                     (long long)span, d, (long long)padded);
  w->out[d] = out;
  return MIEN_OK;
}

/* Reads and checks the attributes; x has its spatial dimensions from dim[first] on, `rank` of them. kernel: the kernel's
** extents when they come from a weight (an attribute kernel_shape must then agree), NULL: from kernel_shape. */
static inline mien_status mien_window_read(mien_node *n, const mien_type *x, int first, int rank, const int64_t *kernel,
                                           uint32_t has, mien_window *w) {
  if (rank < 1 || rank > MIEN_WINDOW_RANK)
    return mien_fail(n, MIEN_UNSUPPORTED, "input has %d spatial dimensions, expected 1 to %d", rank, MIEN_WINDOW_RANK);
  memset(w, 0, sizeof *w);
  w->rank = rank;
  int64_t pads[2 * MIEN_WINDOW_RANK] = {0};
  for (int d = 0; d < rank; d++) {
    w->in[d] = x->dim[first + d];
    w->kernel[d] = kernel ? kernel[d] : 0;
    w->stride[d] = w->dilation[d] = 1;
  }
  MIEN_TRY(mien_window_list(n, "kernel_shape", 1, rank, w->kernel));
  MIEN_TRY(mien_window_list(n, "strides", 1, rank, w->stride));
  if (has & MIEN_WINDOW_DILATIONS) MIEN_TRY(mien_window_list(n, "dilations", 1, rank, w->dilation));
  const char *automatic = has & MIEN_WINDOW_AUTO_PAD ? mien_attr_s(n, "auto_pad") : NULL;
  if (!automatic || !*automatic) automatic = "NOTSET";
  bool notset = strcmp(automatic, "NOTSET") == 0, valid = strcmp(automatic, "VALID") == 0;
  bool upper = strcmp(automatic, "SAME_UPPER") == 0, lower = strcmp(automatic, "SAME_LOWER") == 0;
  if (!notset && !valid && !upper && !lower)
    return mien_fail(n, MIEN_INVALID_MODEL, "auto_pad is '%s', expected NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                     automatic);
  if (notset) MIEN_TRY(mien_window_list(n, "pads", 0, 2 * rank, pads));
  bool ceil_mode = has & MIEN_WINDOW_CEIL_MODE ? mien_attr_i(n, "ceil_mode") != 0 : false;
  for (int d = 0; d < rank; d++) {
    if (kernel && w->kernel[d] != kernel[d])
      return mien_fail(n, MIEN_INVALID_MODEL, "kernel_shape[%d] is %lld, the weight has %lld", d,
                       (long long)w->kernel[d], (long long)kernel[d]);
    if (w->kernel[d] < 1 || w->kernel[d] > MIEN_WINDOW_MAX)
      return mien_fail(n, MIEN_INVALID_MODEL, "the kernel's extent along spatial dimension %d is %lld, expected >= 1",
                       d, (long long)w->kernel[d]);
    int64_t span = (w->kernel[d] - 1) * w->dilation[d] + 1;
    if (upper || lower) {
      mien_window_same(n, w, d, span, upper);
    } else {
      w->before[d] = pads[d];
      w->after[d] = pads[rank + d];
      MIEN_TRY(mien_window_size(n, w, d, span, has, ceil_mode));
    }
  }
  return MIEN_OK;
}

#endif
