/*
** A shadow of a real file system that a provider made and wrote down, as the
** coordinator does; its maker has let go of it.
*/
#ifndef SAROS_REAL_CASE_H
#define SAROS_REAL_CASE_H

#include "shadow_case.h"
#include "vss/record_parts.h"

typedef struct real {
  const volume *v;
  const provider *by;
  places *p;
  char source[600], id[37], set[37], path[700];
} real;

static inline const char *word(const value *list, uint32_t i,
                               const char *name) {
  return list != NULL && i < list->count ? record_text(list->as.items[i], name)
                                         : "";
}

static inline error *note_nothing(shadow *s) {
  (void)s;
  return NULL;
}

/* What the coordinator writes down. */
static inline value *record_of(const shadow *s, const char *state) {
  value *r = value_map();
  bool good = value_put(r, "version", value_int(1)) &&
              record_put_text(r, "id", s->id) &&
              record_put_text(r, "set", s->set) &&
              value_put(r, "count", value_int(1)) &&
              record_put_text(r, "state", state) &&
              record_put_text(r, "provider", s->provider->name) &&
              value_put(r, "keep", value_copy(s->keep)) &&
              value_put(r, "attributes", value_int(VSS_ATTR_PERSISTENT)) &&
              record_put_text(r, "original", s->given) &&
              record_put_text(r, "path", s->path) &&
              record_put_text(r, "device", s->device) &&
              value_put(r, "warnings", value_copy(s->warnings)) &&
              value_put(r, "persistent", value_bool(true)) &&
              record_stamp(r, NULL) && owner_put(r);
  if (!good) abort();
  return r;
}

static const char *real_more; /* a command, in the source, before its shadow */

/* A source with one file; its shadow, and then another word in the file. */
static inline bool make(real *x, volumes_kind kind, const provider *by) {
  static unsigned number;
  error *e = NULL;
  x->v = volumes_get(kind);
  if (x->v == NULL) return false;
  x->by = by;
  snprintf(x->source, sizeof x->source, "%s/real%u", x->v->path, ++number);
  if (volumes_run(by == &provider_btrfs
                      ? "btrfs -q subvolume create '%s' >/dev/null"
                      : "mkdir '%s'",
                  x->source) != 0)
    return false;
  char file[700];
  snprintf(file, sizeof file, "%s/word", x->source);
  case_put(file, "old");
  if (real_more != NULL &&
      volumes_run("cd '%s' && %s", x->source, real_more) != 0)
    return false;
  x->p = places_open(volumes_in("places%u", number), &e);
  DONE(e);
  shadow *s = case_plan(by, x->source, &e);
  if (s != NULL) {
    s->note = note_nothing;
    e = case_take(s);
  }
  DONE(e);
  if (s == NULL) return false;
  case_put(file, "new");
  value *r = record_of(s, "created");
  DONE(record_save(x->p, r));
  memcpy(x->id, s->id, sizeof x->id);
  memcpy(x->set, s->set, sizeof x->set);
  snprintf(x->path, sizeof x->path, "%s", s->path);
  value_free(r);
  by->forget(s); /* the maker goes */
  shadow_free(s);
  return true;
}

static inline const char *said(const char *directory) {
  char file[1100];
  snprintf(file, sizeof file, "%s/word", directory);
  const char *text = case_get(file);
  return text != NULL ? text : "(nothing)";
}

/* Its owner is of another start of the machine. */
static inline void age(const value *from, value *r) {
  value *owner = value_copy(value_get(from, "owner"));
  value_put(owner, "boot", value_text("00000000-0000-4000-8000-000000000000"));
  value_put(r, "owner", owner);
}

#endif
