/* ops/kernels/select.h -- the kernels that this machine runs. */
#ifndef MIEN_OPS_KERNELS_SELECT_H
#define MIEN_OPS_KERNELS_SELECT_H

#include <mien/plugin.h>

/* The best table that this machine runs, or the one that the environment variable MIEN_ISA names. A name that does not
** exist, or whose instructions the machine lacks, is MIEN_INVALID_ARGUMENT. */
mien_status mien__math_select(const mien_math **math, mien_error *error);
/* The table of a name when this machine runs it, else NULL. For tests. */
const mien_math *mien__math_named(const char *isa);
/* The i-th table of this build, from the plainest on; NULL past the last. Not all of them may run here. For tests. */
const mien_math *mien__math_tier(size_t i);

#endif
