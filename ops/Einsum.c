/* Einsum: sum of products over index letters, as numpy.einsum: explicit and implicit form, ellipsis, repeated letters.
** ai.onnx 12. A plain loop: one item is one element of Y, summed in the order of the letters (capitals first). */
#include "ops/epilogue.h"
#include "ops/loop.h"

enum { EINSUM_INPUTS = 8, EINSUM_LABELS = 52 + MIEN_MAX_RANK };

/* Labels are numbered: 0..51 letters, then the ellipsis' dimensions from the last one (52) to the first. */
typedef struct einsum_plan {
  int inputs;
  bool used[EINSUM_LABELS];
  int64_t size[EINSUM_LABELS];
  int64_t stride[EINSUM_INPUTS][EINSUM_LABELS]; /* in elements; 0 where the input does not have the label */
  int out_rank, out_label[MIEN_MAX_RANK];
  int sum_rank, sum_label[EINSUM_LABELS];
} einsum_plan;

typedef struct einsum_term {
  int rank, label[MIEN_MAX_RANK];
} einsum_term;

static int einsum_letter(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1; }

/* Reads one term up to ',' '-' or the end; its ellipsis has `dots` dimensions. `letters` counts its letters. */
static mien_status einsum_read(mien_node *n, const char **at, int dots, einsum_term *term, int *letters,
                               bool *ellipsis) {
  term->rank = *letters = 0;
  *ellipsis = false;
  for (; **at && **at != ',' && **at != '-'; (*at)++) {
    if (**at == ' ') continue;
    int label = einsum_letter(**at), count = 1;
    if (label >= 0) {
      (*letters)++;
    } else if (strncmp(*at, "...", 3) == 0 && !*ellipsis) {
      *ellipsis = true;
      *at += 2;
      label = 52 + dots - 1;
      count = dots;
    } else {
      return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s' has an unexpected '%c'", mien_attr_s(n, "equation"),
                       **at);
    }
    if (term->rank + count > MIEN_MAX_RANK)
      return mien_fail(n, MIEN_LIMIT, "equation '%.60s' has more than %d dimensions in a term",
                       mien_attr_s(n, "equation"), MIEN_MAX_RANK);
    for (int i = 0; i < count; i++) term->label[term->rank++] = label - i;
  }
  return MIEN_OK;
}

/* The dimensions that an ellipsis stands for in input i. */
static mien_status einsum_dots(mien_node *n, const char *at, int i, int *dots) {
  einsum_term term;
  bool ellipsis;
  int letters;
  MIEN_TRY(einsum_read(n, &at, 0, &term, &letters, &ellipsis));
  *dots = mien_in(n, i)->type.rank - letters;
  if (*dots < 0 || (!ellipsis && *dots > 0))
    return mien_fail(n, MIEN_INVALID_MODEL, "input %d has rank %d, its term in '%.60s' has %d letters", i,
                     (int)mien_in(n, i)->type.rank, mien_attr_s(n, "equation"), letters);
  return MIEN_OK;
}

/* Sizes of labels: equal, or 1 against anything. */
static mien_status einsum_take(mien_node *n, einsum_plan *p, const einsum_term *term, int i) {
  const mien_type *t = &mien_in(n, i)->type;
  int64_t stride = 1;
  for (int d = term->rank - 1; d >= 0; d--) {
    const int label = term->label[d];
    const int64_t size = t->dim[d], have = p->used[label] ? p->size[label] : 1;
    if (size != 1 && have != 1 && epilogue_differs(size, have))
      return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s': sizes %lld and %lld of one index do not agree",
                       mien_attr_s(n, "equation"), (long long)have, (long long)size);
    p->used[label] = true;
    p->size[label] = have == 1 || mien_is_symbol(have) ? (size == 1 ? have : size) : have;
    if (size != 1) p->stride[i][label] += stride;
    if (!mien_is_symbol(size)) stride *= size;
  }
  return MIEN_OK;
}

/* Implicit form: the ellipsis, then the letters that appear once, in ASCII order. */
static void einsum_implicit(const char *equation, int dots, einsum_term *out) {
  int seen[52] = {0};
  out->rank = 0;
  for (const char *c = equation; *c; c++)
    if (einsum_letter(*c) >= 0) seen[einsum_letter(*c)]++;
  for (int i = dots - 1; i >= 0; i--) out->label[out->rank++] = 52 + i;
  for (int i = 0; i < 52 && out->rank < MIEN_MAX_RANK; i++)
    if (seen[i] == 1) out->label[out->rank++] = i;
}

static mien_status einsum_output(mien_node *n, einsum_plan *p, const einsum_term *out) {
  bool kept[EINSUM_LABELS] = {false};
  p->out_rank = out->rank;
  for (int d = 0; d < out->rank; d++) {
    const int label = p->out_label[d] = out->label[d];
    if (kept[label] || !p->used[label])
      return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s': an output index is %s", mien_attr_s(n, "equation"),
                       kept[label] ? "repeated" : "in no input");
    kept[label] = true;
  }
  for (int i = 0; i < EINSUM_LABELS; i++)
    if (p->used[i] && !kept[i]) p->sum_label[p->sum_rank++] = i;
  return MIEN_OK;
}

static mien_status einsum_parse(mien_node *n, einsum_plan *p) {
  const char *equation = mien_attr_s(n, "equation"), *at = equation;
  const int inputs = mien_in_count(n);
  memset(p, 0, sizeof *p);
  p->inputs = inputs;
  if (inputs < 1 || inputs > EINSUM_INPUTS)
    return mien_fail(n, MIEN_UNSUPPORTED, "has %d inputs, expected 1 to %d", inputs, EINSUM_INPUTS);
  int most = 0, letters;
  bool ellipsis;
  for (int i = 0; i < inputs; i++) {
    int dots;
    einsum_term term;
    MIEN_TRY(einsum_dots(n, at, i, &dots));
    if (dots > most) most = dots;
    MIEN_TRY(einsum_read(n, &at, dots, &term, &letters, &ellipsis));
    MIEN_TRY(einsum_take(n, p, &term, i));
    if (i + 1 < inputs && *at++ != ',')
      return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s' has fewer terms than inputs", equation);
  }
  einsum_term out = {0};
  if (*at == ',') return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s' has more terms than inputs", equation);
  if (!*at) {
    einsum_implicit(equation, most, &out);
    return einsum_output(n, p, &out);
  }
  if (strncmp(at, "->", 2) != 0) return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s' is malformed", equation);
  at += 2;
  MIEN_TRY(einsum_read(n, &at, most, &out, &letters, &ellipsis));
  if (*at) return mien_fail(n, MIEN_INVALID_MODEL, "equation '%.60s' is malformed", equation);
  return einsum_output(n, p, &out);
}

static mien_status einsum_infer(mien_node *n) {
  einsum_plan p;
  MIEN_TRY(einsum_parse(n, &p));
  mien_type y = mien_in(n, 0)->type;
  memset(y.dim, 0, sizeof y.dim);
  y.rank = p.out_rank;
  for (int d = 0; d < p.out_rank; d++) y.dim[d] = p.size[p.out_label[d]];
  return mien_set_type(n, 0, &y);
}

static mien_status einsum_prepare(mien_node *n) {
  einsum_plan *p = mien_state(n);
  MIEN_TRY(einsum_parse(n, p));
  double terms = 1;
  for (int d = 0; d < p->sum_rank; d++) terms *= (double)p->size[p->sum_label[d]];
  mien_work(n, mien_count(&mien_out(n, 0)->type), terms * p->inputs + 20);
  mien_note(n, (double)mien_count(&mien_out(n, 0)->type) * terms * p->inputs, "loop");
  return MIEN_OK;
}

/* Moves every input's offset to the next combination of the outer summed labels; false after the last. */
static bool einsum_next(const einsum_plan *p, int64_t *index, int64_t *offset) {
  for (int d = p->sum_rank - 2; d >= 0; d--) {
    const int label = p->sum_label[d];
    for (int i = 0; i < p->inputs; i++) offset[i] += p->stride[i][label];
    if (++index[d] < p->size[label]) return true;
    for (int i = 0; i < p->inputs; i++) offset[i] -= p->stride[i][label] * p->size[label];
    index[d] = 0;
  }
  return false;
}

static void einsum_begin(const einsum_plan *p, int64_t at, int64_t *offset) {
  for (int i = 0; i < p->inputs; i++) offset[i] = 0;
  for (int d = p->out_rank - 1; d >= 0; d--) {
    const int label = p->out_label[d];
    for (int i = 0; i < p->inputs; i++) offset[i] += at % p->size[label] * p->stride[i][label];
    at /= p->size[label];
  }
}

#define EINSUM_TYPES(X, ...)                     \
  MIEN_FLOATS(X, __VA_ARGS__)                    \
  X(I32, int32_t, uint32_t, PLAIN, __VA_ARGS__)  \
  X(I64, int64_t, uint64_t, PLAIN, __VA_ARGS__)  \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) \
  X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)

#define EINSUM_ONE(D, T, C, K, ...)                                                              \
  static C einsum_sum_##D(const einsum_plan *p, const T *const *x, int64_t *offset) {            \
    const int last = p->sum_rank ? p->sum_label[p->sum_rank - 1] : -1;                           \
    const int64_t count = last < 0 ? 1 : p->size[last];                                          \
    int64_t index[EINSUM_LABELS] = {0};                                                          \
    C sum = 0;                                                                                   \
    for (int d = 0; d < p->sum_rank; d++)                                                        \
      if (p->size[p->sum_label[d]] == 0) return sum;                                             \
    do {                                                                                         \
      for (int64_t j = 0; j < count; j++) {                                                      \
        C product = MIEN_GET_##K(C, x[0][offset[0] + (last < 0 ? 0 : j * p->stride[0][last])]);  \
        for (int i = 1; i < p->inputs; i++)                                                      \
          product *= MIEN_GET_##K(C, x[i][offset[i] + (last < 0 ? 0 : j * p->stride[i][last])]); \
        sum += product;                                                                          \
      }                                                                                          \
    } while (einsum_next(p, index, offset));                                                     \
    return sum;                                                                                  \
  }                                                                                              \
  static mien_status einsum_##D(mien_node *n, int64_t begin, int64_t end) {                      \
    const einsum_plan *p = mien_state(n);                                                        \
    const T *x[EINSUM_INPUTS];                                                                   \
    T *y = mien_out(n, 0)->data;                                                                 \
    for (int i = 0; i < p->inputs; i++) x[i] = mien_in(n, i)->data;                              \
    for (int64_t at = begin; at < end; at++) {                                                   \
      int64_t offset[EINSUM_INPUTS];                                                             \
      einsum_begin(p, at, offset);                                                               \
      y[at] = MIEN_PUT_##K(T, einsum_sum_##D(p, x, offset));                                     \
    }                                                                                            \
    return MIEN_OK;                                                                              \
  }
EINSUM_TYPES(EINSUM_ONE, )
MIEN_KERNELS(einsum, EINSUM_TYPES)

static const mien_attr einsum_attrs[] = {{.name = "equation", .kind = 's', .required = true}, {.name = NULL}};

const mien_op mien_ops_Einsum[] = {
    {.name = "Einsum",
     .since = 12,
     .signature = "Inputs:T... -> Output:T",
     .attrs = einsum_attrs,
     .kernels = einsum_kernels,
     .state = sizeof(einsum_plan),
     .infer = einsum_infer,
     .prepare = einsum_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "sum of products over index letters"},
    {.name = NULL},
};
