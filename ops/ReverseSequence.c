/* ReverseSequence: of every batch entry the first sequence_lens[b] steps in reverse order.  ai.onnx 10. */
#include "ops/index.h"

static mien_status reverse_sequence_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *lengths = &mien_in(n, 1)->type;
  int64_t batch = mien_attr_i(n, "batch_axis"), time = mien_attr_i(n, "time_axis");
  if (x->rank < 2) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected at least 2", (int)x->rank);
  if (!((batch == 0 && time == 1) || (batch == 1 && time == 0)))
    return mien_fail(n, MIEN_INVALID_MODEL, "batch_axis is %lld and time_axis %lld, expected 0 and 1 in either order",
                     (long long)batch, (long long)time);
  mien_type want = shape_type(MIEN_I64, 1);
  want.dim[0] = x->dim[batch];
  MIEN_TRY(index_same(n, "sequence_lens", lengths, &want));
  return mien_set_type(n, 0, x);
}

static mien_status reverse_sequence_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_work(n, x->dim[0] * x->dim[1], 4 + 0.3 * (double)shape_elements(x, 2, x->rank));
  return MIEN_OK;
}

static mien_status reverse_sequence_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *lengths = mien_in(n, 1);
  bool batch_first = mien_attr_i(n, "batch_axis") == 0;
  int64_t inner = shape_elements(&x->type, 2, x->type.rank), columns = x->type.dim[1];
  int64_t steps = x->type.dim[batch_first ? 1 : 0];
  size_t bytes = (size_t)inner * mien_dtype_bytes(x->type.dtype);
  for (int64_t i = begin; i < end; i++) {
    int64_t b = batch_first ? i / columns : i % columns, t = batch_first ? i % columns : i / columns;
    int64_t length = shape_element(lengths, b);
    if (length < 0 || length > steps)
      return mien_fail(n, MIEN_INVALID_ARGUMENT, "sequence_lens[%lld] is %lld, expected 0 .. %lld", (long long)b,
                       (long long)length, (long long)steps);
    int64_t from = t < length ? length - 1 - t : t;
    from = batch_first ? b * columns + from : from * columns + b;
    if (bytes)
      memcpy((char *)mien_out(n, 0)->data + (size_t)i * bytes, (const char *)x->data + (size_t)from * bytes, bytes);
  }
  return MIEN_OK;
}

static const mien_attr reverse_sequence_attrs[] = {
    {.name = "batch_axis", .kind = 'i', .i = 1}, {.name = "time_axis", .kind = 'i', .i = 0}, {.name = NULL}};
static const mien_kernel reverse_sequence_kernels[] = {{MIEN_ANY, reverse_sequence_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_ReverseSequence[] = {
    {.name = "ReverseSequence",
     .since = 10,
     .signature = "input:T, sequence_lens:i64 -> Y:T",
     .attrs = reverse_sequence_attrs,
     .kernels = reverse_sequence_kernels,
     .infer = reverse_sequence_infer,
     .prepare = reverse_sequence_prepare,
     .doc = "reverses the beginning of sequences"},
    {.name = NULL},
};
