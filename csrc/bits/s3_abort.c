/*
** An orphan: an upload whose job is gone. What its row says is what the upload
** remembered, so it is a try like any other, which only takes back.
*/
#include <stdio.h>
#include <string.h>

#include "bits/job_parts.h"
#include "bits/s3_upload.h"

static void over(s3_upload *s) {
  bool empty = s->m.stale.count == 0 && s->m.intent_count == 0;
  bits_result r = {.end = empty ? BITS_END_WHOLE : BITS_END_AGAIN};
  snprintf(r.why, sizeof r.why, "not all of an upload could be taken back");
  upload_over(&s->u, &r, false);
}

static void swept(s3_upload *s) {
  s->then = over;
  s3_stale_abort(s);
}

static void first(upload *u) {
  s3_upload *s = s3_of(u);
  bits_s3_place_begin(&u->place, u->terms, u->file->url);
  s->then = swept;
  s3_sweep(s);
}

static void on_ended(void *context, const bits_result *r) {
  s3_upload *s = context;
  error *e = NULL;
  if (r->end != BITS_END_WHOLE)
    e = bits_fail(r->code != 0 ? r->code : BG_E_UNKNOWN_ERROR, "%s", r->why);
  s->done(s->done_context, e);
  error_unref(e);
}

static const bits_try_calls calls = {.ended = on_ended};

static void free_orphan(upload *u) {
  s3_upload *s = s3_of(u);
  s3_memory_free(&s->m);
  s3_orphan_free(s);
  upload_call_free(&s->call);
  buffer_free(&s->query);
  mem_free(s->own.url);
  mem_free(s);
}

/* ------------------------------------------------------------------
** From a row
** ---------------------------------------------------------------- */

static bool copy(char **to, const value *v, const char *name) {
  const char *text = value_chars(value_get(v, name), NULL);
  *to = mem_text(text);
  return *to != NULL || text == NULL;
}

static value *s3_property(const value *row) {
  static const char *const names[] = {"reference", "region"};
  value *v = value_map();
  for (unsigned i = 0; v != NULL && i < 2; i++) {
    const value *item = value_get(row, names[i]);
    if (item != NULL && !value_put(v, names[i], value_copy(item))) {
      value_free(v);
      return NULL;
    }
  }
  return v;
}

/* NULL: no memory, or the keys cannot be read now. */
static bits_terms *terms_of(const value *row, error **e) {
  bits_terms *t = bits_terms_new();
  value *shown = NULL, *s3 = s3_property(row);
  *e = NULL;
  if (t == NULL || s3 == NULL || !copy(&t->cacert, row, "cacert") ||
      !copy(&t->proxy, row, "proxy")) {
    *e = error_no_memory();
  } else {
    bits_draft d = {.stored = true, .terms = t};
    *e = bits_secret_s3(&d, s3, &shown);
    if (*e == NULL && !bits_s3_is_wanted(t))
      *e = bits_fail(BG_E_INVALID_CREDENTIALS,
                     "the keys for an upload that is to be taken back cannot "
                     "be read from %s",
                     value_chars(value_get(row, "reference"), "?"));
  }
  value_free(shown);
  value_free(s3);
  if (*e == NULL) return t;
  bits_terms_unref(t);
  return NULL;
}

static error *begin(http_lane *lane, const char *what, const value *row,
                    bits_terms *terms, void (*done)(void *, error *),
                    void *context) {
  error *e = NULL;
  s3_upload *s = mem_zero(sizeof *s);
  if (s == NULL) return error_no_memory();
  s->u.frees = free_orphan;
  s->done = done;
  s->done_context = context;
  bool good = s3_memory_read(&s->m, what) && copy(&s->own.url, row, "url");
  if (good && s->m.id != NULL) {
    good = s3_texts_add(&s->m.stale, s->m.id);
    s3_memory_forget(&s->m);
  }
  bits_try_ask ask = {.file = &s->own,
                      .terms = terms,
                      .lane = lane,
                      .calls = &calls,
                      .context = s};
  if (!good) e = error_no_memory();
  if (good && upload_begin(&s->u, &ask, first, &e)) return NULL;
  s3_memory_free(&s->m);
  mem_free(s->own.url);
  mem_free(s);
  return e;
}

/* No reference, and nobody has the keys: it stays, for ever. */
static void lost(const char *url) {
  buffer b = BUFFER_EMPTY;
  bits_address_show(&b, url);
  log_write(LOG_WARNING, "bits",
            "an upload in parts to %s cannot be taken back, as its keys were "
            "in memory alone: a lifecycle rule of the bucket "
            "(AbortIncompleteMultipartUpload) takes it away",
            b.data != NULL && !b.failed ? b.data : "a bucket");
  buffer_free(&b);
}

void bits_s3_abort(http_lane *lane, const char *what, bits_terms *terms,
                   void (*done)(void *context, error *e), void *context) {
  error *e = NULL;
  value *row = json_read(what, strlen(what), NULL, &e);
  bits_terms *own = NULL;
  error_unref(e);
  e = NULL;
  const char *url = value_chars(value_get(row, "url"), NULL);
  bool has_keys = terms != NULL && bits_s3_is_wanted(terms);
  bool begun = false;
  if (url == NULL) {
    log_write(LOG_WARNING, "bits", "what is left of an upload cannot be read");
  } else if (!has_keys && value_get(row, "reference") == NULL) {
    lost(url);
  } else {
    if (!has_keys) own = terms_of(row, &e);
    if (e == NULL) {
      e = begin(lane, what, row, has_keys ? terms : own, done, context);
      begun = e == NULL;
    }
  }
  value_free(row);
  bits_terms_unref(own);
  if (!begun) done(context, e);
  error_unref(e);
}

bool bits_file_orphan(bits_file *f, const char *what, bits_terms *terms) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  bool kept = bits_keeper_orphan(m, what, terms);
  pthread_mutex_unlock(&m->lock);
  return kept;
}
