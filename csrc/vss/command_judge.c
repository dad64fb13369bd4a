/*
** What the run of a command has come to: its status, what it printed, and what
** it complained of.
*/
#include <stdio.h>
#include <string.h>

#include "vss/command_parts.h"

enum {
  STATUS_UNKNOWN_VERB = 64, /* EX_USAGE: that is consent */
  STATUS_TRY_AGAIN = 75,    /* EX_TEMPFAIL: a veto that may pass */
  REASON_MOST = 1024        /* bytes of standard error in a veto */
};

static bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The end of what it complained of. */
static void put_reason(buffer *b, const value *said) {
  if (said == NULL || said->type != VALUE_STRING) return;
  const char *text = said->as.string.data;
  size_t end = said->as.string.size;
  while (end > 0 && is_blank(text[end - 1])) end--;
  size_t begin = end > REASON_MOST ? end - REASON_MOST : 0;
  while (begin < end &&
         (is_blank(text[begin]) || ((unsigned char)text[begin] & 0xC0) == 0x80))
    begin++;
  if (begin == end) return;
  buffer_text(b, ": ");
  text_escape(b, text + begin, end - begin);
}

static error *veto(const writer *w, writer_event event, uint32_t code,
                   const char *what, const value *output) {
  buffer b = BUFFER_EMPTY;
  const char *program = ((const command *)w->self)->argv[0];
  text_escape(&b, program, strlen(program));
  buffer_format(&b, " (%s) %s", writer_event_name(event), what);
  put_reason(&b, value_get(output, "stderr"));
  error *e = b.failed ? error_no_memory() : vss_error(code, "%s", b.data);
  buffer_free(&b);
  return e;
}

static error *veto_status(const writer *w, writer_event event,
                          const value *output) {
  char what[64];
  int64_t signal = value_integer(value_get(output, "signal"), 0);
  int64_t status = value_integer(value_get(output, "status"), 0);
  if (signal != 0)
    snprintf(what, sizeof what, "was killed by signal %d", (int)signal);
  else
    snprintf(what, sizeof what, "exited with status %d", (int)status);
  uint32_t code = signal == 0 && status == STATUS_TRY_AGAIN
                      ? VSS_E_WRITERERROR_RETRYABLE
                      : VSS_E_WRITERERROR_NONRETRYABLE;
  return veto(w, event, code, what, output);
}

static error *bad_identity(const writer *w, const char *what) {
  return veto(w, EVENT_IDENTIFY, VSS_E_UNEXPECTED_WRITER_ERROR, what, NULL);
}

static error *take_metadata(const writer *w, const value *output,
                            value **metadata) {
  const json_limits limits = {
      .depth = 24, .size = COMMAND_OUTPUT_MOST, .values = 16384};
  const value *said = value_get(output, "stdout");
  if (value_boolean(value_get(output, "stdout_truncated"), false))
    return bad_identity(w, "printed more than 128 KiB of metadata");
  if (said == NULL) return bad_identity(w, "printed no metadata");
  error *e = NULL;
  value *v = json_read(said->as.string.data, said->as.string.size, &limits, &e);
  if (v != NULL) *metadata = writer_metadata(v, w->id, &e);
  value_free(v);
  if (e == NULL || e->code == SAROS_E_OUTOFMEMORY) return e;
  return error_because(bad_identity(w, "printed what are no metadata"), e);
}

static bool begins_map(const value *said) {
  const char *text = value_chars(said, "");
  while (is_blank(*text)) text++;
  return *text == '{';
}

/* What is no JSON object is the program's own chatter. */
static error *take_said(const writer *w, writer_event event,
                        const value *output, value **kept) {
  const json_limits limits = {
      .depth = 24, .size = COMMAND_OUTPUT_MOST, .values = 16384};
  const value *said = value_get(output, "stdout");
  if (said == NULL || !begins_map(said)) return NULL;
  error *e = NULL;
  *kept = json_read(said->as.string.data, said->as.string.size, &limits, &e);
  if (e == NULL || e->code == SAROS_E_OUTOFMEMORY) return e;
  return error_because(veto(w, event, VSS_E_WRITERERROR_NONRETRYABLE,
                            "printed what begins like a JSON object, and is "
                            "none, or is too long",
                            NULL),
                       e);
}

/* It did not start, was out of time, or somebody else reaped it. */
static error *failed(const writer *w, writer_event event, error *cause) {
  if (cause == NULL) return error_no_memory();
  if (cause->code == SAROS_E_OUTOFMEMORY) return cause;
  return error_because(
      vss_error(VSS_E_UNEXPECTED_WRITER_ERROR, "%s: writer %s: %s",
                writer_event_name(event), w->id, cause->message),
      cause);
}

error *command_judge(const writer *w, writer_event event, saros_op *child,
                     bool was_gone, value **more) {
  if (saros_op_state(child) != SAROS_SUCCEEDED)
    return failed(w, event, op_error(child));
  const value *output = op_output(child);
  int64_t status = value_integer(value_get(output, "status"), -1);
  if (was_gone)
    return veto(w, event, VSS_E_WRITERERROR_NONRETRYABLE,
                "ended by itself before its thaw: what it held may have "
                "changed",
                output);
  if (status == STATUS_UNKNOWN_VERB && event == EVENT_IDENTIFY)
    return bad_identity(w,
                        "does not know identify, and no metadata were given");
  if (status == STATUS_UNKNOWN_VERB && event != EVENT_THAW) return NULL;
  if (status != 0) return veto_status(w, event, output);
  if (event == EVENT_FREEZE)
    return veto(w, event, VSS_E_WRITERERROR_NONRETRYABLE,
                "ended without having printed \"frozen\"", output);
  if (event == EVENT_IDENTIFY) return take_metadata(w, output, more);
  return event == EVENT_THAW ? NULL : take_said(w, event, output, more);
}
