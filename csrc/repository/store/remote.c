/*
** Patience, limits and options of stores that are behind HTTP.
*/
#include "repository/store/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/traces.h"

#define FEW 3
#define FIRST_BACKOFF 500
#define MOST_BACKOFF 30000
#define STRANGER_MS 60000 /* nobody has ever answered there */
#define ASK_EVERY 50      /* milliseconds, whether to end early */

#define E_CANNOT_CONNECT 0x80072EFDu
#define E_NAME_NOT_RESOLVED 0x80072EE7u

#ifdef SAROS_TEST
_Atomic unsigned repo_remote_backoff_ms;
#endif

/* ------------------------------------------------------------------
** Where the bytes go. http's thread calls.
** ---------------------------------------------------------------- */

static http_flow on_head(void *context, const http_answer *a) {
  remote_sink *k = context;
  k->status = a->status; /* it decides where a window begins */
  k->good = a->status >= 200 && a->status < 300;
  return HTTP_GO;
}

/* A server that knows no ranges sends all of it. */
static http_flow into_window(remote_sink *k, const char *data, size_t size) {
  uint64_t before = k->passed;
  k->passed += size;
  uint64_t skip = k->status == 206 ? 0 : k->from;
  if (k->passed <= skip) return HTTP_GO;
  if (before < skip) {
    data += skip - before;
    size -= (size_t)(skip - before);
  }
  size_t left = k->window_size - k->filled;
  if (size > left) size = left;
  memcpy(k->window + k->filled, data, size);
  k->filled += size;
  return HTTP_GO;
}

static http_flow on_body(void *context, const void *data, size_t size) {
  remote_sink *k = context;
  if (!k->good) {
    if (k->problem.size + size <= REPO_REMOTE_PROBLEM)
      buffer_put(&k->problem, data, size);
    return HTTP_GO;
  }
  if (k->window != NULL) return into_window(k, data, size);
  if (k->into == NULL) return HTTP_GO;
  if (size > k->most - (k->into->size - k->start)) return HTTP_STOP;
  buffer_put(k->into, data, size);
  return k->into->failed ? HTTP_STOP : HTTP_GO;
}

const http_calls repo_remote_calls = {.head = on_head, .body = on_body};

void repo_remote_sink_begin(remote_sink *k) {
  k->start = k->into != NULL ? k->into->size : 0;
}

void repo_remote_sink_drop(remote_sink *k) {
  if (k->into == NULL || k->into->size <= k->start) return;
  k->into->size = k->start;
  k->into->data[k->start] = '\0';
}

void repo_remote_sink_end(remote_sink *k) {
  buffer_free(&k->problem);
}

/* ------------------------------------------------------------------
** Sending
** ---------------------------------------------------------------- */

/* One that is under way; on the stack of who waits for it. */
struct remote_sending {
  http_request *r;
  remote_sending *next, **link;
};

static uint64_t share(uint64_t all, unsigned active) {
  if (all == 0) return 0;
  return all / active > 0 ? all / active : 1;
}

/* With the lock: each has the same part of what all may do. */
static void divide(remote *m) {
  if (m->up == 0 && m->down == 0) return;
  for (remote_sending *s = m->first; s != NULL; s = s->next)
    http_limit(s->r, share(m->down, m->active), share(m->up, m->active));
}

static void enter(remote *m, remote_sending *s) {
  pthread_mutex_lock(&m->lock);
  s->next = m->first;
  s->link = &m->first;
  if (s->next != NULL) s->next->link = &s->next;
  m->first = s;
  m->active++;
  divide(m);
  pthread_mutex_unlock(&m->lock);
}

static void leave(remote *m, remote_sending *s) {
  pthread_mutex_lock(&m->lock);
  *s->link = s->next;
  if (s->next != NULL) s->next->link = s->link;
  m->active--;
  divide(m);
  pthread_mutex_unlock(&m->lock);
}

error *repo_remote_send(remote *m, http_ask *ask, const repo_piece *pieces,
                        size_t count, const repo_stop *stop, http_request **r) {
  http_piece some[64];
  http_piece *copy = count > 64 ? mem_alloc(count * sizeof *copy) : some;
  error *e = NULL;
  *r = NULL;
  if (copy == NULL) return error_no_memory();
  for (size_t i = 0; i < count; i++)
    copy[i] = (http_piece){pieces[i].data, pieces[i].size};
  ask->pieces = pieces != NULL ? copy : NULL;
  ask->piece_count = count;
  ask->stall_ms = m->stall_ms;
  ask->stall_bytes = 1024;
  /* Who is slow because he was told to be does not stall. */
  if ((m->up > 0 && m->up < 65536) || (m->down > 0 && m->down < 65536))
    ask->stall_bytes = 1;
  ask->per_host = m->connections;
  ask->cacert = m->cacert;
  ask->up = m->up;
  ask->down = m->down;
  *r = http_start(ask, &e);
  if (*r != NULL) {
    remote_sending s = {.r = *r};
    enter(m, &s);
    while (!http_wait(*r, ASK_EVERY))
      if (repo_stopped(stop)) http_cancel(*r);
    leave(m, &s);
  }
  if (copy != some) mem_free(copy);
  traces_wipe_few(); /* it was signed, or says who asks */
  return e;
}

/* ------------------------------------------------------------------
** Again
** ---------------------------------------------------------------- */

/* Between a half and all of it, so that many do not come back together. */
static uint64_t backoff(unsigned tries) {
  uint64_t ms = FIRST_BACKOFF;
  uint32_t random = 0;
  for (unsigned i = 1; i < tries && ms < MOST_BACKOFF; i++) ms *= 2;
  if (ms > MOST_BACKOFF) ms = MOST_BACKOFF;
#ifdef SAROS_TEST
  if (repo_remote_backoff_ms > 0 && ms > repo_remote_backoff_ms)
    ms = repo_remote_backoff_ms;
#endif
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
    random = (uint32_t)http_clock();
  return ms / 2 + random % (ms / 2 + 1);
}

/* False: it was stopped. */
static bool sleep_until(const repo_stop *stop, uint64_t then) {
  for (uint64_t now; (now = http_clock()) < then;) {
    uint64_t ms = then - now < ASK_EVERY ? then - now : ASK_EVERY;
    if (repo_stopped(stop)) return false;
    nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
  }
  return !repo_stopped(stop);
}

bool repo_remote_enter(remote *m, const repo_stop *stop) {
  /* The server wants to be left alone: by every call. */
  pthread_mutex_lock(&m->lock);
  uint64_t then = m->not_before;
  pthread_mutex_unlock(&m->lock);
  return sleep_until(stop, then);
}

void repo_remote_answered(remote *m) {
  pthread_mutex_lock(&m->lock);
  m->has_answered = true;
  pthread_mutex_unlock(&m->lock);
}

static uint64_t patience(remote *m) {
  pthread_mutex_lock(&m->lock);
  uint64_t ms = m->retry_ms;
  if (!m->has_answered && ms > STRANGER_MS) ms = STRANGER_MS;
  pthread_mutex_unlock(&m->lock);
  return ms;
}

remote_next repo_remote_again(remote *m, remote_tries *t, remote_fate fate,
                              unsigned status, uint64_t retry_after_ms,
                              const repo_stop *stop) {
  if (fate == REMOTE_FAIL || (fate == REMOTE_FEW && ++t->few >= FEW))
    return REMOTE_GIVES_UP;
  uint64_t now = http_clock(), wait = backoff(t->count);
  if (t->first_failure == 0) t->first_failure = now;
  if (retry_after_ms > wait) wait = retry_after_ms;
  if (now + wait - t->first_failure > patience(m)) return REMOTE_GIVES_UP;
  if (status == 503 || status == 429) {
    pthread_mutex_lock(&m->lock);
    if (now + wait > m->not_before) m->not_before = now + wait;
    pthread_mutex_unlock(&m->lock);
  }
  return sleep_until(stop, now + wait) ? REMOTE_ONCE_MORE : REMOTE_STOPPED;
}

remote_cut repo_remote_judge(const http_answer *a) {
  switch (a->end) {
    case HTTP_UNREACHED:
      return (remote_cut){
          REMOTE_AGAIN,
          a->curl == 6 || a->curl == 5 ? E_NAME_NOT_RESOLVED : E_CANNOT_CONNECT,
          a->number, "is the host's name right, and the server there?"};
    case HTTP_STALLED:
      return (remote_cut){REMOTE_AGAIN, SAROS_E_TIMEOUT, a->number, NULL};
    case HTTP_WRONG:
    case HTTP_FAILED:
      return (remote_cut){REMOTE_FEW, SAROS_E_FAIL, a->number, NULL};
    case HTTP_TOO_LARGE:
      return (remote_cut){REMOTE_FAIL, SAROS_E_DAMAGED, a->number, NULL};
    case HTTP_UNTRUSTED:
      return (remote_cut){
          REMOTE_FAIL, SAROS_E_REFUSED, a->number,
          "the server is not who it should be, or its certificate was "
          "signed by somebody unknown here: name his (cacert)"};
    case HTTP_MISUSED:
      return (remote_cut){REMOTE_FAIL, SAROS_E_INVALIDARG, a->number, NULL};
    case HTTP_ASTRAY:
      return (remote_cut){REMOTE_FAIL, SAROS_E_FAIL, a->number,
                          "give the location that it leads to, if it is the "
                          "right one"};
    default: /* cut */
      return (remote_cut){REMOTE_AGAIN, code_of_errno(ECONNRESET), a->number,
                          NULL};
  }
}

/* ------------------------------------------------------------------
** Options
** ---------------------------------------------------------------- */

const char *repo_remote_text(const value *options, const char *name,
                             const char *variable) {
  const char *text =
      options != NULL ? value_chars(value_get(options, name), NULL) : NULL;
  if (text == NULL && variable != NULL) text = getenv(variable);
  return text != NULL && text[0] != '\0' ? text : NULL;
}

static double number_of(const value *options, const char *name,
                        double fallback) {
  const value *v = options != NULL ? value_get(options, name) : NULL;
  if (v != NULL && v->type == VALUE_INT) return (double)v->as.integer;
  if (v != NULL && v->type == VALUE_REAL) return v->as.real;
  return fallback;
}

/* Milliseconds of an option in seconds. */
static error *read_time(const value *options, const char *name, double fallback,
                        double least, const char *store, uint64_t *ms) {
  double seconds = number_of(options, name, fallback);
  if (!(seconds >= least && seconds <= 1e6))
    return repo_error(SAROS_E_INVALIDARG,
                      "%s of %s must be from %g to a million seconds", name,
                      store, least);
  *ms = (uint64_t)(seconds * 1000);
  return NULL;
}

static error *read_rate(const value *options, const char *name,
                        uint64_t *rate) {
  double bytes = number_of(options, name, 0);
  if (!(bytes >= 0 && bytes <= 1e15))
    return repo_error(SAROS_E_INVALIDARG, "%s: bytes a second expected", name);
  *rate = bytes > 0 && bytes < 1 ? 1 : (uint64_t)bytes;
  return NULL;
}

error *repo_remote_options(remote *m, const value *options, const char *store) {
  uint64_t stall = 0;
  double connections = number_of(options, "connections", 8);
  const char *cacert = repo_remote_text(options, "cacert", NULL);
  if (!(connections >= 1 && connections <= 256))
    return repo_error(SAROS_E_INVALIDARG,
                      "connections of %s must be from 1 to 256", store);
  m->connections = (unsigned)connections;
  error *e = read_time(options, "retry_seconds", 900, 0, store, &m->retry_ms);
  if (e == NULL)
    e = read_time(options, "stall_seconds", 120, 0.1, store, &stall);
  m->stall_ms = (unsigned)stall;
  if (e == NULL) e = read_rate(options, "limit_upload", &m->up);
  if (e == NULL) e = read_rate(options, "limit_download", &m->down);
  if (e != NULL || cacert == NULL) return e;
  m->cacert = mem_text(cacert);
  return m->cacert != NULL ? NULL : error_no_memory();
}

void repo_remote_begin(remote *m) {
  pthread_mutex_init(&m->lock, NULL);
}

void repo_remote_end(remote *m) {
  if (m->kept != 0) http_drop(m->kept);
  pthread_mutex_destroy(&m->lock);
  mem_free(m->cacert);
}

/* ------------------------------------------------------------------
** Locations
** ---------------------------------------------------------------- */

#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

char *repo_remote_clean_path(const char *text, const char **why) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "");
  while (*text != '\0') {
    size_t size = strcspn(text, "/");
    if (size == 2 && memcmp(text, "..", 2) == 0) {
      *why = "there is a \"..\" in it";
      buffer_free(&b);
      return NULL;
    }
    if (size > 0 && !(size == 1 && text[0] == '.')) {
      if (b.size > 0) buffer_byte(&b, '/');
      buffer_put(&b, text, size);
    }
    text += size;
    if (*text == '/') text++;
  }
  *why = NULL;
  return buffer_take(&b);
}

bool repo_remote_is_host(const char *text, size_t size) {
  size_t i = 0;
  if (size == 0) return false;
  if (text[0] == '[') {
    i = 1 + strspn(text + 1, DIGITS "abcdefABCDEF:.");
    if (i >= size || text[i] != ']') return false;
    i++;
  } else {
    i = strspn(text, ALPHABET DIGITS ".-");
    if (i == 0) return false;
  }
  if (i >= size) return i == size;
  if (text[i] != ':' || size - i > 6 || size - i < 2) return false;
  return strspn(text + i + 1, DIGITS) >= size - i - 1;
}
