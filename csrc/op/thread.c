#include "op/thread.h"

#include <signal.h>
#include <stdbool.h>

/* Threads that have left and were not joined yet. When the list is full a
   thread detaches itself instead, which only costs exactness. */
#define LEFT_MOST 128
static pthread_t left[LEFT_MOST];
static int left_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int thread_start(pthread_t *id, void *(*run)(void *), void *argument) {
  sigset_t all, old;
  thread_join_left();
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int r = pthread_create(id, NULL, run, argument);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return r;
}

void thread_leave(pthread_t id) {
  pthread_mutex_lock(&lock);
  if (left_count < LEFT_MOST)
    left[left_count++] = id;
  else
    pthread_detach(id);
  pthread_mutex_unlock(&lock);
}

void thread_join_left(void) {
  for (;;) {
    pthread_mutex_lock(&lock);
    bool any = left_count > 0;
    pthread_t id = any ? left[--left_count] : pthread_self();
    pthread_mutex_unlock(&lock);
    if (!any) return;
    pthread_join(id, NULL);
  }
}

void thread_forked(void) {
  pthread_mutex_init(&lock, NULL);
  left_count = 0;
}
