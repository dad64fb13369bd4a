/*
** What a child writes, on our side of the pipe: kept (its beginning or its
** end), or handed out line by line.
*/
#ifndef SAROS_OP_OUTPUT_H
#define SAROS_OP_OUTPUT_H

#include <pthread.h>

#include "op/process.h"

/* The last bytes of a stream: a ring that grows up to its limit. */
typedef struct tail {
  char *data;
  size_t limit; /* 0: nothing is kept */
  size_t capacity, size;
  size_t at; /* where the next byte goes, once it is full */
  bool cut;  /* there was more */
} tail;

bool tail_put(tail *t, const char *bytes, size_t size);
/* At most the last `most` bytes, appended. */
void tail_copy(const tail *t, size_t most, buffer *b);

/* Lines that nobody has taken yet. Filled by the engine, emptied by anyone:
   under the lock. */
typedef struct lines {
  buffer bytes;
  size_t start;   /* what is before it was taken */
  size_t scanned; /* of what is behind it, known to have no newline */
  size_t limit;   /* of one line, and of what is kept unread; 0: no lines */
  size_t slack;   /* kept beyond the limit, when nobody writes any more */
  bool full;      /* the engine reads no further until some are taken */
  bool cut;       /* some were dropped: so is all that follows */
  bool ended;     /* no more will come */
} lines;

/* How many bytes may be put in now. */
size_t lines_room(const lines *l);
bool lines_put(lines *l, const char *bytes, size_t size);
/* The next one; *wake: the engine shall read on. */
line_result lines_take(lines *l, buffer *line, bool *wake);

typedef enum output_read {
  OUTPUT_SOME,  /* something was read; there may be more */
  OUTPUT_LATER, /* nothing to read now */
  OUTPUT_FULL,  /* nobody takes the lines */
  OUTPUT_ENDED, /* the other side is closed: by everybody */
  OUTPUT_FAILED /* errno; ENOMEM when it could not be kept */
} output_read;

typedef struct output {
  int fd; /* -1: none, or ended */
  size_t limit;
  bool keep_head;
  bool truncated; /* there was more than the head */
  buffer head;
  tail tail;
  lines lines;
  bool drop; /* nobody takes lines any more: the child shall not wait */
} output;

/* Reads once; *count is how many bytes. On the engine thread. `lock` is the
   one of the lines; *news is set when there is a line to take. */
output_read output_pull(output *o, pthread_mutex_t *lock, size_t *count,
                        bool *news);
/* Nothing more comes. */
void output_end(output *o, pthread_mutex_t *lock);
void output_free(output *o);
/* What was kept, as a string; it is not kept any more. NULL: no memory. */
value *output_take(output *o);
bool output_truncated(const output *o);

#endif
