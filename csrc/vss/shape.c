/*
** shape: whether a value looks as it must. It goes no deeper than the shape
** does, whatever the value is.
*/
#include "vss/shape.h"

#include <inttypes.h>
#include <string.h>

enum { TEXT_MOST = 1 << 16, SHOWN = 40 };

const shape shape_any = {.type = SHAPE_ANY};
const shape shape_bool = {.type = SHAPE_BOOL};
const shape shape_number = {.type = SHAPE_NUMBER};
const shape shape_text = {.type = SHAPE_TEXT, .high = TEXT_MOST};
const shape shape_path = {.type = SHAPE_PATH, .low = 1, .high = TEXT_MOST};
const shape shape_guid = {.type = SHAPE_GUID, .low = 36, .high = 36};
const shape shape_time = {.type = SHAPE_TIME, .low = 20, .high = 40};
const shape shape_map = {.type = SHAPE_MAP};
const shape shape_texts = {
    .type = SHAPE_LIST, .high = INT32_MAX, .items = &shape_text};
const shape shape_bits = {.type = SHAPE_INT, .high = UINT32_MAX};

/* The way to where we are; the innermost first. */
typedef struct frame {
  const struct frame *up;
  const char *name; /* NULL: an index */
  uint32_t index;
} frame;


/* Outermost first. The depth is the shape's. */
static void put_way(const frame *f, buffer *why) {
  if (f == NULL) return;
  put_way(f->up, why);
  if (f->name == NULL) {
    buffer_format(why, "[%" PRIu32 "]", f->index);
  } else {
    if (f->up != NULL) buffer_byte(why, '.');
    buffer_text(why, f->name);
  }
}


static bool wrong(const frame *f, buffer *why, const char *what) {
  if (f == NULL)
    buffer_text(why, "it");
  else
    put_way(f, why);
  buffer_byte(why, ' ');
  buffer_text(why, what);
  return false;
}


static bool wrong_text(const frame *f, buffer *why, const value *v,
                       const char *what) {
  size_t size = v->as.string.size;
  wrong(f, why, "is '");
  text_escape(why, v->as.string.data, size < SHOWN ? size : SHOWN);
  buffer_text(why, size < SHOWN ? "', which is not " : "…', which is not ");
  buffer_text(why, what);
  return false;
}


/* "2026-11-21T14:30:49.123+01:00": '0' stands for a digit. */
static bool is_time(const char *text) {
  static const char form[] = "0000-00-00T00:00:00";
  for (const char *f = form; *f != '\0'; f++, text++) {
    bool digit = *text >= '0' && *text <= '9';
    if (*f == '0' ? !digit : *text != *f) return false;
  }
  if (*text == '.') {
    size_t digits = strspn(++text, "0123456789");
    if (digits == 0) return false;
    text += digits;
  }
  if (strcmp(text, "Z") == 0) return true;
  if (*text != '+' && *text != '-') return false;
  static const char zone[] = "00:00";
  for (const char *f = zone; *f != '\0'; f++) {
    bool digit = *++text >= '0' && *text <= '9';
    if (*f == '0' ? !digit : *text != *f) return false;
  }
  return text[1] == '\0';
}


static bool is_guid(const char *text) {
  guid g;
  char again[GUID_TEXT];
  if (!guid_parse(text, &g)) return false;
  guid_format(&g, again);
  return strcmp(text, again) == 0;
}


static bool text_fits(const value *v, const shape *s, const frame *f,
                      buffer *why) {
  if (v->type != VALUE_STRING) return wrong(f, why, "is not a text");
  const char *text = v->as.string.data;
  size_t size = v->as.string.size;
  if (memchr(text, '\0', size) != NULL) return wrong(f, why, "has a NUL in it");
  if (s->type == SHAPE_WORD) {
    for (const char *const *w = s->words; *w != NULL; w++)
      if (strcmp(*w, text) == 0) return true;
    return wrong_text(f, why, v, "a word that is known here");
  }
  if (s->type == SHAPE_GUID && !is_guid(text))
    return wrong_text(f, why, v, "a GUID");
  if (s->type == SHAPE_TIME && !is_time(text))
    return wrong_text(f, why, v, "a time with an offset");
  if (s->type == SHAPE_PATH && *text != '/')
    return wrong_text(f, why, v, "an absolute path");
  if ((int64_t)size < s->low) return wrong(f, why, "is empty");
  if ((int64_t)size > s->high) return wrong(f, why, "is too long");
  return true;
}


static bool int_fits(const value *v, const shape *s, const frame *f,
                     buffer *why) {
  if (v->type != VALUE_INT) return wrong(f, why, "is not an integer");
  if (v->as.integer >= s->low && v->as.integer <= s->high) return true;
  wrong(f, why, "is ");
  buffer_format(why, "%" PRId64 ", and not from %" PRId64 " to %" PRId64,
                v->as.integer, s->low, s->high);
  return false;
}


static bool fits(const value *v, const shape *s, const frame *f, buffer *why);

static bool list_fits(const value *v, const shape *s, const frame *f,
                      buffer *why) {
  if (v->type != VALUE_LIST) return wrong(f, why, "is not a list");
  if ((int64_t)v->count < s->low || (int64_t)v->count > s->high) {
    wrong(f, why, "has ");
    buffer_format(
        why, "%" PRIu32 " items; from %" PRId64 " to %" PRId64 " are possible",
        v->count, s->low, s->high);
    return false;
  }
  for (uint32_t i = 0; i < v->count; i++) {
    frame in = {.up = f, .index = i};
    if (!fits(v->as.items[i], s->items, &in, why)) return false;
  }
  return true;
}


static bool map_fits(const value *v, const shape *s, const frame *f,
                     buffer *why) {
  if (v->type != VALUE_MAP) return wrong(f, why, "is not a map");
  for (const shape_field *d = s->fields; d != NULL && d->name != NULL; d++) {
    frame in = {.up = f, .name = d->name};
    const value *item = value_get(v, d->name);
    bool none = item == NULL || item->type == VALUE_NULL;
    if (none && d->optional) continue;
    if (item == NULL) return wrong(&in, why, "is missing");
    if (!fits(item, d->of, &in, why)) return false;
  }
  return true;
}


static bool fits(const value *v, const shape *s, const frame *f, buffer *why) {
  switch (s->type) {
    case SHAPE_ANY: return true;
    case SHAPE_BOOL:
      return v->type == VALUE_BOOL ||
             wrong(f, why, "is neither true nor false");
    case SHAPE_NUMBER:
      return v->type == VALUE_INT || v->type == VALUE_REAL ||
             wrong(f, why, "is not a number");
    case SHAPE_INT: return int_fits(v, s, f, why);
    case SHAPE_LIST: return list_fits(v, s, f, why);
    case SHAPE_MAP: return map_fits(v, s, f, why);
    default: return text_fits(v, s, f, why);
  }
}


bool shape_fits(const value *v, const shape *s, buffer *why) {
  return fits(v, s, NULL, why);
}
