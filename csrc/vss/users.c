/*
** users: who has something open on a file system, as far as /proc tells: in
** this process's own namespace of processes, and of those it may look at. It is
** how it was a moment ago: whoever needs more must keep them out.
*/
#include "vss/users.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { NAMED_MOST = 5 };

/* Without asking a server that may be gone. */
static bool is_on(int dir, const char *name, dev_t dev) {
  struct statx sx;
  return statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &sx) == 0 &&
         makedev(sx.stx_dev_major, sx.stx_dev_minor) == dev;
}


/* Of its open files, or of what it has mapped. */
static bool any_on(int process, const char *list, dev_t dev) {
  int fd = openat(process, list, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  bool found = false;
  if (d == NULL && fd >= 0) close(fd);
  for (struct dirent *x; d != NULL && !found && (x = readdir(d)) != NULL;)
    found = x->d_name[0] != '.' && is_on(fd, x->d_name, dev);
  if (d != NULL) closedir(d);
  return found;
}


static bool uses(int process, dev_t dev) {
  return is_on(process, "cwd", dev) || is_on(process, "root", dev) ||
         is_on(process, "exe", dev) || any_on(process, "fd", dev) ||
         any_on(process, "map_files", dev);
}


static void put_name(buffer *b, int process, const char *pid) {
  char name[64] = "";
  int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, name, sizeof name - 1) : -1;
  if (fd >= 0) close(fd);
  name[n > 0 ? n : 0] = '\0';
  name[strcspn(name, "\n")] = '\0';
  buffer_text(b, pid);
  if (name[0] == '\0') return;
  buffer_text(b, " (");
  text_escape(b, name, strlen(name));
  buffer_text(b, ")");
}


unsigned users_of(dev_t dev, buffer *who) {
  unsigned count = 0;
  DIR *d = opendir("/proc");
  for (struct dirent *x; d != NULL && (x = readdir(d)) != NULL;) {
    if (!isdigit((unsigned char)x->d_name[0])) continue;
    int process =
        openat(dirfd(d), x->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process < 0) continue; /* it has just ended */
    if (uses(process, dev)) {
      if (count < NAMED_MOST) {
        if (count > 0) buffer_text(who, ", ");
        put_name(who, process, x->d_name);
      }
      count++;
    }
    close(process);
  }
  if (d != NULL) closedir(d);
  if (count > NAMED_MOST)
    buffer_format(who, " and %u more", count - NAMED_MOST);
  return count;
}
