/*
** The operation: its lock, its references and its beginning. Every change of
** state is made under its lock (here, in op_end.c and op_moves.c); the state
** and the code are atomics, so that looking takes none.
*/
#include "op/op.h"

#include <errno.h>
#include <string.h>

#include "op/engine.h"
#include "op/facade.h"
#include "op/fork.h"
#include "op/fork_parts.h"
#include "op/names.h"
#include "op/op_parts.h"

/* An operation has no lock of its own: it borrows one of these by its
   address. Forty bytes saved a hundred thousand times. */
#define STRIPES 64

typedef struct stripe {
  _Alignas(64) pthread_mutex_t lock;
  pthread_cond_t moved;
} stripe;

static stripe stripes[STRIPES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init(void) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  for (int i = 0; i < STRIPES; i++) {
    pthread_mutex_init(&stripes[i].lock, NULL);
    pthread_cond_init(&stripes[i].moved, &monotonic);
  }
  pthread_condattr_destroy(&monotonic);
}

void op_forked(void) {
  init();
}

static stripe *stripe_of(const saros_op *op) {
  uintptr_t at = (uintptr_t)op;
  return &stripes[((at >> 4) ^ (at >> 10)) % STRIPES];
}

void op_lock(saros_op *op) {
  pthread_mutex_lock(&stripe_of(op)->lock);
}

void op_unlock(saros_op *op) {
  pthread_mutex_unlock(&stripe_of(op)->lock);
}

int op_sleep(saros_op *op, const struct timespec *until) {
  stripe *s = stripe_of(op);
  flag(op, OP_WAITED);
  return until == NULL ? pthread_cond_wait(&s->moved, &s->lock)
                       : pthread_cond_timedwait(&s->moved, &s->lock, until);
}

void op_stir(saros_op *op) {
  if (flagged(op, OP_WAITED)) pthread_cond_broadcast(&stripe_of(op)->moved);
}

bool op_is_over(const saros_op *op) {
  return flagged(op, OP_UNWOUND) || op->generation != fork_generation;
}

bool op_is_forked(const saros_op *op) {
  return op->generation != fork_generation && pending(op);
}

op_extra *op_extra_get(saros_op *op) {
  return atomic_load_explicit(&op->extra, memory_order_acquire);
}

op_extra *op_extra_make(saros_op *op) { /* the first one stays */
  op_extra *x = op_extra_get(op);
  if (x != NULL) return x;
  op_extra *fresh = mem_zero(sizeof *fresh);
  if (fresh == NULL) return NULL;
  fresh->op = op;
  if (atomic_compare_exchange_strong(&op->extra, &x, fresh)) return fresh;
  mem_free(fresh);
  return x;
}


/* ------------------------------------------------------------------
** References
** ---------------------------------------------------------------- */

static uint32_t set_name(saros_op *op, const char *name) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) return SAROS_E_OUTOFMEMORY;
  x->name = mem_text(name);
  return x->name != NULL ? names_put(op, name) : SAROS_E_OUTOFMEMORY;
}

/* Nobody has seen it: the caller's `self` stays the caller's. */
static void discard(saros_op *op) {
  op_extra *x = op_extra_get(op);
  if (x != NULL) mem_free(x->name);
  mem_free(x);
  mem_free(op);
}

#define SELF_IS_TRAILING UINT16_MAX

void *op_self(saros_op *op) {
  if (op->self_at == SELF_IS_TRAILING) return op_trailing(op);
  return *(void **)(void *)((char *)op + op->self_at);
}

/* `with_self`: as its own pointer behind it all, also when that is NULL. */
static saros_op *create(const saros_kind *kind, void *self, bool with_self,
                        size_t trailing, const char *name, uint32_t *why) {
  uint32_t ignored;
  if (why == NULL) why = &ignored;
  pthread_once(&once, init);
  int prepared = fork_prepare();
  if (prepared != 0) {
    *why = code_of_errno(prepared);
    return NULL;
  }
  size_t self_at = sizeof(saros_op) + (trailing + 7) / 8 * 8;
  saros_op *op =
      mem_zero(with_self ? self_at + sizeof self : sizeof *op + trailing);
  *why = SAROS_E_OUTOFMEMORY;
  if (op == NULL) return NULL;
  atomic_init(&op->refs, 1);
  op->generation = fork_generation;
  op->kind = kind;
  op->self_at = with_self ? (uint16_t)self_at : SELF_IS_TRAILING;
  if (with_self) *(void **)(void *)((char *)op + self_at) = self;
  op->begun = engine_clock();
  *why = name == NULL ? 0 : set_name(op, name);
  if (*why == 0) return op;
  discard(op);
  return NULL;
}

saros_op *op_create(const saros_kind *kind, void *self, size_t trailing,
                    const char *name, uint32_t *why) {
  return create(kind, self, self != NULL, trailing, name, why);
}

saros_op *saros_op_ref(saros_op *op) {
  atomic_fetch_add_explicit(&op->refs, 1, memory_order_relaxed);
  return op;
}

static void extra_free(op_extra *x) {
  if (x == NULL) return;
  error_unref(x->why);
  value_free(x->output);
  value_free(x->details);
  value_free(x->cleanup);
  mem_free(x->phase_text);
  mem_free(x->name);
  mem_free(x);
}

void saros_op_unref(saros_op *op) {
  /* Not release and a fence: ThreadSanitizer does not understand fences. */
  if (atomic_fetch_sub_explicit(&op->refs, 1, memory_order_acq_rel) != 1)
    return;
  if (op->kind->release != NULL) op->kind->release(op_self(op));
  extra_free(op_extra_get(op));
  mem_free(op);
}


/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

uint32_t op_begin(saros_op *op, saros_state state) {
  if (!ours(op)) return SAROS_E_FORKED;
  uint32_t code = engine_acquire();
  if (code != 0) return code;
  op_lock(op);
  bool begins = pending(op) && !flagged(op, OP_WORKING);
  if (begins) {
    saros_op_ref(op);
    flag(op, OP_WORKING);
    if (op_state_now(op) != SAROS_PAUSED) move(op, state);
  } else { /* cancelled before it began; else it has begun or ended already */
    code = pending(op) ? 0 : op->code;
    if (!code_failed(code)) code = code_of_errno(EALREADY);
  }
  op_unlock(op);
  if (!begins) engine_release();
  return code;
}

bool op_hold_engine(const saros_op *op) {
  bool working = flagged(op, OP_WORKING);
  if (working) engine_hold();
  return working;
}

/* A kind with `run`, on its worker. */
static void run_job(job *j) {
  saros_op *op = op_of_trailing(j);
  uint32_t code = SAROS_E_CANCELLED;
  if (saros_op_running(op) || saros_op_checkpoint(op))
    code = op->kind->run(op, op_self(op));
  op_finish_error(op, code, NULL);
}

static pool_lane lane_of(const saros_kind *kind) {
  return kind->flags & SAROS_RUN_CPU ? POOL_CPU : POOL_LANE;
}

saros_op *saros_op_new(const saros_kind *kind, void *self, const char *name) {
  size_t trailing = kind->run != NULL ? sizeof(job) : 0;
  saros_op *op = create(kind, self, true, trailing, NULL, NULL);
  if (op == NULL) return NULL;
  /* Before anybody finds it by its name: a cancel may want its job back
     before it was submitted. */
  if (kind->run != NULL)
    ((job *)op_trailing(op))->lane = (uint8_t)lane_of(kind);
  if (name == NULL || set_name(op, name) == 0) return op;
  discard(op);
  return NULL;
}

uint32_t saros_op_start(saros_op *op) {
  const saros_kind *kind = op->kind;
  if (kind->run == NULL) return op_begin(op, SAROS_RUNNING);
  uint32_t code = op_begin(op, SAROS_QUEUED);
  if (code != 0) return code;
  job *j = op_trailing(op);
  j->run = run_job;
  engine_hold(); /* it may end before pool_submit has returned */
  int r = pool_submit(j, lane_of(kind));
  if (r != 0) {
    code = code_of_errno(r);
    op_finish_error(op, code, NULL);
  }
  engine_release();
  return code;
}
