/*
** What the suites about the mover share: a manager, jobs and tries that are
** none, a clock that is turned by hand, and looks that come when the test
** says so. Everything happens on the test's own thread.
*/
#ifndef SAROS_SPEC_MOVER_CASE_H
#define SAROS_SPEC_MOVER_CASE_H

#include "bits/mover_parts.h"
#include "check.h"

/* The module has the engine's table from Lua. */
__attribute__((weak)) const saros_api *saros_api_table;

typedef struct fake {
  bits_try is; /* what the mover sees */
  struct fake *next;
  bits_file *file;
  const bits_try_calls *calls;
  void *context;
  mover_way way;
  uint64_t down, up;
  bool lone, stopped, begun;
  unsigned limits; /* how often it was told of one */
} fake;

typedef struct failure {
  bits_job *job;
  uint32_t file, code;
  bits_end end;
} failure;

#define WORLD_MOST 65536

static struct world {
  bits_manager m;
  uint64_t now;
  time_t wall;
  void (*look)(void *context);
  void *look_context;
  unsigned looks;  /* that were */
  fake *tries;     /* at work, the last that began first */
  unsigned starts; /* ever */
  bits_file *order[WORLD_MOST];
  bool no_start;  /* nothing can be begun */
  bool no_finish; /* what was fetched stays so */
  failure failures[256];
  unsigned failure_count, idles, moves, alarms;
  bits_committed commit;
  void *commit_context;
  unsigned commits;
  int64_t next_id;
} w;

static inline uint64_t world_now(const bits_manager *m) {
  (void)m;
  return w.now;
}

static inline time_t world_wall(void) {
  return w.wall;
}

static inline bool world_call(http_lane *lane, void (*call)(void *),
                              void *context) {
  (void)lane;
  if (w.look != NULL) abort(); /* twice */
  w.look = call;
  w.look_context = context;
  return true;
}

static inline bool world_call_none(http_lane *lane, void (*call)(void *),
                                   void *context) {
  (void)lane;
  (void)call;
  (void)context;
  return false;
}

static inline void fake_stop(bits_try *t) {
  ((fake *)(void *)t)->stopped = true;
}

static inline void fake_limit(bits_try *t, uint64_t down, uint64_t up) {
  fake *f = (fake *)(void *)t;
  f->limits++;
  f->down = down;
  f->up = up;
}

static inline bits_try *world_start(mover_way way, const bits_try_ask *ask,
                                    error **e) {
  if (pthread_mutex_trylock(&w.m.lock) != 0)
    abort(); /* a disk is touched here */
  pthread_mutex_unlock(&w.m.lock);
  if (w.starts < WORLD_MOST) w.order[w.starts] = ask->file;
  w.starts++;
  if (w.no_start) {
    *e = error_no_memory();
    return NULL;
  }
  fake *f = calloc(1, sizeof *f);
  if (f == NULL) abort();
  f->is = (bits_try){fake_stop, fake_limit};
  f->file = ask->file;
  f->calls = ask->calls;
  f->context = ask->context;
  f->way = way;
  f->down = ask->down;
  f->up = ask->up;
  f->lone = ask->lone;
  f->next = w.tries;
  w.tries = f;
  return &f->is;
}

static inline void world_move(bits_job *j, bits_state to) {
  if (j->state == to) return;
  w.moves++;
  j->state = to;
  bits_mover_touch(j);
}

static inline void world_fails(bits_job *j, bits_file *f,
                               const bits_result *r) {
  if (w.failure_count < 256)
    w.failures[w.failure_count] = (failure){j, f->number, r->code, r->end};
  w.failure_count++;
  f->state = BITS_FILE_WAITS;
  if (f->number < j->next_file) j->next_file = f->number;
  bool passes = r->end == BITS_END_AGAIN || r->end == BITS_END_OFFLINE;
  if (passes && j->no_progress_ms > 0) {
    j->retry_at = w.now + j->retry_delay_ms;
    world_move(j, BITS_TRANSIENT_ERROR);
  } else {
    bool none;
    world_move(j, BITS_ERROR);
    bits_mover_stop(j, &none);
  }
}

static inline void world_idle(bits_job *j) {
  (void)j;
  w.idles++;
}

static inline void world_finish(bits_manager *m, bits_file *f) {
  (void)m;
  if (w.no_finish) return;
  f->state = BITS_FILE_DONE;
  if (++f->job->files_done == f->job->file_count)
    world_move(f->job, BITS_TRANSFERRED);
}

static inline void world_commit(bits_file *f, bits_committed call,
                                void *context) {
  (void)f;
  if (w.commit != NULL) abort();
  w.commits++;
  w.commit = call;
  w.commit_context = context;
}

static inline void world_touch(bits_file *f) {
  (void)f;
}

static inline void world_unref(bits_job *j) {
  atomic_fetch_sub(&j->refs, 1);
}

static inline void world_look_at(bits_manager *m, uint64_t at) {
  w.alarms++;
  m->look_at = at;
}

static inline uint64_t world_tick(bits_job *j) {
  if (j->state != BITS_TRANSIENT_ERROR) return MOVER_NEVER;
  if (w.now < j->retry_at) return j->retry_at;
  world_move(j, BITS_QUEUED);
  return MOVER_NEVER;
}

/* ------------------------------------------------------------------
** What a test does
** ---------------------------------------------------------------- */

/* Looks as often as somebody wants one. */
static inline void turn(void) {
  while (w.look != NULL) {
    void (*look)(void *) = w.look;
    w.look = NULL;
    w.looks++;
    look(w.look_context);
  }
}

static inline void wake(void) {
  pthread_mutex_lock(&w.m.lock);
  bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
}

static inline void look(void) {
  pthread_mutex_lock(&w.m.lock);
  bits_mover_look(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
}

/* The keeper's part: it calls when it is time. */
static inline void until(uint64_t then) {
  turn();
  for (int i = 0; i < 1000000 && w.m.look_at <= then; i++) {
    if (w.now < w.m.look_at) w.now = w.m.look_at;
    w.m.look_at = MOVER_NEVER;
    look();
  }
  if (w.now < then) w.now = then;
}

static inline void pass(uint64_t ms) {
  until(w.now + ms);
}

static inline void world_begin(const char *settings) {
  memset(&w, 0, sizeof w);
  w.now = 1000000;
  w.wall = 1700000000;
  w.m.owner = true;
  w.m.look_at = MOVER_NEVER;
  pthread_mutex_init(&w.m.lock, NULL);
  mover_hook = (mover_hooks){.now = world_now,
                             .wall = world_wall,
                             .call = world_call,
                             .start = world_start,
                             .move = world_move,
                             .fails = world_fails,
                             .is_idle = world_idle,
                             .finish = world_finish,
                             .commit = world_commit,
                             .touch = world_touch,
                             .unref = world_unref,
                             .look_at = world_look_at,
                             .tick = world_tick,
                             .seed = 42};
  if (bits_mover_new(&w.m) != NULL) abort();
  if (settings == NULL) return;
  error *e = NULL;
  value *v = json_read(settings, strlen(settings), NULL, &e);
  if (v == NULL) abort();
  pthread_mutex_lock(&w.m.lock);
  e = bits_mover_settings(&w.m, v);
  pthread_mutex_unlock(&w.m.lock);
  if (e != NULL) {
    printf("%s\n", e->message);
    abort();
  }
  value_free(v);
}

static inline bits_job *a_job(bits_priority priority, unsigned files,
                              const char *host) {
  bits_job *j = mem_zero(sizeof *j);
  char url[200];
  j->m = &w.m;
  j->id = ++w.next_id;
  j->priority = priority;
  j->state = BITS_QUEUED;
  j->retry_delay_ms = 600000;
  j->no_progress_ms = 14 * 86400000ull;
  j->progress_at = w.now;
  j->terms = bits_terms_new();
  j->files = mem_zero((files + 1) * sizeof *j->files);
  for (unsigned i = 0; i < files; i++) {
    bits_file *f = mem_zero(sizeof *f);
    snprintf(url, sizeof url, "http://%s/%u", host, i);
    f->job = j;
    f->number = i;
    f->url = mem_text(url);
    f->size = BITS_UNKNOWN;
    j->files[i] = f;
  }
  j->file_count = files;
  atomic_init(&j->refs, 1);
  j->previous = w.m.last;
  if (w.m.last != NULL)
    w.m.last->next = j;
  else
    w.m.first = j;
  w.m.last = j;
  return j;
}

static inline void job_free(bits_job *j) {
  CHECK_INT(atomic_load(&j->refs), 1);
  CHECK(j->turn.later == NULL && j->turn.bad == NULL && j->turn.list == NULL);
  for (uint32_t i = 0; i < j->file_count; i++) {
    mem_free(j->files[i]->url);
    bits_known *k = j->files[i]->known;
    if (k != NULL) mem_free(k->etag);
    mem_free(k);
    mem_free(j->files[i]);
  }
  mem_free(j->files);
  bits_terms_unref(j->terms);
  mem_free(j);
}

static inline fake *fake_of(const bits_file *f) {
  for (fake *t = w.tries; t != NULL; t = t->next)
    if (t->file == f) return t;
  return NULL;
}

static inline unsigned fakes(void) {
  unsigned n = 0;
  for (fake *t = w.tries; t != NULL; t = t->next) n++;
  return n;
}

static inline void fake_begun(fake *t) {
  t->begun = true;
  if (t->calls->begun != NULL) t->calls->begun(t->context);
}

static inline void fake_ends(fake *t, const bits_result *r) {
  fake **link = &w.tries;
  while (*link != t) link = &(*link)->next;
  *link = t->next;
  t->calls->ended(t->context, r);
  free(t);
  turn();
}

static inline void ends(bits_file *f, bits_end end) {
  fake *t = fake_of(f);
  if (t == NULL) {
    printf("file %u of job %lld is not at work\n", f->number,
           (long long)f->job->id);
    CHECK(t != NULL);
    return;
  }
  bits_result r = {.end = end, .proven = true};
  if (end == BITS_END_AGAIN || end == BITS_END_FAILED) {
    r.code = BG_E_HTTP(500);
    r.transport = 500;
    r.context = BITS_CONTEXT_REMOTE;
  }
  fake_ends(t, &r);
}

static inline void all_end(bits_end end) {
  while (w.tries != NULL) ends(w.tries->file, end);
}

static inline void stopped_end(void) {
  fake *next;
  for (fake *t = w.tries; t != NULL; t = next) {
    next = t->next;
    if (!t->stopped) continue;
    ends(t->file, BITS_END_STOPPED);
    next = w.tries;
  }
}

/* What runs is stopped, and everything is taken down. */
static inline void world_end(void) {
  pthread_mutex_lock(&w.m.lock);
  w.m.closing = true;
  bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
  stopped_end();
  if (w.commit != NULL) {
    bits_committed call = w.commit;
    w.commit = NULL;
    call(w.commit_context, NULL);
    stopped_end();
  }
  CHECK(w.tries == NULL);
  mover_hook.call = world_call_none; /* nobody would come to look */
  bits_mover_free(&w.m);
  while (w.m.first != NULL) {
    bits_job *j = w.m.first;
    w.m.first = j->next;
    job_free(j);
  }
  pthread_mutex_destroy(&w.m.lock);
  memset(&mover_hook, 0, sizeof mover_hook);
}

#endif
