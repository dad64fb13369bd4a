/*
** attached: what this process attached is kept in a list, with the descriptor
** that keeps it attached; and which device is over a file.
*/
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/about.h"
#include "vds/attach_parts.h"
#include "vds/loop.h"

typedef struct attached {
  struct attached *next;
  dev_t device;
  int fd; /* -1: who detaches it has it */
} attached;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static attached *all;


bool vds_held_put(dev_t device, int fd) {
  attached *a = mem_alloc(sizeof *a);
  if (a == NULL) return false;
  pthread_mutex_lock(&lock);
  *a = (attached){all, device, fd};
  all = a;
  pthread_mutex_unlock(&lock);
  return true;
}


static int exchange(dev_t device, int fd, bool *known) {
  int before = -1;
  *known = false;
  pthread_mutex_lock(&lock);
  for (attached *a = all; a != NULL && !*known; a = a->next)
    if (a->device == device) {
      before = a->fd;
      a->fd = fd;
      *known = true;
    }
  pthread_mutex_unlock(&lock);
  return before;
}


int vds_held_lend(dev_t device) {
  bool known;
  return exchange(device, -1, &known);
}


void vds_held_return(dev_t device, int fd) {
  bool known;
  exchange(device, fd, &known);
  if (!known) close(fd);
}


void vds_held_drop(dev_t device) {
  pthread_mutex_lock(&lock);
  for (attached **at = &all; *at != NULL; at = &(*at)->next)
    if ((*at)->device == device) {
      attached *a = *at;
      *at = a->next;
      mem_free(a);
      break;
    }
  pthread_mutex_unlock(&lock);
}


/* A child that was forked would keep devices attached that the parent lets go
   of. */
void vds_attach_forked(void) {
  lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  for (attached *a = all; a != NULL; a = a->next)
    if (a->fd >= 0) close(a->fd);
  all = NULL;
}


/* ------------------------------------------------------------------
** Which device
** ---------------------------------------------------------------- */

/* Who may not open it has not attached it either. */
error *vds_attached(int file, dev_t *device, bool *ours) {
  struct stat st;
  char id[GUID_TEXT], path[80];
  size_t count = 0;
  *ours = false;
  *device = 0;
  if (fstat(file, &st) != 0)
    return vds_errno(errno, "the file cannot be looked at", NULL);
  error *e = vds_loop_find(&st, NULL, device, 1, &count);
  if (e != NULL || count == 0) return e;
  e = vds_about_node(*device, path);
  int fd = e == NULL ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  if (e == NULL && fd < 0 && errno != EACCES && errno != EPERM)
    e = vds_errno(errno, "the device cannot be opened", path);
  *ours = fd >= 0 && vds_loop_id(fd, id);
  if (fd >= 0) close(fd);
  return e;
}


int vds_attached_open(dev_t device, int file, error **e) {
  struct stat st;
  char path[80];
  int fd = -1;
  *e = vds_about_node(device, path);
  if (*e != NULL) return -1;
  fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && fstat(file, &st) == 0 && vds_loop_is(fd, &st, NULL)) return fd;
  *e = fd < 0 ? vds_errno(errno, "the device cannot be opened", path)
              : vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                          "%s shows another file by now", path);
  if (fd >= 0) close(fd);
  return -1;
}
