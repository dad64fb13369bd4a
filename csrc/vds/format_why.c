/*
** format_why: why a program could not make a file system, where that is not its
** own doing. It says what it likes, and the device knows.
*/
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vds/about.h"
#include "vds/format.h"


/* A loop device says EIO where its file finds no room any more. */
static bool is_full_below(const vds_target *t) {
  struct statvfs v;
  error *e = NULL;
  vds_about *a = vds_about_new(t->is.whole, &e);
  bool full = e == NULL && a->file[0] != '\0' && statvfs(a->file, &v) == 0 &&
              v.f_bavail * v.f_frsize < (64 << 10);
  error_unref(e);
  mem_free(a);
  return full;
}


/* Writes that failed are the kernel's to know of, once; reads that failed only
   the program's, which speaks English. */
static int why_it_failed(const vds_target *t, const error *e) {
  int number = fsync(t->fd) != 0 ? errno : 0;
  if (number == 0 && strstr(e->message, "Input/output error") != NULL)
    number = EIO;
  return number == EIO && is_full_below(t) ? ENOSPC : number;
}


error *vds_format_explain(const vds_target *t, error *e) {
  int number = e != NULL && e->code == SAROS_E_EXIT ? why_it_failed(t, e) : 0;
  if (number == 0) return e;
  const char *what =
      number == ENOSPC
          ? "there is no room for what is written, where its image lies"
          : "the device cannot be written, or read";
  return error_because(vds_errno(number, what, t->path), e);
}
