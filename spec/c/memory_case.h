/*
** memory_case: what a process has in its memory, seen from outside: a core dump
** of it, or more than that; and the registers of its threads, which a core dump
** has, too. Whoever looks must never have told that process what is looked for.
*/
#ifndef SAROS_MEMORY_CASE_H
#define SAROS_MEMORY_CASE_H

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "gate.h"

#define MEMORY_NOT_HERE                                              \
  do {                                                               \
    if (getenv("SAROS_SANITIZER") != NULL || GATE_ASAN || GATE_TSAN) \
      SKIP("the memory is the sanitizer's, and there is too much");  \
  } while (0)

/* What is looked for: 8 to 64 bytes each, and how often it was seen. */
typedef struct memory_needle {
  const char *name;
  uint8_t bytes[64];
  size_t size;
  unsigned seen;
  bool is_known; /* no secret: that it is seen is nothing to tell */
  /* So few bits that something else may have them by chance: it is seen only
     near another part of the same group. 0: of none. */
  unsigned group, part;
  uint64_t last; /* where it was, then; 0: nowhere yet */
} memory_needle;

#define MEMORY_NEAR 4096

typedef struct memory_look {
  memory_needle needles[160];
  size_t count;
  bool quiet;
  size_t bytes;         /* that were looked at */
  unsigned left;        /* mappings that a core dump would not have */
  unsigned threads;     /* whose registers were looked at */
  uint8_t begins[8192]; /* a bit for the first two bytes of each needle */
} memory_look;

static inline unsigned memory_pair(const uint8_t *at) {
  return (unsigned)at[0] << 8 | at[1];
}

static inline void memory_want(memory_look *l, const char *name,
                               const void *bytes, size_t size) {
  if (size < 8 || size > 64 || l->count == 160) abort();
  memory_needle *n = &l->needles[l->count++];
  *n = (memory_needle){.name = name, .size = size};
  memcpy(n->bytes, bytes, size);
  unsigned pair = memory_pair(n->bytes);
  l->begins[pair / 8] |= (uint8_t)(1u << pair % 8);
}

/* The one that was wanted last is of so few bits. */
static inline void memory_is_part(memory_look *l, unsigned group,
                                  unsigned part) {
  l->needles[l->count - 1].group = group;
  l->needles[l->count - 1].part = part;
}

static inline bool memory_has_company(const memory_look *l,
                                      const memory_needle *n, uint64_t at) {
  for (size_t i = 0; i < l->count; i++) {
    const memory_needle *o = &l->needles[i];
    if (o->group == n->group && o->part != n->part && o->last != 0 &&
        at - o->last < MEMORY_NEAR)
      return true;
  }
  return false;
}

static inline void memory_forget(memory_look *l) {
  for (size_t i = 0; i < l->count; i++)
    l->needles[i].seen = 0, l->needles[i].last = 0;
  l->bytes = 0;
  l->left = l->threads = 0;
}

static inline void memory_search(memory_look *l, const uint8_t *data,
                                 size_t size, const char *where,
                                 uint64_t base) {
  l->bytes += size;
  for (size_t at = 0; at + 8 <= size; at++) {
    unsigned pair = memory_pair(data + at);
    if ((l->begins[pair / 8] >> pair % 8 & 1) == 0) continue;
    for (size_t i = 0; i < l->count; i++) {
      memory_needle *n = &l->needles[i];
      if (n->size > size - at || memcmp(n->bytes, data + at, n->size) != 0)
        continue;
      if (n->group != 0) n->last = base + at + 1;
      if (n->group != 0 && !memory_has_company(l, n, n->last)) continue;
      n->seen++;
      if (!l->quiet && !n->is_known)
        printf("  %s at %llx in %s\n", n->name, (unsigned long long)(base + at),
               where);
    }
  }
}

/* How many of them were seen, of those whose names begin so; NULL: of all. */
static inline unsigned memory_seen(const memory_look *l, const char *begin) {
  unsigned seen = 0;
  for (size_t i = 0; i < l->count; i++)
    if (begin == NULL || strncmp(l->needles[i].name, begin, strlen(begin)) == 0)
      seen += l->needles[i].seen > 0;
  return seen;
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

static inline void memory_part(memory_look *l, int fd, uint64_t from,
                               uint64_t to, const char *where) {
  enum { PART = 8 << 20, OVER = 64 };
  static uint8_t *room;
  if (room == NULL) room = malloc(PART + OVER);
  for (uint64_t at = from; at < to; at += PART) {
    size_t want = (size_t)(to - at < PART + OVER ? to - at : PART + OVER);
    ssize_t got = pread(fd, room, want, (off_t)at);
    if (got > 0) memory_search(l, room, (size_t)got, where, at);
  }
}

/* All that the process has mapped; or what a core dump has at most. */
static inline bool memory_of(memory_look *l, pid_t pid, bool all) {
  char path[64], line[600], name[600] = "";
  unsigned long long from = 0, to = 0;
  bool readable = false;
  snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
  FILE *f = fopen(path, "r");
  snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  while (f != NULL && fd >= 0 && fgets(line, sizeof line, f) != NULL) {
    unsigned long long a, b;
    char rights[8];
    if (sscanf(line, "%llx-%llx %7s", &a, &b, rights) == 3) {
      from = a;
      to = b;
      readable = rights[0] == 'r';
      line[strcspn(line, "\n")] = '\0';
      memcpy(name, line, sizeof line);
    }
    if (strncmp(line, "VmFlags:", 8) != 0 || !readable) continue;
    bool left_out = strstr(line, " dd") != NULL;
    l->left += left_out;
    if (all || !left_out) memory_part(l, fd, from, to, name);
  }
  bool good = f != NULL && fd >= 0;
  if (f != NULL) fclose(f);
  if (fd >= 0) close(fd);
  return good;
}

/* A file, such as a core dump. */
static inline bool memory_of_file(memory_look *l, const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
  if (size > 0) memory_part(l, fd, 0, (uint64_t)size, path);
  if (fd >= 0) close(fd);
  return size > 0;
}


/* ------------------------------------------------------------------
** Registers
** ---------------------------------------------------------------- */

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* Of one thread: those of the processor's vectors, as far as they are told. */
static inline bool memory_of_thread(memory_look *l, pid_t tid) {
  static const int sets[] = {NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE};
  static uint8_t room[65536];
  int status;
  if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) != 0) return errno == ESRCH;
  ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
  if (waitpid(tid, &status, __WALL) != tid) return false;
  for (size_t i = 0; WIFSTOPPED(status) && i < 3; i++) {
    struct iovec v = {room, sizeof room};
    if (ptrace(PTRACE_GETREGSET, tid, (void *)(uintptr_t)sets[i], &v) == 0)
      memory_search(l, room, v.iov_len, "registers", 0);
  }
  l->threads++;
  ptrace(PTRACE_DETACH, tid, NULL, NULL);
  return true;
}

static inline bool memory_of_threads(memory_look *l, pid_t pid) {
  char path[64];
  bool good = true;
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *d = opendir(path);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    if (e->d_name[0] != '.')
      good = memory_of_thread(l, atoi(e->d_name)) && good;
  if (d != NULL) closedir(d);
  return good && d != NULL;
}


/* ------------------------------------------------------------------
** Whom to look at
** ---------------------------------------------------------------- */

/* A child that does what it is told: begun before there are threads. */
typedef struct actor {
  pid_t pid;
  int to, from;
} actor;

static inline void actor_loop(int (*act)(char command), int in, int out) {
  char command;
  while (read(in, &command, 1) == 1) {
    check_bad = 0;
    int answer = act(command);
    if (check_bad > 0) answer = -1;
    if (write(out, &answer, sizeof answer) != sizeof answer) break;
  }
  fflush(stdout);
  _exit(0);
}

static inline actor actor_begin(int (*act)(char command)) {
  int in[2] = {-1, -1}, out[2] = {-1, -1};
  CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
  fflush(stdout);
  actor a = {fork(), in[1], out[0]};
  if (a.pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(in[1]);
    close(out[0]);
    actor_loop(act, in[0], out[1]);
  }
  close(in[0]);
  close(out[1]);
  return a;
}

/* What it answers; -1: a check of its own has failed, or it is dead. */
static inline int actor_do(const actor *a, char command) {
  int answer = -1;
  if (write(a->to, &command, 1) != 1) return -1;
  if (read(a->from, &answer, sizeof answer) != sizeof answer) return -1;
  return answer;
}

static inline void actor_end(actor *a) {
  close(a->to);
  close(a->from);
  kill(a->pid, SIGKILL);
  waitpid(a->pid, NULL, 0);
}

#endif
