/*
** Errors, and two small things that everybody here needs.
*/
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "vds/vds.h"

/* What VDS has a word for. */
static uint32_t own_code(int number) {
  switch (number) {
    case EIO: return VDS_E_IO_ERROR;
    case EROFS: return VDS_E_MEDIA_WRITE_PROTECTED;
    case ENODEV:
    case ENXIO: return VDS_E_OBJECT_DELETED;
    case ENOMEDIUM: return VDS_E_NO_MEDIA;
    case EACCES:
    case EPERM: return VDS_E_ACCESS_DENIED;
    case EBUSY: return VDS_E_DEVICE_IN_USE;
    default: return code_of_errno(number);
  }
}

error *vds_errno(int number, const char *what, const char *path) {
  if (number == 0) number = EIO; /* an error is never S_OK */
  error *e = error_of_errno(SAROS_FACADE_VDS, number, what, path);
  uint32_t code = own_code(number);
  if (e->code == code || e == error_no_memory()) return e;
  error *own = vds_error(code, "%s", e->message);
  if (path != NULL) own = error_at(own, path);
  error_unref(e);
  return own;
}

uint64_t vds_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Atomic unsigned generation;

unsigned vds_generation(void) {
  return atomic_load(&generation);
}

void vds_forked(void) {
  atomic_fetch_add(&generation, 1);
}
