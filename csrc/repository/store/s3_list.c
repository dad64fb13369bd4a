/*
** Listing, page by page: each is read whole and understood before anybody is
** told of what is in it, so that a page that is asked for again tells nothing
** twice.
*/
#include <stdio.h>
#include <string.h>

#include "http/xml.h"
#include "repository/store/s3_parts.h"

#define PAGE_MOST ((size_t)16 << 20)

typedef struct found {
  repo_id id;
  uint64_t size;
} found;

typedef struct page {
  found *all;
  size_t count, room;
  bool truncated;
  char *next; /* the token of the next one */
  /* Of the entry that is being read. */
  buffer key;
  uint64_t size;
  bool has_size, escaped;
} page;

static void page_free(page *p) {
  mem_free(p->all);
  mem_free(p->next);
  buffer_free(&p->key);
}

static bool set(char **text, const char *to) {
  mem_free(*text);
  *text = mem_text(to);
  return *text != NULL;
}

/* ------------------------------------------------------------------
** One page
** ---------------------------------------------------------------- */

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/* encoding-type=url: in place; the result is not longer. */
static void unescape(buffer *b) {
  size_t to = 0;
  for (size_t i = 0; i < b->size; i++) {
    char c = b->data[i];
    if (c == '%' && i + 2 < b->size && hex(b->data[i + 1]) >= 0 &&
        hex(b->data[i + 2]) >= 0) {
      c = (char)(hex(b->data[i + 1]) << 4 | hex(b->data[i + 2]));
      i += 2;
    } else if (c == '+') {
      c = ' ';
    }
    b->data[to++] = c;
  }
  b->size = to;
  if (b->data != NULL) b->data[to] = '\0';
}

/* Whether the key is that of a file of this kind: "prefix/data/ab/abcd…". */
static bool is_file(const s3 *s, repo_file kind, const buffer *key,
                    repo_id *id) {
  const char *text = key->data;
  size_t size = key->size, prefix = strlen(s->prefix);
  const char *folder = repo_file_folder(kind);
  size_t folder_size = strlen(folder);
  if (prefix > 0) {
    if (size <= prefix || memcmp(text, s->prefix, prefix) != 0 ||
        text[prefix] != '/')
      return false;
    text += prefix + 1;
    size -= prefix + 1;
  }
  if (size <= folder_size || memcmp(text, folder, folder_size) != 0 ||
      text[folder_size] != '/')
    return false;
  text += folder_size + 1;
  size -= folder_size + 1;
  if (kind == REPO_PACKS) {
    if (size < 3 || text[2] != '/') return false;
    if (size < 5 || memcmp(text, text + 3, 2) != 0) return false;
    text += 3;
    size -= 3;
  }
  return repo_id_parse(id, text, size);
}

static bool keep(page *p, const s3 *s, repo_file kind) {
  repo_id id;
  if (p->key.size == 0 || !p->has_size) return true;
  if (p->escaped) unescape(&p->key);
  if (!is_file(s, kind, &p->key, &id)) return true;
  if (kind == REPO_LOCKS && p->size == 0) return true;
  if (p->count == p->room) {
    size_t room = p->room == 0 ? 1000 : p->room * 2;
    found *all = mem_grow(p->all, room * sizeof *all);
    if (all == NULL) return false;
    p->all = all;
    p->room = room;
  }
  p->all[p->count++] = (found){id, p->size};
  return true;
}

static bool read_size(const char *text, uint64_t *size) {
  uint64_t n = 0;
  if (*text == '\0') return false;
  for (; *text >= '0' && *text <= '9'; text++) {
    if (n > (uint64_t)(INT64_MAX - 9) / 10) return false;
    n = n * 10 + (uint64_t)(*text - '0');
  }
  *size = n;
  return *text == '\0';
}

typedef enum reading { READ_WHOLE, READ_BAD, READ_NO_MEMORY } reading;

/* An element of the page, or of an entry, has ended. */
static reading take(page *p, const http_xml *x, bool in_entry, const s3 *s,
                    repo_file kind) {
  const char *text = http_xml_text(x);
  if (in_entry) {
    if (http_xml_is(x, "Key")) {
      buffer_clear(&p->key);
      buffer_put(&p->key, text, x->text.size);
      if (p->key.failed) return READ_NO_MEMORY;
    } else if (http_xml_is(x, "Size")) {
      p->has_size = read_size(text, &p->size);
      if (!p->has_size) return READ_BAD;
    }
  } else if (http_xml_is(x, "Contents")) {
    bool kept = keep(p, s, kind);
    buffer_clear(&p->key);
    p->has_size = false;
    if (!kept) return READ_NO_MEMORY;
  } else if (http_xml_is(x, "IsTruncated")) {
    p->truncated = strcmp(text, "true") == 0;
    if (!p->truncated && strcmp(text, "false") != 0) return READ_BAD;
  } else if (http_xml_is(x, "NextContinuationToken")) {
    if (!set(&p->next, text)) return READ_NO_MEMORY;
  }
  return READ_WHOLE;
}

static reading read_page(page *p, const s3 *s, repo_file kind, const char *text,
                         size_t size, bool escaped) {
  http_xml x;
  reading r = READ_WHOLE;
  bool right = false, in_entry = false;
  p->escaped = escaped;
  http_xml_begin(&x, text, size);
  while (r == READ_WHOLE) {
    http_xml_event event = http_xml_next(&x);
    if (event == HTTP_XML_END) break;
    if (event == HTTP_XML_BAD) {
      r = READ_BAD;
    } else if (event == HTTP_XML_OPEN) {
      if (x.depth == 1) right = http_xml_is(&x, "ListBucketResult");
      if (x.depth == 2) in_entry = http_xml_is(&x, "Contents");
    } else if (x.depth == 1 || (x.depth == 2 && in_entry)) {
      r = take(p, &x, x.depth == 2, s, kind);
    }
  }
  http_xml_end(&x);
  if (r == READ_WHOLE && (!right || (p->truncated && p->next == NULL)))
    r = READ_BAD;
  return r;
}

/* Whether the server says that it has escaped the keys. It says so anywhere. */
static bool is_escaped(const char *text, size_t size) {
  http_xml x;
  http_xml_event event;
  bool escaped = false;
  http_xml_begin(&x, text, size);
  while ((event = http_xml_next(&x)) != HTTP_XML_END && event != HTTP_XML_BAD)
    if (event == HTTP_XML_CLOSE && x.depth == 1 &&
        http_xml_is(&x, "EncodingType"))
      escaped = strcmp(http_xml_text(&x), "url") == 0;
  http_xml_end(&x);
  return escaped;
}

/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

static error *fetch(s3 *s, repo_file kind, const char *token, buffer *b,
                    const repo_stop *stop) {
  buffer query = BUFFER_EMPTY;
  if (token != NULL) {
    buffer_text(&query, "continuation-token=");
    http_sign_escape(&query, token, false);
    buffer_byte(&query, '&');
  }
  buffer_text(&query, "encoding-type=url&list-type=2&prefix=");
  http_sign_escape(&query, s->prefix, false);
  if (s->prefix[0] != '\0') buffer_text(&query, "%2F");
  buffer_format(&query, "%s%%2F", repo_file_folder(kind));
  char doing[64];
  snprintf(doing, sizeof doing, "list the %s",
           kind == REPO_PACKS ? "packs" : repo_file_folder(kind));
  s3_call c = {.doing = doing,
               .method = "GET",
               .query = query.data,
               .into = b,
               .most = PAGE_MOST,
               .stop = stop};
  error *e = query.failed ? error_no_memory() : repo_s3_call(s, &c);
  buffer_free(&query);
  return e;
}

static error *one_page(s3 *s, repo_file kind, const char *token, page *p,
                       const repo_stop *stop) {
  buffer b = BUFFER_EMPTY;
  error *e = fetch(s, kind, token, &b, stop);
  if (e == NULL) {
    switch (read_page(p, s, kind, b.data, b.size, is_escaped(b.data, b.size))) {
      case READ_WHOLE: break;
      case READ_NO_MEMORY: e = error_no_memory(); break;
      case READ_BAD:
        e = repo_error(SAROS_E_DAMAGED,
                       "the list of what is in %s cannot be understood: is "
                       "that an S3 server?",
                       s->location);
    }
  }
  /* The same page for ever is no list. */
  if (e == NULL && p->truncated && token != NULL && strcmp(token, p->next) == 0)
    e = repo_error(SAROS_E_DAMAGED,
                   "the list of what is in %s never ends: the server gives the "
                   "same page again and again",
                   s->location);
  buffer_free(&b);
  return e;
}

error *repo_s3_list(repo_store *store, repo_file kind, repo_store_each each,
                    void *context, const repo_stop *stop) {
  s3 *s = (s3 *)store;
  error *e = repo_s3_forked(s);
  char *token = NULL;
  bool more = e == NULL && kind != REPO_CONFIG;
  while (more) {
    page p = {0};
    e = one_page(s, kind, token, &p, stop);
    for (size_t i = 0; e == NULL && i < p.count; i++)
      e = each(context, &p.all[i].id, p.all[i].size);
    more = e == NULL && p.truncated;
    if (more && !set(&token, p.next)) e = error_no_memory();
    more = more && e == NULL;
    page_free(&p);
  }
  mem_free(token);
  return e;
}
