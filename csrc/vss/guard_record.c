/*
** The record of a guard: a file on tmpfs that says what may be frozen, and by
** whom, for the case that guard and owner are killed together. The guard
** unlinks it when it has let everything go, the owner when it sends the guard
** away; one that stays is for guard_recover.
**
** A process is named by its number and when it began, the numbers by the
** boot, and by the space (of a container) in which they mean something.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/format.h"
#include "op/fork.h"
#include "vss/guard_parts.h"


/* ------------------------------------------------------------------
** Who lives
** ---------------------------------------------------------------- */

/* The beginning of a small file; false when there is none. */
static bool read_small(const char *path, char *text, size_t room) {
  int fd = fd_own(open(path, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return false;
  ssize_t n = read(fd, text, room - 1);
  fd_close(&fd);
  if (n <= 0) return false;
  text[n] = '\0';
  return true;
}

void identity_boot(char boot[64]) {
  if (!read_small("/proc/sys/kernel/random/boot_id", boot, 64)) boot[0] = '\0';
  boot[strcspn(boot, "\n")] = '\0';
}

void identity_space(char space[64]) {
  ssize_t n = readlink("/proc/self/ns/pid", space, 63);
  space[n > 0 ? n : 0] = '\0';
}

/* The 22nd word; a name in brackets, which may hold anything, is the 2nd. */
static int64_t start_of(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
  if (!read_small(path, text, sizeof text)) return 0;
  const char *at = strrchr(text, ')');
  for (int word = 2; at != NULL && word < 22; word++) {
    at = strchr(at, ' ');
    if (at != NULL) at++;
  }
  long long start = 0;
  if (at == NULL || sscanf(at, "%lld", &start) != 1) return 0;
  return start;
}

/* Of one thread; 0: it is gone, or as good as. */
static char thread_state(pid_t pid, const char *thread) {
  char path[96], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/task/%.20s/stat", (long)pid, thread);
  if (!read_small(path, text, sizeof text)) return 0;
  const char *at = strrchr(text, ')');
  char state = at != NULL && at[1] == ' ' ? at[2] : 0;
  return state == 'Z' || state == 'X' || state == 'x' ? 0 : state;
}

char identity_state(pid_t pid) {
  char path[64], all = 0;
  snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
  DIR *d = opendir(path);
  for (struct dirent *t; d != NULL && (t = readdir(d)) != NULL;) {
    if (t->d_name[0] == '.') continue;
    char state = thread_state(pid, t->d_name);
    if (state != 0 && (all == 0 || all == 'T')) all = state;
  }
  if (d != NULL) closedir(d);
  return all;
}

/* Whether a thread does nothing new: it ends already (PF_EXITING), or will
   before it returns from the kernel, where it may be asleep for long. */
static bool thread_is_doomed(pid_t pid, const char *thread) {
  char path[96], text[4096], state = 0;
  unsigned flags = 0;
  unsigned long long pending = 0;
  if (thread_state(pid, thread) == 0) return true;
  snprintf(path, sizeof path, "/proc/%ld/task/%.20s/stat", (long)pid, thread);
  if (!read_small(path, text, sizeof text)) return true; /* it was quicker */
  const char *at = strrchr(text, ')');
  if (at != NULL &&
      sscanf(at, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) == 2 &&
      (flags & 0x4) != 0)
    return true;
  snprintf(path, sizeof path, "/proc/%ld/task/%.20s/status", (long)pid, thread);
  if (!read_small(path, text, sizeof text)) return true;
  at = strstr(text, "\nSigPnd:");
  return at != NULL && sscanf(at, "\nSigPnd: %llx", &pending) == 1 &&
         (pending >> (SIGKILL - 1) & 1) != 0;
}

bool identity_is_doomed(identity who) {
  char path[64];
  if (!identity_lives(who)) return true;
  snprintf(path, sizeof path, "/proc/%ld/task", (long)who.pid);
  DIR *d = opendir(path);
  bool doomed = d != NULL;
  for (struct dirent *t; doomed && (t = readdir(d)) != NULL;)
    if (t->d_name[0] != '.')
      doomed = thread_is_doomed((pid_t)who.pid, t->d_name);
  if (d != NULL) closedir(d);
  return doomed;
}

identity identity_of(pid_t pid) {
  return (identity){.pid = pid, .start = start_of(pid)};
}

/* Not by its state in /proc: the first thread of a process may be gone, and
   the process live on. */
static bool has_ended(pid_t pid, int ms) {
  int fd = fd_own(pidfd_open(pid, 0));
  if (fd < 0 && errno != ENOSYS) return errno == ESRCH || errno == EINVAL;
  if (fd < 0) return kill(pid, 0) != 0 && errno == ESRCH;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  bool ended = poll(&p, 1, ms) > 0;
  fd_close(&fd);
  return ended;
}

bool identity_lives(identity who) {
  if (who.pid <= 0 || who.pid > INT32_MAX) return false;
  pid_t pid = (pid_t)who.pid;
  if (has_ended(pid, 0)) return false;
  int64_t start = start_of(pid);
  return start == 0 || who.start == 0 || start == who.start;
}

void identity_await(identity who, int ms) {
  if (identity_lives(who)) has_ended((pid_t)who.pid, ms);
}


/* ------------------------------------------------------------------
** Where they are
** ---------------------------------------------------------------- */

static error *untrusted(const char *path, const char *what) {
  return error_at(
      vss_error(SAROS_E_REFUSED,
                "the directory that says what is frozen %s; remove it, or set "
                "another state_dir",
                what),
      path);
}

int guard_records(const char *runtime, bool make, error **e) {
  char *path = path_join(runtime, "frozen");
  struct stat st;
  if (path == NULL) {
    *e = error_no_memory();
    return -1;
  }
  *e = NULL;
  int fd = -1;
  const char *what = "cannot keep a record of what is frozen";
  if (make && mkdir(path, 0700) != 0 && errno != EEXIST) {
    *e = error_of_errno(SAROS_FACADE_VSS, errno, what, path);
  } else {
    const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    fd = fd_own(open(path, how));
    if (fd < 0 || fstat(fd, &st) != 0)
      *e = error_of_errno(SAROS_FACADE_VSS, errno, what, path);
    else if (st.st_uid != geteuid() && st.st_uid != 0)
      *e = untrusted(path, "belongs to somebody else");
    else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
      *e = untrusted(path, "can be written by others");
  }
  if (*e != NULL) fd_close(&fd);
  mem_free(path);
  return fd;
}

bool guard_record_name(char name[GUARD_NAME]) {
  guid g;
  if (!guid_make(&g)) return false;
  name[0] = '.';
  guid_format(&g, name + 1);
  memcpy(name + GUID_TEXT, ".json", sizeof ".json");
  return true;
}


/* ------------------------------------------------------------------
** Writing one
** ---------------------------------------------------------------- */

static value *identity_value(identity who) {
  value *map = value_map();
  if (value_put(map, "pid", value_int(who.pid)) &&
      value_put(map, "start", value_int(who.start)))
    return map;
  value_free(map);
  return NULL;
}

/* The path twice: for a person, and exactly. */
static value *item_value(const guard_item *item, const struct stat *st) {
  char device[32];
  buffer exact = BUFFER_EMPTY;
  snprintf(device, sizeof device, "%u:%u", major(st->st_dev),
           minor(st->st_dev));
  text_base64(&exact, item->path, strlen(item->path));
  value *map = value_map();
  bool good = !exact.failed && path_put(map, item->path) &&
              value_put(map, "path_b64", value_text(exact.data)) &&
              value_put(map, "device", value_text(device));
  buffer_free(&exact);
  if (good) return map;
  value_free(map);
  return NULL;
}

static value *items_value(const guard_item *items, size_t count) {
  value *list = value_list();
  bool good = list != NULL;
  for (size_t i = 0; good && i < count; i++) {
    struct stat st;
    if (items[i].action == GUARD_CONTINUE)
      good = value_add(
          list, identity_value((identity){items[i].pid, items[i].start}));
    if (items[i].action != GUARD_THAW || items[i].path == NULL) continue;
    good = fstat(items[i].fd, &st) == 0 &&
           value_add(list, item_value(&items[i], &st));
  }
  if (good) return list;
  value_free(list);
  return NULL;
}

static bool describe(buffer *b, pid_t pid, const guard_item *items,
                     size_t count) {
  char boot[64], space[64];
  identity_boot(boot);
  identity_space(space);
  value *map = value_map();
  bool good = map != NULL && format_stamp(map, 1) &&
              value_put(map, "boot", value_text(boot)) &&
              value_put(map, "space", value_text(space)) &&
              value_put(map, "owner", identity_value(identity_of(getpid()))) &&
              value_put(map, "guard", identity_value(identity_of(pid))) &&
              value_put(map, "items", items_value(items, count));
  if (good) json_write(b, map, JSON_INDENTED);
  buffer_byte(b, '\n');
  value_free(map);
  return good && !b->failed;
}

/* 0 or errno. Not synced: a freeze does not outlive the boot either. */
static int put(int records, const char *name, const buffer *b) {
  const int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  int fd = fd_own(openat(records, name, how, 0600));
  if (fd < 0) return errno;
  size_t done = 0;
  int r = 0;
  while (r == 0 && done < b->size) {
    ssize_t n = write(fd, b->data + done, b->size - done);
    if (n >= 0)
      done += (size_t)n;
    else if (errno != EINTR)
      r = errno;
  }
  fd_close(&fd);
  if (r == 0 && renameat(records, name, records, name + 1) != 0) r = errno;
  if (r != 0) unlinkat(records, name, 0);
  return r;
}

error *guard_record_write(int records, const char *name, pid_t pid,
                          const guard_item *items, size_t count) {
  buffer b = BUFFER_EMPTY;
  error *e = NULL;
  if (!describe(&b, pid, items, count)) {
    e = error_no_memory();
  } else {
    int r = put(records, name, &b);
    if (r != 0)
      e = vss_error(SAROS_E_REFUSED,
                    "nothing may be frozen, because no record of it can be "
                    "written to the runtime directory: %s",
                    strerrordesc_np(r));
  }
  buffer_free(&b);
  return e;
}
