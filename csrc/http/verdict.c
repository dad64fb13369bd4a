/*
** What came of a request: libcurl's word, and ours, which has the last one.
** libcurl 7.88 calls several wrong bodies right.
*/
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http/http_parts.h"

void http_show_url(const char *url, char *text, size_t size) {
  buffer b = BUFFER_EMPTY;
  const char *host = strstr(url, "://");
  if (host != NULL) {
    host += 3;
    text_escape(&b, url, (size_t)(host - url));
    size_t authority = strcspn(host, "/?#");
    for (size_t i = authority; i > 0; i--)
      if (host[i - 1] == '@') { /* what is before it is nobody's business */
        host += i;
        break;
      }
    url = host;
  }
  text_escape(&b, url, strcspn(url, "?#"));
  snprintf(text, size, "%s", b.data != NULL && !b.failed ? b.data : "");
  buffer_free(&b);
}

void http_condemn(http_request *r, http_end end, const char *format, ...) {
  if (r->ending) return;
  r->ending = true;
  r->verdict = end;
  va_list args;
  va_start(args, format);
  vsnprintf(r->why, sizeof r->why, format, args);
  va_end(args);
}

/* What libcurl's errors are to us. */
static http_end end_of(CURLcode rc) {
  switch (rc) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: /* only connecting has a limit */
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PROXY: return HTTP_UNREACHED;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_FAIL_REWIND: /* the connection was lost before */
    case CURLE_AGAIN: return HTTP_CUT;
    case CURLE_UNSUPPORTED_PROTOCOL: /* "HTTP/0.9 not allowed" */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_TOO_MANY_REDIRECTS: return HTTP_WRONG;
    case CURLE_FILESIZE_EXCEEDED: return HTTP_TOO_LARGE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_USE_SSL_FAILED: return HTTP_UNTRUSTED;
    case CURLE_URL_MALFORMAT:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION: return HTTP_MISUSED;
    /* A line of a header that is larger than libcurl's own bound is reported
       like this, before we see it. */
    case CURLE_OUT_OF_MEMORY: return HTTP_WRONG;
    default: return HTTP_FAILED;
  }
}

/* A body that libcurl takes for whole, and that need not be. */
static void judge_body(http_request *r) {
  const http_answer *a = &r->answer;
  if (!r->head.whole || r->head.status < 200) {
    http_condemn(r, HTTP_CUT, "the connection was lost in the header");
  } else if (r->dropping || r->frame.bodiless) {
    return;
  } else if (r->frame.length != HTTP_UNKNOWN && a->got != r->frame.length) {
    http_condemn(r, r->frame.chunked ? HTTP_WRONG : HTTP_CUT,
                 "%llu bytes came and %llu were announced",
                 (unsigned long long)a->got,
                 (unsigned long long)r->frame.length);
  } else if (r->has_body && r->head.status < 300 && a->sent < r->body_size) {
    http_condemn(r, HTTP_WRONG,
                 "the server took it for done after %llu of %llu bytes",
                 (unsigned long long)a->sent, (unsigned long long)r->body_size);
  }
}

static void libcurl_says(http_request *r, CURLcode rc) {
  const char *text =
      r->curl_text[0] != '\0' ? r->curl_text : curl_easy_strerror(rc);
  buffer b = BUFFER_EMPTY;
  text_escape(&b, text, strcspn(text, "\r\n"));
  http_condemn(r, end_of(rc), "%.250s",
               b.data != NULL && !b.failed ? b.data : "it failed");
  buffer_free(&b);
}

/* Of a proxy that was asked to lead to a host, and does not, libcurl says that
   the connection was lost. */
static void proxy_says(http_request *r) {
  long status = 0;
  if (r->easy == NULL || r->head.begun) return;
  curl_easy_getinfo(r->easy, CURLINFO_HTTP_CONNECTCODE, &status);
  if (status < 300 || status > 999) return;
  r->answer.proxy = (unsigned)status;
  http_condemn(r, HTTP_UNREACHED, "the proxy answers %u", r->answer.proxy);
}

void http_verdict(http_request *r, CURLcode rc) {
  http_answer *a = &r->answer;
  a->curl = (int)rc;
  a->status = r->head.whole ? r->head.status : 0;
  a->fields = &r->head;
  a->by_proxy = r->proxy_text != NULL && r->proxy_text[0] != '\0';
  if (r->easy != NULL) {
    long number = 0, connects = 1;
    curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &number);
    curl_easy_getinfo(r->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (rc != CURLE_OK) a->number = (int)number;
    a->reused = connects == 0;
  }
  if (r->behind)
    http_condemn(r, HTTP_CUT, "connections were lost one after the other");
  if (!r->ending && rc != CURLE_OK) proxy_says(r);
  if (!r->ending && rc != CURLE_OK) libcurl_says(r, rc);
  if (!r->ending) judge_body(r);
  a->end = r->ending ? r->verdict : HTTP_WHOLE;
  /* To the end of the connection proves nothing: it may have been cut. */
  a->proven = a->end == HTTP_WHOLE && (r->frame.bodiless || r->frame.chunked ||
                                       r->frame.length != HTTP_UNKNOWN);
  http_show_url(r->url_text, r->shown, sizeof r->shown);
  a->url = r->shown;
  a->why = r->why;
}

/* Servers close idle connections when they like, also just now: libcurl 7.88
   takes such a one for alive. Nothing of an answer has come but perhaps an
   interim one, and it may be sent twice. */
bool http_verdict_again(const http_request *r, CURLcode rc) {
  long connects = 1;
  if (r->ending || r->fresh || r->ask.once) return false;
  if (r->head.begun && r->head.status >= 200) return false;
  if (r->behind) return true;
  if (rc != CURLE_GOT_NOTHING && rc != CURLE_SEND_ERROR &&
      rc != CURLE_RECV_ERROR && rc != CURLE_HTTP2)
    return false;
  curl_easy_getinfo(r->easy, CURLINFO_NUM_CONNECTS, &connects);
  return connects == 0;
}
