/*
** Telling several writers at once: see telling.h. Each telling is an operation;
** its end sets a flag under the engine's lock, so that the machine may go as
** soon as it has seen every flag.
*/
#include "vss/telling.h"

#include <string.h>

typedef struct ask {
  watch w;
  timer t;
  telling *r;
  seat *s;
  saros_op *op; /* NULL: it could not be told, or was heard and let go */
  _Atomic bool over;
  bool late;    /* its time is up */
  bool given;   /* up: cancelled by us */
  bool decided; /* the seat says how it went */
} ask;

struct telling {
  machine *m;
  writer_event event;
  bool probes; /* only whether they are there */
  size_t count, undecided;
  ask asks[];
};

static void ask_over(watch *w) {
  ask *a = (ask *)w;
  machine_wake_flag(a->r->m, &a->over);
}

static const watch_way ask_way = {.after = ask_over};

static void ask_late(timer *t) {
  ask *a = (ask *)((char *)t - offsetof(ask, t));
  a->late = true; /* on the engine thread, like every step */
  machine_wake(a->r->m);
}


/* ------------------------------------------------------------------
** What an answer means
** ---------------------------------------------------------------- */

static writer_state state_after(writer_event event) {
  switch (event) {
    case EVENT_PREPARE_SNAPSHOT: return WRITER_WAITING_FOR_FREEZE;
    case EVENT_FREEZE: return WRITER_WAITING_FOR_THAW;
    case EVENT_THAW: return WRITER_WAITING_FOR_POST_SNAPSHOT;
    case EVENT_POST_SNAPSHOT: return WRITER_WAITING_FOR_BACKUP_COMPLETE;
    default: return WRITER_STABLE;
  }
}

static writer_state state_failed(writer_event event) {
  switch (event) {
    case EVENT_IDENTIFY: return WRITER_FAILED_AT_IDENTIFY;
    case EVENT_PREPARE_BACKUP: return WRITER_FAILED_AT_PREPARE_BACKUP;
    case EVENT_PREPARE_SNAPSHOT: return WRITER_FAILED_AT_PREPARE_SNAPSHOT;
    case EVENT_FREEZE: return WRITER_FAILED_AT_FREEZE;
    case EVENT_THAW: return WRITER_FAILED_AT_THAW;
    case EVENT_POST_SNAPSHOT: return WRITER_FAILED_AT_POST_SNAPSHOT;
    case EVENT_BACKUP_COMPLETE: return WRITER_FAILED_AT_BACKUP_COMPLETE;
    case EVENT_BACKUP_SHUTDOWN: return WRITER_FAILED_AT_BACKUPSHUTDOWN;
    case EVENT_PRE_RESTORE: return WRITER_FAILED_AT_PRE_RESTORE;
    case EVENT_POST_RESTORE: return WRITER_FAILED_AT_POST_RESTORE;
    default: return WRITER_UNKNOWN;
  }
}

/* As GatherWriterStatus may report it. */
static uint32_t failure_of(uint32_t code, const error *why) {
  bool own = code >= VSS_E_WRITERERROR_INCONSISTENTSNAPSHOT &&
             code <= VSS_E_WRITERERROR_INCONSISTENTSNAPSHOT + 5;
  if (own || code == VSS_E_WRITERERROR_PARTIAL_FAILURE ||
      code == VSS_E_WRITER_NOT_RESPONDING ||
      code == VSS_E_WRITER_STATUS_NOT_AVAILABLE)
    return code;
  return why != NULL && why->retryable ? VSS_E_WRITERERROR_RETRYABLE
                                       : VSS_E_WRITERERROR_NONRETRYABLE;
}

/* The first failure stays: what comes of it later explains less. */
static void seat_fails(telling *r, seat *s, uint32_t code, error *why) {
  if (s->failure != 0) {
    error_unref(why);
    return;
  }
  s->failure = failure_of(code, why);
  s->why = why;
  if (r->event != EVENT_ABORT) s->state = state_failed(r->event);
}

/* Nothing is known of it any more. What had become of it before says more. */
static void seat_is_gone(seat *s, error *why) {
  if (s->failure != 0) {
    error_unref(why);
    return;
  }
  s->failure = VSS_E_WRITER_NOT_RESPONDING;
  s->state = WRITER_UNKNOWN;
  s->why = why;
}

static const char *seat_name(const seat *s) {
  return s->w->name != NULL ? s->w->name : s->w->id;
}

/* A refusal is an answer, too. */
static void decide_asked(ask *a) {
  seat *s = a->s;
  error *why = NULL;
  if (a->given && a->late)
    why = vss_error(VSS_E_WRITER_NOT_RESPONDING,
                    "the writer \"%s\" did not answer when it was asked how it "
                    "fares; look whether its process hangs",
                    seat_name(s));
  else if (!a->given && s->link != NULL && s->w->way->alive != NULL)
    why = s->w->way->alive(s->link);
  if (why != NULL) seat_is_gone(s, why);
}

/* What it says of itself at identify is looked at later. */
static void consented(telling *r, ask *a) {
  seat *s = a->s;
  error *e = NULL;
  if (r->event != EVENT_IDENTIFY) e = said_add(&s->said, op_output(a->op));
  if (e != NULL)
    seat_fails(r, s, e->code, e);
  else if (s->failure == 0)
    s->state = state_after(r->event);
  if (r->event == EVENT_FREEZE) s->still_at = engine_clock();
  if (r->event == EVENT_THAW) s->went_at = engine_clock();
}

static void decide(telling *r, ask *a) {
  seat *s = a->s;
  a->decided = true;
  r->undecided--;
  if (a->op == NULL) return; /* it is known already why */
  if (r->probes) {
    decide_asked(a);
  } else if (a->given && a->late) {
    seat_fails(r, s, VSS_E_WRITERERROR_TIMEOUT,
               vss_error(VSS_E_WRITERERROR_TIMEOUT,
                         "the writer \"%s\" did not answer %s in time",
                         seat_name(s), writer_event_name(r->event)));
  } else if (a->given) {
    seat_fails(r, s, VSS_E_WRITERERROR_RETRYABLE,
               vss_error(VSS_E_WRITERERROR_RETRYABLE,
                         "%s of the writer \"%s\" was given up",
                         writer_event_name(r->event), seat_name(s)));
  } else if (saros_op_state(a->op) == SAROS_SUCCEEDED) {
    consented(r, a);
  } else {
    error *why = op_error(a->op);
    uint32_t code = why != NULL ? why->code : saros_op_code(a->op);
    seat_fails(r, s, code, why);
  }
}

/* What a writer says of itself counts only after it was checked. */
static void identified(telling *r, ask *a) {
  seat *s = a->s;
  error *e = NULL;
  if (s->failure != 0 || a->op == NULL) return;
  value *clean = writer_metadata(op_output(a->op), s->w->id, &e);
  if (clean == NULL) {
    seat_fails(r, s, VSS_E_WRITERERROR_NONRETRYABLE, e);
    return;
  }
  value_free(s->metadata);
  s->metadata = clean;
}


/* ------------------------------------------------------------------
** Beginning
** ---------------------------------------------------------------- */

static double limit_of(const telling *r, seat *s, double seconds) {
  if (r->event != EVENT_FREEZE) return seconds;
  s->told_freeze = true;
  return s->window > 0 ? s->window : seconds;
}

static value *details_of(const telling *r, const seat *s, const value *base,
                         double seconds) {
  value *d = base != NULL ? value_copy(base) : value_map();
  bool good = d != NULL &&
              value_put(d, "event", value_text(writer_event_name(r->event))) &&
              value_put(d, "deadline", value_real(seconds));
  if (good && s->components != NULL)
    good = value_put(d, "components", value_copy(s->components));
  if (good && s->succeeded != NULL &&
      (r->event == EVENT_BACKUP_COMPLETE || r->event == EVENT_POST_RESTORE))
    good = value_put(d, "succeeded", value_copy(s->succeeded));
  if (good) return d;
  value_free(d);
  return NULL;
}

static void tell(telling *r, ask *a, const value *base, double seconds) {
  seat *s = a->s;
  error *e = NULL;
  seconds = limit_of(r, s, seconds);
  uint64_t deadline = engine_clock() + (uint64_t)(seconds * 1e9);
  if (r->event == EVENT_PREPARE_BACKUP) s->told_prepare = true;
  if (r->event == EVENT_PREPARE_SNAPSHOT) s->told_snapshot = true;
  if (r->event == EVENT_FREEZE) {
    s->window_end = deadline;
    s->asked_at = engine_clock();
    s->still_at = s->went_at = 0;
  }
  if (r->event == EVENT_ABORT) s->unheard = false;
  value *details = details_of(r, s, base, seconds);
  writer_call call = {.event = r->event,
                      .of = r->m->op,
                      .details = details,
                      .deadline = deadline};
  if (details == NULL) e = error_no_memory();
  if (e == NULL && s->link == NULL) {
    const value *session = value_get(details, "session");
    s->link = s->w->way->connect(s->w, value_chars(session, ""), &e);
  }
  if (e == NULL) a->op = s->w->way->tell(s->link, &call, &e);
  value_free(details);
  if (a->op == NULL) {
    if (e == NULL)
      e = vss_error(VSS_E_WRITER_NOT_RESPONDING,
                    "the writer \"%s\" could not be told", seat_name(s));
    s->unheard = r->event == EVENT_ABORT && e->code == SAROS_E_OUTOFMEMORY;
    if (r->probes && e->code != SAROS_E_OUTOFMEMORY)
      seat_is_gone(s, e);
    else if (r->probes) /* that is our trouble, and no news of it */
      error_unref(e);
    else
      seat_fails(r, s, e->code, e);
    a->over = true;
    return;
  }
  a->w.way = &ask_way;
  a->w.op = a->op;
  if (!watch_add(&a->w, a->op)) {
    a->over = true;
    return;
  }
  a->t.fire = ask_late;
  timer_set(&a->t, deadline);
}

static telling *begin(machine *m, writer_event event, bool probes,
                      seat *const *seats, size_t count, const value *details,
                      double seconds) {
  telling *r = mem_zero(sizeof *r + count * sizeof *r->asks);
  if (r == NULL) return NULL;
  r->m = m;
  r->event = event;
  r->probes = probes;
  r->count = r->undecided = count;
  for (size_t i = 0; i < count; i++) {
    r->asks[i].r = r;
    r->asks[i].s = seats[i];
    tell(r, &r->asks[i], details, seconds);
  }
  machine_wake(m); /* some may be over already */
  return r;
}

telling *telling_begin(machine *m, writer_event event, seat *const *seats,
                       size_t count, const value *details, double seconds) {
  return begin(m, event, false, seats, count, details, seconds);
}

telling *telling_ask(machine *m, seat *const *seats, size_t count,
                     const value *details, double seconds) {
  return begin(m, EVENT_IDENTIFY, true, seats, count, details, seconds);
}


/* ------------------------------------------------------------------
** Going on
** ---------------------------------------------------------------- */

static void give_up(ask *a) {
  if (a->given || a->op == NULL || atomic_load(&a->over)) return;
  a->given = true;
  op_try_cancel(a->op);
}

static void look(telling *r, ask *a) {
  bool over = atomic_load(&a->over);
  if (a->late && !over) give_up(a);
  if (!a->decided && (over || a->given)) {
    decide(r, a);
    if (r->event == EVENT_IDENTIFY && !r->probes && !a->given) identified(r, a);
  }
  if (!over || a->op == NULL) return;
  timer_cancel(&a->t);
  saros_op_unref(a->op);
  a->op = NULL;
}

bool telling_decided(telling *r) {
  for (size_t i = 0; i < r->count; i++) look(r, &r->asks[i]);
  return r->undecided == 0;
}

bool telling_drained(telling *r) {
  if (!telling_decided(r)) return false;
  for (size_t i = 0; i < r->count; i++)
    if (!atomic_load(&r->asks[i].over)) return false;
  return true;
}

void telling_cancel(telling *r) {
  for (size_t i = 0; i < r->count; i++)
    if (!r->asks[i].decided) give_up(&r->asks[i]);
}

void telling_free(telling *r) {
  mem_free(r);
}
