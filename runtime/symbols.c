/* symbols.c -- sizes that are open while a graph is inferred: interned polynomials over atoms. An atom is a name, an anonymous
** size, or what polynomials cannot say (floor quotient, remainder, minimum, maximum of two expressions). */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_TERMS 8
#define MAX_FACTORS 6

typedef struct term {
  int64_t factor;
  int32_t count, atom[MAX_FACTORS]; /* sorted */
} term;

typedef struct poly {
  int32_t count; /* terms, sorted; no zero factors */
  term term[MAX_TERMS];
} poly;

typedef struct atom {
  char kind; /* 'n' named, 'a' anonymous, '/' '%' 'm' 'M' */
  const char *name;
  int64_t a, b; /* operands of the others */
} atom;

struct mien__symbols {
  mien__pool *pool;
  poly **polys;
  int32_t poly_count, poly_room;
  atom *atoms;
  int32_t atom_count, atom_room;
  int32_t *slots; /* open addressing over polys: index + 1 */
  int32_t slot_count;
};

/* What an expression becomes that cannot be kept (no memory, too many terms): equal to nothing known. */
#define ANONYMOUS INT64_MIN

static int64_t code_of(int32_t index) { return INT64_MIN + 1 + index; }
static int32_t index_of(int64_t code) { return (int32_t)(code - INT64_MIN - 1); }

mien__symbols *mien__symbols_create(mien__pool *pool) {
  mien__symbols *s = mien__pool_alloc(pool, sizeof *s);
  if (s) s->pool = pool;
  return s;
}

static uint64_t hash_poly(const poly *p) {
  uint64_t h = (uint64_t)p->count;
  for (int i = 0; i < p->count; i++) {
    h = (h ^ (uint64_t)p->term[i].factor) * 0x9e3779b97f4a7c15u;
    for (int j = 0; j < p->term[i].count; j++) h = (h ^ (uint64_t)p->term[i].atom[j]) * 0xff51afd7ed558ccdu;
    h ^= h >> 29;
  }
  return h;
}

static int term_order(const term *a, const term *b) {
  if (a->count != b->count) return a->count < b->count ? 1 : -1;
  for (int i = 0; i < a->count; i++)
    if (a->atom[i] != b->atom[i]) return a->atom[i] < b->atom[i] ? -1 : 1;
  return 0;
}

static bool poly_equal(const poly *a, const poly *b) {
  if (a->count != b->count) return false;
  for (int i = 0; i < a->count; i++)
    if (a->term[i].factor != b->term[i].factor || term_order(&a->term[i], &b->term[i]) != 0) return false;
  return true;
}

static bool grow_slots(mien__symbols *s) {
  int32_t count = s->slot_count ? s->slot_count * 2 : 64;
  int32_t *slots = mien__pool_alloc(s->pool, (size_t)count * sizeof *slots);
  if (!slots) return false;
  for (int32_t i = 0; i < s->poly_count; i++) {
    uint64_t at = hash_poly(s->polys[i]);
    while (slots[at & (uint64_t)(count - 1)]) at++;
    slots[at & (uint64_t)(count - 1)] = i + 1;
  }
  s->slots = slots;
  s->slot_count = count;
  return true;
}

static void *grown(mien__pool *pool, const void *old, int32_t used, int32_t *room, size_t size) {
  int32_t bigger = *room ? *room * 2 : 16;
  void *memory = mien__pool_alloc(pool, (size_t)bigger * size);
  if (!memory) return NULL;
  if (used) memcpy(memory, old, (size_t)used * size);
  *room = bigger;
  return memory;
}

/* The code of a polynomial; a number where it is one. */
static int64_t intern(mien__symbols *s, const poly *p) {
  if (p->count == 0) return 0;
  if (p->count == 1 && p->term[0].count == 0) return mien_is_symbol(p->term[0].factor) ? ANONYMOUS : p->term[0].factor;
  if (s->poly_count * 2 >= s->slot_count && !grow_slots(s)) return ANONYMOUS;
  uint64_t at = hash_poly(p), mask = (uint64_t)(s->slot_count - 1);
  for (; s->slots[at & mask]; at++)
    if (poly_equal(s->polys[s->slots[at & mask] - 1], p)) return code_of(s->slots[at & mask] - 1);
  if (s->poly_count == s->poly_room) {
    void *polys =
        s->poly_room < INT32_MAX / 4 ? grown(s->pool, s->polys, s->poly_count, &s->poly_room, sizeof *s->polys) : NULL;
    if (!polys) return ANONYMOUS;
    s->polys = polys;
  }
  poly *copy = mien__pool_copy(s->pool, p, sizeof *p);
  if (!copy) return ANONYMOUS;
  s->polys[s->poly_count] = copy;
  s->slots[at & mask] = s->poly_count + 1;
  return code_of(s->poly_count++);
}

static bool known(const mien__symbols *s, int64_t dim) {
  return dim != ANONYMOUS && index_of(dim) >= 0 && index_of(dim) < s->poly_count;
}

/* False for an anonymous operand: nothing can be said of it. */
static bool to_poly(const mien__symbols *s, int64_t dim, poly *p) {
  memset(p, 0, sizeof *p);
  if (!mien_is_symbol(dim)) {
    if (dim) *p = (poly){.count = 1, .term = {{.factor = dim}}};
    return true;
  }
  if (!known(s, dim)) return false;
  *p = *s->polys[index_of(dim)];
  return true;
}

static int64_t atom_code(mien__symbols *s, int32_t index) {
  poly p = {.count = 1, .term = {{.factor = 1, .count = 1, .atom = {index}}}};
  return intern(s, &p);
}

static int64_t atom_make(mien__symbols *s, atom what) {
  if (what.kind != 'a')
    for (int32_t i = 0; i < s->atom_count; i++) {
      const atom *a = &s->atoms[i];
      if (a->kind != what.kind || a->a != what.a || a->b != what.b) continue;
      if (what.kind != 'n' || strcmp(a->name, what.name) == 0) return atom_code(s, i);
    }
  if (s->atom_count == s->atom_room) {
    void *atoms =
        s->atom_room < INT32_MAX / 4 ? grown(s->pool, s->atoms, s->atom_count, &s->atom_room, sizeof *s->atoms) : NULL;
    if (!atoms) return ANONYMOUS;
    s->atoms = atoms;
  }
  s->atoms[s->atom_count] = what;
  return atom_code(s, s->atom_count++);
}

int64_t mien__symbol_named(mien__symbols *s, const char *name, size_t length) {
  char *copy = mien__pool_string(s->pool, name, length);
  return copy ? atom_make(s, (atom){.kind = 'n', .name = copy}) : ANONYMOUS;
}

int64_t mien__symbol_new(mien__symbols *s) { return atom_make(s, (atom){.kind = 'a'}); }

static bool add_term(poly *p, const term *t) {
  int i = 0;
  while (i < p->count && term_order(&p->term[i], t) < 0) i++;
  if (i < p->count && term_order(&p->term[i], t) == 0) {
    if (__builtin_add_overflow(p->term[i].factor, t->factor, &p->term[i].factor)) return false;
    if (p->term[i].factor == 0) {
      memmove(&p->term[i], &p->term[i + 1], (size_t)(p->count - i - 1) * sizeof *t);
      p->count--;
    }
    return true;
  }
  if (p->count == MAX_TERMS) return false;
  memmove(&p->term[i + 1], &p->term[i], (size_t)(p->count - i) * sizeof *t);
  p->term[i] = *t;
  p->count++;
  return true;
}

static bool add_scaled(poly *p, const poly *q, int64_t factor) {
  for (int i = 0; i < q->count; i++) {
    term t = q->term[i];
    if (__builtin_mul_overflow(t.factor, factor, &t.factor) || !add_term(p, &t)) return false;
  }
  return true;
}

static bool multiply(const poly *a, const poly *b, poly *out) {
  memset(out, 0, sizeof *out);
  for (int i = 0; i < a->count; i++)
    for (int j = 0; j < b->count; j++) {
      const term *x = &a->term[i], *y = &b->term[j];
      term t = {.count = x->count + y->count};
      if (t.count > MAX_FACTORS || __builtin_mul_overflow(x->factor, y->factor, &t.factor)) return false;
      for (int k = 0, u = 0, v = 0; k < t.count; k++)
        t.atom[k] = v == y->count || (u < x->count && x->atom[u] <= y->atom[v]) ? x->atom[u++] : y->atom[v++];
      if (!add_term(out, &t)) return false;
    }
  return true;
}

/* t / d without remainder. */
static bool divide_term(const term *t, const term *d, term *out) {
  if (t->factor % d->factor != 0) return false;
  *out = (term){.factor = t->factor / d->factor};
  int v = 0;
  for (int u = 0; u < t->count; u++)
    if (v < d->count && d->atom[v] == t->atom[u])
      v++;
    else
      out->atom[out->count++] = t->atom[u];
  return v == d->count;
}

static int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int64_t divide(mien__symbols *s, const poly *a, const poly *b) {
  if (b->count == 0) return mien__symbol_new(s);
  poly quotient = {0}, rest = {0};
  for (int i = 0; i < a->count; i++) {
    term t;
    /* A divisor of several terms divides only as a whole (below). A symbolic size that divides is not 0. */
    if (b->count == 1 && b->term[0].factor > 0 && divide_term(&a->term[i], &b->term[0], &t)) {
      if (!add_term(&quotient, &t)) return mien__symbol_new(s);
    } else if (!add_term(&rest, &a->term[i])) {
      return mien__symbol_new(s);
    }
  }
  if (rest.count == 0) return intern(s, &quotient);
  if (poly_equal(a, b)) return 1;
  bool number = b->count == 1 && b->term[0].count == 0;
  if (number && rest.count == 1 && rest.term[0].count == 0) {
    term t = {.factor = floor_div(rest.term[0].factor, b->term[0].factor)};
    if (t.factor && !add_term(&quotient, &t)) return mien__symbol_new(s);
    return intern(s, &quotient);
  }
  if (!number) { /* floor(P*b + R over b) = P + floor(R / b) needs 0 <= R or an integer b; keep it whole */
    quotient = (poly){0};
    rest = *a;
  }
  int64_t part = atom_make(s, (atom){.kind = '/', .a = intern(s, &rest), .b = intern(s, b)});
  poly p;
  if (!to_poly(s, part, &p) || !add_scaled(&quotient, &p, 1)) return mien__symbol_new(s);
  return intern(s, &quotient);
}

static int64_t number_op(char op, int64_t a, int64_t b) {
  int64_t r;
  switch (op) {
    case '+': return __builtin_add_overflow(a, b, &r) || mien_is_symbol(r) ? ANONYMOUS : r;
    case '-': return __builtin_sub_overflow(a, b, &r) || mien_is_symbol(r) ? ANONYMOUS : r;
    case '*': return __builtin_mul_overflow(a, b, &r) || mien_is_symbol(r) ? ANONYMOUS : r;
    case '/': return b == 0 ? ANONYMOUS : b == -1 ? number_op('-', 0, a) : floor_div(a, b);
    case 'c': return b == 0 ? ANONYMOUS : b == -1 ? number_op('-', 0, a) : floor_div(a, b) + (a % b != 0);
    case '%': return b == 0 ? ANONYMOUS : b == -1 ? 0 : a - floor_div(a, b) * b;
    case 'm': return a < b ? a : b;
    case 'M': return a > b ? a : b;
    default: return ANONYMOUS;
  }
}

static bool constant_difference(const poly *a, const poly *b, int64_t *difference) {
  poly d = *a;
  if (!add_scaled(&d, b, -1)) return false;
  if (d.count > 1 || (d.count == 1 && d.term[0].count)) return false;
  *difference = d.count ? d.term[0].factor : 0;
  return true;
}

int64_t mien__dim(mien__symbols *s, char op, int64_t a, int64_t b) {
  if (!mien_is_symbol(a) && !mien_is_symbol(b)) return number_op(op, a, b);
  if (op == '*' && (a == 0 || b == 0)) return 0;
  poly x, y, z;
  if (!s) return ANONYMOUS;
  if (!to_poly(s, a, &x) || !to_poly(s, b, &y)) return mien__symbol_new(s);
  int64_t difference;
  switch (op) {
    case '+':
    case '-':
      if (add_scaled(&x, &y, op == '+' ? 1 : -1)) return intern(s, &x);
      break;
    case '*':
      if (multiply(&x, &y, &z)) return intern(s, &z);
      break;
    case '/': return divide(s, &x, &y);
    case 'c': {
      poly one = {.count = 1, .term = {{.factor = -1}}};
      if (add_scaled(&x, &y, 1) && add_scaled(&x, &one, 1)) return divide(s, &x, &y);
      break;
    }
    case '%': {
      int64_t quotient = divide(s, &x, &y), product = mien__dim(s, '*', quotient, b);
      if (product == a) return 0;
      if (!mien_is_symbol(quotient)) return mien__dim(s, '-', a, product);
      return atom_make(s, (atom){.kind = '%', .a = a, .b = b});
    }
    case 'm':
    case 'M':
      if (constant_difference(&x, &y, &difference)) return (difference < 0) == (op == 'm') ? a : b;
      return a < b ? atom_make(s, (atom){.kind = op, .a = a, .b = b})
                   : atom_make(s, (atom){.kind = op, .a = b, .b = a});
  }
  return mien__symbol_new(s);
}

bool mien__dim_differs(const mien__symbols *s, int64_t a, int64_t b) {
  if (!mien_is_symbol(a) && !mien_is_symbol(b)) return a != b;
  poly x, y;
  int64_t difference;
  if (!s || !to_poly(s, a, &x) || !to_poly(s, b, &y) || !constant_difference(&x, &y, &difference)) return false;
  return difference != 0;
}

/* Depth is bounded: deeper expressions print as "...". */
static size_t print(const mien__symbols *s, int64_t dim, char *text, size_t size, int depth);

static size_t print_atom(const mien__symbols *s, int32_t index, char *text, size_t size, int depth) {
  const atom *a = &s->atoms[index];
  if (a->kind == 'n') return (size_t)snprintf(text, size, "%.60s", a->name);
  if (a->kind == 'a') return (size_t)snprintf(text, size, "?%d", index);
  char left[96], right[96];
  print(s, a->a, left, sizeof left, depth + 1);
  print(s, a->b, right, sizeof right, depth + 1);
  const char *format = a->kind == '/'   ? "floor((%s)/(%s))"
                       : a->kind == '%' ? "mod(%s,%s)"
                       : a->kind == 'm' ? "min(%s,%s)"
                                        : "max(%s,%s)";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  return (size_t)snprintf(text, size, format, left, right);
#pragma GCC diagnostic pop
}

static size_t print(const mien__symbols *s, int64_t dim, char *text, size_t size, int depth) {
  if (!mien_is_symbol(dim)) return (size_t)snprintf(text, size, "%lld", (long long)dim);
  if (!s || !known(s, dim)) return (size_t)snprintf(text, size, "?");
  if (depth > 4) return (size_t)snprintf(text, size, "...");
  const poly *p = s->polys[index_of(dim)];
  size_t at = 0;
  text[0] = 0;
  for (int i = 0; i < p->count && at < size; i++) {
    const term *t = &p->term[i];
    const char *sign = i && t->factor >= 0 ? "+" : "";
    if (t->count == 0 || (t->factor != 1 && t->factor != -1))
      at += (size_t)snprintf(text + at, size - at, "%s%lld%s", sign, (long long)t->factor, t->count ? "*" : "");
    else
      at += (size_t)snprintf(text + at, size - at, "%s", t->factor < 0 ? "-" : sign);
    for (int j = 0; j < t->count && at < size; j++) {
      if (j) at += (size_t)snprintf(text + at, size - at, "*");
      if (at < size) at += print_atom(s, t->atom[j], text + at, size - at, depth);
    }
  }
  return at;
}

const char *mien__dim_text(const mien__symbols *s, int64_t dim, char *text, size_t size) {
  print(s, dim, text, size, 0);
  return text;
}
