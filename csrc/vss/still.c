/*
** Stopping processes and letting them go.
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
#include "vss/still.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>

#include "op/engine.h"
#include "op/fork.h"
#include "vss/guard_parts.h"
#include "vss/record.h"
#include "vss/still_parts.h"

#define SECONDS 30.0
#define SECONDS_MOST 86400.0
#define PATIENCE 10.0
#define GUARDS_MOST 16
#define ROUNDS_MOST 64 /* then it is a fork bomb */

typedef struct stopped {
  identity who;
  char name[16];
  int fd;
  bool ours; /* else it was stopped already */
  bool gone;
  guard *g;
  size_t item;
} stopped;

typedef struct still {
  _Atomic unsigned references;
  _Atomic bool unwanted; /* it was released: no more is to be stopped */
  uint16_t generation;   /* of the process: see fork.h */
  value *options;
  still_choice choice;
  double seconds, patience;
  bool allow_none;
  pthread_mutex_t lock; /* of all below */
  stopped *list;
  size_t count, room;
  guard *guards[GUARDS_MOST];
  size_t guard_count;
} still;


/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

static bool has_ended(const stopped *p) {
  struct pollfd ask = {.fd = p->fd, .events = POLLIN};
  return poll(&ask, 1, 0) > 0;
}

/* 'T' when it is still, 0 when it has ended, or what it does. */
static char state_of(const stopped *p) {
  return has_ended(p) ? 0 : identity_state((pid_t)p->who.pid);
}

static stopped *known(const still *s, identity who) {
  for (size_t i = 0; i < s->count; i++)
    if (s->list[i].who.pid == who.pid && s->list[i].who.start == who.start)
      return &s->list[i];
  return NULL;
}


/* ------------------------------------------------------------------
** Letting go
** ---------------------------------------------------------------- */

/* Children go on before those that wait for them. */
static void go_on(still *s) {
  for (size_t i = s->count; i-- > 0;) {
    stopped *p = &s->list[i];
    if (p->g == NULL) continue;
    pidfd_send_signal(p->fd, SIGCONT, NULL, 0);
    guard_mark(p->g, p->item, false);
  }
}

/* True: a guard has let one go before us. */
static bool dismiss(still *s) {
  uint64_t acted = 0;
  for (size_t i = 0; i < s->guard_count; i++)
    acted |= guard_disarm(s->guards[i]);
  for (size_t i = 0; i < s->count; i++) fd_close(&s->list[i].fd);
  s->guard_count = s->count = 0;
  return acted != 0;
}

static error *not_still(const stopped *p) {
  return vss_error(SAROS_E_CHANGED,
                   "process %lld (%s) did not stay stopped while the shadow "
                   "was made: somebody else continued it",
                   (long long)p->who.pid, p->name);
}

/* Whoever is killed writes nothing more; but it may have been continued. */
static error *ended(const stopped *p) {
  return vss_error(SAROS_E_CHANGED,
                   "process %lld (%s) ended while it should stand still, and "
                   "may have gone on before",
                   (long long)p->who.pid, p->name);
}

static error *appeared(pid_t pid) {
  return vss_error(SAROS_E_CHANGED,
                   "process %ld was started while the others were stopped, "
                   "and may have written meanwhile",
                   (long)pid);
}

/* Whether all were still to the end. */
static error *judge(still *s) {
  pid_t *list = NULL;
  size_t count = 0;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < s->count; i++) {
    if (s->list[i].gone) continue; /* before all stood still */
    char state = state_of(&s->list[i]);
    if (state == 0)
      e = ended(&s->list[i]);
    else if (state != 'T')
      e = not_still(&s->list[i]);
  }
  if (e == NULL) e = still_find(&s->choice, &list, &count);
  for (size_t i = 0; e == NULL && i < count; i++) {
    still_look l;
    identity who = identity_of(list[i]);
    if (known(s, who) == NULL && who.start != 0 && still_look_at(list[i], &l))
      e = appeared(list[i]);
  }
  mem_free(list);
  return e;
}

static error *release_all(still *s) {
  if (s->count == 0) return NULL;
  error *e = judge(s);
  go_on(s);
  if (!dismiss(s)) return e;
  error *late = vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                          "the processes were stopped for longer than %g "
                          "seconds, and went on before the shadow was complete",
                          s->seconds);
  return e != NULL ? error_because(late, e) : late;
}


/* ------------------------------------------------------------------
** Stopping
** ---------------------------------------------------------------- */

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
  if (e != NULL || number != 0 || has_ended(&p)) {
    fd_close(&p.fd);
    return e;
  }
  memcpy(p.name, l.name, sizeof p.name);
  p.ours = state_of(&p) != 'T';
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
  if (pidfd_send_signal(p->fd, SIGSTOP, NULL, 0) == 0) return NULL;
  int number = errno;
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

static error *cancelled(void) {
  return vss_error(SAROS_E_CANCELLED, "nobody wants them stopped any more");
}

/* Until every thread of each has stopped. */
static error *await(still *s, size_t first, saros_op *op) {
  uint64_t until = engine_clock() + (uint64_t)(s->patience * 1e9);
  struct timespec nap = {.tv_nsec = 200000};
  size_t at = first;
  while (at < s->count) {
    stopped *p = &s->list[at];
    char state = p->gone ? 0 : state_of(p);
    if (state == 0) p->gone = true;
    if (state == 0 || state == 'T') {
      at++;
      continue;
    }
    if (is_cancelled(s, op)) return cancelled();
    if (state == 't' || engine_clock() >= until)
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
    if (known(s, identity_of(list[i])) == NULL) e = note(s, list[i]);
  mem_free(list);
  if (e == NULL && is_cancelled(s, op)) e = cancelled();
  if (e == NULL) e = arm(s, first, runtime);
  for (size_t i = first; e == NULL && i < s->count; i++) e = stop(&s->list[i]);
  if (e == NULL) e = await(s, first, op);
  *more = s->count > first;
  return e;
}

static error *stop_all(still *s, saros_op *op) {
  error *e = NULL;
  const char *state_dir = value_chars(value_get(s->options, "state_dir"), NULL);
  places *p = places_open(state_dir, &e);
  if (p == NULL) return e;
  bool more = true;
  for (int i = 0; e == NULL && more && i < ROUNDS_MOST; i++)
    e = stop_new(s, p->runtime, op, &more);
  places_unref(p);
  if (e == NULL && more)
    e = vss_error(SAROS_E_REFUSED,
                  "there are always new processes: they cannot be held still");
  if (e == NULL && s->count == 0 && !s->allow_none)
    e = vss_error(SAROS_E_REFUSED,
                  "there is no such process to be held still; if that is as it "
                  "should be, set allow_none");
  return e;
}

static value *said(const still *s) {
  value *map = value_map(), *pids = value_list(), *before = value_list();
  bool good = map != NULL && pids != NULL && before != NULL;
  for (size_t i = 0; good && i < s->count; i++)
    if (!s->list[i].gone)
      good = value_add(s->list[i].ours ? pids : before,
                       value_int(s->list[i].who.pid));
  good &= value_put(map, "pids", pids);
  good &= value_put(map, "before", before);
  if (good) return map;
  value_free(map);
  return NULL;
}


/* ------------------------------------------------------------------
** The operations
** ---------------------------------------------------------------- */

static void unref(void *self);

static uint32_t end(saros_op *op, error *e) {
  if (e == NULL) return SAROS_S_OK;
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

static uint32_t hold_run(saros_op *op, void *self) {
  still *s = self;
  pthread_mutex_lock(&s->lock);
  error *e = stop_all(s, op);
  value *result = e == NULL ? said(s) : NULL;
  if (e == NULL && result == NULL) e = error_no_memory();
  if (e == NULL) op_set_output(op, result);
  if (e == NULL && !saros_op_point_of_no_return(op)) e = cancelled();
  if (e != NULL) {
    go_on(s);
    dismiss(s);
  }
  pthread_mutex_unlock(&s->lock);
  return end(op, e);
}

static uint32_t release_run(saros_op *op, void *self) {
  still *s = self;
  pthread_mutex_lock(&s->lock);
  error *e = release_all(s);
  pthread_mutex_unlock(&s->lock);
  return end(op, e);
}

static const saros_kind hold_kind = {
    .size = sizeof(saros_kind),
    .name = "vss.still",
    .facade = SAROS_FACADE_VSS,
    .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
    .run = hold_run,
    .release = unref};

/* It lets go whatever happens: nobody can cancel that. */
static const saros_kind release_kind = {.size = sizeof(saros_kind),
                                        .name = "vss.still_release",
                                        .facade = SAROS_FACADE_VSS,
                                        .flags = SAROS_RUN_LANE,
                                        .run = release_run,
                                        .release = unref};

static saros_op *begin(const saros_kind *kind, still *s, error **e) {
  saros_op *op = saros_op_new(kind, s, NULL);
  if (op == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_fetch_add(&s->references, 1);
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *e = vss_error(why,
                 "no worker could be had to stop processes or continue "
                 "them");
  saros_op_unref(op);
  return NULL;
}

saros_op *still_release(saros_op *held, error **e) {
  if (held->kind != &hold_kind) {
    *e = vss_error(SAROS_E_INVALIDARG, "this operation holds no processes");
    return NULL;
  }
  still *s = op_self(held);
  if (s->generation != fork_generation) {
    *e = vss_error(SAROS_E_FORKED, "the parent holds them, who forked");
    return NULL;
  }
  atomic_store(&s->unwanted, true);
  return begin(&release_kind, s, e);
}


/* ------------------------------------------------------------------
** Its beginning and its end
** ---------------------------------------------------------------- */

static void destroy(still *s) {
  for (size_t i = 0; i < s->guard_count; i++) guard_forget(s->guards[i]);
  if (s->choice.by_command) regfree(&s->choice.command);
  pthread_mutex_destroy(&s->lock);
  value_free(s->options);
  mem_free(s->list);
  mem_free(s);
}

/* Forgotten without a release: that is done now, and nobody waits for it. */
static void unref(void *self) {
  still *s = self;
  if (atomic_fetch_sub(&s->references, 1) != 1) return;
  if (s->count > 0 && s->generation == fork_generation) {
    error *e = NULL;
    go_on(s);
    atomic_store(&s->references, 1);
    saros_op *op = begin(&release_kind, s, &e);
    error_unref(e);
    if (op != NULL) {
      saros_op_unref(op);
      unref(s); /* it is the operation's now, or that was quick */
      return;
    }
    dismiss(s);
  }
  destroy(s);
}

static double number(const value *options, const char *name, double fallback) {
  const value *v = value_get(options, name);
  double n = v == NULL               ? fallback
             : v->type == VALUE_REAL ? v->as.real
                                     : (double)value_integer(v, 0);
  return n > 0 ? (n < SECONDS_MOST ? n : SECONDS_MOST) : fallback;
}

static error *choose(still *s) {
  still_choice *c = &s->choice;
  const value *pids = value_get(s->options, "pids");
  const char *command = value_chars(value_get(s->options, "command"), NULL);
  c->pids = pids != NULL && pids->type == VALUE_LIST ? pids : NULL;
  c->cgroup = value_chars(value_get(s->options, "cgroup"), NULL);
  if (c->pids == NULL && c->cgroup == NULL && command == NULL)
    return vss_error(SAROS_E_INVALIDARG,
                     "who is to be held still? pids, cgroup or command");
  if (c->cgroup != NULL && (*c->cgroup != '/' || c->pids != NULL))
    return vss_error(SAROS_E_INVALIDARG,
                     "cgroup is an absolute path, and not beside pids");
  if (command == NULL) return NULL;
  if (*command == '\0')
    return vss_error(SAROS_E_INVALIDARG, "an empty command matches all");
  int r = regcomp(&c->command, command, REG_EXTENDED | REG_NOSUB);
  char why[200];
  c->by_command = r == 0;
  if (r == 0) return NULL;
  regerror(r, &c->command, why, sizeof why);
  return vss_error(SAROS_E_INVALIDARG,
                   "command is no extended regular expression: %s", why);
}

saros_op *still_begin(const value *options, error **e) {
  still *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  atomic_init(&s->references, 1);
  s->generation = fork_generation;
  pthread_mutex_init(&s->lock, NULL);
  s->options = value_copy(options);
  if (s->options == NULL)
    *e = error_no_memory();
  else
    *e = choose(s);
  s->seconds = number(s->options, "seconds", SECONDS);
  s->patience = number(s->options, "patience", PATIENCE);
  s->allow_none = value_boolean(value_get(s->options, "allow_none"), false);
  saros_op *op = *e == NULL ? begin(&hold_kind, s, e) : NULL;
  unref(s);
  return op;
}
