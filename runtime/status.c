/* status.c -- the one error path: a code returned, a line of text in the caller's mien_error. */
#include "internal.h"

#include <stdio.h>

#define STRING(x) #x
#define VERSION_TEXT(a, b, c) STRING(a) "." STRING(b) "." STRING(c)

const char *mien_version(void) { return VERSION_TEXT(MIEN_VERSION_MAJOR, MIEN_VERSION_MINOR, MIEN_VERSION_PATCH); }

const char *mien_status_name(mien_status status) {
  switch (status) {
#define X(name, text) \
  case MIEN_##name: return "MIEN_" #name;
    MIEN_STATUS_MAP(X)
#undef X
  }
  return "unknown status";
}

const char *mien_status_text(mien_status status) {
  switch (status) {
#define X(name, text) \
  case MIEN_##name: return text;
    MIEN_STATUS_MAP(X)
#undef X
  }
  return "unknown status";
}

mien_status mien__vfail(mien_error *error, mien_status code, const char *format, va_list args) {
  if (!error) return code;
  error->code = code;
  int n = vsnprintf(error->message, sizeof error->message, format, args);
  if (n < 0) error->message[0] = 0;
  /* Names come from untrusted files: one message is one line. */
  for (char *c = error->message; *c; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
  return code;
}

mien_status mien__fail(mien_error *error, mien_status code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  mien__vfail(error, code, format, args);
  va_end(args);
  return code;
}

mien_status mien__no_memory(mien_error *error, size_t bytes) {
  return mien__fail(error, MIEN_NO_MEMORY, "cannot allocate %zu bytes", bytes);
}
