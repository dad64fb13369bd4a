/*
** Asking: rows come one at a time, so that what an answer takes is known before
** it is too much.
*/
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/postgres_parts.h"

/* What a cell takes besides its bytes. */
#define CELL 64

typedef struct errand errand; /* a cancel that is under way */

/* What is known of the answer until now. */
typedef struct answer {
  saros_value *rows; /* or NULL: they do not matter */
  size_t size;
  bool ended; /* whole: nothing more comes */
  errand *errand;
  int64_t until; /* it must have ended; INT64_MAX: nobody has cancelled */
  char command[32];
  int64_t count;
} answer;


/* ------------------------------------------------------------------
** Cancelling
** ---------------------------------------------------------------- */

/* PQcancel blocks, and of a server that does not move for as long as that does
   not: so it has a thread of its own, and there are only so many of them. */
#define CANCELS_MOST 16
static _Atomic unsigned cancels;

struct errand {
  _Atomic unsigned refs;
  PGcancel *cancel;
  int done; /* an eventfd */
};

static void errand_unref(errand *e) {
  if (atomic_fetch_sub(&e->refs, 1) != 1) return;
  if (e->cancel != NULL) PQfreeCancel(e->cancel);
  if (e->done >= 0) close(e->done);
  free(e);
  atomic_fetch_sub(&cancels, 1);
}

static void *run_errand(void *argument) {
  errand *e = argument;
  char said[256];
  PQcancel(e->cancel, said, sizeof said);
  ssize_t r = write(e->done, &(uint64_t){1}, sizeof(uint64_t));
  (void)r;
  errand_unref(e);
  return NULL;
}

/* Signals are blocked as they are here. */
static bool start_errand(errand *e) {
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0) return false;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  atomic_fetch_add(&e->refs, 1);
  bool good = pthread_create(&thread, &attributes, run_errand, e) == 0;
  pthread_attr_destroy(&attributes);
  if (!good) errand_unref(e);
  return good;
}

/* NULL: it cannot be sent. */
static errand *errand_send(const postgres *p) {
  errand *e =
      atomic_load(&cancels) < CANCELS_MOST ? calloc(1, sizeof *e) : NULL;
  if (e == NULL) return NULL;
  atomic_fetch_add(&cancels, 1);
  atomic_init(&e->refs, 1);
  e->done = eventfd(0, EFD_CLOEXEC);
  e->cancel = PQgetCancel(p->conn);
  if (e->done >= 0 && e->cancel != NULL && start_errand(e)) return e;
  errand_unref(e);
  return NULL;
}

/* Nobody wants the rest of the answer. */
static void stop(talk *t, const postgres *p, answer *a) {
  if (a->until != INT64_MAX) return;
  a->errand = errand_send(p);
  a->until = talk_patience(t);
}

/* One that is late would hit the next question. Until it is over, the answer
   is not. */
static void await_errand(talk *t, answer *a) {
  if (a->errand == NULL) return;
  if (a->ended &&
      talk_wait(t, a->errand->done, POLLIN, a->until, false) == TALK_LATE)
    a->ended = false;
  errand_unref(a->errand);
}


/* ------------------------------------------------------------------
** The answer
** ---------------------------------------------------------------- */

static bool add_row(answer *a, const PGresult *r, int at) {
  saros_value *row = saros_value_map();
  int columns = PQnfields(r);
  bool good = row != NULL;
  for (int i = 0; good && i < columns; i++) {
    a->size += CELL;
    if (PQgetisnull(r, at, i)) continue;
    size_t size = (size_t)PQgetlength(r, at, i);
    a->size += size;
    good = saros_value_put(row, PQfname(r, i),
                           saros_value_bytes(PQgetvalue(r, at, i), size));
  }
  if (good) return saros_value_add(a->rows, row);
  if (row != NULL) saros_value_free(row);
  return false;
}

static void add_rows(talk *t, const postgres *p, answer *a, const PGresult *r,
                     talk_trouble *trouble) {
  for (int i = 0; a->rows != NULL && i < PQntuples(r); i++) {
    if (trouble->code != 0) return;
    if (!add_row(a, r, i))
      talk_fail(t, trouble, SAROS_E_OUTOFMEMORY,
                "there is not enough memory for the answer");
    else if (a->size > TALK_ANSWER_MOST)
      talk_fail(t, trouble, SAROS_E_FAIL,
                "the answer is longer than %zu MiB; ask for less at a time",
                TALK_ANSWER_MOST >> 20);
  }
  if (trouble->code != 0) stop(t, p, a);
}

/* One of the results that an answer is made of. */
static void understand(talk *t, postgres *p, answer *a, PGresult *r,
                       talk_trouble *trouble) {
  switch (PQresultStatus(r)) {
    case PGRES_SINGLE_TUPLE: add_rows(t, p, a, r, trouble); break;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
      add_rows(t, p, a, r, trouble);
      strncpy(a->command, PQcmdStatus(r), sizeof a->command - 1);
      a->count = strtoll(PQcmdTuples(r), NULL, 10);
      break;
    case PGRES_EMPTY_QUERY: break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
      talk_fail(t, trouble, SAROS_E_INVALIDARG,
                "COPY from or to the client is not for a question; the "
                "connection was closed");
      a->until = 0;
      break;
    default: postgres_fail(t, p, r, trouble);
  }
}

/* Sends what is left of the question, or takes what has come of the answer;
   waits for one of them. False: the connection is of no use any more. */
static bool move(talk *t, postgres *p, answer *a) {
  int left = PQflush(p->conn);
  if (left < 0) return false;
  int r = talk_wait(t, PQsocket(p->conn),
                    (short)(left > 0 ? POLLIN | POLLOUT : POLLIN), a->until,
                    a->until == INT64_MAX);
  if (r == TALK_LATE) return false;
  if (r == TALK_STOPPED) {
    stop(t, p, a);
    return true;
  }
  return (r & POLLIN) == 0 || PQconsumeInput(p->conn) != 0;
}

static bool send_question(const postgres *p, const talk_question *q) {
  /* Without the extended protocol there could be many statements. */
  int sent = q->rows || q->count > 0
                 ? PQsendQueryParams(p->conn, q->sql, (int)q->count, NULL,
                                     q->values, NULL, NULL, 0)
                 : PQsendQuery(p->conn, q->sql);
  return sent != 0 && PQsetSingleRowMode(p->conn) != 0;
}

/* Nobody asked for any. */
static void forget_notifications(const postgres *p) {
  for (PGnotify *n; (n = PQnotifies(p->conn)) != NULL;) PQfreemem(n);
}

static void ask(talk *t, postgres *p, const talk_question *q, answer *a,
                talk_trouble *trouble) {
  if (!send_question(p, q)) {
    postgres_fail(t, p, NULL, trouble);
    a->ended = PQstatus(p->conn) == CONNECTION_OK;
    return;
  }
  while (!a->ended && a->until != 0) {
    if (PQisBusy(p->conn) || PQflush(p->conn) > 0) {
      if (!move(t, p, a)) break;
      forget_notifications(p);
      continue;
    }
    PGresult *r = PQgetResult(p->conn);
    if (r == NULL)
      a->ended = true;
    else
      understand(t, p, a, r, trouble);
    PQclear(r);
  }
}

/* The session, and what it held, is gone. */
static void lose(talk *t, postgres *p, const answer *a, talk_trouble *trouble) {
  p->lost = true;
  if (a->until == INT64_MAX) {
    talk_trouble was = *trouble;
    if (was.server[0] == '\0') {
      talk_words(was.server, sizeof was.server, PQerrorMessage(p->conn),
                 PQpass(p->conn));
    }
    was.code = 0;
    was.retryable = true;
    talk_fail(t, &was, SAROS_E_CLOSED,
              "the connection was lost, and with it what the session held: "
              "%s",
              was.server);
    *trouble = was;
  } else if (trouble->code == 0) {
    trouble->code = SAROS_E_CANCELLED;
  }
  postgres_drop(t, p);
}

static saros_value *outcome(const answer *a) {
  saros_value *map = saros_value_map();
  if (map == NULL) return NULL;
  if (saros_value_put(map, "rows", saros_value_integer(a->count)) &&
      saros_value_put(map, "command",
                      saros_value_bytes(a->command, strlen(a->command))))
    return map;
  saros_value_free(map);
  return NULL;
}

void postgres_perform(talk *t, void *self, const talk_question *q, saros_op *op,
                      saros_value **result, talk_trouble *trouble) {
  postgres *p = self;
  answer a = {.until = INT64_MAX};
  if (!postgres_connect(t, p, op, trouble)) return;
  if (q->rows) a.rows = saros_value_list();
  if (q->rows && a.rows == NULL) {
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
    return;
  }
  ask(t, p, q, &a, trouble);
  await_errand(t, &a);
  if (!a.ended || PQstatus(p->conn) != CONNECTION_OK) lose(t, p, &a, trouble);
  if (trouble->code == 0) {
    *result = q->rows ? a.rows : outcome(&a);
    if (*result != NULL) return;
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
  }
  if (a.rows != NULL) saros_value_free(a.rows);
}
