/* Einsum of two values that is a batched matrix product -> MatMul between Transposes. */
#include "pass.h"

/* Letters of one operand, one an axis. */
typedef struct letters {
  char text[MIEN_MAX_RANK + 1];
  int count;
} letters;

static int place(const letters *l, char c) {
  for (int i = 0; i < l->count; i++)
    if (l->text[i] == c) return i;
  return -1;
}

/* "bqhd,bkhd->bhqk": letters only, none twice in one operand. */
static bool parse(const char *text, letters l[3]) {
  int at = 0;
  memset(l, 0, 3 * sizeof *l);
  for (; *text; text++) {
    if (*text == ' ') continue;
    if (*text == ',' && at == 0) {
      at = 1;
    } else if (text[0] == '-' && text[1] == '>' && at == 1) {
      at = 2;
      text++;
    } else {
      bool letter = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');
      if (!letter || l[at].count == MIEN_MAX_RANK || place(&l[at], *text) >= 0) return false;
      l[at].text[l[at].count++] = *text;
    }
  }
  return at == 2;
}

/* What the letters are: in both operands and the result (batch), in both operands only (summed), in one and the result. */
typedef struct product {
  letters batch;
  char left, right, summed; /* 0: none */
} product;

static bool is_product(const letters l[3], product *p) {
  *p = (product){.left = 0};
  for (int i = 0; i < l[0].count; i++) {
    char c = l[0].text[i];
    bool right = place(&l[1], c) >= 0, out = place(&l[2], c) >= 0;
    char *one = right ? &p->summed : &p->left;
    if (right && out) {
      p->batch.text[p->batch.count++] = c;
    } else {
      if (*one || (!right && !out)) return false;
      *one = c;
    }
  }
  for (int i = 0; i < l[1].count; i++) {
    char c = l[1].text[i];
    if (place(&l[0], c) >= 0) continue;
    if (p->right || place(&l[2], c) < 0) return false;
    p->right = c;
  }
  return p->left && p->right && p->summed && l[2].count == p->batch.count + 2;
}

static mien_status turn(mien_rewriter *r, mien_value v, const letters *from, const letters *to, mien_value *out) {
  int64_t perm[MIEN_MAX_RANK];
  bool moved = false;
  for (int i = 0; i < to->count; i++) {
    perm[i] = place(from, to->text[i]);
    moved |= perm[i] != i;
  }
  *out = v;
  return moved ? pass_transpose(r, v, perm, to->count, out) : MIEN_OK;
}

static letters with(const letters *batch, char a, char b) {
  letters l = *batch;
  l.text[l.count++] = a;
  l.text[l.count++] = b;
  return l;
}

static mien_status einsum_to_matmul(mien_rewriter *r) {
  const mien_rewrite_host *h = mien_rewrite_host_of(r);
  mien_value x = h->bound(r, "x"), y = h->bound(r, "y"), z, out = pass_root_out(r);
  const char *equation = h->attr_s(r, h->root(r), "equation");
  letters l[3];
  product p;
  if (!equation || !parse(equation, l) || !is_product(l, &p) || p.batch.count + 2 > MIEN_MAX_RANK) return MIEN_OK;
  if (!pass_is_f32(r, x) || !pass_is_f32(r, y) || pass_rank(r, x) != l[0].count || pass_rank(r, y) != l[1].count)
    return MIEN_OK;
  /* Einsum broadcasts axes of size 1 under one letter; a summed one would not do so in MatMul. */
  const mien_type *tx = h->type(r, x), *ty = h->type(r, y);
  for (int i = 0; i < l[0].count; i++) {
    int k = place(&l[1], l[0].text[i]);
    if (k >= 0 && !pass_same_dim(tx->dim[i], ty->dim[k])) return MIEN_OK;
  }
  letters a = with(&p.batch, p.left, p.summed), b = with(&p.batch, p.summed, p.right);
  letters c = with(&p.batch, p.left, p.right);
  MIEN_TRY(turn(r, x, &l[0], &a, &x));
  MIEN_TRY(turn(r, y, &l[1], &b, &y));
  MIEN_TRY(PASS_ADD(r, "MatMul", &z, x, y));
  MIEN_TRY(turn(r, z, &c, &l[2], &z));
  return h->replace(r, out, z);
}

static const char *const einsum_patterns[] = {"Einsum(x, y)", NULL};

const mien_rewrite mien_pass_einsum[] = {{.name = "einsum-to-matmul",
                                          .doc = "Einsum that is a batched matrix product -> Transpose and MatMul",
                                          .stage = MIEN_STAGE_CANONICALISE,
                                          .patterns = einsum_patterns,
                                          .apply = einsum_to_matmul},
                                         {.name = NULL}};
