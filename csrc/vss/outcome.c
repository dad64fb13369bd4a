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
              put_skews(v, s) && put_members(v, s) && put_writers(v, s);
  if (good) return v;
  value_free(v);
  return NULL;
}
