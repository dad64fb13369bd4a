/*
** What answers at once in a restore: which components, where to, and how it
** went. Writers are told all of it with PreRestore and PostRestore. Called
** with the session's lock held.
*/
#include <string.h>

#include "vss/session_parts.h"

static error *number_or_name(const value *args, const char *field,
                             const char *const *names, value **into) {
  const value *v = value_get(args, field);
  if (v != NULL && v->type == VALUE_STRING)
    for (int i = 0; names[i] != NULL; i++)
      if (strcmp(names[i], v->as.string.data) == 0) {
        *into = value_text(names[i]);
        return NULL;
      }
  int count = 0;
  while (names[count] != NULL) count++;
  if (v != NULL && v->type == VALUE_INT && v->as.integer >= 0 &&
      v->as.integer < count) {
    *into = value_text(names[v->as.integer]);
    return NULL;
  }
  return vss_error(SAROS_E_INVALIDARG, "\"%s\" is not one of its values",
                   field);
}

NOW(set_restore_state) {
  static const char *const types[] = {"undefined", "by_copy", "import", "other",
                                      NULL};
  (void)result;
  value *type = NULL;
  error *e = number_or_name(args, "type", types, &type);
  if (e != NULL) return e;
  value *state = value_map();
  if (state == NULL || !value_put(state, "type", type)) {
    value_free(state);
    return error_no_memory();
  }
  value_free(s->restore);
  s->restore = state;
  s->did |= DID_STATE;
  return NULL;
}

NOW(set_selected_for_restore) {
  (void)result;
  seat *t = NULL;
  bool on = value_boolean(value_get(args, "selected"), true);
  error *e = session_mark(s, "set_selected_for_restore", args,
                          "selected_for_restore", value_bool(on), &t);
  if (e != NULL) return e;
  /* Anew from the marks: one may have been taken back. */
  value *names = value_list();
  bool good = names != NULL;
  for (uint32_t i = 0; good && i < s->marks->count; i++) {
    const value *m = s->marks->as.items[i];
    if (strcmp(value_chars(value_get(m, "instance"), ""), t->w->instance) ==
            0 &&
        value_boolean(value_get(m, "selected_for_restore"), false))
      good = value_add(names, value_copy(value_get(m, "name")));
  }
  if (!good) {
    value_free(names);
    return error_no_memory();
  }
  value_free(t->components);
  t->components = names;
  t->selected = names->count > 0;
  return NULL;
}

NOW(set_restore_options) {
  (void)result;
  return session_mark(s, "set_restore_options", args, "restore_options",
                      value_text(value_chars(value_get(args, "text"), "")),
                      NULL);
}

static error *put_map(session *s, const char *who, const value *args,
                      const char *from, const char *field) {
  const value *v = value_get(args, from);
  if (v == NULL || (v->type != VALUE_MAP && v->type != VALUE_LIST))
    return vss_error(SAROS_E_INVALIDARG, "%s: a table is needed", who);
  return session_mark(s, who, args, field, value_copy(v), NULL);
}

NOW(add_new_target) {
  (void)result;
  return put_map(s, "add_new_target", args, "target", "new_target");
}

NOW(add_alternative_location_mapping) {
  (void)result;
  return put_map(s, "add_alternative_location_mapping", args, "mapping",
                 "alternative");
}

NOW(set_file_restore_status) {
  static const char *const states[] = {"undefined", "none", "all", "failed",
                                       NULL};
  (void)result;
  value *status = NULL;
  error *e = number_or_name(args, "status", states, &status);
  if (e != NULL) return e;
  bool all = strcmp(value_chars(status, ""), "all") == 0;
  seat *t = NULL;
  e = session_mark(s, "set_file_restore_status", args, "file_restore_status",
                   status, NULL);
  if (e == NULL)
    e = session_mark(s, "set_file_restore_status", args, "succeeded",
                     value_bool(all), &t);
  return e != NULL || t == NULL ? e : session_note_succeeded(s, t);
}

NOW(set_additional_restores) {
  (void)result;
  return session_mark(s, "set_additional_restores", args, "additional_restores",
                      value_bool(value_boolean(value_get(args, "more"), true)),
                      NULL);
}
