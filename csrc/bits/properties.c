/*
** Properties by name: read from a script (where nothing is forgiven, and either
** all are set or none) or from a row (where what is wrong is left out). They
** are worked on in a draft, since a reference may have to be read from a disk,
** which nobody waits for with the manager's lock.
*/
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bits/job_parts.h"

typedef struct property property;
struct property {
  const char *name;
  error *(*read)(bits_draft *d, const property *p, const value *v,
                 value **shown);
  size_t at; /* in the draft or the terms, as `read` has it */
  uint64_t low, high;
  const char *const *words;
};

/* ------------------------------------------------------------------
** Numbers
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST
_Atomic unsigned bits_retry_least_ms;

static uint64_t retry_least(void) {
  unsigned ms = atomic_load(&bits_retry_least_ms);
  const char *text = getenv("SAROS_RETRY_LEAST_MS");
  if (ms == 0 && text != NULL) ms = (unsigned)strtoul(text, NULL, 10);
  return ms != 0 ? ms : 5000;
}
#else
static uint64_t retry_least(void) {
  return 5000;
}
#endif

static bool as_real(const value *v, double *n) {
  if (v->type == VALUE_INT)
    *n = (double)v->as.integer;
  else if (v->type == VALUE_REAL)
    *n = v->as.real;
  else
    return false;
  return isfinite(*n);
}

/* Seconds, as milliseconds; low and high are seconds. */
static error *read_ms(const property *p, const value *v, uint64_t *ms) {
  double n;
  if (!as_real(v, &n) || n < (double)p->low || n > (double)p->high)
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s is a number of seconds, %llu to %llu", p->name,
                     (unsigned long long)p->low, (unsigned long long)p->high);
  *ms = (uint64_t)(n * 1000 + 0.5);
  return NULL;
}

static uint64_t *u64_at(void *where, size_t at) {
  return (uint64_t *)(void *)((char *)where + at);
}

static error *read_time(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)shown;
  return read_ms(p, v, u64_at(d, p->at));
}

static error *read_retry_delay(bits_draft *d, const property *p, const value *v,
                               value **shown) {
  (void)shown;
  error *e = read_ms(p, v, &d->retry_delay_ms);
  if (e == NULL && d->retry_delay_ms < retry_least())
    d->retry_delay_ms = retry_least();
  return e;
}

static error *read_wait(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)shown;
  uint64_t ms = 0;
  error *e = read_ms(p, v, &ms);
  if (e == NULL && ms == 0)
    e = bits_fail(SAROS_E_INVALIDARG, "%s is longer than nothing", p->name);
  if (e == NULL) *(unsigned *)(void *)((char *)d->terms + p->at) = (unsigned)ms;
  return e;
}

static error *read_whole(const property *p, const value *v, uint64_t *n) {
  double real;
  if (as_real(v, &real) && real == floor(real) && real >= (double)p->low &&
      real <= (double)p->high) {
    *n = v->type == VALUE_INT ? (uint64_t)v->as.integer : (uint64_t)real;
    if (*n <= p->high) return NULL;
  }
  return bits_fail(SAROS_E_INVALIDARG, "%s is a whole number, %llu to %llu",
                   p->name, (unsigned long long)p->low,
                   (unsigned long long)p->high);
}

static error *read_rate(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)shown;
  return read_whole(p, v, u64_at(d, p->at));
}

static error *read_size(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)shown;
  return read_whole(p, v, u64_at(d->terms, p->at));
}

static error *read_count(bits_draft *d, const property *p, const value *v,
                         value **shown) {
  (void)shown;
  uint64_t n = 0;
  error *e = read_whole(p, v, &n);
  if (e == NULL) *(unsigned *)(void *)((char *)d->terms + p->at) = (unsigned)n;
  return e;
}

static error *read_flags(bits_draft *d, const property *p, const value *v,
                         value **shown) {
  uint64_t n = 0;
  (void)d;
  error *e = read_whole(p, v, &n);
  if (e == NULL) *shown = value_int((int64_t)n);
  return e;
}

static error *read_switch(bits_draft *d, const property *p, const value *v,
                          value **shown) {
  (void)shown;
  if (v->type != VALUE_BOOL)
    return bits_fail(SAROS_E_INVALIDARG, "%s is true or false", p->name);
  *(bool *)((char *)d->terms + p->at) = v->as.boolean;
  return NULL;
}

/* ------------------------------------------------------------------
** Words and texts
** ---------------------------------------------------------------- */

static error *read_word(const property *p, const value *v, unsigned *at) {
  const char *text = value_chars(v, "");
  for (*at = 0; p->words[*at] != NULL; ++*at)
    if (strcmp(p->words[*at], text) == 0) return NULL;
  buffer b = BUFFER_EMPTY;
  for (unsigned i = 0; p->words[i] != NULL; i++)
    buffer_format(&b, "%s'%s'", i == 0 ? "" : ", ", p->words[i]);
  error *e = bits_fail(SAROS_E_INVALIDARG, "%s is one of %s", p->name,
                       b.failed ? "a few words" : b.data);
  buffer_free(&b);
  return e;
}

static error *read_priority(bits_draft *d, const property *p, const value *v,
                            value **shown) {
  unsigned at;
  (void)shown;
  error *e = read_word(p, v, &at);
  if (e == NULL) d->priority = (bits_priority)at;
  return e;
}

static error *read_durability(bits_draft *d, const property *p, const value *v,
                              value **shown) {
  unsigned at;
  (void)shown;
  error *e = read_word(p, v, &at);
  if (e == NULL) d->terms->durability = (bits_durability)at;
  return e;
}

static error *read_on_change(bits_draft *d, const property *p, const value *v,
                             value **shown) {
  unsigned at;
  (void)shown;
  error *e = read_word(p, v, &at);
  if (e == NULL) d->terms->restart_changed = at == 0;
  return e;
}

static size_t characters(const char *text) {
  size_t n = 0;
  for (; *text != '\0'; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
  return n;
}

/* UTF-8, for it is stored as JSON; low: the fewest characters, high: the
   most. */
static error *check_text(const property *p, const value *v) {
  if (v->type != VALUE_STRING ||
      strlen(v->as.string.data) != v->as.string.size ||
      !text_is_utf8(v->as.string.data, v->as.string.size))
    return bits_fail(SAROS_E_INVALIDARG, "%s is a text, in UTF-8", p->name);
  size_t n = characters(v->as.string.data);
  if (n > p->high)
    return bits_fail(BG_E_STRING_TOO_LONG,
                     "%s has %zu characters; it may have %llu", p->name, n,
                     (unsigned long long)p->high);
  if (n < p->low) return bits_fail(SAROS_E_INVALIDARG, "%s is empty", p->name);
  return NULL;
}

static error *read_text(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)d;
  (void)shown;
  return check_text(p, v);
}

static error *keep_text(bits_draft *d, const property *p, const value *v) {
  char **to = (char **)(void *)((char *)d->terms + p->at);
  char *text = mem_text(v->as.string.data);
  if (text == NULL) return error_no_memory();
  mem_free(*to);
  *to = text;
  return NULL;
}

#define TOKEN                                                         \
  "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn" \
  "opqrstuvwxyz"

static error *read_method(bits_draft *d, const property *p, const value *v,
                          value **shown) {
  (void)shown;
  error *e = check_text(p, v);
  if (e != NULL) return e;
  const char *text = v->as.string.data;
  if (text[strspn(text, TOKEN)] != '\0')
    return bits_fail(SAROS_E_INVALIDARG, "method is a word like GET");
  if (strcasecmp(text, "HEAD") == 0 || strcasecmp(text, "CONNECT") == 0)
    return bits_fail(SAROS_E_INVALIDARG, "%s transfers no file", text);
  return keep_text(d, p, v);
}

static error *read_cacert(bits_draft *d, const property *p, const value *v,
                          value **shown) {
  (void)shown;
  error *e = check_text(p, v);
  if (e != NULL) return e;
  if (v->as.string.data[0] != '/')
    return bits_fail(SAROS_E_INVALIDARG, "cacert is an absolute path");
  return keep_text(d, p, v);
}

#define PROXY_MOST 32768

static error *read_proxy(bits_draft *d, const property *p, const value *v,
                         value **shown) {
  static const char *const schemes[] = {"http://",   "https://",
                                        "socks4://", "socks4a://",
                                        "socks5://", "socks5h://"};
  (void)shown;
  if (v->type == VALUE_STRING && v->as.string.size > PROXY_MOST)
    return bits_fail(BG_E_PROXY_LIST_TOO_LARGE, "proxy is too long");
  error *e = check_text(p, v);
  if (e != NULL) return e;
  const char *text = v->as.string.data;
  bool good = text[0] == '\0';
  for (size_t i = 0; !good && i < sizeof schemes / sizeof schemes[0]; i++)
    good = strncmp(text, schemes[i], strlen(schemes[i])) == 0 &&
           text[strlen(schemes[i])] != '\0';
  for (const char *c = text; *c != '\0'; c++)
    if (*c <= ' ' || *c == 0x7F || *c == '@') good = false;
  if (!good)
    return bits_fail(BG_E_INVALID_PROXY_INFO,
                     "proxy is a URL like http://host:3128 (what it asks for "
                     "is proxy_credentials), or empty for none");
  return keep_text(d, p, v);
}

/* ------------------------------------------------------------------
** Lists and maps
** ---------------------------------------------------------------- */

#define COMMAND_MOST 32768

/* An empty one, which may be a list or a map, is none. */
static error *read_command(bits_draft *d, const property *p, const value *v,
                           value **shown) {
  size_t size = 0;
  bool empty = v->type == VALUE_MAP && v->count == 0;
  bool good = empty || (v->type == VALUE_LIST && v->count <= p->high);
  (void)d;
  if (empty) *shown = value_list();
  if (empty && *shown == NULL) return error_no_memory();
  for (uint32_t i = 0; good && i < v->count; i++) {
    const value *item = v->as.items[i];
    good = item->type == VALUE_STRING &&
           strlen(item->as.string.data) == item->as.string.size &&
           text_is_utf8(item->as.string.data, item->as.string.size);
    if (good) size += item->as.string.size + 1;
  }
  if (good && v->count > 0 && v->as.items[0]->as.string.size == 0) good = false;
  if (!good)
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s is a list of texts: a program, and what it is given",
                     p->name);
  if (size > COMMAND_MOST)
    return bits_fail(BG_E_STRING_TOO_LONG, "%s is too long", p->name);
  return NULL;
}

static error *read_kept(bits_draft *d, const property *p, const value *v,
                        value **shown) {
  (void)d;
  (void)shown;
  if (v->type != VALUE_MAP)
    return bits_fail(SAROS_E_INVALIDARG, "%s is a map", p->name);
  buffer b = BUFFER_EMPTY;
  json_write(&b, v, JSON_COMPACT);
  error *e = b.failed ? error_no_memory() : NULL;
  if (e == NULL && b.size > p->high)
    e = bits_fail(BG_E_STRING_TOO_LONG, "%s is too much: %zu bytes of %llu",
                  p->name, b.size, (unsigned long long)p->high);
  buffer_free(&b);
  return e;
}

#define SECRET(what)                                                          \
  static error *read_##what(bits_draft *d, const property *p, const value *v, \
                            value **shown) {                                  \
    (void)p;                                                                  \
    return bits_secret_##what(d, v, shown);                                   \
  }
SECRET(headers)
SECRET(credentials)
SECRET(proxy_login)
SECRET(s3)
#undef SECRET

/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

static const char *const priorities[] = {"foreground", "high", "normal", "low",
                                         NULL};
static const char *const durabilities[] = {"none", "group", "file", NULL};
static const char *const changes[] = {"restart", "error", NULL};

#define CENTURY 3155760000u
#define DAY 86400u
#define DRAFT(field) offsetof(bits_draft, field)
#define TERMS(field) offsetof(bits_terms, field)
#define WHOLE_MOST (1ull << 60)

static const property properties[] = {
    {"name", read_text, 0, 0, 256, NULL},
    {"description", read_text, 0, 0, 1024, NULL},
    {"priority", read_priority, 0, 0, 0, priorities},
    {"durability", read_durability, 0, 0, 0, durabilities},
    {"on_change", read_on_change, 0, 0, 0, changes},
    {"retry_delay", read_retry_delay, 0, 0, CENTURY, NULL},
    {"no_progress_timeout", read_time, DRAFT(no_progress_ms), 0, CENTURY, NULL},
    {"max_time", read_time, DRAFT(max_time_ms), 0, CENTURY, NULL},
    {"connect_timeout", read_wait, TERMS(connect_ms), 0, DAY, NULL},
    {"stall_timeout", read_wait, TERMS(stall_ms), 0, DAY, NULL},
    {"overwrite", read_switch, TERMS(overwrite), 0, 0, NULL},
    {"length_required", read_switch, TERMS(length_required), 0, 0, NULL},
    {"dynamic", read_switch, TERMS(dynamic), 0, 0, NULL},
    {"limit_download", read_rate, DRAFT(down), 0, WHOLE_MOST, NULL},
    {"limit_upload", read_rate, DRAFT(up), 0, WHOLE_MOST, NULL},
    {"max_size", read_size, TERMS(most), 0, WHOLE_MOST, NULL},
    {"part_size", read_size, TERMS(part_size), 0, 5ull << 30, NULL},
    {"redirects", read_count, TERMS(redirects), 0, 50, NULL},
    {"connections_per_host", read_count, TERMS(per_host), 1, 64, NULL},
    {"notify_flags", read_flags, 0, 0, 31, NULL},
    {"notify_command", read_command, 0, 0, 256, NULL},
    {"method", read_method, TERMS(method), 1, 32, NULL},
    {"cacert", read_cacert, TERMS(cacert), 1, 4096, NULL},
    {"headers", read_headers, 0, 0, 0, NULL},
    {"credentials", read_credentials, 0, 0, 0, NULL},
    {"proxy", read_proxy, TERMS(proxy), 0, PROXY_MOST, NULL},
    {"proxy_credentials", read_proxy_login, 0, 0, 0, NULL},
    {"s3", read_s3, 0, 0, 0, NULL},
    {"kept", read_kept, 0, 0, 65536, NULL},
};

static const property *find(const value_field *f) {
  for (size_t i = 0; i < sizeof properties / sizeof properties[0]; i++)
    if (strcmp(properties[i].name, f->name) == 0) return &properties[i];
  return NULL;
}

/* What is chosen when a job is made, and read by who makes it. */
static bool is_of_create(const value_field *f) {
  return strcmp(f->name, "type") == 0 || strcmp(f->name, "group") == 0 ||
         strcmp(f->name, "id") == 0;
}

static error *unknown(const value_field *f, bool create) {
  if (strcmp(f->name, "owner") == 0)
    return bits_fail(SAROS_E_NOTIMPL,
                     "the owner of a job is who owns the queue: it cannot be "
                     "taken over");
  if (!create && is_of_create(f))
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s is chosen when a job is made, and stays", f->name);
  return bits_fail(SAROS_E_INVALIDARG, "a job has no property '%s'", f->name);
}

static error *read_one(bits_draft *d, const property *p, const value *v) {
  value *shown = NULL;
  error *e = p->read(d, p, v, &shown);
  if (e != NULL) {
    value_free(shown);
    return e;
  }
  if (shown == NULL) shown = value_copy(v);
  return value_put(d->properties, p->name, shown) ? NULL : error_no_memory();
}

error *bits_draft_read(bits_draft *d, const value *v, bool create) {
  if (v == NULL || v->type != VALUE_MAP)
    return bits_fail(SAROS_E_INVALIDARG, "properties are a map of names");
  for (uint32_t i = 0; i < v->count; i++) {
    const value_field *f = &v->as.fields[i];
    const property *p = find(f);
    if (p == NULL && create && is_of_create(f)) continue;
    error *e = p != NULL ? read_one(d, p, f->item) : unknown(f, create);
    if (e != NULL && d->stored) {
      log_write(LOG_WARNING, "bits", "a job in the queue: %s", e->message);
      error_unref(e);
      e = NULL;
    }
    if (e != NULL) return e;
  }
  return NULL;
}

bool bits_draft_usual(bits_draft *d, const bits_job *j) {
  *d = (bits_draft){.stored = true,
                    .terms = bits_terms_new(),
                    .properties = value_map(),
                    .priority = j->priority,
                    .retry_delay_ms = BITS_RETRY_DELAY_MS,
                    .no_progress_ms = BITS_NO_PROGRESS_MS,
                    .max_time_ms = BITS_MAX_TIME_MS};
  if (d->terms != NULL && d->properties != NULL) return true;
  bits_draft_free(d);
  return false;
}

bool bits_draft_begin(bits_draft *d, const bits_job *j) {
  *d = (bits_draft){.terms = bits_terms_copy(j->terms),
                    .properties = value_copy(j->properties),
                    .priority = j->priority,
                    .retry_delay_ms = j->retry_delay_ms,
                    .no_progress_ms = j->no_progress_ms,
                    .max_time_ms = j->max_time_ms,
                    .down = j->down,
                    .up = j->up};
  if (d->terms != NULL && d->properties != NULL) return true;
  bits_draft_free(d);
  return false;
}

void bits_draft_swap(bits_draft *d, bits_job *j) {
  bits_terms *terms = j->terms;
  value *set = j->properties;
  j->terms = d->terms;
  j->properties = d->properties;
  d->terms = terms;
  d->properties = set;
  j->priority = d->priority;
  j->retry_delay_ms = d->retry_delay_ms;
  j->no_progress_ms = d->no_progress_ms;
  j->max_time_ms = d->max_time_ms;
  j->down = d->down;
  j->up = d->up;
}

void bits_draft_free(bits_draft *d) {
  bits_terms_unref(d->terms);
  value_free(d->properties);
}
