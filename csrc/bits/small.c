/*
** Small files: one that comes as a whole in a single answer lies in memory
** until the keeper's hand writes it, so that the I/O thread has nothing to do
** with the disk. Until then its row knows of no part (an inode of 0), and says
** that it waits: who dies here, or before the row knows of what was written,
** has fetched nothing.
*/
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bits/finish_parts.h"
#include "bits/keeper.h"

#define MOST ((size_t)1 << 20) /* of all together */

#ifdef SAROS_TEST
size_t bits_small_most = MOST;
#undef MOST
#define MOST bits_small_most
void (*bits_small_written)(bits_file *f); /* and nobody knows it yet */
#endif

/* A file of each size would be a block of each size. */
static size_t room_of(size_t size) {
  return (size + 4095) & ~(size_t)4095;
}

static size_t weight(size_t room) {
  return sizeof(bits_small) + room;
}

void bits_small_tidy(bits_keeper *k) {
  for (bits_small *s; (s = k->small_spare) != NULL;) {
    k->small_spare = s->next;
    mem_free(s);
  }
  k->small_spares = 0;
}

/* With the lock. The last one that was used is still near. */
static bits_small *take_spare(bits_keeper *k, size_t room) {
  bits_small *s = k->small_spare;
  if (s == NULL || s->room != room) return NULL;
  k->small_spare = s->next;
  k->small_spares -= weight(room);
  return s;
}

/* Nobody else is asked, so that who has no hand, as a test, holds nothing. */
static bool lend(bits_manager *m, size_t room, bits_small **spare) {
  bool lent = false;
  *spare = NULL;
  pthread_mutex_lock(&m->lock);
  bits_keeper *k = m->keeper;
  if (k != NULL && k->hand_runs && !k->hand_stops &&
      k->small + weight(room) <= MOST) {
    *spare = take_spare(k, room);
    if (k->small + k->small_spares + weight(room) > MOST) bits_small_tidy(k);
    k->small += weight(room);
    lent = true;
  }
  pthread_mutex_unlock(&m->lock);
  return lent;
}

static void give_back(bits_manager *m, size_t room, bits_small *spare) {
  bits_keeper *k = m->keeper;
  pthread_mutex_lock(&m->lock);
  k->small -= weight(room);
  if (spare != NULL) {
    spare->next = k->small_spare;
    k->small_spare = spare;
    k->small_spares += weight(room);
  }
  pthread_mutex_unlock(&m->lock);
}

bits_small *bits_small_new(bits_manager *m, size_t size) {
  bits_small *s;
  size_t room = room_of(size);
  if (size > BITS_SMALL || !lend(m, room, &s)) return NULL;
  if (s == NULL) s = mem_alloc(weight(room));
  if (s == NULL) {
    give_back(m, room, NULL);
    return NULL;
  }
  s->next = NULL;
  s->size = size;
  s->room = room;
  return s;
}

void bits_small_free(bits_manager *m, bits_small *s) {
  if (s != NULL) give_back(m, s->room, s);
}

void bits_small_give(bits_file *f, bits_small *s) {
  pthread_mutex_lock(&f->job->m->lock);
  f->small = s;
  pthread_mutex_unlock(&f->job->m->lock);
}

/* ------------------------------------------------------------------
** Written
** ---------------------------------------------------------------- */

/* 0 or errno. It is there as a whole at once, more or less, so that it may have
   the mode that it shall have. */
static int write_part(bits_file *f, bits_part *p, const char **what) {
  bits_manager *m = f->job->m;
  int number = bits_part_create(p, f, FINISH_MODE, what);
  if (number != 0) return number;
  bits_device *d = bits_device_enter(m, (dev_t)p->device, p->fd, f->path);
  *what = "the partial file cannot be written";
  number = bits_part_write(p, 0, f->small->data, f->small->size);
  int closed = bits_part_close(p);
  bits_device_leave(m, d);
  if (number == 0) number = closed;
  if (number != 0) bits_finish_drop(f);
#ifdef SAROS_TEST
  if (bits_small_written != NULL) bits_small_written(f);
#endif
  return number;
}

/* It is a part like any other now; that it is, and which one, is told in the
   same row. */
static void let_go(bits_file *f, const bits_part *p) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  bits_small *s = f->small;
  f->small = NULL;
  if (p != NULL) {
    f->known->device = p->device;
    f->known->inode = p->inode;
    bits_file_touch(f);
  }
  pthread_mutex_unlock(&m->lock);
  bits_small_free(m, s);
}

void bits_small_land(bits_file *f, bits_result *r) {
  bits_manager *m = f->job->m;
  const char *what;
  bits_part p = PART_CLOSED;
  pthread_mutex_lock(&m->lock);
  bool gone = (f->job->marks & BITS_JOB_GONE) != 0; /* with its parts */
  pthread_mutex_unlock(&m->lock);
  int number = gone ? 0 : write_part(f, &p, &what);
  if (number != 0) {
    bits_finish_local(f, number, what, r);
    atomic_store(&f->have, 0);
    bits_file_know(f, NULL);
  }
  let_go(f, gone || number != 0 ? NULL : &p);
}
