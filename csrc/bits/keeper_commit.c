/*
** What has changed becomes rows. The lists of what has changed are taken as a
** whole, jobs before their files; rows are made of them a slice at a time with
** the lock, and written without it. A mark goes when its row is made, so that
** what changes behind that is seen; if the queue cannot be written all of it
** is marked again.
*/
#include <stdio.h>

#include "bits/keeper.h"

#define JOBS_AT_ONCE 32
#define FILES_AT_ONCE 128
#define PATIENCE_MS 1000u /* until what failed is tried again; doubled, … */
#define PATIENCE_MOST 32000u

/* What is being written. */
typedef struct batch {
  bits_job *jobs; /* not yet */
  bits_file *files;
  bits_job **jobs_made; /* rows; each still has its reference */
  size_t job_count, job_room;
  bits_file **files_made;
  size_t file_count, file_room;
  char *settings;
  uint64_t change;
  bool notify;
} batch;

typedef struct made_job {
  bool drop;
  queue_job row;
  char *properties;
} made_job;

typedef struct made_file {
  queue_file row;
  char *url, *path, *known, *extra;
} made_file;

/* Room for `more` pointers. */
static bool reserve(void **list, size_t *room, size_t count, size_t more) {
  if (count + more <= *room) return true;
  size_t wanted = *room * 2 + more;
  void *grown = mem_grow(*list, wanted * sizeof(void *));
  if (grown == NULL) return false;
  *list = grown;
  *room = wanted;
  return true;
}

/* ------------------------------------------------------------------
** Rows of jobs
** ---------------------------------------------------------------- */

/* With the lock. False: no memory. */
static bool make_job(batch *b, bits_job *j, made_job *made) {
  *made = (made_job){.drop = (j->marks & BITS_JOB_GONE) != 0};
  made->row = (queue_job){.id = j->id,
                          .guid = j->guid,
                          .state = (int)j->state,
                          .type = (int)j->type,
                          .priority = (int)j->priority};
  if (made->drop) return true;
  made->properties = bits_properties_write(j);
  made->row.properties = made->properties;
  b->notify |= (j->marks & BITS_JOB_NOTIFY) != 0;
  return made->properties != NULL;
}

static error *put_job(bits_queue *q, made_job *made) {
  error *e = made->drop ? bits_queue_drop_job(q, made->row.id)
                        : bits_queue_put_job(q, &made->row);
  mem_free(made->properties);
  return e;
}

/* With the lock: the next few; 0 when there are none, or no memory. */
static size_t make_jobs(batch *b, made_job *made, error **e) {
  size_t n = 0;
  void *list = b->jobs_made;
  if (!reserve(&list, &b->job_room, b->job_count, JOBS_AT_ONCE))
    *e = error_no_memory();
  b->jobs_made = list;
  while (*e == NULL && list != NULL && n < JOBS_AT_ONCE && b->jobs != NULL) {
    bits_job *j = b->jobs;
    if (!make_job(b, j, &made[n])) {
      *e = error_no_memory();
      break;
    }
    b->jobs = j->next_dirty;
    j->marks &= (uint8_t)~BITS_JOB_DIRTY;
    b->jobs_made[b->job_count++] = j;
    n++;
  }
  return n;
}

static error *write_jobs(bits_manager *m, batch *b) {
  made_job made[JOBS_AT_ONCE];
  error *e = NULL;
  size_t n;
  do {
    pthread_mutex_lock(&m->lock);
    n = make_jobs(b, made, &e);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < n; i++) {
      if (e == NULL)
        e = put_job(m->keeper->queue, &made[i]);
      else
        mem_free(made[i].properties);
    }
  } while (e == NULL && n > 0);
  return e;
}

/* ------------------------------------------------------------------
** Rows of files
** ---------------------------------------------------------------- */

static void free_file(made_file *made) {
  mem_free(made->url);
  mem_free(made->path);
  mem_free(made->known);
  mem_free(made->extra);
}

/* Nobody knows of a try, or of bytes in memory, when the queue is opened
   again. */
static int state_of(const bits_file *f) {
  bool lost = f->state == BITS_FILE_RUNS || f->small != NULL;
  return lost ? BITS_FILE_WAITS : f->state;
}

/* With the lock. */
static bool make_file(const bits_file *f, made_file *made) {
  *made = (made_file){.url = mem_text(f->url), .path = mem_text(f->path)};
  bool good = bits_file_write(f, &made->known, &made->extra);
  uint64_t have = atomic_load(&f->have);
  made->row = (queue_file){.job = f->job->id,
                           .number = f->number,
                           .url = made->url,
                           .path = made->path,
                           .state = state_of(f),
                           .marks = f->marks & ~BITS_FILE_DIRTY,
                           .have = have < INT64_MAX ? (int64_t)have : 0,
                           .size = f->size < INT64_MAX ? (int64_t)f->size : -1,
                           .known = made->known,
                           .extra = made->extra};
  if (good && made->url != NULL && made->path != NULL) return true;
  free_file(made);
  return false;
}

/* With the lock: the next few. Those of a job that is gone have no rows. */
static size_t make_files(batch *b, made_file *made, error **e) {
  size_t n = 0;
  void *list = b->files_made;
  if (!reserve(&list, &b->file_room, b->file_count, FILES_AT_ONCE))
    *e = error_no_memory();
  b->files_made = list;
  for (size_t i = 0;
       *e == NULL && list != NULL && i < FILES_AT_ONCE && b->files != NULL;
       i++) {
    bits_file *f = b->files;
    bool gone = (f->job->marks & BITS_JOB_GONE) != 0;
    if (!gone && !make_file(f, &made[n])) {
      *e = error_no_memory();
      break;
    }
    b->files = f->next_dirty;
    f->marks &= (uint8_t)~BITS_FILE_DIRTY;
    b->files_made[b->file_count++] = f;
    n += !gone;
  }
  return n;
}

static error *write_files(bits_manager *m, batch *b) {
  made_file made[FILES_AT_ONCE];
  error *e = NULL;
  bool more;
  do {
    pthread_mutex_lock(&m->lock);
    size_t n = make_files(b, made, &e);
    more = b->files != NULL;
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < n; i++) {
      if (e == NULL) e = bits_queue_put_file(m->keeper->queue, &made[i].row);
      free_file(&made[i]);
    }
  } while (e == NULL && more);
  return e;
}

/* ------------------------------------------------------------------
** The transaction
** ---------------------------------------------------------------- */

/* The clock stands in each: so none is empty, and one that is for good makes
   those before it last, too. */
static error *write_rest(bits_manager *m, const batch *b) {
  char clock[24];
  bits_queue *q = m->keeper->queue;
  snprintf(clock, sizeof clock, "%llu", (unsigned long long)bits_now(m));
  error *e = bits_queue_put_setting(q, "clock", clock);
  if (e == NULL && b->settings != NULL)
    e = bits_queue_put_setting(q, "settings", b->settings);
  return e != NULL ? e : bits_orphans_write(m);
}

static error *write_all(bits_manager *m, batch *b, bool full) {
  bits_queue *q = m->keeper->queue;
  error *e = bits_queue_begin(q, full);
  if (e == NULL) e = write_jobs(m, b);
  if (e == NULL) e = write_files(m, b);
  if (e == NULL) e = write_rest(m, b);
  if (e == NULL) e = bits_queue_commit(q);
  if (e != NULL) bits_queue_undo(q);
  return e;
}

/* With the lock. */
static error *take(bits_manager *m, batch *b) {
  if (m->settings_dirty) {
    buffer text = BUFFER_EMPTY;
    json_write(&text, m->settings, JSON_COMPACT);
    b->settings = buffer_take(&text);
    if (b->settings == NULL) return error_no_memory();
    m->settings_dirty = false;
  }
  b->jobs = m->dirty_jobs;
  b->files = m->dirty_files;
  b->change = m->changes;
  m->dirty_jobs = NULL;
  m->dirty_jobs_end = &m->dirty_jobs;
  m->dirty_files = NULL;
  m->dirty_files_end = &m->dirty_files;
  return NULL;
}

/* With the lock. */
static void append_jobs(bits_manager *m, bits_job *list) {
  *m->dirty_jobs_end = list;
  while (*m->dirty_jobs_end != NULL)
    m->dirty_jobs_end = &(*m->dirty_jobs_end)->next_dirty;
}

static void append_files(bits_manager *m, bits_file *list) {
  *m->dirty_files_end = list;
  while (*m->dirty_files_end != NULL)
    m->dirty_files_end = &(*m->dirty_files_end)->next_dirty;
}

/* With the lock: what was not written is to be written again, before what has
   changed since. References that are not needed stay in the batch. */
static void give_back_jobs(bits_manager *m, batch *b) {
  bits_job *since = m->dirty_jobs;
  size_t kept = 0;
  m->dirty_jobs_end = &m->dirty_jobs;
  for (size_t i = 0; i < b->job_count; i++) {
    bits_job *j = b->jobs_made[i];
    if ((j->marks & BITS_JOB_DIRTY) != 0) {
      b->jobs_made[kept++] = j;
      continue;
    }
    j->marks |= BITS_JOB_DIRTY;
    *m->dirty_jobs_end = j;
    m->dirty_jobs_end = &j->next_dirty;
  }
  b->job_count = kept;
  append_jobs(m, b->jobs);
  append_jobs(m, since);
}

static void give_back_files(bits_manager *m, batch *b) {
  bits_file *since = m->dirty_files;
  size_t kept = 0;
  m->dirty_files_end = &m->dirty_files;
  for (size_t i = 0; i < b->file_count; i++) {
    bits_file *f = b->files_made[i];
    if ((f->marks & BITS_FILE_DIRTY) != 0) {
      b->files_made[kept++] = f;
      continue;
    }
    f->marks |= BITS_FILE_DIRTY;
    *m->dirty_files_end = f;
    m->dirty_files_end = &f->next_dirty;
  }
  b->file_count = kept;
  append_files(m, b->files);
  append_files(m, since);
}

/* With the lock. */
static void failed(bits_manager *m, batch *b, error *e) {
  bits_keeper *k = m->keeper;
  give_back_jobs(m, b);
  give_back_files(m, b);
  m->settings_dirty |= b->settings != NULL;
  uint64_t wait = PATIENCE_MS << (k->failures < 5 ? k->failures : 5);
  k->failures++;
  k->commit_at = http_clock() + (wait < PATIENCE_MOST ? wait : PATIENCE_MOST);
  error_unref(m->broken);
  m->broken = error_ref(e);
}

/* With the lock. */
static void succeeded(bits_manager *m, const batch *b, bool full) {
  bits_keeper *k = m->keeper;
  for (size_t i = 0; i < b->file_count; i++) b->files_made[i]->rowless = false;
  k->failures = 0;
  k->committed = b->change;
  if (full) k->committed_full = b->change;
  k->notify |= b->notify;
  if (m->broken == NULL) return;
  error_unref(m->broken);
  m->broken = NULL;
  if (m->mover != NULL) bits_mover_wake(m);
}

static void tell(bits_manager *m, const error *e, bool was_broken) {
  buffer b = BUFFER_EMPTY;
  if (e != NULL && !was_broken) {
    buffer_format(&b,
                  "%s cannot be written: %s. Nothing new is begun until it "
                  "can; it is tried again and again",
                  m->path, e->message);
    if (!b.failed) saros_log(SAROS_LOG_ERROR, "bits", b.data);
  } else if (e == NULL && was_broken) {
    buffer_format(&b, "%s can be written again", m->path);
    if (!b.failed) saros_log(SAROS_LOG_NOTICE, "bits", b.data);
  }
  buffer_free(&b);
}

static void free_batch(batch *b) {
  for (size_t i = 0; i < b->job_count; i++) bits_job_unref(b->jobs_made[i]);
  for (size_t i = 0; i < b->file_count; i++)
    bits_job_unref(b->files_made[i]->job);
  mem_free(b->jobs_made);
  mem_free(b->files_made);
  mem_free(b->settings);
}

void bits_keeper_commit(bits_manager *m) {
  bits_keeper *k = m->keeper;
  batch b = {0};
  k->commit_at = KEEPER_NEVER;
  keeper_waiters w = bits_keeper_waiters(m);
  error *e = take(m, &b);
  pthread_mutex_unlock(&m->lock);
  if (e == NULL) e = write_all(m, &b, w.full);
  pthread_mutex_lock(&m->lock);
  bool was_broken = m->broken != NULL;
  bits_orphans_written(m, e == NULL);
  if (e != NULL)
    failed(m, &b, e);
  else
    succeeded(m, &b, w.full);
  pthread_mutex_unlock(&m->lock);
  tell(m, e, was_broken);
  bits_keeper_answer(m, &w, e);
  error_unref(e);
  free_batch(&b);
  pthread_mutex_lock(&m->lock);
}
