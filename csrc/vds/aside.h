/*
** Making something durable while its caller goes on: a thread that calls fsync
** for one descriptor, then for another, and ends. Who dies by a signal needs
** none of it, the kernel has what was written; it is for losses of power.
*/
#ifndef SAROS_VDS_ASIDE_H
#define SAROS_VDS_ASIDE_H

#include <pthread.h>

#include "vds/vds.h"

typedef struct vds_aside {
  int fds[2]; /* or -1; they stay their owner's, open until the end */
  int number; /* errno of the first that failed, or 0 */
  bool running;
  pthread_t thread;
} vds_aside;

#define VDS_ASIDE_NONE ((vds_aside){.fds = {-1, -1}})

/* Without a thread to be had it is done at once. */
void vds_aside_sync(vds_aside *a, int one, int two);
/* Waits for it. errno, or 0; of what was never begun, or has ended, as well. */
int vds_aside_end(vds_aside *a);

#endif
