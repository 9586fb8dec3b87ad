/* Einsum against a walk over every combination of indices, written apart from the operator's own parser. */
#include "op_test.h"

typedef struct einsum_case {
  const char *equation, *plain; /* plain: explicit, without ellipsis and spaces, for the reference */
  int inputs, rank[3];
  int64_t dims[3][4];
} einsum_case;

static const einsum_case cases[] = {
    {"ij,jk->ik", "ij,jk->ik", 2, {2, 2}, {{3, 4}, {4, 5}}},
    {"ij,jk", "ij,jk->ik", 2, {2, 2}, {{3, 4}, {4, 5}}},
    {"ji", "ji->ij", 1, {2}, {{3, 4}}},
    {"ii", "ii->", 1, {2}, {{4, 4}}},
    {"ii->i", "ii->i", 1, {2}, {{4, 4}}},
    {"i,i", "i,i->", 2, {1, 1}, {{5}, {5}}},
    {" b i j , b j k -> b i k ", "bij,bjk->bik", 2, {3, 3}, {{2, 3, 4}, {2, 4, 2}}},
    {"...ij,...jk->...ik", "abij,abjk->abik", 2, {4, 4}, {{2, 3, 2, 3}, {2, 3, 3, 2}}},
    {"...ij,jk", "aij,jk->aik", 2, {3, 2}, {{2, 3, 4}, {4, 2}}},
    {"...ij,...jk->...ik", "abij,bjk->abik", 2, {4, 3}, {{2, 3, 2, 3}, {3, 3, 2}}},
    {"i...->...", "iab->ab", 1, {3}, {{2, 3, 4}}},
    {"a,b,c->cab", "a,b,c->cab", 3, {1, 1, 1}, {{2}, {3}, {4}}},
    {"ijk,kj->", "ijk,kj->", 2, {3, 2}, {{2, 3, 4}, {4, 3}}},
    {"Ba,aC->BC", "Ba,aC->BC", 2, {2, 2}, {{2, 3}, {3, 4}}},
    {"aB", "aB->Ba", 1, {2}, {{2, 3}}},
    {"ij,jk->ik", "ij,jk->ik", 2, {2, 2}, {{3, 0}, {0, 5}}},
    {"ij,ij->ij", "ij,ij->ij", 2, {2, 2}, {{3, 4}, {1, 4}}},
    {"bhid,bhjd->bhij", "bhid,bhjd->bhij", 2, {4, 4}, {{2, 2, 3, 4}, {2, 2, 5, 4}}},
    {",ij->ij", ",ij->ij", 2, {0, 2}, {{0}, {3, 4}}},
};

enum { MOST = 512 };

static int64_t einsum_reference(const einsum_case *k, double x[3][MOST], double *y) {
  int64_t size[128] = {0}, index[128] = {0};
  const char *term[4], *arrow = strstr(k->plain, "->");
  char letters[32] = "";
  int terms = 0;
  term[terms++] = k->plain;
  for (const char *c = k->plain; c < arrow; c++)
    if (*c == ',') term[terms++] = c + 1;
  for (int i = 0; i < terms; i++)
    for (int d = 0; d < k->rank[i]; d++) {
      const int letter = term[i][d];
      if (!size[letter]) size[letter] = 1, letters[strlen(letters)] = (char)letter;
      if (k->dims[i][d] != 1) size[letter] = k->dims[i][d];
    }
  int64_t total = 1, out = 1;
  for (const char *c = letters; *c; c++) total *= size[(int)*c];
  for (const char *c = arrow + 2; *c; c++) out *= size[(int)*c];
  for (int64_t i = 0; i < out; i++) y[i] = 0;
  for (int64_t n = 0; n < total; n++) {
    int64_t rest = n, to = 0;
    double product = 1;
    for (const char *c = letters; *c; c++) index[(int)*c] = rest % size[(int)*c], rest /= size[(int)*c];
    for (int i = 0; i < terms; i++) {
      int64_t at = 0;
      for (int d = 0; d < k->rank[i]; d++) at = at * k->dims[i][d] + (k->dims[i][d] == 1 ? 0 : index[(int)term[i][d]]);
      product *= x[i][at];
    }
    for (const char *c = arrow + 2; *c; c++) to = to * size[(int)*c] + index[(int)*c];
    y[to] += product;
  }
  return out;
}

static void put(mien_tensor *t, int64_t i, double v) {
  switch (t->type.dtype) {
    case MIEN_F64: ((double *)t->data)[i] = v; break;
    case MIEN_F16: ((uint16_t *)t->data)[i] = mien__f32_to_f16((float)v); break;
    case MIEN_BF16: ((uint16_t *)t->data)[i] = mien__f32_to_bf16((float)v); break;
    case MIEN_I32: ((int32_t *)t->data)[i] = (int32_t)v; break;
    case MIEN_I64: ((int64_t *)t->data)[i] = (int64_t)v; break;
    default: ((float *)t->data)[i] = (float)v;
  }
}

/* Small whole numbers: exact in every type. */
static void test_cases(void **state) {
  static const int32_t types[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I32, MIEN_I64};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
      uint64_t seed = 41;
      double x[3][MOST], y[MOST];
      op_call c = {.name = "Einsum", .version = 12, .threads = (int)(t % 3)};
      op_attr_s(&c, "equation", cases[i].equation);
      for (int k = 0; k < cases[i].inputs; k++) {
        op_in(&c, types[t], cases[i].rank[k], cases[i].dims[k], NULL);
        for (int64_t e = 0; e < mien_count(&c.in[k].type); e++)
          put(&c.in[k], e, x[k][e] = floor(op_random(&seed, -2, 3)));
      }
      const int64_t count = einsum_reference(&cases[i], x, y);
      op_run_ok(*state, &c);
      assert_int_equal(c.out[0].type.rank, (int)strlen(strstr(cases[i].plain, "->") + 2));
      op_expect(&c.out[0], y, count, 0, 0);
      op_free(&c);
    }
}

static void test_refused(void **state) {
  static const char *const bad[] = {"ij",        "ij,jk,kl->il", "ij,jk->iz", "ij,jk->ii",   "ij,j?->i",
                                    "ijk,jk->i", "ij,jk->i->k",  "ij,jk-",    "i..j,jk->ik", "ij,kj->ik"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    op_call c = {.name = "Einsum", .version = 12};
    op_attr_s(&c, "equation", bad[i]);
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_cases, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
