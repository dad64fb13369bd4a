/*
** The queue is opened and closed, owned and observed; and what a fork does to
** it: the child lets go of the lock, so that it dies with the owner, and speaks
** no more to SQLite.
*/
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bits/queue_parts.h"

_Atomic unsigned queue_process = 1;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static bits_queue *all; /* of this process, and those it has inherited */

/* ------------------------------------------------------------------
** Forks
** ---------------------------------------------------------------- */

/* All wait until nobody speaks to SQLite, but not for ever: a disk may hang. */
static void before_fork(void) {
  struct timespec until;
  pthread_mutex_lock(&all_lock);
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 2;
  for (bits_queue *q = all; q != NULL; q = q->next)
    if (q->process == atomic_load(&queue_process))
      q->torn = pthread_mutex_timedlock(&q->turn, &until) != 0;
}

static void in_parent(void) {
  for (bits_queue *q = all; q != NULL; q = q->next) {
    if (q->process != atomic_load(&queue_process)) continue;
    if (!q->torn) pthread_mutex_unlock(&q->turn);
    q->torn = false;
  }
  pthread_mutex_unlock(&all_lock);
}

static void in_child(void) {
  for (bits_queue *q = all; q != NULL; q = q->next) {
    if (q->process != atomic_load(&queue_process)) continue;
    if (q->torn)
      pthread_mutex_init(&q->turn, NULL);
    else
      pthread_mutex_unlock(&q->turn);
    if (q->lock >= 0) close(q->lock); /* the parent still has it */
    q->lock = -1;
  }
  atomic_fetch_add(&queue_process, 1);
  pthread_mutex_unlock(&all_lock);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}

static bool is_inherited(const bits_queue *q) {
  return q->process != atomic_load(&queue_process);
}

error *queue_take_turn(bits_queue *q) {
  if (is_inherited(q))
    return queue_fail(SAROS_E_FORKED,
                      "the queue %s was opened by the parent of this process; "
                      "only there it can be used",
                      q->path);
  pthread_mutex_lock(&q->turn);
  if (q->db != NULL) return NULL;
  pthread_mutex_unlock(&q->turn);
  return queue_fail(SAROS_E_LOCKED,
                    "the queue %s is just being mended by its owner; try again",
                    q->path);
}

void queue_end_turn(bits_queue *q) {
  pthread_mutex_unlock(&q->turn);
}

static void free_queue(bits_queue *q) {
  for (bits_queue **at = &all; *at != NULL; at = &(*at)->next)
    if (*at == q) {
      *at = q->next;
      break;
    }
  pthread_mutex_destroy(&q->turn);
  mem_free(q->path);
  mem_free(q->parent);
  mem_free(q);
}

/* SQLite believes that the locks of the parent are ours, too, while their
   connection is open here. In the middle of a change it cannot be closed. */
static error *forget_inherited(const bits_queue *q) {
  error *e = NULL;
  struct stat st;
  bool is_there = q->path != NULL && lstat(q->path, &st) == 0;
  pthread_mutex_lock(&all_lock);
  for (bits_queue *other = all, *next; other != NULL; other = next) {
    next = other->next;
    if (!is_inherited(other)) continue;
    bool idle = !other->torn && !other->inside;
    if (other->db != NULL && idle) queue_disconnect(other);
    if (other->db != NULL && is_there && queue_place_is(other, &st))
      e = queue_fail(SAROS_E_FORKED,
                     "this process was forked while its parent wrote the queue "
                     "%s; open it in a program of its own",
                     q->path);
    if (other->db == NULL && other->abandoned) free_queue(other);
  }
  pthread_mutex_unlock(&all_lock);
  return e;
}


/* ------------------------------------------------------------------
** The files
** ---------------------------------------------------------------- */

static error *cannot(const char *path, int number, const char *why) {
  return queue_fail(code_of_errno(number), "cannot open the queue %s: %s", path,
                    why);
}

/* The directory without symbolic links, and the name as it is. */
static error *resolve(bits_queue *q, const char *path) {
  size_t size = 0;
  const char *name = path_base(path, &size);
  char *parent = path_parent(path), real[PATH_MAX];
  if (parent == NULL) return queue_no_memory();
  error *e = NULL;
  if (path[0] == '\0' || path[strlen(path) - 1] == '/' || size > 200 ||
      strncmp(name, ".", size) == 0 || strncmp(name, "..", size) == 0)
    e = cannot(path, EINVAL, "its path must end with the name of a file");
  else if (realpath(parent, real) == NULL)
    e = cannot(path, errno,
               errno == ENOENT    ? "its directory does not exist; make it"
               : errno == ENOTDIR ? "it is not in a directory"
                                  : strerror(errno));
  mem_free(parent);
  if (e != NULL) return e;
  q->parent = mem_text(real);
  q->path = q->parent != NULL ? path_join(q->parent, name) : NULL;
  return q->path != NULL ? NULL : queue_no_memory();
}

/* Each is a file of ours, or not there. What others may read is closed to them:
   it names who fetches what. */
static error *examine(const bits_queue *q) {
  static const char *const suffixes[] = {"",         "-wal",   "-shm",
                                         "-journal", ".owner", ".mended"};
  for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
    struct stat st;
    char *path = queue_beside(q, suffixes[i]);
    if (path == NULL) return queue_no_memory();
    error *e = NULL;
    if (lstat(path, &st) != 0)
      e = errno == ENOENT ? NULL : cannot(path, errno, strerror(errno));
    else if (S_ISLNK(st.st_mode))
      e = queue_fail(
          SAROS_E_REFUSED,
          "%s is a symbolic link, which another could lead anywhere; "
          "give the path of the file itself",
          path);
    else if (!S_ISREG(st.st_mode))
      e = queue_fail(SAROS_E_INVALIDARG, "%s is not a file", path);
    else if (st.st_uid != geteuid())
      e = queue_fail(SAROS_E_ACCESSDENIED,
                     "%s belongs to another user (uid %u): open the queue as "
                     "that one, or give another path",
                     path, (unsigned)st.st_uid);
    else if ((st.st_mode & 077) != 0 && chmod(path, 0600) != 0)
      e = cannot(path, errno, strerror(errno));
    mem_free(path);
    if (e != NULL) return e;
  }
  return NULL;
}

static error *may_write(const bits_queue *q) {
  if (access(q->parent, W_OK | X_OK) == 0) return NULL;
  return cannot(q->path, errno,
                errno == EROFS ? "its file system is mounted read-only"
                               : "we may not write to its directory");
}

static bool has_bytes(const bits_queue *q) {
  struct stat st;
  return lstat(q->path, &st) == 0 && st.st_size > 0;
}

static error *remember_file(bits_queue *q) {
  int r = queue_ask(q->db, "PRAGMA data_version", &q->version);
  if (r != SQLITE_OK) return queue_trouble(q, q->db, r, "read the queue");
  int number = queue_place_note(q);
  return number == 0 ? NULL : cannot(q->path, number, strerror(number));
}


/* ------------------------------------------------------------------
** As its owner
** ---------------------------------------------------------------- */

/* What is seen at a first look, or NULL. */
static const char *fault_of(bits_queue *q, queue_find what) {
  switch (what) {
    case QUEUE_OURS: break;
    case QUEUE_CHANGED: return "its tables are not as we make them";
    case QUEUE_EMPTY: return "it has no tables";
    case QUEUE_BROKEN: return "it is no database any more";
  }
  /* We may; it is a newer SQLite's, as it says. */
  return sqlite3_db_readonly(q->db, "main") != 0
             ? "its first page says that nobody may write it"
             : NULL;
}

/* Sound: connected, with *why NULL. Else *why, allocated, and disconnected. */
static error *open_sound(bits_queue *q, char **why) {
  queue_find what = QUEUE_BROKEN;
  *why = NULL;
  int r = queue_connect(q, q->path, SQLITE_OPEN_READWRITE, &q->db);
  error *e = NULL;
  if (r != SQLITE_OK && !queue_is_damage(r))
    e = queue_trouble(q, q->db, r, "open the queue");
  if (r == SQLITE_OK) e = queue_look(q, q->db, &what);
  const char *fault = e == NULL ? fault_of(q, what) : NULL;
  if (fault != NULL && (*why = mem_text(fault)) == NULL) e = queue_no_memory();
  if (e == NULL && fault == NULL) e = queue_check(q, why);
  if (e == NULL && *why == NULL) {
    r = sqlite3_exec(q->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    if (r != SQLITE_OK) e = queue_trouble(q, q->db, r, "open the queue");
  }
  if (e == NULL && *why == NULL) e = queue_prepare(q);
  if (e == NULL && *why == NULL) e = remember_file(q);
  if (e == NULL && *why == NULL) {
    sqlite3_db_config(q->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    queue_owner_note_id(q);
    return NULL;
  }
  queue_disconnect(q);
  return e;
}

static error *open_owned(bits_queue *q, error **told) {
  char *why = NULL;
  error *e = queue_mend_finish(q);
  if (e == NULL && !has_bytes(q)) {
    if (q->known) e = queue_mend_lone(q, told);
    if (e == NULL) e = queue_mend_make(q);
  }
  if (e == NULL) e = open_sound(q, &why);
  if (e == NULL && why != NULL) {
    e = queue_mend(q, why, told);
    mem_free(why);
    why = NULL;
    if (e == NULL) e = open_sound(q, &why);
  }
  if (e == NULL && why != NULL)
    e = queue_fail(SAROS_E_DAMAGED,
                   "the queue %s is damaged as soon as it is written (%s): its "
                   "disk cannot be trusted",
                   q->path, why);
  mem_free(why);
  return e;
}

/* Before anything is made beside it: what is not ours stays as it is. */
static error *ensure_ours(bits_queue *q) {
  sqlite3 *db = NULL;
  queue_find what;
  if (q->known || !has_bytes(q)) return NULL;
  int r = queue_connect(q, q->path, SQLITE_OPEN_READWRITE, &db);
  error *e = r == SQLITE_OK || queue_is_damage(r)
                 ? queue_look(q, db, &what)
                 : queue_trouble(q, db, r, "open the queue");
  sqlite3_close_v2(db);
  return e;
}

static error *try_to_own(bits_queue *q, error **told) {
  error *e = may_write(q);
  bool taken = false;
  if (e == NULL) e = ensure_ours(q);
  if (e == NULL) e = queue_owner_take(q, &taken);
  if (e != NULL || !taken) return e;
  q->owner = true;
  e = open_owned(q, told);
  if (e != NULL) queue_owner_release(q);
  return e;
}


/* ------------------------------------------------------------------
** As one who reads
** ---------------------------------------------------------------- */

static error *open_to_read(bits_queue *q) {
  queue_find what = QUEUE_OURS;
  if (!has_bytes(q))
    return queue_fail(WIN32_(WIN32_FILE_NOT_FOUND),
                      "there is no queue %s yet: its owner makes it", q->path);
  int r = queue_connect(q, q->path, SQLITE_OPEN_READWRITE, &q->db);
  if (r == SQLITE_OK)
    r = sqlite3_exec(q->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
  error *e = r == SQLITE_OK || queue_is_damage(r)
                 ? queue_look(q, q->db, &what)
                 : queue_trouble(q, q->db, r, "open the queue");
  if (e == NULL && what != QUEUE_OURS)
    e = queue_trouble(q, q->db, SQLITE_CORRUPT, "read the queue");
  if (e == NULL) e = queue_prepare(q);
  if (e == NULL) e = remember_file(q);
  if (e != NULL) queue_disconnect(q);
  return e;
}

/* SQLite reads with files beside it, and does not say that it could make
   none. */
static error *why_not_read(const bits_queue *q, error *e) {
  if (e == NULL || e->code != WIN32_(WIN32_FILE_NOT_FOUND) || !has_bytes(q))
    return e;
  error *why = may_write(q);
  if (why == NULL) return e;
  error_unref(e);
  return why;
}

/* Its owner may just be making or mending it. */
static error *wait_to_read(bits_queue *q, bool is_made) {
  error *e = NULL;
  for (int i = 0; i < 200; i++) {
    error_unref(e);
    e = open_to_read(q);
    bool passes =
        e != NULL && (e->code == SAROS_E_LOCKED || e->code == SAROS_E_DAMAGED ||
                      e->code == WIN32_(WIN32_FILE_NOT_FOUND));
    if (!passes || !is_made || atomic_load(&q->gives_up)) break;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  return why_not_read(q, e);
}


/* ------------------------------------------------------------------
** The door
** ---------------------------------------------------------------- */

static error *open_queue(bits_queue *q, const char *path, bool *owner,
                         error **told) {
  error *e = resolve(q, path);
  if (e == NULL) e = forget_inherited(q);
  if (e == NULL) e = examine(q);
  if (e != NULL) return e;
  queue_owner_known(q);
  if (*owner) e = try_to_own(q, told);
  if (e == NULL && !q->owner) e = wait_to_read(q, *owner);
  *owner = q->owner;
  return e;
}

bits_queue *bits_queue_open(const char *path, bool *owner, error **told,
                            error **e) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  *told = NULL;
  bits_queue *q = mem_zero(sizeof *q);
  if (q == NULL) {
    *e = queue_no_memory();
    return NULL;
  }
  q->process = atomic_load(&queue_process);
  q->lock = -1;
  pthread_mutex_init(&q->turn, NULL);
  pthread_mutex_lock(&all_lock);
  q->next = all;
  all = q;
  pthread_mutex_unlock(&all_lock);
  pthread_mutex_lock(&q->turn);
  *e = open_queue(q, path, owner, told);
  pthread_mutex_unlock(&q->turn);
  if (*e == NULL) return q;
  error_unref(*told);
  *told = NULL;
  bits_queue_close(q);
  return NULL;
}

void bits_queue_close(bits_queue *q) {
  if (q == NULL) return;
  if (is_inherited(q) && q->db != NULL) {
    q->abandoned = true;
    return;
  }
  if (q->db != NULL) {
    pthread_mutex_lock(&q->turn);
    queue_disconnect(q);
    pthread_mutex_unlock(&q->turn);
  }
  pthread_mutex_lock(&all_lock);
  queue_owner_release(q);
  free_queue(q);
  pthread_mutex_unlock(&all_lock);
}

void bits_queue_owner(bits_queue *q, buffer *b) {
  queue_owner_tell(q, b);
}

error *bits_queue_take_over(bits_queue *q, bool *owner) {
  error *told = NULL, *e = NULL;
  *owner = q->owner;
  if (q->owner) return NULL;
  if (is_inherited(q)) return queue_take_turn(q);
  pthread_mutex_lock(&q->turn);
  bool taken = false;
  e = examine(q);
  if (e == NULL) e = may_write(q);
  if (e == NULL) e = queue_owner_take(q, &taken);
  if (e == NULL && taken) {
    queue_owner_known(q);
    q->owner = true;
    queue_disconnect(q);
    e = open_owned(q, &told);
    if (e != NULL) {
      queue_owner_release(q);
      error_unref(open_to_read(q)); /* else it is tried again: see changed */
    }
  }
  *owner = q->owner;
  pthread_mutex_unlock(&q->turn);
  error_unref(told); /* the log has it */
  return e;
}

error *bits_queue_changed(bits_queue *q, bool *changed) {
  *changed = false;
  if (is_inherited(q)) return queue_take_turn(q);
  error *e = NULL;
  pthread_mutex_lock(&q->turn);
  if (!q->owner && (q->db == NULL || queue_place_has_other(q))) {
    queue_disconnect(q);
    e = examine(q);
    if (e == NULL) e = open_to_read(q);
    *changed = e == NULL;
  } else {
    sqlite3_stmt *s = q->statements[QUEUE_DATA_VERSION];
    int r = sqlite3_step(s);
    int64_t version = r == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    sqlite3_reset(s);
    if (r != SQLITE_ROW)
      e = queue_trouble(q, q->db, r, "read the queue");
    else
      *changed = version != q->version;
    if (e == NULL) q->version = version;
  }
  pthread_mutex_unlock(&q->turn);
  return e;
}

void bits_queue_interrupt(bits_queue *q) {
  atomic_store(&q->gives_up, true);
}
