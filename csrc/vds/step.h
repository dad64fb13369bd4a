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

#ifdef SAROS_TEST
/* The n-th step from now is the process's last; 0: never. */
extern _Atomic int vds_dies_at;
/* Called at each step, on the thread that works; NULL: nobody. */
extern void (*_Atomic vds_hook)(const char *step);
void vds_step(const char *name);
#else
#define vds_step(name) ((void)0)
#endif

#endif
