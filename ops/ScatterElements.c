/* ScatterElements: a copy of data with Y[indices[i][j]][j] = updates[i][j] for axis 0, and so on.
** ai.onnx 18 (reduction none, add, mul, min, max), 16 (none, add, mul), 11.  In order, so a later update wins. */
#include "ops/scatter.h"

static mien_status scatter_elements_infer_16(mien_node *n) {
  scatter_how how;
  MIEN_TRY(scatter_attr(n, &how));
  return scatter_elements_infer(n);
}

static mien_status scatter_elements_run(mien_node *n, int64_t begin, int64_t end) {
  scatter_how how = SCATTER_NONE;
  MIEN_TRY(scatter_attr(n, &how));
  return begin < end ? scatter_elements(n, how) : MIEN_OK;
}

static const mien_attr scatter_elements_attrs_11[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_attr scatter_elements_attrs_16[] = {
    {.name = "axis", .kind = 'i'}, {.name = "reduction", .kind = 's', .s = "none"}, {.name = NULL}};
static const mien_kernel scatter_elements_kernels_11[] = {{MIEN_ANY, scatter_elements_plain}, {MIEN_NONE, NULL}};
static const mien_kernel scatter_elements_kernels_16[] = {{MIEN_ANY, scatter_elements_run}, {MIEN_NONE, NULL}};

#define SCATTER_ELEMENTS                                                                       \
  .name = "ScatterElements", .signature = "data:T, indices:I{i32,i64}, updates:T -> output:T", \
  .flags = MIEN_OP_SERIAL, .doc = "writes elements along an axis by index"

const mien_op mien_ops_ScatterElements[] = {
    {SCATTER_ELEMENTS, .since = 11, .until = 15, .attrs = scatter_elements_attrs_11,
     .kernels = scatter_elements_kernels_11, .infer = scatter_elements_infer},
    {SCATTER_ELEMENTS, .since = 16, .attrs = scatter_elements_attrs_16, .kernels = scatter_elements_kernels_16,
     .infer = scatter_elements_infer_16},
    {.name = NULL},
};
