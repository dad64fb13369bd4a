/*
** The methods of a session, and what may be called when. The order is the
** original's: whatever is not allowed now is VSS_E_BAD_STATE, says why, and
** changes nothing.
*/
#include <string.h>

#include "op/fork.h"
#include "vss/session_parts.h"

#define INIT (DID_BACKUP | DID_RESTORE)

#define AT_ONCE(n, needs_, any_, never_)                             \
  {                                                                  \
    .name = #n, .how = METHOD_NOW, .needs = (needs_), .any = (any_), \
    .never = (never_), .now = now_##n                                \
  }
#define INSIDE(n, needs_, any_, never_, running)                        \
  {                                                                     \
    .name = #n, .how = METHOD_INSIDE, .needs = (needs_), .any = (any_), \
    .never = (never_), .while_running = (running), .block = block_##n,  \
    .kind = {                                                           \
      .size = sizeof(saros_kind),                                       \
      .name = "vss." #n,                                                \
      .facade = SAROS_FACADE_VSS,                                       \
      .flags = SAROS_RUN_LANE,                                          \
      .run = work_run,                                                  \
      .release = work_release                                           \
    }                                                                   \
  }
#define LANE(n, needs_, any_, never_)                                  \
  {                                                                    \
    .name = #n, .how = METHOD_ASYNC, .needs = (needs_), .any = (any_), \
    .never = (never_), .block = block_##n, .kind = {                   \
      .size = sizeof(saros_kind),                                      \
      .name = "vss." #n,                                               \
      .facade = SAROS_FACADE_VSS,                                      \
      .flags = SAROS_RUN_LANE | SAROS_CANCELLABLE,                     \
      .run = work_run,                                                 \
      .release = work_release                                          \
    }                                                                  \
  }
#define STEPPED(n, how_, needs_, any_, never_, over)                     \
  {                                                                      \
    .name = #n, .how = (how_), .needs = (needs_), .any = (any_),         \
    .never = (never_), .takes_over = (over), .step = step_##n, .kind = { \
      .size = sizeof(saros_kind),                                        \
      .name = "vss." #n,                                                 \
      .facade = SAROS_FACADE_VSS,                                        \
      .flags = SAROS_CANCELLABLE,                                        \
      .cancel = work_cancel,                                             \
      .release = work_release                                            \
    }                                                                    \
  }
#define ASYNC(n, needs_, any_, never_) \
  STEPPED(n, METHOD_ASYNC, needs_, any_, never_, false)

/* clang-format off */
const method methods[] = {
  AT_ONCE(initialize_for_backup, 0, 0, INIT),
  AT_ONCE(initialize_for_restore, 0, 0, INIT),
  AT_ONCE(set_context, 0, INIT, DID_CONTEXT | DID_STATE | DID_IDENTIFY | DID_SET),
  AT_ONCE(set_backup_state, DID_BACKUP, 0, DID_PREPARE | DID_TRY | DID_ABORT),
  AT_ONCE(set_restore_state, DID_RESTORE, 0, DID_PRE),
  AT_ONCE(enable_writer_classes, 0, INIT, DID_IDENTIFY),
  AT_ONCE(disable_writer_classes, 0, INIT, DID_IDENTIFY),
  AT_ONCE(disable_writer_instances, 0, INIT, DID_IDENTIFY),
  ASYNC(gather_writer_metadata, 0, INIT, DID_IDENTIFY | DID_ABORT),
  AT_ONCE(writers, DID_IDENTIFY, 0, 0),
  AT_ONCE(add_component, DID_BACKUP | DID_STATE | DID_IDENTIFY | HAS_WRITERS, 0, DID_PREPARE | DID_TRY | DID_ABORT),
  AT_ONCE(set_backup_options, DID_BACKUP | DID_IDENTIFY | HAS_WRITERS, 0, DID_PREPARE | DID_TRY | DID_ABORT),
  AT_ONCE(set_previous_backup_stamp, DID_BACKUP | DID_IDENTIFY | HAS_WRITERS, 0, DID_PREPARE | DID_TRY | DID_ABORT),
  INSIDE(start_snapshot_set, DID_BACKUP | HAS_NO_ALL, 0, DID_SET | DID_ABORT | DID_LOAD, false),
  INSIDE(add_to_snapshot_set, DID_SET, 0, DID_PREPARE | DID_TRY | DID_ABORT, false),
  INSIDE(is_volume_supported, 0, INIT, 0, false),
  ASYNC(prepare_for_backup, DID_STATE | DID_IDENTIFY | DID_FILL | HAS_WRITERS, 0, DID_PREPARE | DID_TRY | DID_ABORT),
  ASYNC(do_snapshot_set, DID_FILL, 0, DID_TRY | DID_ABORT),
  ASYNC(gather_writer_status, DID_IDENTIFY, DID_TELL | DID_TRY | DID_ABORT, 0),
  AT_ONCE(writer_status, DID_STATUS, 0, 0),
  AT_ONCE(said, 0, INIT, 0),
  INSIDE(snapshot_properties, 0, INIT, 0, true),
  INSIDE(snapshots, 0, INIT, 0, true),
  INSIDE(query, 0, INIT, 0, true),
  AT_ONCE(set_backup_succeeded, DID_SHOOT | HAS_WRITERS, 0, DID_COMPLETE | DID_ABORT),
  ASYNC(backup_complete, DID_SHOOT | HAS_WRITERS, 0, DID_COMPLETE | DID_ABORT),
  AT_ONCE(save, 0, INIT, 0),
  STEPPED(abort_backup, METHOD_INSIDE, DID_BACKUP, 0, 0, true),
  INSIDE(delete_snapshots, 0, INIT, 0, false),
  INSIDE(expose_snapshot, 0, INIT, 0, false),
  INSIDE(unexpose_snapshot, 0, INIT, 0, false),
  INSIDE(break_snapshot_set, 0, INIT, 0, false),
  LANE(import_snapshots, DID_BACKUP | DID_LOAD, 0, DID_SET | DID_ABORT),
  INSIDE(revert_to_snapshot, 0, INIT, 0, false),
  ASYNC(query_revert_status, 0, INIT, 0),
  AT_ONCE(set_selected_for_restore, DID_RESTORE | DID_IDENTIFY, 0, DID_PRE),
  AT_ONCE(set_restore_options, DID_RESTORE | DID_IDENTIFY, 0, DID_PRE),
  AT_ONCE(add_new_target, DID_RESTORE | DID_IDENTIFY, 0, DID_PRE),
  AT_ONCE(add_alternative_location_mapping, DID_RESTORE | DID_IDENTIFY, 0, DID_PRE),
  ASYNC(pre_restore, DID_RESTORE | DID_IDENTIFY, 0, DID_PRE),
  AT_ONCE(set_file_restore_status, DID_RESTORE | DID_TELL, 0, DID_POST),
  AT_ONCE(set_additional_restores, DID_RESTORE | DID_TELL, 0, DID_POST),
  ASYNC(post_restore, DID_RESTORE | DID_TELL, 0, DID_POST),
};
/* clang-format on */
const size_t methods_count = sizeof methods / sizeof *methods;

/* Not in the table: it is allowed always, and known to session_close alone. */
static const method closing = STEPPED(close, METHOD_INSIDE, 0, 0, 0, true);

static const method *find(const char *name) {
  for (size_t i = 0; i < methods_count; i++)
    if (strcmp(methods[i].name, name) == 0) return &methods[i];
  return NULL;
}

method_how session_method(const char *name) {
  const method *m = find(name);
  return m != NULL ? m->how : METHOD_NONE;
}

const char *session_method_name(size_t n) {
  return n < methods_count ? methods[n].name : NULL;
}


/* ------------------------------------------------------------------
** What is allowed
** ---------------------------------------------------------------- */

typedef struct step_name {
  uint32_t bit;
  const char *missing, *there;
} step_name;

static const step_name steps[] = {
    {DID_CLOSE, "", "the session is closed"},
    {DID_ABORT, "", "the backup was aborted"},
    {INIT, "initialize_for_backup or initialize_for_restore comes first",
     "the session is initialized already"},
    {DID_BACKUP, "that belongs to a backup session (initialize_for_backup)",
     ""},
    {DID_RESTORE, "that belongs to a restore session (initialize_for_restore)",
     ""},
    {HAS_NO_ALL, "the context \"all\" is for looking after shadows only", ""},
    {HAS_WRITERS, "this context tells no writers", ""},
    {DID_LOAD, "a saved document must be given to initialize_for_backup",
     "the session was loaded from a document"},
    {DID_COMPLETE, "backup_complete comes first", "the backup is complete"},
    {DID_SHOOT, "do_snapshot_set must have succeeded", ""},
    {DID_TRY, "do_snapshot_set comes first",
     "do_snapshot_set was called already"},
    {DID_STATE, "set_backup_state comes first",
     "set_backup_state was called already"},
    {DID_IDENTIFY, "gather_writer_metadata comes first",
     "gather_writer_metadata was called already"},
    {DID_SET, "start_snapshot_set comes first",
     "start_snapshot_set was called already"},
    {DID_FILL, "add_to_snapshot_set comes first", ""},
    {DID_PREPARE, "prepare_for_backup comes first",
     "prepare_for_backup was called already"},
    {DID_POST, "post_restore comes first", "post_restore was called already"},
    {DID_TELL, "pre_restore comes first", ""},
    {DID_PRE, "pre_restore comes first", "pre_restore was called already"},
    {DID_STATUS, "gather_writer_status comes first", ""},
    {DID_CONTEXT, "set_context comes first", "set_context was called already"}};

static error *bad_state(const method *m, const char *why) {
  return vss_error(VSS_E_BAD_STATE, "%s is not allowed now: %s", m->name, why);
}

/* With the lock held. One whose unwinding took too long is over for whoever
   waits, but it has not let go of the session. */
static bool is_busy(const session *s) {
  if (s->running == NULL) return false;
  if (!op_is_over(s->running)) return true;
  return !s->quiet && (op_flags_now(s->running) & OP_ENDED) == 0;
}

/* Of a lock that somebody held at a fork the child must keep away. */
static error *forked(const session *s) {
  if (s->generation == fork_generation) return NULL;
  return vss_error(SAROS_E_FORKED,
                   "the session belongs to the process that forked");
}

/* With the lock held. */
static error *allowed(session *s, const method *m) {
  uint32_t did = s->did;
  if ((s->context & VSS_ATTR_NO_WRITERS) == 0) did |= HAS_WRITERS;
  if (s->context != VSS_CTX_ALL) did |= HAS_NO_ALL;
  const char *why = NULL;
  uint32_t never = m->never | DID_CLOSE;
  uint32_t missing = m->needs & ~did;
  if (m->any != 0 && (m->any & did) == 0)
    why = m->any == INIT ? steps[2].missing
                         : "there is nothing yet to ask the writers about";
  /* Writers were told of a snapshot, or may not be left out. */
  for (size_t i = 0; why == NULL && i < sizeof steps / sizeof *steps; i++) {
    if ((steps[i].bit & never & did) != 0 && steps[i].there[0] != '\0')
      why = steps[i].there;
    else if ((steps[i].bit & missing) != 0 && steps[i].bit != INIT)
      why = steps[i].missing;
  }
  if (why == NULL && ((never & did) != 0 || missing != 0))
    why = "it comes out of order";
  if (why == NULL && !m->while_running && !m->takes_over && is_busy(s))
    return vss_error(VSS_E_BAD_STATE,
                     "%s is not allowed while %s is running: wait for it",
                     m->name, saros_op_kind(s->running));
  if (why == NULL && m->step == step_do_snapshot_set &&
      (did & HAS_WRITERS) != 0 && (did & DID_PREPARE) == 0)
    why = (did & DID_IDENTIFY) == 0 ? "gather_writer_metadata comes first"
                                    : "prepare_for_backup comes first";
  return why != NULL ? bad_state(m, why) : NULL;
}

static error *unknown(const char *name) {
  return vss_error(SAROS_E_INVALIDARG, "a session has no method \"%s\"", name);
}

error *session_now(session *s, const char *name, const value *args,
                   value **result) {
  const method *m = find(name);
  *result = NULL;
  if (m == NULL || m->how != METHOD_NOW) return unknown(name);
  error *e = forked(s);
  if (e != NULL) return e;
  pthread_mutex_lock(&s->lock);
  e = allowed(s, m);
  if (e == NULL) e = m->now(s, args, result);
  pthread_mutex_unlock(&s->lock);
  return e;
}

/* It is the one that runs from here on, before anybody else may begin. */
static saros_op *begin(session *s, const method *m, const value *args,
                       error **e) {
  *e = forked(s);
  if (*e != NULL) return NULL;
  pthread_mutex_lock(&s->lock);
  *e = allowed(s, m);
  saros_op *before = s->running;
  saros_op *op = *e == NULL ? work_begin(s, m, args, e) : NULL;
  if (op != NULL && !m->while_running) {
    s->running = saros_op_ref(op);
    s->quiet = false;
    if (m->takes_over) { /* it sees to that one */
      ((work *)op_self(op))->before = before;
      before = NULL;
    }
  } else {
    before = NULL;
  }
  pthread_mutex_unlock(&s->lock);
  if (before != NULL) saros_op_unref(before);
  return op;
}

saros_op *session_begin(session *s, const char *name, const value *args,
                        error **e) {
  const method *m = find(name);
  if (m != NULL && (m->how == METHOD_INSIDE || m->how == METHOD_ASYNC))
    return begin(s, m, args, e);
  *e = unknown(name);
  return NULL;
}

saros_op *session_close(session *s, error **e) {
  *e = forked(s);
  if (*e != NULL) return NULL;
  pthread_mutex_lock(&s->lock);
  if (s->closing == NULL) {
    s->closing = work_begin(s, &closing, NULL, e);
    if (s->closing != NULL && s->running != NULL)
      ((work *)op_self(s->closing))->before = saros_op_ref(s->running);
    if (s->closing != NULL) s->did |= DID_CLOSE;
  }
  saros_op *op = s->closing != NULL ? saros_op_ref(s->closing) : NULL;
  pthread_mutex_unlock(&s->lock);
  return op;
}

void session_drop(session *s) {
  error *e = NULL;
  /* Nothing was ever begun: nothing is to be closed. */
  bool ours = s->generation == fork_generation, used = false;
  if (ours) {
    pthread_mutex_lock(&s->lock);
    used = s->running != NULL || s->creating != NULL ||
           (s->did & (DID_IDENTIFY | DID_SET | DID_LOAD)) != 0;
    pthread_mutex_unlock(&s->lock);
  }
  saros_op *op = used ? session_close(s, &e) : NULL;
  if (op != NULL) saros_op_unref(op);
  error_unref(e);
  /* Nobody will ask for it again; whoever is left waiting for what he started
     (op/port.h) must not take us for a holder. */
  if (ours) pthread_mutex_lock(&s->lock);
  saros_op *last = s->running;
  bool closes = s->closing != NULL; /* then it lets go of that one */
  op = s->closing;
  s->closing = NULL;
  if (!closes || !ours) s->running = NULL;
  if (ours) pthread_mutex_unlock(&s->lock);
  if (op != NULL) saros_op_unref(op);
  if ((!closes || !ours) && last != NULL) saros_op_unref(last);
  session_unref(s);
}
