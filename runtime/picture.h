/* runtime/picture.h -- what the picture files share: decoded pixels, three bytes each, in RGB order. */
#ifndef MIEN_PICTURE_H
#define MIEN_PICTURE_H

#include "internal.h"

typedef struct mien__pixels {
  int32_t width, height;
  uint8_t *rgb; /* memory of the env: width * height * 3 bytes */
} mien__pixels;

/* Checks a picture's size against the env's limit and gets memory for it. */
mien_status mien__pixels_alloc(mien_env *env, const char *path, uint32_t width, uint32_t height, mien__pixels *pixels,
                               mien_error *error);
mien_status mien__jpeg_decode(mien_env *env, const char *path, const uint8_t *data, size_t size, mien__pixels *pixels,
                              mien_error *error);
mien_status mien__png_decode(mien_env *env, const char *path, const uint8_t *data, size_t size, mien__pixels *pixels,
                             mien_error *error);
/* As Pillow's Image.resize(size, BILINEAR): triangle filter, antialiased when shrinking. */
mien_status mien__pixels_resize(mien_env *env, const mien__pixels *from, int32_t width, int32_t height,
                                mien__pixels *to, mien_error *error);

#endif
