/*
** What the files of the mover share. What stands on what:
**
**   hours.c        limits by the time of day: text, and what counts now
**   share.c        bytes a second, dealt out; what small files owe
**   retry.c        when again: delays of files
**   mover_host.c   connections of a host, and its gate
**   mover_later.c  files of a job that wait for their time
**   mover_turn.c   which job and which file is next
**   mover_scan.c   all jobs at once
**   mover_run.c    a try from its beginning to its end
**   mover_net.c    whether there is a network again
**   mover.c        what others call, and the look
**   mover_settings.c   what is set, and what is shown
**
** All of it is under the manager's lock, but for what a try is told: that is
** done on the I/O thread, between two holds of it.
*/
#ifndef SAROS_BITS_MOVER_PARTS_H
#define SAROS_BITS_MOVER_PARTS_H

#include <time.h>

#include "bits/parts.h"

#define MOVER_LEVELS 4
#define MOVER_NEVER UINT64_MAX

/* ------------------------------------------------------------------
** hours.c: "09:00-17:30 mon-fri: 1M", local time
** ---------------------------------------------------------------- */

#define HOURS_ANY UINT64_MAX /* a rate: no limit. 0: nothing goes */

typedef struct hours_rule {
  uint16_t from, to; /* minutes of the day; to < from: over midnight */
  uint8_t days;      /* bit n: n days after Sunday, where it begins */
  uint64_t down, up;
} hours_rule;

typedef struct hours {
  hours_rule *rules;
  size_t count;
} hours;

/* One text, a list of them, or nothing. *h is empty before, and after an
   error. */
error *hours_read(const value *v, hours *h);
void hours_free(hours *h);
/* The first rule that fits; false: none does. */
bool hours_at(const hours *h, time_t now, uint64_t *down, uint64_t *up);
/* A number of bytes: 500K, 1.5M, "none". */
bool hours_rate(const char *text, const char **end, uint64_t *rate);

/* ------------------------------------------------------------------
** retry.c
** ---------------------------------------------------------------- */

#define RETRY_BASE_MS 1000u
#define RETRY_CAP_MS (5u * 60 * 1000)
#define RETRY_AFTER_MOST_MS (60u * 60 * 1000)
#define RETRY_QUICK 3 /* so many failures in a row are hiccups */

uint64_t retry_random(uint64_t *seed);
/* Full jitter: between 1 ms and what the n-th failure in a row may cost. */
uint64_t retry_backoff(uint64_t *seed, unsigned tries);
/* How long a file waits that has failed so often in a row. */
uint64_t retry_wait(uint64_t *seed, unsigned tries, const bits_result *r,
                    uint64_t retry_delay_ms);

/* ------------------------------------------------------------------
** What stands in a row
** ---------------------------------------------------------------- */

typedef struct turn_list {
  bits_job *first, *last;
  size_t count;
  size_t *all; /* NULL, or how many stand in lists like this one */
} turn_list;

void turn_leave(bits_job *j); /* whichever it stands in */
void turn_append(turn_list *l, bits_job *j);
void turn_prepend(turn_list *l, bits_job *j);
/* At a host: in the order in which they came to wait there; who has only been
   let in, and found no place, stands where he stood. */
void turn_queue(bits_mover *v, turn_list *l, bits_job *j);
/* Out of the way until then. */
void turn_park(bits_mover *v, bits_job *j, uint64_t due);
/* Its last try may have ended: mover_check. */
void mover_to_check(bits_mover *v, bits_job *j);

/* mover_later.c ------------------------------------------------------- */

typedef struct mover_later {
  uint64_t at;
  uint32_t file;
  uint32_t tries;
} mover_later;

bool later_put(bits_job *j, uint64_t at, uint32_t file, uint32_t tries);
mover_later later_take(bits_job *j);         /* the first; there is one */
void later_all_at(bits_job *j, uint64_t at); /* none is later than that */
void later_free(bits_job *j);

/* mover_host.c -------------------------------------------------------- */

typedef struct mover_host mover_host;
struct mover_host {
  mover_host *next, *next_freed;
  char *name;      /* "https://host:443" */
  unsigned active; /* connections */
  unsigned bad;    /* failures in a row */
  unsigned closed; /* times in a row that the gate was closed */
  unsigned wave;   /* times that it was closed at all */
  uint64_t until;  /* 0: it is open */
  bool probing;    /* one is on its way through a gate that may open */
  bool offline;    /* closed because there was no network */
  bool freed;      /* is among those with a place that was just left */
  turn_list waiting[MOVER_LEVELS];
};

#define MOVER_HOST_BUCKETS 64
#define MOVER_HOST_BAD 6 /* failures in a row, of whatever files */
#define MOVER_PROBE_MS 30000u

typedef struct mover_run mover_run;

mover_host *host_of(bits_mover *v, const char *url); /* NULL: no memory */
/* 0: one may begin now; else when it is worth to ask again. */
uint64_t host_closed(const mover_host *h, uint64_t now);
/* It has answered this one, and not badly. */
void host_good(bits_mover *v, mover_run *run);
/* Somebody wants it asked now, whatever its gate says. */
void host_ask_now(bits_mover *v, const char *url, uint64_t now);
/* What a try that is over says of its host. */
void host_judge(bits_mover *v, mover_run *run, const bits_result *r,
                uint64_t now);
/* There may be a network again. */
void host_online(bits_mover *v, uint64_t now);
void host_tidy(bits_mover *v, uint64_t now);
void host_free_all(bits_mover *v);

/* ------------------------------------------------------------------
** A try
** ---------------------------------------------------------------- */

typedef enum mover_way { MOVER_FETCH, MOVER_SEND, MOVER_S3 } mover_way;

#define MOVER_AT_ONCE 8 /* in a row; then it is a failure */

struct mover_run {
  bits_mover *mover;
  mover_run *next, *previous;
  bits_file *file;
  bits_job *job;
  mover_host *host;
  bits_try *try;     /* the I/O thread's; NULL: it commits first */
  bits_terms *terms; /* for the start */
  mover_way way;
  unsigned tries, at_once, wave;
  unsigned per_host;     /* the queue's, when it began */
  uint64_t began, bytes; /* of this run */
  uint64_t seen;         /* of file->have, when it was last counted */
  uint64_t prepaid;      /* bytes that are charged and have not come */
  uint64_t down, up;     /* what it may; 0: any */
  uint64_t used;         /* in this tick */
  uint64_t want;         /* by the last one */
  uint8_t level;
  bool stop, stop_sent, relimit, lone, upload;
  bool probe; /* of a gate that may open */
};

/* mover_run.c */
bool run_start(mover_run *run, bits_result *r); /* lock not held */
void run_settle(mover_run *run, const bits_result *r);
void run_count(mover_run *run); /* bytes that have come meanwhile */

/* share.c ------------------------------------------------------------- */

#define SHARE_TICK_MS 250u
#define SHARE_ANY UINT64_MAX

/* Deals `limit` out to those who want something: nobody gets more than he
   wants, what one leaves the others have. */
void share_fill(uint64_t limit, const uint64_t *wants, uint64_t *gets,
                size_t count);

typedef struct share_bucket {
  uint64_t rate;  /* SHARE_ANY: no limit; 0: nothing goes */
  int64_t tokens; /* negative: owed */
  uint64_t at;    /* when that was so */
} share_bucket;

typedef enum share_word {
  SHARE_GO,
  SHARE_OWES,    /* the job has had too much */
  SHARE_ALL_OWE, /* the queue has, in this direction */
  SHARE_CLOSED   /* by the time of day */
} share_word;

/* What counts now: limits of the queue, hours. */
void share_rates(bits_mover *v);
share_word share_may_begin(bits_mover *v, bits_job *j, uint64_t now);
/* All that goes this way owes: nobody begins anything. */
bool share_owes(bits_mover *v, bool upload, uint64_t now);
void share_prepay(mover_run *run, uint64_t now);
void share_charge(mover_run *run, uint64_t bytes);
void share_settle(mover_run *run); /* what was prepaid and did not come */
/* All runs get their shares. */
void share_deal(bits_mover *v, uint64_t now);
/* The same, when it is time. */
void share_tick(bits_mover *v, uint64_t now);

/* mover_net.c --------------------------------------------------------- */

void net_watch(bits_mover *v);
void net_unwatch(bits_mover *v);
bool net_changed(bits_mover *v); /* since it was asked last */

/* ------------------------------------------------------------------
** The mover
** ---------------------------------------------------------------- */

#define MOVER_BATCH 32
#define MOVER_CONNECTIONS 32
#define MOVER_PER_HOST 6
#define MOVER_RUNS_MOST 256
#define MOVER_SLICE_BYTES ((uint64_t)64 << 20)
#define MOVER_SLICE_MS (5u * 60 * 1000)

struct bits_mover {
  bits_manager *m;
  pthread_cond_t idle;
  /* Settings. */
  unsigned connections, per_host;
  uint64_t limit_down, limit_up; /* 0: none */
  hours hours;
  bool on; /* false: nothing is begun */
  /* Looks. */
  bool posted, rescan, ending, refused;
  unsigned inside;
  uint64_t due;      /* something can be begun then that cannot be now */
  uint64_t rest;     /* not all jobs are looked at before, for that alone */
  uint64_t tick_at;  /* MOVER_NEVER: no limit, or nothing to limit */
  uint64_t crowd_at; /* when to look who has had his slice */
  uint64_t net_at;   /* … whether there is a network */
  uint64_t hours_at; /* … what time of day it is */
  uint64_t seed;
  /* Runs. */
  mover_run *runs, *spare;
  unsigned active, level_active[MOVER_LEVELS];
  unsigned stops, relimits; /* orders that are not given yet */
  /* Jobs. */
  turn_list ring[MOVER_LEVELS]; /* could begin something */
  turn_list parked;             /* could not */
  size_t known, uploads;        /* uploads: of them */
  size_t host_waits[MOVER_LEVELS];
  uint64_t tickets; /* given to who waits at a host */
  uint32_t scan;
  bits_job *check;   /* whose last try may have ended */
  bits_job *touched; /* to be looked at; a reference each */
  bits_job *leaving; /* a reference each, to be let go */
  /* Hosts. */
  mover_host *hosts[MOVER_HOST_BUCKETS];
  mover_host *freed;
  size_t host_count;
  unsigned offline; /* hosts */
  int netlink;
  /* Bandwidth. */
  share_bucket down, up;
  bool owing;    /* somebody begins nothing until he owes less */
  bool owes[2];  /* nobody that goes down, or up, does */
  uint64_t mean; /* bytes of a file, of late */
};

/* mover_turn.c */
bool mover_may_run(const bits_job *j);
size_t mover_pick(bits_mover *v, mover_run **begin, size_t most, uint64_t now);
/* A try of it at that host has ended: where it goes on, if it does. */
void mover_place(bits_mover *v, bits_job *j, mover_host *h, bool goes_on,
                 uint64_t now);
/* Who waits for a connection of that host, or of any, looks again. */
void mover_let_in(bits_mover *v, mover_host *h);
void mover_let_all_in(bits_mover *v);

/* mover_scan.c */
void mover_scan(bits_mover *v, uint64_t now);
/* Only those that have changed. */
void mover_scan_touched(bits_mover *v, uint64_t now);
void mover_note(bits_mover *v, bits_job *j);
/* Jobs whose last try has ended, and of which nothing was begun. */
void mover_check(bits_mover *v, uint64_t now);
/* There may be a network again. */
void mover_online(bits_mover *v, uint64_t now);
void mover_forget(bits_mover *v, bits_job *j);
void mover_let_leave(bits_mover *v, bits_job *j);
/* Who has had his slice makes room for who waits. */
void mover_make_room(bits_mover *v, uint64_t now);

/* mover.c: with the lock, on the I/O thread: all that can be done now. The
   lock is let go. */
void mover_go(bits_mover *v);

/* ------------------------------------------------------------------
** What others do for it: a test may do it instead.
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST
typedef struct mover_hooks {
  uint64_t (*now)(const bits_manager *m);
  time_t (*wall)(void);
  bool (*call)(http_lane *lane, void (*call)(void *), void *context);
  bits_try *(*start)(mover_way way, const bits_try_ask *ask, error **e);
  void (*move)(bits_job *j, bits_state to);
  void (*fails)(bits_job *j, bits_file *f, const bits_result *r);
  void (*is_idle)(bits_job *j);
  void (*finish)(bits_manager *m, bits_file *f);
  void (*commit)(bits_file *f, bits_committed call, void *context);
  void (*touch)(bits_file *f);
  void (*unref)(bits_job *j);
  void (*look_at)(bits_manager *m, uint64_t at);
  uint64_t (*tick)(bits_job *j);
  uint64_t seed;
} mover_hooks;
extern mover_hooks mover_hook; /* those that are not NULL */
#define MOVER_CALL(hook, real, ...) \
  (mover_hook.hook != NULL ? mover_hook.hook(__VA_ARGS__) : real(__VA_ARGS__))
#else
#define MOVER_CALL(hook, real, ...) real(__VA_ARGS__)
#endif

#define mover_now(m) MOVER_CALL(now, bits_now, m)
#define mover_move(j, to) MOVER_CALL(move, bits_job_move, j, to)
#define mover_fails(j, f, r) MOVER_CALL(fails, bits_job_fails, j, f, r)
#define mover_is_idle(j) MOVER_CALL(is_idle, bits_job_idle, j)
#define mover_finish(m, f) MOVER_CALL(finish, bits_keeper_finish, m, f)
#define mover_commit(f, c, x) MOVER_CALL(commit, bits_file_commit, f, c, x)
#define mover_touch(f) MOVER_CALL(touch, bits_file_touch, f)
#define mover_look_at(m, at) MOVER_CALL(look_at, bits_keeper_look, m, at)
#define mover_tick(j) MOVER_CALL(tick, bits_job_tick, j)
#define mover_unref(j) MOVER_CALL(unref, bits_job_unref, j)
#define mover_call(lane, c, x) MOVER_CALL(call, http_lane_call, lane, c, x)

#endif
