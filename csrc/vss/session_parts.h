/*
** What the files of a session share: session.c (its life), methods.c (what may
** be called when), backup*.c and restore.c (what answers at once), set.c (the
** snapshot set), tell.c (methods that are one telling), coordinator.c (the one
** that takes the shadows), closing.c,
** said.c (what writers say beyond yes).
*/
#ifndef SAROS_VSS_SESSION_PARTS_H
#define SAROS_VSS_SESSION_PARTS_H

#include <pthread.h>

#include "op/engine.h"
#include "vss/session.h"
#include "vss/telling.h"

/* What a session has been through. A bit that is set stays set. */
#define DID_BACKUP 0x0001u  /* initialize_for_backup */
#define DID_RESTORE 0x0002u /* initialize_for_restore */
#define DID_CONTEXT 0x0004u
#define DID_STATE 0x0008u
#define DID_IDENTIFY 0x0010u /* writer metadata was gathered */
#define DID_SET 0x0020u      /* a snapshot set was started */
#define DID_FILL 0x0040u     /* and has a member */
#define DID_PREPARE 0x0080u
#define DID_TRY 0x0100u   /* do_snapshot_set was begun */
#define DID_SHOOT 0x0200u /* and succeeded */
#define DID_COMPLETE 0x0400u
#define DID_ABORT 0x0800u
#define DID_PRE 0x1000u
#define DID_POST 0x2000u
#define DID_STATUS 0x4000u /* writer status was gathered */
#define DID_LOAD 0x8000u   /* a document was loaded */
#define DID_CLOSE 0x10000u
#define DID_TELL 0x80000u /* writers were told of the backup or the restore */
#define HAS_WRITERS 0x20000u /* the context tells writers */
#define HAS_NO_ALL 0x40000u  /* the context is not VSS_CTX_ALL */

/* Of what may be added to a context. */
#define CONTEXT_MAY_ADD                                             \
  (VSS_ATTR_TRANSPORTABLE | VSS_ATTR_DIFFERENTIAL | VSS_ATTR_PLEX | \
   VSS_ATTR_NO_AUTORECOVERY | VSS_ATTR_NOT_TRANSACTED |             \
   VSS_ATTR_ROLLBACK_RECOVERY)

typedef struct timeouts {
  double identify, prepare, freeze, hold, post, complete;
} timeouts;

struct session {
  _Atomic uint32_t refs;
  uint16_t generation;
  /* Of all below; above every lock of op. While `running` works, what it works
     on is its own; of `did` it may be told by who closes meanwhile. */
  pthread_mutex_t lock;
  char id[37];
  timeouts times;
  bool ignore_vetoes, force;
  char *state_dir; /* or NULL */
  places *at;      /* opened by the first who needs it, on a worker */
  _Atomic uint32_t did;
  uint32_t context;
  value *document; /* as it was loaded, or NULL */
  value *backup;   /* the backup state */
  value *restore;  /* the restore state */
  value *filters; /* { enabled = {…}, disabled = {…}, instances = {…} } */
  value *marks;   /* what was said of components: a list of maps */
  seat **seats;
  size_t seat_count;
  char set[37];
  set_lock *creating;
  shadow **members;
  size_t member_count;
  /* The last one begun that is not `while_running`. It refers to the session:
     whoever closes that lets go of it. */
  saros_op *running;
  bool quiet; /* it touches the session no more, though it is not over yet */
  saros_op *closing;
};

session *session_ref(session *s);
void session_unref(session *s);
/* On a worker: opens it when that was not done. A reference. */
places *session_places(session *s, error **e);
void seats_free(session *s);
void seat_free(session *s, size_t i); /* the last one takes its place */
void members_free(session *s);
bool session_takes_part(const session *s, const seat *t);
/* Told by who: the text of a seat for a person. */
const char *seat_title(const seat *t);


/* ------------------------------------------------------------------
** Methods
** ---------------------------------------------------------------- */

typedef struct work work;

typedef struct method {
  const char *name;
  method_how how;
  uint32_t needs;     /* all of these */
  uint32_t any;       /* and one of these, if there are any */
  uint32_t never;     /* and none of these */
  bool while_running; /* also while another one works */
  bool takes_over;    /* and that one is cancelled and waited for */
  /* Of the three one. */
  error *(*now)(session *s, const value *args, value **result);
  error *(*block)(session *s, const value *args, saros_op *op, value **result);
  step_result (*step)(machine *m);
  saros_kind kind; /* of the last two */
} method;

extern const method methods[];
extern const size_t methods_count;

#define DRAINS_MOST 16

/* An operation of a session while it works. */
struct work {
  machine m; /* first */
  session *s;
  const method *method;
  value *args;
  int stage;
  bool ending;     /* work_end was called: its outcome is decided */
  telling *asking; /* the one whose answers count */
  /* Given up, may still run. The most are do_snapshot_set's: prepare, four
     levels of freeze and of thaw, abort for some, post, abort for all. */
  telling *drains[DRAINS_MOST];
  size_t drain_count;
  machine_job job;
  bool job_out;     /* it was submitted and is not back */
  error *job_why;   /* what went wrong in it: its own until it is back */
  saros_op *before; /* which ran when this one took over, or NULL */
  watch child;
  saros_op *child_op;
  _Atomic bool child_over;
  error *why;    /* the first thing that went wrong */
  value *output; /* of a success */
  void *more;    /* the coordinator's */
};

/* Begins a machine or a lane job for the method. NULL and *e. */
saros_op *work_begin(session *s, const method *m, const value *args, error **e);
void work_cancel(saros_op *op, void *self);
void work_release(void *self);
uint32_t work_run(saros_op *op, void *self);
/* The first failure counts; takes over `e`. Engine thread only. */
void work_fails(work *w, error *e);
#define work_cancelled(w) saros_op_cancelled((w)->m.op)
/* A job on the lane: at the next steps work_job_back says when it is back. In
   it job_fails says what went wrong. */
void work_submit(work *w, void (*run)(machine_job *mj));
void job_fails(work *w, error *e);
bool work_job_back(work *w);
/* Tells the seats that `wants` picks. */
void work_tell(work *w, writer_event event, bool (*wants)(const seat *t),
               const char *reason, double seconds);
/* Asks the seats that `wants` picks how they fare: see telling_ask. */
void work_ask(work *w, bool (*wants)(const seat *t), double seconds);
/* True when all have answered or were given up. */
bool work_told(work *w);
/* The end: nothing touches the session after it. The outcome is decided at
   once; what was given up and still runs is waited for, as long as unwinding
   may take. What step returns. */
step_result work_end(work *w);
/* Waits for another operation. False: it is over already. */
bool work_await(work *w, saros_op *op);

/* What writers are told beside their own: { session, set, reason, … }. Shadows
   are named once they are `made`: until then a job may be making them. */
value *session_details(const session *s, const char *reason, bool made);
/* An error that the method may end with (its documented list), made of any;
   takes it over. Those that hand out no operation may end with any. */
error *starter_error(const method *m, error *e);

/* backup.c, restore.c, set.c, tell.c, closing.c: the methods. */
#define NOW(name) \
  error *now_##name(session *s, const value *args, value **result)
#define BLOCK(name)                                                \
  error *block_##name(session *s, const value *args, saros_op *op, \
                      value **result)
#define STEP(name) step_result step_##name(machine *m)
NOW(initialize_for_backup);
NOW(initialize_for_restore);
NOW(set_context);
NOW(set_backup_state);
NOW(set_restore_state);
NOW(enable_writer_classes);
NOW(disable_writer_classes);
NOW(disable_writer_instances);
NOW(writers);
NOW(said);
NOW(writer_status);
NOW(add_component);
NOW(set_backup_succeeded);
NOW(set_backup_options);
NOW(set_previous_backup_stamp);
NOW(save);
NOW(set_selected_for_restore);
NOW(set_restore_options);
NOW(add_new_target);
NOW(add_alternative_location_mapping);
NOW(set_file_restore_status);
NOW(set_additional_restores);
BLOCK(start_snapshot_set);
BLOCK(add_to_snapshot_set);
BLOCK(is_volume_supported);
BLOCK(snapshot_properties);
BLOCK(snapshots);
BLOCK(query);
BLOCK(delete_snapshots);
BLOCK(expose_snapshot);
BLOCK(unexpose_snapshot);
BLOCK(break_snapshot_set);
BLOCK(revert_to_snapshot);
BLOCK(import_snapshots);
STEP(gather_writer_metadata);
STEP(prepare_for_backup);
STEP(gather_writer_status);
STEP(do_snapshot_set);
STEP(backup_complete);
STEP(pre_restore);
STEP(post_restore);
STEP(abort_backup);
STEP(query_revert_status);
STEP(close);

/* What is said of a writer's component, kept for the document and for the
   writer; takes over `what`. With the lock held. */
error *session_mark(session *s, const char *method, const value *args,
                    const char *field, value *what, seat **of);
/* After a mark "succeeded" of one of his components: those that have it. */
error *session_note_succeeded(const session *s, seat *t);
/* A shadow's record, in this state ("preparing", "created"). NULL: memory. */
value *member_record(const session *s, const shadow *m, const char *state);

#endif
