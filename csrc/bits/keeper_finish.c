/*
** Files whose bytes are here: held against their digests, brought to the disk,
** and given their names where a job's files appear at once. A job at a time,
** whose files nobody else works with meanwhile; many files together, because a
** disk takes as long for many as for one.
*/
#include <sched.h>
#include <string.h>

#include "bits/finish_parts.h"
#include "bits/judge.h"
#include "bits/keeper.h"

#define AT_ONCE 128

typedef struct batch {
  bits_job *job; /* a reference */
  bits_terms *terms;
  bool group, upload;
  bool durable; /* the job's row says that all it has is on the disk */
  uint32_t all; /* files that the job has, if with them it has all; else 0 */
  size_t count;
  bool appeared[AT_ONCE]; /* as it was when they were taken */
  bits_file *files[AT_ONCE];
  bits_result results[AT_ONCE];
} batch;

/* ------------------------------------------------------------------
** What is to be done. With the lock.
** ---------------------------------------------------------------- */

void bits_keeper_finish(bits_manager *m, bits_file *f) {
  bits_keeper *k = m->keeper;
  f->state = BITS_FILE_FETCHED;
  bits_file_touch(f);
  if (k->fetched_count == k->fetched_room) {
    size_t room = k->fetched_room * 2 + 64;
    bits_file **grown = mem_grow(k->fetched, room * sizeof(bits_file *));
    if (grown == NULL) { /* it is looked for later */
      k->rescan = true;
      return;
    }
    k->fetched = grown;
    k->fetched_room = room;
  }
  bits_job_ref(f->job);
  k->fetched[k->fetched_count++] = f;
  bits_keeper_stir(m);
}

/* Those for which there was no room. */
static void find_lost(bits_manager *m) {
  bits_keeper *k = m->keeper;
  if (!k->rescan || k->fetched_count > 0) return;
  k->rescan = false;
  for (bits_job *j = m->first; j != NULL; j = j->next)
    for (uint32_t i = 0; i < j->file_count; i++)
      if (j->files[i]->state == BITS_FILE_FETCHED)
        bits_keeper_finish(m, j->files[i]);
}

static bool is_fit(const bits_job *j) {
  return (j->marks & BITS_JOB_BUSY) == 0;
}

/* The first job that nobody works with, and of it as many as there is room for.
   Their references but one go with `spare`. */
static bool choose(bits_keeper *k, batch *b, size_t *spare) {
  size_t kept = 0;
  b->job = NULL;
  b->count = *spare = 0;
  for (size_t i = 0; i < k->fetched_count; i++) {
    bits_file *f = k->fetched[i];
    bool goes = is_fit(f->job) && (!k->hand_stops || f->small != NULL);
    if (b->job == NULL && goes) b->job = f->job;
    if (f->job != b->job || !goes || b->count == AT_ONCE) {
      k->fetched[kept++] = f;
      continue;
    }
    b->appeared[b->count] = (f->marks & BITS_FILE_APPEARED) != 0;
    b->files[b->count++] = f;
  }
  k->fetched_count = kept;
  if (b->count > 0) *spare = b->count - 1;
  return b->count > 0;
}

/* ------------------------------------------------------------------
** The work. Without the lock.
** ---------------------------------------------------------------- */

static bool is_good(const batch *b, size_t i) {
  return b->results[i].end == BITS_END_WHOLE;
}

/* Nobody else changes `small` of what is in a batch. */
static void land(batch *b) {
  for (size_t i = 0; i < b->count; i++) {
    memset(&b->results[i], 0, sizeof b->results[i]);
    b->results[i].end = BITS_END_WHOLE;
    if (b->files[i]->small == NULL) continue;
    bits_small_land(b->files[i], &b->results[i]);
    sched_yield();
  }
}

/* What was sent is there, and what has its name was verified. */
static void verify(batch *b) {
  for (size_t i = 0; i < b->count; i++)
    if (!b->upload && !b->appeared[i] && is_good(b, i))
      bits_finish_verify(b->files[i], b->terms, &b->results[i]);
}

/* What is known of parts is on the disk before they are parts no more: so a
   name that a dead process has left is known as ours. */
static void name(bits_manager *m, batch *b) {
  bits_file *files[AT_ONCE];
  bits_result results[AT_ONCE];
  size_t which[AT_ONCE], n = 0;
  for (size_t i = 0; i < b->count; i++) {
    if (!is_good(b, i) || b->appeared[i]) continue;
    which[n] = i;
    files[n++] = b->files[i];
  }
  if (n == 0) return;
  memset(results, 0, n * sizeof results[0]);
  error_unref(bits_keeper_flush(m, b->terms->durability != BITS_DURABLE_NONE));
  bits_finish_name(files, b->terms, n, results);
  for (size_t k = 0; k < n; k++) {
    bits_result *r = &b->results[which[k]];
    results[k].verified |= r->verified;
    *r = results[k];
  }
}

/* Nobody knows which bytes the disk has lost: all of them count as such. One
   that is not in the batch was done before, and is not any more. */
static void not_on_the_disk(bits_manager *m, batch *b, bits_file *f,
                            int number) {
  size_t i = 0;
  bits_result r = {0};
  judge_local(number, "cannot be made durable", f->path, &r);
  bits_file_know(f, NULL);
  bits_finish_drop(f);
  atomic_store(&f->have, 0);
  while (i < b->count && b->files[i] != f) i++;
  if (i < b->count) {
    b->results[i] = r;
    return;
  }
  pthread_mutex_lock(&m->lock);
  bits_job_fails(b->job, f, &r);
  pthread_mutex_unlock(&m->lock);
}

/* Those that appear later are made safe for that. */
static void sync_files(bits_manager *m, batch *b) {
  bits_file *failed = NULL;
  bool all = b->all > 0;
  for (size_t i = 0; i < b->count; i++) {
    if (b->terms->durability == BITS_DURABLE_FILE && is_good(b, i)) {
      int number = bits_sync_part(b->files[i]);
      if (number != 0) not_on_the_disk(m, b, b->files[i], number);
    }
    all &= is_good(b, i);
  }
  if (!all || b->terms->durability != BITS_DURABLE_GROUP) return;
  int number = bits_sync_job(b->job, b->all, &failed);
  if (number != 0) not_on_the_disk(m, b, failed, number);
}

static void work(bits_manager *m, batch *b) {
  /* These are done when it does not say so any more: of a job and its files the
     rows are not of the same moment. */
  if (b->durable) error_unref(bits_keeper_flush(m, true));
  land(b);
  verify(b);
  if (b->group && !b->upload)
    name(m, b);
  else if (!b->upload)
    sync_files(m, b);
}

/* ------------------------------------------------------------------
** What has come of it. With the lock.
** ---------------------------------------------------------------- */

static void done(batch *b, bits_file *f, const bits_result *r) {
  f->state = BITS_FILE_DONE;
  if (r->verified) f->marks |= BITS_FILE_VERIFIED;
  if (b->group && !b->upload) f->marks |= BITS_FILE_APPEARED;
  bits_file_touch(f);
  bits_job_file_done(b->job, f);
}

static void waits_again(batch *b, bits_file *f) {
  f->state = BITS_FILE_WAITS;
  if (b->job->next_file > f->number) b->job->next_file = f->number;
  bits_file_touch(f);
}

static void conclude(batch *b) {
  for (size_t i = 0; i < b->count; i++) {
    bits_file *f = b->files[i];
    const bits_result *r = &b->results[i];
    if ((b->job->marks & BITS_JOB_GONE) != 0) break;
    if (r->end == BITS_END_WHOLE) {
      done(b, f, r);
      continue;
    }
    waits_again(b, f);
    if (r->end != BITS_END_AT_ONCE) bits_job_fails(b->job, f, r);
  }
  bits_mover_touch(b->job);
}

/* Those that are done, and those that are in the batch. */
static uint32_t count_all(const batch *b) {
  const bits_job *j = b->job;
  return b->count + j->files_done == j->file_count ? j->file_count : 0;
}

bool bits_keeper_finish_some(bits_manager *m) {
  batch b;
  size_t spare;
  find_lost(m);
  if (!choose(m->keeper, &b, &spare)) return false;
  b.terms = bits_terms_ref(b.job->terms);
  b.group = (b.job->marks & BITS_JOB_GROUP) != 0;
  b.upload = b.job->type != BITS_DOWNLOAD;
  b.all = count_all(&b);
  b.durable = (b.job->marks & BITS_JOB_DURABLE) != 0;
  b.job->marks &= (uint8_t)~BITS_JOB_DURABLE;
  if (b.durable) bits_job_touch(b.job);
  bits_job_seize(b.job);
  b.job->finishing = true; /* tries of other files go on */
  pthread_mutex_unlock(&m->lock);
  work(m, &b);
  pthread_mutex_lock(&m->lock);
  conclude(&b);
  b.job->finishing = false;
  bits_job_let_go(b.job);
  pthread_mutex_unlock(&m->lock);
  for (size_t i = 0; i < spare; i++) bits_job_unref(b.job);
  bits_terms_unref(b.terms);
  bits_job_unref(b.job);
  pthread_mutex_lock(&m->lock);
  return true;
}
