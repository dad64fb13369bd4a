/*
** A child process as an operation: its beginning, and what others may ask of
** it. The machine is in process_steps.c.
*/
#include "op/process.h"

#include <errno.h>
#include <string.h>

#include "op/fork.h"
#include "op/group.h"
#include "op/process_parts.h"

#define LIMIT_DEFAULT ((size_t)1 << 20)
#define LINES_MOST ((size_t)1 << 16)
#define GRACE_DEFAULT 5.0
#define TAIL_DEFAULT 4096 /* of an output that nobody captures */

static void cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((process *)self)->m);
}

/* Descriptors of a process before the fork were closed in the child, where
   the same numbers may be others now. */
static void forget_descriptors(process *p) {
  for (int i = 0; i < 3; i++)
    p->child.theirs[i] = p->child.ours[i] = p->outs[i].fd = -1;
  p->child.pidfd = p->stream = -1;
  p->child.line = LIFELINE_NONE;
  p->child.lent.fd = -1;
}

static void release(void *self) {
  process *p = self;
  if (p->generation != fork_generation) forget_descriptors(p);
  fd_close(&p->stream);
  spawn_free(&p->child);
  output_free(&p->outs[1]);
  output_free(&p->outs[2]);
  mem_free(p->input);
  buffer_free(&p->more);
  pthread_mutex_destroy(&p->lock);
  mem_free(p);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.process",
                                .flags = SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
                                .cancel = cancel,
                                .release = release};

bool op_is_process(const saros_op *op) {
  return op->kind == &kind;
}

/* NULL for an operation of another kind, and after a fork: its lock may be
   held for ever then. */
static process *ours(saros_op *op) {
  bool can = op_is_process(op) && op->generation == fork_generation;
  return can ? op_self(op) : NULL;
}

int process_take_stream(saros_op *op) {
  process *p = ours(op);
  if (p == NULL) return -1;
  pthread_mutex_lock(&p->lock);
  int fd = p->stream;
  p->stream = -1;
  pthread_mutex_unlock(&p->lock);
  fd_disown(fd);
  return fd;
}

/* It was taken for nothing. */
static void give_stream_back(saros_op *op, int *fd) {
  process *p = ours(op);
  if (p == NULL || *fd < 0) return;
  pthread_mutex_lock(&p->lock);
  p->stream = *fd;
  pthread_mutex_unlock(&p->lock);
  *fd = -1;
}

line_result process_line(saros_op *op, int which, buffer *line) {
  process *p = ours(op);
  if (p == NULL || which < 1 || which > 2) return LINE_END;
  if (p->outs[which].lines.limit == 0) return LINE_END;
  bool wake;
  pthread_mutex_lock(&p->lock);
  line_result r = lines_take(&p->outs[which].lines, line, &wake);
  pthread_mutex_unlock(&p->lock);
  if (wake) machine_wake(&p->m);
  return r;
}

bool process_feed(saros_op *op, const void *bytes, size_t size) {
  process *p = ours(op);
  if (p == NULL) return true;
  pthread_mutex_lock(&p->lock);
  size_t before = p->more.size;
  if (p->input_held) buffer_put(&p->more, bytes, size);
  bool good = !p->more.failed;
  if (!good) { /* none of it: half of it would be something else */
    p->more.size = before;
    p->more.failed = false;
  }
  pthread_mutex_unlock(&p->lock);
  if (good) machine_wake(&p->m);
  return good;
}

void process_end_input(saros_op *op) {
  process *p = ours(op);
  if (p == NULL) return;
  pthread_mutex_lock(&p->lock);
  p->input_held = false;
  pthread_mutex_unlock(&p->lock);
  machine_wake(&p->m);
}

void process_wakes(saros_op *op, machine *m) {
  process *p = ours(op);
  if (p != NULL) p->listener = m;
}

void process_ignore_lines(saros_op *op) {
  process *p = ours(op);
  if (p == NULL) return;
  p->outs[1].drop = p->outs[2].drop = true;
  machine_wake(&p->m);
}

int process_signal(saros_op *op, int signal) {
  process *p = ours(op);
  if (p == NULL) return ESRCH;
  int r = ESRCH;
  pthread_mutex_lock(&p->lock);
  if (p->alive) r = group_signal(p->child.pid, p->child.pidfd, signal);
  pthread_mutex_unlock(&p->lock);
  return r;
}


/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

static error *misuse(const char *what) {
  return error_make(SAROS_FACADE_SAROS, SAROS_E_INVALIDARG, "%s", what);
}

static error *no_descriptor(int number, const char *what) {
  return error_of_errno(SAROS_FACADE_SAROS, number, what, NULL);
}

static error *check(const process_options *o) {
  if (o->argv == NULL || o->argv[0] == NULL)
    return misuse("a process needs a program: argv is empty");
  bool own = o->input != NULL || o->input_hold;
  if (own + (o->input_from != NULL) + o->input_inherit > 1)
    return misuse("a process has one standard input: give one source of it");
  if (o->out == PROCESS_STDOUT)
    return misuse("standard output cannot go where standard output goes");
  if (o->err == PROCESS_STREAM)
    return misuse("only standard output can be a stream");
  if (o->input_from != NULL && !op_is_process(o->input_from))
    return misuse("the input can only come from another process");
  return NULL;
}

static uint64_t nanoseconds(double seconds) {
  double most = 9e9; /* three centuries */
  return (uint64_t)((seconds < most ? seconds : most) * 1e9);
}

/* Where the input comes from. */
static error *set_input(process *p, const process_options *o) {
  spawn *s = &p->child;
  if (o->input_from != NULL) {
    s->theirs[0] = fd_own(process_take_stream(o->input_from));
    if (s->theirs[0] < 0)
      return misuse("the other process has no stream, or somebody reads it");
    s->ends[0] = SPAWN_GIVEN;
  } else if (o->input_inherit) {
    int r = spawn_inherit(s, 0, 0);
    if (r != 0) return no_descriptor(r, "standard input cannot be inherited");
  } else if (o->input_hold || (o->input != NULL && o->input_size > 0)) {
    s->ends[0] = SPAWN_PIPE;
    p->input_held = o->input_hold;
    if (o->input == NULL || o->input_size == 0) return NULL;
    p->input = mem_bytes(o->input, o->input_size);
    p->input_size = o->input_size;
    if (p->input == NULL) return error_no_memory();
  }
  return NULL;
}

static void keep(process *p, int which, const process_options *o,
                 bool by_line) {
  output *out = &p->outs[which];
  size_t limit = o->limit > 0 ? o->limit : LIMIT_DEFAULT;
  out->limit = limit;
  p->child.ends[which] = SPAWN_PIPE;
  p->captured[which] = !by_line;
  if (by_line) out->lines.limit = limit < LINES_MOST ? limit : LINES_MOST;
  out->keep_head = !by_line && which == 1;
  /* The end of what it complains of is kept in any case: for the message. */
  if (which == 2 || o->err == PROCESS_STDOUT)
    out->tail.limit = by_line || which == 1 ? TAIL_DEFAULT : limit;
}

static error *set_output(process *p, int which, process_end end,
                         const process_options *o) {
  int r;
  switch (end) {
    case PROCESS_CAPTURE: keep(p, which, o, false); break;
    case PROCESS_LINES: keep(p, which, o, true); break;
    case PROCESS_NULL: break;
    case PROCESS_STDOUT: p->child.ends[which] = SPAWN_SAME; break;
    case PROCESS_STREAM:
      p->stream = spawn_pipe(&p->child, which);
      if (p->stream < 0) return no_descriptor(errno, "no pipe for the stream");
      break;
    case PROCESS_INHERIT:
      r = spawn_inherit(&p->child, which, which);
      if (r != 0) return no_descriptor(r, "an output cannot be inherited");
      break;
  }
  return NULL;
}

static error *set_up(process *p, const process_options *o) {
  if (!spawn_words(&p->child, o->argv, o->env, o->cwd))
    return error_no_memory();
  p->any_status = o->any_status;
  p->child.outlives = o->outlives;
  p->child.foreground = o->foreground;
  if (o->timeout > 0) {
    p->timeout_seconds = o->timeout;
    p->timeout = nanoseconds(o->timeout);
  }
  p->grace = nanoseconds(o->grace > 0 ? o->grace : GRACE_DEFAULT);
  if (o->grace < 0) p->grace = 0; /* KILL at once */
  error *e = set_output(p, 1, o->out, o);
  if (e == NULL) e = set_output(p, 2, o->err, o);
  if (e == NULL) e = set_input(p, o);
  return e;
}

static process *make(void) {
  process *p = mem_zero(sizeof *p);
  if (p == NULL) return NULL;
  p->generation = fork_generation;
  p->m.step = process_step;
  p->stream = p->outs[1].fd = p->outs[2].fd = -1;
  spawn_init(&p->child);
  pthread_mutex_init(&p->lock, NULL);
  return p;
}

static error *cannot_begin(uint32_t code) {
  if (code == SAROS_E_OUTOFMEMORY) return error_no_memory();
  const code_entry *known = code_find(SAROS_FACADE_SAROS, code);
  return error_make(
      SAROS_FACADE_SAROS, code, "a process was not begun: %s",
      known != NULL && known->text != NULL ? known->text : "no engine");
}

/* Nothing has happened: also not to the one whose stream it was to read. */
static void undo(process *p, const process_options *o) {
  if (o->input_from != NULL)
    give_stream_back(o->input_from, &p->child.theirs[0]);
}

/* After op_begin it may be cancelled, stepped and over at any time. */
static saros_op *begin(process *p, const process_options *o, error **e) {
  uint32_t why;
  saros_op *op = op_create(&kind, p, 0, o->name, &why);
  if (op == NULL) {
    *e = cannot_begin(why);
    undo(p, o);
    release(p);
    return NULL;
  }
  p->m.op = op;
  op_phase_literal(op, "spawning");
  /* What status() shows and the result have a place now, or never. */
  why = op_extra_get(op) != NULL ? op_begin(op, SAROS_RUNNING)
                                 : SAROS_E_OUTOFMEMORY;
  if (why == 0) {
    machine_wake(&p->m);
    return op;
  }
  *e = cannot_begin(why);
  undo(p, o);
  op_forget_name(op);
  op_finish_error(op, why, NULL); /* by its name somebody may have it */
  saros_op_unref(op);
  return NULL;
}

saros_op *process_start(const process_options *o, error **e) {
  *e = check(o);
  if (*e != NULL) return NULL;
  process *p = make();
  if (p == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  *e = set_up(p, o);
  if (*e == NULL) return begin(p, o, e);
  undo(p, o);
  release(p);
  return NULL;
}

saros_op *saros_process(const saros_process_options *options, uint32_t *why) {
  uint32_t ignored;
  if (why == NULL) why = &ignored;
  saros_process_options given = {0};
  *why = SAROS_E_INVALIDARG;
  if (options == NULL || options->size < sizeof options->size) return NULL;
  /* A host of another age knows fewer or more of the fields. */
  memcpy(&given, options,
         options->size < sizeof given ? options->size : sizeof given);
  process_options o = {.argv = given.argv,
                       .env = given.env,
                       .cwd = given.cwd,
                       .input = given.input,
                       .input_size = given.input_size,
                       .timeout = given.timeout,
                       .limit = given.limit};
  error *e = NULL;
  saros_op *op = process_start(&o, &e);
  *why = e != NULL ? e->code : 0;
  error_unref(e);
  return op;
}
