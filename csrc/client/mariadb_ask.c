/*
** Asking: rows come one at a time, so that what an answer takes is known before
** it is too much.
*/
#include <errmsg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "client/mariadb_parts.h"

/* What a cell takes besides its bytes. */
#define CELL 64

/* What is known of the answer until now. */
typedef struct answer {
  saros_value *rows; /* or NULL: they do not matter */
  size_t size;
  int64_t until; /* it must have ended; INT64_MAX: nobody has cancelled */
  int64_t count;
  bool whole; /* nothing more comes */
} answer;

static bool is_stopped(const answer *a) {
  return a->until != INT64_MAX;
}


/* ------------------------------------------------------------------
** Cancelling
** ---------------------------------------------------------------- */

/* By another connection, which has until then. */
static void send_kill(talk *t, const mariadb *m, int64_t until) {
  char sql[60];
  MYSQL *done, *c = mariadb_new(m);
  int bad = 1, size = snprintf(sql, sizeof sql, "KILL QUERY %lu",
                               mysql_thread_id(m->conn));
  if (c == NULL) return;
  int s = mysql_real_connect_start(&done, c, m->conn->host, m->conn->user,
                                   m->conn->passwd, NULL, m->conn->port,
                                   m->conn->unix_socket, 0);
  while (s > 0 && (s = mariadb_wait(t, c, s, until, false)) > 0)
    s = mysql_real_connect_cont(&done, c, s);
  if (s == 0 && mysql_errno(c) == 0) {
    s = mysql_real_query_start(&bad, c, sql, (unsigned long)size);
    while (s > 0 && (s = mariadb_wait(t, c, s, until, false)) > 0)
      s = mysql_real_query_cont(&bad, c, s);
  }
  mariadb_hang_up(c, s != 0 || bad != 0);
}

/* Nobody wants the rest of the answer. */
static void stop(talk *t, const mariadb *m, answer *a) {
  if (is_stopped(a)) return;
  a->until = talk_patience(t);
  send_kill(t, m, a->until);
}

/* As mariadb_wait; what is cancelled meanwhile is stopped. */
static int await(talk *t, const mariadb *m, answer *a, int status) {
  int r = mariadb_wait(t, m->conn, status, a->until, !is_stopped(a));
  if (r != MARIADB_STOPPED) return r;
  stop(t, m, a);
  return mariadb_wait(t, m->conn, status, a->until, false);
}


/* ------------------------------------------------------------------
** The answer
** ---------------------------------------------------------------- */

/* These return 1: it is over, as the connection says; less: what is not waited
   for any more. */

static int query(talk *t, const mariadb *m, const char *sql, answer *a) {
  int bad;
  int s = mysql_real_query_start(&bad, m->conn, sql, strlen(sql));
  while (s != 0) {
    if ((s = await(t, m, a, s)) < 0) return s;
    s = mysql_real_query_cont(&bad, m->conn, s);
  }
  return 1;
}

static int next_row(talk *t, const mariadb *m, MYSQL_RES *r, MYSQL_ROW *row,
                    answer *a) {
  int s = mysql_fetch_row_start(row, r);
  while (s != 0) {
    if ((s = await(t, m, a, s)) < 0) return s;
    s = mysql_fetch_row_cont(row, r, s);
  }
  return 1;
}

static int next_result(talk *t, const mariadb *m, answer *a) {
  int bad;
  int s = mysql_next_result_start(&bad, m->conn);
  while (s != 0) {
    if ((s = await(t, m, a, s)) < 0) return s;
    s = mysql_next_result_cont(&bad, m->conn, s);
  }
  return 1;
}

static bool add_row(answer *a, MYSQL_RES *r, MYSQL_ROW cells) {
  const MYSQL_FIELD *fields = mysql_fetch_fields(r);
  const unsigned long *sizes = mysql_fetch_lengths(r);
  saros_value *row = saros_value_map();
  bool good = row != NULL;
  for (unsigned i = 0; good && i < mysql_num_fields(r); i++) {
    a->size += CELL;
    if (cells[i] == NULL) continue;
    a->size += sizes[i];
    good = saros_value_put(row, fields[i].name,
                           saros_value_bytes(cells[i], sizes[i]));
  }
  if (good) return saros_value_add(a->rows, row);
  if (row != NULL) saros_value_free(row);
  return false;
}

static void take_row(talk *t, const mariadb *m, answer *a, MYSQL_RES *r,
                     MYSQL_ROW cells, talk_trouble *trouble) {
  if (trouble->code != 0 || is_stopped(a)) return;
  if (!add_row(a, r, cells))
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY,
              "there is not enough memory for the answer");
  else if (a->size > TALK_ANSWER_MOST)
    talk_fail(t, trouble, SAROS_E_FAIL,
              "the answer is longer than %zu MiB; ask for less at a time",
              TALK_ANSWER_MOST >> 20);
  if (trouble->code != 0) stop(t, m, a);
}

/* One of the results that an answer is made of. False: it did not end. */
static bool take_result(talk *t, const mariadb *m, answer *a, bool wanted,
                        talk_trouble *trouble) {
  MYSQL_ROW cells = NULL;
  if (mysql_field_count(m->conn) == 0) {
    a->count = (int64_t)mysql_affected_rows(m->conn);
    return true;
  }
  MYSQL_RES *r = mysql_use_result(m->conn);
  if (r == NULL) return true; /* the connection says why */
  int64_t count = 0;
  int s;
  while ((s = next_row(t, m, r, &cells, a)) == 1 && cells != NULL) {
    count++;
    if (wanted) take_row(t, m, a, r, cells, trouble);
  }
  a->count = count;
  /* What is left of it would be waited for. */
  if (s != 1) shutdown((int)mysql_get_socket(m->conn), SHUT_RDWR);
  mysql_free_result(r);
  return s == 1;
}

static void ask(talk *t, const mariadb *m, const char *sql, answer *a,
                talk_trouble *trouble) {
  bool first = true;
  int s = query(t, m, sql, a);
  while (s == 1 && mysql_errno(m->conn) == 0) {
    if (!take_result(t, m, a, first && a->rows != NULL, trouble)) return;
    first = false;
    if (mysql_errno(m->conn) != 0 || !mysql_more_results(m->conn)) break;
    s = next_result(t, m, a);
  }
  a->whole = s == 1;
}


/* ------------------------------------------------------------------
** The end of it
** ---------------------------------------------------------------- */

static bool is_gone(MYSQL *conn) {
  unsigned number = mysql_errno(conn);
  return (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) || number == 1927 ||
         number == 4031; /* thrown out, idle for too long */
}

/* A kill that was late would hit the next question: now it has come. */
static void swallow_kill(talk *t, const mariadb *m, answer *a) {
  answer nothing = {.until = a->until};
  ask(t, m, "DO 0", &nothing, &(talk_trouble){0});
  a->whole = nothing.whole && !is_gone(m->conn);
}

/* The session, and what it held, is gone. */
static void lose(talk *t, mariadb *m, const answer *a, talk_trouble *trouble) {
  m->lost = true;
  if (is_stopped(a)) {
    if (trouble->code == 0) trouble->code = SAROS_E_CANCELLED;
  } else {
    talk_trouble was = *trouble;
    was.code = 0;
    was.retryable = true;
    talk_fail(t, &was, SAROS_E_CLOSED,
              "the connection was lost, and with it what the session held: "
              "%s",
              was.server);
    *trouble = was;
  }
  mariadb_drop(t, m, true);
}

static saros_value *outcome(const answer *a) {
  saros_value *map = saros_value_map();
  if (map == NULL) return NULL;
  if (saros_value_put(map, "rows", saros_value_integer(a->count))) return map;
  saros_value_free(map);
  return NULL;
}

/* Carries it out, and leaves a connection of which is known what it is. */
static void carry_out(talk *t, mariadb *m, const char *sql, answer *a,
                      talk_trouble *trouble) {
  ask(t, m, sql, a, trouble);
  bool gone = !a->whole || is_gone(m->conn);
  if (a->whole && mysql_errno(m->conn) != 0) {
    if (is_stopped(a) && trouble->code == 0) trouble->code = SAROS_E_CANCELLED;
    mariadb_fail(t, m->conn, trouble);
  }
  if (!gone && is_stopped(a)) {
    swallow_kill(t, m, a);
    gone = !a->whole;
  }
  if (gone) lose(t, m, a, trouble);
}

void mariadb_perform(talk *t, void *self, const talk_question *q, saros_op *op,
                     saros_value **result, talk_trouble *trouble) {
  mariadb *m = self;
  answer a = {.until = INT64_MAX};
  if (q->count > 0) {
    talk_fail(t, trouble, SAROS_E_INVALIDARG,
              "values for the SQL are not taken here; write them into it");
    return;
  }
  if (!mariadb_log_in(t, m, op, trouble)) return;
  if (q->rows) a.rows = saros_value_list();
  if (q->rows && a.rows == NULL) {
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
    return;
  }
  carry_out(t, m, q->sql, &a, trouble);
  if (trouble->code == 0) {
    *result = q->rows ? a.rows : outcome(&a);
    if (*result != NULL) return;
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
  }
  if (a.rows != NULL) saros_value_free(a.rows);
}
