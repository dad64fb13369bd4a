/*
** What is left frozen or stopped when guard and owner were killed together:
** read from the records, and let go. What is in that directory is believed only
** when it is a plain file of ours or of root, and no more of it than a bounded
** amount.
**
** A file system that was unmounted while it was frozen stays so on its device,
** and can be thawed when it is mounted again, wherever that is. Until then its
** record stays.
**
** An owner that was killed may not be dead yet: it may be asleep in the kernel,
** in a write to the very file system that it froze, which nobody but us will
** thaw any more; or in a FIFREEZE that may still succeed. So what it named is
** let go again and again until it has ended, and its record stays till then.
**
** A guard whose owner is dead may still have a FITHAW to do. Whoever wants to
** freeze the same file system waits for that.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/format.h"
#include "op/engine.h"
#include "op/fork.h"
#include "vss/grace.h"
#include "vss/guard_parts.h"

#define ENTRIES_MOST 4096
#define RECORD_MOST ((size_t)1 << 20)
#define PATIENCE_MS 10000 /* with those who are about to end */
#define AGAIN_MS 50       /* then what a dying owner may have frozen */

typedef struct recovery {
  int records;
  value *report;
  error *first; /* what could not be thawed */
  char boot[64], space[64];
  const dev_t *only; /* NULL: whatever is recorded */
  size_t only_count;
  uint64_t until; /* till then we wait for a guard or an owner that is about to
                     end; engine_clock */
  bool again;     /* what cannot be done has been said */
} recovery;

/* A sentence for the report and the log. */
static void say(recovery *r, log_level level, const char *path,
                const char *what) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, path, strlen(path));
  buffer_text(&b, what);
  if (!b.failed) {
    log_write(level, "vss", "%s", b.data);
    if (r->report != NULL) value_add(r->report, value_text(b.data));
  }
  buffer_free(&b);
}

/* Whatever it means: nothing is thawed by it, and nothing of it is lost. */
static void say_newer(recovery *r, const char *name, const error *e) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b,
                ": %s. What it froze stays frozen until then, or until "
                "`fsfreeze --unfreeze`",
                e->message);
  if (!b.failed) say(r, LOG_WARNING, name, b.data);
  buffer_free(&b);
}


/* ------------------------------------------------------------------
** Thawing
** ---------------------------------------------------------------- */

static bool parse_device(const char *text, dev_t *device) {
  unsigned a, b;
  char rest;
  if (sscanf(text, "%u:%u%c", &a, &b, &rest) != 2) return false;
  *device = makedev(a, b);
  return true;
}

/* The directory, when it is on that device: a descriptor of ours, or -1. */
static int open_on(const char *path, dev_t device) {
  struct stat st;
  const int how = O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC;
  int fd = fd_own(open(path, how));
  if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_dev != device)) fd_close(&fd);
  return fd;
}

/* \040 and the like, in place. */
static void unescape(char *text) {
  char *to = text;
  for (const char *at = text; *at != '\0'; to++) {
    unsigned n;
    if (at[0] == '\\' && sscanf(at + 1, "%3o", &n) == 1 && n > 0 && n < 256) {
      *to = (char)n;
      at += 4;
    } else {
      *to = *at++;
    }
  }
  *to = '\0';
}

/* Where else it is mounted. */
static int open_mounted(dev_t device) {
  FILE *f = fopen("/proc/self/mountinfo", "re");
  char *line = NULL;
  size_t room = 0;
  int fd = -1;
  while (fd < 0 && f != NULL && getline(&line, &room, f) > 0) {
    unsigned a, b;
    int at = 0, end = 0;
    if (sscanf(line, "%*d %*d %u:%u %*s %n%*s%n", &a, &b, &at, &end) != 2)
      continue;
    if (makedev(a, b) != device || end <= at) continue;
    line[end] = '\0';
    unescape(line + at);
    fd = open_on(line + at, device);
  }
  free(line);
  if (f != NULL) fclose(f);
  return fd;
}

/* True when nothing is left to do for it. */
static bool thaw(recovery *r, const char *path, dev_t device) {
  int fd = open_on(path, device);
  if (fd < 0) fd = open_mounted(device);
  if (fd < 0) {
    if (r->again) return false;
    say(r, LOG_WARNING, path,
        " was frozen by a process that is dead, and is not mounted any more; "
        "mount it, and what is frozen will be thawed the next time");
    return false;
  }
  int number = ioctl(fd, FITHAW, 0) == 0 ? 0 : errno;
  fd_close(&fd);
  if (number == EINVAL) return true; /* it is not frozen */
  if (number == 0) {
    say(r, LOG_WARNING, path,
        " was left frozen by a process that was killed, and was thawed");
    return true;
  }
  if (r->again) return false;
  error *e = error_of_errno(
      SAROS_FACADE_VSS, number,
      "cannot thaw what a dead process left frozen; try fsfreeze -u", path);
  say(r, LOG_ERROR, path, " was left frozen and cannot be thawed");
  if (r->first == NULL)
    r->first = e;
  else
    error_unref(e);
  return false;
}

/* The path exactly; false when it is none. */
static bool exact_path(const value *item, buffer *path) {
  const char *text = value_chars(value_get(item, "path_b64"), "");
  return text_unbase64(path, text, strlen(text)) && path->size > 0 &&
         path->data[0] == '/' && strlen(path->data) == path->size;
}

/* True when nothing is left to do for it. The descriptor is there before its
   start is read: so the number was that one's all the time, and a process that
   was given it later is never meant. */
static bool go_on(recovery *r, identity who) {
  char name[64];
  if (who.pid <= 1 || who.pid > INT32_MAX || who.start == 0) return true;
  int fd = fd_own(pidfd_open((pid_t)who.pid, 0));
  if (fd < 0) return errno == ESRCH || errno == EINVAL;
  bool meant = identity_of((pid_t)who.pid).start == who.start &&
               identity_state((pid_t)who.pid) == 'T';
  int number = 0;
  if (meant && pidfd_send_signal(fd, SIGCONT, NULL, 0) != 0) number = errno;
  fd_close(&fd);
  if (!meant || number == ESRCH) return true;
  snprintf(name, sizeof name, "process %lld", (long long)who.pid);
  say(r, number == 0 ? LOG_WARNING : LOG_ERROR, name,
      number == 0 ? " was left stopped by a process that was killed, and goes "
                    "on"
                  : " was left stopped, and may not be continued; try kill "
                    "-CONT as its owner");
  return number == 0;
}

static bool let_go(recovery *r, const value *item) {
  buffer path = BUFFER_EMPTY;
  dev_t device;
  if (value_get(item, "pid") != NULL)
    return go_on(
        r, (identity){.pid = value_integer(value_get(item, "pid"), 0),
                      .start = value_integer(value_get(item, "start"), 0)});
  bool done = true; /* what makes no sense will make none the next time */
  const char *text = value_chars(value_get(item, "device"), "");
  if (parse_device(text, &device) && exact_path(item, &path))
    done = thaw(r, path.data, device);
  buffer_free(&path);
  return done;
}


/* ------------------------------------------------------------------
** Records
** ---------------------------------------------------------------- */

static identity identity_in(const value *record, const char *name) {
  const value *map = value_get(record, name);
  return (identity){.pid = value_integer(value_get(map, "pid"), 0),
                    .start = value_integer(value_get(map, "start"), 0)};
}

static bool is_wanted(const recovery *r, const value *item) {
  dev_t device;
  if (!parse_device(value_chars(value_get(item, "device"), ""), &device))
    return false;
  for (size_t i = 0; i < r->only_count; i++)
    if (r->only[i] == device) return true;
  return false;
}

/* The first of it that we want to freeze; NULL: none. */
static const value *first_wanted(const recovery *r, const value *record) {
  const value *items = value_get(record, "items");
  for (uint32_t i = 0; items != NULL && items->type == VALUE_LIST; i++) {
    if (i >= items->count || i >= GUARD_MOST) break;
    if (is_wanted(r, items->as.items[i])) return items->as.items[i];
  }
  return NULL;
}

/* Why what is wanted is not frozen: somebody who is about to end lives on. */
static void refuse(recovery *r, identity who, const value *item,
                   const char *what) {
  buffer path = BUFFER_EMPTY;
  if (r->first == NULL && exact_path(item, &path))
    r->first =
        error_at(vss_error(SAROS_E_REFUSED,
                           "%s is not frozen, because %s (process %lld) still "
                           "waits for its disk; try again when that has ended",
                           path.data, what, (long long)who.pid),
                 path.data);
  buffer_free(&path);
}

/* Milliseconds, at least one; 0: no more. */
static int patience(const recovery *r) {
  uint64_t now = engine_clock();
  return now >= r->until ? 0 : (int)((r->until - now) / 1000000u) + 1;
}

/* False: it lives on. One that was killed lets nothing go any more. */
static bool await_guard(recovery *r, identity who, const value *item) {
  while (!identity_is_doomed(who)) {
    int ms = patience(r);
    if (ms == 0) {
      refuse(r, who, item, "the guard of a requester that died");
      return false;
    }
    identity_await(who, ms);
  }
  return true;
}

/* Whether somebody still looks after it, or may do so. */
static bool is_looked_after(recovery *r, const value *record,
                            const char *name) {
  const char *space = value_chars(value_get(record, "space"), "");
  if (space[0] != '\0' && r->space[0] != '\0' && strcmp(space, r->space) != 0) {
    log_write(LOG_DEBUG, "vss",
              "the record %s is of a container whose processes are not seen "
              "from here",
              name);
    return true;
  }
  identity who = identity_in(record, "guard");
  if (!identity_is_doomed(identity_in(record, "owner"))) return true;
  if (r->only == NULL) return !identity_is_doomed(who);
  return !await_guard(r, who, first_wanted(r, record));
}

/* True when nothing is left to do for any. */
static bool let_go_all(recovery *r, const value *items) {
  bool done = true;
  for (uint32_t i = 0; items != NULL && items->type == VALUE_LIST; i++) {
    if (i >= items->count || i >= GUARD_MOST) break;
    if (!let_go(r, items->as.items[i])) done = false;
  }
  return done;
}

static bool let_go_until_its_end(recovery *r, const value *record) {
  const value *items = value_get(record, "items");
  identity owner = identity_in(record, "owner");
  bool lives = identity_lives(owner);
  bool done = let_go_all(r, items);
  while (lives && patience(r) > 0) {
    identity_await(owner, AGAIN_MS);
    lives = identity_lives(owner); /* before: what it did last is seen */
    r->again = true;
    done = let_go_all(r, items);
    r->again = false;
  }
  if (lives && r->only != NULL)
    refuse(r, owner, first_wanted(r, record), "a requester that was killed");
  return done && !lives;
}

/* True when the record is of no use any more. */
static bool settle(recovery *r, const value *record, const char *name) {
  const char *boot = value_chars(value_get(record, "boot"), "");
  if (boot[0] != '\0' && r->boot[0] != '\0' && strcmp(boot, r->boot) != 0)
    return true; /* nothing is frozen after a boot */
  if (r->only != NULL && first_wanted(r, record) == NULL) return false;
  if (is_looked_after(r, record, name)) return false;
  return let_go_until_its_end(r, record);
}

/* The whole of it, when it may be believed. */
static bool read_record(int fd, buffer *b) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return false;
  if (st.st_uid != geteuid() && st.st_uid != 0) return false;
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) return false;
  if (st.st_size <= 0 || (size_t)st.st_size > RECORD_MOST) return false;
  size_t size = (size_t)st.st_size;
  char *text = buffer_room(b, size);
  if (text == NULL) return false;
  ssize_t n;
  do n = pread(fd, text, size, 0);
  while (n < 0 && errno == EINTR);
  if (n > 0) b->size += (size_t)n;
  return n > 0;
}

static void look_at(recovery *r, const char *name) {
  const json_limits limits = {.depth = 8, .values = 2000, .size = RECORD_MOST};
  const int how = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  buffer b = BUFFER_EMPTY;
  error *e = NULL;
  int fd = fd_own(openat(r->records, name, how));
  if (fd < 0 && errno == ENOENT) return; /* its owner was quicker */
  value *record = NULL;
  if (fd >= 0 && read_record(fd, &b))
    record = json_read(b.data, b.size, &limits, &e);
  fd_close(&fd);
  error *newer = format_newer(SAROS_FACADE_VSS, VSS_E_NOT_SUPPORTED, record, 1,
                              "the record of something frozen");
  if (newer != NULL)
    say_newer(r, name, newer);
  else if (value_integer(value_get(record, "version"), 0) != 1)
    say(r, LOG_WARNING, name,
        " is no record of something frozen that could be believed; ignored");
  else if (settle(r, record, name))
    unlinkat(r->records, name, 0);
  value_free(record);
  error_unref(newer);
  error_unref(e);
  buffer_free(&b);
}

static void look_at_all(recovery *r) {
  int copy = openat(r->records, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
  if (list == NULL && copy >= 0) close(copy);
  int seen = 0;
  for (struct dirent *d; list != NULL && (d = readdir(list)) != NULL;) {
    size_t size = strlen(d->d_name);
    bool named = size > 5 && strcmp(d->d_name + size - 5, ".json") == 0;
    if (d->d_name[0] == '.' || !named) continue;
    if (++seen > ENTRIES_MOST) {
      log_write(LOG_WARNING, "vss",
                "there are more than %d records of frozen file systems; the "
                "rest is ignored",
                ENTRIES_MOST);
      break;
    }
    look_at(r, d->d_name);
  }
  if (list != NULL) closedir(list);
}

static error *recover(recovery *r, const char *runtime) {
  error *e = NULL;
  r->records = guard_records(runtime, false, &e);
  if (e != NULL && e->number == ENOENT) { /* nothing was ever frozen */
    error_unref(e);
    return NULL;
  }
  if (e != NULL) return e;
  r->until = engine_clock() + PATIENCE_MS * (uint64_t)1000000;
  identity_boot(r->boot);
  identity_space(r->space);
  look_at_all(r);
  fd_close(&r->records);
  return r->first;
}

error *guard_recover(const char *runtime, value *report) {
  recovery r = {.report = report};
  grace_heal();
  return recover(&r, runtime);
}

error *guard_await_others(const char *runtime, const dev_t *devices,
                          size_t count) {
  recovery r = {.only = devices, .only_count = count};
  return recover(&r, runtime);
}
