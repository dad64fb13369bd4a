/*
** The reader. It keeps a list for each one that is open, and no place in the
** program: so the next byte may take as long as it likes.
*/
#include "client/redis_resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK ((size_t)16 << 10)
#define KEEP ((size_t)256 << 10) /* a larger buffer is not kept */

void resp_free(resp *r) {
  for (unsigned i = 0; i < r->depth; i++) saros_value_free(r->open[i].list);
  if (r->value != NULL) saros_value_free(r->value);
  free(r->bytes);
  memset(r, 0, sizeof *r);
}

char *resp_room(resp *r, size_t *size) {
  if (r->at > 0) {
    r->size -= r->at;
    r->seen = r->seen > r->at ? r->seen - r->at : 0;
    memmove(r->bytes, r->bytes + r->at, r->size);
    r->at = 0;
  }
  if (r->size == 0 && r->room > KEEP) {
    free(r->bytes);
    r->bytes = NULL;
    r->room = 0;
  }
  if (r->room - r->size < CHUNK) {
    size_t room = r->room * 2 > CHUNK * 2 ? r->room * 2 : CHUNK * 2;
    char *bytes = realloc(r->bytes, room);
    if (bytes == NULL) return NULL;
    r->bytes = bytes;
    r->room = room;
  }
  *size = r->room - r->size;
  return r->bytes + r->size;
}

void resp_got(resp *r, size_t size) {
  r->size += size;
}

static resp_state broken(resp *r, const char *why) {
  snprintf(r->text, sizeof r->text, "%s", why);
  return RESP_BROKEN;
}


/* ------------------------------------------------------------------
** Pieces
** ---------------------------------------------------------------- */

/* The line at `at`, without its end; NULL: it is not there yet. */
static const char *line(resp *r, size_t *size) {
  size_t from = r->seen > r->at ? r->seen : r->at;
  while (from < r->size) {
    const char *end = memchr(r->bytes + from, '\r', r->size - from);
    if (end == NULL) break;
    from = (size_t)(end - r->bytes);
    if (from + 1 == r->size) {
      r->seen = from;
      return NULL;
    }
    if (r->bytes[from + 1] == '\n') {
      *size = from - r->at;
      return r->bytes + r->at;
    }
    from++;
  }
  r->seen = r->size;
  return NULL;
}

static bool number(const char *s, size_t size, int64_t *n) {
  uint64_t sum = 0;
  bool minus = size > 0 && *s == '-';
  size_t i = minus || (size > 0 && *s == '+');
  if (i == size || size - i > 19) return false;
  for (; i < size; i++) {
    if (s[i] < '0' || s[i] > '9') return false;
    sum = sum * 10 + (uint64_t)(s[i] - '0');
  }
  if (sum > (uint64_t)INT64_MAX + minus) return false;
  *n = minus ? (int64_t)(0 - sum) : (int64_t)sum;
  return true;
}

/* Counts the bytes before the next one, and steps over them. */
static void step(resp *r, size_t size) {
  r->at += size;
  r->total += size;
}

static saros_value *error_in_list(const char *text, size_t size) {
  saros_value *map = saros_value_map();
  if (map == NULL) return NULL;
  if (saros_value_put(map, "err", saros_value_bytes(text, size))) return map;
  saros_value_free(map);
  return NULL;
}


/* ------------------------------------------------------------------
** Values
** ---------------------------------------------------------------- */

/* One value is whole (NULL: nil, but in a list): where does it belong? RESP_
   MORE: in a list that is still open. */
static resp_state whole(resp *r, saros_value *v) {
  while (r->depth > 0) {
    unsigned top = r->depth - 1;
    if (v == NULL) v = saros_value_boolean(0);
    if (!saros_value_add(r->open[top].list, v)) return RESP_NO_MEMORY;
    if (--r->open[top].left > 0) return RESP_MORE;
    r->depth = top;
    v = r->open[top].list;
    if (top == 0 && r->open[0].type == '>') {
      saros_value_free(v);
      r->total = r->values = 0;
      return RESP_MORE;
    }
  }
  r->value = v;
  return RESP_REPLY;
}

/* The same for one that may not be NULL. */
static resp_state made(resp *r, saros_value *v) {
  return v != NULL ? whole(r, v) : RESP_NO_MEMORY;
}

static resp_state failed(resp *r, const char *text, size_t size) {
  if (r->depth > 0) return made(r, error_in_list(text, size));
  size_t most = sizeof r->text - 1;
  if (size > most) size = most;
  memcpy(r->text, text, size);
  r->text[size] = '\0';
  return RESP_ERROR;
}

/* `size` is the line's. */
static resp_state bulk(resp *r, char type, int64_t count, size_t size) {
  if (count < -1 || (count == -1 && type != '$'))
    return broken(r, "a text with a length below zero");
  if (count == -1) {
    step(r, size + 2);
    return whole(r, NULL);
  }
  if ((uint64_t)count > RESP_BYTES - r->total)
    return broken(r, "a reply that is larger than 64 MiB");
  size_t bytes = (size_t)count, head = size + 2;
  if (r->size - r->at < head + bytes + 2) return RESP_MORE;
  const char *text = r->bytes + r->at + head;
  if (memcmp(text + bytes, "\r\n", 2) != 0)
    return broken(r, "a text that does not end where it says");
  step(r, head + bytes + 2);
  if (type == '!') return failed(r, text, bytes);
  /* txt: or mkd: */
  size_t skip = type == '=' && bytes >= 4 && text[3] == ':' ? 4 : 0;
  return made(r, saros_value_bytes(text + skip, bytes - skip));
}

static resp_state list(resp *r, char type, int64_t count, size_t size) {
  if (count < -1 || (count == -1 && type != '*'))
    return broken(r, "a list with a length below zero");
  if (count > RESP_VALUES) return broken(r, "a list of too many values");
  if (count == -1) {
    step(r, size + 2);
    return whole(r, NULL);
  }
  if (type == '>' && r->depth > 0)
    return broken(r, "something pushed in the middle of a reply");
  if (count > 0 && r->depth == RESP_DEPTH)
    return broken(r, "lists that are nested too deeply");
  saros_value *v = saros_value_list();
  if (v == NULL) return RESP_NO_MEMORY;
  step(r, size + 2);
  if (count == 0 && type == '>') {
    saros_value_free(v);
    return RESP_MORE;
  }
  if (count == 0) return whole(r, v);
  r->open[r->depth].list = v;
  r->open[r->depth].type = type;
  r->open[r->depth++].left = (uint64_t)count * (type == '%' ? 2 : 1);
  return RESP_MORE;
}

static resp_state real(resp *r, const char *s, size_t size) {
  char text[64];
  char *end = text;
  if (size == 0 || size >= sizeof text) return broken(r, "no number");
  memcpy(text, s, size);
  text[size] = '\0';
  double d = strtod(text, &end);
  if (end != text + size) return broken(r, "no number");
  return made(r, saros_value_real(d));
}

/* A value whose line is whole. Its bytes stay where they are until the next
   ones are read. */
static resp_state value(resp *r, const char *s, size_t size) {
  char type = *s;
  const char *rest = s + 1;
  size_t left = size - 1;
  int64_t n = 0;
  switch (type) {
    case '+':
    case '(': step(r, size + 2); return made(r, saros_value_bytes(rest, left));
    case '-': step(r, size + 2); return failed(r, rest, left);
    case '_': step(r, size + 2); return whole(r, NULL);
    case '#':
      if (left != 1 || (*rest != 't' && *rest != 'f'))
        return broken(r, "no boolean");
      step(r, size + 2);
      return made(r, saros_value_boolean(*rest == 't'));
    case ',': step(r, size + 2); return real(r, rest, left);
    case ':':
    case '$':
    case '=':
    case '!':
    case '*':
    case '~':
    case '%':
    case '>': break;
    default: return broken(r, "something that is not RESP");
  }
  if (!number(rest, left, &n)) return broken(r, "no number");
  if (type == ':') {
    step(r, size + 2);
    return made(r, saros_value_integer(n));
  }
  if (type == '$' || type == '=' || type == '!') return bulk(r, type, n, size);
  return list(r, type, n, size);
}

resp_state resp_next(resp *r) {
  if (r->depth == 0 && r->value == NULL) r->text[0] = '\0';
  for (;;) {
    size_t size;
    if (r->at == r->size) return RESP_MORE;
    const char *s = line(r, &size);
    if (s == NULL) /* The first half of its end may be there. */
      return r->size - r->at > RESP_LINE + 1
                 ? broken(r, "a line without an end")
                 : RESP_MORE;
    if (size == 0) return broken(r, "an empty line");
    if (size > RESP_LINE) return broken(r, "a line that is too long");
    if (r->total > RESP_BYTES)
      return broken(r, "a reply that is larger than 64 MiB");
    size_t at = r->at;
    resp_state state = value(r, s, size);
    if (r->at != at) {
      if (++r->values > RESP_VALUES && state != RESP_BROKEN) {
        if (state == RESP_REPLY && r->value != NULL) saros_value_free(r->value);
        r->value = NULL;
        return broken(r, "a reply of too many values");
      }
    }
    if (state == RESP_MORE && r->at != at) continue;
    if (state == RESP_REPLY || state == RESP_ERROR) r->total = r->values = 0;
    return state;
  }
}
