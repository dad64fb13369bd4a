/*
** What the tests of the writer's end of the wire share: a writer in C that is
** served, and requesters that the test plays.
*/
#ifndef SAROS_WIRE_SERVER_CASE_H
#define SAROS_WIRE_SERVER_CASE_H

#include "wire_case.h"

#define NAME ID ".sock"

typedef struct scene {
  local l;
  wire_server *server;
} scene;

static inline void begin(scene *s) {
  error *e = NULL;
  local_open(&s->l);
  s->server = wire_listen(place(), s->l.w, &e);
  CHECK(s->server != NULL);
  if (e != NULL) printf("%s\n", e->message);
}

static inline void end(scene *s) {
  wire_close(s->server);
  local_close(&s->l);
}

/* A requester that has said hello. */
static inline int join(void) {
  int fd = raw_connect(NAME);
  hear_hello(fd, "writer");
  say(fd,
      "{\"saros\":\"requester\",\"version\":1,\"session\":\"" SESSION "\"}\n");
  return fd;
}

static inline void event(int fd, int n, const char *name) {
  say(fd, "{\"n\":%d,\"event\":\"%s\",\"deadline\":100}\n", n, name);
}

static inline void consented(int fd, int n, const char *name) {
  event(fd, n, name);
  hear_consent(fd, n);
}

#endif
