/*
** The writer's end of the wire: a socket, and a machine that accepts. Each
** connection is a guest, with a machine of its own (wire_guest.c).
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/wire_parts.h"

#define GUESTS_MOST 32
#define PAUSE_NS 100000000ull


/* ------------------------------------------------------------------
** The servers of this process
** ---------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static wire_server *servers;

/* The list is whole at the instant of a fork. What the child finds in it is
   its parent's: left out by its generation. */
static void before_fork(void) {
  pthread_mutex_lock(&lock);
}

static void after_fork(void) {
  pthread_mutex_unlock(&lock);
}

static void prepare(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
}

static void list_put(wire_server *s) {
  pthread_once(&once, prepare);
  pthread_mutex_lock(&lock);
  s->next = servers;
  if (s->next != NULL) s->next->link = &s->next;
  s->link = &servers;
  servers = s;
  pthread_mutex_unlock(&lock);
}

static void list_take(wire_server *s) {
  pthread_mutex_lock(&lock);
  if (s->link != NULL) {
    *s->link = s->next;
    if (s->next != NULL) s->next->link = s->link;
    s->link = NULL;
  }
  pthread_mutex_unlock(&lock);
}

bool wire_is_ours(dev_t dev, ino_t ino) {
  bool ours = false;
  pthread_mutex_lock(&lock);
  for (const wire_server *s = servers; s != NULL; s = s->next)
    ours |= s->generation == fork_generation && s->dev == dev && s->ino == ino;
  pthread_mutex_unlock(&lock);
  return ours;
}


/* ------------------------------------------------------------------
** Accepting
** ---------------------------------------------------------------- */

static bool is_believed(int fd) {
  uid_t uid = (uid_t)-1;
  pid_t pid = 0;
  if (wire_peer(fd, &uid, &pid) == 0 && wire_believes(uid)) return true;
  char who[WIRE_WHO];
  log_write(LOG_WARNING, "vss", "%s wanted to talk to a writer: refused",
            wire_who(pid, uid, who));
  return false;
}

static void welcome(wire_server *s, int fd) {
  if (s->guest_count >= GUESTS_MOST)
    log_write(LOG_WARNING, "vss",
              "writer %s has %d sessions connected: another one is refused",
              s->w->id, GUESTS_MOST);
  else if (is_believed(fd) && wire_guest_begin(s, fd))
    return;
  fd_close(&fd);
}

/* 0, or an errno after which it is tried again in a while. */
static int accept_some(wire_server *s) {
  for (int i = 0; i < 16; i++) {
    int fd = fd_accept(s->fd);
    if (fd >= 0)
      welcome(s, fd);
    else if (errno == EAGAIN)
      return 0;
    else if (errno != EINTR && errno != ECONNABORTED)
      return errno;
  }
  return 0;
}

static step_result close_server(wire_server *s) {
  source_drop(&s->s);
  fd_close(&s->fd);
  machine_clock_set(&s->clock, &s->m, UINT64_MAX);
  wire_guests_end(s);
  machine_finish(&s->m, SAROS_S_OK, NULL);
  return STEP_END;
}

static step_result step(machine *m) {
  wire_server *s = (wire_server *)m;
  if (atomic_load(&s->closing)) return close_server(s);
  int r = accept_some(s);
  s->s.m = m;
  if (r == 0) r = source_arm(&s->s, s->fd, EPOLLIN);
  if (r != 0)
    log_write(LOG_WARNING, "vss", "writer %s cannot accept a session: %s",
              s->w->id, strerrordesc_np(r));
  machine_clock_set(&s->clock, m,
                    r != 0 ? engine_clock() + PAUSE_NS : UINT64_MAX);
  return STEP_WAIT;
}

static void release(void *self) {
  wire_server *s = self;
  if (s->generation != fork_generation) s->fd = s->place.fd = -1;
  fd_close(&s->fd);
  wire_place_close(&s->place);
  writer_unref(s->w);
  mem_free(s);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.writer_server",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_NO_ESTIMATE,
                                .release = release};


/* ------------------------------------------------------------------
** The socket
** ---------------------------------------------------------------- */

static error *no_socket(const wire_server *s, int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "no socket for other processes to reach a writer by",
                        s->place.directory);
}

/* Under a name that nobody looks at, so that the socket listens, and is of
   the right mode, from the instant that it can be found. */
static int bind_aside(wire_server *s, char aside[WIRE_NAME]) {
  struct sockaddr_un at;
  struct stat is;
  if (!wire_aside(aside)) return errno;
  int r = wire_address(s->place.directory, s->place.fd, aside, &at);
  if (r != 0) return r;
  if (bind(s->fd, (const struct sockaddr *)&at, sizeof at) != 0) return errno;
  if (fchmodat(s->place.fd, aside, 0600, 0) != 0 || listen(s->fd, 64) != 0 ||
      fstatat(s->place.fd, aside, &is, AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  s->dev = is.st_dev;
  s->ino = is.st_ino;
  return 0;
}

static error *taken(const wire_server *s) {
  return vss_error(VSS_E_WRITER_ALREADY_SUBSCRIBED,
                   "another process serves writer %s, instance %s, at %s/%s",
                   s->w->id, s->w->instance, s->place.directory, s->name);
}

/* To its place; what is dead there makes room. */
static error *show(wire_server *s, const char *aside) {
  for (int i = 0; i < 3; i++) {
    if (renameat2(s->place.fd, aside, s->place.fd, s->name, RENAME_NOREPLACE) ==
        0)
      return NULL;
    if (errno != EEXIST) return no_socket(s, errno);
    if (!wire_is_dead(&s->place, s->name) ||
        !wire_remove_dead(&s->place, s->name))
      return taken(s);
  }
  return taken(s);
}

static error *make_socket(wire_server *s) {
  char aside[WIRE_NAME] = "";
  if (strcmp(s->w->id, s->w->instance) == 0)
    snprintf(s->name, sizeof s->name, "%s.sock", s->w->id);
  else
    snprintf(s->name, sizeof s->name, "%s.%s.sock", s->w->id, s->w->instance);
  s->fd = fd_socket(AF_UNIX, SOCK_STREAM);
  if (s->fd < 0) return no_socket(s, errno);
  int r = bind_aside(s, aside);
  error *e = r != 0 ? no_socket(s, r) : NULL;
  if (e == NULL) list_put(s); /* before anybody can find it */
  if (e == NULL) e = show(s, aside);
  if (e != NULL && s->ino != 0) unlinkat(s->place.fd, aside, 0);
  return e;
}

/* Only if it is still ours. */
static void remove_socket(const wire_server *s) {
  struct stat is;
  if (fstatat(s->place.fd, s->name, &is, AT_SYMLINK_NOFOLLOW) == 0 &&
      is.st_dev == s->dev && is.st_ino == s->ino)
    unlinkat(s->place.fd, s->name, 0);
}


/* ------------------------------------------------------------------
** Beginning and end
** ---------------------------------------------------------------- */

static wire_server *make(writer *w) {
  wire_server *s = mem_zero(sizeof *s);
  if (s == NULL) return NULL;
  s->generation = fork_generation;
  s->m.step = step;
  s->fd = s->place.fd = -1;
  s->w = writer_ref(w);
  return s;
}

static error *not_begun(uint32_t code) {
  if (code == SAROS_E_OUTOFMEMORY) return error_no_memory();
  return vss_error(code, "no engine to serve a writer with");
}

static error *begin(wire_server *s) {
  uint32_t why;
  saros_op *op = op_create(&kind, s, 0, NULL, &why);
  if (op == NULL) return not_begun(why);
  s->m.op = op;
  why = op_begin(op, SAROS_RUNNING);
  return why == 0 ? NULL : not_begun(why);
}

wire_server *wire_listen(const char *directory, writer *w, error **e) {
  wire_server *s = make(w);
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  *e = wire_place_open(directory, &s->place);
  if (*e == NULL) *e = make_socket(s);
  if (*e == NULL) *e = begin(s);
  if (*e == NULL) {
    machine_wake(&s->m);
    return s;
  }
  if (s->link != NULL) remove_socket(s);
  list_take(s);
  if (s->m.op != NULL)
    saros_op_unref(s->m.op);
  else
    release(s);
  return NULL;
}

void wire_close(wire_server *s) {
  if (s == NULL) return;
  saros_op *op = s->m.op;
  list_take(s);
  if (s->generation == fork_generation) {
    remove_socket(s);
    atomic_store(&s->closing, true);
    machine_wake(&s->m);
  } else if (!s->m.ended) {
    saros_op_unref(op); /* the work's own, which nobody does here */
  }
  saros_op_unref(op);
}
