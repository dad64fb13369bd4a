/*
** What the queue says to SQLite, and what becomes of its answers. A file may
** have been written by anybody who could: nothing in it is run, nothing is
** believed that is not exactly as we make it.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bits/queue_parts.h"

#define WAIT_MS 10000 /* for somebody else's lock */

static const char *const schema[] = {
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY, guid TEXT NOT NULL UNIQUE, "
    "state INTEGER NOT NULL, type INTEGER NOT NULL, priority INTEGER NOT NULL, "
    "torn INTEGER NOT NULL, properties TEXT NOT NULL, sum INTEGER NOT NULL)",
    "CREATE TABLE files(job INTEGER NOT NULL, number INTEGER NOT NULL, "
    "url TEXT NOT NULL, path TEXT NOT NULL, state INTEGER NOT NULL, "
    "marks INTEGER NOT NULL, have INTEGER NOT NULL, size INTEGER NOT NULL, "
    "known TEXT, extra TEXT, sum INTEGER NOT NULL, PRIMARY KEY(job, number)) "
    "WITHOUT ROWID",
    "CREATE TABLE orphans(id INTEGER PRIMARY KEY, what TEXT NOT NULL, "
    "sum INTEGER NOT NULL)",
    "CREATE TABLE settings(name TEXT PRIMARY KEY, json TEXT NOT NULL, "
    "sum INTEGER NOT NULL) WITHOUT ROWID"};
#define TABLES (sizeof schema / sizeof schema[0])

static const char *const texts[QUEUE_STATEMENTS] = {
    [QUEUE_BEGIN] = "BEGIN IMMEDIATE",
    [QUEUE_COMMIT] = "COMMIT",
    [QUEUE_ROLLBACK] = "ROLLBACK",
    [QUEUE_PUT_JOB] =
        ("INSERT INTO jobs VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) "
         "ON CONFLICT(id) DO UPDATE SET guid = ?2, state = ?3, type = ?4, "
         "priority = ?5, torn = ?6, properties = ?7, sum = ?8"),
    [QUEUE_DROP_JOB] = "DELETE FROM jobs WHERE id = ?1",
    [QUEUE_DROP_FILES] = "DELETE FROM files WHERE job = ?1",
    [QUEUE_PUT_FILE] =
        ("REPLACE INTO files VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
         "?11)"),
    [QUEUE_DROP_FILE] = "DELETE FROM files WHERE job = ?1 AND number = ?2",
    [QUEUE_PUT_ORPHAN] = "REPLACE INTO orphans VALUES(?1, ?2, ?3)",
    [QUEUE_DROP_ORPHAN] = "DELETE FROM orphans WHERE id = ?1",
    [QUEUE_PUT_SETTING] = "REPLACE INTO settings VALUES(?1, ?2, ?3)",
    [QUEUE_GET_SETTING] = "SELECT json, sum FROM settings WHERE name = ?1",
    [QUEUE_DATA_VERSION] = "PRAGMA data_version"};

error *queue_no_memory(void) {
  return queue_fail(SAROS_E_OUTOFMEMORY, "there is no memory for the queue");
}

char *queue_beside(const bits_queue *q, const char *suffix) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, q->path);
  buffer_text(&b, suffix);
  return buffer_take(&b);
}


/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

bool queue_is_damage(int r) {
  r &= 0xFF;
  return r == SQLITE_CORRUPT || r == SQLITE_NOTADB || r == SQLITE_FORMAT;
}

static error *disk_full(const bits_queue *q) {
  return queue_fail(WIN32_(WIN32_DISK_FULL),
                    "there is no room for the queue %s on its disk; nothing "
                    "that it holds is lost: make room",
                    q->path);
}

static error *trouble_of_disk(const bits_queue *q, int r, int number,
                              const char *doing) {
  if (number == ENOSPC || number == EDQUOT) return disk_full(q);
  if (number == EROFS)
    return queue_fail(WIN32_(WIN32_WRITE_PROTECT),
                      "cannot %s: %s is on a file system that is mounted "
                      "read-only",
                      doing, q->path);
  uint32_t code = number != 0 ? code_of_errno(number) : SAROS_E_FAIL;
  if ((r & 0xFF) == SQLITE_IOERR)
    code =
        WIN32_(r == SQLITE_IOERR_READ ? WIN32_READ_FAULT : WIN32_WRITE_FAULT);
  return queue_fail(code, "cannot %s: %s: %s (%s)", doing, q->path,
                    number != 0 ? strerror(number) : "the disk failed",
                    sqlite3_errstr(r));
}

error *queue_trouble(const bits_queue *q, sqlite3 *db, int r,
                     const char *doing) {
  int number = db != NULL ? sqlite3_system_errno(db) : 0;
  switch (r & 0xFF) {
    case SQLITE_NOMEM: return queue_no_memory();
    case SQLITE_FULL: return disk_full(q);
    case SQLITE_PROTOCOL: /* came to it at a moment when it is opened anew */
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return queue_fail(SAROS_E_LOCKED,
                        "cannot %s: somebody else holds the lock of %s; it "
                        "passes when that is done",
                        doing, q->path);
    case SQLITE_READONLY:
      return queue_fail(WIN32_(WIN32_WRITE_PROTECT),
                        "cannot %s: %s must be on a disk that can be written, "
                        "and writable by us",
                        doing, q->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      return queue_fail(SAROS_E_DAMAGED,
                        "cannot %s: %s is damaged; it is set aside, and what "
                        "can be read is kept, when its owner opens it again",
                        doing, q->path);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_IOERR: return trouble_of_disk(q, r, number, doing);
    case SQLITE_TOOBIG:
      return queue_fail(BG_E_TOO_LARGE,
                        "cannot %s: a text is longer than %d bytes, the most "
                        "that a queue takes",
                        doing, QUEUE_LONGEST);
    default:
      return queue_fail(SAROS_E_FAIL, "cannot %s: %s: %s", doing, q->path,
                        db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(r));
  }
}


/* ------------------------------------------------------------------
** Connecting
** ---------------------------------------------------------------- */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Somebody else has the lock: naps, and 1 to try again. */
static int wait_for_lock(void *context, int count) {
  bits_queue *q = context;
  if (count == 0) q->waits_since = now_ms();
  if (atomic_exchange(&q->gives_up, false)) return 0;
  if (now_ms() - q->waits_since > WAIT_MS) return 0;
  struct timespec nap = {.tv_nsec = (count < 10 ? 1 : 10) * 1000000L};
  nanosleep(&nap, NULL);
  return 1;
}

static void defend(sqlite3 *db) {
  static const struct {
    int what, value;
  } switches[] = {
      {SQLITE_DBCONFIG_DEFENSIVE, 1},
      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
      {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
      {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
      {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
      {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0},
      {SQLITE_DBCONFIG_DQS_DDL, 0},
      {SQLITE_DBCONFIG_DQS_DML, 0},
  };
  static const struct {
    int what, most;
  } limits[] = {{SQLITE_LIMIT_LENGTH, 4 * QUEUE_LONGEST},
                {SQLITE_LIMIT_SQL_LENGTH, 100000},
                {SQLITE_LIMIT_COLUMN, 100},
                {SQLITE_LIMIT_EXPR_DEPTH, 100},
                {SQLITE_LIMIT_COMPOUND_SELECT, 5},
                {SQLITE_LIMIT_VDBE_OP, 25000},
                {SQLITE_LIMIT_FUNCTION_ARG, 8},
                {SQLITE_LIMIT_ATTACHED, 0},
                {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100},
                {SQLITE_LIMIT_VARIABLE_NUMBER, 20},
                {SQLITE_LIMIT_TRIGGER_DEPTH, 1},
                {SQLITE_LIMIT_WORKER_THREADS, 0}};
  for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++)
    sqlite3_db_config(db, switches[i].what, switches[i].value, NULL);
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
    sqlite3_limit(db, limits[i].what, limits[i].most);
}

int queue_connect(bits_queue *q, const char *path, int flags, sqlite3 **db) {
  static const char settings[] =
      "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; "
      "PRAGMA cell_size_check = ON; PRAGMA cache_size = -4000; "
      "PRAGMA secure_delete = OFF; PRAGMA foreign_keys = OFF; "
      "PRAGMA journal_size_limit = 16777216; PRAGMA synchronous = NORMAL";
  int r = sqlite3_open_v2(path, db,
                          flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                              SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_PRIVATECACHE,
                          NULL);
  if (r != SQLITE_OK) return r;
  defend(*db);
  sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  sqlite3_busy_handler(*db, wait_for_lock, q);
  r = sqlite3_exec(*db, settings, NULL, NULL, NULL);
  q->full = false;
  /* There is nothing wrong with what we say: it is the file, by its first page
     of a format that no SQLite has. */
  return (r & 0xFF) == SQLITE_ERROR ? SQLITE_CORRUPT : r;
}

int queue_ask(sqlite3 *db, const char *sql, int64_t *answer) {
  sqlite3_stmt *s = NULL;
  int r = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  *answer = 0;
  if (r == SQLITE_OK) r = sqlite3_step(s);
  if (r == SQLITE_ROW) *answer = sqlite3_column_int64(s, 0);
  int last = sqlite3_finalize(s);
  return r == SQLITE_ROW || r == SQLITE_DONE ? SQLITE_OK
         : last != SQLITE_OK                 ? last
                                             : r;
}


/* ------------------------------------------------------------------
** Whether it is ours
** ---------------------------------------------------------------- */

/* Tables that we make are there as we make them, and nothing else but what
   SQLite itself makes. */
static int look_at_schema(sqlite3 *db, bool *same, int64_t *count) {
  sqlite3_stmt *s = NULL;
  size_t ours = 0, others = 0;
  int r = sqlite3_prepare_v2(
      db,
      "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' "
      "ESCAPE '\\'",
      -1, &s, NULL);
  if (r != SQLITE_OK) return r;
  while ((r = sqlite3_step(s)) == SQLITE_ROW) {
    const char *sql = (const char *)sqlite3_column_text(s, 0);
    size_t i = 0;
    while (i < TABLES && (sql == NULL || strcmp(sql, schema[i]) != 0)) i++;
    i < TABLES ? ours++ : others++;
  }
  sqlite3_finalize(s);
  *same = ours == TABLES && others == 0;
  *count = (int64_t)(ours + others);
  return r == SQLITE_DONE ? SQLITE_OK : r;
}

/* A text that SQLite would convert is another text. */
static int is_utf8(sqlite3 *db, bool *is) {
  sqlite3_stmt *s = NULL;
  int r = sqlite3_prepare_v2(db, "PRAGMA encoding", -1, &s, NULL);
  if (r == SQLITE_OK) r = sqlite3_step(s);
  const char *text =
      r == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
  *is = text != NULL && strcmp(text, "UTF-8") == 0;
  sqlite3_finalize(s);
  return r == SQLITE_ROW || r == SQLITE_DONE ? SQLITE_OK : r;
}

static error *foreign(const bits_queue *q) {
  return queue_fail(SAROS_E_INVALIDARG,
                    "%s is no queue of transfers, but something else; give "
                    "another path for the queue",
                    q->path);
}

error *queue_look(bits_queue *q, sqlite3 *db, queue_find *what) {
  int64_t application = 0, version = 0, count = 0;
  q->id = 0;
  bool same = false, utf8 = false;
  int r = queue_ask(db, "PRAGMA application_id", &application);
  if (r == SQLITE_OK) r = queue_ask(db, "PRAGMA user_version", &version);
  if (r == SQLITE_OK && application == QUEUE_APPLICATION &&
      version > QUEUE_VERSION)
    return queue_fail(SAROS_E_REFUSED,
                      "the queue %s was made by a newer saros (its version is "
                      "%lld, this one knows %d): use that one, or another path",
                      q->path, (long long)version, QUEUE_VERSION);
  if (r == SQLITE_OK) r = look_at_schema(db, &same, &count);
  if (r == SQLITE_OK) r = is_utf8(db, &utf8);
  if (r == SQLITE_OK) {
    int had = queue_read_id(db, &q->id);
    if (same) r = had;
  }
  if (queue_is_damage(r) || (r & 0xFF) == SQLITE_ERROR) {
    *what = QUEUE_BROKEN; /* ERROR: a schema that SQLite cannot parse */
    return application != QUEUE_APPLICATION && !q->known ? foreign(q) : NULL;
  }
  if (r != SQLITE_OK) return queue_trouble(q, db, r, "look at the queue");
  if (application == 0 && version == 0 && count == 0) {
    *what = QUEUE_EMPTY;
    return NULL;
  }
  if (application != QUEUE_APPLICATION && !q->known) return foreign(q);
  *what = application == QUEUE_APPLICATION && version == QUEUE_VERSION &&
                  same && utf8 && q->id != 0
              ? QUEUE_OURS
              : QUEUE_CHANGED;
  return NULL;
}


/* ------------------------------------------------------------------
** Making, preparing
** ---------------------------------------------------------------- */

/* What tells this queue's pages from those of another: a WAL that somebody has
   put beside it fits as if it were its own. */
static int put_id(sqlite3 *db, uint64_t *id) {
  char text[32], sql[200];
  do sqlite3_randomness(sizeof *id, id);
  while (*id == 0);
  sqlite3_snprintf(sizeof text, text, "%016llx", (unsigned long long)*id);
  sqlite3_snprintf(sizeof sql, sql,
                   "INSERT INTO settings VALUES('', '%s', %lld)", text,
                   (long long)queue_sum_setting(0, "", text));
  return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int make_tables(sqlite3 *db, uint64_t *id) {
  char numbers[200];
  sqlite3_snprintf(sizeof numbers, numbers,
                   "BEGIN; PRAGMA application_id = %d; "
                   "PRAGMA user_version = %d",
                   QUEUE_APPLICATION, QUEUE_VERSION);
  int r =
      sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
                   NULL, NULL, NULL);
  if (r == SQLITE_OK) r = sqlite3_exec(db, numbers, NULL, NULL, NULL);
  for (size_t i = 0; r == SQLITE_OK && i < TABLES; i++)
    r = sqlite3_exec(db, schema[i], NULL, NULL, NULL);
  if (r == SQLITE_OK) r = put_id(db, id);
  return r == SQLITE_OK ? sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) : r;
}

error *queue_make(bits_queue *q, const char *path, uint64_t *id, sqlite3 **db) {
  *db = NULL;
  /* SQLite gives what it makes beside it the same mode. */
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return trouble_of_disk(q, SQLITE_CANTOPEN, errno, "make the queue");
  fchmod(fd, 0600);
  close(fd);
  int r = queue_connect(q, path, SQLITE_OPEN_READWRITE, db);
  if (r == SQLITE_OK) r = make_tables(*db, id);
  if (r == SQLITE_OK) return NULL;
  error *e = queue_trouble(q, *db, r, "make the queue");
  sqlite3_close_v2(*db);
  *db = NULL;
  return e;
}

error *queue_prepare(bits_queue *q) {
  for (int i = 0; i < QUEUE_STATEMENTS; i++) {
    int r = sqlite3_prepare_v3(q->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &q->statements[i], NULL);
    if (r != SQLITE_OK) return queue_trouble(q, q->db, r, "open the queue");
  }
  return NULL;
}

void queue_disconnect(bits_queue *q) {
  for (int i = 0; i < QUEUE_STATEMENTS; i++) {
    sqlite3_finalize(q->statements[i]);
    q->statements[i] = NULL;
  }
  sqlite3_close_v2(q->db);
  q->db = NULL;
  q->inside = false;
}

int queue_do(bits_queue *q, enum queue_statement which) {
  int r = sqlite3_step(q->statements[which]);
  int last = sqlite3_reset(q->statements[which]);
  return r == SQLITE_DONE || r == SQLITE_ROW ? SQLITE_OK
         : last != SQLITE_OK                 ? last
                                             : r;
}

error *queue_sync_parent(const bits_queue *q) {
  int fd = open(q->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int number = fd >= 0 && fsync(fd) == 0 ? 0 : errno;
  if (fd >= 0) close(fd);
  /* A file system that cannot do that to a directory does not need it. */
  if (number == 0 || number == EINVAL || number == ENOTSUP) return NULL;
  return trouble_of_disk(q, SQLITE_IOERR_DIR_FSYNC, number, "make the queue");
}
