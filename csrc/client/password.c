/*
** The program that prints a password has no input and none of our descriptors
** but its standard error, where it may complain; it is the head of a process
** group, which dies with its last word.
*/
#include "client/password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "saros.h"

enum { TICK = 50 }; /* ms between two looks at whether to stop */

typedef struct fetching {
  password *p;
  bool (*stopped)(void *);
  void *argument;
  char *why;
  size_t room;
} fetching;


/* ------------------------------------------------------------------
** Where from
** ---------------------------------------------------------------- */

static void wipe_text(char *text) {
  if (text != NULL) explicit_bzero(text, strlen(text));
  free(text);
}

void password_source_free(password_source *s) {
  free(s->file);
  wipe_text(s->text);
  for (char **word = s->command; word != NULL && *word != NULL; word++)
    free(*word);
  free(s->command);
  memset(s, 0, sizeof *s);
}

static bool copy_words(password_source *to, const password_source *from) {
  size_t count = 0;
  while (from->command[count] != NULL) count++;
  to->command = calloc(count + 1, sizeof *to->command);
  if (to->command == NULL) return false;
  for (size_t i = 0; i < count; i++) {
    to->command[i] = strdup(from->command[i]);
    if (to->command[i] == NULL) return false;
  }
  return true;
}

bool password_source_copy(password_source *to, const password_source *from) {
  memset(to, 0, sizeof *to);
  if (from->file != NULL) to->file = strdup(from->file);
  if (from->text != NULL) to->text = strdup(from->text);
  bool good = (from->file == NULL || to->file != NULL) &&
              (from->text == NULL || to->text != NULL) &&
              (from->command == NULL || copy_words(to, from));
  if (!good) password_source_free(to);
  return good;
}

bool password_is_given(const password_source *s) {
  return s->file != NULL || s->text != NULL || s->command != NULL;
}

void password_wipe(password *p) {
  explicit_bzero(p, sizeof *p);
}


/* ------------------------------------------------------------------
** Fetching
** ---------------------------------------------------------------- */

static uint32_t fail(fetching *f, uint32_t code, const char *what, int number) {
  snprintf(f->why, f->room, "%s%s%s", what, number != 0 ? ": " : "",
           number != 0 ? strerror(number) : "");
  return code;
}

static uint32_t too_long(fetching *f) {
  return fail(f, SAROS_E_INVALIDARG, "a password is at most 4096 bytes long",
              0);
}

/* One more piece from `fd`: 0, and *end at its end. */
static uint32_t take(fetching *f, int fd, bool *end) {
  char more;
  bool full = f->p->size == PASSWORD_MOST;
  ssize_t got =
      full ? read(fd, &more, 1)
           : read(fd, f->p->text + f->p->size, PASSWORD_MOST - f->p->size);
  if (got > 0 && full) return too_long(f);
  if (got > 0) f->p->size += (size_t)got;
  *end = got == 0;
  if (got < 0 && errno != EINTR && errno != EAGAIN)
    return fail(f, SAROS_E_FAIL, "the password cannot be read", errno);
  return 0;
}

static uint32_t from_file(fetching *f, const char *path) {
  char text[300];
  /* NONBLOCK: a fifo without a writer would be waited for. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    snprintf(text, sizeof text, "the password file %s cannot be opened", path);
    return fail(
        f,
        errno == EACCES || errno == EPERM ? SAROS_E_ACCESSDENIED : SAROS_E_FAIL,
        text, errno);
  }
  uint32_t code = 0;
  bool end = false;
  while (code == 0 && !end) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (f->stopped(f->argument))
      code = SAROS_E_CANCELLED;
    else if (poll(&ready, 1, TICK) > 0)
      code = take(f, fd, &end);
  }
  close(fd);
  return code;
}

/* 0 or errno. */
static int start(pid_t *pid, char *const argv[], int out) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  int number = posix_spawn_file_actions_init(&files);
  if (number != 0) return number;
  number = posix_spawnattr_init(&attributes);
  if (number == 0) {
    number = posix_spawn_file_actions_adddup2(&files, out, 1);
    if (number == 0)
      number =
          posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    if (number == 0)
      number = posix_spawn_file_actions_addclosefrom_np(&files, 3);
#endif
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF |
                                              POSIX_SPAWN_SETPGROUP);
    if (number == 0)
      number = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&files);
  return number;
}

/* Reads until the program is over, or closes its output. What it has started
   may hold that open for longer: so the program itself is looked at, too. */
static uint32_t listen_to(fetching *f, pid_t pid, int fd) {
  bool end = false;
  for (;;) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    siginfo_t info = {0};
    if (f->stopped(f->argument)) return SAROS_E_CANCELLED;
    bool some = !end && poll(&ready, 1, TICK) > 0;
    if (some) {
      uint32_t code = take(f, fd, &end);
      if (code != 0) return code;
      continue;
    }
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
      return errno == EINTR ? 0 : SAROS_E_STOLEN;
    if (info.si_pid == pid) return 0;
    if (end) nanosleep(&(struct timespec){0, 5000000}, NULL);
  }
}

static uint32_t from_command(fetching *f, char *const argv[]) {
  int ends[2], status = 0;
  pid_t pid = -1;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return fail(f, SAROS_E_FAIL, "there is no pipe for the password", errno);
  int number = start(&pid, argv, ends[1]);
  close(ends[1]);
  if (number != 0) {
    close(ends[0]);
    return fail(f, SAROS_E_FAIL, "the password command cannot be started",
                number);
  }
  uint32_t code = listen_to(f, pid, ends[0]);
  close(ends[0]);
  if (code == SAROS_E_STOLEN)
    return fail(f, code, "somebody else reaped the password command", 0);
  kill(-pid, SIGKILL); /* it is not reaped yet: so the number is ours */
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (code != 0) return code;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  return fail(f, SAROS_E_EXIT,
              "the password command failed; run it by hand to see why", 0);
}

uint32_t password_fetch(password *p, const password_source *s,
                        bool (*stopped)(void *), void *argument, char *why,
                        size_t room) {
  fetching f = {p, stopped, argument, why, room};
  uint32_t code = 0;
  p->size = 0;
  if (s->text != NULL) {
    p->size = strlen(s->text);
    if (p->size > PASSWORD_MOST) return too_long(&f);
    memcpy(p->text, s->text, p->size);
  } else if (s->file != NULL) {
    code = from_file(&f, s->file);
  } else if (s->command != NULL) {
    code = from_command(&f, s->command);
  }
  if (code != 0) return code;
  while (s->text == NULL && p->size > 0 &&
         (p->text[p->size - 1] == '\n' || p->text[p->size - 1] == '\r'))
    p->size--;
  p->text[p->size] = '\0';
  if (p->size == 0 || strlen(p->text) != p->size)
    return fail(&f, SAROS_E_INVALIDARG,
                p->size == 0 ? "the password is empty"
                             : "the password has a NUL byte in it",
                0);
  return 0;
}
