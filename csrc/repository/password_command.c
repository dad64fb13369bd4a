/*
** password_command: a program that prints the password. It has no input and
** none of our descriptors but its standard error, where it may complain; it is
** the head of a process group, which dies with its last word.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "repository/crypto.h"
#include "repository/password_parts.h"

enum { TICK = 100 }; /* ms between two looks at `stop` */


/* ------------------------------------------------------------------
** Starting
** ---------------------------------------------------------------- */

static int set_attributes(posix_spawnattr_t *a) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(a, &none);
  posix_spawnattr_setsigdefault(a, &all);
  posix_spawnattr_setpgroup(a, 0);
  return posix_spawnattr_setflags(a, POSIX_SPAWN_SETSIGMASK |
                                         POSIX_SPAWN_SETSIGDEF |
                                         POSIX_SPAWN_SETPGROUP);
}


static int set_files(posix_spawn_file_actions_t *f, int out) {
  int number = posix_spawn_file_actions_adddup2(f, out, 1);
  if (number == 0)
    number = posix_spawn_file_actions_addopen(f, 0, "/dev/null", O_RDONLY, 0);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
  /* The host may have descriptors that are not close-on-exec. */
  if (number == 0) number = posix_spawn_file_actions_addclosefrom_np(f, 3);
#endif
  return number;
}


/* 0 or errno. */
static int start(pid_t *pid, const char *const argv[], int out) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  int number = posix_spawn_file_actions_init(&files);
  if (number != 0) return number;
  number = posix_spawnattr_init(&attributes);
  if (number == 0) {
    number = set_files(&files, out);
    if (number == 0) number = set_attributes(&attributes);
    /* exec does not change what it is given, only C's types say it might. */
    if (number == 0)
      number = posix_spawnp(pid, argv[0], &files, &attributes,
                            (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attributes);
  }
  posix_spawn_file_actions_destroy(&files);
  return number;
}


/* A pipe whose ends are none of 0, 1 and 2, which the child is given. */
static error *make_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) == 0) {
    bool good = true;
    for (int i = 0; i < 2; i++) {
      if (ends[i] > 2) continue;
      int other = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
      close(ends[i]);
      ends[i] = other;
      good = good && other >= 0;
    }
    if (good) return NULL;
    int number = errno;
    for (int i = 0; i < 2; i++)
      if (ends[i] >= 0) close(ends[i]);
    errno = number;
  }
  return error_of_errno(SAROS_FACADE_SAROS, errno,
                        "there is no pipe to read the password from", NULL);
}


/* ------------------------------------------------------------------
** Its end
** ---------------------------------------------------------------- */

static error *cancelled(void) {
  return repo_error(SAROS_E_CANCELLED, "the password command was cancelled");
}


/* Whether it has come to its end, or was stopped, which is an error. It is not
   reaped: until then nobody else can have its number, or its group's. */
static error *look(pid_t pid, bool *over) {
  siginfo_t info = {0};
  *over = false;
  if (waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) <
      0)
    return errno == EINTR ? NULL
                          : repo_error(SAROS_E_STOLEN,
                                       "somebody else reaped the password "
                                       "command; how it ended is not known");
  if (info.si_pid != pid) return NULL;
  *over = info.si_code != CLD_STOPPED;
  if (*over) return NULL;
  return repo_error(SAROS_E_FAIL,
                    "the password command was stopped; it must not ask at "
                    "the terminal, which is not its own");
}


/* Looks every TICK at `stop` and at the program, until there is something to
   read. What the program has started may still write when it is over. */
static error *await_output(pid_t pid, int fd, const repo_stop *stop) {
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool over;
    if (repo_stopped(stop)) return cancelled();
    int n = poll(&p, 1, TICK);
    if (n > 0) return NULL;
    if (n < 0 && errno != EINTR)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "the password command cannot be waited for", NULL);
    error *e = look(pid, &over);
    if (e != NULL) return e;
  }
}


static error *collect(repo_password *p, pid_t pid, int fd,
                      const repo_stop *stop) {
  for (;;) {
    char more;
    bool full = p->size == REPO_PASSWORD_MOST;
    error *e = await_output(pid, fd, stop);
    if (e != NULL) return e;
    ssize_t got =
        full ? read(fd, &more, 1)
             : read(fd, p->text + p->size, REPO_PASSWORD_MOST - p->size);
    if (got == 0) return NULL;
    if (got > 0 && full) return password_too_long("that the command printed");
    if (got > 0) p->size += (size_t)got;
    if (got < 0 && errno != EINTR)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "the password command cannot be read from", NULL);
  }
}


static error *await_end(pid_t pid, const repo_stop *stop) {
  for (;;) {
    bool over;
    struct timespec little = {0, 5 * 1000 * 1000};
    if (repo_stopped(stop)) return cancelled();
    error *e = look(pid, &over);
    if (e != NULL || over) return e;
    nanosleep(&little, NULL);
  }
}


static error *judge(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return NULL;
  if (WIFEXITED(status))
    return repo_error(SAROS_E_EXIT,
                      "the password command ended with status %d; run it by "
                      "hand to see why",
                      WEXITSTATUS(status));
  return repo_error(SAROS_E_SIGNAL,
                    "the password command was killed by signal %d",
                    WTERMSIG(status));
}


error *password_run(repo_password *p, const char *const argv[],
                    const repo_stop *stop) {
  int ends[2], status = 0;
  pid_t pid = -1;
  error *e = make_pipe(ends);
  if (e != NULL) return e;
  int number = start(&pid, argv, ends[1]);
  close(ends[1]);
  if (number != 0) {
    close(ends[0]);
    return error_of_errno(SAROS_FACADE_SAROS, number,
                          "the password command cannot be started", NULL);
  }
  e = collect(p, pid, ends[0], stop);
  close(ends[0]);
  if (e == NULL) e = await_end(pid, stop);
  if (e != NULL && e->code == SAROS_E_STOLEN) return e;
  kill(-pid, SIGKILL); /* the whole group, as long as its number is ours */
  pid_t reaped;
  do reaped = waitpid(pid, &status, 0);
  while (reaped < 0 && errno == EINTR);
  if (e != NULL) return e;
  if (reaped == pid) return judge(status);
  return repo_error(SAROS_E_STOLEN,
                    "somebody else reaped the password command; how it ended "
                    "is not known");
}


/* ------------------------------------------------------------------
** A line as words
** ---------------------------------------------------------------- */

static bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}


/* Splits at white space, backslashes and quotes outside of quotes, exactly as
   restic does, its oddities included: a quote ends a word, too, and a
   backslash before a quote makes it an ordinary letter. */
value *repo_password_words(const char *line, error **e) {
  value *words = value_list();
  const char *start = NULL;
  char quote = '\0', last = '\0';
  bool good = words != NULL;
  for (const char *c = line; *c != '\0' && good; c++) {
    bool splits,
        bound = last != '\\' &&
                (quote != '\0' ? *c == quote : *c == '"' || *c == '\'');
    if (bound) {
      quote = quote != '\0' ? '\0' : *c;
      splits = true;
    } else {
      last = *c;
      splits = quote == '\0' && (*c == '\\' || is_space(*c));
    }
    if (splits && start != NULL) {
      good = value_add(words, value_string(start, (size_t)(c - start)));
      start = NULL;
    } else if (!splits && start == NULL) {
      start = c;
    }
  }
  if (good && start != NULL) good = value_add(words, value_text(start));
  if (good && quote == '\0' && words->count > 0) return words;
  *e = !good ? error_no_memory()
             : repo_error(SAROS_E_INVALIDARG,
                          quote != '\0'
                              ? "the password command has a quote that does "
                                "not end"
                              : "the password command is empty");
  value_free(words);
  return NULL;
}
