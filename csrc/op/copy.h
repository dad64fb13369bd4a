/*
** A file or a tree, copied: FICLONE, else copy_file_range, else read and
** write; with holes, hard links, extended attributes, ownership and times.
** It is made beside its place under another name and appears at once by
** rename, or not at all: a cancelled or failed one leaves nothing.
*/
#ifndef SAROS_OP_COPY_H
#define SAROS_OP_COPY_H

#include "op/op.h"

typedef enum copy_clone {
  CLONE_AUTO,  /* where it can be */
  CLONE_NEVER, /* bytes, so that they are really elsewhere */
  CLONE_ALWAYS /* or fail */
} copy_clone;

typedef struct copy_options {
  const char *from;
  const char *to;  /* must not exist, unless `replace` */
  bool replace;    /* exchanged with what is there, which is then removed */
  bool one_system; /* does not enter other mounted file systems */
  bool durable;    /* fsync before it appears */
  copy_clone clone;
  const char *name;
} copy_options;

saros_op *copy_start(const copy_options *options, error **e);

#endif
