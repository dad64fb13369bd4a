/*
** provider: the register of providers, and the shadow that one works on.
*/
#include "vss/provider.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The highest rank first. */
const provider *const providers[] = {
    &provider_btrfs, &provider_image, &provider_lvm, &provider_reflink,
    &provider_copy,  &provider_live,  NULL};


const char *provider_atomic_name(provider_atomic atomic) {
  switch (atomic) {
    case ATOMIC_VOLUME: return "volume";
    case ATOMIC_SUBVOLUME: return "subvolume";
    case ATOMIC_FILE: return "file";
    default: return "nothing";
  }
}


#ifdef SAROS_TEST
const provider *provider_test;
#endif

const provider *provider_named(const char *name) {
#ifdef SAROS_TEST
  if (provider_test != NULL && strcmp(provider_test->name, name) == 0)
    return provider_test;
#endif
  guid wanted, id;
  bool by_id = guid_parse(name, &wanted);
  for (size_t i = 0; providers[i] != NULL; i++) {
    const provider *p = providers[i];
    if (strcmp(p->name, name) == 0) return p;
    if (by_id && guid_parse(p->id, &id) && guid_equal(&wanted, &id)) return p;
  }
  return NULL;
}


/* One reason is an answer of its own, several are a list. */
static error *why_none(const origin *from, const char *reasons, error *first,
                       size_t count) {
  if (count == 0)
    return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED,
                              "there is no provider for %s", from->path),
                    from->path);
  error *e = vss_error(VSS_E_VOLUME_NOT_SUPPORTED,
                       "no provider can take a shadow copy of %s: %s",
                       from->path, reasons);
  return error_because(error_at(e, from->path), error_ref(first));
}


const provider *provider_choose(const origin *from, error **e) {
  buffer reasons = BUFFER_EMPTY;
  const provider *found = NULL;
  error *first = NULL;
  size_t count = 0;
  *e = NULL;
  for (size_t i = 0; found == NULL && providers[i] != NULL; i++) {
    const provider *p = providers[i];
    if (p->rank < 0) continue;
    error *why = p->probe(from);
    if (why == NULL) {
      found = p;
      continue;
    }
    buffer_format(&reasons, "%s%s: %s", count++ > 0 ? "; " : "", p->name,
                  why->message);
    if (first == NULL) first = error_ref(why);
    error_unref(why);
  }
  if (found == NULL)
    *e = reasons.failed ? error_no_memory()
                        : why_none(from, reasons.data, first, count);
  error_unref(first);
  buffer_free(&reasons);
  return found;
}


/* ------------------------------------------------------------------
** Shadows
** ---------------------------------------------------------------- */

shadow *shadow_make(const char *set, const char *given, origin *from,
                    const provider *p) {
  guid id;
  shadow *s = mem_zero(sizeof *s);
  if (s == NULL || !guid_make(&id)) {
    origin_free(from);
    mem_free(s);
    return NULL;
  }
  guid_format(&id, s->id);
  snprintf(s->set, sizeof s->set, "%s", set);
  s->from = from;
  s->provider = p;
  s->given = mem_text(given);
  s->keep = value_map();
  s->warnings = value_list();
  if (s->given != NULL && s->keep != NULL && s->warnings != NULL) return s;
  shadow_free(s);
  return NULL;
}


void shadow_free(shadow *s) {
  if (s == NULL) return;
  if (s->self != NULL) s->provider->forget(s);
  origin_free(s->from);
  mem_free(s->given);
  mem_free(s->place);
  mem_free(s->path);
  mem_free(s->device);
  value_free(s->keep);
  value_free(s->warnings);
  mem_free(s);
}


bool shadow_place(shadow *s, const char *state) {
  char *(*wish)(const origin *) = s->provider->place_of;
  char *wished = wish != NULL ? wish(s->from) : NULL;
  mem_free(s->place);
  s->place = path_join(wished != NULL ? wished : state, s->id);
  mem_free(wished);
  return s->place != NULL;
}


error *shadow_note(shadow *s) {
  return s->note != NULL ? s->note(s) : NULL;
}


bool shadow_warn(shadow *s, const char *format, ...) {
  char text[1000];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return value_add(s->warnings, value_text(text));
}
