/*
** What the files of restore share. In this order, and so are the files:
**
**   restore.c          what is asked, the phases, what is told
**   restore_plan.c     the trees become a plan: what is where, whose blobs;
** with
**                      files of its own, for which see restore_plan_parts.h
**   restore_look.c     what is there already, and whether it stays
**   restore_place.c    directories below the target, and nowhere else
**   restore_file.c     one file: made beside its place, then moved into it
**   restore_read.c     packs are read, and blobs written to all who want them
**   restore_rest.c     links, devices, what is too much, directories' metadata
**   restore_verify.c   once more, from the disk
**
** Lock order: `files`, then `report`; no lock of others is taken under them.
*/
#ifndef SAROS_REPOSITORY_RESTORE_PARTS_H
#define SAROS_REPOSITORY_RESTORE_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "repository/blob.h"
#include "repository/budget.h"
#include "repository/call.h"
#include "repository/exclude.h"
#include "repository/node.h"
#include "repository/pair.h"
#include "repository/version.h"

typedef enum restore_overwrite {
  OVERWRITE_ALWAYS,     /* what is different is replaced */
  OVERWRITE_IF_CHANGED, /* only when size or mtime are different */
  OVERWRITE_IF_NEWER,   /* only when the version's is newer */
  OVERWRITE_NEVER
} restore_overwrite;

/* What few files have. */
typedef struct item_more {
  const char *target;
  size_t target_size;
  const repo_attribute *attributes;
  size_t attribute_count;
  uint64_t inode, device_id, device;
} item_more;

typedef enum item_state {
  ITEM_PLANNED,
  ITEM_SAME, /* its content is there already: only metadata is given */
  ITEM_DONE,
  ITEM_SKIPPED, /* what is there stays as it is */
  ITEM_FAILED   /* and was told */
} item_state;

#define NO_ITEM UINT32_MAX
#define USE_HAS 0x80000000u /* in `uses`: the file has it already */

/* Everything that is restored, but for the target itself. */
typedef struct item {
  const char *name;
  const item_more *more; /* NULL: nothing of it */
  uint64_t size;         /* of a file: what its blobs are together */
  int64_t mtime, atime;
  uint32_t mtime_ns, atime_ns;
  uint32_t uid, gid, mode;
  uint32_t folder;       /* where it is; of a directory: see folder.item */
  uint32_t use, uses;    /* of a file: its blobs, in `uses` */
  uint32_t link;         /* the item that this is another name of, or NO_ITEM */
  _Atomic uint32_t left; /* blobs that are not written yet */
  int32_t fd;            /* of what is being written: under `files` */
  uint16_t pins;         /* who uses the fd: likewise */
  uint8_t type;          /* repo_node_type */
  _Atomic uint8_t state; /* item_state */
  bool opening;          /* under `files` */
  bool is_linked;        /* others are further names of it */
  bool there;            /* something has its name */
  _Atomic bool made;     /* what is half written is there */
} item;

/* A directory. The first is the target. */
typedef struct folder {
  uint32_t parent;
  uint32_t item; /* NO_ITEM: of the target */
  bool made;     /* it is there: by us, or found so */
  bool fresh;    /* by us: nobody else can have anything in it */
  bool is_asked; /* it was asked for itself, not only what is in it */
  bool failed;   /* it cannot be had */
  bool half;     /* not all of its tree could be read */
} folder;

typedef struct plan_blob {
  repo_id id;
  uint32_t pack; /* in `packs`, in the order of first use */
  uint32_t offset, length, plain_length;
  uint32_t user, users; /* in `users` */
} plan_blob;

typedef struct plan_user {
  uint64_t offset; /* in the file */
  uint32_t item;
} plan_user;

/* What is read at once: blobs of one pack, by offset. */
typedef struct plan_read {
  uint32_t first, count; /* in `order` */
} plan_read;

/* A place in the table of those: index + 1 of the item, and its hash. */
typedef struct plan_link {
  uint32_t item, hash;
} plan_link;

/* A name that the version does not have. */
typedef struct plan_extra {
  uint32_t folder;
  const char *name;
} plan_extra;

typedef struct arena_block arena_block;
struct crew_mate;

typedef struct restore {
  repo_stop stop; /* a failure ends it, or who asked does */
  repo_call *c;
  repo_hold *h;
  repo_blobs *blobs;
  repo_version version;
  /* What is asked */
  char *target;
  restore_overwrite overwrite;
  bool removes, dry_run, sparse, verify;
  repo_exclude *include, *exclude; /* NULL: no such patterns */
  /* Where */
  int root;       /* the target; -1: it is not there (a dry run) */
  char token[17]; /* of the names of what is half written */
  bool is_new;    /* we made the target */
  saros_device *device;
  /* The plan */
  arena_block *arena;
  uint64_t secret;    /* of its tables' hashes */
  repo_budget budget; /* of the plan */
  item *items;
  uint32_t item_count, item_room;
  folder *folders;
  uint32_t folder_count, folder_room;
  uint32_t *uses; /* blobs, as files want them */
  uint32_t use_count, use_room;
  plan_blob *blobs_of;
  uint32_t blob_count, blob_room;
  uint32_t *table; /* blobs by id: index + 1 */
  uint32_t table_room;
  repo_id *packs;
  uint32_t pack_count, pack_room;
  uint32_t *pack_table;
  uint32_t pack_table_room;
  plan_user *users;
  uint32_t *order; /* blobs as they are read */
  plan_read *reads;
  uint32_t read_count;
  plan_link *links; /* items that may have further names */
  uint32_t link_room, link_count;
  plan_extra *extras;
  uint32_t extra_count, extra_room;
  /* While it runs */
  pthread_mutex_t files; /* which are open */
  pthread_cond_t opened;
  uint32_t *open; /* items whose files are */
  uint32_t open_count, open_most;
  _Atomic uint32_t next; /* of whatever the crew does now */
  void (*work)(struct restore *r, struct crew_mate *m, uint32_t i);
  uint32_t work_count, work_step;
  _Atomic bool failed;
  _Atomic uint64_t total, done; /* bytes */
  _Atomic uint64_t next_tell;   /* when */
  _Atomic uint32_t restored, same, skipped, removed, directories, kept_owner;
  _Atomic uint32_t others; /* of the restored: links, devices, fifos */
  pthread_mutex_t report;
  error *why;
  value *errors, *list;
  repo_budget told; /* of these two */
} restore;

#define FOLDERS_OPEN 16

/* A thread of the crew, and what it uses again. */
typedef struct crew_mate {
  restore *r;
  repo_tool *tool;
  repo_space sealed, text;
  repo_pair pair;
  struct {
    uint32_t folder; /* + 1 */
    int fd;
  } open[FOLDERS_OPEN];
} crew_mate;

/* restore.c */
void repo_restore_fail(restore *r, error *e); /* ends it all; takes over `e` */
/* Told of an item, which failed; takes over `e`. What concerns the whole disk
   ends it all. */
void repo_restore_failed(restore *r, uint32_t item, error *e);
/* The same of a path that is no item's, or of one that did not fail. */
void repo_restore_tell(restore *r, const char *path, error *e);
bool repo_restore_goes_on(restore *r);
/* As it is in the version: "/srv/www". NULL: no memory. */
char *repo_restore_path(const restore *r, uint32_t folder, const char *name);
/* What a dry run says, or would say. */
void repo_restore_list(restore *r, uint32_t item, const char *action);
void repo_restore_list_path(restore *r, const char *path, const char *action,
                            const char *type);
void repo_restore_progress(restore *r, uint64_t bytes, uint32_t item);
void *repo_restore_keep(restore *r, const void *data,
                        size_t size); /* in the arena */
/* The crew calls `work` for all below `count`, `step` at a time. */
error *repo_restore_crew(restore *r, uint32_t count, uint32_t step,
                         void (*work)(restore *r, crew_mate *m, uint32_t i));
repo_node repo_restore_node(const item *it);

/* restore_plan.c */
error *repo_plan_make(restore *r);
error *repo_plan_reads(restore *r); /* of what is still wanted */
void repo_plan_free(restore *r);

/* restore_look.c */
/* What there is at the item's place: sets its state. */
void repo_look_at(restore *r, crew_mate *m, uint32_t i);
/* It has names that may be somebody else's. */
bool repo_look_is_shared(const item *it, const struct stat *st);

/* restore_place.c */
#ifdef SAROS_TEST
extern bool repo_place_test_in_steps; /* as where there is no openat2 */
#endif
error *repo_place_target(restore *r);
void repo_place_end(restore *r);
error *repo_place_error(const char *what, int number);
/* A directory's, to be used and not kept; -1 and errno. */
int repo_place_open(crew_mate *m, uint32_t f);
int repo_place_open_once(restore *r, uint32_t f,
                         int flags);  /* the caller's own */
void repo_place_forget(crew_mate *m); /* closes them */
/* Makes it, and those it is in. False: it was told. */
bool repo_place_make(restore *r, uint32_t f);
/* Takes away what is in the way of something that is no directory (or is one):
   an errno, 0 when the name is free or may be replaced by a rename. */
int repo_place_clear(restore *r, int dir, const char *name, bool for_directory);
/* All that is below a name, and it; never through a link. 0 or an errno. */
int repo_place_remove(int dir, const char *name);

/* restore_file.c */
/* The name of what is half written. */
#define FILE_PREFIX ".saros-restore-"
void repo_out_temp_name(const restore *r, uint32_t i, char name[64]);
/* A whole file at once, of at most one blob. */
void repo_out_write_whole(restore *r, crew_mate *m, uint32_t i,
                          const char *data, size_t size);
/* A part of a larger one; the last one ends it. */
void repo_out_write_part(restore *r, crew_mate *m, uint32_t i, uint64_t offset,
                         const char *data, size_t size);
/* A part that will not come. */
void repo_out_give_up_part(restore *r, crew_mate *m, uint32_t i);
/* Begins it, where it was not begun; -1 and an errno. repo_out_unpin
 * afterwards. */
int repo_out_pin(restore *r, crew_mate *m, uint32_t i);
void repo_out_unpin(restore *r, uint32_t i);
int repo_out_write(const restore *r, int fd, const char *data, size_t size,
                   uint64_t offset);
/* Removes what is half written, of all. */
void repo_out_clean(restore *r);
/* What was lacking of the metadata is told. */
void repo_out_tell_lacks(restore *r, uint32_t i, unsigned lacks);

/* restore_read.c */
void repo_read_packs(restore *r, crew_mate *m, uint32_t i);

/* restore_rest.c */
void repo_rest_item(restore *r, crew_mate *m, uint32_t i);
void repo_rest_link(restore *r, crew_mate *m, uint32_t i);
/* Whether it is another name of its first already, which stays. */
bool repo_rest_is_linked(restore *r, uint32_t i);
void repo_rest_remove(restore *r);
void repo_rest_folders(restore *r);

/* restore_verify.c */
void repo_verify_item(restore *r, crew_mate *m, uint32_t i);
/* A part of a file, whether it is this blob. */
bool repo_verify_part(crew_mate *m, int fd, const plan_blob *b,
                      uint64_t offset);

#endif
