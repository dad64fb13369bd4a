/*
** Rows are read, and held against what they may be. A file may have been
** written by anybody, and a disk may have lost parts of it: what is not as we
** put it is passed over, and where nothing can be read at all the search goes
** on behind it.
*/
#include <stdlib.h>
#include <string.h>

#include "bits/bits.h"
#include "bits/queue_parts.h"

#define HIGHEST (INT64_MAX - 1)

enum { JOBS, FILES, ORPHANS, TABLES };
enum { UP, DOWN, NEXT, WAYS };

/* By their keys, from ?1 to ?2; files of job ?3. NEXT touches nothing but the
   key: for rows that are too long to be read. */
#define JOB_COLUMNS "id, guid, state, type, priority, torn, properties, sum"
#define FILE_COLUMNS \
  "number, url, path, state, marks, have, size, known, extra, sum"
#define FILE_RANGE "FROM files WHERE job = ?3 AND number BETWEEN ?1 AND ?2 "
static const char *const texts[TABLES][WAYS] = {
    {"SELECT " JOB_COLUMNS " FROM jobs WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
     "SELECT " JOB_COLUMNS
     " FROM jobs WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC",
     "SELECT id FROM jobs WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1"},
    {"SELECT " FILE_COLUMNS " " FILE_RANGE "ORDER BY number",
     "SELECT " FILE_COLUMNS " " FILE_RANGE "ORDER BY number DESC",
     "SELECT number " FILE_RANGE "ORDER BY number LIMIT 1"},
    {"SELECT id, what, sum FROM orphans WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
     "SELECT id, what, sum FROM orphans WHERE id BETWEEN ?1 AND ?2 "
     "ORDER BY id DESC",
     "SELECT id FROM orphans WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1"}};

typedef struct reader {
  queue_reading *r;
  sqlite3_stmt *s[TABLES][WAYS];
  error *e; /* of who was called */
} reader;

static int read_range(reader *at, int table, int64_t job, int64_t low,
                      int64_t high);


/* ------------------------------------------------------------------
** What a row may be
** ---------------------------------------------------------------- */

static bool is_number(sqlite3_stmt *s, int at, int64_t low, int64_t high,
                      int64_t *number) {
  *number = sqlite3_column_int64(s, at);
  return sqlite3_column_type(s, at) == SQLITE_INTEGER && *number >= low &&
         *number <= high;
}

/* A text without a NUL in it, that is not too long; with `optional` also none
   at all. */
static bool is_text(sqlite3_stmt *s, int at, bool optional, const char **text) {
  *text = NULL;
  int type = sqlite3_column_type(s, at);
  if (type == SQLITE_NULL) return optional;
  if (type != SQLITE_TEXT) return false;
  *text = (const char *)sqlite3_column_text(s, at);
  int size = sqlite3_column_bytes(s, at);
  return *text != NULL && size <= QUEUE_LONGEST &&
         strlen(*text) == (size_t)size;
}

static bool is_guid(const char *text) {
  if (strlen(text) != 36) return false;
  for (int i = 0; i < 36; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL)
      return false;
  }
  return true;
}

static bool is_job(sqlite3_stmt *s, uint64_t id, queue_job *row) {
  int64_t state, type, priority, torn, sum;
  bool is = is_number(s, 0, 1, HIGHEST, &row->id) &&
            is_text(s, 1, false, &row->guid) && is_guid(row->guid) &&
            is_number(s, 2, 0, BITS_CANCELLED, &state) &&
            is_number(s, 3, 0, BITS_UPLOAD_REPLY, &type) &&
            is_number(s, 4, 0, BITS_LOW, &priority) &&
            is_number(s, 5, 0, 1, &torn) &&
            is_text(s, 6, false, &row->properties) &&
            is_number(s, 7, INT64_MIN, INT64_MAX, &sum);
  if (!is) return false;
  row->state = (int)state;
  row->type = (int)type;
  row->priority = (int)priority;
  row->torn = torn != 0;
  return sum == queue_sum_job(id, row);
}

static bool is_file(sqlite3_stmt *s, uint64_t id, int64_t job,
                    queue_file *row) {
  int64_t number, state, marks, sum;
  bool is =
      is_number(s, 0, 0, UINT32_MAX, &number) &&
      is_text(s, 1, false, &row->url) && is_text(s, 2, false, &row->path) &&
      is_number(s, 3, 0, BITS_FILE_DONE, &state) &&
      is_number(s, 4, 0, UINT8_MAX, &marks) &&
      is_number(s, 5, 0, INT64_MAX, &row->have) &&
      is_number(s, 6, -1, INT64_MAX, &row->size) &&
      is_text(s, 7, true, &row->known) && is_text(s, 8, true, &row->extra) &&
      is_number(s, 9, INT64_MIN, INT64_MAX, &sum);
  if (!is) return false;
  row->job = job;
  row->number = (uint32_t)number;
  row->state = (int)state;
  row->marks = (unsigned)marks;
  return sum == queue_sum_file(id, row);
}

static bool is_orphan(sqlite3_stmt *s, uint64_t id, queue_orphan *row) {
  int64_t sum;
  return is_number(s, 0, 1, HIGHEST, &row->id) &&
         is_text(s, 1, false, &row->what) &&
         is_number(s, 2, INT64_MIN, INT64_MAX, &sum) &&
         sum == queue_sum_orphan(id, row);
}


/* ------------------------------------------------------------------
** Rows, one after the other
** ---------------------------------------------------------------- */

/* While somebody is called nobody speaks to SQLite. */
static void pause_turn(const queue_reading *r, bool pause) {
  if (!r->unlocked) return;
  if (pause)
    queue_end_turn(r->q);
  else
    error_unref(queue_take_turn(r->q));
}

static int take_job(reader *at, sqlite3_stmt *s, bool *good) {
  queue_reading *r = at->r;
  queue_job row = {0};
  *good = is_job(s, r->id, &row);
  if (!*good) return SQLITE_OK;
  if (r->calls != NULL && r->calls->job != NULL) {
    pause_turn(r, true);
    at->e = r->calls->job(r->context, &row);
    pause_turn(r, false);
  }
  if (at->e != NULL) return SQLITE_ABORT;
  return read_range(at, FILES, row.id, 0, UINT32_MAX);
}

static int take_file(reader *at, int64_t job, sqlite3_stmt *s, bool *good) {
  queue_reading *r = at->r;
  queue_file row = {0};
  *good = is_file(s, r->id, job, &row);
  if (!*good || r->calls == NULL || r->calls->file == NULL) return SQLITE_OK;
  pause_turn(r, true);
  at->e = r->calls->file(r->context, &row);
  pause_turn(r, false);
  return at->e != NULL ? SQLITE_ABORT : SQLITE_OK;
}

static int take_orphan(reader *at, sqlite3_stmt *s, bool *good) {
  queue_reading *r = at->r;
  queue_orphan row = {0};
  *good = is_orphan(s, r->id, &row);
  if (!*good || r->calls == NULL || r->calls->orphan == NULL) return SQLITE_OK;
  pause_turn(r, true);
  at->e = r->calls->orphan(r->context, &row);
  pause_turn(r, false);
  return at->e != NULL ? SQLITE_ABORT : SQLITE_OK;
}

static int take(reader *at, int table, int64_t job, sqlite3_stmt *s) {
  bool good = false;
  int r = table == JOBS    ? take_job(at, s, &good)
          : table == FILES ? take_file(at, job, s, &good)
                           : take_orphan(at, s, &good);
  good ? at->r->good++ : at->r->bad++;
  return r;
}

static int start(reader *at, int table, int way, int64_t job, int64_t low,
                 int64_t high, sqlite3_stmt **s) {
  if (at->s[table][way] == NULL) {
    int r = sqlite3_prepare_v2(at->r->db, texts[table][way], -1,
                               &at->s[table][way], NULL);
    if (r != SQLITE_OK) return r;
  }
  *s = at->s[table][way];
  sqlite3_bind_int64(*s, 1, low);
  sqlite3_bind_int64(*s, 2, high);
  if (table == FILES) sqlite3_bind_int64(*s, 3, job);
  return SQLITE_OK;
}

/* To the end, or as far as it can be read: what is left is low … high. */
static int walk(reader *at, int table, int way, int64_t job, int64_t *low,
                int64_t *high) {
  sqlite3_stmt *s;
  int r = start(at, table, way, job, *low, *high, &s);
  if (r != SQLITE_OK) return r;
  while ((r = sqlite3_step(s)) == SQLITE_ROW) {
    int64_t key = sqlite3_column_int64(s, 0);
    if (way == UP)
      *low = key + 1;
    else
      *high = key - 1;
    r = take(at, table, job, s);
    if (r != SQLITE_OK) break;
  }
  sqlite3_reset(s);
  return r == SQLITE_DONE ? SQLITE_OK : r;
}

/* The row at the beginning cannot be read as a whole: behind it, if its key
   can. */
static bool step_over(reader *at, int table, int64_t job, int64_t *low,
                      int64_t high) {
  sqlite3_stmt *s;
  if (start(at, table, NEXT, job, *low, high, &s) != SQLITE_OK) return false;
  bool found = sqlite3_step(s) == SQLITE_ROW;
  if (found) *low = sqlite3_column_int64(s, 0) + 1;
  sqlite3_reset(s);
  return found;
}

/* Behind which something else may still be readable. */
static bool is_gap(int r) {
  return queue_is_damage(r) || (r & 0xFF) == SQLITE_IOERR ||
         r == SQLITE_TOOBIG || (r & 0xFF) == SQLITE_ERROR; /* no such table */
}

static int read_range(reader *at, int table, int64_t job, int64_t low,
                      int64_t high) {
  while (low <= high) {
    int r = walk(at, table, UP, job, &low, &high);
    if (r == SQLITE_OK || at->e != NULL) return r;
    if (r == SQLITE_TOOBIG && step_over(at, table, job, &low, high)) {
      at->r->bad++;
      continue;
    }
    if (!at->r->around || !is_gap(r)) return r;
    at->r->gaps++;
    if (--at->r->budget < 0) return SQLITE_OK;
    r = walk(at, table, DOWN, job, &low, &high);
    if (r == SQLITE_OK || at->e != NULL || !is_gap(r)) return r;
    if (low >= high) return SQLITE_OK;
    int64_t middle = low + (high - low) / 2;
    r = read_range(at, table, job, low, middle);
    if (r != SQLITE_OK) return r;
    low = middle + 1;
  }
  return SQLITE_OK;
}

/* What is behind a gap is lost: they are set anew, not waited for. */
static int read_settings(reader *at) {
  queue_reading *r = at->r;
  sqlite3_stmt *s = NULL;
  int result = sqlite3_prepare_v2(
      r->db,
      "SELECT name, json, sum FROM settings WHERE name <> '' ORDER BY name", -1,
      &s, NULL);
  if (result != SQLITE_OK) {
    r->gaps++;
    return r->around && is_gap(result) ? SQLITE_OK : result;
  }
  while (at->e == NULL && (result = sqlite3_step(s)) == SQLITE_ROW) {
    const char *name, *json;
    int64_t sum;
    bool good = is_text(s, 0, false, &name) && is_text(s, 1, false, &json) &&
                is_number(s, 2, INT64_MIN, INT64_MAX, &sum) &&
                sum == queue_sum_setting(r->id, name, json);
    good ? r->good++ : r->bad++;
    if (good && r->setting != NULL) at->e = r->setting(r->context, name, json);
  }
  sqlite3_finalize(s);
  if (at->e != NULL) return SQLITE_ABORT;
  if (r->around && is_gap(result)) {
    r->gaps++;
    return SQLITE_OK;
  }
  return result == SQLITE_DONE ? SQLITE_OK : result;
}

/* It is a setting without a name. */
int queue_read_id(sqlite3 *db, uint64_t *id) {
  sqlite3_stmt *s = NULL;
  *id = 0;
  int r = sqlite3_prepare_v2(
      db, "SELECT name, json, sum FROM settings WHERE name = ''", -1, &s, NULL);
  if (r != SQLITE_OK) return r;
  const char *name, *text;
  int64_t sum;
  r = sqlite3_step(s);
  if (r == SQLITE_ROW && is_text(s, 0, false, &name) &&
      is_text(s, 1, false, &text) &&
      is_number(s, 2, INT64_MIN, INT64_MAX, &sum) &&
      sum == queue_sum_setting(0, name, text))
    *id = strtoull(text, NULL, 16);
  sqlite3_finalize(s);
  return r == SQLITE_ROW || r == SQLITE_DONE ? SQLITE_OK : r;
}

int queue_read(queue_reading *r, error **e) {
  reader at = {.r = r};
  int result = read_range(&at, JOBS, 0, 1, HIGHEST);
  if (result == SQLITE_OK) result = read_range(&at, ORPHANS, 0, 1, HIGHEST);
  if (result == SQLITE_OK && (r->setting != NULL || r->calls == NULL))
    result = read_settings(&at);
  for (int i = 0; i < TABLES; i++)
    for (int j = 0; j < WAYS; j++) sqlite3_finalize(at.s[i][j]);
  *e = at.e;
  return result;
}


/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

error *bits_queue_load(bits_queue *q, const queue_calls *calls, void *context) {
  error *e = queue_take_turn(q);
  if (e != NULL) return e;
  queue_reading r = {.q = q,
                     .db = q->db,
                     .id = q->id,
                     .calls = calls,
                     .context = context,
                     .unlocked = true};
  /* In a transaction, so that all of it is of one moment. */
  int result = sqlite3_exec(q->db, "BEGIN", NULL, NULL, NULL);
  if (result == SQLITE_OK) result = queue_read(&r, &e);
  if (e == NULL && result != SQLITE_OK)
    e = queue_trouble(q, q->db, result, "read the queue");
  if (!sqlite3_get_autocommit(q->db))
    sqlite3_exec(q->db, "ROLLBACK", NULL, NULL, NULL);
  queue_end_turn(q);
  if (r.bad > 0)
    log_write(LOG_WARNING, "bits",
              "%lld rows of the queue are damaged and were passed over",
              (long long)r.bad);
  return e;
}

/* What SQLite itself says of the file. */
static int check_pages(sqlite3 *db, char **said) {
  sqlite3_stmt *s = NULL;
  int r = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &s, NULL);
  if (r == SQLITE_OK) r = sqlite3_step(s);
  if (r == SQLITE_ROW) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    if (text == NULL || strcmp(text, "ok") != 0)
      *said = mem_text(text != NULL ? text : "it cannot be checked");
    r = SQLITE_OK;
  }
  sqlite3_finalize(s);
  return r;
}

static int check_rows(bits_queue *q, char **said, error **e) {
  int64_t all = 0, same = 0;
  queue_reading r = {.q = q, .db = q->db, .id = q->id};
  int result = queue_read(&r, e);
  if (result == SQLITE_OK)
    result = queue_ask(q->db,
                       "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) "
                       "FROM files) + (SELECT count(*) FROM orphans) + (SELECT "
                       "count(*) FROM settings WHERE name <> '')",
                       &all);
  /* Not by the index, which may be what is damaged. */
  if (result == SQLITE_OK)
    result = queue_ask(
        q->db, "SELECT count(*) - count(DISTINCT guid || '') FROM jobs", &same);
  if (result == SQLITE_OK && (r.good != all || same != 0)) {
    buffer b = BUFFER_EMPTY;
    buffer_format(&b, "%lld of %lld rows are not as they were written",
                  (long long)all - (long long)r.good + (long long)same,
                  (long long)all);
    *said = buffer_take(&b);
  }
  return result;
}

error *queue_check(bits_queue *q, char **said) {
  error *e = NULL;
  *said = NULL;
  int r = check_pages(q->db, said);
  if (r == SQLITE_OK && *said == NULL) r = check_rows(q, said, &e);
  if (e != NULL || *said != NULL || r == SQLITE_OK) return e;
  if (!queue_is_damage(r)) return queue_trouble(q, q->db, r, "read the queue");
  *said = mem_text(sqlite3_errstr(r));
  return *said != NULL ? NULL : queue_no_memory();
}
