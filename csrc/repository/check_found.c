/*
** check_found: what was found. Lists are bounded, because a repository may be
** damaged in a million places; counts are not.
*/
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "repository/check_parts.h"

bool check_is_fatal(const error *e) {
  if (e->code == SAROS_E_DAMAGED || e->code == SAROS_E_WRONG_PASSWORD ||
      e->code == SAROS_E_NOTIMPL)
    return false;
  for (; e != NULL; e = e->cause) /* a disk that fails is a finding */
    if (e->number == EIO) return false;
  return true;
}

void check_sentences(buffer *b, const error *e) {
  for (bool first = true; e != NULL; e = e->cause, first = false) {
    if (!first) buffer_text(b, ": ");
    buffer_text(b, e->message);
  }
}

static bool find(check_findings *f, const char *kind, const repo_id *id,
                 buffer *b, uint32_t *number) {
  *number = 0;
  f->count++;
  if (f->count > CHECK_FINDINGS_MOST) {
    buffer_free(b);
    return true;
  }
  if (f->list == NULL)
    f->list = mem_zero(CHECK_FINDINGS_MOST * sizeof(check_finding));
  char *message = buffer_take(b);
  if (f->list == NULL || message == NULL) {
    f->count--;
    mem_free(message);
    return false;
  }
  check_finding *one = &f->list[f->count - 1];
  one->kind = kind;
  one->message = message;
  if (id != NULL) one->id = *id;
  *number = (uint32_t)f->count;
  return true;
}

__attribute__((format(printf, 2, 0))) static void put_text(buffer *b,
                                                           const char *format,
                                                           va_list args) {
  char text[600];
  vsnprintf(text, sizeof text, format, args);
  buffer_text(b, text);
}

bool check_find(checking *c, const char *kind, const repo_id *id, error *why,
                uint32_t *number, const char *format, ...) {
  uint32_t ignored;
  buffer b = BUFFER_EMPTY;
  va_list args;
  va_start(args, format);
  put_text(&b, format, args);
  va_end(args);
  if (why != NULL) buffer_text(&b, ": ");
  check_sentences(&b, why);
  error_unref(why);
  return find(&c->found, kind, id, &b, number != NULL ? number : &ignored);
}

bool check_hint(checking *c, const char *kind, const repo_id *id,
                const char *format, ...) {
  uint32_t number;
  buffer b = BUFFER_EMPTY;
  va_list args;
  va_start(args, format);
  put_text(&b, format, args);
  va_end(args);
  return find(&c->hints, kind, id, &b, &number);
}


/* ------------------------------------------------------------------
** Blobs
** ---------------------------------------------------------------- */

static bool put_id(value *map, const char *name, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return value_put(map, name, value_text(text));
}

static bool list_blob(check_finding *f, const repo_place *p, const char *text) {
  f->blob_count++;
  if (f->blobs == NULL && (f->blobs = value_list()) == NULL) return false;
  if (f->blobs->count >= CHECK_ITEMS_MOST) return true;
  value *map = value_map();
  bool good =
      map != NULL && put_id(map, "id", &p->blob.id) &&
      value_put(map, "type",
                value_text(p->blob.type == REPO_TREE ? "tree" : "data")) &&
      value_put(map, "offset", value_int(p->blob.offset)) &&
      value_put(map, "length", value_int(p->blob.length)) &&
      value_put(map, "message", value_text(text));
  if (good) return value_add(f->blobs, map);
  value_free(map);
  return false;
}

bool check_bad(checking *c, const repo_place *p, uint32_t number,
               const char *text) {
  if (c->bad_count == c->bad_room) {
    size_t room = c->bad_room * 2 + 64;
    bad_copy *bad = mem_grow(c->bad, room * sizeof *bad);
    if (bad == NULL) return false;
    c->bad = bad;
    c->bad_room = room;
  }
  c->bad[c->bad_count++] = (bad_copy){*p, number};
  if (number == 0 || text == NULL) return true;
  return list_blob(&c->found.list[number - 1], p, text);
}

bool check_lose(checking *c, uint8_t type, const repo_id *id, uint32_t number) {
  uint32_t n;
  bool fresh;
  if (!repo_id_map_put(c->lost, type, id, &n, &fresh)) return false;
  if (!fresh) return true;
  if (n >= c->lost_room) {
    size_t room = c->lost_room * 2 + 64;
    uint32_t *list = mem_grow(c->lost_findings, room * sizeof *list);
    if (list == NULL) return false;
    c->lost_findings = list;
    c->lost_room = room;
  }
  c->lost_findings[n] = number;
  return true;
}


/* ------------------------------------------------------------------
** The report
** ---------------------------------------------------------------- */

static bool put_list(value *map, const char *name, value **list,
                     const char *count_name, uint64_t count) {
  if (*list == NULL) return true;
  value *given = *list;
  *list = NULL;
  return value_put(map, name, given) &&
         value_put(map, count_name, value_int((int64_t)count));
}

static value *one_value(check_finding *f) {
  static const repo_id none;
  value *map = value_map();
  bool good = map != NULL && value_put(map, "kind", value_text(f->kind)) &&
              value_put(map, "message", value_text(f->message)) &&
              (repo_id_equal(&f->id, &none) || put_id(map, "id", &f->id)) &&
              put_list(map, "blobs", &f->blobs, "blob_count", f->blob_count) &&
              put_list(map, "versions", &f->versions, "version_count",
                       f->version_count) &&
              put_list(map, "paths", &f->paths, "path_count", f->path_count);
  if (good) return map;
  value_free(map);
  return NULL;
}

static size_t told(const check_findings *f) {
  return f->list == NULL                  ? 0
         : f->count > CHECK_FINDINGS_MOST ? CHECK_FINDINGS_MOST
                                          : (size_t)f->count;
}

static value *list_value(const check_findings *f) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < told(f); i++)
    good = value_add(list, one_value(&f->list[i]));
  if (good) return list;
  value_free(list);
  return NULL;
}

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

value *check_report(checking *c) {
  value *map = value_map();
  bool good =
      map != NULL && put(map, "versions", c->version_count) &&
      put(map, "index_files", c->index_files) &&
      put(map, "packs", repo_id_map_count(c->packs)) &&
      put(map, "blobs", repo_index_count(c->index)) &&
      put(map, "trees", repo_id_map_count(c->trees)) &&
      put(map, "packs_read", c->packs_read) &&
      put(map, "bytes_read", c->bytes_done) &&
      put(map, "unreferenced_packs", c->unreferenced) &&
      put(map, "unreferenced_bytes", c->unreferenced_bytes) &&
      put(map, "finding_count", c->found.count) &&
      put(map, "hint_count", c->hints.count) &&
      value_put(map, "impact_is_whole", value_bool(c->impact_is_whole)) &&
      value_put(map, "findings", list_value(&c->found)) &&
      value_put(map, "hints", list_value(&c->hints));
  if (good) return map;
  value_free(map);
  return NULL;
}

void check_found_free(check_findings *f) {
  for (size_t i = 0; i < told(f); i++) {
    mem_free(f->list[i].message);
    value_free(f->list[i].blobs);
    value_free(f->list[i].versions);
    value_free(f->list[i].paths);
  }
  mem_free(f->list);
}
