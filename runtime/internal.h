/* runtime/internal.h -- what the files of libmien share with each other and with libmien_convert. Not installed. */
#ifndef MIEN_INTERNAL_H
#define MIEN_INTERNAL_H

#include <mien/mien.h>
#include <mien/plugin.h>
#include <stdarg.h>
#include <stdatomic.h>

/* ---------------------------------------------------------------- status.c */

/* Fills *error (NULL allowed) and returns code. */
mien_status mien__fail(mien_error *error, mien_status code, const char *format, ...) MIEN_PRINTF(3, 4);
mien_status mien__vfail(mien_error *error, mien_status code, const char *format, va_list args);
mien_status mien__no_memory(mien_error *error, size_t bytes);

/* ---------------------------------------------------------------- alloc.c */

/* Sizes multiply and add without overflow: false when the result does not fit. */
static inline bool mien__mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool mien__add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* Zeroed memory of the env, aligned to 64 bytes; NULL when there is none. free accepts NULL. */
void *mien__alloc(mien_env *env, size_t bytes);
/* For what is filled whole and read from end to end: not cleared, and in huge pages where it is large and there are any. */
void *mien__alloc_unset(mien_env *env, size_t bytes);
void *mien__realloc(mien_env *env, void *pointer, size_t bytes); /* new part zeroed */
void mien__free(mien_env *env, void *pointer);

/* A region: many small allocations, freed together. Zeroed, aligned to 16. budget: bytes it may take in all. */
typedef struct mien__pool {
  mien_env *env;
  struct mien__block *blocks;
  size_t used, budget;
} mien__pool;
void mien__pool_init(mien__pool *pool, mien_env *env, size_t budget);
void mien__pool_clear(mien__pool *pool);
void *mien__pool_alloc(mien__pool *pool, size_t bytes);
void *mien__pool_copy(mien__pool *pool, const void *data, size_t bytes);
char *mien__pool_string(mien__pool *pool, const char *data, size_t length); /* NUL added */
char *mien__pool_format(mien__pool *pool, const char *format, ...) MIEN_PRINTF(2, 3);

/* ---------------------------------------------------------------- dtype.c, tensor.c */

bool mien__dtype_valid(int64_t dtype);
int32_t mien__dtype_named(const char *name, size_t length); /* MIEN_NONE when unknown */
float mien__f16_to_f32(uint16_t bits);
uint16_t mien__f32_to_f16(float value); /* round to nearest even */
float mien__bf16_to_f32(uint16_t bits);
uint16_t mien__f32_to_bf16(float value);

/* Elements and bytes of a fully known type; MIEN_LIMIT when they overflow or exceed limits.tensor_bytes. */
mien_status mien__type_size(const mien_env *env, const mien_type *type, int64_t *count, size_t *bytes,
                            mien_error *error);
/* The known sizes alone exceed no limit, whatever the open ones become: products and strides of them cannot overflow. */
mien_status mien__type_fits(const mien_env *env, const mien_type *type, mien_error *error);
/* "f32[N,3,224,224]" into text, always terminated. symbols may be NULL. */
struct mien__symbols;
const char *mien__type_text(const mien_type *type, const struct mien__symbols *symbols, char *text, size_t size);
bool mien__type_equal(const mien_type *a, const mien_type *b);
mien_status mien__tensor_alloc(mien_env *env, const mien_type *type, mien_tensor *tensor, mien_error *error);
/* Element i as a number. Numeric types and bool. */
double mien__tensor_f64(const mien_tensor *tensor, int64_t i);
int64_t mien__tensor_i64(const mien_tensor *tensor, int64_t i);

/* ---------------------------------------------------------------- env.c, registry.c, plugin_load.c */

/* One type a signature slot accepts. */
typedef struct mien__slot {
  char name[24];
  int8_t variable; /* index of the type variable; -1: fixed */
  bool optional, variadic;
  uint32_t dtypes; /* bit set of fixed or allowed dtypes, bit = mien_dtype */
} mien__slot;
#define MIEN__MAX_SLOTS 16
typedef struct mien__signature {
  int in_count, out_count;
  int variable_T; /* index of variable T; -1: none */
  mien__slot in[MIEN__MAX_SLOTS], out[MIEN__MAX_SLOTS];
} mien__signature;

/* One operator version, checked when its table was registered. */
typedef struct mien__record {
  const mien_op *op;
  const char *domain; /* never NULL; "" is ai.onnx */
  const char *plugin; /* name; NULL: built in */
  const char *plugin_version;
  mien__signature signature;
  int32_t *dtypes; /* of T, MIEN_NONE-terminated */
} mien__record;

struct mien_env {
  mien_alloc_fn *alloc;
  void *alloc_context;
  mien_limits limits;
  atomic_int references;
  mien__record **records; /* sorted by domain, name, since */
  size_t record_count;
  struct mien__library *libraries; /* loaded plugins, newest first */
  mien_host host;                  /* what this env's nodes see: mien__host with the machine's kernels */
};
void mien__env_retain(mien_env *env);
mien_status mien__registry_add(mien_env *env, const mien_op *records, const char *plugin, const char *plugin_version,
                               mien_error *error);
void mien__registry_remove(mien_env *env, const char *plugin); /* by the pointer that was added */
void mien__registry_clear(mien_env *env);
void mien__libraries_close(mien_env *env);
/* The record of an operator at an opset version; NULL when there is none. `known` (may be NULL) tells whether the operator
** exists at another version. */
const mien__record *mien__registry_find(const mien_env *env, const char *domain, const char *name, int64_t version,
                                        bool *known);
/* Iterates rewrites of loaded plugins (built-in ones are the converter's own): NULL past the end. */
const mien_rewrite *mien__env_plugin_rewrite(const mien_env *env, size_t index, const char **plugin);
const char *mien__domain_text(const char *domain); /* "ai.onnx" for "" */

/* ---------------------------------------------------------------- symbols.c */

/* Hash-consed expressions over named and anonymous sizes: a*s + b, products, floor quotients. Equal expressions have equal
** codes. In memory of a pool. */
typedef struct mien__symbols mien__symbols;
mien__symbols *mien__symbols_create(mien__pool *pool);
int64_t mien__symbol_named(mien__symbols *symbols, const char *name, size_t length);
int64_t mien__symbol_new(mien__symbols *symbols);
/* op as in mien_host.dim. Without symbols (NULL) and with symbolic operands: an anonymous symbol. */
int64_t mien__dim(mien__symbols *symbols, char op, int64_t a, int64_t b);
/* Whether a and b can never be equal for any sizes >= 0 (numbers that differ; N and N+1). */
bool mien__dim_differs(const mien__symbols *symbols, int64_t a, int64_t b);
const char *mien__dim_text(const mien__symbols *symbols, int64_t dim, char *text, size_t size);

/* ---------------------------------------------------------------- node.c, host.c, infer.c */

typedef struct mien__attr_value {
  const char *name;
  char kind;
  int64_t i;
  float f;
  mien_string s; /* NUL-terminated as well */
  int64_t count; /* of the lists */
  int64_t *ints;
  float *floats;
  mien_string *strings;
  mien_tensor *tensor;
} mien__attr_value;

/* A value during inference or execution. */
typedef struct mien__value {
  mien_tensor tensor; /* data: constant or, while running, memory */
  bool constant;
  int64_t *ints; /* known contents, may hold symbols; NULL: not known (constants: asked for lazily) */
  int64_t ints_count;
  const void *known; /* contents in the type's own form that follow from shapes and constants; NULL: not known. A value
                             that is known need not be computed at run time */
} mien__value;

/* Elements that shape arithmetic follows at most. */
#define MIEN__MAX_INTS 1024

/* What nodes of one graph or session share. */
typedef struct mien__scope {
  mien_env *env;
  mien__pool *pool;              /* contents; lives as long as the types */
  mien__symbols *symbols;        /* NULL: all sizes are known (execution) */
  struct mien__threads *threads; /* NULL: the calling thread alone */
  struct mien_plan *plan;        /* shares packed constants; NULL: packed for this node only */
  mien_error *error;             /* of the call under way; NULL allowed */
  bool packing;                  /* holds the lock on the plan's packings, which are filled later */
  atomic_int failed;             /* first failing thread writes error */
} mien__scope;

/* Output `out` is consecutive elements of input `in` from `first` on; with `joins` the input is such elements of the output. */
typedef struct mien__part {
  struct mien__part *next;
  int out, in;
  int64_t first;
  bool joins;
} mien__part;

/* Bytes somewhere. */
typedef struct mien__range {
  const char *data; /* NULL: none */
  size_t bytes;
} mien__range;

struct mien_node {
  const mien_host *host; /* must stay first */
  const mien__record *record;
  mien__scope *scope;
  const char *name;
  const mien__attr_value *attrs;
  int attr_count;
  int in_count, out_count;
  mien__value **in, **out; /* entries NULL when absent */
  mien_kernel_fn *run;     /* chosen by prepare */
  void *state;
  int64_t items;
  double cost;
  size_t scratch_bytes; /* per thread */
  bool prepared;
  struct mien__private_pack *packs; /* where scope->plan is NULL */
  void *own_scratch;                /* where scope->threads is NULL */
  double flops;                     /* as noted; 0: not */
  const char *kernel;               /* as noted; NULL: not */
  int64_t packed_extra;             /* bytes by which packed constants exceed the plain ones */
  struct mien__part *blocks;        /* as infer said; in the scope's pool */
  mien__range weights;              /* the largest constant that run reads: as it is, or packed */
  mien__range ahead;                /* weights that are read after this node, soon */
};

extern const mien_host mien__host; /* without math, which an env adds */

/* Points n at its parts (not copied) and checks arity and attributes against the record. */
mien_status mien__node_init(mien_node *n, mien__scope *scope, const mien__record *record, const char *name,
                            const mien__attr_value *attrs, int attr_count, mien__value **in, int in_count,
                            mien__value **out, int out_count);
/* Types of outputs, and their contents where those are shape arithmetic. Inputs' types must be set. When an input's rank
** is unknown, outputs get unknown rank and the type that the signature gives. Every output is checked: dims >= 0 or
** symbols, size without overflow. */
mien_status mien__node_infer(mien_node *n);
/* Chooses the kernel and calls prepare. All sizes known. */
mien_status mien__node_prepare(mien_node *n);
/* Runs over all items, on scope->threads. Input and output memory must be set. */
mien_status mien__node_run(mien_node *n);
void mien__node_clear(mien_node *n);
/* All of it for a node whose inputs are constants: outputs get memory of the env and become constant. Used to fold. */
mien_status mien__node_evaluate(mien_node *n);

/* infer.c: whether one type variable's dtypes agree, and outputs' types as the signature gives them. */
mien_status mien__infer_check_types(mien_node *n, bool outputs);
/* infer.c: dtype bound to type variable `variable` by inputs, then outputs; MIEN_NONE when open. */
int32_t mien__infer_variable(const mien_node *n, int variable);
/* Contents of a value in its own type, NULL where not known as numbers. */
static inline const void *mien__contents(const mien__value *v) { return v->constant ? v->tensor.data : v->known; }
/* host.c: packings made for this node alone. */
void mien__private_packs_free(mien_node *n);
/* fill(n, memory) as operators expect it: the input whose elements are at `data` is widened where it is float16. */
mien_status mien__fill_packed(mien_node *n, const void *data, mien_status (*fill)(mien_node *n, void *memory),
                              void *memory);
/* infer.c: contents of outputs from contents of inputs. */
mien_status mien__infer_contents(mien_node *n);

/* ---------------------------------------------------------------- threads.c */

typedef struct mien__threads mien__threads;
/* count 0: what this process may use. */
mien_status mien__threads_create(mien_env *env, int count, mien__threads **threads, mien_error *error);
void mien__threads_destroy(mien__threads *threads);
int mien__threads_count(const mien__threads *threads);
int mien__threads_default(void);
/* Splits [0, count) into pieces worth at least some microseconds by `cost` (ns an item), aligned so that results do not
** depend on the split. Returns the first failure. */
mien_status mien__threads_run(mien__threads *threads, mien_node *n, int64_t count, double cost, mien_task_fn *fn,
                              void *arg);
/* fn on the calling thread, in the operator's mode for subnormal numbers. n may be NULL. */
mien_status mien__call(mien_node *n, mien_task_fn *fn, void *arg, int64_t begin, int64_t end);
/* Which thread calls: 0 for the one that runs the session. */
int mien__threads_lane(const mien__threads *threads);
/* Memory of the calling worker; grown before running by mien__threads_reserve. */
void *mien__threads_scratch(mien__threads *threads);
mien_status mien__threads_reserve(mien__threads *threads, size_t bytes, mien_error *error);
/* Around the nodes of one run. begin: MIEN_INVALID_ARGUMENT in a forked child, where the workers do not exist; afterwards the
** caller computes in the default floating-point environment, as the workers do. rest: workers stop spinning, the caller's
** environment is back. Between them workers wait for the next node actively. */
mien_status mien__threads_begin(mien__threads *threads, mien_error *error);
void mien__threads_rest(mien__threads *threads);
/* CPUs that cgroup quotas (v2 and v1) leave to a process, rounded up; 0: no limit. root: "/sys/fs/cgroup", self:
** "/proc/self/cgroup". */
int mien__cpu_quota(const char *root, const char *self);
/* Processors that affinity and the quota leave to this process. */
int mien__cpus(void);

/* ---------------------------------------------------------------- observe.c */

/* Whom to tell, and the node and phase under way. */
typedef struct mien__watch {
  mien_observe_fn *observe;
  void *context;
  uint32_t node, phase; /* phase: the next one's number */
} mien__watch;
void mien__watch_tell(const mien__watch *watch, mien_event_kind kind, bool end, int thread, uint32_t phase,
                      int64_t first, int64_t last);
void mien__watch_node(mien__watch *watch, uint32_t node, bool end);
/* threads.c: phases and work of later runs are told to `watch` (NULL: to nobody). Returns who was told before. */
mien__watch *mien__threads_watch(mien__threads *threads, mien__watch *watch);

/* ---------------------------------------------------------------- arena.c */

/* One value's life: instructions [first, last], both inclusive. */
typedef struct mien__life {
  size_t bytes;
  int32_t first, last;
  size_t offset; /* out; multiple of 64 */
} mien__life;
/* Places lives so that no two that overlap in time overlap in memory; gives the arena's size and the largest sum alive. */
mien_status mien__arena_plan(mien_env *env, mien__life *lives, size_t count, size_t *arena, size_t *live,
                             mien_error *error);

/* ---------------------------------------------------------------- plan_*.c, plan.c */

typedef struct mien__instruction {
  const mien__record *record;
  const char *name;
  const mien__attr_value *attrs;
  int attr_count;
  const uint32_t *in, *out; /* value indices + 1; 0: absent */
  int in_count, out_count;
} mien__instruction;

typedef struct mien__port {
  uint32_t value; /* index + 1 */
  mien_port port;
} mien__port;

/* A checked program. All memory is the plan's. */
typedef struct mien__program {
  mien__value *values; /* constants point into the mapping */
  uint32_t value_count;
  const char **value_names; /* ONNX names or NULL */
  mien__instruction *instructions;
  uint32_t instruction_count;
  mien__port *inputs, *outputs;
  uint32_t input_count, output_count;
} mien__program;

struct mien_plan {
  mien_env *env;
  atomic_int references;
  mien__pool pool;
  const uint8_t *file; /* mapping or copy */
  size_t file_size;
  bool mapped;
  mien__program program;
  struct Mien__Plan__Names *names;
  struct Mien__Plan__Meta *meta;
  struct Mien__Plan__Check *check;
  char *notice, *json;
  struct mien__packs *packs; /* packed constants, shared by sessions */
  uint32_t flags, version;
  const uint8_t *constants; /* section of the file */
  size_t section_bytes[6];  /* by kind */
  struct Mien__Plan__Program *source;
  mien_tensor *tensors; /* of source->constants, into the file */
  uint32_t *recipes;    /* by constant: index into names->recipes plus 1; 0: none */
};
void mien__plan_retain(struct mien_plan *plan);
/* Bytes of all packings so far. */
size_t mien__plan_packed_bytes(const struct mien_plan *plan);
/* Around the preparation of a session's nodes: meanwhile the lock is held and packings are noted; end fills them with the
** session's threads when status is MIEN_OK, otherwise forgets them. Returns status or how filling failed. */
void mien__plan_pack_begin(struct mien_plan *plan, mien__scope *scope);
mien_status mien__plan_pack_end(struct mien_plan *plan, mien__scope *scope, mien_status status);
/* Packed memory of constant `data` under `kind`, made once by fill: at once, or with `later` when the nodes that are being
** prepared all are. Thread-safe. */
mien_status mien__plan_packed(struct mien_plan *plan, mien_node *n, const void *data, const char *kind, size_t bytes,
                              mien_status (*fill)(mien_node *n, void *memory), bool later, const void **memory);

/* ---------------------------------------------------------------- predict.c */

/* Philox4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011). */
void mien__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* ---------------------------------------------------------------- golden.c */

/* Element i of the seeded input `input`: f32 roughly standard normal, integers 0 or 1 ..., the same on every machine. */
mien_status mien__golden_fill(uint64_t seed, uint32_t input, mien_tensor *tensor, mien_error *error);

/* ---------------------------------------------------------------- wire.c */

/* Scans protobuf bytes along a message's descriptor before protobuf-c sees them: nesting <= depth, no group, no bad varint
** or length, singular messages at most once, strings without NUL and in UTF-8, predicted memory <= budget. */
struct ProtobufCMessageDescriptor;
mien_status mien__wire_check(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                             uint32_t depth, uint64_t budget, const char *what, mien_error *error);
/* The same; info (may be NULL) tells what unpacking will take, and the first field that no descriptor knows. */
typedef struct mien__wire_info {
  uint64_t memory;
  const char *unknown_message; /* static; NULL: every field is known */
  uint32_t unknown_field;
} mien__wire_info;
mien_status mien__wire_scan(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                            uint32_t depth, uint64_t budget, const char *what, mien__wire_info *info,
                            mien_error *error);
/* Scan, then unpack into the pool. Tells damage (MIEN_CORRUPT) from want of memory. info may be NULL. */
struct ProtobufCMessage;
mien_status mien__wire_unpack(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                              uint32_t depth, uint64_t budget, const char *what, mien__pool *pool,
                              mien__wire_info *info, struct ProtobufCMessage **message, mien_error *error);
/* UTF-8 (no overlong forms, no surrogates) without NUL. */
bool mien__utf8_valid(const char *data, size_t length);
/* An allocator for protobuf-c over a pool: zeroed, within the pool's budget. */
struct ProtobufCAllocator;
void mien__wire_allocator(mien__pool *pool, struct ProtobufCAllocator *allocator);

/* ---------------------------------------------------------------- file.c */

/* Whole regular file, mapped read-only (copy false) or read. Empty files give size 0. */
typedef struct mien__file {
  const uint8_t *data;
  size_t size;
  bool mapped;
} mien__file;
mien_status mien__file_open(mien_env *env, const char *path, bool copy, mien__file *file, mien_error *error);
/* The same from a descriptor, which stays open; what: its name in messages. */
mien_status mien__file_from_fd(mien_env *env, int fd, const char *what, bool copy, mien__file *file, mien_error *error);
void mien__file_close(mien_env *env, mien__file *file);
/* Writes beside `path`, syncs, renames: the old file or the new one, never half of one. commit false: removes the temporary file. */
typedef struct mien__writer mien__writer;
mien_status mien__writer_create(mien_env *env, const char *path, mien__writer **writer, mien_error *error);
mien_status mien__writer_write(mien__writer *writer, const void *data, size_t size, mien_error *error);
mien_status mien__writer_flush(mien__writer *writer, mien_error *error);
const char *mien__writer_temporary(const mien__writer *writer); /* its path, to open (flushed) before the rename */
mien_status mien__writer_finish(mien__writer *writer, bool commit, mien_error *error); /* frees the writer */

#endif
