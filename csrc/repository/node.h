/*
** Nodes of real files, and what a node says given to a real file. No link is
** ever followed here: a file is either open, or a name in an open directory.
*/
#ifndef SAROS_REPOSITORY_NODE_H
#define SAROS_REPOSITORY_NODE_H

#include <sys/stat.h>

#include "repository/tree.h"

/* Names of users and groups, of which the last are remembered: for any number
   of threads. Each lookup may sleep (in NSS); no lock is held then. */
typedef struct repo_users repo_users;
repo_users *repo_users_new(void); /* NULL: no memory */
void repo_users_free(repo_users *u);
/* Appends the name. False: it has none, and nothing was appended. */
bool repo_users_user(repo_users *u, uint32_t uid, buffer *b);
bool repo_users_group(repo_users *u, uint32_t gid, buffer *b);

/* An open file of any kind (also O_PATH), or a name in an open directory. */
typedef struct repo_at {
  int fd;
  const char *name; /* NULL: the file itself */
} repo_at;

/* What repo_node_of asks of statx. */
#define REPO_NODE_STATX (STATX_BASIC_STATS)
error *repo_node_stat(repo_at at, struct statx *sx);
repo_node_type repo_node_type_of_mode(uint32_t st_mode);

typedef struct repo_node_maker repo_node_maker; /* one for each thread */
repo_node_maker *repo_node_maker_new(repo_users *users); /* NULL: no memory */
void repo_node_maker_free(repo_node_maker *m);

enum {
  REPO_NODE_ATIME = 1,   /* keep it; else it is the mtime */
  REPO_NODE_ANCESTOR = 2 /* only on the way: attributes may be unreadable */
};
/* All but content and subtree. It lasts until the maker's next. `sx` may be
   NULL: then it is asked. *partial is set when the node is good for all but
   some attributes, and says which; the error that is returned means that there
   is no node. */
error *repo_node_of(repo_node_maker *m, repo_at at, const struct statx *sx,
                    const char *name, size_t name_size, unsigned flags,
                    repo_node *node, error **partial);

enum { REPO_IGNORE_CTIME = 1, REPO_IGNORE_INODE = 2 };
/* Whether a regular file need not be read again: size, mtime, ctime and inode
   are what they were. (That its content is still there is not asked here.) */
bool repo_node_is_unchanged(const repo_node *was, const struct statx *now,
                            unsigned flags);

/* What could not be given, because we may not or the file system has none. */
enum { REPO_LACKS_OWNER = 1, REPO_LACKS_ATTRIBUTES = 2, REPO_LACKS_MODE = 4 };
/* Owner, attributes (those that it has and should not have are removed), times,
   mode, in this order. All are tried; the first failure is returned. A file
   that is of another type than the node is SAROS_E_CHANGED, and is left as it
   is. Set-id bits are not given where the owner could not be. *lacks gets what
   was passed over. */
error *repo_node_restore(repo_at at, const repo_node *node, unsigned *lacks);

/* Makes a directory (0700), a symbolic link, a device or a fifo; the metadata
   is not given yet. EEXIST when the name is taken. */
error *repo_node_create(int directory, const char *name, const repo_node *node);

#endif
