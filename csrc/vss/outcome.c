/*
** What is told of a set in the end: how long it was held, how far apart its
** members are, who took part.
*/
#include "vss/shooting.h"

static double seconds_between(uint64_t from, uint64_t to) {
  return to > from ? (double)(to - from) / 1e9 : 0;
}

/* Two that were frozen at one time are of one instant; else the skew is what
   lies between their commits. */
static double skew(const shadow *a, const shadow *b) {
  bool held = a->frozen_at != 0 && b->frozen_at != 0;
  if (held && a->frozen_at < b->thawed_at && b->frozen_at < a->thawed_at)
    return 0;
  uint64_t from =
      a->commit_begin < b->commit_begin ? a->commit_begin : b->commit_begin;
  uint64_t to = a->commit_end > b->commit_end ? a->commit_end : b->commit_end;
  return seconds_between(from, to);
}

static bool put_skews(value *v, const session *s) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->member_count; i++)
    for (size_t k = i + 1; good && k < s->member_count; k++) {
      value *one = value_map();
      good = one != NULL &&
             value_put(one, "a", value_text(s->members[i]->given)) &&
             value_put(one, "b", value_text(s->members[k]->given)) &&
             value_put(one, "seconds",
                       value_real(skew(s->members[i], s->members[k])));
      if (good)
        good = value_add(list, one);
      else
        value_free(one);
    }
  if (good) return value_put(v, "skew", list);
  value_free(list);
  return false;
}

static bool put_members(value *v, const session *s) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->member_count; i++) {
    value *record = member_record(s, s->members[i], "created");
    good = record != NULL && value_add(list, shadows_properties(record));
    value_free(record);
  }
  if (good) return value_put(v, "snapshots", list);
  value_free(list);
  return false;
}

static bool put_writers(value *v, const session *s) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->seat_count; i++) {
    const seat *t = s->seats[i];
    if (!t->selected) continue;
    value *one = value_map();
    good = one != NULL && value_put(one, "id", value_text(t->w->id)) &&
           value_put(one, "instance", value_text(t->w->instance)) &&
           value_put(one, "name", value_text(seat_title(t))) &&
           said_put(one, t) &&
           value_put(one, "state", value_int((int64_t)t->state)) &&
           value_put(one, "failure", value_int((int64_t)t->failure));
    if (good)
      good = value_add(list, one);
    else
      value_free(one);
  }
  if (good) return value_put(v, "writers", list);
  value_free(list);
  return false;
}

/* What was held, or taken, from when to when on the engine's clock. Takes over
   `one`, of which NULL is no memory. */
static bool put_span(value *list, value *one, uint64_t from, uint64_t to) {
  if (one != NULL && value_put(one, "from", value_real((double)from / 1e9)) &&
      value_put(one, "to", value_real((double)to / 1e9)))
    return value_add(list, one);
  value_free(one);
  return false;
}

static value *writer_span(const seat *t) {
  value *one = value_map();
  if (one != NULL && value_put(one, "name", value_text(seat_title(t))) &&
      value_put(one, "instance", value_text(t->w->instance)) &&
      value_put(one, "asked", value_real((double)t->asked_at / 1e9)))
    return one;
  value_free(one);
  return NULL;
}

static value *volume_span(const shadow *m, bool frozen) {
  value *one = value_map();
  if (one != NULL && value_put(one, "path", value_text(m->given)) &&
      value_put(one, "frozen", value_bool(frozen)))
    return one;
  value_free(one);
  return NULL;
}

static bool put_writer_spans(value *times, const session *s) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->seat_count; i++) {
    const seat *t = s->seats[i];
    if (t->selected && t->still_at != 0 && t->went_at != 0)
      good = put_span(list, writer_span(t), t->still_at, t->went_at);
  }
  if (good) return value_put(times, "writers", list);
  value_free(list);
  return false;
}

/* One that nobody froze is taken while its writers hold still. */
static bool put_volume_spans(value *times, const session *s) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < s->member_count; i++) {
    const shadow *m = s->members[i];
    bool frozen = m->stalled_at != 0 && m->thawed_at > m->stalled_at;
    good = put_span(list, volume_span(m, frozen),
                    frozen ? m->stalled_at : m->commit_begin,
                    frozen ? m->thawed_at : m->commit_end);
  }
  if (good) return value_put(times, "volumes", list);
  value_free(list);
  return false;
}

static bool put_times(value *v, const session *s) {
  value *times = value_map();
  if (times != NULL && put_writer_spans(times, s) && put_volume_spans(times, s))
    return value_put(v, "times", times);
  value_free(times);
  return false;
}

value *shooting_outcome(const work *w) {
  const session *s = w->s;
  const shooting *g = w->more;
  value *v = value_map();
  /* Without a writer that was told to freeze it never began. */
  double held =
      g->held_from != 0 ? seconds_between(g->held_from, g->held_to) : 0;
  double rehearsed = 0;
  for (size_t i = 0; i < s->member_count; i++) {
    const shadow *m = s->members[i];
    double own = seconds_between(m->stalled_at, m->thawed_at);
    if (own > held) held = own;
    own = (double)m->rehearsed / 1e9;
    if (own > rehearsed) rehearsed = own;
  }
  bool good = v != NULL && value_put(v, "set", value_text(s->set)) &&
              value_put(v, "held", value_real(held)) &&
              value_put(v, "rehearsed", value_real(rehearsed)) &&
              put_skews(v, s) && put_members(v, s) && put_writers(v, s) &&
              put_times(v, s);
  if (good) return v;
  value_free(v);
  return NULL;
}
