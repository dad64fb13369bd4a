/*
** The run of a job: the operation that a script waits for. It begins when the
** job is resumed and ends when it is TRANSFERRED, in ERROR or CANCELLED; while
** it is under way the operation's state follows the job's.
**
** The engine's locks are below the manager's, so all of this may be called with
** the latter; only cancelling calls back, and is asked without.
*/
#include <string.h>

#include "bits/address.h"
#include "bits/job_parts.h"

/* Weak: the one of the module that is loaded takes its place. Programs that
   test what is below have only this one. */
__attribute__((weak)) const saros_api *saros_api_table;

/* What the operation has: the job only while it is pending, for the job has the
   operation. */
typedef struct bits_run {
  bits_manager *m; /* a reference */
  bits_job *j;     /* a reference, or NULL; under the manager's lock */
} bits_run;

static void run_release(void *self) {
  bits_run *r = self;
  bits_manager_unref(r->m);
  mem_free(r);
}

/* Somebody has cancelled the operation: so is the job. */
static void run_cancel(saros_op *op, void *self) {
  bits_run *r = self;
  pthread_mutex_lock(&r->m->lock);
  bits_job *j = r->j;
  bool over = true;
  if (j != NULL) {
    over = j->state == BITS_ACKNOWLEDGED;
    if (!state_is_final(j->state)) bits_job_cancel_begin(j);
  }
  pthread_mutex_unlock(&r->m->lock);
  if (over) bits_run_cancelled(op);
}

static const saros_kind run_kind = {.size = sizeof(saros_kind),
                                    .name = "bits.job",
                                    .facade = SAROS_FACADE_BITS,
                                    .flags = SAROS_CANCELLABLE,
                                    .cancel = run_cancel,
                                    .release = run_release};

static bool is_pending(saros_op *op) {
  return op != NULL && !saros_state_is_terminal(saros_op_state(op));
}

static void detail(saros_op *op, const char *name, const char *text) {
  saros_value *v = saros_value_bytes(text, strlen(text));
  if (v != NULL) saros_op_detail(op, name, v);
}

static saros_op *run_new(bits_job *j) {
  bits_run *r = mem_zero(sizeof *r);
  if (r == NULL) return NULL;
  r->m = bits_manager_ref(j->m);
  saros_op *op = saros_op_new(&run_kind, r, NULL);
  if (op == NULL) {
    run_release(r);
    return NULL;
  }
  if (saros_op_start(op) != 0) {
    saros_op_unref(op);
    return NULL;
  }
  r->j = bits_job_ref(j);
  detail(op, "job", j->guid);
  return op;
}

bool bits_run_begin(bits_job *j) {
  if (is_pending(j->run)) return true;
  saros_op *op = run_new(j);
  if (op == NULL) return false;
  if (j->run != NULL) saros_op_unref(j->run);
  j->run = op;
  j->retries = 0;
  if (j->state == BITS_QUEUED) bits_run_follow(j); /* else it will be */
  return true;
}

/* ------------------------------------------------------------------
** Its end
** ---------------------------------------------------------------- */

static void let_go_of_job(saros_op *op) {
  bits_run *r = saros_op_self(op);
  bits_job *j = r->j;
  r->j = NULL;
  if (j != NULL) bits_job_unref(j);
}

void bits_run_end(bits_job *j, uint32_t code, const char *message) {
  saros_op *op = j->run;
  if (op == NULL) return;
  /* A cancel that was first will be with us soon. */
  if (!saros_op_point_of_no_return(op)) return;
  saros_op_ref(op);
  saros_op_finish(op, code, message);
  let_go_of_job(op);
  saros_op_unref(op);
}

/* The job has gone on without whoever cancelled, or has been cancelled itself:
   nothing of it runs any more. */
void bits_run_cancelled(saros_op *op) {
  bits_run *r = saros_op_self(op);
  saros_op_ref(op);
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
  pthread_mutex_lock(&r->m->lock);
  bits_job *j = r->j;
  r->j = NULL;
  pthread_mutex_unlock(&r->m->lock);
  if (j != NULL) bits_job_unref(j);
  saros_op_unref(op);
}

static uint64_t bytes_of(const bits_job *j, uint64_t *total) {
  uint64_t have = 0;
  *total = 0;
  for (uint32_t i = 0; i < j->file_count; i++) {
    const bits_file *f = j->files[i];
    have += atomic_load_explicit(&f->have, memory_order_relaxed);
    if (*total == BITS_UNKNOWN || f->size == BITS_UNKNOWN)
      *total = BITS_UNKNOWN;
    else
      *total += f->size;
  }
  return have;
}

void bits_job_tell(bits_job *j) {
  if (!is_pending(j->run)) return;
  uint64_t total;
  uint64_t have = bytes_of(j, &total);
  saros_op_progress(j->run, have, total == BITS_UNKNOWN ? 0 : total);
}

static void end_well(bits_job *j, uint32_t code) {
  uint64_t total;
  bits_job_tell(j);
  saros_value *map = saros_value_map();
  int64_t bytes = (int64_t)bytes_of(j, &total);
  if (map != NULL &&
      saros_value_put(map, "files", saros_value_integer(j->files_done)) &&
      saros_value_put(map, "bytes", saros_value_integer(bytes)))
    saros_op_output(j->run, map);
  else
    saros_value_free(map);
  bits_run_end(j, code, NULL);
}

/* What a person may do about it. */
static const char *advice(const bits_failure *f) {
  if (f->code == BG_E_INVALID_CREDENTIALS) return "set it again, and resume";
  switch (f->context) {
    case BITS_CONTEXT_LOCAL: return "mend that, and resume";
    case BITS_CONTEXT_REMOTE:
      return "resume tries again; set_url gives it another address";
    default: return "resume tries again";
  }
}

static void end_badly(bits_job *j) {
  const bits_failure *f = &j->failure;
  buffer b = BUFFER_EMPTY;
  const char *why = f->why != NULL && f->why[0] != '\0' ? f->why : "it failed";
  if (f->file < j->file_count && f->context != BITS_CONTEXT_QUEUE) {
    const char *path = j->files[f->file]->path;
    text_escape(&b, path, strlen(path));
    if (!b.failed && strncmp(why, b.data, b.size) == 0)
      buffer_clear(&b); /* it says so itself */
    else
      buffer_text(&b, ": ");
  }
  buffer_text(&b, why);
  if (strstr(why, "resume") == NULL)
    buffer_format(&b, "%s %s", why[strlen(why) - 1] == '?' ? "" : ";",
                  advice(f));
  saros_op_transfer_error(j->run, f->win32, f->transport);
  bits_run_end(j, f->code, b.failed ? f->why : b.data);
  buffer_free(&b);
}

void bits_job_closed(bits_job *j) {
  if (is_pending(j->run))
    bits_run_end(j, SAROS_E_CLOSED,
                 "the queue was closed; the job goes on when it is opened");
}

/* ------------------------------------------------------------------
** While it is under way
** ---------------------------------------------------------------- */

static void wait_in_line(saros_op *op) {
  if (saros_op_state(op) == SAROS_RUNNING) saros_op_pause(op);
  saros_op_resume(op);
}

void bits_run_follow(bits_job *j) {
  saros_op *op = j->run;
  if (!is_pending(op)) return;
  const char *name = bits_state_name(j->state);
  detail(op, "job_state", name);
  saros_op_phase(op, name);
  switch (j->state) {
    case BITS_QUEUED: wait_in_line(op); break;
    case BITS_CONNECTING:
    case BITS_TRANSFERRING: saros_op_running(op); break;
    case BITS_SUSPENDED: saros_op_pause(op); break;
    case BITS_TRANSIENT_ERROR:
      saros_op_running(op);
      saros_op_retry_wait(op, j->failure.win32, j->failure.transport);
      break;
    case BITS_ERROR: end_badly(j); break;
    case BITS_TRANSFERRED: end_well(j, SAROS_S_OK); break;
    case BITS_ACKNOWLEDGED:
      end_well(j, j->files_done == j->file_count ? SAROS_S_OK
                                                 : BG_S_PARTIAL_COMPLETE);
      break;
    default: break;
  }
}
