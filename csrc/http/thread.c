/*
** Threads: their beginning and end, and what a fork does to them.
*/
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http/http_parts.h"

pthread_mutex_t http_lock = PTHREAD_MUTEX_INITIALIZER;
http_loop *http_shared;
unsigned http_keepers;
_Atomic unsigned http_generation = 1;
_Thread_local http_loop *http_here;

/* The order: this one, then turns, then http_lock. */
static pthread_mutex_t registered = PTHREAD_MUTEX_INITIALIZER;
static http_loop *loops; /* that have a thread */
static unsigned threads; /* http_lock's */
static pthread_cond_t thread_left = PTHREAD_COND_INITIALIZER;
static _Atomic int forks; /* that wait for turns */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool usable;

/* ------------------------------------------------------------------
** Sockets, and fork
** ---------------------------------------------------------------- */

curl_socket_t http_socket_open(void *context, curlsocktype purpose,
                               struct curl_sockaddr *address) {
  http_loop *l = context;
  (void)purpose;
  int s = socket(address->family, address->socktype | SOCK_CLOEXEC,
                 address->protocol);
  if (s >= 0 && s <= 2) { /* the host has closed its own: not our place */
    int above = fcntl(s, F_DUPFD_CLOEXEC, 3);
    close(s);
    s = above;
  }
  if (s < 0) return CURL_SOCKET_BAD;
  if (l->socket_count < HTTP_SOCKETS) l->sockets[l->socket_count++] = s;
  return s;
}

int http_socket_close(void *context, curl_socket_t s) {
  http_loop *l = context;
  for (unsigned i = 0; i < l->socket_count; i++)
    if (l->sockets[i] == s) {
      l->sockets[i] = l->sockets[--l->socket_count];
      break;
    }
  return close(s);
}

/* A lane whose disk does not move would hold up whoever forks for as long:
   after so long the child does without it. It is inert there anyway. */
#define FORK_WAITS_MS 2000

static bool stop(http_loop *l, uint64_t until) {
  while (pthread_mutex_trylock(&l->turn) != 0) {
    if (http_clock() >= until) return false;
    usleep(50);
  }
  return true;
}

/* Threads are between two turns, so that neither libcurl nor OpenSSL is in the
   middle of anything in the child. */
static void before_fork(void) {
  atomic_fetch_add(&forks, 1);
  pthread_mutex_lock(&registered);
  uint64_t until = http_clock() + FORK_WAITS_MS;
  for (http_loop *l = loops; l != NULL; l = l->next)
    l->stopped = l != http_here && stop(l, until);
  pthread_mutex_lock(&http_lock);
  atomic_fetch_sub(&forks, 1);
}

static void in_parent(void) {
  pthread_mutex_unlock(&http_lock);
  for (http_loop *l = loops; l != NULL; l = l->next)
    if (l->stopped) pthread_mutex_unlock(&l->turn);
  pthread_mutex_unlock(&registered);
}

static void in_child(void) {
  atomic_fetch_add(&http_generation, 1);
  for (http_loop *l = loops; l != NULL; l = l->next) {
    for (unsigned i = 0; i < l->socket_count; i++) close(l->sockets[i]);
    l->socket_count = 0;
    if (l->stopped) pthread_mutex_unlock(&l->turn);
  }
  loops = NULL; /* the parent's, with all that is in them */
  http_shared = NULL;
  http_keepers = threads = 0;
  atomic_store(&forks, 0);
  pthread_mutex_unlock(&http_lock);
  pthread_mutex_unlock(&registered);
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

static void leave(http_loop *l) {
  pthread_mutex_lock(&registered);
  http_loop **link = &loops;
  while (*link != NULL && *link != l) link = &(*link)->next;
  if (*link != NULL) *link = l->next;
  pthread_mutex_unlock(&registered);
  http_loop_free(l);
}

static void *run(void *context) {
  http_loop *l = context;
  http_here = l;
  prctl(PR_SET_NAME, l->name);
  for (;;) {
    while (atomic_load(&forks) > 0) sched_yield(); /* they go first */
    pthread_mutex_lock(&l->turn);
    int ms = http_loop_turn(l);
    pthread_mutex_unlock(&l->turn);
    if (ms < 0) break;
    if (ms == 0) continue;
    http_wipe_keep(l->running != NULL);
    curl_multi_poll(l->multi, NULL, 0, ms, NULL);
  }
  http_wipe_keep(false);
  leave(l);
  pthread_mutex_lock(&http_lock);
  threads--;
  pthread_cond_broadcast(&thread_left);
  pthread_mutex_unlock(&http_lock);
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

/* With all locks. */
static error *begin(http_loop **slot, const char *name, bool is_lane) {
  http_loop *l = http_loop_new(name);
  if (l == NULL)
    return http_error(SAROS_E_OUTOFMEMORY,
                      "libcurl cannot be made ready: there is not enough "
                      "memory, or there are too few file descriptors");
  l->is_lane = l->kept = is_lane;
  l->generation = atomic_load(&http_generation);
  int r = start_thread(l);
  if (r != 0) {
    http_loop_free(l);
    return error_of_errno(SAROS_FACADE_SAROS, r,
                          "no thread can be started for HTTP", NULL);
  }
  l->next = loops;
  loops = l;
  threads++;
  *slot = l;
  return NULL;
}

error *http_thread_begin(http_loop **slot, const char *name, bool is_lane) {
  error *e = NULL;
  pthread_mutex_lock(&registered);
  pthread_mutex_lock(&http_lock);
  if (*slot == NULL) e = begin(slot, name, is_lane);
  pthread_mutex_unlock(&http_lock);
  pthread_mutex_unlock(&registered);
  return e;
}

bool http_prepare(void) {
  pthread_once(&once, prepare);
  return usable;
}

#ifdef SAROS_TEST
unsigned http_threads(void) {
  pthread_mutex_lock(&http_lock);
  unsigned n = threads;
  pthread_mutex_unlock(&http_lock);
  return n;
}

void http_settle(void) {
  pthread_mutex_lock(&http_lock);
  while (threads > 0) pthread_cond_wait(&thread_left, &http_lock);
  pthread_mutex_unlock(&http_lock);
}
#endif
