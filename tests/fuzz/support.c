#include "fuzz.h"

#include "internal.h"
#include "plan_format.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MOST_BYTES ((size_t)512 << 20)

void fuzz_die(const char *what, const char *detail) {
  fprintf(stderr, "fuzz: %s: %s\n", what, detail);
  abort();
}

void fuzz_failed(mien_status status, const mien_error *error) {
  if (status == MIEN_OK) return;
  if (status == MIEN_INTERNAL) fuzz_die("a defect reported", error->message);
  if (error->code != status) fuzz_die("status and error disagree", error->message);
  if (!error->message[0]) fuzz_die("a failure without a message", mien_status_name(status));
}

/* ---- memory */

static atomic_size_t alive;
static atomic_long allocations;
static long fail_at; /* 0: never */
static bool fail_on; /* and all later ones */

static void *counting(void *context, void *pointer, size_t old_size, size_t new_size) {
  (void)context;
  if (new_size == 0) {
    free(pointer);
    alive -= old_size;
    return NULL;
  }
  long k = ++allocations;
  if (fail_at && (k == fail_at || (fail_on && k > fail_at))) return NULL;
  if (alive + new_size - old_size > MOST_BYTES) fuzz_die("memory", "an env takes more than 512 MB");
  void *fresh = realloc(pointer, new_size);
  if (fresh) alive += new_size - old_size;
  return fresh;
}

mien_env *fuzz_env(const uint8_t *data, size_t size) {
  mien_env_options options = {.alloc = counting,
                              .limits = {.nodes = 20000,
                                         .tensor_bytes = (uint64_t)1 << 22,
                                         .load_bytes = (uint64_t)64 << 20,
                                         .arena_bytes = (uint64_t)64 << 20,
                                         .folded_bytes = (uint64_t)1 << 20,
                                         .pixels = (uint64_t)1 << 20}};
  alive = 0;
  allocations = 0;
  fail_at = 0;
  mien_env *env = NULL;
  if (mien_env_create(&options, &env, NULL) != MIEN_OK) fuzz_die("memory", "no env");
  if (getenv("MIEN_FUZZ_ALLOC")) {
    uint64_t hash = XXH64(data, size, 1);
    fail_on = hash & 1;
    fail_at = allocations + 1 + (long)((hash >> 16) % ((uint64_t)1 << (hash >> 8) % 16));
  }
  return env;
}

void fuzz_env_close(mien_env *env) {
  mien_env_destroy(env);
  char text[64];
  snprintf(text, sizeof text, "%zu bytes", (size_t)alive);
  if (alive) fuzz_die("leak", text);
}

/* ---- files */

static char directory[64];

static void remove_directory(void) {
  DIR *d = opendir(directory);
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));) {
    char path[sizeof directory + sizeof e->d_name + 1];
    snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    unlink(path);
  }
  closedir(d);
  rmdir(directory);
}

const char *fuzz_path(const char *name) {
  static char paths[4][96];
  static unsigned turn;
  if (!directory[0]) {
    strcpy(directory, "/dev/shm/mien-fuzz-XXXXXX");
    if (!mkdtemp(directory)) strcpy(directory, "/tmp/mien-fuzz-XXXXXX");
    if (strncmp(directory, "/tmp/", 5) == 0 && !mkdtemp(directory)) fuzz_die("files", "no directory");
    atexit(remove_directory);
  }
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", directory, name);
  return path;
}

void fuzz_write(const char *path, const uint8_t *data, size_t size) {
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(data, 1, size, f) != size || fclose(f) != 0) fuzz_die("cannot write", path);
}

/* ---- plans */

#define MOST_PORTS 64

static void run_seeded(mien_plan *plan, mien_session *session) {
  mien_binding in[MOST_PORTS] = {0}, out[MOST_PORTS] = {0};
  size_t inputs = mien_plan_input_count(plan), outputs = mien_plan_output_count(plan), made = 0;
  mien_error error = {0};
  mien_status status = MIEN_OK;
  if (inputs > MOST_PORTS || outputs > MOST_PORTS) return;
  for (; made < inputs && status == MIEN_OK; made++) {
    mien_port port;
    if (mien_plan_input(plan, made, &port) != MIEN_OK) fuzz_die("ports", "an input is missing");
    mien_tensor *t = &in[made].tensor;
    in[made].name = port.name;
    t->type = port.type;
    for (int d = 0; d < t->type.rank; d++)
      if (t->type.dim[d] < 0) t->type.dim[d] = 2;
    int64_t count = t->type.rank < 0 || t->type.nest[0] ? -1 : mien_count(&t->type);
    size_t each = mien_dtype_size(t->type.dtype);
    if (count < 0 || !each || (uint64_t)count > ((uint64_t)1 << 22) / each) break;
    t->bytes = (size_t)count * each;
    t->data = malloc(t->bytes + 1);
    if (!t->data) fuzz_die("memory", "no input");
    status = mien__golden_fill(7, (uint32_t)made, t, &error);
  }
  for (size_t i = 0; i < outputs; i++) {
    mien_port port;
    if (mien_plan_output(plan, i, &port) != MIEN_OK) fuzz_die("ports", "an output is missing");
    out[i].name = port.name;
  }
  for (int round = 0; round < 2 && made == inputs && status == MIEN_OK; round++)
    status = mien_session_run(session, in, inputs, out, outputs, &error);
  fuzz_failed(status, &error);
  for (size_t i = 0; i < made + (made < inputs); i++) free(in[i].tensor.data);
}

void fuzz_plan(mien_plan *plan, bool good) {
  mien_session_options alone = {.threads = 1};
  mien_session *session = NULL;
  mien_error error = {0};
  mien_check_row rows[16];
  mien_picture picture;
  size_t count = 16, labels;
  (void)mien_plan_json(plan);
  (void)mien_plan_notice(plan);
  (void)mien_plan_labels(plan, &labels);
  fuzz_failed(mien_plan_picture(plan, &picture, &error), &error);
  mien_status status = mien_session_create(plan, &alone, &session, &error);
  fuzz_failed(status, &error);
  if (status != MIEN_OK) return;
  status = mien_session_check(session, rows, &count, &error);
  fuzz_failed(status, &error);
  if (good && status == MIEN_MISMATCH) fuzz_die("a plan does not give its own golden values", error.message);
  run_seeded(plan, session);
  mien_session_destroy(session);
}

static uint64_t get(const uint8_t *p, int bytes) {
  uint64_t v = 0;
  while (bytes--) v = v << 8 | p[bytes];
  return v;
}
static void put(uint8_t *p, int bytes, uint64_t v) {
  for (int i = 0; i < bytes; i++) p[i] = (uint8_t)(v >> 8 * i);
}

bool fuzz_unframe(const uint8_t *data, size_t size, fuzz_sections *sections) {
  *sections = (fuzz_sections){0};
  if (size < MIEN__PLAN_HEAD + 5 * MIEN__PLAN_ROW || memcmp(data, MIEN__PLAN_MAGIC, 8) != 0) return false;
  for (int i = 0; i < 5; i++) {
    const uint8_t *row = data + MIEN__PLAN_HEAD + (size_t)i * MIEN__PLAN_ROW;
    uint64_t kind = get(row, 4), at = get(row + 8, 8), length = get(row + 16, 8);
    if (kind < 1 || kind > 5 || at > size || length > size - at) return false;
    sections->data[kind - 1] = data + at;
    sections->size[kind - 1] = (size_t)length;
  }
  for (int i = 0; i < 5; i++)
    if (!sections->data[i]) return false;
  return true;
}

void fuzz_seal(uint8_t *data, size_t size) {
  if (size < MIEN__PLAN_HEAD || memcmp(data, MIEN__PLAN_MAGIC, 8) != 0) return;
  put(data + 16, 8, size);
  uint64_t count = get(data + 12, 4);
  if (count > MIEN__PLAN_MAX_SECTIONS || count * MIEN__PLAN_ROW > size - MIEN__PLAN_HEAD) return;
  for (uint64_t i = 0; i < count; i++) {
    uint8_t *row = data + MIEN__PLAN_HEAD + i * MIEN__PLAN_ROW;
    uint64_t at = get(row + 8, 8), length = get(row + 16, 8);
    if (at <= size && length <= size - at) put(row + 24, 8, XXH64(data + at, (size_t)length, 0));
  }
  put(data + 24, 8, XXH64(data + MIEN__PLAN_HEAD, (size_t)count * MIEN__PLAN_ROW, 0));
}

size_t fuzz_frame(const fuzz_sections *sections, uint8_t *out, size_t room) {
  size_t at = MIEN__PLAN_HEAD + 5 * MIEN__PLAN_ROW, total = at;
  for (int i = 0; i < 5; i++) total = (total + 63) / 64 * 64 + sections->size[i];
  if (total > room) return 0;
  memset(out, 0, total);
  memcpy(out, MIEN__PLAN_MAGIC, 8);
  put(out + 8, 4, MIEN__PLAN_VERSION);
  put(out + 12, 4, 5);
  for (int i = 0; i < 5; i++) {
    uint8_t *row = out + MIEN__PLAN_HEAD + (size_t)i * MIEN__PLAN_ROW;
    at = (at + 63) / 64 * 64;
    put(row, 4, (uint64_t)i + 1);
    put(row + 8, 8, at);
    put(row + 16, 8, sections->size[i]);
    if (sections->size[i]) memcpy(out + at, sections->data[i], sections->size[i]);
    at += sections->size[i];
  }
  fuzz_seal(out, total);
  return total;
}
