/* mien/mien.h -- the user API: open a plan, create a session, run it.
**
** Handles are opaque. Every fallible function returns mien_status, gives its result through trailing
** out-parameters (untouched on failure) and fills *error when that is not NULL. The library prints nothing,
** opens no socket, never exits and keeps no global state.
**
** Threads: an env and a plan may be used from any number of threads at once. A session is used by one thread
** at a time; different sessions are independent. Closing in any order is safe: sessions keep their plan, plans their
** env, until the last of them is gone. */
#ifndef MIEN_MIEN_H
#define MIEN_MIEN_H

#include <mien/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIEN_VERSION_MAJOR 0
#define MIEN_VERSION_MINOR 1
#define MIEN_VERSION_PATCH 0

/* "0.1.0", of the library that runs. Static. */
MIEN_API const char *mien_version(void);
/* "MIEN_NO_MEMORY" and "allocation failed". Static; for an unknown code "unknown status". */
MIEN_API const char *mien_status_name(mien_status status);
MIEN_API const char *mien_status_text(mien_status status);
/* "f32"; "none" for what is no element type. Static. */
MIEN_API const char *mien_dtype_name(int32_t dtype);
/* Bytes of one element in memory; 0 for what is no element type. */
MIEN_API size_t mien_dtype_size(int32_t dtype);

/* ---- env: allocator, limits, plugins */

/* One function, as in Lua: new_size 0 frees, pointer NULL allocates, else resizes. NULL on failure (then the old block
** stays). Blocks are aligned to 16 bytes. Called from any thread that uses a handle made with it. */
typedef void *mien_alloc_fn(void *context, void *pointer, size_t old_size, size_t new_size);

/* What an untrusted file may ask for. 0 means the default. */
typedef struct mien_limits {
  uint32_t depth;        /* nested messages, subgraphs, functions: 100 */
  uint32_t nodes;        /* nodes of a model after inlining: 1000000 */
  uint64_t tensor_bytes; /* one tensor: 2^31 */
  uint64_t load_bytes;   /* all memory that reading a model or plan takes beside its file: 8 GiB */
  uint64_t arena_bytes;  /* activations of one session: 8 GiB */
  uint64_t folded_bytes; /* a constant that folding may create from one node: 64 MiB */
  uint64_t pixels;       /* of a picture: 64 Mi */
} mien_limits;

typedef struct mien_env_options {
  mien_alloc_fn *alloc; /* NULL: malloc */
  void *alloc_context;
  mien_limits limits;
} mien_env_options;

typedef struct mien_env mien_env;

/* options may be NULL. The result is destroyed by mien_env_destroy (NULL allowed). The kernels are chosen here: the best that
** this machine runs, or those that the environment variable MIEN_ISA names ("portable", "avx2", "avx512", "avx512_bf16",
** "neon"); one that the machine does not run is MIEN_INVALID_ARGUMENT. */
MIEN_API MIEN_CHECKED mien_status mien_env_create(const mien_env_options *options, mien_env **env, mien_error *error);
MIEN_API void mien_env_destroy(mien_env *env);

/* Loads a plugin library by path (a path without '/' is looked for in the current directory, never in the
** system's search path). Its operators are there for plans opened afterwards. Plugins stay loaded until
** the env is gone. MIEN_PLUGIN when it is no plugin, has another ABI, or claims a known operator. Not
** thread-safe against other calls with the same env that open plans or list operators. */
MIEN_API MIEN_CHECKED mien_status mien_env_load_plugin(mien_env *env, const char *path, mien_error *error);
/* Loads every *.so of the directories in `path`, separated by ':'; directories that do not exist are skipped, and so
** are plugins of a name that is loaded already. */
MIEN_API MIEN_CHECKED mien_status mien_env_load_plugins(mien_env *env, const char *path, mien_error *error);
/* The directory where the installation keeps its own plugins. Static. */
MIEN_API const char *mien_plugin_directory(void);

/* One row of the operator table. Strings belong to the env. */
typedef struct mien_op_info {
  const char *domain, *name, *signature, *doc, *plugin; /* plugin NULL: built in */
  int since, until;                                     /* until 0: current */
  const int32_t *dtypes;                                /* of T, ends with MIEN_NONE; MIEN_ANY: all */
} mien_op_info;
MIEN_API size_t mien_env_op_count(const mien_env *env);
MIEN_API MIEN_CHECKED mien_status mien_env_op(const mien_env *env, size_t index, mien_op_info *info);

/* ---- plan */

typedef struct mien_plan mien_plan;

enum {
  MIEN_PLAN_COPY = 1,      /* read the file instead of mapping it: survives other programs truncating it */
  MIEN_PLAN_NO_PLUGINS = 2 /* run plugin operators through their carried decomposition */
};

/* Maps and checks a plan file completely; afterwards only its constants are read from the mapping. MIEN_CORRUPT
** names the section. The result is released by mien_plan_close (NULL allowed). */
MIEN_API MIEN_CHECKED mien_status mien_plan_open(mien_env *env, const char *path, uint32_t flags, mien_plan **plan,
                                                 mien_error *error);
/* The same from memory, which is copied. */
MIEN_API MIEN_CHECKED mien_status mien_plan_open_memory(mien_env *env, const void *data, size_t size, uint32_t flags,
                                                        mien_plan **plan, mien_error *error);
MIEN_API void mien_plan_close(mien_plan *plan);

/* One input or output. Strings belong to the plan. A symbolic dimension has type.dim = -1 and its name in
** dim_name; fixed ones have dim_name NULL. */
typedef struct mien_port {
  const char *name;
  mien_type type;
  const char *dim_name[MIEN_MAX_RANK];
} mien_port;
MIEN_API size_t mien_plan_input_count(const mien_plan *plan);
MIEN_API size_t mien_plan_output_count(const mien_plan *plan);
MIEN_API MIEN_CHECKED mien_status mien_plan_input(const mien_plan *plan, size_t index, mien_port *port);
MIEN_API MIEN_CHECKED mien_status mien_plan_output(const mien_plan *plan, size_t index, mien_port *port);

/* One line for each plugin operator that runs through its decomposition because its plugin is missing: "" when
** there is none. Belongs to the plan. The program prints it once. */
MIEN_API const char *mien_plan_notice(const mien_plan *plan);
/* Everything that `mien info --json` prints, as JSON text that belongs to the plan: inputs, outputs, operators, constants
** with their origin in the checkpoint, meta, picture contract, labels, golden values' names. NULL when there is no memory. */
MIEN_API const char *mien_plan_json(const mien_plan *plan);

/* How a picture becomes an input. Strings and arrays belong to the plan. */
typedef struct mien_picture {
  const char *input;     /* name of the input it is for */
  int32_t width, height; /* after resizing the whole picture */
  const char *resize;    /* "pillow-bilinear": triangle filter with antialiasing, as Pillow's BILINEAR */
  const char *color;     /* "RGB" or "BGR" */
  float scale;           /* pixel / scale, before mean and std; 255 */
  float mean[3], std[3];
} mien_picture;
/* MIEN_UNSUPPORTED when the plan carries no contract. */
MIEN_API MIEN_CHECKED mien_status mien_plan_picture(const mien_plan *plan, mien_picture *picture, mien_error *error);
/* Labels of the classes in the order of the outputs; count 0 when the plan has none. */
MIEN_API const char *const *mien_plan_labels(const mien_plan *plan, size_t *count);

/* Reads a JPEG or PNG file (by content, not by name) and makes the planes that the contract wants: float32
** 3 x height x width in `out` (that many elements). Alpha is dropped, grey is repeated, EXIF orientation is ignored as by
** Pillow's open. A truncated file is an error. */
MIEN_API MIEN_CHECKED mien_status mien_picture_read(mien_env *env, const char *path, const mien_picture *picture,
                                                    float *out, mien_error *error);

/* ---- session */

typedef struct mien_session mien_session;

typedef struct mien_session_options {
  int threads; /* 0: what affinity, the cgroup's quota and OMP_NUM_THREADS allow; 1: the caller alone */
} mien_session_options;

/* options may be NULL. Packs constants (once a plan), starts threads, plans memory when all input dimensions are
** known. Destroyed by mien_session_destroy (NULL allowed). */
MIEN_API MIEN_CHECKED mien_status mien_session_create(mien_plan *plan, const mien_session_options *options,
                                                      mien_session **session, mien_error *error);
MIEN_API void mien_session_destroy(mien_session *session);

typedef struct mien_binding {
  const char *name;
  mien_tensor tensor;
} mien_binding;

/* Runs the plan. Every input of the plan must be given once, dense, of the declared type; its dimensions must fit the
** declared ones and one symbol's must agree. Inputs are only read. Outputs: those named are computed into tensor.data
** (tensor.bytes must suffice; type is filled in); with data NULL, data is set to memory of the session that is valid until its
** next run. Result bits do not depend on threads or on how a batch is split. On failure no output is valid. The caller's thread
** works too: it needs 256 KB of stack, as in mien_session_create. */
MIEN_API MIEN_CHECKED mien_status mien_session_run(mien_session *session, const mien_binding *inputs,
                                                   size_t input_count, mien_binding *outputs, size_t output_count,
                                                   mien_error *error);

typedef struct mien_session_info {
  int threads;
  const char *isa;     /* chosen kernels, static */
  size_t arena_bytes;  /* of the current shapes; 0 before the first run with open dimensions */
  size_t live_bytes;   /* the largest set of values alive at once */
  size_t packed_bytes; /* of the plan, shared by its sessions */
} mien_session_info;
MIEN_API void mien_session_get_info(const mien_session *session, mien_session_info *info);

/* The value of any tensor of the last run by its ONNX name needs it kept: names the values to keep in later runs (their
** memory is not reused). MIEN_INVALID_ARGUMENT when a name is not in the plan; the message says into what it was fused. They
** are then read as outputs of mien_session_run. */
MIEN_API MIEN_CHECKED mien_status mien_session_keep(mien_session *session, const char *const *names, size_t count,
                                                    mien_error *error);

/* ---- profile: what happened in a run, and when. `mien profile` is built on these. */

typedef enum mien_event_kind {
  MIEN_EVENT_RUN,   /* mien_session_run, from the check of its inputs to its end */
  MIEN_EVENT_NODE,  /* one node of the plan */
  MIEN_EVENT_PHASE, /* work shared out to the threads: a node has any number of phases, one after another */
  MIEN_EVENT_WORK   /* consecutive items of a phase on one thread */
} mien_event_kind;

typedef struct mien_event {
  mien_event_kind kind;
  bool end;            /* it begins, or it ends */
  int32_t thread;      /* from 0: the one that called mien_session_run */
  uint32_t node;       /* its index, for mien_session_node; not for RUN */
  uint32_t phase;      /* from 0 in every node; for PHASE and WORK */
  int64_t first, last; /* WORK: items [first, last); PHASE: 0 and how many there are */
  int64_t time_ns;     /* of CLOCK_MONOTONIC */
} mien_event;

/* Every begin has its end, also in a run that fails, and in one thread they nest: a run holds nodes, a node phases, a phase
** work; where a phase is a single piece of work that is shared out again, that work holds phases. RUN, NODE and PHASE come on
** the thread that runs the session; WORK on the thread that does it, so several may come at once, but all of a phase before
** its end. `event` is valid during the call. The function must not use the session; its time counts as that of what it is
** told of. */
typedef void mien_observe_fn(void *context, const mien_event *event);

/* Tells `observe` of all later runs; NULL: no longer, and runs then cost what they did before. Results do not change.
** MIEN_INVALID_ARGUMENT while a run is under way. */
MIEN_API MIEN_CHECKED mien_status mien_session_observe(mien_session *session, mien_observe_fn *observe, void *context,
                                                       mien_error *error);

/* One node, for the sizes of the last run. Strings belong to the plan; kernel is valid until the session runs with other
** sizes or keeps other values. */
typedef struct mien_node_info {
  const char *name;        /* in the ONNX file */
  const char *domain, *op; /* domain "ai.onnx" for standard operators */
  int since;               /* version of the operator */
  bool runs;               /* false: a view, or known from shapes alone; then what follows `type` is empty */
  mien_type type;          /* of its first output; rank -1: depends on data */
  const char *kernel;      /* "winograd F(4,3)", "loop"; "" where sizes depend on data */
  double flops;            /* by the operator's definition, whatever the kernel saves; 0: not counted */
  double bytes;            /* inputs and outputs once, constants as they were packed */
  int64_t items;           /* of work */
} mien_node_info;
MIEN_API size_t mien_session_node_count(const mien_session *session);
MIEN_API MIEN_CHECKED mien_status mien_session_node(const mien_session *session, size_t index, mien_node_info *info);

/* Where values lie in the arena: bytes [offset, offset + bytes) belong to the value and to those computed in its place from node
** `first` to node `last`, both included; last = the number of nodes: to the end of the run. The name is that in the ONNX
** file, "" where it has none there. */
typedef struct mien_place {
  const char *name;
  mien_type type;
  size_t offset, bytes;
  uint32_t first, last;
} mien_place;
/* Fills up to *count and sets *count to how many there are, by `first`; none before sizes are known or where they depend on data. */
MIEN_API MIEN_CHECKED mien_status mien_session_places(const mien_session *session, mien_place *places, size_t *count);

/* Floating-point operations a second that the session's threads do together at best with its kernels' instruction set, fp32:
** multiply-adds in registers (two operations each), per second of processor time, the best of many short attempts. Takes some
** 30 ms, more on a busy machine. */
MIEN_API MIEN_CHECKED mien_status mien_session_peak(mien_session *session, double *flops_per_second, mien_error *error);

/* ---- golden values */

typedef struct mien_check_row {
  const char *name; /* value, belongs to the plan */
  double max_abs, max_rel;
  double tolerance; /* absolute, scaled by the largest expected magnitude */
  bool good;
} mien_check_row;
/* Runs the golden input that the plan carries and compares with the recorded outputs. Fills up to *count rows and sets *count
** to how many there are. MIEN_MISMATCH when a row is not good, MIEN_UNSUPPORTED when the plan has no golden values. */
MIEN_API MIEN_CHECKED mien_status mien_session_check(mien_session *session, mien_check_row *rows, size_t *count,
                                                     mien_error *error);

/* ---- uncertainty: the predictive distribution of a VICH head */

typedef struct mien_predict_options {
  int64_t samples; /* S >= 0; 0: the paper's test-time rule, z = mu */
  uint64_t seed;
  double credible; /* mass of the intervals, e.g. 0.95 */
} mien_predict_options;

/* For one item. Arrays of `classes` elements, owned by the caller; NULL: not wanted. With S = 0: p = softmax(mu), sd = 0,
** low = high = p and the entropies are those of p. */
typedef struct mien_prediction {
  double *p, *sd;          /* mean and standard deviation over samples of softmax(mu + exp(logvar / 2) * eps) */
  double *low, *high;      /* equal-tailed credible interval of each class's probability */
  double *z_mean, *z_var;  /* sample mean and variance of z itself */
  double entropy;          /* predictive: H(mean p), nats */
  double expected_entropy; /* mean H(p) */
  double information;      /* their difference: mutual information */
} mien_prediction;

/* eps is drawn by Philox4x32-10 keyed by `seed` with counter (item, sample, class), turned into normals by the Box-Muller
** transform in double precision: it depends on nothing else. item: index of the picture in the caller's data set. Thread-safe. */
MIEN_API MIEN_CHECKED mien_status mien_predict(const mien_env *env, const mien_predict_options *options, uint64_t item,
                                               size_t classes, const float *mu, const float *logvar,
                                               mien_prediction *prediction, mien_error *error);
/* The generator itself: one standard normal number. */
MIEN_API double mien_normal(uint64_t seed, uint64_t item, uint64_t sample, uint32_t index);

/* ---- tensors in files */

/* Reads a .npy file (format 1.0 to 3.0; C and Fortran order; little endian) into memory of the env; freed by
** mien_tensor_clear. */
MIEN_API MIEN_CHECKED mien_status mien_npy_read(mien_env *env, const char *path, mien_tensor *tensor,
                                                mien_error *error);
/* Written aside, synced, renamed. */
MIEN_API MIEN_CHECKED mien_status mien_npy_write(mien_env *env, const char *path, const mien_tensor *tensor,
                                                 mien_error *error);
MIEN_API void mien_tensor_clear(mien_env *env, mien_tensor *tensor);

#ifdef __cplusplus
}
#endif
#endif
