/* converter/choose.h -- in what precision each product may be computed when the outputs must stay near those of fp32. */
#ifndef MIEN_CONVERTER_CHOOSE_H
#define MIEN_CONVERTER_CHOOSE_H

#include "converter/convert.h"

typedef struct mien__product {
  mien_node_id node; /* in the graph before the pass; the same in every conversion of one model with the same options */
  double work;       /* multiplications, open sizes taken as 1 */
  double square;     /* mean square of the outputs' errors when it alone is rounded */
  bool integers;     /* may be in 16-bit integers: not all weights fit float16 */
  mien_precision precision;
} mien__product;

typedef struct mien__choice {
  mien_env *env;
  mien__product *products; /* of env */
  int32_t count, room;
  bool listed;              /* products has them all */
  double bound;             /* of the errors of outputs, absolute */
  mien_precision precision; /* the coarsest that there may be: bf16 or int16 */
  double largest, rms;      /* those of the choice, the worst output's */
  int inputs;               /* that they were measured on */
} mien__choice;

/* Converts as the choice says, and opens what was written. */
typedef mien_status (*mien__choice_build)(void *context, mien__choice *choice, mien__trial *trial, mien_error *error);

/* A mien__passes_accepts: takes those of that precision; before they are listed lists them, and takes none. */
mien_status mien__choice_accepts(void *choice, const mien__graph *g, mien_node_id node, mien_precision precision,
                                 bool *accepted, mien_error *error);
/* How many products there are of that precision. */
int32_t mien__choice_count(const mien__choice *choice, mien_precision precision);
/* Chooses: choice has its env, bound and precision. Errors: MIEN_UNSUPPORTED when nothing can be measured. */
mien_status mien__choose(mien__choice *choice, mien__choice_build build, void *context,
                         const mien_convert_options *options, mien_error *error);
void mien__choice_clear(mien__choice *choice);

#endif
