/*
** What is set of the queue as a whole, and what it shows of itself.
**
**   limit_download, limit_upload   bytes a second: a number, or "500K"; 0: none
**   limits                         by the time of day: see hours.c
**   connections                    in all; 32
**   connections_per_host           6
**   active                         false: nothing is transferred
*/
#include "bits/mover_parts.h"

static error *read_rate(const value *settings, const char *name,
                        uint64_t *rate) {
  const value *v = value_get(settings, name);
  *rate = 0;
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  if (v->type == VALUE_INT && v->as.integer >= 0) {
    *rate = (uint64_t)v->as.integer;
    return NULL;
  }
  const char *text = value_chars(v, NULL), *end;
  if (text != NULL && hours_rate(text, &end, rate) && *end == '\0') {
    if (*rate == HOURS_ANY) *rate = 0;
    return NULL;
  }
  return bits_fail(SAROS_E_INVALIDARG,
                   "%s is a number of bytes a second, or a text like \"500K\"; "
                   "0 is no limit",
                   name);
}

static error *read_count(const value *settings, const char *name,
                         unsigned usual, unsigned most, unsigned *count) {
  const value *v = value_get(settings, name);
  *count = usual;
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  int64_t n = v->type == VALUE_INT ? v->as.integer : 0;
  if (n < 1 || n > (int64_t)most)
    return bits_fail(SAROS_E_INVALIDARG, "%s is a number from 1 to %u", name,
                     most);
  *count = (unsigned)n;
  return NULL;
}

static error *read_on(const value *settings, bool *on) {
  const value *v = value_get(settings, "active");
  *on = true;
  if (v == NULL || v->type == VALUE_NULL) return NULL;
  if (v->type != VALUE_BOOL)
    return bits_fail(SAROS_E_INVALIDARG,
                     "active is true, or false: nothing is transferred");
  *on = v->as.boolean;
  return NULL;
}

error *bits_mover_settings(bits_manager *m, const value *settings) {
  bits_mover *v = m->mover;
  uint64_t down, up;
  unsigned connections, per_host;
  bool on;
  hours h;
  error *e = read_rate(settings, "limit_download", &down);
  if (e == NULL) e = read_rate(settings, "limit_upload", &up);
  if (e == NULL)
    e = read_count(settings, "connections", MOVER_CONNECTIONS, MOVER_RUNS_MOST,
                   &connections);
  if (e == NULL)
    e = read_count(settings, "connections_per_host", MOVER_PER_HOST,
                   MOVER_RUNS_MOST, &per_host);
  if (e == NULL) e = read_on(settings, &on);
  if (e == NULL) e = hours_read(value_get(settings, "limits"), &h);
  if (e != NULL) return e;
  if (v == NULL) { /* an observer's: they were only looked at */
    hours_free(&h);
    return NULL;
  }
  hours_free(&v->hours);
  v->hours = h;
  v->limit_down = down;
  v->limit_up = up;
  v->connections = connections;
  v->per_host = per_host;
  v->on = on;
  mover_let_all_in(v);
  bits_mover_wake(m);
  return NULL;
}

/* ------------------------------------------------------------------
** What is shown
** ---------------------------------------------------------------- */

static value *show_gates(const bits_mover *v, uint64_t now, size_t *waiting) {
  value *list = value_list();
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (const mover_host *h = v->hosts[i]; h != NULL; h = h->next) {
      for (unsigned l = 0; l < MOVER_LEVELS; l++)
        *waiting += h->waiting[l].count;
      if (h->until <= now || list == NULL) continue;
      value *gate = value_map();
      if (!value_put(gate, "host", value_text(h->name)) ||
          !value_put(gate, "until",
                     value_int((int64_t)((h->until - now + 999) / 1000))) ||
          !value_put(gate, "offline", value_bool(h->offline))) {
        value_free(gate);
        gate = NULL;
      }
      if (!value_add(list, gate)) {
        value_free(list);
        list = NULL;
      }
    }
  return list;
}

static value *show_rate(const share_bucket *b) {
  return b->rate == SHARE_ANY ? value_null() : value_int((int64_t)b->rate);
}

value *bits_mover_status(bits_manager *m) {
  bits_mover *v = m->mover;
  value *s = value_map();
  if (v == NULL || s == NULL) return s;
  size_t waiting = 0;
  uint64_t now = mover_now(m);
  value *gates = show_gates(v, now, &waiting);
  for (unsigned l = 0; l < MOVER_LEVELS; l++) waiting += v->ring[l].count;
  share_rates(v);
  if (value_put(s, "active", value_int((int64_t)v->active)) &&
      value_put(s, "waiting", value_int((int64_t)waiting)) &&
      value_put(s, "gates", gates) &&
      value_put(s, "down", show_rate(&v->down)) &&
      value_put(s, "up", show_rate(&v->up)))
    return s;
  value_free(s);
  return NULL;
}
