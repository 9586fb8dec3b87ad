/* ops/kernels/impl_peak.c -- the most multiply-adds that an instruction set does, for comparison. */
#include "ops/kernels/kernels.h"

#define CHAINS 12 /* latency times units of today's processors, and what AVX2's registers hold beside the two factors */

double MIEN_K(mien__peak)(int64_t rounds, float *sum) {
  const float start = *(const volatile float *)&(const float){1}; /* nothing may be computed beforehand */
  const vf factor = vf_set(start * 0.999f), term = vf_set(start * 0.001f);
  vf chain[CHAINS];
  MIEN_UNROLL
  for (int i = 0; i < CHAINS; i++) chain[i] = vf_set(start + (float)i);
  for (int64_t r = 0; r < rounds; r++) {
    MIEN_UNROLL
    for (int i = 0; i < CHAINS; i++) chain[i] = vf_fma(chain[i], factor, term);
  }
  vf total = chain[0];
  for (int i = 1; i < CHAINS; i++) total = vf_fma(chain[i], vf_set(1), total);
  *sum = vf_sum(total);
  return 2.0 * VL * CHAINS * (double)rounds;
}
