/*
** The driver of a check: the application has the asynchronous object, and we
** poll it. At once, then less and less often; until it says anything but "in
** progress", by either of the two numbers that there are for that. Cancelling
** ours is Abort; then it is polled until it has ended, or nobody waits for that
** any more. What it answers is a stranger's code: it runs on a worker, one call
** at a time, so that one that hangs keeps nobody else.
*/
#include "op/engine.h"
#include "op/fork.h"

#define MILLISECOND 1000000ull
#define FIRST_NS (10 * MILLISECOND)
#define LONGEST_NS (500 * MILLISECOND)

enum { TRIES = 3 }; /* queries in a row that could not be done */

typedef enum question { QUERY, ABORT } question;

typedef struct check {
  machine m; /* first */
  timer t;
  machine_job job;
  saros_wsb_async async;
  void *self;
  bool asked, aborted; /* a call is out; Abort was called */
  question what;
  uint32_t method, hr; /* what the call answered */
  uint64_t again;      /* when it is polled next; 0: now */
  uint64_t pause;
  unsigned failed; /* queries in a row */
} check;


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

static void call(machine_job *mj) {
  check *c = (check *)mj->m;
  c->hr = SAROS_E_FAIL; /* whoever writes nothing has not succeeded */
  c->method = c->what == QUERY ? c->async.query_status(c->self, &c->hr)
                               : c->async.abort(c->self);
}

static bool ask(check *c, question what) {
  c->what = what;
  c->asked = machine_submit(&c->m, &c->job, POOL_LANE, call) == 0;
  return c->asked;
}

static void ring(timer *t) {
  machine_wake(&((check *)((char *)t - offsetof(check, t)))->m);
}

static step_result rest(check *c) {
  c->again = engine_clock() + c->pause;
  c->pause = c->pause * 2 < LONGEST_NS ? c->pause * 2 : LONGEST_NS;
  timer_set(&c->t, c->again);
  return STEP_WAIT;
}

static step_result finish(check *c, uint32_t code, error *why) {
  timer_cancel(&c->t); /* on the engine thread: exact */
  machine_finish(&c->m, code, why);
  return STEP_END;
}


/* ------------------------------------------------------------------
** What an answer means
** ---------------------------------------------------------------- */

/* Compared, never tested: both count as success. */
static bool is_in_progress(uint32_t hr) {
  return hr == WSBAPP_ASYNC_IN_PROGRESS || hr == WSBAPP_ASYNC_IN_PROGRESS_NEW;
}

static error *failed(uint32_t hr) {
  const code_entry *known = code_find(SAROS_FACADE_WSB, hr);
  return error_make(SAROS_FACADE_WSB, hr, "the check of the application: %s",
                    known != NULL && known->text != NULL
                        ? known->text
                        : "it failed, and says no more than this code");
}

/* S_OK is the one success that the interface has: what counts as success in
   another vocabulary may mean that it was cancelled there. */
static step_result ended(check *c) {
  if (c->hr == SAROS_S_OK) return finish(c, SAROS_S_OK, NULL);
  if (code_failed(c->hr)) return finish(c, c->hr, failed(c->hr));
  return finish(c, SAROS_E_FAIL,
                error_make(SAROS_FACADE_WSB, SAROS_E_FAIL,
                           "the check of the application ended with 0x%08X, "
                           "which says neither yes nor no",
                           (unsigned)c->hr));
}

static step_result not_asked(check *c) {
  if (++c->failed < TRIES) return rest(c);
  return finish(c, c->method,
                error_make(SAROS_FACADE_WSB, c->method,
                           "the application cannot be asked how its check "
                           "goes: QueryStatus answered 0x%08X, %d times",
                           (unsigned)c->method, TRIES));
}

/* The first call is out of the way: what came of it. */
static step_result heard(check *c) {
  c->asked = false;
  if (c->what == ABORT) {
    if (code_failed(c->method))
      saros_op_cleanup_failed(c->m.op,
                              "the application's check would not be aborted");
    c->pause = FIRST_NS;
    c->again = 0; /* it may have ended with that */
    return STEP_AGAIN;
  }
  if (code_failed(c->method)) return not_asked(c);
  c->failed = 0;
  return is_in_progress(c->hr) ? rest(c) : ended(c);
}


/* ------------------------------------------------------------------
** The machine
** ---------------------------------------------------------------- */

static step_result step(machine *m) {
  check *c = (check *)m;
  if (c->asked) return atomic_load(&c->job.back) ? heard(c) : STEP_WAIT;
  bool cancelled = saros_op_cancelled(m->op);
  if (cancelled && (op_flags_now(m->op) & OP_ABANDONED) != 0)
    return finish(c, SAROS_E_CANCELLED, NULL); /* nobody waits any more */
  question what = cancelled && !c->aborted ? ABORT : QUERY;
  if (what == QUERY && engine_clock() < c->again) return STEP_WAIT;
  timer_cancel(&c->t);
  if (what == ABORT) {
    c->aborted = true;
    saros_op_unwinding(m->op, "abort");
  }
  if (ask(c, what)) return STEP_WAIT;
  return finish(c, SAROS_E_OUTOFMEMORY, error_no_memory());
}

static void cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((check *)self)->m);
}

/* What a fork has copied is not ours to let go. */
static void release(void *self) {
  check *c = self;
  if (c->async.release != NULL && c->m.op->generation == fork_generation)
    c->async.release(c->self);
  mem_free(c);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "wsb.check",
                                .facade = SAROS_FACADE_WSB,
                                .flags = SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
                                .cancel = cancel,
                                .release = release};

saros_op *saros_wsb_check(const saros_wsb_async *async, void *self,
                          const char *name) {
  if (async == NULL || async->size < sizeof *async ||
      async->query_status == NULL || async->abort == NULL)
    return NULL;
  check *c = mem_zero(sizeof *c);
  if (c == NULL) return NULL;
  c->m.step = step;
  c->t.fire = ring;
  c->async = *async;
  c->self = self;
  c->pause = FIRST_NS;
  saros_op *op = op_create(&kind, c, 0, name, NULL);
  if (op == NULL) {
    mem_free(c);
    return NULL;
  }
  c->m.op = op;
  uint32_t why = op_begin(op, SAROS_RUNNING);
  if (why != 0) {
    c->async.release = NULL; /* it is still the caller's */
    op_finish_error(op, why, NULL);
    op_forget_name(op);
    saros_op_unref(op);
    return NULL;
  }
  machine_wake(&c->m);
  return op;
}
