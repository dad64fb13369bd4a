/*
** What is stored of a job besides its columns: one JSON text of its properties,
** times, counters and last failure; and back. A row may be anybody's: what
** cannot be right is as if it were not there.
*/
#include <string.h>

#include "bits/job_parts.h"

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static void put_name(buffer *b, const char *name) {
  buffer_format(b, ",\"%s\":", name);
}

static void put_number(buffer *b, const char *name, uint64_t n) {
  if (n == 0) return;
  put_name(b, name);
  buffer_format(b, "%lld", (long long)n);
}

static void put_text(buffer *b, const char *name, const char *text) {
  if (text == NULL) return;
  put_name(b, name);
  json_write_string(b, text, strlen(text));
}

static void put_failure(buffer *b, const bits_failure *f) {
  if (f->code == 0) return;
  put_name(b, "failure");
  buffer_format(b, "{\"code\":%u", f->code);
  put_number(b, "context", f->context);
  put_number(b, "win32", f->win32);
  put_number(b, "transport", f->transport);
  put_number(b, "file", f->file);
  put_text(b, "why", f->why);
  buffer_byte(b, '}');
}

/* Those that are stored. */
#define MARKS \
  (BITS_JOB_GROUP | BITS_JOB_RESUMED | BITS_JOB_NOTIFY | BITS_JOB_DURABLE)

char *bits_properties_write(const bits_job *j) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "{\"set\":");
  json_write(&b, j->properties, JSON_COMPACT);
  put_text(&b, "group", j->group);
  put_number(&b, "marks", j->marks & MARKS);
  put_number(&b, "created", (uint64_t)j->created);
  put_number(&b, "modified", (uint64_t)j->modified);
  put_number(&b, "transferred", (uint64_t)j->transferred);
  put_number(&b, "retry_at", j->retry_at);
  put_number(&b, "progress_at", j->progress_at);
  put_number(&b, "begun_at", j->begun_at);
  put_number(&b, "touched_at", j->touched_at);
  put_number(&b, "tries", j->tries);
  put_number(&b, "retries", j->retries);
  put_number(&b, "errors", j->error_count);
  put_failure(&b, &j->failure);
  buffer_byte(&b, '}');
  return buffer_take(&b);
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static uint64_t number(const value *map, const char *name, uint64_t most) {
  int64_t n = value_integer(value_get(map, name), 0);
  return n > 0 && (uint64_t)n <= most ? (uint64_t)n : 0;
}

/* A time of the queue's clock cannot be later than now. */
static uint64_t past(const bits_job *j, const value *map, const char *name) {
  uint64_t now = bits_now(j->m);
  uint64_t at = number(map, name, INT64_MAX);
  return at < now ? at : now;
}

#define SENTENCE_MOST 400

/* A sentence that is shown: no control characters, and not endless. What we
   have written was escaped before: its backslashes stay as they are. */
static char *sentence(const value *v) {
  const char *text = value_chars(v, NULL);
  if (text == NULL) return NULL;
  buffer b = BUFFER_EMPTY;
  size_t size = strnlen(text, SENTENCE_MOST);
  while (size > 0) {
    const char *slash = memchr(text, '\\', size);
    size_t n = slash != NULL ? (size_t)(slash - text) : size;
    text_escape(&b, text, n);
    if (slash != NULL) buffer_byte(&b, text[n++]);
    text += n;
    size -= n;
  }
  char *said = buffer_take(&b);
  if (said != NULL && strlen(said) > SENTENCE_MOST) {
    size = SENTENCE_MOST;
    while (((unsigned char)said[size] & 0xC0) == 0x80) size--;
    said[size] = '\0';
  }
  return said;
}

static void read_failure(bits_job *j, const value *map) {
  const value *v = value_get(map, "failure");
  uint32_t code = (uint32_t)number(v, "code", UINT32_MAX);
  bits_failure_clear(&j->failure);
  if (!code_failed(code)) return;
  j->failure = (bits_failure){
      .code = code,
      .context = (bits_context)number(v, "context", BITS_CONTEXT_APPLICATION),
      .win32 = (uint32_t)number(v, "win32", UINT32_MAX),
      .transport = (uint32_t)number(v, "transport", 999),
      .file = (uint32_t)number(v, "file", UINT32_MAX),
      .why = sentence(value_get(v, "why"))};
}

static error *read_group(bits_job *j, const value *map) {
  const char *text = value_chars(value_get(map, "group"), NULL);
  guid g;
  if (text == NULL || !guid_parse(text, &g)) return NULL;
  mem_free(j->group);
  j->group = mem_zero(GUID_TEXT);
  if (j->group == NULL) return error_no_memory();
  guid_format(&g, j->group);
  return NULL;
}

static error *read_rest(bits_job *j, const value *map) {
  error *e = read_group(j, map);
  if (e != NULL) return e;
  j->marks &= (uint8_t)~MARKS;
  j->marks |= (uint8_t)(number(map, "marks", UINT8_MAX) & MARKS);
  j->created = (int64_t)number(map, "created", INT64_MAX);
  j->modified = (int64_t)number(map, "modified", INT64_MAX);
  j->transferred = (int64_t)number(map, "transferred", INT64_MAX);
  j->retry_at = number(map, "retry_at", INT64_MAX);
  j->progress_at = past(j, map, "progress_at");
  j->begun_at = past(j, map, "begun_at");
  /* Who does not know when he was last touched is not cancelled for it. */
  j->touched_at = past(j, map, "touched_at");
  if (j->touched_at == 0) j->touched_at = bits_now(j->m);
  j->tries = (unsigned)number(map, "tries", UINT32_MAX);
  j->retries = (uint32_t)number(map, "retries", UINT32_MAX);
  j->error_count = (uint32_t)number(map, "errors", UINT32_MAX);
  read_failure(j, map);
  return NULL;
}

static error *read_set(bits_draft *d, const value *v) {
  const value *set = value_get(v, "set");
  if (set == NULL || set->type != VALUE_MAP) return NULL;
  return bits_draft_read(d, set, false);
}

static error *take(bits_job *j, bits_draft *d, const value *v) {
  bits_draft_swap(d, j);
  return read_rest(j, v);
}

error *bits_properties_load(bits_job *j, const value *v, bool secrets) {
  bits_draft d;
  if (!bits_draft_usual(&d, j)) return error_no_memory();
  d.looks = !secrets;
  error *e = read_set(&d, v);
  pthread_mutex_lock(&j->m->lock);
  if (e == NULL) e = take(j, &d, v);
  pthread_mutex_unlock(&j->m->lock);
  bits_draft_free(&d);
  return e;
}

error *bits_properties_read(bits_job *j, const value *v, bool stored) {
  bits_draft d;
  if (!(stored ? bits_draft_usual(&d, j) : bits_draft_begin(&d, j)))
    return error_no_memory();
  error *e = stored ? read_set(&d, v) : bits_draft_read(&d, v, false);
  if (e == NULL && stored)
    e = take(j, &d, v);
  else if (e == NULL)
    bits_draft_swap(&d, j);
  bits_draft_free(&d);
  return e;
}
