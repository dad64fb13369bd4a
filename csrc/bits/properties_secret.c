/*
** What of a job's properties is secret: headers, credentials, keys. The terms
** have it, in memory; what is shown and stored has names and references, and
** says that there is something secret. After the process has ended a secret
** without a reference is lost: then the job says so, and sends nothing without
** it.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/traces.h"
#include "bits/job_parts.h"

#define USER_MOST 300
#define PASSWORD_MOST 65535
#define HEADERS_MOST 64
#define HEADER_BYTES_MOST 32768

/* ------------------------------------------------------------------
** Fields of a map
** ---------------------------------------------------------------- */

/* An empty table of a script is a list or a map. */
static bool is_empty(const value *v) {
  return (v->type == VALUE_MAP || v->type == VALUE_LIST) && v->count == 0;
}

static bool is_there(const value *properties, const char *name) {
  const value *v = value_get(properties, name);
  return v != NULL && !is_empty(v);
}

static error *check_names(const value *map, const char *what,
                          const char *const *names) {
  if (map->type != VALUE_MAP)
    return bits_fail(SAROS_E_INVALIDARG, "%s is a map", what);
  for (uint32_t i = 0; i < map->count; i++) {
    size_t k = 0;
    while (names[k] != NULL && strcmp(names[k], map->as.fields[i].name) != 0)
      k++;
    if (names[k] == NULL)
      return bits_fail(SAROS_E_INVALIDARG, "%s has no '%s'", what,
                       map->as.fields[i].name);
  }
  return NULL;
}

/* What may stand in a header's line: no control characters. */
static bool is_line(const value *v) {
  if (v->type != VALUE_STRING) return false;
  for (size_t i = 0; i < v->as.string.size; i++) {
    unsigned char c = (unsigned char)v->as.string.data[i];
    if ((c < ' ' && c != '\t') || c == 0x7F) return false;
  }
  return true;
}

static bool is_lined(const char *text) {
  for (; *text != '\0'; text++)
    if (((unsigned char)*text < ' ' && *text != '\t') || *text == 0x7F)
      return false;
  return true;
}

/* A text without control characters, or NULL when it is not there. */
static error *line_of(const value *map, const char *what, const char *name,
                      const char **text) {
  const value *v = value_get(map, name);
  *text = NULL;
  if (v == NULL) return NULL;
  if (!is_line(v))
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s: %s is a text without control characters", what, name);
  *text = v->as.string.data;
  return NULL;
}

static error *reference_of(const value *map, const char *what,
                           const char **reference) {
  error *e = line_of(map, what, "reference", reference);
  if (e != NULL || *reference == NULL) return e;
  if (!bits_reference_is(*reference) ||
      !text_is_utf8(*reference, strlen(*reference)))
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s: a reference is 'env:NAME' or 'file:/path'", what);
  return NULL;
}

/* What a row refers to may be gone: that is lost, no reason to go without. */
static error *dereference(const bits_draft *d, const char *reference,
                          char **text) {
  error *e;
  *text = NULL;
  if (d->looks) return NULL;
  *text = bits_reference_read(reference, &e);
  if (e == NULL || !d->stored) return e;
  log_write(LOG_WARNING, "bits", "a job's secret: %s", e->message);
  error_unref(e);
  return NULL;
}

/* The secret itself, to be wiped; or NULL where it is lost. */
static error *secret_of(const bits_draft *d, const value *map, const char *what,
                        const char *name, char **text) {
  const char *direct, *reference;
  *text = NULL;
  error *e = line_of(map, what, name, &direct);
  if (e == NULL) e = reference_of(map, what, &reference);
  if (e != NULL) return e;
  if (direct != NULL && reference != NULL)
    return bits_fail(SAROS_E_INVALIDARG, "%s: %s or reference, not both", what,
                     name);
  if (direct != NULL) {
    *text = mem_text(direct);
    return *text != NULL ? NULL : error_no_memory();
  }
  if (reference == NULL)
    return d->stored
               ? NULL
               : bits_fail(SAROS_E_INVALIDARG,
                           "%s: %s or a reference is missing", what, name);
  e = dereference(d, reference, text);
  if (e == NULL && *text != NULL && !is_lined(*text))
    e = bits_fail(SAROS_E_INVALIDARG, "what %s has is more than one line",
                  reference);
  return e;
}

static bool show(value **shown, const value *map, const char *const *names) {
  *shown = value_map();
  bool good = *shown != NULL;
  for (; good && *names != NULL; names++) {
    const value *v = value_get(map, *names);
    if (v != NULL) good = value_put(*shown, *names, value_copy(v));
  }
  return good;
}

/* ------------------------------------------------------------------
** The headers of the terms: that of the credentials is the first
** ---------------------------------------------------------------- */

static void header_clear(bits_header *h) {
  mem_free(h->name);
  bits_secret_free(h->value);
  mem_free(h->reference);
  *h = (bits_header){0};
}

static bool has_credentials(const bits_draft *d) {
  return is_there(d->properties, "credentials") && d->terms->header_count > 0;
}

static bool resize(bits_terms *t, uint32_t count) {
  for (uint32_t i = count; i < t->header_count; i++)
    header_clear(&t->headers[i]);
  if (count <= t->header_count) {
    t->header_count = count;
    return true;
  }
  bits_header *headers = mem_grow(t->headers, count * sizeof *headers);
  if (headers == NULL) return false;
  t->headers = headers;
  for (uint32_t i = t->header_count; i < count; i++)
    headers[i] = (bits_header){0};
  t->header_count = count;
  return true;
}

/* Ours to say. */
static bool is_ours(const char *name) {
  static const char *const ours[] = {
      "range",           "if-range",   "content-length", "transfer-encoding",
      "accept-encoding", "connection", "host",           "content-range",
      "expect",          "te",         "upgrade",        "trailer"};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
    if (strcasecmp(ours[i], name) == 0) return true;
  return false;
}

/* Secret whether anybody says so or not. */
static bool sounds_secret(const char *name) {
  static const char *const parts[] = {"auth",    "cookie", "token",
                                      "secret",  "passwd", "password",
                                      "api-key", "apikey"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (strcasestr(name, parts[i]) != NULL) return true;
  return strncasecmp(name, "x-amz-", 6) == 0;
}

#define TOKEN                                                         \
  "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn" \
  "opqrstuvwxyz"

static error *header_name(const value *map, const char **name) {
  error *e = line_of(map, "a header", "name", name);
  if (e != NULL) return e;
  if (*name == NULL || (*name)[0] == '\0' ||
      (*name)[strspn(*name, TOKEN)] != '\0')
    return bits_fail(SAROS_E_INVALIDARG, "a header's name is a word");
  if (is_ours(*name))
    return bits_fail(SAROS_E_INVALIDARG,
                     "the header %s belongs to the transfer itself", *name);
  return NULL;
}

/* What is not secret is stored as JSON, so it is UTF-8. */
static error *header_value(const bits_draft *d, const value *map,
                           bits_header *h) {
  error *e = secret_of(d, map, h->name, "value", &h->value);
  if (e == NULL && h->value == NULL) h->secret = true; /* and is lost */
  if (e != NULL || h->secret) return e;
  return text_is_utf8(h->value, strlen(h->value))
             ? NULL
             : bits_fail(SAROS_E_INVALIDARG,
                         "the header %s is not UTF-8; that can only be "
                         "secret",
                         h->name);
}

static error *show_header(const value *map, const bits_header *h, value *list) {
  static const char *const open[] = {"name", "value", NULL};
  static const char *const hidden[] = {"name", "reference", NULL};
  value *v = NULL;
  bool good = show(&v, map, h->secret ? hidden : open);
  if (good && h->secret) good = value_put(v, "secret", value_bool(true));
  if (!good) {
    value_free(v);
    v = NULL;
  }
  return value_add(list, v) ? NULL : error_no_memory();
}

static error *read_header(const bits_draft *d, const value *map, bits_header *h,
                          value *list) {
  static const char *const names[] = {"name", "value", "reference", "secret",
                                      NULL};
  const char *name, *reference;
  error *e = check_names(map, "a header", names);
  if (e == NULL) e = header_name(map, &name);
  if (e == NULL) e = reference_of(map, "a header", &reference);
  if (e != NULL) return e;
  h->name = mem_text(name);
  h->reference = mem_text(reference);
  h->secret = value_boolean(value_get(map, "secret"), false) ||
              reference != NULL || sounds_secret(name);
  if (h->name == NULL || (reference != NULL && h->reference == NULL))
    return error_no_memory();
  e = header_value(d, map, h);
  return e != NULL ? e : show_header(map, h, list);
}

static error *read_headers(bits_draft *d, const value *v, uint32_t first,
                           value *list) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < v->count; i++) {
    bits_header *h = &d->terms->headers[first + i];
    error *e = read_header(d, v->as.items[i], h, list);
    if (e != NULL) return e;
    bytes += strlen(h->name) + (h->value != NULL ? strlen(h->value) : 0);
  }
  if (bytes <= HEADER_BYTES_MOST) return NULL;
  return bits_fail(BG_E_STRING_TOO_LONG,
                   "the headers have %zu bytes; they may have %d", bytes,
                   HEADER_BYTES_MOST);
}

error *bits_secret_headers(bits_draft *d, const value *v, value **shown) {
  if (v->type != VALUE_LIST && !is_empty(v))
    return bits_fail(SAROS_E_INVALIDARG,
                     "headers is a list of { name =, value = }");
  uint32_t first = has_credentials(d) ? 1 : 0;
  if (v->count > HEADERS_MOST)
    return bits_fail(BG_E_STRING_TOO_LONG, "a job may have %d headers",
                     HEADERS_MOST);
  *shown = value_list();
  if (*shown == NULL || !resize(d->terms, first) ||
      !resize(d->terms, first + v->count))
    return error_no_memory();
  error *e = read_headers(d, v, first, *shown);
  if (e != NULL) resize(d->terms, first); /* none is half there */
  traces_wipe_few();
  return e;
}

/* ------------------------------------------------------------------
** Who we are
** ---------------------------------------------------------------- */

/* Both parts of "user:password", checked. */
static error *login_of(const bits_draft *d, const value *map, const char *what,
                       const char **user, char **password) {
  error *e = line_of(map, what, "user", user);
  *password = NULL;
  if (e != NULL) return e;
  if (*user == NULL || strchr(*user, ':') != NULL ||
      !text_is_utf8(*user, strlen(*user)))
    return bits_fail(SAROS_E_INVALIDARG,
                     "%s: user is a text without a colon, in UTF-8", what);
  if (strlen(*user) > USER_MOST)
    return bits_fail(BG_E_USERNAME_TOO_LARGE,
                     "%s: a user's name may have %d characters", what,
                     USER_MOST);
  e = secret_of(d, map, what, "password", password);
  if (e == NULL && *password != NULL && strlen(*password) > PASSWORD_MOST)
    e = bits_fail(BG_E_PASSWORD_TOO_LARGE,
                  "%s: a password may have %d characters", what, PASSWORD_MOST);
  return e;
}

/* "user:password", or NULL; wiped by who has it. */
static char *join(const char *user, const char *password) {
  size_t size = strlen(user) + strlen(password) + 2;
  char *text = mem_alloc(size);
  if (text != NULL) snprintf(text, size, "%s:%s", user, password);
  return text;
}

static error *basic_header(const bits_draft *d, const value *map, char **text) {
  const char *user;
  char *password;
  error *e = login_of(d, map, "credentials", &user, &password);
  if (e != NULL || password == NULL) {
    bits_secret_free(password);
    return e;
  }
  char *login = join(user, password);
  bits_secret_free(password);
  if (login == NULL) return error_no_memory();
  buffer b = BUFFER_EMPTY;
  /* All at once, so that nothing is left where it grew out of. */
  buffer_room(&b, strlen(login) / 3 * 4 + 16);
  buffer_text(&b, "Basic ");
  text_base64(&b, login, strlen(login));
  bits_secret_free(login);
  *text = buffer_take(&b);
  return *text != NULL ? NULL : error_no_memory();
}

static error *bearer_header(const bits_draft *d, const value *map,
                            char **text) {
  char *token;
  error *e = secret_of(d, map, "credentials", "token", &token);
  if (e == NULL && token != NULL) {
    size_t size = strlen(token) + sizeof "Bearer ";
    if (size > PASSWORD_MOST) {
      e = bits_fail(BG_E_PASSWORD_TOO_LARGE, "a token may have %d characters",
                    PASSWORD_MOST);
    } else {
      *text = mem_alloc(size);
      if (*text != NULL)
        snprintf(*text, size, "Bearer %s", token);
      else
        e = error_no_memory();
    }
  }
  bits_secret_free(token);
  return e;
}

/* The header goes in front, in place of an earlier one. */
static error *put_first(bits_draft *d, char *text) {
  bits_terms *t = d->terms;
  bool instead = has_credentials(d);
  char *name = mem_text("Authorization");
  if (name == NULL || (!instead && !resize(t, t->header_count + 1))) {
    mem_free(name);
    bits_secret_free(text);
    return error_no_memory();
  }
  if (instead)
    header_clear(&t->headers[0]);
  else
    memmove(t->headers + 1, t->headers,
            (t->header_count - 1) * sizeof *t->headers);
  t->headers[0] = (bits_header){.name = name, .value = text, .secret = true};
  return NULL;
}

static void take_first(bits_draft *d) {
  bits_terms *t = d->terms;
  if (!has_credentials(d)) return;
  header_clear(&t->headers[0]);
  t->header_count--;
  memmove(t->headers, t->headers + 1, t->header_count * sizeof *t->headers);
}

static error *show_secret(const value *map, value **shown,
                          const char *const *names) {
  return show(shown, map, names) &&
                 value_put(*shown, "secret", value_bool(true))
             ? NULL
             : error_no_memory();
}

static error *show_nothing(value **shown) {
  *shown = value_map();
  return *shown != NULL ? NULL : error_no_memory();
}

error *bits_secret_credentials(bits_draft *d, const value *v, value **shown) {
  static const char *const names[] = {"user",      "password", "token",
                                      "reference", "secret",   NULL};
  static const char *const seen[] = {"user", "reference", NULL};
  if (is_empty(v)) {
    take_first(d);
    return show_nothing(shown);
  }
  error *e = check_names(v, "credentials", names);
  if (e != NULL) return e;
  char *text = NULL;
  bool basic = value_get(v, "user") != NULL;
  if (basic && value_get(v, "token") != NULL)
    return bits_fail(SAROS_E_INVALIDARG,
                     "credentials are a user and password, or a token");
  e = basic ? basic_header(d, v, &text) : bearer_header(d, v, &text);
  if (e == NULL) e = put_first(d, text);
  traces_wipe_few();
  return e != NULL ? e : show_secret(v, shown, seen);
}

error *bits_secret_proxy_login(bits_draft *d, const value *v, value **shown) {
  static const char *const names[] = {"user", "password", "reference", "secret",
                                      NULL};
  static const char *const seen[] = {"user", "reference", NULL};
  char *login = NULL;
  if (!is_empty(v)) {
    const char *user;
    char *password = NULL;
    error *e = check_names(v, "proxy_credentials", names);
    if (e == NULL) e = login_of(d, v, "proxy_credentials", &user, &password);
    if (e == NULL && password != NULL) {
      login = join(user, password);
      if (login == NULL) e = error_no_memory();
    }
    bits_secret_free(password);
    if (e != NULL) return e;
  }
  bits_secret_free(d->terms->proxy_login);
  d->terms->proxy_login = login;
  traces_wipe_few();
  return is_empty(v) ? show_nothing(shown) : show_secret(v, shown, seen);
}
