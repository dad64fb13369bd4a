/*
** The kernel's grace periods, made short while file systems are frozen.
*/
#ifndef SAROS_VSS_GRACE_H
#define SAROS_VSS_GRACE_H

#include <stdbool.h>

/* Makes them short, where that is permitted and somebody else has not done so;
 *fd, which was -1, is then what grace_end ends. While nothing is frozen. */
void grace_begin(int *fd);
/* As they were; harmless when they still are. While nothing is frozen. */
void grace_end(int *fd);
/* Puts right what somebody left who was killed meanwhile. True when there was
   something. */
bool grace_heal(void);

#ifdef SAROS_TEST
extern const char *grace_path; /* where that is told to the kernel */
#endif

#endif
