/* Identity: Y is X.  ai.onnx 25 .. 13, 1. */
#include <mien/plugin.h>
#include <string.h>

static mien_status identity_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *y = mien_out(n, 0);
  const size_t bytes = mien_dtype_bytes(x->type.dtype);
  if (begin < end && x->data != y->data)
    memcpy((char *)y->data + (size_t)begin * bytes, (const char *)x->data + (size_t)begin * bytes,
           (size_t)(end - begin) * bytes);
  return MIEN_OK;
}

static const mien_kernel identity_kernels[] = {{MIEN_ANY, identity_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Identity[] = {
    {.name = "Identity",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = identity_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_VIEW | MIEN_OP_IN_PLACE | MIEN_OP_MOVES_DATA,
     .doc = "Y is X"},
    {.name = NULL},
};
