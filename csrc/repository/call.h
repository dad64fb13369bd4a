/*
** What a script asks of a repository: each call an operation of the engine's,
** carried out on a worker that may sleep. A call has options (a map) and an
** output (any value); it is a name, a function, and a line in calls.c.
*/
#ifndef SAROS_REPOSITORY_CALL_H
#define SAROS_REPOSITORY_CALL_H

#include "repository/repo.h"

typedef struct repo_work repo_work;

/* What is read to its end. With an operation it is only whole when that
   succeeds. */
typedef struct repo_stream {
  int fd;       /* ours */
  saros_op *op; /* a reference, or NULL */
} repo_stream;

typedef struct repo_call {
  repo_stop stop; /* the operation was cancelled */
  saros_op *op;
  const repo_work *work;
  repo *r;              /* a reference */
  repo *other;          /* a second one, of calls that are about two; or NULL */
  value *options;       /* NULL: none; wiped when it is over */
  repo_stream *streams; /* by their numbers in the options */
  size_t stream_count;
  value *output;     /* to be set; NULL: true */
  saros_value *list; /* instead of that: the engine's own */
  value *details;    /* a map: the status has it, also when the call fails */
  bool partial;      /* done, but not with everything: SAROS_S_PARTIAL */
} repo_call;

struct repo_work {
  const char *name;
  saros_kind kind; /* REPO_KIND */
  error *(*run)(repo_call *c);
};

#define REPO_KIND(name_, flags_)                             \
  {                                                          \
    .size = sizeof(saros_kind), .name = "repository." name_, \
    .facade = SAROS_FACADE_SAROS,                            \
    .flags = SAROS_RUN_LANE | SAROS_CANCELLABLE | (flags_),  \
    .run = repo_call_run, .release = repo_call_release       \
  }
uint32_t repo_call_run(saros_op *op, void *self);
void repo_call_release(void *self);

/* NULL: there is no such call. */
const repo_work *repo_work_find(const char *name);
/* Begins; takes over the options (wiped also when it fails). `name`: of the
   operation, or NULL. The operation with one reference; NULL sets *why. */
saros_op *repo_call_begin(repo *r, const repo_work *work, value *options,
                          const char *name, uint32_t *why);
/* The same with streams (mem_alloc'd), which are taken over, too. */
saros_op *repo_call_begin_with(repo *r, const repo_work *work, value *options,
                               repo_stream *streams, size_t stream_count,
                               const char *name, uint32_t *why);
void repo_streams_free(repo_stream *streams, size_t count);
/* About two repositories. */
saros_op *repo_call_begin_both(repo *r, repo *other, const repo_work *work,
                               value *options, const char *name, uint32_t *why);

/* In `run`: a lock, and back. What goes wrong at the end is told to the
   operation. */
error *repo_call_hold(repo_call *c, repo_use use, repo_hold **h);
error *repo_call_hold_of(repo_call *c, repo *r, repo_use use, repo_hold **h);
error *repo_call_let_go(repo_call *c, repo_hold *h, error *e);
/* What the options say of storing: compression, pack_size, limit_upload,
   dry_run. (backup_options.c) */
struct packer_options;
error *repo_call_pack_options(const repo_call *c, struct packer_options *o);

/* work_basic.c */
error *repo_work_open(repo_call *c);
error *repo_work_create(repo_call *c);
error *repo_work_versions(repo_call *c);
error *repo_work_stats(repo_call *c);
/* work_keys.c: keys and locks */
error *repo_work_keys(repo_call *c);
error *repo_work_add_key(repo_call *c);
error *repo_work_remove_key(repo_call *c);
error *repo_work_change_password(repo_call *c);
error *repo_work_locks(repo_call *c);
error *repo_work_unlock(repo_call *c);
/* backup.c */
error *repo_work_backup(repo_call *c);
/* work_care.c */
error *repo_work_check(repo_call *c);
error *repo_work_forget(repo_call *c);
error *repo_work_prune(repo_call *c);
/* restore.c, list.c, list_diff.c, dump.c, dump_pipe.c, stats.c */
error *repo_work_restore(repo_call *c);
error *repo_work_ls(repo_call *c);
error *repo_work_find_files(repo_call *c);
error *repo_work_diff(repo_call *c);
error *repo_work_dump(repo_call *c);
error *repo_work_read_pipe(repo_call *c);
error *repo_work_sizes(repo_call *c);
/* copy.c, repair.c, mount.c */
error *repo_work_copy(repo_call *c);
error *repo_work_repair(repo_call *c);
error *repo_work_mount(repo_call *c);

#endif
