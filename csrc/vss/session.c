/*
** The life of a session: made, kept, freed; and its seats.
*/
#include "vss/session_parts.h"

#include <string.h>

#include "base/guid.h"
#include "op/fork.h"

static error *bad_option(const char *name, const char *wanted) {
  return vss_error(SAROS_E_INVALIDARG,
                   "the option \"%s\" of a session must be %s", name, wanted);
}

static error *read_seconds(const value *map, const char *name, double *into) {
  const value *v = value_get(map, name);
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  double n = 0;
  if (v->type == VALUE_INT) n = (double)v->as.integer;
  if (v->type == VALUE_REAL) n = v->as.real;
  if (!(n > 0) || n > 86400)
    return vss_error(SAROS_E_INVALIDARG,
                     "timeouts.%s must be a number of seconds, more than 0 "
                     "and at most a day",
                     name);
  *into = n;
  return NULL;
}

/* One that is misspelt would be taken for one that was not given. */
static error *read_timeouts(session *s, const value *v) {
  const struct {
    const char *name;
    double *into;
  } all[] = {
      {"identify", &s->times.identify}, {"prepare", &s->times.prepare},
      {"freeze", &s->times.freeze},     {"hold", &s->times.hold},
      {"post", &s->times.post},         {"complete", &s->times.complete}};
  error *e = NULL;
  size_t known = 0;
  s->times = (timeouts){15, 600, 60, 10, 60, 60};
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  if (v->type != VALUE_MAP) return bad_option("timeouts", "a table of seconds");
  for (size_t i = 0; e == NULL && i < sizeof all / sizeof *all; i++) {
    e = read_seconds(v, all[i].name, all[i].into);
    known += value_get(v, all[i].name) != NULL;
  }
  if (e == NULL && known < v->count)
    e = bad_option("timeouts",
                   "a table with seconds for identify, prepare, freeze, hold, "
                   "post or complete, and nothing else");
  return e;
}

static error *read_options(session *s, const value *options) {
  error *e = read_timeouts(s, value_get(options, "timeouts"));
  if (e != NULL) return e;
  const value *v = value_get(options, "on_veto");
  const char *veto = value_chars(v, "fail");
  if (strcmp(veto, "fail") != 0 && strcmp(veto, "ignore") != 0)
    return bad_option("on_veto", "\"fail\" or \"ignore\"");
  s->ignore_vetoes = veto[0] == 'i';
  s->force = value_boolean(value_get(options, "force"), false);
  v = value_get(options, "state_dir");
  if (v != NULL && v->type != VALUE_NULL) {
    const char *dir = value_chars(v, "");
    if (dir[0] != '/') return bad_option("state_dir", "an absolute path");
    s->state_dir = mem_text(dir);
    if (s->state_dir == NULL) return error_no_memory();
  }
  return NULL;
}

session *session_open(const value *options, error **e) {
  session *s = mem_zero(sizeof *s);
  guid id;
  *e = error_no_memory();
  if (s == NULL) return NULL;
  error_unref(*e);
  *e = NULL;
  atomic_init(&s->refs, 1);
  pthread_mutex_init(&s->lock, NULL);
  s->generation = fork_generation;
  s->context = VSS_CTX_BACKUP;
  s->marks = value_list();
  s->filters = value_map();
  if (s->marks == NULL || s->filters == NULL)
    *e = error_no_memory();
  else if (!guid_make(&id))
    *e = vss_error(VSS_E_UNEXPECTED, "the kernel has no random numbers");
  else
    *e = read_options(s, options);
  if (*e != NULL) {
    session_unref(s);
    return NULL;
  }
  guid_format(&id, s->id);
  return s;
}

session *session_ref(session *s) {
  atomic_fetch_add(&s->refs, 1);
  return s;
}

/* In a forked child too: every way knows what is its own there. */
void seat_free(session *s, size_t i) {
  seat *t = s->seats[i];
  s->seats[i] = s->seats[--s->seat_count];
  if (t->link != NULL) t->w->way->hang_up(t->link);
  value_free(t->metadata);
  value_free(t->components);
  value_free(t->succeeded);
  value_free(t->said);
  error_unref(t->why);
  writer_unref(t->w);
  mem_free(t);
}

void seats_free(session *s) {
  while (s->seat_count > 0) seat_free(s, s->seat_count - 1);
  mem_free(s->seats);
  s->seats = NULL;
}

void members_free(session *s) {
  for (size_t i = 0; i < s->member_count; i++) shadow_free(s->members[i]);
  mem_free(s->members);
  s->members = NULL;
  s->member_count = 0;
}

void session_unref(session *s) {
  if (atomic_fetch_sub(&s->refs, 1) != 1) return;
  seats_free(s);
  members_free(s);
  if (s->creating != NULL) set_lock_give(s->creating);
  if (s->at != NULL) places_unref(s->at);
  value_free(s->document);
  value_free(s->backup);
  value_free(s->restore);
  value_free(s->filters);
  value_free(s->marks);
  mem_free(s->state_dir);
  if (s->running != NULL) saros_op_unref(s->running);
  if (s->closing != NULL) saros_op_unref(s->closing);
  /* In a child of a fork somebody else may have had it. */
  if (s->generation == fork_generation) pthread_mutex_destroy(&s->lock);
  mem_free(s);
}

places *session_places(session *s, error **e) {
  pthread_mutex_lock(&s->lock);
  places *p = s->at != NULL ? places_ref(s->at) : NULL;
  pthread_mutex_unlock(&s->lock);
  if (p != NULL) return p;
  p = places_open(s->state_dir, e);
  if (p == NULL) return NULL;
  pthread_mutex_lock(&s->lock);
  if (s->at == NULL) s->at = places_ref(p);
  pthread_mutex_unlock(&s->lock);
  return p;
}

const char *seat_title(const seat *t) {
  const char *said = value_chars(value_get(t->metadata, "name"), NULL);
  if (said != NULL) return said;
  return t->w->name != NULL ? t->w->name : t->w->id;
}

static bool has_components(const seat *t) {
  const value *list = value_get(t->metadata, "components");
  return list != NULL && list->count > 0;
}

/* Without component mode everybody who identified himself takes part; with it,
   and in a restore, those of whom a component was chosen. Of whom has none
   none can be: he takes part unless he was left out by name. A context without
   writers has none, also when they were asked who they are. */
bool session_takes_part(const session *s, const seat *t) {
  if (t->metadata == NULL) return false;
  if (s->did & DID_RESTORE) return t->selected;
  if (s->context & VSS_ATTR_NO_WRITERS) return false;
  bool chosen = value_boolean(value_get(s->backup, "select_components"), false);
  return chosen && has_components(t) ? t->selected : true;
}

value *session_details(const session *s, const char *reason, bool made) {
  value *d = value_map();
  bool good = d != NULL && value_put(d, "session", value_text(s->id)) &&
              value_put(d, "reason", value_text(reason));
  if (good && s->set[0] != '\0') good = value_put(d, "set", value_text(s->set));
  const value *type = value_get(s->backup, "type");
  if (good && type != NULL)
    good = value_put(d, "backup_type", value_copy(type));
  const value *how = value_get(s->restore, "type");
  if (good && how != NULL) good = value_put(d, "restore_type", value_copy(how));
  /* All of one instant: one member that is, or all of them frozen together. */
  bool together = true;
  value *volumes = value_list();
  for (size_t i = 0; good && i < s->member_count; i++) {
    const shadow *m = s->members[i];
    bool atomic = m->provider->atomic == ATOMIC_VOLUME ||
                  m->provider->atomic == ATOMIC_SUBVOLUME;
    if (!atomic ||
        (s->member_count > 1 && m->provider->freeze != FREEZE_CALLER))
      together = false;
    value *v = value_map();
    good = v != NULL && path_put(v, m->given) &&
           value_put(v, "provider", value_text(m->provider->name)) &&
           value_put(v, "atomic", value_bool(atomic)) &&
           value_put(v, "writable", value_bool(false));
    if (good && made && m->path != NULL)
      good = value_put(v, "shadow", value_text(m->path));
    if (good)
      good = value_add(volumes, v);
    else
      value_free(v);
  }
  if (good)
    good = value_put(d, "atomic", value_bool(together && s->member_count > 0));
  if (good) return value_put(d, "volumes", volumes) ? d : (value_free(d), NULL);
  value_free(volumes);
  value_free(d);
  return NULL;
}
