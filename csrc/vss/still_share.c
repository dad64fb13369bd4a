/*
** Processes that several hold at once: two writers of one set may mean the
** same one. The first that wants it stopped does that, and the last that lets
** it go continues it; each has guards of its own. Who is stopped and none of
** these was stopped by somebody else, and stays so.
*/
#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>

#include "op/fork.h"
#include "vss/still_parts.h"

struct still_share {
  still_share *next;
  identity who;
  uint16_t generation; /* what is found in a forked child is its parent's */
  unsigned holders;
  bool stopped;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static still_share *all;

static void before_fork(void) {
  pthread_mutex_lock(&lock);
}

static void after_fork(void) {
  pthread_mutex_unlock(&lock);
}

static void prepare(void) {
  pthread_atfork(before_fork, after_fork, after_fork);
}

/* No signal is sent and no state is looked at without it: else somebody could
   take for another's what we are just about to continue. */
static void hold(void) {
  pthread_once(&once, prepare);
  pthread_mutex_lock(&lock);
}

static still_share *find(identity who) {
  still_share *s = all;
  while (s != NULL && (s->generation != fork_generation ||
                       s->who.pid != who.pid || s->who.start != who.start))
    s = s->next;
  return s;
}

error *still_share_begin(stopped *p) {
  still_share *fresh = mem_zero(sizeof *fresh);
  if (fresh == NULL) return error_no_memory();
  *fresh = (still_share){.who = p->who, .generation = fork_generation};
  hold();
  p->share = find(p->who);
  if (p->share == NULL && still_state(p) != 'T') {
    fresh->next = all;
    p->share = all = fresh;
    fresh = NULL;
  }
  p->ours = p->share != NULL;
  if (p->ours) p->share->holders++;
  pthread_mutex_unlock(&lock);
  mem_free(fresh);
  return NULL;
}

int still_share_stop(const stopped *p) {
  hold();
  int number = pidfd_send_signal(p->fd, SIGSTOP, NULL, 0) == 0 ? 0 : errno;
  p->share->stopped |= number == 0;
  pthread_mutex_unlock(&lock);
  return number;
}

static void take_out(still_share *s) {
  still_share **at = &all;
  while (*at != s) at = &(*at)->next;
  *at = s->next;
}

void still_share_end(stopped *p) {
  still_share *s = p->share;
  p->share = NULL;
  if (s == NULL) return;
  hold();
  bool last = --s->holders == 0;
  if (last && s->stopped) pidfd_send_signal(p->fd, SIGCONT, NULL, 0);
  if (last) take_out(s);
  pthread_mutex_unlock(&lock);
  if (last) mem_free(s);
}
