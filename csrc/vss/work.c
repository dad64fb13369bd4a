/*
** An operation of a session: a machine that tells writers and has jobs done,
** or a blocking function on the lane.
*/
#include <errno.h>
#include <string.h>

#include "vss/session_parts.h"

void work_release(void *self) {
  work *w = self;
  value_free(w->args);
  value_free(w->output);
  error_unref(w->why);
  error_unref(w->job_why);
  if (w->before != NULL) saros_op_unref(w->before);
  if (w->child_op != NULL) saros_op_unref(w->child_op);
  mem_free(w->more);
  session_unref(w->s);
  mem_free(w);
}

void work_cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((work *)self)->m);
}

static error *no_begin(uint32_t why) {
  if (why == SAROS_E_OUTOFMEMORY) return error_no_memory();
  return vss_error(why, "the operation could not be begun");
}

saros_op *work_begin(session *s, const method *m, const value *args,
                     error **e) {
  work *w = mem_zero(sizeof *w);
  uint32_t why = SAROS_E_OUTOFMEMORY;
  if (w == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  w->s = session_ref(s);
  w->method = m;
  w->args = args != NULL ? value_copy(args) : value_map();
  saros_op *op = NULL;
  if (w->args != NULL)
    op = m->step != NULL ? op_create(&m->kind, w, 0, NULL, &why)
                         : saros_op_new(&m->kind, w, NULL);
  if (op == NULL) {
    work_release(w);
    *e = no_begin(why);
    return NULL;
  }
  w->m.op = op;
  w->m.step = m->step;
  why = m->step != NULL ? op_begin(op, SAROS_RUNNING) : saros_op_start(op);
  if (why != 0) {
    saros_op_unref(op);
    *e = no_begin(why);
    return NULL;
  }
  if (m->step != NULL) machine_wake(&w->m);
  return op;
}

uint32_t work_run(saros_op *op, void *self) {
  work *w = self;
  value *result = NULL;
  error *e = w->method->block(w->s, w->args, op, &result);
  if (e == NULL) {
    uint32_t code = SAROS_S_OK;
    const value *special = value_get(result, "code");
    if (special != NULL) code = (uint32_t)value_integer(special, 0);
    if (result != NULL) op_set_output(op, result);
    return code;
  }
  value_free(result);
  e = starter_error(w->method, e);
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

void work_fails(work *w, error *e) {
  if (e == NULL) return;
  if (w->why == NULL)
    w->why = e;
  else
    error_unref(e);
}


/* ------------------------------------------------------------------
** Jobs
** ---------------------------------------------------------------- */

void work_submit(work *w, void (*run)(machine_job *mj)) {
  w->job_out = true;
  int r = machine_submit(&w->m, &w->job, POOL_LANE, run);
  if (r == 0) return;
  w->job_out = false;
  work_fails(
      w, error_of_errno(SAROS_FACADE_VSS, r, "no thread for the work", NULL));
}

bool work_job_back(work *w) {
  if (w->job_out && !atomic_load(&w->job.back)) return false;
  w->job_out = false;
  error *e = w->job_why;
  w->job_why = NULL;
  work_fails(w, e);
  return true;
}

void job_fails(work *w, error *e) {
  if (w->job_why == NULL)
    w->job_why = e;
  else
    error_unref(e);
}


/* ------------------------------------------------------------------
** Writers
** ---------------------------------------------------------------- */

/* Those that `wants` picks; NULL: no memory. */
static seat **picked(const session *s, bool (*wants)(const seat *t),
                     size_t *count) {
  seat **list = mem_zero((s->seat_count + 1) * sizeof *list);
  *count = 0;
  for (size_t i = 0; list != NULL && i < s->seat_count; i++)
    if (wants(s->seats[i])) list[(*count)++] = s->seats[i];
  return list;
}

void work_tell(work *w, writer_event event, bool (*wants)(const seat *t),
               const char *reason, double seconds) {
  size_t count;
  seat **told = picked(w->s, wants, &count);
  value *details = session_details(w->s, reason, event != EVENT_ABORT);
  w->asking = NULL;
  if (told != NULL && details != NULL)
    w->asking = telling_begin(&w->m, event, told, count, details, seconds);
  mem_free(told);
  value_free(details);
  if (w->asking == NULL) work_fails(w, error_no_memory());
}

void work_ask(work *w, bool (*wants)(const seat *t), double seconds) {
  size_t count;
  seat **asked = picked(w->s, wants, &count);
  value *details = session_details(w->s, "status", true);
  w->asking = NULL;
  if (asked != NULL && details != NULL)
    w->asking = telling_ask(&w->m, asked, count, details, seconds);
  mem_free(asked);
  value_free(details);
  if (w->asking == NULL) work_fails(w, error_no_memory());
}

/* What was given up drains beside whatever comes next. */
static void set_aside(work *w) {
  telling *t = w->asking;
  w->asking = NULL;
  if (telling_drained(t)) {
    telling_free(t);
    return;
  }
  w->drains[w->drain_count++] = t;
}

bool work_told(work *w) {
  if (w->asking == NULL) return true;
  if (!telling_decided(w->asking)) return false;
  set_aside(w);
  return true;
}

static bool all_drained(work *w) {
  for (size_t i = 0; i < w->drain_count;) {
    if (!telling_drained(w->drains[i])) {
      i++;
      continue;
    }
    telling_free(w->drains[i]);
    w->drains[i] = w->drains[--w->drain_count];
  }
  return w->drain_count == 0;
}

/* The session may be used again when this operation is over, also when that
   is so only because its unwinding took too long. */
static void leave_session(work *w) {
  session *s = w->s;
  pthread_mutex_lock(&s->lock);
  if (s->running == w->m.op) s->quiet = true;
  pthread_mutex_unlock(&s->lock);
}

static void decide(work *w) {
  w->ending = true;
  if (w->why != NULL) w->why = starter_error(w->method, w->why);
  if (w->why == NULL && w->output != NULL) {
    op_set_output(w->m.op, w->output);
    w->output = NULL;
  }
  leave_session(w);
  if (all_drained(w)) return;
  op_end_error(w->m.op, w->why != NULL ? w->why->code : SAROS_S_OK,
               error_ref(w->why));
  saros_op_unwinding(w->m.op, "writers");
}

step_result work_end(work *w) {
  if (!w->ending) decide(w);
  if (!all_drained(w)) return STEP_WAIT;
  error *why = w->why;
  w->why = NULL;
  machine_finish(&w->m, why != NULL ? why->code : SAROS_S_OK, why);
  return STEP_END;
}


/* ------------------------------------------------------------------
** Another operation
** ---------------------------------------------------------------- */

static void child_ended(watch *c) {
  work *w = (work *)((char *)c - offsetof(work, child));
  machine_wake_flag(&w->m, &w->child_over);
}

static const watch_way child_way = {.after = child_ended};

bool work_await(work *w, saros_op *op) {
  w->child_op = saros_op_ref(op);
  w->child.way = &child_way;
  w->child.op = op;
  atomic_store(&w->child_over, false);
  if (watch_add(&w->child, op)) return true;
  atomic_store(&w->child_over, true);
  return false;
}


/* ------------------------------------------------------------------
** What a starter may end with
** ---------------------------------------------------------------- */

/* What all of them may. */
static bool common(uint32_t code) {
  return code == SAROS_E_INVALIDARG || code == SAROS_E_OUTOFMEMORY ||
         code == SAROS_E_CANCELLED || code == VSS_E_BAD_STATE ||
         code == VSS_E_UNEXPECTED;
}

static bool listed_of_set(uint32_t code) {
  switch (code) {
    case SAROS_E_ACCESSDENIED:
    case VSS_E_FLUSH_WRITES_TIMEOUT:
    case VSS_E_HOLD_WRITES_TIMEOUT:
    case VSS_E_NESTED_VOLUME_LIMIT:
    case VSS_E_INSUFFICIENT_STORAGE:
    case VSS_E_PROVIDER_VETO:
    case VSS_E_UNEXPECTED_PROVIDER_ERROR:
    case VSS_E_UNEXPECTED_WRITER_ERROR: return true;
    default: return false;
  }
}

/* A refusal that says why is a provider's veto; of anything else it is at
   fault. */
static uint32_t code_of_set(const error *e) {
  switch (e->code) {
    case SAROS_E_REFUSED:
    case SAROS_E_CHANGED:
    case VSS_E_OBJECT_NOT_FOUND:
    case VSS_E_VOLUME_IN_USE:
    case VSS_E_VOLUME_NOT_SUPPORTED:
    case VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER: return VSS_E_PROVIDER_VETO;
    default: break;
  }
  bool full = e->number == ENOSPC || e->number == EDQUOT;
  return full ? VSS_E_INSUFFICIENT_STORAGE : VSS_E_UNEXPECTED_PROVIDER_ERROR;
}

/* The lists of the original; that a writer can end a prepare_backup or a
   pre_restore with its veto is our own addition. *instead: of what is on none
   of them. */
static bool listed(const method *m, const error *e, uint32_t *instead) {
  uint32_t code = e->code;
  *instead = VSS_E_UNEXPECTED;
  if (m->how != METHOD_ASYNC || common(code)) return true;
  if (m->step == step_do_snapshot_set) {
    *instead = code_of_set(e);
    return listed_of_set(code);
  }
  if (m->block == block_import_snapshots) {
    *instead = VSS_E_NO_SNAPSHOTS_IMPORTED;
    return code == SAROS_E_ACCESSDENIED || code == VSS_E_NO_SNAPSHOTS_IMPORTED;
  }
  if (m->step == step_gather_writer_metadata)
    *instead = VSS_E_WRITER_INFRASTRUCTURE;
  if (m->step == step_gather_writer_metadata ||
      m->step == step_gather_writer_status)
    return code == SAROS_E_ACCESSDENIED || code == VSS_E_WRITER_INFRASTRUCTURE;
  if (m->step == step_query_revert_status)
    return code == VSS_E_OBJECT_NOT_FOUND ||
           code == VSS_E_VOLUME_NOT_SUPPORTED || code == SAROS_E_NOTIMPL;
  return code == VSS_E_UNEXPECTED_WRITER_ERROR;
}

/* Keeps the sentence, and the error itself as the cause. */
error *starter_error(const method *m, error *e) {
  uint32_t code;
  if (e == NULL || listed(m, e, &code)) return e;
  return error_because(error_at(vss_error(code, "%s", e->message), e->path), e);
}
