/*
** While one thread sleeps in an ioctl that lasts (balance, removal of a device,
** online resize), a second one looks ten times a second how far it is, and
** tells the kernel when the call was cancelled. The second is made before the
** work begins and joined before this returns.
*/
#ifndef SAROS_VDS_WATCH_H
#define SAROS_VDS_WATCH_H

#include "vds/call.h"

typedef struct vds_watched {
  int (*work)(void *context);  /* the ioctl: what it returned, or -errno */
  void (*look)(void *context); /* vds_progress, on the second thread; or NULL */
  void (*stop)(void *context); /* cancelled, called again and again until the
                                  work returns; NULL: it is waited for */
  void *context;
} vds_watched;

/* Whether it was cancelled is asked by the caller: the work may have come to
   its end all the same. */
error *vds_watched_run(vds_call *c, const vds_watched *w, int *result);

#endif
