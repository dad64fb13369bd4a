/*
** The door: what any thread may call, the thread's beginning and end, and what
** a fork does to it.
*/
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/traces.h"
#include "http/http_parts.h"

/* The order: turn, then lock. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Under the lock. */
static http_loop *current;
static unsigned keepers;
static unsigned threads;
static pthread_cond_t thread_left = PTHREAD_COND_INITIALIZER;

static _Atomic unsigned generation = 1;
static _Atomic int forks;       /* that wait for the turn */
static _Thread_local bool here; /* this is an I/O thread */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool usable;

uint64_t http_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------
** Sockets, and fork
** ---------------------------------------------------------------- */

/* In a turn. One that has no place is inherited by a child: that costs it a
   descriptor. */
#define SOCKETS 512
static int sockets[SOCKETS];
static unsigned socket_count;

curl_socket_t http_socket_open(void *context, curlsocktype purpose,
                               struct curl_sockaddr *address) {
  (void)context;
  (void)purpose;
  int s = socket(address->family, address->socktype | SOCK_CLOEXEC,
                 address->protocol);
  if (s >= 0 && s <= 2) { /* the host has closed its own: not our place */
    int above = fcntl(s, F_DUPFD_CLOEXEC, 3);
    close(s);
    s = above;
  }
  if (s < 0) return CURL_SOCKET_BAD;
  if (socket_count < SOCKETS) sockets[socket_count++] = s;
  return s;
}

int http_socket_close(void *context, curl_socket_t s) {
  (void)context;
  for (unsigned i = 0; i < socket_count; i++)
    if (sockets[i] == s) {
      sockets[i] = sockets[--socket_count];
      break;
    }
  return close(s);
}

/* The thread is between two turns, so that neither libcurl nor OpenSSL is in
   the middle of anything in the child. */
static void before_fork(void) {
  atomic_fetch_add(&forks, 1);
  if (!here) pthread_mutex_lock(&turn);
  pthread_mutex_lock(&lock);
  atomic_fetch_sub(&forks, 1);
}

static void in_parent(void) {
  pthread_mutex_unlock(&lock);
  if (!here) pthread_mutex_unlock(&turn);
}

static void in_child(void) {
  atomic_fetch_add(&generation, 1);
  current = NULL; /* the parent's, with all that is in it */
  keepers = threads = 0;
  for (unsigned i = 0; i < socket_count; i++) close(sockets[i]);
  socket_count = 0;
  atomic_store(&forks, 0);
  pthread_mutex_unlock(&lock);
  pthread_mutex_unlock(&turn);
}

static void prepare(void) {
  /* What OpenSSL does at exit it would do while our thread runs. */
  OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
  usable = http_wipe_begin() &&
           pthread_atfork(before_fork, in_parent, in_child) == 0;
}

/* ------------------------------------------------------------------
** The thread
** ---------------------------------------------------------------- */

static void *run(void *context) {
  http_loop *l = context;
  here = true;
  prctl(PR_SET_NAME, "saros-http");
  for (;;) {
    while (atomic_load(&forks) > 0) sched_yield(); /* they go first */
    pthread_mutex_lock(&turn);
    int ms = http_loop_turn(l);
    if (ms < 0) http_loop_free(l);
    pthread_mutex_unlock(&turn);
    if (ms < 0) break;
    if (ms > 0) curl_multi_poll(l->multi, NULL, 0, ms, NULL);
  }
  pthread_mutex_lock(&lock);
  threads--;
  pthread_cond_broadcast(&thread_left);
  pthread_mutex_unlock(&lock);
  return NULL;
}

static int start_thread(http_loop *l) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  int r = pthread_attr_init(&attributes);
  if (r != 0) return r;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  /* Signals are the host's, and SIGPIPE would be ours. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  r = pthread_create(&thread, &attributes, run, l);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return r;
}

/* With the lock. */
static error *need_loop(void) {
  if (current != NULL) return NULL;
  http_loop *l = http_loop_new();
  if (l == NULL)
    return http_error(SAROS_E_OUTOFMEMORY,
                      "libcurl cannot be made ready: there is not enough "
                      "memory, or there are too few file descriptors");
  int r = start_thread(l);
  if (r != 0) {
    http_loop_free(l);
    return error_of_errno(SAROS_FACADE_SAROS, r,
                          "no thread can be started for HTTP", NULL);
  }
  threads++;
  current = l;
  return NULL;
}

/* With the lock, while its loop lives. */
static void wake(http_loop *l) {
  if (l->woken) return;
  l->woken = true;
  if (!here) curl_multi_wakeup(l->multi); /* else it looks before it sleeps */
}

static void into_box(http_request *r) {
  http_loop *l = r->loop;
  if (!r->in_box) {
    atomic_fetch_add(&r->refs, 1);
    r->in_box = true;
    r->next_in_box = NULL;
    *l->box_end = r;
    l->box_end = &r->next_in_box;
  }
  wake(l);
}

http_request *http_door_take(http_loop *l, http_wish *wish) {
  pthread_mutex_lock(&lock);
  l->woken = false;
  http_request *r = l->box;
  if (r != NULL) {
    l->box = r->next_in_box;
    if (l->box == NULL) l->box_end = &l->box;
    r->in_box = false;
    *wish = r->wish;
    r->wish = (http_wish){0};
  }
  pthread_mutex_unlock(&lock);
  return r;
}

bool http_door_leave(http_loop *l, bool *more) {
  pthread_mutex_lock(&lock);
  *more = l->woken = l->box != NULL;
  bool leave = l->requests == 0 && keepers == 0 && l->box == NULL;
  if (leave) current = NULL;
  pthread_mutex_unlock(&lock);
  return leave;
}

/* Who waits for it shall find nothing of its secrets left, whoever lets go of
   it last. */
static void forget_secrets(http_request *r) {
  for (size_t i = 0; r->fields != NULL && i < r->ask.field_count; i++) {
    char *text = (char *)(uintptr_t)r->fields[i].value;
    if (text != NULL) http_wipe(text, strlen(text));
  }
  traces_wipe_few();
}

void http_door_over(http_request *r) {
  forget_secrets(r);
  pthread_mutex_lock(&lock);
  r->over = true;
  r->loop->requests--;
  pthread_cond_broadcast(&r->ended);
  pthread_mutex_unlock(&lock);
  http_unref(r);
}

/* ------------------------------------------------------------------
** A request
** ---------------------------------------------------------------- */

static void free_request(http_request *r) {
  for (size_t i = 0; r->fields != NULL && i < r->ask.field_count; i++) {
    char *name = (char *)(uintptr_t)r->fields[i].name;
    char *text = (char *)(uintptr_t)r->fields[i].value;
    if (text != NULL) http_wipe(text, strlen(text));
    mem_free(name);
    mem_free(text);
  }
  mem_free(r->fields);
  mem_free(r->method_text);
  mem_free(r->url_text);
  mem_free(r->cacert_text);
  mem_free(r->proxy_text);
  mem_free(r->origin_name);
  http_head_free(&r->head);
  pthread_cond_destroy(&r->ended);
  mem_free(r);
}

void http_unref(http_request *r) {
  if (r != NULL && atomic_fetch_sub(&r->refs, 1) == 1) free_request(r);
}

/* Neither ends a line nor is folded away. */
static bool is_fit(const char *text, const char *not_in_it) {
  for (; *text != '\0'; text++)
    if ((unsigned char)*text < ' ' || *text == 0x7F ||
        strchr(not_in_it, *text) != NULL)
      return false;
  return true;
}

static bool copy_text(char **copy, const char *text) {
  *copy = mem_text(text);
  return *copy != NULL || text == NULL;
}

static bool copy_texts(http_request *r, const http_ask *ask) {
  if (!copy_text(&r->method_text, ask->method) ||
      !copy_text(&r->url_text, ask->url) ||
      !copy_text(&r->cacert_text, ask->cacert) ||
      !copy_text(&r->proxy_text, ask->proxy))
    return false;
  if (ask->field_count == 0) return true;
  r->fields = mem_zero(ask->field_count * sizeof *r->fields);
  if (r->fields == NULL) return false;
  for (size_t i = 0; i < ask->field_count; i++) {
    r->fields[i].name = mem_text(ask->fields[i].name);
    r->fields[i].value = mem_text(ask->fields[i].value);
    r->fields[i].secret = ask->fields[i].secret;
    if (r->fields[i].name == NULL || r->fields[i].value == NULL) return false;
  }
  return true;
}

static void count_body(http_request *r) {
  const http_ask *ask = &r->ask;
  r->has_body = ask->gives || ask->pieces != NULL;
  if (ask->gives) r->body_size = ask->give_size;
  for (size_t i = 0; r->has_body && !ask->gives && i < ask->piece_count; i++)
    r->body_size += ask->pieces[i].size;
}

static error *misused(const char *url, const char *why) {
  char shown[200];
  http_show_url(url, shown, sizeof shown);
  return http_error(SAROS_E_INVALIDARG, "%s cannot be asked for: %s", shown,
                    why);
}

static error *check(const http_ask *ask) {
  if (ask->method[0] == '\0' || !is_fit(ask->method, " :"))
    return misused(ask->url, "its method is none");
  for (size_t i = 0; i < ask->field_count; i++)
    if (ask->fields[i].name[0] == '\0' || !is_fit(ask->fields[i].name, " :") ||
        !is_fit(ask->fields[i].value, ""))
      return misused(ask->url, "a line of its header is none");
  if (ask->ranged && ask->last < ask->from)
    return misused(ask->url, "its range ends before it begins");
  return NULL;
}

static http_request *new_request(const http_ask *ask, error **e) {
  const char *why;
  *e = check(ask);
  if (*e != NULL) return NULL;
  http_request *r = mem_zero(sizeof *r);
  pthread_condattr_t attributes;
  if (r == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&r->ended, &attributes);
  pthread_condattr_destroy(&attributes);
  atomic_init(&r->refs, 2);
  r->ask = *ask;
  r->generation = atomic_load(&generation);
  r->answer.length = HTTP_UNKNOWN;
  r->answer.fields = &r->head;
  if (r->ask.connect_ms == 0) r->ask.connect_ms = 30000;
  if (r->ask.stall_ms == 0) r->ask.stall_ms = 60000;
  if (r->ask.stall_bytes == 0) r->ask.stall_bytes = 1;
  if (r->ask.per_host == 0) r->ask.per_host = 8;
  count_body(r);
  if (!copy_texts(r, ask)) {
    *e = error_no_memory();
  } else if ((r->origin_name = http_origin_of(ask->url, &why)) == NULL) {
    *e = misused(ask->url, why);
  }
  if (*e == NULL) return r;
  free_request(r);
  return NULL;
}

http_request *http_start(const http_ask *ask, error **e) {
  pthread_once(&once, prepare);
  if (!usable) {
    *e = http_error(SAROS_E_FAIL, "libcurl cannot be initialised");
    return NULL;
  }
  http_request *r = new_request(ask, e);
  if (r == NULL) return NULL;
  pthread_mutex_lock(&lock);
  *e = need_loop();
  if (*e == NULL) {
    r->loop = current;
    r->loop->requests++;
    into_box(r);
  }
  pthread_mutex_unlock(&lock);
  if (*e == NULL) return r;
  free_request(r);
  return NULL;
}

/* Tells the loop, if it still has it. Always of this process: see the fork. */
static void wish(http_request *r, const http_wish *more) {
  if (r->generation != atomic_load(&generation)) return;
  pthread_mutex_lock(&lock);
  if (!r->over) {
    r->wish.cancel |= more->cancel;
    r->wish.resume |= more->resume;
    if (more->limit) {
      r->wish.limit = true;
      r->wish.down = more->down;
      r->wish.up = more->up;
    }
    into_box(r);
  }
  pthread_mutex_unlock(&lock);
}

void http_cancel(http_request *r) {
  wish(r, &(http_wish){.cancel = true});
}

void http_resume(http_request *r) {
  wish(r, &(http_wish){.resume = true});
}

void http_limit(http_request *r, uint64_t down, uint64_t up) {
  wish(r, &(http_wish){.limit = true, .down = down, .up = up});
}

bool http_wait(http_request *r, unsigned ms) {
  struct timespec until;
  if (r->generation != atomic_load(&generation)) return false;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&lock);
  while (!r->over && !here)
    if (pthread_cond_timedwait(&r->ended, &lock, &until) == ETIMEDOUT) break;
  bool over = r->over;
  pthread_mutex_unlock(&lock);
  return over;
}

const http_answer *http_answer_of(const http_request *r) {
  return &r->answer;
}

/* ------------------------------------------------------------------
** Keeping it
** ---------------------------------------------------------------- */

unsigned http_keep(void) {
  pthread_once(&once, prepare); /* so that a fork is seen from now on */
  pthread_mutex_lock(&lock);
  keepers++;
  pthread_mutex_unlock(&lock);
  return atomic_load(&generation);
}

void http_drop(unsigned kept) {
  if (http_is_inherited(kept)) return;
  pthread_mutex_lock(&lock);
  if (--keepers == 0 && current != NULL) wake(current);
  pthread_mutex_unlock(&lock);
}

bool http_is_inherited(unsigned kept) {
  return kept != atomic_load(&generation);
}

#ifdef SAROS_TEST
unsigned http_threads(void) {
  pthread_mutex_lock(&lock);
  unsigned n = threads;
  pthread_mutex_unlock(&lock);
  return n;
}

void http_settle(void) {
  pthread_mutex_lock(&lock);
  while (threads > 0) pthread_cond_wait(&thread_left, &lock);
  pthread_mutex_unlock(&lock);
}
#endif
