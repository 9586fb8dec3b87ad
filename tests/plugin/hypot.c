/* hypot.c -- a plugin as a stranger writes it: one operator and one rewrite that recognises it, in one C file over one header.
**   cc -shared -fPIC -fvisibility=hidden -Wl,-z,defs $(pkg-config --cflags mien) hypot.c -o hypot.so -lm
**   mien convert model.onnx -o model.plan --plugin ./hypot.so */
#include <mien/plugin.h>

#include <math.h>

/* com.example.Hypot: Z[i] = sqrt(X[i]^2 + Y[i]^2), without overflow on the way. X and Y of one shape. */
static mien_status hypot_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_in(n, 1)->type;
  if (x->rank != y->rank) return mien_fail(n, MIEN_INVALID_MODEL, "Y has rank %d, expected %d as X", y->rank, x->rank);
  for (int i = 0; i < x->rank; i++)
    if (x->dim[i] != y->dim[i]) return mien_fail(n, MIEN_INVALID_MODEL, "X and Y differ in dimension %d", i);
  return mien_set_type(n, 0, x);
}

static mien_status hypot_run(mien_node *n, int64_t begin, int64_t end) {
  const float *x = mien_in(n, 0)->data, *y = mien_in(n, 1)->data;
  float *z = mien_out(n, 0)->data;
  for (int64_t i = begin; i < end; i++) z[i] = hypotf(x[i], y[i]);
  return MIEN_OK;
}

/* The same from standard operators, for hosts without this plugin. */
static mien_status hypot_decompose(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "0"), y = h->bound(r, "1"), xx, yy, sum, z;
  MIEN_TRY(h->begin(r, "Mul", (mien_value[]){x, x}, 2));
  MIEN_TRY(h->end(r, &xx, 1));
  MIEN_TRY(h->begin(r, "Mul", (mien_value[]){y, y}, 2));
  MIEN_TRY(h->end(r, &yy, 1));
  MIEN_TRY(h->begin(r, "Add", (mien_value[]){xx, yy}, 2));
  MIEN_TRY(h->end(r, &sum, 1));
  MIEN_TRY(h->begin(r, "Sqrt", &sum, 1));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, h->out(r, h->root(r), 0), z);
}

static const mien_kernel hypot_kernels[] = {{MIEN_F32, hypot_run}, {MIEN_NONE, NULL}};

static const mien_op hypot_ops[] = {
    {.domain = "com.example",
     .name = "Hypot",
     .since = 1,
     .signature = "X:T, Y:T -> Z:T",
     .kernels = hypot_kernels,
     .infer = hypot_infer,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .decompose = hypot_decompose,
     .doc = "sqrt(X^2 + Y^2)"},
    {.name = NULL},
};

/* Sqrt(x*x + y*y) of one shape in fp32 -> com.example.Hypot(x, y) */
static mien_status hypot_recognise(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = h->bound(r, "y"), z;
  const mien_type *a = h->type(r, x), *b = h->type(r, y);
  if (a->dtype != MIEN_F32 || a->rank < 0 || a->rank != b->rank) return MIEN_OK;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return MIEN_OK;
  MIEN_TRY(h->begin(r, "com.example.Hypot", (mien_value[]){x, y}, 2));
  MIEN_TRY(h->end(r, &z, 1));
  return h->replace(r, h->out(r, h->root(r), 0), z);
}

static const char *const hypot_patterns[] = {"Sqrt(Add(Mul(x, x), Mul(y, y)))", NULL};
static const mien_rewrite hypot_rewrite = {.name = "example-hypot",
                                           .doc = "Sqrt(x*x + y*y) -> com.example.Hypot(x, y)",
                                           .stage = MIEN_STAGE_PLUGIN,
                                           .patterns = hypot_patterns,
                                           .apply = hypot_recognise};

static const mien_op *const ops[] = {hypot_ops, NULL};
static const mien_rewrite *const rewrites[] = {&hypot_rewrite, NULL};
static const mien_plugin plugin = {MIEN_PLUGIN_HEADER, .name = "example-hypot", .version = "1.0", .ops = ops,
                                   .rewrites = rewrites};
MIEN_PLUGIN(plugin)
