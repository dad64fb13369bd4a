/*
** The header of an answer: read line by line, bounded, and held against what
** was asked before a byte of the body goes to anybody.
*/
#include <string.h>
#include <strings.h>

#include "http/http_parts.h"

const char http_no_memory[] = "there is not enough memory for its header";
const char http_head_too_large[] = "its header is too large";

/* Of lines beyond the count there is nothing to clear. */
void http_head_clear(http_head *h) {
  h->used = h->bytes = h->count = 0;
  h->interim = h->status = 0;
  h->begun = h->whole = false;
}

void http_head_free(http_head *h) {
  if (h->text != NULL) http_wipe(h->text, h->room);
  mem_free(h->text);
  h->text = NULL;
  h->room = 0;
  http_head_clear(h);
}

/* ------------------------------------------------------------------
** Lines
** ---------------------------------------------------------------- */

static bool is_token(unsigned char c) {
  if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') return true; /* nearly always */
  return c > ' ' && c < 0x7F && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL;
}

/* "HTTP/1.1 200 OK" */
static const char *status_line(http_head *h, const char *line, size_t size) {
  size_t i = 5;
  while (i < size && line[i] != ' ') i++;
  while (i < size && line[i] == ' ') i++;
  unsigned status = 0;
  for (unsigned digits = 0; digits < 3; digits++, i++) {
    if (i >= size || line[i] < '0' || line[i] > '9')
      return "its status is no number";
    status = status * 10 + (unsigned)(line[i] - '0');
  }
  if (status < 100 || (i < size && line[i] != ' '))
    return "its status is no number of three digits";
  h->used = h->count = 0;
  h->status = status;
  h->begun = true;
  h->whole = false;
  return NULL;
}

/* The text may move when it grows: then every line does. */
static bool make_room(http_head *h, size_t more) {
  if (h->used + more <= h->room) return true;
  size_t room = h->room == 0 ? 1024 : h->room * 2;
  while (room < h->used + more) room *= 2;
  char *text = mem_alloc(room);
  if (text == NULL) return false;
  for (size_t i = 0; i < h->count; i++) {
    h->lines[i].name = text + (h->lines[i].name - h->text);
    h->lines[i].value = text + (h->lines[i].value - h->text);
  }
  if (h->used > 0) memcpy(text, h->text, h->used);
  if (h->text != NULL) http_wipe(h->text, h->room);
  mem_free(h->text);
  h->text = text;
  h->room = room;
  return true;
}

static const char *field_line(http_head *h, const char *line, size_t size) {
  size_t name = 0;
  while (name < size && is_token((unsigned char)line[name])) name++;
  if (name == 0 || name == size || line[name] != ':')
    return "a line of its header is none";
  size_t from = name + 1, to = size;
  while (from < to && (line[from] == ' ' || line[from] == '\t')) from++;
  while (to > from && (line[to - 1] == ' ' || line[to - 1] == '\t')) to--;
  for (size_t i = from; i < to; i++)
    if (((unsigned char)line[i] < ' ' && line[i] != '\t') || line[i] == 0x7F)
      return "there is a control character in its header";
  if (h->count == HTTP_HEAD_FIELDS) return http_head_too_large;
  if (!make_room(h, name + 1 + (to - from) + 1)) return http_no_memory;
  http_line *l = &h->lines[h->count++];
  l->name = h->text + h->used;
  memcpy(l->name, line, name);
  l->name[name] = '\0';
  l->value = l->name + name + 1;
  memcpy(l->value, line + from, to - from);
  l->value[to - from] = '\0';
  h->used += name + 1 + (to - from) + 1;
  return NULL;
}

const char *http_head_line(http_head *h, const char *line, size_t size) {
  h->bytes += size;
  if (h->bytes > HTTP_HEAD_BYTES) return http_head_too_large;
  while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r')) size--;
  if (h->whole && h->status >= 200) return NULL; /* a trailer: only counted */
  if (size >= 5 && memcmp(line, "HTTP/", 5) == 0 && (!h->begun || h->whole)) {
    if (h->begun && ++h->interim > HTTP_HEAD_INTERIM)
      return "it has too many interim answers";
    return status_line(h, line, size);
  }
  if (!h->begun || h->whole) return "its header begins with no status";
  if (size == 0) {
    h->whole = true;
    return NULL;
  }
  if (line[0] == ' ' || line[0] == '\t')
    return "a line of its header is folded";
  return field_line(h, line, size);
}

const char *http_head_get(const http_head *h, const char *name, size_t n) {
  for (size_t i = 0; i < h->count; i++)
    if (strcasecmp(h->lines[i].name, name) == 0 && n-- == 0)
      return h->lines[i].value;
  return NULL;
}

/* ------------------------------------------------------------------
** What they say together
** ---------------------------------------------------------------- */

/* Digits alone, and below 2^63. Gives what is behind them. */
static const char *read_number(const char *text, uint64_t *number) {
  uint64_t n = 0;
  if (*text < '0' || *text > '9') return NULL;
  for (; *text >= '0' && *text <= '9'; text++) {
    if (n > (uint64_t)(INT64_MAX - 9) / 10) return NULL;
    n = n * 10 + (uint64_t)(*text - '0');
  }
  *number = n;
  return text;
}

static const char *judge_length(const http_head *h, http_frame *f) {
  const char *text, *first = http_head_get(h, "content-length", 0);
  for (size_t i = 1; (text = http_head_get(h, "content-length", i)); i++)
    if (strcmp(text, first) != 0) return "it has two lengths that differ";
  if (first != NULL) {
    const char *end = read_number(first, &f->length);
    if (end == NULL || *end != '\0') return "its length is none";
  }
  text = http_head_get(h, "transfer-encoding", 0);
  if (text == NULL) return NULL;
  if (strcasecmp(text, "chunked") != 0 ||
      http_head_get(h, "transfer-encoding", 1) != NULL)
    return "it is encoded in a way that nobody asked for";
  if (first != NULL) return "it has both a length and chunks";
  f->chunked = true;
  return NULL;
}

/* "bytes 0-99/200", "bytes 0-99/" and a star */
static bool read_range(const char *text, http_frame *f) {
  if (strncasecmp(text, "bytes ", 6) != 0) return false;
  text = read_number(text + 6, &f->from);
  if (text == NULL || *text++ != '-') return false;
  text = read_number(text, &f->last);
  if (text == NULL || *text++ != '/') return false;
  if (strcmp(text, "*") == 0) {
    f->total = HTTP_UNKNOWN;
  } else {
    text = read_number(text, &f->total);
    if (text == NULL || *text != '\0' || f->total <= f->last) return false;
  }
  return f->last >= f->from;
}

static const char *judge_range(const http_head *h, const http_ask *ask,
                               http_frame *f) {
  const char *text = http_head_get(h, "content-range", 0);
  if (!ask->ranged) return "it is a part, and all was asked for";
  if (text == NULL || http_head_get(h, "content-range", 1) != NULL)
    return "it does not say which part it is";
  if (!read_range(text, f)) return "the part that it names is none";
  if (f->from != ask->from || f->last > ask->last)
    return "it is another part than was asked for";
  uint64_t size = f->last - f->from + 1;
  if (f->length != HTTP_UNKNOWN && f->length != size && !f->bodiless)
    return "its length is not that of the part it names";
  /* With chunks, or to the end of the connection, that is what must come. */
  f->length = size;
  return NULL;
}

const char *http_head_judge(const http_head *h, const char *method,
                            const http_ask *ask, http_frame *f) {
  memset(f, 0, sizeof *f);
  f->length = f->total = HTTP_UNKNOWN;
  f->bodiless =
      strcmp(method, "HEAD") == 0 || h->status == 204 || h->status == 304;
  if (h->status < 200) return "it only begins";
  const char *why = judge_length(h, f);
  if (why == NULL && h->status == 206) why = judge_range(h, ask, f);
  return why;
}

/* ------------------------------------------------------------------
** For who asked
** ---------------------------------------------------------------- */

const char *http_answer_field(const http_answer *a, const char *name) {
  return http_head_get(a->fields, name, 0);
}

bool http_answer_at(const http_answer *a, size_t i, const char **name,
                    const char **text) {
  if (i >= a->fields->count) return false;
  *name = a->fields->lines[i].name;
  *text = a->fields->lines[i].value;
  return true;
}

#define LAST_DATE 253402300799 /* of the year 9999 */

/* One that cannot be now would be written into what is signed. */
bool http_answer_date(const http_answer *a, int64_t *date) {
  const char *text = http_answer_field(a, "date");
  int64_t then;
  if (text == NULL || !http_date(text, &then) || then < 0 || then > LAST_DATE)
    return false;
  *date = then;
  return true;
}

/* Seconds, or a date: then of the server's clock, if it says what that is. */
bool http_answer_retry_after(const http_answer *a, uint64_t *seconds) {
  const char *text = http_answer_field(a, "retry-after");
  if (text == NULL) return false;
  const char *end = read_number(text, seconds);
  if (end != NULL && *end == '\0') return true;
  int64_t then, now;
  if (!http_date(text, &then)) return false;
  if (!http_answer_date(a, &now)) now = time(NULL);
  *seconds = then > now ? (uint64_t)(then - now) : 0;
  return true;
}
