/*
** Rows are written: one transaction at a time, by whoever owns the queue.
**
** Each row ends with a sum over all that is in it, which SQLite's own format
** does not have: a bit that a disk has lost must not make another file's name,
** or bytes that were never written.
*/
#include <limits.h>
#include <string.h>

#include "bits/queue_parts.h"

/* ------------------------------------------------------------------
** Sums
** ---------------------------------------------------------------- */

static uint64_t mix(uint64_t sum, uint64_t with) {
  sum = (sum ^ with) * 0x9E3779B97F4A7C15u;
  return sum ^ (sum >> 29);
}

static uint64_t mix_text(uint64_t sum, const char *text) {
  if (text == NULL) return mix(sum, UINT64_MAX);
  size_t size = strlen(text);
  sum = mix(sum, size);
  for (; size >= 8; size -= 8, text += 8) {
    uint64_t eight;
    memcpy(&eight, text, 8);
    sum = mix(sum, eight);
  }
  uint64_t rest = 0;
  for (size_t i = 0; i < size; i++)
    rest |= (uint64_t)(unsigned char)text[i] << (8 * i);
  return mix(sum, rest);
}

int64_t queue_sum_job(uint64_t id, const queue_job *row) {
  uint64_t sum = mix(id + 1, (uint64_t)row->id);
  sum = mix_text(sum, row->guid);
  sum = mix(sum, (uint64_t)row->state);
  sum = mix(sum, (uint64_t)row->type);
  sum = mix(sum, (uint64_t)row->priority);
  sum = mix(sum, row->torn);
  return (int64_t)mix_text(sum, row->properties);
}

int64_t queue_sum_file(uint64_t id, const queue_file *row) {
  uint64_t sum = mix(id + 2, (uint64_t)row->job);
  sum = mix(sum, row->number);
  sum = mix_text(sum, row->url);
  sum = mix_text(sum, row->path);
  sum = mix(sum, (uint64_t)row->state);
  sum = mix(sum, row->marks);
  sum = mix(sum, (uint64_t)row->have);
  sum = mix(sum, (uint64_t)row->size);
  sum = mix_text(sum, row->known);
  return (int64_t)mix_text(sum, row->extra);
}

int64_t queue_sum_orphan(uint64_t id, const queue_orphan *row) {
  return (int64_t)mix_text(mix(id + 3, (uint64_t)row->id), row->what);
}

int64_t queue_sum_setting(uint64_t id, const char *name, const char *json) {
  return (int64_t)mix_text(mix_text(id + 4, name), json);
}


/* ------------------------------------------------------------------
** Transactions
** ---------------------------------------------------------------- */

static error *not_ours(const bits_queue *q) {
  return queue_fail(SAROS_E_ACCESSDENIED,
                    "the queue %s is owned by another process; here it is only "
                    "read",
                    q->path);
}

static error *begin(bits_queue *q, bool full) {
  if (!q->owner) return not_ours(q);
  error *e = queue_place_check(q);
  if (e != NULL) return e;
  if (full != q->full) {
    int r = sqlite3_exec(
        q->db,
        full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL",
        NULL, NULL, NULL);
    if (r != SQLITE_OK) return queue_trouble(q, q->db, r, "write the queue");
    q->full = full;
  }
  int r = queue_do(q, QUEUE_BEGIN);
  q->inside = r == SQLITE_OK;
  return q->inside ? NULL : queue_trouble(q, q->db, r, "write the queue");
}

error *bits_queue_begin(bits_queue *q, bool full) {
  error *e = queue_take_turn(q);
  if (e != NULL) return e;
  e = begin(q, full);
  queue_end_turn(q);
  return e;
}

/* Rows are put between begin and commit alone: else each would be a transaction
   of its own. */
static error *enter(bits_queue *q, sqlite3_stmt **s,
                    enum queue_statement which) {
  error *e = queue_take_turn(q);
  *s = q->statements[which];
  if (e != NULL || q->inside) return e;
  e = queue_fail(SAROS_E_UNEXPECTED, "no change of the queue %s was begun",
                 q->path);
  queue_end_turn(q);
  return e;
}

static error *leave(bits_queue *q, enum queue_statement which) {
  int r = queue_do(q, which);
  error *e =
      r == SQLITE_OK ? NULL : queue_trouble(q, q->db, r, "write the queue");
  queue_end_turn(q);
  return e;
}

error *bits_queue_commit(bits_queue *q) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_COMMIT);
  if (e != NULL) return e;
  e = leave(q, QUEUE_COMMIT);
  if (e == NULL) q->inside = false;
  return e;
}

void bits_queue_undo(bits_queue *q) {
  error *e = queue_take_turn(q);
  if (e != NULL) {
    error_unref(e);
    return;
  }
  /* SQLite may have done so by itself. */
  if (q->db != NULL && !sqlite3_get_autocommit(q->db))
    queue_do(q, QUEUE_ROLLBACK);
  q->inside = false;
  queue_end_turn(q);
}


/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

/* One that is too long to be read again is not put at all. */
static void bind(sqlite3_stmt *s, int at, const char *text) {
  size_t size = text != NULL ? strlen(text) : 0;
  if (size <= QUEUE_LONGEST)
    sqlite3_bind_text(s, at, text, (int)size, SQLITE_STATIC);
  else
    sqlite3_bind_zeroblob(s, at, INT_MAX); /* SQLITE_TOOBIG */
}

error *bits_queue_put_job(bits_queue *q, const queue_job *row) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_PUT_JOB);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, row->id);
  bind(s, 2, row->guid);
  sqlite3_bind_int(s, 3, row->state);
  sqlite3_bind_int(s, 4, row->type);
  sqlite3_bind_int(s, 5, row->priority);
  sqlite3_bind_int(s, 6, row->torn);
  bind(s, 7, row->properties);
  sqlite3_bind_int64(s, 8, queue_sum_job(q->id, row));
  return leave(q, QUEUE_PUT_JOB);
}

error *bits_queue_drop_job(bits_queue *q, int64_t id) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_DROP_FILES);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, id);
  e = leave(q, QUEUE_DROP_FILES);
  if (e == NULL) e = enter(q, &s, QUEUE_DROP_JOB);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, id);
  return leave(q, QUEUE_DROP_JOB);
}

error *bits_queue_put_file(bits_queue *q, const queue_file *row) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_PUT_FILE);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, row->job);
  sqlite3_bind_int64(s, 2, row->number);
  bind(s, 3, row->url);
  bind(s, 4, row->path);
  sqlite3_bind_int(s, 5, row->state);
  sqlite3_bind_int64(s, 6, row->marks);
  sqlite3_bind_int64(s, 7, row->have);
  sqlite3_bind_int64(s, 8, row->size);
  bind(s, 9, row->known);
  bind(s, 10, row->extra);
  sqlite3_bind_int64(s, 11, queue_sum_file(q->id, row));
  return leave(q, QUEUE_PUT_FILE);
}

error *bits_queue_drop_file(bits_queue *q, int64_t job, uint32_t number) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_DROP_FILE);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, job);
  sqlite3_bind_int64(s, 2, number);
  return leave(q, QUEUE_DROP_FILE);
}

/* The next number: the sum is over it, so it must be known before. */
static int next_orphan(bits_queue *q, int64_t *id) {
  int r = queue_ask(q->db, "SELECT coalesce(max(id), 0) + 1 FROM orphans", id);
  return r == SQLITE_OK && *id <= 0 ? SQLITE_FULL : r;
}

error *bits_queue_put_orphan(bits_queue *q, queue_orphan *row) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_PUT_ORPHAN);
  if (e != NULL) return e;
  queue_orphan with = *row;
  int r = with.id != 0 ? SQLITE_OK : next_orphan(q, &with.id);
  if (r != SQLITE_OK) {
    e = queue_trouble(q, q->db, r, "write the queue");
    queue_end_turn(q);
    return e;
  }
  sqlite3_bind_int64(s, 1, with.id);
  bind(s, 2, with.what);
  sqlite3_bind_int64(s, 3, queue_sum_orphan(q->id, &with));
  e = leave(q, QUEUE_PUT_ORPHAN);
  if (e == NULL) row->id = with.id;
  return e;
}

error *bits_queue_drop_orphan(bits_queue *q, int64_t id) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_DROP_ORPHAN);
  if (e != NULL) return e;
  sqlite3_bind_int64(s, 1, id);
  return leave(q, QUEUE_DROP_ORPHAN);
}

error *bits_queue_put_setting(bits_queue *q, const char *name,
                              const char *json) {
  sqlite3_stmt *s;
  error *e = enter(q, &s, QUEUE_PUT_SETTING);
  if (e != NULL) return e;
  bind(s, 1, name);
  bind(s, 2, json);
  sqlite3_bind_int64(s, 3, queue_sum_setting(q->id, name, json));
  return leave(q, QUEUE_PUT_SETTING);
}

/* One that is not as it was put is not there. */
error *bits_queue_get_setting(bits_queue *q, const char *name, buffer *json) {
  error *e = queue_take_turn(q);
  if (e != NULL) return e;
  sqlite3_stmt *s = q->statements[QUEUE_GET_SETTING];
  bind(s, 1, name);
  int r = sqlite3_step(s);
  if (r == SQLITE_ROW) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    if (text == NULL)
      e = queue_no_memory();
    else if (sqlite3_column_int64(s, 1) == queue_sum_setting(q->id, name, text))
      buffer_text(json, text);
    else
      log_write(LOG_WARNING, "bits", "the setting %s of the queue is damaged",
                name);
  } else if (r != SQLITE_DONE) {
    e = queue_trouble(q, q->db, r, "read the queue");
  }
  sqlite3_reset(s);
  queue_end_turn(q);
  return e;
}
