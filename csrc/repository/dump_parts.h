/*
** What the files of dump share: where it goes to, and how a file gets there.
*/
#ifndef SAROS_REPOSITORY_DUMP_PARTS_H
#define SAROS_REPOSITORY_DUMP_PARTS_H

#include "repository/listing.h"

typedef struct dump {
  listing l; /* first */
  int fd;
  bool is_pipe; /* who writes to it may have to wait */
  bool answers; /* EAGAIN, then */
  uint64_t done;
} dump;

/* Writes it all, or says why not. A reader that does not read does not keep us
   from being cancelled. */
error *repo_dump_write(dump *d, const void *data, size_t size);
/* The content of a file, each blob as it comes. */
error *repo_dump_content(dump *d, const repo_node *n);

/* dump_tar.c: a directory's tree as tar, with all that pax can say. */
error *repo_dump_tar(dump *d, const repo_id *tree);
/* The size of a file as its blobs have it, which the header must say before
   the first of them is there. */
error *repo_dump_size(dump *d, const repo_node *n, uint64_t *size);

#endif
