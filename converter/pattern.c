/* converter/pattern.c -- text of a pattern to items. */
#include "converter/match.h"

#include <string.h>

typedef struct pattern_parser {
  mien__pool *pool;
  const char *text, *at, *who;
  mien_error *error;
  mien__item items[MIEN__PATTERN_ITEMS];
  mien__pattern_op ops[MIEN__PATTERN_ITEMS];
  const char *names[MIEN__PATTERN_NAMES];
  int item_count, op_count, name_count;
  /* Operators whose ')' has not come yet, and their last argument so far. */
  int open[MIEN__PATTERN_DEPTH], last[MIEN__PATTERN_DEPTH];
  int depth;
} pattern_parser;

static mien_status pattern_fail(const pattern_parser *p, const char *what) {
  return mien__fail(p->error, MIEN_PLUGIN, "rewrite '%s': pattern \"%.160s\", column %d: %s", p->who, p->text,
                    (int)(p->at - p->text) + 1, what);
}

static bool pattern_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void pattern_space(pattern_parser *p) {
  while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n') p->at++;
}

/* A word of letters, digits and '_'; with dots where `dotted`. Empty when there is none. */
static size_t pattern_word(const char *at, bool dotted) {
  size_t length = 0;
  while (pattern_word_char(at[length]) || (dotted && length && at[length] == '.' && pattern_word_char(at[length + 1])))
    length++;
  return length;
}

static mien_status pattern_name(pattern_parser *p, int16_t *name) {
  size_t length = pattern_word(p->at, false);
  *name = -1;
  if (!length) return pattern_fail(p, "expected a name");
  if (length == 1 && *p->at == '_') {
    p->at++;
    return MIEN_OK;
  }
  for (int i = 0; i < p->name_count && *name < 0; i++)
    if (strlen(p->names[i]) == length && !memcmp(p->names[i], p->at, length)) *name = (int16_t)i;
  if (*name < 0) {
    if (p->name_count == MIEN__PATTERN_NAMES) return pattern_fail(p, "too many names");
    p->names[p->name_count] = mien__pool_string(p->pool, p->at, length);
    if (!p->names[p->name_count]) return mien__no_memory(p->error, length);
    *name = (int16_t)p->name_count++;
  }
  p->at += length;
  return MIEN_OK;
}

/* "Op|mien.Other" or "*" (no operators listed): up to the '('. */
static mien_status pattern_ops(pattern_parser *p, mien__item *item) {
  item->ops = (int16_t)p->op_count;
  bool any = *p->at == '*';
  if (any) p->at++;
  while (!any) {
    pattern_space(p);
    size_t length = pattern_word(p->at, true);
    if (!length) return pattern_fail(p, "expected an operator");
    if (p->op_count == MIEN__PATTERN_ITEMS) return pattern_fail(p, "too many operators");
    char *domain = mien__pool_string(p->pool, p->at, length);
    if (!domain) return mien__no_memory(p->error, length);
    char *dot = strrchr(domain, '.');
    if (dot) *dot = '\0';
    p->ops[p->op_count++] = (mien__pattern_op){.domain = dot ? domain : "", .name = dot ? dot + 1 : domain};
    item->op_count++;
    p->at += length;
    pattern_space(p);
    if (*p->at != '|') break;
    p->at++;
  }
  pattern_space(p);
  if (*p->at != '(') return pattern_fail(p, "expected '('");
  p->at++;
  return MIEN_OK;
}

/* Whether an operator's name stands here rather than that of a value. */
static bool pattern_is_op(const char *at) {
  size_t length = *at == '*' ? 1 : pattern_word(at, true);
  if (!length) return false;
  at += length;
  while (*at == ' ' || *at == '\t' || *at == '\n') at++;
  return *at == '(' || *at == '|';
}

static mien_status pattern_item(pattern_parser *p, mien__item *item) {
  *item = (mien__item){.name = -1, .first = -1, .next = -1};
  if (!strncmp(p->at, "...", 3)) {
    p->at += 3;
    item->kind = MIEN__ITEM_REST;
    return MIEN_OK;
  }
  if (*p->at == '?' || *p->at == '#') {
    item->kind = *p->at++ == '?' ? MIEN__ITEM_OPTIONAL : MIEN__ITEM_CONSTANT;
    return pattern_name(p, &item->name);
  }
  item->kind = MIEN__ITEM_OP;
  if (pattern_is_op(p->at)) return pattern_ops(p, item);
  MIEN_TRY(pattern_name(p, &item->name));
  pattern_space(p);
  if (*p->at == ':') {
    p->at++;
    pattern_space(p);
    if (!pattern_is_op(p->at)) return pattern_fail(p, "expected an operator after ':'");
    return pattern_ops(p, item);
  }
  item->kind = MIEN__ITEM_ANY;
  return MIEN_OK;
}

/* Appends an item to the innermost open operator. */
static mien_status pattern_append(pattern_parser *p) {
  if (p->item_count == MIEN__PATTERN_ITEMS) return pattern_fail(p, "too many items");
  int index = p->item_count;
  mien__item *item = &p->items[index];
  MIEN_TRY(pattern_item(p, item));
  p->item_count++;
  if (p->depth > 0) {
    mien__item *parent = &p->items[p->open[p->depth - 1]];
    int *last = &p->last[p->depth - 1];
    if (*last >= 0 && p->items[*last].kind == MIEN__ITEM_REST)
      return pattern_fail(p, "'...' must be the last argument");
    if (*last < 0)
      parent->first = (int16_t)index;
    else
      p->items[*last].next = (int16_t)index;
    *last = index;
    parent->arg_count++;
  } else if (item->kind != MIEN__ITEM_OP) {
    return pattern_fail(p, "the root must be an operator");
  }
  if (item->kind != MIEN__ITEM_OP) return MIEN_OK;
  if (p->depth == MIEN__PATTERN_DEPTH) return pattern_fail(p, "nested too deep");
  p->open[p->depth] = index;
  p->last[p->depth++] = -1;
  return MIEN_OK;
}

static mien_status pattern_run(pattern_parser *p) {
  pattern_space(p);
  MIEN_TRY(pattern_append(p));
  while (p->depth > 0) {
    bool empty = p->last[p->depth - 1] < 0;
    pattern_space(p);
    if (*p->at == ')') {
      p->at++;
      p->depth--;
      continue;
    }
    if (!empty) {
      if (*p->at != ',') return pattern_fail(p, "expected ',' or ')'");
      p->at++;
      pattern_space(p);
    }
    MIEN_TRY(pattern_append(p));
  }
  pattern_space(p);
  return *p->at ? pattern_fail(p, "expected the end") : MIEN_OK;
}

mien_status mien__pattern_parse(mien__pool *pool, const char *text, const char *who, mien__pattern *pattern,
                                mien_error *error) {
  pattern_parser p = {.pool = pool, .text = text, .at = text, .who = who, .error = error};
  if (strlen(text) > MIEN__PATTERN_TEXT)
    return mien__fail(error, MIEN_PLUGIN, "rewrite '%s': a pattern of %zu bytes, expected at most %d", who,
                      strlen(text), MIEN__PATTERN_TEXT);
  MIEN_TRY(pattern_run(&p));
  mien__pattern result = {.text = text, .item_count = p.item_count, .name_count = p.name_count};
  result.items = mien__pool_copy(pool, p.items, (size_t)p.item_count * sizeof *p.items);
  result.ops = mien__pool_copy(pool, p.ops, (size_t)p.op_count * sizeof *p.ops);
  result.names = mien__pool_copy(pool, p.names, ((size_t)p.name_count + 1) * sizeof *p.names);
  if (!result.items || !result.ops || !result.names) return mien__no_memory(error, sizeof p.items);
  *pattern = result;
  return MIEN_OK;
}
