/*
** owner: who made a shadow. A process is named by the boot it runs in, its
** number, and when it started, because numbers come again. In a container a
** number means something only to who is in the same namespace; start times
** are the same only to who has the same clock. Where it cannot be told whether
** the owner lives, it does: what is not deleted today can be tomorrow.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vss/record_parts.h"

/* The namespace that all others are in (PROC_PID_INIT_INO): who is in it sees
   every process there is. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFC

typedef struct identity {
  char boot[40];
  int64_t pid, start; /* start: clock ticks since boot; 0: not known */
  int64_t pid_space, time_space; /* inodes of the namespaces; 0: not known */
} identity;

typedef struct process {
  char state;
  int64_t threads, start;
} process;


static bool read_file(const char *path, char *text, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n;
  do n = read(fd, text, room - 1);
  while (n < 0 && errno == EINTR);
  int number = errno;
  close(fd);
  errno = number;
  if (n < 0) return false;
  text[n] = '\0';
  return true;
}


/* proc(5), stat: the name of the program, in brackets, may have anything in
   it, brackets too; the state is behind the last one. */
static bool read_process(const char *path, process *p) {
  char text[2048];
  if (!read_file(path, text, sizeof text)) return false;
  const char *behind = strrchr(text, ')');
  long long threads = 0, start = 0;
  if (behind == NULL ||
      /* 3 state, 4 to 19, 20 num_threads, 21, 22 starttime */
      sscanf(behind + 1,
             " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
             "%*s %lld %*s %lld",
             &p->state, &threads, &start) != 3) {
    errno = EINVAL;
    return false;
  }
  p->threads = threads;
  p->start = start;
  return true;
}


static int64_t inode_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? (int64_t)st.st_ino : 0;
}


/* Whether /proc numbers processes as we do: not so after an unshare without a
   new mount of it, or in a chroot with another's. */
static bool proc_is_ours(void) {
  char text[32], own[32];
  ssize_t n = readlink("/proc/self", text, sizeof text - 1);
  if (n < 0) return false;
  text[n] = '\0';
  snprintf(own, sizeof own, "%ld", (long)getpid());
  return strcmp(text, own) == 0;
}


static identity us(void) {
  identity i = {.pid = getpid()};
  process p;
  if (read_file("/proc/sys/kernel/random/boot_id", i.boot, sizeof i.boot))
    i.boot[strcspn(i.boot, "\n")] = '\0';
  else
    i.boot[0] = '\0';
  if (read_process("/proc/self/stat", &p)) i.start = p.start;
  i.pid_space = inode_of("/proc/self/ns/pid");
  i.time_space = inode_of("/proc/self/ns/time");
  return i;
}


bool owner_put(value *map) {
  identity i = us();
  value *owner = value_map();
  if (owner == NULL) return false;
  if (value_put(owner, "boot", value_text(i.boot)) &&
      value_put(owner, "pid", value_int(i.pid)) &&
      value_put(owner, "start", value_int(i.start)) &&
      value_put(owner, "pid_space", value_int(i.pid_space)) &&
      value_put(owner, "time_space", value_int(i.time_space)))
    return value_put(map, "owner", owner);
  value_free(owner);
  return false;
}


static identity read_owner(const value *owner) {
  identity i = {.pid = value_integer(value_get(owner, "pid"), 0),
                .start = value_integer(value_get(owner, "start"), 0),
                .pid_space = value_integer(value_get(owner, "pid_space"), 0),
                .time_space = value_integer(value_get(owner, "time_space"), 0)};
  snprintf(i.boot, sizeof i.boot, "%s",
           value_chars(value_get(owner, "boot"), ""));
  return i;
}


static bool same_text(const char *a, const char *b) {
  return *a != '\0' && strcmp(a, b) == 0;
}


/* A dead process whose status nobody has asked for yet. (Of one that lives
   on in its threads only the first has ended.) */
static bool is_corpse(const process *p) {
  return (p->state == 'Z' || p->state == 'X') && p->threads <= 1;
}


static bool is_process(const process *p, const identity *who,
                       const identity *we) {
  if (is_corpse(p)) return false;
  if (who->start == 0 || who->time_space != we->time_space) return true;
  return p->start == who->start;
}


/* A process of our own namespace. */
static bool lives_here(const identity *who, const identity *we) {
  if (kill((pid_t)who->pid, 0) != 0 && errno == ESRCH) return false;
  if (!proc_is_ours()) return true;
  char path[64];
  process p;
  snprintf(path, sizeof path, "/proc/%ld/stat", (long)who->pid);
  if (read_process(path, &p)) return is_process(&p, who, we);
  /* It went between the two questions, or /proc does not show it to us. */
  return kill((pid_t)who->pid, 0) == 0 || errno != ESRCH;
}


/* The number that a process has in its own, innermost namespace; -1: it is in
   the outermost like us, or gone. */
static long innermost(const char *number) {
  char path[300], text[4096];
  snprintf(path, sizeof path, "/proc/%s/status", number);
  if (!read_file(path, text, sizeof text)) return -1;
  const char *line = strstr(text, "\nNSpid:");
  if (line == NULL) return -1;
  line += 7;
  long last = -1;
  int n, count = 0;
  for (long one; sscanf(line, "%ld%n", &one, &n) == 1; line += n, count++)
    last = one;
  return count > 1 ? last : -1;
}


static bool may_be(const char *number, const identity *who,
                   const identity *we) {
  char path[300];
  struct stat st;
  process p;
  if (innermost(number) != (long)who->pid) return false;
  snprintf(path, sizeof path, "/proc/%s/ns/pid", number);
  if (stat(path, &st) == 0) {
    if ((int64_t)st.st_ino != who->pid_space) return false;
  } else if (errno == ENOENT || errno == ESRCH) {
    return false; /* a corpse is in no namespace any more */
  }
  snprintf(path, sizeof path, "/proc/%s/stat", number);
  if (!read_process(path, &p)) return errno != ENOENT && errno != ESRCH;
  return is_process(&p, who, we);
}


/* Of another namespace, which may have ended with all that was in it. Only who
   is outside of all of them can tell. */
static bool lives_elsewhere(const identity *who, const identity *we) {
  if (we->pid_space != FIRST_PID_NAMESPACE || geteuid() != 0 ||
      who->pid_space == 0 || !proc_is_ours())
    return true;
  DIR *all = opendir("/proc");
  if (all == NULL) return true;
  bool found = false;
  for (struct dirent *e; !found && (e = readdir(all)) != NULL;)
    if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
      found = may_be(e->d_name, who, we);
  closedir(all);
  return found;
}


static bool is_alive(const value *owner) {
  identity who = read_owner(owner), we = us();
  if (who.pid <= 0 || who.pid > INT32_MAX || who.boot[0] == '\0' ||
      we.boot[0] == '\0')
    return true;
  if (strcmp(who.boot, we.boot) != 0) return false;
  if (who.pid_space != we.pid_space) return lives_elsewhere(&who, &we);
  return lives_here(&who, &we);
}


bool owner_is_alive(const value *map) {
  return is_alive(value_get(map, "owner"));
}


bool owner_is_us(const value *map) {
  const value *owner = value_get(map, "owner");
  identity who = read_owner(owner), we = us();
  return who.pid == we.pid && who.start == we.start &&
         who.pid_space == we.pid_space && who.time_space == we.time_space &&
         same_text(who.boot, we.boot);
}
