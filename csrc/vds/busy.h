/*
** One operation per object. Who works on a disk has all of it; who works on a
** partition has that one, and nobody has the disk meanwhile; other partitions
** are free. A btrfs of several devices is claimed with all of them. Claims are
** made when a call is begun, so the one that was begun first has it, and given
** back when it is over: ended and unwound. Within this process; other ones are
** kept off by vds_target_open's lock. Any thread; never waits.
*/
#ifndef SAROS_VDS_BUSY_H
#define SAROS_VDS_BUSY_H

#include "vds/call.h"

/* What options.object, .other or .path mean, as the call's work says. NULL and
   *e == NULL: nothing needs to be claimed. VDS_E_ANOTHER_CALL_IN_PROGRESS names
   the operation that has it. */
vds_claim *vds_busy_take(const vds_call *c, saros_op *op, error **e);
/* More, once it is known what belongs to it (the members of a btrfs); also for
   a call that claims nothing by itself. */
error *vds_busy_more(vds_call *c, const dev_t *devices, size_t count);
/* All that a call has, before it has ended. */
void vds_busy_give(vds_claim *claim);
/* The name of what works on a device ("format"), or NULL: for `transition`. A
   name of vds_work, which stays. */
const char *vds_busy_with(dev_t whole, dev_t dev);
void vds_busy_forked(void);

#endif
