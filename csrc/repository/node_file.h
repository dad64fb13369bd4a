/*
** node_file: the calls that have a form for an open file and one for a name,
** as one. Private to node*.c.
*/
#ifndef SAROS_REPOSITORY_NODE_FILE_H
#define SAROS_REPOSITORY_NODE_FILE_H

#include <stdio.h>
#include <sys/types.h>

#include "repository/node.h"

/* The path of it below /proc/self/fd, for calls that know no other. A name is
   then to be used with a call that follows no link; what is open O_PATH with
   one that does, which ends at the file itself. */
typedef struct repo_proc_path {
  char text[320];
  bool is_good; /* false: the name is too long to be one */
} repo_proc_path;

static inline repo_proc_path repo_proc_path_of(repo_at at) {
  repo_proc_path p;
  int n = at.name != NULL
              ? snprintf(p.text, sizeof p.text, "/proc/self/fd/%d/%s", at.fd,
                         at.name)
              : snprintf(p.text, sizeof p.text, "/proc/self/fd/%d", at.fd);
  p.is_good = n > 0 && (size_t)n < sizeof p.text;
  return p;
}

/* As their namesakes; -1 and errno. */
ssize_t repo_file_list(repo_at at, char *names, size_t size);
ssize_t repo_file_get(repo_at at, const char *name, void *data, size_t size);
int repo_file_set(repo_at at, const char *name, const void *data, size_t size);
int repo_file_remove(repo_at at, const char *name);

/* XFS shows its ACLs a second time under these names. */
bool repo_file_is_double(const char *name);

#endif
