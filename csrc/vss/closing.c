/*
** Ending a session: abort_backup, and close, which leaves nothing behind: what
** runs is cancelled and unwound, the writers hear of the end, shadows that
** were to go with the session go.
*/
#include <string.h>

#include "vss/session_parts.h"

enum { STOP, STOPPING, ABORT, ABORTING, SHUT, SHUTTING, DELETE, DELETING, OUT };

static bool due(const seat *t) {
  return t->due;
}

/* Whoever was told of a backup that never became complete. */
static bool abort_is_due(session *s) {
  bool is =
      (s->did & DID_PREPARE) != 0 && (s->did & (DID_COMPLETE | DID_ABORT)) == 0;
  for (size_t i = 0; i < s->seat_count; i++)
    s->seats[i]->due = is && s->seats[i]->selected;
  return is;
}

static void shutdown_is_due(session *s) {
  for (size_t i = 0; i < s->seat_count; i++)
    s->seats[i]->due = (s->did & DID_BACKUP) && s->seats[i]->told_prepare;
}

/* What runs (but for us) is cancelled; work_child says when it is over. */
static void stop_running(work *w) {
  session *s = w->s;
  pthread_mutex_lock(&s->lock);
  saros_op *op = s->running != NULL ? saros_op_ref(s->running) : NULL;
  pthread_mutex_unlock(&s->lock);
  if (op == NULL || op == w->m.op || op_is_over(op)) {
    atomic_store(&w->child_over, true);
  } else {
    op_try_cancel(op);
    work_await(w, op);
  }
  if (op != NULL) saros_op_unref(op);
}

/* Auto-release: what was not made to persist goes with the session. That one
   cannot go keeps none of the others. */
static void delete_job(machine_job *mj) {
  work *w = (work *)mj->m;
  session *s = w->s;
  error *e = NULL;
  places *at = session_places(s, &e);
  for (size_t i = 0; at != NULL && i < s->member_count; i++) {
    unsigned deleted;
    char left[37];
    e = shadows_delete(at, s->members[i]->id, false, true, NULL, &deleted,
                       left);
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

/* The creation is over, if it was still open. */
static void unlock(session *s) {
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
  if (w->drain_count > 0) return work_end(w);
  unlock(w->s);
  did_abort(w->s);
  return work_end(w);
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
  if (w->drain_count > 0) return work_end(w);
  unlock(s);
  hang_up(s);
  error_unref(w->why); /* that a writer said no to the end changes nothing */
  w->why = NULL;
  return work_end(w);
}
