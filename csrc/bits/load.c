/*
** Jobs out of their rows. Of an owner once, when the queue is opened or taken
** over; of an observer again whenever somebody has written: jobs that scripts
** hold stay the ones they are, and are brought up to date.
*/
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "bits/job_parts.h"
#include "bits/keeper.h"

#ifdef SAROS_TEST
load_fails bits_load_fails;
#endif

typedef struct load {
  bits_manager *m;
  bits_job
      *job; /* whose files come now; a reference. NULL: they are left out */
  uint32_t reading;
  bool own;
  bits_state before; /* of the job, at an observer's */
} load;

static uint32_t reading_next(void) {
  static _Atomic uint32_t last;
  return atomic_fetch_add(&last, 1) + 1;
}

/* A row that means nothing to us. What cannot be read is not guessed. */
static void tell(const bits_manager *m, const char *id, const char *what,
                 error *e) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s: job %s: %s%s%s", m->path, id, what,
                e != NULL ? ": " : "", e != NULL ? e->message : "");
  if (!b.failed) saros_log(SAROS_LOG_ERROR, "bits", b.data);
  buffer_free(&b);
  error_unref(e);
}

/* ------------------------------------------------------------------
** Of an owner: what the process before has left
** ---------------------------------------------------------------- */

/* Its part is not there: either it has its name, and only the row does not
   know, or somebody has taken it away. Nobody else has the job yet. */
static void look_for_part(bits_file *f) {
  struct stat s;
  char *part = bits_part_name(f);
  bool gone = part != NULL && lstat(part, &s) != 0 &&
              (errno == ENOENT || errno == ENOTDIR);
  mem_free(part);
  if (!gone) return;
  bool appeared = bits_finish_appeared(f);
  if (!appeared) bits_file_know(f, NULL);
  pthread_mutex_lock(&f->job->m->lock);
  if (appeared) {
    f->marks |= BITS_FILE_APPEARED;
  } else {
    f->state = BITS_FILE_WAITS;
    atomic_store(&f->have, 0);
  }
  bits_file_touch(f);
  pthread_mutex_unlock(&f->job->m->lock);
}

/* A torn one may lack files: nobody shall take it for whole. */
static void stop_torn(bits_job *j) {
  static const char why[] =
      "the queue was damaged: files of this job may be missing. Look at what "
      "it has, and resume, or cancel it";
  mem_free(j->failure.why);
  j->failure = (bits_failure){.code = SAROS_E_DAMAGED,
                              .context = BITS_CONTEXT_QUEUE,
                              .why = mem_text(why)};
  if (j->state < BITS_ACKNOWLEDGED) j->state = BITS_ERROR;
}

/* With the lock: what the owner knows and has heard, so that an observer
   does. */
static void observed(const load *l, bits_job *j) {
  j->files_done = 0;
  for (uint32_t i = 0; i < j->file_count; i++)
    if (j->files[i]->state == BITS_FILE_DONE) j->files_done++;
  if (j->state == l->before) return;
  bits_event(j, "state", -1);
  if (j->state == BITS_TRANSFERRED) bits_event(j, "transferred", -1);
  if (j->state == BITS_ERROR) bits_event(j, "error", j->failure.file);
}

/* All its files are there. */
static void settle(load *l) {
  bits_job *j = l->job;
  l->job = NULL;
  if (j == NULL) return;
  if (l->own && j->type == BITS_DOWNLOAD && j->state < BITS_ACKNOWLEDGED)
    for (uint32_t i = 0; i < j->file_count; i++)
      if ((j->files[i]->state == BITS_FILE_DONE ||
           j->files[i]->state == BITS_FILE_FETCHED) &&
          (j->files[i]->marks & BITS_FILE_APPEARED) == 0)
        look_for_part(j->files[i]);
  pthread_mutex_lock(&l->m->lock);
  if (l->own) {
    bits_job_let_go(j);
    bits_job_loaded(j);
  } else {
    observed(l, j);
  }
  pthread_mutex_unlock(&l->m->lock);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

/* With the lock: it has no row any more, and so has left the queue where it is
   owned: which way, nobody has written down. */
static void has_left(bits_job *j) {
  j->state = j->state == BITS_TRANSFERRED ? BITS_ACKNOWLEDGED : BITS_CANCELLED;
  bits_event(j, "state", -1);
  bits_manager_leave(j->m, j);
}

/* With the lock; a reference. One that has the same GUID and another number was
   made anew behind our back. */
static bits_job *find_or_make(load *l, const queue_job *row) {
  bits_manager *m = l->m;
  bits_job *j = bits_manager_find(m, row->guid);
  if (j != NULL && j->id != row->id) {
    has_left(j);
    j = NULL;
  }
  if (j != NULL) {
    l->before = j->state;
    return bits_job_ref(j);
  }
  l->before = (bits_state)row->state;
  j = bits_job_new(m, row->guid, row->id, (bits_type)row->type);
  if (j == NULL || bits_manager_enter(m, j)) return j;
  bits_job_unref(j);
  return NULL;
}

/* With the lock: the job of the row. Nothing of an owner's is begun, or taken
   for done, while files may be missing. */
static void begin_job(load *l, const queue_job *row) {
  l->job = find_or_make(l, row);
  if (l->job == NULL) return;
  if (l->own) bits_job_seize(l->job);
  l->job->seen = l->reading;
  l->job->priority = (bits_priority)row->priority;
  if (row->id >= l->m->next_id) l->m->next_id = row->id + 1;
}

/* With the lock. */
static void set_state(const load *l, bits_job *j, const queue_job *row) {
  j->state = (bits_state)row->state;
  if (!row->torn) return;
  stop_torn(j);
  if (l->own) bits_job_touch(j);
}

static error *load_job(void *context, const queue_job *row) {
  load *l = context;
  error *e = NULL;
  settle(l);
  value *properties =
      json_read(row->properties, strlen(row->properties), NULL, &e);
  if (properties == NULL) {
    tell(l->m, row->guid, "its properties cannot be read", e);
    return NULL;
  }
  pthread_mutex_lock(&l->m->lock);
  begin_job(l, row);
  pthread_mutex_unlock(&l->m->lock);
  bits_job *j = l->job;
  /* Who only looks needs no secrets. */
  e = j != NULL ? bits_properties_load(j, properties, l->own)
                : error_no_memory();
  value_free(properties);
  if (j == NULL) return e;
  pthread_mutex_lock(&l->m->lock);
  set_state(l, j, row);
  pthread_mutex_unlock(&l->m->lock);
  if (e == NULL) return NULL;
  tell(l->m, row->guid, "its properties are not as they were written", e);
  return NULL;
}

/* With the lock; it has been there: urls may be others, paths never are. */
static error *read_file(bits_file *f, const queue_file *row) {
  if (strcmp(f->url, row->url) != 0) {
    char *url = mem_text(row->url);
    if (url == NULL) return error_no_memory();
    mem_free(f->url);
    f->url = url;
  }
  f->state = (uint8_t)row->state;
  f->marks = (uint8_t)((f->marks & BITS_FILE_DIRTY) |
                       (row->marks & ~BITS_FILE_DIRTY & 0xFFu));
  atomic_store(&f->have, (uint64_t)row->have);
  f->size = row->size >= 0 ? (uint64_t)row->size : BITS_UNKNOWN;
  return bits_file_read(f, row);
}

/* With the lock. A number that is missing was lost with a damaged queue: the
   others keep theirs, because names of parts are made of them, and an empty
   one stands for it that cannot be fetched. */
static bits_file *find_or_append(bits_job *j, const queue_file *row) {
  while (j->file_count < row->number)
    if (bits_job_append(j, "http://lost.invalid/", row->path) == NULL)
      return NULL;
  if (row->number < j->file_count) return j->files[row->number];
  return bits_job_append(j, row->url, row->path);
}

/* No job of ours has so many: somebody has written that, to have all memory
   taken. What the job lacks then nobody shall overlook. */
static error *pass_over(load *l, const queue_file *row) {
  pthread_mutex_lock(&l->m->lock);
  if (l->own) {
    stop_torn(l->job);
    bits_job_touch(l->job);
  }
  pthread_mutex_unlock(&l->m->lock);
  tell(l->m, l->job->guid, "one of its files is passed over",
       bits_fail(SAROS_E_DAMAGED, "its number, %lu, is too large",
                 (unsigned long)row->number));
  return NULL;
}

static error *load_file(void *context, const queue_file *row) {
  load *l = context;
  if (l->job == NULL) return NULL;
  if (row->number >= BITS_FILES_MOST) return pass_over(l, row);
  pthread_mutex_lock(&l->m->lock);
  bits_file *f = find_or_append(l->job, row);
  error *e = f != NULL ? read_file(f, row) : error_no_memory();
  pthread_mutex_unlock(&l->m->lock);
  if (e == NULL || e->code == SAROS_E_OUTOFMEMORY) return e;
  tell(l->m, l->job->guid, "what is known of one of its files cannot be read",
       e);
  return NULL;
}

static error *load_orphan(void *context, const queue_orphan *row) {
  load *l = context;
  settle(l);
  if (!l->own) return NULL;
  pthread_mutex_lock(&l->m->lock);
  bool good = bits_orphans_load(l->m, row);
  pthread_mutex_unlock(&l->m->lock);
  return good ? NULL : error_no_memory();
}

/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

/* Those that have no row any more. */
static void leave_behind(load *l) {
  bits_manager *m = l->m;
  pthread_mutex_lock(&m->lock);
  for (bits_job *j = m->first, *next; j != NULL; j = next) {
    next = j->next;
    if (j->seen != l->reading) has_left(j);
  }
  pthread_mutex_unlock(&m->lock);
}

static error *read_rows(load *l, bits_queue *q) {
  static const queue_calls calls = {
      .job = load_job, .file = load_file, .orphan = load_orphan};
  error *e = bits_queue_load(q, &calls, l);
#ifdef SAROS_TEST
  _Atomic int *fails = l->own ? &bits_load_fails.owns : &bits_load_fails.looks;
  if (e == NULL && atomic_load(fails) > 0) {
    atomic_fetch_sub(fails, 1);
    e = error_no_memory();
  }
#endif
  return e;
}

error *bits_load(bits_manager *m, bits_queue *q, bool again, bool own) {
  load l = {.m = m, .own = own, .reading = reading_next()};
  error *e = read_rows(&l, q);
  if (e == NULL) settle(&l);
  if (l.job != NULL && own) {
    pthread_mutex_lock(&m->lock);
    bits_job_let_go(l.job);
    pthread_mutex_unlock(&m->lock);
  }
  if (l.job != NULL) bits_job_unref(l.job);
  if (e == NULL && again) leave_behind(&l);
  return e;
}
