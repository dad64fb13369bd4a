/*
** owner: who made something. A process is named by the boot it runs in, its
** number, when it started, and the namespace that the number means something
** in. Where it cannot be told whether the owner lives, it does: what is not
** taken away today can be tomorrow.
*/
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/record.h"

typedef struct identity {
  char boot[40];
  int64_t pid, start, space; /* start in ticks since boot; 0: not known */
} identity;


static bool read_text(const char *path, char *text, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, room - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return n > 0;
}


/* The name of the program, in brackets, may have anything in it; what follows
   is behind the last one. 0: there is no such process, or it is a corpse. */
static int64_t started(int64_t pid) {
  char path[64], text[2048], state = 'Z';
  long long threads = 0, start = 0;
  snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
  if (!read_text(path, text, sizeof text)) return 0;
  const char *behind = strrchr(text, ')');
  if (behind == NULL ||
      sscanf(behind + 1,
             " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
             "%*s %lld %*s %lld",
             &state, &threads, &start) != 3)
    return 0;
  return (state == 'Z' || state == 'X') && threads <= 1 ? 0 : start;
}


static identity us(void) {
  identity i = {.pid = getpid()};
  struct stat st;
  if (!read_text("/proc/sys/kernel/random/boot_id", i.boot, sizeof i.boot))
    i.boot[0] = '\0';
  i.start = started(i.pid);
  if (stat("/proc/self/ns/pid", &st) == 0) i.space = (int64_t)st.st_ino;
  return i;
}


static identity owner_of(const value *map) {
  const value *owner = value_get(map, "owner");
  identity i = {.pid = value_integer(value_get(owner, "pid"), 0),
                .start = value_integer(value_get(owner, "start"), 0),
                .space = value_integer(value_get(owner, "space"), 0)};
  snprintf(i.boot, sizeof i.boot, "%s",
           value_chars(value_get(owner, "boot"), ""));
  return i;
}


bool vds_owner_put(value *map) {
  identity i = us();
  value *owner = value_map();
  if (owner != NULL && value_put(owner, "boot", value_text(i.boot)) &&
      value_put(owner, "pid", value_int(i.pid)) &&
      value_put(owner, "start", value_int(i.start)) &&
      value_put(owner, "space", value_int(i.space)))
    return value_put(map, "owner", owner);
  value_free(owner);
  return false;
}


bool vds_owner_is_alive(const value *map) {
  identity who = owner_of(map), we = us();
  if (who.pid <= 0 || who.pid > INT32_MAX || who.boot[0] == '\0' ||
      we.boot[0] == '\0')
    return true;
  if (strcmp(who.boot, we.boot) != 0) return false;
  if (who.space != we.space) return true;
  if (kill((pid_t)who.pid, 0) != 0 && errno == ESRCH) return false;
  int64_t start = started(who.pid);
  if (start == 0) return we.start == 0; /* /proc shows us, but not that one */
  return who.start == 0 || start == who.start;
}


bool vds_owner_is_of_this_boot(const value *map) {
  identity who = owner_of(map), we = us();
  return we.boot[0] != '\0' && strcmp(who.boot, we.boot) == 0;
}
