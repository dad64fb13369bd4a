/*
** A host: how many connections it has, of whatever jobs, and its gate. The
** gate is closed by what says that it is the host which needs a rest (429,
** 503), by a host that is not reached, and by several failures in a row; for a
** while that doubles each time, and at least as long as it asks for. Then one
** try goes through: what becomes of it opens the gate, or closes it again.
** What was begun before it was closed last says nothing.
*/
#include <string.h>

#include "bits/mover_parts.h"

#define HOST_KEPT 128
#define HOST_NAME 300

static char lower(char c) {
  return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "https://host:443", without a port that goes without saying. The length. */
static size_t name_of(const char *url, char *name) {
  const char *rest = strstr(url, "://");
  size_t n = 0;
  if (rest == NULL) rest = url;
  for (const char *p = url; p < rest && n < 8; p++) name[n++] = lower(*p);
  bool tls = n == 5;
  if (*rest == ':') rest += 3;
  size_t size = strcspn(rest, "/?#");
  for (const char *at; (at = memchr(rest, '@', size)) != NULL;) {
    size -= (size_t)(at + 1 - rest);
    rest = at + 1;
  }
  const char *usual = tls ? ":443" : ":80";
  size_t tail = strlen(usual);
  if (size > tail && memcmp(rest + size - tail, usual, tail) == 0) size -= tail;
  name[n++] = '/';
  for (size_t i = 0; i < size && n < HOST_NAME - 1; i++)
    name[n++] = lower(rest[i]);
  name[n] = '\0';
  return n;
}

static mover_host *new_host(bits_mover *v, const char *name, size_t bucket) {
  mover_host *h = mem_zero(sizeof *h);
  if (h == NULL) return NULL;
  h->name = mem_text(name);
  if (h->name == NULL) {
    mem_free(h);
    return NULL;
  }
  for (unsigned i = 0; i < MOVER_LEVELS; i++)
    h->waiting[i].all = &v->host_waits[i];
  h->next = v->hosts[bucket];
  v->hosts[bucket] = h;
  v->host_count++;
  return h;
}

mover_host *host_of(bits_mover *v, const char *url) {
  char name[HOST_NAME];
  size_t size = name_of(url, name);
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < size; i++)
    hash = (hash ^ (unsigned char)name[i]) * 16777619u;
  size_t bucket = hash % MOVER_HOST_BUCKETS;
  for (mover_host *h = v->hosts[bucket]; h != NULL; h = h->next)
    if (strcmp(h->name, name) == 0) return h;
  return new_host(v, name, bucket);
}

/* ------------------------------------------------------------------
** The gate
** ---------------------------------------------------------------- */

uint64_t host_closed(const mover_host *h, uint64_t now) {
  if (h->until == 0) return 0;
  if (now < h->until) return h->until;
  return h->probing ? now + RETRY_BASE_MS : 0;
}

static void leave_offline(bits_mover *v, mover_host *h) {
  if (!h->offline) return;
  h->offline = false;
  if (--v->offline == 0) net_unwatch(v);
}

static void close_gate(bits_mover *v, mover_host *h, uint64_t until) {
  h->wave++;
  h->until = until;
  h->probing = false;
  mover_let_in(v, h); /* they may have something for another host */
}

void host_good(bits_mover *v, mover_run *run) {
  mover_host *h = run->host;
  h->bad = 0;
  if (run->wave != h->wave) return;
  run->probe = h->probing = false;
  h->closed = 0;
  h->until = 0;
  leave_offline(v, h);
}

static bool is_unreached(const bits_result *r) {
  return r->transport == 0 && (r->code == BG_E_CONNECT_FAILURE ||
                               r->code == BG_E_NAME_RESOLUTION_FAILURE);
}

static uint64_t asked_for(const bits_result *r) {
  if (!r->has_wait) return 0;
  return r->wait_ms < RETRY_AFTER_MOST_MS ? r->wait_ms : RETRY_AFTER_MOST_MS;
}

static void judge_again(bits_mover *v, mover_run *run, const bits_result *r,
                        uint64_t now) {
  mover_host *h = run->host;
  uint64_t least = asked_for(r);
  if (run->wave != h->wave) { /* but what it is asked for it does */
    if (r->gate_host && least > 0 && h->until < now + least)
      close_gate(v, h, now + least);
    return;
  }
  leave_offline(v, h);
  if (r->moved && !r->gate_host) {
    host_good(v, run);
    return;
  }
  if (!r->gate_host && !is_unreached(r) && ++h->bad < MOVER_HOST_BAD) return;
  uint64_t wait = retry_backoff(&v->seed, ++h->closed);
  close_gate(v, h, now + (wait > least ? wait : least));
}

static void judge_offline(bits_mover *v, mover_run *run, uint64_t now) {
  mover_host *h = run->host;
  if (run->wave != h->wave) return;
  close_gate(v, h, now + MOVER_PROBE_MS);
  if (h->offline) return;
  h->offline = true;
  if (v->offline++ == 0) net_watch(v);
}

void host_judge(bits_mover *v, mover_run *run, const bits_result *r,
                uint64_t now) {
  if (run->probe) run->host->probing = false;
  /* What went wrong here is not its fault. */
  if (r->end == BITS_END_AGAIN &&
      (r->context == BITS_CONTEXT_QUEUE || r->context == BITS_CONTEXT_LOCAL))
    return;
  switch (r->end) {
    case BITS_END_WHOLE: host_good(v, run); break;
    case BITS_END_AGAIN: judge_again(v, run, r, now); break;
    case BITS_END_OFFLINE: judge_offline(v, run, now); break;
    case BITS_END_FAILED:
      if (r->transport != 0) host_good(v, run); /* it speaks */
      break;
    default: break;
  }
}

void host_ask_now(bits_mover *v, const char *url, uint64_t now) {
  mover_host *h = host_of(v, url);
  if (h != NULL && h->until > now) h->until = now > 0 ? now : 1;
}

void host_online(bits_mover *v, uint64_t now) {
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (mover_host *h = v->hosts[i]; h != NULL; h = h->next)
      if (h->offline && h->until > now) h->until = now > 0 ? now : 1;
}

/* ------------------------------------------------------------------
** The end of it
** ---------------------------------------------------------------- */

static bool is_needed(const mover_host *h, uint64_t now) {
  if (h->active > 0 || h->freed || h->offline) return true;
  if (h->until != 0 && now < h->until + 2 * (uint64_t)RETRY_CAP_MS) return true;
  for (unsigned i = 0; i < MOVER_LEVELS; i++)
    if (h->waiting[i].count > 0) return true;
  return false;
}

void host_tidy(bits_mover *v, uint64_t now) {
  if (v->host_count <= HOST_KEPT) return;
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++) {
    mover_host **link = &v->hosts[i];
    while (*link != NULL) {
      mover_host *h = *link;
      if (is_needed(h, now)) {
        link = &h->next;
        continue;
      }
      *link = h->next;
      v->host_count--;
      mem_free(h->name);
      mem_free(h);
    }
  }
}

void host_free_all(bits_mover *v) {
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    while (v->hosts[i] != NULL) {
      mover_host *h = v->hosts[i];
      v->hosts[i] = h->next;
      mem_free(h->name);
      mem_free(h);
    }
  v->host_count = 0;
}
