/*
** keeper: what its files share. By file: keeper.c is the thread and its clock,
** keeper_commit.c writes rows, keeper_wait.c is who waits for that,
** keeper_hand.c the second thread and what it is asked for, keeper_finish.c
** what becomes of files whose bytes are here, small.c those that lie in memory,
** keeper_chores.c what has its time, keeper_orphans.c what is left at servers,
** keeper_notify.c runs command lines. Nobody else but the manager's files
** includes this.
*/
#ifndef SAROS_BITS_KEEPER_H
#define SAROS_BITS_KEEPER_H

#include "bits/parts.h"

#define KEEPER_TICK_MS 250u
#define KEEPER_NEVER UINT64_MAX

/* Who waits for a commit: a thread (`call` NULL; on its stack), or a try. */
typedef struct keeper_waiter {
  struct keeper_waiter *next;
  bool full, over;
  error *e;
  bits_manager *m;
  bits_committed call;
  void *context;
} keeper_waiter;

typedef struct keeper_errand {
  struct keeper_errand *next;
  void (*work)(void *context);
  void (*then)(void *context);
  void *context;
} keeper_errand;

/* What is left at a server. */
typedef struct keeper_orphan {
  struct keeper_orphan *next;
  bits_manager *m;
  int64_t id; /* of its row; 0: it has none yet */
  char *what;
  bits_terms *terms; /* a reference, or NULL */
  bool asked;        /* it is being taken away */
  bool gone;         /* it is: the row has to go, too */
  int64_t fresh;     /* the thread's: of this transaction */
  bool dropped;      /* likewise */
  unsigned tries;
  uint64_t at; /* of http_clock: not before */
} keeper_orphan;

/* A command line that runs. */
typedef struct keeper_notice {
  struct keeper_notice *next;
  bits_job *job;  /* a reference */
  uint32_t which; /* of its job's */
  uint64_t began;
  saros_op *op;
} keeper_notice;

#define KEEPER_NOTICES 32       /* command lines at once, but for those … */
#define KEEPER_NOTICE_MS 30000u /* … that take longer */

#ifdef SAROS_TEST
extern uint64_t bits_notice_ms;
#endif

struct bits_keeper {
  bits_queue *queue; /* the thread's alone, once it runs */
  pthread_t thread, hand;
  /* Under the manager's lock. */
  bool runs, hand_runs, stops, hand_stops;
  bool over, hand_over; /* nobody comes any more; before the beginning: yes */
  pthread_cond_t work, hand_work;
  uint64_t commit_at; /* http_clock; KEEPER_NEVER: nothing has changed */
  uint64_t wakes_at;  /* how long it sleeps; 0: it does not */
  uint64_t chores_at;
  uint64_t tell_at;                   /* KEEPER_NEVER: nothing runs */
  uint64_t committed, committed_full; /* of the manager's changes */
  unsigned failures;                  /* in a row */
  keeper_waiter *waiters, **waiters_end;
  keeper_errand *errands, **errands_end;
  bits_file **fetched; /* each with a reference to its job */
  size_t fetched_count, fetched_room;
  bool rescan;  /* some of them had no room */
  size_t small; /* bytes that small files lie in (small.c) */
  bits_small *small_spare;
  size_t small_spares; /* bytes of these */
  keeper_orphan *orphans;
  keeper_notice *notices;
  bool notify;  /* some job has BITS_JOB_NOTIFY, and that is committed */
  bool starts;  /* one of them is being begun */
  bool crowded; /* more command lines wait than may run at once */
  /* Of an observer, the thread's alone. */
  bool unread; /* somebody has written, and it could not be read yet */
  char *said;  /* what was wrong last: nobody is told that twice */
};

/* keeper.c */
error *bits_keeper_new(bits_manager *m, bits_queue *queue);
void bits_keeper_free(bits_manager *m);
/* With the lock. Something has changed: it will be committed within a tick. */
void bits_keeper_told(bits_manager *m);
/* With the lock: the hand looks again. */
void bits_keeper_stir(bits_manager *m);

/* keeper_commit.c, on the thread, with the lock (let go meanwhile). */
void bits_keeper_commit(bits_manager *m);

/* keeper_wait.c */
typedef struct keeper_waiters {
  keeper_waiter *first;
  bool full;
} keeper_waiters;
/* With the lock: all that are there. */
keeper_waiters bits_keeper_waiters(bits_manager *m);
/* Without: tells them. */
void bits_keeper_answer(bits_manager *m, keeper_waiters *w, error *e);
/* Calls on the lane; however little memory there is. */
void bits_keeper_post(bits_manager *m, void (*call)(void *context),
                      void *context);

/* keeper_hand.c */
void *bits_keeper_hand(void *context);

/* keeper_finish.c, with the lock. False: there is nothing to be finished. */
bool bits_keeper_finish_some(bits_manager *m);

/* keeper_sync.c, without: what is here of a file is on the disk when it
   returns, and the file says so. 0 or errno. */
int bits_sync_part(bits_file *f);
/* The first `count` files of a job, which are all that are whole, in as few
   steps as possible: then it says so. *failed: the first that could not be. */
int bits_sync_job(bits_job *j, uint32_t count, bits_file **failed);

/* keeper_chores.c, with the lock (let go meanwhile). */
void bits_keeper_chores(bits_manager *m);
/* With the lock: while something runs they come more often. */
void bits_keeper_watch(bits_manager *m);
/* With the lock: how far what runs has come, for who watches a run. */
void bits_keeper_tell(bits_manager *m);

/* keeper_orphans.c */
void bits_orphans_ask(bits_manager *m);            /* with the lock */
uint64_t bits_orphans_next(const bits_manager *m); /* with the lock */
error *bits_orphans_write(bits_manager *m);        /* in a transaction */
void bits_orphans_written(bits_manager *m, bool committed); /* with the lock */
void bits_orphans_free(bits_manager *m);
bool bits_orphans_load(bits_manager *m, const queue_orphan *row);

/* keeper_notify.c, with the lock (let go meanwhile). */
void bits_notify_look(bits_manager *m);
void bits_notify_end(bits_manager *m);

/* manager.c, without the lock: the queue is ours from now on. An error: not
   yet; it is tried again. */
error *bits_manager_own(bits_manager *m, bits_queue *q);
void bits_manager_note_owner(bits_manager *m, bits_queue *q);
/* manager_settings.c, without the lock: E_INVALIDARG for an option that a queue
   does not have. */
error *bits_manager_names(const value *options, bool opens);
/* What the queue has kept by that name; NULL: nothing, or *e. */
value *bits_manager_stored(bits_queue *q, const char *name, error **e);
/* Settings as they are kept, and with what it was opened with. */
error *bits_manager_read(bits_manager *m, bits_queue *q, bool own);
/* manager_jobs.c, with the lock; no reference. */
bits_job *bits_manager_find(bits_manager *m, const char *guid);
/* manager_devices.c */
bool bits_devices_tidy(bits_manager *m); /* with the lock; false: none idle */
void bits_devices_free(bits_manager *m);

/* load.c, without the lock: reads all rows. `again`: what is there is brought
   up to date. `own`: jobs that were under way are queued again. */
error *bits_load(bits_manager *m, bits_queue *q, bool again, bool own);
#ifdef SAROS_TEST
/* So many readings, at their ends. */
typedef struct load_fails {
  _Atomic int looks, owns;
} load_fails;
extern load_fails bits_load_fails;
#endif
/* events.c */
bool bits_events_new(bits_manager *m);
void bits_events_close(bits_manager *m); /* with the lock: all that wait end */
void bits_events_free(bits_manager *m);

#endif
