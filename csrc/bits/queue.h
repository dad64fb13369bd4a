/*
** The queue on the disk: one SQLite file (WAL, mode 0600) a manager. It knows
** rows and nothing of what they mean. One thread at a time uses it (the
** keeper's); only bits_queue_interrupt is for any.
**
** Who owns it: one living process, which a file beside it names (boot id, pid,
** start time, and a flock(2) held); others read. It is taken over from an owner
** who is provably dead, never from one who lives.
*/
#ifndef SAROS_BITS_QUEUE_H
#define SAROS_BITS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

typedef struct bits_queue bits_queue;

/* Texts are the caller's when put, the queue's (until the callback returns)
   when loaded. */
typedef struct queue_job {
  int64_t id;       /* ascending: order of creation; kept for ever */
  const char *guid; /* 36 characters, lower case */
  int state, type, priority;
  bool torn; /* the queue was damaged: files of it may be missing, so that it
                must not pass for whole until a person has looked */
  const char *properties; /* JSON: all that few look at (properties.c) */
} queue_job;

typedef struct queue_file {
  int64_t job;
  uint32_t number;
  const char *url, *path;
  int state;
  unsigned marks;
  int64_t have, size; /* size: -1 unknown */
  const char *known;  /* JSON or NULL */
  const char *extra;  /* JSON or NULL */
} queue_file;

/* Something that was begun at a server and shall not be left there: an upload
   in parts whose job is gone. */
typedef struct queue_orphan {
  int64_t id;       /* 0: a new one */
  const char *what; /* JSON: where, with which credentials' reference */
} queue_orphan;

/* Opens it, makes it when there is none. As owner when nobody lives who is, or
   (*owner = false) to read. A file that is damaged is set aside, beside it
   ("queue.db.damaged-<time>", its WAL with it; what of it can still be read is
   brought over: the partial files it names are kept), with *told saying so
   (an error object for the log and the caller; the queue is usable); one of a
   newer version, of another user, one that is no queue: NULL and *e. */
bits_queue *bits_queue_open(const char *path, bool *owner, error **told,
                            error **e);
void bits_queue_close(bits_queue *q);
/* Who owns it now: "pid 12 (lua5.4), since 2026-…", or "". */
void bits_queue_owner(bits_queue *q, buffer *b);
/* An observer's: becomes the owner if the other is dead. */
error *bits_queue_take_over(bits_queue *q, bool *owner);
/* Whether somebody else has written since this was asked last. */
error *bits_queue_changed(bits_queue *q, bool *changed);

typedef struct queue_calls {
  error *(*job)(void *context, const queue_job *row);
  error *(*file)(void *context, const queue_file *row); /* behind its job */
  error *(*orphan)(void *context, const queue_orphan *row);
} queue_calls;
/* All of it: jobs by their ids, each with its files by their numbers. Rows
   that cannot be right (an unknown state, a size that is negative) are told
   and passed over. */
error *bits_queue_load(bits_queue *q, const queue_calls *calls, void *context);

/* One transaction. `full`: what it says is on the disk when commit returns,
   also if the machine dies; else a dead machine may forget it (not a dead
   process). After any error: bits_queue_undo. */
error *bits_queue_begin(bits_queue *q, bool full);
error *bits_queue_put_job(bits_queue *q, const queue_job *row);
error *bits_queue_drop_job(bits_queue *q, int64_t id); /* and its files */
error *bits_queue_put_file(bits_queue *q, const queue_file *row);
error *bits_queue_drop_file(bits_queue *q, int64_t job, uint32_t number);
error *bits_queue_put_orphan(bits_queue *q, queue_orphan *row); /* sets id */
error *bits_queue_drop_orphan(bits_queue *q, int64_t id);
/* What is kept of the queue itself (limits): a name and a JSON text. */
error *bits_queue_put_setting(bits_queue *q, const char *name,
                              const char *json);
error *bits_queue_get_setting(bits_queue *q, const char *name, buffer *json);
error *bits_queue_commit(bits_queue *q);
void bits_queue_undo(bits_queue *q);
/* A call that waits for somebody else's lock gives up. Any thread. */
void bits_queue_interrupt(bits_queue *q);

#endif
