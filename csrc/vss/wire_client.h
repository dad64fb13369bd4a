/*
** What the two files of the requester's end share: wire_client.c (the way: what
** a session does with a writer at the end of a socket) and wire_link.c (one
** connection, and the machine that owns it).
*/
#ifndef SAROS_VSS_WIRE_CLIENT_H
#define SAROS_VSS_WIRE_CLIENT_H

#include "op/fork.h"
#include "vss/wire_parts.h"

/* What a writer of this way is: where its socket is. */
typedef struct target {
  char *directory;
  char name[WIRE_NAME];
} target;

typedef struct call call;

struct call {
  saros_op *op;
  call *next;
  writer_link *link; /* its operation is referenced */
  int64_t n;
  writer_event event;
  uint64_t deadline; /* 0: none */
  uint64_t over;     /* of one that was given up: when its grace ends */
  buffer line;       /* until it is sent */
  bool sent;
};

typedef enum stage { ASLEEP, CONNECTING, GREETING, TALKING, BROKEN } stage;

struct writer_link {
  machine m; /* first */
  writer *w;
  uint16_t generation;
  char session[64];
  _Atomic bool hung_up;
  /* Of the engine thread: */
  stage stage;
  int64_t theirs; /* the version that it said, once it has */
  wire_stream stream;
  machine_clock clock;
  call *calls;
  int64_t last;  /* number given */
  unsigned idle; /* lines that said nothing new */
  uint64_t again;
  error *broken; /* why there is no connection any more */
};

static inline const target *link_target(const writer_link *l) {
  return l->w->self;
}

extern const saros_kind link_kind;
step_result link_step(machine *m);
/* Why it is of no use, when its other end is gone. */
error *link_has_ended(const writer_link *l);

#endif
