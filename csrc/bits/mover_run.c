/*
** A try from its beginning to its end. It is begun and told things on the I/O
** thread, without the lock; what it says of itself comes on that thread, too.
*/
#include <string.h>

#include "bits/mover_parts.h"

static void ended(void *context, const bits_result *r);
static void begun(void *context);

static const bits_try_calls calls = {.ended = ended, .begun = begun};

static bits_try *start(mover_way way, const bits_try_ask *ask, error **e) {
#ifdef SAROS_TEST
  if (mover_hook.start != NULL) return mover_hook.start(way, ask, e);
#endif
  switch (way) {
    case MOVER_FETCH: return bits_fetch_start(ask, e);
    case MOVER_SEND: return bits_send_start(ask, e);
    default: return bits_s3_start(ask, e);
  }
}

/* A failure of ours, which may pass. */
static void ours(bits_result *r, const error *e) {
  *r = (bits_result){
      .end = BITS_END_AGAIN, .code = e->code, .context = BITS_CONTEXT_QUEUE};
  size_t n = strlen(e->message);
  if (n >= sizeof r->why) n = sizeof r->why - 1;
  memcpy(r->why, e->message, n);
}

bool run_start(mover_run *run, bits_result *r) {
  error *e = NULL;
  bits_try_ask ask = {.file = run->file,
                      .terms = run->terms,
                      .lane = run->mover->m->lane,
                      .down = run->down,
                      .up = run->up,
                      .lone = run->lone,
                      .per_host = run->per_host,
                      .calls = &calls,
                      .context = run};
  run->try = start(run->way, &ask, &e);
  bits_terms_unref(run->terms);
  run->terms = NULL;
  if (run->try != NULL) return true;
  if (e == NULL) e = error_no_memory();
  ours(r, e);
  error_unref(e);
  return false;
}

/* ------------------------------------------------------------------
** Its end
** ---------------------------------------------------------------- */

void run_count(mover_run *run) {
  uint64_t have = atomic_load_explicit(&run->file->have, memory_order_relaxed);
  /* Less: it has begun anew, or a part of an upload that was lost is sent once
     more; all that is there has not come again. */
  uint64_t more = have >= run->seen ? have - run->seen : 0;
  run->seen = have;
  if (more == 0) return;
  run->bytes += more;
  run->job->turn.slice_bytes += more;
  share_charge(run, more);
}

static void leave(mover_run *run) {
  bits_mover *v = run->mover;
  if (run->previous != NULL)
    run->previous->next = run->next;
  else
    v->runs = run->next;
  if (run->next != NULL) run->next->previous = run->previous;
  if (run->stop && !run->stop_sent) v->stops--;
  if (run->relimit) v->relimits--;
  bits_terms_unref(run->terms);
  run->terms = NULL;
  v->active--;
  v->level_active[run->level]--;
  run->host->active--;
  run->job->running--;
}

static void wait_for_turn(bits_job *j, bits_file *f) {
  f->state = BITS_FILE_WAITS;
  if (j->next_file > f->number) j->next_file = f->number;
}

/* What is told of the job when nothing of it can go on. */
static void remember(bits_job *j, const bits_file *f, const bits_result *r) {
  if (j->turn.bad == NULL) j->turn.bad = mem_alloc(sizeof *r);
  if (j->turn.bad == NULL) return;
  *j->turn.bad = *r;
  j->turn.bad_file = f->number;
}

/* It is not what keeps the job from going on any more. */
static void forget_bad(bits_job *j, const bits_file *f) {
  if (j->turn.bad == NULL || j->turn.bad_file != f->number) return;
  mem_free(j->turn.bad);
  j->turn.bad = NULL;
}

static void progressed(bits_job *j, uint64_t now) {
  j->tries = 0;
  j->progress_at = now;
}

/* False: the job was put aside. */
static bool again(mover_run *run, const bits_result *r, uint64_t now) {
  bits_job *j = run->job;
  bits_file *f = run->file;
  bits_mover *v = run->mover;
  bool offline = r->end == BITS_END_OFFLINE;
  uint64_t at, closed = host_closed(run->host, now);
  unsigned tries = r->moved ? 1 : run->tries + 1;
  f->state = BITS_FILE_WAITS;
  if (r->moved) progressed(j, now);
  /* Its time without progress begins with what fails first: what it has waited
     for its turn, or for a network, is no part of it. */
  if (offline || j->tries == 0) j->progress_at = now;
  if (offline) {
    tries = run->tries;
    at = now + RETRY_BASE_MS;
    j->turn.offline = true;
  } else {
    j->tries++;
    j->retries++;
    at = now + retry_wait(&v->seed, tries, r, j->retry_delay_ms);
  }
  /* Before its host has had its rest it need not be asked. */
  if (closed > at) at = closed;
  remember(j, f, r);
  bool put = later_put(j, at, f->number, tries);
  if (v->due > at) v->due = at; /* also if the job waits at a host */
  if (!put) {
    /* No memory: all of the job waits a moment. */
    wait_for_turn(j, f);
    turn_park(v, j, now + RETRY_BASE_MS);
  }
  if (!offline &&
      (j->no_progress_ms == 0 || now - j->progress_at >= j->no_progress_ms))
    mover_fails(j, f, r);
  return put;
}

static void whole(mover_run *run, const bits_result *r, uint64_t now) {
  bits_job *j = run->job;
  bits_file *f = run->file;
  unsigned marks = f->marks;
  f->state = BITS_FILE_FETCHED;
  marks &= ~(BITS_FILE_VERIFIED | BITS_FILE_UNPROVEN);
  marks |= r->proven || r->verified ? BITS_FILE_VERIFIED : BITS_FILE_UNPROVEN;
  f->marks = (uint8_t)marks;
  progressed(j, now);
  forget_bad(j, f);
  mover_touch(f);
  mover_finish(run->mover->m, f);
}

static bool file_ends(mover_run *run, const bits_result *r, uint64_t now) {
  bits_job *j = run->job;
  bits_file *f = run->file;
  switch (r->end) {
    case BITS_END_WHOLE: whole(run, r, now); break;
    case BITS_END_AGAIN:
    case BITS_END_OFFLINE: return again(run, r, now);
    case BITS_END_FAILED:
      wait_for_turn(j, f);
      if (r->moved) progressed(j, now);
      mover_fails(j, f, r);
      break;
    default: wait_for_turn(j, f); break;
  }
  return true;
}

void run_settle(mover_run *run, const bits_result *r) {
  bits_mover *v = run->mover;
  bits_job *j = run->job;
  uint64_t now = mover_now(v->m);
  run_count(run);
  share_settle(run);
  leave(run);
  host_judge(v, run, r, now);
  bool goes_on = file_ends(run, r, now);
  mover_place(v, j, run->host, goes_on && mover_may_run(j), now);
  if (mover_may_run(j)) {
    if (j->running == 0) mover_to_check(v, j);
  } else {
    mover_note(v, j); /* it is forgotten, or goes on */
    if (j->running == 0) mover_is_idle(j);
  }
  run->next = v->spare;
  v->spare = run;
}

/* ------------------------------------------------------------------
** What it says
** ---------------------------------------------------------------- */

static void begun(void *context) {
  mover_run *run = context;
  bits_mover *v = run->mover;
  pthread_mutex_lock(&v->m->lock);
  host_good(v, run);
  forget_bad(run->job, run->file);
  if (run->job->state == BITS_CONNECTING)
    mover_move(run->job, BITS_TRANSFERRING);
  pthread_mutex_unlock(&v->m->lock);
}

/* With the lock, which is let go. */
static void settle_and_go(mover_run *run, const bits_result *r) {
  bits_mover *v = run->mover;
  run_settle(run, r);
  mover_go(v);
}

/* The same file once more, by whatever way: it keeps its place. The lock is
   let go. */
static void once_more(mover_run *run) {
  bits_mover *v = run->mover;
  bits_result r = {.end = BITS_END_STOPPED};
  if (run->stop) {
    settle_and_go(run, &r);
    return;
  }
  run->terms = bits_terms_ref(run->job->terms);
  pthread_mutex_unlock(&v->m->lock);
  if (run_start(run, &r)) return;
  pthread_mutex_lock(&v->m->lock);
  settle_and_go(run, &r);
}

static void committed(void *context, error *e) {
  mover_run *run = context;
  pthread_mutex_lock(&run->mover->m->lock);
  if (e == NULL) {
    once_more(run);
    return;
  }
  bits_result r;
  ours(&r, e);
  settle_and_go(run, &r);
}

/* A server that changes its mind for ever. */
static bool is_too_often(mover_run *run, bits_result *r) {
  if (++run->at_once <= MOVER_AT_ONCE) return false;
  r->end = BITS_END_AGAIN;
  if (r->code == 0) r->code = BG_E_INVALID_SERVER_RESPONSE;
  r->context = BITS_CONTEXT_REMOTE;
  if (r->why[0] == '\0')
    memcpy(r->why, "the server answers differently each time it is asked",
           sizeof "the server answers differently each time it is asked");
  return true;
}

static void ended(void *context, const bits_result *given) {
  mover_run *run = context;
  bits_mover *v = run->mover;
  bits_result r = *given;
  pthread_mutex_lock(&v->m->lock);
  run->try = NULL;
  if (r.end == BITS_END_AT_ONCE && !run->stop && !is_too_often(run, &r)) {
    run_count(run);
    pthread_mutex_unlock(&v->m->lock);
    mover_commit(run->file, committed, run);
  } else if (r.end == BITS_END_SINGLE && run->way == MOVER_S3) {
    run->way = MOVER_SEND;
    once_more(run);
  } else {
    settle_and_go(run, &r);
  }
}
