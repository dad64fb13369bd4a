/*
** A request that went wrong: whether that passes, whose fault it is, and what a
** person is told.
*/
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "bits/judge.h"

#define BORNE 3 /* times, of what may be a mistake */
#define WAIT_MOST                                            \
  ((uint64_t)3600) /* seconds; who says more is not believed \
                    */
#define URL_MOST 160

/* ------------------------------------------------------------------
** Saying so
** ---------------------------------------------------------------- */

/* As much as fits, and no half of a character at the end. */
static size_t cut(const char *text, size_t size, size_t most) {
  if (size <= most) return size;
  while (most > 0 && ((unsigned char)text[most] & 0xC0) == 0x80) most--;
  return most;
}

void judge_say(bits_result *r, const http_answer *a, const char *format,
               va_list args) {
  char text[sizeof r->why];
  const char *url = a->url != NULL && a->url[0] != '\0' ? a->url : "the server";
  size_t size = strlen(url), shown = cut(url, size, URL_MOST);
  int n = snprintf(r->why, sizeof r->why, "%.*s%s: ", (int)shown, url,
                   shown < size ? "…" : "");
  size_t used = n > 0 ? (size_t)n : 0;
  vsnprintf(text, sizeof text, format, args);
  size = cut(text, strlen(text), sizeof r->why - used - 1);
  memcpy(r->why + used, text, size);
  r->why[used + size] = '\0';
}

__attribute__((format(printf, 3, 4))) static void say(bits_result *r,
                                                      const http_answer *a,
                                                      const char *format, ...) {
  va_list args;
  va_start(args, format);
  judge_say(r, a, format, args);
  va_end(args);
}

/* ------------------------------------------------------------------
** The network
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST
static _Atomic int pretended; /* 1: there is a network, 2: there is none */

void judge_pretend(int network) {
  atomic_store(&pretended, network);
}
#endif

/* An interface with an address, that is neither the machine itself nor has it
   given itself its address. */
bool judge_has_network(void) {
#ifdef SAROS_TEST
  if (atomic_load(&pretended) != 0) return atomic_load(&pretended) == 1;
#endif
  struct ifaddrs *all;
  bool found = false;
  if (getifaddrs(&all) != 0) return true; /* who knows: it is tried */
  for (const struct ifaddrs *i = all; i != NULL && !found; i = i->ifa_next) {
    if (i->ifa_addr == NULL || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if ((i->ifa_flags & (IFF_UP | IFF_RUNNING)) != (IFF_UP | IFF_RUNNING))
      continue;
    if (i->ifa_addr->sa_family == AF_INET) found = true;
    if (i->ifa_addr->sa_family == AF_INET6) {
      const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
      found = !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
    }
  }
  freeifaddrs(all);
  return found;
}

/* ------------------------------------------------------------------
** No answer
** ---------------------------------------------------------------- */

typedef struct failing { /* one row of a table */
  int which;
  bits_end end;
  uint32_t code;
  uint32_t win32;
  const char *text;
} failing;

static void fill(bits_result *r, bits_end end, uint32_t code,
                 bits_context context, uint32_t win32) {
  r->end = end;
  r->code = code;
  r->context = context;
  r->win32 = win32;
}

static void offline(const http_answer *a, bits_result *r) {
  fill(r, BITS_END_OFFLINE, BG_E_NETWORK_DISCONNECTED, BITS_CONTEXT_TRANSPORT,
       WIN32_NETWORK_UNREACHABLE);
  say(r, a, "this machine has no network; the transfer goes on when it has");
}

/* By the errno of who could not connect. */
static const failing connecting[] = {
    {ECONNREFUSED, BITS_END_AGAIN, BG_E_CONNECT_FAILURE,
     WIN32_CONNECTION_REFUSED, "nobody listens there"},
    {EHOSTUNREACH, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, WIN32_HOST_UNREACHABLE,
     "the host cannot be reached"},
    {EHOSTDOWN, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, WIN32_HOST_UNREACHABLE,
     "the host is down"},
    {ETIMEDOUT, BITS_END_AGAIN, BG_E_TIMEOUT, WIN32_TIMEOUT,
     "nobody answered in time"},
};

static void refused_by_proxy(const http_answer *a, bits_result *r) {
  bool passes = a->proxy >= 500 || a->proxy == 408 || a->proxy == 429;
  fill(r, passes ? BITS_END_AGAIN : BITS_END_FAILED, BG_E_HTTP(a->proxy),
       BITS_CONTEXT_TRANSPORT, 0);
  r->transport = a->proxy;
  say(r, a, "the proxy answers %u, and does not lead there%s", a->proxy,
      a->proxy == 407 ? ": give the job a user and a password for it"
      : passes        ? "; it is tried again"
                      : ": ask who runs it, or give the job another one");
}

static void unreached(const http_answer *a, unsigned tries, bits_result *r) {
  const failing *row = NULL;
  if (a->proxy != 0) {
    refused_by_proxy(a, r);
    return;
  }
  if (a->curl == CURLE_SSL_CONNECT_ERROR) {
    fill(r, tries < BORNE ? BITS_END_AGAIN : BITS_END_FAILED,
         BG_E_SECURE_CHANNEL_FAILURE, BITS_CONTEXT_TRANSPORT, 0);
    r->borne = true;
    say(r, a, "no secure connection could be made (%s)", a->why);
    return;
  }
  if (a->number == ENETUNREACH || a->number == ENETDOWN) {
    offline(a, r);
    return;
  }
  bool name = a->curl == CURLE_COULDNT_RESOLVE_HOST ||
              a->curl == CURLE_COULDNT_RESOLVE_PROXY;
  if ((name || a->number == EHOSTUNREACH) && !judge_has_network()) {
    offline(a, r);
  } else if (name) {
    bool proxy = a->curl == CURLE_COULDNT_RESOLVE_PROXY;
    fill(r, BITS_END_AGAIN,
         proxy ? BG_E_PROXY_NAME_RESOLUTION_FAILURE
               : BG_E_NAME_RESOLUTION_FAILURE,
         BITS_CONTEXT_TRANSPORT, WIN32_NAME_NOT_RESOLVED);
    say(r, a, "the name of the %s is not known; is it spelled right?",
        proxy ? "proxy" : "host");
  } else if (a->curl == CURLE_OPERATION_TIMEDOUT && a->number == 0) {
    row = &connecting[sizeof connecting / sizeof connecting[0] - 1];
  } else {
    for (size_t i = 0; i < sizeof connecting / sizeof connecting[0]; i++)
      if (connecting[i].which == a->number) row = &connecting[i];
    if (row == NULL) {
      fill(r, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, BITS_CONTEXT_TRANSPORT,
           WIN32_CANNOT_CONNECT);
      say(r, a, "no connection could be made (%s)", a->why);
    }
  }
  if (row == NULL) return;
  fill(r, row->end, row->code, BITS_CONTEXT_TRANSPORT, row->win32);
  say(r, a, "%s%s; it is tried again", row->text,
      a->by_proxy ? ", or at the job's proxy" : "");
}

/* ------------------------------------------------------------------
** An answer that says no
** ---------------------------------------------------------------- */

typedef enum fate {
  PASSES,   /* again, after a while */
  BORNE_IT, /* again, three times */
  FINAL
} fate;

typedef struct no {
  unsigned first, last;
  fate fate;
  bool gate; /* it is the host that needs a rest */
  const char *text;
} no;

/* The first row that it is in. */
static const no answers[] = {
    {200, 299, BORNE_IT, false, "that is no file"},
    {300, 399, FINAL, false,
     "it leads elsewhere, and does not say where to; set its new address"},
    {401, 401, FINAL, false,
     "it asks who we are; give the job a user and a password that it accepts"},
    {403, 403, FINAL, false,
     "it is forbidden; if its address is a signed one, that may have ended: "
     "set a new one"},
    {404, 404, FINAL, false, "there is no such file; is its address right?"},
    {407, 407, FINAL, false,
     "the proxy asks who we are; give the job a user and a password for it"},
    {408, 408, PASSES, false, "it waited for us too long"},
    {410, 410, FINAL, false, "it was there and is gone"},
    {413, 413, FINAL, false, "that is more than it accepts"},
    {414, 414, FINAL, false, "the address is longer than it accepts"},
    {416, 417, BORNE_IT, false, "it does not accept how it was asked"},
    {421, 421, BORNE_IT, false, "that is the wrong server"},
    {423, 423, PASSES, false, "it is locked"},
    {425, 425, PASSES, false, "it is too early"},
    {429, 429, PASSES, true, "we ask too often"},
    {431, 431, FINAL, false, "the header is larger than it accepts"},
    {451, 451, FINAL, false, "it is withheld by law"},
    {400, 499, FINAL, false, "it does not accept what was asked"},
    {500, 500, PASSES, false, "it failed"},
    {502, 502, PASSES, true, "whom it asked failed"},
    {503, 503, PASSES, true, "it is busy, or away"},
    {504, 504, PASSES, true, "whom it asked did not answer"},
    {509, 509, PASSES, true, "it has no bandwidth left"},
    /* A network that wants a login before it lets anybody out. */
    {511, 511, PASSES, false, "the network wants a login first"},
    {520, 527, PASSES, true, "whom it asked failed"},
    {529, 529, PASSES, true, "it has too much to do"},
    {500, 999, FINAL, false, "it cannot do that"},
};

static void wait_for(const http_answer *a, bits_result *r) {
  uint64_t seconds;
  if (a->fields == NULL || !http_answer_retry_after(a, &seconds)) return;
  if (seconds > WAIT_MOST) seconds = WAIT_MOST;
  r->has_wait = r->gate_host = true;
  r->wait_ms = seconds * 1000;
}

static void refused(const http_answer *a, unsigned tries, bits_result *r) {
  const no *row = answers;
  while (a->status > row->last || a->status < row->first) row++;
  bool passes = row->fate == PASSES || (row->fate == BORNE_IT && tries < BORNE);
  fill(r, passes ? BITS_END_AGAIN : BITS_END_FAILED,
       a->status < 300 ? BG_E_INVALID_SERVER_RESPONSE : BG_E_HTTP(a->status),
       a->status == 407 ? BITS_CONTEXT_TRANSPORT : BITS_CONTEXT_REMOTE, 0);
  r->transport = a->status;
  r->borne = row->fate == BORNE_IT;
  r->gate_host = row->gate;
  if (row->fate == PASSES) wait_for(a, r);
  say(r, a, "the server answers %u: %s", a->status, row->text);
}

/* ------------------------------------------------------------------
** Every end
** ---------------------------------------------------------------- */

static void wrong(const http_answer *a, unsigned tries, bits_result *r) {
  fill(r, tries < BORNE ? BITS_END_AGAIN : BITS_END_FAILED,
       BG_E_INVALID_SERVER_RESPONSE, BITS_CONTEXT_REMOTE, 0);
  if (a->status >= 300) r->transport = a->status;
  r->borne = true;
  say(r, a, "the answer makes no sense: %s", a->why);
}

static void too_large(const http_answer *a, unsigned tries, bits_result *r) {
  if (a->status == 0) { /* its header is */
    wrong(a, tries, r);
    return;
  }
  fill(r, BITS_END_FAILED, BG_E_TOO_LARGE, BITS_CONTEXT_REMOTE, 0);
  say(r, a, "%s; the job allows no more", a->why);
}

void judge_failure(const http_answer *answer, unsigned tries, bits_result *r) {
  http_answer copy = *answer;
  const http_answer *a = &copy;
  if (copy.why == NULL) copy.why = "";
  memset(r, 0, sizeof *r);
  switch (a->end) {
    case HTTP_WHOLE:
      if (a->status >= 200 && a->status <= 999)
        refused(a, tries, r);
      else
        wrong(a, tries, r);
      break;
    case HTTP_CANCELLED:
    case HTTP_STOPPED:
      fill(r, BITS_END_STOPPED, BG_E_REQUEST_CANCELED, BITS_CONTEXT_QUEUE, 0);
      say(r, a, "it was stopped");
      break;
    case HTTP_UNREACHED: unreached(a, tries, r); break;
    case HTTP_CUT:
      fill(r, BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, BITS_CONTEXT_TRANSPORT,
           WIN32_CONNECTION_LOST);
      say(r, a, "the connection was lost (%s); it is tried again", a->why);
      break;
    case HTTP_STALLED:
      fill(r, BITS_END_AGAIN, BG_E_TIMEOUT, BITS_CONTEXT_TRANSPORT,
           WIN32_TIMEOUT);
      say(r, a, "nothing moved for too long (%s); it is tried again", a->why);
      break;
    case HTTP_WRONG: wrong(a, tries, r); break;
    case HTTP_TOO_LARGE: too_large(a, tries, r); break;
    case HTTP_UNTRUSTED:
      fill(r, BITS_END_FAILED, BG_E_TRUST_FAILURE, BITS_CONTEXT_TRANSPORT, 0);
      say(r, a,
          a->curl == CURLE_SSL_CACERT_BADFILE
              ? "the certificates to trust cannot be read (%s), and nothing "
                "was sent; put them there, or name another file with cacert"
              : "its certificate is not to be trusted (%s); nothing was sent. "
                "If it is right, name its authority with cacert",
          a->why);
      break;
    case HTTP_ASTRAY:
      fill(r, BITS_END_FAILED, BG_E_INVALID_SERVER_RESPONSE,
           BITS_CONTEXT_REMOTE, 0);
      r->transport = a->status;
      say(r, a, "the server answers %u: %s", a->status, a->why);
      break;
    case HTTP_MISUSED:
      fill(r, BITS_END_FAILED, SAROS_E_INVALIDARG, BITS_CONTEXT_QUEUE, 0);
      say(r, a, "it cannot be asked for like that: %s", a->why);
      break;
    case HTTP_FAILED:
    case HTTP_ENDS:
    default:
      fill(r, BITS_END_AGAIN, SAROS_E_OUTOFMEMORY, BITS_CONTEXT_QUEUE, 0);
      say(r, a, "this machine is short of something: %s", a->why);
  }
}

bool judge_is_borne(const bits_result *r) {
  return r->end == BITS_END_AGAIN && r->borne;
}

/* ------------------------------------------------------------------
** A local file
** ---------------------------------------------------------------- */

static const char *advice(int number) {
  switch (number) {
    case ENOSPC: return "make room there, then resume the job";
    case EDQUOT: return "the quota is used up; make room, then resume the job";
    case EACCES:
    case EPERM: return "allow it, then resume the job";
    case EROFS: return "it cannot be written to; give the file another place";
    case ENOENT:
    case ENOTDIR: return "make that directory, then resume the job";
    case ENAMETOOLONG: return "give the file a shorter name";
    case EFBIG: return "the file system there does not take files so large";
    case ELOOP: return "a symbolic link is in the way; take it away";
    case EEXIST:
      return "somebody has the name already; set overwrite, or move it";
    case EISDIR: return "that is a directory; give the file another name";
    default: return "see to that disk, then resume the job";
  }
}

static const char *advice_to_send(int number) {
  switch (number) {
    case ENOENT:
    case ENOTDIR: return "there has to be a file; put it there, and resume";
    case EACCES:
    case EPERM: return "allow it to be read, then resume the job";
    case EISDIR: return "that is a directory; make a job for each of its files";
    case EINVAL: return "that is no file but something else; it is not read";
    default: return "see to that disk, then resume the job";
  }
}

static void local(int number, const char *what, const char *path,
                  const char *then, bits_result *r) {
  buffer shown = BUFFER_EMPTY;
  memset(r, 0, sizeof *r);
  uint32_t win32 = code_win32_of_errno(number != 0 ? number : EIO);
  fill(r, BITS_END_FAILED, code_of_win32(win32), BITS_CONTEXT_LOCAL, win32);
  if (path != NULL) text_escape(&shown, path, strlen(path));
  const http_answer a = {
      .url = shown.data != NULL && !shown.failed ? shown.data : "a local file"};
  char text[128];
  say(r, &a, "%s: %s; %s", what, strerror_r(number, text, sizeof text), then);
  buffer_free(&shown);
}

void judge_local(int number, const char *what, const char *path,
                 bits_result *r) {
  local(number, what, path, advice(number), r);
}

void judge_source(int number, const char *what, const char *path,
                  bits_result *r) {
  local(number, what, path, advice_to_send(number), r);
}
