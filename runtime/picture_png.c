/* picture_png.c -- PNG through libpng's low-level interface, with limits. Pixels as Pillow's convert("RGB") gives them: alpha dropped, 16
** bits cut to 8, no gamma. */
#include "picture.h"

#include <png.h>
#include <string.h>

typedef struct decoder {
  mien_env *env;
  const char *path;
  mien_error *error;
  const uint8_t *data;
  size_t size, at;
  size_t starved; /* bytes that could not be allocated: what libpng then complains of is no damage */
  mien_status status;
  png_bytep *rows;
} decoder;

static void on_error(png_structp png, png_const_charp message) {
  decoder *d = png_get_error_ptr(png);
  if (d->status == MIEN_OK && d->starved)
    d->status = mien__no_memory(d->error, d->starved);
  else if (d->status == MIEN_OK)
    d->status = mien__fail(d->error, MIEN_CORRUPT, "picture '%.200s': %.200s", d->path, message);
  png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

static png_voidp on_alloc(png_structp png, png_alloc_size_t size) {
  decoder *d = png_get_mem_ptr(png);
  void *memory = mien__alloc(d->env, size);
  if (!memory) d->starved = size;
  return memory;
}

static void on_free(png_structp png, png_voidp pointer) {
  decoder *d = png_get_mem_ptr(png);
  mien__free(d->env, pointer);
}

static void on_read(png_structp png, png_bytep out, size_t size) {
  decoder *d = png_get_io_ptr(png);
  if (size > d->size - d->at) png_error(png, "the file is truncated");
  memcpy(out, d->data + d->at, size);
  d->at += size;
}

static void ask_for_rgb(png_structp png, png_infop info) {
  int type = png_get_color_type(png, info);
  png_set_strip_16(png);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if (type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8) png_set_expand_gray_1_2_4_to_8(png);
  if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

/* Everything that may longjmp back to the caller. */
static void read_picture(decoder *d, png_structp png, png_infop info, mien__pixels *pixels) {
  png_read_info(png, info);
  uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
  d->status = mien__pixels_alloc(d->env, d->path, width, height, pixels, d->error);
  if (d->status != MIEN_OK) return;
  ask_for_rgb(png, info);
  if (png_get_rowbytes(png, info) != (size_t)width * 3) png_error(png, "unexpected pixel format");
  d->rows = mien__alloc(d->env, height * sizeof *d->rows);
  if (!d->rows) {
    d->status = mien__no_memory(d->error, height * sizeof *d->rows);
    return;
  }
  for (uint32_t y = 0; y < height; y++) d->rows[y] = pixels->rgb + (size_t)y * width * 3;
  png_read_image(png, d->rows);
  png_read_end(png, NULL);
}

mien_status mien__png_decode(mien_env *env, const char *path, const uint8_t *data, size_t size, mien__pixels *pixels,
                             mien_error *error) {
  decoder d = {.env = env, .path = path, .error = error, .data = data, .size = size};
  png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, on_alloc, on_free);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  if (!info) {
    png_destroy_read_struct(&png, NULL, NULL);
    return mien__no_memory(error, 0);
  }
  if (setjmp(png_jmpbuf(png)) == 0) {
    png_set_user_limits(png, 1u << 28, 1u << 28);
    png_set_chunk_cache_max(png, 100);
    png_set_chunk_malloc_max(png, 8u << 20);
    png_set_read_fn(png, &d, on_read);
    read_picture(&d, png, info, pixels);
  }
  png_destroy_read_struct(&png, &info, NULL);
  mien__free(env, d.rows);
  return d.status;
}
