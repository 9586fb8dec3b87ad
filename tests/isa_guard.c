/* tests/isa_guard.c -- part of every test: ends it as skipped when MIEN_ISA names kernels of this build that the machine lacks.
** The exit status is tests/CMakeLists.txt's SKIP_RETURN_CODE. */
#include "ops/kernels/select.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void isa_guard(void) {
  const char *wanted = getenv("MIEN_ISA");
  for (size_t i = 0; wanted && mien__math_tier(i); i++)
    if (strcmp(mien__math_tier(i)->isa, wanted) == 0 && !mien__math_named(wanted)) {
      fprintf(stderr, "skipped: this machine does not run %s\n", wanted);
      _exit(77);
    }
}
