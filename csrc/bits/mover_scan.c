/*
** All jobs at once: those that are new, those that may not go on any more, and
** those of which nothing can go on now. And who makes room for others.
*/
#include "bits/mover_parts.h"

/* ------------------------------------------------------------------
** All jobs
** ---------------------------------------------------------------- */

/* A hundred thousand take some 30 ms: that is nothing to be done all the time
   because each has its own moment. */
#define SCANNED_A_MS 200

/* Without the lock, soon: it may be the last reference. */
void mover_let_leave(bits_mover *v, bits_job *j) {
  j->turn.leaving = true;
  j->turn.next = v->leaving;
  v->leaving = j;
}

void mover_forget(bits_mover *v, bits_job *j) {
  bits_turn *t = &j->turn;
  turn_leave(j);
  later_free(j);
  mem_free(t->bad);
  t->bad = NULL;
  t->stopping = t->transient = t->offline = t->returned = false;
  t->slice_at = t->slice_bytes = 0;
  j->next_file = 0;
  if (!t->known) return;
  t->known = false;
  v->known--;
  v->uploads -= j->type != BITS_DOWNLOAD;
  mover_let_leave(v, j);
}

/* Somebody has resumed it before its time has come. */
static void try_now(bits_mover *v, bits_job *j, uint64_t now) {
  if (j->turn.later_count > 0)
    host_ask_now(v, j->files[j->turn.later[0].file]->url, now);
  later_all_at(j, now);
}

/* It waits at a host, and has another file whose time has come, of another
   host. */
static bool has_other(bits_mover *v, bits_job *j, uint64_t now) {
  bits_turn *t = &j->turn;
  if (t->list == NULL || t->list->all == NULL) return false;
  if (t->later_count == 0 || t->later[0].at > now) return false;
  const mover_host *h = host_of(v, j->files[t->later[0].file]->url);
  return h != NULL && t->list != &h->waiting[t->level];
}

static void meet(bits_mover *v, bits_job *j, uint64_t now) {
  bits_turn *t = &j->turn;
  if (!t->known) {
    atomic_fetch_add(&j->refs, 1);
    t->known = true;
    v->known++;
    v->uploads += j->type != BITS_DOWNLOAD;
  }
  if (t->level != (uint8_t)j->priority) {
    turn_leave(j);
    t->level = (uint8_t)j->priority;
  }
  if (t->transient && now < t->due) try_now(v, j, now);
  t->transient = false;
  /* Who has a place in a row keeps it, or he would never be the first. */
  if (has_other(v, j, now)) {
    turn_append(&v->ring[t->level], j);
    t->returned = true;
  } else if (t->list == NULL || t->list == &v->parked) {
    turn_append(&v->ring[t->level], j);
  } else if (t->later_count > 0 && t->later[0].at > now &&
             v->due > t->later[0].at) {
    v->due = t->later[0].at;
  }
}

static void scan_job(bits_mover *v, bits_job *j, uint64_t now) {
  bits_turn *t = &j->turn;
  t->scan = v->scan;
  if (j->running == 0 && (j->marks & BITS_JOB_BUSY) == 0) t->stopping = false;
  if (mover_may_run(j) || j->state == BITS_TRANSIENT_ERROR) {
    uint64_t at = mover_tick(j);
    if (v->due > at) v->due = at;
  }
  if (mover_may_run(j)) {
    meet(v, j, now);
  } else if (j->state == BITS_TRANSIENT_ERROR) {
    if (v->due > j->retry_at) v->due = j->retry_at > now ? j->retry_at : now;
  } else if (t->known && j->running == 0) {
    mover_forget(v, j);
  } else if (t->stopping && t->list != NULL && t->list != &v->parked) {
    /* Its tries are to end first: nobody waits because it does. */
    turn_park(v, j, MOVER_NEVER);
  }
}

static void forget_unseen(bits_mover *v, turn_list *l) {
  bits_job *next;
  for (bits_job *j = l->first; j != NULL; j = next) {
    next = j->turn.next;
    if (j->turn.scan != v->scan && j->running == 0) mover_forget(v, j);
  }
}

/* A file that runs and shall not any more; and a priority that has changed. Of
   one job, or (NULL) of all. */
static void scan_runs(bits_mover *v, const bits_job *only) {
  bool end = v->ending || v->m->closing || v->m->closed || !v->on;
  for (mover_run *run = v->runs; run != NULL; run = run->next) {
    bits_job *j = run->job;
    if (only != NULL && j != only) continue;
    if (!run->stop && (end || !mover_may_run(j))) {
      run->stop = true;
      v->stops++;
    }
    if (run->level != (uint8_t)j->priority) {
      v->level_active[run->level]--;
      run->level = (uint8_t)j->priority;
      v->level_active[run->level]++;
    }
  }
}

void mover_scan(bits_mover *v, uint64_t now) {
  v->rescan = false;
  v->due = MOVER_NEVER;
  v->rest = now + v->m->job_count / SCANNED_A_MS;
  v->scan++;
  size_t known = 0;
  for (bits_job *j = v->m->first; j != NULL; j = j->next) {
    scan_job(v, j, now);
    if (j->turn.known) known++;
  }
  if (known != v->known) {
    for (unsigned l = 0; l < MOVER_LEVELS; l++) forget_unseen(v, &v->ring[l]);
    forget_unseen(v, &v->parked);
    for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
      for (mover_host *h = v->hosts[i]; h != NULL; h = h->next)
        for (unsigned l = 0; l < MOVER_LEVELS; l++)
          forget_unseen(v, &h->waiting[l]);
  }
  scan_runs(v, NULL);
  host_tidy(v, now);
}

void mover_note(bits_mover *v, bits_job *j) {
  if (j->turn.touched) return;
  atomic_fetch_add(&j->refs, 1);
  j->turn.touched = true;
  j->turn.next_touched = v->touched;
  v->touched = j;
}

void mover_scan_touched(bits_mover *v, uint64_t now) {
  while (v->touched != NULL) {
    bits_job *j = v->touched;
    v->touched = j->turn.next_touched;
    j->turn.touched = false;
    scan_job(v, j, now);
    if (j->running > 0) scan_runs(v, j);
    if (j->turn.known || j->turn.leaving)
      atomic_fetch_sub(&j->refs, 1); /* not the last */
    else
      mover_let_leave(v, j);
  }
}

/* ------------------------------------------------------------------
** What has become of a job whose last try has ended
** ---------------------------------------------------------------- */

/* It is its turn, and goes on in a moment. */
static bool only_owes(const bits_mover *v, const bits_job *j, share_word word) {
  const turn_list *ring = &v->ring[j->turn.level];
  return (word == SHARE_OWES || word == SHARE_ALL_OWE) &&
         j->turn.list == ring &&
         (ring->first == j || j->turn.level == BITS_FOREGROUND);
}

static void check_job(bits_mover *v, bits_job *j, uint64_t now) {
  bits_turn *t = &j->turn;
  if (!t->known || j->running > 0 || !mover_may_run(j)) return;
  share_word word = share_may_begin(v, j, now);
  if (t->list != &v->parked || word == SHARE_CLOSED) {
    if (j->state != BITS_QUEUED && !only_owes(v, j, word))
      mover_move(j, BITS_QUEUED);
    return;
  }
  if (t->due == MOVER_NEVER) return; /* the keeper has the last of it */
  if (t->bad == NULL) {
    if (j->state != BITS_QUEUED) mover_move(j, BITS_QUEUED);
    return;
  }
  bits_result *bad = t->bad;
  t->bad = NULL;
  mover_fails(j, j->files[t->bad_file], bad);
  mem_free(bad);
  if (j->state != BITS_TRANSIENT_ERROR) return;
  j->retry_at = t->due;
  t->transient = true;
}

void mover_check(bits_mover *v, uint64_t now) {
  while (v->check != NULL) {
    bits_job *j = v->check;
    v->check = j->turn.next_check;
    j->turn.to_check = false;
    check_job(v, j, now);
  }
}

/* Who waits for a network is tried at once. */
static void online(turn_list *l, uint64_t now) {
  for (bits_job *j = l->first; j != NULL; j = j->turn.next) {
    if (!j->turn.offline) continue;
    j->turn.offline = false;
    later_all_at(j, now);
    if (j->state == BITS_TRANSIENT_ERROR && j->retry_at > now)
      j->retry_at = now;
  }
}

void mover_online(bits_mover *v, uint64_t now) {
  host_online(v, now);
  online(&v->parked, now);
  for (unsigned l = 0; l < MOVER_LEVELS; l++) online(&v->ring[l], now);
  v->rescan = true;
}

/* ------------------------------------------------------------------
** Room for others
** ---------------------------------------------------------------- */

/* What it has can be gone on with. */
static bool can_be_resumed(const mover_run *run) {
  const bits_known *k = run->file->known;
  return !run->upload && k != NULL &&
         (k->etag != NULL || k->modified != NULL) &&
         (run->file->marks & BITS_FILE_NO_RANGE) == 0 &&
         !run->job->terms->dynamic;
}

static bool others_wait(const turn_list *lists, unsigned level,
                        const bits_job *than) {
  for (unsigned l = 0; l <= level; l++)
    for (const bits_job *j = lists[l].first; j != NULL; j = j->turn.next)
      if (j != than) return true;
  return false;
}

void mover_make_room(bits_mover *v, uint64_t now) {
  bool full = v->active >= v->connections;
  for (mover_run *run = v->runs; run != NULL; run = run->next) {
    run_count(run);
    if (run->stop || !can_be_resumed(run) ||
        (run->bytes < MOVER_SLICE_BYTES && now - run->began < MOVER_SLICE_MS))
      continue;
    if ((full && others_wait(v->ring, run->level, run->job)) ||
        (run->host->active >= v->per_host &&
         others_wait(run->host->waiting, run->level, run->job))) {
      run->stop = true;
      v->stops++;
      return; /* one at a time */
    }
  }
}
