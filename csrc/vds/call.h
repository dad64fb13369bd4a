/*
** What a script asks: each call an operation of the engine's, carried out on a
** lane thread. A call has options (a map) and an output (a map or a list); it
** is a name, a function, and a line in calls.c.
**
** Cancel. A kind without SAROS_CANCELLABLE answers VDS_E_NOT_SUPPORTED. One
** with it accepts a cancel at any time (the operation then reads
** VDS_E_OPERATION_CANCELED at once) until its work has called vds_commit, from
** when on it answers VDS_E_CANCEL_TOO_LATE. So a work must be able to undo all
** it did before vds_commit, and must call it before the first thing that it
** cannot undo; what a cancel leaves all the same (a clean that had zeroed half
** a disk) is told with vds_left. Who notices a cancel returns vds_stopped's
** error, undoes what it did on the way out (each step named by vds_undoing,
** which has 30 s of its own), and nothing of it runs when it returns.
**
** Progress. A work that cannot estimate has SAROS_NO_ESTIMATE: percent is 0
** until the end. Others divide themselves into phases, each a part of the whole
** in thousandths; within one any unit counts. It never goes back.
*/
#ifndef SAROS_VDS_CALL_H
#define SAROS_VDS_CALL_H

#include "vds/vds.h"

typedef struct vds_call vds_call;
typedef struct vds_work vds_work;
typedef struct vds_claim vds_claim;

struct vds_call {
  saros_op *op;
  const vds_work *work;
  value *options; /* never NULL; wiped when it is over */
  value *output;  /* a map or a list, to be set; call.c puts "vds_type" and
                     "type" into a map. NULL: a map with these alone */
  uint32_t code;  /* success it is, but not S_OK: VDS_S_…, S_FALSE */
  vds_claim *claim;
  error *refused;    /* it was busy when it was begun */
  unsigned from, to; /* of the phase, in thousandths */
  bool committed;
  bool given;   /* the operation has the output */
  buffer ended; /* mounts and swaps that it ended, to be told if it fails */
};

/* What a call claims for itself while it works: see busy.h. */
typedef enum vds_claims {
  VDS_CLAIMS_NOTHING,
  VDS_CLAIMS_OBJECT, /* options.object (and .other), unless it is a plan */
  VDS_CLAIMS_FILE    /* options.path, the file of a virtual disk */
} vds_claims;

struct vds_work {
  const char *name; /* also the `type` of the output: "format" */
  vds_type type;
  vds_claims claims;
  saros_kind kind; /* VDS_KIND */
  error *(*run)(vds_call *c);
};

#define VDS_KIND(name_, flags_)                                     \
  {                                                                 \
    .size = sizeof(saros_kind), .name = "vds." name_,               \
    .facade = SAROS_FACADE_VDS, .flags = SAROS_RUN_LANE | (flags_), \
    .run = vds_call_run, .release = vds_call_release                \
  }
uint32_t vds_call_run(saros_op *op, void *self);
void vds_call_release(void *self);

/* NULL: there is no such call. Any thread. */
const vds_work *vds_work_find(const char *name);
/* Begins; takes over the options (wiped also when it fails). `name`: of the
   operation, or NULL. The operation with one reference; NULL sets *why. One
   whose object is busy is begun all the same, and fails. Any thread. */
saros_op *vds_call_begin(const vds_work *work, value *options, const char *name,
                         uint32_t *why);


/* ------------------------------------------------------------------
** For the work
** ---------------------------------------------------------------- */

/* Whether it shall end early: then *e is the error to return with. */
bool vds_stopped(vds_call *c, error **e);
/* From here on it cannot be cancelled. False and *e: it was already. */
bool vds_commit(vds_call *c, error **e);
/* The operation gets the output now, and not when the work has returned: before
   what cannot be undone, so that want of memory is noticed in time. */
bool vds_give_output(vds_call *c, error **e);
/* A phase, from and to which part of the whole (0..1000) it goes. */
void vds_phase(vds_call *c, const char *name, unsigned from, unsigned to);
void vds_progress(vds_call *c, uint64_t done, uint64_t total);
/* Undoing begins, or its next step. */
void vds_undoing(vds_call *c, const char *step);
/* What could not be undone, in a sentence: status().cleanup, and the log. */
void vds_left(vds_call *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* One more field of status(), also of a call that fails. Takes over `item`. */
void vds_detail(vds_call *c, const char *name, value *item);

/* Options. The fallback where there is none. */
int64_t vds_integer(const vds_call *c, const char *name, int64_t fallback);
bool vds_flag(const vds_call *c, const char *name);
const char *vds_text(const vds_call *c, const char *name); /* or NULL */
/* Names and bytes for a map; each frees the map and returns NULL when memory
   ran out (also when it was NULL), so that calls nest. */
value *vds_with(value *map, const char *name, value *item);
value *vds_with_path(value *map, const char *name, const char *path);

#endif
