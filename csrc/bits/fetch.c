/*
** One try to fetch one file. What is here already is gone on with only where
** it is proven to be of what the server has now: it names a validator, the
** answer is the range that was asked for, and the last 4 KiB that are here
** come once more and are the same. In all other cases it begins again, and not
** before the row that names the old representation is gone for good, and there
** is one at all.
*/
#include <errno.h>
#include <stdio.h>

#include "bits/address.h"
#include "bits/fetch_parts.h"

#define BAD_RANGES 2 /* as often ranges are tried with a server that errs */
#define REFUSAL_MOST ((uint64_t)16 << 10) /* that is read, of nobody */

/* ------------------------------------------------------------------
** The end
** ---------------------------------------------------------------- */

static void end_result(fetch *t) {
  bits_file *f = t->f;
  bits_result *r = &t->result;
  if (r->end == BITS_END_WHOLE)
    bits_file_mark(f, r->proven ? BITS_FILE_VERIFIED : BITS_FILE_UNPROVEN,
                   r->proven ? BITS_FILE_UNPROVEN : BITS_FILE_VERIFIED);
  else if (t->stopped)
    *r = (bits_result){.end = BITS_END_STOPPED};
  bool stays = r->end == BITS_END_WHOLE || judge_can_resume(f->known);
  r->moved = stays && t->have > f->best;
  if (r->moved) f->best = t->have;
  if (!r->moved && judge_is_borne(r)) {
    if (f->wrongs < UINT8_MAX) f->wrongs++;
  } else if (r->moved || (r->end != BITS_END_AT_ONCE && !t->stopped)) {
    f->wrongs = 0; /* once it has failed who resumes it bears as much again */
  }
}

/* Nothing is known any more, for good. */
static void forget(fetch *t, bits_committed then) {
  atomic_store_explicit(&t->f->have, 0, memory_order_relaxed);
  t->have = 0;
  t->waits = true;
  t->asked.known = NULL;
  if (t->f->known != NULL) bits_file_know(t->f, NULL);
  bits_file_commit(t->f, then, t);
}

void fetch_fails(fetch *t, bits_end end, uint32_t code, const char *format,
                 ...) {
  buffer url = BUFFER_EMPTY;
  va_list args;
  bits_address_show(&url, t->f->url);
  const http_answer a = {.url = url.failed ? NULL : url.data};
  t->result =
      (bits_result){.end = end, .code = code, .context = BITS_CONTEXT_REMOTE};
  va_start(args, format);
  judge_say(&t->result, &a, format, args);
  va_end(args);
  buffer_free(&url);
}

static void not_committed(fetch *t, const error *e) {
  t->result = (bits_result){
      .end = BITS_END_FAILED, .code = e->code, .context = BITS_CONTEXT_QUEUE};
  snprintf(t->result.why, sizeof t->result.why, "%.390s", e->message);
}

static void end(fetch *t);

static void forgotten(void *context, error *e) {
  fetch *t = context;
  t->waits = false;
  if (e != NULL)
    not_committed(t, e);
  else
    t->f->stale = false;
  end(t);
}

static void end(fetch *t) {
  if (t->syncing) return; /* it has the file */
  int number = t->sync_number;
  t->sync_number = 0;
  if (number == 0 && t->small != NULL) number = fetch_store_small(t);
  int closed = bits_part_close(&t->part);
  if (number == 0) number = closed;
  if (number != 0) {
    /* Something was not written, and nobody is told twice: none of what is
       there can be trusted. */
    fetch_local(t, number, "the partial file cannot be written");
    forget(t, forgotten);
    return;
  }
  end_result(t);
  bits_device_leave(t->f->job->m, t->device);
  bits_terms_unref(t->terms);
  fetch_s3_end(t);
  t->calls->ended(t->context, &t->result);
  mem_free(t);
}

void fetch_synced(fetch *t) {
  if (t->sync_number != 0 && t->request != NULL) {
    t->then = FETCH_END;
    http_cancel(t->request);
  } else if (t->request == NULL && !t->waits) {
    end(t);
  }
}

/* ------------------------------------------------------------------
** Answers
** ---------------------------------------------------------------- */

static http_flow stop(fetch *t, fetch_then then) {
  t->then = then;
  return HTTP_STOP;
}

/* Another representation, or as good as that: from the beginning. Where this
   try itself has stored what does not fit together the server gets a rest. */
static http_flow begin_again(fetch *t, const char *why) {
  fetch_fails(t, t->stored ? BITS_END_AGAIN : BITS_END_AT_ONCE,
              BG_E_INVALID_SERVER_RESPONSE, "%s", why);
  return stop(t, FETCH_FORGET);
}

static http_flow refuse(fetch *t, uint32_t code, unsigned status,
                        const char *why) {
  fetch_fails(t, BITS_END_FAILED, code, "%s", why);
  t->result.transport = status;
  return stop(t, FETCH_END);
}

/* This range was none of what was asked for. */
static http_flow bad_range(fetch *t, unsigned status) {
  bool ranges = fetch_has_ranges(t);
  bool often = ++t->f->bad_ranges >= BAD_RANGES || status == 200;
  if (ranges && (often || t->f->known == NULL))
    return refuse(t, BG_E_INSUFFICIENT_RANGE_SUPPORT, 0,
                  "the server does not give ranges of it, and they are asked "
                  "for");
  if (often) bits_file_mark(t->f, BITS_FILE_NO_RANGE, 0);
  return begin_again(t, "the server gave another range than was asked for");
}

static http_flow bare(fetch *t, unsigned status) {
  if (!t->asked.conditional) return bad_range(t, status);
  bits_file_mark(t->f, BITS_FILE_BARE, 0);
  fetch_fails(t, BITS_END_AT_ONCE, 0, "the server does not know If-Range");
  return stop(t, FETCH_END);
}

static http_flow changed(fetch *t) {
  if (!t->terms->restart_changed)
    return refuse(t, BG_E_INVALID_SERVER_RESPONSE, 0,
                  "it has changed at the server since it was begun");
  return begin_again(t, "it has changed at the server since it was begun");
}

static http_flow begins(fetch *t, bool stored) {
  if (!stored) return stop(t, FETCH_END);
  if (!t->begun && t->calls->begun != NULL) t->calls->begun(t->context);
  t->begun = true;
  return HTTP_GO;
}

/* Of a file that is made of ranges nothing is taken but what was asked for,
   and all of it is of one representation that has a name. */
static http_flow first_range(fetch *t, const http_answer *a) {
  const bits_extra *x = t->f->extra;
  if (a->status != 206) return bad_range(t, a->status);
  if (!fetch_store_begin(t, a)) return stop(t, FETCH_END);
  if (x->range_count > 1 && !judge_can_resume(t->f->known))
    return refuse(t, BG_E_INSUFFICIENT_RANGE_SUPPORT, 0,
                  "the server does not say of which version of it a range is");
  return begins(t, true);
}

/* A range that ends behind the end of the file. */
static bool is_beyond(const fetch *t, const http_answer *a) {
  if (!fetch_has_ranges(t)) return false;
  return a->status == 416 ||
         (a->status == 206 && t->asked.last != HTTP_UNKNOWN &&
          a->last < t->asked.last && a->last + 1 == a->total);
}

/* Others say no more than that there is none. */
static bool is_answer(unsigned status) {
  return status == 200 || status == 206 || status == 412 || status == 416;
}

/* The length is the server's word, and not only what has come. `said`: it is
   now. */
static bool is_proven(const fetch *t, bool said) {
  return said || (bits_file_marks(t->f) & BITS_FILE_UNPROVEN) == 0;
}

/* What it says besides is nobody's; but to read a little of that costs less
   than another connection. (Who is the wrong server is not asked again over
   this one.) */
static http_flow refused(fetch *t, const http_answer *a) {
  bool reads =
      a->status >= 400 && a->status != 421 && a->length <= REFUSAL_MOST;
  t->then = FETCH_END;
  return reads ? HTTP_GO : HTTP_STOP;
}

static http_flow on_head(void *context, const http_answer *a) {
  fetch *t = context;
  if (is_beyond(t, a) && t->f->known == NULL)
    return refuse(t, BG_E_INVALID_RANGE, a->status,
                  "a range of it lies behind its end");
  if (t->s3 != NULL && !is_answer(a->status)) {
    t->then = FETCH_S3;
    return HTTP_GO;
  }
  t->result = (bits_result){.end = BITS_END_FAILED};
  switch (judge_answer(&t->asked, t->terms, t->f, a, &t->result)) {
    case JUDGE_STORE:
      if (t->asked.ranged) return bad_range(t, a->status);
      return begins(t, fetch_store_begin(t, a));
    case JUDGE_CONTINUE:
      if (t->f->known == NULL) return first_range(t, a);
      if (is_beyond(t, a))
        return refuse(t, BG_E_INVALID_RANGE, 0,
                      "a range of it lies behind its end");
      return begins(t, fetch_store_go_on(t, a));
    case JUDGE_HAVE_ALL:
      t->result =
          (bits_result){.end = BITS_END_WHOLE,
                        .proven = is_proven(
                            t, http_answer_field(a, "content-range") != NULL)};
      return stop(t, FETCH_END);
    case JUDGE_CHANGED: return changed(t);
    case JUDGE_BARE: return bare(t, a->status);
    case JUDGE_RESTART: return bad_range(t, a->status);
    case JUDGE_FAIL: break;
  }
  return refused(t, a);
}

static http_flow on_body(void *context, const void *data, size_t size) {
  fetch *t = context;
  if (t->then == FETCH_S3) {
    fetch_s3_body(t, data, size);
    return HTTP_GO;
  }
  if (t->then == FETCH_END) return HTTP_GO;
  int number = fetch_store(t, data, size);
  if (number == 0) return HTTP_GO;
  if (number != EBADMSG) return stop(t, FETCH_END);
  /* A validator that lies, mirrors that disagree, a file that somebody wrote
     to: from now on all of it. */
  if (++t->f->bad_ranges >= BAD_RANGES)
    bits_file_mark(t->f, BITS_FILE_NO_RANGE, 0);
  return begin_again(t, "what comes differs from what is here already");
}

/* ------------------------------------------------------------------
** The end of a request
** ---------------------------------------------------------------- */

/* That so many came is remembered as a length only where that is enough; and
   never without that it proves nothing. */
static void whole(fetch *t, bool proven) {
  if (!proven && t->terms->length_required) {
    refuse(t, BG_E_MISSING_FILE_SIZE, 0,
           "the server did not say how long it is, and that is asked for");
    return;
  }
  if (!proven) bits_file_mark(t->f, BITS_FILE_UNPROVEN, BITS_FILE_VERIFIED);
  t->result = (bits_result){.end = BITS_END_WHOLE, .proven = proven};
  if (bits_file_length(t->f) == BITS_UNKNOWN) fetch_store_end(t);
}

/* A part came as it was announced. True: there is more to be asked for. */
static bool part_came(fetch *t, const http_answer *a) {
  uint64_t length = bits_file_length(t->f);
  bool compared = t->at == t->have;
  if (t->have >= length && compared) {
    whole(t, is_proven(t, a->total != HTTP_UNKNOWN));
    return false;
  }
  if (t->have > t->had) return true;
  if (length == BITS_UNKNOWN && compared) {
    whole(t, false); /* nothing is behind it */
    return false;
  }
  fetch_fails(t, BITS_END_AGAIN, BG_E_INSUFFICIENT_RANGE_SUPPORT,
              "the server gives less of it than it has");
  return false;
}

/* True: there is more to be asked for. */
static bool judge_end(fetch *t, const http_answer *a) {
  if (t->then == FETCH_S3 && a->end == HTTP_WHOLE)
    return fetch_s3_refused(t, a);
  if (a->end == HTTP_WHOLE && a->status == 206 && t->begun)
    return part_came(t, a);
  if (a->end == HTTP_WHOLE && a->status == 200 && t->begun) {
    whole(t, a->proven);
    return false;
  }
  /* It was wrong before anybody saw it. */
  if (a->end == HTTP_WRONG && a->status == 206 && t->f->known != NULL &&
      a->got == 0) {
    bad_range(t, a->status);
    return false;
  }
  judge_failure(a, t->f->wrongs, &t->result);
  return false;
}

static void on_done(void *context, const http_answer *a) {
  fetch *t = context;
  http_request *r = t->request;
  bool judged = t->then == FETCH_JUDGE || t->then == FETCH_S3;
  bool more = judged && judge_end(t, a);
  bool forgets = t->then == FETCH_FORGET;
  t->request = NULL;
  http_unref(r);
  if (more && t->stopped)
    t->result = (bits_result){.end = BITS_END_STOPPED};
  else if (more && fetch_ask(t))
    return;
  if (forgets)
    forget(t, forgotten);
  else
    end(t);
}

const http_calls fetch_http_calls = {
    .head = on_head, .body = on_body, .done = on_done};

/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

static void fetch_stop(bits_try *base) {
  fetch *t = (fetch *)base;
  t->stopped = true;
  if (t->request != NULL) http_cancel(t->request);
}

static void fetch_limit(bits_try *base, uint64_t down, uint64_t up) {
  fetch *t = (fetch *)base;
  t->down = down;
  t->up = up;
  if (t->request != NULL) http_limit(t->request, down, up);
}

/* What could not be committed is tried again: nothing is begun until it can. */
static void begin_anew(void *context, error *e) {
  fetch *t = context;
  t->waits = false;
  if (e == NULL) t->f->stale = false;
  if (e != NULL) not_committed(t, e);
  if (e != NULL) t->result.end = BITS_END_AGAIN;
  if (e != NULL || t->stopped || !fetch_ask(t)) end(t);
}

/* 0, and the part is open if there is something to go on with. */
static int open_part(fetch *t, const char **what) {
  const bits_file *f = t->f;
  uint64_t trusted = bits_part_trusted(f);
  *what = NULL;
  if (trusted == 0 || t->terms->dynamic || !judge_can_resume(f->known) ||
      (bits_file_marks(t->f) & BITS_FILE_NO_RANGE) != 0)
    return 0;
  int number = bits_part_open(&t->part, f, trusted, what);
  if (number == 0 && t->part.fd >= 0 &&
      (t->part.size == 0 || t->part.size > bits_file_length(f)))
    bits_part_close(&t->part);
  return number;
}

/* A process died between its name and its row. */
static bool is_done(fetch *t) {
  if (!bits_finish_appeared(t->f)) return false;
  t->result =
      (bits_result){.end = BITS_END_WHOLE, .proven = is_proven(t, false)};
  t->have = bits_file_length(t->f);
  return true;
}

/* It was just added. */
static void commit_first(fetch *t) {
  t->waits = true;
  bits_file_commit(t->f, begin_anew, t);
}

static void begin(void *context) {
  fetch *t = context;
  const char *what;
  int number = open_part(t, &what);
  bool known = t->f->known != NULL, done = false;
  if (number == 0 && known && t->part.fd < 0) {
    done = is_done(t);
    if (!done) number = open_part(t, &what); /* it may be a part again */
  }
  if (t->part.fd >= 0) t->have = t->part.size;
  atomic_store_explicit(&t->f->have, t->have, memory_order_relaxed);
  t->waits = false;
  if (number != 0) fetch_local(t, number, what);
  bool over = number != 0 || done || t->stopped;
  if (!over && t->part.fd < 0 && (known || t->f->stale))
    forget(t, begin_anew);
  else if (!over && t->part.fd < 0 && !bits_file_has_row(t->f))
    commit_first(t);
  else if (over || !fetch_ask(t))
    end(t);
}

bits_try *bits_fetch_start(const bits_try_ask *ask, error **e) {
  fetch *t = mem_zero(sizeof *t);
  if (t == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  t->base = (bits_try){.stop = fetch_stop, .limit = fetch_limit};
  t->f = ask->file;
  t->terms = bits_terms_ref(ask->terms);
  t->lane = ask->lane;
  t->calls = ask->calls;
  t->context = ask->context;
  t->down = ask->down;
  t->up = ask->up;
  t->lone = ask->lone;
  t->per_host = ask->per_host;
  t->part = PART_CLOSED;
  t->waits = true;
  t->result.end = BITS_END_STOPPED; /* until something else is known */
  if (http_lane_call(t->lane, begin, t)) return &t->base;
  *e = error_no_memory();
  bits_terms_unref(t->terms);
  mem_free(t);
  return NULL;
}
