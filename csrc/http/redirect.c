/*
** Where a redirect leads, and whether one goes there. libcurl would follow it
** with the caller's secrets, from https to http, and to other protocols.
*/
#include <string.h>
#include <strings.h>

#include "http/http_parts.h"

const char http_origin_no_memory[] = "there is not enough memory";

/* One part of a URL; NULL when there is none. curl_free it. */
static char *part(CURLU *u, CURLUPart which, unsigned flags) {
  char *text = NULL;
  return curl_url_get(u, which, &text, flags) == CURLUE_OK ? text : NULL;
}

static char *origin_of(CURLU *u, const char **why) {
  char *scheme = part(u, CURLUPART_SCHEME, 0);
  char *host = part(u, CURLUPART_HOST, 0);
  char *port = part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  char *user = part(u, CURLUPART_USER, 0);
  char *password = part(u, CURLUPART_PASSWORD, 0);
  buffer b = BUFFER_EMPTY;
  char *origin = NULL;
  if (scheme == NULL || host == NULL || port == NULL || host[0] == '\0') {
    *why = "it names no host";
  } else if (strcasecmp(scheme, "http") != 0 &&
             strcasecmp(scheme, "https") != 0) {
    *why = "it is neither http nor https";
  } else if (user != NULL || password != NULL) {
    *why = "there are a user and a password in it";
  } else {
    buffer_format(&b, "%s://%s:%s", scheme, host, port);
    for (size_t i = 0; i < b.size; i++)
      if (b.data[i] >= 'A' && b.data[i] <= 'Z')
        b.data[i] = (char)(b.data[i] - 'A' + 'a');
    origin = buffer_take(&b);
    if (origin == NULL) *why = http_origin_no_memory;
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  curl_free(user);
  curl_free(password);
  return origin;
}

/* The last one: of many files most are at one host, and to take a URL apart
   costs as much as all else that is done before it is asked for. What is behind
   the authority changes nothing. */
static _Thread_local struct {
  size_t size; /* of the scheme and the authority; 0: none yet */
  char authority[256], origin[300];
} last;

/* How much of it names the origin; 0: it is to be looked at closely. */
static size_t authority_size(const char *url) {
  size_t scheme = strncmp(url, "http://", 7) == 0    ? 7
                  : strncmp(url, "https://", 8) == 0 ? 8
                                                     : 0;
  if (scheme == 0) return 0;
  size_t size = scheme + strcspn(url + scheme, "/?#\\");
  if (memchr(url, '@', size) != NULL) return 0; /* it is nobody's to keep */
  return size < sizeof last.authority && url[size] == '/' ? size : 0;
}

static void remember(const char *url, size_t size, const char *origin) {
  size_t length = strlen(origin);
  if (size == 0 || length >= sizeof last.origin) return;
  memcpy(last.authority, url, size);
  memcpy(last.origin, origin, length + 1);
  last.size = size;
}

static char *look(const char *url, const char **why) {
  CURLU *u = curl_url();
  char *origin = NULL;
  *why = "it is none";
  if (u == NULL)
    *why = http_origin_no_memory;
  else if (curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK)
    origin = origin_of(u, why);
  curl_url_cleanup(u);
  return origin;
}

char *http_origin_of(const char *url, const char **why) {
  /* What would end a line of a header, or be taken for something else. */
  for (const char *c = url; *c != '\0'; c++)
    if ((unsigned char)*c <= ' ' || (unsigned char)*c == 0x7F) {
      *why = "there are spaces or control characters in it";
      return NULL;
    }
  size_t size = authority_size(url);
  char *origin = NULL;
  *why = http_origin_no_memory;
  if (size > 0 && size == last.size && memcmp(url, last.authority, size) == 0)
    return mem_text(last.origin);
  origin = look(url, why);
  if (origin != NULL) remember(url, size, origin);
  return origin;
}

/* Relative to where we are, and escaped, for many servers forget that.
   curl_free it. */
static char *resolve(const char *base, const char *location) {
  CURLU *u = curl_url();
  char *url = NULL;
  if (u != NULL &&
      curl_url_set(u, CURLUPART_URL, base, CURLU_PATH_AS_IS) == CURLUE_OK &&
      curl_url_set(u, CURLUPART_URL, location,
                   CURLU_URLENCODE | CURLU_ALLOW_SPACE) == CURLUE_OK) {
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    url = part(u, CURLUPART_URL, 0);
  }
  curl_url_cleanup(u);
  return url;
}

bool http_redirect_is_one(const http_request *r) {
  if (r->ask.redirects == 0) return false;
  switch (r->head.status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: return http_head_get(&r->head, "location", 0) != NULL;
    default: return false;
  }
}

static http_way lost(http_request *r, const char *why) {
  http_condemn(r, HTTP_ASTRAY, "it leads elsewhere, and %s", why);
  return HTTP_LOST;
}

/* Whether the body goes along, as 307 and 308 demand; 303 and a POST's 301
   and 302 make it a GET. */
static bool adapt(http_request *r) {
  unsigned status = r->head.status;
  bool post = strcmp(r->method_text, "POST") == 0;
  bool head = strcmp(r->method_text, "HEAD") == 0;
  if ((status == 303 && !head) || (status <= 302 && post)) {
    char *get = mem_text("GET");
    if (get == NULL) return false;
    mem_free(r->method_text);
    r->method_text = get;
    r->has_body = false;
    return true;
  }
  return !r->has_body || (!r->ask.once && http_carry_rewind(r));
}

static http_way go(http_request *r, char *url) {
  const char *why;
  char *origin = http_origin_of(url, &why);
  if (origin == NULL) return lost(r, why);
  bool other = strcmp(origin, r->origin_name) != 0;
  bool downgrade = strncmp(r->origin_name, "https:", 6) == 0 &&
                   strncmp(origin, "https:", 6) != 0;
  char *copy = mem_text(url);
  if (downgrade || copy == NULL || !adapt(r)) {
    mem_free(origin);
    mem_free(copy);
    if (downgrade) return lost(r, "from https to http is not followed");
    return lost(r, "what was sent cannot be sent again");
  }
  mem_free(r->origin_name);
  mem_free(r->url_text);
  r->origin_name = origin;
  r->url_text = copy;
  if (other) r->away = true; /* also if it leads back: who knows why */
  r->answer.redirects++;
  return HTTP_LEADS;
}

http_way http_redirect(http_request *r) {
  if (!http_redirect_is_one(r)) return HTTP_STAYS;
  if (r->answer.redirects >= r->ask.redirects)
    return lost(r, "so did too many before");
  if (http_head_get(&r->head, "location", 1) != NULL)
    return lost(r, "to two places at once");
  char *url = resolve(r->url_text, http_head_get(&r->head, "location", 0));
  if (url == NULL) return lost(r, "where to cannot be understood");
  http_way way = go(r, url);
  curl_free(url);
  return way;
}
