/* Convolutions and pools work on channels last; the Transposes that say so move through what stands between them and cancel
** (collapse-views-layout). A Transpose "to first" makes N,C,spatial of N,spatial,C. */
#include "pass.h"

static void to_first(int rank, int64_t *perm) {
  perm[0] = 0;
  perm[1] = rank - 1;
  for (int i = 2; i < rank; i++) perm[i] = i - 1;
}

static void to_last(int rank, int64_t *perm) {
  perm[0] = 0;
  perm[rank - 1] = 1;
  for (int i = 1; i + 1 < rank; i++) perm[i] = i + 1;
}

static mien_status transpose_last(mien_rewriter *r, mien_value v, mien_value *out) {
  int64_t perm[MIEN_MAX_RANK];
  int rank = pass_rank(r, v);
  to_last(rank, perm);
  return pass_transpose(r, v, perm, rank, out);
}

static mien_status transpose_first(mien_rewriter *r, mien_value v, mien_value *out) {
  int64_t perm[MIEN_MAX_RANK];
  int rank = pass_rank(r, v);
  to_first(rank, perm);
  return pass_transpose(r, v, perm, rank, out);
}

/* What a Transpose to channels first starts from; MIEN_NO_VALUE when v is none. */
static mien_value behind_first(mien_rewriter *r, mien_value v) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id n = pass_made_by(r, v, "Transpose");
  if (n == MIEN_NO_NODE) return MIEN_NO_VALUE;
  int64_t perm[MIEN_MAX_RANK], count = 0;
  int rank = pass_rank(r, v);
  const int64_t *given = h->attr_ints(r, n, "perm", &count);
  if (!given || rank < 3 || count != rank) return MIEN_NO_VALUE;
  to_first(rank, perm);
  for (int i = 0; i < rank; i++)
    if (pass_axis(given[i], rank) != perm[i]) return MIEN_NO_VALUE;
  return pass_in(r, n, 0);
}

static mien_status conv_last(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[PASS_INPUTS], y = pass_root_out(r), z;
  int count = h->in_count(r, root);
  if (count > PASS_INPUTS || h->attr_i(r, root, "channels_last") || pass_rank(r, y) < 3) return MIEN_OK;
  for (int i = 0; i < count; i++) in[i] = h->in(r, root, i);
  MIEN_TRY(transpose_last(r, in[PASS_X], &in[PASS_X]));
  if (count > PASS_R && in[PASS_R] != MIEN_NO_VALUE) MIEN_TRY(transpose_last(r, in[PASS_R], &in[PASS_R]));
  MIEN_TRY(h->begin(r, "mien.Conv", in, count));
  MIEN_TRY(h->copy_attrs(r, root));
  MIEN_TRY(h->set_i(r, "channels_last", 1));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

/* A pool between channels-last values. */
static mien_status pool_last(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = behind_first(r, pass_in(r, root, 0)), y = pass_root_out(r), z;
  if (x == MIEN_NO_VALUE || !pass_is_f32(r, x) || pass_is_read(r, root, 1)) return MIEN_OK;
  MIEN_TRY(h->begin(r, "mien.Pool", &x, 1));
  MIEN_TRY(h->copy_attrs(r, root));
  MIEN_TRY(h->set_s(r, "kind", pass_is_op(r, root, "MaxPool") ? "max" : "average"));
  MIEN_TRY(h->set_i(r, "channels_last", 1));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

/* An elementwise operator over values that were all transposed to first, and constants. */
static mien_status move_elementwise(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[PASS_INPUTS], y = pass_root_out(r), z;
  int count = h->in_count(r, root), rank = pass_rank(r, y), moved = 0;
  bool first_only = pass_is_op(r, root, "Clip");
  if (count > PASS_INPUTS || rank < 3) return MIEN_OK;
  for (int i = 0; i < count; i++) {
    in[i] = h->in(r, root, i);
    if (in[i] == MIEN_NO_VALUE || (first_only && i > 0)) continue;
    mien_value behind = behind_first(r, in[i]);
    if (behind != MIEN_NO_VALUE && pass_rank(r, in[i]) == rank)
      moved++;
    else if (!pass_is_constant(r, in[i]) || pass_rank(r, in[i]) > rank)
      return MIEN_OK;
  }
  if (!moved) return MIEN_OK;
  for (int i = 0; i < count; i++) {
    if (in[i] == MIEN_NO_VALUE || (first_only && i > 0)) continue;
    mien_value behind = behind_first(r, in[i]);
    const mien_type *t = h->type(r, in[i]);
    int64_t dim[MIEN_MAX_RANK];
    if (behind != MIEN_NO_VALUE) {
      in[i] = behind;
    } else if (mien_count(t) != 1) {
      for (int k = 0; k < rank; k++) dim[k] = k < rank - t->rank ? 1 : t->dim[k - (rank - t->rank)];
      MIEN_TRY(pass_reshape(r, in[i], dim, rank, &in[i]));
      MIEN_TRY(transpose_last(r, in[i], &in[i]));
    }
  }
  MIEN_TRY(h->begin_at(r, h->op_name(r, root), h->since(r, root), in, count));
  MIEN_TRY(h->copy_attrs(r, root));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

static mien_status move_concat(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[32], y = pass_root_out(r), z;
  int count = h->in_count(r, root), rank = pass_rank(r, y);
  int64_t perm[MIEN_MAX_RANK];
  int axis = pass_axis(h->attr_i(r, root, "axis"), rank);
  if (count < 1 || count > 32 || rank < 3 || axis < 0) return MIEN_OK;
  for (int i = 0; i < count; i++) {
    in[i] = behind_first(r, h->in(r, root, i));
    if (in[i] == MIEN_NO_VALUE) return MIEN_OK;
  }
  to_first(rank, perm);
  MIEN_TRY(h->begin(r, "Concat", in, count));
  MIEN_TRY(h->set_i(r, "axis", perm[axis]));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

static mien_status move_slice(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[5] = {behind_first(r, pass_in(r, root, 0))}, y = pass_root_out(r), z;
  int rank = pass_rank(r, y), count = h->in_count(r, root);
  int64_t perm[MIEN_MAX_RANK], axes[MIEN_MAX_RANK], given = 0, steps = 0;
  if (in[0] == MIEN_NO_VALUE || h->since(r, root) < 10 || count > 5) return MIEN_OK;
  for (int i = 1; i < 5; i++) in[i] = pass_in(r, root, i);
  const int64_t *numbers = pass_numbers(r, in[1], &steps);
  if (!numbers || steps > rank) return MIEN_OK;
  numbers = pass_numbers(r, in[3], &given);
  if (in[3] != MIEN_NO_VALUE && (!numbers || given != steps)) return MIEN_OK;
  to_first(rank, perm);
  for (int i = 0; i < steps; i++) {
    int axis = pass_axis(numbers ? numbers[i] : i, rank);
    if (axis < 0) return MIEN_OK;
    axes[i] = perm[axis];
  }
  MIEN_TRY(pass_ints(r, axes, steps, &in[3]));
  /* Types of starts, ends and axes must agree; those of the model may be i32. */
  for (int i = 1; i < 5; i++) {
    if (i == 3 || in[i] == MIEN_NO_VALUE) continue;
    numbers = pass_numbers(r, in[i], &given);
    if (!numbers) return MIEN_OK;
    MIEN_TRY(pass_ints(r, numbers, given, &in[i]));
  }
  MIEN_TRY(h->begin_at(r, "Slice", 13, in, count < 4 ? 4 : count));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

static mien_status move_pad(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value x = behind_first(r, pass_in(r, root, 0)), y = pass_root_out(r), value = pass_in(r, root, 2), z;
  int rank = pass_rank(r, y);
  int64_t perm[MIEN_MAX_RANK], pads[2 * MIEN_MAX_RANK], count = 0;
  if (x == MIEN_NO_VALUE || h->since(r, root) < 11 || pass_in(r, root, 3) != MIEN_NO_VALUE) return MIEN_OK;
  const int64_t *given = pass_numbers(r, pass_in(r, root, 1), &count);
  if (!given || count != 2 * rank) return MIEN_OK;
  to_first(rank, perm);
  for (int i = 0; i < rank; i++) {
    pads[perm[i]] = given[i];
    pads[rank + perm[i]] = given[rank + i];
  }
  mien_value in[3] = {x, MIEN_NO_VALUE, value};
  MIEN_TRY(pass_ints(r, pads, count, &in[1]));
  MIEN_TRY(h->begin_at(r, "Pad", h->since(r, root), in, value == MIEN_NO_VALUE ? 2 : 3));
  MIEN_TRY(h->copy_attrs(r, root));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

/* A mean of every channel's map. */
static mien_status move_global_average(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value in[2] = {behind_first(r, pass_in(r, h->root(r), 0))}, y = pass_root_out(r), z;
  int64_t axes[MIEN_MAX_RANK];
  if (in[0] == MIEN_NO_VALUE || !pass_is_f32(r, in[0])) return MIEN_OK;
  const int count = pass_rank(r, in[0]) - 2;
  for (int i = 0; i < count; i++) axes[i] = i + 1;
  MIEN_TRY(pass_ints(r, axes, count, &in[1]));
  MIEN_TRY(h->begin_at(r, "ReduceMean", 18, in, 2));
  MIEN_TRY(h->end(r, &z, 1));
  MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

/* A reduction over axes that are said. What is left of the axes must stand in one order either way, unless all are kept. */
static mien_status move_reduction(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_node_id root = h->root(r);
  mien_value in[2] = {behind_first(r, pass_in(r, root, 0))}, y = pass_root_out(r), z;
  const bool as_input = h->since(r, root) >= (pass_is_op(r, root, "ReduceSum") ? 13 : 18);
  int64_t axes[MIEN_MAX_RANK], perm[MIEN_MAX_RANK], count = 0;
  if (in[0] == MIEN_NO_VALUE) return MIEN_OK;
  const int64_t *given =
      as_input ? pass_numbers(r, pass_in(r, root, 1), &count) : h->attr_ints(r, root, "axes", &count);
  const int rank = pass_rank(r, in[0]);
  const bool keep = h->attr_i(r, root, "keepdims") != 0;
  bool reduced[MIEN_MAX_RANK] = {false};
  if (!given || count < 1 || count > rank) return MIEN_OK;
  to_first(rank, perm);
  for (int64_t i = 0; i < count; i++) {
    const int axis = pass_axis(given[i], rank);
    if (axis < 0) return MIEN_OK;
    axes[i] = perm[axis];
    reduced[axis] = true;
  }
  bool spatial = false; /* one is left, behind the channels here and before them there */
  for (int i = 2; i < rank; i++) spatial = spatial || !reduced[i];
  if (!keep && spatial && !reduced[1]) return MIEN_OK;
  if (as_input) MIEN_TRY(pass_ints(r, axes, count, &in[1]));
  MIEN_TRY(h->begin_at(r, h->op_name(r, root), h->since(r, root), in, as_input ? 2 : 1));
  MIEN_TRY(h->copy_attrs(r, root));
  if (!as_input) MIEN_TRY(h->set_ints(r, "axes", axes, count));
  MIEN_TRY(h->end(r, &z, 1));
  if (keep) MIEN_TRY(transpose_first(r, z, &z));
  return h->replace(r, y, z);
}

#define ELEMENTWISE                                                                                             \
  "Abs|Neg|Exp|Log|Sqrt|Erf|Sin|Cos|Floor|Ceil|Round|Sign|Reciprocal|Relu|LeakyRelu|Elu|Selu|Celu|Sigmoid|"     \
  "HardSigmoid|HardSwish|Tanh|Gelu|Mish|Softplus|Softsign|Cast|Clip|Add|Sub|Mul|Div|Pow|PRelu|Max|Min|Sum|Mean" \
  "(...)"
static const char *const conv_patterns[] = {"mien.Conv(...)", NULL};
static const char *const pool_patterns[] = {"MaxPool|AveragePool(t:Transpose(x))", NULL};
static const char *const elementwise_patterns[] = {ELEMENTWISE, NULL};
static const char *const concat_patterns[] = {"Concat(t:Transpose(x), ...)", NULL};
static const char *const slice_patterns[] = {"Slice(t:Transpose(x), ...)", NULL};
static const char *const global_patterns[] = {"GlobalAveragePool(t:Transpose(x))", NULL};
static const char *const reduction_patterns[] = {
    "ReduceMean|ReduceSum|ReduceMax|ReduceMin|ReduceProd|ReduceL1|ReduceL2|ReduceSumSquare|ReduceLogSum|"
    "ReduceLogSumExp(t:Transpose(x), ...)",
    NULL};
static const char *const pad_patterns[] = {"Pad(t:Transpose(x), ...)", NULL};

const mien_rewrite mien_pass_layout[] = {
    {.name = "conv-channels-last",
     .doc = "mien.Conv -> Transpose, mien.Conv over channels last, Transpose",
     .stage = MIEN_STAGE_LAYOUT,
     .patterns = conv_patterns,
     .apply = conv_last},
    {.name = "pool-channels-last",
     .doc = "a pool of what was channels last -> mien.Pool over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = pool_patterns,
     .apply = pool_last},
    {.name = "layout-through-elementwise",
     .doc = "an elementwise operator of what was channels last -> over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = elementwise_patterns,
     .apply = move_elementwise},
    {.name = "layout-through-concat",
     .doc = "Concat of what was channels last -> over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = concat_patterns,
     .apply = move_concat},
    {.name = "layout-through-slice",
     .doc = "Slice of what was channels last -> over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = slice_patterns,
     .apply = move_slice},
    {.name = "layout-through-global-average",
     .doc = "GlobalAveragePool of what was channels last -> ReduceMean over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = global_patterns,
     .apply = move_global_average},
    {.name = "layout-through-reduction",
     .doc = "a reduction of what was channels last -> over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = reduction_patterns,
     .apply = move_reduction},
    {.name = "layout-through-pad",
     .doc = "Pad of what was channels last -> over channels last",
     .stage = MIEN_STAGE_LAYOUT,
     .after = "collapse-views-layout",
     .patterns = pad_patterns,
     .apply = move_pad},
    {.name = NULL}};
