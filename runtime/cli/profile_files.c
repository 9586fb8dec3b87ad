/* profile_files.c -- the files of mien profile: the fastest run as Chrome trace JSON, and a page that shows it. */
#include "profile.h"

#include "internal.h"

#include <stdlib.h>
#include <string.h>

extern const unsigned char cli_page_html[]; /* runtime/cli/page.html, NUL-terminated */

static const char *node_title(const cli_profile *p, uint32_t node) {
  if (node >= p->node_count) return "";
  const mien_node_info *info = &p->nodes[node].info;
  return *info->name ? info->name : info->op;
}

/* ---------------------------------------------------------------- trace */

static void add_metadata(cJSON *events, const char *what, int thread, const char *name) {
  cJSON *e = cJSON_CreateObject();
  if (!e || !cJSON_AddItemToArray(events, e)) return;
  cJSON_AddStringToObject(e, "name", what);
  cJSON_AddStringToObject(e, "ph", "M");
  cJSON_AddNumberToObject(e, "pid", 1);
  cJSON_AddNumberToObject(e, "tid", thread);
  cJSON_AddStringToObject(cJSON_AddObjectToObject(e, "args"), "name", name);
}

static void add_node_args(const cli_profile *p, cJSON *args, uint32_t node) {
  char text[256];
  const mien_node_info *info = &p->nodes[node].info;
  cJSON_AddStringToObject(args, "operator", cli_node_op(info, text, sizeof text));
  cJSON_AddStringToObject(args, "output", cli_type_text(&info->type, text, sizeof text));
  cJSON_AddStringToObject(args, "kernel", info->kernel);
  cJSON_AddNumberToObject(args, "flops", info->flops);
  cJSON_AddNumberToObject(args, "bytes", info->bytes);
}

static void add_span(const cli_profile *p, cJSON *events, int thread, const cli_span *s, int64_t origin) {
  static const char *const kinds[] = {"run", "node", "phase", "work"};
  cJSON *e = cJSON_CreateObject();
  if (!e || !cJSON_AddItemToArray(events, e)) return;
  char phase[64];
  snprintf(phase, sizeof phase, "phase %u", s->phase);
  cJSON_AddStringToObject(e, "name",
                          s->kind == MIEN_EVENT_RUN     ? "run"
                          : s->kind == MIEN_EVENT_PHASE ? phase
                                                        : node_title(p, s->node));
  cJSON_AddStringToObject(e, "cat", kinds[s->kind]);
  cJSON_AddStringToObject(e, "ph", "X");
  cJSON_AddNumberToObject(e, "pid", 1);
  cJSON_AddNumberToObject(e, "tid", thread);
  cJSON_AddNumberToObject(e, "ts", 1e-3 * (double)(s->start - origin));
  cJSON_AddNumberToObject(e, "dur", 1e-3 * (double)(s->end - s->start));
  cJSON *args = cJSON_AddObjectToObject(e, "args");
  if (s->kind == MIEN_EVENT_NODE && s->node < p->node_count) add_node_args(p, args, s->node);
  if (s->kind == MIEN_EVENT_PHASE) cJSON_AddNumberToObject(args, "items", (double)s->last);
  if (s->kind != MIEN_EVENT_WORK) return;
  cJSON_AddNumberToObject(args, "phase", s->phase);
  cJSON_AddNumberToObject(args, "first", (double)s->first);
  cJSON_AddNumberToObject(args, "count", (double)(s->last - s->first));
}

static int64_t run_start(const cli_profile *p) { return p->best[0].count ? p->best[0].spans[0].start : 0; }

static cJSON *trace_json(const cli_profile *p) {
  cJSON *json = cJSON_CreateObject(), *events = cJSON_AddArrayToObject(json, "traceEvents");
  char name[32];
  add_metadata(events, "process_name", 0, p->m.path);
  for (int t = 0; t < p->threads; t++) {
    snprintf(name, sizeof name, t ? "thread %d" : "thread %d (caller)", t);
    add_metadata(events, "thread_name", t, name);
    for (size_t i = 0; i < p->best[t].count; i++) add_span(p, events, t, &p->best[t].spans[i], run_start(p));
  }
  cJSON_AddStringToObject(json, "displayTimeUnit", "ns");
  cJSON *other = cJSON_AddObjectToObject(json, "otherData");
  cJSON_AddStringToObject(other, "version", mien_version());
  cJSON_AddStringToObject(other, "isa", p->info.isa);
  cJSON_AddNumberToObject(other, "peak_gflops_per_second", 1e-9 * p->peak);
  return json;
}

/* ---------------------------------------------------------------- page */

static void add_tracks(const cli_profile *p, cJSON *json) {
  cJSON *tracks = cJSON_AddArrayToObject(cJSON_AddObjectToObject(json, "fastest"), "tracks");
  for (int t = 0; t < p->threads; t++) {
    cJSON *track = cJSON_CreateArray();
    for (size_t i = 0; i < p->best[t].count; i++) {
      const cli_span *s = &p->best[t].spans[i];
      const bool nested = s->split || cli_is_nested(&p->best[t], s);
      const double row[] = {s->kind,
                            s->node,
                            s->phase,
                            (double)s->first,
                            (double)s->last,
                            (double)(s->start - run_start(p)),
                            (double)(s->end - s->start),
                            nested};
      cJSON_AddItemToArray(track, cJSON_CreateDoubleArray(row, sizeof row / sizeof *row));
    }
    cJSON_AddItemToArray(tracks, track);
  }
}

static mien_status add_places(const cli_profile *p, cJSON *json) {
  size_t count = 0;
  mien_status status = mien_session_places(p->m.session, NULL, &count);
  if (status != MIEN_OK) return status;
  mien_place *places = calloc(count + 1, sizeof *places);
  if (!places) return MIEN_NO_MEMORY;
  status = mien_session_places(p->m.session, places, &count);
  cJSON *list = cJSON_AddArrayToObject(json, "places");
  for (size_t i = 0; status == MIEN_OK && i < count; i++) {
    char text[256];
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", places[i].name);
    cJSON_AddStringToObject(row, "type", cli_type_text(&places[i].type, text, sizeof text));
    cJSON_AddNumberToObject(row, "offset", (double)places[i].offset);
    cJSON_AddNumberToObject(row, "bytes", (double)places[i].bytes);
    cJSON_AddNumberToObject(row, "first", places[i].first);
    cJSON_AddNumberToObject(row, "last", places[i].last);
    cJSON_AddItemToArray(list, row);
  }
  free(places);
  return status;
}

/* JSON inside a <script> element: no name in it may end the element, so '<' is written as JSON's escape for it. */
static mien_status write_escaped(mien__writer *w, const char *json, mien_error *error) {
  for (;;) {
    size_t n = strcspn(json, "<");
    MIEN_TRY(mien__writer_write(w, json, n, error));
    if (!json[n]) return MIEN_OK;
    MIEN_TRY(mien__writer_write(w, "\\u003c", 6, error));
    json += n + 1;
  }
}

static mien_status write_page(mien__writer *w, const char *json, mien_error *error) {
  static const char mark[] = "@DATA@";
  const char *page = (const char *)cli_page_html, *at = strstr(page, mark);
  if (!at) return MIEN_INTERNAL;
  MIEN_TRY(mien__writer_write(w, page, (size_t)(at - page), error));
  MIEN_TRY(write_escaped(w, json, error));
  at += sizeof mark - 1;
  return mien__writer_write(w, at, strlen(at), error);
}

/* ---------------------------------------------------------------- both */

mien_status cli_profile_files_begin(cli_profile *p, mien_error *error) {
  mien_status status = MIEN_OK;
  if (p->trace) status = mien__writer_create(p->m.env, p->trace, &p->trace_writer, error);
  if (status == MIEN_OK && p->html) status = mien__writer_create(p->m.env, p->html, &p->html_writer, error);
  return status;
}

static mien_status write_trace(const cli_profile *p, mien_error *error) {
  cJSON *json = trace_json(p);
  char *text = json ? cJSON_PrintUnformatted(json) : NULL;
  cJSON_Delete(json);
  if (!text) return MIEN_NO_MEMORY;
  mien_status status = mien__writer_write(p->trace_writer, text, strlen(text), error);
  cJSON_free(text);
  return status;
}

static mien_status write_html(const cli_profile *p, mien_error *error) {
  cJSON *json = cli_profile_json(p);
  mien_status status = json ? add_places(p, json) : MIEN_NO_MEMORY;
  if (status == MIEN_OK) add_tracks(p, json);
  if (status == MIEN_OK) cJSON_AddNumberToObject(json, "instructions", (double)p->node_count);
  char *text = status == MIEN_OK ? cJSON_PrintUnformatted(json) : NULL;
  cJSON_Delete(json);
  if (status == MIEN_OK && !text) status = MIEN_NO_MEMORY;
  if (status == MIEN_OK) status = write_page(p->html_writer, text, error);
  cJSON_free(text);
  return status;
}

static mien_status finish(mien__writer **w, mien_status status, mien_error *error) {
  mien__writer *writer = *w;
  *w = NULL;
  if (!writer) return status;
  mien_status finished = mien__writer_finish(writer, status == MIEN_OK, status == MIEN_OK ? error : NULL);
  return status == MIEN_OK ? finished : status;
}

mien_status cli_profile_files_end(cli_profile *p, mien_status status, mien_error *error) {
  if (status == MIEN_OK && p->trace_writer) status = write_trace(p, error);
  if (status == MIEN_OK && p->html_writer) status = write_html(p, error);
  status = finish(&p->trace_writer, status, error);
  return finish(&p->html_writer, status, error);
}
