/*
** The parts of the image provider, for each other.
*/
#ifndef SAROS_VSS_PROVIDER_IMAGE_PARTS_H
#define SAROS_VSS_PROVIDER_IMAGE_PARTS_H

#include <sys/stat.h>

#include "vss/place.h"

#define IMAGE_CLONE "image" /* in the place: the cloned file */
#define IMAGE_TREE "tree"   /* in the place: where it is mounted */

/* What a file system that lies in a file lies in. */
typedef struct image_source {
  int file;               /* open for reading */
  uint64_t offset, limit; /* of the file system in it, in bytes; limit 0: all */
  uint32_t block;         /* bytes of a sector of the device */
} image_source;

/* image_loop.c: loop devices. */

/* Opens the file behind the loop device that the path lies on, and makes sure
   that it is that. */
error *image_open_source(const origin *from, image_source *source);
/* A read-only loop device over the clone; *device is open on it, and the
   device lets go of the file when that is closed and nobody has mounted it. */
error *image_attach(int clone, const image_source *source, int *device);
/* The loop devices over this file, at most `most`; `word` is a part of its
   path, so that other people's devices are not even opened. */
size_t image_loops(const struct stat *clone, const char *word, dev_t *loops,
                   size_t most);
/* Takes one of them off the file. VSS_E_VOLUME_IN_USE: somebody has it. */
error *image_detach(dev_t loop, const struct stat *clone, const char *path);

/* image_after.c */
error *image_destroy(const value *keep, saros_op *op);
error *image_verify(const value *keep);
/* Puts what verify looks at into keep. */
bool image_put_state(value *keep, int clone);

#ifdef SAROS_TEST
extern unsigned image_pieces_most; /* of an image, without a warning */
#endif

#endif
