/*
** The register of devices we write to: queues, caches, partial files,
** restore targets, logs, reports. Whoever is about to freeze a file system
** asks here first, because a freeze that would hold one of our own writers
** would wait for itself.
*/
#ifndef SAROS_BASE_DEVICES_H
#define SAROS_BASE_DEVICES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/value.h"

typedef struct device_hold device_hold;

/* Registers the device behind an open file (of a device file: that device).
   `why` is a person's word for it ("the transfer queue"), `path` what it is;
   both are copied. NULL when memory ran out (errno says) or fstat failed. */
device_hold *device_hold_fd(int fd, const char *why, const char *path);
device_hold *device_hold_dev(dev_t device, const char *why, const char *path);
void device_release(device_hold *hold);
/* Whether somebody holds this device; if so and `why` is not NULL, *why is an
   allocated sentence that names who: "the transfer queue writes to
   /var/lib/saros/queue.db" (NULL when memory ran out). What is below a held
   device is held too: the file of a loop device, the disk of a partition,
   the parts of a logical volume. */
bool device_is_held(dev_t device, char **why);
/* The same of one hold alone. */
bool device_hold_has(const device_hold *hold, dev_t device);
/* All of them as a list of maps { device = "8:1", why, path }. */
value *device_list(void);
/* After a fork, in the child: the holds are the parent's. */
void device_forked(void);

#ifdef SAROS_TEST
extern const char *device_sysfs; /* "/sys" */
#endif

#endif
