/*
** What is stored of a file besides its columns: what is known of its bytes, and
** what few files have. Written often, for many files: into a buffer at once.
** Read with suspicion: whatever cannot be right is not known, and the file
** begins again.
*/
#include <string.h>

#include "bits/job_parts.h"

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static void begin_field(buffer *b, const char *name) {
  buffer_byte(b, b->size == 0 ? '{' : ',');
  buffer_format(b, "\"%s\":", name);
}

/* A validator is bytes of a server's: it has to come back as it was. */
static void put_text(buffer *b, const char *name, const char *text) {
  if (text == NULL) return;
  size_t size = strlen(text);
  begin_field(b, name);
  if (text_is_utf8(text, size)) {
    json_write_string(b, text, size);
  } else {
    buffer_text(b, "[\"");
    text_base64(b, text, size);
    buffer_text(b, "\"]");
  }
}

/* JSON's numbers are signed here. */
static void put_number(buffer *b, const char *name, uint64_t n) {
  begin_field(b, name);
  buffer_format(b, "%lld", (long long)n);
}

/* False: no memory; *text NULL: there is nothing to be written. */
static bool take(buffer *b, char **text) {
  *text = NULL;
  if (b->size == 0) return true;
  buffer_byte(b, '}');
  *text = buffer_take(b);
  return *text != NULL;
}

static bool write_known(const bits_known *k, char **text) {
  buffer b = BUFFER_EMPTY;
  if (k != NULL) {
    put_number(&b, "durable", k->durable);
    put_number(&b, "device", k->device);
    put_number(&b, "inode", k->inode);
    put_text(&b, "boot", k->boot);
    if (k->total != BITS_UNKNOWN) put_number(&b, "total", k->total);
    put_text(&b, "etag", k->etag);
    put_text(&b, "modified", k->modified);
    put_text(&b, "encoding", k->encoding);
    put_text(&b, "digest", k->digest);
  }
  return take(&b, text);
}

static void put_ranges(buffer *b, const bits_extra *x) {
  begin_field(b, "ranges");
  for (uint32_t i = 0; i < x->range_count; i++) {
    const bits_range *r = &x->ranges[i];
    buffer_format(b, "%c[%lld,%lld]", i == 0 ? '[' : ',', (long long)r->offset,
                  r->length == BITS_UNKNOWN ? -1ll : (long long)r->length);
  }
  buffer_byte(b, ']');
}

static bool write_extra(const bits_extra *x, char **text) {
  buffer b = BUFFER_EMPTY;
  if (x != NULL) {
    put_text(&b, "sha256", x->sha256);
    if (x->range_count > 0) put_ranges(&b, x);
    put_text(&b, "upload", x->upload);
  }
  return take(&b, text);
}

bool bits_file_write(const bits_file *f, char **known, char **extra) {
  *extra = NULL;
  if (!write_known(f->known, known)) return false;
  if (write_extra(f->extra, extra)) return true;
  mem_free(*known);
  *known = NULL;
  return false;
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static const json_limits limits = {
    .depth = 4, .size = 16u << 20, .values = 100000};

/* What cannot be right; *good says so. */
static char *read_text(const value *map, const char *name, bool *good) {
  const value *v = value_get(map, name);
  if (v == NULL) return NULL;
  buffer b = BUFFER_EMPTY;
  if (v->type == VALUE_STRING)
    buffer_put(&b, v->as.string.data, v->as.string.size);
  else if (v->type != VALUE_LIST || v->count != 1 ||
           !text_unbase64(&b, value_chars(v->as.items[0], "*"),
                          strlen(value_chars(v->as.items[0], "*"))))
    *good = false;
  if (b.size == 0 || memchr(b.data, '\0', b.size) != NULL) *good = false;
  for (size_t i = 0; i < b.size; i++)
    if ((unsigned char)b.data[i] < ' ' && b.data[i] != '\t') *good = false;
  if (!*good) {
    buffer_free(&b);
    return NULL;
  }
  char *text = buffer_take(&b);
  if (text == NULL) *good = false;
  return text;
}

/* `any`: all 64 bits are used. */
static uint64_t read_number(const value *map, const char *name, bool any,
                            bool *good) {
  const value *v = value_get(map, name);
  if (v == NULL || v->type != VALUE_INT || (!any && v->as.integer < 0)) {
    *good = false;
    return 0;
  }
  return (uint64_t)v->as.integer;
}

static bool fill_known(bits_known *k, const value *v) {
  bool good = v->type == VALUE_MAP;
  k->durable = read_number(v, "durable", false, &good);
  k->device = read_number(v, "device", true, &good);
  k->inode = read_number(v, "inode", true, &good);
  k->total = BITS_UNKNOWN;
  if (value_get(v, "total") != NULL)
    k->total = read_number(v, "total", false, &good);
  const char *boot = value_chars(value_get(v, "boot"), "");
  if (strlen(boot) >= sizeof k->boot) return false;
  memcpy(k->boot, boot, strlen(boot) + 1);
  k->etag = read_text(v, "etag", &good);
  k->modified = read_text(v, "modified", &good);
  k->encoding = read_text(v, "encoding", &good);
  k->digest = read_text(v, "digest", &good);
  if (k->total != BITS_UNKNOWN && k->durable > k->total) good = false;
  return good;
}

static error *read_known(bits_file *f, const char *text) {
  error *e = NULL;
  value *v = json_read(text, strlen(text), &limits, &e);
  if (v == NULL) return e;
  bits_known *k = mem_zero(sizeof *k);
  if (k == NULL) {
    value_free(v);
    return error_no_memory();
  }
  bool good = fill_known(k, v);
  value_free(v);
  if (good) {
    bits_known_free(f->known);
    f->known = k;
    return NULL;
  }
  bits_known_free(k);
  return bits_fail(SAROS_E_DAMAGED, "what is known of a file makes no sense");
}

static bool fill_range(bits_range *r, const value *v) {
  if (v->type != VALUE_LIST || v->count != 2) return false;
  int64_t offset = value_integer(v->as.items[0], -1);
  int64_t length = value_integer(v->as.items[1], 0);
  if (offset < 0 || length == 0 || length < -1 ||
      (length > 0 && length > INT64_MAX - offset))
    return false;
  r->offset = (uint64_t)offset;
  r->length = length < 0 ? BITS_UNKNOWN : (uint64_t)length;
  return true;
}

static bool fill_ranges(bits_extra *x, const value *list) {
  if (list == NULL) return true;
  if (list->type != VALUE_LIST || list->count == 0 ||
      list->count > BITS_FILES_MOST)
    return false;
  x->ranges = mem_zero(list->count * sizeof *x->ranges);
  if (x->ranges == NULL) return false;
  x->range_count = list->count;
  for (uint32_t i = 0; i < list->count; i++) {
    if (!fill_range(&x->ranges[i], list->as.items[i])) return false;
    if (i == 0) continue;
    const bits_range *before = &x->ranges[i - 1];
    if (before->length == BITS_UNKNOWN ||
        before->offset + before->length > x->ranges[i].offset)
      return false;
  }
  return true;
}

static bool fill_extra(bits_extra *x, const value *v) {
  bool good = v->type == VALUE_MAP;
  x->sha256 = read_text(v, "sha256", &good);
  x->upload = read_text(v, "upload", &good);
  if (x->sha256 != NULL &&
      (strlen(x->sha256) != 64 || strspn(x->sha256, "0123456789abcdef") != 64))
    good = false;
  return fill_ranges(x, value_get(v, "ranges")) && good;
}

static error *read_extra(bits_file *f, const char *text) {
  error *e = NULL;
  value *v = json_read(text, strlen(text), &limits, &e);
  if (v == NULL) return e;
  bits_extra *x = mem_zero(sizeof *x);
  if (x == NULL) {
    value_free(v);
    return error_no_memory();
  }
  bool good = fill_extra(x, v);
  value_free(v);
  if (good) {
    bits_extra_free(f->extra);
    f->extra = x;
    return NULL;
  }
  bits_extra_free(x);
  return bits_fail(SAROS_E_DAMAGED,
                   "what a file has besides its url and path makes no sense");
}

/* A file without what the caller wanted of it (a digest, ranges) would be
   another one: then the row is refused. Without what is known it begins
   again. */
error *bits_file_read(bits_file *f, const queue_file *row) {
  if (row->state < BITS_FILE_WAITS || row->state > BITS_FILE_DONE ||
      row->have < 0 || row->size < -1)
    return bits_fail(SAROS_E_DAMAGED, "a file's numbers make no sense");
  error *e = row->extra != NULL ? read_extra(f, row->extra) : NULL;
  if (e != NULL) return e;
  if (row->extra == NULL) { /* an observer's may have had some */
    bits_extra_free(f->extra);
    f->extra = NULL;
  }
  f->state = (uint8_t)row->state;
  f->marks = (uint8_t)((f->marks & BITS_FILE_DIRTY) |
                       (row->marks & 0xFFu & ~BITS_FILE_DIRTY));
  f->size = row->size < 0 ? BITS_UNKNOWN : (uint64_t)row->size;
  atomic_store(&f->have, (uint64_t)row->have);
  bits_known_free(f->known);
  f->known = NULL;
  if (row->known != NULL) e = read_known(f, row->known);
  if (e == NULL) return NULL;
  log_write(LOG_WARNING, "bits", "a file begins again: %s", e->message);
  error_unref(e);
  if (f->state != BITS_FILE_DONE || (f->marks & BITS_FILE_APPEARED) == 0) {
    f->state = BITS_FILE_WAITS;
    atomic_store(&f->have, 0);
  }
  return NULL;
}
