/*
** Loop devices. What is done to one is done to an open device whose file was
** looked at (inode and device, as the kernel has them), and ours carry a mark:
** "saros:" and the id of their record, as the name of the file in the device's
** status.
*/
#ifndef SAROS_VDS_LOOP_H
#define SAROS_VDS_LOOP_H

#include <sys/stat.h>

#include "vds/vds.h"

#define VDS_LOOP_MARK 64 /* with the NUL */

/* A free device over the file; it lets go of it by itself when nobody has it
   open or mounted any more (autoclear). *fd keeps it. */
error *vds_loop_attach(int file, const char *mark, bool read_only,
                       unsigned block, int *fd, dev_t *dev);
/* From now on it stays until it is detached. */
error *vds_loop_keep(int fd);
/* Over this file, with this mark (NULL: any): up to `most` of them. An error:
   not all could be looked at, so there may be one more. */
error *vds_loop_find(const struct stat *file, const char *mark, dev_t *list,
                     size_t most, size_t *count);
/* The one that has this mark, whatever its file; 0: there is none. */
error *vds_loop_marked(const char *mark, dev_t *dev);
/* Ends it, and closes the fd. It lives on while it is open or mounted
   somewhere; that is waited for with patience (step.h): else *gone is false,
   and it will go by itself. */
error *vds_loop_detach(int fd, dev_t dev, bool *gone);
/* Ends it if nobody else has it open, or closes it soon: *gone, and *fd
   is closed and -1. Else it is as it was, and *fd still keeps it. */
error *vds_loop_end(int *fd, dev_t dev, bool *gone);
/* The file has another size. */
error *vds_loop_resize(int fd);
/* The record that its mark names. False: it is none of ours. */
bool vds_loop_id(int fd, char id[GUID_TEXT]);
/* Whether it is over this file (and has this mark, unless NULL). */
bool vds_loop_is(int fd, const struct stat *file, const char *mark);

#endif
