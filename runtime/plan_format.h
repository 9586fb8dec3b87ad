/* runtime/plan_format.h -- the frame of a plan file (schemas/plan.proto says what stands in the sections), and what the files
** plan_*.c share. */
#ifndef MIEN_PLAN_FORMAT_H
#define MIEN_PLAN_FORMAT_H

#include "internal.h"

#define MIEN__PLAN_MAGIC "MIENPLAN"
#define MIEN__PLAN_VERSION 1u
#define MIEN__PLAN_HEAD 64u /* magic, version, section count, file size, XXH64 of the table; zeros */
#define MIEN__PLAN_ROW 32u  /* kind, 0, offset, size, XXH64 */
#define MIEN__PLAN_ALIGN 64u
#define MIEN__PLAN_MAX_SECTIONS 64u

typedef enum mien__section {
  MIEN__SECTION_PROGRAM = 1,
  MIEN__SECTION_CONSTANTS = 2,
  MIEN__SECTION_NAMES = 3,
  MIEN__SECTION_META = 4,
  MIEN__SECTION_CHECK = 5
} mien__section;

/* "program". Static. */
const char *mien__section_name(uint32_t kind);

/* plan_read.c: frame and checksums, then all messages into the plan's pool. */
mien_status mien__plan_read(mien_plan *plan, mien_error *error);

/* plan_check.c: the program; fills plan->program, plan->tensors, plan->notice. */
mien_status mien__plan_check_program(mien_plan *plan, mien_error *error);

/* plan_type.c */
struct Mien__Plan__Type;
struct Mien__Plan__Attribute;
/* what: place for messages, "input 'x'". open: sizes may be unknown (-1 in the result). */
mien_status mien__plan_type(const struct Mien__Plan__Type *type, bool open, const char *what, mien_type *out,
                            mien_error *error);
/* Section constants against their types; fills plan->tensors. */
mien_status mien__plan_check_constants(mien_plan *plan, mien_error *error);
/* Points out at the attribute's parts; strings are copied into the pool. what: as above. */
mien_status mien__plan_attribute(mien_plan *plan, const struct Mien__Plan__Attribute *attribute, const char *what,
                                 mien__attr_value *out, mien_error *error);

/* plan_facts.c: sections names, meta, check. */
mien_status mien__plan_check_facts(mien_plan *plan, mien_error *error);

/* plan_json.c: NULL when there is no memory; freed with free. */
char *mien__plan_json_text(const mien_plan *plan);

/* plan_pack.c */
/* Gives back the resident pages of a stretch of the mapped file, which is read again when it is needed. */
void mien__plan_forget(const mien_plan *plan, const void *data, size_t bytes);
mien_status mien__packs_create(mien_env *env, struct mien__packs **packs, mien_error *error);
void mien__packs_destroy(mien_env *env, struct mien__packs *packs);
void mien__packs_lock(struct mien__packs *packs); /* also guards plan->json */
void mien__packs_unlock(struct mien__packs *packs);

#endif
