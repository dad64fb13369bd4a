/*
** What the files of the mount share. The kernel is spoken to directly, through
** /dev/fuse: there is no library in between.
**
** By file: mount.c is the call, from the lock to the last way out;
** mount_place.c mounts, and has a helper that unmounts when this process dies;
** mount_names.c lays out the directories above the versions; mount_tree.c knows
** what is where and is remembered as long as the kernel does; mount_marks.c
** finds a name in a large directory; mount_file.c reads; mount_fuse.c answers.
**
** Lock order: nodes is innermost; a handle's lock is taken before it.
*/
#ifndef SAROS_REPOSITORY_MOUNT_PARTS_H
#define SAROS_REPOSITORY_MOUNT_PARTS_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "repository/blob.h"
#include "repository/call.h"
#include "repository/tree.h"

#define MOUNT_THREADS_MOST 16u
#define MOUNT_READ_MOST ((size_t)1 << 20)

/* ------------------------------------------------------------------
** The place
** ---------------------------------------------------------------- */

typedef struct mount_place {
  char *path; /* absolute */
  int fd;     /* of the device; -1: none */
  int line;   /* to the helper; when it ends, the helper unmounts */
  pid_t helper;
  bool mounted;
} mount_place;

error *mount_begin(mount_place *p, const char *path, bool allow_other);
/* Not mounted any more: whoever still waits for an answer gets an error. The
   device stays open, for the threads. `gone`: it looks as if somebody else had
   unmounted it; what is mounted there now may not be ours. */
void mount_leave(mount_place *p, bool gone);
void mount_end(mount_place *p);
#ifdef SAROS_TEST
/* Called when it was seen that nothing is mounted there. */
extern void (*_Atomic mount_gate)(void);
#endif


/* ------------------------------------------------------------------
** Directories above the versions
** ---------------------------------------------------------------- */

typedef enum mount_name_kind {
  MOUNT_NAME_DIRECTORY, /* one of these, by its number */
  MOUNT_NAME_VERSION,   /* by its number */
  MOUNT_NAME_LINK
} mount_name_kind;

typedef struct mount_name {
  char *name;
  mount_name_kind kind;
  size_t number;
  char *target; /* of a link */
} mount_name;

typedef struct mount_names {
  mount_name *list;
  size_t count, room;
} mount_names;

typedef struct mount_layout {
  mount_names *list; /* the first is the root */
  size_t count, room;
} mount_layout;

/* ids/…, snapshots/…, hosts/…/…, tags/…/…; by time, with a link `latest`. */
error *mount_layout_make(mount_layout *l, repo_snapshot *const *versions,
                         size_t count);
void mount_layout_free(mount_layout *l);


/* ------------------------------------------------------------------
** What is where
** ---------------------------------------------------------------- */

typedef enum mount_kind {
  MOUNT_NAMES, /* a directory above the versions */
  MOUNT_TREE,  /* one in a version */
  MOUNT_FILE,
  MOUNT_LINK,
  MOUNT_OTHER
} mount_kind;

typedef struct mount_node {
  struct mount_node *parent, *chain;
  uint64_t refs; /* the kernel's, and one for each node below it */
  mount_kind kind;
  size_t number; /* of names; else of the version */
  struct fuse_attr attr;
  repo_id tree;
  repo_id *content;
  size_t content_count;
  char *target;
  bool has_attributes; /* extended ones: they are looked up when asked for */
  size_t name_size;
  char name[];
} mount_node;

typedef struct mounted mounted;
typedef struct mount_marks mount_marks;

#define MOUNT_CHAINS 65536u
#define MOUNT_MARKS 16 /* directories whose marks are remembered */

struct mounted {
  repo_stop stop; /* it was asked to end, or nobody is mounted any more */
  repo_call *c;
  repo_hold *h;
  repo_index *index;
  repo_blobs *blobs;
  repo_snapshot **versions;
  size_t version_count;
  mount_layout layout;
  mount_place place;
  mount_node *root;
  pthread_mutex_t lock; /* of nodes, and of what is open */
  struct mount_handle *open;
  mount_node **chains;
  mount_marks *marks[MOUNT_MARKS];
  uint64_t marks_asked;
  _Atomic bool gone; /* unmounted */
  int bell[2];       /* readable: the threads shall end */
  pthread_t threads[MOUNT_THREADS_MOST];
  unsigned thread_count;
  _Atomic uint64_t failures; /* answers that were an error of ours */
};

error *mount_root_make(mounted *m);
void mount_nodes_free(mounted *m);
/* With one more reference, or an errno: ENOENT, EIO, ENOMEM. */
int mount_look_up(mounted *m, mount_node *in, const char *name, size_t size,
                  mount_node **found);
void mount_forget(mounted *m, mount_node *n, uint64_t count);
/* One extended attribute, or (NULL) the names of all, each with a NUL;
   appended. 0 or an errno: ENODATA. */
int mount_attribute(mounted *m, const mount_node *n, const char *wanted,
                    buffer *b);
/* The errno of an error, which is told and freed. */
int mount_errno(mounted *m, error *e);

/* What is open: the kernel says when it is closed, unless it is unmounted with
   force. */
typedef struct mount_handle {
  struct mount_handle *next, **link;
  bool is_listing;
} mount_handle;
void mount_handle_keep(mounted *m, mount_handle *h);
void mount_handle_close(mounted *m, mount_handle *h);

/* Going through a directory: entries by their numbers from 0. */
typedef struct mount_listing {
  mount_handle handle; /* first */
  pthread_mutex_t lock;
  mount_node *of;
  repo_bytes *bytes; /* of a tree */
  repo_tree_reader *reader;
  uint64_t next; /* number of what comes next */
  repo_node node;
  bool has_node; /* it is read, and not yet given */
} mount_listing;
int mount_list_open(mounted *m, mount_node *n, mount_listing **l);
/* One entry's name and attributes; ENOENT behind the last. With `enter` also
   its node, with one more reference. It is given again until it is passed. */
typedef struct mount_entry {
  const char *name;
  size_t size;
  uint64_t ino;
  uint32_t mode;
} mount_entry;
int mount_list_at(mounted *m, mount_listing *l, uint64_t number,
                  mount_entry *entry);
int mount_list_enter(mounted *m, mount_listing *l, uint64_t number,
                     mount_node **n);

/* A file that is open: where its pieces begin. */
typedef struct mount_file {
  mount_handle handle; /* first */
  mount_node *of;
  uint64_t starts[]; /* one more than there are pieces */
} mount_file;
int mount_file_open(mounted *m, mount_node *n, mount_file **f);
/* How many bytes, or a negative errno. */
ssize_t mount_file_read(mounted *m, const mount_file *f, uint64_t offset,
                        char *into, size_t size);

/* mount_marks.c: of a tree that is large, else NULL. */
mount_marks *mount_marks_take(mounted *m, const repo_id *tree,
                              const repo_bytes *bytes);
void mount_marks_give(mounted *m, mount_marks *k);
void mount_marks_free(mounted *m);
/* To a node that is this one, or few before it. */
error *mount_marks_go(const mount_marks *k, repo_tree_reader *r,
                      const char *name, size_t size);
bool mount_next_node(repo_tree_reader *r, repo_node *n, error **e);
#ifdef SAROS_TEST
extern _Atomic uint64_t mount_steps; /* nodes that were read */
#endif

/* mount_fuse.c: answers until it is over. */
void *mount_serve(void *m);

#endif
