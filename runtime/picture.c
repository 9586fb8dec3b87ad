/* picture.c -- a picture file becomes a network's input by the plan's contract. */
#include "picture.h"

#include <math.h>
#include <string.h>

mien_status mien__pixels_alloc(mien_env *env, const char *path, uint32_t width, uint32_t height, mien__pixels *pixels,
                               mien_error *error) {
  if (width == 0 || height == 0)
    return mien__fail(error, MIEN_CORRUPT, "picture '%.200s' is %u x %u pixels", path, width, height);
  if (width > INT32_MAX / 4 || height > INT32_MAX / 4 || (uint64_t)width * height > env->limits.pixels)
    return mien__fail(error, MIEN_LIMIT, "picture '%.200s' is %u x %u pixels, the limit is %llu in all", path, width,
                      height, (unsigned long long)env->limits.pixels);
  size_t bytes;
  if (!mien__mul((size_t)width * height, 3, &bytes)) return mien__no_memory(error, SIZE_MAX);
  uint8_t *rgb = mien__alloc(env, bytes);
  if (!rgb) return mien__no_memory(error, bytes);
  *pixels = (mien__pixels){.width = (int32_t)width, .height = (int32_t)height, .rgb = rgb};
  return MIEN_OK;
}

static mien_status check_contract(const mien_picture *p, mien_error *error) {
  if (!p->resize || strcmp(p->resize, "pillow-bilinear") != 0)
    return mien__fail(error, MIEN_UNSUPPORTED, "resize rule '%.60s' is not known, only 'pillow-bilinear' is",
                      p->resize ? p->resize : "");
  if (!p->color || (strcmp(p->color, "RGB") != 0 && strcmp(p->color, "BGR") != 0))
    return mien__fail(error, MIEN_UNSUPPORTED, "colour order '%.60s' is not known, only RGB and BGR are",
                      p->color ? p->color : "");
  if (p->width <= 0 || p->height <= 0 || p->width > 65536 || p->height > 65536)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "the contract's size is %d x %d", p->width, p->height);
  for (int c = 0; c < 3; c++)
    if (!(p->std[c] > 0) || !isfinite(p->std[c]) || !isfinite(p->mean[c]) || !(p->scale > 0) || !isfinite(p->scale))
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "the contract's scale %g, mean %g and std %g do not normalise",
                        (double)p->scale, (double)p->mean[c], (double)p->std[c]);
  return MIEN_OK;
}

static mien_status decode(mien_env *env, const char *path, const mien__file *file, mien__pixels *pixels,
                          mien_error *error) {
  if (file->size >= 3 && memcmp(file->data, "\xff\xd8\xff", 3) == 0)
    return mien__jpeg_decode(env, path, file->data, file->size, pixels, error);
  if (file->size >= 8 && memcmp(file->data, "\x89PNG\r\n\x1a\n", 8) == 0)
    return mien__png_decode(env, path, file->data, file->size, pixels, error);
  return mien__fail(error, MIEN_UNSUPPORTED, "'%.200s' is neither a JPEG nor a PNG file", path);
}

static void normalise(const mien_picture *p, const mien__pixels *pixels, float *out) {
  size_t plane = (size_t)p->width * (size_t)p->height;
  bool bgr = strcmp(p->color, "BGR") == 0;
  for (size_t c = 0; c < 3; c++) {
    const uint8_t *from = pixels->rgb + (bgr ? 2 - c : c);
    for (size_t i = 0; i < plane; i++) out[c * plane + i] = ((float)from[3 * i] / p->scale - p->mean[c]) / p->std[c];
  }
}

mien_status mien_picture_read(mien_env *env, const char *path, const mien_picture *picture, float *out,
                              mien_error *error) {
  mien__file file;
  mien__pixels whole = {0}, resized = {0};
  if (!env || !path || !picture || !out)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "no env, path, contract or memory for the picture");
  MIEN_TRY(check_contract(picture, error));
  MIEN_TRY(mien__file_open(env, path, true, &file, error)); /* a copy: pictures are small and may be rewritten */
  mien_status status = decode(env, path, &file, &whole, error);
  if (status == MIEN_OK) status = mien__pixels_resize(env, &whole, picture->width, picture->height, &resized, error);
  if (status == MIEN_OK) normalise(picture, &resized, out);
  mien__free(env, whole.rgb);
  mien__free(env, resized.rgb);
  mien__file_close(env, &file);
  return status;
}
