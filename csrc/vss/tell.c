/*
** The methods that are one telling: metadata, prepare, status, complete, and
** those of a restore.
*/
#include <string.h>

#include "base/log.h"
#include "vss/session_parts.h"

enum { FIND, FINDING, ASK, ASKING, LEAVE, LEFT };

static bool everybody(const seat *t) {
  (void)t;
  return true;
}

/* The session has set `selected` to who takes part before it tells anybody. */
static bool partners(const seat *t) {
  return t->selected && t->metadata != NULL && t->failure == 0;
}

static void choose_partners(session *s) {
  for (size_t i = 0; i < s->seat_count; i++)
    s->seats[i]->selected = session_takes_part(s, s->seats[i]);
}

/* Of the vetoes of the last telling: the error the operation ends with. */
static error *veto(const session *s, const char *when) {
  for (size_t i = 0; i < s->seat_count; i++) {
    const seat *t = s->seats[i];
    if (!t->selected || t->failure == 0) continue;
    if (s->ignore_vetoes && !t->required) continue;
    error *e = vss_error(VSS_E_UNEXPECTED_WRITER_ERROR,
                         "the writer \"%s\" failed at %s: %s", seat_title(t),
                         when, t->why != NULL ? t->why->message : "it said no");
    return t->why != NULL ? error_because(e, error_ref(t->why)) : e;
  }
  return NULL;
}

/* It has succeeded, and cannot be cancelled any more. False: it has not. */
static bool did_it(work *w, uint32_t bits) {
  if (w->why != NULL || !saros_op_point_of_no_return(w->m.op)) return false;
  pthread_mutex_lock(&w->s->lock);
  w->s->did |= bits;
  pthread_mutex_unlock(&w->s->lock);
  return true;
}


/* ------------------------------------------------------------------
** GatherWriterMetadata
** ---------------------------------------------------------------- */

typedef struct found {
  writer_list list;
} found;

static void find_job(machine_job *mj) {
  work *w = (work *)mj->m;
  found *f = w->more;
  error *e = NULL;
  places *at = session_places(w->s, &e);
  if (at != NULL) e = wire_find(at->writers, &f->list);
  if (at != NULL) places_unref(at);
  job_fails(w, e);
}

static bool are_texts(const value *list) {
  if (list->type != VALUE_LIST) return false;
  for (uint32_t i = 0; i < list->count; i++)
    if (list->as.items[i]->type != VALUE_STRING) return false;
  return true;
}

/* Whoever requires a writer must not be taken not to. */
static error *check_choice(const value *args) {
  static const char *const names[] = {"require", "exclude"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const value *list = value_get(args, names[i]);
    if (list != NULL && list->type != VALUE_NULL && !are_texts(list))
      return vss_error(
          SAROS_E_INVALIDARG,
          "gather_writer_metadata: \"%s\" must be a list of names, "
          "ids or instances of writers",
          names[i]);
  }
  return NULL;
}

static bool listed(const value *list, const char *id) {
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcasecmp(value_chars(list->as.items[i], ""), id) == 0) return true;
  return false;
}

/* By id, instance or name: a list that a person wrote. */
static bool named_in(const value *list, const writer *wr) {
  return listed(list, wr->id) || listed(list, wr->instance) ||
         (wr->name != NULL && listed(list, wr->name));
}

static bool wanted(const work *w, const writer *wr) {
  const value *enabled = value_get(w->s->filters, "enabled");
  if (enabled != NULL && !listed(enabled, wr->id)) return false;
  if (listed(value_get(w->s->filters, "disabled"), wr->id)) return false;
  if (listed(value_get(w->s->filters, "instances"), wr->instance)) return false;
  return !named_in(value_get(w->args, "exclude"), wr);
}

static bool seat_for(session *s, writer *wr) {
  seat *t = mem_zero(sizeof *t);
  seat **grown = mem_grow(s->seats, (s->seat_count + 1) * sizeof *grown);
  if (grown != NULL) s->seats = grown;
  if (t == NULL || grown == NULL) {
    mem_free(t);
    return false;
  }
  t->w = writer_ref(wr);
  t->state = WRITER_UNKNOWN;
  t->level = LEVEL_FRONT_END;
  s->seats[s->seat_count++] = t;
  return true;
}

static void take_seats(work *w) {
  found *f = w->more;
  writer_list local = {0};
  bool good = writer_local(&local);
  for (size_t i = 0; good && i < local.count; i++)
    if (wanted(w, local.items[i])) good = seat_for(w->s, local.items[i]);
  for (size_t i = 0; good && i < f->list.count; i++)
    if (wanted(w, f->list.items[i])) good = seat_for(w->s, f->list.items[i]);
  writer_list_free(&local);
  writer_list_free(&f->list);
  if (!good) work_fails(w, error_no_memory());
}

static writer_level level_of(const value *metadata) {
  const value *v = value_get(metadata, "level");
  const char *name = value_chars(v, "front_end");
  if (strcmp(name, "system") == 0) return LEVEL_SYSTEM;
  if (strcmp(name, "back_end") == 0) return LEVEL_BACK_END;
  if (strcmp(name, "system_rm") == 0) return LEVEL_SYSTEM_RM;
  return LEVEL_FRONT_END;
}

static void learn(const work *w, seat *t) {
  const value *window = value_get(t->metadata, "freeze_timeout");
  t->level = level_of(t->metadata);
  t->window = w->s->times.freeze;
  if (window != NULL && window->type == VALUE_INT)
    t->window = (double)window->as.integer;
  if (window != NULL && window->type == VALUE_REAL) t->window = window->as.real;
  /* Whoever asks may be less patient than who is asked. */
  if (t->window > w->s->times.freeze) t->window = w->s->times.freeze;
}

static bool is_named(const seat *t, const char *name) {
  return strcasecmp(t->w->id, name) == 0 ||
         strcasecmp(t->w->instance, name) == 0 ||
         strcmp(seat_title(t), name) == 0;
}

/* By the name it gave itself only now. */
static bool excluded(const work *w, const seat *t) {
  const value *list = value_get(w->args, "exclude");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (is_named(t, value_chars(list->as.items[i], ""))) return true;
  return false;
}

/* For the result: a person must see that an application was not asked. */
static value *left_out(const seat *t) {
  value *v = value_map();
  char number[11];
  const char *why = t->why != NULL ? t->why->message : "it did not answer";
  const char *name = code_name(SAROS_FACADE_VSS, t->failure, number);
  bool good = v != NULL && value_put(v, "id", value_text(t->w->id)) &&
              value_put(v, "instance", value_text(t->w->instance)) &&
              value_put(v, "name", value_text(seat_title(t))) &&
              value_put(v, "code", value_int((int64_t)t->failure)) &&
              value_put(v, "code_name", value_text(name)) &&
              value_put(v, "message", value_text(why));
  if (good) return v;
  value_free(v);
  return NULL;
}

/* Whoever could not say who he is, is not there. */
static void keep_the_known(work *w) {
  session *s = w->s;
  value *list = value_list();
  w->output = value_map();
  if (list == NULL || w->output == NULL) work_fails(w, error_no_memory());
  for (size_t i = 0; i < s->seat_count;) {
    seat *t = s->seats[i];
    if (t->metadata != NULL && t->failure == 0 && !excluded(w, t)) {
      learn(w, t);
      i++;
      continue;
    }
    if (t->failure != 0 && !excluded(w, t)) {
      log_write(LOG_WARNING, "vss", "the writer %s is left out: %s",
                seat_title(t), t->why != NULL ? t->why->message : "no answer");
      if (w->why == NULL && !value_add(list, left_out(t)))
        work_fails(w, error_no_memory());
    }
    seat_free(s, i);
  }
  if (w->why != NULL)
    value_free(list);
  else if (!value_put(w->output, "left_out", list))
    work_fails(w, error_no_memory());
}

/* Whoever was left out by that name; NULL: nobody. */
static const value *named_left_out(const value *list, const char *name) {
  static const char *const names[] = {"name", "id", "instance"};
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
      const value *one = list->as.items[i];
      const char *its = value_chars(value_get(one, names[k]), "");
      if (k == 0 ? strcmp(its, name) == 0 : strcasecmp(its, name) == 0)
        return one;
    }
  return NULL;
}

static error *is_missing(const work *w, const char *name) {
  const value *one = named_left_out(value_get(w->output, "left_out"), name);
  if (one == NULL)
    return vss_error(VSS_E_WRITER_INFRASTRUCTURE,
                     "the writer \"%.100s\" is required, and was not found: "
                     "start it, and look who else is in its directory",
                     name);
  return vss_error(
      VSS_E_WRITER_INFRASTRUCTURE,
      "the writer \"%.100s\" is required, and could not say who it "
      "is: %s",
      name, value_chars(value_get(one, "message"), ""));
}

static void look_for_required(work *w) {
  const value *list = value_get(w->args, "require");
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    const char *name = value_chars(list->as.items[i], "");
    bool there = false;
    for (size_t k = 0; k < w->s->seat_count; k++)
      if (is_named(w->s->seats[k], name))
        there = w->s->seats[k]->required = true;
    if (!there) work_fails(w, is_missing(w, name));
  }
}

/* What was given up and still runs looks at no seat any more. */
static void settle(work *w) {
  if (w->more != NULL) writer_list_free(&((found *)w->more)->list);
  if (w->why == NULL && !work_cancelled(w)) keep_the_known(w);
  if (w->why == NULL && !work_cancelled(w)) look_for_required(w);
  if (did_it(w, DID_IDENTIFY)) return;
  seats_free(w->s);
  value_free(w->output);
  w->output = NULL;
}

STEP(gather_writer_metadata) {
  work *w = (work *)m;
  switch (w->stage) {
    case FIND: /* a job looks for sockets: FINDING */
      op_phase_literal(m->op, "looking for writers");
      work_fails(w, check_choice(w->args));
      w->more = mem_zero(sizeof(found));
      if (w->more == NULL) work_fails(w, error_no_memory());
      if (w->why == NULL) work_submit(w, find_job);
      w->stage = FINDING;
      return STEP_AGAIN;
    case FINDING: /* it is back: ASK */
      if (!work_job_back(w)) return STEP_WAIT;
      w->stage = w->why == NULL && !work_cancelled(w) ? ASK : LEAVE;
      return STEP_AGAIN;
    case ASK: /* everybody says who he is: ASKING */
      take_seats(w);
      op_phase_literal(m->op, "identify");
      saros_op_progress(m->op, 1, 3);
      if (w->why == NULL)
        work_tell(w, EVENT_IDENTIFY, everybody, "identify",
                  w->s->times.identify);
      w->stage = ASKING;
      return STEP_AGAIN;
    case ASKING: /* all have: LEAVE */
      if (work_cancelled(w) && w->asking != NULL) telling_cancel(w->asking);
      if (!work_told(w)) return STEP_WAIT;
      w->stage = LEAVE;
      return STEP_AGAIN;
    case LEAVE: /* those who did not stay away: LEFT */
      settle(w);
      w->stage = LEFT;
      return STEP_AGAIN;
    default: break;
  }
  return work_end(w);
}


/* ------------------------------------------------------------------
** Those that only tell
** ---------------------------------------------------------------- */

/* Also when it fails: then somebody wants to know who it was. */
static void did_tell(session *s) {
  pthread_mutex_lock(&s->lock);
  s->did |= DID_TELL;
  pthread_mutex_unlock(&s->lock);
}

/* `bit` is set when it has worked. A veto is the operation's failure only
   where `vetoes` says so: else GatherWriterStatus tells. */
static step_result plain(machine *m, writer_event event, const char *phase,
                         double seconds, uint32_t bit, bool vetoes) {
  work *w = (work *)m;
  switch (w->stage) {
    case FIND:
      op_phase_literal(m->op, phase);
      did_tell(w->s);
      choose_partners(w->s);
      work_tell(w, event, partners, phase, seconds);
      w->stage = ASKING;
      return STEP_AGAIN;
    case ASKING:
      if (work_cancelled(w) && w->asking != NULL) telling_cancel(w->asking);
      if (!work_told(w)) return STEP_WAIT;
      if (vetoes && w->why == NULL) work_fails(w, veto(w->s, phase));
      did_it(w, bit);
      w->stage = LEFT;
      return STEP_AGAIN;
    default: break;
  }
  return work_end(w);
}

STEP(prepare_for_backup) {
  work *w = (work *)m;
  return plain(m, EVENT_PREPARE_BACKUP, "prepare_backup", w->s->times.prepare,
               DID_PREPARE, true);
}

/* After the thaw a veto marks the writer, never the set. */
STEP(backup_complete) {
  work *w = (work *)m;
  return plain(m, EVENT_BACKUP_COMPLETE, "backup_complete",
               w->s->times.complete, DID_COMPLETE, false);
}

STEP(pre_restore) {
  work *w = (work *)m;
  return plain(m, EVENT_PRE_RESTORE, "pre_restore", w->s->times.prepare,
               DID_PRE, true);
}

STEP(post_restore) {
  work *w = (work *)m;
  return plain(m, EVENT_POST_RESTORE, "post_restore", w->s->times.complete,
               DID_POST, false);
}

/* Who is not there any more does not know how the backup goes on; what had
   become of him before explains more. */
static void look_whether_alive(seat *t) {
  const writer_way *way = t->w->way;
  if (t->failure != 0 || t->link == NULL || way->alive == NULL) return;
  error *e = way->alive(t->link);
  if (e == NULL) return;
  t->failure = VSS_E_WRITER_NOT_RESPONDING;
  t->state = WRITER_UNKNOWN;
  t->why = e;
}

static bool may_hang(const seat *t) {
  return t->failure == 0 && t->link != NULL && t->w->way->asked;
}

/* What became of a writer is known here: it was told, and has answered. Who
   has gone since is seen, or, where a process may hang, asked. */
STEP(gather_writer_status) {
  work *w = (work *)m;
  switch (w->stage) {
    case FIND:
      op_phase_literal(m->op, "status");
      for (size_t i = 0; i < w->s->seat_count; i++)
        look_whether_alive(w->s->seats[i]);
      work_ask(w, may_hang, w->s->times.identify);
      w->stage = ASKING;
      return STEP_AGAIN;
    case ASKING:
      if (work_cancelled(w) && w->asking != NULL) telling_cancel(w->asking);
      if (!work_told(w)) return STEP_WAIT;
      did_it(w, DID_STATUS);
      w->stage = LEFT;
      return STEP_AGAIN;
    default: break;
  }
  return work_end(w);
}

/* No revert runs in the background: revert_to_snapshot returns when it is
   done, so that there is never one to be watched. */
STEP(query_revert_status) {
  work *w = (work *)m;
  if (!work_cancelled(w))
    work_fails(w, vss_error(VSS_E_OBJECT_NOT_FOUND,
                            "no revert is going on for \"%.200s\"",
                            value_chars(value_get(w->args, "volume"), "")));
  return work_end(w);
}
