/*
** The guard, a program of its own (see vss/guard.h for what it is for).
**
** It is small and static, needs no libc where that can be had, and is run
** from memory: it can be started in a chroot, and nothing that it executes
** lies on a file system that is frozen. It allocates nothing and opens no
** file. It ends when its owner has sent it away, or when the owner is gone
** and everything was let go.
**
** Three traps. (1) FITHAW says EINVAL while a FIFREEZE is still under way,
** and that one may yet succeed: so what is due is tried again for as long as
** the owner lives. When its pidfd says that the whole process, threads in the
** kernel included, is gone, the next answer is the last word: a freeze has no
** owner, and one more FITHAW could undo that of another requester. (2) FITHAW
** can sleep behind such a FIFREEZE, on a disk that does not answer for ever: so
** each is done in a process of its own, and one bad disk holds up no other; but
** as long as it sleeps we stay, so that the next requester knows to wait.
** (3) Marks that the owner sent before it died must be read before anything is
** judged. Once the owner has begun to die none of its threads does anything
** new: it may still be asleep in a FIFREEZE that was announced, or in a write
** to what is frozen, and does not end before we have acted.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>

#include "vss/guard/talk.h"

#define MS 1000000ull      /* nanoseconds */
#define PATIENCE (50 * MS) /* for one thaw, before the next is begun */
#define AGAIN (50 * MS)    /* then what was not frozen yet is tried again */
#define AGAIN_MOST (1000 * MS)
#define TRIES_WHEN_DEAD 10 /* of a thaw that fails */


/* ------------------------------------------------------------------
** The kernel
** ---------------------------------------------------------------- */

#ifdef GUARD_ALONE /* without libc */

#if defined(__x86_64__)
static long call6(long n, long a, long b, long c, long d, long e, long f) {
  long r;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(r)
                   : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return r;
}
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  and $-16, %rsp\n"
    "  call guard_begin\n"
    "  hlt\n");
#elif defined(__aarch64__)
static long call6(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
__asm__(
    ".globl _start\n"
    "_start:\n"
    "  mov x29, #0\n"
    "  mov x30, #0\n"
    "  bl guard_begin\n"
    "  brk #0\n");
#else
#error "no system calls of our own for this machine: leave out GUARD_ALONE"
#endif

#else /* with libc */

#include <unistd.h>

static long call6(long n, long a, long b, long c, long d, long e, long f) {
  long r = syscall(n, a, b, c, d, e, f);
  return r < 0 ? -errno : r;
}

#endif

/* The result, or minus an errno. */
#define CALL6(n, a, b, c, d, e, f) \
  call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL5(n, a, b, c, d, e) CALL6(n, a, b, c, d, e, 0)
#define CALL4(n, a, b, c, d) CALL5(n, a, b, c, d, 0)
#define CALL3(n, a, b, c) CALL4(n, a, b, c, 0)
#define CALL2(n, a, b) CALL3(n, a, b, 0)
#define CALL1(n, a) CALL2(n, a, 0)
#define CALL0(n) CALL1(n, 0)

static _Noreturn void leave(int status) {
  for (;;) CALL1(SYS_exit_group, status);
}

/* Goes on while the machine sleeps, unlike the monotonic one. */
static uint64_t now(void) {
  struct timespec t;
  CALL2(SYS_clock_gettime, CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nobody but SIGKILL ends a guard. */
static void ignore(int number) {
#ifdef GUARD_ALONE
  long action[4] = {1 /* SIG_IGN */, 0, 0, 0};
  CALL4(SYS_rt_sigaction, number, action, NULL, 8);
#else
  signal(number, SIG_IGN);
#endif
}

static void unblock_all(void) {
#ifdef GUARD_ALONE
  unsigned long none = 0;
  CALL4(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
#else
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
#endif
}


/* ------------------------------------------------------------------
** What it knows
** ---------------------------------------------------------------- */

/* What became of the last thaw; written by the process that does it. */
enum { THAW_IDLE, THAW_RUNS, THAW_DONE, THAW_NOT_FROZEN, THAW_FAILED };

typedef struct item {
  uint32_t action, ms;
  bool held;
  bool over;  /* let go; nothing more to do until it is held again */
  bool due;   /* its time has come */
  bool last;  /* its last thaw was begun when the owner was dead */
  int failed; /* so often, since the owner is dead */
  uint64_t deadline;
} item;

static item items[GUARD_MOST];
static uint32_t count;
static uint64_t acted;
static guard_hello hello;
static volatile unsigned char *results; /* shared with the thawing processes */
static long thawing[GUARD_MOST];        /* these */
static bool owner_dead, owner_gone; /* gone: it is dying, or closed its end */
static bool hung_up;                /* nothing more will be said */
static bool sent_away;
static int timer = -1;
static uint64_t again_at; /* 0: nothing has to be tried again */
static uint64_t again;    /* after how long */
static bool given_up;     /* what may be frozen could not be thawed */

static void tell(uint32_t what) {
  guard_told t = {what, GUARD_VERSION, acted};
  CALL6(SYS_sendto, GUARD_SOCKET, &t, sizeof t, MSG_DONTWAIT | MSG_NOSIGNAL, 0,
        0);
}


/* ------------------------------------------------------------------
** Letting go
** ---------------------------------------------------------------- */

static unsigned char thaw(uint32_t i) {
  long r = CALL3(SYS_ioctl, GUARD_FIRST + (long)i, FITHAW, 0);
  return r == 0 ? THAW_DONE : r == -EINVAL ? THAW_NOT_FROZEN : THAW_FAILED;
}

/* In a process of its own (trap 2), for which we wait a moment, so that the
   order is kept as long as all goes well. */
static void begin_thaw(uint32_t i) {
  if (results[i] == THAW_RUNS) return;
  results[i] = THAW_RUNS;
  items[i].last = owner_dead;
  int pidfd = -1;
  long pid = CALL5(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, 0, 0);
  if (pid == 0) {
    results[i] = thaw(i);
    leave(0);
  }
  thawing[i] = pid;
  if (pid < 0) {
    results[i] = thaw(i); /* no room for another process */
    return;
  }
  struct pollfd p = {.fd = pidfd, .events = POLLIN};
  struct timespec t = {.tv_nsec = (long)PATIENCE};
  CALL5(SYS_ppoll, &p, 1, &t, NULL, 0);
  CALL1(SYS_close, pidfd);
}

/* One that was killed has not said what came of it. */
static void reap_thaws(void) {
  long pid;
  while ((pid = CALL4(SYS_wait4, -1, NULL, WNOHANG, NULL)) > 0)
    for (uint32_t i = 0; i < count; i++)
      if (thawing[i] == pid && results[i] == THAW_RUNS)
        results[i] = THAW_FAILED;
}

static void has_acted(uint32_t i) {
  if ((acted >> i) & 1) return;
  acted |= 1ull << i;
  tell(TOLD_ACTED);
}

/* Looks what the last thaw of it has come to. */
static void collect(uint32_t i) {
  item *t = &items[i];
  switch (results[i]) {
    case THAW_DONE:
      t->over = true;
      has_acted(i);
      break;
    case THAW_NOT_FROZEN: t->over = t->last; break;
    case THAW_FAILED:
      if (!t->last || ++t->failed < TRIES_WHEN_DEAD) break;
      t->over = given_up = true;
      break;
    default: return;
  }
  results[i] = THAW_IDLE;
}

static void let_go(uint32_t i) {
  item *t = &items[i];
  long fd = GUARD_FIRST + (long)i;
  if (t->action == GUARD_THAW) {
    begin_thaw(i);
    collect(i);
  } else if (t->action == GUARD_CONTINUE) {
    /* Again while the owner lives: it may stop it once more. */
    long r = CALL4(SYS_pidfd_send_signal, fd, SIGCONT, NULL, 0);
    if (r == 0) has_acted(i);
    t->over = owner_dead || r == -ESRCH;
  } else {
    CALL1(SYS_close, fd);
    t->over = true;
    has_acted(i);
  }
}

static bool pending(const item *t) {
  return t->held && !t->over;
}

/* What was tried before counts no more. */
static void afresh(void) {
  again_at = 0;
  again = AGAIN;
}

/* What is due, in the order given. */
static void act(void) {
  reap_thaws();
  bool retry = now() >= again_at, left = false;
  for (uint32_t i = 0; i < count; i++) {
    item *t = &items[i];
    collect(i);
    if (!pending(t)) continue;
    if (!t->due && !owner_gone && now() < t->deadline) continue;
    if (!t->due || retry) let_go(i);
    t->due = true;
    left |= pending(t);
  }
  if (!left) {
    afresh();
  } else if (retry) {
    again_at = now() + again;
    if (again < AGAIN_MOST) again += again / 8;
  }
}


/* ------------------------------------------------------------------
** The owner
** ---------------------------------------------------------------- */

static void obey(const guard_order *o) {
  if (o->what == ORDER_DISARM) sent_away = true;
  if (o->item >= count) return;
  item *t = &items[o->item];
  if (o->what == ORDER_HELD) {
    t->held = true;
    t->over = t->due = false;
    t->deadline = o->at + t->ms * MS;
    afresh();
  } else if (o->what == ORDER_FREE) {
    t->held = false;
  }
}

/* Looks whether it lives first, and reads what it said before it died then
   (trap 3). */
static void listen_to_owner(void) {
  struct pollfd p[2] = {{.fd = GUARD_OWNER, .events = POLLIN},
                        {.fd = GUARD_LIFE, .events = POLLIN}};
  struct timespec at_once = {0, 0};
  bool dead = owner_dead, gone = owner_gone;
  if (CALL5(SYS_ppoll, p, 2, &at_once, NULL, 0) > 0) owner_gone = true;
  if (p[0].revents != 0) owner_dead = true;
  for (;;) {
    guard_order o;
    long r =
        CALL6(SYS_recvfrom, GUARD_SOCKET, &o, sizeof o, MSG_DONTWAIT, 0, 0);
    if (r == (long)sizeof o) obey(&o);
    if (r == 0 || (r < 0 && r != -EAGAIN && r != -EINTR))
      hung_up = owner_gone = true;
    if (r == 0 || (r < 0 && r != -EINTR)) break;
  }
  if (dead != owner_dead || gone != owner_gone) afresh();
}

/* Until there is something to hear, or something to do. */
static void rest(void) {
  uint64_t next = UINT64_MAX;
  for (uint32_t i = 0; i < count; i++) {
    if (!pending(&items[i])) continue;
    uint64_t at = items[i].due || owner_gone ? again_at : items[i].deadline;
    if (at < next) next = at;
  }
  struct itimerspec when = {{0, 0}, {0, 0}};
  if (next != UINT64_MAX) {
    if (next == 0) next = 1;
    when.it_value.tv_sec = (time_t)(next / 1000000000u);
    when.it_value.tv_nsec = (long)(next % 1000000000u);
  }
  CALL4(SYS_timerfd_settime, timer, TFD_TIMER_ABSTIME, &when, NULL);
  struct pollfd p[4] = {
      {.fd = timer, .events = POLLIN},
      {.fd = hung_up ? -1 : GUARD_SOCKET, .events = POLLIN},
      {.fd = owner_gone ? -1 : GUARD_LIFE, .events = POLLIN},
      {.fd = owner_dead ? -1 : GUARD_OWNER, .events = POLLIN}};
  CALL5(SYS_ppoll, p, 4, NULL, NULL, 0);
}

/* Those that were begun and not waited for: the last word on what we did. */
static void finish_thaws(void) {
  struct timespec t = {.tv_nsec = (long)(1 * MS)};
  for (uint32_t i = 0; i < count; i++) {
    for (int n = 0; n < 5000 && results[i] == THAW_RUNS; n++) {
      CALL5(SYS_ppoll, NULL, 0, &t, NULL, 0);
      reap_thaws();
    }
    collect(i);
  }
}

/* Also the one that was not finished. */
static void remove_record(void) {
  if (hello.record[0] == '\0') return;
  CALL3(SYS_unlinkat, GUARD_RECORDS, hello.record, 0);
  CALL3(SYS_unlinkat, GUARD_RECORDS, hello.record + 1, 0);
}

static _Noreturn void end(bool all_is_free) {
  if (sent_away) finish_thaws();
  if (sent_away || all_is_free) remove_record();
  if (sent_away) tell(TOLD_BYE);
  leave(0);
}

static _Noreturn void watch_over(void) {
  uint64_t left_at = 0;
  for (;;) {
    listen_to_owner();
    if (sent_away) end(false);
    act();
    if (owner_gone && again_at == 0) end(!given_up);
    /* Not one that is only long in dying: its socket stays until then, and a
       freeze of it that is under way may still succeed. */
    if (hung_up && left_at == 0) left_at = now();
    if (hung_up && !owner_dead && now() > left_at + hello.leave_ms * MS)
      end(false);
    rest();
  }
}


/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

/* All signals are blocked until here: whoever started us saw to that. */
static void stand_apart(void) {
  for (int i = 1; i <= 64; i++)
    if (i != SIGCHLD && i != SIGKILL && i != SIGSTOP) ignore(i);
  unblock_all();
  CALL0(SYS_setsid);
  CALL1(SYS_chdir, "/"); /* so that we keep no file system mounted */
  CALL2(SYS_prctl, PR_SET_NAME, "saros-guard");
  CALL3(SYS_setpriority, PRIO_PROCESS, 0, -20); /* if it may */
}

static bool welcome(void) {
  long r;
  do r = CALL6(SYS_recvfrom, GUARD_SOCKET, &hello, sizeof hello, 0, 0, 0);
  while (r == -EINTR);
  if (r != (long)sizeof hello || hello.version != GUARD_VERSION) return false;
  count = hello.count;
  if (count > GUARD_MOST) return false;
  for (uint32_t i = 0; i < count; i++) {
    items[i].action = hello.items[i].action;
    items[i].ms = hello.items[i].ms;
  }
  hello.record[GUARD_NAME - 1] = '\0';
  return true;
}

static void close_others(void) {
  unsigned first = GUARD_FIRST + count;
  if (CALL3(SYS_close_range, first, ~0u, 0) == 0) return;
  for (unsigned fd = first; fd < 65536; fd++) CALL1(SYS_close, fd);
}

static bool make_ready(void) {
  long r = CALL6(SYS_mmap, NULL, GUARD_MOST, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (r < 0 && r > -4096) return false;
  results = (volatile unsigned char *)r;
  timer = (int)CALL2(SYS_timerfd_create, CLOCK_BOOTTIME,
                     TFD_CLOEXEC | TFD_NONBLOCK);
  if (timer < 0) return false;
  CALL1(SYS_mlockall, MCL_CURRENT | MCL_FUTURE); /* if it may */
  return true;
}

_Noreturn void guard_begin(void);
_Noreturn void guard_begin(void) {
  stand_apart();
  if (!welcome()) leave(1);
  close_others();
  if (!make_ready()) leave(1);
  tell(TOLD_READY);
  watch_over();
}

#ifndef GUARD_ALONE
int main(void) {
  guard_begin();
}
#endif
