/*
** Writers: applications that can be told to hold still. One is a Lua function
** of this process (csrc/lua), one a command that stays alive while it holds
** (command.c), one another process at the end of a socket (wire.c). To tell
** one something is to begin an operation; that it ends well is consent.
*/
#ifndef SAROS_VSS_WRITER_H
#define SAROS_VSS_WRITER_H

#include "vss/vss.h"

typedef enum writer_event {
  EVENT_IDENTIFY,
  EVENT_PREPARE_BACKUP,
  EVENT_PREPARE_SNAPSHOT,
  EVENT_FREEZE,
  EVENT_THAW,
  EVENT_POST_SNAPSHOT,
  EVENT_ABORT,
  EVENT_BACKUP_COMPLETE,
  EVENT_BACKUP_SHUTDOWN,
  EVENT_PRE_RESTORE,
  EVENT_POST_RESTORE,
  EVENTS /* how many */
} writer_event;

/* "prepare_snapshot": what it is called in Lua and on the wire. */
const char *writer_event_name(writer_event event);
/* EVENTS when there is none of that name. */
writer_event writer_event_of(const char *name);

typedef struct writer writer;
typedef struct writer_link writer_link; /* the way's own */

/* What it is told. What points somewhere is valid only while tell runs. */
typedef struct writer_call {
  writer_event event;
  /* The operation that a script waits for: a wait that runs no other Lua runs
     the handlers of that one. */
  saros_op *of;
  /* { event, session, set, reason, deadline (seconds from now), backup_type,
       components = { name, … },
       volumes = { { path, provider, atomic, shadow, writable }, … } } */
  const value *details;
  uint64_t deadline; /* monotonic nanoseconds; then we cancel */
} writer_call;

/* How it is reached. Called on the engine thread (connect and hang_up on any);
   never blocks; no lock is held. */
typedef struct writer_way {
  const char *name; /* "lua", "command", "socket" */
  /* A link for one session. NULL and *e when there is none to be had. */
  writer_link *(*connect)(writer *w, const char *session, error **e);
  /* Begins to tell. The operation (the caller's reference) succeeds: consent,
     and of EVENT_IDENTIFY its output is the metadata (see below), else what the
     writer says beyond yes, if anything, as yet unchecked; or fails: a
     veto, and its error is the writer's. Cancelled: we gave up, it is over
     when nothing of the handler runs that could still change something. At
     most one is pending on a link, except that what ends a backup (EVENT_ABORT,
     EVENT_BACKUP_SHUTDOWN) may come beside one that was cancelled. */
  saros_op *(*tell)(writer_link *link, const writer_call *call, error **e);
  /* The session needs it no more. What it still holds frozen it lets go by
     itself: that is what end-of-file means on a socket or a pipe. */
  void (*hang_up)(writer_link *link);
  void (*release)(writer *w); /* the last reference is gone */
  /* Engine thread. NULL, or why it could not be told anything now: its end of
     the connection is gone. May be NULL: of this way that is never so. */
  error *(*alive)(writer_link *link);
  /* Whether it is there, and listens, only an answer shows: who wants to know
     how it fares tells it EVENT_IDENTIFY once more. */
  bool asked;
} writer_way;

struct writer {
  _Atomic uint32_t refs;
  const writer_way *way;
  char id[37];       /* its class, a GUID */
  char instance[37]; /* this one of its class */
  char *name;        /* may be NULL until it was identified */
  void *self;
  writer *next, **link; /* in the register */
  uint16_t generation;  /* of the process that registered it */
};

/* Metadata is a map, checked by writer_metadata before anybody believes it:
     id, instance, name (text, at most 255 bytes),
     usage, source ("user_data", "transacted_db", … ; optional),
     level ("front_end", "back_end", "system"; optional),
     freeze_timeout (seconds, > 0, at most 600; optional: 60),
     guard ("connection", "expiry", "process"; optional),
     restore_method and what else it likes to say (kept, at most 64 KiB),
     components = { { type ("database", "filegroup"), name, logical_path?,
                      caption?, files = { path, … }, exclude = { … }? }, … }
   Returns a clean copy (GUIDs in lower case, level and freeze_timeout filled
   in, components and their files lists), or NULL and *e (SAROS_E_INVALIDARG)
   that says what is wrong with it. Without an id in it `id` is put there. */
value *writer_metadata(const value *said, const char *id, error **e);

/* What it says when it says no, { message?, code? (a number or a name),
   retryable? }, as an error; bounded, and whatever it is. */
#define WRITER_MESSAGE_MOST 1024 /* bytes of it that are kept */
error *writer_veto(const value *said);

/* A new one with one reference; `id` and `instance` (NULL: a new GUID) are
   checked. NULL and *e. */
writer *writer_make(const writer_way *way, const char *id, const char *instance,
                    const char *name, void *self, error **e);
writer *writer_ref(writer *w);
void writer_unref(writer *w);

/* The register of this process; it holds a reference of its own. A class may
   have several instances; the same instance twice is
   VSS_E_WRITER_ALREADY_SUBSCRIBED. */
error *writer_subscribe(writer *w);
void writer_unsubscribe(writer *w); /* harmless when it is not in it */
/* For the `alive` of those that are subscribed: NULL, or
   VSS_E_WRITER_NOT_RESPONDING, for it is not in it any more. */
error *writer_is_gone(const writer *w);
/* All of them, each with a reference, in *list (freed by writer_list_free). */
typedef struct writer_list {
  writer **items;
  size_t count;
} writer_list;
bool writer_local(writer_list *list);               /* false: no memory */
bool writer_list_add(writer_list *list, writer *w); /* takes the reference */
void writer_list_free(writer_list *list);

/* wire.c: those in other processes, found by their sockets. Blocking (readdir,
   lstat): for a worker. What is no socket, or not of an owner that may be
   believed (root, or ourselves), is left out and named in the log. Ours are
   left out too: they are local. */
error *wire_find(const char *directory, writer_list *list);
/* Makes a local writer reachable by others: a socket in `directory`, served on
   the engine thread until wire_close (any thread). Blocking. */
typedef struct wire_server wire_server;
wire_server *wire_listen(const char *directory, writer *w, error **e);
void wire_close(wire_server *server);

/* command.c: an executable as a writer. Metadata comes from its own
   `identify` verb when `metadata` is NULL. */
typedef struct command_options {
  const char *id;
  const char *name;
  const char *const *argv; /* the verb is added as the last argument */
  const char *const *env;  /* "A=b" added to the inherited; or NULL */
  const char *cwd;
  const value *metadata; /* copied */
} command_options;
writer *command_writer(const command_options *options, error **e);

#endif
