/*
** Which file is next. Jobs that could begin one stand in a ring, one for each
** priority; the first has the choice until it has had its slice. A job that
** cannot begin anything now is out of the way: it waits at a host that has no
** connection left, or it is parked until its time, or until something changes.
** So to find the next costs the same however many jobs there are; only when
** somebody says that something has changed all are looked at.
**
** A lower priority begins nothing while a higher one has something under way,
** or something that only waits for a connection; what waits for its time (a
** failure that may pass, a gate) is no such thing. On one level: a job that has
** a slice behind it (64 MiB or 5 min) stands behind the others; of foreground
** jobs each stands behind with every file. Places that the first cannot fill
** the next one has.
*/
#include <string.h>

#include "bits/mover_parts.h"

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

void turn_leave(bits_job *j) {
  bits_turn *t = &j->turn;
  turn_list *l = t->list;
  if (l == NULL) return;
  if (t->previous != NULL)
    t->previous->turn.next = t->next;
  else
    l->first = t->next;
  if (t->next != NULL)
    t->next->turn.previous = t->previous;
  else
    l->last = t->previous;
  t->next = t->previous = NULL;
  t->list = NULL;
  l->count--;
  if (l->all != NULL) --*l->all;
}

static void insert(turn_list *l, bits_job *j, bits_job *previous,
                   bits_job *next) {
  turn_leave(j);
  j->turn.previous = previous;
  j->turn.next = next;
  if (previous != NULL)
    previous->turn.next = j;
  else
    l->first = j;
  if (next != NULL)
    next->turn.previous = j;
  else
    l->last = j;
  j->turn.list = l;
  l->count++;
  if (l->all != NULL) ++*l->all;
}

void turn_append(turn_list *l, bits_job *j) {
  turn_leave(j);
  insert(l, j, l->last, NULL);
}

void turn_prepend(turn_list *l, bits_job *j) {
  turn_leave(j);
  insert(l, j, NULL, l->first);
}

static void to_check(bits_mover *v, bits_job *j) {
  if (j->turn.to_check) return;
  j->turn.to_check = true;
  j->turn.next_check = v->check;
  v->check = j;
}

static void park(bits_mover *v, bits_job *j, uint64_t due) {
  turn_append(&v->parked, j);
  j->turn.due = due;
  if (v->due > due) v->due = due;
  if (j->running == 0) to_check(v, j);
}

/* ------------------------------------------------------------------
** One job
** ---------------------------------------------------------------- */

bool mover_may_run(const bits_job *j) {
  return (j->state == BITS_QUEUED || j->state == BITS_CONNECTING ||
          j->state == BITS_TRANSFERRING) &&
         (j->marks & (BITS_JOB_BUSY | BITS_JOB_GONE)) == 0 && !j->turn.stopping;
}

static unsigned at_once(const bits_mover *v, const bits_job *j) {
  return j->terms->per_host > 0 ? j->terms->per_host : v->per_host;
}

typedef enum verdict {
  FOUND,
  FULL, /* its host has no connection left */
  BUSY, /* the job has as many at once as it may */
  OWES, /* bandwidth */
  LATER,
  NOTHING
} verdict;

typedef struct found {
  bits_file *file;
  mover_host *host;
  unsigned tries;
  uint64_t due;
} found;

/* Those whose time has come, in their order. */
static verdict find_again(bits_mover *v, bits_job *j, found *f, uint64_t now) {
  bits_turn *t = &j->turn;
  while (t->later_count > 0 && t->later[0].at <= now) {
    mover_later l = t->later[0];
    bits_file *file = j->files[l.file];
    if (file->state == BITS_FILE_WAITS) {
      mover_host *h = host_of(v, file->url);
      uint64_t closed = h != NULL ? host_closed(h, now) : now + RETRY_BASE_MS;
      if (closed == 0 && h->active >= v->per_host) {
        f->host = h;
        return FULL;
      }
      if (closed == 0) {
        later_take(t);
        *f = (found){file, h, l.tries, 0};
        return FOUND;
      }
      later_take(t);
      later_put(t, closed, l.file, l.tries); /* it has its room */
    } else {
      later_take(t); /* it was begun otherwise */
    }
  }
  return NOTHING;
}

/* The next in order. */
static verdict find_next(bits_mover *v, bits_job *j, found *f, uint64_t now) {
  for (; j->next_file < j->file_count; j->next_file++) {
    bits_file *file = j->files[j->next_file];
    if (file->state != BITS_FILE_WAITS) continue;
    mover_host *h = host_of(v, file->url);
    uint64_t closed = h != NULL ? host_closed(h, now) : now + RETRY_BASE_MS;
    if (closed == 0 && h->active >= v->per_host) {
      f->host = h;
      return FULL;
    }
    if (closed == 0) {
      j->next_file++;
      *f = (found){file, h, 0, 0};
      return FOUND;
    }
    /* Files of other hosts go on. */
    if (!later_put(&j->turn, closed, j->next_file, 0)) {
      f->due = now + RETRY_BASE_MS;
      return LATER;
    }
  }
  return NOTHING;
}

/* When the first of those that wait can really go: not before its host. */
static uint64_t first_later(bits_mover *v, bits_job *j) {
  bits_turn *t = &j->turn;
  for (;;) {
    mover_later l = t->later[0];
    const mover_host *h = host_of(v, j->files[l.file]->url);
    if (h == NULL || h->until <= l.at) return l.at;
    later_take(t);
    later_put(t, h->until, l.file, l.tries); /* it has its room */
  }
}

static verdict find(bits_mover *v, bits_job *j, found *f, uint64_t now) {
  *f = (found){.due = MOVER_NEVER};
  if (j->running >= at_once(v, j)) return BUSY;
  switch (share_may_begin(v, j, now)) {
    case SHARE_OWES: return OWES;
    case SHARE_CLOSED: f->due = v->hours_at; return LATER;
    default: break;
  }
  verdict what = find_again(v, j, f, now);
  if (what == NOTHING) what = find_next(v, j, f, now);
  if (what == NOTHING && j->turn.later_count > 0) {
    f->due = first_later(v, j);
    what = LATER;
  }
  return what;
}

/* ------------------------------------------------------------------
** Slices
** ---------------------------------------------------------------- */

static bool had_slice(const bits_job *j, uint64_t now) {
  const bits_turn *t = &j->turn;
  return t->level == BITS_FOREGROUND || t->slice_bytes >= MOVER_SLICE_BYTES ||
         (t->slice_at != 0 && now - t->slice_at >= MOVER_SLICE_MS);
}

static void new_slice(bits_job *j) {
  j->turn.slice_at = 0; /* it begins with its next file */
  j->turn.slice_bytes = 0;
}

static mover_run *take(bits_mover *v, bits_job *j, const found *f,
                       uint64_t now) {
  mover_run *run = v->spare;
  if (run != NULL)
    v->spare = run->next;
  else if ((run = mem_zero(sizeof *run)) == NULL)
    return NULL;
  memset(run, 0, sizeof *run);
  run->mover = v;
  run->job = j;
  run->file = f->file;
  run->host = f->host;
  run->terms = bits_terms_ref(j->terms);
  run->upload = j->type != BITS_DOWNLOAD;
  run->way = !run->upload                 ? MOVER_FETCH
             : run->terms->s3_key != NULL ? MOVER_S3
                                          : MOVER_SEND;
  run->tries = f->tries;
  run->wave = f->host->wave;
  run->probe = f->host->until != 0;
  if (run->probe) f->host->probing = true;
  run->began = now;
  run->want = SHARE_ANY;
  run->seen = atomic_load(&f->file->have);
  run->level = j->turn.level;
  run->next = v->runs;
  if (run->next != NULL) run->next->previous = run;
  v->runs = run;
  v->active++;
  v->level_active[run->level]++;
  f->host->active++;
  j->running++;
  f->file->state = BITS_FILE_RUNS;
  if (j->turn.slice_at == 0) j->turn.slice_at = now > 0 ? now : 1;
  if (j->state == BITS_QUEUED) mover_move(j, BITS_CONNECTING);
  share_prepay(run, now);
  return run;
}

/* ------------------------------------------------------------------
** The rings
** ---------------------------------------------------------------- */

static mover_run *from_ring(bits_mover *v, unsigned level, uint64_t now) {
  turn_list *ring = &v->ring[level];
  bits_job *next;
  found f;
  for (bits_job *j = ring->first; j != NULL; j = next) {
    next = j->turn.next;
    if (!mover_may_run(j)) {
      if (j->running > 0 || !j->turn.known)
        park(v, j, MOVER_NEVER);
      else
        mover_forget(v, j);
      continue;
    }
    switch (find(v, j, &f, now)) {
      case FOUND: {
        if (had_slice(j, now)) {
          turn_append(ring, j);
          new_slice(j);
        }
        mover_run *run = take(v, j, &f, now);
        j->turn.returned = false;
        if (run != NULL) return run;
        if (!later_put(&j->turn, now + RETRY_BASE_MS, f.file->number,
                       f.tries) &&
            j->next_file > f.file->number)
          j->next_file = f.file->number;
        park(v, j, now + RETRY_BASE_MS);
        break;
      }
      case FULL:
        if (j->turn.returned)
          turn_prepend(&f.host->waiting[level], j);
        else
          turn_append(&f.host->waiting[level], j);
        j->turn.returned = false;
        break;
      case OWES: v->owing = true; break;
      default: park(v, j, f.due); break;
    }
  }
  return NULL;
}

static mover_run *next(bits_mover *v, uint64_t now) {
  for (unsigned l = 0; l < MOVER_LEVELS; l++) {
    mover_run *run = from_ring(v, l, now);
    if (run != NULL) return run;
    if (v->level_active[l] > 0 || v->ring[l].count > 0 || v->host_waits[l] > 0)
      return NULL;
  }
  return NULL;
}

/* Who waits at a host that has a connection left comes back into its ring. */
static bool let_in(bits_mover *v) {
  while (v->freed != NULL) {
    mover_host *h = v->freed;
    for (unsigned l = 0; l < MOVER_LEVELS && h->active < v->per_host; l++)
      if (h->waiting[l].count > 0) {
        bits_job *j = h->waiting[l].first;
        turn_append(&v->ring[l], j);
        j->turn.returned = true;
        return true;
      }
    v->freed = h->next_freed;
    h->freed = false;
  }
  return false;
}

void mover_let_all_in(bits_mover *v) {
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (mover_host *h = v->hosts[i]; h != NULL; h = h->next)
      for (unsigned l = 0; l < MOVER_LEVELS; l++)
        while (h->waiting[l].first != NULL)
          turn_append(&v->ring[l], h->waiting[l].first);
}

static bool can_begin(const bits_mover *v) {
  const bits_manager *m = v->m;
  return v->on && !v->ending && !m->closing && !m->closed &&
         m->broken == NULL && m->owner;
}

size_t mover_pick(bits_mover *v, mover_run **begin, size_t most, uint64_t now) {
  size_t n = 0;
  if (v->rescan || now >= v->due) mover_scan(v, now);
  v->owing = false;
  if (!can_begin(v)) return 0;
  while (n < most && v->active < v->connections) {
    mover_run *run = next(v, now);
    if (run != NULL)
      begin[n++] = run;
    else if (!let_in(v))
      break;
  }
  if (n == 1 && v->active == 1) {
    const bits_file *f = begin[0]->file;
    begin[0]->lone = f->size == BITS_UNKNOWN || f->size > (uint64_t)1 << 20;
  }
  return n;
}

void mover_place(bits_mover *v, bits_job *j, mover_host *h, bool goes_on,
                 uint64_t now) {
  bits_turn *t = &j->turn;
  turn_list *ring = &v->ring[t->level], *waiting = &h->waiting[t->level];
  bool others = false;
  for (unsigned l = 0; l < MOVER_LEVELS; l++) {
    if (h->waiting[l].count == 0) continue;
    if (!h->freed) {
      h->freed = true;
      h->next_freed = v->freed;
      v->freed = h;
    }
    if (l <= t->level && h->waiting[l].count > (t->list == &h->waiting[l]))
      others = true;
  }
  if (!goes_on || !t->known ||
      (t->list != &v->parked && t->list != ring && t->list != waiting))
    return;
  if (!had_slice(j, now)) {
    if (t->list != ring) turn_prepend(ring, j);
    return;
  }
  if (others || ring->count > (t->list == ring)) new_slice(j);
  turn_append(others ? waiting : ring, j);
}

/* ------------------------------------------------------------------
** All jobs
** ---------------------------------------------------------------- */

void mover_forget(bits_mover *v, bits_job *j) {
  bits_turn *t = &j->turn;
  turn_leave(j);
  later_free(t);
  mem_free(t->bad);
  t->bad = NULL;
  t->stopping = t->transient = t->offline = t->returned = false;
  new_slice(j);
  j->next_file = 0;
  if (!t->known) return;
  t->known = false;
  v->known--;
  t->next = v->leaving; /* with the reference */
  v->leaving = j;
}

/* Somebody has resumed it before its time has come. */
static void try_now(bits_mover *v, bits_job *j, uint64_t now) {
  if (j->turn.later_count > 0)
    host_ask_now(v, j->files[j->turn.later[0].file]->url, now);
  later_all_at(&j->turn, now);
}

static void meet(bits_mover *v, bits_job *j, uint64_t now) {
  bits_turn *t = &j->turn;
  if (!t->known) {
    atomic_fetch_add(&j->refs, 1);
    t->known = true;
    v->known++;
  }
  if (t->level != (uint8_t)j->priority) {
    turn_leave(j);
    t->level = (uint8_t)j->priority;
  }
  if (t->transient && now < t->due) try_now(v, j, now);
  t->transient = false;
  if (t->list == NULL || t->list == &v->parked)
    turn_append(&v->ring[t->level], j);
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
  }
}

static void forget_unseen(bits_mover *v, turn_list *l) {
  bits_job *next;
  for (bits_job *j = l->first; j != NULL; j = next) {
    next = j->turn.next;
    if (j->turn.scan != v->scan && j->running == 0) mover_forget(v, j);
  }
}

/* A file that runs and shall not any more; and a priority that has changed. */
static void scan_runs(bits_mover *v) {
  bool end = v->ending || v->m->closing || v->m->closed || !v->on;
  for (mover_run *run = v->runs; run != NULL; run = run->next) {
    bits_job *j = run->job;
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
  scan_runs(v);
  host_tidy(v, now);
}

/* ------------------------------------------------------------------
** What has become of a job whose last try has ended
** ---------------------------------------------------------------- */

static void check_job(bits_mover *v, bits_job *j) {
  bits_turn *t = &j->turn;
  if (!t->known || j->running > 0 || !mover_may_run(j)) return;
  if (t->list != &v->parked) {
    /* It is not its turn; but who only owes goes on in a moment. */
    if (j->state != BITS_QUEUED && !v->owing) mover_move(j, BITS_QUEUED);
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

void mover_check(bits_mover *v) {
  while (v->check != NULL) {
    bits_job *j = v->check;
    v->check = j->turn.next_check;
    j->turn.to_check = false;
    check_job(v, j);
  }
}

/* Who waits for a network is tried at once. */
static void online(turn_list *l, uint64_t now) {
  for (bits_job *j = l->first; j != NULL; j = j->turn.next) {
    if (!j->turn.offline) continue;
    j->turn.offline = false;
    later_all_at(&j->turn, now);
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
