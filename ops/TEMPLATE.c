/* Template: Y[i] = X[i] < 0 ? alpha * X[i] : X[i].  ai.onnx 16, 6.
**
** Copy this file to ops/NAME.c, NAME exactly as ONNX spells it, and replace every "template" and "Template"; the build
** finds it. The comment on top says what is computed, for which opset versions, and what is unusual about it. Then write
** tests/ops/test_NAME.c. Looking further:
**   two inputs stretched to one shape   Add.c (plain), Div.c (fails for some elements), Where.c (data is moved)
**   many inputs                         Max.c
**   one result from many elements       ReduceSum.c, ArgMax.c
**   attributes that became inputs       Clip.c, ReduceSum.c (two records)
**   a kernel of its own                 CumSum.c */
#include "ops/loop.h"

/* What prepare works out once and the kernels read; leave it out (state void, no .state) where there is nothing. */
typedef struct {
  float alpha;
} template_state;

/* Once per session and set of shapes. What can fail, fails here or in infer, with a message that names what was expected;
** the framework adds node, operator and version. Types, arity and attributes' kinds have been checked already. */
static mien_status template_prepare(mien_node *n) {
  template_state *s = mien_state(n);
  s->alpha = (float)mien_attr_f(n, "alpha");
  if (s->alpha != s->alpha) return mien_fail(n, MIEN_INVALID_MODEL, "alpha is NaN, expected a number");
  return MIEN_OK;
}

/* The arithmetic of one element: C is the type that it is done in (float for f16 and bf16), s the state, x the element.
** NaN must come out as NaN: write comparisons so that it falls through. Integers: see MIEN_WRAP in loop.h. */
#define template_one(C, s, x) ((x) < 0 ? (C)(s)->alpha * (x) : (x))
MIEN_UNARY(template_one, template_state, MIEN_FLOATS)

/* Attributes with their defaults. */
static const mien_attr template_attrs[] = {{.name = "alpha", .kind = 'f', .f = 0.01}, {.name = NULL}};

/* One record an opset range (.until is absent where the range is open). kernels is the dispatch table and says which types
** T may have; `mien ops` prints it. */
const mien_op mien_ops_Template[] = {
    {.name = "Template",
     .since = 6,
     .signature = "X:T -> Y:T",
     .attrs = template_attrs,
     .kernels = template_one_kernels,
     .state = sizeof(template_state),
     .infer = mien_infer_same,
     .prepare = template_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] < 0 ? alpha * X[i] : X[i]"},
    {.name = NULL},
};

/* As a plugin outside this tree, the file ends like this instead (and includes <mien/plugin.h>, or a copy of loop.h):
**   static const mien_op *const template_ops[] = {mien_ops_Template, NULL};
**   static const mien_plugin template_plugin = {MIEN_PLUGIN_HEADER, .name = "template", .version = "1", .ops = template_ops};
**   MIEN_PLUGIN(template_plugin) */
