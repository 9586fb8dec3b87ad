/* Scatter: the old name of ScatterElements.  ai.onnx 9 to 10; deprecated in 11, where exporters still write it. */
#include "ops/scatter.h"

static const mien_attr scatter_attrs[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_kernel scatter_kernels[] = {{MIEN_ANY, scatter_elements_plain}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Scatter[] = {
    {.name = "Scatter",
     .since = 9,
     .signature = "data:T, indices:I{i32,i64}, updates:T -> output:T",
     .attrs = scatter_attrs,
     .kernels = scatter_kernels,
     .infer = scatter_elements_infer,
     .flags = MIEN_OP_SERIAL,
     .doc = "writes elements along an axis by index"},
    {.name = NULL},
};
