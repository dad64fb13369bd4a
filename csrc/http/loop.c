/*
** What the I/O thread does: takes what is wished from the door, lets libcurl
** work, and looks for what has stalled.
*/
#include <stdio.h>

#include "http/http_parts.h"

http_loop *http_loop_new(const char *name) {
  http_loop *l = mem_zero(sizeof *l);
  if (l == NULL) return NULL;
  pthread_mutex_init(&l->turn, NULL);
  snprintf(l->name, sizeof l->name, "%s", name);
  l->box_end = &l->box;
  l->errands_end = &l->errands;
  l->look_at = HTTP_UNKNOWN;
  l->multi = curl_multi_init();
  l->share = curl_share_init();
  if (l->multi == NULL || l->share == NULL ||
      /* One thread: no locks. Connections and names the handle shares. */
      curl_share_setopt(l->share, CURLSHOPT_SHARE,
                        CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
      curl_multi_setopt(l->multi, CURLMOPT_PIPELINING,
                        (long)CURLPIPE_NOTHING) != CURLM_OK ||
      /* Else idle connections go as soon as there are few requests. */
      curl_multi_setopt(l->multi, CURLMOPT_MAXCONNECTS, 64L) != CURLM_OK) {
    http_loop_free(l);
    return NULL;
  }
  return l;
}

void http_loop_free(http_loop *l) {
  while (l->spares > 0) curl_easy_cleanup(l->spare[--l->spares]);
  if (l->multi != NULL) curl_multi_cleanup(l->multi);
  if (l->share != NULL) curl_share_cleanup(l->share);
  pthread_mutex_destroy(&l->turn);
  mem_free(l);
}

/* ------------------------------------------------------------------
** One request's way
** ---------------------------------------------------------------- */

static void end_now(http_request *r, CURLcode rc) {
  http_verdict(r, rc);
  r->state = HTTP_IS_OVER;
  if (r->ask.calls->done != NULL)
    r->ask.calls->done(r->ask.context, &r->answer);
  http_door_over(r);
}

static void give_back(http_loop *l, http_request *r) {
  if (r->easy == NULL) return;
  http_carry_end(r);
  if (l->spares < HTTP_SPARE)
    l->spare[l->spares++] = r->easy;
  else
    curl_easy_cleanup(r->easy);
  r->easy = NULL;
}

static void run_list_add(http_loop *l, http_request *r) {
  r->next = l->running;
  r->link = &l->running;
  if (r->next != NULL) r->next->link = &r->next;
  l->running = r;
}

static void run_list_drop(http_request *r) {
  if (r->link == NULL) return;
  *r->link = r->next;
  if (r->next != NULL) r->next->link = r->link;
  r->next = NULL;
  r->link = NULL;
}

#define PATIENCE_MOST ((uint64_t)3600000)

/* How long a window is. What libcurl has carried at once under a small limit it
   waits for before it carries more: that is no stall. */
static uint64_t patience(const http_request *r) {
  uint64_t limit = r->has_body ? r->ask.up : r->ask.down;
  uint64_t most = limit > 0 ? r->burst * 1000 / limit : 0;
  return r->ask.stall_ms + (most < PATIENCE_MOST ? most : PATIENCE_MOST);
}

static void look_before(http_loop *l, uint64_t at) {
  if (l->look_at > at) l->look_at = at;
}

static void open_window(http_loop *l, http_request *r, uint64_t now) {
  r->since = now;
  r->moved_since = r->moved;
  look_before(l, now + patience(r));
}

/* Its slot with its host is taken. False: it is condemned. */
static bool set_going(http_loop *l, http_request *r) {
  r->state = HTTP_RUNS;
  r->easy = l->spares > 0 ? l->spare[--l->spares] : curl_easy_init();
  if (r->easy == NULL) {
    http_condemn(r, HTTP_FAILED, "there is not enough memory");
    return false;
  }
  if (!http_carry_begin(r, l->share)) return false;
  if (curl_multi_add_handle(l->multi, r->easy) != CURLM_OK) {
    http_condemn(r, HTTP_FAILED, "libcurl does not take it");
    return false;
  }
  run_list_add(l, r);
  open_window(l, r, http_clock());
  return true;
}

static void admit(http_loop *l, http_origin *o) {
  http_request *r;
  http_gate_hold(o);
  while ((r = http_gate_next(o)) != NULL) {
    if (set_going(l, r)) continue;
    http_gate_leave(&l->origins, o);
    CURL *easy = r->easy;
    if (easy != NULL) http_carry_end(r);
    r->easy = NULL;
    curl_easy_cleanup(easy);
    end_now(r, CURLE_OK);
  }
  http_gate_let_go(&l->origins, o);
}

static void enter(http_loop *l, http_request *r) {
  if (!http_gate_enter(&l->origins, r)) {
    http_condemn(r, HTTP_FAILED, "there is not enough memory");
    end_now(r, CURLE_OK);
    return;
  }
  admit(l, r->origin);
}

/* libcurl has let go of it, or must now. */
static void settle(http_loop *l, http_request *r, CURLcode rc) {
  http_origin *o = r->origin;
  curl_multi_remove_handle(l->multi, r->easy);
  run_list_drop(r);
  if (http_verdict_again(r, rc) && http_carry_rewind(r)) {
    give_back(l, r);
    r->fresh = true;
    if (set_going(l, r)) return;
  } else if (r->dropping && !r->ending && http_redirect(r) == HTTP_LEADS) {
    give_back(l, r);
    r->fresh = false;
    http_gate_hold(o);
    http_gate_leave(&l->origins, o);
    enter(l, r);
    admit(l, o);
    http_gate_let_go(&l->origins, o);
    return;
  }
  http_verdict(r, rc); /* while there is a handle to ask */
  give_back(l, r);
  r->origin = NULL;
  http_gate_hold(o);
  http_gate_leave(&l->origins, o);
  r->state = HTTP_IS_OVER;
  if (r->ask.calls->done != NULL)
    r->ask.calls->done(r->ask.context, &r->answer);
  http_door_over(r);
  admit(l, o);
  http_gate_let_go(&l->origins, o);
}

/* ------------------------------------------------------------------
** The turn
** ---------------------------------------------------------------- */

static void cancel(http_loop *l, http_request *r) {
  http_condemn(r, HTTP_CANCELLED, "it was cancelled");
  if (r->state == HTTP_RUNS) {
    settle(l, r, CURLE_ABORTED_BY_CALLBACK);
    return;
  }
  if (r->state == HTTP_WAITS) {
    http_gate_abandon(&l->origins, r);
  }
  end_now(r, CURLE_OK);
}

/* libcurl holds what has come within the last three seconds against a new
   limit, too, and waits until that is made up for: minutes, where it is much
   lower. It forgets that when it sees, behind those seconds, that the limit is
   kept; so it is shown one that is. */
#define LOWERED_MS 3100u
#define MUCH 8

static bool is_much_lower(uint64_t limit, uint64_t than) {
  return limit > 0 && (than == 0 || limit < than / MUCH);
}

static void watch_lowered(http_loop *l, http_request *r, uint64_t now) {
  r->lowered_at = now;
  r->lowered_moved = r->moved;
  look_before(l, now + LOWERED_MS);
}

static void set_limit(http_loop *l, http_request *r, const http_wish *wish) {
  bool lower = is_much_lower(wish->down, r->ask.down) ||
               is_much_lower(wish->up, r->ask.up);
  r->ask.down = wish->down;
  r->ask.up = wish->up;
  http_carry_limit(r);
  if (!lower || r->easy == NULL) return;
  r->lowered_twice = false;
  watch_lowered(l, r, http_clock());
}

/* Nothing has moved since, and it is time. What was on its way when the limit
   was lowered still moves, and says nothing: then it is looked at once more. */
static bool is_stuck(http_loop *l, http_request *r, uint64_t now) {
  if (r->lowered_at == 0) return false;
  if (now < r->lowered_at + LOWERED_MS) {
    look_before(l, r->lowered_at + LOWERED_MS);
    return false;
  }
  r->lowered_at = 0;
  if (r->moved == r->lowered_moved) return !r->paused;
  if (r->lowered_twice) return false;
  r->lowered_twice = true;
  watch_lowered(l, r, now);
  return false;
}

static void grant(http_loop *l, http_request *r, const http_wish *wish) {
  if (r->state == HTTP_IS_OVER) return;
  if (wish->cancel) {
    cancel(l, r);
    return;
  }
  if (wish->limit) set_limit(l, r, wish);
  if (r->state == HTTP_GIVEN) {
    enter(l, r);
  } else if (wish->resume && r->paused) {
    r->paused = false;
    open_window(l, r, http_clock());
    curl_easy_pause(r->easy, CURLPAUSE_CONT); /* may call back */
  }
}

static void take_wishes(http_loop *l) {
  http_wish wish;
  for (http_request *r; (r = http_door_take(l, &wish)) != NULL;) {
    grant(l, r, &wish);
    http_unref(r);
  }
}

static void take_ended(http_loop *l) {
  int left;
  for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left)) != NULL;) {
    char *owner = NULL;
    CURLcode rc = m->data.result;
    if (m->msg != CURLMSG_DONE) continue;
    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &owner);
    if (owner != NULL) settle(l, (http_request *)(void *)owner, rc);
  }
}

static void loosen(http_loop *l, uint64_t now) {
  int running;
  bool any = false;
  for (http_request *r = l->running; r != NULL; r = r->next)
    if (is_stuck(l, r, now)) {
      http_carry_loosen(r);
      any = r->loose = true;
    }
  if (!any) return;
  curl_multi_perform(l->multi, &running);
  for (http_request *r = l->running; r != NULL; r = r->next) {
    if (r->loose) http_carry_limit(r);
    r->loose = false;
  }
  take_ended(l);
}

/* A window that ends with too little in it is a stall; a pause is none. */
static void look_for_stalls(http_loop *l) {
  uint64_t now = http_clock();
  http_request *next;
  if (now < l->look_at) return;
  l->look_at = HTTP_UNKNOWN;
  for (http_request *r = l->running; r != NULL; r = next) {
    next = r->next;
    bool over = now - r->since >= patience(r);
    if (over && !r->paused && r->moved - r->moved_since < r->ask.stall_bytes) {
      http_condemn(r, HTTP_STALLED,
                   "less than %llu bytes came or went within %u ms",
                   (unsigned long long)r->ask.stall_bytes, r->ask.stall_ms);
      settle(l, r, CURLE_OPERATION_TIMEDOUT);
    } else if (over) {
      open_window(l, r, now);
    } else {
      look_before(l, r->since + patience(r));
    }
  }
  loosen(l, now);
}

#define LONG_MS 100 /* for a turn: a callback waited for a disk */

/* Nobody could have sent anything meanwhile that we had taken. What began in
   the turn itself has lost nothing. */
static void forgive(http_loop *l, uint64_t begun, uint64_t ms) {
  for (http_request *r = l->running; r != NULL; r = r->next)
    if (r->since <= begun) r->since += ms;
}

static void do_errands(http_loop *l) {
  for (http_errand *d; (d = http_door_errand(l)) != NULL;) {
    d->call(d->context);
    mem_free(d);
  }
}

int http_loop_turn(http_loop *l) {
  int running;
  bool more;
  uint64_t begun = http_clock();
  take_wishes(l);
  do_errands(l);
  curl_multi_perform(l->multi, &running);
  take_ended(l);
  uint64_t took = http_clock() - begun;
  if (took >= LONG_MS) forgive(l, begun, took);
  look_for_stalls(l);
  if (http_door_leave(l, &more)) return -1;
  if (more) return 0;
  uint64_t now = http_clock();
  if (l->look_at == HTTP_UNKNOWN) return 3600000;
  return l->look_at <= now ? 0 : (int)(l->look_at - now);
}
