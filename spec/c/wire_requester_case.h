/*
** What the tests of the requester's end of the wire share: a requester with one
** link to a writer that the test plays.
*/
#ifndef SAROS_WIRE_REQUESTER_CASE_H
#define SAROS_WIRE_REQUESTER_CASE_H

#include "wire_case.h"

#define NAME ID ".sock"

/* A requester with one link to a writer that the test plays. */
typedef struct scene {
  int listens, fd;
  writer *w;
  writer_link *link;
} scene;

static inline scene begin(void) {
  error *e = NULL;
  scene s = {.listens = raw_listen(NAME, SOCK_STREAM), .fd = -1};
  s.w = wire_writer(place(), NAME, ID, ID, &e);
  CHECK(s.w != NULL);
  s.link = s.w->way->connect(s.w, SESSION, &e);
  CHECK(s.link != NULL);
  return s;
}

static inline void end(scene *s) {
  if (s->link != NULL) s->w->way->hang_up(s->link);
  if (s->fd >= 0) close(s->fd);
  close(s->listens);
  raw_unlink(NAME);
  writer_unref(s->w);
}

#define HELLO "{\"saros\":\"writer\",\"version\":1,\"id\":\"" ID "\"}\n"

/* Both have said hello. */
static inline void greet(scene *s) {
  s->fd = raw_accept(s->listens);
  hear_hello(s->fd, "requester");
  say(s->fd, HELLO);
}

/* Told, and heard by the writer as number *n. */
static inline saros_op *ask(scene *s, writer_event event, unsigned ms,
                            int64_t *n) {
  saros_op *op = tell(s->w, s->link, event, ms);
  if (s->fd < 0) greet(s);
  *n = hear_event(s->fd, writer_event_name(event));
  return op;
}

static inline void answer(scene *s, int64_t n) {
  say(s->fd, "{\"n\":%lld,\"ok\":true}\n", (long long)n);
}

#endif
