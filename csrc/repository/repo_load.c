/*
** Reading all files of a kind: listed first, then read by some threads side by
** side, since each waits for a disk or a server, and then computes.
*/
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/repo_parts.h"
#include "repository/unpacked.h"

#define THREADS_MOST 16

typedef struct loading {
  repo_stop stop; /* somebody has failed, or who asks wants it to end */
  const repo_stop *outer;
  repo *r;
  repo_file kind;
  size_t most;
  bool alone;
  repo_each_file each;
  void *context;
  bool (*wanted)(void *context, const repo_id *id);
  repo_id *list;
  size_t count, room;
  _Atomic size_t next;
  _Atomic bool failed;
  pthread_mutex_t lock; /* innermost */
  error *why;
} loading;

static bool loading_stopped(const repo_stop *stop) {
  const loading *l = (const loading *)stop;
  return l->failed || repo_stopped(l->outer);
}

static error *note(void *context, const repo_id *id, uint64_t size) {
  loading *l = context;
  (void)size;
  if (l->wanted != NULL && !l->wanted(l->context, id)) return NULL;
  if (l->count == l->room) {
    size_t room = l->room * 2 + 64;
    repo_id *list = mem_grow(l->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    l->list = list;
    l->room = room;
  }
  l->list[l->count++] = *id;
  return NULL;
}

/* What only it says would count as used by nobody. */
static error *lost(const loading *l, const repo_id *id, error *cause) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return error_because(
      repo_error(SAROS_E_DAMAGED,
                 "%s/%s is listed and is not there, so that it is not known "
                 "what is in use; nothing was removed. Try again, or check the "
                 "repository",
                 repo_file_folder(l->kind), text),
      cause);
}

static error *load_one(loading *l, repo_tool *tool, const repo_id *id,
                       buffer *b) {
  buffer_clear(b);
  error *e = repo_unpacked_load(l->r->store, l->kind, id, tool->sealer,
                                tool->zip, l->most, b, &l->stop);
  if (e != NULL && e->number == ENOENT && !l->alone) {
    error_unref(e); /* removed since it was listed */
    return NULL;
  }
  if (e != NULL && e->number == ENOENT) return lost(l, id, e);
  if (e != NULL) return e;
  if (b->failed) return error_no_memory();
  return l->each(l->context, id, b->data, b->size);
}

static void fail(loading *l, error *e) {
  pthread_mutex_lock(&l->lock);
  if (l->why == NULL)
    l->why = e;
  else
    error_unref(e);
  l->failed = true;
  pthread_mutex_unlock(&l->lock);
}

static void *work(void *argument) {
  loading *l = argument;
  buffer b = BUFFER_EMPTY;
  repo_tool *tool;
  size_t i;
  error *e = repo_tools_take(l->r->tools, &tool);
  if (e != NULL) fail(l, e);
  while (!loading_stopped(&l->stop) && (i = l->next++) < l->count) {
    e = load_one(l, tool, &l->list[i], &b);
    if (e != NULL) fail(l, e);
  }
  repo_tools_give(l->r->tools, tool);
  buffer_free(&b);
  return NULL;
}

/* This thread works, too; fewer threads than wanted are no harm. */
static void work_together(loading *l) {
  pthread_t threads[THREADS_MOST];
  sigset_t all, before;
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  size_t wanted = l->r->store->connections, count = 0;
  if (cores > 0 && wanted < (size_t)cores) wanted = (size_t)cores;
  if (wanted > THREADS_MOST) wanted = THREADS_MOST;
  if (wanted > l->count) wanted = l->count;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (count + 1 < wanted &&
         pthread_create(&threads[count], NULL, work, l) == 0)
    count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  work(l);
  while (count > 0) pthread_join(threads[--count], NULL);
}

error *repo_load_all(repo *r, repo_file kind, size_t most, bool alone,
                     bool (*wanted)(void *context, const repo_id *id),
                     repo_each_file each, void *context,
                     const repo_stop *stop) {
  loading l = {.stop = {loading_stopped},
               .outer = stop,
               .r = r,
               .kind = kind,
               .most = most,
               .alone = alone,
               .each = each,
               .context = context,
               .wanted = wanted};
  error *e = r->store->way->list(r->store, kind, note, &l, stop);
  if (e == NULL) {
    pthread_mutex_init(&l.lock, NULL);
    work_together(&l);
    pthread_mutex_destroy(&l.lock);
    e = l.why;
    if (e == NULL && repo_stopped(stop))
      e = repo_error(SAROS_E_CANCELLED, "reading was cancelled");
  }
  mem_free(l.list);
  return e;
}


/* ------------------------------------------------------------------
** The index
** ---------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b) {
  return repo_id_compare(a, b);
}

/* With the lock held. */
static error *note_file(repo *r, const repo_id *id) {
  if (r->file_count == r->file_room) {
    size_t room = r->file_room * 2 + 64;
    repo_id *list = mem_grow(r->files, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    r->files = list;
    r->file_room = room;
  }
  r->files[r->file_count++] = *id;
  return NULL;
}

/* What is there now, against what is in the index: sorted by who loads it,
   while nobody adds. */
typedef struct gathering {
  repo *r;
  repo_index *index;
  const repo_id *known;
  size_t known_count, found;
} gathering;

static bool is_new(void *context, const repo_id *id) {
  gathering *g = context;
  bool known = g->known_count > 0 && bsearch(id, g->known, g->known_count,
                                             sizeof *id, compare_ids) != NULL;
  g->found += known;
  return !known;
}

static error *gather(void *context, const repo_id *id, const char *plain,
                     size_t size) {
  gathering *g = context;
  error *e = repo_index_read(g->index, id, plain, size);
  if (e != NULL) return e;
  pthread_mutex_lock(&g->r->lock);
  e = note_file(g->r, id);
  pthread_mutex_unlock(&g->r->lock);
  return e;
}

/* With the lock held: for those who read without one, until they end. */
static bool keep_outdated(repo *r) {
  if (r->outdated_count == r->outdated_room) {
    size_t room = r->outdated_room * 2 + 4;
    repo_index **list = mem_grow(r->outdated, room * sizeof(repo_index *));
    if (list == NULL) return false;
    r->outdated = list;
    r->outdated_room = room;
  }
  r->outdated[r->outdated_count++] = r->index;
  return true;
}

/* Files were removed since: what they said must not be believed any more. Only
   while nobody who has a lock works with the index that is there. */
static error *begin_anew(repo *r) {
  repo_index *fresh = repo_index_new();
  if (fresh == NULL) return error_no_memory();
  pthread_mutex_lock(&r->lock);
  bool in_use = r->index != NULL && r->index_readers > 0;
  bool good = !in_use || keep_outdated(r);
  repo_index *gone = !good ? fresh : in_use ? NULL : r->index;
  if (good) {
    r->index = fresh;
    r->file_count = 0;
    r->stale = false;
  }
  pthread_mutex_unlock(&r->lock);
  repo_index_free(gone);
  return good ? NULL : error_no_memory();
}

/* `alone` among those of this process, `only` one of all who have a lock. */
static error *load_index(repo *r, bool alone, bool only,
                         const repo_stop *stop) {
  error *e = r->index == NULL || (r->stale && alone) ? begin_anew(r) : NULL;
  for (int tries = 0; e == NULL && tries < 2; tries++) {
    pthread_mutex_lock(&r->lock);
    size_t count = r->file_count;
    if (count > 0) qsort(r->files, count, sizeof *r->files, compare_ids);
    repo_id *known = mem_alloc((count + 1) * sizeof *known);
    if (known != NULL && count > 0)
      memcpy(known, r->files, count * sizeof *known);
    pthread_mutex_unlock(&r->lock);
    if (known == NULL) return error_no_memory();
    gathering g = {r, r->index, known, count, 0};
    e = repo_load_all(r, REPO_INDEXES, REPO_INDEX_FILE_MOST, only, is_new,
                      gather, &g, stop);
    mem_free(known);
    if (e != NULL || g.found == count || !alone) break;
    e = begin_anew(r);
  }
  return e;
}

static bool is_only_one(const repo_hold *h) {
  return h->lock != NULL && repo_lock_is_exclusive(h->lock);
}

error *repo_index_of(repo_hold *h, repo_index **x) {
  repo *r = h->r;
  pthread_mutex_lock(&r->lock);
  while (r->loading) pthread_cond_wait(&r->moved, &r->lock);
  r->loading = true;
  /* Others may be reading it: then it can only grow. They hold a lock as well
     as we do, so nobody has removed anything since they began. Of those who
     have none that cannot be said: they keep the one they have. */
  bool alone = r->index_users == 0;
  pthread_mutex_unlock(&r->lock);
  error *e = load_index(r, alone, is_only_one(h), &h->stop);
  pthread_mutex_lock(&r->lock);
  r->loading = false;
  if (e == NULL && !h->has_index) {
    h->has_index = true;
    *(h->lock != NULL ? &r->index_users : &r->index_readers) += 1;
  }
  pthread_cond_broadcast(&r->moved);
  pthread_mutex_unlock(&r->lock);
  *x = e == NULL ? r->index : NULL;
  return e;
}

void repo_index_end(repo_hold *h) {
  repo *r = h->r;
  if (!h->has_index) return;
  pthread_mutex_lock(&r->lock);
  *(h->lock != NULL ? &r->index_users : &r->index_readers) -= 1;
  while (r->index_readers == 0 && r->outdated_count > 0)
    repo_index_free(r->outdated[--r->outdated_count]);
  pthread_mutex_unlock(&r->lock);
}

error *repo_index_stored(repo *r, const repo_id *file) {
  pthread_mutex_lock(&r->lock);
  error *e = note_file(r, file);
  pthread_mutex_unlock(&r->lock);
  return e;
}

void repo_index_forget(repo *r) {
  pthread_mutex_lock(&r->lock);
  r->stale = true;
  pthread_mutex_unlock(&r->lock);
}


/* ------------------------------------------------------------------
** Versions
** ---------------------------------------------------------------- */

typedef struct versions {
  pthread_mutex_t lock;
  repo_snapshot **list;
  size_t count, room;
} versions;

static error *add_version(void *context, const repo_id *id, const char *plain,
                          size_t size) {
  versions *v = context;
  error *e = NULL;
  repo_snapshot *s = repo_snapshot_read(plain, size, &e);
  if (s == NULL) {
    char text[REPO_ID_TEXT];
    repo_id_format(id, text);
    if (e->code == SAROS_E_OUTOFMEMORY) return e;
    return error_because(repo_error(e->code, "version %s cannot be read", text),
                         e);
  }
  s->id = *id;
  pthread_mutex_lock(&v->lock);
  if (v->count + 1 >= v->room) {
    size_t room = v->room * 2 + 64;
    repo_snapshot **list = mem_grow(v->list, room * sizeof *list);
    if (list == NULL) e = error_no_memory();
    if (list != NULL) v->list = list;
    if (list != NULL) v->room = room;
  }
  if (e == NULL) {
    v->list[v->count++] = s;
    v->list[v->count] = NULL;
  }
  pthread_mutex_unlock(&v->lock);
  if (e != NULL) repo_snapshot_free(s);
  return e;
}

static int by_time(const void *a, const void *b) {
  const repo_snapshot *x = *(repo_snapshot *const *)a;
  const repo_snapshot *y = *(repo_snapshot *const *)b;
  if (x->time.tv_sec != y->time.tv_sec)
    return x->time.tv_sec < y->time.tv_sec ? -1 : 1;
  if (x->time.tv_nsec != y->time.tv_nsec)
    return x->time.tv_nsec < y->time.tv_nsec ? -1 : 1;
  return repo_id_compare(&x->id, &y->id);
}

void repo_versions_free(repo_snapshot **list) {
  for (size_t i = 0; list != NULL && list[i] != NULL; i++)
    repo_snapshot_free(list[i]);
  mem_free(list);
}

static error *load_versions(repo *r, bool only, repo_snapshot ***list,
                            size_t *count, const repo_stop *stop) {
  versions v = {.room = 1};
  *list = NULL;
  *count = 0;
  v.list = mem_zero(sizeof *v.list);
  if (v.list == NULL) return error_no_memory();
  pthread_mutex_init(&v.lock, NULL);
  error *e = repo_load_all(r, REPO_SNAPSHOTS, REPO_SNAPSHOT_FILE_MOST, only,
                           NULL, add_version, &v, stop);
  pthread_mutex_destroy(&v.lock);
  if (e != NULL) {
    repo_versions_free(v.list);
    return e;
  }
  if (v.count > 1) qsort(v.list, v.count, sizeof *v.list, by_time);
  *list = v.list;
  *count = v.count;
  return NULL;
}

error *repo_versions(repo *r, repo_snapshot ***list, size_t *count,
                     const repo_stop *stop) {
  return load_versions(r, false, list, count, stop);
}

error *repo_versions_of(repo_hold *h, repo_snapshot ***list, size_t *count) {
  return load_versions(h->r, is_only_one(h), list, count, &h->stop);
}
