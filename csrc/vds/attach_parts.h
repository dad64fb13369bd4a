/*
** Inside of attaching: the list of what this process attached (attached.c). Any
** thread.
*/
#ifndef SAROS_VDS_ATTACH_PARTS_H
#define SAROS_VDS_ATTACH_PARTS_H

#include "vds/attach.h"

/* It has this descriptor, which is the list's from now on. False: there is no
   memory. */
bool vds_held_put(dev_t device, int fd);
/* Its descriptor, for who detaches it; -1: it is not ours. It is returned, this
   one or another of the same device (closed where it is not ours), or the
   device is dropped, which needs no memory. */
int vds_held_lend(dev_t device);
void vds_held_return(dev_t device, int fd);
void vds_held_drop(dev_t device);

#endif
