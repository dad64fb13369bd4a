/*
** What a queue is set to: given when it is opened, changed later, kept on the
** disk. The mover knows what each of it means (mover_settings.c).
*/
#include <string.h>

#include "bits/keeper.h"

/* ------------------------------------------------------------------
** By name
** ---------------------------------------------------------------- */

static const char *const kept[] = {
    "limit_download",       "limit_upload", "limits", "connections",
    "connections_per_host", "active",       NULL};

static bool is_in(const char *const *names, const char *name) {
  while (*names != NULL && strcmp(*names, name) != 0) names++;
  return *names != NULL;
}

error *bits_manager_names(const value *options, bool opens) {
  static const char *const more[] = {"path", "observe", NULL};
  for (uint32_t i = 0; options != NULL && i < options->count; i++) {
    const char *name = options->as.fields[i].name;
    if (!is_in(kept, name) && !(opens && is_in(more, name)))
      return bits_fail(SAROS_E_INVALIDARG,
                       "a queue has no option '%.60s': there are %slimits, "
                       "limit_download, limit_upload, connections, "
                       "connections_per_host and active",
                       name, opens ? "path, observe, " : "");
  }
  return NULL;
}

/* `changes` over what there was; what is null is as usual again. */
static value *merge(const value *settings, const value *changes) {
  value *all = settings != NULL ? value_copy(settings) : value_map();
  for (size_t i = 0; all != NULL && kept[i] != NULL; i++) {
    const value *v = value_get(changes, kept[i]);
    if (v == NULL || value_put(all, kept[i], value_copy(v))) continue;
    value_free(all);
    all = NULL;
  }
  return all;
}

static bool has_settings(const value *options) {
  for (size_t i = 0; kept[i] != NULL; i++)
    if (value_get(options, kept[i]) != NULL) return true;
  return false;
}

/* ------------------------------------------------------------------
** Out of the queue
** ---------------------------------------------------------------- */

value *bits_manager_stored(bits_queue *q, const char *name, error **e) {
  buffer text = BUFFER_EMPTY;
  error *bad = NULL;
  value *v = NULL;
  *e = bits_queue_get_setting(q, name, &text);
  if (*e == NULL && text.size > 0)
    v = json_read(text.data, text.size, NULL, &bad);
  error_unref(bad);
  buffer_free(&text);
  return v;
}

/* What is kept, or NULL: nothing yet. */
static value *kept_settings(bits_queue *q, error **e) {
  value *v = bits_manager_stored(q, "settings", e);
  if (v == NULL || v->type == VALUE_MAP) return v;
  value_free(v);
  return NULL;
}

/* With the lock: an owner's, which are kept when some of them were given. */
static error *begin_with(bits_manager *m, value *all) {
  if (all == NULL) return error_no_memory();
  value_free(m->settings);
  m->settings = all;
  m->settings_dirty = has_settings(m->given);
  if (m->settings_dirty) m->changes++;
  return NULL;
}

/* With the lock: an observer sees those of the owner. What he was given himself
   counts when the queue becomes his, and so it has to be right now. */
static error *look_at(bits_manager *m, value *all, value *seen) {
  error *e = all != NULL && seen != NULL ? bits_mover_settings(m, all)
                                         : error_no_memory();
  value_free(all);
  if (e == NULL) {
    value_free(m->settings);
    m->settings = seen;
  } else {
    value_free(seen);
  }
  return e;
}

error *bits_manager_read(bits_manager *m, bits_queue *q, bool own) {
  error *e;
  value *before = kept_settings(q, &e);
  if (e != NULL) return e;
  value *all = merge(before, m->given);
  value *seen = own ? NULL : merge(before, NULL);
  value_free(before);
  pthread_mutex_lock(&m->lock);
  e = own ? begin_with(m, all) : look_at(m, all, seen);
  pthread_mutex_unlock(&m->lock);
  return e;
}

/* ------------------------------------------------------------------
** Changed
** ---------------------------------------------------------------- */

/* With the lock. */
static error *set(bits_manager *m, const value *options) {
  error *e = bits_manager_may_write(m);
  if (e != NULL) return e;
  value *all = merge(m->settings, options);
  if (all == NULL) return error_no_memory();
  e = bits_mover_settings(m, all);
  if (e != NULL) {
    value_free(all);
    return e;
  }
  value_free(m->settings);
  m->settings = all;
  m->settings_dirty = true;
  m->changes++;
  bits_mover_limits(m);
  bits_keeper_told(m);
  return NULL;
}

error *bits_manager_set(bits_manager *m, const value *options) {
  error *e = bits_manager_names(options, false);
  if (e != NULL) return e;
  if (bits_manager_is_inherited(m)) return bits_manager_may_write(m);
  pthread_mutex_lock(&m->lock);
  e = set(m, options);
  pthread_mutex_unlock(&m->lock);
  return e != NULL ? e : bits_keeper_flush(m, true);
}
