/*
** The log sink. saros writes nothing to anybody's terminal: it hands records
** to the sinks that were registered, and keeps the last ones in memory, so
** that a question that comes late still has an answer.
*/
#ifndef SAROS_BASE_LOG_H
#define SAROS_BASE_LOG_H

#include <stddef.h>
#include <stdint.h>

typedef enum log_level {
  LOG_ERROR,
  LOG_WARNING,
  LOG_NOTICE,
  LOG_DEBUG
} log_level;

typedef struct log_record {
  int64_t time; /* nanoseconds since 1970 */
  log_level level;
  const char *area; /* "op", "copy": a literal */
  const char *text; /* escaped already: no control character but '\n' */
} log_record;

typedef void (*log_sink)(void *context, const log_record *record);

#define LOG_KEPT 64 /* records kept in memory */

void log_write(log_level level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A sink is called on the thread that logs, with the log's lock held: it must
   not log, wait, or call back. 0 when memory ran out. */
int log_attach(log_sink sink, void *context);
void log_detach(int id); /* after it returned the sink is not called again */
/* The kept records, oldest first, each given to `sink`. */
void log_replay(log_sink sink, void *context);
const char *log_level_name(log_level level);

/* After a fork, in the child. */
void log_forked(void);

#endif
