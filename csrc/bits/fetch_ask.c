/*
** What a download asks for: all of it, or what is missing, of exactly that
** representation which the bytes are of that are here already.
*/
#include <stdio.h>
#include <string.h>

#include "bits/fetch_parts.h"
#include "bits/s3.h"

#define BIG_ROOM ((size_t)512 << 10) /* to receive one file alone into */

bool fetch_has_ranges(const fetch *t) {
  return t->f->extra != NULL && t->f->extra->ranges != NULL;
}

/* ------------------------------------------------------------------
** Which bytes
** ---------------------------------------------------------------- */

static uint64_t overlap(uint64_t have) {
  return have < PART_OVERLAP ? have : PART_OVERLAP;
}

/* The ranges stand one after the other in the local file. */
static void choose_range(fetch *t) {
  const bits_extra *x = t->f->extra;
  uint64_t before = 0;
  for (uint32_t i = 0; i < x->range_count; i++) {
    const bits_range *r = &x->ranges[i];
    bool open = r->length == BITS_UNKNOWN;
    if (open || t->have < before + r->length) {
      uint64_t here = t->have - before;
      uint64_t back = overlap(here);
      t->at = t->have - back;
      t->asked.from = r->offset + here - back;
      t->asked.last = open ? HTTP_UNKNOWN : r->offset + r->length - 1;
      return;
    }
    before += r->length;
  }
  /* All are here: the last bytes once more, to see that they still are. */
  const bits_range *r = &x->ranges[x->range_count - 1];
  uint64_t back = overlap(r->length);
  t->at = t->have - back;
  t->asked.from = r->offset + r->length - back;
  t->asked.last = r->offset + r->length - 1;
}

/* Behind the end there is nothing to be asked for: so some of what is here
   already always is. */
static void choose(fetch *t) {
  const bits_known *k = t->f->known;
  t->asked = (judge_asked){.known = k, .last = HTTP_UNKNOWN};
  t->at = 0;
  t->had = t->have;
  if (fetch_has_ranges(t)) {
    t->asked.ranged = true;
    choose_range(t);
  } else if (t->have > 0) {
    t->asked.ranged = true;
    t->at = t->asked.from = t->have - overlap(t->have);
  }
  if (t->asked.ranged && k != NULL && judge_if_range(k) != NULL)
    t->asked.conditional = (bits_file_marks(t->f) & BITS_FILE_BARE) == 0;
}

/* ------------------------------------------------------------------
** The request
** ---------------------------------------------------------------- */

static const char *method_of(const fetch *t) {
  return t->terms->method != NULL ? t->terms->method : "GET";
}

static bool fails(fetch *t, uint32_t code, const char *why, const char *name) {
  fetch_fails(t, BITS_END_FAILED, code, "%s%s", why, name);
  return false;
}

static bool no_memory(fetch *t) {
  return fails(t, SAROS_E_OUTOFMEMORY, "there is not enough memory", "");
}

static bool send(fetch *t, const char *url, const http_field *fields,
                 size_t count) {
  const bits_terms *terms = t->terms;
  error *e = NULL;
  http_ask ask = {.method = method_of(t),
                  .url = url,
                  .fields = fields,
                  .field_count = count,
                  .ranged = t->asked.ranged,
                  .from = t->asked.from,
                  .last = t->asked.last,
                  .redirects = t->s3 != NULL ? 0 : terms->redirects,
                  .connect_ms = terms->connect_ms,
                  .stall_ms = terms->stall_ms,
                  .per_host = t->per_host,
                  .down = t->down,
                  .up = t->up,
                  .cacert = terms->cacert,
                  .proxy = terms->proxy,
                  .proxy_login = terms->proxy_login,
                  .lane = t->lane,
                  .room = t->lone ? BIG_ROOM : 0,
                  .calls = &fetch_http_calls,
                  .context = t};
  t->then = FETCH_JUDGE;
  t->request = http_start(&ask, &e);
  if (t->request != NULL) return true;
  fails(t, e->code, e->message, "");
  error_unref(e);
  return false;
}

/* The job's own. False: one of them is lost. */
static bool put_header(fetch *t, http_field *fields, size_t *count) {
  const bits_terms *terms = t->terms;
  for (uint32_t i = 0; i < terms->header_count; i++) {
    const bits_header *h = &terms->headers[i];
    if (h->value == NULL)
      return fails(t, BG_E_INVALID_CREDENTIALS,
                   "a secret header was not kept when the process ended, set "
                   "it again: ",
                   h->name);
    fields[(*count)++] = (http_field){h->name, h->value, h->secret};
  }
  return true;
}

/* With room for all fields: the job's, or those that are signed; If-Range. */
static bool write_and_send(fetch *t, http_field *fields,
                           const http_field *given, size_t count,
                           const char *url) {
  if (given != NULL)
    memcpy(fields, given, count * sizeof *fields);
  else if (!put_header(t, fields, &count))
    return false;
  if (t->asked.conditional)
    fields[count++] =
        (http_field){"If-Range", judge_if_range(t->f->known), false};
  return send(t, url, fields, count);
}

bool fetch_ask(fetch *t) {
  http_field few[8], *fields = few;
  const http_field *given = NULL;
  const char *url = t->f->url;
  size_t count = 0, room = t->terms->header_count + 1;
  choose(t);
  if (t->terms->most > 0 && t->have > t->terms->most)
    return fails(t, BG_E_TOO_LARGE, "more is here than the job allows", "");
  if (bits_s3_is_wanted(t->terms)) {
    if (!fetch_s3_write(t, method_of(t), &url, &given, &count))
      return no_memory(t);
    room = count + 1;
  }
  if (room > sizeof few / sizeof few[0])
    fields = mem_alloc(room * sizeof *fields);
  if (fields == NULL) return no_memory(t);
  bool sent = write_and_send(t, fields, given, count, url);
  if (fields != few) mem_free(fields);
  return sent;
}
