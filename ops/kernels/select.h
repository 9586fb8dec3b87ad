/* ops/kernels/select.h -- the kernels that this machine runs. */
#ifndef MIEN_OPS_KERNELS_SELECT_H
#define MIEN_OPS_KERNELS_SELECT_H

#include <mien/plugin.h>

/* The best table that the processor has. The environment variable MIEN_ISA ("portable", "avx2", "avx512") lowers it;
** what the processor lacks, and a name that does not exist, are ignored. */
const mien_math *mien__math_select(void);
/* The table of a name when this processor runs it, else NULL. For tests. */
const mien_math *mien__math_named(const char *isa);

#endif
