/* A rewrite is one file in this folder: copy this one to my_rewrite.c, and it is part of the next build. Its name is listed by
** `mien passes`, and `mien convert --skip-pass NAME` leaves it out. A plugin's rewrites look the same.
**
** A rewrite looks at a match and adds nodes to a patch; it changes nothing itself. What it does not understand it declines
** by returning MIEN_OK before adding anything. Ask before you add:
**   - is it the type you think (pass_is_f32; operators of domain mien know no other), of known rank?
**   - is a value that would vanish read elsewhere, or an output of the model (pass_is_single)?
**   - does the result have exactly the root's type and shape (pass_same_type)? Broadcasting hides where that fails.
**   - what about sizes 0 and 1, and sizes that are open (mien_is_symbol)?
** Weights are never computed here: add nodes over the constants, which are then folded and keep their origin. */
#include "pass.h"

/* Here: -(-x) -> x. */
static mien_status my_rewrite(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r);
  if (!pass_is_f32(r, x)) return MIEN_OK;
  return h->replace(r, y, x);
}

static const char *const my_patterns[] = {"Neg(Neg(x))", NULL};

const mien_rewrite mien_pass_TEMPLATE[] = {{.name = "remove-double-negation",
                                            .doc = "-(-x) -> x",
                                            .stage = MIEN_STAGE_CANONICALISE,
                                            .after = "remove-no-op",
                                            .patterns = my_patterns,
                                            .apply = my_rewrite},
                                           {.name = NULL}};
