/* dtype.c -- facts about element types, and conversions of the half types. */
#include "internal.h"

#include <string.h>

bool mien__dtype_valid(int64_t dtype) {
  switch (dtype) {
#define X(name, onnx, bytes, text) case onnx:
    MIEN_DTYPE_MAP(X)
#undef X
    return true;
  }
  return false;
}

const char *mien_dtype_name(int32_t dtype) {
  switch (dtype) {
#define X(name, onnx, bytes, text) \
  case onnx: return text;
    MIEN_DTYPE_MAP(X)
#undef X
  }
  return "none";
}

size_t mien_dtype_size(int32_t dtype) { return mien_dtype_bytes(dtype); }

int32_t mien__dtype_named(const char *name, size_t length) {
#define X(enumerator, onnx, bytes, text) \
  if (length == sizeof text - 1 && memcmp(name, text, length) == 0) return onnx;
  MIEN_DTYPE_MAP(X)
#undef X
  return MIEN_NONE;
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

float mien__f16_to_f32(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31u, mantissa = h & 1023u;
  if (exponent == 31) return of_bits(sign | 0x7f800000u | mantissa << 13);
  if (exponent) return of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float small = (float)mantissa * 0x1p-24f;
  return sign ? -small : small;
}

uint16_t mien__f32_to_f16(float value) {
  uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
  uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
  if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to 2^16 or more */
  if (magnitude < 0x38800000u) {                                   /* below 2^-14: subnormal, a multiple of 2^-24 */
    float scaled = of_bits(magnitude) + 0.5f; /* the FPU rounds to even at 2^-24, the ulp of [0.5, 1) */
    return (uint16_t)(sign | (bits_of(scaled) - bits_of(0.5f)));
  }
  uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

float mien__bf16_to_f32(uint16_t bits) { return of_bits((uint32_t)bits << 16); }

uint16_t mien__f32_to_bf16(float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
