/*
** What functions that have returned leave behind on the stack of their thread
** and in its registers of vectors. Wiped by whoever has worked with a secret,
** behind that: neither compiler nor library does it.
*/
#ifndef SAROS_BASE_TRACES_H
#define SAROS_BASE_TRACES_H

void traces_wipe(void);
/* Not as deep, after what is done often: one blob, one request. */
void traces_wipe_few(void);

#endif
