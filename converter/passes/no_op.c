/* Nodes that hand their input on unchanged. */
#include "pass.h"

static bool dropout_is_off(mien_rewriter *r, mien_node_id n) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  if (pass_is_read(r, n, 1)) return false;
  mien_value mode = pass_in(r, n, 2);
  if (mode == MIEN_NO_VALUE) return true;
  const mien_tensor *t = h->constant(r, mode);
  return t && t->data && t->type.dtype == MIEN_BOOL && mien_count(&t->type) == 1 && !*(const uint8_t *)t->data;
}

/* Each of these operators moves elements to places that only its output shape and the listed inputs decide: where that shape is
** the input's, nothing moves. */
static bool moves_nothing(mien_rewriter *r, mien_node_id n) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  int64_t count;
  const int64_t *values;
  if (pass_is_op(r, n, "Slice")) {
    if (h->since(r, n) < 10) return true;
    if (pass_in(r, n, 4) == MIEN_NO_VALUE) return true;
    values = pass_numbers(r, pass_in(r, n, 4), &count);
    for (int64_t i = 0; values && i < count; i++)
      if (values[i] < 0) return false;
    return values != NULL;
  }
  if (pass_is_op(r, n, "Pad")) {
    if (h->since(r, n) < 11) {
      values = h->attr_ints(r, n, "pads", &count);
      if (!values) values = h->attr_ints(r, n, "paddings", &count);
    } else {
      values = pass_numbers(r, pass_in(r, n, 1), &count);
    }
    for (int64_t i = 0; values && i < count; i++)
      if (values[i] != 0) return false;
    return values != NULL;
  }
  if (pass_is_op(r, n, "Resize") || pass_is_op(r, n, "Upsample")) {
    /* Scales may differ from the ratio of sizes; of the ways to say a place, only these put o at o for a ratio of 1. */
    if (h->since(r, n) < 11 || pass_in(r, n, 2) != MIEN_NO_VALUE) return false;
    const char *mode = h->attr_s(r, n, "coordinate_transformation_mode");
    return mode && (strcmp(mode, "half_pixel") == 0 || strcmp(mode, "asymmetric") == 0) && pass_is_op(r, n, "Resize") &&
           strcmp(h->attr_s(r, n, "mode"), "nearest") == 0;
  }
  return true;
}

static mien_status remove_no_op(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = pass_in(r, root, 0), y = pass_root_out(r);
  if (x == MIEN_NO_VALUE || y == MIEN_NO_VALUE) return MIEN_OK;
  if (pass_is_op(r, root, "Identity")) return h->replace(r, y, x);
  if (!pass_same_type(h->type(r, x), h->type(r, y))) return MIEN_OK;
  if (pass_is_op(r, root, "Dropout") && !dropout_is_off(r, root)) return MIEN_OK;
  if (!moves_nothing(r, root)) return MIEN_OK;
  return h->replace(r, y, x);
}

/* A list of one. */
static mien_status remove_list_of_one(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = pass_in(r, root, 0), y = pass_root_out(r);
  if (h->in_count(r, root) != 1 || h->out_count(r, root) != 1 || x == MIEN_NO_VALUE || y == MIEN_NO_VALUE)
    return MIEN_OK;
  if (!pass_same_type(h->type(r, x), h->type(r, y))) return MIEN_OK;
  return h->replace(r, y, x);
}

/* Of the second input only the type matters, which is known: the value need not be. */
static mien_status cast_like_to_cast(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = pass_root_out(r), cast;
  const int32_t dtype = h->type(r, y)->dtype;
  if (dtype == MIEN_NONE) return MIEN_OK;
  MIEN_TRY(h->begin(r, "Cast", &x, 1));
  MIEN_TRY(h->copy_attrs(r, h->root(r)));
  MIEN_TRY(h->set_i(r, "to", dtype));
  MIEN_TRY(h->end(r, &cast, 1));
  return h->replace(r, y, cast);
}

static const char *const no_op_patterns[] = {"Identity|Dropout|Cast(x, ...)",
                                             "Slice|Expand|Tile|Pad|Resize|Upsample(x, ...)", NULL};
static const char *const cast_like_patterns[] = {"CastLike(x, _)", NULL};
static const char *const list_patterns[] = {"Concat|Sum|Max|Min|Mean(x)", NULL};

const mien_rewrite mien_pass_no_op[] = {
    {.name = "remove-no-op",
     .doc = "Identity, Dropout, Cast to the same type, a Slice of everything, ... -> its input",
     .stage = MIEN_STAGE_CANONICALISE,
     .patterns = no_op_patterns,
     .apply = remove_no_op},
    {.name = "remove-list-of-one",
     .doc = "Concat or Sum of one value -> that value",
     .stage = MIEN_STAGE_CANONICALISE,
     .patterns = list_patterns,
     .apply = remove_list_of_one},
    {.name = "cast-like-to-cast",
     .doc = "CastLike -> Cast to the type that it is like",
     .stage = MIEN_STAGE_CANONICALISE,
     .patterns = cast_like_patterns,
     .apply = cast_like_to_cast},
    {.name = NULL}};
