/*
** What a writer says about itself, and why it says no, checked before anybody
** believes it: it may come from a stranger.
*/
#include <string.h>
#include <strings.h>

#include "vss/writer.h"

enum {
  METADATA_MOST = 65536, /* as JSON */
  DEPTH_MOST = 16,
  COMPONENTS_MOST = 1000,
  NAME_MOST = 255,
  TEXT_MOST = 4096
};

#define FREEZE_SECONDS 60.0
#define FREEZE_SECONDS_MOST 600.0

static error *wrong(const char *what) {
  return vss_error(SAROS_E_INVALIDARG, "the metadata of a writer: %s", what);
}

static error *wrong_field(const char *field, const char *what) {
  return vss_error(SAROS_E_INVALIDARG, "the metadata of a writer: %s %s", field,
                   what);
}

static bool is_null(const value *v) {
  return v == NULL || v->type == VALUE_NULL;
}


/* ------------------------------------------------------------------
** One field
** ---------------------------------------------------------------- */

static bool has_control(const value *v) {
  for (size_t i = 0; i < v->as.string.size; i++) {
    unsigned char c = (unsigned char)v->as.string.data[i];
    if (c < 0x20 || c == 0x7F) return true;
  }
  return false;
}

/* A text for people: it ends up on terminals, in reports and in names. */
static error *check_text(const value *v, const char *field, size_t most) {
  if (v->type != VALUE_STRING) return wrong_field(field, "must be a text");
  if (v->as.string.size == 0) return wrong_field(field, "is empty");
  if (v->as.string.size > most) return wrong_field(field, "is too long");
  if (!text_is_utf8(v->as.string.data, v->as.string.size))
    return wrong_field(field, "is not UTF-8");
  if (has_control(v)) return wrong_field(field, "has control characters");
  return NULL;
}

/* One of a few words, or nothing. */
static error *check_word(const value *v, const char *field,
                         const char *const *words) {
  if (is_null(v)) return NULL;
  const char *said = value_chars(v, NULL);
  buffer b = BUFFER_EMPTY;
  for (size_t i = 0; words[i] != NULL; i++) {
    if (said != NULL && strcmp(said, words[i]) == 0) {
      buffer_free(&b);
      return NULL;
    }
    buffer_format(&b, "%s\"%s\"", i == 0 ? "must be one of " : ", ", words[i]);
  }
  error *e = b.failed ? error_no_memory() : wrong_field(field, b.data);
  buffer_free(&b);
  return e;
}

static error *check_words(const value *said) {
  static const char *const usages[] = {
      "undefined",      "bootable_system_state",
      "system_service", "user_data",
      "other",          NULL};
  static const char *const sources[] = {"undefined", "transacted_db",
                                        "nontransacted_db", "other", NULL};
  static const char *const levels[] = {"front_end", "back_end", "system", NULL};
  static const char *const guards[] = {"connection", "expiry", "process", NULL};
  error *e = check_word(value_get(said, "usage"), "usage", usages);
  if (e == NULL) e = check_word(value_get(said, "source"), "source", sources);
  if (e == NULL) e = check_word(value_get(said, "level"), "level", levels);
  if (e == NULL) e = check_word(value_get(said, "guard"), "guard", guards);
  return e;
}

static error *check_window(const value *v) {
  if (is_null(v)) return NULL;
  double seconds = v->type == VALUE_INT    ? (double)v->as.integer
                   : v->type == VALUE_REAL ? v->as.real
                                           : 0;
  if (seconds > 0 && seconds <= FREEZE_SECONDS_MOST) return NULL;
  return wrong("freeze_timeout must be seconds, more than 0, at most 600");
}

/* The GUID in lower case into `clean`; untouched when it says none. */
static error *check_guid(const value *v, const char *field, char clean[37]) {
  if (is_null(v)) return NULL;
  guid g;
  const char *text = value_chars(v, NULL);
  if (text == NULL || v->as.string.size != strlen(text) ||
      !guid_parse(text, &g) || guid_is_null(&g))
    return wrong_field(field, "must be a GUID");
  guid_format(&g, clean);
  return NULL;
}


/* ------------------------------------------------------------------
** Components
** ---------------------------------------------------------------- */

/* A list; of Lua's empty table nobody can tell whether it is a map. */
static bool is_list(const value *v) {
  return v->type == VALUE_LIST || (v->type == VALUE_MAP && v->count == 0);
}

static error *check_paths(const value *v, const char *field, bool absolute) {
  if (is_null(v)) return NULL;
  if (!is_list(v)) return wrong_field(field, "of a component must be a list");
  for (uint32_t i = 0; v->type == VALUE_LIST && i < v->count; i++) {
    const value *p = v->as.items[i];
    if (p->type != VALUE_STRING || p->as.string.size == 0 ||
        p->as.string.size > TEXT_MOST ||
        strlen(p->as.string.data) != p->as.string.size)
      return wrong_field(field, "of a component must be a list of paths");
    if (absolute && p->as.string.data[0] != '/')
      return wrong_field(field, "of a component must be absolute paths");
  }
  return NULL;
}

static error *check_optional(const value *v, const char *field, size_t most) {
  return is_null(v) ? NULL : check_text(v, field, most);
}

/* All of its files, or these. */
static error *check_mends(const value *v) {
  if (v != NULL && v->type == VALUE_BOOL) return NULL;
  return check_paths(v, "mends", false);
}

static error *check_component(const value *c) {
  static const char *const types[] = {"database", "filegroup", NULL};
  if (c->type != VALUE_MAP) return wrong("a component must be a map");
  if (is_null(value_get(c, "type")))
    return wrong("a component has no type (\"database\" or \"filegroup\")");
  if (is_null(value_get(c, "name"))) return wrong("a component has no name");
  error *e = check_word(value_get(c, "type"), "type of a component", types);
  if (e == NULL)
    e = check_text(value_get(c, "name"), "name of a component", NAME_MOST);
  if (e == NULL)
    e = check_optional(value_get(c, "logical_path"),
                       "logical_path of a component", TEXT_MOST);
  if (e == NULL)
    e = check_optional(value_get(c, "caption"), "caption of a component",
                       TEXT_MOST);
  if (e == NULL) e = check_paths(value_get(c, "files"), "files", true);
  if (e == NULL) e = check_paths(value_get(c, "exclude"), "exclude", false);
  if (e == NULL) e = check_mends(value_get(c, "mends"));
  return e;
}

static bool same_component(const value *a, const value *b) {
  const value *path_a = value_get(a, "logical_path");
  const value *path_b = value_get(b, "logical_path");
  if (!value_equal(value_get(a, "name"), value_get(b, "name"))) return false;
  if (is_null(path_a) || is_null(path_b))
    return is_null(path_a) && is_null(path_b);
  return value_equal(path_a, path_b);
}

static error *check_components(const value *v) {
  if (is_null(v)) return NULL;
  if (!is_list(v)) return wrong("components must be a list");
  if (v->count > COMPONENTS_MOST) return wrong("more than 1000 components");
  for (uint32_t i = 0; v->type == VALUE_LIST && i < v->count; i++) {
    error *e = check_component(v->as.items[i]);
    if (e != NULL) return e;
    for (uint32_t k = 0; k < i; k++)
      if (same_component(v->as.items[i], v->as.items[k]))
        return wrong(
            "two components have the same name; give them different "
            "ones, or different logical paths");
  }
  return NULL;
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static bool within_depth(const value *v, unsigned depth) {
  if (v->type != VALUE_LIST && v->type != VALUE_MAP) return true;
  if (depth == 0) return false;
  for (uint32_t i = 0; i < v->count; i++) {
    const value *item =
        v->type == VALUE_LIST ? v->as.items[i] : v->as.fields[i].item;
    if (!within_depth(item, depth - 1)) return false;
  }
  return true;
}

static error *check_size(const value *said) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, said, JSON_COMPACT);
  error *e = b.failed ? error_no_memory()
             : b.size > METADATA_MOST
                 ? wrong("they are longer than 64 KiB as JSON")
                 : NULL;
  buffer_free(&b);
  return e;
}

static error *check(const value *said, const char *expected, char id[37],
                    char instance[37]) {
  if (said == NULL || said->type != VALUE_MAP) return wrong("they are no map");
  if (!within_depth(said, DEPTH_MOST)) return wrong("nested too deeply");
  error *e = check_size(said);
  if (e == NULL) e = check_guid(value_get(said, "id"), "id", id);
  if (e == NULL && id[0] == '\0') e = wrong("they have no id");
  if (e == NULL && expected != NULL && strcasecmp(expected, id) != 0)
    e = vss_error(SAROS_E_INVALIDARG,
                  "the metadata of writer %s are those of another one, %s",
                  expected, id);
  if (e == NULL)
    e = check_guid(value_get(said, "instance"), "instance", instance);
  if (e == NULL && is_null(value_get(said, "name")))
    e = wrong("they have no name");
  if (e == NULL) e = check_text(value_get(said, "name"), "name", NAME_MOST);
  if (e == NULL) e = check_words(said);
  if (e == NULL) e = check_window(value_get(said, "freeze_timeout"));
  if (e == NULL) e = check_components(value_get(said, "components"));
  return e;
}

/* Nulls and empty maps where a list must be are gone; what has a default has
   it; GUIDs are lower case. */
static bool complete(value *m, const char *id, const char *instance) {
  const value *components = value_get(m, "components");
  bool good = value_put(m, "id", value_text(id));
  if (instance[0] != '\0')
    good = value_put(m, "instance", value_text(instance)) && good;
  if (is_null(value_get(m, "level")))
    good = value_put(m, "level", value_text("front_end")) && good;
  if (is_null(value_get(m, "freeze_timeout")))
    good = value_put(m, "freeze_timeout", value_real(FREEZE_SECONDS)) && good;
  if (components == NULL || components->type != VALUE_LIST)
    good = value_put(m, "components", value_list()) && good;
  components = value_get(m, "components");
  for (uint32_t i = 0; good && i < components->count; i++) {
    value *c = components->as.items[i];
    const value *files = value_get(c, "files");
    if (files == NULL || files->type != VALUE_LIST)
      good = value_put(c, "files", value_list());
  }
  return good;
}

value *writer_metadata(const value *said, const char *id, error **e) {
  char clean_id[37] = "", clean_instance[37] = "";
  /* Who is known by his socket or his registration need not repeat it. */
  if (id != NULL && said != NULL && is_null(value_get(said, "id"))) {
    guid g;
    if (guid_parse(id, &g)) guid_format(&g, clean_id);
  }
  *e = check(said, id, clean_id, clean_instance);
  if (*e != NULL) return NULL;
  value *m = value_copy(said);
  if (m != NULL && complete(m, clean_id, clean_instance)) return m;
  value_free(m);
  *e = error_no_memory();
  return NULL;
}


/* ------------------------------------------------------------------
** A refusal
** ---------------------------------------------------------------- */

/* A code that a writer may fail with: its number, or its name; without one it
   is what it says of another try. */
static uint32_t code_said(const value *v, bool again) {
  uint32_t code = 0;
  if (v != NULL && v->type == VALUE_INT && v->as.integer > 0 &&
      v->as.integer <= UINT32_MAX)
    code = (uint32_t)v->as.integer;
  else if (v != NULL && v->type == VALUE_STRING)
    code_value(v->as.string.data, &code);
  if (code_failed(code)) return code;
  return v == NULL && again ? VSS_E_WRITERERROR_RETRYABLE
                            : VSS_E_WRITERERROR_NONRETRYABLE;
}

error *writer_veto(const value *answer) {
  const value *said = value_get(answer, "message");
  const value *again = value_get(answer, "retryable");
  uint32_t code =
      code_said(value_get(answer, "code"), value_boolean(again, false));
  bool is_text = said != NULL && said->type == VALUE_STRING;
  size_t size = is_text ? said->as.string.size : 0;
  if (size > WRITER_MESSAGE_MOST) {
    size = WRITER_MESSAGE_MOST; /* not inside of a character */
    while (size > 0 &&
           ((unsigned char)said->as.string.data[size] & 0xC0) == 0x80)
      size--;
  }
  buffer b = BUFFER_EMPTY;
  if (size > 0)
    text_escape(&b, said->as.string.data, size);
  else
    buffer_text(&b, "the writer said no, and gave no reason");
  error *e = b.failed ? error_no_memory() : vss_error(code, "%s", b.data);
  buffer_free(&b);
  if (e != error_no_memory() && again != NULL) /* nobody else has seen it */
    e->retryable = value_boolean(again, e->retryable);
  return e;
}
