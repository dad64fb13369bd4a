/*
** What every try to upload is: begun, stopped, decided, and over when nothing
** is under way any more.
*/
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bits/upload.h"

static upload *upload_of(bits_try *t) {
  return (upload *)t;
}

static void stop(bits_try *t) {
  upload *u = upload_of(t);
  u->stopped = true;
  /* Also one that drains has no more time. */
  for (upload_call *c = u->requests; c != NULL; c = c->next)
    http_cancel(c->request);
  upload_over(u, &(bits_result){.end = BITS_END_STOPPED}, false);
}

static void limit(bits_try *t, uint64_t down, uint64_t up) {
  upload *u = upload_of(t);
  (void)down;
  u->up = up;
  upload_divide(u);
}

/* ------------------------------------------------------------------
** The beginning, and the end
** ---------------------------------------------------------------- */

typedef struct beginning {
  upload *u;
  void (*first)(upload *u);
} beginning;

static void begin(void *context) {
  beginning b = *(beginning *)context;
  mem_free(context);
  if (!b.u->over) b.first(b.u);
  upload_leave(b.u);
}

bool upload_begin(upload *u, const bits_try_ask *ask, void (*first)(upload *u),
                  error **e) {
  beginning *b = mem_alloc(sizeof *b);
  u->try = (bits_try){stop, limit};
  u->file = ask->file;
  u->lane = ask->lane;
  u->calls = ask->calls;
  u->context = ask->context;
  u->up = ask->up;
  u->per_host = ask->per_host;
  u->local.fd = -1;
  if (b != NULL) *b = (beginning){u, first};
  if (b == NULL || !http_lane_call(u->lane, begin, b)) {
    mem_free(b);
    *e = error_no_memory();
    return false;
  }
  u->terms = bits_terms_ref(ask->terms);
  upload_enter(u);
  return true;
}

void upload_enter(upload *u) {
  u->pending++;
}

void upload_leave(upload *u) {
  if (--u->pending > 0 || !u->over) return;
  if (u->ends != NULL) {
    void (*ends)(upload *) = u->ends;
    u->ends = NULL;
    upload_enter(u); /* it may begin something */
    ends(u);
    upload_leave(u);
    return;
  }
  upload_close(&u->local);
  bits_terms_unref(u->terms);
  bits_s3_place_end(&u->place);
  bits_result r = u->result;
  u->calls->ended(u->context, &r);
  u->frees(u);
}

void upload_over(upload *u, const bits_result *r, bool drain) {
  if (!u->over) u->result = *r;
  u->over = true;
  if (drain) return;
  for (upload_call *c = u->requests; c != NULL; c = c->next)
    http_cancel(c->request);
}

/* ------------------------------------------------------------------
** How it fails
** ---------------------------------------------------------------- */

void upload_count(upload *u, const bits_result *r) {
  uint8_t *tries = &u->file->bad_ranges;
  if ((judge_is_borne(r) || r->code == BG_E_VALIDATION_FAILED) &&
      *tries < UINT8_MAX)
    ++*tries;
  if (r->end == BITS_END_FAILED) *tries = 0; /* whoever resumes begins anew */
}

void upload_fail(upload *u, bits_end end, uint32_t code, bits_context context,
                 const char *format, ...) {
  bits_result r = {.end = end, .code = code, .context = context};
  va_list args;
  va_start(args, format);
  vsnprintf(r.why, sizeof r.why, format, args);
  va_end(args);
  upload_over(u, &r, false);
}

void upload_fail_local(upload *u, int number, const char *what) {
  bits_result r = {0};
  if (number == ESTALE) {
    upload_fail_changed(u);
  } else {
    judge_source(number, what, u->file->path, &r);
    upload_over(u, &r, false);
  }
}

void upload_fail_memory(upload *u) {
  upload_fail(u, BITS_END_AGAIN, SAROS_E_OUTOFMEMORY, BITS_CONTEXT_QUEUE,
              "there is not enough memory to upload a file");
}

void upload_fail_changed(upload *u) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, u->file->path, strlen(u->file->path));
  upload_fail(u, BITS_END_FAILED, BG_E_LOCAL_FILE_CHANGED, BITS_CONTEXT_LOCAL,
              "%.250s has changed while it was being sent: what has arrived is "
              "of no use; resume the job to send it as it is now",
              b.data != NULL && !b.failed ? b.data : "the file");
  buffer_free(&b);
}

void upload_progress(upload *u) {
  uint64_t bytes = u->settled;
  for (upload_call *c = u->requests; c != NULL; c = c->next) bytes += c->at;
  atomic_store_explicit(&u->file->have, bytes, memory_order_relaxed);
  if (u->begun || u->over) return;
  u->begun = true;
  if (u->calls->begun != NULL) u->calls->begun(u->context);
}
