/*
** Who we are, and whether somebody else still is. A process number alone
** proves nothing: it is used again, and means something else in another
** container with the same host name. So our locks also name the kernel by its
** boot id, the namespace of the number, and when the process began.
*/
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repository/lock_parts.h"

/* The kernel's number of the namespace that all others are in. */
#define FIRST_PIDS 0xEFFFFFFCu

/* Up to size - 1 bytes of a small file, as a text. */
static bool read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t got = 0;
  ssize_t n = 0;
  while (got + 1 < size) {
    n = read(fd, text + got, size - 1 - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += (size_t)n;
  }
  close(fd);
  text[got] = '\0';
  return n >= 0;
}

/* In ticks after boot; 0: there is no such process, or nobody tells us. The
   name in the brackets may have brackets and blanks in it. One that is dead and
   was only not asked for by its parent is none: it has no other thread. */
static uint64_t started(int64_t pid) {
  char path[64], text[1024], state = 'Z';
  unsigned long long ticks = 0;
  long threads = 0;
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  if (!read_text(path, text, sizeof text)) return 0;
  const char *at = strrchr(text, ')');
  if (at != NULL) sscanf(at, ") %c", &state);
  for (int field = 2; at != NULL && field < 22; field++) {
    at = strchr(at + 1, ' ');
    if (at != NULL && field == 19) threads = strtol(at, NULL, 10);
  }
  if (at == NULL || sscanf(at, "%llu", &ticks) != 1) return 0;
  return state == 'Z' && threads <= 1 ? 0 : ticks;
}

static uint64_t pid_namespace(void) {
  struct stat st;
  return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}


/* ------------------------------------------------------------------
** Here
** ---------------------------------------------------------------- */

static void name_machine(char machine[33]) {
  char text[128] = "saros lock ";
  size_t size = strlen(text);
  repo_id id;
  char hex[REPO_ID_TEXT];
  machine[0] = '\0';
  if (!read_text("/etc/machine-id", text + size, sizeof text - size)) return;
  if (strspn(text + size, "0123456789abcdef") != 32) return;
  repo_id_of(&id, text, size + 32);
  repo_id_format(&id, hex);
  memcpy(machine, hex, 32);
  machine[32] = '\0';
}

static char *user_name(uid_t uid) {
  char room[4096];
  struct passwd entry, *found = NULL;
  if (getpwuid_r(uid, &entry, room, sizeof room, &found) != 0) found = NULL;
  return mem_text(found != NULL ? found->pw_name : "");
}

error *repo_owner_here(repo_owner *o) {
  char host[256] = "", boot[64];
  memset(o, 0, sizeof *o);
  gethostname(host, sizeof host - 1);
  o->hostname = mem_text(host);
  o->username = user_name(getuid());
  o->pid = getpid();
  o->uid = getuid();
  o->gid = getgid();
  if (read_text("/proc/sys/kernel/random/boot_id", boot, sizeof boot) &&
      strlen(boot) >= sizeof o->boot - 1) {
    memcpy(o->boot, boot, sizeof o->boot - 1);
    o->boot[sizeof o->boot - 1] = '\0';
  }
  name_machine(o->machine);
  o->pids = pid_namespace();
  o->started = started(o->pid);
  if (o->hostname != NULL && o->username != NULL) return NULL;
  repo_owner_clear(o);
  return error_no_memory();
}

void repo_owner_clear(repo_owner *o) {
  mem_free(o->hostname);
  mem_free(o->username);
  o->hostname = o->username = NULL;
}


/* ------------------------------------------------------------------
** Others
** ---------------------------------------------------------------- */

/* When a process began, on the clock; -1: there is none. */
static int64_t began(int64_t pid) {
  struct timespec real, boot;
  uint64_t ticks = started(pid);
  long hertz = sysconf(_SC_CLK_TCK);
  if (ticks == 0 || hertz <= 0) return -1;
  clock_gettime(CLOCK_REALTIME, &real);
  clock_gettime(CLOCK_BOOTTIME, &boot);
  return (int64_t)(real.tv_sec - boot.tv_sec) + (int64_t)ticks / hertz;
}

typedef enum presence { THERE, GONE, UNKNOWN } presence;

/* Whether one of the numbers in this line of a status is `pid`. */
static bool has_number(const char *line, int64_t pid) {
  while (*line != '\0' && *line != '\n') {
    char *end;
    long long n = strtoll(line, &end, 10);
    if (end == line) return false;
    if (n == pid) return true;
    line = end;
  }
  return false;
}

/* A process of this machine: may it be the one? */
static presence look_at(const char *number, int64_t pid, uint64_t ticks,
                        int64_t locked) {
  char path[300], text[4096];
  snprintf(path, sizeof path, "/proc/%s/status", number);
  if (!read_text(path, text, sizeof text))
    return errno == ENOENT || errno == ESRCH ? GONE : UNKNOWN;
  const char *line = strstr(text, "\nNSpid:");
  if (line == NULL) return GONE; /* a thread that is ending has none */
  if (!has_number(line + strlen("\nNSpid:"), pid)) return GONE;
  int64_t outer = strtoll(number, NULL, 10);
  uint64_t now = started(outer);
  if (now == 0 || ticks != 0) return now != 0 && now == ticks ? THERE : GONE;
  /* It must have been there when the lock was written. But the clock may have
     been set since: of one that is fresh that proves nothing. */
  int64_t since = began(outer);
  bool is_old = time(NULL) - locked > (time_t)(repo_lock_time.stale / 1000);
  return is_old && since > locked + 2 ? GONE : THERE;
}

/* Whether any process of this machine, in whatever container, had this number
   when the lock was written. Only from outside of all containers one can tell,
   and only if all processes are shown. */
static presence anywhere(int64_t pid, uint64_t ticks, int64_t locked) {
  if (pid_namespace() != FIRST_PIDS || access("/proc/1/status", R_OK) != 0)
    return UNKNOWN;
  DIR *d = opendir("/proc");
  if (d == NULL) return UNKNOWN;
  presence p = GONE;
  const struct dirent *entry;
  while (p == GONE && (entry = readdir(d)) != NULL)
    if (isdigit((unsigned char)entry->d_name[0]))
      p = look_at(entry->d_name, pid, ticks, locked);
  closedir(d);
  return p;
}

/* Whether we are told of it at all: /proc may be mounted to hide others'. */
static bool is_shown(int64_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  return access(path, R_OK) == 0;
}

/* Where our own numbers are. */
static presence among_ours(int64_t pid, uint64_t ticks) {
  uint64_t now = started(pid);
  if (now != 0) return now == ticks ? THERE : GONE;
  if (kill((pid_t)pid, 0) != 0 && errno == ESRCH) return GONE;
  /* It has died and waits for its parent; or it is hidden from us. */
  return is_shown(pid) ? GONE : UNKNOWN;
}

static bool same_host(const repo_lock_file *f, const repo_owner *here) {
  return here->hostname[0] != '\0' &&
         strcmp(f->owner.hostname, here->hostname) == 0;
}

/* A lock of ours. */
static bool is_dead_of_ours(const repo_lock_file *f, const repo_owner *here) {
  const repo_owner *o = &f->owner;
  if (strcmp(o->boot, here->boot) == 0) {
    if (o->pids == here->pids) return among_ours(o->pid, o->started) == GONE;
    return anywhere(o->pid, o->started, f->time.tv_sec) == GONE;
  }
  /* The machine was started anew. Two that were copied from one image may
     share a name: what lives is refreshed. */
  return here->machine[0] != '\0' && strcmp(o->machine, here->machine) == 0 &&
         same_host(f, here) &&
         repo_lock_file_age(f) > repo_lock_time.refresh * 3 / 2;
}

bool repo_lock_file_is_dead(const repo_lock_file *f, const repo_owner *here) {
  if (f->owner.pid <= 0) return false;
  if (f->owner.boot[0] != '\0') return is_dead_of_ours(f, here);
  if (!same_host(f, here)) return false;
  presence p = anywhere(f->owner.pid, 0, f->time.tv_sec);
  if (p != UNKNOWN) return p == GONE;
  return repo_lock_file_age(f) > repo_lock_time.stale &&
         kill((pid_t)f->owner.pid, 0) != 0 && errno == ESRCH;
}

bool repo_lock_file_is_stale(const repo_lock_file *f, const repo_owner *here) {
  if (repo_lock_file_age(f) > repo_lock_time.stale) return true;
  if (f->owner.boot[0] != '\0') return repo_lock_file_is_dead(f, here);
  return same_host(f, here) && f->owner.pid > 0 &&
         kill((pid_t)f->owner.pid, 0) != 0 && errno == ESRCH;
}
