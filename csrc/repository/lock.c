/*
** Taking a lock and letting it go. There is nothing in a store that two cannot
** do at once, so each writes its lock, waits until what another one wrote in
** the same moment can be seen, and looks: of two that are in each other's way
** at least one sees the other. Where that can be seen at once nobody waits: who
** did not see the other's lock has written his own before the other looked.
*/
#include <errno.h>
#include <string.h>

#include "repository/lock_parts.h"

#define TIMES                                                            \
  {                                                                      \
    .settle = 200, .refresh = 300000, .late = 1350000, .stale = 1800000, \
    .retry_least = 5000, .retry_most = 60000, .unreadable = 5000         \
  }
#ifdef SAROS_TEST
repo_lock_times repo_lock_time = TIMES;
#else
const repo_lock_times repo_lock_time = TIMES;
#endif

bool repo_lock_is_exclusive(const repo_lock *l) {
  return l->mine.exclusive;
}

bool repo_lock_inherits(const repo_lock *l) {
  return l->inherits;
}


/* ------------------------------------------------------------------
** Ours
** ---------------------------------------------------------------- */

error *repo_lock_write(repo_lock *l, repo_id *id, const repo_stop *stop) {
  buffer json = BUFFER_EMPTY;
  clock_gettime(CLOCK_REALTIME, &l->mine.time);
  repo_lock_file_write(&l->mine, &json);
  error *e = json.failed ? error_no_memory()
                         : repo_tools_save(l->k.tools, l->k.store, REPO_LOCKS,
                                           json.data, json.size, id, stop);
  buffer_free(&json);
  return e;
}

/* What must be undone is undone also when it was cancelled; but not for ever,
   where the store does not answer. */
typedef struct patience {
  repo_stop stop;
  uint64_t until;
} patience;
#define PATIENCE_MS 20000

static bool out_of_patience(const repo_stop *stop) {
  return repo_clock() > ((const patience *)stop)->until;
}

static error *remove_lock(repo_store *store, const repo_id *id) {
  patience p = {{out_of_patience}, repo_clock() + PATIENCE_MS};
  return store->way->remove(store, REPO_LOCKS, id, &p.stop);
}


/* ------------------------------------------------------------------
** The others'
** ---------------------------------------------------------------- */

typedef struct ids {
  repo_id *list;
  size_t count, room;
} ids;

static error *collect(void *context, const repo_id *id, uint64_t size) {
  ids *all = context;
  (void)size;
  if (all->count == all->room) {
    size_t room = all->room * 2 + 8;
    repo_id *list = mem_grow(all->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    all->list = list;
    all->room = room;
  }
  all->list[all->count++] = *id;
  return NULL;
}

static bool contains(const ids *all, const repo_id *id) {
  for (size_t i = 0; i < all->count; i++)
    if (repo_id_equal(&all->list[i], id)) return true;
  return false;
}

static error *load(repo_store *store, repo_tools *tools, const repo_id *id,
                   repo_lock_file *f, const repo_stop *stop) {
  buffer b = BUFFER_EMPTY;
  f->id = *id;
  error *e = repo_tools_load(tools, store, REPO_LOCKS, id, REPO_LOCK_FILE_MOST,
                             &b, stop);
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) e = repo_lock_file_read(f, b.data, b.size);
  buffer_free(&b);
  return e;
}

static bool is_gone(const error *e) {
  return e->number == ENOENT;
}

static error *unreadable(const repo_id *id, error *cause) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return error_because(
      repo_error(SAROS_E_LOCKED,
                 "the repository is locked: lock %s cannot be read, and whose "
                 "it is cannot be told (%s); when nobody uses the repository, "
                 "unlock with `all` removes it",
                 text, cause->message),
      cause);
}

/* In some stores a file can be seen before it is whole: one that cannot be read
   is read again, later. *gone: it was let go meanwhile. */
static error *load_patiently(const repo_lock *l, const repo_id *id,
                             repo_lock_file *f, bool *gone,
                             const repo_stop *stop) {
  uint64_t pause = repo_lock_time.unreadable;
  *gone = false;
  for (int tries = 0;; tries++, pause *= 2) {
    error *e = load(l->k.store, l->k.tools, id, f, stop);
    if (e == NULL) return NULL;
    *gone = is_gone(e);
    if (*gone) {
      error_unref(e);
      return NULL;
    }
    if (e->code != SAROS_E_DAMAGED) return e;
    if (tries == 3) return unreadable(id, e);
    error_unref(e);
    if (!repo_pause(stop, pause))
      return repo_error(SAROS_E_CANCELLED, "locking was cancelled");
  }
}

static error *held(const repo_lock *l, const repo_lock_file *f) {
  buffer b = BUFFER_EMPTY;
  repo_lock_file_describe(f, &b);
  const char *what = "wait for that (retry_lock), or end it";
  if (repo_lock_file_is_stale(f, &l->mine.owner))
    what = "whoever that was seems to be gone: if so, unlock removes the lock";
  else if (f->owner.pid == l->mine.owner.pid &&
           f->owner.started == l->mine.owner.started &&
           strcmp(f->owner.boot, l->mine.owner.boot) == 0)
    what = "that is another operation of this very process";
  error *e = repo_error(SAROS_E_LOCKED, "the repository is locked: %s; %s",
                        b.failed ? "somebody holds it" : b.data, what);
  buffer_free(&b);
  return e;
}

static bool in_the_way(const repo_lock *l, const repo_lock_file *f) {
  return l->mine.exclusive || f->exclusive;
}

/* Removes the lock of one who has died. False: it stays in the way. */
static bool bury(repo_lock *l, const repo_lock_file *f) {
  if (!repo_lock_file_is_dead(f, &l->mine.owner)) return false;
  error *e = remove_lock(l->k.store, &f->id);
  bool good = e == NULL;
  log_write(LOG_NOTICE, "repository",
            good ? "removed the lock of PID %lld on %s, which has ended "
                   "without doing so"
                 : "the lock of PID %lld on %s, which has ended, cannot be "
                   "removed",
            (long long)f->owner.pid, f->owner.hostname);
  error_unref(e);
  if (good && !f->exclusive) l->inherits = true;
  return good;
}

static error *check_one(repo_lock *l, const repo_id *id,
                        const repo_stop *stop) {
  repo_lock_file f;
  bool gone;
  error *e = load_patiently(l, id, &f, &gone, stop);
  if (e != NULL || gone) return e;
  bool stands = in_the_way(l, &f);
  if ((stands || l->k.cleans) && bury(l, &f)) stands = false;
  if (stands) e = held(l, &f);
  repo_lock_file_clear(&f);
  return e;
}

/* `seen`: those that were looked at before, and what is seen now. */
static error *check(repo_lock *l, ids *seen, const repo_stop *stop) {
  ids now = {0};
  repo_store *s = l->k.store;
  error *e = s->way->list(s, REPO_LOCKS, collect, &now, stop);
  for (size_t i = 0; e == NULL && i < now.count; i++) {
    const repo_id *id = &now.list[i];
    if (repo_id_equal(id, &l->mine.id) || contains(seen, id)) continue;
    e = check_one(l, id, stop);
  }
  mem_free(seen->list);
  *seen = now;
  return e;
}


/* ------------------------------------------------------------------
** Taking it
** ---------------------------------------------------------------- */

static error *cancelled(void) {
  return repo_error(SAROS_E_CANCELLED, "waiting for a lock was cancelled");
}

static bool is_named(const repo_id *id) {
  static const repo_id none;
  return !repo_id_equal(id, &none);
}

static uint64_t settle_ms(repo_store *s) {
  bool at_once = s->way->at_once != NULL && s->way->at_once(s);
  return at_once ? 0 : repo_lock_time.settle;
}

/* Once. */
static error *try_to_take(repo_lock *l, const repo_stop *stop) {
  ids seen = {0};
  memset(&l->mine.id, 0, sizeof l->mine.id);
  error *e = check(l, &seen, stop);
  if (e == NULL) {
    uint64_t before = repo_clock();
    e = repo_lock_write(l, &l->mine.id, stop);
    if (e == NULL) {
      l->fresh = before;
      e = repo_pause(stop, settle_ms(l->k.store)) ? check(l, &seen, stop)
                                                  : cancelled();
    }
    /* Also when storing it has failed: it may be there all the same. */
    if (e != NULL && is_named(&l->mine.id))
      error_unref(remove_lock(l->k.store, &l->mine.id));
  }
  mem_free(seen.list);
  return e;
}

/* Not all that wait shall come back in the same moment. */
static uint64_t jitter(uint64_t ms) {
  uint8_t byte = 128;
  error_unref(repo_random(&byte, 1));
  return ms * 3 / 4 + ms * byte / 512;
}

static error *take(repo_lock *l, const repo_stop *stop) {
  uint64_t begun = repo_clock(), pause = repo_lock_time.retry_least;
  bool told = false;
  for (;;) {
    error *e = try_to_take(l, stop);
    if (e == NULL || e->code != SAROS_E_LOCKED) return e;
    uint64_t gone = repo_clock() - begun;
    if (gone >= l->k.retry_ms) return e;
    if (!told && l->k.waits != NULL) l->k.waits(l->k.context, e->message);
    told = true;
    uint64_t left = l->k.retry_ms - gone, nap = jitter(pause);
    error_unref(e);
    if (!repo_pause(stop, nap < left ? nap : left)) return cancelled();
    pause = pause * 2 < repo_lock_time.retry_most ? pause * 2
                                                  : repo_lock_time.retry_most;
  }
}

static void lock_free(repo_lock *l) {
  repo_lock_file_clear(&l->mine);
  pthread_cond_destroy(&l->moved);
  pthread_mutex_destroy(&l->lock);
  mem_free(l);
}

static bool ends(const repo_stop *stop) {
  const repo_lock *l =
      (const repo_lock *)((const char *)stop - offsetof(repo_lock, stop));
  return l->ends;
}

static repo_lock *lock_new(const repo_locker *k, bool exclusive, error **e) {
  repo_lock *l = mem_zero(sizeof *l);
  *e = l == NULL ? error_no_memory() : NULL;
  if (l == NULL) return NULL;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->moved, &attributes);
  pthread_condattr_destroy(&attributes);
  l->k = *k;
  l->stop.asked = ends;
  l->generation = repo_generation();
  l->mine.exclusive = exclusive;
  *e = repo_owner_here(&l->mine.owner);
  if (*e == NULL) return l;
  lock_free(l);
  return NULL;
}

error *repo_lock_take(const repo_locker *k, bool exclusive,
                      const repo_stop *stop, repo_lock **lock) {
  error *e;
  *lock = NULL;
  repo_lock *l = lock_new(k, exclusive, &e);
  if (l == NULL) return e;
  clock_gettime(CLOCK_REALTIME, &l->mine.since);
  e = take(l, stop);
  if (e == NULL) {
    e = repo_lock_keep(l);
    if (e != NULL) error_unref(remove_lock(k->store, &l->mine.id));
  }
  if (e == NULL)
    *lock = l;
  else
    lock_free(l);
  return e;
}

error *repo_lock_release(repo_lock *l) {
  error *e = NULL;
  if (l == NULL) return NULL;
  if (l->generation != repo_generation()) {
    /* In the child of a fork: the lock is the parent's, and so was the thread
       that may hold the mutex. */
    repo_lock_file_clear(&l->mine);
    mem_free(l);
    return NULL;
  }
  repo_lock_leave(l);
  e = remove_lock(l->k.store, &l->mine.id);
  if (l->has_left) error_unref(remove_lock(l->k.store, &l->left));
  lock_free(l);
  return e;
}


/* ------------------------------------------------------------------
** Looking, and unlocking
** ---------------------------------------------------------------- */

static value *unreadable_value(const repo_id *id, const error *why) {
  char text[REPO_ID_TEXT];
  value *map = value_map();
  repo_id_format(id, text);
  if (map != NULL && value_put(map, "id", value_text(text)) &&
      value_put(map, "error", value_text(why->message)))
    return map;
  value_free(map);
  return NULL;
}

static error *list_one(value *list, repo_store *store, repo_tools *tools,
                       const repo_owner *here, const repo_id *id,
                       const repo_stop *stop) {
  repo_lock_file f;
  value *map = NULL;
  error *e = load(store, tools, id, &f, stop);
  if (e == NULL) {
    map = repo_lock_file_value(&f, here);
    repo_lock_file_clear(&f);
  } else if (is_gone(e)) {
    error_unref(e);
    return NULL;
  } else if (e->code == SAROS_E_DAMAGED) {
    map = unreadable_value(id, e);
    error_unref(e);
  } else {
    return e;
  }
  return value_add(list, map) ? NULL : error_no_memory();
}

value *repo_lock_list(repo_store *store, repo_tools *tools,
                      const repo_stop *stop, error **e) {
  ids all = {0};
  repo_owner here;
  value *list = NULL;
  *e = repo_owner_here(&here);
  if (*e != NULL) return NULL;
  *e = store->way->list(store, REPO_LOCKS, collect, &all, stop);
  if (*e == NULL && (list = value_list()) == NULL) *e = error_no_memory();
  for (size_t i = 0; *e == NULL && i < all.count; i++)
    *e = list_one(list, store, tools, &here, &all.list[i], stop);
  mem_free(all.list);
  repo_owner_clear(&here);
  if (*e == NULL) return list;
  value_free(list);
  return NULL;
}

static error *clear_one(repo_store *store, repo_tools *tools, bool all,
                        const repo_owner *here, const repo_id *id,
                        const repo_stop *stop, uint64_t *removed) {
  repo_lock_file f;
  bool goes = all;
  if (!all) {
    error *e = load(store, tools, id, &f, stop);
    /* One that cannot be read may be held by somebody newer than we. */
    if (e != NULL && (is_gone(e) || e->code == SAROS_E_DAMAGED)) {
      error_unref(e);
      return NULL;
    }
    if (e != NULL) return e;
    goes = repo_lock_file_is_stale(&f, here);
    repo_lock_file_clear(&f);
  }
  error *e = goes ? store->way->remove(store, REPO_LOCKS, id, stop) : NULL;
  *removed += goes && e == NULL;
  return e;
}

error *repo_lock_clear(repo_store *store, repo_tools *tools, bool all,
                       const repo_stop *stop, uint64_t *removed) {
  ids found = {0};
  repo_owner here;
  *removed = 0;
  error *e = repo_owner_here(&here);
  if (e != NULL) return e;
  e = store->way->list(store, REPO_LOCKS, collect, &found, stop);
  for (size_t i = 0; e == NULL && i < found.count; i++)
    e = clear_one(store, tools, all, &here, &found.list[i], stop, removed);
  mem_free(found.list);
  repo_owner_clear(&here);
  return e;
}
