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
/* Into keep and out of it, so that the device can be made again. */
bool image_put_source(value *keep, const image_source *source);
void image_get_source(const value *keep, image_source *source);
/* One that is there already, opened; -1 when it is not, or not any more, like
   the one that image_attach would make. */
int image_adopt(dev_t loop, const struct stat *clone,
                const image_source *source);
/* The loop devices over this file, at most `most`; `word` is a part of its
   path, so that other people's devices are not even opened. */
size_t image_loops(const struct stat *clone, const char *word, dev_t *loops,
                   size_t most);
/* Takes one of them off the file. VSS_E_VOLUME_IN_USE: somebody has it. */
error *image_detach(dev_t loop, const struct stat *clone, const char *path);

/* image_after.c */

enum { IMAGE_LOOPS = 8 }; /* over one clone: one, unless somebody adds some */

/* What there is of a shadow. */
typedef struct image_remains {
  int place; /* -1: gone */
  int clone; /* -1: gone, or never made */
  struct stat st;
  char *place_path, *tree;
  const char *id; /* the name of the place */
  dev_t loops[IMAGE_LOOPS];
  size_t count;
} image_remains;

/* In every case to be let go. SAROS_E_REFUSED: there is something else. */
error *image_look(const value *keep, image_remains *r);
void image_let_go(image_remains *r);
bool image_is_loop(const image_remains *r, dev_t dev);
/* It is there, and as it was when it was finished. */
error *image_unchanged(const image_remains *r, const value *keep);
/* Unmounts it, however often it is mounted on its tree, and takes its devices
   off it; nothing when something else is mounted there. */
error *image_sink(const image_remains *r);
/* VSS_E_OBJECT_NOT_FOUND: "the shadow copy … <how>". */
error *image_changed(const image_remains *r, const char *how);
error *image_remove_tree(const image_remains *r);
error *image_destroy(const value *keep, saros_op *op);
error *image_verify(const value *keep);
/* Puts what verify looks at into keep. */
bool image_put_state(value *keep, int clone);

/* image_mount.c */

/* A clone that is to be read. */
typedef struct image_copy {
  int clone, place;
  const char *path; /* of the place */
  const char *type; /* of the file system */
  image_source source;
  const image_remains *remains; /* with devices over it already, or NULL */
} image_copy;

/* Mounts it read-only on its tree. *device: allocated. */
error *image_mount(const image_copy *c, char **device);
bool image_surfaced(const value *keep);
error *image_surface(const value *keep, saros_op *op, char **device);
error *image_loosen(const value *keep, char **path);
char *image_stays(const value *keep);

#ifdef SAROS_TEST
extern unsigned image_pieces_most; /* of an image, without a warning */
#endif

#endif
