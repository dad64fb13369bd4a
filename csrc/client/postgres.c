/*
** Connecting, and what went wrong.
*/
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/postgres_parts.h"

int postgres_version(void) {
  return PQlibVersion();
}


/* ------------------------------------------------------------------
** What went wrong
** ---------------------------------------------------------------- */

static bool is_one_of(const char *sqlstate, const char *const *list) {
  while (*list != NULL && strncmp(sqlstate, *list, strlen(*list)) != 0) list++;
  return *list != NULL;
}

/* Worth another try, as it is: too many connections; starting up, shutting
   down; no connection; who lost against others. */
static bool is_retryable(const char *sqlstate) {
  static const char *const list[] = {"53300", "57P0",  "08",
                                     "40",    "55P03", NULL};
  return is_one_of(sqlstate, list);
}

static bool is_denied(const char *sqlstate) {
  static const char *const list[] = {"28", "42501", NULL};
  return is_one_of(sqlstate, list);
}

static bool is_sqlstate(const char *text) {
  return strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
         text[5] == ':';
}

/* libpq hands out no SQLSTATE of a connection that was refused, but its verbose
   message has it: "FATAL:  53300: sorry, …". The last one counts. Leaves
   what is behind it, up to the line that says where in the server's source. */
static const char *find_sqlstate(char *message, char *sqlstate) {
  const char *rest = message;
  for (char *at = message; (at = strstr(at, ":  ")) != NULL; at += 3) {
    if (!is_sqlstate(at + 3)) continue;
    memcpy(sqlstate, at + 3, 5);
    rest = at + 3 + 7;
  }
  char *where = strstr((char *)(uintptr_t)rest, "\nLOCATION:");
  if (where != NULL) *where = '\0';
  return rest;
}

static void words_of_connection(const postgres *p, talk_trouble *trouble) {
  char *message = strdup(PQerrorMessage(p->conn));
  if (message == NULL) return;
  const char *rest = find_sqlstate(message, trouble->sqlstate);
  talk_words(trouble->server, sizeof trouble->server, rest, PQpass(p->conn));
  free(message);
}

static void words_of_result(const postgres *p, const PGresult *r,
                            talk_trouble *trouble) {
  static const int fields[] = {PG_DIAG_MESSAGE_PRIMARY, PG_DIAG_MESSAGE_DETAIL,
                               PG_DIAG_MESSAGE_HINT};
  char said[sizeof trouble->server];
  size_t size = 0;
  const char *sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
  if (sqlstate != NULL)
    snprintf(trouble->sqlstate, sizeof trouble->sqlstate, "%.5s", sqlstate);
  said[0] = '\0';
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    const char *text = PQresultErrorField(r, fields[i]);
    if (text == NULL || size >= sizeof said) continue;
    int n = snprintf(said + size, sizeof said - size, "%s%s",
                     size > 0 ? "; " : "", text);
    if (n > 0) size += (size_t)n;
  }
  if (said[0] == '\0') /* libpq's own */
    snprintf(said, sizeof said, "%s", PQresultErrorMessage(r));
  talk_words(trouble->server, sizeof trouble->server, said, PQpass(p->conn));
}

void postgres_fail(talk *t, const postgres *p, const PGresult *r,
                   talk_trouble *trouble) {
  if (trouble->code != 0) return;
  if (r != NULL)
    words_of_result(p, r, trouble);
  else
    words_of_connection(p, trouble);
  trouble->retryable = is_retryable(trouble->sqlstate);
  bool denied = is_denied(trouble->sqlstate) ||
                (r == NULL && PQconnectionNeedsPassword(p->conn));
  talk_fail(t, trouble, denied ? SAROS_E_ACCESSDENIED : SAROS_E_FAIL, "%s",
            trouble->server);
}


/* ------------------------------------------------------------------
** Connecting
** ---------------------------------------------------------------- */

static void no_notices(void *argument, const PGresult *r) {
  (void)argument;
  (void)r;
}

void postgres_drop(talk *t, postgres *p) {
  talk_socket(t, -1);
  PQfinish(p->conn); /* says goodbye if that does not block */
  p->conn = NULL;
}

/* What is before the conninfo are defaults, which it can change. */
static PGconn *begin(const postgres *p) {
  static const char *const names[] = {
      "client_encoding", "fallback_application_name", "dbname", NULL};
  const char *const values[] = {"UTF8", "saros", p->conninfo, NULL};
  return PQconnectStartParams(names, values, 1);
}

/* Until it is connected, or is not to be; libpq may change its socket at each
   turn. Returns what talk_wait does not wait for: its word, or 1. */
static int turn(talk *t, postgres *p, int64_t until) {
  PostgresPollingStatusType s = PGRES_POLLING_WRITING;
  while (s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING) {
    talk_socket(t, PQsocket(p->conn));
    int r =
        talk_wait(t, PQsocket(p->conn),
                  s == PGRES_POLLING_READING ? POLLIN : POLLOUT, until, true);
    if (r <= 0) return r;
    talk_socket(t, -1);
    s = PQconnectPoll(p->conn);
  }
  return 1;
}

bool postgres_connect(talk *t, postgres *p, saros_op *op,
                      talk_trouble *trouble) {
  if (p->conn != NULL) return true;
  if (p->lost) {
    trouble->retryable = true;
    talk_fail(t, trouble, SAROS_E_CLOSED,
              "the connection was lost before, and with it what the session "
              "held; open another one");
    return false;
  }
  saros_op_phase(op, "connecting");
  p->conn = begin(p);
  if (p->conn == NULL) {
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
    return false;
  }
  PQsetErrorVerbosity(p->conn, PQERRORS_VERBOSE);
  PQsetNoticeReceiver(p->conn, no_notices, NULL);
  int r = 1;
  if (PQstatus(p->conn) != CONNECTION_BAD)
    r = turn(t, p, talk_now() + p->connect_ms);
  if (r == TALK_STOPPED) {
    trouble->code = SAROS_E_CANCELLED;
  } else if (r == TALK_LATE) {
    trouble->retryable = true;
    talk_fail(t, trouble, SAROS_E_TIMEOUT,
              "the server did not let us in within %.1f seconds; see whether "
              "it lives, or wait longer (connect_timeout)",
              p->connect_ms / 1e3);
  } else if (PQstatus(p->conn) != CONNECTION_OK) {
    postgres_fail(t, p, NULL, trouble);
    /* Nobody is there, as far as libpq has got. */
    if (trouble->sqlstate[0] == '\0' && trouble->code == SAROS_E_FAIL)
      trouble->retryable = true;
  } else if (PQsetnonblocking(p->conn, 1) != 0) {
    postgres_fail(t, p, NULL, trouble);
  }
  if (trouble->code != 0) {
    postgres_drop(t, p);
    return false;
  }
  talk_socket(t, PQsocket(p->conn));
  saros_op_phase(op, "asking");
  return true;
}


/* ------------------------------------------------------------------
** The driver
** ---------------------------------------------------------------- */

static void leave(talk *t, void *self) {
  postgres *p = self;
  if (p->conn != NULL) postgres_drop(t, p);
}

static void release(void *self) {
  postgres *p = self;
  if (p->conn != NULL) PQfinish(p->conn);
  if (p->conninfo != NULL) explicit_bzero(p->conninfo, strlen(p->conninfo));
  free(p->conninfo);
  free(p);
}

static const talk_driver driver = {
    .query = TALK_KIND("postgres.query", SAROS_CANCELLABLE),
    .exec = TALK_KIND("postgres.exec", SAROS_CANCELLABLE),
    .close = TALK_KIND("postgres.close", 0),
    .perform = postgres_perform,
    .leave = leave,
    .release = release};

/* What may be shown of it. */
static void describe(const PQconninfoOption *o, char *to, size_t size) {
  static const char *const shown[] = {"service", "host", "hostaddr", "port",
                                      "dbname",  "user", NULL};
  size_t at = (size_t)snprintf(to, size, "PostgreSQL");
  for (; o->keyword != NULL; o++) {
    int i = 0;
    while (shown[i] != NULL && strcmp(shown[i], o->keyword) != 0) i++;
    if (shown[i] == NULL || o->val == NULL || at >= size) continue;
    int n = snprintf(to + at, size - at, " %s=%.100s", o->keyword, o->val);
    if (n > 0) at += (size_t)n;
  }
}

talk *postgres_open(const postgres_options *options, const char **why) {
  char label[300], *said = NULL;
  PQconninfoOption *parts = PQconninfoParse(options->conninfo, &said);
  if (said != NULL) PQfreemem(said); /* it quotes what may be a password */
  *why = NULL;
  if (parts == NULL) {
    *why =
        "it is none of libpq's: \"name=value name='va lue' …\", or a "
        "postgresql:// address";
    return NULL;
  }
  describe(parts, label, sizeof label);
  PQconninfoFree(parts);
  postgres *p = calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  p->connect_ms = options->connect_ms;
  p->conninfo = strdup(options->conninfo);
  if (p->conninfo != NULL) return talk_new(&driver, p, label);
  free(p);
  return NULL;
}
