/*
** Stopping processes.
**
** Each is held by a pidfd, so that a number which somebody else was given means
** nobody, and marked at the guard before it gets SIGSTOP. That is not obeyed at
** once: a thread in the middle of a write stops when it comes out of the
** kernel. So all are looked at until every thread of each is stopped; then all
** is looked through for new ones, which a fork had begun meanwhile.
**
** A guard watches over 64: each round of new ones has guards of its own. Who
** was stopped before is none of ours: it is looked at, and never continued.
*/
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>

#include "op/engine.h"
#include "op/fork.h"
#include "vss/record.h"
#include "vss/still_parts.h"

#define ROUNDS_MOST 64 /* then it is a fork bomb */
#define REST 50000000u /* ns; then it stands, as far as can be told */

static error *why_not(int number, const still_look *l) {
  char what[100];
  snprintf(what, sizeof what, "process %ld (%s) cannot be stopped",
           (long)l->pid, l->name);
  if (number != EINVAL)
    return error_of_errno(SAROS_FACADE_VSS, number, what, NULL);
  return vss_error(SAROS_E_REFUSED, "%s: %ld is one of a process's threads",
                   what, (long)l->pid);
}

/* One more that is to be held. Nothing is done to it yet. */
static error *note(still *s, pid_t pid) {
  still_look l;
  if (s->count == s->room) {
    size_t room = s->room == 0 ? 64 : s->room * 2;
    stopped *list = mem_grow(s->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    s->list = list;
    s->room = room;
  }
  stopped p = {.fd = fd_own(pidfd_open(pid, 0))};
  if (p.fd < 0 && errno == ESRCH) return NULL;
  int number = p.fd < 0 ? errno : 0;
  if (!still_look_at(pid, &l)) {
    fd_close(&p.fd);
    return NULL;
  }
  error *e = still_refuse(&l);
  if (e == NULL && number == 0 && pidfd_send_signal(p.fd, 0, NULL, 0) != 0)
    number = errno;
  if (e == NULL && number != 0 && number != ESRCH) e = why_not(number, &l);
  p.who = identity_of(pid);
  if (e == NULL && number == 0 && still_state(&p) != 0)
    e = still_share_begin(&p);
  else
    p.gone = true;
  if (e != NULL || p.gone) {
    fd_close(&p.fd);
    return e;
  }
  memcpy(p.name, l.name, sizeof p.name);
  s->list[s->count++] = p;
  return NULL;
}

/* Guards for those from `first` on. The last to be stopped is the first that
   they let go. */
static error *arm(still *s, size_t first, const char *runtime) {
  error *e = NULL;
  size_t end = s->count;
  while (e == NULL && end > first) {
    guard_item items[GUARD_MOST];
    size_t count = 0, at = end;
    memset(items, 0, sizeof items);
    for (; at > first && count < GUARD_MOST; at--) {
      stopped *p = &s->list[at - 1];
      if (!p->ours) continue;
      p->item = count;
      items[count++] = (guard_item){.action = GUARD_CONTINUE,
                                    .fd = p->fd,
                                    .ms = (uint32_t)(s->seconds * 1000),
                                    .pid = p->who.pid,
                                    .start = p->who.start};
    }
    guard *g = NULL;
    if (count > 0 && s->guard_count == GUARDS_MOST)
      e = vss_error(SAROS_E_REFUSED,
                    "more than %d processes cannot be held still",
                    GUARDS_MOST * GUARD_MOST);
    else if (count > 0)
      g = guard_arm(items, count, runtime, &e);
    if (g != NULL) s->guards[s->guard_count++] = g;
    for (; g != NULL && end > at; end--)
      if (s->list[end - 1].ours) s->list[end - 1].g = g;
    end = at;
  }
  return e;
}

static error *stop(stopped *p) {
  if (p->g == NULL) return NULL;
  if (!guard_mark(p->g, p->item, true))
    return vss_error(SAROS_E_REFUSED,
                     "process %lld (%s) is not stopped, because the guard that "
                     "would continue it after a crash is gone",
                     (long long)p->who.pid, p->name);
  int number = still_share_stop(p);
  if (number == 0) return NULL;
  guard_mark(p->g, p->item, false);
  p->g = NULL;
  if (number == ESRCH) return NULL;
  still_look l = {.pid = (pid_t)p->who.pid};
  memcpy(l.name, p->name, sizeof l.name);
  return why_not(number, &l);
}

static error *does_not_stop(const still *s, const stopped *p, char state) {
  if (state == 't')
    return vss_error(SAROS_E_REFUSED,
                     "process %lld (%s) is being traced: whoever does that "
                     "says whether it stands still",
                     (long long)p->who.pid, p->name);
  return vss_error(VSS_E_FLUSH_WRITES_TIMEOUT,
                   "process %lld (%s) did not stop within %g seconds: %s",
                   (long long)p->who.pid, p->name, s->patience,
                   state == 'D' ? "it waits in the kernel, perhaps for a disk"
                                : "somebody continues it");
}

static bool is_cancelled(const still *s, saros_op *op) {
  return atomic_load(&s->unwanted) || saros_op_cancelled(op);
}

error *still_cancelled(void) {
  return vss_error(SAROS_E_CANCELLED, "nobody wants them stopped any more");
}

/* Until every thread of each has stopped, and is off its processor. */
static error *await(still *s, size_t first, saros_op *op) {
  uint64_t now = engine_clock(), rest = now + REST;
  uint64_t until = now + (uint64_t)(s->patience * 1e9);
  struct timespec nap = {.tv_nsec = 200000};
  size_t at = first;
  while (at < s->count) {
    stopped *p = &s->list[at];
    char state = p->gone ? 0 : still_state(p);
    if (state == 0) p->gone = true;
    now = engine_clock();
    bool rests =
        state == 'T' && (now >= rest || still_rests((pid_t)p->who.pid));
    if (state == 0 || rests) {
      at++;
      continue;
    }
    if (is_cancelled(s, op)) return still_cancelled();
    if (state != 'T' && (state == 't' || now >= until))
      return does_not_stop(s, p, state);
    nanosleep(&nap, NULL);
    if (nap.tv_nsec < 10000000) nap.tv_nsec *= 2;
  }
  return NULL;
}

/* Those who are not held yet. *more: there were some. */
static error *stop_new(still *s, const char *runtime, saros_op *op,
                       bool *more) {
  pid_t *list = NULL;
  size_t count = 0, first = s->count;
  error *e = still_find(&s->choice, &list, &count);
  for (size_t i = 0; e == NULL && i < count; i++)
    if (still_known(s, identity_of(list[i])) == NULL) e = note(s, list[i]);
  mem_free(list);
  if (e == NULL && is_cancelled(s, op)) e = still_cancelled();
  if (e == NULL) e = arm(s, first, runtime);
  for (size_t i = first; e == NULL && i < s->count; i++) e = stop(&s->list[i]);
  if (e == NULL) e = await(s, first, op);
  *more = s->count > first;
  return e;
}

error *still_stop(still *s, saros_op *op) {
  error *e = NULL;
  const char *state_dir = value_chars(value_get(s->options, "state_dir"), NULL);
  places *p = places_open(state_dir, &e);
  if (p == NULL) return e;
  bool more = true;
  for (int i = 0; e == NULL && more && i < ROUNDS_MOST; i++)
    e = stop_new(s, p->runtime, op, &more);
  places_unref(p);
  for (size_t i = 0; e == NULL && i < s->count; i++)
    s->list[i].mark = still_mark((pid_t)s->list[i].who.pid);
  if (e == NULL && more)
    e = vss_error(SAROS_E_REFUSED,
                  "there are always new processes: they cannot be held still");
  if (e == NULL && s->count == 0 && !s->allow_none)
    e = vss_error(SAROS_E_REFUSED,
                  "there is no such process to be held still; if that is as it "
                  "should be, set allow_none");
  return e;
}
