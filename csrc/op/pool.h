/*
** The threads that work. CPU has one thread per core and computes; the elastic
** lane has up to 64 for work that may sleep in the kernel, whose idle threads
** leave; the third is for what must be done while file systems are frozen:
** nobody else's work can be in its way, not even one that sleeps on a frozen
** disk. Threads block all signals, and appear when there is work.
*/
#ifndef SAROS_OP_POOL_H
#define SAROS_OP_POOL_H

#include <stdbool.h>
#include <stdint.h>

typedef enum pool_lane { POOL_CPU, POOL_LANE, POOL_HELD, POOL_LANES } pool_lane;

#define POOL_LANE_MOST 64
#define POOL_HELD_MOST 256
#define POOL_IDLE_SECONDS 5

typedef struct job job;

struct job {
  job *next, *prev; /* in its lane's queue; prev is NULL when it is in none */
  void (*run)(job *j); /* may free the job */
  uint8_t lane;
};

/* Only while the engine runs (an operation or a port holds it). The job's
   memory is the caller's until run returns. 0, or an errno when the lane has
   no thread and can get none: then the job is in no queue. */
int pool_submit(job *j, pool_lane lane);
/* A dispatcher that has more to do, and may soon submit more, need not wake a
   sleeping thread for each job: while `on`, this thread's submits to the CPU
   lane leave that to pool_flush (or to the guard, which is there in a moment
   if the dispatcher is held up). */
void pool_defer(bool on);
void pool_flush(void);
/* Takes it back if no thread has taken it yet. To be called before or during
   its pool_submit the job must be zeroed and have its lane set. */
bool pool_withdraw(job *j);
/* So many more threads than others asked for are there and stay, until they are
   dismissed; 0 or an errno (EAGAIN: the lane has no room for them). What a
   freeze needs is made ready with this before anything is frozen. */
int pool_ready(pool_lane lane, unsigned threads);
/* So many of them may leave again when they are idle. */
void pool_dismiss(pool_lane lane, unsigned threads);
unsigned pool_cores(void);
unsigned pool_threads(pool_lane lane);

/* This worker does not leave, however long it is idle, until pool_go was called
   as often, by anybody: the kernel kills children with the thread that made
   them. All must be gone before the engine stops. */
typedef _Atomic unsigned pool_staying;
pool_staying *pool_stay(void);
void pool_go(pool_staying *staying);

/* One turn of a short busy wait. */
#if defined(__x86_64__) || defined(__i386__)
#define pool_relax() __builtin_ia32_pause()
#else
#define pool_relax() __asm__ volatile("" ::: "memory")
#endif

/* The engine's part. The guard looks after a moment whether the CPU lane needs
   another thread: pool_guard_set (engine.c) sets a timer that calls pool_guard
   until that says no. */
void pool_guard_set(void);
bool pool_guard(void);
void pool_stop(void); /* joins every thread: the queues must be empty */
bool pool_is_worker(void);

#ifdef SAROS_TEST
extern _Atomic unsigned pool_idle_ms; /* instead of POOL_IDLE_SECONDS */
#endif

#endif
