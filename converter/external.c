/* external.c -- tensors whose bytes stand in files beside the model. The kernel keeps the path below the model's directory
** (openat2, or component by component where that call is missing); links are refused, and so is all but regular files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "converter/import.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void mien__external_init(mien__external *external, mien_env *env, mien__pool *pool, const char *model_path) {
  *external =
      (mien__external){.env = env, .pool = pool, .model_path = model_path, .directory = -1, .files = {.pool = pool}};
}

void mien__external_clear(mien__external *external) {
  for (size_t i = 0; i < external->files.room; i++)
    if (external->files.slots[i] && external->files.slots[i]->object)
      mien__file_close(external->env, (mien__file *)(uintptr_t)external->files.slots[i]->object);
  if (external->directory >= 0) close(external->directory);
  external->directory = -1;
  external->files = (mien__table){.pool = external->pool};
}

static int retried_open(int directory, const char *name, int flags) {
  int fd;
  do fd = openat(directory, name, flags | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  return fd;
}

/* Every component but the last is a directory, none is a link: what RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS does. */
static int open_by_components(int directory, const char *location) {
  char part[NAME_MAX + 1];
  int at = directory;
  for (const char *p = location;;) {
    size_t length = strcspn(p, "/");
    if (length > NAME_MAX) {
      errno = ENAMETOOLONG;
      break;
    }
    memcpy(part, p, length);
    part[length] = 0;
    bool last = !p[length];
    int fd = retried_open(at, part, O_RDONLY | O_NOFOLLOW | (last ? O_NONBLOCK | O_NOCTTY : O_DIRECTORY));
    int code = errno;
    if (at != directory) close(at);
    errno = code;
    if (fd < 0 || last) return fd;
    at = fd;
    p += length + 1;
  }
  if (at != directory) close(at);
  return -1;
}

static int open_beneath(int directory, const char *location) {
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  for (;;) {
    long fd = syscall(SYS_openat2, directory, location, &how, sizeof how);
    if (fd >= 0) return (int)fd;
    if (errno == ENOSYS || errno == EPERM) return open_by_components(directory, location);
    if (errno != EINTR && errno != EAGAIN) return -1;
  }
}

static mien_status open_directory(mien__external *x, mien_error *error) {
  if (x->directory >= 0) return MIEN_OK;
  const char *slash = strrchr(x->model_path, '/');
  const char *name = !slash ? "."
                     : slash == x->model_path
                         ? "/"
                         : mien__pool_string(x->pool, x->model_path, (size_t)(slash - x->model_path));
  if (!name) return mien__no_memory(error, strlen(x->model_path));
  x->directory = retried_open(AT_FDCWD, name, O_RDONLY | O_DIRECTORY);
  if (x->directory >= 0) return MIEN_OK;
  char text[96];
  return mien__fail(error, MIEN_IO, "cannot open directory '%s': %s", name, strerror_r(errno, text, sizeof text));
}

/* The kernel would follow `..` as long as it stays below; no honest writer needs it. */
static bool plain_location(const char *location) {
  if (!*location || *location == '/') return false;
  for (const char *p = location;; p++) {
    size_t length = strcspn(p, "/");
    if (length == 0 || (length == 2 && memcmp(p, "..", 2) == 0)) return false;
    p += length;
    if (!*p) return true;
  }
}

static mien_status open_file(mien__external *x, const char *location, const char *what, const mien__file **file,
                             mien_error *error) {
  if (!plain_location(location))
    return mien__fail(error, MIEN_INVALID_MODEL,
                      "%s: external location '%s' is refused, expected a path below the model's directory", what,
                      location);
  mien__entry *entry = mien__table_add(&x->files, location, NULL);
  if (!entry) return mien__no_memory(error, sizeof *entry);
  if (!entry->object) {
    MIEN_TRY(open_directory(x, error));
    int fd = open_beneath(x->directory, location);
    if (fd < 0) {
      char text[96];
      int code = errno;
      const char *hint = code == ELOOP ? " (links are not followed)" : code == EXDEV ? " (outside the directory)" : "";
      return mien__fail(error, MIEN_IO, "%s: cannot open external data '%s': %s%s", what, location,
                        strerror_r(code, text, sizeof text), hint);
    }
    mien__file *opened = mien__pool_alloc(x->pool, sizeof *opened);
    mien_status status = opened ? mien__file_from_fd(x->env, fd, location, false, opened, error)
                                : mien__no_memory(error, sizeof *opened);
    close(fd);
    MIEN_TRY(status);
    entry->object = opened;
  }
  *file = entry->object;
  return MIEN_OK;
}

/* Decimal digits and nothing else. */
static bool number_of(const char *text, uint64_t *value) {
  uint64_t v = 0;
  if (!*text) return false;
  for (; *text; text++)
    if (*text < '0' || *text > '9' || __builtin_mul_overflow(v, (uint64_t)10, &v) ||
        __builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
      return false;
  *value = v;
  return true;
}

mien_status mien__external_data(mien__external *external, const mien__tensor_proto *proto, size_t bytes,
                                const char *what, const uint8_t **data, mien_error *error) {
  /* A checksum is of the whole file, by SHA-1: it would tell nothing against an enemy, and is not looked at. */
  static const char *const keys[] = {"location", "offset", "length", "checksum"};
  const char *found[4] = {NULL};
  for (size_t i = 0; i < proto->n_external_data; i++) {
    const char *key = proto->external_data[i]->key ? proto->external_data[i]->key : "";
    int k = 0;
    while (k < 4 && strcmp(key, keys[k]) != 0) k++;
    if (k == 4)
      return mien__fail(error, MIEN_INVALID_MODEL,
                        "%s: external_data has key '%.64s', expected location, offset, length or checksum", what, key);
    if (found[k]) return mien__fail(error, MIEN_INVALID_MODEL, "%s: external_data has key '%s' twice", what, key);
    found[k] = proto->external_data[i]->value ? proto->external_data[i]->value : "";
  }
  if (!found[0]) return mien__fail(error, MIEN_INVALID_MODEL, "%s: external_data has no location", what);
  uint64_t offset = 0, length = bytes, end;
  if (found[1] && !number_of(found[1], &offset))
    return mien__fail(error, MIEN_INVALID_MODEL, "%s: external offset '%.64s' is no number", what, found[1]);
  if (found[2] && !number_of(found[2], &length))
    return mien__fail(error, MIEN_INVALID_MODEL, "%s: external length '%.64s' is no number", what, found[2]);
  if (length != bytes)
    return mien__fail(error, MIEN_INVALID_MODEL, "%s: external length is %llu bytes, its type needs %zu", what,
                      (unsigned long long)length, bytes);
  const mien__file *file = NULL;
  MIEN_TRY(open_file(external, found[0], what, &file, error));
  if (__builtin_add_overflow(offset, length, &end) || end > file->size)
    return mien__fail(error, MIEN_INVALID_MODEL, "%s: external data '%s' has %zu bytes, offset %llu + %llu expected",
                      what, found[0], file->size, (unsigned long long)offset, (unsigned long long)length);
  *data = file->data ? file->data + offset : NULL;
  return MIEN_OK;
}
