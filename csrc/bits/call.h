/*
** What a script asks of a queue and has to wait for: each call an operation of
** the engine's, carried out on a worker that may sleep. A call is a name, a
** function, and a line in calls.c; it has a manager, or a job and its manager,
** and options (a map).
*/
#ifndef SAROS_BITS_CALL_H
#define SAROS_BITS_CALL_H

#include "bits/bits.h"

typedef struct bits_work bits_work;

typedef struct bits_call {
  saros_op *op;
  const bits_work *work;
  bits_manager *m;              /* a reference, or NULL: of open */
  bits_job *j;                  /* a reference, or NULL */
  value *options;               /* NULL: none; wiped when it is over */
  value *output;                /* to be set: no list or map; NULL: true */
  bits_manager *_Atomic opened; /* what open is for, until it is taken */
} bits_call;

struct bits_work {
  const char *name;
  saros_kind kind; /* BITS_KIND */
  error *(*run)(bits_call *c);
};

/* Nothing of it can be cancelled: it takes as long as a disk does. */
#define BITS_KIND(name_)                                                      \
  {                                                                           \
    .size = sizeof(saros_kind), .name = "bits." name_,                        \
    .facade = SAROS_FACADE_BITS, .flags = SAROS_RUN_LANE | SAROS_NO_ESTIMATE, \
    .run = bits_call_run, .release = bits_call_release                        \
  }
uint32_t bits_call_run(saros_op *op, void *self);
void bits_call_release(void *self);

/* NULL: there is no such call. */
const bits_work *bits_work_find(const char *name);
/* Begins; takes over the options (wiped also when it fails). The manager may
   be NULL (of open), the job, too. The operation with one reference; NULL sets
   *why. */
saros_op *bits_call_begin(bits_manager *m, bits_job *j, const bits_work *work,
                          value *options, uint32_t *why);
/* What an operation "bits.open" that is over has opened: the caller's, once;
   else NULL. */
bits_manager *bits_call_opened(saros_op *op);
/* Closes it on a worker, and does not wait; the reference is taken over. What
   is left is the operation, with a reference, or NULL. */
saros_op *bits_call_close(bits_manager *m);

/* work.c */
error *bits_work_open(bits_call *c);
error *bits_work_close(bits_call *c);
error *bits_work_configure(bits_call *c);
error *bits_work_create(bits_call *c);
error *bits_work_resume(bits_call *c);
error *bits_work_suspend(bits_call *c);
error *bits_work_complete(bits_call *c);
error *bits_work_cancel(bits_call *c);
error *bits_work_set(bits_call *c);
error *bits_work_set_url(bits_call *c);
error *bits_work_check_files(bits_call *c);

#endif
