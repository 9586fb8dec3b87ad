/* mien/plugin.h -- the whole operator and rewrite ABI. An operator in ops/ and an operator in a
** plugin include this file and nothing else of the runtime. No symbol of libmien is needed at
** link time: every service is reached through a host table that the handle carries.
**
** An operator is one exported array of mien_op records, one record an opset range:
**   infer    types and shapes of the outputs from types, shapes, attributes, known contents
**   prepare  once per session and set of shapes: choose a kernel, pack constants, ask for scratch
**   run      kernels over a range [begin, end) of work items; may be called from several threads
** A rewrite is one mien_rewrite record: patterns over the graph and a function that builds a patch.
** Records and tables are append-only: fields are added at the end and `size` grows. */
#ifndef MIEN_PLUGIN_H
#define MIEN_PLUGIN_H

#include <mien/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIEN_ABI 1u

/* ---------------------------------------------------------------- operators */

typedef struct mien_node mien_node;
typedef mien_status mien_node_fn(mien_node *n);

/* Computes work items [begin, end). No allocation. Fails only for what depends on data. */
typedef mien_status mien_kernel_fn(mien_node *n, int64_t begin, int64_t end);

/* One phase of a kernel that asks for parallel phases itself. */
typedef mien_status mien_task_fn(mien_node *n, void *arg, int64_t begin, int64_t end);

typedef struct mien_kernel {
  mien_dtype dtype; /* of type variable T; MIEN_ANY: by element size; MIEN_NONE ends the table */
  mien_kernel_fn *run;
} mien_kernel;

/* An attribute with its default. kind: 'i' int, 'f' float, 's' string, 't' tensor, 'g' graph,
** upper case for lists. A required attribute has no default; an optional list is empty by default. */
typedef struct mien_attr {
  const char *name; /* NULL ends the table */
  char kind;
  bool required;
  int64_t i;
  double f;
  const char *s;
} mien_attr;

enum {
  MIEN_OP_IN_PLACE = 1,    /* item i of output 0 is written after item i of the inputs is read: output 0
                              may take the memory of any input that has its exact type */
  MIEN_OP_COMMUTATIVE = 2, /* inputs 0 and 1 may be swapped: patterns try both orders */
  MIEN_OP_MOVES_DATA = 4,  /* output elements are copies of input elements of type T, or of constants of the
                              record, whatever those are: shape tensors with symbols pass through */
  MIEN_OP_VIEW = 8,        /* output 0 is the bytes of input 0 under another shape: never run */
  MIEN_OP_RANDOM = 16,     /* not a function of its inputs: never folded */
  MIEN_OP_DATA_SHAPE = 32, /* output shapes depend on input data; memory comes from mien_alloc_out */
  MIEN_OP_SERIAL = 64,     /* run is called once with the whole range; parallel phases go through
                              mien_parallel */
  MIEN_OP_FLUSH = 128      /* sums of products: subnormal numbers count as 0 while it runs, on every thread. Many
                              CPUs take a hundred times as long for them */
};

typedef struct mien_rewriter mien_rewriter;

typedef struct mien_op {
  const char *domain, *name; /* domain "" or NULL is ai.onnx */
  int since, until;          /* opset versions, both inclusive; until 0: still current */
  /* "X:T, W:T, B:T? -> Y:T". Type: a variable (one capital letter and digits), optionally with its set
  ** at the first use, "I{i32,i64}", or a fixed type "i64". "?" optional, "..." any number (last one).
  ** Checked, with types, before any function below is called. T's set is that of the kernels. */
  const char *signature;
  const mien_attr *attrs;     /* NULL: none */
  const mien_kernel *kernels; /* by type of T; one row {MIEN_ANY, run} where T is absent */
  size_t state;               /* bytes per node, zeroed before prepare */
  mien_node_fn *infer;
  mien_node_fn *prepare;         /* NULL: nothing to do */
  void (*release)(mien_node *n); /* frees what prepare took from elsewhere; NULL: nothing */
  uint32_t flags;
  /* One element of integer shape arithmetic where an operand is a symbol: e.g. Add calls mien_dim('+'). Unary operators
  ** (Neg, Cast between i32 and i64) get b = 0. Comparisons give 0, 1 or, where it is open, any symbol. NULL where the operator has none. */
  int64_t (*dim_eval)(mien_node *n, int64_t a, int64_t b);
  /* Operators outside ai.onnx: builds the same result from ai.onnx and mien operators (see mien_rewriter;
  ** the node's inputs are bound as "0", "1", ...). Carried in the plan for hosts without the plugin. */
  mien_status (*decompose)(mien_rewriter *r);
  const char *doc; /* one line */
} mien_op;

/* What follows a product in the same pass over the output, per output column j (a channel or feature):
**   y = act(x + bias[j])                      without residual
**   y = residual + scale[j] * act(x + bias[j])            residual given
**   y = act(residual + scale[j] * (x + bias[j]))          residual given, act_last
** Absent vectors are NULL. Operators store it as attributes `activation` (a name of MIEN_ACTIVATION_MAP),
** `alpha`, `beta`, `act_last`, and as optional inputs B (bias), S (slope), G (scale), R (residual). */
#define MIEN_ACTIVATION_MAP(X)                             \
  X(IDENTITY, "")                                          \
  X(RELU, "Relu")                                          \
  X(LEAKY_RELU, "LeakyRelu") /* alpha */                   \
  X(PRELU, "PRelu")          /* slope[j] */                \
  X(CLIP, "Clip")            /* alpha = min, beta = max */ \
  X(SIGMOID, "Sigmoid")                                    \
  X(TANH, "Tanh")                                          \
  X(GELU, "Gelu") /* erf form */                           \
  X(SILU, "Silu") /* x * sigmoid(x) */                     \
  X(HARD_SWISH, "HardSwish")
typedef enum mien_activation {
#define X(name, text) MIEN_ACT_##name,
  MIEN_ACTIVATION_MAP(X)
#undef X
} mien_activation;

typedef struct mien_epilogue {
  mien_activation act;
  float alpha, beta;
  const float *bias, *slope, *scale;
  const float *residual; /* element (i, j) at residual[i * residual_stride + j] */
  int64_t residual_stride;
  bool act_last;
  int64_t residual_step; /* element (i, j) at residual[i * residual_stride + j * residual_step]; 0 means 1 */
} mien_epilogue;

/* The left operand of a product as pieces: row i is `count` pieces of `length` elements, `step` apart; element r of piece t is
** rows[t * stride + i][r * step]. A convolution's row is a pixel, a piece its channels under one tap of the window. */
typedef struct mien_pieces {
  const float *const *rows;
  int64_t stride, count, length, step;
} mien_pieces;

/* Output pixels of one line of a depthwise convolution, channels last: tap (a, b) of the window of pixel i, of `lines` lines of
** `width` taps, is the pixel of the map, or of padding, at pixels[a][i * stride + b * dilation], of which that is channel 0, and is
** multiplied by w[(a * width + b) * channels + j]. */
typedef struct mien_depthwise {
  const float *const *const *pixels;
  const float *w;
  int64_t lines, width, stride, dilation, channels;
} mien_depthwise;

/* Attention for one batch of heads, fp32. softmax(scale * Q K^T + bias) V, written in the caller's layout:
** row i of head h in batch b starts at data[b * batch + h * head + i * row] and is contiguous. */
typedef struct mien_strides {
  int64_t batch, head, row;
} mien_strides;
typedef struct mien_attention {
  int64_t batches, heads, queries, keys, depth, value_depth;
  int64_t kv_batch_div;          /* batch of K and V is batch / kv_batch_div (1: own keys for each batch) */
  int64_t q_batch_div;           /* batch of Q is batch / q_batch_div (repeated queries) */
  const float *q, *k, *v, *bias; /* bias may be NULL; its rows have `keys` contiguous elements */
  float *y;
  mien_strides qs, ks, vs, bs, ys; /* a stride of 0 repeats (bias shared by batches or rows) */
  float scale;
} mien_attention;

/* Products of operands of 16 bits, summed in 32. round writes k values as `elements(k)` elements of four bytes; pack writes B[k, n] as
** gemm_pack_bytes(elements(k), n) bytes. gemm is gemm_pieces of such elements: rows[] point at what round wrote, length counts elements,
** step is 1; B is packed piece by piece, panel by panel. */
typedef struct mien_gemm16 {
  const char *name;
  int64_t (*elements)(int64_t k);
  void (*round)(const float *x, int64_t k, float *to);
  void (*pack)(int64_t k, int64_t n, const void *b, int64_t row_stride, int64_t col_stride, void *packed);
  void (*gemm)(int64_t m, int64_t n, const mien_pieces *a, const void *packed, float *c, int64_t c_row,
               int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e);
} mien_gemm16;

/* fp32 kernels of this machine's instruction set, chosen once at load. All run on the calling thread. */
typedef struct mien_math {
  uint32_t size;
  const char *isa; /* "portable", "avx2", "avx512", "avx512_bf16", "neon" */
  /* C[m,n] = epilogue(A[m,k] B[k,n]); B packed once by gemm_pack, element (p, j) of it read from
  ** b[p * row_stride + j * col_stride]. Columns [n0, n1) of C are computed; n0 is a multiple of gemm_columns. */
  size_t (*gemm_pack_bytes)(int64_t k, int64_t n);
  void (*gemm_pack)(int64_t k, int64_t n, const float *b, int64_t row_stride, int64_t col_stride, float *packed);
  void (*gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *packed, float *c,
               int64_t c_stride, int64_t n0, int64_t n1, const mien_epilogue *e);
  int64_t gemm_rows, gemm_columns; /* blocking: split work at multiples of these */
  /* Attention over items [begin, end) of batches x heads x ceil(queries / attention_rows). */
  size_t (*attention_scratch)(const mien_attention *a); /* bytes per thread */
  void (*attention)(const mien_attention *a, int64_t begin, int64_t end, void *scratch);
  int64_t attention_rows;
  void (*activate)(mien_activation act, float alpha, float beta, const float *x, float *y, int64_t count);
  void (*softmax)(const float *x, float *y, int64_t count); /* one row */
  /* One row: y = (x - mean) / sqrt(var + epsilon) * gamma + beta; gamma, beta may be NULL. */
  void (*layer_norm)(const float *x, const float *gamma, const float *beta, float epsilon, float *y, int64_t count,
                     float *mean, float *inv_std);
  /* gemm with A in pieces, k = count * length, and element (i, j) of C at c[i * c_row + j * c_column]. */
  void (*gemm_pieces)(int64_t m, int64_t n, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                      int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e);
  /* m output pixels of a depthwise convolution are the rows of C. */
  void (*depthwise)(int64_t m, const mien_depthwise *d, float *c, int64_t c_row, const mien_epilogue *e);
  /* y[i] of x[i]; y may be x. */
  void (*exp)(const float *x, float *y, int64_t count);
  void (*erf)(const float *x, float *y, int64_t count);
  /* `rounds` rounds of independent fused multiply-adds in registers: the most that this instruction set does. Gives the operations
  ** done (a multiply-add is two) and, so that they are done, their sum. */
  double (*peak)(int64_t rounds, float *sum);
  /* bf16: B is of bfloat16 and A is rounded to it, to nearest even; for each pair of k the product of the odd one, then of the even
  ** one, is added in fp32 and rounded to nearest even, subnormals being zero, with the same bits on every instruction set. int16: B
  ** is of floats, finite ones; both are rounded to 16-bit integers times a step for every 512 values of k of a row of A or column of
  ** B: of the root mean square of those, an integer is off by 1.4e-4 (bf16: 1.6e-3), and by more where one number alone is more than 16
  ** times it; sums are exact, then fp32. */
  const mien_gemm16 *bf16, *int16;
  /* y[j] = the largest of rows[0..count)[j] for j below length, a NaN where one of them is; y may be one of the rows. */
  void (*largest)(int64_t count, const float *const *rows, int64_t length, float *y);
  /* gemm with B as it lies, element (p, j) at b[p * b_stride + j]; n is a multiple of gemm_columns / 2. The same bits; better where
  ** packing costs more than it saves. */
  void (*gemm_plain)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *b,
                     int64_t b_stride, float *c, int64_t c_stride, const mien_epilogue *e);
} mien_math;

/* Services for operators. `size` says how much of the table this host has. */
typedef struct mien_host {
  uint32_t abi, size;
  /* Records a message "node 'NAME' (OP-SINCE): ..." and returns `code`. Callable from any thread. */
  mien_status (*fail)(mien_node *n, mien_status code, const char *format, ...) MIEN_PRINTF(3, 4);

  /* Values. Optional and absent: NULL. In infer, `data` is NULL unless the value is constant. */
  int (*in_count)(const mien_node *n);
  int (*out_count)(const mien_node *n);
  const mien_tensor *(*in)(const mien_node *n, int i);
  mien_tensor *(*out)(const mien_node *n, int i);
  bool (*is_constant)(const mien_node *n, int i);

  /* Attributes, by a name of the record's table; the default where the node has none. Lists are owned
  ** by the node. Strings are NUL-terminated. attr_tensor and lists give NULL / count 0 when absent. */
  bool (*has_attr)(const mien_node *n, const char *name);
  int64_t (*attr_i)(const mien_node *n, const char *name);
  double (*attr_f)(const mien_node *n, const char *name);
  const char *(*attr_s)(const mien_node *n, const char *name);
  const int64_t *(*attr_ints)(const mien_node *n, const char *name, int64_t *count);
  const float *(*attr_floats)(const mien_node *n, const char *name, int64_t *count);
  const mien_tensor *(*attr_tensor)(const mien_node *n, const char *name);

  /* Infer. ints: the elements of input i where they are known (constant, or the result of shape
  ** arithmetic), converted to int64; elements may be symbols; NULL when not known. dim: '+', '-', '*',
  ** '/' (floor), 'c' (ceiling of a/b), '%', 'm' (min), 'M' (max) on numbers and symbols. new_symbol: an
  ** open dimension of which nothing is known. same_dim: whether a and b may be equal (symbols may equal
  ** anything not provably different). */
  mien_status (*set_type)(mien_node *n, int out, const mien_type *type);
  const int64_t *(*ints)(mien_node *n, int in, int64_t *count);
  int64_t (*dim)(mien_node *n, char op, int64_t a, int64_t b);
  int64_t (*new_symbol)(mien_node *n);

  /* Prepare. work: items of run and the cost of one in nanoseconds on one core, roughly (default: the
  ** elements of output 0, 1 ns). scratch: bytes for each thread during run. packed: memory that
  ** holds constants in a kernel's own order, shared by all sessions of a plan. The first call has `fill` fill it, whole, before it
  ** returns; `kind` tells packings of one input apart. `fill` sees an input of float16 widened to float32. */
  void *(*state)(const mien_node *n);
  void (*work)(mien_node *n, int64_t items, double cost);
  mien_status (*scratch)(mien_node *n, size_t bytes);
  mien_status (*packed)(mien_node *n, int in, const char *kind, size_t bytes,
                        mien_status (*fill)(mien_node *n, void *memory), const void **memory);
  int (*threads)(const mien_node *n);

  /* Run. parallel: splits [0, count) over the session's threads and returns when all is done; not
  ** nested. scratch_of: the calling thread's scratch. alloc_out: memory of a MIEN_OP_DATA_SHAPE output. */
  mien_status (*parallel)(mien_node *n, int64_t count, double cost, mien_task_fn *fn, void *arg);
  void *(*scratch_of)(mien_node *n);
  mien_status (*alloc_out)(mien_node *n, int out, const mien_type *type);

  const mien_math *math;

  /* Infer: the contents of output i, of integer type and at most rank 1, where they follow from types alone (Shape,
  ** Size): count elements, copied, which may be symbols. Called after set_type; more than the host follows are ignored. */
  mien_status (*set_ints)(mien_node *n, int out, const int64_t *values, int64_t count);

  /* Infer and prepare: the elements of input i in its own type where they are known as numbers (a constant, or what follows
  ** from shapes alone, of any type, such as the scales of a Resize); NULL when not. */
  const void *(*contents)(const mien_node *n, int in);

  /* Prepare: what a profile says of the node. flops: floating-point operations of the operator's definition for these sizes
  ** (a multiplication and an addition are two), whatever the algorithm saves; 0: not worth counting. kernel: the algorithm
  ** chosen, e.g. "gemm 14x32"; static, or in the node's state. Bytes are known to the host. */
  void (*note)(mien_node *n, double flops, const char *kernel);

  /* Run: which of the session's threads calls, from 0 to threads - 1; its scratch keeps what it wrote during a run. */
  int (*lane)(const mien_node *n);

  /* Prepare: as packed, but the session's threads call fill together when all its nodes are prepared, at any time until the
  ** first run and on any thread: the node's state must say then what it says at the end of prepare. For large constants. */
  mien_status (*packed_later)(mien_node *n, int in, const char *kind, size_t bytes,
                              mien_status (*fill)(mien_node *n, void *memory), const void **memory);

  /* Infer, after set_type: output `out` is consecutive elements of input `in`, from element `first` on (a cut); with `joins`
  ** input `in` is consecutive elements of output `out`. The host may let them share memory: it then does not run a node all of
  ** whose outputs are cuts, or all of whose inputs lie where they are joined. An input that does is not to be copied onto itself. */
  mien_status (*block)(mien_node *n, int out, int in, int64_t first, bool joins);
} mien_host;

/* The first member of every node is its host; the rest is the host's own. */
static inline const mien_host *mien_host_of(const mien_node *n) { return *(const mien_host *const *)(const void *)n; }

#define mien_fail(n, ...) (mien_host_of(n)->fail((n), __VA_ARGS__))
static inline int mien_in_count(const mien_node *n) { return mien_host_of(n)->in_count(n); }
static inline int mien_out_count(const mien_node *n) { return mien_host_of(n)->out_count(n); }
static inline const mien_tensor *mien_in(const mien_node *n, int i) { return mien_host_of(n)->in(n, i); }
static inline mien_tensor *mien_out(const mien_node *n, int i) { return mien_host_of(n)->out(n, i); }
static inline bool mien_is_constant(const mien_node *n, int i) { return mien_host_of(n)->is_constant(n, i); }
static inline bool mien_has_attr(const mien_node *n, const char *k) { return mien_host_of(n)->has_attr(n, k); }
static inline int64_t mien_attr_i(const mien_node *n, const char *k) { return mien_host_of(n)->attr_i(n, k); }
static inline double mien_attr_f(const mien_node *n, const char *k) { return mien_host_of(n)->attr_f(n, k); }
static inline const char *mien_attr_s(const mien_node *n, const char *k) { return mien_host_of(n)->attr_s(n, k); }
static inline const int64_t *mien_attr_ints(const mien_node *n, const char *k, int64_t *count) {
  return mien_host_of(n)->attr_ints(n, k, count);
}
static inline const float *mien_attr_floats(const mien_node *n, const char *k, int64_t *count) {
  return mien_host_of(n)->attr_floats(n, k, count);
}
static inline const mien_tensor *mien_attr_tensor(const mien_node *n, const char *k) {
  return mien_host_of(n)->attr_tensor(n, k);
}
MIEN_CHECKED static inline mien_status mien_set_type(mien_node *n, int out, const mien_type *t) {
  return mien_host_of(n)->set_type(n, out, t);
}
static inline const int64_t *mien_ints(mien_node *n, int in, int64_t *count) {
  return mien_host_of(n)->ints(n, in, count);
}
MIEN_CHECKED static inline mien_status mien_set_ints(mien_node *n, int out, const int64_t *values, int64_t count) {
  return mien_host_of(n)->set_ints(n, out, values, count);
}
static inline const void *mien_contents(const mien_node *n, int in) { return mien_host_of(n)->contents(n, in); }
static inline int64_t mien_dim(mien_node *n, char op, int64_t a, int64_t b) {
  return mien_host_of(n)->dim(n, op, a, b);
}
static inline int64_t mien_new_symbol(mien_node *n) { return mien_host_of(n)->new_symbol(n); }
static inline void *mien_state(const mien_node *n) { return mien_host_of(n)->state(n); }
static inline void mien_work(mien_node *n, int64_t items, double cost) { mien_host_of(n)->work(n, items, cost); }
MIEN_CHECKED static inline mien_status mien_scratch(mien_node *n, size_t bytes) {
  return mien_host_of(n)->scratch(n, bytes);
}
MIEN_CHECKED static inline mien_status mien_packed(mien_node *n, int in, const char *kind, size_t bytes,
                                                   mien_status (*fill)(mien_node *n, void *memory),
                                                   const void **memory) {
  return mien_host_of(n)->packed(n, in, kind, bytes, fill, memory);
}
static inline void mien_note(mien_node *n, double flops, const char *kernel) {
  const mien_host *h = mien_host_of(n);
  if (h->size > offsetof(mien_host, note)) h->note(n, flops, kernel);
}
MIEN_CHECKED static inline mien_status mien_packed_later(mien_node *n, int in, const char *kind, size_t bytes,
                                                         mien_status (*fill)(mien_node *n, void *memory),
                                                         const void **memory) {
  return mien_host_of(n)->packed_later(n, in, kind, bytes, fill, memory);
}
MIEN_CHECKED static inline mien_status mien_block(mien_node *n, int out, int in, int64_t first, bool joins) {
  const mien_host *h = mien_host_of(n);
  return h->size > offsetof(mien_host, block) ? h->block(n, out, in, first, joins) : MIEN_OK;
}
static inline int mien_threads(const mien_node *n) { return mien_host_of(n)->threads(n); }
MIEN_CHECKED static inline mien_status mien_parallel(mien_node *n, int64_t count, double cost, mien_task_fn *fn,
                                                     void *arg) {
  return mien_host_of(n)->parallel(n, count, cost, fn, arg);
}
static inline void *mien_scratch_of(mien_node *n) { return mien_host_of(n)->scratch_of(n); }
static inline int mien_lane(const mien_node *n) { return mien_host_of(n)->lane(n); }
static inline const mien_math *mien_math_of(const mien_node *n) { return mien_host_of(n)->math; }

/* Y has X's type and shape. */
static inline mien_status mien_infer_same(mien_node *n) { return mien_set_type(n, 0, &mien_in(n, 0)->type); }

static inline size_t mien_dtype_bytes(int32_t dtype) {
  switch (dtype) {
#define X(name, onnx, bytes, text) \
  case onnx: return bytes;
    MIEN_DTYPE_MAP(X)
#undef X
  }
  return 0;
}

/* Elements of a type whose dimensions are all known (the runtime has checked that they do not
** overflow); -1 where one is open. */
static inline int64_t mien_count(const mien_type *t) {
  int64_t count = 1;
  for (int i = 0; i < t->rank; i++) {
    if (t->dim[i] < 0) return -1;
    count *= t->dim[i];
  }
  return t->rank < 0 ? -1 : count;
}

#define MIEN_TRY(call)                                      \
  do {                                                      \
    mien_status mien_try_status = (call);                   \
    if (mien_try_status != MIEN_OK) return mien_try_status; \
  } while (0)

/* ---------------------------------------------------------------- rewrites */

/* A value of the graph being rewritten. */
typedef int32_t mien_value;
#define MIEN_NO_VALUE (-1)

/* A node that exists in the graph. */
typedef int32_t mien_node_id;
#define MIEN_NO_NODE (-1)

/* The order of stages; within a stage, rewrites run to a fixed point in the order of `after` and name. */
typedef enum mien_stage {
  MIEN_STAGE_CANONICALISE, /* one spelling per idea, in ai.onnx and mien operators */
  MIEN_STAGE_FUSE,         /* epilogues, attention; results in mien operators */
  MIEN_STAGE_PLUGIN,       /* plugins' operators, recognised in what FUSE left */
  MIEN_STAGE_SINK,         /* compute only the rows that are used */
  MIEN_STAGE_LAYOUT,       /* channels last between convolutions */
  MIEN_STAGE_FINISH        /* epilogues once more, duplicate and dead nodes */
} mien_stage;

/* A rewrite never mutates. It looks at the match through the rewriter, adds new nodes to a patch and says which
** existing values they replace; the framework checks that types and shapes agree at the border, applies the patch,
** infers again and logs it. A function that adds nothing declines the match.
**
** Pattern: text over operators, e.g. "Add(MatMul(a, w), b)".
**   Op(...)          a node of ai.onnx; other domains as "mien.Linear(...)" or "com.example.Op(...)"
**   name             binds a value; used twice, both must be the same value
**   _                any value;   ?x  an input that may be absent;   ...  any further inputs
**   #c               binds a constant value
**   Op|Other(...)    one of several operators
**   *(...)           a node of any operator
**   a:Op(...)        names the node and its output 0, e.g. "Mul(s:Sigmoid(x), x)"
** Inputs 0 and 1 of commutative operators are tried in both orders. The root's outputs are what is replaced; every
** inner node's output may be used elsewhere too: ask `uses` where that matters. */
typedef mien_status mien_rewrite_fn(mien_rewriter *r);

typedef struct mien_rewrite {
  const char *name; /* lower-case words with '-'; what --skip-pass takes */
  const char *doc;  /* one line: before -> after */
  mien_stage stage;
  const char *after;           /* names of rewrites of this stage that come first, separated by spaces; may be NULL */
  const char *const *patterns; /* ends with NULL; tried in order at every node */
  mien_rewrite_fn *apply;
} mien_rewrite;

/* Services for rewrites. Values of the patch (returned by add, constant) may be inputs of later adds and
** have types once inferred (which `add` does at once, and fails where it cannot). */
typedef struct mien_rewrite_host {
  uint32_t abi, size;
  mien_status (*fail)(mien_rewriter *r, mien_status code, const char *format, ...) MIEN_PRINTF(3, 4);

  /* The match. */
  mien_node_id (*root)(const mien_rewriter *r);
  int (*pattern)(const mien_rewriter *r);                        /* index into patterns */
  mien_value (*bound)(const mien_rewriter *r, const char *name); /* MIEN_NO_VALUE when absent */

  /* The graph. producer: MIEN_NO_NODE for inputs and constants. uses: readers, plus one for a graph output. */
  mien_node_id (*producer)(const mien_rewriter *r, mien_value v);
  int (*uses)(const mien_rewriter *r, mien_value v);
  mien_node_id (*user)(const mien_rewriter *r, mien_value v, int i); /* i-th reading node, MIEN_NO_NODE past the end */
  bool (*is_output)(const mien_rewriter *r, mien_value v);
  const char *(*name)(const mien_rewriter *r, mien_value v); /* ONNX name, "" when it has none */
  const mien_type *(*type)(const mien_rewriter *r, mien_value v);
  const mien_tensor *(*constant)(const mien_rewriter *r, mien_value v);   /* NULL when it is not constant */
  const int64_t *(*ints)(mien_rewriter *r, mien_value v, int64_t *count); /* as mien_host.ints */
  const char *(*op_name)(const mien_rewriter *r, mien_node_id n);         /* "Conv", "mien.Conv" */
  int (*in_count)(const mien_rewriter *r, mien_node_id n);
  int (*out_count)(const mien_rewriter *r, mien_node_id n);
  mien_value (*in)(const mien_rewriter *r, mien_node_id n, int i); /* MIEN_NO_VALUE when absent */
  mien_value (*out)(const mien_rewriter *r, mien_node_id n, int i);
  bool (*has_attr)(const mien_rewriter *r, mien_node_id n, const char *name);
  int64_t (*attr_i)(const mien_rewriter *r, mien_node_id n, const char *name); /* with the record's default */
  double (*attr_f)(const mien_rewriter *r, mien_node_id n, const char *name);
  const char *(*attr_s)(const mien_rewriter *r, mien_node_id n, const char *name);
  const int64_t *(*attr_ints)(const mien_rewriter *r, mien_node_id n, const char *name, int64_t *count);

  /* The patch. op as in op_name; `opset` 0: the model's own for ai.onnx (the newest where that has no such operator), the newest of
  ** other domains. inputs may hold MIEN_NO_VALUE.
  ** attributes are set between begin and end. */
  mien_status (*begin)(mien_rewriter *r, const char *op, const mien_value *inputs, int count);
  mien_status (*set_i)(mien_rewriter *r, const char *name, int64_t value);
  mien_status (*set_f)(mien_rewriter *r, const char *name, double value);
  mien_status (*set_s)(mien_rewriter *r, const char *name, const char *value);
  mien_status (*set_ints)(mien_rewriter *r, const char *name, const int64_t *values, int64_t count);
  mien_status (*copy_attrs)(mien_rewriter *r, mien_node_id from);       /* those that the new operator knows */
  mien_status (*end)(mien_rewriter *r, mien_value *outputs, int count); /* infers */
  mien_status (*constant_ints)(mien_rewriter *r, const int64_t *values, int64_t count, int rank, mien_value *out);
  mien_status (*constant_floats)(mien_rewriter *r, const float *values, const mien_type *type, mien_value *out);
  mien_status (*replace)(mien_rewriter *r, mien_value old_value, mien_value new_value);

  /* begin with a given opset version, for operators whose inputs changed between versions or that are newer than the model. */
  mien_status (*begin_at)(mien_rewriter *r, const char *op, int opset, const mien_value *inputs, int count);
  int64_t (*dim)(mien_rewriter *r, char op, int64_t a, int64_t b);      /* as mien_host.dim */
  int (*since)(const mien_rewriter *r, mien_node_id n);                 /* of the node's record */
  bool (*same)(const mien_rewriter *r, mien_node_id a, mien_node_id b); /* one record, equal attributes, not random */
} mien_rewrite_host;

static inline const mien_rewrite_host *mien_rewrite_host_of(const mien_rewriter *r) {
  return *(const mien_rewrite_host *const *)(const void *)r;
}

/* ---------------------------------------------------------------- plugins */

typedef struct mien_plugin {
  uint32_t abi;                   /* MIEN_ABI of the header that the plugin was compiled with */
  uint32_t size;                  /* sizeof(mien_plugin) */
  uint32_t op_size, rewrite_size; /* sizeof(mien_op), sizeof(mien_rewrite) */
  const char *name, *version;
  const mien_op *const *ops;           /* arrays of records, each ending with name NULL; the list ends with NULL */
  const mien_rewrite *const *rewrites; /* ends with NULL; may be NULL */
} mien_plugin;

/* A plugin exports this one function. It may not keep state. Another host_abi is no reason to fail: the
** host compares versions and reports both. */
typedef const mien_plugin *mien_plugin_fn(uint32_t host_abi);
#define MIEN_PLUGIN_SYMBOL "mien_plugin_entry"
#define MIEN_PLUGIN(plugin)                                         \
  MIEN_API const mien_plugin *mien_plugin_entry(uint32_t host_abi); \
  const mien_plugin *mien_plugin_entry(uint32_t host_abi) {         \
    (void)host_abi;                                                 \
    return &(plugin);                                               \
  }
#define MIEN_PLUGIN_HEADER \
  .abi = MIEN_ABI, .size = sizeof(mien_plugin), .op_size = sizeof(mien_op), .rewrite_size = sizeof(mien_rewrite)

#ifdef __cplusplus
}
#endif
#endif
