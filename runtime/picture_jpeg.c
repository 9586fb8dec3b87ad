/* picture_jpeg.c -- JPEG through libjpeg-turbo. A truncated or damaged file is an error here: the library would fill with grey, and a
** wrong emotion is worse than none. */
#include "picture.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>

#define MAX_SCANS 100

typedef struct decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
} decoder;

static void on_error(j_common_ptr jpeg) {
  decoder *d = jpeg->client_data;
  jpeg->err->format_message(jpeg, d->message);
  longjmp(d->escape, 1);
}

/* level -1 is a warning, which libjpeg gives for damaged data; traces are not. */
static void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg);
}

static void print_nothing(j_common_ptr jpeg) { (void)jpeg; }

/* A few kilobytes can name thousands of scans over a large picture. */
static void count_scans(j_common_ptr jpeg) {
  decoder *d = jpeg->client_data;
  if (d->jpeg.input_scan_number <= MAX_SCANS) return;
  snprintf(d->message, sizeof d->message, "more than %d scans", MAX_SCANS);
  longjmp(d->escape, 1);
}

static mien_status read_rows(decoder *d, mien_env *env, const char *path, mien__pixels *pixels, mien_error *error) {
  jpeg_read_header(&d->jpeg, TRUE);
  if (d->jpeg.jpeg_color_space == JCS_CMYK || d->jpeg.jpeg_color_space == JCS_YCCK)
    return mien__fail(error, MIEN_UNSUPPORTED, "picture '%.200s' is a CMYK JPEG; save it as RGB", path);
  MIEN_TRY(mien__pixels_alloc(env, path, d->jpeg.image_width, d->jpeg.image_height, pixels, error));
  d->jpeg.out_color_space = JCS_RGB;
  jpeg_start_decompress(&d->jpeg);
  while (d->jpeg.output_scanline < d->jpeg.output_height) {
    JSAMPROW row = pixels->rgb + (size_t)d->jpeg.output_scanline * (size_t)pixels->width * 3;
    jpeg_read_scanlines(&d->jpeg, &row, 1);
  }
  jpeg_finish_decompress(&d->jpeg);
  return MIEN_OK;
}

mien_status mien__jpeg_decode(mien_env *env, const char *path, const uint8_t *data, size_t size, mien__pixels *pixels,
                              mien_error *error) {
  decoder *d = mien__alloc(env, sizeof *d); /* on the heap: its contents are read after longjmp */
  if (!d) return mien__no_memory(error, sizeof *d);
  mien_status status;
  d->jpeg.err = jpeg_std_error(&d->errors);
  d->errors.error_exit = on_error;
  d->errors.emit_message = on_message;
  d->errors.output_message = print_nothing;
  d->jpeg.client_data = d;
  if (setjmp(d->escape) == 0) {
    jpeg_create_decompress(&d->jpeg);
    d->progress.progress_monitor = count_scans;
    d->jpeg.progress = &d->progress;
    jpeg_mem_src(&d->jpeg, data, size);
    status = read_rows(d, env, path, pixels, error);
  } else if (d->errors.msg_code == JERR_OUT_OF_MEMORY) {
    status = mien__no_memory(error, 0);
  } else {
    status = mien__fail(error, MIEN_CORRUPT, "picture '%.200s': %s", path, d->message);
  }
  jpeg_destroy_decompress(&d->jpeg);
  mien__free(env, d);
  return status;
}
