/*
** One request as libcurl has it: the options of its handle, and what libcurl
** calls while it goes. All of it on the I/O thread.
*/
#include <string.h>
#include <strings.h>

#include "http/http_parts.h"

/* ------------------------------------------------------------------
** What comes
** ---------------------------------------------------------------- */

/* What a callback of the caller's says. False: it is over. */
static bool goes_on(http_request *r, http_flow flow) {
  if (flow == HTTP_STOP) http_condemn(r, HTTP_STOPPED, "it was stopped");
  return flow != HTTP_STOP;
}

static bool judge(http_request *r) {
  http_answer *a = &r->answer;
  const char *why =
      http_head_judge(&r->head, r->method_text, &r->ask, &r->frame);
  if (why != NULL) {
    http_condemn(r, HTTP_WRONG, "%s (its status is %u)", why, r->head.status);
    return false;
  }
  r->judged = true;
  a->status = r->head.status;
  a->length = r->frame.length;
  a->from = r->frame.from;
  a->last = r->frame.last;
  a->total = r->frame.total;
  r->dropping = http_redirect_is_one(r);
  if (r->dropping) return true;
  if (r->ask.most > 0 && !r->frame.bodiless && a->length != HTTP_UNKNOWN &&
      a->length > r->ask.most) {
    http_condemn(r, HTTP_TOO_LARGE,
                 "%llu bytes are announced and at most %llu are allowed",
                 (unsigned long long)a->length,
                 (unsigned long long)r->ask.most);
    return false;
  }
  if (r->ask.calls->head == NULL) return true;
  return goes_on(r, r->ask.calls->head(r->ask.context, a));
}

static size_t on_header(char *line, size_t one, size_t size, void *context) {
  http_request *r = context;
  size *= one;
  if (r->ending) return 0;
  r->moved += size;
  const char *why = http_head_line(&r->head, line, size);
  if (why != NULL) {
    http_condemn(r,
                 why == http_no_memory        ? HTTP_FAILED
                 : why == http_head_too_large ? HTTP_TOO_LARGE
                                              : HTTP_WRONG,
                 "the answer cannot be read: %s", why);
    return 0;
  }
  if (r->head.whole && r->head.status >= 200 && !r->judged && !judge(r))
    return 0;
  return size;
}

#define DROPPED_MOST ((uint64_t)64 << 10) /* of a redirect's body */

static size_t on_body(char *data, size_t one, size_t size, void *context) {
  http_request *r = context;
  http_answer *a = &r->answer;
  size *= one;
  if (r->ending) return CURL_WRITEFUNC_ERROR;
  if (r->dropping) {
    a->got += size;
    r->moved += size;
    return a->got > DROPPED_MOST ? CURL_WRITEFUNC_ERROR : size;
  }
  if (!r->judged) {
    http_condemn(r, HTTP_WRONG, "a body came before its header");
    return CURL_WRITEFUNC_ERROR;
  }
  if (r->ask.most > 0 && size > r->ask.most - a->got) {
    http_condemn(r, HTTP_TOO_LARGE, "more than %llu bytes came",
                 (unsigned long long)r->ask.most);
    return CURL_WRITEFUNC_ERROR;
  }
  if (r->frame.length != HTTP_UNKNOWN && size > r->frame.length - a->got) {
    http_condemn(r, HTTP_WRONG, "more than the announced %llu bytes came",
                 (unsigned long long)r->frame.length);
    return CURL_WRITEFUNC_ERROR;
  }
  if (r->ask.calls->body != NULL) {
    http_flow flow = r->ask.calls->body(r->ask.context, data, size);
    if (flow == HTTP_PAUSE) {
      r->paused = true;
      return CURL_WRITEFUNC_PAUSE;
    }
    if (!goes_on(r, flow)) return CURL_WRITEFUNC_ERROR;
  }
  a->got += size;
  r->moved += size;
  return size;
}

/* ------------------------------------------------------------------
** What goes
** ---------------------------------------------------------------- */

static size_t give_pieces(http_request *r, char *room, size_t most) {
  size_t used = 0;
  while (used < most && r->piece < r->ask.piece_count) {
    const http_piece *p = &r->ask.pieces[r->piece];
    size_t n = p->size - r->piece_at;
    if (n > most - used) n = most - used;
    if (n > 0) memcpy(room + used, (const char *)p->data + r->piece_at, n);
    used += n;
    r->piece_at += n;
    if (r->piece_at < p->size) break;
    r->piece++;
    r->piece_at = 0;
  }
  return used;
}

static size_t on_give(char *room, size_t one, size_t size, void *context) {
  http_request *r = context;
  size_t most = one * size, used = 0;
  uint64_t left = r->body_size - r->answer.sent;
  if (r->ending) return CURL_READFUNC_ABORT;
  if (most > left) most = (size_t)left;
  if (most == 0) {
    /* It asks for more than there is: libcurl has begun again over another
       connection and not said so (7.88: two that die one after the other, the
       second before anything of the body was sent). The server would wait for
       what is missing, and we for the server. */
    r->behind = r->body_size > 0;
    return r->behind ? CURL_READFUNC_ABORT : 0;
  }
  if (r->ask.gives) {
    http_flow flow = r->ask.calls->give(r->ask.context, room, most, &used);
    if (flow == HTTP_PAUSE) {
      r->paused = true;
      return CURL_READFUNC_PAUSE;
    }
    if (!goes_on(r, flow)) return CURL_READFUNC_ABORT;
    if (used == 0 || used > most) {
      http_condemn(r, HTTP_FAILED, "what was to be sent is shorter than said");
      return CURL_READFUNC_ABORT;
    }
  } else {
    used = give_pieces(r, room, most);
  }
  r->answer.sent += used;
  r->moved += used;
  return used;
}

bool http_carry_rewind(http_request *r) {
  if (r->ask.gives && r->answer.sent > 0 &&
      (r->ask.calls->rewind == NULL || !r->ask.calls->rewind(r->ask.context)))
    return false;
  r->answer.sent = 0;
  r->piece = r->piece_at = 0;
  r->paused = false; /* nothing holds it: who gives is asked anew */
  return true;
}

/* libcurl wants it again: a connection turned out to be dead. */
static int on_seek(void *context, curl_off_t offset, int origin) {
  http_request *r = context;
  if (offset != 0 || origin != SEEK_SET || r->ask.once)
    return CURL_SEEKFUNC_FAIL;
  return http_carry_rewind(r) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* ------------------------------------------------------------------
** The handle
** ---------------------------------------------------------------- */

/* Also what nobody has marked. */
static bool is_secret(const http_field *f) {
  return f->secret || strcasecmp(f->name, "authorization") == 0 ||
         strcasecmp(f->name, "proxy-authorization") == 0 ||
         strcasecmp(f->name, "cookie") == 0 ||
         strncasecmp(f->name, "x-amz-", 6) == 0;
}

static bool add_raw(http_request *r, const char *line) {
  struct curl_slist *lines = curl_slist_append(r->lines, line);
  if (lines == NULL) return false;
  r->lines = lines;
  return true;
}

static bool add_line(http_request *r, const char *name, const char *text) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, name);
  /* libcurl sends a field without a value only like this. */
  buffer_text(&b, text[0] == '\0' ? ";" : ": ");
  buffer_text(&b, text);
  bool added = !b.failed && add_raw(r, b.data);
  if (b.data != NULL) http_wipe(b.data, b.size);
  buffer_free(&b);
  return added;
}

#define EXPECT_LEAST ((uint64_t)1 << 20)

static bool make_lines(http_request *r) {
  bool encoding = false;
  for (size_t i = 0; i < r->ask.field_count; i++) {
    const http_field *f = &r->fields[i];
    if (r->away && is_secret(f)) continue;
    /* A host is named for where it was meant to go. */
    if (r->away && strcasecmp(f->name, "host") == 0) continue;
    if (!r->has_body && strncasecmp(f->name, "content-", 8) == 0 &&
        r->answer.redirects > 0)
      continue;
    if (strcasecmp(f->name, "accept-encoding") == 0) encoding = true;
    if (!add_line(r, f->name, f->value)) return false;
  }
  if (!encoding && !add_line(r, "Accept-Encoding", "identity")) return false;
  /* To be told that a small body may come takes longer than to send it. */
  if (r->has_body && (r->body_size < EXPECT_LEAST || r->ask.plainly) &&
      !add_raw(r, "Expect:"))
    return false;
  if (r->ask.ranged) {
    buffer b = BUFFER_EMPTY;
    buffer_format(&b, "bytes=%llu-", (unsigned long long)r->ask.from);
    if (r->ask.last != HTTP_UNKNOWN)
      buffer_format(&b, "%llu", (unsigned long long)r->ask.last);
    bool added = !b.failed && add_line(r, "Range", b.data);
    buffer_free(&b);
    if (!added) return false;
  }
  return true;
}

static _Thread_local bool failed; /* an option was refused */
#define SET(option, value)                                             \
  do {                                                                 \
    if (curl_easy_setopt(e, option, value) != CURLE_OK) failed = true; \
  } while (0)

static void set_method(http_request *r) {
  CURL *e = r->easy;
  const char *m = r->method_text;
  if (r->has_body) {
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_size);
    SET(CURLOPT_READFUNCTION, on_give);
    SET(CURLOPT_READDATA, r);
    SET(CURLOPT_SEEKFUNCTION, on_seek);
    SET(CURLOPT_SEEKDATA, r);
    long room = r->ask.up > 0            ? 16L << 10
                : r->body_size > 1 << 20 ? 512L << 10
                                         : 64L << 10;
    SET(CURLOPT_UPLOAD_BUFFERSIZE, room);
    r->burst = 2 * (uint64_t)room;
    if (strcmp(m, "PUT") != 0) SET(CURLOPT_CUSTOMREQUEST, m);
  } else if (strcmp(m, "HEAD") == 0) {
    SET(CURLOPT_NOBODY, 1L);
  } else if (strcmp(m, "GET") != 0) {
    SET(CURLOPT_CUSTOMREQUEST, m);
  }
}

static void set_calls(http_request *r) {
  CURL *e = r->easy;
  SET(CURLOPT_PRIVATE, r);
  SET(CURLOPT_ERRORBUFFER, r->curl_text);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, r);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, r);
  SET(CURLOPT_OPENSOCKETFUNCTION, http_socket_open);
  SET(CURLOPT_OPENSOCKETDATA, r->loop);
  SET(CURLOPT_CLOSESOCKETFUNCTION, http_socket_close);
  SET(CURLOPT_CLOSESOCKETDATA, r->loop);
  SET(CURLOPT_HTTPHEADER, r->lines);
}

#define ROOM_LEAST ((size_t)1 << 10) /* libcurl's own bounds */
#define ROOM_MOST ((size_t)512 << 10)

/* libcurl obeys a limit in bursts: so many times its buffer. */
#define BURST 101

static long buffer_for(uint64_t down, size_t room) {
  if (down == 0 && room == 0) return 128L << 10;
  if (down == 0)
    return (long)(room < ROOM_LEAST ? ROOM_LEAST
                                    : (room > ROOM_MOST ? ROOM_MOST : room));
  uint64_t size = down / 400;
  return size < 1024 ? 1024L : size > 65536 ? 65536L : (long)size;
}

void http_carry_limit(http_request *r) {
  CURL *e = r->easy;
  if (e == NULL) return;
  SET(CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)r->ask.down);
  SET(CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)r->ask.up);
}

void http_carry_loosen(http_request *r) {
  CURL *e = r->easy;
  if (e == NULL) return;
  SET(CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)INT64_MAX);
  SET(CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)INT64_MAX);
}

static void set_manners(http_request *r) {
  CURL *e = r->easy;
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_PATH_AS_IS, 1L);
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
#if LIBCURL_VERSION_NUM >= 0x075500
  SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
  SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  SET(CURLOPT_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->ask.connect_ms);
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  long room = buffer_for(r->ask.down, r->ask.room);
  SET(CURLOPT_BUFFERSIZE, room);
  if (!r->has_body) r->burst = (uint64_t)room * BURST;
#if LIBCURL_VERSION_NUM >= 0x075700
  /* Else to cancel would wait until a name is looked up. */
  curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
#endif
  if (r->cacert_text != NULL) {
    SET(CURLOPT_CAINFO, r->cacert_text);
    /* Else the system's folder of them counts, too. */
    SET(CURLOPT_CAPATH, NULL);
  }
  if (r->proxy_text != NULL) SET(CURLOPT_PROXY, r->proxy_text);
  if (r->login_text != NULL) SET(CURLOPT_PROXYUSERPWD, r->login_text);
  /* A connection that was used before may be dead, and then libcurl, too,
     sends it again. */
  if (r->fresh || r->ask.once) SET(CURLOPT_FRESH_CONNECT, 1L);
}

bool http_carry_begin(http_request *r, CURLSH *share) {
  CURL *e = r->easy;
  failed = false;
  r->curl_text[0] = '\0';
  r->judged = r->dropping = r->paused = r->behind = false;
  r->answer.got = 0;
  r->answer.length = HTTP_UNKNOWN;
  http_head_clear(&r->head);
  if (!make_lines(r)) {
    http_condemn(r, HTTP_FAILED, "there is not enough memory");
    return false;
  }
  SET(CURLOPT_URL, r->url_text);
  SET(CURLOPT_SHARE, share);
  set_method(r);
  set_calls(r);
  set_manners(r);
  http_carry_limit(r);
  if (failed) http_condemn(r, HTTP_FAILED, "libcurl refuses an option");
  return !failed;
}

void http_carry_end(http_request *r) {
  curl_easy_reset(r->easy);
  for (struct curl_slist *l = r->lines; l != NULL; l = l->next)
    http_wipe(l->data, strlen(l->data));
  curl_slist_free_all(r->lines);
  r->lines = NULL;
}
