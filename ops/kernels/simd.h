/* ops/kernels/simd.h -- the vector of the instruction set that this file is compiled for: one text a kernel,
** compiled once per set (ops/kernels/impl_*.c with -DMIEN_ISA=portable|avx2|avx512|neon and that set's flags).
**
** vf is VL floats, vm a lane mask. Partial loads and stores touch exactly n elements: nothing is read past the end
** of a tensor, and a tail goes through the same arithmetic as a body, so its bits are the same. */
#ifndef MIEN_OPS_KERNELS_SIMD_H
#define MIEN_OPS_KERNELS_SIMD_H

#include <mien/plugin.h>
#include <math.h>
#include <string.h>

#define MIEN_PASTE2(a, b) a##_##b
#define MIEN_PASTE(a, b) MIEN_PASTE2(a, b)
/* A symbol of this instruction set. */
#define MIEN_K(name) MIEN_PASTE(name, MIEN_ISA)
/* A symbol of this tier: the set itself, or the set and further instructions that only some kernels have a use for. Those
** alone are compiled for the tier; it shares the others with its set. */
#define MIEN_T(name) MIEN_PASTE(name, MIEN_TIER)
#define MIEN_STRING2(a) #a
#define MIEN_STRING(a) MIEN_STRING2(a)
#define MIEN_TIER_NAME MIEN_STRING(MIEN_TIER)

#define VEC static inline __attribute__((always_inline))
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MIEN_CHECKED_BUILD 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(MIEN_CHECKED_BUILD)
/* Compilers take minutes to unroll a kernel full of checks; the loops mean the same without it. */
#undef VEC
#define VEC static inline
#define MIEN_UNROLL
#elif defined(__clang__)
#define MIEN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define MIEN_UNROLL _Pragma("GCC unroll 16")
#endif

/* The compiler takes what is in memory, or x, for changed here: for code with more values than registers. */
#define MIEN_FORGET_MEMORY __asm__ volatile("" ::: "memory")
#define MIEN_FORGET(x) __asm__ volatile("" : "+r"(x))

#if defined(__AVX512F__)
#include <immintrin.h>
#define VL 16
#define GEMM_ROWS 14
#define VF_FUSED
typedef __m512 vf;
typedef __mmask16 vm;

VEC vf vf_set(float x) { return _mm512_set1_ps(x); }
VEC vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VEC void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
VEC vf vf_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
VEC void vf_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v); }
VEC vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
/* vf_fma in the lower half, which takes half the time; the upper half is anything. */
#define VF_HALF
VEC vf vf_fma_half(vf a, vf b, vf c) {
  return _mm512_castps256_ps512(
      _mm256_fmadd_ps(_mm512_castps512_ps256(a), _mm512_castps512_ps256(b), _mm512_castps512_ps256(c)));
}
VEC vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
VEC vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
VEC vf vf_abs(vf a) { return _mm512_abs_ps(a); }
/* Where an operand is NaN, the second one is the result. */
VEC vf vf_max2(vf a, vf b) { return _mm512_max_ps(a, b); }
VEC vf vf_min2(vf a, vf b) { return _mm512_min_ps(a, b); }
VEC vm vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
VEC vm vf_is_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
VEC bool vm_any(vm m) { return m != 0; }
VEC vm vm_first(int64_t n) { return (__mmask16)((1u << n) - 1); }
VEC vf vf_select(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
VEC vf vf_copysign(vf magnitude, vf sign) {
  __m512i bit = _mm512_set1_epi32((int)0x80000000u);
  __m512i s = _mm512_and_si512(_mm512_castps_si512(sign), bit);
  return _mm512_castsi512_ps(_mm512_or_si512(_mm512_andnot_si512(bit, _mm512_castps_si512(magnitude)), s));
}
VEC vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vf_scale(vf a, vf exponent) { return _mm512_scalef_ps(a, exponent); }
VEC void vf_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }

#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define VL 8
#define GEMM_ROWS 6
#define VF_FUSED
typedef __m256 vf;
typedef __m256 vm;

VEC __m256i vm_table(int64_t n) {
  static const int32_t table[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256((const __m256i *)(const void *)(table + 8 - n));
}
VEC vf vf_set(float x) { return _mm256_set1_ps(x); }
VEC vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
VEC void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
VEC vf vf_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vm_table(n)); }
VEC void vf_store_n(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, vm_table(n), v); }
VEC vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
VEC vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
VEC vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
VEC vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
VEC vf vf_max2(vf a, vf b) { return _mm256_max_ps(a, b); }
VEC vf vf_min2(vf a, vf b) { return _mm256_min_ps(a, b); }
VEC vm vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
VEC vm vf_is_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
VEC bool vm_any(vm m) { return _mm256_movemask_ps(m) != 0; }
VEC vm vm_first(int64_t n) { return _mm256_castsi256_ps(vm_table(n)); }
VEC vf vf_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }
VEC vf vf_copysign(vf magnitude, vf sign) {
  __m256 bit = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}
VEC vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VEC vf vf_power2(__m256i e) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e, _mm256_set1_epi32(127)), 23));
}
/* a * 2^exponent, |exponent| <= 250: in two steps, so that subnormal results are right. */
VEC vf vf_scale(vf a, vf exponent) {
  __m256i e = _mm256_cvtps_epi32(exponent), half = _mm256_srai_epi32(e, 1);
  return _mm256_mul_ps(_mm256_mul_ps(a, vf_power2(half)), vf_power2(_mm256_sub_epi32(e, half)));
}
VEC void vf_prefetch(const void *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }

#elif defined(MIEN_ISA_neon)
#include <arm_neon.h>
#define VL 4
#define GEMM_ROWS 8
#define VF_FUSED
typedef float32x4_t vf;
typedef uint32x4_t vm;

VEC vf vf_set(float x) { return vdupq_n_f32(x); }
VEC vf vf_load(const float *p) { return vld1q_f32(p); }
VEC void vf_store(float *p, vf v) { vst1q_f32(p, v); }
VEC vf vf_load_n(const float *p, int64_t n) {
  if (n >= VL) return vld1q_f32(p);
  vf v = vdupq_n_f32(0);
  if (n > 0) v = vld1q_lane_f32(p, v, 0);
  if (n > 1) v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2) v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
VEC void vf_store_n(float *p, vf v, int64_t n) {
  if (n >= VL) {
    vst1q_f32(p, v);
    return;
  }
  if (n > 0) vst1q_lane_f32(p, v, 0);
  if (n > 1) vst1q_lane_f32(p + 1, v, 1);
  if (n > 2) vst1q_lane_f32(p + 2, v, 2);
}
VEC vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
VEC vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
VEC vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
VEC vf vf_abs(vf a) { return vabsq_f32(a); }
VEC vf vf_select(vm m, vf yes, vf no) { return vbslq_f32(m, yes, no); }
VEC vf vf_max2(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
VEC vf vf_min2(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
VEC vm vf_less(vf a, vf b) { return vcltq_f32(a, b); }
VEC vm vf_is_nan(vf a) { return vmvnq_u32(vceqq_f32(a, a)); }
VEC bool vm_any(vm m) { return vmaxvq_u32(m) != 0; }
VEC vm vm_first(int64_t n) {
  static const uint32_t lane[VL] = {0, 1, 2, 3};
  return vcltq_u32(vld1q_u32(lane), vdupq_n_u32((uint32_t)n));
}
VEC vf vf_copysign(vf magnitude, vf sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude); }
VEC vf vf_round(vf a) { return vrndnq_f32(a); }
VEC vf vf_power2(int32x4_t e) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e, vdupq_n_s32(127)), 23)); }
/* a * 2^exponent, |exponent| <= 250: in two steps, so that subnormal results are right. */
VEC vf vf_scale(vf a, vf exponent) {
  int32x4_t e = vcvtq_s32_f32(exponent), half = vshrq_n_s32(e, 1);
  return vmulq_f32(vmulq_f32(a, vf_power2(half)), vf_power2(vsubq_s32(e, half)));
}
VEC void vf_prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }

#else
#define VL 4
#define GEMM_ROWS 4
typedef float vf __attribute__((vector_size(16)));
typedef int32_t vm __attribute__((vector_size(16)));
typedef float vf_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

VEC vf vf_set(float x) { return (vf){x, x, x, x}; }
VEC vf vf_load(const float *p) { return *(const vf_unaligned *)(const void *)p; }
VEC void vf_store(float *p, vf v) { *(vf_unaligned *)(void *)p = v; }
VEC vf vf_load_n(const float *p, int64_t n) {
  vf v = {0};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
VEC void vf_store_n(float *p, vf v, int64_t n) {
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
}
#ifdef __FP_FAST_FMAF
#define VF_FUSED
VEC vf vf_fma(vf a, vf b, vf c) {
  return (vf){__builtin_fmaf(a[0], b[0], c[0]), __builtin_fmaf(a[1], b[1], c[1]), __builtin_fmaf(a[2], b[2], c[2]),
              __builtin_fmaf(a[3], b[3], c[3])};
}
#else
VEC vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#endif
VEC vf vf_fnma(vf a, vf b, vf c) { return vf_fma(-a, b, c); }
VEC vf vf_select(vm m, vf yes, vf no) { return (vf)((m & (vm)yes) | (~m & (vm)no)); }
VEC vf vf_sqrt(vf a) { return (vf){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
VEC vf vf_abs(vf a) { return (vf)((vm)a & 0x7fffffff); }
VEC vf vf_max2(vf a, vf b) { return vf_select((vm)(a > b), a, b); }
VEC vf vf_min2(vf a, vf b) { return vf_select((vm)(a < b), a, b); }
VEC vm vf_less(vf a, vf b) { return (vm)(a < b); }
VEC vm vf_is_nan(vf a) { return (vm)(a != a); }
VEC bool vm_any(vm m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
VEC vm vm_first(int64_t n) { return (vm){0, 1, 2, 3} < (vm){(int)n, (int)n, (int)n, (int)n}; }
VEC vf vf_copysign(vf magnitude, vf sign) {
  return (vf)(((vm)magnitude & 0x7fffffff) | ((vm)sign & (int32_t)0x80000000u));
}
/* Nearest even, for |a| < 2^22. */
VEC vf vf_round(vf a) { return (a + 12582912.0f) - 12582912.0f; }
/* a * 2^exponent, |exponent| <= 250: in two steps, so that subnormal results are right. */
VEC vf vf_scale(vf a, vf exponent) {
  /* A NaN exponent belongs to a NaN element: convert something defined instead. */
  vf known = vf_select(vf_is_nan(exponent), vf_set(0), exponent);
  vm e = {(int32_t)known[0], (int32_t)known[1], (int32_t)known[2], (int32_t)known[3]}, half = e >> 1;
  return a * (vf)((half + 127) << 23) * (vf)((e - half + 127) << 23);
}
VEC void vf_prefetch(const void *p) { __builtin_prefetch(p, 0, 2); }
#endif

#ifndef VF_HALF
VEC vf vf_fma_half(vf a, vf b, vf c) { return vf_fma(a, b, c); }
#endif

#define GEMM_COLUMNS (2 * VL)
/* X(rows) for every height of a microkernel. */
#if GEMM_ROWS == 14
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif GEMM_ROWS == 8
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#elif GEMM_ROWS == 6
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_ROWS(X) X(1) X(2) X(3) X(4)
#endif

/* NaN in either operand gives NaN. */
VEC vf vf_max(vf a, vf b) { return vf_select(vf_is_nan(a), a, vf_max2(a, b)); }

/* Lanes in a fixed order: pairwise by halves. */
#if defined(__AVX2__)
VEC float vf_sum8(__m256 v) {
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
VEC float vf_largest8(__m256 v) {
  __m128 q = _mm_max_ps(_mm256_extractf128_ps(v, 1), _mm256_castps256_ps128(v));
  q = _mm_max_ps(_mm_movehl_ps(q, q), q);
  return _mm_cvtss_f32(_mm_max_ss(_mm_shuffle_ps(q, q, 1), q));
}
#endif
#if VL == 16
VEC __m256 vf_upper(vf v) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)); }
VEC float vf_sum(vf v) { return vf_sum8(_mm256_add_ps(_mm512_castps512_ps256(v), vf_upper(v))); }
VEC float vf_largest(vf v) { return vf_largest8(_mm256_max_ps(vf_upper(v), _mm512_castps512_ps256(v))); }
#elif VL == 8
VEC float vf_sum(vf v) { return vf_sum8(v); }
VEC float vf_largest(vf v) { return vf_largest8(v); }
#else
VEC float vf_sum(vf v) {
  float lane[VL];
  vf_store(lane, v);
  for (int width = VL / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
}
VEC float vf_largest(vf v) {
  float lane[VL];
  vf_store(lane, v);
  for (int width = VL / 2; width; width /= 2)
    for (int i = 0; i < width; i++) lane[i] = lane[i + width] > lane[i] ? lane[i + width] : lane[i];
  return lane[0];
}
#endif

/* Row i, of VL rows `from_row` apart, becomes column i of rows `to_row` apart. */
VEC void vf_transpose(const float *from, int64_t from_row, float *to, int64_t to_row) {
#if VL == 16
  __m512 r[16], t[16];
  MIEN_UNROLL
  for (int i = 0; i < 16; i++) r[i] = vf_load(from + i * from_row);
  MIEN_UNROLL
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  MIEN_UNROLL
  for (int i = 0; i < 16; i += 4) { /* r[i + c]: column c of every four, of rows i to i + 3 */
    r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  MIEN_UNROLL
  for (int c = 0; c < 4; c++) {
    const __m512 even = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88), odd = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xdd);
    const __m512 even8 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88);
    const __m512 odd8 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xdd);
    vf_store(to + c * to_row, _mm512_shuffle_f32x4(even, even8, 0x88));
    vf_store(to + (c + 4) * to_row, _mm512_shuffle_f32x4(odd, odd8, 0x88));
    vf_store(to + (c + 8) * to_row, _mm512_shuffle_f32x4(even, even8, 0xdd));
    vf_store(to + (c + 12) * to_row, _mm512_shuffle_f32x4(odd, odd8, 0xdd));
  }
#else
  for (int i = 0; i < VL; i++)
    for (int j = 0; j < VL; j++) to[j * to_row + i] = from[i * from_row + j];
#endif
}

/* The first `count` of a vector, the others 0; where it is known to be whole, at no cost. */
VEC vf vf_load_count(const float *p, int64_t count) { return count == VL ? vf_load(p) : vf_load_n(p, count); }

VEC int64_t min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
VEC int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

#endif
