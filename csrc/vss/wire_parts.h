/*
** What the files of the wire share: wire_line.c (lines and messages),
** wire_place.c (sockets in a directory), wire_client.c and wire_link.c (the
** requester's end), wire_server.c and wire_guest*.c (the writer's end). The
** protocol itself is written down in PROTOCOL.md.
*/
#ifndef SAROS_VSS_WIRE_PARTS_H
#define SAROS_VSS_WIRE_PARTS_H

#include <sys/types.h>
#include <sys/un.h>

#include "op/engine.h"
#include "vss/clock.h"
#include "vss/writer.h"

#define WIRE_VERSION 1

enum {
  WIRE_LINE_MOST = 131072, /* bytes, with the newline */
  WIRE_DEPTH_MOST = 24,
  WIRE_VALUES_MOST = 16384,
  WIRE_IDLE_MOST = 10000 /* lines of one connection that say nothing new */
};

/* ------------------------------------------------------------------
** wire_line.c
** ---------------------------------------------------------------- */

typedef enum wire_kind {
  WIRE_HELLO,
  WIRE_EVENT,
  WIRE_CANCEL,
  WIRE_ANSWER,
  WIRE_BUSY,
  WIRE_OTHER /* of a version to come */
} wire_kind;

typedef struct wire_message {
  wire_kind kind;
  int64_t n;   /* which event; of a hello the version */
  value *body; /* the whole map */
} wire_message;

/* NULL, or what is wrong with it: then there is no body to free. */
error *wire_parse(const char *line, size_t size, wire_message *m);

/* Both ends of a connection read and write by it. Engine thread only. */
typedef struct wire_stream {
  int fd;
  source s;
  bool armed;
  bool ended; /* the other end closed it */
  buffer in, out;
  size_t start, scanned; /* of `in`: taken; known to have no newline */
  size_t sent;           /* of `out` */
} wire_stream;

void wire_open(wire_stream *s, int fd);
/* Closes and frees; also one that was never opened, but for its fd of -1. */
void wire_shut(wire_stream *s);
/* Appends a line to what is to be sent; the text must end with its newline. */
bool wire_put(wire_stream *s, const buffer *line);
/* Sends, and receives once, if there may be something: others get their turn
   in between. NULL, or why this connection is of no use any more. */
error *wire_turn(wire_stream *s);
/* Only sends. */
error *wire_push(wire_stream *s);
/* The next whole line, valid until the next turn. False when there is none;
   then *e may say that it is too long, or that the end came within it. */
bool wire_line(wire_stream *s, const char **line, size_t *size, error **e);
/* Wakes the machine when there is something to do. 0 or errno. */
int wire_arm(wire_stream *s, machine *m);

/* A value as a line; false without memory, or when it is too long. */
bool wire_format(buffer *line, const value *v);
/* Messages; NULL without memory. A hello still lacks who says it. */
value *wire_hello(const char *role);
value *wire_event(int64_t n, const writer_call *call);
/* With `more` ("metadata", "said") in it, unless that is NULL. */
value *wire_consent(int64_t n, const char *what, const value *more);
value *wire_refusal(int64_t n, const error *e);

/* ------------------------------------------------------------------
** wire_place.c
** ---------------------------------------------------------------- */

/* The directory of the sockets, looked at before it is believed. */
typedef struct wire_place {
  char *directory;
  int fd; /* O_PATH, or -1 */
} wire_place;

/* Blocking. SAROS_E_ACCESSDENIED when others could put a socket there. */
error *wire_place_open(const char *directory, wire_place *place);
void wire_place_close(wire_place *place);

#define WIRE_NAME 80 /* GUID.GUID.sock and its NUL */

/* Where a socket is, for connect and bind. A path that is too long for that
   goes by way of the directory's descriptor, when there is one. 0 or errno. */
int wire_address(const char *directory, int fd, const char *name,
                 struct sockaddr_un *address);
/* 0 or errno; EAGAIN when it has too many that it has not accepted yet. */
int wire_connect(const char *directory, const char *name, int fd);
/* Nobody has this socket open any more: known from the kernel. */
bool wire_is_dead(const wire_place *place, const char *name);
/* Takes away a dead socket of ours; false when it turned out to live. */
bool wire_remove_dead(const wire_place *place, const char *name);
/* A name for a socket that nobody is to find yet, or any more. It is nobody
   else's: not even the number of a process is, where several containers share
   the directory. False: the kernel has no random numbers. */
bool wire_aside(char name[WIRE_NAME]);
/* Who may be believed: root, and whoever we are. */
bool wire_believes(uid_t uid);
/* The other end, for a person. */
#define WIRE_WHO 96
const char *wire_who(pid_t pid, uid_t uid, char text[WIRE_WHO]);
/* The uid and pid of the other end. 0 or errno. */
int wire_peer(int fd, uid_t *uid, pid_t *pid);

/* ------------------------------------------------------------------
** wire_server.c, wire_guest.c
** ---------------------------------------------------------------- */

typedef struct wire_guest wire_guest;

struct wire_server {
  machine m; /* first */
  writer *w;
  uint16_t generation;
  _Atomic bool closing;
  wire_server *next, **link; /* in the list of this process's */
  dev_t dev;
  ino_t ino;
  wire_place place;
  char name[WIRE_NAME];
  /* Of the engine thread: */
  int fd;
  source s;
  bool armed;
  machine_clock clock; /* no descriptors left: tries again */
  wire_guest *guests;
  size_t guest_count;
  wire_guest *holder; /* whose shadow copy the writer is in, or NULL */
  double window;      /* as the writer said when it was identified */
};

/* Begins to serve a connection (taken over). False without memory. */
bool wire_guest_begin(wire_server *server, int fd);
/* The server closes: so do all of them. */
void wire_guests_end(wire_server *server);

/* It is this process that listens there. */
bool wire_is_ours(dev_t dev, ino_t ino);

/* ------------------------------------------------------------------
** wire_client.c
** ---------------------------------------------------------------- */

/* A writer at the end of a socket; copies what it needs. */
writer *wire_writer(const char *directory, const char *name, const char *id,
                    const char *instance, error **e);

#endif
