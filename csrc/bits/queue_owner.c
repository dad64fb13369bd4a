/*
** Who owns the queue. A file beside it ("queue.db.owner") is held by flock(2)
** and names who holds it: the machine's boot, the process, and when that began.
** The lock is what counts: a process that died has none. The name is for
** people, and for a process that lives but has lost the lock (a program that
** closes descriptors that are not its own): it still counts.
**
** The file is never removed: of two who lock, one might lock what has no name
** any more.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "bits/queue_parts.h"

/* It always has that size: to write it anew needs no room on a full disk. */
#define SIZE 256
#define MAGIC "saros queue 1\n"

typedef struct named {
  bool known; /* the file is one of ours */
  bool any;   /* and names somebody */
  char boot[40], name[32], since[32];
  unsigned long long pids, pid, started;
  unsigned long long queue; /* what it calls itself, or 0 */
} named;


/* ------------------------------------------------------------------
** Processes
** ---------------------------------------------------------------- */

static bool read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

/* When it began, in ticks after boot; 0: it is not there, or has died and was
   only not asked for. The name in the brackets may have brackets in it. */
static unsigned long long started(unsigned long long pid) {
  char path[64], text[1024], state = 'Z';
  unsigned long long ticks = 0;
  snprintf(path, sizeof path, "/proc/%llu/stat", pid);
  if (!read_text(path, text, sizeof text)) return 0;
  const char *at = strrchr(text, ')');
  if (at == NULL || sscanf(at, ") %c", &state) != 1 || state == 'Z') return 0;
  for (int field = 2; at != NULL && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at != NULL && sscanf(at, "%llu", &ticks) == 1 ? ticks : 0;
}

static unsigned long long pid_namespace(void) {
  struct stat st;
  return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

static void name_us(named *n) {
  time_t now = time(NULL);
  struct tm tm;
  memset(n, 0, sizeof *n);
  n->any = true;
  if (read_text("/proc/sys/kernel/random/boot_id", n->boot, 37))
    n->boot[36] = '\0';
  if (!read_text("/proc/self/comm", n->name, sizeof n->name))
    snprintf(n->name, sizeof n->name, "?");
  for (char *c = n->name; *c != '\0'; c++)
    if ((unsigned char)*c <= ' ' || *c >= 0x7F) *c = c[1] == '\0' ? '\0' : '_';
  n->pids = pid_namespace();
  n->pid = (unsigned long long)getpid();
  n->started = started(n->pid);
  if (gmtime_r(&now, &tm) == NULL ||
      strftime(n->since, sizeof n->since, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    snprintf(n->since, sizeof n->since, "?");
}

/* Whether the process has this file open, as far as anybody tells us. */
static bool has_open(unsigned long long pid, const struct stat *file) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%llu/fd", pid);
  DIR *d = opendir(path);
  if (d == NULL) return true; /* not for us to see */
  bool found = false;
  const struct dirent *entry;
  while (!found && (entry = readdir(d)) != NULL) {
    struct stat st;
    found = fstatat(dirfd(d), entry->d_name, &st, 0) == 0 &&
            st.st_dev == file->st_dev && st.st_ino == file->st_ino;
  }
  closedir(d);
  return found;
}

/* Of this machine, since this boot, in our own numbers: it is there. */
static bool is_alive(const named *n, const named *us) {
  return n->any && strcmp(n->boot, us->boot) == 0 && n->pids == us->pids &&
         started(n->pid) == n->started && n->started != 0;
}

static bool is_us(const named *n, const named *us) {
  return n->any && strcmp(n->boot, us->boot) == 0 && n->pids == us->pids &&
         n->pid == us->pid && n->started == us->started;
}


/* ------------------------------------------------------------------
** The file
** ---------------------------------------------------------------- */

static void read_named(int fd, named *n) {
  char text[SIZE + 1];
  ssize_t size = pread(fd, text, SIZE, 0);
  memset(n, 0, sizeof *n);
  text[size > 0 ? size : 0] = '\0';
  n->known = strncmp(text, MAGIC, strlen(MAGIC)) == 0;
  if (n->known) sscanf(text + strlen(MAGIC), "queue %16llx", &n->queue);
  n->any =
      n->known &&
      sscanf(text + strlen(MAGIC),
             "queue %*16s\nboot %39s\npids %llu\npid %llu\nstarted %llu\n"
             "name %31s\nsince %31s\n",
             n->boot, &n->pids, &n->pid, &n->started, n->name, n->since) == 6;
}

static int write_text(int fd, const char *text) {
  char room[SIZE];
  for (size_t i = 0; i < SIZE; i++) room[i] = *text != '\0' ? *text++ : '\n';
  ssize_t n = pwrite(fd, room, SIZE, 0);
  return n == SIZE ? 0 : n < 0 ? errno : ENOSPC;
}

static int write_named(int fd, const named *n) {
  char text[SIZE + 1];
  snprintf(text, sizeof text,
           MAGIC
           "queue %016llx\nboot %s\npids %llu\npid %llu\nstarted %llu\nname "
           "%s\nsince %s\n",
           n->queue, n->boot[0] != '\0' ? n->boot : "?", n->pids, n->pid,
           n->started, n->name[0] != '\0' ? n->name : "?", n->since);
  return write_text(fd, text);
}

/* -1: errno. */
static int open_file(const bits_queue *q, int flags) {
  char *path = queue_beside(q, ".owner");
  if (path == NULL) {
    errno = ENOMEM;
    return -1;
  }
  int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
  int number = errno;
  struct stat st;
  if (fd >= 0 &&
      (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())) {
    close(fd);
    fd = -1;
    number = EPERM;
  }
  mem_free(path);
  errno = number;
  return fd;
}

/* Whether the name still leads to what is open. */
static bool is_there(const bits_queue *q, int fd) {
  struct stat here, there;
  char *path = queue_beside(q, ".owner");
  bool same = path != NULL && fstat(fd, &here) == 0 &&
              lstat(path, &there) == 0 && here.st_dev == there.st_dev &&
              here.st_ino == there.st_ino;
  mem_free(path);
  return same;
}

/* On some file systems everybody gets the lock. */
static bool is_exclusive(const bits_queue *q) {
  int other = open_file(q, O_RDWR);
  bool is = other < 0 || flock(other, LOCK_EX | LOCK_NB) != 0;
  if (other >= 0) close(other);
  return is;
}

static error *cannot(const bits_queue *q, int number) {
  if (number == ENOMEM) return queue_no_memory();
  return queue_fail(code_of_errno(number),
                    "cannot lock the queue %s: its file .owner: %s", q->path,
                    strerror(number));
}

/* It is locked. Whether that makes us the owner. */
static error *locked(bits_queue *q, int fd, bool *taken) {
  named us, before;
  struct stat st;
  name_us(&us);
  read_named(fd, &before);
  if (!is_exclusive(q))
    return queue_fail(SAROS_E_REFUSED,
                      "the file system of %s does not lock files, so two "
                      "could work on one queue: put it on a local disk",
                      q->path);
  if (is_alive(&before, &us) && !is_us(&before, &us) && fstat(fd, &st) == 0 &&
      has_open(before.pid, &st))
    return NULL;
  us.queue = before.queue;
  int number = write_named(fd, &us);
  /* A full disk is no reason not to work on what is in the queue. */
  if (number != 0 && number != ENOSPC && number != EDQUOT)
    return cannot(q, number);
  snprintf(q->who, sizeof q->who, "pid %llu (%s), since %s", us.pid, us.name,
           us.since);
  *taken = true;
  return NULL;
}

error *queue_owner_take(bits_queue *q, bool *taken) {
  *taken = false;
  /* A few times: between a fork and the exec behind it a child has the lock,
     too, of an owner who has died just then. */
  for (int tries = 0; tries < 20; tries++) {
    int fd = open_file(q, O_RDWR | O_CREAT);
    if (fd < 0) return cannot(q, errno);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      error *e = is_there(q, fd) ? locked(q, fd, taken) : NULL;
      if (*taken) {
        q->lock = fd;
        return NULL;
      }
      bool again = e == NULL && !is_there(q, fd);
      close(fd);
      if (!again) return e;
      continue;
    }
    int number = errno;
    named us, other;
    name_us(&us);
    read_named(fd, &other);
    close(fd);
    if (number != EWOULDBLOCK && number != EINTR) return cannot(q, number);
    if (is_alive(&other, &us) || (other.any && other.pids != us.pids))
      return NULL;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  return NULL;
}

void queue_owner_release(bits_queue *q) {
  if (q->lock < 0) return;
  char text[64]; /* nobody */
  snprintf(text, sizeof text, MAGIC "queue %016llx\n",
           (unsigned long long)q->known_id);
  write_text(q->lock, text);
  close(q->lock);
  q->lock = -1;
  q->owner = false;
}

void queue_owner_known(bits_queue *q) {
  named n = {0};
  int fd = open_file(q, O_RDONLY);
  if (fd < 0) return;
  read_named(fd, &n);
  close(fd);
  q->known = n.known;
  q->known_id = n.queue;
}

/* As with the rest of it: on a full disk it stays as it is. */
void queue_owner_note_id(bits_queue *q) {
  named us;
  if (q->known_id == q->id) return;
  read_named(q->lock, &us);
  us.queue = q->known_id = q->id;
  if (us.any) write_named(q->lock, &us);
}

void queue_owner_tell(bits_queue *q, buffer *b) {
  if (q->owner) {
    buffer_text(b, q->who);
    return;
  }
  named n, us;
  int fd = open_file(q, O_RDONLY);
  if (fd < 0) return;
  read_named(fd, &n);
  /* Who has died is no owner; of whom we cannot see, the lock tells. */
  name_us(&us);
  bool held = is_alive(&n, &us) ||
              (n.any && n.pids != us.pids && flock(fd, LOCK_SH | LOCK_NB) != 0);
  close(fd);
  if (!held) return;
  buffer_format(b, "pid %llu (", n.pid);
  text_escape(b, n.name, strlen(n.name));
  buffer_text(b, "), since ");
  text_escape(b, n.since, strlen(n.since));
}
