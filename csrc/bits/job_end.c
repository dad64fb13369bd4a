/*
** How a job ends: completed (its files get their names) or cancelled (what is
** here of them goes). Both first wait until no try is at work and nobody else
** has the files, and answer when it is written down.
**
** A cancelled job is written down as that before anything is deleted, and its
** rows go behind that: whoever dies in between leaves a job that is cancelled
** to its end when the queue is opened again. A completed one goes when all its
** files have their names: whoever dies before completes it once more.
*/
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/finish_parts.h"
#include "bits/job_parts.h"

#define NAMED_AT_ONCE 256

/* With the lock: a try is at work, or the keeper will be; when the queue is
   closed it will not, but tries end first. */
static bool is_at_work(const bits_job *j) {
  if (j->running > 0) return true;
  if (j->m->closing) return false;
  for (uint32_t i = 0; i < j->file_count; i++)
    if (j->files[i]->state == BITS_FILE_FETCHED) return true;
  return false;
}

/* Its rows go, and then it does; also if they could not yet, for it is over. */
static error *leave(bits_job *j) {
  error *e = bits_keeper_flush(j->m, true);
  bits_job_lock(j);
  bits_manager_leave(j->m, j);
  bits_job_unlock(j);
  return e;
}

void bits_job_hold_files(bits_job *j) {
  while ((j->marks & BITS_JOB_BUSY) != 0 || is_at_work(j))
    pthread_cond_wait(&j->m->done, &j->m->lock);
  bits_job_seize(j);
}

/* With the lock: what an upload has left at its server, also one that went
   otherwise in the end. */
static void leave_orphans(bits_job *j) {
  for (uint32_t i = 0; i < j->file_count; i++) {
    const bits_extra *x = j->files[i]->extra;
    if (x != NULL && x->upload != NULL)
      bits_keeper_orphan(j->m, x->upload, j->terms);
  }
}

/* ------------------------------------------------------------------
** What is here of files goes. The files are held, the lock is not.
** ---------------------------------------------------------------- */

typedef struct dropping {
  bits_job *j;
  bool all; /* not only what is not done */
  bool good;
  uint32_t next;
  size_t count;
  const bits_file *files[NAMED_AT_ONCE];
  bool named[NAMED_AT_ONCE];
} dropping;

/* Of a job whose files should have had no names until all were there those that
   have one go, too. */
static bool goes(const dropping *d, const bits_file *f, bool *named) {
  *named = (f->marks & BITS_FILE_APPEARED) != 0;
  if (*named) return d->all && (d->j->marks & BITS_JOB_GROUP) == 0;
  return d->all || f->state != BITS_FILE_DONE;
}

/* The next few; false: there are none. */
static bool choose_dropped(dropping *d) {
  bits_job *j = d->j;
  bits_job_lock(j);
  for (d->count = 0; d->next < j->file_count && d->count < NAMED_AT_ONCE;
       d->next++)
    if (goes(d, j->files[d->next], &d->named[d->count]))
      d->files[d->count++] = j->files[d->next];
  bits_job_unlock(j);
  return d->count > 0;
}

static bool is_gone(void) {
  return errno == ENOENT || errno == ENOTDIR;
}

/* A name is only taken from the file that was ours. */
static bool drop_named(const bits_file *f) {
  struct stat s;
  if (lstat(f->path, &s) != 0) return is_gone();
  return bits_finish_is_named(f) && (unlink(f->path) == 0 || is_gone());
}

/* False: something stays. */
static bool drop_files(bits_job *j, bool all) {
  dropping d = {.j = j, .all = all, .good = true};
  if (j->type != BITS_DOWNLOAD) return true;
  while (choose_dropped(&d))
    for (size_t i = 0; i < d.count; i++) {
      const bits_file *f = d.files[i];
      bool gone = d.named[i] ? drop_named(f) : bits_finish_drop(f) || is_gone();
      d.good = gone && d.good;
    }
  return d.good;
}

/* ------------------------------------------------------------------
** Completed
** ---------------------------------------------------------------- */

typedef struct naming {
  bits_job *j;
  bits_terms *terms;
  bits_file *files[NAMED_AT_ONCE];
  bits_result results[NAMED_AT_ONCE];
  size_t count;
  uint32_t next;       /* the file to be looked at next */
  bool failed;         /* one at least */
  bits_result failure; /* of the first */
  const bits_file *whose;
} naming;

/* With the lock. */
static bool choose(naming *n) {
  const bits_job *j = n->j;
  for (n->count = 0; n->next < j->file_count && n->count < NAMED_AT_ONCE;
       n->next++) {
    bits_file *f = j->files[n->next];
    if (f->state == BITS_FILE_DONE && (f->marks & BITS_FILE_APPEARED) == 0)
      n->files[n->count++] = f;
  }
  return n->count > 0;
}

/* With the lock. Rows say nothing of names yet, as all of them soon go: whoever
   dies before finds the file by its number and length, where it has a length.
 */
static void take_results(naming *n) {
  for (size_t i = 0; i < n->count; i++) {
    bits_file *f = n->files[i];
    bits_result *r = &n->results[i];
    if (r->end == BITS_END_WHOLE) {
      f->marks |= BITS_FILE_APPEARED;
      if (bits_file_length(f) == BITS_UNKNOWN) bits_file_touch(f);
      continue;
    }
    bool gone = r->end == BITS_END_AT_ONCE || f->known == NULL;
    r->end = BITS_END_FAILED;
    if (r->code == 0) r->code = BG_E_LOCAL_FILE_CHANGED;
    if (gone) bits_job_fails(n->j, f, r); /* it is to be fetched again */
    if (n->failed) continue;
    n->failed = true;
    n->failure = *r;
    n->whose = f;
  }
}

/* With the lock, which is let go meanwhile. What cannot be named keeps none of
   the others from it. */
static void name_all(naming *n) {
  while (choose(n)) {
    bits_job_unlock(n->j);
    bits_finish_name(n->files, n->terms, n->count, n->results);
    bits_job_lock(n->j);
    take_results(n);
  }
}

static error *naming_error(const naming *n) {
  uint32_t code = n->failure.code != 0 ? n->failure.code : SAROS_E_FAIL;
  buffer b = BUFFER_EMPTY;
  text_escape(&b, n->whose->path, strlen(n->whose->path));
  const char *then = n->whose->state == BITS_FILE_DONE
                         ? "mend that, and complete again"
                         : "resume fetches it again";
  error *e = error_at(
      bits_fail(code, "%s cannot get its name: %s; %s: the others have theirs",
                b.failed ? "" : b.data, n->failure.why, then),
      n->whose->path);
  buffer_free(&b);
  return e;
}

/* With the lock. */
static error *may_complete(bits_job *j) {
  error *e = bits_job_may_change(j);
  if (e != NULL || j->type == BITS_DOWNLOAD || j->state == BITS_TRANSFERRED)
    return e;
  return bits_fail(BG_E_INVALID_STATE,
                   "the upload '%s' is %s: it can be completed when it is "
                   "transferred",
                   bits_job_name(j), bits_state_name(j->state));
}

/* With the lock, which is let go meanwhile. */
static error *begin_completing(bits_job *j) {
  error *e = may_complete(j);
  if (e != NULL) return e;
  j->marks |= BITS_JOB_ENDING; /* nobody else moves it from here on */
  if (state_is_active(j->state)) bits_job_move(j, BITS_SUSPENDED);
  bits_job_hold_files(j);
  if (!j->m->closing) return NULL;
  j->marks &= (uint8_t)~BITS_JOB_ENDING;
  bits_job_let_go(j);
  return bits_manager_may_write(j->m); /* that it is closed */
}

/* With the lock: it stays, and so do the rows. */
static void touch_named(bits_job *j) {
  for (uint32_t i = 0; i < j->file_count; i++)
    if ((j->files[i]->marks & BITS_FILE_APPEARED) != 0)
      bits_file_touch(j->files[i]);
  bits_job_touch(j);
}

/* With the lock, and the files. */
static void completed(bits_job *j, const naming *n, error **e) {
  if (n->failed) {
    *e = naming_error(n);
    touch_named(j);
    return;
  }
  if (state_is_final(j->state)) { /* its run was cancelled */
    *e = bits_fail(BG_E_INVALID_STATE, "the job '%s' was cancelled meanwhile",
                   bits_job_name(j));
    touch_named(j);
    return;
  }
  bits_job_move(j, BITS_ACKNOWLEDGED);
  leave_orphans(j);
  j->marks |= BITS_JOB_GONE;
  bits_job_touch(j);
}

static error *complete(bits_job *j, naming *n, uint32_t *code) {
  *n = (naming){.j = j};
  if (!bits_job_lock(j))
    return bits_fail(SAROS_E_FORKED, "the job is the parent process's");
  error *e = begin_completing(j);
  if (e != NULL) {
    bits_job_unlock(j);
    return e;
  }
  n->terms = bits_terms_ref(j->terms);
  bits_job_unlock(j);
  /* What is known of the parts is on the disk before they are parts no more. */
  e = bits_keeper_flush(j->m, true);
  bool dropped = true;
  bits_job_lock(j);
  if (e == NULL) {
    if (j->type == BITS_DOWNLOAD) name_all(n);
    bool partial = j->files_done < j->file_count;
    if (partial && !n->failed) {
      bits_job_unlock(j);
      dropped = drop_files(j, false);
      bits_job_lock(j);
    }
    *code = partial    ? BG_S_PARTIAL_COMPLETE
            : !dropped ? BG_S_UNABLE_TO_DELETE_FILES
                       : SAROS_S_OK;
    completed(j, n, &e);
  }
  j->marks &= (uint8_t)~BITS_JOB_ENDING;
  bits_job_let_go(j);
  bits_job_unlock(j);
  bits_terms_unref(n->terms);
  if (e == NULL) return leave(j);
  error_unref(bits_keeper_flush(j->m, true));
  return e;
}

error *bits_job_complete(bits_job *j, uint32_t *code) {
  naming *n = mem_alloc(sizeof *n);
  if (n == NULL) return error_no_memory();
  error *e = complete(j, n, code);
  mem_free(n);
  return e;
}

/* ------------------------------------------------------------------
** Cancelled
** ---------------------------------------------------------------- */

/* It is CANCELLED; the rest of that. */
static error *cancel_rest(bits_job *j, uint32_t *code) {
  bits_job_lock(j);
  saros_op *run = j->run != NULL ? saros_op_ref(j->run) : NULL;
  bool deletes = j->state == BITS_CANCELLED;
  bits_job_unlock(j);
  if (run != NULL) saros_op_cancel(run);
  error *e = bits_keeper_flush(j->m, true);
  bits_job_lock(j);
  bits_job_hold_files(j);
  bits_job_unlock(j);
  /* On a disk that is full there is room for that once its files are gone. */
  bool full = e != NULL && e->code == WIN32_(WIN32_DISK_FULL);
  bool good = (e != NULL && !full) || !deletes || drop_files(j, true);
  if (full) {
    error_unref(e);
    e = bits_keeper_flush(j->m, true);
  }
  *code = good ? SAROS_S_OK : BG_S_UNABLE_TO_DELETE_FILES;
  bits_job_lock(j);
  if (e == NULL) {
    if (deletes) leave_orphans(j);
    j->marks |= BITS_JOB_GONE;
    bits_job_touch(j);
  }
  bits_job_let_go(j);
  bits_job_unlock(j);
  if (e == NULL) e = leave(j);
  if (run != NULL) {
    bits_run_cancelled(run);
    saros_op_unref(run);
  }
  return e;
}

error *bits_job_cancel(bits_job *j, uint32_t *code) {
  if (!bits_job_lock(j))
    return bits_fail(SAROS_E_FORKED, "the job is the parent process's");
  error *e = bits_job_may_change(j);
  if (e == NULL) bits_job_move(j, BITS_CANCELLED);
  bits_job_unlock(j);
  return e != NULL ? e : cancel_rest(j, code);
}

/* ------------------------------------------------------------------
** Cancelled by who cannot wait
** ---------------------------------------------------------------- */

static uint32_t rest_run(saros_op *op, void *self) {
  uint32_t code = SAROS_S_OK;
  (void)op;
  error *e = cancel_rest(self, &code);
  if (e == NULL) return code;
  log_write(LOG_WARNING, "bits", "%s is cancelled, but its files stay: %s",
            bits_job_id(self), e->message);
  code = e->code;
  error_unref(e);
  return code;
}

static void rest_release(void *self) {
  bits_job_unref(self);
}

static const saros_kind rest_kind = {.size = sizeof(saros_kind),
                                     .name = "bits.cancel",
                                     .facade = SAROS_FACADE_BITS,
                                     .flags = SAROS_RUN_LANE,
                                     .run = rest_run,
                                     .release = rest_release};

void bits_job_cancel_begin(bits_job *j) {
  bits_job_move(j, BITS_CANCELLED);
  saros_op *op = saros_op_new(&rest_kind, bits_job_ref(j), NULL);
  if (op == NULL) bits_job_unref(j);
  if (op == NULL || saros_op_start(op) != 0)
    log_write(LOG_WARNING, "bits",
              "%s is cancelled; its files go when the queue is opened again",
              j->guid);
  if (op != NULL) saros_op_unref(op);
}
