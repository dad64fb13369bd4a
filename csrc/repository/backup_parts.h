/*
** What the files of the backup share.
**
** By file: backup.c is the call, from the lock to the version's file;
** backup_options.c reads what a script asked for, backup_plan.c lays the
** sources out as one tree, backup_parent.c finds the version before;
** backup_directory.c walks, backup_tree.c stores what comes of it,
** backup_list.c lists names, backup_entry.c judges one name, backup_file.c
** reads files and backup_segment.c large ones, backup_stream.c what is no file;
** backup_tell.c keeps the count and says what could not be read.
**
** Who works: a crew, in which every thread does everything. A thread has a
** directory, and does what is in it, name by name; subdirectories wait, and the
** deepest is begun first. Only when a thread has nothing to do is a file given
** away, or a piece of a large one. Nothing is ever queued that nobody
** waits for.
**
** Lock order: a directory, its parent; nothing else is locked with one held,
** and no call is made that may sleep.
*/
#ifndef SAROS_REPOSITORY_BACKUP_PARTS_H
#define SAROS_REPOSITORY_BACKUP_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "repository/call.h"
#include "repository/chunker.h"
#include "repository/crew.h"
#include "repository/exclude.h"
#include "repository/node.h"
#include "repository/packer.h"

/* ------------------------------------------------------------------
** What was asked for
** ---------------------------------------------------------------- */

/* One source. Its texts are the options'. */
typedef struct backup_source {
  const char *path;  /* where it is read; NULL: a stream */
  const char *shown; /* what the version says: its origin, or itself */
  bool has_device;
  uint64_t device; /* … and of the files on its own file system */
  int stream;      /* a number in the call's streams */
} backup_source;

typedef struct backup_options {
  backup_source *sources;
  size_t count;
  const value *tags, *patterns, *whole; /* lists of texts, or NULL */
  const char *host, *parent;            /* parent: an id or its beginning */
  struct timespec time;
  bool has_time, force, one_file_system, skip_if_unchanged, dry_run;
  unsigned node_flags;   /* REPO_NODE_ATIME */
  unsigned ignore_flags; /* REPO_IGNORE_… */
  unsigned threads;
  packer_options pack;
  repo_exclude *exclude;
  bool has_patterns; /* paths have to be asked for */
} backup_options;

error *repo_backup_options_read(const repo_call *c, backup_options *o);
void repo_backup_options_free(backup_options *o);


/* ------------------------------------------------------------------
** The plan: the sources as one tree
** ---------------------------------------------------------------- */

typedef struct plan {
  char *name;                /* NULL of the root */
  char *path;                /* real, of one on the way; NULL: there is none */
  const backup_source *leaf; /* NULL: only on the way to others */
  char *leaf_path;     /* where the leaf is read: below its source, maybe */
  char *shown;         /* absolute: what excludes are asked about */
  struct plan **items; /* by name */
  size_t count, room;
} plan;

error *repo_backup_plan_make(const backup_options *o, plan **root);
void repo_backup_plan_free(plan *p);
/* What is written into the version. NULL: no memory. */
value *repo_backup_plan_paths(const backup_options *o);


/* A finger in a tree of the version before, moving by name. */
typedef struct cursor {
  buffer json;
  repo_tree_reader *reader;
  repo_node node;
  bool has_node;
} cursor;

typedef struct backup backup;
typedef struct hand hand;


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

typedef struct entry {
  size_t name; /* where in the names */
  uint32_t size;
  uint8_t type; /* DT_… */
  bool done;
  char *piece; /* its node's text when it came too early */
} entry;

/* Names of a directory, by their bytes. */
typedef struct listing {
  char *names;
  size_t names_size, names_room;
  entry *entries;
  size_t count, room;
} listing;

error *repo_backup_list(int fd, listing *l);
error *repo_backup_list_add(listing *l, const char *name, size_t size,
                            uint8_t type);
void repo_backup_list_free(listing *l);

/* What the version before says of a subdirectory. */
typedef struct before {
  bool has_tree, was_there;
  repo_id tree;
  uint64_t sum; /* of its node's text */
} before;

typedef struct subdirectory {
  size_t entry;
  before before;
} subdirectory;

typedef struct directory {
  crew_job job; /* it waits with subdirectories */
  backup *b;
  struct directory *parent; /* NULL: the root */
  size_t at;                /* which entry of it */
  unsigned depth;           /* how many it is in */
  const plan *plan;         /* on the way; NULL: a real one */
  const backup_source *source;
  char *shown; /* what it is called */
  size_t shown_size;
  int fd;                          /* -1: closed, to be opened again */
  uint64_t device, inode, allowed; /* its own, and that of what may be in it */
  uint64_t source_device;          /* that is shown as the origin's */
  uint64_t marks;
  before before;
  listing list;
  buffer own; /* its own node, with digits to be filled in */
  subdirectory *subs;
  size_t sub_count, sub_room, sub_next;
  _Atomic size_t left; /* entries that are not done, and the loop */
  pthread_mutex_t lock;
  buffer text;      /* of the tree, as far as entries are done in their order */
  bool is_too_long; /* to be a tree */
  size_t next;      /* the entry that comes next into it */
} directory;

#define BACKUP_TREE_BEGIN "{\"nodes\":["
void repo_backup_directory_free(directory *d);
void repo_backup_directory_begin(backup *b, const plan *root, const before *of);
/* One that waits until its parent has been gone through. */
void repo_backup_subdirectory(directory *d, size_t at, const repo_node *was,
                              cursor *k, hand *h);
/* backup_tree.c: an entry is done: the text of its node, or NULL for none. */
void repo_backup_entry_done(directory *d, size_t at, const char *piece,
                            size_t size, hand *h);
/* So is whatever else kept it: the last of all ends it. */
void repo_backup_leave(directory *d, hand *h);
/* It is there to be opened below: its own descriptor, or one to be closed. */
error *repo_backup_directory_fd(directory *d, int *fd);
void repo_backup_directory_fd_done(const directory *d, int fd);


/* ------------------------------------------------------------------
** One backup
** ---------------------------------------------------------------- */

#define SEGMENT REPO_CHUNK_MOST
/* Larger files are read in segments. Smaller ones are one chunk. */
#define SMALL REPO_CHUNK_LEAST

/* A part of a large file in memory: its reader has it, and its chunks. */
typedef struct segment {
  struct segment *next; /* of those that are free */
  _Atomic unsigned users;
  uint8_t *data;
} segment;

typedef struct backup_counts {
  _Atomic uint64_t files_new, files_changed, files_unmodified;
  _Atomic uint64_t dirs_new, dirs_changed, dirs_unmodified;
  _Atomic uint64_t files, bytes, items, nodes, failed;
  _Atomic bool torn; /* what must be whole is not */
} backup_counts;

struct backup {
  repo_stop stop; /* also when it has failed */
  repo_call *c;
  repo_hold *h;
  repo_index *index;
  backup_options o;
  repo_chunker *chunker;
  repo_users *users;
  packer *packer;
  crew *crew;
  struct timespec begun, steady;
  repo_snapshot *parent; /* NULL: none */
  bool trusts;           /* what the parent says of unchanged nodes is ours */
  repo_id zeros;         /* of a chunk of zeros, once it is stored */
  _Atomic bool has_zeros;
  _Atomic bool failed;
  _Atomic int open_fds;
  int open_most;
  repo_id tree; /* the root, once it is done */
  bool has_tree;
  uint64_t adopted; /* packs of one who was killed */
  backup_counts counts;
  uint64_t total;        /* bytes that are expected; 0: nobody knows */
  _Atomic uint64_t told; /* when progress was told last */
  pthread_mutex_t lock;  /* of what follows */
  pthread_cond_t moved;
  error *why;
  value *errors; /* the first of them */
  segment *segments;
  unsigned segment_count, segment_most;
};

/* What a thread of the crew has of its own. */
struct hand {
  backup *b;
  repo_tool *tool;
  repo_node_maker *maker;
  uint8_t *small; /* SMALL + 1 bytes */
  buffer piece;   /* a node's text */
  buffer path;    /* of an entry, as it is shown */
  buffer names;   /* for comparing owners */
  struct blob_reader *blobs;
};

/* The first failure ends it. Takes it over. */
void repo_backup_fail(backup *b, error *e);
/* Whether to end: it has failed, or was cancelled. Waits out a pause. */
bool repo_backup_ends(backup *b);

/* backup_parent.c */
error *repo_backup_parent_find(backup *b, const value *paths);
/* A blob's bytes, appended. */
error *repo_backup_blob_load(hand *h, repo_blob_type type, const repo_id *id,
                             buffer *to);
struct blob_reader *repo_backup_blobs_new(backup *b);
void repo_backup_blobs_free(struct blob_reader *r);

void repo_backup_cursor_open(cursor *k, hand *h, const before *of);
/* NULL: there was none of this name. */
const repo_node *repo_backup_cursor_find(cursor *k, const char *name,
                                         size_t size);
void repo_backup_cursor_close(cursor *k);
uint64_t repo_backup_sum(const void *data, size_t size);

/* backup_entry.c: what is at a name in an open directory, or at a path. */
void repo_backup_entry(directory *d, size_t at, int fd, const char *name,
                       const repo_node *was, cursor *k, hand *h);
/* The node of an entry. What is not whole of it is told; false: so is that
   there is none. */
bool repo_backup_node_of(directory *d, size_t entry, repo_at at,
                         const struct statx *sx, hand *h, repo_node *n);
/* Its text: it is done. */
void repo_backup_node_done(directory *d, size_t at, const repo_node *n,
                           hand *h);
/* There is none, because of this. Takes it over. */
void repo_backup_node_failed(directory *d, size_t at, hand *h, error *e);
/* d's path and the entry's name, in h->path. */
const char *repo_backup_shown(const directory *d, size_t at, hand *h);

/* A regular file that is read by more than one thread, or another than its
   directory. */
typedef struct file {
  crew_job job;
  directory *d;
  size_t at;
  int fd;
  bool was_there;
  const backup_source *stream; /* NULL: a regular file */
  struct statx sx;
  uint64_t offset; /* where to read next */
  repo_id *ids;
  size_t count, room;
  uint64_t size;        /* that was read */
  _Atomic size_t users; /* the reader, and chunks that are not stored */
  pthread_mutex_t lock; /* of the ids */
  _Atomic bool failed;
} file;
/* backup_file.c: a regular file that must be read. Takes the descriptor over.
 */
void repo_backup_file(directory *d, size_t at, int fd, const struct statx *sx,
                      bool was_there, hand *h);
/* Its content is known: it is done. */
void repo_backup_file_end(directory *d, size_t at, int fd,
                          const struct statx *sx, uint64_t size,
                          const repo_id *ids, size_t count, bool was_there,
                          hand *h);
file *repo_backup_file_new(directory *d, size_t at, int fd,
                           const struct statx *sx, bool was_there);
/* A user less; the last one ends it. */
void repo_backup_file_leave(file *f, hand *h);
/* It could not be read to its end. Takes the error over. */
void repo_backup_file_failed(file *f, hand *h, error *e);

/* backup_segment.c: to the end of whatever can be read. `get` is as read,
   also with -1 and errno. What fails is the reader's to tell. */
typedef ssize_t (*backup_get)(file *f, void *into, size_t size, hand *h);
error *repo_backup_read_all(file *f, backup_get get, hand *h);
void repo_backup_segments_free(backup *b);

/* backup_stream.c: what is no file. Pushes its job. */
void repo_backup_stream(directory *d, size_t at, bool was_there, hand *h);
void repo_backup_stream_end(file *f, hand *h);

/* backup_tell.c: an item that could not be read, or not all of it. Takes the
   error over. */
void repo_backup_item_failed(directory *d, size_t at, hand *h, error *e);
/* So many bytes of it have been read. */
void repo_backup_moved(directory *d, size_t at, uint64_t bytes, hand *h);
/* How far it is, to whoever watches. */
void repo_backup_tell_counts(backup *b);

/* Where a test comes in between: "entry" before a name is looked at, "file"
   before a file is opened, "opened" behind that, "segment" behind each that was
   read, "walked" when all packs but the last are full, "version" before its
   file. */
#ifdef SAROS_TEST
extern size_t repo_backup_tree_test; /* bytes of a tree; 0: as many as can be */
extern void (*repo_backup_test)(backup *b, const char *what, const char *name);
#define BACKUP_TEST(b, what, name) \
  (repo_backup_test != NULL ? repo_backup_test(b, what, name) : (void)0)
#else
#define BACKUP_TEST(b, what, name) ((void)0)
#endif

#endif
