/*
** The thread of a connection: it connects, logs in, sends what was asked and
** reads what is answered. It never sleeps but in poll, where it can be woken:
** a server that hangs hangs nobody.
*/
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/redis_parts.h"

#define NEVER INT64_MAX

/* One question, while it is worked on. */
typedef struct talk {
  redis *c;
  item *it;
  int64_t deadline; /* monotonic ms, of the beginning */
  trouble t;
} talk;

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}


/* ------------------------------------------------------------------
** What goes wrong. Each returns false.
** ---------------------------------------------------------------- */

static bool fail(talk *k, uint32_t code, bool retryable, const char *what,
                 const char *why) {
  k->t.code = code;
  k->t.retryable = retryable;
  snprintf(k->t.text, sizeof k->t.text, "%s: %s%s%s", k->c->place, what,
           *why != '\0' ? ": " : "", why);
  return false;
}

static bool cancelled(talk *k) {
  k->t.code = SAROS_E_CANCELLED;
  return false;
}

/* The connection is of no use any more. */
static void hang_up(redis *c) {
  if (c->fd >= 0) close(c->fd);
  resp_free(&c->reader);
  pthread_mutex_lock(&c->lock);
  c->fd = -1;
  pthread_mutex_unlock(&c->lock);
}

static void lose(redis *c) {
  pthread_mutex_lock(&c->lock);
  c->over = true;
  pthread_mutex_unlock(&c->lock);
  hang_up(c);
}

/* At its beginning it is not lost yet: the next one may try again. */
static bool drop(talk *k) {
  if (k->deadline == NEVER)
    lose(k->c);
  else
    hang_up(k->c);
  return false;
}

static bool lost(talk *k, int number) {
  k->t.number = number;
  return fail(k, SAROS_E_CLOSED, true, "the connection was lost",
              number != 0 ? strerror(number) : "the server closed it");
}

static bool unreachable(talk *k, int number) {
  bool denied = number == EACCES || number == EPERM;
  k->t.number = number;
  return fail(k, denied ? SAROS_E_ACCESSDENIED : SAROS_E_FAIL, !denied,
              "cannot connect (does the server run, and is it there?)",
              strerror(number));
}

static bool begins(const char *text, const char *word) {
  return strncmp(text, word, strlen(word)) == 0;
}

/* The server says no; its first word says why. */
static bool refused(talk *k, const char *text) {
  static const struct {
    const char *begin;
    uint32_t code;
    bool retryable;
    const char *advice;
  } known[] = {{"NOAUTH", SAROS_E_ACCESSDENIED, false, "give it a password"},
               {"WRONGPASS", SAROS_E_ACCESSDENIED, false,
                "look at the user and the password"},
               {"NOPERM", SAROS_E_ACCESSDENIED, false,
                "its administrator grants that with ACL SETUSER"},
               {"DENIED", SAROS_E_ACCESSDENIED, false, ""},
               {"ERR invalid password", SAROS_E_ACCESSDENIED, false, ""},
               {"ERR max number of clients", SAROS_E_FAIL, true,
                "try again, or raise maxclients"},
               {"LOADING", SAROS_E_FAIL, true, "try again when it has"},
               {"BUSY", SAROS_E_FAIL, true, ""},
               {"MASTERDOWN", SAROS_E_FAIL, true, ""},
               {"TRYAGAIN", SAROS_E_FAIL, true, ""},
               {"CLUSTERDOWN", SAROS_E_FAIL, true, ""}};
  snprintf(k->t.server, sizeof k->t.server, "%s", text);
  for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++)
    if (begins(text, known[i].begin))
      return fail(k, known[i].code, known[i].retryable, text, known[i].advice);
  return fail(k, SAROS_E_FAIL, false, text, "");
}


/* ------------------------------------------------------------------
** Waiting
** ---------------------------------------------------------------- */

static void slept(redis *c) {
  uint64_t times;
  ssize_t n = read(c->wake, &times, sizeof times);
  (void)n;
}

/* Until the socket is ready for what is asked, or for at most `most` ms; true:
   there may be something. */
static bool await(talk *k, int fd, short events, int64_t most) {
  for (;;) {
    if (saros_op_cancelled(k->it->op)) return cancelled(k);
    int64_t left = k->deadline - now_ms();
    if (left <= 0)
      return fail(k, SAROS_E_TIMEOUT, true,
                  "the server let nobody in within connect_timeout", "");
    if (left > most) left = most;
    struct pollfd p[2] = {{.fd = k->c->wake, .events = POLLIN},
                          {.fd = fd, .events = events}};
    int n = poll(p, 2, left < 60000 ? (int)left : 60000);
    if (p[0].revents != 0) slept(k->c);
    if (n > 0 && p[1].revents != 0) return true;
    if (n == 0 && most < 60000) return true;
  }
}


/* ------------------------------------------------------------------
** Connecting
** ---------------------------------------------------------------- */

static bool connect_unix(talk *k) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  size_t size = strlen(k->c->socket);
  if (size >= sizeof a.sun_path) return unreachable(k, ENAMETOOLONG);
  memcpy(a.sun_path, k->c->socket, size);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return unreachable(k, errno);
  /* EAGAIN: too many stand at its door, and nothing tells when to knock. */
  while (connect(fd, (const struct sockaddr *)&a, sizeof a) != 0) {
    int number = errno;
    if (number == EINTR) continue;
    if (number == EAGAIN && await(k, -1, 0, 10)) continue;
    close(fd);
    return number == EAGAIN ? false : unreachable(k, number);
  }
  k->c->fd = fd;
  return true;
}

static bool connect_to(talk *k, const struct addrinfo *a) {
  int one = 1, number = 0;
  socklen_t size = sizeof number;
  int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  a->ai_protocol);
  if (fd < 0) return unreachable(k, errno);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
    number = errno;
    if (number == EINPROGRESS) {
      if (!await(k, fd, POLLOUT, NEVER)) {
        close(fd);
        return false;
      }
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size);
    }
  }
  if (number != 0) {
    close(fd);
    return unreachable(k, number);
  }
  k->c->fd = fd;
  return true;
}

/* -1: what was worked on was cancelled, and is gone. */
static int connect_tcp(talk *k) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
  redis_resolves(k->c);
  int r = getaddrinfo(k->c->host, k->c->port, &hints, &list);
  if (!redis_resolved(k->c)) {
    if (r == 0) freeaddrinfo(list);
    return -1;
  }
  if (r != 0)
    return fail(k, SAROS_E_FAIL, r == EAI_AGAIN, "its address cannot be found",
                gai_strerror(r));
  bool good = false;
  for (const struct addrinfo *a = list; a != NULL && !good; a = a->ai_next) {
    good = connect_to(k, a);
    if (k->t.code == SAROS_E_CANCELLED || k->t.code == SAROS_E_TIMEOUT) break;
  }
  freeaddrinfo(list);
  return good;
}


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

/* Reads what is there; false: no more can come. */
static bool receive(talk *k) {
  redis *c = k->c;
  size_t room;
  char *at = resp_room(&c->reader, &room);
  if (at == NULL)
    return fail(k, SAROS_E_OUTOFMEMORY, false, "no memory for its answer", "");
  ssize_t n = recv(c->fd, at, room, 0);
  if (n > 0) {
    resp_got(&c->reader, (size_t)n);
    return true;
  }
  if (n == 0) return lost(k, 0);
  return errno == EAGAIN || errno == EINTR || lost(k, errno);
}

/* What has come, if that is a whole answer. */
static resp_state answer(talk *k) {
  resp *r = &k->c->reader;
  resp_state state = resp_next(r);
  switch (state) {
    case RESP_ERROR: refused(k, r->text); break;
    case RESP_BROKEN:
      fail(k, SAROS_E_DAMAGED, false, "what came is no answer", r->text);
      break;
    case RESP_NO_MEMORY:
      fail(k, SAROS_E_OUTOFMEMORY, false, "no memory for its answer", "");
      break;
    default: break;
  }
  return state;
}

/* What is answered that nobody asked would be taken for the next answer. */
static bool is_quiet(talk *k) {
  resp_state state = answer(k);
  if (state == RESP_MORE) return true;
  return fail(k, SAROS_E_DAMAGED, false,
              "there are more answers than questions", "");
}

/* Sends and waits for the answer: its value is in the reader. A server that
   hangs up may have said why before. */
static bool ask(talk *k, const char *bytes, size_t size) {
  redis *c = k->c;
  size_t sent = 0;
  bool deaf = false; /* it does not take any more */
  if (!is_quiet(k)) return drop(k);
  for (;;) {
    while (!deaf && sent < size) {
      ssize_t n = send(c->fd, bytes + sent, size - sent, MSG_NOSIGNAL);
      if (n >= 0) {
        sent += (size_t)n;
      } else if (errno == EAGAIN) {
        break;
      } else if (errno != EINTR) {
        deaf = true;
      }
    }
    resp_state state = answer(k);
    if (state == RESP_REPLY) return true;
    if (state == RESP_ERROR && sent == size) return false;
    if (state != RESP_MORE) return drop(k);
    short events = POLLIN;
    if (!deaf && sent < size) events |= POLLOUT;
    if (!await(k, c->fd, events, NEVER) || !receive(k)) return drop(k);
  }
}


/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

static bool stopped(void *argument) {
  talk *k = argument;
  return saros_op_cancelled(k->it->op) || now_ms() >= k->deadline;
}

static bool say_password(talk *k, const password *p) {
  char bytes[PASSWORD_MOST + 700];
  const char *user = k->c->user;
  int n =
      user != NULL
          ? snprintf(bytes, sizeof bytes,
                     "*3\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                     strlen(user), user, p->size, p->text)
          : snprintf(bytes, sizeof bytes, "*2\r\n$4\r\nAUTH\r\n$%zu\r\n%s\r\n",
                     p->size, p->text);
  bool good = n > 0 && (size_t)n < sizeof bytes && ask(k, bytes, (size_t)n);
  explicit_bzero(bytes, sizeof bytes);
  if (good && k->c->reader.value != NULL) {
    saros_value_free(k->c->reader.value);
    k->c->reader.value = NULL;
  }
  return good;
}

static bool log_in(talk *k) {
  password p = {.size = 0};
  char why[400] = "";
  if (!password_is_given(&k->c->password)) return true;
  uint32_t code =
      password_fetch(&p, &k->c->password, stopped, k, why, sizeof why);
  bool good = code == 0 && say_password(k, &p);
  password_wipe(&p);
  if (code == 0) return good;
  if (saros_op_cancelled(k->it->op)) return cancelled(k);
  if (code == SAROS_E_CANCELLED)
    return fail(k, SAROS_E_TIMEOUT, true,
                "its password was not to be had within connect_timeout", "");
  return fail(k, code, false, "no password", why);
}

/* A beginning that failed can be tried again by the next one. */
static bool begin(talk *k, bool *gone) {
  redis *c = k->c;
  int good;
  if (c->fd >= 0) return true;
  k->deadline = now_ms() + c->connect_ms;
  good = c->socket != NULL ? connect_unix(k) : connect_tcp(k);
  *gone = good < 0;
  if (good > 0) good = log_in(k);
  if (good > 0) {
    k->deadline = NEVER;
    return true;
  }
  hang_up(c);
  return false;
}

static void perform(redis *c, item *it) {
  talk k = {.c = c, .it = it, .deadline = NEVER};
  bool gone = false;
  if (saros_op_cancelled(it->op)) {
    cancelled(&k);
  } else if (it->closes) {
    hang_up(c);
  } else if (c->over) {
    lost(&k, 0);
  } else if (begin(&k, &gone) && ask(&k, it->bytes, it->size)) {
    if (c->reader.value != NULL) saros_op_output(it->op, c->reader.value);
    c->reader.value = NULL;
  }
  if (!gone) redis_end(c, it, &k.t);
}

/* Nothing is asked: the server may hang up, or say what nobody asked for. */
static void idle(redis *c) {
  talk k = {.c = c};
  if (!is_quiet(&k)) {
    lose(c);
    return;
  }
  struct pollfd p[2] = {{.fd = c->wake, .events = POLLIN},
                        {.fd = c->fd, .events = POLLIN}};
  if (poll(p, 2, -1) <= 0) return;
  if (p[0].revents != 0) slept(c);
  if (p[1].revents == 0) return;
  if (!receive(&k) || !is_quiet(&k)) lose(c);
}

void *redis_live(void *connection) {
  redis *c = connection;
  item *it;
  for (;;) {
    while ((it = redis_take(c)) != NULL) perform(c, it);
    if (redis_leave(c)) break;
    if (c->fd >= 0) idle(c);
  }
  redis_unref(c);
  return NULL;
}
