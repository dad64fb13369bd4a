/*
** Where what comes goes: straight into the partial file, from libcurl's buffer;
** a small file, that comes as a whole, into memory (small.c).
** Every 64 MiB, or 10 s, all of it is made durable, and the row says so: more a
** dead machine does not take. That has a thread of its own each time, for a
** second or two: it costs nothing beside 64 MiB, while on this thread it would
** hold up all others, and on the keeper's every commit.
*/
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "bits/fetch_parts.h"

#ifdef SAROS_TEST
uint64_t fetch_sync_bytes = (uint64_t)64 << 20;
#define SYNC_BYTES fetch_sync_bytes
#define SYNC_LEAST (fetch_sync_bytes / 64)
#else
#define SYNC_BYTES ((uint64_t)64 << 20)
#define SYNC_LEAST (SYNC_BYTES / 64)
#endif
#define SYNC_MS 10000u
/* Small files are written as they are. */
#define RESERVE_LEAST ((uint64_t)1 << 20)

void fetch_local(fetch *t, int number, const char *what) {
  t->result = (bits_result){.end = BITS_END_FAILED};
  judge_local(number, what, t->f->path, &t->result);
}

/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

/* So much of it there is at least. (http is not told: what a server says when
   it refuses may be larger than the file may be.) */
static bool too_large(fetch *t, uint64_t length) {
  uint64_t most = t->terms->most;
  if (most == 0 || length == BITS_UNKNOWN || length <= most) return false;
  fetch_fails(t, BITS_END_FAILED, BG_E_TOO_LARGE,
              "it has at least %llu bytes, and the job allows %llu",
              (unsigned long long)length, (unsigned long long)most);
  return true;
}

/* The length is known now, or is not. */
static bool prepare(fetch *t) {
  uint64_t length = bits_file_length(t->f);
  if (t->device == NULL && t->small == NULL)
    t->device = bits_device_enter(t->f->job->m, (dev_t)t->part.device,
                                  t->part.fd, t->f->path);
  t->synced = t->f->known->durable;
  if (t->synced_at == 0) t->synced_at = http_clock();
  if (too_large(t, length)) return false;
  if (length == BITS_UNKNOWN || length < RESERVE_LEAST) return true;
  int number = bits_part_reserve(&t->part, t->have, length);
  if (number != 0) fetch_local(t, number, "there is no room for it");
  return number == 0;
}

/* All of it, in one answer. */
static bits_small *new_small(const fetch *t, const http_answer *a) {
  if (a->status != 200 || a->length > BITS_SMALL || a->length >= SYNC_LEAST ||
      fetch_has_ranges(t))
    return NULL;
  return bits_small_new(t->f->job->m, (size_t)a->length);
}

bool fetch_store_begin(fetch *t, const http_answer *a) {
  const char *what = "memory";
  int number = 0;
  bits_known *k = judge_know(a);
  if (k == NULL) number = ENOMEM;
  if (number == 0) t->small = new_small(t, a);
  if (number == 0 && t->small == NULL)
    number = bits_part_create(&t->part, t->f, PART_MODE, &what);
  if (number != 0) {
    bits_known_free(k);
    fetch_local(t, number, what);
    return false;
  }
  k->total = a->status == 206 ? a->total : a->length;
  k->device = t->part.device;
  k->inode = t->part.inode;
  memcpy(k->boot, bits_boot(), sizeof k->boot);
  bits_file_know(t->f, k);
  if ((bits_file_marks(t->f) & BITS_FILE_UNPROVEN) != 0)
    bits_file_mark(t->f, 0, BITS_FILE_UNPROVEN); /* that was another */
  bits_file_size(t->f, bits_file_length(t->f));
  return prepare(t);
}

/* What is known of it, with this changed, and of the part as it is now. */
static bool know(fetch *t, uint64_t total, uint64_t durable) {
  bits_known *k = bits_known_copy(t->f->known);
  if (k == NULL) {
    fetch_local(t, ENOMEM, "memory");
    return false;
  }
  k->total = total;
  k->durable = durable;
  k->device = t->part.device;
  k->inode = t->part.inode;
  memcpy(k->boot, bits_boot(), sizeof k->boot);
  bits_file_know(t->f, k);
  t->asked.known = k;
  return true;
}

bool fetch_store_go_on(fetch *t, const http_answer *a) {
  const bits_known *k = t->f->known;
  uint64_t total =
      k->total == BITS_UNKNOWN && a->status == 206 ? a->total : k->total;
  /* What was here when the machine was booted is on the disk. */
  bool booted = strcmp(k->boot, bits_boot()) != 0;
  uint64_t durable = booted || k->durable > t->have ? t->have : k->durable;
  if (total != k->total || booted || durable != k->durable)
    if (!know(t, total, durable)) return false;
  bits_file_size(t->f, bits_file_length(t->f));
  return prepare(t);
}

bool fetch_store_end(fetch *t) {
  if (!know(t, t->have, t->f->known->durable)) return false;
  bits_file_size(t->f, t->have);
  return true;
}

/* As much of it as came is worth a part only where it can be gone on with. */
static int write_small(fetch *t) {
  const char *what = "memory";
  if (t->have == 0 || !judge_can_resume(t->f->known)) return 0;
  int number = bits_part_create(&t->part, t->f, PART_MODE, &what);
  if (number != 0) return number;
  if (!know(t, t->f->known->total, 0)) return ENOMEM;
  return bits_part_write(&t->part, 0, t->small->data, (size_t)t->have);
}

int fetch_store_small(fetch *t) {
  bits_small *s = t->small;
  bool is_whole = t->result.end == BITS_END_WHOLE && t->have == s->size;
  int number = is_whole || t->f->known == NULL ? 0 : write_small(t);
  if (is_whole)
    bits_small_give(t->f, s);
  else
    bits_small_free(t->f->job->m, s);
  t->small = NULL;
  return number;
}

/* ------------------------------------------------------------------
** Durable
** ---------------------------------------------------------------- */

static void synced(void *context) {
  fetch *t = context;
  const bits_known *k = t->f->known;
  t->syncing = false;
  if (t->sync_number == 0 && k != NULL) {
    t->synced = t->sync_to;
    know(t, k->total, t->sync_to);
  }
  fetch_synced(t);
}

static void *sync_part(void *context) {
  fetch *t = context;
  struct timespec nap = {.tv_nsec = 10000000};
  prctl(PR_SET_NAME, "saros-sync");
  t->sync_number = bits_part_sync(&t->part);
  while (!http_lane_call(t->lane, synced, t)) nanosleep(&nap, NULL);
  return NULL;
}

static void sync_later(fetch *t) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;
  t->synced_at = http_clock();
  t->sync_to = t->have;
  if (pthread_attr_init(&attributes) != 0) return;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&all); /* signals are the host's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  t->syncing = pthread_create(&thread, &attributes, sync_part, t) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
}

/* Who wants no durability, or could not go on anyway, does not pay for it. */
static void sync_sometimes(fetch *t) {
  uint64_t more = t->have - t->synced;
  if (more < SYNC_LEAST || t->syncing || t->small != NULL ||
      t->terms->durability == BITS_DURABLE_NONE)
    return;
  if (more < SYNC_BYTES && http_clock() - t->synced_at < SYNC_MS) return;
  if (t->terms->dynamic || !judge_can_resume(t->f->known)) return;
  sync_later(t);
}

/* ------------------------------------------------------------------
** Bytes
** ---------------------------------------------------------------- */

static int more_room(fetch *t) {
  bits_part *p = &t->part;
  if (t->small != NULL) return 0;
  if (p->reserved >= t->have + PART_AHEAD / 4) return 0;
  uint64_t length = bits_file_length(t->f);
  if (length == BITS_UNKNOWN || length < RESERVE_LEAST) return 0;
  return bits_part_reserve(p, t->have, length);
}

/* More than was announced does not come: http sees to that. */
static int put_small(fetch *t, const char *bytes, size_t size) {
  if (size > t->small->size - t->have) return EFBIG;
  memcpy(t->small->data + t->have, bytes, size);
  return 0;
}

int fetch_store(fetch *t, const void *data, size_t size) {
  const char *bytes = data;
  int number;
  if (t->at < t->have) {
    uint64_t left = t->have - t->at;
    size_t n = size < left ? size : (size_t)left;
    number = bits_part_same(&t->part, t->at, bytes, n);
    if (number == EBADMSG) return number;
    if (number != 0) {
      fetch_local(t, number, "the partial file cannot be read");
      return number;
    }
    t->at += n;
    bytes += n;
    size -= n;
  }
  if (size == 0) return 0;
  if (too_large(t, t->have + size)) return EFBIG;
  if (t->small != NULL)
    number = put_small(t, bytes, size);
  else
    number = bits_part_write(&t->part, t->have, bytes, size);
  if (number == 0) {
    t->have = t->at = t->have + size;
    t->stored = true;
    atomic_store_explicit(&t->f->have, t->have, memory_order_relaxed);
    number = more_room(t);
  }
  if (number != 0)
    fetch_local(t, number, "the partial file cannot be written");
  else
    sync_sometimes(t);
  return number;
}
