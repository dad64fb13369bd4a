/*
** URLs and local names, from outside: what they may be, and what of them may be
** shown.
*/
#include "bits/address.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "bits/parts.h"

/* ------------------------------------------------------------------
** A URL's parts
** ---------------------------------------------------------------- */

typedef struct address {
  bool https;
  const char *host; /* with its brackets, if it has any */
  size_t host_size;
  unsigned port;
  const char *rest; /* the path and what follows, or "" */
} address;

static bool is_alpha(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}

static int hex_of(unsigned char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* RFC 3986, without "%": what may stand somewhere in a URL as it is. */
static bool is_legal(unsigned char c) {
  return c != '\0' && (is_alpha(c) || is_digit(c) ||
                       strchr("-._~:/?#@!$&'()*+,;=", c) != NULL);
}

/* A literal that says what is wrong, or NULL. */
static const char *read_characters(const char *text) {
  for (; *text != '\0'; text++) {
    if (*text == '%') {
      if (hex_of((unsigned char)text[1]) < 0 ||
          hex_of((unsigned char)text[2]) < 0)
        return "a % is not followed by two hex digits";
      text += 2;
    } else if (!is_legal((unsigned char)*text)) {
      return "a character is in it that must be escaped, as %20 is for a space";
    }
  }
  return NULL;
}

static const char *read_host(address *a, const char **at, const char *end) {
  const char *p = *at;
  a->host = p;
  if (p < end && *p == '[') {
    for (p++; p < end && *p != ']'; p++)
      if (hex_of((unsigned char)*p) < 0 && *p != ':' && *p != '.')
        return "its host is no address";
    if (p == end || p - a->host < 3) return "its host is no address";
    p++;
  } else {
    for (; p < end && *p != ':'; p++) {
      unsigned char c = (unsigned char)*p;
      if (!is_alpha(c) && !is_digit(c) && strchr("-._~", c) == NULL)
        return "there is a character in its host that none has";
    }
  }
  if (p == a->host) return "it names no host";
  a->host_size = (size_t)(p - a->host);
  *at = p;
  return NULL;
}

static const char *read_port(address *a, const char *p, const char *end) {
  a->port = a->https ? 443 : 80;
  if (p == end) return NULL;
  if (*p++ != ':') return "its host is no address";
  if (p == end) return NULL; /* "host:" is the usual one */
  unsigned port = 0;
  for (; p < end; p++) {
    if (!is_digit((unsigned char)*p) || port > 65535)
      return "its port is no number up to 65535";
    port = port * 10 + (unsigned)(*p - '0');
  }
  if (port == 0 || port > 65535) return "its port is no number up to 65535";
  a->port = port;
  return NULL;
}

static const char *read_address(address *a, const char *url) {
  a->https = strncasecmp(url, "https://", 8) == 0;
  if (!a->https && strncasecmp(url, "http://", 7) != 0)
    return "it begins with neither http:// nor https://";
  const char *at = url + (a->https ? 8 : 7);
  const char *end = at + strcspn(at, "/?#");
  if (memchr(at, '@', (size_t)(end - at)) != NULL)
    return "a user or a password is in it; give them to the job instead";
  const char *why = read_host(a, &at, end);
  if (why == NULL) why = read_port(a, at, end);
  if (why == NULL) why = read_characters(end);
  a->rest = end;
  return why;
}

error *bits_address_check(const char *url) {
  address a;
  const char *why;
  if (url == NULL || url[0] == '\0')
    return bits_fail(SAROS_E_INVALIDARG, "there is no URL");
  if (strnlen(url, BITS_URL_MOST + 1) > BITS_URL_MOST)
    return bits_fail(BG_E_STRING_TOO_LONG,
                     "the URL is longer than %d characters", BITS_URL_MOST);
  if ((why = read_address(&a, url)) == NULL) return NULL;
  buffer shown = BUFFER_EMPTY;
  bits_address_show(&shown, url);
  error *e = shown.failed
                 ? error_no_memory()
                 : bits_fail(SAROS_E_INVALIDARG, "%s cannot be transferred: %s",
                             shown.size > 0 ? shown.data : "it", why);
  buffer_free(&shown);
  return e;
}

char *bits_address_origin(const char *url) {
  address a;
  buffer b = BUFFER_EMPTY;
  if (url == NULL || read_address(&a, url) != NULL) return NULL;
  buffer_text(&b, a.https ? "https://" : "http://");
  for (size_t i = 0; i < a.host_size; i++) {
    char c = a.host[i];
    buffer_byte(&b, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
  }
  buffer_format(&b, ":%u", a.port);
  return buffer_take(&b);
}

char *bits_address_replace(const char *url, const char *from, const char *to,
                           bool *no_memory) {
  size_t size = strlen(from);
  *no_memory = false;
  if (size == 0 || strncmp(url, from, size) != 0) return NULL;
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, to);
  buffer_text(&b, url + size);
  char *made = buffer_take(&b);
  *no_memory = made == NULL;
  return made;
}

/* ------------------------------------------------------------------
** What is shown
** ---------------------------------------------------------------- */

#define NAME_MOST 64  /* who has a longer one has a secret */
#define VALUE_MOST 32 /* as long, and of letters and digits: a key, too */

/* Parts of names whose values are nobody's business. */
static const char *const secrets[] = {
    "sig",  "token", "secret", "pass",   "pwd",     "key",    "auth",
    "cred", "sess",  "jwt",    "hmac",   "policy",  "hdn",    "md5",
    "hash", "otp",   "ticket", "assert", "saml",    "cookie", "nonce",
    "code", "sas",   "bearer", "login",  "private", "x-amz-", "x-goog-",
};

/* A name as it is meant: without its escapes, in small letters. */
static bool read_name(char name[NAME_MOST + 1], const char *text, size_t size) {
  size_t n = 0;
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c == '%' && i + 2 < size && hex_of((unsigned char)text[i + 1]) >= 0 &&
        hex_of((unsigned char)text[i + 2]) >= 0) {
      c = (unsigned char)(hex_of((unsigned char)text[i + 1]) * 16 +
                          hex_of((unsigned char)text[i + 2]));
      i += 2;
    }
    if (n == NAME_MOST) return false;
    if (c >= 'A' && c <= 'Z') c = (unsigned char)(c - 'A' + 'a');
    name[n++] = c == '\0' ? ' ' : (char)c;
  }
  name[n] = '\0';
  return true;
}

static bool looks_random(const char *text, size_t size) {
  if (size < VALUE_MOST) return false;
  size_t plain = 0;
  for (size_t i = 0; i < size; i++)
    if (is_alpha((unsigned char)text[i]) || is_digit((unsigned char)text[i]) ||
        strchr("+/=_-%~", text[i]) != NULL)
      plain++;
  return plain + 2 >= size; /* two dots: a JWT */
}

static bool is_secret(const char *name, size_t size, const char *text,
                      size_t length) {
  char plain[NAME_MOST + 1];
  if (!read_name(plain, name, size)) return true;
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
    if (strstr(plain, secrets[i]) != NULL) return true;
  return looks_random(text, length);
}

/* One "name=value", or what stands there instead. */
static void show_pair(buffer *b, const char *text, size_t size) {
  const char *equals = memchr(text, '=', size);
  size_t name = equals != NULL ? (size_t)(equals - text) : size;
  if (equals == NULL) {
    if (name >= VALUE_MOST / 2) /* a whole query may be a ticket */
      buffer_text(b, "…");
    else
      text_escape(b, text, size);
    return;
  }
  const char *worth = equals + 1;
  size_t length = size - name - 1;
  if (name > NAME_MOST)
    buffer_text(b, "…");
  else
    text_escape(b, text, name);
  buffer_byte(b, '=');
  if (length > 0 && is_secret(text, name, worth, length))
    buffer_text(b, "…");
  else
    text_escape(b, worth, length);
}

void bits_address_show(buffer *b, const char *url) {
  /* However broken it is: nothing before an @ is shown. */
  size_t scheme = 0;
  while (is_alpha((unsigned char)url[scheme])) scheme++;
  scheme = url[scheme] == ':' ? scheme + 1 : 0;
  scheme += strspn(url + scheme, "/");
  const char *at = url + scheme;
  size_t authority = strcspn(at, "/?#");
  text_escape(b, url, scheme);
  for (size_t i = authority; i > 0; i--)
    if (at[i - 1] == '@') { /* what is before it is nobody's business */
      at += i;
      break;
    }
  size_t size = strcspn(at, "?#");
  text_escape(b, at, size);
  at += size;
  if (*at != '?') return; /* a fragment is never sent, and may be a secret */
  buffer_byte(b, '?');
  at++;
  for (;;) {
    size = strcspn(at, "&;#");
    show_pair(b, at, size);
    at += size;
    if (*at == '\0' || *at == '#') return;
    buffer_byte(b, *at++);
  }
}

/* ------------------------------------------------------------------
** Local names
** ---------------------------------------------------------------- */

static const char *read_path(const char *path) {
  if (path[0] != '/')
    return "it does not begin at the root; give an absolute one";
  if (strnlen(path, PATH_MAX) >= PATH_MAX) return "it is too long";
  const char *last = strrchr(path, '/') + 1;
  if (last[0] == '\0') return "it ends with a slash; a file is needed";
  if (strcmp(last, ".") == 0) return "that is a directory; a file is needed";
  if (strlen(last) > NAME_MAX) return "its last part is too long";
  for (const char *part = path; part != NULL; part = strchr(part, '/')) {
    part++;
    size_t size = strcspn(part, "/");
    if (size == 2 && part[0] == '.' && part[1] == '.')
      return "there is a \"..\" in it; write where that leads";
    if (size > NAME_MAX) return "a part of it is too long";
  }
  return NULL;
}

static error *no_local_name(const char *path, const char *why) {
  buffer shown = BUFFER_EMPTY;
  text_escape(&shown, path, strnlen(path, PATH_MAX));
  bool is_long = strstr(why, "too long") != NULL;
  error *e =
      shown.failed
          ? error_no_memory()
          : bits_fail(is_long ? BG_E_STRING_TOO_LONG : SAROS_E_INVALIDARG,
                      "%s cannot be a local name: %s", shown.data, why);
  buffer_free(&shown);
  return e;
}

error *bits_address_check_path(const char *path) {
  if (path == NULL || path[0] == '\0')
    return bits_fail(SAROS_E_INVALIDARG, "there is no local name");
  const char *why = read_path(path);
  return why != NULL ? no_local_name(path, why) : NULL;
}

error *bits_address_check_apart(const char *path, const char *queue) {
  static const char *const own[] = {"",       "-wal", "-shm",   "-journal",
                                    ".owner", ".new", ".mended"};
  size_t size = strlen(queue);
  if (strncmp(path, queue, size) != 0) return NULL;
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    if (strcmp(path + size, own[i]) == 0)
      return no_local_name(path, "the queue itself is there; give another one");
  return NULL;
}
