/* Seeded inputs, the same bits on every machine: integers all the way, then one exact conversion. */
#include "internal.h"

#include <string.h>

#define GOLDEN_TAG 0x676f6c64u /* keeps these counters apart from those of predict.c */

/* The sum of eight 16-bit numbers minus its mean, scaled to variance 1 in units of 2^-16: within +-4.9, near enough to a
** normal number to exercise a network. */
static int32_t golden_number(const uint32_t bits[4]) {
  int64_t sum = 0;
  for (int i = 0; i < 4; i++) sum += (bits[i] & 0xffff) + (bits[i] >> 16);
  return (int32_t)((sum - 262140) * 80264 / 65536);
}

/* 0 or 1 in the type's own bits. */
static bool golden_one(int32_t dtype, uint8_t one[16]) {
  memset(one, 0, 16);
  switch (dtype) {
    case MIEN_BOOL:
    case MIEN_U8:
    case MIEN_I8:
    case MIEN_U16:
    case MIEN_I16:
    case MIEN_U32:
    case MIEN_I32:
    case MIEN_U64:
    case MIEN_I64:
    case MIEN_U4:
    case MIEN_I4:
    case MIEN_U2:
    case MIEN_I2: break;
    default: return false;
  }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  one[0] = 1;
#else
  one[mien_dtype_bytes(dtype) - 1] = 1;
#endif
  return true;
}

static void golden_store(int32_t dtype, void *data, int64_t i, int32_t number) {
  float value = (float)number / 65536.0f; /* exact: fewer than 24 bits, a power of two */
  switch (dtype) {
    case MIEN_F32: ((float *)data)[i] = value; break;
    case MIEN_F64: ((double *)data)[i] = value; break;
    case MIEN_F16: ((uint16_t *)data)[i] = mien__f32_to_f16(value); break;
    default: ((uint16_t *)data)[i] = mien__f32_to_bf16(value); break;
  }
}

mien_status mien__golden_fill(uint64_t seed, uint32_t input, mien_tensor *tensor, mien_error *error) {
  int32_t dtype = tensor->type.dtype;
  int64_t count = mien_count(&tensor->type);
  if (count < 0) return mien__fail(error, MIEN_INVALID_ARGUMENT, "a seeded input needs a known shape");
  bool real = dtype == MIEN_F32 || dtype == MIEN_F64 || dtype == MIEN_F16 || dtype == MIEN_BF16;
  uint8_t one[16];
  if (!real && !golden_one(dtype, one))
    return mien__fail(error, MIEN_UNSUPPORTED, "seeded inputs of type %s are not defined", mien_dtype_name(dtype));
  size_t size = mien_dtype_bytes(dtype);
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits[4], counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), input, GOLDEN_TAG};
    mien__philox(counter, key, bits);
    if (real)
      golden_store(dtype, tensor->data, i, golden_number(bits));
    else if (bits[0] & 1)
      memcpy((uint8_t *)tensor->data + (size_t)i * size, one, size);
    else
      memset((uint8_t *)tensor->data + (size_t)i * size, 0, size);
  }
  return MIEN_OK;
}
