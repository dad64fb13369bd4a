/*
** What a download asks for: all of it, or what is missing, of exactly that
** representation which the bytes are of that are here already.
*/
#include <stdio.h>

#include "bits/fetch_parts.h"

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

static bool fails(fetch *t, uint32_t code, const char *why, const char *name) {
  t->result = (bits_result){
      .end = BITS_END_FAILED, .code = code, .context = BITS_CONTEXT_REMOTE};
  snprintf(t->result.why, sizeof t->result.why, "%s%s", why, name);
  return false;
}

/* Those of the job, and If-Range. */
static bool make_fields(fetch *t, http_field *fields, size_t *count) {
  const bits_terms *terms = t->terms;
  *count = 0;
  for (uint32_t i = 0; i < terms->header_count; i++) {
    const bits_header *h = &terms->headers[i];
    if (h->value == NULL)
      return fails(t, BG_E_INVALID_CREDENTIALS,
                   "a secret header was not kept when the process ended, set "
                   "it again: ",
                   h->name);
    fields[(*count)++] = (http_field){h->name, h->value, h->secret};
  }
  if (t->asked.conditional)
    fields[(*count)++] =
        (http_field){"If-Range", judge_if_range(t->f->known), false};
  return true;
}

static void make_ask(fetch *t, http_ask *ask) {
  const bits_terms *terms = t->terms;
  *ask = (http_ask){.method = terms->method != NULL ? terms->method : "GET",
                    .url = t->f->url,
                    .ranged = t->asked.ranged,
                    .from = t->asked.from,
                    .last = t->asked.last,
                    .redirects = terms->redirects,
                    .connect_ms = terms->connect_ms,
                    .stall_ms = terms->stall_ms,
                    .per_host = terms->per_host,
                    .down = t->down,
                    .up = t->up,
                    .cacert = terms->cacert,
                    .proxy = terms->proxy,
                    .proxy_login = terms->proxy_login,
                    .lane = t->lane,
                    .room = t->lone ? BIG_ROOM : 0,
                    .context = t};
  if (terms->most > 0) ask->most = terms->most - t->at;
}

static bool send(fetch *t, const http_field *fields, size_t count) {
  error *e = NULL;
  http_ask ask;
  make_ask(t, &ask);
  ask.fields = fields;
  ask.field_count = count;
  ask.calls = &fetch_http_calls;
  t->request = http_start(&ask, &e);
  if (t->request != NULL) return true;
  fails(t, e->code, e->message, "");
  error_unref(e);
  return false;
}

bool fetch_ask(fetch *t) {
  http_field few[8], *fields = few;
  size_t count, room = t->terms->header_count + 1;
  choose(t);
  if (t->terms->most > 0 && t->have > t->terms->most)
    return fails(t, BG_E_TOO_LARGE, "more is here than the job allows", "");
  if (room > sizeof few / sizeof few[0]) {
    fields = mem_alloc(room * sizeof *fields);
    if (fields == NULL)
      return fails(t, SAROS_E_OUTOFMEMORY, "there is not enough memory", "");
  }
  bool sent = make_fields(t, fields, &count) && send(t, fields, count);
  if (fields != few) mem_free(fields);
  return sent;
}
