/*
** What a writer says beyond yes: a map, whose names it may say anew with each
** event. It is kept for the backup, goes into its document, and comes from a
** stranger.
*/
#include <math.h>
#include <string.h>
#include <strings.h>

#include "vss/session_parts.h"

enum {
  SAID_MOST = 65536, /* all of it, as JSON */
  DEPTH_MOST = 16,
  VALUES_MOST = 10000
};

static const char *const deep = "is nested more than 16 deep";

static const char *check_item(const value *v, unsigned depth, unsigned *left);

static const char *check_items(const value *v, unsigned depth, unsigned *left) {
  const char *wrong = depth == 0 ? deep : NULL;
  for (uint32_t i = 0; wrong == NULL && i < v->count; i++)
    wrong = check_item(v->as.items[i], depth - 1, left);
  return wrong;
}

static const char *check_fields(const value *v, unsigned depth,
                                unsigned *left) {
  const char *wrong = depth == 0 ? deep : NULL;
  for (uint32_t i = 0; wrong == NULL && i < v->count; i++) {
    const value_field *f = &v->as.fields[i];
    if (!text_is_utf8(f->name, f->size))
      wrong = "has a name that is not UTF-8";
    else if (f->size >= 2 && f->name[0] == '_' && f->name[1] == '_')
      wrong = "has a name that begins with \"__\""; /* those are ours */
    else
      wrong = check_item(f->item, depth - 1, left);
  }
  return wrong;
}

/* What JSON cannot say would come out as something else. */
static const char *check_item(const value *v, unsigned depth, unsigned *left) {
  if (*left == 0) return "has more than 10,000 values in it";
  --*left;
  switch (v->type) {
    case VALUE_REAL:
      return isfinite(v->as.real) ? NULL : "has a number that is none";
    case VALUE_STRING:
      return text_is_utf8(v->as.string.data, v->as.string.size)
                 ? NULL
                 : "has a text that is not UTF-8";
    case VALUE_LIST: return check_items(v, depth, left);
    case VALUE_MAP: return check_fields(v, depth, left);
    default: return NULL;
  }
}

/* Lua's empty table is no list. */
static bool is_nothing(const value *said) {
  return said == NULL || said->type == VALUE_NULL ||
         (said->type == VALUE_LIST && said->count == 0);
}

static error *wrong(const char *what) {
  return vss_error(VSS_E_WRITERERROR_NONRETRYABLE, "what the writer said %s",
                   what);
}

error *said_check(const value *said) {
  if (is_nothing(said)) return NULL;
  if (said->type != VALUE_MAP)
    return wrong("is no map: a table with names is expected");
  unsigned left = VALUES_MOST;
  const char *why = check_item(said, DEPTH_MOST, &left);
  if (why != NULL) return wrong(why);
  buffer b = BUFFER_EMPTY;
  json_write(&b, said, JSON_COMPACT);
  error *e = b.failed             ? error_no_memory()
             : b.size > SAID_MOST ? wrong("is longer than 64 KiB as JSON")
                                  : NULL;
  buffer_free(&b);
  return e;
}

/* A null takes a name away. */
static bool merge(value *all, const value *more) {
  bool good = all != NULL;
  for (uint32_t i = 0; good && i < more->count; i++) {
    const value_field *f = &more->as.fields[i];
    good = value_put_bytes(all, f->name, f->size, value_copy(f->item));
  }
  return good;
}

error *said_add(value **all, const value *more) {
  error *e = said_check(more);
  if (e != NULL || is_nothing(more)) return e;
  value *merged = *all != NULL ? value_copy(*all) : value_map();
  if (merge(merged, more))
    e = said_check(merged);
  else
    e = error_no_memory();
  if (e != NULL) {
    value_free(merged);
    return e;
  }
  value_free(*all);
  *all = merged;
  return NULL;
}

bool said_put(value *v, const seat *t) {
  return t->said == NULL || value_put(v, "said", value_copy(t->said));
}


/* ------------------------------------------------------------------
** The method
** ---------------------------------------------------------------- */

static bool is_called(const char *name, const char *id, const char *instance,
                      const char *title) {
  return strcasecmp(id, name) == 0 || strcasecmp(instance, name) == 0 ||
         strcmp(title, name) == 0;
}

/* In the document that the session began with. */
static const value *writer_saved(const session *s, const char *name) {
  const value *list = value_get(s->document, "writers");
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const value *w = list->as.items[i];
    if (is_called(name, value_chars(value_get(w, "id"), ""),
                  value_chars(value_get(w, "instance"), ""),
                  value_chars(value_get(w, "name"), "")))
      return w;
  }
  return NULL;
}

/* Of this session, or, in one that began with a document, of that backup. */
NOW(said) {
  const char *name = value_chars(value_get(args, "writer"), "");
  const value *found = NULL;
  bool is_there = false;
  for (size_t i = 0; !is_there && i < s->seat_count; i++) {
    const seat *t = s->seats[i];
    is_there = is_called(name, t->w->id, t->w->instance, seat_title(t));
    if (is_there) found = t->said;
  }
  const value *saved = found == NULL ? writer_saved(s, name) : NULL;
  if (found == NULL) found = value_get(saved, "said");
  if (!is_there && saved == NULL)
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "said: there is no writer \"%.100s\" here; writers() "
                     "lists those that were found",
                     name);
  *result = found != NULL ? value_copy(found) : value_null();
  return *result != NULL ? NULL : error_no_memory();
}
