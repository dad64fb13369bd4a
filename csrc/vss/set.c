/*
** The snapshot set as a session sees it: begun, filled, asked about; and the
** shadows that exist, which are looked after by their records. These run on
** the lane, one at a time (but for those that only look).
*/
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/format.h"
#include "base/guid.h"
#include "base/log.h"
#include "vss/session_parts.h"


static void did(session *s, uint32_t bits) {
  pthread_mutex_lock(&s->lock);
  s->did |= bits;
  pthread_mutex_unlock(&s->lock);
}

static error *text_argument(const value *args, const char *name,
                            const char **text) {
  const value *v = value_get(args, name);
  *text = value_chars(v, NULL);
  if (*text != NULL && (*text)[0] != '\0' && strlen(*text) == v->as.string.size)
    return NULL;
  return vss_error(SAROS_E_INVALIDARG, "\"%s\" must be a text", name);
}

static error *id_argument(const value *args, const char *name,
                          const char **text) {
  guid g;
  error *e = text_argument(args, name, text);
  if (e != NULL || *text == NULL) return e;
  if (strlen(*text) == GUID_TEXT - 1 && guid_parse(*text, &g)) return NULL;
  return vss_error(SAROS_E_INVALIDARG, "\"%s\" is no GUID: \"%.60s\"", name,
                   *text);
}


/* ------------------------------------------------------------------
** A new set
** ---------------------------------------------------------------- */

/* Whoever comes next clears up after the dead. That it could not is told in
   the log, and keeps nobody from his own set. */
static void clear_up(const places *at, saros_op *op) {
  value *report = NULL;
  error *e = shadows_reap(at, op, &report);
  if (e != NULL)
    log_write(LOG_WARNING, "vss", "leftovers could not be taken away: %s",
              e->message);
  error_unref(e);
  value_free(report);
}

BLOCK(start_snapshot_set) {
  error *e = NULL;
  guid g;
  (void)args;
  places *at = session_places(s, &e);
  if (at == NULL) return e;
  set_lock *l = set_lock_take(at, &e);
  if (l == NULL) {
    places_unref(at);
    return e;
  }
  clear_up(at, op);
  places_unref(at);
  char id[GUID_TEXT];
  bool good = guid_make(&g);
  if (good) {
    guid_format(&g, id);
    *result = value_text(id);
  }
  if (*result == NULL) { /* nothing was begun */
    set_lock_give(l);
    return good ? error_no_memory()
                : vss_error(VSS_E_UNEXPECTED,
                            "the kernel has no random "
                            "numbers");
  }
  pthread_mutex_lock(&s->lock);
  s->creating = l;
  memcpy(s->set, id, sizeof s->set);
  s->did |= DID_SET;
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

/* By name, or the best of those that can. */
static const provider *provider_for(const value *args, const origin *from,
                                    error **e) {
  const char *name = value_chars(value_get(args, "provider"), NULL);
  if (name == NULL) return provider_choose(from, e);
  const provider *p = provider_named(name);
  if (p == NULL) {
    *e = vss_error(0x80042304u, "there is no provider \"%.60s\"", name);
    return NULL;
  }
  *e = p->probe(from);
  return *e == NULL ? p : NULL;
}

static error *more_than_it_has(const session *s, const provider *p) {
  bool persistent = (s->context & VSS_ATTR_PERSISTENT) != 0;
  if (persistent && p == &provider_live)
    return vss_error(VSS_E_UNSUPPORTED_CONTEXT,
                     "the provider \"live\" makes no shadow that could be "
                     "kept; a persistent context needs another one");
  return NULL;
}

static bool is_member(const session *s, const char *path) {
  for (size_t i = 0; i < s->member_count; i++)
    if (strcmp(s->members[i]->from->path, path) == 0) return true;
  return false;
}

/* Takes over the shadow. */
static error *add_member(session *s, shadow *m) {
  pthread_mutex_lock(&s->lock);
  shadow **grown =
      mem_grow(s->members, (s->member_count + 1) * sizeof(shadow *));
  if (grown != NULL) {
    s->members = grown;
    s->members[s->member_count++] = m;
    s->did |= DID_FILL;
  }
  pthread_mutex_unlock(&s->lock);
  if (grown != NULL) return NULL;
  shadow_free(m);
  return error_no_memory();
}

BLOCK(add_to_snapshot_set) {
  const char *path;
  (void)op;
  error *e = text_argument(args, "path", &path);
  if (e != NULL) return e;
  if (path[0] != '/')
    return vss_error(SAROS_E_INVALIDARG, "a path must be absolute: \"%.200s\"",
                     path);
  if (s->member_count >= VOLUMES_MOST)
    return vss_error(VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED,
                     "a set has at most %d members", VOLUMES_MOST);
  origin *from = origin_find(path, &e);
  if (from == NULL) return e;
  const provider *p = NULL;
  if (is_member(s, from->path))
    e = error_at(vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                           "\"%s\" is in the set already", path),
                 path);
  else
    p = provider_for(args, from, &e);
  if (e == NULL) e = more_than_it_has(s, p);
  if (e != NULL) {
    origin_free(from);
    return e;
  }
  shadow *m = shadow_make(s->set, path, from, p);
  if (m == NULL) return error_no_memory();
  m->attributes = s->context;
  *result = value_text(m->id);
  if (*result != NULL) return add_member(s, m);
  shadow_free(m);
  return error_no_memory();
}

BLOCK(is_volume_supported) {
  const char *path;
  (void)s;
  (void)op;
  error *e = text_argument(args, "path", &path);
  if (e != NULL) return e;
  origin *from = origin_find(path, &e);
  if (from == NULL) return e;
  const provider *p = provider_for(args, from, &e);
  origin_free(from);
  value *v = value_map();
  bool good = v != NULL && value_put(v, "supported", value_bool(p != NULL));
  if (good && p != NULL)
    good = value_put(v, "provider", value_text(p->name)) &&
           value_put(v, "worth", value_text(p->worth)) &&
           value_put(v, "atomic", value_text(provider_atomic_name(p->atomic)));
  if (good && e != NULL) good = value_put(v, "reason", value_text(e->message));
  error_unref(e);
  *result = v;
  return good ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** Records
** ---------------------------------------------------------------- */

/* Whether there were writers, and each of them held still. */
static bool all_held(const session *s) {
  bool any = false;
  for (size_t i = 0; i < s->seat_count; i++) {
    if (!s->seats[i]->selected) continue;
    if (!s->seats[i]->held) return false;
    any = true;
  }
  return any;
}

/* What a person should think of it. */
static const char *consistency(const session *s, const shadow *m) {
  switch (m->provider->atomic) {
    case ATOMIC_VOLUME:
    case ATOMIC_SUBVOLUME: return "atomic";
    case ATOMIC_FILE: return "per-file";
    default: break;
  }
  if (m->provider == &provider_live) return "live";
  /* Somebody else than those that held still has written to it. */
  if (value_get(m->keep, "torn_count") != NULL) return "fuzzy";
  return all_held(s) ? "held" : "fuzzy";
}

value *member_record(const session *s, const shadow *m, const char *state) {
  char host[256] = "";
  value *v = value_map();
  gethostname(host, sizeof host - 1);
  bool persistent = (m->attributes & VSS_ATTR_PERSISTENT) != 0;
  bool good = v != NULL && format_stamp(v, 1) &&
              value_put(v, "id", value_text(m->id)) &&
              value_put(v, "set", value_text(m->set)) &&
              value_put(v, "count", value_int((int64_t)s->member_count)) &&
              value_put(v, "state", value_text(state)) &&
              value_put(v, "provider", value_text(m->provider->name)) &&
              value_put(v, "keep", value_copy(m->keep)) &&
              value_put(v, "attributes", value_int((int64_t)m->attributes)) &&
              value_put(v, "original", value_text(m->given)) &&
              value_put(v, "original_volume", value_text(m->from->root)) &&
              value_put(v, "machine", value_text(host)) &&
              record_stamp(v, m->made.tv_sec != 0 ? &m->made : NULL) &&
              owner_put(v) &&
              value_put(v, "persistent", value_bool(persistent)) &&
              value_put(v, "consistency", value_text(consistency(s, m))) &&
              value_put(v, "worth", value_text(m->provider->worth));
  if (good && m->path != NULL) good = value_put(v, "path", value_text(m->path));
  if (good && m->device != NULL)
    good = value_put(v, "device", value_text(m->device));
  if (good && m->warnings != NULL)
    good = value_put(v, "warnings", value_copy(m->warnings));
  uint64_t held =
      m->thawed_at > m->stalled_at ? m->thawed_at - m->stalled_at : 0;
  if (good) good = value_put(v, "held", value_real((double)held / 1e9));
  if (good)
    good = value_put(v, "rehearsed", value_real((double)m->rehearsed / 1e9));
  if (good) return v;
  value_free(v);
  return NULL;
}


/* ------------------------------------------------------------------
** Shadows that exist
** ---------------------------------------------------------------- */

BLOCK(snapshot_properties) {
  const char *id;
  error *e = id_argument(args, "id", &id);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  e = shadows_find(at, id, op, result);
  places_unref(at);
  return e;
}

static error *list_of(session *s, const char *set, saros_op *op,
                      value **result) {
  error *e = NULL;
  places *at = session_places(s, &e);
  if (at == NULL) return e;
  e = shadows_query(at, set, op, result);
  places_unref(at);
  return e;
}

/* Those of this session's set, or of the document it was loaded from. */
BLOCK(snapshots) {
  (void)args;
  pthread_mutex_lock(&s->lock);
  char set[37];
  memcpy(set, s->set, sizeof set);
  const char *loaded = value_chars(value_get(s->document, "set"), NULL);
  pthread_mutex_unlock(&s->lock);
  if (set[0] == '\0' && loaded != NULL) snprintf(set, sizeof set, "%s", loaded);
  if (set[0] != '\0') return list_of(s, set, op, result);
  *result = value_list();
  return *result != NULL ? NULL : error_no_memory();
}

BLOCK(query) {
  return list_of(s, value_chars(value_get(args, "set"), NULL), op, result);
}

BLOCK(delete_snapshots) {
  const char *id;
  unsigned deleted = 0;
  char left[37] = "00000000-0000-0000-0000-000000000000";
  error *e = id_argument(args, "id", &id);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  bool set = value_boolean(value_get(args, "set"), false);
  bool force = value_boolean(value_get(args, "force"), false);
  e = shadows_delete(at, id, set, force, op, &deleted, left);
  places_unref(at);
  value *v = value_map();
  if (v == NULL || !value_put(v, "deleted", value_int(deleted)) ||
      !value_put(v, "not_deleted", value_text(left))) {
    value_free(v);
    return e != NULL ? e : error_no_memory();
  }
  /* What was deleted before the failure is told with it. */
  if (e != NULL) {
    op_set_detail(op, "deleted", value_int(deleted));
    op_set_detail(op, "not_deleted", value_text(left));
    value_free(v);
    return e;
  }
  *result = v;
  return NULL;
}

BLOCK(expose_snapshot) {
  const char *id, *path;
  (void)op;
  (void)result;
  error *e = id_argument(args, "id", &id);
  if (e == NULL) e = text_argument(args, "path", &path);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  e = shadows_expose(at, id, path);
  places_unref(at);
  return e;
}

BLOCK(unexpose_snapshot) {
  const char *id;
  (void)op;
  (void)result;
  error *e = id_argument(args, "id", &id);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  e = shadows_unexpose(at, id);
  places_unref(at);
  return e;
}

BLOCK(break_snapshot_set) {
  const char *set;
  (void)op;
  error *e = id_argument(args, "set", &set);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  bool writable = value_boolean(value_get(args, "writable"), false);
  e = shadows_break(at, set, writable, result);
  places_unref(at);
  return e;
}

BLOCK(import_snapshots) {
  error *e = NULL;
  uint32_t code = SAROS_S_OK;
  (void)args;
  saros_op_phase(op, "import");
  places *at = session_places(s, &e);
  if (at == NULL) return e;
  const value *records = value_get(s->document, "snapshots");
  if (!saros_op_point_of_no_return(op)) { /* from here on they are ours */
    places_unref(at);
    return vss_error(SAROS_E_CANCELLED, "the import was cancelled");
  }
  e = shadows_import(at, records, &code);
  places_unref(at);
  if (e != NULL) return e;
  did(s, DID_SHOOT);
  *result = value_map();
  if (*result == NULL || !value_put(*result, "code", value_int((int64_t)code)))
    return error_no_memory();
  return NULL;
}

BLOCK(revert_to_snapshot) {
  const char *id;
  (void)result;
  error *e = id_argument(args, "id", &id);
  places *at = e == NULL ? session_places(s, &e) : NULL;
  if (at == NULL) return e;
  bool force = value_boolean(value_get(args, "force"), false);
  e = shadows_revert(at, id, force, op);
  places_unref(at);
  return e;
}
