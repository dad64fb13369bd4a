/*
** Ending a session: abort_backup, and close, which leaves nothing behind: what
** runs is cancelled and unwound, the writers hear of the end, shadows that
** were to go with the session go.
*/
#include <string.h>
#include <time.h>

#include "vss/session_parts.h"

enum { DELETE_TRIES = 200, DELETE_PAUSE = 50000000 /* nanoseconds */ };

enum { STOP, STOPPING, ABORT, ABORTING, SHUT, SHUTTING, DELETE, DELETING, OUT };

static bool due(const seat *t) {
  return t->due;
}

/* Whoever was told of a backup that never became complete, also when he was
   the only one who heard of it. */
static bool abort_is_due(session *s) {
  bool any = false, over = (s->did & (DID_COMPLETE | DID_ABORT)) != 0;
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    t->due = !over && (t->told_prepare || t->told_snapshot);
    any = any || t->due;
  }
  return any;
}

static void shutdown_is_due(session *s) {
  for (size_t i = 0; i < s->seat_count; i++)
    s->seats[i]->due = (s->did & DID_BACKUP) && s->seats[i]->told_prepare;
}

static bool takes_over(saros_op *op) {
  return ((const work *)op_self(op))->method->takes_over;
}

/* What ran when this one was begun is cancelled, but for an abort, which does
   what is wanted here; work_child says when it is over. */
static void stop_running(work *w) {
  session *s = w->s;
  pthread_mutex_lock(&s->lock); /* whoever begins us sets `before` with it */
  saros_op *op = w->before;
  pthread_mutex_unlock(&s->lock);
  if (op == NULL || op_is_over(op)) {
    atomic_store(&w->child_over, true);
  } else {
    if (!takes_over(op)) op_try_cancel(op);
    work_await(w, op);
  }
}

/* It was given up, and may still be in the middle of something. */
static bool still_runs(const work *w) {
  return w->before != NULL && (op_flags_now(w->before) & OP_ENDED) == 0;
}

/* When somebody else is deleting it just now, he may still fail; and a moment
   later there may be memory. */
static error *delete_one(const places *at, const char *id) {
  error *e = NULL;
  for (int tries = 0; tries < DELETE_TRIES; tries++) {
    unsigned deleted;
    char left[37];
    e = shadows_delete(at, id, false, true, NULL, &deleted, left);
    if (e == NULL || tries + 1 == DELETE_TRIES) break;
    if (e->code != VSS_E_PROVIDER_IN_USE && e->code != SAROS_E_OUTOFMEMORY)
      break;
    error_unref(e);
    e = NULL;
    struct timespec pause = {.tv_nsec = DELETE_PAUSE};
    nanosleep(&pause, NULL);
  }
  return e;
}

/* Auto-release: what was not made to persist goes with the session. That one
   cannot go keeps none of the others. */
static void delete_job(machine_job *mj) {
  work *w = (work *)mj->m;
  session *s = w->s;
  error *e = NULL;
  places *at = session_places(s, &e); /* they were opened long ago */
  for (size_t i = 0; at != NULL && i < s->member_count; i++) {
    e = delete_one(at, s->members[i]->id);
    if (e != NULL && e->code != VSS_E_OBJECT_NOT_FOUND)
      saros_op_cleanup_failed(w->m.op, e->message);
    error_unref(e);
    e = NULL;
  }
  if (e != NULL) saros_op_cleanup_failed(w->m.op, e->message);
  error_unref(e);
  if (at != NULL) places_unref(at);
}

static bool delete_is_due(const session *s) {
  return (s->did & DID_SHOOT) != 0 && s->set[0] != '\0' &&
         (s->context & VSS_ATTR_PERSISTENT) == 0;
}

/* The creation is over, if it was still open. One that hangs gives the lock
   back itself, or the end of the process does. */
static void unlock(work *w) {
  session *s = w->s;
  if (still_runs(w)) return;
  pthread_mutex_lock(&s->lock);
  set_lock *l = s->creating;
  s->creating = NULL;
  pthread_mutex_unlock(&s->lock);
  if (l != NULL) set_lock_give(l);
}

static void hang_up(session *s) {
  for (size_t i = 0; i < s->seat_count; i++) {
    seat *t = s->seats[i];
    if (t->link != NULL) t->w->way->hang_up(t->link);
    t->link = NULL;
  }
}

static void did_abort(session *s) {
  pthread_mutex_lock(&s->lock);
  s->did |= DID_ABORT;
  pthread_mutex_unlock(&s->lock);
}

/* AbortBackup: harmless when there is nothing to abort. */
STEP(abort_backup) {
  work *w = (work *)m;
  switch (w->stage) {
    case STOP: /* what runs is cancelled: STOPPING */
      op_phase_literal(m->op, "stop");
      stop_running(w);
      w->stage = STOPPING;
      return STEP_AGAIN;
    case STOPPING: /* it is over: writers are told: ABORTING */
      if (!atomic_load(&w->child_over)) return STEP_WAIT;
      op_phase_literal(m->op, "abort");
      if (abort_is_due(w->s))
        work_tell(w, EVENT_ABORT, due, "abort", w->s->times.post);
      w->stage = ABORTING;
      return STEP_AGAIN;
    default: break;
  }
  if (!work_told(w)) return STEP_WAIT;
  if (w->stage == ABORTING) {
    unlock(w);
    did_abort(w->s);
    error_unref(w->why); /* nor can a writer that says no to it change it */
    w->why = NULL;
    w->stage = OUT;
  }
  return work_end(w);
}

/* The session refers to its last operation, and that to the session. */
static void let_go_of_running(session *s) {
  pthread_mutex_lock(&s->lock);
  saros_op *op = s->running;
  s->running = NULL;
  pthread_mutex_unlock(&s->lock);
  if (op != NULL) saros_op_unref(op);
}

/* Each case says what comes next. Nothing here can fail the closing: what
   could not be done is in status().cleanup. */
STEP(close) {
  work *w = (work *)m;
  session *s = w->s;
  switch (w->stage) {
    case STOP: /* STOPPING */
      op_phase_literal(m->op, "stop");
      stop_running(w);
      w->stage = STOPPING;
      return STEP_AGAIN;
    case STOPPING: /* ABORT */
      if (!atomic_load(&w->child_over)) return STEP_WAIT;
      w->stage = ABORT;
      return STEP_AGAIN;
    case ABORT: /* writers who wait for an end that never came: ABORTING */
      op_phase_literal(m->op, "abort");
      if (abort_is_due(s))
        work_tell(w, EVENT_ABORT, due, "abort", s->times.post);
      w->stage = ABORTING;
      return STEP_AGAIN;
    case ABORTING: /* SHUT */
      if (!work_told(w)) return STEP_WAIT;
      w->stage = SHUT;
      return STEP_AGAIN;
    case SHUT: /* BackupShutdown to all who took part: SHUTTING */
      op_phase_literal(m->op, "backup_shutdown");
      shutdown_is_due(s);
      work_tell(w, EVENT_BACKUP_SHUTDOWN, due, "backup_shutdown",
                s->times.complete);
      w->stage = SHUTTING;
      return STEP_AGAIN;
    case SHUTTING: /* DELETE */
      if (!work_told(w)) return STEP_WAIT;
      w->stage = DELETE;
      return STEP_AGAIN;
    case DELETE: /* DELETING */
      op_phase_literal(m->op, "delete");
      if (delete_is_due(s)) work_submit(w, delete_job);
      w->stage = DELETING;
      return STEP_AGAIN;
    case DELETING: /* OUT */
      if (!work_job_back(w)) return STEP_WAIT;
      w->stage = OUT;
      return STEP_AGAIN;
    default: break;
  }
  if (!w->ending) {
    unlock(w);
    hang_up(s);
    error_unref(w->why); /* that a writer said no to the end changes nothing */
    w->why = NULL;
    let_go_of_running(s);
  }
  return work_end(w);
}
