/* ops/kernels/select.c -- picks the kernels of the machine's instruction set. */
#include "ops/kernels/select.h"
#include "ops/kernels/winograd.h"
#include <stdlib.h>
#include <string.h>

extern const mien_math mien__math_portable;
extern const mien__winograd mien__winograd_portable;
#ifdef MIEN_HAVE_avx2
extern const mien_math mien__math_avx2;
extern const mien__winograd mien__winograd_avx2;
#endif
#ifdef MIEN_HAVE_avx512
extern const mien_math mien__math_avx512;
extern const mien__winograd mien__winograd_avx512;
#endif

const mien_math *mien__math_named(const char *isa) {
#ifdef MIEN_HAVE_avx512
  if (strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return &mien__math_avx512;
#endif
#ifdef MIEN_HAVE_avx2
  if (strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &mien__math_avx2;
#endif
  return strcmp(isa, "portable") == 0 ? &mien__math_portable : NULL;
}

const mien_math *mien__math_select(void) {
  static const char *const names[] = {"avx512", "avx2", "portable"};
  const char *wanted = getenv("MIEN_ISA");
  const mien_math *chosen = wanted ? mien__math_named(wanted) : NULL;
  for (size_t i = 0; !chosen && i < sizeof names / sizeof *names; i++) chosen = mien__math_named(names[i]);
  return chosen;
}

const mien__winograd *mien__winograd_of(const mien_math *math) {
#ifdef MIEN_HAVE_avx512
  if (math == &mien__math_avx512) return &mien__winograd_avx512;
#endif
#ifdef MIEN_HAVE_avx2
  if (math == &mien__math_avx2) return &mien__winograd_avx2;
#endif
  return &mien__winograd_portable;
}
