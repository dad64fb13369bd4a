/*
** restic's REST protocol as a store: where it is, and who asks.
**
**     rest:https://[user[:password]@]host[:port]/path/
**
** Options, besides those of every store over HTTP (remote.h): rest_username,
** rest_password; else those of the location, else RESTIC_REST_USERNAME and
** RESTIC_REST_PASSWORD.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "repository/store/rest_parts.h"

static void close_rest(repo_store *store) {
  rest *s = (rest *)store;
  repo_remote_end(&s->net);
  repo_secret_free(s->secret, sizeof *s->secret);
  mem_free(s->location);
  mem_free(s->base);
  mem_free(s);
}

static const repo_store_way way = {.name = "rest",
                                   .create = repo_restful_create,
                                   .list = repo_restful_list,
                                   .read = repo_restful_read,
                                   .load = repo_restful_load,
                                   .save = repo_restful_save,
                                   .size = repo_restful_size,
                                   .remove = repo_restful_remove,
                                   .may_remove = repo_restful_may_remove,
                                   .close = close_rest};

/* Nothing of the location is in it: there may be a password. */
static error *wrong(const char *why) {
  return repo_error(SAROS_E_INVALIDARG,
                    "the location of the repository is none: %s; it is written "
                    "rest:https://host:8000/path/",
                    why);
}

/* ------------------------------------------------------------------
** Who
** ---------------------------------------------------------------- */

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/* As a URL has it, with %40 for what is meant. */
static bool unescape(char *to, size_t room, const char *text, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; i++) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= size || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
        return false;
      c = (char)(hex(text[i + 1]) << 4 | hex(text[i + 2]));
      i += 2;
    }
    if (n + 1 >= room || c == '\0') return false;
    to[n++] = c;
  }
  to[n] = '\0';
  return true;
}

static error *read_user(rest *s, const char *text, size_t size) {
  const char *colon = memchr(text, ':', size);
  size_t user = colon != NULL ? (size_t)(colon - text) : size;
  rest_secret *k = s->secret;
  if (!unescape(k->user, sizeof k->user, text, user) ||
      (colon != NULL &&
       !unescape(k->password, sizeof k->password, colon + 1, size - user - 1)))
    return wrong("its user and password cannot be read (% is written %25)");
  return NULL;
}

static error *set(char *to, size_t room, const char *text, const char *name) {
  if (text == NULL) return NULL;
  if (strlen(text) < room) {
    memcpy(to, text, strlen(text) + 1);
    return NULL;
  }
  return repo_error(SAROS_E_INVALIDARG, "the %s of the REST server is too long",
                    name);
}

static error *authorize(rest_secret *k) {
  char both[sizeof k->user + sizeof k->password];
  buffer b = BUFFER_EMPTY;
  if (strchr(k->user, ':') != NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "the user of the REST server is none: there is a colon "
                      "in the name");
  if (k->user[0] == '\0' && k->password[0] == '\0') return NULL;
  int size = snprintf(both, sizeof both, "%s:%s", k->user, k->password);
  /* At once as large as it gets: growing would leave copies behind. */
  bool good = buffer_room(&b, sizeof k->authorization) != NULL;
  if (good) text_base64(&b, both, (size_t)size);
  good = good && !b.failed;
  if (good)
    snprintf(k->authorization, sizeof k->authorization, "Basic %s", b.data);
  if (b.data != NULL) repo_wipe(b.data, b.size);
  buffer_free(&b);
  repo_wipe(both, sizeof both);
  return good ? NULL : error_no_memory();
}

static error *read_secrets(rest *s, const value *options) {
  rest_secret *k = s->secret;
  const char *user = repo_remote_text(options, "rest_username", NULL);
  const char *password = repo_remote_text(options, "rest_password", NULL);
  /* A name and its password belong together: the environment's are taken when
     nobody says either. */
  if (user == NULL && password == NULL && k->user[0] == '\0' &&
      k->password[0] == '\0') {
    user = repo_remote_text(NULL, "", "RESTIC_REST_USERNAME");
    password = repo_remote_text(NULL, "", "RESTIC_REST_PASSWORD");
  }
  error *e = set(k->user, sizeof k->user, user, "user");
  if (e == NULL) e = set(k->password, sizeof k->password, password, "password");
  return e != NULL ? e : authorize(k);
}

/* ------------------------------------------------------------------
** Where
** ---------------------------------------------------------------- */

/* What a URL may have in its path, and what is escaped in it already. */
static void put_path(buffer *b, const char *text) {
  static const char digits[] = "0123456789ABCDEF";
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                 (c >= 'a' && c <= 'z') ||
                 strchr("-._~!$&'()*+,;=:@/", c) != NULL ||
                 (c == '%' && hex(text[1]) >= 0 && hex(text[2]) >= 0);
    if (plain) {
      buffer_byte(b, (char)c);
    } else {
      buffer_byte(b, '%');
      buffer_byte(b, digits[c >> 4]);
      buffer_byte(b, digits[c & 15]);
    }
  }
}

static error *put_texts(rest *s, const char *scheme, const char *host,
                        size_t host_size, const char *path) {
  buffer base = BUFFER_EMPTY, shown = BUFFER_EMPTY;
  buffer_format(&base, "%s://%.*s", scheme, (int)host_size, host);
  if (path[0] != '\0') buffer_byte(&base, '/');
  put_path(&base, path);
  buffer_format(&shown, "rest:%s/", base.data != NULL ? base.data : "");
  s->base = buffer_take(&base);
  s->location = buffer_take(&shown);
  if (s->base == NULL || s->location == NULL) return error_no_memory();
  return strlen(s->base) <= 2000 ? NULL : wrong("it is too long");
}

static error *read_location(rest *s, const char *text) {
  const char *scheme, *why;
  if (strncmp(text, "rest:", 5) == 0) text += 5;
  if (strncasecmp(text, "http://", 7) == 0)
    scheme = "http";
  else if (strncasecmp(text, "https://", 8) == 0)
    scheme = "https";
  else
    return wrong("it is neither http nor https");
  text += strlen(scheme) + 3;
  for (const char *c = text; *c != '\0'; c++)
    if ((unsigned char)*c < ' ' || *c == 0x7F)
      return wrong("there are control characters in it");
  size_t host = strcspn(text, "/?#");
  for (size_t i = host; i > 0; i--)
    if (text[i - 1] == '@') {
      error *e = read_user(s, text, i - 1);
      if (e != NULL) return e;
      text += i;
      host -= i;
      break;
    }
  if (!repo_remote_is_host(text, host)) return wrong("it names no host");
  if (strpbrk(text + host, "?#") != NULL)
    return wrong("there is a ? or a # in it (write %3F, %23)");
  char *path = repo_remote_clean_path(text + host, &why);
  if (path == NULL) return why != NULL ? wrong(why) : error_no_memory();
  error *e = put_texts(s, scheme, text, host, path);
  mem_free(path);
  return e;
}

repo_store *repo_store_rest(const char *location, const value *options,
                            error **e) {
  rest *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  repo_remote_begin(&s->net);
  s->secret = repo_secret_new(sizeof *s->secret);
  *e = s->secret != NULL ? read_location(s, location) : error_no_memory();
  if (*e == NULL) *e = repo_remote_options(&s->net, options, "a REST store");
  if (*e == NULL) *e = read_secrets(s, options);
  if (*e != NULL) {
    close_rest(&s->store);
    return NULL;
  }
  s->store.way = &way;
  s->store.location = s->location;
  s->store.connections = s->net.connections;
  s->net.kept = http_keep();
  return &s->store;
}
