/*
** aside: fsync on a thread of its own. While a disk empties its cache others
** can go on.
*/
#include "vds/aside.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>


static void sync_all(vds_aside *a) {
  for (int i = 0; i < 2; i++)
    if (a->fds[i] >= 0 && fsync(a->fds[i]) != 0 && a->number == 0)
      a->number = errno;
}


static void *work(void *context) {
  prctl(PR_SET_NAME, "saros-sync");
  sync_all(context);
  return NULL;
}


void vds_aside_sync(vds_aside *a, int one, int two) {
  sigset_t all, before;
  *a = (vds_aside){.fds = {one, two}};
  sigfillset(&all); /* signals are the host's */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  a->running = pthread_create(&a->thread, NULL, work, a) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!a->running) sync_all(a);
}


int vds_aside_end(vds_aside *a) {
  if (a->running) pthread_join(a->thread, NULL);
  a->running = false;
  return a->number;
}
