/*
** Ports. The descriptor is written once until it is read again, outside the
** lock: the thread that it wakes would otherwise run into the lock.
*/
#include "op/port.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "op/engine.h"
#include "op/fork.h"
#include "op/process.h"

port *port_open(uint32_t *why) {
  *why = engine_acquire();
  if (*why != 0) return NULL;
  port *p = mem_zero(sizeof *p);
  if (p == NULL) {
    engine_release();
    *why = SAROS_E_OUTOFMEMORY;
    return NULL;
  }
  p->fd = fd_own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (p->fd < 0) {
    *why = code_of_errno(errno);
    mem_free(p);
    engine_release();
    return NULL;
  }
  atomic_init(&p->refs, 1);
  p->generation = fork_generation;
  p->mark = PORT_MARK;
  pthread_mutex_init(&p->lock, NULL);
  p->last = &p->first;
  return p;
}

void port_unref(port *p) {
  if (atomic_fetch_sub(&p->refs, 1) != 1) return;
  if (p->generation == fork_generation) {
    fd_close(&p->fd);
    pthread_mutex_destroy(&p->lock);
  }
  mem_free(p);
}

/* In a forked child the lock may be somebody's who is not there any more, and
   the descriptor's number somebody else's. */
static bool inherited(const port *p) {
  return p->generation != fork_generation;
}

static saros_op *take_owned(port *p);

void port_close(port *p) {
  bool ours = !inherited(p);
  saros_op *op;
  while (ours && (op = take_owned(p)) != NULL) saros_op_unref(op);
  port_unref(p);
  if (ours) engine_release();
}

void port_shut(port *p) {
  pthread_mutex_lock(&p->lock);
  p->shut = true;
  pthread_mutex_unlock(&p->lock);
}

port *port_push(port *p, port_node *n, int type, bool *queued) {
  bool call = false;
  pthread_mutex_lock(&p->lock);
  bool takes = n->link == NULL && !p->shut;
  if (queued != NULL) *queued = takes;
  if (takes) {
    n->type = type;
    atomic_store_explicit(&n->queued, true, memory_order_relaxed);
    n->next = NULL;
    n->link = p->last;
    *p->last = n;
    p->last = &n->next;
    p->signalled = true;
    call = !p->awake && !p->written;
    if (call) {
      p->written = true;
      atomic_fetch_add(&p->refs, 1);
    }
  }
  pthread_mutex_unlock(&p->lock);
  return call ? p : NULL;
}

static void make_readable(port *p) {
  uint64_t one = 1;
  while (write(p->fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

void port_wake(port *p) {
  make_readable(p);
  port_unref(p);
}

void port_poke(port *p) {
  if (inherited(p)) return;
  pthread_mutex_lock(&p->lock);
  bool call = !p->written;
  p->written = true;
  pthread_mutex_unlock(&p->lock);
  if (!call) return;
  atomic_fetch_add(&p->refs, 1);
  port_wake(p);
}

bool port_remove(port *p, port_node *n) {
  if (inherited(p)) {
    bool was = n->link != NULL;
    n->link = NULL;
    return was;
  }
  pthread_mutex_lock(&p->lock);
  bool there = n->link != NULL;
  if (there) {
    *n->link = n->next;
    if (n->next != NULL)
      n->next->link = n->link;
    else
      p->last = n->link;
    n->link = NULL;
  }
  pthread_mutex_unlock(&p->lock);
  return there;
}

void port_awake(port *p) {
  pthread_mutex_lock(&p->lock);
  p->awake = true;
  pthread_mutex_unlock(&p->lock);
}

bool port_doze(port *p) {
  pthread_mutex_lock(&p->lock);
  p->awake = false;
  bool any = p->signalled;
  pthread_mutex_unlock(&p->lock);
  return any;
}

void port_drain(port *p) {
  if (inherited(p)) return;
  uint64_t n;
  while (read(p->fd, &n, sizeof n) < 0 && errno == EINTR) {}
  /* Whoever pushes before this line does not write, and his node is found by
     the look that follows; whoever pushes after it writes again. */
  pthread_mutex_lock(&p->lock);
  p->written = false;
  pthread_mutex_unlock(&p->lock);
}

size_t port_take(port *p, port_taken *taken, size_t most) {
  if (inherited(p)) return 0;
  size_t count = 0;
  pthread_mutex_lock(&p->lock);
  for (port_node *at = p->first; at != NULL && count < most; at = at->next) {
    at->link = NULL;
    atomic_store_explicit(&at->queued, false, memory_order_relaxed);
    taken[count++] = (port_taken){at, at->type};
  }
  if (count > 0) {
    p->first = taken[count - 1].node->next;
    if (p->first != NULL)
      p->first->link = &p->first;
    else
      p->last = &p->first;
  }
  bool more = p->first != NULL;
  if (!more) p->signalled = false;
  pthread_mutex_unlock(&p->lock);
  if (more) make_readable(p); /* it was drained */
  return count;
}

int port_poll(port *p, int64_t ns) {
  struct pollfd ask = {.fd = p->fd, .events = POLLIN};
  struct timespec t = {.tv_sec = (time_t)(ns / 1000000000),
                       .tv_nsec = (long)(ns % 1000000000)};
  int r = ppoll(&ask, 1, ns < 0 ? NULL : &t, NULL);
  return r > 0 ? 1 : r == 0 ? 0 : -1;
}


void port_own(port *p, saros_op *op) {
  op_lock(op);
  pthread_mutex_lock(&p->lock);
  /* It may have ended already: then there is nothing to let go of. */
  if (op->owned == 0 && (op_flags_now(op) & OP_WORKING) != 0) {
    op->owned = p->mark;
    op->owner = p;
    op->owned_next = p->owned;
    op->owned_link = &p->owned;
    if (p->owned != NULL) p->owned->owned_link = &op->owned_next;
    p->owned = op;
  }
  pthread_mutex_unlock(&p->lock);
  op_unlock(op);
}

size_t port_marked(port *p, saros_op **list, size_t most) {
  size_t count = 0;
  pthread_mutex_lock(&p->lock);
  for (saros_op *op = p->owned; op != NULL; op = op->owned_next)
    if (op->owned == PORT_MARK_ROOT) {
      if (count < most) list[count] = saros_op_ref(op);
      count++;
    }
  pthread_mutex_unlock(&p->lock);
  return count;
}

void port_unmark(port *p) {
  pthread_mutex_lock(&p->lock);
  for (saros_op *op = p->owned; op != NULL; op = op->owned_next)
    op->owned = PORT_MARK;
  pthread_mutex_unlock(&p->lock);
}

void port_disown(saros_op *op) {
  if (op->owned == 0) return;
  port *p = op->owner; /* it stays while this operation is on its list */
  pthread_mutex_lock(&p->lock);
  *op->owned_link = op->owned_next;
  if (op->owned_next != NULL) op->owned_next->owned_link = op->owned_link;
  pthread_mutex_unlock(&p->lock);
  op->owned = 0;
  op->owner = NULL;
}

/* Takes one operation off the list, with a reference. */
static saros_op *take_owned(port *p) {
  for (;;) {
    pthread_mutex_lock(&p->lock);
    saros_op *op = p->owned;
    if (op != NULL) saros_op_ref(op); /* it works, so it has references */
    pthread_mutex_unlock(&p->lock);
    if (op == NULL) return NULL;
    op_lock(op);
    bool still = op->owned != 0 && op->owner == p;
    if (still) port_disown(op);
    op_unlock(op);
    if (still) return op;
    saros_op_unref(op); /* it ended in between */
  }
}

/* Lists of operations that are off the port's: the link is free. */
static void put(saros_op **list, saros_op *op) {
  op->owned_next = *list;
  *list = op;
}

static saros_op *take(saros_op **list) {
  saros_op *op = *list;
  if (op != NULL) *list = op->owned_next;
  return op;
}

/* One reference is ours, one the work's: a third is somebody's. */
static bool is_held(saros_op *op) {
  return atomic_load(&op->refs) > 2;
}

static void cancel_into(saros_op **waiting, saros_op *op) {
  op_try_cancel(op);
  if (op_is_over(op))
    saros_op_unref(op);
  else
    put(waiting, op);
}

/* A third reference may be that of a gather which the engine is just letting
   go of: it is looked at a little later once more. */
static void look_again(saros_op **held, saros_op **waiting) {
  for (int i = 0; *held != NULL && i < 20; i++) {
    saros_op *still = NULL, *op;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    while ((op = take(held)) != NULL) {
      if (is_held(op))
        put(&still, op);
      else
        cancel_into(waiting, op);
    }
    *held = still;
  }
}

/* Waits for them until then; what is not over stays on the list. */
static void await_until(saros_op **waiting, uint64_t until) {
  saros_op *left = NULL, *op;
  while ((op = take(waiting)) != NULL) {
    uint64_t now = engine_clock();
    uint64_t rest = now < until ? (until - now) / 1000000u : 0;
    if (saros_op_wait(op, (uint32_t)rest))
      saros_op_unref(op);
    else
      put(&left, op);
  }
  *waiting = left;
}

static void leave(port *p, uint32_t ms, bool all) {
  if (inherited(p)) return;
  saros_op *waiting = NULL, *held = NULL, *op;
  while ((op = take_owned(p)) != NULL) {
    if (!all && is_held(op))
      put(&held, op);
    else
      cancel_into(&waiting, op);
  }
  look_again(&held, &waiting);
  while ((op = take(&held)) != NULL) saros_op_unref(op);
  uint64_t now = engine_clock(), half = (uint64_t)ms * 500000u;
  await_until(&waiting, now + half);
  /* A child that ignores TERM shall not outlive us for its grace. */
  for (op = waiting; op != NULL; op = op->owned_next)
    process_signal(op, SIGKILL);
  await_until(&waiting, now + 2 * half);
  while ((op = take(&waiting)) != NULL) saros_op_unref(op);
}

void port_leave(port *p, uint32_t ms) {
  leave(p, ms, false);
}

void port_leave_all(port *p, uint32_t ms) {
  leave(p, ms, true);
}
