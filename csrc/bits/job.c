/*
** A job: made, shared by counting, resumed, suspended and changed. How it ends
** is in job_end.c, its files in job_files.c, what is told of it in
** job_status.c.
*/
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bits/job_parts.h"

bits_job *bits_job_new(bits_manager *m, const char *name, int64_t id,
                       bits_type type) {
  bits_job *j = mem_zero(sizeof *j);
  if (j == NULL) return NULL;
  atomic_init(&j->refs, 1);
  j->m = bits_manager_ref(m);
  snprintf(j->guid, sizeof j->guid, "%s", name);
  j->id = id;
  j->type = type;
  j->state = BITS_SUSPENDED;
  j->priority = BITS_NORMAL;
  j->retry_delay_ms = BITS_RETRY_DELAY_MS;
  j->no_progress_ms = BITS_NO_PROGRESS_MS;
  j->max_time_ms = BITS_MAX_TIME_MS;
  j->inactive_ms = BITS_INACTIVE_MS;
  j->created = j->modified = time(NULL);
  j->touched_at = j->progress_at = bits_now(m);
  j->terms = bits_terms_new();
  j->properties = value_map();
  if (j->terms != NULL && j->properties != NULL) return j;
  bits_job_unref(j);
  return NULL;
}

bits_job *bits_job_ref(bits_job *j) {
  atomic_fetch_add_explicit(&j->refs, 1, memory_order_relaxed);
  return j;
}

/* Takes no lock: the manager lets go of jobs while it has its own. */
void bits_job_unref(bits_job *j) {
  if (atomic_fetch_sub_explicit(&j->refs, 1, memory_order_acq_rel) > 1) return;
  for (uint32_t i = 0; i < j->file_count; i++) bits_file_free(j->files[i]);
  mem_free(j->files);
  mem_free(j->names);
  bits_terms_unref(j->terms);
  value_free(j->properties);
  bits_failure_clear(&j->failure);
  if (j->run != NULL) saros_op_unref(j->run);
  mem_free(j->group);
  bits_manager *m = j->m;
  mem_free(j);
  bits_manager_unref(m);
}

bool bits_job_lock(bits_job *j) {
  if (bits_manager_is_inherited(j->m)) return false;
  pthread_mutex_lock(&j->m->lock);
  return true;
}

void bits_job_unlock(bits_job *j) {
  pthread_mutex_unlock(&j->m->lock);
}

const char *bits_job_name(const bits_job *j) {
  return value_chars(value_get(j->properties, "name"), j->guid);
}

const char *bits_job_id(const bits_job *j) {
  return j->guid;
}

/* With the lock. */
static error *is_over(const bits_job *j) {
  const char *name = bits_job_name(j);
  if (state_is_final(j->state))
    return bits_fail(BG_E_INVALID_STATE,
                     "the job '%s' is %s: it is over, make another", name,
                     bits_state_name(j->state));
  if ((j->marks & BITS_JOB_ENDING) != 0)
    return bits_fail(BG_E_INVALID_STATE, "the job '%s' is being completed",
                     name);
  return NULL;
}

error *bits_job_may_change(bits_job *j) {
  error *e = bits_manager_may_write(j->m);
  return e != NULL ? e : is_over(j);
}

static error *forked(void) {
  return bits_fail(SAROS_E_FORKED,
                   "the job is the parent process's; open the queue anew here");
}

/* The lock, or why the job cannot be changed (then without it). */
static error *begin_change(bits_job *j) {
  if (!bits_job_lock(j)) return forked();
  error *e = bits_job_may_change(j);
  if (e != NULL) bits_job_unlock(j);
  return e;
}

/* ------------------------------------------------------------------
** Made
** ---------------------------------------------------------------- */

static error *choose_guid(const value *options, char text[GUID_TEXT]) {
  const value *v = value_get(options, "id");
  guid g;
  if (v == NULL) {
    if (!guid_make(&g)) return bits_fail(SAROS_E_FAIL, "no random numbers");
  } else if (v->type != VALUE_STRING || !guid_parse(v->as.string.data, &g)) {
    return bits_fail(SAROS_E_INVALIDARG, "id has to be a GUID");
  }
  guid_format(&g, text);
  return NULL;
}

static error *choose_type(const value *options, bits_type *type) {
  const value *v = value_get(options, "type");
  const char *text = value_chars(v, v == NULL ? "download" : "");
  *type = BITS_DOWNLOAD;
  if (strcmp(text, "download") == 0) return NULL;
  *type = BITS_UPLOAD;
  if (strcmp(text, "upload") == 0) return NULL;
  if (strcmp(text, "upload_reply") == 0)
    return bits_fail(SAROS_E_NOTIMPL,
                     "a job of the type upload_reply cannot be made here: use "
                     "upload");
  return bits_fail(SAROS_E_INVALIDARG, "type is 'download' or 'upload'");
}

static error *choose_group(bits_job *j, const value *options) {
  const value *v = value_get(options, "group");
  guid g;
  if (v == NULL) return NULL;
  if (v->type != VALUE_STRING || !guid_parse(v->as.string.data, &g))
    return bits_fail(SAROS_E_INVALIDARG, "group has to be a GUID");
  j->group = mem_zero(GUID_TEXT);
  if (j->group == NULL) return error_no_memory();
  guid_format(&g, j->group);
  j->marks |= BITS_JOB_GROUP;
  return NULL;
}

/* What it begins with; the lock is not held. */
static error *prepare(bits_job *j, const value *options) {
  error *e = choose_group(j, options);
  if (e != NULL) return e;
  bits_draft d;
  if (!bits_draft_begin(&d, j)) return error_no_memory();
  e = bits_draft_read(&d, options, true);
  if (e == NULL) bits_draft_swap(&d, j);
  bits_draft_free(&d);
  return e;
}

static error *not_entered(const bits_manager *m, const bits_job *j) {
  for (const bits_job *other = m->first; other != NULL; other = other->next)
    if (strcmp(other->guid, j->guid) == 0)
      return bits_fail(SAROS_E_INVALIDARG, "there is a job %s already",
                       j->guid);
  return error_no_memory();
}

/* It could not be written down, and is not there: also when it can be again. */
static void take_back(bits_job *j) {
  bits_job_lock(j);
  bits_job_move(j, BITS_CANCELLED);
  j->marks |= BITS_JOB_GONE;
  bits_job_touch(j);
  bits_manager_leave(j->m, j);
  bits_job_unlock(j);
}

/* With the lock. */
static error *enter(bits_manager *m, bits_job *j) {
  error *e = bits_manager_may_write(m);
  if (e != NULL) return e;
  j->id = m->next_id;
  if (!bits_manager_enter(m, j)) return not_entered(m, j);
  m->next_id++;
  bits_job_touch(j);
  bits_event(j, "state", -1);
  return NULL;
}

static error *create(bits_manager *m, const value *options, bits_job **made) {
  char text[GUID_TEXT];
  bits_type type = BITS_DOWNLOAD;
  error *e = choose_guid(options, text);
  if (e == NULL) e = choose_type(options, &type);
  if (e != NULL) return e;
  if (bits_manager_is_inherited(m)) return forked();
  bits_job *j = *made = bits_job_new(m, text, 0, type);
  if (j == NULL) return error_no_memory();
  e = prepare(j, options);
  if (e != NULL) return e;
  pthread_mutex_lock(&m->lock);
  e = enter(m, j);
  pthread_mutex_unlock(&m->lock);
  if (e != NULL) return e;
  e = bits_keeper_flush(m, false);
  if (e != NULL) take_back(j);
  return e;
}

bits_job *bits_job_create(bits_manager *m, const value *options, error **e) {
  bits_job *j = NULL;
  *e = create(m, options, &j);
  if (*e == NULL || j == NULL) return j;
  bits_job_unref(j);
  return NULL;
}

/* ------------------------------------------------------------------
** Resumed and suspended
** ---------------------------------------------------------------- */

/* With the lock. */
static error *resume(bits_job *j) {
  if (j->file_count == 0)
    return bits_fail(BG_E_EMPTY, "the job '%s' has no files: add one first",
                     bits_job_name(j));
  if (j->state <= BITS_TRANSFERRING || j->state == BITS_TRANSFERRED)
    return NULL;
  const char *lost = bits_secret_lost(j->terms, j->properties);
  if (lost != NULL)
    return bits_fail(BG_E_INVALID_CREDENTIALS,
                     "what the %s of the job '%s' had secret was in the memory "
                     "of a process that has ended: set it again, or give a "
                     "reference",
                     lost, bits_job_name(j));
  if (!bits_run_begin(j)) return error_no_memory();
  uint64_t now = bits_now(j->m);
  j->marks |= BITS_JOB_RESUMED;
  j->tries = 0;
  j->touched_at = j->progress_at = j->begun_at = now;
  bits_job_move(j, BITS_QUEUED);
  if (j->files_done == j->file_count) bits_job_move(j, BITS_TRANSFERRED);
  return NULL;
}

error *bits_job_resume(bits_job *j) {
  error *e = begin_change(j);
  if (e != NULL) return e;
  e = resume(j);
  bits_job_unlock(j);
  return e != NULL ? e : bits_keeper_flush(j->m, true);
}

error *bits_job_suspend(bits_job *j) {
  error *e = begin_change(j);
  if (e != NULL) return e;
  j->touched_at = bits_now(j->m);
  bits_job_move(j, BITS_SUSPENDED);
  bits_job_unlock(j);
  return bits_keeper_flush(j->m, false);
}

/* ------------------------------------------------------------------
** Changed
** ---------------------------------------------------------------- */

static bool has_ranges(const bits_job *j) {
  for (uint32_t i = 0; i < j->file_count; i++)
    if (j->files[i]->extra != NULL && j->files[i]->extra->range_count > 0)
      return true;
  return false;
}

/* With the lock. */
static error *may_be_dynamic(const bits_job *j, const bits_draft *d) {
  if (d->terms->dynamic == j->terms->dynamic) return NULL;
  if ((j->marks & BITS_JOB_RESUMED) != 0)
    return bits_fail(BG_E_INVALID_STATE,
                     "dynamic is set before a job is resumed the first time");
  if (d->terms->dynamic && has_ranges(j))
    return bits_fail(SAROS_E_INVALIDARG,
                     "a file with ranges cannot be dynamic");
  return NULL;
}

/* With the lock. *again: somebody else was quicker. */
static error *apply(bits_job *j, bits_draft *d, const bits_terms *was,
                    bool *again) {
  error *e = bits_job_may_change(j);
  if (e == NULL) e = may_be_dynamic(j, d);
  *again = e == NULL && j->terms != was;
  if (e != NULL || *again) return e;
  bits_draft_swap(d, j);
  j->modified = time(NULL);
  j->touched_at = bits_now(j->m);
  bits_job_touch(j);
  bits_event(j, "modified", -1);
  bits_mover_touch(j);
  return NULL;
}

/* References are read, which may take as long as a disk does: so without the
   lock, and once more if another setter came between. */
static error *set(bits_job *j, const value *properties, bool *again) {
  *again = false;
  error *e = begin_change(j);
  if (e != NULL) return e;
  bits_draft d;
  bits_terms *was = bits_terms_ref(j->terms);
  bool good = bits_draft_begin(&d, j);
  bits_job_unlock(j);
  e = good ? bits_draft_read(&d, properties, false) : error_no_memory();
  if (e == NULL) {
    bits_job_lock(j);
    e = apply(j, &d, was, again);
    bits_job_unlock(j);
  }
  if (good) bits_draft_free(&d);
  bits_terms_unref(was);
  return e;
}

error *bits_job_set(bits_job *j, const value *properties) {
  bool again;
  error *e;
  do e = set(j, properties, &again);
  while (again);
  return e != NULL ? e : bits_keeper_flush(j->m, false);
}
