/*
** An operation of a session: a machine that tells writers and has jobs done,
** or a blocking function on the lane.
*/
#include <string.h>

#include "vss/session_parts.h"

void work_release(void *self) {
  work *w = self;
  value_free(w->args);
  value_free(w->output);
  error_unref(w->why);
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
  return true;
}


/* ------------------------------------------------------------------
** Writers
** ---------------------------------------------------------------- */

void work_tell(work *w, writer_event event, bool (*wants)(const seat *t),
               const char *reason, double seconds) {
  session *s = w->s;
  size_t count = 0;
  seat **told = mem_zero((s->seat_count + 1) * sizeof *told);
  value *details = session_details(s, reason);
  for (size_t i = 0; told != NULL && i < s->seat_count; i++)
    if (wants(s->seats[i])) told[count++] = s->seats[i];
  w->asking = NULL;
  if (told != NULL && details != NULL)
    w->asking = telling_begin(&w->m, event, told, count, details, seconds);
  mem_free(told);
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

step_result work_end(work *w) {
  if (!all_drained(w)) return STEP_WAIT;
  error *why = w->why;
  w->why = NULL;
  if (why == NULL && w->output != NULL) {
    op_set_output(w->m.op, w->output);
    w->output = NULL;
  }
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

/* Of do_snapshot_set: the list of the original, and our own addition. */
static bool listed(uint32_t code) {
  switch (code) {
    case SAROS_E_ACCESSDENIED:
    case SAROS_E_INVALIDARG:
    case SAROS_E_OUTOFMEMORY:
    case SAROS_E_CANCELLED:
    case VSS_E_BAD_STATE:
    case VSS_E_UNEXPECTED:
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

/* Keeps the sentence, and the error itself as the cause. */
error *starter_error(const work *w, error *e) {
  (void)w;
  if (e == NULL || listed(e->code)) return e;
  uint32_t code = VSS_E_UNEXPECTED_PROVIDER_ERROR;
  if (e->code == SAROS_E_REFUSED || e->code == VSS_E_VOLUME_IN_USE ||
      e->code == VSS_E_VOLUME_NOT_SUPPORTED ||
      e->code == VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER ||
      e->code == SAROS_E_CHANGED)
    code = VSS_E_PROVIDER_VETO;
  return error_because(vss_error(code, "%s", e->message), e);
}
