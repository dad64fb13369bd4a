/*
** What is sent to S3. The URL is written anew: what must be escaped is, and
** nothing else, however it was given, so that what is signed is what is sent.
*/
#include "bits/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/traces.h"

#ifdef SAROS_TEST
_Atomic int bits_s3_ahead;
#endif

bool bits_s3_is_wanted(const bits_terms *t) {
  return t->s3_key != NULL && t->s3_secret != NULL;
}

/* ------------------------------------------------------------------
** The URL
** ---------------------------------------------------------------- */

/* Its pieces, within it. */
typedef struct s3_url {
  size_t scheme; /* with "://" */
  const char *host, *path, *query;
  size_t host_size, path_size, query_size;
} s3_url;

static bool split(const char *url, s3_url *u) {
  const char *host = strstr(url, "://");
  if (host == NULL) return false;
  u->host = host + 3;
  u->scheme = (size_t)(u->host - url);
  u->host_size = strcspn(u->host, "/?#");
  u->path = u->host + u->host_size;
  u->path_size = strcspn(u->path, "?#");
  u->query = u->path + u->path_size;
  if (*u->query == '?') u->query++;
  u->query_size = strcspn(u->query, "#");
  /* A default port is not said: libcurl leaves it out of what is signed. */
  const char *port = strncasecmp(url, "https:", 6) == 0 ? ":443" : ":80";
  size_t n = strlen(port);
  if (u->host_size > n && strncmp(u->host + u->host_size - n, port, n) == 0)
    u->host_size -= n;
  return true;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* However it was escaped. */
static void put_escaped(buffer *b, const char *text, size_t size,
                        bool is_path) {
  for (size_t i = 0; i < size; i++) {
    char one[2] = {text[i], '\0'};
    if (text[i] == '%' && i + 2 < size && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      one[0] = (char)(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else if (text[i] == '+' && !is_path) {
      one[0] = ' ';
    } else if (text[i] == '/' && is_path) {
      buffer_byte(b, '/');
      continue;
    }
    if (one[0] == '\0')
      buffer_text(b, "%00");
    else
      http_sign_escape(b, one, is_path); /* "%2F" is a slash of the key */
  }
}

/* By their names, then by their values. */
static int by_pair(const void *a, const void *b) {
  const char *x = *(char *const *)a, *y = *(char *const *)b;
  while (*x == *y && *x != '\0') {
    x++;
    y++;
  }
  if (*x == '=' || *y == '=') return *x == '=' ? -(*y != '=') : 1;
  return (unsigned char)*x - (unsigned char)*y;
}

#define PAIRS 32

/* Adds what is between its ampersands to the pairs. */
static bool take_pairs(char **pairs, size_t *count, const char *query,
                       size_t size) {
  for (size_t i = 0; i <= size;) {
    size_t end = i, equals;
    while (end < size && query[end] != '&') end++;
    for (equals = i; equals < end && query[equals] != '=';) equals++;
    if (end > i) {
      buffer b = BUFFER_EMPTY;
      if (*count == PAIRS) return false;
      put_escaped(&b, query + i, equals - i, false);
      buffer_byte(&b, '=');
      if (equals < end)
        put_escaped(&b, query + equals + 1, end - equals - 1, false);
      pairs[*count] = buffer_take(&b);
      if (pairs[*count] == NULL) return false;
      ++*count;
    }
    i = end + 1;
  }
  return true;
}

static bool write_query(buffer *b, const s3_url *u, const char *more) {
  char *pairs[PAIRS];
  size_t count = 0;
  bool good = take_pairs(pairs, &count, u->query, u->query_size) &&
              (more == NULL || take_pairs(pairs, &count, more, strlen(more)));
  if (good) qsort(pairs, count, sizeof *pairs, by_pair);
  for (size_t i = 0; i < count; i++) {
    if (i > 0) buffer_byte(b, '&');
    buffer_text(b, pairs[i]);
    mem_free(pairs[i]);
  }
  return good && !b->failed;
}

/* "s3.eu-west-1.amazonaws.com", "bucket.s3.eu-west-1.amazonaws.com" */
static void region_of_host(char *region, const s3_url *u) {
  char host[256];
  snprintf(host, sizeof host, "%.*s",
           (int)(u->host_size < 255 ? u->host_size : 255), u->host);
  char *end = strcasestr(host, ".amazonaws.com");
  if (end == NULL || end[strlen(".amazonaws.com")] != '\0') return;
  *end = '\0';
  char *last = strrchr(host, '.');
  if (last == NULL || strncasecmp(last + 1, "s3", 2) == 0) return;
  *last = '\0';
  char *before = strrchr(host, '.');
  before = before != NULL ? before + 1 : host;
  if (strcasecmp(before, "s3") != 0 && strcasecmp(before, "dualstack") != 0)
    return;
  snprintf(region, BITS_S3_REGION, "%.63s", last + 1);
}

void bits_s3_place_begin(bits_s3_place *p, const bits_terms *t,
                         const char *url) {
  s3_url u;
  memset(p, 0, sizeof *p);
  snprintf(p->region, sizeof p->region, "us-east-1");
  if (!split(url, &u)) return;
  snprintf(p->scheme, sizeof p->scheme, "%.*s", (int)(u.scheme - 3), url);
  if (u.host_size < sizeof p->first)
    snprintf(p->first, sizeof p->first, "%.*s", (int)u.host_size, u.host);
  if (t->s3_region != NULL && t->s3_region[0] != '\0')
    snprintf(p->region, sizeof p->region, "%.63s", t->s3_region);
  else
    region_of_host(p->region, &u);
}

static const char amazon[] = ".amazonaws.com";

static bool is_amazon(const char *host) {
  size_t size = strlen(host), n = strlen(amazon);
  return size > n && strcasecmp(host + size - n, amazon) == 0;
}

static size_t name_size(const char *host) {
  const char *port = strrchr(host, ':');
  return port != NULL && strchr(port, ']') == NULL ? (size_t)(port - host)
                                                   : strlen(host);
}

bool bits_s3_move(bits_s3_place *p, const char *url) {
  s3_url u;
  char host[256];
  const char *now = p->host[0] != '\0' ? p->host : p->first;
  if (!split(url, &u) || u.host_size == 0 || u.host_size >= sizeof host ||
      memchr(u.host, '@', u.host_size) != NULL)
    return false;
  snprintf(host, sizeof host, "%.*s", (int)u.host_size, u.host);
  if (u.scheme - 3 != strlen(p->scheme) ||
      strncasecmp(url, p->scheme, u.scheme - 3) != 0 ||
      strcasecmp(host, now) == 0)
    return false;
  bool same = name_size(host) == name_size(p->first) &&
              strncasecmp(host, p->first, name_size(host)) == 0;
  if (!same && (!is_amazon(host) || !is_amazon(p->first))) return false;
  snprintf(p->host, sizeof p->host, "%s", host);
  return true;
}

void bits_s3_move_region(bits_s3_place *p) {
  char host[256];
  if (!is_amazon(p->first)) return;
  snprintf(host, sizeof host, "%s", p->first);
  /* What is before "s3." or "s3-" is the bucket. */
  char *s3 = strncasecmp(host, "s3", 2) == 0 ? host : strcasestr(host, ".s3");
  if (s3 == NULL) return;
  *s3 = '\0';
  snprintf(p->host, sizeof p->host, "%.150s%ss3.%s%s", host,
           host[0] != '\0' ? "." : "", p->region, amazon);
}

void bits_s3_place_end(bits_s3_place *p) {
  http_wipe(p, sizeof *p);
}

/* ------------------------------------------------------------------
** The header
** ---------------------------------------------------------------- */

/* Takes over both texts, also when it fails. */
static bool add(bits_s3_letter *l, char *name, char *text, bool secret) {
  if (name == NULL || text == NULL || l->count == BITS_S3_LINES) {
    if (text != NULL) http_wipe(text, strlen(text));
    mem_free(name);
    mem_free(text);
    return false;
  }
  l->fields[l->count++] = (http_field){name, text, secret};
  return true;
}

static bool put(bits_s3_letter *l, const char *name, const char *text,
                bool secret) {
  return text == NULL || add(l, mem_text(name), mem_text(text), secret);
}

/* As it is signed: no spaces around it, and none twice. */
static char *squeezed(const char *text) {
  char *copy = mem_text(text), *to = copy;
  if (copy == NULL) return NULL;
  for (const char *c = text; *c != '\0'; c++) {
    char one = *c == '\t' ? ' ' : *c;
    if (one == ' ' && (to == copy || to[-1] == ' ')) continue;
    *to++ = one;
  }
  if (to > copy && to[-1] == ' ') to--;
  *to = '\0';
  return copy;
}

static char *lower(const char *text) {
  char *copy = mem_text(text);
  for (char *c = copy; c != NULL && *c != '\0'; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
  return copy;
}

static bool begins(const char *text, const char *with) {
  return strncasecmp(text, with, strlen(with)) == 0;
}

static bool is_signed(const char *name) {
  return begins(name, "x-amz-") || begins(name, "content-") ||
         strcasecmp(name, "host") == 0;
}

/* Some of the terms' header are about what is made, and some about who asks. */
static bool fits(const char *name, bits_s3_fields which) {
  static const char *const ours[] = {
      "host",          "authorization",        "x-amz-date",
      "content-md5",   "x-amz-content-sha256", "x-amz-security-token",
      "content-length"};
  static const char *const few[] = {"x-amz-request-payer",
                                    "x-amz-expected-bucket-owner",
                                    "x-amz-checksum-mode"};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
    if (strcasecmp(name, ours[i]) == 0) return false;
  if (which == BITS_S3_ALL ||
      begins(name, "x-amz-server-side-encryption-customer-"))
    return true;
  for (size_t i = 0; i < sizeof few / sizeof few[0]; i++)
    if (strcasecmp(name, few[i]) == 0) return true;
  return !begins(name, "x-amz-") && !begins(name, "content-") &&
         strcasecmp(name, "cache-control") != 0 &&
         strcasecmp(name, "expires") != 0;
}

static bool has(const bits_s3_letter *l, const char *name) {
  for (size_t i = 0; i < l->count; i++)
    if (strcasecmp(l->fields[i].name, name) == 0) return true;
  return false;
}

static bool put_terms(bits_s3_letter *l, const bits_terms *t,
                      bits_s3_fields which) {
  for (uint32_t i = 0; i < t->header_count; i++) {
    const bits_header *h = &t->headers[i];
    if (h->value == NULL || !fits(h->name, which) || has(l, h->name)) continue;
    if (!add(l, lower(h->name), squeezed(h->value), h->secret)) return false;
  }
  return true;
}

/* What is signed comes first, and sorted. */
static int by_name(const void *a, const void *b) {
  const http_field *x = a, *y = b;
  bool first = is_signed(x->name), second = is_signed(y->name);
  if (first != second) return first ? -1 : 1;
  return strcmp(x->name, y->name);
}

static bool make_key(bits_s3_place *p, const bits_terms *t, const char *date) {
  if (strncmp(p->day, date, 8) == 0 && strcmp(p->key_region, p->region) == 0)
    return true;
  snprintf(p->day, sizeof p->day, "%.8s", date);
  memcpy(p->key_region, p->region, sizeof p->key_region);
  if (http_sign_key(t->s3_secret, p->day, p->region, "s3", p->key)) return true;
  p->day[0] = '\0';
  return false;
}

static bool sign(bits_s3_place *p, const bits_terms *t, const bits_s3_ask *ask,
                 const char *path, const char *query, const char *payload,
                 const char *date, bits_s3_letter *l) {
  buffer b = BUFFER_EMPTY;
  size_t count = 0;
  qsort(l->fields, l->count, sizeof *l->fields, by_name);
  while (count < l->count && is_signed(l->fields[count].name)) count++;
  http_signature s = {.method = ask->method,
                      .path = path,
                      .query = query,
                      .fields = l->fields,
                      .field_count = count,
                      .payload = payload,
                      .date = date,
                      .region = p->region,
                      .service = "s3",
                      .access_key = t->s3_key,
                      .signing = p->key};
  bool good = make_key(p, t, date) && http_sign(&s, &b) &&
              put(l, "authorization", b.data, true);
  if (b.data != NULL) http_wipe(b.data, b.size);
  buffer_free(&b);
  return good;
}

static void write_date(char date[17], int64_t skew) {
  struct tm tm;
  time_t now = time(NULL) - (time_t)skew;
#ifdef SAROS_TEST
  now += bits_s3_ahead;
#endif
  gmtime_r(&now, &tm);
  strftime(date, 17, "%Y%m%dT%H%M%SZ", &tm);
}

bool bits_s3_write(bits_s3_place *p, const bits_terms *t,
                   const bits_s3_ask *ask, bits_s3_letter *l) {
  s3_url u;
  buffer path = BUFFER_EMPTY, query = BUFFER_EMPTY, url = BUFFER_EMPTY;
  char date[17];
  const char *payload = ask->payload != NULL ? ask->payload : http_sign_empty;
  memset(l, 0, sizeof *l);
  if (!split(ask->url, &u)) return false;
  char *host =
      p->host[0] != '\0' ? mem_text(p->host) : mem_bytes(u.host, u.host_size);
  write_date(date, p->skew);
  if (u.path_size == 0) buffer_byte(&path, '/');
  put_escaped(&path, u.path, u.path_size, true);
  buffer_text(&query, "");
  bool good = write_query(&query, &u, ask->query) && !path.failed;
  if (good && host != NULL)
    buffer_format(&url, "%.*s%s%s%s%s", (int)u.scheme, ask->url, host,
                  path.data, query.size > 0 ? "?" : "", query.data);
  good = good && !url.failed && host != NULL && put(l, "host", host, true) &&
         put(l, "content-md5", ask->content_md5, true) &&
         put(l, "content-type", ask->content_type, true) &&
         put(l, "x-amz-content-sha256", payload, true) &&
         put(l, "x-amz-date", date, true) &&
         put(l, "x-amz-security-token", t->s3_token, true) &&
         put(l, "x-amz-meta-sha256", ask->sha256, true) &&
         put_terms(l, t, ask->fields) &&
         sign(p, t, ask, path.data, query.data, payload, date, l);
  l->url = good ? buffer_take(&url) : NULL;
  buffer_free(&path);
  buffer_free(&query);
  buffer_free(&url);
  mem_free(host);
  traces_wipe_few();
  if (l->url != NULL) return true;
  bits_s3_letter_free(l);
  return false;
}

void bits_s3_letter_free(bits_s3_letter *l) {
  for (size_t i = 0; i < l->count; i++) {
    char *text = (char *)(uintptr_t)l->fields[i].value;
    http_wipe(text, strlen(text));
    mem_free((char *)(uintptr_t)l->fields[i].name);
    mem_free(text);
  }
  mem_free(l->url);
  memset(l, 0, sizeof *l);
}
