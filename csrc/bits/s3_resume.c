/*
** What is remembered of an upload in parts, and what the server has of it. A
** part counts when the server lists it with its length and with the ETag that
** is remembered; when none is, with the MD5 of the file's own bytes.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits/s3_upload.h"

/* ------------------------------------------------------------------
** Texts
** ---------------------------------------------------------------- */

bool s3_texts_add(s3_texts *t, const char *text) {
  char **items = mem_grow(t->items, (t->count + 1) * sizeof *items);
  if (items == NULL) return false;
  t->items = items;
  items[t->count] = mem_text(text);
  if (items[t->count] == NULL) return false;
  t->count++;
  return true;
}

bool s3_texts_have(const s3_texts *t, const char *text) {
  for (unsigned i = 0; i < t->count; i++)
    if (strcmp(t->items[i], text) == 0) return true;
  return false;
}

void s3_texts_drop(s3_texts *t, unsigned i) {
  mem_free(t->items[i]);
  memmove(t->items + i, t->items + i + 1,
          (t->count - i - 1) * sizeof *t->items);
  t->count--;
}

static void texts_free(s3_texts *t) {
  for (unsigned i = 0; i < t->count; i++) mem_free(t->items[i]);
  mem_free(t->items);
  *t = (s3_texts){0};
}

/* ------------------------------------------------------------------
** Parts
** ---------------------------------------------------------------- */

static void free_tags(s3_memory *m) {
  for (unsigned i = 0; m->tags != NULL && i < m->count; i++)
    mem_free(m->tags[i]);
  mem_free(m->tags);
  m->tags = NULL;
}

static bool make_tags(s3_memory *m) {
  free_tags(m);
  m->count = m->size > 0 ? (unsigned)((m->size - 1) / m->part + 1) : 0;
  m->tags = mem_zero(m->count * sizeof *m->tags);
  return m->tags != NULL;
}

bool s3_memory_split(s3_memory *m, const upload_local *l, uint64_t part) {
  m->size = l->size;
  m->device = l->device;
  m->inode = l->inode;
  m->changed = l->changed;
  m->part = part;
  return make_tags(m);
}

uint64_t s3_memory_part(const s3_memory *m, unsigned i) {
  return i + 1 < m->count ? m->part : m->size - m->part * (m->count - 1);
}

void s3_memory_forget(s3_memory *m) {
  free_tags(m);
  mem_free(m->id);
  mem_free(m->sha256);
  m->id = m->sha256 = NULL;
  m->count = 0;
}

void s3_memory_free(s3_memory *m) {
  s3_memory_forget(m);
  texts_free(&m->stale);
  texts_free(&m->others);
  m->intent_count = 0;
}

bool s3_memory_is_empty(const s3_memory *m) {
  return m->id == NULL && m->stale.count == 0 && m->intent_count == 0;
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static bool read_texts(s3_texts *t, const value *v, unsigned most) {
  for (uint32_t i = 0; v != NULL && v->type == VALUE_LIST && i < v->count;
       i++) {
    const char *text = value_chars(v->as.items[i], NULL);
    if (text == NULL || text[0] == '\0' || strlen(text) > S3_ID_MOST ||
        t->count == most)
      continue;
    if (!s3_texts_add(t, text)) return false;
  }
  return true;
}

/* One word a part, "-" for one that is not there. */
static bool read_tags(s3_memory *m, const char *text) {
  for (unsigned i = 0; i < m->count && *text != '\0'; i++) {
    size_t size = strcspn(text, " ");
    if (size > 0 && size < 80 && !(size == 1 && *text == '-')) {
      m->tags[i] = mem_bytes(text, size);
      if (m->tags[i] == NULL) return false;
    }
    text += size;
    if (*text == ' ') text++;
  }
  return true;
}

static uint64_t number(const value *v, const char *name) {
  int64_t n = value_integer(value_get(v, name), 0);
  return (uint64_t)n;
}

static bool copy(char **to, const value *v, const char *name, size_t most) {
  const char *text = value_chars(value_get(v, name), NULL);
  if (text == NULL || text[0] == '\0' || strlen(text) > most) return true;
  *to = mem_text(text);
  return *to != NULL;
}

/* An upload without a sense is none; what is left of others still counts. */
static bool read_upload(s3_memory *m, const value *v) {
  m->part = number(v, "part");
  m->size = number(v, "size");
  m->device = number(v, "device");
  m->inode = number(v, "inode");
  m->changed = value_integer(value_get(v, "changed"), 0);
  if (!copy(&m->id, v, "id", S3_ID_MOST) || !copy(&m->sha256, v, "sha256", 64))
    return false;
  if (m->id == NULL) return true;
  if (m->part == 0 || m->part > INT64_MAX || m->size == 0 ||
      m->size > INT64_MAX || (m->size - 1) / m->part >= S3_PARTS) {
    bool kept = s3_texts_add(&m->stale, m->id);
    s3_memory_forget(m);
    return kept;
  }
  return make_tags(m) && read_tags(m, value_chars(value_get(v, "tags"), ""));
}

bool s3_memory_read(s3_memory *m, const char *json) {
  error *e = NULL;
  memset(m, 0, sizeof *m);
  value *v = json_read(json, strlen(json), NULL, &e);
  error_unref(e);
  const value *intents = value_get(v, "intents");
  bool good = v != NULL && v->type == VALUE_MAP && read_upload(m, v) &&
              read_texts(&m->stale, value_get(v, "stale"), S3_OTHERS) &&
              read_texts(&m->others, value_get(v, "others"), S3_OTHERS);
  for (uint32_t i = 0; good && intents != NULL && intents->type == VALUE_LIST &&
                       i < intents->count && i < S3_INTENTS;
       i++)
    m->intents[m->intent_count++] = value_integer(intents->as.items[i], 0);
  value_free(v);
  if (!good) s3_memory_free(m);
  return good;
}

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static bool put_text(value *v, const char *name, const char *text) {
  return text == NULL || value_put(v, name, value_text(text));
}

static bool put_number(value *v, const char *name, uint64_t n) {
  return value_put(v, name, value_int((int64_t)n));
}

static bool put_texts(value *v, const char *name, const s3_texts *t) {
  value *list = t->count > 0 ? value_list() : NULL;
  if (t->count == 0) return true;
  bool good = list != NULL;
  for (unsigned i = 0; good && i < t->count; i++)
    good = value_add(list, value_text(t->items[i]));
  return value_put(v, name, list) && good;
}

static bool put_upload(value *v, const s3_memory *m) {
  if (m->id == NULL) return true;
  buffer tags = BUFFER_EMPTY;
  unsigned known = 0; /* no need to say which are not there at the end */
  for (unsigned i = 0; i < m->count; i++)
    if (m->tags[i] != NULL) known = i + 1;
  for (unsigned i = 0; i < known; i++) {
    if (i > 0) buffer_byte(&tags, ' ');
    buffer_text(&tags, m->tags[i] != NULL ? m->tags[i] : "-");
  }
  bool good =
      !tags.failed && put_text(v, "id", m->id) &&
      put_number(v, "part", m->part) && put_number(v, "size", m->size) &&
      put_number(v, "device", m->device) && put_number(v, "inode", m->inode) &&
      value_put(v, "changed", value_int(m->changed)) &&
      put_text(v, "sha256", m->sha256) && put_text(v, "tags", tags.data);
  buffer_free(&tags);
  return good;
}

static bool put_intents(value *v, const s3_memory *m) {
  if (m->intent_count == 0) return true;
  value *list = value_list();
  bool good = list != NULL;
  for (unsigned i = 0; good && i < m->intent_count; i++)
    good = value_add(list, value_int(m->intents[i]));
  return value_put(v, "intents", list) && good &&
         put_texts(v, "others", &m->others);
}

char *s3_memory_write(const s3_memory *m, const bits_file *f,
                      const bits_terms *t) {
  value *v = value_map();
  buffer b = BUFFER_EMPTY;
  bool good = v != NULL && put_text(v, "url", f->url) &&
              put_text(v, "reference", t->s3_reference) &&
              put_text(v, "region", t->s3_region) &&
              put_text(v, "cacert", t->cacert) &&
              put_text(v, "proxy", t->proxy) && put_upload(v, m) &&
              put_texts(v, "stale", &m->stale) && put_intents(v, m);
  if (good) json_write(&b, v, JSON_COMPACT);
  value_free(v);
  char *text = good && !b.failed ? buffer_take(&b) : NULL;
  buffer_free(&b);
  return text;
}

/* ------------------------------------------------------------------
** What the server has
** ---------------------------------------------------------------- */

#define PAGES 64 /* a thousand parts each, as a rule */

static void strip_quotes(char *text) {
  size_t size = strlen(text);
  if (size < 2 || text[0] != '"' || text[size - 1] != '"') return;
  memmove(text, text + 1, size - 2);
  text[size - 2] = '\0';
}

static bool on_part(void *context, char *const *texts) {
  s3_upload *s = context;
  if (texts[0] == NULL || texts[1] == NULL || texts[2] == NULL) return true;
  unsigned long n = strtoul(texts[0], NULL, 10);
  unsigned long long size = strtoull(texts[1], NULL, 10);
  if (n == 0 || n > s->m.count ||
      size != s3_memory_part(&s->m, (unsigned)n - 1) || strlen(texts[2]) > 79)
    return true;
  s3_listed *l = &s->listed[n - 1];
  mem_free(l->tag);
  l->tag = mem_text(texts[2]);
  if (l->tag != NULL) strip_quotes(l->tag);
  return l->tag != NULL;
}

static void ask_page(s3_upload *s, const char *marker);

static void on_list(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  if (c->u->over) return;
  if (a->end == HTTP_WHOLE && a->status == 404 &&
      strcmp(c->problem.name, "NoSuchBucket") != 0) {
    s->was_lost = true;
    s->then(s);
    return;
  }
  if (!upload_call_is_good(c, a)) {
    s3_refused(s, c, a, false);
    return;
  }
  s3_xml_list l = {.root = "ListPartsResult",
                   .record = "Part",
                   .of_record = {"PartNumber", "Size", "ETag"},
                   .of_root = {"IsTruncated", "NextPartNumberMarker"},
                   .each = on_part,
                   .context = s};
  if (!s3_xml_read(&l, &c->answer)) {
    s3_lied(s, "it lists the parts of an upload in a way that cannot be read");
    return;
  }
  bool more = l.found[0] != NULL && strcmp(l.found[0], "true") == 0 &&
              l.found[1] != NULL && ++s->page < PAGES;
  if (more)
    ask_page(s, l.found[1]);
  else
    s->then(s);
  s3_xml_free(&l);
}

static void ask_page(s3_upload *s, const char *marker) {
  buffer before = BUFFER_EMPTY;
  if (marker != NULL) {
    buffer_text(&before, "part-number-marker=");
    http_sign_escape(&before, marker, false);
    buffer_byte(&before, '&');
  }
  if (before.failed)
    upload_fail_memory(&s->u);
  else
    s3_ask(s, "GET", before.data, on_list);
  buffer_free(&before);
}

void s3_parts_list(s3_upload *s) {
  if (s->listed == NULL) {
    s->listed = mem_zero(s->m.count * sizeof *s->listed);
    s->listed_count = s->listed != NULL ? s->m.count : 0;
  }
  s->page = 0;
  if (s->listed == NULL)
    upload_fail_memory(&s->u);
  else
    ask_page(s, NULL);
}
