/*
** A queue that is damaged is set aside, never thrown away: it and its WAL get
** other names, and what can be read of it is brought over into a new one. Every
** step can be the last: a process may be killed between any two.
**
**   1. "queue.db.new" is made, with all that could be read, and synced
**   2. the old one and its WAL get their second names (hard links)
**   3. "queue.db.new" becomes "queue.db.mended": from now on it counts
**   4. the old WAL goes, then "queue.db.mended" becomes "queue.db"
**
** Before 3 the old queue is as it was, and found damaged again; behind it, 4 is
** carried out by whoever comes next. A WAL is never beside another's queue.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bits/queue_parts.h"

#define SEEKS_THAT_FAIL 2000

#ifdef SAROS_TEST
void (*queue_mend_step)(int step);
#define STEP(n) \
  if (queue_mend_step != NULL) queue_mend_step(n)
#else
#define STEP(n) (void)0
#endif

static error *cannot(const bits_queue *q, int number, const char *doing) {
  if (number == ENOMEM) return queue_no_memory();
  return queue_fail(code_of_errno(number), "cannot %s the queue %s: %s", doing,
                    q->path, strerror(number));
}

/* 0 or errno; that it was not there is no failure. */
static int remove_beside(const bits_queue *q, const char *suffix) {
  char *path = queue_beside(q, suffix);
  int number = path == NULL ? ENOMEM : unlink(path) == 0 ? 0 : errno;
  mem_free(path);
  return number == ENOENT ? 0 : number;
}

static int rename_beside(const bits_queue *q, const char *from,
                         const char *to) {
  char *old = queue_beside(q, from), *new = queue_beside(q, to);
  int number = old == NULL || new == NULL ? ENOMEM
               : rename(old, new) == 0    ? 0
                                          : errno;
  mem_free(old);
  mem_free(new);
  return number;
}

/* Bytes of it; -1: it is not there. */
static int64_t size_beside(const bits_queue *q, const char *suffix) {
  struct stat st;
  char *path = queue_beside(q, suffix);
  int64_t size = path != NULL && lstat(path, &st) == 0 ? st.st_size : -1;
  mem_free(path);
  return size;
}


/* ------------------------------------------------------------------
** A new one
** ---------------------------------------------------------------- */

static error *remove_new(const bits_queue *q) {
  static const char *const all[] = {".new", ".new-wal", ".new-shm",
                                    ".new-journal"};
  int number = 0;
  for (int i = 0; number == 0 && i < 4; i++) number = remove_beside(q, all[i]);
  return number == 0 ? NULL : cannot(q, number, "make");
}

/* It is whole, without a WAL, and on the disk. */
static error *finish_new(bits_queue *q, sqlite3 *db, const char *path) {
  int r = sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
  error *e = r == SQLITE_OK ? NULL : queue_trouble(q, db, r, "make the queue");
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
  sqlite3_close_v2(db);
  if (e != NULL) return e;
  if (size_beside(q, ".new-wal") > 0) return cannot(q, EBUSY, "make");
  int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  int number = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
  if (fd >= 0) close(fd);
  return number == 0 ? NULL : cannot(q, number, "make");
}

error *queue_mend_make(bits_queue *q) {
  sqlite3 *db = NULL;
  uint64_t id;
  char *path = queue_beside(q, ".new");
  if (path == NULL) return queue_no_memory();
  error *e = remove_new(q);
  if (e == NULL) e = queue_make(q, path, &id, &db);
  if (e == NULL) e = finish_new(q, db, path);
  STEP(10);
  int number = e == NULL ? rename_beside(q, ".new", "") : 0;
  if (number != 0) e = cannot(q, number, "make");
  STEP(11);
  mem_free(path);
  return e != NULL ? e : queue_sync_parent(q);
}


/* ------------------------------------------------------------------
** What can be read is brought over
** ---------------------------------------------------------------- */

/* The new queue is a queue like any other, but of another file. */
typedef struct carrying {
  bits_queue to;
  bool torn;
  long long jobs, files;
} carrying;

/* What does not fit in (the same guid twice) is no reason to lose the rest. */
static error *unless_impossible(carrying *c, error *e) {
  if (e == NULL || (sqlite3_errcode(c->to.db) & 0xFF) != SQLITE_CONSTRAINT)
    return e;
  error_unref(e);
  c->torn = true;
  return NULL;
}

static error *carry_job(void *context, const queue_job *row) {
  carrying *c = context;
  queue_job with = *row;
  if (c->torn) with.torn = true;
  c->jobs++;
  return unless_impossible(c, bits_queue_put_job(&c->to, &with));
}

static error *carry_file(void *context, const queue_file *row) {
  carrying *c = context;
  c->files++;
  return bits_queue_put_file(&c->to, row);
}

static error *carry_orphan(void *context, const queue_orphan *row) {
  carrying *c = context;
  queue_orphan with = *row;
  return bits_queue_put_orphan(&c->to, &with);
}

static error *carry_setting(void *context, const char *name, const char *json) {
  carrying *c = context;
  return bits_queue_put_setting(&c->to, name, json);
}

/* Twice: the first time to see whether something is missing, which everything
   that is left must say. */
static error *carry_rows(bits_queue *q, sqlite3 *old, uint64_t id,
                         carrying *c) {
  static const queue_calls calls = {carry_job, carry_file, carry_orphan};
  int64_t all = 0;
  error *e = NULL;
  queue_reading r = {
      .q = q, .db = old, .id = id, .around = true, .budget = SEEKS_THAT_FAIL};
  int result = queue_read(&r, &e);
  if (result == SQLITE_OK)
    result = queue_ask(old,
                       "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) "
                       "FROM files) + (SELECT count(*) FROM orphans) + (SELECT "
                       "count(*) FROM settings WHERE name <> '')",
                       &all);
  c->torn = result != SQLITE_OK || r.gaps > 0 || r.bad > 0 || all != r.good;
  if (e != NULL) return e;
  r = (queue_reading){.q = q,
                      .db = old,
                      .id = id,
                      .calls = &calls,
                      .setting = carry_setting,
                      .context = c,
                      .around = true,
                      .budget = SEEKS_THAT_FAIL};
  result = queue_read(&r, &e);
  if (result != SQLITE_OK) c->torn = true;
  return e;
}

/* Rows that came before something was found to be missing say so, too. Their
   sums are over that. */
static error *tear_all(void *context, const queue_job *row) {
  carrying *c = context;
  queue_job with = *row;
  with.torn = true;
  return bits_queue_put_job(&c->to, &with);
}

static error *tear(carrying *c) {
  static const queue_calls calls = {.job = tear_all};
  error *e = NULL;
  queue_reading r = {.q = &c->to,
                     .db = c->to.db,
                     .id = c->to.id,
                     .calls = &calls,
                     .context = c};
  int result = queue_read(&r, &e);
  if (e == NULL && result != SQLITE_OK)
    e = queue_trouble(&c->to, c->to.db, result, "mend the queue");
  return e;
}

static error *carry_over(bits_queue *q, carrying *c) {
  sqlite3 *old = NULL;
  queue_find what = QUEUE_BROKEN;
  int r = queue_connect(q, q->path, SQLITE_OPEN_READWRITE, &old);
  error *e = NULL;
  if (r == SQLITE_OK) e = queue_look(q, old, &what);
  bool readable = r == SQLITE_OK && e == NULL &&
                  (what == QUEUE_OURS || what == QUEUE_CHANGED);
  error_unref(e);
  e = bits_queue_begin(&c->to, true);
  if (e == NULL && readable) {
    /* Rows of another queue are none of ours, though a WAL has brought them;
       but all of it may have been put there. */
    e = carry_rows(q, old, q->known_id != 0 ? q->known_id : q->id, c);
    if (e == NULL && c->jobs == 0 && q->id != 0 && q->id != q->known_id)
      e = carry_rows(q, old, q->id, c);
    if (e == NULL && c->torn) e = tear(c);
  }
  if (!readable) c->torn = true;
  if (e == NULL) e = bits_queue_commit(&c->to);
  sqlite3_close_v2(old);
  return e;
}

static error *make_mended(bits_queue *q, carrying *c) {
  char *path = queue_beside(q, ".new");
  error *e = path == NULL ? queue_no_memory() : remove_new(q);
  c->to = (bits_queue){.path = path,
                       .process = atomic_load(&queue_process),
                       .owner = true,
                       .lock = -1};
  pthread_mutex_init(&c->to.turn, NULL);
  if (e == NULL) e = queue_make(q, path, &c->to.id, &c->to.db);
  if (e == NULL) {
    e = queue_prepare(&c->to);
    if (e == NULL) e = carry_over(q, c);
    sqlite3 *db = c->to.db;
    for (int i = 0; i < QUEUE_STATEMENTS; i++)
      sqlite3_finalize(c->to.statements[i]);
    if (e == NULL)
      e = finish_new(q, db, path);
    else
      sqlite3_close_v2(db);
  }
  pthread_mutex_destroy(&c->to.turn);
  mem_free(path);
  if (e != NULL) error_unref(remove_new(q));
  return e;
}


/* ------------------------------------------------------------------
** Setting aside
** ---------------------------------------------------------------- */

/* Where there are no hard links. */
static int copy_file(const char *from, const char *to) {
  char room[65536];
  int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  int number = in < 0 || out < 0 ? errno : 0;
  ssize_t n = 1;
  while (number == 0 && (n = read(in, room, sizeof room)) > 0)
    for (ssize_t done = 0, m; number == 0 && done < n; done += m) {
      m = write(out, room + done, (size_t)(n - done));
      if (m <= 0) {
        number = m < 0 ? errno : ENOSPC;
        m = 0;
      }
    }
  if (number == 0 && n < 0) number = errno;
  if (number == 0 && fsync(out) != 0) number = errno;
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  return number;
}

static int set_aside(const char *from, const char *to) {
  if (link(from, to) == 0 || errno == ENOENT) return 0;
  int number = errno;
  if (number == EPERM || number == ENOTSUP || number == ENOSYS ||
      number == EMLINK)
    number = copy_file(from, to);
  return number;
}

/* ".damaged-20261122-113000", with a number behind it when there is one. */
static void name_aside(const bits_queue *q, char *suffix, size_t size) {
  char when[32] = "", wal[96];
  time_t now = time(NULL);
  struct tm tm;
  if (gmtime_r(&now, &tm) != NULL)
    strftime(when, sizeof when, "%Y%m%d-%H%M%S", &tm);
  snprintf(suffix, size, ".damaged-%s", when);
  for (int i = 2; i < 10000; i++) {
    snprintf(wal, sizeof wal, "%s-wal", suffix);
    if (size_beside(q, suffix) < 0 && size_beside(q, wal) < 0) return;
    snprintf(suffix, size, ".damaged-%s-%d", when, i);
  }
}

static error *link_aside(bits_queue *q, const char *suffix) {
  char *to = queue_beside(q, suffix), *wal = queue_beside(q, "-wal");
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s-wal", to != NULL ? to : "");
  char *to_wal = buffer_take(&b);
  int number = to == NULL || wal == NULL || to_wal == NULL ? ENOMEM : 0;
  /* First the WAL: with its queue beside it, it is not thrown away. */
  if (number == 0) number = set_aside(wal, to_wal);
  if (number == 0) number = set_aside(q->path, to);
  mem_free(to);
  mem_free(wal);
  mem_free(to_wal);
  return number == 0 ? queue_sync_parent(q) : cannot(q, number, "set aside");
}

/* What was set aside is no reason to stop, and a reason to be told. */
static error *tell(const bits_queue *q, const char *suffix, const char *why,
                   const carrying *c) {
  error *e = queue_fail(
      SAROS_E_DAMAGED,
      "the queue %s was damaged (%s) and set aside as %s%s; %lld jobs with "
      "%lld files could be read and go on%s; no partial file was touched",
      q->path, why, q->path, suffix, c->jobs, c->files,
      c->torn ? ", but some may be missing, so look at each before you resume "
                "it"
              : "");
  log_write(LOG_ERROR, "bits", "%s", e->message);
  return e;
}

error *queue_mend(bits_queue *q, const char *why, error **told) {
  char suffix[64];
  carrying c = {.torn = false};
  error *e = make_mended(q, &c);
  STEP(1);
  name_aside(q, suffix, sizeof suffix);
  if (e == NULL) e = link_aside(q, suffix);
  STEP(2);
  int number = e == NULL ? rename_beside(q, ".new", ".mended") : 0;
  if (number != 0) e = cannot(q, number, "mend");
  if (e == NULL) e = queue_sync_parent(q);
  STEP(3);
  if (e == NULL) e = queue_mend_finish(q);
  if (e != NULL) return e;
  if (*told == NULL)
    *told = tell(q, suffix, why, &c);
  else
    error_unref(tell(q, suffix, why, &c));
  return NULL;
}

error *queue_mend_finish(bits_queue *q) {
  if (size_beside(q, ".mended") < 0) return remove_new(q);
  int number = remove_beside(q, "-wal");
  STEP(4);
  if (number == 0) number = remove_beside(q, "-shm");
  if (number == 0) number = remove_beside(q, "-journal");
  STEP(5);
  if (number == 0) number = queue_sync_parent(q) == NULL ? 0 : EIO;
  if (number == 0) number = rename_beside(q, ".mended", "");
  STEP(6);
  if (number != 0) return cannot(q, number, "mend");
  return queue_sync_parent(q);
}

error *queue_mend_lone(bits_queue *q, error **told) {
  char suffix[64], wal[80];
  carrying c = {.torn = true};
  if (size_beside(q, "-wal") > 0) {
    name_aside(q, suffix, sizeof suffix);
    snprintf(wal, sizeof wal, "%s-wal", suffix);
    int number = rename_beside(q, "-wal", wal);
    if (number != 0) return cannot(q, number, "set aside");
    *told = tell(q, wal, "of it there is only its WAL", &c);
  } else if (size_beside(q, "") == 0) {
    *told = queue_fail(SAROS_E_DAMAGED,
                       "the queue %s was cut to nothing; no job could be read, "
                       "and no partial file was touched",
                       q->path);
    log_write(LOG_ERROR, "bits", "%s", (*told)->message);
  }
  int number = remove_beside(q, "-wal");
  if (number == 0) number = remove_beside(q, "-shm");
  if (number == 0) number = remove_beside(q, "-journal");
  return number == 0 ? NULL : cannot(q, number, "make");
}
