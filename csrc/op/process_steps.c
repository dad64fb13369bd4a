/*
** A child process as an operation: the machine. Starting it is in spawn.c,
** its group in group.c, what it writes in output.c, and what is said about
** it in process_report.c.
*/
#include <errno.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "op/fork.h"
#include "op/group.h"
#include "op/process_parts.h"
#include "op/process_report.h"

#define MILLISECOND 1000000u
#define SECOND 1000000000u
#define TRACED_PAUSE (20u * MILLISECOND) /* a debugger reaps it first */
#define GRACE_STEP (10ull * SECOND)      /* less than an unwinding may take */

/* For who keeps our pipes open. */
#ifdef SAROS_TEST
_Atomic uint64_t process_drain_ns = 2ull * SECOND;
#define DRAIN_TIME process_drain_ns
#else
#define DRAIN_TIME (2ull * SECOND)
#endif

#define LINES_SLACK ((size_t)1 << 20) /* as much as a pipe may hold */

static saros_op *op_of(process *p) {
  return p->m.op;
}


/* ------------------------------------------------------------------
** Waiting for something
** ---------------------------------------------------------------- */

static void alarm_fire(timer *t) {
  alarm_clock *a = (alarm_clock *)t;
  a->due = true;
  machine_wake(&a->p->m);
}

static void alarm_off(alarm_clock *a) {
  timer_cancel(&a->t); /* on the engine thread: exact */
  a->due = false;
}

static void alarm_set(process *p, alarm_clock *a, uint64_t when) {
  alarm_off(a);
  a->p = p;
  a->t.fire = alarm_fire;
  timer_set(&a->t, when);
}

/* Nothing has happened there since we began to listen. */
static bool ear_quiet(ear *e) {
  if (e->listening && e->s.ready == 0) return true;
  e->listening = false;
  e->s.ready = 0;
  return false;
}

/* 0 or errno. */
static int ear_listen(process *p, ear *e, int fd, uint32_t events) {
  e->s.m = &p->m;
  int r = source_arm(&e->s, fd, events);
  e->listening = r == 0;
  return r;
}

static void ear_drop(ear *e) {
  source_drop(&e->s);
  e->listening = false;
}


/* ------------------------------------------------------------------
** Bytes in and out
** ---------------------------------------------------------------- */

static void close_input(process *p) {
  ear_drop(&p->ears[0]);
  fd_close(&p->child.ours[0]);
}

/* What has been fed since takes the place of what was written. False when
   there is nothing to write now, but there may be later. */
static bool next_input(process *p) {
  if (p->fed < p->input_size) return true;
  pthread_mutex_lock(&p->lock);
  bool more = p->more.size > 0, held = p->input_held;
  if (more) {
    mem_free(p->input);
    p->input_size = p->more.size;
    p->input = buffer_take(&p->more);
    p->fed = 0;
  }
  pthread_mutex_unlock(&p->lock);
  return more || !held;
}

/* A child that does not want the rest is within its rights. The SIGPIPE of
   such a write is sent to this thread, where it is blocked for ever. */
static int feed(process *p) {
  int fd = p->child.ours[0];
  if (fd < 0 || ear_quiet(&p->ears[0]) || !next_input(p)) return 0;
  ssize_t n = 0;
  if (p->fed < p->input_size) {
    do n = write(fd, p->input + p->fed, p->input_size - p->fed);
    while (n < 0 && errno == EINTR);
  }
  if (n > 0) p->fed += (size_t)n;
  if (n >= 0 ? p->fed < p->input_size : errno == EAGAIN)
    return ear_listen(p, &p->ears[0], fd, EPOLLOUT);
  if (n >= 0 && !next_input(p)) return 0; /* process_feed wakes us */
  if (n >= 0 && p->fed < p->input_size)
    return ear_listen(p, &p->ears[0], fd, EPOLLOUT);
  close_input(p);
  mem_free(p->input);
  p->input = NULL;
  p->input_size = p->fed = 0;
  return 0;
}

static void close_output(process *p, int which) {
  ear_drop(&p->ears[which]);
  output_end(&p->outs[which], &p->lock);
}

static int pull(process *p, int which) {
  output *o = &p->outs[which];
  if (o->fd < 0 || ear_quiet(&p->ears[which])) return 0;
  size_t count;
  bool news = false;
  int r = 0;
  switch (output_pull(o, &p->lock, &count, &news)) {
    case OUTPUT_SOME:
    case OUTPUT_LATER:
      r = ear_listen(p, &p->ears[which], o->fd, EPOLLIN);
      break;
    case OUTPUT_FULL: break;       /* process_line wakes us */
    case OUTPUT_FAILED: r = errno; /* fall through */
    case OUTPUT_ENDED: close_output(p, which); news = o->lines.limit > 0;
  }
  p->done += count;
  if (news) op_tell(op_of(p));
  if (news && p->listener != NULL) machine_wake(p->listener);
  return r;
}

/* One round, so that others get their turn. 0 or errno. */
static int pull_both(process *p) {
  uint64_t before = p->done;
  int r1 = pull(p, 1), r2 = pull(p, 2);
  if (p->done != before) saros_op_progress(op_of(p), p->done, 0);
  return r1 != 0 ? r1 : r2;
}

/* Nobody takes lines any more, and the child shall not wait for that. */
static void let_flow(process *p) {
  for (int i = 1; i < 3; i++) p->outs[i].drop = true;
}


/* ------------------------------------------------------------------
** The end
** ---------------------------------------------------------------- */

/* The outcome is decided; what is left is to unwind. */
static void give_up(process *p, int number) {
  if (number == ENOMEM)
    op_end_error(op_of(p), SAROS_E_OUTOFMEMORY, error_no_memory());
  else
    op_end_error(op_of(p), code_of_errno(number),
                 error_of_errno(SAROS_FACADE_SAROS, number,
                                "a pipe of the process failed", NULL));
}

static void time_is_up(process *p) {
  p->limit.due = false;
  error *e = report_timeout(p->child.argv[0], p->timeout_seconds);
  op_end_error(op_of(p), e->code, e);
}

static void close_all(process *p) {
  alarm_off(&p->limit);
  alarm_off(&p->again);
  close_input(p);
  close_output(p, 1);
  close_output(p, 2);
  ear_drop(&p->child_ear);
  fd_close(&p->child.pidfd);
  for (int i = 0; i < 3; i++) fd_close(&p->child.theirs[i]);
}

static process_report report_of(process *p) {
  process_report r = {.program = p->child.argv[0],
                      .pid = p->child.pid,
                      .status = p->end.si_status,
                      .stolen = p->stolen};
  if (!p->stolen && p->end.si_code != CLD_EXITED) {
    r.signal = p->end.si_status;
    r.status = 128 + r.signal;
  }
  for (int i = 1; i < 3; i++) {
    r.open[i] = p->open[i];
    r.captured[i] = p->captured[i];
    r.outs[i] = &p->outs[i];
  }
  return r;
}

/* How it ended, when that was not decided before. */
static error *outcome(process *p) {
  process_report r = report_of(p);
  report_details(&r, op_of(p));
  if (saros_op_cancelled(op_of(p))) return NULL;
  error *e = p->stolen || !p->any_status ? report_failure(&r) : NULL;
  if (e != NULL) return e;
  value *result = report_output(&r);
  if (result == NULL) return error_no_memory();
  op_set_output(op_of(p), result);
  return NULL;
}

static step_result finish(process *p) {
  close_all(p);
  error *e = p->child.why;
  p->child.why = NULL;
  if (p->child.pid != 0) e = outcome(p);
  uint32_t code = e != NULL ? e->code : SAROS_S_OK;
  machine_finish(&p->m, code, e); /* `p` may be gone */
  return STEP_END;
}


/* ------------------------------------------------------------------
** The steps, from the last to the first
** ---------------------------------------------------------------- */

static void scan_job(machine_job *mj) {
  process *p = (process *)mj->m;
  p->group_runs = group_lives(p->child.pid);
}

static void look_at_group_later(process *p) {
  const uint64_t most = 50 * MILLISECOND;
  p->group_pause = p->group_pause == 0 ? MILLISECOND : 2 * p->group_pause;
  if (p->group_pause > most) p->group_pause = most;
  alarm_set(p, &p->again, engine_clock() + p->group_pause);
}

/* The rest of the group was killed, which takes a moment. Only when it was
   not gone after that is /proc asked which of them are but unreaped. */
static bool group_gone(process *p) {
  if (p->group_over) return true;
  if (p->scanning) {
    if (!atomic_load(&p->job.back)) return false;
    p->scanning = false;
    p->group_over = !p->group_runs;
    if (!p->group_over) look_at_group_later(p);
    return p->group_over;
  }
  bool first = p->group_pause == 0;
  if (!first && !p->again.due) return false;
  p->again.due = false;
  p->group_over = group_signal(p->child.pid, p->child.pidfd, 0) == ESRCH;
  if (p->group_over) return true;
  if (!first)
    p->scanning = machine_submit(&p->m, &p->job, POOL_LANE, scan_job) == 0;
  if (!p->scanning) look_at_group_later(p);
  return false;
}

static step_result draining(process *p) {
  int r = pull_both(p);
  if (r != 0) give_up(p, r);
  /* Of one that was given up, what is there already is enough. */
  bool ended =
      saros_op_cancelled(op_of(p)) || (p->outs[1].fd < 0 && p->outs[2].fd < 0);
  bool gone = group_gone(p);
  if (p->scanning) return STEP_WAIT; /* a job of ours must be back */
  if (gone && ended) return finish(p);
  if (!p->limit.due) return STEP_WAIT;
  if (!gone)
    saros_op_cleanup_failed(op_of(p), "processes of its group did not die");
  for (int i = 1; i < 3; i++) p->open[i] = p->outs[i].fd >= 0;
  return finish(p);
}

/* With its leader unreaped the group's number is nobody else's. */
static void kill_and_reap(process *p) {
  group_signal(p->child.pid, p->child.pidfd, SIGKILL);
  pthread_mutex_lock(&p->lock);
  p->alive = false;
  child_reap(p->child.pidfd);
  pthread_mutex_unlock(&p->lock);
}

static void phase(process *p, const char *name) {
  if (saros_op_cancelled(op_of(p)))
    saros_op_unwinding(op_of(p), name);
  else
    op_phase_literal(op_of(p), name);
}

/* It has ended. What it wrote is read to the end, wherever that fits: nobody
   but strangers can still write, so the consumer is not waited for. */
static step_result see_out(process *p) {
  p->stage = DRAINING;
  ear_drop(&p->child_ear);
  if (p->child.pidfd >= 0) kill_and_reap(p);
  spawn_over(&p->child);
  close_input(p);
  pthread_mutex_lock(&p->lock);
  for (int i = 1; i < 3; i++) p->outs[i].lines.slack = LINES_SLACK;
  pthread_mutex_unlock(&p->lock);
  p->ears[1].listening = p->ears[2].listening = false; /* its last words */
  phase(p, "draining");
  alarm_off(&p->again);
  alarm_set(p, &p->limit, engine_clock() + DRAIN_TIME);
  return STEP_AGAIN;
}

/* Ended, but not for us to reap yet (a debugger comes first), or it could not
   be listened to: it is looked at again after a moment. */
static void look_again(process *p) {
  p->child_ear.listening = true;
  alarm_set(p, &p->again, engine_clock() + TRACED_PAUSE);
}

static bool has_ended(process *p) {
  ear *e = &p->child_ear;
  if (p->child.pidfd < 0) return p->stolen = true;
  bool readable = e->s.ready != 0;
  if (p->again.due) e->listening = p->again.due = false;
  if (ear_quiet(e)) return false;
  switch (child_look(p->child.pidfd, &p->end)) {
    case CHILD_STOLEN: p->stolen = true; /* fall through */
    case CHILD_ENDED: return true;
    case CHILD_LIVES: break;
  }
  if (readable || ear_listen(p, e, p->child.pidfd, EPOLLIN) != 0) look_again(p);
  return false;
}

static void signal_group(process *p, int signal) {
  group_signal(p->child.pid, p->child.pidfd, signal);
}

static step_result killing(process *p) {
  pull_both(p);
  return has_ended(p) ? see_out(p) : STEP_WAIT;
}

static step_result begin_killing(process *p) {
  p->stage = KILLING;
  phase(p, "killing");
  signal_group(p, SIGKILL);
  return STEP_AGAIN;
}

/* A grace longer than the deadline of an unwinding is what the caller asked
   for: it is cut into steps that are not. */
static void next_grace_step(process *p) {
  uint64_t now = engine_clock();
  uint64_t left = p->grace_end > now ? p->grace_end - now : 0;
  phase(p, "terminating");
  alarm_set(p, &p->limit, now + (left < GRACE_STEP ? left : GRACE_STEP));
}

static step_result terminating(process *p) {
  pull_both(p);
  if (has_ended(p)) return see_out(p);
  if (!p->limit.due) return STEP_WAIT;
  if (engine_clock() >= p->grace_end) return begin_killing(p);
  next_grace_step(p);
  return STEP_WAIT;
}

/* Its standard input stays open, though nothing is fed any more: the end of
   half an input must not be taken for the end of the whole. CONT lets a group
   that was stopped die. */
static step_result begin_terminating(process *p) {
  p->stage = TERMINATING;
  let_flow(p);
  if (p->grace == 0) return begin_killing(p);
  p->grace_end = engine_clock() + p->grace;
  next_grace_step(p);
  signal_group(p, SIGTERM);
  signal_group(p, SIGCONT);
  return STEP_AGAIN;
}

static step_result running(process *p) {
  int r1 = saros_op_cancelled(op_of(p)) ? 0 : feed(p);
  int r2 = pull_both(p);
  if (has_ended(p)) return see_out(p);
  if (r1 != 0 || r2 != 0) give_up(p, r1 != 0 ? r1 : r2);
  if (p->limit.due) time_is_up(p);
  return saros_op_cancelled(op_of(p)) ? begin_terminating(p) : STEP_WAIT;
}

/* The job has brought a child. */
static step_result begin_running(process *p) {
  p->stage = RUNNING;
  for (int i = 1; i < 3; i++) {
    p->outs[i].fd = p->child.ours[i];
    p->child.ours[i] = -1;
  }
  pthread_mutex_lock(&p->lock);
  p->alive = p->child.pidfd >= 0;
  pthread_mutex_unlock(&p->lock);
  value *pid = value_int(p->child.pid);
  if (pid != NULL) op_set_detail(op_of(p), "pid", pid);
  if (!saros_op_cancelled(op_of(p))) op_phase_literal(op_of(p), "running");
  return STEP_AGAIN;
}

static step_result spawning(process *p) {
  if (p->limit.due) time_is_up(p);
  if (!atomic_load(&p->job.back)) {
    bool over = saros_op_cancelled(op_of(p));
    return over && pool_withdraw(&p->job.j) ? finish(p) : STEP_WAIT;
  }
  return p->child.pid != 0 ? begin_running(p) : finish(p);
}

static void spawn_job(machine_job *mj) {
  process *p = (process *)mj->m;
  if (!saros_op_cancelled(op_of(p))) spawn_run(&p->child);
}

static step_result ready(process *p) {
  if (saros_op_cancelled(op_of(p))) return finish(p);
  p->stage = SPAWNING;
  if (p->timeout > 0) alarm_set(p, &p->limit, op_of(p)->begun + p->timeout);
  int r = machine_submit(&p->m, &p->job, POOL_LANE, spawn_job);
  if (r == 0) return STEP_WAIT;
  p->child.why = error_of_errno(SAROS_FACADE_SAROS, r,
                                "no thread to start a program with", NULL);
  return finish(p);
}

step_result process_step(machine *m) {
  process *p = (process *)m;
  switch (p->stage) {
    case READY: return ready(p);
    case SPAWNING: return spawning(p);
    case RUNNING: return running(p);
    case TERMINATING: return terminating(p);
    case KILLING: return killing(p);
    case DRAINING: return draining(p);
  }
  return STEP_WAIT;
}
