/*
** DoSnapshotSet: the writers prepare and hold still, level by level; the file
** systems that need it are frozen; every shadow is taken; and all is let go in
** reverse. Whatever goes wrong at whichever step, the way out is one: thaw the
** file systems, tell the writers Abort, take away what was half made.
*/
#include "vss/shooting.h"

/* What comes next is written at each. Every one of them goes to UNDO when
   something has failed or it was cancelled. */
enum {
  BEGIN,         /* writers are told to prepare: PREPARE_ASKED */
  PREPARE_ASKED, /* all have: the providers plan and prepare: PREPARING */
  PREPARING,     /* they are back: the hold is planned, the guard armed:
                    PLANNING */
  PLANNING,      /* it is, and every record is on disk: when writers will wait
                    for it the freeze is rehearsed: REHEARSING; else FREEZE */
  REHEARSING,    /* all is thawed again: FREEZE */
  FREEZE,        /* a level is told, the next highest: FREEZE_ASKED; no level
                    is left: the file systems: HOLDING */
  FREEZE_ASKED,  /* it holds still: FREEZE */
  HOLDING,       /* they are frozen: the shadows are taken: COMMITTING */
  COMMITTING,    /* they are: the file systems are let go: RELEASING */
  RELEASING,     /* they are: THAW */
  THAW,          /* a level is told, in reverse: THAW_ASKED; none is left:
                    those who had failed are told Abort: REST_ASKED */
  THAW_ASKED,    /* it goes on: THAW */
  REST_ASKED,    /* shadows are made readable: FINISHING */
  FINISHING,     /* they are: post_snapshot: POST_ASKED */
  POST_ASKED,    /* all have: LEAVE */
  LEAVE,         /* the end of a success; UNDO when it is cancelled just now */
  UNDO,          /* what was asked is given up; the file systems are let go:
                    UNDO_RELEASE */
  UNDO_RELEASE,  /* they are: Abort is told: UNDO_ASKED */
  UNDO_ASKED,    /* all have heard (who could not be told: once more);
                    jobs that still run come back: UNDO_JOBS */
  UNDO_JOBS,     /* they are: what was made is taken away: UNDO_DESTROY */
  UNDO_DESTROY,  /* it is: END */
  END
};

static const writer_level levels[] = {LEVEL_FRONT_END, LEVEL_BACK_END,
                                      LEVEL_SYSTEM, LEVEL_SYSTEM_RM};
#define LEVELS 4
#define ABORT_TRIES 20
#define ABORT_PAUSE 100000000 /* nanoseconds */


/* ------------------------------------------------------------------
** Writers
** ---------------------------------------------------------------- */

static bool due(const seat *t) {
  return t->due;
}

/* Picks those of a level; false when there is none. */
static bool pick(session *s, writer_level level, bool thaw) {
  bool any = false;
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    writer_level own = t->level != LEVEL_UNKNOWN ? t->level : LEVEL_FRONT_END;
    t->due = t->selected && t->metadata != NULL && t->failure == 0 &&
             own == level && t->told_freeze == thaw;
    any = any || t->due;
  }
  return any;
}

/* Whether any will be told to hold still. */
static bool somebody_waits(session *s) {
  for (size_t i = 0; i < LEVELS; i++)
    if (pick(s, levels[i], false)) return true;
  return false;
}

static void pick_partners(session *s) {
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    t->selected = session_takes_part(s, t);
    t->due = t->selected && t->failure == 0;
  }
}

/* Those who must hear Abort: all that were told of this backup, or only those
   who failed at the set. */
static void pick_abort(session *s, bool failed_only) {
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    t->due = t->told_snapshot || (t->told_prepare && !failed_only);
    if (failed_only && t->failure == 0) t->due = false;
    if (t->due) t->told_snapshot = t->told_freeze = false;
  }
}

static error *veto(const session *s) {
  for (size_t i = 0; i < s->seat_count; i++) {
    const seat *t = s->seats[i];
    if (!t->selected || t->failure == 0) continue;
    if (s->ignore_vetoes && !t->required) continue;
    error *e = vss_error(VSS_E_UNEXPECTED_WRITER_ERROR,
                         "the writer \"%s\" failed: %s", seat_title(t),
                         t->why != NULL ? t->why->message : "it said no");
    return t->why != NULL ? error_because(e, error_ref(t->why)) : e;
  }
  return NULL;
}

/* The writers have answered; whoever said no, and may, ends it. */
static bool heard(work *w) {
  if (!work_told(w)) return false;
  work_fails(w, veto(w->s));
  return true;
}

static void window_over(timer *t) {
  shooting *g = (shooting *)((char *)t - offsetof(shooting, window));
  g->windowed = false;
  machine_wake(&g->w->m);
}

static void window_drop(shooting *g) {
  if (g->windowed) timer_cancel(&g->window);
  g->windowed = false;
}

/* The earliest end of a freeze that was not thawed yet. */
static void window_set(work *w) {
  shooting *g = w->more;
  uint64_t first = UINT64_MAX;
  for (size_t i = 0; i < w->s->seat_count; i++) {
    const seat *t = w->s->seats[i];
    if (t->state == WRITER_WAITING_FOR_THAW && t->window_end < first)
      first = t->window_end;
  }
  window_drop(g);
  if (first == UINT64_MAX) return;
  g->window.fire = window_over;
  g->w = w;
  g->windowed = true;
  timer_set(&g->window, first);
}

/* A writer holds still for as long as it said, and no longer. */
static void window_check(work *w) {
  uint64_t now = engine_clock();
  for (size_t i = 0; i < w->s->seat_count; i++) {
    seat *t = w->s->seats[i];
    if (t->state != WRITER_WAITING_FOR_THAW || now < t->window_end) continue;
    error *e = vss_error(VSS_E_WRITERERROR_TIMEOUT,
                         "the writer \"%s\" was to be held for %.0f s at most",
                         seat_title(t), t->window);
    t->failure = VSS_E_WRITERERROR_TIMEOUT;
    t->state = WRITER_FAILED_AT_THAW;
    t->why = e;
    work_fails(w, error_because(vss_error(VSS_E_UNEXPECTED_WRITER_ERROR,
                                          "the writer \"%s\" was held too long",
                                          seat_title(t)),
                                error_ref(e)));
  }
}


/* ------------------------------------------------------------------
** The steps
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST
void (*_Atomic coordinator_hook)(int stage);
#endif

static step_result to(work *w, int stage, const char *phase, unsigned percent) {
  w->stage = stage;
#ifdef SAROS_TEST
  void (*hook)(int) = coordinator_hook;
  if (hook != NULL) hook(stage);
#endif
  if (phase != NULL) op_phase_literal(w->m.op, phase);
  if (percent != 0) saros_op_progress(w->m.op, percent, 100);
  return STEP_AGAIN;
}

static double clock_of(uint64_t instant) {
  return (double)instant / 1e9;
}

/* For whoever looks at it: since when somebody holds still, and when the first
   of them is let go whatever happens. */
static void tell_hold(work *w, uint64_t until) {
  shooting *g = w->more;
  if (g->shown_from == 0)
    g->shown_from = g->held_from != 0 ? g->held_from : engine_clock();
  for (size_t i = 0; i < w->s->seat_count; i++) {
    const seat *t = w->s->seats[i];
    if (t->told_freeze && t->window_end < until) until = t->window_end;
  }
  op_set_detail(w->m.op, "held_since", value_real(clock_of(g->shown_from)));
  op_set_detail(w->m.op, "held_until", value_real(clock_of(until)));
}

static void tell_release(work *w) {
  shooting *g = w->more;
  if (g->held_to != 0) return;
  g->held_to = engine_clock();
  if (g->shown_from != 0)
    op_set_detail(w->m.op, "held",
                  value_real(clock_of(g->held_to - g->shown_from)));
}

/* The file systems' turn: nothing is allocated, logged or written from here
   until they are let go. */
static step_result freeze_disks(work *w) {
  shooting *g = w->more;
  g->holds = true;
  tell_hold(w, engine_clock() + (uint64_t)(w->s->times.hold * 1e9));
  hold_freeze(g->hold, &w->m);
  return to(w, HOLDING, "hold", 60);
}

static step_result rehearse_disks(work *w) {
  shooting *g = w->more;
  g->holds = true;
  hold_rehearse(g->hold, &w->m);
  return to(w, REHEARSING, NULL, 46);
}

static step_result freeze_level(work *w) {
  shooting *g = w->more;
  while (g->level < LEVELS && !pick(w->s, levels[g->level], false)) g->level++;
  if (g->level == LEVELS) return freeze_disks(w);
  if (g->held_from == 0) g->held_from = engine_clock();
  work_tell(w, EVENT_FREEZE, due, "freeze", w->s->times.freeze);
  tell_hold(w, UINT64_MAX);
  return to(w, FREEZE_ASKED, "freeze", 50 + 2 * g->level);
}

static step_result thaw_level(work *w) {
  shooting *g = w->more;
  tell_release(w);
  while (g->level > 0 && !pick(w->s, levels[g->level - 1], true)) g->level--;
  if (g->level == 0) {
    window_drop(g);
    pick_abort(w->s, true);
    work_tell(w, EVENT_ABORT, due, "abort", w->s->times.post);
    return to(w, REST_ASKED, NULL, 0);
  }
  g->level--;
  work_tell(w, EVENT_THAW, due, "thaw", w->s->times.freeze);
  return to(w, THAW_ASKED, "thaw", 78);
}

/* Thawed: nobody's window runs any more. */
static void thawed(work *w) {
  for (size_t i = 0; i < w->s->seat_count; i++) {
    seat *t = w->s->seats[i];
    if (!t->due) continue;
    t->told_freeze = false;
    t->held = t->failure == 0;
  }
}

static step_result begin(work *w) {
  session *s = w->s;
  if (w->more == NULL) { /* what may be written to first */
    shooting *g = w->more = mem_zero(sizeof *g);
    pthread_mutex_lock(&s->lock);
    s->did |= DID_TRY;
    pthread_mutex_unlock(&s->lock);
    op_phase_literal(w->m.op, "prepare");
    if (g == NULL)
      work_fails(w, error_no_memory());
    else
      work_submit(w, job_places);
    return STEP_AGAIN;
  }
  if (!work_job_back(w)) return STEP_WAIT;
  if (w->why != NULL || work_cancelled(w)) return to(w, UNDO, NULL, 0);
  shooting *g = w->more;
  g->holding = (hold_options){.runtime = g->at->runtime,
                              .state = g->at->state,
                              .seconds = s->times.hold,
                              .force = s->force};
  for (size_t i = 0; i < s->seat_count; i++) s->seats[i]->held = false;
  pick_partners(s);
  work_tell(w, EVENT_PREPARE_SNAPSHOT, due, "prepare_snapshot",
            s->times.prepare);
  return to(w, PREPARE_ASKED, "prepare", 5);
}

static step_result leave(work *w) {
  session *s = w->s;
  shooting *g = w->more;
  w->output = shooting_outcome(w);
  if (w->output == NULL) work_fails(w, error_no_memory());
  if (w->why != NULL || !saros_op_point_of_no_return(w->m.op))
    return to(w, UNDO, NULL, 0);
  for (size_t i = 0; i < s->member_count; i++) {
    shadow *m = s->members[i];
    if (m->self != NULL) m->provider->forget(m);
    m->self = NULL;
  }
  pthread_mutex_lock(&s->lock);
  s->did |= DID_SHOOT;
  set_lock *l = s->creating;
  s->creating = NULL;
  pthread_mutex_unlock(&s->lock);
  if (l != NULL) set_lock_give(l);
  places_unref(g->at);
  return to(w, END, NULL, 0);
}

/* What failed is decided now: whoever asks hears it, whoever waits hears it
   when all is undone. */
static void decide(work *w) {
  if (w->why == NULL) return;
  w->why = starter_error(w->method, w->why);
  op_end_error(w->m.op, w->why->code, error_ref(w->why));
}

/* There is no set any more: whoever comes next may begin one. */
static void give_up_set(session *s, uint32_t bits) {
  pthread_mutex_lock(&s->lock);
  set_lock *l = s->creating;
  s->creating = NULL;
  s->did |= bits;
  members_free(s);
  pthread_mutex_unlock(&s->lock);
  if (l != NULL) set_lock_give(l);
}

/* Of the hold it touches only what it has begun itself: before that and after
   the release it may be a job's. */
static step_result undo(work *w) {
  shooting *g = w->more;
  decide(w);
  if (g == NULL) { /* nobody has heard of it: Abort comes with the closing */
    give_up_set(w->s, 0);
    return to(w, END, NULL, 0);
  }
  window_drop(g);
  if (w->asking != NULL) telling_cancel(w->asking);
  work_told(w);
  saros_op_unwinding(w->m.op, "thaw");
  if (g->holds && !g->releasing) {
    hold_release(g->hold);
    g->releasing = true;
  }
  w->stage = UNDO_RELEASE;
  return STEP_AGAIN;
}

static void tell_abort(work *w) {
  shooting *g = w->more;
  g->told++;
  work_tell(w, EVENT_ABORT, due, "abort", w->s->times.post);
  if (w->asking != NULL) return;
  for (size_t i = 0; i < w->s->seat_count; i++)
    w->s->seats[i]->unheard = w->s->seats[i]->due;
}

static step_result undo_release(work *w) {
  shooting *g = w->more;
  error *e = NULL;
  if (g->holds && !g->released && hold_release_step(g->hold, &e) == HOLD_WAIT)
    return STEP_WAIT;
  g->released = true;
  error_unref(e); /* that the set is void is known already */
  tell_release(w);
  saros_op_unwinding(w->m.op, "abort");
  pick_abort(w->s, false);
  tell_abort(w);
  w->stage = UNDO_ASKED;
  return STEP_AGAIN;
}

static void told_again(timer *t) {
  shooting *g = (shooting *)((char *)t - offsetof(shooting, again));
  g->waits = false;
  machine_wake(&g->w->m);
}

/* A writer that holds still must hear of the end, also when there is no memory
   to tell him: a little later there may be. In the end he is hung up on. */
static step_result undo_asked(work *w) {
  shooting *g = w->more;
  bool any = false;
  if (g->waits || !work_told(w)) return STEP_WAIT;
  /* What was given up is kept until it is over: there is room for some. */
  bool last = g->told >= ABORT_TRIES || w->drain_count == DRAINS_MOST;
  for (size_t i = 0; i < w->s->seat_count; i++) {
    seat *t = w->s->seats[i];
    t->due = t->unheard;
    any = any || (t->due && !last);
    if (!t->due || !last) continue;
    t->unheard = t->due = false;
    if (t->link != NULL) t->w->way->hang_up(t->link);
    t->link = NULL;
  }
  if (!any) {
    w->stage = UNDO_JOBS;
    return STEP_AGAIN;
  }
  tell_abort(w);
  g->w = w;
  g->waits = true;
  g->again.fire = told_again;
  timer_set(&g->again, engine_clock() + ABORT_PAUSE);
  return STEP_WAIT;
}

static step_result undo_jobs(work *w) {
  shooting *g = w->more;
  if (!work_job_back(w) || !shooting_back(w) || !shooting_noted(w))
    return STEP_WAIT;
  saros_op_unwinding(w->m.op, "delete");
  if (g->hold != NULL) work_submit(w, job_disarm);
  if (g->at != NULL) shooting_submit(w, POOL_LANE, job_destroy);
  w->stage = UNDO_DESTROY;
  return STEP_AGAIN;
}

static step_result undo_destroy(work *w) {
  session *s = w->s;
  shooting *g = w->more;
  if (!work_job_back(w) || !shooting_back(w)) return STEP_WAIT;
  give_up_set(s, DID_ABORT); /* they have heard it */
  if (g->at != NULL) places_unref(g->at);
  value_free(w->output);
  w->output = NULL;
  return to(w, END, NULL, 0);
}

static bool trouble(work *w) {
  if (w->why == NULL && w->stage > FREEZE && w->stage < THAW_ASKED)
    window_check(w);
  return w->why != NULL || work_cancelled(w);
}

/* Each case says when it is done; what must not be left half done (a job, a
   freeze, a release) is waited for, or given up by UNDO. */
static step_result forward(work *w) {
  shooting *g = w->more;
  error *e = NULL;
  switch (w->stage) {
    case PREPARE_ASKED:
      if (!heard(w)) return STEP_WAIT;
      if (w->why != NULL) return STEP_AGAIN;
      shooting_submit(w, POOL_LANE, job_prepare);
      return to(w, PREPARING, "prepare", 10);
    case PREPARING:
      if (!shooting_back(w)) return STEP_WAIT;
      if (w->why != NULL) return STEP_AGAIN;
      shooting_plan(w);
      return to(w, PLANNING, "guard", 45);
    case PLANNING:
      if (!work_job_back(w) || !shooting_noted(w)) return STEP_WAIT;
      if (w->why != NULL) return STEP_AGAIN;
      if (!somebody_waits(w->s)) return to(w, FREEZE, NULL, 48);
      return rehearse_disks(w);
    case REHEARSING:
      switch (hold_rehearse_step(g->hold, &e)) {
        case HOLD_WAIT: return STEP_WAIT;
        case HOLD_FAILED: work_fails(w, e); return STEP_AGAIN;
        case HOLD_DONE: break;
      }
      return to(w, FREEZE, NULL, 48);
    case FREEZE: return freeze_level(w);
    case FREEZE_ASKED:
      if (!heard(w)) return STEP_WAIT;
      window_set(w);
      g->level++;
      return to(w, FREEZE, NULL, 0);
    case HOLDING:
      switch (hold_freeze_step(g->hold, &e)) {
        case HOLD_WAIT: return STEP_WAIT;
        case HOLD_FAILED: work_fails(w, e); return STEP_AGAIN;
        case HOLD_DONE: break;
      }
      shooting_submit(w, POOL_HELD, job_commit);
      return to(w, COMMITTING, "commit", 65);
    case COMMITTING:
      if (!shooting_back(w)) return STEP_WAIT;
      hold_release(g->hold);
      g->releasing = true;
      return to(w, RELEASING, "release", 75);
    case RELEASING: {
      hold_result r = hold_release_step(g->hold, &e);
      if (r == HOLD_WAIT) return STEP_WAIT;
      g->released = true;
      hold_times(g->hold);
      if (r == HOLD_FAILED) work_fails(w, e);
      return to(w, THAW, NULL, 0);
    }
    case THAW: return thaw_level(w);
    case THAW_ASKED:
      if (!heard(w)) return STEP_WAIT;
      thawed(w);
      return to(w, THAW, NULL, 0);
    case REST_ASKED:
      if (!work_told(w)) return STEP_WAIT;
      shooting_disarm(w);
      shooting_submit(w, POOL_LANE, job_finish);
      return to(w, FINISHING, "finish", 80);
    case FINISHING:
      if (!work_job_back(w) || !shooting_back(w)) return STEP_WAIT;
      if (w->why != NULL) return STEP_AGAIN;
      pick_partners(w->s);
      work_tell(w, EVENT_POST_SNAPSHOT, due, "post_snapshot", w->s->times.post);
      return to(w, POST_ASKED, "post_snapshot", 95);
    case POST_ASKED:
      if (!work_told(w)) return STEP_WAIT;
      return to(w, LEAVE, NULL, 0);
    default: return leave(w);
  }
}

STEP(do_snapshot_set) {
  work *w = (work *)m;
  if (w->stage == BEGIN && (w->why == NULL || w->more != NULL)) return begin(w);
  if (w->stage < UNDO && trouble(w)) w->stage = UNDO;
  switch (w->stage) {
    case UNDO: return undo(w);
    case UNDO_RELEASE: return undo_release(w);
    case UNDO_ASKED: return undo_asked(w);
    case UNDO_JOBS: return undo_jobs(w);
    case UNDO_DESTROY: return undo_destroy(w);
    case END: return work_end(w);
    default: return forward(w);
  }
}
