/*
** A manager: opened as owner or observer of a queue, closed, asked. What it is
** made of are its jobs (manager_jobs.c), its keeper and its mover.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bits/keeper.h"

/* ------------------------------------------------------------------
** What it is told
** ---------------------------------------------------------------- */

/* Absolute, so that it means the same wherever the host goes. */
static error *read_path(bits_manager *m, const value *options) {
  const value *v = value_get(options, "path");
  const char *text = value_chars(v, NULL);
  if (text == NULL || *text == '\0' || strlen(text) != v->as.string.size)
    return bits_fail(SAROS_E_INVALIDARG,
                     "which queue? Give its path, a file: it is made when "
                     "there is none");
  char *here = text[0] == '/' ? NULL : getcwd(NULL, 0);
  if (text[0] != '/' && here == NULL)
    return error_of_errno(SAROS_FACADE_BITS, errno,
                          "the current directory is unknown: give an absolute "
                          "path",
                          text);
  char *whole = path_join(here != NULL ? here : "/", text);
  free(here);
  if (whole != NULL) m->path = path_clean(whole);
  mem_free(whole);
  return m->path != NULL ? NULL : error_no_memory();
}

/* ------------------------------------------------------------------
** What is in the queue
** ---------------------------------------------------------------- */

static error *load_clock(bits_manager *m, bits_queue *q) {
  error *e;
  value *v = bits_manager_stored(q, "clock", &e);
  int64_t ms = value_integer(v, 0);
  value_free(v);
  pthread_mutex_lock(&m->lock);
  m->clock_base = ms > 0 ? (uint64_t)ms : 0;
  m->opened_at = http_clock();
  pthread_mutex_unlock(&m->lock);
  return e;
}

/* No freeze shall hold what we write to. */
static void hold_device(bits_manager *m) {
  char *parent = path_parent(m->path);
  int fd =
      parent != NULL ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (fd >= 0) {
    m->hold = saros_device_hold(fd, "the transfer queue", m->path);
    close(fd);
  }
  mem_free(parent);
}

void bits_manager_note_owner(bits_manager *m, bits_queue *q) {
  buffer b = BUFFER_EMPTY;
  if (!m->owner) bits_queue_owner(q, &b);
  char *text = b.size > 0 ? buffer_take(&b) : NULL;
  buffer_free(&b);
  pthread_mutex_lock(&m->lock);
  char *before = m->owned_by;
  m->owned_by = text;
  pthread_mutex_unlock(&m->lock);
  mem_free(before);
}

/* What only an owner has: the mover, and jobs that go on. `again`: he has only
   looked until now. */
static error *begin_owning(bits_manager *m, bits_queue *q, bool again) {
  error *e = again ? bits_manager_read(m, q, true) : NULL;
  if (e != NULL) return e;
  pthread_mutex_lock(&m->lock);
  if (m->mover == NULL) e = bits_mover_new(m);
  if (e == NULL) {
    m->owner = m->loads = true;
    e = bits_mover_settings(m, m->settings);
  }
  pthread_mutex_unlock(&m->lock);
  return e != NULL ? e : bits_load(m, q, again, true);
}

/* All is there: from now on jobs go on, and are changed. */
static void go_on(bits_manager *m) {
  pthread_mutex_lock(&m->lock);
  m->loads = false;
  m->keeper->notify = m->owner; /* what a dead process has not seen to */
  if (m->changes > 0) bits_keeper_told(m);
  bits_keeper_wake(m);
  if (m->mover != NULL) bits_mover_wake(m);
  pthread_mutex_unlock(&m->lock);
}

/* It looks on. Files that are to be finished are found again with their rows;
   who waits for a commit would wait for us. */
static void not_yet(bits_manager *m, error *e) {
  bits_keeper *k = m->keeper;
  pthread_mutex_lock(&m->lock);
  m->owner = m->loads = false;
  keeper_waiters w = bits_keeper_waiters(m);
  bits_file **fetched = k->fetched;
  size_t count = k->fetched_count;
  k->fetched = NULL;
  k->fetched_count = k->fetched_room = 0;
  pthread_mutex_unlock(&m->lock);
  bits_keeper_answer(m, &w, e);
  for (size_t i = 0; i < count; i++) bits_job_unref(fetched[i]->job);
  mem_free(fetched);
}

error *bits_manager_own(bits_manager *m, bits_queue *q) {
  error *e = load_clock(m, q);
  if (e == NULL) e = begin_owning(m, q, true);
  if (e != NULL) {
    not_yet(m, e);
    return e;
  }
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s: its owner is dead; it is ours now", m->path);
  if (!b.failed) saros_log(SAROS_LOG_NOTICE, "bits", b.data);
  buffer_free(&b);
  go_on(m);
  return NULL;
}

/* ------------------------------------------------------------------
** Opened
** ---------------------------------------------------------------- */

static bits_manager *new_manager(void) {
  bits_manager *m = mem_zero(sizeof *m);
  if (m == NULL) return NULL;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&m->lock, NULL);
  pthread_cond_init(&m->done, &attributes);
  pthread_condattr_destroy(&attributes);
  atomic_init(&m->refs, 1);
  m->generation = http_keep();
  m->next_id = 1;
  m->look_at = UINT64_MAX;
  m->dirty_jobs_end = &m->dirty_jobs;
  m->dirty_files_end = &m->dirty_files;
  return m;
}

static void tell(const error *told) {
  if (told != NULL) saros_log(SAROS_LOG_ERROR, "bits", told->message);
}

/* With a queue that is open. */
static error *begin(bits_manager *m, bits_queue *q, const value *options) {
  error *e = NULL;
  if (!bits_events_new(m)) return error_no_memory();
  m->lane = http_lane_new("saros-bits", &e);
  if (m->lane == NULL) return e;
  hold_device(m);
  e = load_clock(m, q);
  m->given = value_copy(options);
  if (e == NULL && m->given == NULL) e = error_no_memory();
  if (e == NULL) e = bits_manager_read(m, q, m->owner);
  if (e == NULL)
    e = m->owner ? begin_owning(m, q, false) : bits_load(m, q, false, false);
  bits_manager_note_owner(m, q);
  return e;
}

static error *open_queue(bits_manager *m, const value *options, error **told) {
  error *e = NULL;
  m->observes = value_boolean(value_get(options, "observe"), false);
  m->owner = !m->observes;
  bits_queue *q = bits_queue_open(m->path, &m->owner, told, &e);
  if (q == NULL) return e;
  tell(*told);
  e = bits_keeper_new(m, q);
  if (e == NULL) e = begin(m, q, options);
  if (e == NULL) e = bits_keeper_start(m);
  if (m->keeper == NULL) bits_queue_close(q);
  return e;
}

bits_manager *bits_manager_open(const value *options, error **told, error **e) {
  bits_manager *m = new_manager();
  *told = NULL;
  *e = m == NULL ? error_no_memory() : bits_manager_names(options, true);
  if (m != NULL && *e == NULL) *e = read_path(m, options);
  if (m != NULL && *e == NULL) *e = open_queue(m, options, told);
  if (*e == NULL) {
    go_on(m);
    return m;
  }
  if (m != NULL) {
    bits_manager_close(m);
    bits_manager_unref(m);
  }
  error_unref(*told);
  *told = NULL;
  return NULL;
}

/* ------------------------------------------------------------------
** Closed
** ---------------------------------------------------------------- */

/* With the lock. */
static bool has_tries(const bits_manager *m) {
  for (const bits_job *j = m->first; j != NULL; j = j->next)
    if (j->running > 0 || (j->marks & BITS_JOB_BUSY) != 0) return true;
  return false;
}

/* With the lock, let go meanwhile. */
static void stop_tries(bits_manager *m) {
  bool none;
  for (bits_job *j = m->first; m->mover != NULL && j != NULL; j = j->next)
    bits_mover_stop(j, &none);
  while (has_tries(m)) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) {
      until.tv_sec++;
      until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&m->done, &m->lock, &until);
  }
}

typedef struct barrier {
  bits_manager *m;
  bool passed;
} barrier;

static void pass(void *context) {
  barrier *b = context;
  pthread_mutex_lock(&b->m->lock);
  b->passed = true;
  pthread_cond_broadcast(&b->m->done);
  pthread_mutex_unlock(&b->m->lock);
}

/* Behind what was asked of the lane until now: what is called there finds the
   mover. */
static void drain_lane(bits_manager *m) {
  barrier b = {m, false};
  if (m->lane == NULL) return;
  bits_keeper_post(m, pass, &b);
  pthread_mutex_lock(&m->lock);
  while (!b.passed) pthread_cond_wait(&m->done, &m->lock);
  pthread_mutex_unlock(&m->lock);
}

/* With a reference, and the lock, which a child may have, too. NULL: there is
   none any more. */
static bits_job *let_go_of_one(bits_manager *m) {
  bits_job *j = m->dirty_jobs;
  const bits_file *f = m->dirty_files;
  if (j != NULL) {
    m->dirty_jobs = j->next_dirty;
  } else if (f != NULL) {
    m->dirty_files = f->next_dirty;
    j = f->job;
  } else if (m->first != NULL) {
    j = bits_job_ref(m->first);
    bits_manager_leave(m, j);
  }
  return j;
}

static void let_go_of_jobs(bits_manager *m) {
  bits_job *j;
  do {
    pthread_mutex_lock(&m->lock);
    j = let_go_of_one(m);
    pthread_mutex_unlock(&m->lock);
    if (j != NULL) bits_job_unref(j);
  } while (j != NULL);
}

static void close_for_good(bits_manager *m) {
  if (m->keeper != NULL) bits_keeper_stop(m);
  drain_lane(m);
  drain_lane(m); /* what was called there may have asked for more */
  bits_mover_free(m);
  if (m->keeper != NULL) bits_queue_close(m->keeper->queue);
  http_lane_drop(m->lane);
  bits_devices_free(m);
  saros_device_release(m->hold);
  http_drop(m->generation);
  pthread_mutex_lock(&m->lock);
  if (m->events != NULL) bits_events_close(m);
  for (bits_job *j = m->first; j != NULL; j = j->next) bits_job_closed(j);
  m->closed = true;
  pthread_cond_broadcast(&m->done);
  pthread_mutex_unlock(&m->lock);
  let_go_of_jobs(m);
}

/* A child has the memory, and nobody who would wait for it; where a thread of
   the parent was in the middle of something, the child leaves it at that. */
static void close_inherited(bits_manager *m) {
  if (m->closed || pthread_mutex_trylock(&m->lock) != 0) return;
  m->closed = m->closing = true;
  pthread_mutex_unlock(&m->lock);
  bits_devices_free(m);
  if (m->keeper != NULL) bits_queue_close(m->keeper->queue);
  let_go_of_jobs(m);
}

void bits_manager_close(bits_manager *m) {
  if (bits_manager_is_inherited(m)) {
    close_inherited(m);
    return;
  }
  pthread_mutex_lock(&m->lock);
  bool first = !m->closing;
  m->closing = true;
  pthread_cond_broadcast(&m->done); /* who waits for what will not come now */
  if (first) {
    stop_tries(m);
  } else {
    while (!m->closed) pthread_cond_wait(&m->done, &m->lock);
  }
  pthread_mutex_unlock(&m->lock);
  if (first) close_for_good(m);
}

bits_manager *bits_manager_ref(bits_manager *m) {
  atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
  return m;
}

/* Closed, or never begun: what runs has references. */
void bits_manager_unref(bits_manager *m) {
  if (m == NULL ||
      atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1)
    return;
  bits_keeper_free(m);
  bits_events_free(m);
  value_free(m->settings);
  value_free(m->given);
  error_unref(m->broken);
  mem_free(m->owned_by);
  mem_free(m->by_guid);
  mem_free(m->path);
  if (!bits_manager_is_inherited(m)) {
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->done);
  }
  mem_free(m);
}

bool bits_manager_is_inherited(const bits_manager *m) {
  return http_is_inherited(m->generation);
}

/* ------------------------------------------------------------------
** Asked
** ---------------------------------------------------------------- */

bool bits_manager_is_closed(const bits_manager *m) {
  bits_manager *it = (bits_manager *)(uintptr_t)m;
  if (bits_manager_is_inherited(m)) return true;
  pthread_mutex_lock(&it->lock);
  bool closed = it->closing;
  pthread_mutex_unlock(&it->lock);
  return closed;
}

const char *bits_manager_path(const bits_manager *m) {
  return m->path;
}

bool bits_manager_is_owner(bits_manager *m) {
  if (bits_manager_is_inherited(m)) return false;
  pthread_mutex_lock(&m->lock);
  bool owner = m->owner && !m->loads && !m->closing;
  pthread_mutex_unlock(&m->lock);
  return owner;
}

/* With the lock: what the mover says, and what the queue is set to. */
static bool tell_settings(bits_manager *m, value *map) {
  value *moves = m->mover != NULL ? bits_mover_status(m) : NULL;
  bool good = true;
  for (uint32_t i = 0; moves != NULL && i < moves->count; i++) {
    const value_field *f = &moves->as.fields[i];
    good = good && value_put(map, f->name, value_copy(f->item));
  }
  value_free(moves);
  return good && value_put(map, "settings", value_copy(m->settings));
}

value *bits_manager_status(bits_manager *m) {
  value *map = value_map();
  if (map == NULL) return NULL;
  bool inherited = bits_manager_is_inherited(m);
  bool good = path_put(map, m->path) &&
              value_put(map, "inherited", value_bool(inherited));
  if (!inherited) {
    pthread_mutex_lock(&m->lock);
    good = good && value_put(map, "owner", value_bool(m->owner)) &&
           value_put(map, "closed", value_bool(m->closing)) &&
           value_put(map, "jobs", value_int((int64_t)m->job_count)) &&
           value_put(map, "clock", value_real((double)bits_now(m) / 1000));
    if (m->owned_by != NULL)
      good = good && value_put(map, "owned_by", value_text(m->owned_by));
    if (m->broken != NULL)
      good = good && value_put(map, "broken", value_text(m->broken->message));
    good = good && tell_settings(m, map);
    pthread_mutex_unlock(&m->lock);
  }
  if (good) return map;
  value_free(map);
  return NULL;
}
