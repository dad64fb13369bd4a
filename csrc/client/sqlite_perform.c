/*
** What is said to SQLite, on the worker that carries a connection. While a
** statement waits for somebody's lock or computes, it looks whether it was
** cancelled: sqlite3_interrupt alone is lost on one that has not quite begun.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/sqlite_parts.h"

/* Steps of SQLite's machine between two looks. */
#define STEPS 1000

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}


/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

static uint32_t code_of_number(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR: return E_FILE_NOT_FOUND;
    case EACCES:
    case EPERM: return SAROS_E_ACCESSDENIED;
    case EMFILE:
    case ENFILE: return E_TOO_MANY_FILES;
    case EROFS: return E_WRITE_PROTECT;
    case ENOSPC: return E_DISK_FULL;
    default: return SAROS_E_FAIL;
  }
}

static uint32_t code_of(sqlite3 *db, int r) {
  switch (r & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return SAROS_E_LOCKED;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return SAROS_E_DAMAGED;
    case SQLITE_NOMEM: return SAROS_E_OUTOFMEMORY;
    case SQLITE_PERM:
    case SQLITE_AUTH: return SAROS_E_ACCESSDENIED;
    case SQLITE_READONLY: return E_WRITE_PROTECT;
    case SQLITE_FULL: return E_DISK_FULL;
    case SQLITE_INTERRUPT: return SAROS_E_CANCELLED;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR: return code_of_number(sqlite3_system_errno(db));
    case SQLITE_ERROR:
    case SQLITE_RANGE:
    case SQLITE_TOOBIG: return SAROS_E_INVALIDARG;
    default: return SAROS_E_FAIL;
  }
}

/* What happened, and what to do where that can be said. */
static uint32_t fail(const item *it, sqlite3 *db, int r, trouble *t) {
  const char *path = it->c->path;
  const char *said = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(r);
  int number = db != NULL ? sqlite3_system_errno(db) : 0;
  switch (r & 0xFF) {
    case SQLITE_BUSY:
      snprintf(t->text, sizeof t->text,
               "%s: %s: somebody else has held its lock for %.1f seconds; try "
               "again when that is done, or wait longer (busy_timeout)",
               path, said, it->busy_ms / 1e3);
      break;
    case SQLITE_READONLY:
      snprintf(t->text, sizeof t->text,
               "%s: %s: this must be run by somebody who may write the file, "
               "and beside it",
               path, said);
      break;
    case SQLITE_CANTOPEN:
      snprintf(t->text, sizeof t->text, "cannot open %s: %s", path,
               number != 0 ? strerror(number) : said);
      break;
    case SQLITE_CORRUPT:
      snprintf(t->text, sizeof t->text,
               "%s: %s: take it from a backup, or see what `sqlite3 .recover` "
               "can save",
               path, said);
      break;
    default: snprintf(t->text, sizeof t->text, "%s: %s", path, said);
  }
  return code_of(db, r);
}

static uint32_t refuse(trouble *t, const char *why) {
  snprintf(t->text, sizeof t->text, "%s", why);
  return SAROS_E_INVALIDARG;
}


/* ------------------------------------------------------------------
** While it waits or computes
** ---------------------------------------------------------------- */

static int goes_on(void *argument) {
  return saros_op_cancelled(((item *)argument)->op);
}

/* Somebody else has the lock: sleeps, and 1 to try again. */
static int busy(void *argument, int count) {
  item *it = argument;
  sqlite *c = it->c;
  int64_t now = now_ms();
  if (count == 0) {
    it->busy_since = now;
    saros_op_phase(it->op, "waiting for a lock");
  }
  int64_t left = it->busy_since + it->busy_ms - now;
  int64_t nap = count < 5 ? 1 << count : 25;
  if (left <= 0) return 0;
  if (nap > left) nap = left;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += nap * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  pthread_mutex_lock(&c->lock);
  if (!saros_op_cancelled(it->op))
    pthread_cond_timedwait(&c->cancelled, &c->lock, &until);
  pthread_mutex_unlock(&c->lock);
  return !saros_op_cancelled(it->op);
}

/* Each time anew: a PRAGMA busy_timeout has put one in its place. */
static void attend(sqlite3 *db, item *it) {
  sqlite3_busy_handler(db, it != NULL ? busy : NULL, it);
  sqlite3_progress_handler(db, STEPS, it != NULL ? goes_on : NULL, it);
}

static uint32_t ensure_open(item *it, trouble *t) {
  sqlite *c = it->c;
  sqlite3 *db = NULL;
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (c->db != NULL) return SAROS_S_OK;
  if (c->readonly)
    flags |= SQLITE_OPEN_READONLY;
  else
    flags |= SQLITE_OPEN_READWRITE | (c->create ? SQLITE_OPEN_CREATE : 0);
  int r = sqlite3_open_v2(c->path, &db, flags, NULL);
  if (r != SQLITE_OK) {
    uint32_t code = fail(it, db, r, t);
    sqlite3_close_v2(db);
    return code;
  }
  pthread_mutex_lock(&c->lock);
  c->db = db;
  pthread_mutex_unlock(&c->lock);
  return SAROS_S_OK;
}


/* ------------------------------------------------------------------
** One statement
** ---------------------------------------------------------------- */

static int bind(sqlite3_stmt *s, int at, const parameter *p) {
  switch (p->type) {
    case PARAMETER_INTEGER: return sqlite3_bind_int64(s, at, p->integer);
    case PARAMETER_REAL: return sqlite3_bind_double(s, at, p->real);
    case PARAMETER_TEXT:
      return sqlite3_bind_text64(s, at, p->bytes, p->size, SQLITE_STATIC,
                                 SQLITE_UTF8);
    case PARAMETER_BLOB:
      return sqlite3_bind_blob64(s, at, p->bytes, p->size, SQLITE_STATIC);
    default: return sqlite3_bind_null(s, at);
  }
}

/* The index of a parameter that is called :name, @name or $name, or 0. */
static int index_of(sqlite3_stmt *s, const char *name) {
  int count = sqlite3_bind_parameter_count(s);
  for (int i = 1; i <= count; i++) {
    const char *is = sqlite3_bind_parameter_name(s, i);
    if (is != NULL && strcmp(is + 1, name) == 0) return i;
  }
  return 0;
}

static uint32_t bind_all(item *it, sqlite3_stmt *s, trouble *t) {
  unsigned wanted = (unsigned)sqlite3_bind_parameter_count(s), given = 0;
  for (unsigned i = 0; i < it->count; i++) {
    const parameter *p = &it->parameters[i];
    int at = p->name != NULL ? index_of(s, p->name) : (int)++given;
    if (at == 0 || at > (int)wanted) {
      snprintf(t->text, sizeof t->text,
               "the statement has no parameter %s%.60s",
               p->name != NULL ? ":" : "for that many values",
               p->name != NULL ? p->name : "");
      return SAROS_E_INVALIDARG;
    }
    int r = bind(s, at, p);
    if (r != SQLITE_OK) return fail(it, it->c->db, r, t);
  }
  if (given > 0 && given < wanted) {
    snprintf(t->text, sizeof t->text,
             "the statement has %u parameters, and %u values were given",
             wanted, given);
    return SAROS_E_INVALIDARG;
  }
  return SAROS_S_OK;
}

static saros_value *column(sqlite3_stmt *s, int i) {
  switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER: return saros_value_integer(sqlite3_column_int64(s, i));
    case SQLITE_FLOAT: return saros_value_real(sqlite3_column_double(s, i));
    default: break;
  }
  const void *bytes = sqlite3_column_type(s, i) == SQLITE_TEXT
                          ? (const void *)sqlite3_column_text(s, i)
                          : sqlite3_column_blob(s, i);
  int size = sqlite3_column_bytes(s, i);
  if (bytes == NULL && size > 0) return NULL;
  return saros_value_bytes(bytes != NULL ? bytes : "", (size_t)size);
}

/* A column that is NULL is not in the row, as a Lua programmer expects. */
static int add_row(saros_value *rows, sqlite3_stmt *s) {
  saros_value *row = saros_value_map();
  int good = row != NULL;
  int count = sqlite3_data_count(s);
  for (int i = 0; good && i < count; i++) {
    const char *name = sqlite3_column_name(s, i);
    if (sqlite3_column_type(s, i) == SQLITE_NULL) continue;
    good = name != NULL && saros_value_put(row, name, column(s, i));
  }
  if (good) return saros_value_add(rows, row);
  if (row != NULL) saros_value_free(row);
  return 0;
}

static uint32_t step(item *it, sqlite3_stmt *s, saros_value *rows, trouble *t) {
  int r;
  while ((r = sqlite3_step(s)) == SQLITE_ROW) {
    if (rows != NULL && !add_row(rows, s)) {
      snprintf(t->text, sizeof t->text, "%s: no memory for all these rows",
               it->c->path);
      return SAROS_E_OUTOFMEMORY;
    }
    if (saros_op_cancelled(it->op)) return SAROS_E_CANCELLED;
  }
  return r == SQLITE_DONE ? SAROS_S_OK : fail(it, it->c->db, r, t);
}

/* Whether there is another statement in what is left. */
static bool is_more(sqlite3 *db, const char *at, const char *end) {
  sqlite3_stmt *s = NULL;
  bool more = false;
  while (at < end && !more) {
    const char *next = end;
    /* What is no SQL at all is not nothing. */
    more = sqlite3_prepare_v2(db, at, (int)(end - at) + 1, &s, &next) !=
               SQLITE_OK ||
           s != NULL;
    sqlite3_finalize(s);
    s = NULL;
    if (next <= at) break;
    at = next;
  }
  return more;
}

typedef struct outcome {
  saros_value *rows;
  int64_t changes;
  bool one; /* there may be one statement only */
  unsigned done;
} outcome;

/* Carries out the statement at *at and moves behind it. */
static uint32_t statement(item *it, const char **at, outcome *o, trouble *t) {
  sqlite3 *db = it->c->db;
  const char *end = it->sql + it->size, *next = end;
  sqlite3_stmt *s = NULL;
  int r = sqlite3_prepare_v2(db, *at, (int)(end - *at) + 1, &s, &next);
  if (r != SQLITE_OK) return fail(it, db, r, t);
  *at = next;
  if (s == NULL) return SAROS_S_OK; /* a comment, or nothing */
  uint32_t code = SAROS_S_OK;
  int64_t before = sqlite3_total_changes64(db);
  if (o->one && is_more(db, next, end))
    code = refuse(t, it->rows ? "query takes one statement; exec takes many"
                              : "with values exec takes one statement");
  if (code == SAROS_S_OK) code = bind_all(it, s, t);
  if (code == SAROS_S_OK) code = step(it, s, o->rows, t);
  if (code == SAROS_S_OK && sqlite3_total_changes64(db) != before)
    o->changes += sqlite3_changes64(db);
  sqlite3_finalize(s);
  o->done++;
  return code;
}

static uint32_t tell(item *it, outcome *o) {
  saros_value *result = o->rows;
  if (!it->rows) {
    result = saros_value_map();
    int64_t id = sqlite3_last_insert_rowid(it->c->db);
    if (result == NULL ||
        !saros_value_put(result, "changes", saros_value_integer(o->changes)) ||
        !saros_value_put(result, "last_id", saros_value_integer(id))) {
      if (result != NULL) saros_value_free(result);
      return SAROS_E_OUTOFMEMORY;
    }
  }
  saros_op_output(it->op, result);
  o->rows = NULL;
  return SAROS_S_OK;
}

static uint32_t perform_all(item *it, trouble *t) {
  outcome o = {.one = it->rows || it->count > 0};
  const char *at = it->sql, *end = it->sql + it->size;
  uint32_t code = SAROS_S_OK;
  if (it->size >= INT32_MAX) return refuse(t, "the SQL is too long");
  if (it->rows) o.rows = saros_value_list();
  if (it->rows && o.rows == NULL) return SAROS_E_OUTOFMEMORY;
  while (code == SAROS_S_OK && at < end) {
    const char *from = at;
    if (saros_op_cancelled(it->op)) code = SAROS_E_CANCELLED;
    if (code == SAROS_S_OK) code = statement(it, &at, &o, t);
    if (at == from) break;
  }
  if (code == SAROS_S_OK && o.done == 0 && it->count > 0)
    code = refuse(t, "there are values, but no statement");
  if (code == SAROS_S_OK) code = tell(it, &o);
  if (o.rows != NULL) saros_value_free(o.rows);
  return code;
}

static uint32_t close_file(sqlite *c) {
  pthread_mutex_lock(&c->lock);
  sqlite3 *db = c->db;
  c->db = NULL;
  pthread_mutex_unlock(&c->lock);
  if (db != NULL) sqlite3_close_v2(db);
  return SAROS_S_OK;
}

uint32_t item_perform(item *it, trouble *t) {
  if (it->closes) return close_file(it->c);
  uint32_t code = ensure_open(it, t);
  if (code != SAROS_S_OK) return code;
  attend(it->c->db, it);
  code = perform_all(it, t);
  attend(it->c->db, NULL);
  return code;
}
