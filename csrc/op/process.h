/*
** A child process as an operation: a machine on the engine that spawns it on
** the lane, feeds it, reads what it writes, and sees it out. Cancel sends
** TERM to its whole group, KILL after a grace; the group is killed before
** the child is reaped, so nothing of it is left when the wait is over.
*/
#ifndef SAROS_OP_PROCESS_H
#define SAROS_OP_PROCESS_H

#include "op/op.h"

typedef enum process_end {
  PROCESS_CAPTURE, /* kept, up to the limit, in the result */
  PROCESS_LINES,   /* handed out line by line with process_line */
  PROCESS_STREAM,  /* an fd that another operation takes (stdout only) */
  PROCESS_NULL,
  PROCESS_INHERIT,
  PROCESS_STDOUT /* standard error goes where standard output goes */
} process_end;

typedef struct process_options {
  const char *const *argv;
  const char *const *env; /* NULL: inherited */
  const char *cwd;
  const void *input; /* for standard input; NULL and none below: /dev/null */
  size_t input_size;
  saros_op *input_from; /* reads that one's PROCESS_STREAM */
  bool input_inherit;
  bool input_hold; /* `input` is but its beginning: see process_feed */
  process_end out, err;
  double timeout;  /* seconds; 0: none */
  double grace;    /* between TERM and KILL; 0: 5 s */
  size_t limit;    /* bytes kept of each output; 0: 1 MiB */
  bool any_status; /* a status other than 0 is a success too */
  bool outlives;   /* it may end after us, by itself: it has something to undo
                      when its standard input ends */
  bool foreground; /* it has the terminal while it runs, if we have it: reads
                      from it, and is whom Ctrl-C is for */
  const char *name;
} process_options;

/* Copies what it needs. NULL and *e (which the caller unrefs) when it could
   not be begun; that a program is not there is known later, and fails the
   operation. */
saros_op *process_start(const process_options *options, error **e);
bool op_is_process(const saros_op *op);

/* The read end of a PROCESS_STREAM, once: the caller's to close. -1 when
   there is none or somebody has it. Whoever reads it to its end then waits
   for `op`: only if that succeeded was the end the end. */
int process_take_stream(saros_op *op);

/* The next line of a PROCESS_LINES output (which: 1 or 2), without its
   newline, appended to `line`; a last line without newline counts, and one
   longer than the limit comes in pieces. The operation's progress watches
   fire when there is more. */
typedef enum line_result { LINE_READY, LINE_LATER, LINE_END } line_result;
line_result process_line(saros_op *op, int which, buffer *line);

/* Of one with input_hold: more of its standard input, and the end of it. Any
   thread. False without memory; what comes too late is lost. */
bool process_feed(saros_op *op, const void *bytes, size_t size);
void process_end_input(saros_op *op);

/* Who waits for its lines as a machine is woken when there is more; NULL ends
   that. What nobody takes any more is read and dropped, so that the child does
   not wait for us. Engine thread only. */
typedef struct machine machine;
void process_wakes(saros_op *op, machine *m);
void process_ignore_lines(saros_op *op);

/* Sends a signal to the group of a running one. 0 or an errno (ESRCH when it
   is not running). */
int process_signal(saros_op *op, int signal);

#endif
