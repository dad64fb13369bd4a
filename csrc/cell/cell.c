/*
** cell: runs a program where it can do no harm. What was restored is started
** by settings that were made for production; they name its archive, its peers,
** its mail. In here there is no network, no other process, no socket of
** another, and nothing can be written to but the place.
**
**     cell --uid=N --gid=N [--write=DIR] … [--hide=PATH] … [--cwd=DIR]
**          [--stop=SIGNAL] -- PROGRAM ARGUMENT …
**
** Three processes. The first stays outside, waits, passes on what it is asked
** (TERM becomes --stop) and ends as the program does. The second is the
** first of a new process namespace: when it ends, the kernel kills all that is
** in there, and it dies with the first. It alone has the rights that it takes
** to make the rest. The third becomes the program, with no rights at all.
**
** What cannot be had is an error with the name of the step, and status 125;
** no program runs in half a cell. The limits are those of the kernel: who
** finds a hole in that is out.
*/
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

noreturn void cell_refuse(const char *step, const char *why) {
  fprintf(stderr, "cell: cannot %s: %s\n", step, why);
  _exit(CELL_CANNOT);
}

noreturn void cell_fail(const char *step, const char *detail) {
  int number = errno;
  fprintf(stderr, "cell: cannot %s: %s: %s\n", step, detail, strerror(number));
  _exit(CELL_CANNOT);
}


/* What is asked for. */

static long number_of(const char *text) {
  char *end;
  errno = 0;
  long n = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || errno != 0 || n < 0)
    cell_refuse("read the options", "a number was expected");
  return n;
}

static int signal_of(const char *name) {
  static const struct {
    const char *name;
    int number;
  } known[] = {{"TERM", SIGTERM}, {"INT", SIGINT}, {"QUIT", SIGQUIT}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0) return known[i].number;
  cell_refuse("read the options", "--stop is TERM, INT or QUIT");
}

/* What is to be hidden and is not there is hidden. */
static void add(const char **list, int *count, const char *path,
                const char *what, bool needed) {
  if (*count == CELL_MOST) cell_refuse(what, "there are too many");
  char *real = realpath(path, NULL);
  if (real == NULL && errno == ENOENT && !needed) return;
  if (real == NULL)
    cell_fail(what, path);
  else if (strcmp(real, "/") == 0)
    cell_refuse(what, "that is everything");
  list[(*count)++] = real;
}

static const char *option(const char *word, const char *name) {
  size_t n = strlen(name);
  return strncmp(word, name, n) == 0 ? word + n : NULL;
}

/* Returns where the program's words begin. */
static char **read_options(cell_plan *plan, char **words) {
  long uid = -1, gid = -1;
  for (; *words != NULL && strcmp(*words, "--") != 0; words++) {
    const char *v;
    if ((v = option(*words, "--uid=")) != NULL)
      uid = number_of(v);
    else if ((v = option(*words, "--gid=")) != NULL)
      gid = number_of(v);
    else if ((v = option(*words, "--write=")) != NULL)
      add(plan->writable, &plan->writable_count, v, "find the place", true);
    else if ((v = option(*words, "--hide=")) != NULL)
      add(plan->hidden, &plan->hidden_count, v, "hide", false);
    else if ((v = option(*words, "--cwd=")) != NULL)
      plan->cwd = v;
    else if ((v = option(*words, "--stop=")) != NULL)
      plan->stop = signal_of(v);
    else
      cell_refuse("read the options", *words);
  }
  if (uid < 0 || gid < 0 || *words == NULL || words[1] == NULL)
    cell_refuse("read the options",
                "cell --uid=N --gid=N [--write=DIR] [--hide=PATH] [--cwd=DIR] "
                "[--stop=SIGNAL] -- PROGRAM …");
  plan->uid = (uid_t)uid;
  plan->gid = (gid_t)gid;
  return words + 1;
}


/* The program. */

static void drop_rights(const cell_plan *plan) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
  for (int i = 0; i < 64; i++)
    if (prctl(PR_CAPBSET_DROP, i, 0L, 0L, 0L) != 0 && errno != EINVAL)
      cell_fail("give up a capability", "PR_CAPBSET_DROP");
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0L, 0L, 0L) != 0)
    cell_fail("give up capabilities", "PR_CAP_AMBIENT");
  if (setgroups(1, &plan->gid) != 0) cell_fail("leave groups", "setgroups");
  if (setresgid(plan->gid, plan->gid, plan->gid) != 0)
    cell_fail("become the owner's group", "setresgid");
  if (setresuid(plan->uid, plan->uid, plan->uid) != 0)
    cell_fail("become the owner", "setresuid");
  if (syscall(SYS_capset, &head, none) != 0)
    cell_fail("give up capabilities", "capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0)
    cell_fail("renounce new rights", "PR_SET_NO_NEW_PRIVS");
}

/* 1 and not 0: a limit of 0 does not keep the kernel from handing a core to a
   program of the machine's, outside of here. */
static void limit(void) {
  struct rlimit one = {1, 1};
  if (setrlimit(RLIMIT_CORE, &one) != 0) cell_fail("limit cores", "setrlimit");
}

static noreturn void become(const cell_plan *plan, char **words) {
  sigset_t none;
  setsid();
  limit();
  umask(077);
  drop_rights(plan);
  if (plan->cwd != NULL && chdir(plan->cwd) != 0)
    cell_fail("enter the directory", plan->cwd);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  execvp(words[0], words);
  int number = errno;
  fprintf(stderr, "cell: cannot start %s: %s\n", words[0], strerror(number));
  _exit(number == ENOENT ? CELL_NO_PROGRAM : CELL_CANNOT);
}


/* The first of its namespace. */

static void loopback_up(void) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, "lo");
  int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (s < 0) cell_fail("ask for a network", "lo");
  if (ioctl(s, SIOCGIFFLAGS, &request) != 0)
    cell_fail("ask for a network", "lo");
  request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
  if (ioctl(s, SIOCSIFFLAGS, &request) != 0)
    cell_fail("bring up a network of its own", "lo");
  close(s);
}

static sigset_t passed_on(void) {
  sigset_t all;
  sigemptyset(&all);
  sigaddset(&all, SIGTERM);
  sigaddset(&all, SIGINT);
  sigaddset(&all, SIGQUIT);
  sigaddset(&all, SIGHUP);
  sigaddset(&all, SIGCHLD);
  return all;
}

/* Waits for `child`, and tells it what we are told; its status. */
static int attend(pid_t child) {
  sigset_t all = passed_on();
  int status = 0;
  for (;;) {
    pid_t gone;
    while ((gone = waitpid(-1, &status, WNOHANG)) > 0)
      if (gone == child) return status;
    int told = sigwaitinfo(&all, NULL);
    if (told > 0 && told != SIGCHLD) kill(child, told);
  }
}

/* As the program ended: 128 + n tells of a signal what cannot be told else by
   the first of a namespace. */
static int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static noreturn void rule(const cell_plan *plan, int line, char **words) {
  /* The one outside may have died before the kernel knew what that means. */
  struct pollfd outside = {.fd = line, .events = POLLIN};
  prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L);
  if (poll(&outside, 1, 0) != 0) _exit(CELL_CANNOT);
  setsid(); /* a signal for the group outside is passed on, not doubled */
  world_make(plan);
  loopback_up();
  pid_t child = fork();
  if (child < 0) cell_fail("start a process", "fork");
  if (child == 0) {
    close(line);
    become(plan, words);
  }
  _exit(code_of(attend(child)));
}


/* The one outside. */

static int wait_outside(const cell_plan *plan, pid_t ruler) {
  sigset_t all = passed_on();
  int status = 0;
  for (;;) {
    pid_t gone = waitpid(ruler, &status, WNOHANG);
    if (gone == ruler) return status;
    if (gone < 0 && errno != EINTR) cell_fail("wait", "waitpid");
    int told = sigwaitinfo(&all, NULL);
    if (told > 0 && told != SIGCHLD)
      kill(ruler, told == SIGTERM ? plan->stop : told);
  }
}

int main(int argc, char **argv) {
  static cell_plan plan = {.stop = SIGTERM};
  sigset_t all = passed_on();
  int line[2];
  (void)argc;
  /* Before the options: what is left open is nobody's. */
  if (syscall(SYS_close_range, 3U, ~0U, 0U) != 0)
    cell_fail("close what was inherited", "close_range");
  char **words = read_options(&plan, argv + 1);
  if (geteuid() != 0) cell_refuse("make a cell", "only root can");
  world_note_sockets(&plan);
  /* Its default is to be ignored, which would make waiting for it in vain. */
  sigprocmask(SIG_BLOCK, &all, NULL);
  if (pipe2(line, O_CLOEXEC) != 0) cell_fail("make a pipe", "pipe2");
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC |
              CLONE_NEWUTS) != 0)
    cell_fail("make namespaces", "unshare");
  pid_t ruler = fork();
  if (ruler < 0) cell_fail("start a process", "fork");
  if (ruler == 0) {
    close(line[1]);
    rule(&plan, line[0], words);
  }
  close(line[0]);
  /* Nothing is done at our end any more: a sanitizer would start a thread,
     which cannot be had outside of the namespace of our children. */
  _exit(code_of(wait_outside(&plan, ruler)));
}
