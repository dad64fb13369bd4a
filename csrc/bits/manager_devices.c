/*
** The file systems that partial files are on, while tries write to them: a
** freeze that would hold one is refused. One registration each, however many
** files; kept for a moment when the last of them is over, because the next one
** follows.
*/
#include <sys/types.h>

#include "bits/keeper.h"

#define IDLE_MS 1000u

struct bits_device {
  bits_device *next;
  dev_t device;
  saros_device *hold;
  unsigned used;
  uint64_t idle_since;
};

/* With the lock. */
static bits_device *find(bits_manager *m, dev_t device) {
  bits_device *d = m->devices;
  while (d != NULL && d->device != device) d = d->next;
  if (d != NULL) d->used++;
  return d;
}

bits_device *bits_device_enter(bits_manager *m, dev_t device, int fd,
                               const char *path) {
  if (bits_manager_is_inherited(m)) return NULL;
  pthread_mutex_lock(&m->lock);
  bits_device *d = find(m, device);
  pthread_mutex_unlock(&m->lock);
  if (d != NULL) return d;
  /* What is below it is looked up in files. */
  bits_device *fresh = mem_zero(sizeof *fresh);
  if (fresh == NULL) return NULL;
  fresh->device = device;
  fresh->used = 1;
  fresh->hold = saros_device_hold(fd, "a transfer", path);
  pthread_mutex_lock(&m->lock);
  d = find(m, device);
  if (d == NULL) {
    fresh->next = m->devices;
    m->devices = fresh;
  }
  pthread_mutex_unlock(&m->lock);
  if (d == NULL) return fresh;
  saros_device_release(fresh->hold);
  mem_free(fresh);
  return d;
}

void bits_device_leave(bits_manager *m, bits_device *d) {
  if (d == NULL || bits_manager_is_inherited(m)) return;
  pthread_mutex_lock(&m->lock);
  if (--d->used == 0) d->idle_since = http_clock();
  pthread_mutex_unlock(&m->lock);
}

bool bits_devices_tidy(bits_manager *m) {
  uint64_t now = http_clock();
  bool idle = false;
  for (bits_device **link = &m->devices, *d; (d = *link) != NULL;) {
    if (d->used > 0 || now - d->idle_since < IDLE_MS) {
      idle |= d->used == 0;
      link = &d->next;
      continue;
    }
    *link = d->next;
    saros_device_release(d->hold);
    mem_free(d);
  }
  return idle;
}

/* In a child the holds are the parent's. */
void bits_devices_free(bits_manager *m) {
  bool ours = !bits_manager_is_inherited(m);
  for (bits_device *d = m->devices, *next; d != NULL; d = next) {
    next = d->next;
    if (ours) saros_device_release(d->hold);
    mem_free(d);
  }
  m->devices = NULL;
}
