/*
** lock: the one creation at a time. A record lock of fcntl, because that is
** the process's alone: a child that was forked does not have it, and it goes
** with the process however that ends. But it excludes nobody in the same
** process, and any close of the file there would drop it; so who holds it here
** is on a list, which is asked before the file is touched.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/record_parts.h"

enum { TRIES = 16, SAID_MOST = 4096 };

struct set_lock {
  set_lock *next;
  dev_t dev; /* of the directory: the file in it may be replaced */
  ino_t ino;
  int fd;
  uint16_t generation;
  char since[40];
};

static set_lock *held; /* in this process */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;


/* ------------------------------------------------------------------
** Fork
** ---------------------------------------------------------------- */

static void before(void) {
  pthread_mutex_lock(&mutex);
}

static void in_parent(void) {
  pthread_mutex_unlock(&mutex);
}

static void in_child(void) {
  held = NULL; /* they are the parent's */
  pthread_mutex_unlock(&mutex);
}

/* After those of fork.c: handlers run in reverse, and who has this lock takes
   theirs. */
static void prepare(void) {
  fork_prepare();
  pthread_atfork(before, in_parent, in_child);
}


/* ------------------------------------------------------------------
** Who has it
** ---------------------------------------------------------------- */

static error *in_progress(long pid, const char *program, const char *since) {
  char who[200];
  if (pid == (long)getpid())
    snprintf(who, sizeof who, "this process");
  else if (pid > 0)
    snprintf(who, sizeof who, "process %ld%s%.100s%s", pid,
             *program != '\0' ? " (" : "", program,
             *program != '\0' ? ")" : "");
  else
    snprintf(who, sizeof who, "another process");
  return vss_error(VSS_E_SNAPSHOT_SET_IN_PROGRESS,
                   "%s has been making a shadow copy%s%s, and there is one at "
                   "a time; try again when that is done",
                   who, *since != '\0' ? " since " : "", since);
}


/* What the holder wrote into the file is believed as far as the kernel names
   the same process. (It names none in another namespace.) */
static error *somebody_else(int fd, const struct flock *lock) {
  char text[SAID_MOST];
  ssize_t n = pread(fd, text, sizeof text, 0);
  error *bad = NULL;
  value *said = n > 0 ? json_read(text, (size_t)n, NULL, &bad) : NULL;
  error_unref(bad);
  long pid = (long)value_integer(value_get(value_get(said, "owner"), "pid"), 0);
  bool true_ = lock->l_pid <= 0 || pid == (long)lock->l_pid;
  buffer program = BUFFER_EMPTY, since = BUFFER_EMPTY;
  if (true_ && said != NULL) {
    const char *name = record_text(said, "program");
    const char *time = record_text(said, "since");
    text_escape(&program, name, strlen(name));
    text_escape(&since, time, strnlen(time, 40));
  }
  if (!true_) pid = (long)lock->l_pid;
  error *e = in_progress(pid, program.size > 0 ? program.data : "",
                         since.size > 0 ? since.data : "");
  buffer_free(&program);
  buffer_free(&since);
  value_free(said);
  return e;
}


/* For those who come and find it taken; without it they only know less. */
static void say_who(int fd, const char *since) {
  value *map = value_map();
  buffer text = BUFFER_EMPTY;
  if (map != NULL && owner_put(map) &&
      record_put_text(map, "program", program_invocation_short_name) &&
      record_put_text(map, "since", since))
    json_write(&text, map, JSON_COMPACT);
  if (ftruncate(fd, 0) == 0 && text.size > 0 && !text.failed &&
      pwrite(fd, text.data, text.size, 0) != (ssize_t)text.size)
    (void)!ftruncate(fd, 0);
  buffer_free(&text);
  value_free(map);
}


/* ------------------------------------------------------------------
** Taking and giving
** ---------------------------------------------------------------- */

static error *cannot(const char *what, const places *p) {
  return error_of_errno(SAROS_FACADE_VSS, errno, what, p->runtime);
}


/* The file of a lock may be swept away with other old files while nobody has
   it; who locked the old one has locked nothing. */
static bool is_still_there(int dir, int fd) {
  struct stat mine, there;
  return fstat(fd, &mine) == 0 && fstatat(dir, "lock", &there, 0) == 0 &&
         mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}


static error *lock_file(const places *p, int dir, int *fd) {
  for (int tries = 0; tries < TRIES; tries++) {
    *fd = fd_own(openat(dir, "lock",
                        O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                        0600));
    if (*fd < 0)
      return cannot("cannot open the lock of the one creation at a time", p);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(*fd, F_SETLK, &lock) == 0) {
      if (is_still_there(dir, *fd)) return NULL;
    } else if (errno == EAGAIN || errno == EACCES) {
      struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
      if (fcntl(*fd, F_GETLK, &other) != 0)
        return cannot("cannot see who holds the lock", p);
      if (other.l_type != F_UNLCK) return somebody_else(*fd, &other);
    } else if (errno != EINTR) {
      return cannot("cannot take the lock of the one creation at a time", p);
    }
    fd_close(fd);
  }
  return vss_error(VSS_E_SNAPSHOT_SET_IN_PROGRESS,
                   "the lock in '%s' changes hands all the time; try again",
                   p->runtime);
}


/* With the mutex held: closing what was opened here must not drop the lock
   that another thread is just taking. */
static error *take(const places *p, int dir, set_lock *l) {
  for (const set_lock *o = held; o != NULL; o = o->next)
    if (o->dev == l->dev && o->ino == l->ino)
      return in_progress((long)getpid(), "", o->since);
  error *e = lock_file(p, dir, &l->fd);
  if (e != NULL) {
    fd_close(&l->fd);
    return e;
  }
  say_who(l->fd, l->since);
  l->next = held;
  held = l;
  return NULL;
}


set_lock *set_lock_take(const places *p, error **e) {
  pthread_once(&once, prepare);
  set_lock *l = mem_zero(sizeof *l);
  if (l == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  l->fd = -1;
  l->generation = fork_generation;
  record_time(NULL, l->since);
  struct stat st;
  int dir = fd_own(open(p->runtime, O_PATH | O_DIRECTORY | O_CLOEXEC));
  error *why = NULL;
  if (dir < 0 || fstat(dir, &st) != 0) {
    why = cannot("cannot open the runtime directory", p);
  } else {
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    pthread_mutex_lock(&mutex);
    why = take(p, dir, l);
    pthread_mutex_unlock(&mutex);
  }
  fd_close(&dir);
  if (why == NULL) return l;
  mem_free(l);
  *e = why;
  return NULL;
}


void set_lock_give(set_lock *l) {
  if (l == NULL) return;
  if (l->generation == fork_generation) {
    pthread_mutex_lock(&mutex);
    set_lock **at = &held;
    while (*at != l) at = &(*at)->next;
    *at = l->next;
    (void)!ftruncate(l->fd, 0); /* nobody is said to have it */
    fd_close(&l->fd);
    pthread_mutex_unlock(&mutex);
  }
  mem_free(l);
}
