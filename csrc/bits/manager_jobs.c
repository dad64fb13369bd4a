/*
** A manager's jobs: all of them, found by their guids; which have changed; and
** who works with whose files.
*/
#include <string.h>

#include "bits/keeper.h"

/* ------------------------------------------------------------------
** The list
** ---------------------------------------------------------------- */

/* FNV-1a. */
static size_t place_of(const char *id, size_t buckets) {
  uint64_t h = 0xCBF29CE484222325u;
  for (; *id != '\0'; id++) h = (h ^ (unsigned char)*id) * 0x100000001B3u;
  return (size_t)(h % buckets);
}

bits_job *bits_manager_find(bits_manager *m, const char *id) {
  if (m->buckets == 0) return NULL;
  bits_job *j = m->by_guid[place_of(id, m->buckets)];
  while (j != NULL && strcmp(j->guid, id) != 0) j = j->next_by_guid;
  return j;
}

static bool grow(bits_manager *m) {
  if (m->job_count < m->buckets) return true;
  size_t buckets = m->buckets * 2 + 61;
  bits_job **by_guid = mem_zero(buckets * sizeof(bits_job *));
  if (by_guid == NULL) return m->buckets > 0; /* it is only slower */
  for (bits_job *j = m->first; j != NULL; j = j->next) {
    bits_job **place = &by_guid[place_of(j->guid, buckets)];
    j->next_by_guid = *place;
    *place = j;
  }
  mem_free(m->by_guid);
  m->by_guid = by_guid;
  m->buckets = buckets;
  return true;
}

bool bits_manager_enter(bits_manager *m, bits_job *j) {
  if (!grow(m) || bits_manager_find(m, j->guid) != NULL) return false;
  bits_job **place = &m->by_guid[place_of(j->guid, m->buckets)];
  j->next_by_guid = *place;
  *place = bits_job_ref(j);
  j->next = NULL;
  j->previous = m->last;
  if (m->last != NULL)
    m->last->next = j;
  else
    m->first = j;
  m->last = j;
  m->job_count++;
  return true;
}

/* The list's reference is the caller's now. False: it is not in it. */
static bool take_out(bits_manager *m, bits_job *j) {
  if (m->buckets == 0) return false;
  bits_job **link = &m->by_guid[place_of(j->guid, m->buckets)];
  while (*link != NULL && *link != j) link = &(*link)->next_by_guid;
  if (*link == NULL) return false;
  *link = j->next_by_guid;
  if (j->previous != NULL)
    j->previous->next = j->next;
  else
    m->first = j->next;
  if (j->next != NULL)
    j->next->previous = j->previous;
  else
    m->last = j->previous;
  j->next = j->previous = j->next_by_guid = NULL;
  m->job_count--;
  return true;
}

/* Whoever lets go of it has it, and so it does not end here, with the lock. */
void bits_manager_leave(bits_manager *m, bits_job *j) {
  if (take_out(m, j)) bits_job_unref(j);
}

bits_job **bits_manager_jobs(bits_manager *m, size_t *count) {
  *count = 0;
  if (bits_manager_is_inherited(m)) return NULL;
  pthread_mutex_lock(&m->lock);
  bits_job **all = mem_alloc((m->job_count + 1) * sizeof(bits_job *));
  for (bits_job *j = m->first; all != NULL && j != NULL; j = j->next)
    all[(*count)++] = bits_job_ref(j);
  pthread_mutex_unlock(&m->lock);
  return all;
}

bits_job *bits_manager_job(bits_manager *m, const char *id) {
  guid g;
  char text[GUID_TEXT];
  if (bits_manager_is_inherited(m) || !guid_parse(id, &g)) return NULL;
  guid_format(&g, text);
  pthread_mutex_lock(&m->lock);
  bits_job *j = bits_manager_find(m, text);
  if (j != NULL) bits_job_ref(j);
  pthread_mutex_unlock(&m->lock);
  return j;
}

error *bits_manager_may_write(bits_manager *m) {
  if (bits_manager_is_inherited(m))
    return bits_fail(SAROS_E_FORKED,
                     "the queue %s was opened by the parent of this process: "
                     "open it here, too",
                     m->path);
  if (m->closing)
    return bits_fail(SAROS_E_CLOSED, "the queue %s was closed", m->path);
  if (m->owner && !m->loads) return NULL;
  if (m->observes && m->owned_by == NULL)
    return bits_fail(SAROS_E_LOCKED,
                     "the queue %s was opened to be observed, and nobody owns "
                     "it now: open it without observe",
                     m->path);
  return bits_fail(SAROS_E_LOCKED,
                   "the queue %s is owned by %s: jobs are changed there%s",
                   m->path, m->owned_by != NULL ? m->owned_by : "somebody else",
                   m->observes ? " (it was opened to be observed)" : "");
}

/* ------------------------------------------------------------------
** What has changed
** ---------------------------------------------------------------- */

/* Each in the list has a reference to its job. */
static void list_job(bits_manager *m, bits_job *j) {
  j->marks |= BITS_JOB_DIRTY;
  bits_job_ref(j);
  j->next_dirty = NULL;
  *m->dirty_jobs_end = j;
  m->dirty_jobs_end = &j->next_dirty;
}

static void list_file(bits_manager *m, bits_file *f) {
  f->marks |= BITS_FILE_DIRTY;
  bits_job_ref(f->job);
  f->next_dirty = NULL;
  *m->dirty_files_end = f;
  m->dirty_files_end = &f->next_dirty;
}

/* What an observer sees has changed where it is owned; and of what was closed
   nothing is committed any more, so that nobody would ever let go of it. */
static bool is_kept(const bits_manager *m) {
  return m->owner && !m->closed;
}

void bits_job_touch(bits_job *j) {
  bits_manager *m = j->m;
  if (!is_kept(m)) return;
  m->changes++;
  if ((j->marks & BITS_JOB_DIRTY) == 0) list_job(m, j);
  bits_keeper_told(m);
}

void bits_file_touch(bits_file *f) {
  bits_manager *m = f->job->m;
  if (!is_kept(m)) return;
  m->changes++;
  if ((f->marks & BITS_FILE_DIRTY) == 0) list_file(m, f);
  bits_keeper_told(m);
}

/* ------------------------------------------------------------------
** Whose files they are
** ---------------------------------------------------------------- */

void bits_job_seize(bits_job *j) {
  bits_manager *m = j->m;
  while ((j->marks & BITS_JOB_BUSY) != 0) pthread_cond_wait(&m->done, &m->lock);
  j->marks |= BITS_JOB_BUSY;
}

void bits_job_let_go(bits_job *j) {
  j->marks &= (uint8_t)~BITS_JOB_BUSY;
  pthread_cond_broadcast(&j->m->done);
  bits_keeper_stir(j->m);
  bits_mover_touch(j);
}
