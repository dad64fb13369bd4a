/*
** Places in the work where a test may step in: to hold it still there and look,
** to fail it, or to be killed. Each has a name, "attach: recorded", which says
** what has been done. In a release build they are nothing.
**
** A work has one after everything that it would matter to die behind, and one
** in each loop that goes on for long ("zero: chunk").
*/
#ifndef SAROS_VDS_STEP_H
#define SAROS_VDS_STEP_H

#include <stdint.h>

#ifdef SAROS_TEST
/* The n-th step from now is the process's last; 0: never. */
extern _Atomic int vds_dies_at;
/* Called at each step, on the thread that works; NULL: nobody. */
extern void (*_Atomic vds_hook)(const char *step);
void vds_step(const char *name);
#else
#define vds_step(name) ((void)0)
#endif

/* How long who just looks at a device is waited for, in ns: udev does, when
   somebody has written, and whoever lists all there are. A test has patience
   enough for a machine that stands still, or none with whom it has stay. */
#ifdef SAROS_TEST
extern _Atomic uint64_t vds_patience;
#else
#define vds_patience UINT64_C(2000000000)
#endif

#endif
