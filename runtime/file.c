/* file.c -- whole regular files, mapped or read; files that replace another one at once or not at all. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mien_status failed(mien_error *error, const char *verb, const char *path) {
  char text[96];
  const char *reason = strerror_r(errno, text, sizeof text);
  return mien__fail(error, MIEN_IO, "cannot %s '%s': %s", verb, path, reason);
}

static mien_status read_all(int fd, const char *what, uint8_t *data, size_t size, mien_error *error) {
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(fd, data + done, size - done, (off_t)done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(error, "read", what);
    if (n == 0) return mien__fail(error, MIEN_IO, "'%s' became shorter while it was read", what);
    done += (size_t)n;
  }
  return MIEN_OK;
}

mien_status mien__file_from_fd(mien_env *env, int fd, const char *what, bool copy, mien__file *file,
                               mien_error *error) {
  struct stat st;
  if (fstat(fd, &st) != 0) return failed(error, "examine", what);
  if (!S_ISREG(st.st_mode))
    return mien__fail(error, MIEN_IO, "'%s' is %s, expected a regular file", what,
                      S_ISDIR(st.st_mode)                          ? "a directory"
                      : S_ISFIFO(st.st_mode)                       ? "a pipe"
                      : S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? "a device"
                                                                   : "no file");
  if (st.st_size < 0 || (uintmax_t)st.st_size > SSIZE_MAX)
    return mien__fail(error, MIEN_LIMIT, "'%s' is too large", what);
  if (copy && (uint64_t)st.st_size > env->limits.load_bytes)
    return mien__fail(error, MIEN_LIMIT, "'%s' has %llu bytes, the limit for loading is %llu", what,
                      (unsigned long long)st.st_size, (unsigned long long)env->limits.load_bytes);
  mien__file result = {.size = (size_t)st.st_size, .mapped = !copy && st.st_size > 0};
  if (result.mapped) {
    void *memory = mmap(NULL, result.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED) return failed(error, "map", what);
    /* Only an advice, for weights that every run reads from end to end. */
    (void)madvise(memory, result.size, MADV_HUGEPAGE);
    result.data = memory;
  } else {
    uint8_t *memory = mien__alloc(env, result.size);
    if (!memory) return mien__no_memory(error, result.size);
    mien_status status = read_all(fd, what, memory, result.size, error);
    if (status != MIEN_OK) {
      mien__free(env, memory);
      return status;
    }
    result.data = memory;
  }
  *file = result;
  return MIEN_OK;
}

mien_status mien__file_open(mien_env *env, const char *path, bool copy, mien__file *file, mien_error *error) {
  int fd;
  /* O_NONBLOCK: opening a pipe must not wait for its writer. */
  do fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return failed(error, "open", path);
  mien_status status = mien__file_from_fd(env, fd, path, copy, file, error);
  close(fd);
  return status;
}

void mien__file_close(mien_env *env, mien__file *file) {
  if (file->mapped)
    munmap((void *)(uintptr_t)file->data, file->size);
  else
    mien__free(env, (void *)(uintptr_t)file->data);
  *file = (mien__file){0};
}

/* ---- writing */

/* Written in whole pieces at multiples of a huge page: a system that can then keeps the file in huge pages, in which whoever maps it
** finds it. */
#define BUFFER_BYTES ((size_t)2 << 20)
#define SUFFIX_BYTES ((size_t)48)

struct mien__writer {
  mien_env *env;
  int fd;
  size_t buffered;
  char *path, *temporary;
  uint8_t buffer[BUFFER_BYTES];
};

static mien_status write_all(mien__writer *w, const uint8_t *data, size_t size, mien_error *error) {
  while (size > 0) {
    ssize_t n = write(w->fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(error, "write", w->temporary);
    data += n;
    size -= (size_t)n;
  }
  return MIEN_OK;
}

static mien_status flush(mien__writer *w, mien_error *error) {
  mien_status status = write_all(w, w->buffer, w->buffered, error);
  if (status == MIEN_OK) w->buffered = 0;
  return status;
}

static void writer_free(mien__writer *w) {
  mien_env *env = w->env;
  mien__free(env, w->path);
  mien__free(env, w->temporary);
  mien__free(env, w);
}

/* A link is followed, so that the file it names is replaced and the link stays. */
static mien_status resolve(mien__writer *w, const char *path, mien_error *error) {
  struct stat st;
  char target[PATH_MAX];
  bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, target);
  const char *final = link ? target : path;
  if (stat(final, &st) == 0 && !S_ISREG(st.st_mode))
    return mien__fail(error, MIEN_IO, "cannot write '%s': it exists and is no regular file", path);
  size_t length = strlen(final);
  w->path = mien__alloc(w->env, length + 1);
  w->temporary = mien__alloc(w->env, length + SUFFIX_BYTES);
  if (!w->path || !w->temporary) return mien__no_memory(error, length + SUFFIX_BYTES);
  memcpy(w->path, final, length + 1);
  return MIEN_OK;
}

/* Not mkstemp: its files are readable by their owner alone, and the umask cannot be read without a race. */
static mien_status create_temporary(mien__writer *w, mien_error *error) {
  struct stat st;
  for (unsigned i = 0; i < 1000; i++) {
    snprintf(w->temporary, strlen(w->path) + SUFFIX_BYTES, "%s.%ld-%u.tmp", w->path, (long)getpid(), i);
    w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (w->fd >= 0 || (errno != EEXIST && errno != EINTR)) break;
  }
  if (w->fd < 0) return failed(error, "create", w->temporary);
  /* A file that is replaced hands its mode on. */
  if (stat(w->path, &st) != 0 || fchmod(w->fd, st.st_mode & 0777) == 0) return MIEN_OK;
  mien_status status = failed(error, "set the mode of", w->temporary);
  close(w->fd);
  unlink(w->temporary);
  return status;
}

mien_status mien__writer_create(mien_env *env, const char *path, mien__writer **writer, mien_error *error) {
  mien__writer *w = mien__alloc(env, sizeof *w);
  if (!w) return mien__no_memory(error, sizeof *w);
  w->env = env;
  mien_status status = resolve(w, path, error);
  if (status == MIEN_OK) status = create_temporary(w, error);
  if (status != MIEN_OK) {
    writer_free(w);
    return status;
  }
  *writer = w;
  return MIEN_OK;
}

mien_status mien__writer_write(mien__writer *w, const void *data, size_t size, mien_error *error) {
  const uint8_t *from = data;
  while (size > 0) {
    size_t n = BUFFER_BYTES - w->buffered;
    if (n > size) n = size;
    if (n == BUFFER_BYTES) {
      n = size / BUFFER_BYTES * BUFFER_BYTES;
      MIEN_TRY(write_all(w, from, n, error));
    } else {
      memcpy(w->buffer + w->buffered, from, n);
      w->buffered += n;
      if (w->buffered == BUFFER_BYTES) MIEN_TRY(flush(w, error));
    }
    from += n;
    size -= n;
  }
  return MIEN_OK;
}

mien_status mien__writer_flush(mien__writer *w, mien_error *error) { return flush(w, error); }

const char *mien__writer_temporary(const mien__writer *w) { return w->temporary; }

/* The rename is durable once the directory is. Some file systems cannot sync directories; the file itself is safe then. */
static void sync_directory(const char *path) {
  char directory[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t length = slash ? (size_t)(slash - path) + 1 : 0;
  if (length >= sizeof directory) return;
  if (length == 0) {
    memcpy(directory, ".", 2);
  } else {
    memcpy(directory, path, length);
    directory[length] = 0;
  }
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  (void)fsync(fd);
  close(fd);
}

mien_status mien__writer_finish(mien__writer *w, bool commit, mien_error *error) {
  mien_status status = MIEN_OK;
  if (commit) {
    status = flush(w, error);
    if (status == MIEN_OK && fsync(w->fd) != 0) status = failed(error, "sync", w->temporary);
  }
  if (close(w->fd) != 0 && status == MIEN_OK && commit) status = failed(error, "close", w->temporary);
  if (status == MIEN_OK && commit && rename(w->temporary, w->path) != 0) status = failed(error, "write", w->path);
  if (status != MIEN_OK || !commit)
    unlink(w->temporary);
  else
    sync_directory(w->path);
  writer_free(w);
  return status;
}
