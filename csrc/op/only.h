/*
** One engine in one process. A host that links libsaros.a and then loads the
** Lua module has two copies of this code; the second one that starts finds
** the first and refuses.
*/
#ifndef SAROS_OP_ONLY_H
#define SAROS_OP_ONLY_H

#include <stdbool.h>

bool only_claim(void);
void only_let_go(void);
void only_forked(void);

#endif
