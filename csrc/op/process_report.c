/*
** What is said about a process: see process_report.h.
*/
#include "op/process_report.h"

#include <signal.h>
#include <string.h>

#include "op/op.h"

enum {
  DETAIL_MOST = 4096, /* bytes of an output that status() shows */
  LINE_MOST = 300     /* bytes of a line in a message */
};

static void put_detail(saros_op *op, const char *name, value *item) {
  if (item != NULL) op_set_detail(op, name, item); /* else only that is lost */
}

/* The head of standard output, the end of standard error: where each says
   the most. */
static void output_detail(saros_op *op, const char *name, const output *o) {
  buffer b = BUFFER_EMPTY;
  if (o->keep_head && o->head.size > 0)
    buffer_put(&b, o->head.data,
               o->head.size < DETAIL_MOST ? o->head.size : DETAIL_MOST);
  else if (!o->keep_head)
    tail_copy(&o->tail, DETAIL_MOST, &b);
  if (b.size > 0 && !b.failed)
    put_detail(op, name, value_string(b.data, b.size));
  buffer_free(&b);
}

void report_details(const process_report *r, saros_op *op) {
  if (!r->stolen) put_detail(op, "status", value_int(r->status));
  if (r->signal != 0) put_detail(op, "signal", value_int(r->signal));
  output_detail(op, "stdout", r->outs[1]);
  output_detail(op, "stderr", r->outs[2]);
}

static bool put_output(const process_report *r, value *map, int which) {
  static const char *const names[3][3] = {
      {NULL, NULL, NULL},
      {"stdout", "stdout_truncated", "stdout_open"},
      {"stderr", "stderr_truncated", "stderr_open"}};
  bool good = true;
  if (r->captured[which]) {
    bool truncated = output_truncated(r->outs[which]);
    good = value_put(map, names[which][0], output_take(r->outs[which]));
    if (truncated)
      good = value_put(map, names[which][1], value_bool(true)) && good;
  }
  if (r->open[which])
    good = value_put(map, names[which][2], value_bool(true)) && good;
  return good;
}

value *report_output(const process_report *r) {
  value *map = value_map();
  bool good = value_put(map, "status", value_int(r->status));
  if (r->signal != 0)
    good = value_put(map, "signal", value_int(r->signal)) && good;
  good = good && put_output(r, map, 1) && put_output(r, map, 2);
  if (good) return map;
  value_free(map);
  return NULL;
}


/* ------------------------------------------------------------------
** Messages
** ---------------------------------------------------------------- */

static void put_program(buffer *b, const char *program) {
  size_t size;
  const char *base = path_base(program, &size);
  text_escape(b, base, size);
}

static bool ends_line(char c) {
  return c == '\n' || c == '\r';
}

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || ends_line(c);
}

/* The last line that is not empty: mostly the reason. */
static void put_last_line(buffer *b, const output *o) {
  buffer text = BUFFER_EMPTY;
  tail_copy(&o->tail, DETAIL_MOST, &text);
  size_t end = text.size;
  while (end > 0 && is_blank(text.data[end - 1])) end--;
  size_t begin = end;
  while (begin > 0 && !ends_line(text.data[begin - 1])) begin--;
  while (begin < end && is_blank(text.data[begin])) begin++;
  if (begin < end && !text.failed) {
    buffer_text(b, ": ");
    size_t from = b->size;
    text_escape(b, text.data + begin, end - begin);
    if (!b->failed && b->size - from > LINE_MOST) {
      b->size = from + LINE_MOST; /* not inside of a character */
      while (((unsigned char)b->data[b->size] & 0xC0) == 0x80) b->size--;
      b->data[b->size] = '\0';
    }
  }
  buffer_free(&text);
}

static error *made(buffer *b, uint32_t code) {
  error *e = b->failed ? error_no_memory()
                       : error_make(SAROS_FACADE_SAROS, code, "%s", b->data);
  buffer_free(b);
  return e;
}

static void put_signal(buffer *b, int signal) {
  const char *name = sigabbrev_np(signal);
  if (name != NULL)
    buffer_format(b, " was killed by signal %d (SIG%s)", signal, name);
  else
    buffer_format(b, " was killed by signal %d", signal);
}

error *report_failure(const process_report *r) {
  if (!r->stolen && r->status == 0) return NULL;
  buffer b = BUFFER_EMPTY;
  if (r->stolen) {
    buffer_text(&b, "nobody knows how ");
    put_program(&b, r->program);
    buffer_format(&b,
                  " (process %ld) ended: somebody else in this process took "
                  "its status. Do not ignore SIGCHLD, and wait for your own "
                  "children by their pids instead of with waitpid(-1)",
                  (long)r->pid);
    return made(&b, SAROS_E_STOLEN);
  }
  put_program(&b, r->program);
  if (r->signal != 0)
    put_signal(&b, r->signal);
  else
    buffer_format(&b, " exited with status %d", r->status);
  /* Where both go to one place, the reason is there. */
  bool merged = r->outs[2]->tail.limit == 0;
  put_last_line(&b, r->outs[merged ? 1 : 2]);
  return made(&b, r->signal != 0 ? SAROS_E_SIGNAL : SAROS_E_EXIT);
}

error *report_timeout(const char *program, double seconds) {
  buffer b = BUFFER_EMPTY;
  put_program(&b, program);
  buffer_format(&b, " was not done after %g s and was told to end", seconds);
  return made(&b, SAROS_E_TIMEOUT);
}
