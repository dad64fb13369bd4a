/*
** packer_store: the threads that store packs, and the index files after them.
*/
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "repository/packer_parts.h"

/* An index file that is not full yet is written after so long: what a backup
   that is killed has stored until then need not be stored again. */
#ifdef SAROS_TEST
uint64_t repo_packer_index_ms = (uint64_t)5 * 60 * 1000;
#else
static const uint64_t repo_packer_index_ms = (uint64_t)5 * 60 * 1000;
#endif

void repo_packer_slot_free(slot *s) {
  repo_pack_free(s->pack);
  mem_free(s);
}


/* ------------------------------------------------------------------
** Index files
** ---------------------------------------------------------------- */

/* With the lock held. */
static bool is_due(const packer *p, size_t least) {
  if (p->named == NULL) return false;
  return p->named_blobs >= least ||
         repo_clock() - p->named_since >= repo_packer_index_ms;
}

/* Now others may rely on it. */
static error *publish(packer *p, const named *list) {
  error *e = NULL;
  for (const named *n = list; n != NULL && e == NULL; n = n->next)
    e = repo_index_add(p->index, &n->pack, n->blobs, n->count);
  if (e != NULL) return e;
  pthread_mutex_lock(&p->lock);
  for (const named *n = list; n != NULL; n = n->next)
    for (size_t i = 0; i < n->count; i++)
      repo_claims_drop(&p->own, (repo_blob_type)n->blobs[i].type,
                       &n->blobs[i].id);
  pthread_mutex_unlock(&p->lock);
  return NULL;
}

/* Not to be cancelled: what is stored already would be lost. The lock is asked
   by the store itself. */
static error *write_index(packer *p, const named *list) {
  repo_index_text text = {BUFFER_EMPTY, 0};
  repo_id id;
  for (const named *n = list; n != NULL; n = n->next)
    repo_index_text_add(&text, &n->pack, n->blobs, n->count);
  repo_index_text_end(&text);
  error *e = text.json.failed ? error_no_memory() : NULL;
  if (e == NULL)
    e = repo_tools_save(repo_tools_of(p->h->r), p->h->store, REPO_INDEXES,
                        text.json.data, text.json.size, &id, NULL);
  buffer_free(&text.json);
  if (e == NULL) e = publish(p, list);
  if (e == NULL) e = repo_index_stored(p->h->r, &id);
  return e;
}

error *repo_packer_store_index(packer *p, size_t least) {
  pthread_mutex_lock(&p->lock);
  named *list = NULL;
  if (is_due(p, least)) {
    list = p->named;
    p->named = NULL;
    p->named_blobs = 0;
  }
  pthread_mutex_unlock(&p->lock);
  if (list == NULL) return NULL;
  error *e = write_index(p, list);
  while (list != NULL) {
    named *next = list->next;
    mem_free(list);
    list = next;
  }
  return e;
}

static error *name_pack(packer *p, const repo_pack *pack, const repo_id *id) {
  size_t count = repo_pack_count(pack);
  named *n = mem_alloc(sizeof *n + count * sizeof *n->blobs);
  if (n == NULL) return error_no_memory();
  n->pack = *id;
  n->count = count;
  memcpy(n->blobs, repo_pack_blobs(pack), count * sizeof *n->blobs);
  pthread_mutex_lock(&p->lock);
  if (p->named == NULL) p->named_since = repo_clock();
  n->next = p->named;
  p->named = n;
  p->named_blobs += count;
  pthread_cond_signal(&p->work); /* who waits knows now until when */
  pthread_mutex_unlock(&p->lock);
  return repo_packer_store_index(p, REPO_INDEX_FULL);
}


/* ------------------------------------------------------------------
** Packs
** ---------------------------------------------------------------- */

/* So that all threads together store no more than the rate allows. */
static error *wait_for_rate(packer *p, size_t size) {
  if (p->o.rate == 0) return NULL;
  uint64_t now = repo_clock();
  pthread_mutex_lock(&p->lock);
  uint64_t from = p->paid_until > now ? p->paid_until : now;
  p->paid_until = from + (uint64_t)((double)size * 1000.0 / (double)p->o.rate);
  pthread_mutex_unlock(&p->lock);
  if (from == now || repo_pause(p->stop, from - now)) return NULL;
  return repo_packer_why(p);
}

static error *store_pack(packer *p, repo_tool *tool, repo_pack *pack) {
  repo_piece piece;
  repo_id id;
  error *e = repo_pack_end(pack, tool->sealer, &piece.data, &piece.size, &id);
  if (e == NULL) e = wait_for_rate(p, piece.size);
  if (e == NULL)
    e = p->h->store->way->save(p->h->store, REPO_PACKS, &id, &piece, 1, false,
                               p->stop);
  return e != NULL ? e : name_pack(p, pack, &id);
}

/* After a failure what waits is let go unstored. */
static error *store_next(packer *p, repo_tool *tool, slot *s) {
  error *e = repo_packer_why(p);
  return e != NULL ? e : store_pack(p, tool, s->pack);
}

/* With the lock held: until there is something to do. What was stored is named
   in time also when nothing more comes, as when all else is unchanged. */
static error *wait_for_work(packer *p) {
  struct timespec until;
  if (p->named == NULL || p->failed) {
    pthread_cond_wait(&p->work, &p->lock);
    return NULL;
  }
  uint64_t past = repo_clock() - p->named_since;
  uint64_t left = past < repo_packer_index_ms ? repo_packer_index_ms - past : 0;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(left / 1000);
  until.tv_nsec += (long)(left % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  if (pthread_cond_timedwait(&p->work, &p->lock, &until) != ETIMEDOUT)
    return NULL;
  pthread_mutex_unlock(&p->lock);
  error *e = repo_packer_store_index(p, REPO_INDEX_FULL);
  pthread_mutex_lock(&p->lock);
  return e;
}

static void *work(void *argument) {
  packer *p = argument;
  repo_tool *tool = NULL;
  error *e = repo_tools_take(repo_tools_of(p->h->r), &tool);
  if (e != NULL) repo_packer_fail(p, e);
  pthread_mutex_lock(&p->lock);
  for (;;) {
    slot *s = p->full;
    if (s == NULL && p->ends) break;
    if (s == NULL) {
      e = wait_for_work(p);
      if (e == NULL) continue;
      pthread_mutex_unlock(&p->lock);
      repo_packer_fail(p, e);
      pthread_mutex_lock(&p->lock);
      continue;
    }
    p->full = s->next;
    pthread_mutex_unlock(&p->lock);
    if (tool != NULL) {
      e = store_next(p, tool, s);
      if (e != NULL) repo_packer_fail(p, e);
    }
    repo_pack_clear(s->pack);
    pthread_mutex_lock(&p->lock);
    s->next = p->spare[s->type];
    p->spare[s->type] = s;
    pthread_cond_broadcast(&p->moved);
  }
  pthread_mutex_unlock(&p->lock);
  repo_tools_give(repo_tools_of(p->h->r), tool);
  return NULL;
}

void repo_packer_store_push(packer *p, slot *s) {
  s->next = NULL;
  if (p->full == NULL)
    p->full = s;
  else
    p->full_last->next = s;
  p->full_last = s;
  pthread_cond_signal(&p->work);
}

void repo_packer_store_start(packer *p) {
  sigset_t all, before;
  unsigned wanted = p->h->store->connections;
  if (wanted < 1) wanted = 1;
  if (wanted > PACKER_THREADS_MOST) wanted = PACKER_THREADS_MOST;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (p->thread_count < wanted &&
         pthread_create(&p->threads[p->thread_count], NULL, work, p) == 0)
    p->thread_count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void repo_packer_store_end(packer *p) {
  pthread_mutex_lock(&p->lock);
  p->ends = true;
  pthread_cond_broadcast(&p->work);
  pthread_mutex_unlock(&p->lock);
  while (p->thread_count > 0) pthread_join(p->threads[--p->thread_count], NULL);
}
