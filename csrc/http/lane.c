/*
** Lanes: threads that somebody has for himself. A lane is its loop.
*/
#include "http/http_parts.h"

bool http_lane_is_inherited(const http_lane *lane) {
  return ((const http_loop *)lane)->generation != atomic_load(&http_generation);
}

http_lane *http_lane_new(const char *name, error **e) {
  http_loop *l = NULL;
  if (http_prepare()) {
    *e = http_thread_begin(&l, name, true);
  } else {
    *e = http_error(SAROS_E_FAIL, "libcurl cannot be initialised");
  }
  return (http_lane *)l;
}

void http_lane_drop(http_lane *lane) {
  http_loop *l = (http_loop *)lane;
  if (l == NULL || http_lane_is_inherited(lane)) return;
  pthread_mutex_lock(&http_lock);
  l->kept = false;
  http_door_wake(l);
  pthread_mutex_unlock(&http_lock);
}

bool http_lane_call(http_lane *lane, void (*call)(void *context),
                    void *context) {
  http_loop *l = (http_loop *)lane;
  if (http_lane_is_inherited(lane)) return false;
  http_errand *d = mem_alloc(sizeof *d);
  if (d == NULL) return false;
  *d = (http_errand){NULL, call, context};
  pthread_mutex_lock(&http_lock);
  *l->errands_end = d;
  l->errands_end = &d->next;
  http_door_wake(l);
  pthread_mutex_unlock(&http_lock);
  return true;
}

bool http_lane_is_here(const http_lane *lane) {
  return http_here == (const http_loop *)lane;
}
