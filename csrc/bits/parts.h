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
#define BITS_JOB_BUSY 0x20u /* the keeper finishes, completes or cancels it */

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
  unsigned running;    /* tries */
  /* Time: of the queue's own clock (ms that it was open, and the machine up);
     wall clocks are only for show. */
  uint64_t retry_delay_ms, no_progress_ms, max_time_ms, inactive_ms;
  uint64_t retry_at, progress_at, begun_at, touched_at;
  int64_t created, modified, transferred; /* seconds since 1970 */
  unsigned tries;                         /* in a row without progress */
  uint32_t retries;                       /* of this run, as QMgr counts */
  uint32_t error_count;                   /* ever */
  bits_failure failure;
  uint64_t down, up; /* limits; 0: none */
  saros_op *run;     /* the present one, or the last; or NULL */
  char *group;       /* GUID of its QMgr group, or NULL; constant */
};

/* ------------------------------------------------------------------
** The manager
** ---------------------------------------------------------------- */

typedef struct bits_mover bits_mover;   /* mover.c's */
typedef struct bits_waiter bits_waiter; /* keeper.c's */

struct bits_manager {
  _Atomic unsigned refs;
  unsigned generation; /* of http_keep: see bits_manager_is_inherited */
  char *path;          /* constant */
  http_lane *lane;     /* constant */
  pthread_mutex_t lock;
  /* Under the lock. */
  bool owner, closing, closed;
  bits_job *first, *last;
  bits_job **by_guid;
  size_t buckets, job_count;
  int64_t next_id;
  bits_job *dirty_jobs;
  bits_file *dirty_files;
  bits_mover *mover;
  uint64_t look_at;    /* when the mover wants to look again; UINT64_MAX */
  uint64_t clock_base; /* ms that the queue had been open before */
  value *settings;     /* limits of the queue, as kept */
  /* The keeper. */
  pthread_t keeper;
  pthread_cond_t work;         /* for it */
  pthread_cond_t done;         /* for who waits */
  bool asked;                  /* it shall not wait for its tick */
  uint64_t changes, committed; /* counted; what is told is change n */
  bits_waiter *waiters;
  bits_queue *queue; /* the keeper's alone */
  error *broken;     /* the queue cannot be written: nothing is begun */
  bits_file *fetched, **fetched_end; /* to be finished (through next_dirty) */
};

/* With the lock: it has changed, its row will be written. */
void bits_job_touch(bits_job *j);
void bits_file_touch(bits_file *f);

/* keeper.c ---------------------------------------------------------- */

error *bits_keeper_start(bits_manager *m);
void bits_keeper_stop(bits_manager *m); /* behind all work; joins */
/* Waits (lock not held) until all that was told is committed; `full`: for
   good. NULL, or why it could not be. */
error *bits_keeper_flush(bits_manager *m, bool full);
/* With the lock: something is there for it now. */
void bits_keeper_wake(bits_manager *m);
/* With the lock: this file's bytes are here. */
void bits_keeper_finish(bits_manager *m, bits_file *f);
/* ms of the queue's own clock: monotonic while it is open, going on where it
   stopped when it is opened again. */
uint64_t bits_now(const bits_manager *m);

/* mover.c ----------------------------------------------------------- */

error *bits_mover_new(bits_manager *m);
void bits_mover_free(bits_manager *m);
/* With the lock, any thread: something has changed; it will look soon. */
void bits_mover_wake(bits_manager *m);
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
   retry table and the times say. */
void bits_job_fails(bits_job *j, bits_file *f, const bits_result *r);
/* Its file is done (all marks are set); the last one: TRANSFERRED. */
void bits_job_file_done(bits_job *j, bits_file *f);
/* No try of it runs any more. */
void bits_job_idle(bits_job *j);

/* properties.c ------------------------------------------------------- */

/* Reads properties into a job (its times, limits, terms); `stored`: from a
   row, else from a script, where nothing is forgiven. */
error *bits_properties_read(bits_job *j, const value *properties, bool stored);
/* What is stored: properties, times, counters, the failure. NULL: no memory. */
char *bits_properties_write(const bits_job *j);
/* The JSON of what a file knows and has extra; false: no memory. */
bool bits_file_write(const bits_file *f, char **known, char **extra);
error *bits_file_read(bits_file *f, const queue_file *row);

/* events.c ------------------------------------------------------------ */

void bits_event(bits_job *j, const char *what, int64_t file); /* lock held */

#endif
