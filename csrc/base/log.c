/*
** log: the last records in memory, and the sinks.
**
** One lock guards both. It is held while a sink runs, which is what makes
** log_detach certain; so nobody may log while he holds a lock that a sink
** takes. The kept records are in static memory: the log has no end at which
** it could free them, and it must work when there is no memory.
*/
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/path.h"

enum { KEPT_TEXT = 1024 }; /* bytes of a record that are kept, with the NUL */

typedef struct sink {
  struct sink *next;
  log_sink call;
  void *context;
  int id;
} sink;

typedef struct kept {
  log_record record; /* its text is the one below */
  char text[KEPT_TEXT];
} kept;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sink *sinks; /* in the order they were attached */
static int last_id;
/* One more than are shown: the one that a fork catches half written is not
   among those that the child shows. */
static kept ring[LOG_KEPT + 1];
static size_t written; /* records ever written */


/* ------------------------------------------------------------------
** The text
** ---------------------------------------------------------------- */

/* Escaped, but with its lines. */
static void escape_lines(buffer *b, const char *text) {
  for (;;) {
    const char *end = strchrnul(text, '\n');
    text_escape(b, text, (size_t)(end - text));
    if (*end == '\0') return;
    buffer_byte(b, '\n');
    text = end + 1;
  }
}


/* The same without memory, and with less care. */
static void blank_out(char *text) {
  for (; *text != '\0'; text++)
    if ((*text < ' ' && *text != '\n') || *text > '~') *text = '?';
}


/* Copies what fits, and says when that is not all. The cut is made between
   characters. */
static void keep(kept *k, const log_record *record) {
  static const char more[] = " ...";
  size_t size = strlen(record->text);
  k->record = *record;
  k->record.text = k->text;
  if (size < sizeof k->text) {
    memcpy(k->text, record->text, size + 1);
    return;
  }
  size = sizeof k->text - sizeof more;
  while (((unsigned char)record->text[size] & 0xC0) == 0x80) size--;
  memcpy(k->text, record->text, size);
  memcpy(k->text + size, more, sizeof more);
}


/* Tells everybody, and keeps it. */
static void publish(const log_record *record) {
  pthread_mutex_lock(&lock);
  keep(&ring[written % (LOG_KEPT + 1)], record);
  written++;
  for (sink *s = sinks; s != NULL; s = s->next) s->call(s->context, record);
  pthread_mutex_unlock(&lock);
}


void log_write(log_level level, const char *area, const char *format, ...) {
  int number = errno; /* whoever logs a failure still needs it */
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  log_record record = {
      .time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
      .level = level,
      .area = area,
  };
  char small[KEPT_TEXT];
  char *whole = small;
  va_list args;
  va_start(args, format);
  int size = vsnprintf(small, sizeof small, format, args);
  va_end(args);
  if (size < 0) small[0] = '\0';
  if (size >= (int)sizeof small) {
    char *big = mem_alloc((size_t)size + 1);
    if (big != NULL) {
      va_start(args, format);
      vsnprintf(big, (size_t)size + 1, format, args);
      va_end(args);
      whole = big;
    }
  }
  buffer b = BUFFER_EMPTY;
  escape_lines(&b, whole);
  if (b.failed) blank_out(whole);
  record.text = b.failed ? whole : b.data;
  publish(&record);
  buffer_free(&b);
  if (whole != small) mem_free(whole);
  errno = number;
}


/* ------------------------------------------------------------------
** Who reads it
** ---------------------------------------------------------------- */

static bool id_taken(int id) {
  for (sink *s = sinks; s != NULL; s = s->next)
    if (s->id == id) return true;
  return false;
}


int log_attach(log_sink call, void *context) {
  sink *s = mem_zero(sizeof *s);
  if (s == NULL) return 0;
  s->call = call;
  s->context = context;
  pthread_mutex_lock(&lock);
  do {
    last_id = last_id < 0x7FFFFFFF ? last_id + 1 : 1;
  } while (id_taken(last_id));
  int id = s->id = last_id;
  sink **end = &sinks;
  while (*end != NULL) end = &(*end)->next;
  *end = s; /* one store: a fork finds the list with it or without it */
  pthread_mutex_unlock(&lock);
  return id;
}


void log_detach(int id) {
  sink *found = NULL;
  pthread_mutex_lock(&lock);
  for (sink **s = &sinks; *s != NULL; s = &(*s)->next) {
    if ((*s)->id != id) continue;
    found = *s;
    *s = found->next;
    break;
  }
  pthread_mutex_unlock(&lock);
  mem_free(found);
}


void log_replay(log_sink call, void *context) {
  pthread_mutex_lock(&lock);
  size_t count = written < LOG_KEPT ? written : LOG_KEPT;
  for (size_t i = written - count; i < written; i++)
    call(context, &ring[i % (LOG_KEPT + 1)].record);
  pthread_mutex_unlock(&lock);
}


const char *log_level_name(log_level level) {
  static const char *const names[] = {"error", "warning", "notice", "debug"};
  unsigned index = (unsigned)level;
  return index < sizeof names / sizeof names[0] ? names[index] : "unknown";
}


/* The thread that held the lock, if one did, is not in this process. What it
   was about to keep is lost; the sinks go on. */
void log_forked(void) {
  pthread_mutex_init(&lock, NULL);
}
