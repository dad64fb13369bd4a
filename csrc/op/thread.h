/*
** Threads of ours: all signals blocked, and joined. A thread that is about
** to leave says so; whoever comes by next joins it, so that when the engine
** has stopped the kernel has none of them any more.
*/
#ifndef SAROS_OP_THREAD_H
#define SAROS_OP_THREAD_H

#include <pthread.h>

int thread_start(pthread_t *id, void *(*run)(void *), void *argument);
/* This thread is about to return and touches nothing of ours any more, or as
   good as. */
void thread_leave(pthread_t id);
/* Joins those that have left. */
void thread_join_left(void);
void thread_forked(void);

#endif
