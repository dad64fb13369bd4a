/*
** Sleeping that can be ended. Who is asked has no bell, so one looks now and
** then; nobody notices a twentieth of a second. And which process this is.
*/
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "repository/repository.h"

#define LOOK_MS 50

bool repo_pause(const repo_stop *stop, uint64_t ms) {
  struct timespec now, until, step;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(ms / 1000);
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  while (!repo_stopped(stop)) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left = (int64_t)(until.tv_sec - now.tv_sec) * 1000000000 +
                   (until.tv_nsec - now.tv_nsec);
    if (left <= 0) return true;
    if (left > LOOK_MS * 1000000L) left = LOOK_MS * 1000000L;
    step = (struct timespec){0, (long)left};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &step, NULL);
  }
  return false;
}

uint64_t repo_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static _Atomic unsigned generation;

static void in_child(void) {
  atomic_fetch_add(&generation, 1);
}

static void watch_forks(void) {
  pthread_atfork(NULL, NULL, in_child);
}

unsigned repo_generation(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  return generation;
}
