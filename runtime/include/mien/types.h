/* mien/types.h -- what the user API (mien.h) and the operator ABI (plugin.h) share: status codes,
** element types, the type of a value and a tensor. Plain data; no function of libmien is needed. */
#ifndef MIEN_TYPES_H
#define MIEN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MIEN_CHECKED __attribute__((warn_unused_result))
#define MIEN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MIEN_API __attribute__((visibility("default")))
#else
#define MIEN_CHECKED
#define MIEN_PRINTF(fmt, args)
#define MIEN_API
#endif

/* One list, three uses: the enum, the names, the descriptions. Append only. */
#define MIEN_STATUS_MAP(X)                                                \
  X(OK, "success")                                                        \
  X(INVALID_ARGUMENT, "the caller passed something the contract forbids") \
  X(INVALID_MODEL, "the model contradicts its own schema")                \
  X(UNSUPPORTED, "well-formed, but mien has no implementation")           \
  X(CORRUPT, "a plan, tensor or picture file is damaged")                 \
  X(LIMIT, "a limit of mien_limits was exceeded")                         \
  X(NO_MEMORY, "allocation failed")                                       \
  X(IO, "the operating system refused")                                   \
  X(PLUGIN, "a plugin could not be loaded or broke its contract")         \
  X(MISMATCH, "computed values differ from the recorded ones")            \
  X(INTERNAL, "a defect of mien; please report it")

typedef enum mien_status {
#define X(name, text) MIEN_##name,
  MIEN_STATUS_MAP(X)
#undef X
} mien_status;

/* Filled on failure by functions that take it; NULL is allowed there. Owned by the caller. */
typedef struct mien_error {
  mien_status code;
  char message[512]; /* one line of UTF-8, NUL-terminated */
} mien_error;

/* Element types: (name, ONNX TensorProto.DataType, bytes of one element in memory, short name).
** 4-bit and 2-bit elements take one byte in memory and are packed in files only. */
#define MIEN_DTYPE_MAP(X)            \
  X(F32, 1, 4, "f32")                \
  X(U8, 2, 1, "u8")                  \
  X(I8, 3, 1, "i8")                  \
  X(U16, 4, 2, "u16")                \
  X(I16, 5, 2, "i16")                \
  X(I32, 6, 4, "i32")                \
  X(I64, 7, 8, "i64")                \
  X(STRING, 8, 16, "string")         \
  X(BOOL, 9, 1, "bool")              \
  X(F16, 10, 2, "f16")               \
  X(F64, 11, 8, "f64")               \
  X(U32, 12, 4, "u32")               \
  X(U64, 13, 8, "u64")               \
  X(C64, 14, 8, "c64")               \
  X(C128, 15, 16, "c128")            \
  X(BF16, 16, 2, "bf16")             \
  X(F8E4M3FN, 17, 1, "f8e4m3fn")     \
  X(F8E4M3FNUZ, 18, 1, "f8e4m3fnuz") \
  X(F8E5M2, 19, 1, "f8e5m2")         \
  X(F8E5M2FNUZ, 20, 1, "f8e5m2fnuz") \
  X(U4, 21, 1, "u4")                 \
  X(I4, 22, 1, "i4")                 \
  X(F4E2M1, 23, 1, "f4e2m1")         \
  X(F8E8M0, 24, 1, "f8e8m0")         \
  X(U2, 25, 1, "u2")                 \
  X(I2, 26, 1, "i2")

typedef enum mien_dtype {
  MIEN_NONE = 0,
#define X(name, onnx, bytes, text) MIEN_##name = onnx,
  MIEN_DTYPE_MAP(X)
#undef X
      MIEN_ANY = 255 /* in a kernel table only: runs on every type by element size */
} mien_dtype;

typedef struct mien_string {
  const char *data; /* not NUL-terminated */
  size_t length;    /* bytes */
} mien_string;

#define MIEN_MAX_RANK 16

/* A dimension is a number >= 0 or, while a graph is inferred with open sizes, a symbol: an
** encoded reference to an expression such as N, 2*N or floor(W/2)+1. Values far below any
** legitimate number, so that they can stand in int64 shape tensors beside -1. */
#define MIEN_SYMBOL_MAX (INT64_MIN + ((int64_t)1 << 31))
static inline bool mien_is_symbol(int64_t dim) { return dim < MIEN_SYMBOL_MAX; }

/* What surrounds the tensor of a type, outermost first; all zero for a plain tensor. */
typedef enum mien_nest { MIEN_TENSOR = 0, MIEN_SEQUENCE = 1, MIEN_OPTIONAL = 2, MIEN_MAP = 3 } mien_nest;

typedef struct mien_type {
  uint8_t nest[3];  /* mien_nest, e.g. {MIEN_OPTIONAL, MIEN_SEQUENCE, MIEN_TENSOR} */
  uint8_t key;      /* mien_dtype of a map's keys */
  int32_t dtype;    /* mien_dtype of the innermost tensor's elements; MIEN_NONE: not known yet */
  int32_t rank;     /* 0 .. MIEN_MAX_RANK; -1: not known yet */
  int32_t reserved; /* 0 */
  int64_t dim[MIEN_MAX_RANK];
} mien_type;

/* A value in memory: row-major, no gaps. For a sequence or map, data points to a mien_list. */
typedef struct mien_tensor {
  mien_type type;
  void *data;
  size_t bytes; /* of data; at least elements x element size */
} mien_tensor;

typedef struct mien_list {
  int64_t count;
  mien_tensor *items; /* values, all of one type */
  mien_tensor *keys;  /* maps only: rank 1, count elements */
} mien_list;

#ifdef __cplusplus
}
#endif
#endif
