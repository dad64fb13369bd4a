/*
** What the files of this folder share of managers and jobs.
*/
#ifndef SAROS_BITS_PARTS_H
#define SAROS_BITS_PARTS_H

#include <pthread.h>

#include "bits/bits.h"
#include "bits/queue.h"
#include "bits/transfer.h"

#define bits_fail(code, ...) error_make(SAROS_FACADE_BITS, code, __VA_ARGS__)

/* ------------------------------------------------------------------
** A job. All of it under the manager's lock, but for what is constant.
** ---------------------------------------------------------------- */

typedef struct bits_failure { /* what is told of an error */
  uint32_t code;              /* 0: there is none */
  bits_context context;
  uint32_t win32, transport;
  uint32_t file;
  char *why;
} bits_failure;

/* Bits of bits_job.marks. */
#define BITS_JOB_DIRTY 0x01u   /* its row has to be written */
#define BITS_JOB_GONE 0x02u    /* final: its rows are to be dropped */
#define BITS_JOB_GROUP 0x04u   /* of a QMgr group: files appear at once */
#define BITS_JOB_RESUMED 0x08u /* since it was made, once */
#define BITS_JOB_NOTIFY 0x10u  /* its command line is still to be run */
#define BITS_JOB_BUSY 0x20u    /* somebody has its files: bits_job_seize */
#define BITS_JOB_DURABLE 0x40u /* all its files are on the disk; stored */
#define BITS_JOB_ENDING 0x80u  /* it is being completed */

/* What the mover keeps of a job: zero while it does not know it (it has a
   reference while it does). Nobody else's. */
typedef struct bits_turn {
  bits_job *next, *previous, *next_check, *next_touched;
  struct turn_list *list;    /* in which it stands; NULL: in none */
  struct mover_later *later; /* files that wait, the first of them first */
  bits_result *bad;          /* what failed last, until it is told */
  uint32_t later_count, later_room;
  uint32_t bad_file;
  uint32_t scan;   /* when it was last seen in the manager's list */
  uint64_t due;    /* nothing can be begun before */
  uint64_t ticket; /* its place among who waits at a host */
  uint64_t slice_at, slice_bytes;
  uint64_t limit; /* bytes a second, as it counts now; 0: none */
  int64_t tokens; /* bytes that it may carry now, where it has a limit */
  uint64_t tokens_at;
  uint8_t level;
  bool known, stopping, transient, offline, returned, to_check, touched,
      leaving;
} bits_turn;

struct bits_job {
  _Atomic unsigned refs;     /* the manager's list has one while it is there */
  bits_manager *m;           /* a reference */
  char guid[37];             /* constant */
  int64_t id;                /* constant */
  bits_type type;            /* constant */
  bits_job *next, *previous; /* in the order they were made */
  bits_job *next_by_guid;
  bits_job *next_dirty;
  bits_state state;
  bits_priority priority;
  uint8_t marks;
  bits_terms *terms;
  value *properties; /* all that was set, as it is stored and shown */
  bits_file **files;
  uint32_t file_count, file_room;
  uint32_t files_done; /* and have their bytes */
  uint32_t next_file;  /* none before it waits */
  uint32_t *names;     /* files by their local names, or NULL (job_files.c) */
  uint32_t name_room;
  unsigned running; /* tries */
  bool finishing;   /* BUSY, but only with files that are fetched */
  /* Time: of the queue's own clock (ms that it was open, and the machine up);
     wall clocks are only for show. */
  uint64_t retry_delay_ms, no_progress_ms, max_time_ms, inactive_ms;
  uint64_t retry_at, progress_at, begun_at, touched_at;
  uint64_t tell_at; /* its run, how far it is: not before */
  int64_t created, modified, transferred; /* seconds since 1970 */
  unsigned tries;                         /* in a row without progress */
  uint32_t retries;                       /* of this run, as QMgr counts */
  uint32_t error_count;                   /* ever */
  uint32_t notices; /* how often its command line was to be run */
  bits_failure failure;
  uint64_t down, up; /* limits; 0: none */
  saros_op *run;     /* the present one, or the last; or NULL */
  char *group;       /* GUID of its QMgr group, or NULL; constant */
  bits_turn turn;    /* the mover's */
  uint32_t seen;     /* load.c's: in which reading of the queue */
  /* Of the last event that says how it ended: what, and its number, or 0. */
  const char *told; /* a literal */
  uint64_t told_at;
};

/* ------------------------------------------------------------------
** The manager
** ---------------------------------------------------------------- */

typedef struct bits_mover bits_mover;   /* mover.c's */
typedef struct bits_keeper bits_keeper; /* keeper.h's */
typedef struct bits_events bits_events; /* events.c's */
typedef struct bits_device bits_device; /* manager_devices.c's */

struct bits_manager {
  _Atomic unsigned refs;
  unsigned generation; /* of http_keep: see bits_manager_is_inherited */
  char *path;          /* constant */
  http_lane *lane;     /* constant */
  pthread_mutex_t lock;
  saros_device *hold;  /* constant: of the queue's directory */
  uint64_t opened_at;  /* of the machine's clock; constant while it is owned */
  uint64_t clock_base; /* likewise: ms that the queue had been open before */
  pthread_cond_t done; /* something has come to its end: a commit, a seizure, a
                          job's last try */
  /* Under the lock. */
  bool owner, observes, closing, closed;
  bool loads;     /* it is being taken over: nobody changes it yet */
  char *owned_by; /* who the owner is, for a person; NULL: we are */
  bits_job *first, *last;
  bits_job **by_guid;
  size_t buckets, job_count;
  int64_t next_id;
  bits_job *dirty_jobs, **dirty_jobs_end; /* each has a reference */
  bits_file *dirty_files, **dirty_files_end;
  uint64_t changes; /* counted: the last one that was told */
  value *settings;  /* limits of the queue, as kept */
  value *given;     /* constant: with what it was opened */
  bool settings_dirty;
  error *broken; /* the queue cannot be written: nothing is begun */
  bits_mover *mover;
  uint64_t look_at; /* of bits_now: when the mover wants to look again */
  bits_keeper *keeper;
  bits_events *events;
  bits_device *devices;
};

/* manager_jobs.c ------------------------------------------------------ */

/* With the lock: it has changed, its row will be written. */
void bits_job_touch(bits_job *j);
void bits_file_touch(bits_file *f);
/* With the lock: into the list of all (with a reference) and out of it. False:
   no memory, or its guid is there already. */
bool bits_manager_enter(bits_manager *m, bits_job *j);
void bits_manager_leave(bits_manager *m, bits_job *j);
/* With the lock: NULL when this process may change jobs; else that it is
   closed, the parent's, or owned by whom. */
error *bits_manager_may_write(bits_manager *m);
/* With the lock, which it lets go meanwhile: waits until nobody else works with
   the job's files; then it is BITS_JOB_BUSY, until it is let go. */
void bits_job_seize(bits_job *j);
void bits_job_let_go(bits_job *j);

/* small.c: files that lie in memory until they are written ------------ */

#define BITS_SMALL ((size_t)64 << 10)

typedef struct bits_small {
  struct bits_small *next; /* of those that are free to be used again */
  size_t size, room;       /* of it all, and in `data` */
  char data[];
} bits_small;

/* For one that is fetched. NULL: it is too large, too many lie in memory, or
   there is no hand to write it. */
bits_small *bits_small_new(bits_manager *m, size_t size);
void bits_small_free(bits_manager *m, bits_small *s); /* NULL is fine */
/* All of it is here, and so is what is known of it, but for the part: it will
   be FETCHED. Takes it over. */
void bits_small_give(bits_file *f, bits_small *s);
/* Those that are free are not needed for now. With the lock. */
void bits_small_tidy(bits_keeper *k);

/* manager_devices.c --------------------------------------------------- */

/* What is on this device, `fd` on it, is written to from now on: no freeze
   shall hold it. One registration a file system, however many ask. `path` is
   for a person. NULL is fine to be left. */
bits_device *bits_device_enter(bits_manager *m, dev_t device, int fd,
                               const char *path);
void bits_device_leave(bits_manager *m, bits_device *d);

/* job.c, for who loads ------------------------------------------------ */

/* One reference; with what is usual, in no list. `id` is the row's. NULL: no
   memory. */
bits_job *bits_job_new(bits_manager *m, const char *guid, int64_t id,
                       bits_type type);
/* One more file, with the next number, behind the others; copies. Without a
   check or a touch. NULL: no memory. */
bits_file *bits_job_append(bits_job *j, const char *url, const char *path);

/* keeper.c ---------------------------------------------------------- */

/* 0 or errno. Signals are the host's. */
int bits_thread_begin(pthread_t *thread, void *(*work)(void *), void *context);
error *bits_keeper_start(bits_manager *m);
void bits_keeper_stop(bits_manager *m); /* behind all work; joins */
/* Waits (lock not held) until all that was told is committed; `full`: for
   good. NULL, or why it could not be. */
error *bits_keeper_flush(bits_manager *m, bool full);
/* With the lock: something is there for it now. */
void bits_keeper_wake(bits_manager *m);
/* With the lock: bits_mover_look shall be called at that time of bits_now.
   (Sets look_at.) */
void bits_keeper_look(bits_manager *m, uint64_t at);
/* With the lock: this file's bytes are here. It is FETCHED; it will be
   verified, and named where its job's files appear at once; then it is DONE
   and bits_job_file_done is called, or it WAITS again, and bits_job_fails if
   that is why. Any kind of job. */
void bits_keeper_finish(bits_manager *m, bits_file *f);
/* Calls `work` where it may take long, without the lock; then, unless it is
   NULL, `then` on the lane. Any thread, without the lock. False: no memory, or
   it is closed. What was asked is done before a manager is closed. */
bool bits_keeper_call(bits_manager *m, void (*work)(void *context),
                      void (*then)(void *context), void *context);
/* With the lock: what is left at a server and shall be taken away there (JSON;
   see bits_s3_abort); kept until that is done. `terms`: those of its job, whose
   keys may be nowhere else (a reference is taken); NULL: lost, as of a row.
   False: no memory. */
bool bits_keeper_orphan(bits_manager *m, const char *what, bits_terms *terms);
/* ms of the queue's own clock: monotonic while it is open, going on where it
   stopped when it is opened again. */
uint64_t bits_now(const bits_manager *m);

/* mover.c ----------------------------------------------------------- */

error *bits_mover_new(bits_manager *m);
void bits_mover_free(bits_manager *m);
/* With the lock, any thread: something has changed; it will look soon, at all
   jobs; or: at this one. */
void bits_mover_wake(bits_manager *m);
/* With the lock: it is time, as the mover has asked (bits_keeper_look). */
void bits_mover_look(bits_manager *m);
void bits_mover_touch(bits_job *j);
/* With the lock: its tries end soon (suspended, cancelled, closed); *none:
   there are none. When the last has ended, bits_job_idle is called. */
void bits_mover_stop(bits_job *j, bool *none);
/* With the lock: new limits of the queue or a job count from now on. */
void bits_mover_limits(bits_manager *m);
/* { active, waiting, gates = { { host, until } … }, down, up } */
value *bits_mover_status(bits_manager *m);
/* Reads limits, hours, connections of the settings (lock held). */
error *bits_mover_settings(bits_manager *m, const value *settings);

/* states.c: every move of a job is one of these. With the lock. --------- */

/* The only place that writes job->state. Tells the run, the events, the row. */
void bits_job_move(bits_job *j, bits_state to);
/* A file's try has ended badly: TRANSIENT_ERROR or ERROR, as the result, the
   retry table and the times say. The mover calls it at once for what will not
   pass; for what may (AGAIN, OFFLINE) when none of the job's files can go on,
   with the last of their results, and sets retry_at behind it to when the first
   can (see retry.c). tries, retries and progress_at are counted by the
   mover. */
void bits_job_fails(bits_job *j, bits_file *f, const bits_result *r);
/* Its file is done (all marks are set); the last one: TRANSFERRED. */
void bits_job_file_done(bits_job *j, bits_file *f);
/* No try of it runs any more, nor is one begun now. */
void bits_job_idle(bits_job *j);
/* Looks at its clocks: a retry that is due (TRANSIENT_ERROR: QUEUED), times
   that are up. Whoever watches the time calls it; when again: ms of bits_now,
   UINT64_MAX never. */
uint64_t bits_job_tick(bits_job *j);

/* job*.c -------------------------------------------------------------- */

/* With the lock, in the list, all its rows read: it goes on where it may. What
   was under way is queued again, what was being cancelled is cancelled to its
   end, fetched files are given to the keeper (bits_keeper_finish); of what the
   machine may have lost when it was booted only what is durable counts. Of an
   observer's jobs nothing goes on. */
void bits_job_loaded(bits_job *j);
/* With the lock: the manager closes; who waits for its run is told so. */
void bits_job_closed(bits_job *j);
/* With the lock: how far it is, for who watches its run; now and then while
   something of it is transferred. */
void bits_job_tell(bits_job *j);
/* With the lock: a text for each. */
const char *bits_state_name(bits_state state);

/* properties.c ------------------------------------------------------- */

/* Reads properties into a job (its times, limits, terms); `stored`: from a
   row, else from a script, where nothing is forgiven. */
error *bits_properties_read(bits_job *j, const value *properties, bool stored);
/* The same from a row, without the lock: what references lead to may take as
   long as a disk does. Without `secrets` it is not read. */
error *bits_properties_load(bits_job *j, const value *properties, bool secrets);
/* What is stored: properties, times, counters, the failure. NULL: no memory. */
char *bits_properties_write(const bits_job *j);
/* The JSON of what a file knows and has extra; false: no memory. */
bool bits_file_write(const bits_file *f, char **known, char **extra);
error *bits_file_read(bits_file *f, const queue_file *row);

/* s3.c ------------------------------------------------------------------ */

/* Takes away what an orphan's row says, on the lane; then calls back there:
   NULL: it is gone (or there is nothing to be done about it ever). `terms`:
   with the keys, or NULL: they are read from where the row says. What an upload
   remembers (bits_extra.upload) is such a row. */
void bits_s3_abort(http_lane *lane, const char *what, bits_terms *terms,
                   void (*done)(void *context, error *e), void *context);

/* events.c ------------------------------------------------------------ */

void bits_event(bits_job *j, const char *what, int64_t file); /* lock held */

#endif
