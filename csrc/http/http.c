/*
** The door: what any thread may call.
*/
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/traces.h"
#include "http/http_parts.h"

#ifdef SAROS_TEST
_Atomic uint64_t http_clock_ahead;
#define AHEAD atomic_load(&http_clock_ahead)
#else
#define AHEAD 0
#endif

uint64_t http_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return AHEAD + (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void http_door_wake(http_loop *l) {
  if (l->woken) return;
  l->woken = true;
  if (http_here != l)
    curl_multi_wakeup(l->multi); /* else it looks before that */
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
  http_door_wake(l);
}

http_request *http_door_take(http_loop *l, http_wish *wish) {
  pthread_mutex_lock(&http_lock);
  l->woken = false;
  http_request *r = l->box;
  if (r != NULL) {
    l->box = r->next_in_box;
    if (l->box == NULL) l->box_end = &l->box;
    r->in_box = false;
    *wish = r->wish;
    r->wish = (http_wish){0};
  }
  pthread_mutex_unlock(&http_lock);
  return r;
}

http_errand *http_door_errand(http_loop *l) {
  pthread_mutex_lock(&http_lock);
  http_errand *d = l->errands;
  if (d != NULL) {
    l->errands = d->next;
    if (l->errands == NULL) l->errands_end = &l->errands;
  }
  pthread_mutex_unlock(&http_lock);
  return d;
}

bool http_door_leave(http_loop *l, bool *more) {
  pthread_mutex_lock(&http_lock);
  *more = l->woken = l->box != NULL || l->errands != NULL;
  bool leave =
      l->requests == 0 && !*more && (l->is_lane ? !l->kept : http_keepers == 0);
  if (leave && http_shared == l) http_shared = NULL;
  pthread_mutex_unlock(&http_lock);
  return leave;
}

/* Who waits for it shall find nothing of its secrets left, whoever lets go of
   it last. */
static void forget_secrets(http_request *r) {
  if (r->login_text != NULL) http_wipe(r->login_text, strlen(r->login_text));
  for (size_t i = 0; r->fields != NULL && i < r->ask.field_count; i++) {
    char *text = (char *)(uintptr_t)r->fields[i].value;
    if (text != NULL) http_wipe(text, strlen(text));
  }
  traces_wipe_few();
}

void http_door_over(http_request *r) {
  forget_secrets(r);
  pthread_mutex_lock(&http_lock);
  r->over = true;
  r->loop->requests--;
  pthread_cond_broadcast(&r->ended);
  pthread_mutex_unlock(&http_lock);
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
  if (r->login_text != NULL) http_wipe(r->login_text, strlen(r->login_text));
  mem_free(r->login_text);
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

/* libcurl takes what follows a % for the digits of a character. */
static bool copy_login(char **copy, const char *login) {
  size_t size = 1;
  if (login == NULL) return true;
  for (const char *c = login; *c != '\0'; c++) size += *c == '%' ? 3 : 1;
  char *to = *copy = mem_alloc(size);
  if (to == NULL) return false;
  for (const char *c = login; *c != '\0'; c++) {
    *to++ = *c;
    if (*c != '%') continue;
    *to++ = '2';
    *to++ = '5';
  }
  *to = '\0';
  return true;
}

static bool copy_texts(http_request *r, const http_ask *ask) {
  if (!copy_text(&r->method_text, ask->method) ||
      !copy_text(&r->url_text, ask->url) ||
      !copy_text(&r->cacert_text, ask->cacert) ||
      !copy_text(&r->proxy_text, ask->proxy) ||
      !copy_login(&r->login_text, ask->proxy_login))
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
  r->generation = atomic_load(&http_generation);
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
    *e = why == http_origin_no_memory ? error_no_memory()
                                      : misused(ask->url, why);
  }
  if (*e == NULL) return r;
  free_request(r);
  return NULL;
}

/* With the door's lock. */
static void enter(http_request *r, http_loop *l) {
  r->loop = l;
  l->requests++;
  into_box(r);
}

static error *into_loop(http_request *r, http_lane *lane) {
  if (lane != NULL && http_lane_is_inherited(lane))
    return http_error(SAROS_E_FORKED, "this was begun by the parent");
  pthread_mutex_lock(&http_lock);
  bool there = lane != NULL || http_shared != NULL;
  if (there) enter(r, lane != NULL ? (http_loop *)lane : http_shared);
  pthread_mutex_unlock(&http_lock);
  if (there) return NULL;
  unsigned kept = http_keep(); /* else it may be gone before it has work */
  error *e = http_thread_begin(&http_shared, "saros-http", false);
  if (e == NULL) e = into_loop(r, NULL);
  http_drop(kept);
  return e;
}

http_request *http_start(const http_ask *ask, error **e) {
  if (!http_prepare()) {
    *e = http_error(SAROS_E_FAIL, "libcurl cannot be initialised");
    return NULL;
  }
  http_request *r = new_request(ask, e);
  if (r == NULL) return NULL;
  *e = into_loop(r, ask->lane);
  if (*e == NULL) return r;
  free_request(r);
  return NULL;
}

/* Tells the loop, if it still has it. Always of this process: see the fork. */
static void wish(http_request *r, const http_wish *more) {
  if (r->generation != atomic_load(&http_generation)) return;
  pthread_mutex_lock(&http_lock);
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
  pthread_mutex_unlock(&http_lock);
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
  if (r->generation != atomic_load(&http_generation)) return false;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += ms / 1000;
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  pthread_mutex_lock(&http_lock);
  while (!r->over && http_here == NULL)
    if (pthread_cond_timedwait(&r->ended, &http_lock, &until) == ETIMEDOUT)
      break;
  bool over = r->over;
  pthread_mutex_unlock(&http_lock);
  return over;
}

const http_answer *http_answer_of(const http_request *r) {
  return &r->answer;
}

/* ------------------------------------------------------------------
** Keeping it
** ---------------------------------------------------------------- */

unsigned http_keep(void) {
  http_prepare(); /* so that a fork is seen from now on */
  pthread_mutex_lock(&http_lock);
  http_keepers++;
  pthread_mutex_unlock(&http_lock);
  return atomic_load(&http_generation);
}

void http_drop(unsigned kept) {
  if (http_is_inherited(kept)) return;
  pthread_mutex_lock(&http_lock);
  if (--http_keepers == 0 && http_shared != NULL) http_door_wake(http_shared);
  pthread_mutex_unlock(&http_lock);
}

bool http_is_inherited(unsigned kept) {
  return kept != atomic_load(&http_generation);
}
