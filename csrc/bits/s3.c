/*
** An upload in parts, in its order:
**
**   what is left of earlier ones is taken back; what is remembered is listed
**   none: whose uploads are there is noted, and committed that one may begin;
**     it begins; its id is committed
**   the parts are sent; they are put together; what is there is looked at
**
** (The last line is s3_end.c.) A try may end at each of these, and the next
** goes on from what is remembered
** and from what the server says.
*/
#include "bits/s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bits/s3_upload.h"

#define SMALL ((uint64_t)16 << 20)      /* goes in one PUT */
#define SINGLE_MOST ((uint64_t)5 << 30) /* of one PUT, as S3 has it */
#define PART_LEAST ((uint64_t)8 << 20)  /* unless it is asked for */
#define PARTS_AIM 9000                  /* so that it may grow */
#define TWICE_MOST ((uint64_t)1 << 30)  /* is read once more for its SHA-256 */
#define LIES 3

/* ------------------------------------------------------------------
** Small things
** ---------------------------------------------------------------- */

void s3_remember(s3_upload *s) {
  char *json = NULL;
  s->unsaved = 0;
  if (s->done != NULL) return; /* an orphan's row is the keeper's */
  if (!s3_memory_is_empty(&s->m)) {
    json = s3_memory_write(&s->m, s->u.file, s->u.terms);
    if (json == NULL) { /* what was said before still is true */
      s->unsaved = 1;
      return;
    }
  }
  bits_file_upload(s->u.file, json);
}

bool s3_ask(s3_upload *s, const char *method, const char *before,
            void (*done)(upload_call *c, const http_answer *a)) {
  buffer_clear(&s->query);
  if (before != NULL) buffer_text(&s->query, before);
  buffer_text(&s->query, "uploadId=");
  http_sign_escape(&s->query, s->m.id, false);
  if (s->query.failed) {
    upload_fail_memory(&s->u);
    return false;
  }
  upload_call_free(&s->call);
  s->call = (upload_call){.u = &s->u,
                          .method = method,
                          .query = s->query.data,
                          .fields = BITS_S3_FEW,
                          .most = S3_ANSWER,
                          .done = done};
  return upload_call_start(&s->call);
}

void s3_refused(s3_upload *s, const upload_call *c, const http_answer *a,
                bool drain) {
  bits_result r = {0};
  bits_s3_judge(a, &c->problem, s->u.file->bad_ranges, &r);
  upload_count(&s->u, &r);
  upload_over(&s->u, &r, drain && r.end == BITS_END_AGAIN);
}

void s3_lied(s3_upload *s, const char *what) {
  bool enough = ++s->u.file->restarts >= LIES;
  if (enough) s->u.file->restarts = 0;
  upload_fail(&s->u, enough ? BITS_END_FAILED : BITS_END_AGAIN,
              BG_E_VALIDATION_FAILED, BITS_CONTEXT_REMOTE, "%s", what);
}

/* What has arrived is of no use: it is taken back when all is still. */
void s3_changed(s3_upload *s) {
  s->drops = true;
  upload_fail_changed(&s->u);
}

void s3_digest_failed(s3_upload *s, int number) {
  if (number == ESTALE)
    s3_changed(s);
  else if (number == ENOMEM)
    upload_fail_memory(&s->u);
  else if (number == ENOSYS)
    upload_fail(&s->u, BITS_END_FAILED, SAROS_E_FAIL, BITS_CONTEXT_LOCAL,
                "OpenSSL has no MD5 or no SHA-256 here");
  else
    upload_fail_local(&s->u, number, "read");
}

typedef struct committing {
  s3_upload *s;
  s3_then then;
} committing;

static void on_commit(void *context, error *e) {
  committing c = *(committing *)context;
  upload *u = &c.s->u;
  mem_free(context);
  if (e != NULL)
    upload_fail(u, BITS_END_AGAIN, e->code, BITS_CONTEXT_QUEUE,
                "the queue cannot be written: %.300s", e->message);
  else if (!u->over)
    c.then(c.s);
  upload_leave(u);
}

/* All that was told until now is on the disk; then … */
static void commit(s3_upload *s, s3_then then) {
  committing *c = mem_alloc(sizeof *c);
  if (c == NULL) {
    upload_fail_memory(&s->u);
    return;
  }
  *c = (committing){s, then};
  upload_enter(&s->u);
  bits_file_commit(s->u.file, on_commit, c);
}

/* ------------------------------------------------------------------
** Beginning
** ---------------------------------------------------------------- */

static void send_all(s3_upload *s);

/* By one PUT, which knows nothing of what is left here. */
static void single(s3_upload *s) {
  s3_memory_forget(&s->m);
  s3_leave_rest(s);
  upload_over(&s->u, &(bits_result){.end = BITS_END_SINGLE}, false);
}

static void on_create(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  if (upload_call_is_good(c, a)) {
    char *id = s3_xml_text(&c->answer, "InitiateMultipartUploadResult",
                           "UploadId", NULL);
    if (id != NULL && id[0] != '\0' && strlen(id) <= S3_ID_MOST) {
      s->m.id = id; /* also when the try is over */
      if (s->m.intent_count > 0) s->m.intent_count--;
      s3_remember(s);
      if (!c->u->over) commit(s, send_all);
      return;
    }
    mem_free(id);
    if (!c->u->over)
      s3_lied(s, "the server begins an upload, and does not say which");
    return;
  }
  if (!s3_may_be_missing(a) && s->m.intent_count > 0) {
    s->m.intent_count--;
    s3_remember(s);
  }
  if (c->u->over) return;
  bool cannot = a->end == HTTP_WHOLE && (a->status == 501 || a->status == 405);
  if (cannot && s->u.local.size <= SINGLE_MOST)
    single(s);
  else
    s3_refused(s, c, a, false);
}

static void create(s3_upload *s) {
  upload_call_free(&s->call);
  s->call = (upload_call){.u = &s->u,
                          .method = "POST",
                          .query = "uploads=",
                          .fields = BITS_S3_ALL,
                          .text = "",
                          .sha256 = s->m.sha256,
                          .once = true,
                          .most = S3_ANSWER,
                          .done = on_create};
  upload_call_start(&s->call);
}

static void intend(s3_upload *s) {
  if (s->noting && s->m.intent_count < S3_INTENTS) {
    s->m.intents[s->m.intent_count++] = s->server_time;
    s3_remember(s);
    commit(s, create);
  } else {
    create(s);
  }
}

static void on_whole(upload *u, upload_digest *d, int number) {
  s3_upload *s = s3_of(u);
  const bits_extra *x = u->file->extra;
  if (u->over) return;
  if (number != 0) {
    s3_digest_failed(s, number);
  } else if (x != NULL && x->sha256 != NULL &&
             strcasecmp(x->sha256, d->sha256) != 0) {
    upload_fail(u, BITS_END_FAILED, BG_E_VALIDATION_FAILED, BITS_CONTEXT_LOCAL,
                "the file is not what it should be: its SHA-256 is another one "
                "than the job says, and nothing was sent");
  } else {
    s->m.sha256 = mem_text(d->sha256);
    s->then = intend;
    s3_others_note(s);
  }
}

/* As few as may be, but so that there are not too many. */
static uint64_t part_for(const bits_terms *t, uint64_t size) {
  uint64_t part = (size + PARTS_AIM - 1) / PARTS_AIM;
  part = (part + ((1u << 20) - 1)) >> 20 << 20;
  if (part < PART_LEAST) part = PART_LEAST;
  if (t->part_size > 0 && (size - 1) / t->part_size < S3_PARTS)
    part = t->part_size;
  return part;
}

static void begin_new(s3_upload *s) {
  upload *u = &s->u;
  const bits_extra *x = u->file->extra;
  if (!s3_memory_split(&s->m, &u->local, part_for(u->terms, u->local.size))) {
    upload_fail_memory(u);
    return;
  }
  if (u->local.size > TWICE_MOST && (x == NULL || x->sha256 == NULL)) {
    s->then = intend;
    s3_others_note(s);
    return;
  }
  s->digest = (upload_digest){
      .u = u, .end = u->local.size, .wants_sha256 = true, .done = on_whole};
  if (!upload_digest_start(&s->digest)) upload_fail_memory(u);
}

static void send_all(s3_upload *s) {
  s->then = s3_complete;
  s3_parts_send(s);
}

static void listed(s3_upload *s) {
  if (s->was_lost)
    s3_look(s);
  else
    send_all(s);
}

/* ------------------------------------------------------------------
** The first step, and the last
** ---------------------------------------------------------------- */

/* Not by the number of its device: that may be another after each boot. */
static bool is_same(const s3_memory *m, const upload_local *l) {
  return m->size == l->size && m->inode == l->inode && m->changed == l->changed;
}

static bool is_small(const upload *u) {
  uint64_t part = u->terms->part_size, size = u->local.size;
  return size < SMALL && (part == 0 || size <= part);
}

static void go_on(s3_upload *s) {
  if (s->m.id == NULL && is_small(&s->u)) {
    single(s);
  } else if (s->m.id == NULL) {
    begin_new(s);
  } else {
    s->then = listed;
    s3_parts_list(s);
  }
}

static void swept(s3_upload *s) {
  s->then = go_on;
  s3_stale_abort(s);
}

static void first(upload *u) {
  s3_upload *s = s3_of(u);
  const bits_extra *x = u->file->extra;
  const char *what;
  int number = upload_open(&u->local, u->file->path, &what);
  if (number != 0) {
    upload_fail_local(u, number, what);
    return;
  }
  bits_s3_place_begin(&u->place, u->terms, u->file->url);
  bits_file_size(u->file, u->local.size);
  if (x != NULL && x->upload != NULL) s3_memory_read(&s->m, x->upload);
  if (u->terms->most > 0 && u->local.size > u->terms->most)
    upload_fail(u, BITS_END_FAILED, BG_E_TOO_LARGE, BITS_CONTEXT_LOCAL,
                "the file has %llu bytes, and at most %llu are to be sent",
                (unsigned long long)u->local.size,
                (unsigned long long)u->terms->most);
  else if (bits_s3_is_wanted(u->terms) && s->m.id != NULL &&
           !is_same(&s->m, &u->local))
    s3_changed(s);
  else if (!bits_s3_is_wanted(u->terms) ||
           (is_small(u) && s3_memory_is_empty(&s->m)))
    upload_over(u, &(bits_result){.end = BITS_END_SINGLE}, false);
  else {
    s->then = swept;
    s3_sweep(s);
  }
}

static void has_dropped(s3_upload *s) {
  s3_remember(s);
}

/* When nothing is under way any more. */
static void last_word(upload *u) {
  s3_upload *s = s3_of(u);
  if (s->moved) u->result.moved = true;
  if (s->drops && s->m.id != NULL) {
    bool kept = s3_texts_add(&s->m.stale, s->m.id);
    if (kept) s3_memory_forget(&s->m);
    s3_remember(s);
    s->then = has_dropped;
    if (kept) s3_stale_abort(s);
  } else if (s->unsaved > 0) {
    s3_remember(s);
  }
}

static void free_upload(upload *u) {
  s3_upload *s = s3_of(u);
  for (unsigned i = 0; i < s->listed_count; i++) mem_free(s->listed[i].tag);
  mem_free(s->listed);
  s3_orphan_free(s);
  s3_memory_free(&s->m);
  for (unsigned i = 0; i < S3_FLIGHT; i++) {
    upload_call_free(&s->senders[i].call);
    buffer_free(&s->senders[i].query);
  }
  upload_call_free(&s->call);
  buffer_free(&s->query);
  buffer_free(&s->document);
  mem_free(s);
}

bits_try *bits_s3_start(const bits_try_ask *ask, error **e) {
  s3_upload *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  s->u.frees = free_upload;
  s->u.ends = last_word;
  if (upload_begin(&s->u, ask, first, e)) return &s->u.try;
  mem_free(s);
  return NULL;
}
