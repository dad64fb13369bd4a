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

void turn_queue(bits_mover *v, turn_list *l, bits_job *j) {
  if (!j->turn.returned) j->turn.ticket = ++v->tickets;
  j->turn.returned = false;
  turn_leave(j);
  if (l->last == NULL || l->last->turn.ticket < j->turn.ticket) {
    turn_append(l, j);
    return;
  }
  /* It was among the first. */
  bits_job *behind = l->first;
  while (behind->turn.ticket < j->turn.ticket) behind = behind->turn.next;
  insert(l, j, behind->turn.previous, behind);
}

void mover_to_check(bits_mover *v, bits_job *j) {
  if (j->turn.to_check) return;
  j->turn.to_check = true;
  j->turn.next_check = v->check;
  v->check = j;
}

void turn_park(bits_mover *v, bits_job *j, uint64_t due) {
  turn_append(&v->parked, j);
  j->turn.due = due;
  if (v->due > due) v->due = due;
  if (j->running == 0) mover_to_check(v, j);
}

/* ------------------------------------------------------------------
** One job
** ---------------------------------------------------------------- */

bool mover_may_run(const bits_job *j) {
  return (j->state == BITS_QUEUED || j->state == BITS_CONNECTING ||
          j->state == BITS_TRANSFERRING) &&
         ((j->marks & BITS_JOB_BUSY) == 0 || j->finishing) &&
         (j->marks & BITS_JOB_GONE) == 0 && !j->turn.stopping;
}

static unsigned at_once(const bits_mover *v, const bits_job *j) {
  return j->terms->per_host > 0 ? j->terms->per_host : v->per_host;
}

typedef enum verdict {
  FOUND,
  FULL, /* its host has no connection left */
  BUSY, /* the job has as many at once as it may */
  OWES, /* bandwidth */
  ALL_OWE,
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
      if (h != NULL && closed == 0 && h->active >= v->per_host) {
        f->host = h;
        return FULL;
      }
      if (closed == 0) {
        later_take(j);
        *f = (found){file, h, l.tries, 0};
        return FOUND;
      }
      later_take(j);
      later_put(j, closed, l.file, l.tries); /* it has its room */
    } else {
      later_take(j); /* it was begun otherwise */
    }
  }
  return NOTHING;
}

/* The next in order. */
static verdict find_next(bits_mover *v, bits_job *j, found *f, uint64_t now) {
  for (; j->next_file < j->file_count; j->next_file++) {
    bits_file *file = j->files[j->next_file];
    if (file->state != BITS_FILE_WAITS || file->later) continue;
    mover_host *h = host_of(v, file->url);
    uint64_t closed = h != NULL ? host_closed(h, now) : now + RETRY_BASE_MS;
    if (h != NULL && closed == 0 && h->active >= v->per_host) {
      f->host = h;
      return FULL;
    }
    if (closed == 0) {
      j->next_file++;
      *f = (found){file, h, 0, 0};
      return FOUND;
    }
    /* Files of other hosts go on. */
    if (!later_put(j, closed, j->next_file, 0)) {
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
    later_take(j);
    later_put(j, h->until, l.file, l.tries); /* it has its room */
  }
}

static verdict find(bits_mover *v, bits_job *j, found *f, uint64_t now) {
  *f = (found){.due = MOVER_NEVER};
  if (j->running >= at_once(v, j)) return BUSY;
  switch (share_may_begin(v, j, now)) {
    case SHARE_OWES: return OWES;
    case SHARE_ALL_OWE: return ALL_OWE;
    case SHARE_CLOSED:
      f->due = v->hours_at;
      j->progress_at = now; /* there cannot be any */
      return LATER;
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
  if (f->host == NULL) return NULL; /* what is found has one */
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
  run->per_host = v->per_host;
  run->wave = f->host->wave;
  run->probe = f->host->until != 0;
  if (run->probe) {
    f->host->probing = true;
    mover_let_in(v, f->host); /* who waits there waits for what it says */
  }
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

/* Nobody can begin anything: there may be a hundred thousand of them. */
static bool nobody_may(const bits_mover *v) {
  return (v->owes[false] || v->uploads == v->known) &&
         (v->owes[true] || v->uploads == 0);
}

static mover_run *from_ring(bits_mover *v, unsigned level, uint64_t now) {
  turn_list *ring = &v->ring[level];
  bits_job *next;
  found f;
  for (bits_job *j = ring->first; j != NULL && !nobody_may(v); j = next) {
    next = j->turn.next;
    if (!mover_may_run(j)) {
      if (j->running > 0 || !j->turn.known)
        turn_park(v, j, MOVER_NEVER);
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
        if (!later_put(j, now + RETRY_BASE_MS, f.file->number, f.tries) &&
            j->next_file > f.file->number)
          j->next_file = f.file->number;
        turn_park(v, j, now + RETRY_BASE_MS);
        break;
      }
      case FULL:
        turn_queue(v, &f.host->waiting[level], j);
        if (j->turn.later_count > 0 && j->turn.later[0].at > now &&
            v->due > j->turn.later[0].at)
          v->due = j->turn.later[0].at;
        break;
      case OWES: v->owing = true; break;
      case ALL_OWE: v->owing = v->owes[j->type != BITS_DOWNLOAD] = true; break;
      default: turn_park(v, j, f.due); break;
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

/* The first level on which there is something to do: lower ones wait. */
static unsigned top_level(const bits_mover *v) {
  unsigned l = 0;
  while (l < MOVER_LEVELS - 1 && v->level_active[l] == 0 &&
         v->ring[l].count == 0 && v->host_waits[l] == 0)
    l++;
  return l;
}

/* Somebody who waits at this host and could begin something; *waits: there are
   others, who cannot now, whatever the host says. */
static bits_job *first_of(bits_mover *v, const mover_host *h, unsigned top,
                          bool *waits, uint64_t now) {
  *waits = false;
  if (h->active >= v->per_host) return NULL;
  for (unsigned l = 0; l < MOVER_LEVELS; l++) {
    bits_job *j = h->waiting[l].first;
    if (j == NULL) continue;
    bool upload = j->type != BITS_DOWNLOAD, owes = share_owes(v, upload, now);
    if (l <= top && !owes) return j;
    v->owing |= owes;
    *waits = true;
  }
  return NULL;
}

/* Who waits at a host that has a connection left comes back into its ring: one
   of them, and only when it may be his turn. */
static bool let_in(bits_mover *v, uint64_t now) {
  unsigned top = top_level(v);
  for (mover_host **link = &v->freed; *link != NULL;) {
    mover_host *h = *link;
    bool waits;
    bits_job *j = first_of(v, h, top, &waits, now);
    if (j != NULL) {
      turn_append(&v->ring[j->turn.level], j);
      j->turn.returned = true;
      return true;
    }
    if (waits) {
      link = &h->next_freed;
      continue;
    }
    *link = h->next_freed;
    h->freed = false;
  }
  return false;
}

void mover_let_in(bits_mover *v, mover_host *h) {
  for (unsigned l = 0; l < MOVER_LEVELS; l++)
    while (h->waiting[l].first != NULL)
      turn_append(&v->ring[l], h->waiting[l].first);
}

void mover_let_all_in(bits_mover *v) {
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (mover_host *h = v->hosts[i]; h != NULL; h = h->next)
      mover_let_in(v, h);
}

static bool can_begin(const bits_mover *v) {
  const bits_manager *m = v->m;
  return v->on && !v->ending && !m->closing && !m->closed &&
         m->broken == NULL && m->owner && !m->loads;
}

size_t mover_pick(bits_mover *v, mover_run **begin, size_t most, uint64_t now) {
  size_t n = 0;
  if (v->rescan || (now >= v->due && now >= v->rest)) mover_scan(v, now);
  if (v->touched != NULL) mover_scan_touched(v, now);
  v->owing = v->owes[false] = v->owes[true] = false;
  if (!can_begin(v)) return 0;
  while (n < most && v->active < v->connections) {
    mover_run *run = next(v, now);
    if (run != NULL)
      begin[n++] = run;
    else if (!let_in(v, now))
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
  for (unsigned l = 0; l < MOVER_LEVELS; l++)
    if (h->waiting[l].count > 0 && !h->freed) {
      h->freed = true;
      h->next_freed = v->freed;
      v->freed = h;
    }
  if (!goes_on || !t->known ||
      (t->list != &v->parked && t->list != ring && t->list != waiting))
    return;
  if (!had_slice(j, now)) {
    if (t->list != ring) turn_prepend(ring, j);
    return;
  }
  /* Who waits for the place has it, and this one stands behind. */
  turn_leave(j);
  if (waiting->count > 0) {
    waiting->first->turn.returned = true;
    turn_append(ring, waiting->first);
  }
  if (ring->count > 0) new_slice(j);
  turn_append(ring, j);
}
