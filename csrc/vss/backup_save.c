/*
** The backup components document, as a session has it to save. Called with the
** session's lock held.
*/
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/format.h"
#include "vss/document.h"
#include "vss/session_parts.h"

/* A writer of the document, with its components and what was said of them. */
static value *document_writer(const session *s, const seat *t) {
  value *v = value_map(), *list = value_list();
  const value *all = value_get(t->metadata, "components");
  bool good =
      v != NULL && list != NULL && value_put(v, "id", value_text(t->w->id)) &&
      value_put(v, "instance", value_text(t->w->instance)) &&
      value_put(v, "name", value_text(seat_title(t))) &&
      value_put(v, "metadata", value_copy(t->metadata)) && said_put(v, t);
  for (uint32_t i = 0; good && all != NULL && i < all->count; i++) {
    const value *c = all->as.items[i];
    const char *name = value_chars(value_get(c, "name"), "");
    value *one = value_map();
    good = one != NULL && value_put(one, "name", value_text(name));
    if (good && value_get(c, "type") != NULL)
      good = value_put(one, "type", value_copy(value_get(c, "type")));
    bool selected = t->selected && t->components == NULL;
    for (uint32_t k = 0; t->components != NULL && k < t->components->count; k++)
      if (strcmp(value_chars(t->components->as.items[k], ""), name) == 0)
        selected = true;
    if (good) good = value_put(one, "selected", value_bool(selected));
    for (uint32_t k = 0; good && k < s->marks->count; k++) {
      const value *m = s->marks->as.items[k];
      if (strcmp(value_chars(value_get(m, "instance"), ""), t->w->instance) !=
              0 ||
          strcmp(value_chars(value_get(m, "name"), ""), name) != 0)
        continue;
      static const char *const kept[] = {"succeeded", "options", "stamp"};
      for (size_t f = 0; good && f < 3; f++)
        if (value_get(m, kept[f]) != NULL)
          good = value_put(one, kept[f], value_copy(value_get(m, kept[f])));
    }
    if (good)
      good = value_add(list, one);
    else
      value_free(one);
  }
  if (good) {
    if (value_put(v, "components", list)) return v;
    list = NULL;
  }
  value_free(list);
  value_free(v);
  return NULL;
}

static bool put_lists(value *doc, const session *s) {
  value *shadows = value_list(), *writers = value_list();
  bool good = shadows != NULL && writers != NULL;
  for (size_t i = 0; good && (s->did & DID_SHOOT) && i < s->member_count; i++)
    good = value_add(shadows, member_record(s, s->members[i], "created"));
  for (size_t i = 0; good && i < s->seat_count; i++)
    if (s->seats[i]->metadata != NULL)
      good = value_add(writers, document_writer(s, s->seats[i]));
  if (!good) {
    value_free(shadows);
    value_free(writers);
    return false;
  }
  good = value_put(doc, "snapshots", shadows);
  return value_put(doc, "writers", writers) && good;
}

static bool put_head(value *doc, const session *s) {
  char host[256] = "", now[40];
  time_t t = time(NULL);
  struct tm at;
  gethostname(host, sizeof host - 1);
  gmtime_r(&t, &at);
  strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S+00:00", &at);
  return value_put(doc, "format", value_text("saros.backup_components")) &&
         format_stamp(doc, 1) && value_put(doc, "mode", value_text("backup")) &&
         value_put(doc, "context",
                   value_int((int64_t)(s->context == VSS_CTX_ALL
                                           ? s->context
                                           : s->context & ~CONTEXT_MAY_ADD))) &&
         value_put(doc, "attributes",
                   value_int((int64_t)(s->context == VSS_CTX_ALL
                                           ? 0
                                           : s->context & CONTEXT_MAY_ADD))) &&
         value_put(doc, "machine", value_text(host)) &&
         value_put(doc, "created", value_text(now));
}

NOW(save) {
  (void)args;
  buffer b = BUFFER_EMPTY;
  bool fresh = s->seat_count == 0 && s->member_count == 0;
  value *doc;
  bool good;
  if (s->document != NULL && (fresh || (s->did & DID_RESTORE))) {
    /* of a restore it is the backup's that stays */
    doc = value_copy(s->document);
    good = doc != NULL;
  } else {
    doc = value_map();
    good = doc != NULL && put_head(doc, s) && put_lists(doc, s);
    if (good && s->set[0] != '\0')
      good = value_put(doc, "set", value_text(s->set));
    if (good && s->backup == NULL) {
      value *none = NULL;
      error_unref(now_set_backup_state(s, NULL, &none));
      s->did &= ~DID_STATE; /* the usual one; nobody has chosen it */
    }
    if (good) good = value_put(doc, "backup", value_copy(s->backup));
  }
  error *e = good ? document_write(doc, &b) : error_no_memory();
  value_free(doc);
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) *result = value_string(b.data, b.size);
  if (e == NULL && *result == NULL) e = error_no_memory();
  buffer_free(&b);
  return e;
}
