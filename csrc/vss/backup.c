/*
** What answers at once in a backup: context, state, writers, components. Called
** with the session's lock held.
*/
#include <string.h>

#include "base/guid.h"
#include "vss/document.h"
#include "vss/session_parts.h"

static error *invalid(const char *text, const char *given) {
  return vss_error(SAROS_E_INVALIDARG, "%s: \"%.100s\"", text, given);
}


/* ------------------------------------------------------------------
** Beginning
** ---------------------------------------------------------------- */

static error *load(session *s, const value *args, bool needed) {
  error *e = NULL;
  const value *text = value_get(args, "document");
  if (text == NULL || text->type == VALUE_NULL) {
    if (!needed) return NULL;
    return vss_error(SAROS_E_INVALIDARG,
                     "initialize_for_restore needs the document that save() "
                     "gave at the backup");
  }
  if (text->type != VALUE_STRING)
    return vss_error(SAROS_E_INVALIDARG, "the document must be a text");
  value *doc = document_parse(text->as.string.data, text->as.string.size, &e);
  if (doc == NULL) return e;
  value_free(s->document);
  s->document = doc;
  s->did |= DID_LOAD;
  return NULL;
}

NOW(initialize_for_backup) {
  (void)result;
  error *e = load(s, args, false);
  if (e == NULL) s->did |= DID_BACKUP;
  return e;
}

NOW(initialize_for_restore) {
  (void)result;
  error *e = load(s, args, true);
  if (e == NULL) s->did |= DID_RESTORE;
  return e;
}

typedef struct word {
  const char *name;
  uint32_t number;
} word;

static const word contexts[] = {
    {"backup", VSS_CTX_BACKUP},
    {"file_share_backup", VSS_CTX_FILE_SHARE_BACKUP},
    {"nas_rollback", VSS_CTX_NAS_ROLLBACK},
    {"app_rollback", VSS_CTX_APP_ROLLBACK},
    {"client_accessible", VSS_CTX_CLIENT_ACCESSIBLE},
    {"client_accessible_writers", VSS_CTX_CLIENT_ACCESSIBLE_WRITERS},
    {"all", VSS_CTX_ALL}};
#define CONTEXTS (sizeof contexts / sizeof *contexts)

static error *context_of(const value *v, uint32_t *context) {
  if (v != NULL && v->type == VALUE_STRING) {
    for (size_t i = 0; i < CONTEXTS; i++)
      if (strcmp(contexts[i].name, v->as.string.data) == 0) {
        *context = contexts[i].number;
        return NULL;
      }
    return invalid("there is no such context", v->as.string.data);
  }
  if (v == NULL || v->type != VALUE_INT || v->as.integer < 0 ||
      v->as.integer > UINT32_MAX)
    return vss_error(SAROS_E_INVALIDARG,
                     "a context is a name (\"backup\", …) or a number");
  *context = (uint32_t)v->as.integer;
  return NULL;
}

NOW(set_context) {
  (void)result;
  uint32_t context = 0;
  error *e = context_of(value_get(args, "context"), &context);
  if (e != NULL) return e;
  const value *bits = value_get(args, "attributes");
  int64_t more = value_integer(bits, 0);
  if (more < 0 || more > UINT32_MAX ||
      (bits != NULL && bits->type != VALUE_INT && bits->type != VALUE_NULL))
    return vss_error(SAROS_E_INVALIDARG, "attributes are bits of 32");
  context |= context == VSS_CTX_ALL ? 0 : (uint32_t)more;
  uint32_t extra = context == VSS_CTX_ALL ? 0 : context & CONTEXT_MAY_ADD;
  uint32_t base = context & ~extra;
  bool known = false;
  for (size_t i = 0; i < CONTEXTS; i++)
    if (contexts[i].number == base) known = true;
  bool both = (extra & VSS_ATTR_DIFFERENTIAL) && (extra & VSS_ATTR_PLEX);
  if (!known || both || (base == VSS_CTX_CLIENT_ACCESSIBLE && extra != 0))
    return vss_error(VSS_E_UNSUPPORTED_CONTEXT,
                     "0x%08x is no context, or may not be combined like that",
                     (unsigned)context);
  s->context = context;
  s->did |= DID_CONTEXT;
  return NULL;
}

static const char *const types[] = {
    "undefined", "full", "incremental", "differential", "log", "copy", "other"};

static error *type_of(const value *v, const char **name) {
  if (v == NULL || v->type == VALUE_NULL) {
    *name = "full";
    return NULL;
  }
  if (v->type == VALUE_INT && v->as.integer >= 0 && v->as.integer < 7) {
    *name = types[v->as.integer];
    return NULL;
  }
  const char *text = value_chars(v, "");
  for (size_t i = 0; i < 7; i++)
    if (strcmp(types[i], text) == 0) {
      *name = types[i];
      return NULL;
    }
  return invalid("there is no such backup type (full, copy, …)", text);
}

NOW(set_backup_state) {
  (void)result;
  const char *type = NULL;
  error *e = type_of(value_get(args, "type"), &type);
  if (e != NULL) return e;
  static const char *const flags[] = {"select_components",
                                      "bootable_system_state", "partial_files"};
  value *state = value_map();
  bool good = state != NULL && value_put(state, "type", value_text(type));
  for (size_t i = 0; good && i < 3; i++)
    good =
        value_put(state, flags[i],
                  value_bool(value_boolean(value_get(args, flags[i]), false)));
  if (!good) {
    value_free(state);
    return error_no_memory();
  }
  value_free(s->backup);
  s->backup = state;
  s->did |= DID_STATE;
  return NULL;
}


/* ------------------------------------------------------------------
** Which writers
** ---------------------------------------------------------------- */

static error *filter(session *s, const value *args, const char *kind) {
  const value *ids = value_get(args, "ids");
  guid g;
  if (ids == NULL || ids->type != VALUE_LIST)
    return vss_error(SAROS_E_INVALIDARG, "a list of GUIDs is expected");
  for (uint32_t i = 0; i < ids->count; i++)
    if (!guid_parse(value_chars(ids->as.items[i], ""), &g))
      return invalid("no GUID", value_chars(ids->as.items[i], ""));
  return value_put(s->filters, kind, value_copy(ids)) ? NULL
                                                      : error_no_memory();
}

NOW(enable_writer_classes) {
  (void)result;
  return filter(s, args, "enabled");
}

NOW(disable_writer_classes) {
  (void)result;
  return filter(s, args, "disabled");
}

NOW(disable_writer_instances) {
  (void)result;
  return filter(s, args, "instances");
}

static value *status_of(const seat *t) {
  value *v = value_map();
  char number[11];
  bool good = v != NULL && value_put(v, "id", value_text(t->w->id)) &&
              value_put(v, "instance", value_text(t->w->instance)) &&
              value_put(v, "name", value_text(seat_title(t))) &&
              value_put(v, "state", value_int((int64_t)t->state)) &&
              value_put(v, "failure", value_int((int64_t)t->failure)) &&
              value_put(v, "takes_part", value_bool(t->selected));
  if (good && t->failure != 0)
    good = value_put(
               v, "failure_name",
               value_text(code_name(SAROS_FACADE_VSS, t->failure, number))) &&
           value_put(v, "message",
                     value_text(t->why != NULL ? t->why->message : ""));
  if (good) return v;
  value_free(v);
  return NULL;
}

static value *describe(const session *s, const seat *t) {
  value *v = value_copy(t->metadata);
  bool good = v != NULL && value_put(v, "id", value_text(t->w->id)) &&
              value_put(v, "instance", value_text(t->w->instance)) &&
              value_put(v, "way", value_text(t->w->way->name)) &&
              value_put(v, "state", value_int((int64_t)t->state)) &&
              value_put(v, "takes_part", value_bool(session_takes_part(s, t)));
  if (good) return v;
  value_free(v);
  return NULL;
}

NOW(writers) {
  (void)args;
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->seat_count; i++)
    if (s->seats[i]->metadata != NULL)
      good = value_add(list, describe(s, s->seats[i]));
  if (good) {
    *result = list;
    return NULL;
  }
  value_free(list);
  return error_no_memory();
}

NOW(writer_status) {
  (void)args;
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->seat_count; i++)
    good = value_add(list, status_of(s->seats[i]));
  if (good) {
    *result = list;
    return NULL;
  }
  value_free(list);
  return error_no_memory();
}


/* ------------------------------------------------------------------
** Components
** ---------------------------------------------------------------- */

static seat *seat_named(session *s, const char *name) {
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    if (t->metadata != NULL && (strcasecmp(t->w->id, name) == 0 ||
                                strcasecmp(t->w->instance, name) == 0 ||
                                strcmp(seat_title(t), name) == 0))
      return t;
  }
  return NULL;
}

/* NULL: it has none of that name. */
static const value *component_of(const seat *t, const char *name) {
  const value *list = value_get(t->metadata, "components");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(value_chars(value_get(list->as.items[i], "name"), ""), name) ==
        0)
      return list->as.items[i];
  return NULL;
}

/* The mark of a writer's component, made when there is none yet. */
static error *mark_of(session *s, const char *who, const value *args,
                      value **mark, seat **of) {
  const char *called = value_chars(value_get(args, "writer"), NULL);
  const char *name = value_chars(value_get(args, "component"), NULL);
  if (called == NULL || name == NULL)
    return vss_error(SAROS_E_INVALIDARG,
                     "%s: a writer and the name of a component are needed",
                     who);
  seat *t = seat_named(s, called);
  if (t == NULL)
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "%s: there is no writer \"%.100s\" here; writers() lists "
                     "those that were found",
                     who, called);
  if (component_of(t, name) == NULL)
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "%s: the writer \"%s\" has no component \"%.100s\"", who,
                     seat_title(t), name);
  *of = t;
  for (uint32_t i = 0; i < s->marks->count; i++) {
    value *m = s->marks->as.items[i];
    if (strcmp(value_chars(value_get(m, "instance"), ""), t->w->instance) ==
            0 &&
        strcmp(value_chars(value_get(m, "name"), ""), name) == 0) {
      *mark = m;
      return NULL;
    }
  }
  value *m = value_map();
  bool good = m != NULL && value_put(m, "writer", value_text(t->w->id)) &&
              value_put(m, "instance", value_text(t->w->instance)) &&
              value_put(m, "name", value_text(name));
  if (!good) {
    value_free(m);
    return error_no_memory();
  }
  if (!value_add(s->marks, m)) return error_no_memory();
  *mark = m;
  return NULL;
}

/* One who names the type means that one, and not what has its name. */
static error *check_type(const seat *t, const char *name, const value *args) {
  const char *wanted = value_chars(value_get(args, "type"), NULL);
  const char *its =
      value_chars(value_get(component_of(t, name), "type"), "of no type");
  if (wanted == NULL || strcmp(wanted, its) == 0) return NULL;
  return vss_error(
      VSS_E_OBJECT_NOT_FOUND,
      "add_component: the component \"%s\" of the writer \"%s\" is "
      "a %s, and no \"%.60s\"",
      name, seat_title(t), its, wanted);
}

NOW(add_component) {
  (void)result;
  value *mark;
  seat *t;
  error *e = mark_of(s, "add_component", args, &mark, &t);
  if (e != NULL) return e;
  const char *name = value_chars(value_get(mark, "name"), "");
  e = check_type(t, name, args);
  if (e != NULL) return e;
  for (uint32_t i = 0; t->components != NULL && i < t->components->count; i++)
    if (strcmp(value_chars(t->components->as.items[i], ""), name) == 0)
      return vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                       "the component \"%s\" was added already", name);
  if (t->components == NULL) t->components = value_list();
  if (t->components == NULL || !value_add(t->components, value_text(name)))
    return error_no_memory();
  t->selected = true;
  return NULL;
}

error *session_mark(session *s, const char *who, const value *args,
                    const char *field, value *what, seat **of) {
  value *mark = NULL;
  seat *ignored;
  error *e = what == NULL
                 ? error_no_memory()
                 : mark_of(s, who, args, &mark, of != NULL ? of : &ignored);
  if (e != NULL || mark == NULL) {
    value_free(what);
    return e;
  }
  return value_put(mark, field, what) ? NULL : error_no_memory();
}

static value *text_of(const value *args, const char *name) {
  return value_text(value_chars(value_get(args, name), ""));
}

/* Anew from the marks: one may have been taken back. */
error *session_note_succeeded(const session *s, seat *t) {
  value *names = value_list();
  bool good = names != NULL;
  for (uint32_t i = 0; good && i < s->marks->count; i++) {
    const value *m = s->marks->as.items[i];
    if (strcmp(value_chars(value_get(m, "instance"), ""), t->w->instance) ==
            0 &&
        value_boolean(value_get(m, "succeeded"), false))
      good =
          value_add(names, value_text(value_chars(value_get(m, "name"), "")));
  }
  if (!good) {
    value_free(names);
    return error_no_memory();
  }
  value_free(t->succeeded);
  t->succeeded = names;
  return NULL;
}

NOW(set_backup_succeeded) {
  (void)result;
  bool ok = value_boolean(value_get(args, "ok"), true);
  seat *t = NULL;
  error *e = session_mark(s, "set_backup_succeeded", args, "succeeded",
                          value_bool(ok), &t);
  return e != NULL || t == NULL ? e : session_note_succeeded(s, t);
}

NOW(set_backup_options) {
  (void)result;
  return session_mark(s, "set_backup_options", args, "options",
                      text_of(args, "text"), NULL);
}

NOW(set_previous_backup_stamp) {
  (void)result;
  return session_mark(s, "set_previous_backup_stamp", args, "stamp",
                      text_of(args, "text"), NULL);
}
