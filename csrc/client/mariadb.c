/*
** Connecting, and what went wrong.
*/
#include <errmsg.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "client/mariadb_parts.h"

const char *mariadb_version(void) {
  return mysql_get_client_info();
}


/* ------------------------------------------------------------------
** Waiting
** ---------------------------------------------------------------- */

int mariadb_wait(talk *t, MYSQL *conn, int status, int64_t until, bool heed) {
  int64_t own = INT64_MAX; /* libmariadb's own limit, if it has one now */
  short events = 0;
  if ((status & MYSQL_WAIT_READ) != 0) events |= POLLIN;
  if ((status & MYSQL_WAIT_WRITE) != 0) events |= POLLOUT;
  if ((status & MYSQL_WAIT_EXCEPT) != 0) events |= POLLPRI;
  if ((status & MYSQL_WAIT_TIMEOUT) != 0)
    own = talk_now() + mysql_get_timeout_value_ms(conn);
  int r = talk_wait(t, mysql_get_socket(conn), events,
                    own < until ? own : until, heed);
  if (r == TALK_STOPPED) return MARIADB_STOPPED;
  if (r == TALK_LATE) return own < until ? MYSQL_WAIT_TIMEOUT : MARIADB_LATE;
  return ((r & POLLIN) != 0 ? MYSQL_WAIT_READ : 0) |
         ((r & POLLOUT) != 0 ? MYSQL_WAIT_WRITE : 0) |
         ((r & POLLPRI) != 0 ? MYSQL_WAIT_EXCEPT : 0);
}


/* ------------------------------------------------------------------
** What went wrong
** ---------------------------------------------------------------- */

/* Worth another try, as it is: too many connections, starting up or shutting
   down, who lost against others; no connection. */
static bool is_retryable(unsigned number) {
  static const unsigned list[] = {1040, 1203, 1226, 1205, 1213, 1053, 1927, 0};
  int i = 0;
  while (list[i] != 0 && list[i] != number) i++;
  return list[i] != 0 || number == CR_CONNECTION_ERROR ||
         number == CR_CONN_HOST_ERROR || number == CR_SERVER_GONE_ERROR ||
         number == CR_SERVER_LOST;
}

/* Users, hosts, rights; and plugins that we do not let log in. */
static bool is_denied(unsigned number) {
  static const unsigned list[] = {1044, 1045, 1130, 1142, 1143, 1227,
                                  1251, 1698, 1862, 1820, 4151, 0};
  int i = 0;
  while (list[i] != 0 && list[i] != number) i++;
  return list[i] != 0 || number == CR_AUTH_PLUGIN_CANNOT_LOAD;
}

void mariadb_fail(talk *t, MYSQL *conn, talk_trouble *trouble) {
  if (trouble->code != 0) return;
  unsigned number = mysql_errno(conn);
  const char *sqlstate = mysql_sqlstate(conn);
  trouble->number = (int)number;
  snprintf(trouble->sqlstate, sizeof trouble->sqlstate, "%.5s",
           sqlstate != NULL ? sqlstate : "");
  talk_words(trouble->server, sizeof trouble->server, mysql_error(conn),
             conn->passwd);
  trouble->retryable = is_retryable(number);
  talk_fail(t, trouble, is_denied(number) ? SAROS_E_ACCESSDENIED : SAROS_E_FAIL,
            "%s",
            trouble->server[0] != '\0' ? trouble->server
                                       : "the server said no reason");
}


/* ------------------------------------------------------------------
** Connecting
** ---------------------------------------------------------------- */

void mariadb_hang_up(MYSQL *conn, bool rude) {
  int fd = (int)mysql_get_socket(conn);
  /* What it would say, or wait for, then fails at once. */
  if (rude && fd >= 0) shutdown(fd, SHUT_RDWR);
  mysql_close(conn);
}

void mariadb_drop(talk *t, mariadb *m, bool rude) {
  talk_socket(t, -1);
  mariadb_hang_up(m->conn, rude);
  m->conn = NULL;
}

/* A server that asks for a file of ours, whatever an option file allows. */
static int no_file(void **data, const char *name, void *argument) {
  (void)name;
  (void)argument;
  *data = NULL;
  return 1;
}

static int no_bytes(void *data, char *buffer, unsigned size) {
  (void)data;
  (void)buffer;
  (void)size;
  return -1;
}

static void no_end(void *data) {
  (void)data;
}

static int why_no_file(void *data, char *text, unsigned size) {
  (void)data;
  snprintf(text, size, "the server asked for a file of ours");
  return CR_UNKNOWN_ERROR;
}

/* They are read when it connects; what a script says counts more. */
static bool read_defaults(MYSQL *c, const mariadb *m) {
  const char *group = m->defaults_group;
  if (m->defaults_file == NULL && group == NULL) return true;
  if (group == NULL) group = "client";
  return mysql_options(c, MYSQL_READ_DEFAULT_GROUP, group) == 0 &&
         (m->defaults_file == NULL ||
          mysql_options(c, MYSQL_READ_DEFAULT_FILE, m->defaults_file) == 0);
}

/* None that hands the password over: not as it is, nor to whatever key a server
   says is its own, as MySQL's sha256_password and caching_sha2_password do. */
MYSQL *mariadb_new(const mariadb *m) {
  static const char logins[] =
      "mysql_native_password,client_ed25519,ed25519,auth_gssapi_client,"
      "unix_socket,parsec";
  const unsigned no = 0, seconds = m->connect_ms / 1000 + 1;
  const size_t most = TALK_ANSWER_MOST;
  MYSQL *c = mysql_init(NULL);
  if (c == NULL) return NULL;
  my_bool never = 0;
  if (mysql_options(c, MYSQL_OPT_NONBLOCK, NULL) != 0 ||
      mysql_options(c, MYSQL_OPT_LOCAL_INFILE, &no) != 0 ||
      mysql_options(c, MYSQL_OPT_RECONNECT, &never) != 0 ||
      mysql_options(c, MYSQL_OPT_CONNECT_TIMEOUT, &seconds) != 0 ||
      mysql_options(c, MYSQL_OPT_MAX_ALLOWED_PACKET, &most) != 0 ||
      mysql_options(c, MYSQL_SET_CHARSET_NAME, "utf8mb4") != 0 ||
      mysql_options(c, MARIADB_OPT_RESTRICTED_AUTH, logins) != 0 ||
      !read_defaults(c, m)) {
    mysql_close(c);
    return NULL;
  }
  mysql_set_local_infile_handler(c, no_file, no_bytes, no_end, why_no_file,
                                 NULL);
  return c;
}

typedef struct fetching {
  saros_op *op;
  int64_t until;
} fetching;

static bool is_stopped(void *argument) {
  const fetching *f = argument;
  return saros_op_cancelled(f->op) || talk_now() >= f->until;
}

/* 1: it has been let in, or not, as the connection says; else what mariadb_wait
   does not wait for. */
static int log_in(talk *t, mariadb *m, const char *secret, int64_t until) {
  MYSQL *done;
  int s = mysql_real_connect_start(&done, m->conn, m->host, m->user, secret,
                                   m->database, m->port, m->socket, 0);
  while (s != 0) {
    talk_socket(t, (int)mysql_get_socket(m->conn));
    s = mariadb_wait(t, m->conn, s, until, true);
    if (s < 0) return s;
    s = mysql_real_connect_cont(&done, m->conn, s);
  }
  return 1;
}

static void refused(talk *t, mariadb *m, int r, talk_trouble *trouble) {
  if (r == MARIADB_STOPPED) {
    trouble->code = SAROS_E_CANCELLED;
  } else if (r == MARIADB_LATE) {
    trouble->retryable = true;
    talk_fail(t, trouble, SAROS_E_TIMEOUT,
              "the server did not let us in within %.1f seconds; see whether "
              "it lives, or wait longer (connect_timeout)",
              m->connect_ms / 1e3);
  } else {
    mariadb_fail(t, m->conn, trouble);
  }
}

bool mariadb_log_in(talk *t, mariadb *m, saros_op *op, talk_trouble *trouble) {
  password p;
  char why[300];
  if (m->conn != NULL) return true;
  if (m->lost) {
    trouble->retryable = true;
    talk_fail(t, trouble, SAROS_E_CLOSED,
              "the connection was lost before, and with it what the session "
              "held; open another one");
    return false;
  }
  saros_op_phase(op, "connecting");
  m->conn = mariadb_new(m);
  if (m->conn == NULL) {
    talk_fail(t, trouble, SAROS_E_OUTOFMEMORY, "there is not enough memory");
    return false;
  }
  fetching f = {.op = op, .until = talk_now() + m->connect_ms};
  bool given = password_is_given(&m->password);
  uint32_t code =
      given ? password_fetch(&p, &m->password, is_stopped, &f, why, sizeof why)
            : 0;
  int r = 1;
  if (code == 0) r = log_in(t, m, given ? p.text : NULL, f.until);
  if (given) password_wipe(&p);
  if (code == SAROS_E_CANCELLED || saros_op_cancelled(op))
    trouble->code = SAROS_E_CANCELLED;
  else if (code != 0)
    talk_fail(t, trouble, code, "no password: %s", why);
  else if (r != 1 || mysql_errno(m->conn) != 0)
    refused(t, m, r, trouble);
  if (trouble->code != 0) {
    mariadb_drop(t, m, true);
    return false;
  }
  talk_socket(t, (int)mysql_get_socket(m->conn));
  saros_op_phase(op, "asking");
  return true;
}


/* ------------------------------------------------------------------
** The driver
** ---------------------------------------------------------------- */

/* Its goodbye is a few bytes; but whoever is stuck in the middle of something
   takes none. */
static void leave(talk *t, void *self) {
  mariadb *m = self;
  if (m->conn != NULL) mariadb_drop(t, m, false);
  mysql_thread_end();
}

static void release(void *self) {
  mariadb *m = self;
  if (m->conn != NULL) mysql_close(m->conn);
  free(m->socket);
  free(m->host);
  free(m->user);
  free(m->database);
  free(m->defaults_file);
  free(m->defaults_group);
  password_source_free(&m->password);
  free(m);
}

static const talk_driver driver = {
    .query = TALK_KIND("mariadb.query", SAROS_CANCELLABLE),
    .exec = TALK_KIND("mariadb.exec", SAROS_CANCELLABLE),
    .close = TALK_KIND("mariadb.close", 0),
    .perform = mariadb_perform,
    .leave = leave,
    .release = release};

/* What may be shown of it. */
static void describe(const mariadb_options *o, char *to, size_t size) {
  const struct {
    const char *name, *text;
  } parts[] = {{"socket", o->socket},
               {"host", o->host},
               {"user", o->user},
               {"database", o->database},
               {"defaults_file", o->defaults_file}};
  size_t at = (size_t)snprintf(to, size, "MariaDB");
  for (size_t i = 0; i < sizeof parts / sizeof *parts && at < size; i++) {
    if (parts[i].text == NULL) continue;
    int n = snprintf(to + at, size - at, " %s=%.100s", parts[i].name,
                     parts[i].text);
    if (n > 0) at += (size_t)n;
  }
}

/* Its own beginning knows no threads; and it may have SIGPIPE ignored, which is
   the host's to say. */
static void begin_library(void) {
  struct sigaction before;
  bool known = sigaction(SIGPIPE, NULL, &before) == 0;
  mysql_server_init(0, NULL, NULL);
  if (known) sigaction(SIGPIPE, &before, NULL);
}

static bool keep(char **to, const char *text) {
  *to = text != NULL ? strdup(text) : NULL;
  return text == NULL || *to != NULL;
}

talk *mariadb_open(const mariadb_options *o) {
  char label[700];
  static const password_source none;
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, begin_library);
  describe(o, label, sizeof label);
  mariadb *m = calloc(1, sizeof *m);
  if (m == NULL) return NULL;
  m->port = o->port;
  m->connect_ms = o->connect_ms;
  if (password_source_copy(&m->password,
                           o->password != NULL ? o->password : &none) &&
      keep(&m->socket, o->socket) && keep(&m->host, o->host) &&
      keep(&m->user, o->user) && keep(&m->database, o->database) &&
      keep(&m->defaults_file, o->defaults_file) &&
      keep(&m->defaults_group, o->defaults_group))
    return talk_new(&driver, m, label);
  release(m);
  return NULL;
}
