/*
** bytes: names that are not UTF-8, in and out of JSON. Both ways first look
** whether there is anything to do, because there hardly ever is.
**
** In a list, where there are no names, such a string becomes a map of `text`
** and `text_b64`.
*/
#include "vss/bytes.h"

#include <string.h>

enum { DEEPEST = 64 };

static const char suffix[] = "_b64";
#define SUFFIX (sizeof suffix - 1)


static bool is_bytes(const value *v) {
  return v != NULL && v->type == VALUE_STRING &&
         !text_is_utf8(v->as.string.data, v->as.string.size);
}


/* ------------------------------------------------------------------
** Out
** ---------------------------------------------------------------- */

/* 1: it must be changed; -1: too deep. */
static int needs_out(const value *v, int depth) {
  if (depth > DEEPEST) return -1;
  int needs = is_bytes(v);
  bool list = v->type == VALUE_LIST, map = v->type == VALUE_MAP;
  for (uint32_t i = 0; (list || map) && needs >= 0 && i < v->count; i++) {
    int one =
        needs_out(list ? v->as.items[i] : v->as.fields[i].item, depth + 1);
    needs = one < 0 ? one : needs | one;
  }
  return needs;
}


/* The two halves of a string, under a name and the name with the suffix. */
static bool put_halves(value *map, const char *name, size_t size,
                       const value *v) {
  const char *data = v->as.string.data;
  buffer escaped = BUFFER_EMPTY, coded = BUFFER_EMPTY, second = BUFFER_EMPTY;
  text_escape(&escaped, data, v->as.string.size);
  text_base64(&coded, data, v->as.string.size);
  buffer_put(&second, name, size);
  buffer_text(&second, suffix);
  bool good = !escaped.failed && !coded.failed && !second.failed;
  good = good && value_put_bytes(map, name, size,
                                 value_string(escaped.data, escaped.size));
  good = good && value_put_bytes(map, second.data, second.size,
                                 value_string(coded.data, coded.size));
  buffer_free(&escaped);
  buffer_free(&coded);
  buffer_free(&second);
  return good;
}


/* Whether this is the second half of a string beside it that we write. */
static bool is_second_half(const value *map, const value_field *f) {
  return f->size > SUFFIX &&
         memcmp(f->name + f->size - SUFFIX, suffix, SUFFIX) == 0 &&
         is_bytes(value_get_bytes(map, f->name, f->size - SUFFIX));
}


/* The depth was looked at by needs_out, or is the same as there. */
static value *out(const value *v, bool in_list, int depth) {
  if (depth > DEEPEST) return NULL;
  bool good = true;
  value *made = NULL;
  if (in_list && is_bytes(v)) {
    made = value_map();
    good = made != NULL && put_halves(made, "text", 4, v);
  } else if (v->type == VALUE_LIST) {
    made = value_list();
    for (uint32_t i = 0; made != NULL && good && i < v->count; i++)
      good = value_add(made, out(v->as.items[i], true, depth + 1));
  } else if (v->type == VALUE_MAP) {
    made = value_map();
    for (uint32_t i = 0; made != NULL && good && i < v->count; i++) {
      const value_field *f = &v->as.fields[i];
      if (is_bytes(f->item))
        good = put_halves(made, f->name, f->size, f->item);
      else if (!is_second_half(v, f))
        good = value_put_bytes(made, f->name, f->size,
                               out(f->item, false, depth + 1));
    }
  } else {
    made = value_copy(v);
  }
  if (good) return made;
  value_free(made);
  return NULL;
}


const value *bytes_out(const value *v, bool *too_deep) {
  int needs = needs_out(v, 0);
  *too_deep = needs < 0;
  return needs < 0 ? NULL : needs == 0 ? v : out(v, false, 0);
}


/* ------------------------------------------------------------------
** In
** ---------------------------------------------------------------- */

static bool is_coded(const value_field *f) {
  return f->size > SUFFIX &&
         memcmp(f->name + f->size - SUFFIX, suffix, SUFFIX) == 0 &&
         f->item->type == VALUE_STRING;
}


static bool needs_in(const value *v, int depth) {
  bool needs = false;
  if (depth > DEEPEST) return false;
  for (uint32_t i = 0; v->type == VALUE_LIST && !needs && i < v->count; i++)
    needs = needs_in(v->as.items[i], depth + 1);
  for (uint32_t i = 0; v->type == VALUE_MAP && !needs && i < v->count; i++)
    needs =
        is_coded(&v->as.fields[i]) || needs_in(v->as.fields[i].item, depth + 1);
  return needs;
}


typedef struct half {
  buffer bytes;
  bool failed; /* memory */
} half;

/* Whether the field and the one with the suffix are two halves of one string;
   then it is in `h`, which the caller frees in any case. */
static bool read_halves(const value *map, const char *name, size_t size,
                        half *h) {
  *h = (half){.bytes = BUFFER_EMPTY};
  const value *first = value_get_bytes(map, name, size);
  if (first == NULL || first->type != VALUE_STRING) return false;
  buffer b = BUFFER_EMPTY;
  buffer_put(&b, name, size);
  buffer_text(&b, suffix);
  const value *second = b.failed ? NULL : value_get_bytes(map, b.data, b.size);
  bool is = second != NULL && second->type == VALUE_STRING &&
            text_unbase64(&h->bytes, second->as.string.data,
                          second->as.string.size) &&
            h->bytes.size > 0 && !text_is_utf8(h->bytes.data, h->bytes.size);
  h->failed = b.failed || h->bytes.failed;
  buffer_clear(&b);
  if (is) text_escape(&b, h->bytes.data, h->bytes.size);
  h->failed = h->failed || b.failed;
  is = is && !h->failed && b.size == first->as.string.size &&
       memcmp(b.data, first->as.string.data, b.size) == 0;
  buffer_free(&b);
  return is;
}


static value *in(const value *v, bool in_list, int depth);

static bool field_in(value *made, const value *v, const value_field *f,
                     int depth) {
  half h;
  if (is_coded(f)) { /* said by the first half already? */
    bool said = read_halves(v, f->name, f->size - SUFFIX, &h);
    buffer_free(&h.bytes);
    if (h.failed) return false;
    if (said) return true;
  }
  value *item = NULL;
  bool whole =
      f->item->type == VALUE_STRING && read_halves(v, f->name, f->size, &h);
  if (f->item->type == VALUE_STRING) {
    if (whole) item = value_string(h.bytes.data, h.bytes.size);
    buffer_free(&h.bytes);
    if (h.failed) {
      value_free(item);
      return false;
    }
  }
  if (!whole) item = in(f->item, false, depth + 1);
  return value_put_bytes(made, f->name, f->size, item);
}


static value *in(const value *v, bool in_list, int depth) {
  bool good = true;
  value *made = NULL;
  half h;
  if (depth > DEEPEST) return value_copy(v);
  if (v->type == VALUE_MAP && in_list && v->count == 2) {
    bool whole = read_halves(v, "text", 4, &h);
    if (whole) made = value_string(h.bytes.data, h.bytes.size);
    buffer_free(&h.bytes);
    if (whole || h.failed) return made;
  }
  if (v->type == VALUE_LIST) {
    made = value_list();
    for (uint32_t i = 0; made != NULL && good && i < v->count; i++)
      good = value_add(made, in(v->as.items[i], true, depth + 1));
  } else if (v->type == VALUE_MAP) {
    made = value_map();
    for (uint32_t i = 0; made != NULL && good && i < v->count; i++)
      good = field_in(made, v, &v->as.fields[i], depth);
  } else {
    made = value_copy(v);
  }
  if (good) return made;
  value_free(made);
  return NULL;
}


value *bytes_in(value *v) {
  if (v == NULL || !needs_in(v, 0)) return v;
  value *made = in(v, false, 0);
  value_free(v);
  return made;
}
