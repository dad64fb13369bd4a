/*
** What each part of the floor does in a forked child. Only fork.c calls it.
*/
#ifndef SAROS_OP_FORK_PARTS_H
#define SAROS_OP_FORK_PARTS_H

void engine_stand_still(void);
void engine_go_on(void);
void names_hold(void);
void names_let_go(void);
void op_forked(void);
void engine_forked(void);
void pool_forked(void);

#endif
