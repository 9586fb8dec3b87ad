/* ops/kernels/select.c -- picks the kernels of the machine's instruction set. */
#include "ops/kernels/select.h"
#include "internal.h"
#include "ops/kernels/winograd.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* X(tier, the set that its fp32 kernels are compiled for, whether this machine runs it), from the plainest on.
** __builtin_cpu_supports looks at cpuid and at what the operating system saves (XCR0): no AVX-512 without its registers. */
#if defined(__x86_64__)
#define HAS(feature) (__builtin_cpu_supports(feature) != 0)
#define HAS_AVX2 (HAS("avx2") && HAS("fma"))
#define HAS_AVX512 (HAS_AVX2 && HAS("avx512f") && HAS("avx512bw") && HAS("avx512dq") && HAS("avx512vl"))
#define EACH_TIER(X)            \
  X(portable, portable, true)   \
  X(avx2, avx2, HAS_AVX2)       \
  X(avx512, avx512, HAS_AVX512) \
  X(avx512_bf16, avx512, HAS_AVX512 &&HAS("avx512vnni") && HAS("avx512bf16"))
#elif defined(__aarch64__)
#define EACH_TIER(X)          \
  X(portable, portable, true) \
  X(neon, neon, true)
#else
#define EACH_TIER(X) X(portable, portable, true)
#endif

#define X(tier, set, runs)                                                    \
  extern const mien_math mien__math_##tier;                                   \
  extern const mien__winograd mien__winograd_##set; /* some more than once */ \
  static bool runs_##tier(void) { return runs; }
EACH_TIER(X)
#undef X

static const struct {
  const mien_math *math;
  const mien__winograd *winograd;
  bool (*runs)(void);
} tiers[] = {
#define X(tier, set, runs) {&mien__math_##tier, &mien__winograd_##set, runs_##tier},
    EACH_TIER(X)
#undef X
};
enum { TIERS = sizeof tiers / sizeof *tiers };

const mien_math *mien__math_tier(size_t i) { return i < TIERS ? tiers[i].math : NULL; }

const mien_math *mien__math_named(const char *isa) {
  for (size_t i = 0; i < TIERS; i++)
    if (strcmp(tiers[i].math->isa, isa) == 0) return tiers[i].runs() ? tiers[i].math : NULL;
  return NULL;
}

mien_status mien__math_select(const mien_math **math, mien_error *error) {
  const char *wanted = getenv("MIEN_ISA");
  if (wanted && !*wanted) wanted = NULL;
  const mien_math *chosen = NULL;
  char names[128] = "";
  for (size_t i = 0; i < TIERS; i++) {
    if (!tiers[i].runs()) continue;
    const size_t used = strlen(names);
    snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", tiers[i].math->isa);
    if (!wanted || strcmp(wanted, tiers[i].math->isa) == 0) chosen = tiers[i].math;
  }
  if (!chosen)
    return mien__fail(
        error, MIEN_INVALID_ARGUMENT,
        "the environment variable MIEN_ISA is '%.40s', expected what this machine runs: %s; unset it for the best",
        wanted, names);
  *math = chosen;
  return MIEN_OK;
}

const mien__winograd *mien__winograd_of(const mien_math *math) {
  for (size_t i = 0; i < TIERS; i++)
    if (math == tiers[i].math) return tiers[i].winograd;
  return tiers[0].winograd;
}
