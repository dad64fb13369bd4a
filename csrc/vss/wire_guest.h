/*
** What the two files of a guest share: wire_guest.c (a requester that is
** connected to a writer of ours, and how it is heard) and wire_guest_tell.c
** (how the writer is told, and the requester answered).
*/
#ifndef SAROS_VSS_WIRE_GUEST_H
#define SAROS_VSS_WIRE_GUEST_H

#include "op/watch.h"
#include "vss/wire_parts.h"

/* Something the writer was told. */
typedef struct told {
  watch w; /* first */
  wire_guest *g;
  saros_op *op; /* NULL: nothing now */
  int64_t n;    /* 0: nobody asked for it, nobody is answered */
  writer_event event;
  uint64_t deadline;
  _Atomic bool over;
  bool late;
} told;

typedef enum hold_state {
  NOT_HELD,
  PREPARED, /* from here on an abort is due if it does not come to an end */
  FROZEN,
  EXPIRED /* the window ran out, it was told to abort */
} hold_state;

struct wire_guest {
  machine m;           /* first */
  wire_server *server; /* its operation is referenced */
  wire_guest *next, **link;
  uint16_t generation;
  char session[64];
  bool greeted, leaving, ending;
  bool begun; /* a backup that is neither complete nor aborted */
  hold_state hold;
  uint64_t hello_end, window_end; /* 0: none */
  wire_stream stream;
  machine_clock clock;
  writer_link *writer;
  told asked, aborted;
};

static inline writer *guest_writer(const wire_guest *g) {
  return g->server->w;
}

/* Tells the writer: NULL, and *t says what is under way; or why it could not
   be told. */
error *guest_tell(wire_guest *g, told *t, int64_t n, writer_event event,
                  const value *details, uint64_t ns);
/* Nobody asked for it: its requester cannot, or does not. */
void guest_abort(wire_guest *g, const char *why);
/* What was told is over: it is answered. False without memory. */
bool guest_settle(wire_guest *g, told *t);
/* What is held now, knowing how it went. */
void guest_note(wire_guest *g, const told *t, bool good);
void guest_let_hold_go(wire_guest *g);

/* False without memory: then the connection must go, because an answer that is
   missing would be waited for. */
bool guest_put_line(wire_guest *g, const value *v);
bool guest_refuse(wire_guest *g, int64_t n, error *e); /* takes over `e` */
bool guest_consent(wire_guest *g, int64_t n, const char *what,
                   const value *more);
double guest_number(const value *v, double fallback);

#endif
