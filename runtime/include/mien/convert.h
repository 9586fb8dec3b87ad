/* mien/convert.h -- the converter (libmien_convert): ONNX model in, plan file out. */
#ifndef MIEN_CONVERT_H
#define MIEN_CONVERT_H

#include <mien/mien.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a plan's weights are stored in and its products computed in. Everything else is fp32 whatever is chosen: norms, softmax,
** Winograd's convolutions, biases, the operators of plugins. */
typedef enum mien_precision {
  MIEN_PRECISION_FP32,
  /* Linear layers, and convolutions that neither Winograd's method at stride 1 nor the depthwise kernel may take, of 8 and more
  ** channels a group: weights stored in bfloat16, inputs rounded to it, sums in fp32, with the same bits on every instruction
  ** set. */
  MIEN_PRECISION_BF16,
  /* The same in integers of 16 bits, with a step for each row's and column's every 512 values: about eight times nearer to fp32 than
  ** bfloat16. Weights are stored in float16; products whose weights that cannot hold stay fp32. */
  MIEN_PRECISION_INT16,
  /* Weights of all linear layers and convolutions stored in float16, widened when a session packs them: half the file. */
  MIEN_PRECISION_FP16_WEIGHTS
} mien_precision;

/* "fp32", "bf16", "int16", "fp16-weights", as `mien convert --precision` takes them; NULL when it is none. Static, from any thread. */
MIEN_API const char *mien_precision_name(mien_precision precision);

typedef struct mien_convert_options {
  const char *const *skip_passes; /* ends with NULL; may be NULL. An unknown name is an error */
  int stop_after_patch;           /* applies only the first so many patches; 0: all */
  int verify;                     /* seeded inputs that the imported graph and the plan are compared on; 0: none */
  uint64_t seed;                  /* of those and of the golden input */
  /* Called between steps; may be NULL. done and total count what `step` is about. */
  void (*progress)(void *context, const char *step, int done, int total);
  void *progress_context;
  mien_precision precision;
  /* With MIEN_PRECISION_BF16 or _INT16: rounds only so many products that outputs of floats stay this near to those of the fp32 plan
  ** (absolute), by seeded inputs: the largest difference and five times the root mean square. Products that bfloat16 is too coarse for
  ** are in 16-bit integers where that is enough for all of them, which are as fast; then in fp32. The model is converted once for
  ** each product. 0: rounds all. The plan then depends on how fp32 rounds on this machine's instruction set, too. */
  double max_error;
} mien_convert_options;

/* What `mien convert` prints at its end; freed by mien_convert_report_free. */
typedef struct mien_convert_report {
  char *
      json; /* schema 1: nodes before and after by operator, passes and patches, constants' bytes, arena bytes, largest errors */
  char *text; /* the same for people */
} mien_convert_report;

/* Converts onnx_path to plan_path: import, passes, memory plan, plan file. The plan is opened and run once before it gets its name;
** on failure nothing is left behind. All unsupported nodes are named in one error (the first lines in error->message, all of
** them in report->text when report is not NULL). options and report may be NULL. Thread-safe for distinct paths. */
MIEN_API MIEN_CHECKED mien_status mien_convert(mien_env *env, const char *onnx_path, const char *plan_path,
                                               const mien_convert_options *options, mien_convert_report *report,
                                               mien_error *error);
MIEN_API void mien_convert_report_free(mien_env *env, mien_convert_report *report);

/* One row of the pass list, in the order of application. Strings belong to the env. */
typedef struct mien_pass_info {
  const char *name, *doc, *stage, *plugin; /* plugin NULL: built in */
} mien_pass_info;
MIEN_API MIEN_CHECKED mien_status mien_convert_passes(mien_env *env, mien_pass_info *rows, size_t *count,
                                                      mien_error *error);

/* Reads an ONNX TensorProto (.pb) into memory of the env; freed by mien_tensor_clear. */
MIEN_API MIEN_CHECKED mien_status mien_tensor_proto_read(mien_env *env, const char *path, mien_tensor *tensor,
                                                         mien_error *error);

#ifdef __cplusplus
}
#endif
#endif
