/*
** How the guard learns at once that its owner dies. A process that is killed
** is not dead as long as one of its threads is asleep in the kernel, and one
** may be asleep in a write to the very file system that is frozen: until that
** is thawed it keeps the process, and with it every descriptor that the
** threads share. So a thread that does nothing but wait, and therefore dies at
** once, has a table of descriptors of its own, with one end of a pipe in it.
** The guard hears when that is closed.
*/
#include <errno.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "op/fork.h"
#include "op/thread.h"
#include "vss/guard_parts.h"

struct guard_life {
  pthread_t id;
  int end; /* of the pipe; ours, until the thread has its own */
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool ready, dismissed; /* under the lock */
  int failed;            /* errno; under the lock */
};


/* ------------------------------------------------------------------
** The thread
** ---------------------------------------------------------------- */

static long close_range_raw(unsigned first, unsigned last, unsigned how) {
  return syscall(SYS_close_range, first, last, how);
}

/* From here on this thread has this descriptor, and no other. 0 or errno. */
static int keep_only(int fd) {
  unsigned n = (unsigned)fd;
  if (close_range_raw(n + 1, ~0u, CLOSE_RANGE_UNSHARE) != 0) {
    if (unshare(CLONE_FILES) != 0) return errno;
    for (unsigned other = n + 1; other < 65536; other++)
      syscall(SYS_close, other);
  }
  for (unsigned other = 0; other < n; other++) syscall(SYS_close, other);
  return 0;
}

static void *wait_for_the_end(void *argument) {
  guard_life *l = argument;
  int failed = keep_only(l->end);
  pthread_mutex_lock(&l->lock);
  l->failed = failed;
  l->ready = true;
  pthread_cond_signal(&l->moved);
  while (!l->dismissed) pthread_cond_wait(&l->moved, &l->lock);
  pthread_mutex_unlock(&l->lock);
  return NULL;
}


/* ------------------------------------------------------------------
** Its beginning and its end
** ---------------------------------------------------------------- */

static void await_ready(guard_life *l) {
  pthread_mutex_lock(&l->lock);
  while (!l->ready) pthread_cond_wait(&l->moved, &l->lock);
  int failed = l->failed;
  pthread_mutex_unlock(&l->lock);
  if (failed == 0) {
    fd_close(&l->end);
    return;
  }
  /* Our end stays with all the others: it tells as much as they do. */
  log_write(LOG_DEBUG, "vss",
            "no thread can have descriptors of its own (%s): a guard may learn "
            "late that its owner was killed",
            strerrordesc_np(failed));
}

guard_life *guard_life_begin(int *theirs, error **e) {
  int ends[2] = {-1, -1};
  guard_life *l = mem_zero(sizeof *l);
  *e = NULL;
  *theirs = -1;
  if (l == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  int number = fd_pipe(ends) != 0 ? errno : 0;
  if (number == 0 && (ends[0] < 0 || ends[1] < 0)) number = EMFILE;
  l->end = ends[1];
  pthread_mutex_init(&l->lock, NULL);
  pthread_cond_init(&l->moved, NULL);
  if (number == 0) number = thread_start(&l->id, wait_for_the_end, l);
  if (number == 0) {
    await_ready(l);
    *theirs = ends[0];
    return l;
  }
  *e = error_of_errno(SAROS_FACADE_VSS, number,
                      "cannot begin the thread by whose end a guard learns of "
                      "ours",
                      NULL);
  fd_close(&ends[0]);
  fd_close(&ends[1]);
  pthread_cond_destroy(&l->moved);
  pthread_mutex_destroy(&l->lock);
  mem_free(l);
  return NULL;
}

void guard_life_end(guard_life *l) {
  pthread_mutex_lock(&l->lock);
  l->dismissed = true;
  pthread_cond_signal(&l->moved);
  pthread_mutex_unlock(&l->lock);
  pthread_join(l->id, NULL);
  fd_close(&l->end);
  pthread_cond_destroy(&l->moved);
  pthread_mutex_destroy(&l->lock);
  mem_free(l);
}

void guard_life_forked(guard_life *l) {
  mem_free(l);
}
