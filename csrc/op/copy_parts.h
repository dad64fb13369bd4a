/*
** copy_parts: what the parts of a copy know of each other. Private to
** copy*.c, and to those who make something else of the same parts: the tree
** of a shadow (csrc/vss/provider/tree*.c), by a manner of their own.
**
**   copy.c         the operation: in which order things are done and undone
**   copy_place.c   where it shall be, and how it appears there
**   copy_claim.c   the temporary it is made in
**   copy_crew.c    who works: the coordinator, his helpers, their queue
**   copy_walk.c    a walk over a tree of any size and depth
**   copy_tree.c    what is done with what the walk finds: count and copy
**   copy_file.c    the data of one file
**   copy_meta.c    owner, mode, extended attributes, times
**   copy_remove.c  a tree removed
*/
#ifndef SAROS_OP_COPY_PARTS_H
#define SAROS_OP_COPY_PARTS_H

#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "op/copy.h"

#define COPY_HELPERS 4               /* beside the coordinator, at most */
#define COPY_PIECE ((off_t)64 << 20) /* of a big file, for one worker */
#define COPY_CHUNK ((off_t)8 << 20)  /* between two looks at a cancel */
#define COPY_SCRATCH ((size_t)256 << 10)

typedef struct copy copy;
typedef struct crew crew;
typedef struct walk_dir walk_dir;
typedef enum copy_side { COPY_SOURCE, COPY_TARGET } copy_side;

/* How the copy of one file ended. */
typedef struct file_end {
  walk_dir *d;
  const char *name;
  int from, to;
  const struct stat *was; /* before it was copied */
  int number;
  bool attributes, cloned;
} file_end;

/* What one thread works with. */
typedef struct worker {
  char *scratch; /* COPY_SCRATCH bytes: see worker_scratch */
} worker;

typedef struct identity {
  dev_t dev;
  ino_t ino;
} identity;

/* What of a stat is kept for the copy. */
typedef struct meta {
  mode_t mode;
  uid_t uid;
  gid_t gid;
  struct timespec times[2];
} meta;

typedef _Atomic uint64_t counter;

typedef struct copy_counts {
  counter files, directories, links, symlinks, others;
  counter bytes, cloned, holes; /* written, shared, left out */
  counter changed;              /* files written to while they were read */
  counter vanished;             /* entries that went before they were read */
  counter skipped_xattrs, skipped_owners;
} copy_counts;

/* How somebody else than the operation uses the parts. Any worker. */
typedef struct copy_manner {
  /* A failure: true when it is not the end of it all. What failed is then
     left out, and whoever was asked for it still returns false. */
  bool (*forgive)(copy *c, int number, const char *what, copy_side side);
  /* A file that file_copy was given has been copied, or not: `number` says
     why its data is not whole (0: it is), `attributes` whether it has all of
     those. Both are still open. */
  void (*file_done)(copy *c, const file_end *end);
  /* What could not be removed. */
  void (*left)(copy *c, const char *sentence);
  unsigned from, to; /* which part of the operation it is, in percent */
  /* A file that goes on changing is copied as it was found: of no one instant,
     and not missing. Whoever is told that it is done has to look. */
  bool fuzzy;
} copy_manner;

struct copy {
  const copy_manner *manner; /* NULL: the operation's */
  void *manner_self;
  saros_op *op;    /* with a manner it may be NULL */
  char *from, *to; /* absolute */
  bool replace, one_system, durable;
  copy_clone clone;

  int source_dir; /* the source is `source_name` in it */
  char *source_name;
  int source_flags; /* O_NOFOLLOW, unless the path ends in a slash */
  struct stat source;

  int parent; /* the directory of the target, opened first */
  char *base; /* the target's name in it */
  char temp[64];
  char farm_name[72];
  int claim;     /* holds the lock on what is under the temporary name, or -1 */
  int file;      /* the file there, until it is written, or -1 */
  bool made;     /* there is something under the temporary name */
  identity root; /* of the temporary tree */
  device_hold *hold;

  /* Where the first of several hard links can be found again: see
     copy_tree.c. -1 until it is needed. */
  _Atomic int farm;
  _Atomic bool no_links; /* the target's file system has none */

  _Atomic bool no_atime; /* O_NOATIME is not for us */
  _Atomic bool no_range; /* copy_file_range is of no use here */
  _Atomic bool stopped;
  pthread_mutex_t lock;
  error *why; /* the first failure */

  counter done, total;
  counter told; /* when the status was last brought up to date */
  copy_counts n;
};

/* ------------------------------------------------------------------
** copy.c
** ---------------------------------------------------------------- */

/* The first failure is the operation's; everybody stops. Takes over `e`. */
void copy_fail(copy *c, error *e);
/* The same from an errno: `what` is "cannot read" and the like, the path that
   of `name` (or NULL) in `d` (or NULL: the root), of the source or of the
   target. Returns false. */
bool copy_failed(copy *c, int number, const char *what, const walk_dir *d,
                 const char *name, copy_side side);
bool copy_changed(copy *c, const char *what, const walk_dir *d,
                  const char *name);
/* False when it failed or was cancelled; waits out a pause. */
bool copy_goes_on(copy *c);
/* The path for a person: of a very deep one only the end. */
void copy_path(const copy *c, buffer *b, const walk_dir *d, const char *name,
               copy_side side);
/* The path as it is; NULL without memory. *whole, when asked for: it is all of
   it, and not only the end of a very deep one. */
char *copy_raw_path(const copy *c, const walk_dir *d, const char *name,
                    copy_side side, bool *whole);
/* So much more is done; tells the status now and then. */
void copy_progress(copy *c, uint64_t bytes, const walk_dir *d,
                   const char *name);
/* openat for reading, without a mark on the source where that is allowed;
   when the process is out of descriptors it waits a little for others. */
int copy_open(copy *c, int dir, const char *name, int flags);

/* ------------------------------------------------------------------
** copy_place.c
** ---------------------------------------------------------------- */

bool place_source(copy *c); /* finds what is to be copied */
bool place_target(copy *c); /* opens where it goes; refuses what must be */
/* It appears, at once and whole. `old` is told whether something else is
   under the temporary name now, that must be removed. */
bool place_appear(copy *c, bool *old);
void place_close(copy *c);

/* ------------------------------------------------------------------
** copy_claim.c
** ---------------------------------------------------------------- */

/* Chooses the temporary name and makes what a directory or a file is copied
   into; takes away what a copy to the same place has left that was killed. */
bool claim_make(copy *c);
/* The lock goes, and the descriptor that has it. */
void claim_let_go(copy *c);

/* ------------------------------------------------------------------
** copy_crew.c
** ---------------------------------------------------------------- */

#define BATCH_BYTES 4096
#define BATCH_NAMES 32

/* Some entries of one directory, for one worker: a type and a name each. */
typedef struct batch batch;
struct batch {
  batch *next;
  walk_dir *d;
  unsigned count, size;
  char data[BATCH_BYTES];
};

/* Something long that several may work on, piece by piece. */
typedef struct shared shared;
struct shared {
  shared *next;
  off_t at, end; /* what nobody has taken yet */
  bool listed;
  _Atomic unsigned pins;
  void (*piece)(crew *w, worker *me, shared *s, off_t at, off_t end);
  void (*finish)(crew *w, worker *me, shared *s); /* after the last piece */
};

/* What is done with what a walk finds. */
typedef struct walk_kind {
  /* Opens a directory to read it; -1 with errno. */
  int (*open)(crew *w, walk_dir *parent, const char *name);
  /* It is open and known; false when it failed. The coordinator only. */
  bool (*enter)(crew *w, walk_dir *d);
  /* One entry that is no directory. Any worker. */
  void (*entry)(crew *w, worker *me, walk_dir *d, const char *name,
                unsigned char type);
  /* Everything in it is done (with `bottom_up`: also all below it). */
  void (*leave)(crew *w, worker *me, walk_dir *d);
  /* The walk could not read it. */
  void (*lost)(crew *w, int number, walk_dir *d, const char *name);
  bool bottom_up;
  bool to_the_end; /* neither cancel nor pause nor a failure stops it */
} walk_kind;

typedef struct helper {
  job j;
  crew *w;
  worker me;
  bool submitted;
} helper;

struct crew {
  copy *c;
  const walk_kind *kind;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool waiting; /* the coordinator, for `moved` */
  batch *first, **last, *spare;
  unsigned queued;
  shared *shares;
  helper helpers[COPY_HELPERS];
  unsigned helpers_most, helping;
  worker own; /* the coordinator's */
  /* Directories with open descriptors, and how many there may be; so many of
     the nearest ancestors stay open. */
  _Atomic unsigned live;
  unsigned live_most, near;
  walk_dir *top;
  void *buffer; /* a spare one for reading a directory */
  /* For removal. */
  counter failures;
  bool lacked_memory;
  uint64_t told; /* when it was last said that this moves */
};

void crew_open(crew *w, copy *c, const walk_kind *kind);
/* Works until nothing is left and every helper has gone. */
void crew_close(crew *w);
bool crew_goes_on(crew *w);

/* An empty batch for entries of `d`, which it pins; NULL without memory. */
batch *crew_batch(crew *w, walk_dir *d);
/* Into the queue; works meanwhile when that is full. */
void crew_push(crew *w, batch *b);
/* Works until the crew is ready. */
typedef enum crew_ready {
  READY_ROOM,  /* there is room in the queue */
  READY_LIVE,  /* one more directory may be open */
  READY_ALONE, /* nobody but the walk uses this one */
  READY_FINISHED
} crew_ready;
void crew_work_until(crew *w, crew_ready ready, walk_dir *d);
/* The coordinator may be waiting for what has just happened. */
void crew_tell(crew *w);

/* Works on it, and lets others; whoever is last finishes it. */
void crew_share(crew *w, worker *me, shared *s);

/* Memory for data and lists; NULL when there is none. */
char *worker_scratch(worker *me);

/* ------------------------------------------------------------------
** copy_walk.c
** ---------------------------------------------------------------- */

/* A directory that is being walked, or has entries being worked on. */
struct walk_dir {
  walk_dir *parent;
  _Atomic unsigned refs; /* of the memory: its own, and its children's */
  _Atomic unsigned pins; /* of the descriptors: the walk, batches, ... */
  int from, to;          /* `to` is -1 where nothing is made */
  identity from_id, to_id;
  meta m;
  _Atomic bool no_clone; /* nothing here can be cloned to the target */
  unsigned busy;         /* batches of it in work; under the crew's lock */
  bool skip;             /* it is not read: an empty one */
  bool root;
  bool alone; /* stands for the directories of a file that is copied alone */
  /* Of who has a manner: */
  uint64_t key, print;
  bool fresh; /* made by this walk */
  _Atomic bool touched;
  /* The walk's own: */
  batch *filling;
  char *buffer;
  long at, size;
  off_t position; /* behind what was read */
  char name[];
};

/* The root; takes over both descriptors. NULL without memory. */
walk_dir *walk_root(crew *w, int from, int to, const struct stat *from_stat);
void walk_pin(walk_dir *d);
void walk_unpin(crew *w, worker *me, walk_dir *d);
/* All of it; then crew_close. Takes over the root. */
void walk(crew *w, walk_dir *root);
bool walk_same(identity a, identity b);
/* Whether something is mounted here. */
bool walk_is_mount(int fd, const walk_dir *d);

/* ------------------------------------------------------------------
** copy_tree.c
** ---------------------------------------------------------------- */

bool tree_count(copy *c);
bool tree_copy(copy *c);   /* a directory */
bool single_copy(copy *c); /* anything else */

/* Hard links: one more name for what was copied under this key, and the
   first one that others will link to. The caller looks at no_links first. */
typedef enum link_result {
  LINK_MADE,  /* it is there now */
  LINK_FIRST, /* nobody has copied it yet */
  LINK_NONE,  /* no links here: copy it */
  LINK_FAILED
} link_result;
link_result farm_again(copy *c, walk_dir *d, const char *name, const char *key);
link_result farm_first(copy *c, walk_dir *d, const char *name, const char *key);
/* 0 or an errno. */
int make_symlink(worker *me, walk_dir *d, const char *name,
                 const char *to_name);

/* ------------------------------------------------------------------
** copy_file.c
** ---------------------------------------------------------------- */

/* The data and all else of `from` goes to `to`; takes over both. */
void file_copy(crew *w, worker *me, walk_dir *d, const char *name, int from,
               int to, const struct stat *st);

/* ------------------------------------------------------------------
** copy_meta.c
** ---------------------------------------------------------------- */

meta meta_of(const struct stat *st);
bool meta_copy(copy *c, worker *me, int from, int to, const meta *m,
               const walk_dir *d, const char *name);
/* Of something that cannot be opened: a symbolic link, a device. */
bool meta_copy_at(copy *c, worker *me, walk_dir *d, const char *name,
                  const char *to_name, const meta *m);
/* A new entry has what its directory gives to new ones; it shall not. */
void meta_strip(int fd);
void meta_strip_at(int dir, const char *name);
/* chmod that follows nothing. 0 or errno. */
int meta_chmod_at(int dir, const char *name, mode_t mode);

/* ------------------------------------------------------------------
** copy_remove.c
** ---------------------------------------------------------------- */

/* Whatever it is; `shown` is what a person calls it. What cannot be removed
   is told to the operation, and false returned. */
bool remove_all(copy *c, int dir, const char *name, const char *shown);

#endif
