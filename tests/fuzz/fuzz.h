/* tests/fuzz/fuzz.h -- what the fuzz targets share. A target is one C file with LLVMFuzzerTestOneInput; it is linked with
** support.c, mutate.c and either driver.c or libFuzzer. */
#ifndef MIEN_FUZZ_H
#define MIEN_FUZZ_H

#include <mien/convert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A seed file becomes another file's bytes: an ONNX model the plan of it. false: not usable. Both buffers from malloc. */
bool fuzz_seed(const char *path, uint8_t **data, size_t *size);

/* Small limits; counts memory, and ends the process when an env takes more than 512 MB. With MIEN_FUZZ_ALLOC set, one allocation
** fails, and sometimes all later ones: which, the input decides. */
mien_env *fuzz_env(const uint8_t *data, size_t size);
/* Ends the process when the env's memory is not all back. */
void fuzz_env_close(mien_env *env);

/* A path in a directory of this process, in memory, which goes when the process ends. */
const char *fuzz_path(const char *name);
void fuzz_write(const char *path, const uint8_t *data, size_t size);

/* What the program does with a plan: facts, session, golden values, one run on seeded inputs. good: golden values must agree. */
void fuzz_plan(mien_plan *plan, bool good);

/* A failure says what failed, and is no defect of ours. */
void fuzz_failed(mien_status status, const mien_error *error);
_Noreturn void fuzz_die(const char *what, const char *detail);

/* One to four changes, in place; knows protobuf messages, plans, and numbers in tensors. room: bytes of data. */
size_t fuzz_mutate(uint8_t *data, size_t size, size_t room, uint64_t *seed);
uint64_t fuzz_random(uint64_t *seed, uint64_t below);

/* Plans: sections in the order of kinds 1 .. 5, pointing into data; and a plan of them. */
typedef struct fuzz_sections {
  const uint8_t *data[5];
  size_t size[5];
} fuzz_sections;
bool fuzz_unframe(const uint8_t *data, size_t size, fuzz_sections *sections);
size_t fuzz_frame(const fuzz_sections *sections, uint8_t *out, size_t room); /* 0: does not fit */
/* Sets all checksums of a file whose table can be read. */
void fuzz_seal(uint8_t *data, size_t size);

#endif
