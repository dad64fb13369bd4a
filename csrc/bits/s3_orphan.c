/*
** What must not be left at a server: uploads that are of no use any more, and
** those that began without anybody being told. The latter are ours when they
** are for our key, are none of those that were there before, began when one of
** ours may have begun, and have no part, although that was a while ago; and
** when there are no more of them than may have begun. All others are somebody
** else's.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "bits/s3_upload.h"

#define EARLY 5  /* seconds that a server's clocks may differ */
#define LATE 600 /* that a request may take to begin one */
#define AGE 60   /* that one without a part has to be old */
#define PAGES 8  /* of uploads below one key */

#ifdef SAROS_TEST
_Atomic int s3_orphan_age = -1;
#endif

static int64_t age(void) {
#ifdef SAROS_TEST
  if (s3_orphan_age >= 0) return s3_orphan_age;
#endif
  return AGE;
}

bool s3_may_be_missing(const http_answer *a) {
  switch (a->end) {
    case HTTP_WHOLE:
      return a->status < 300 || (a->status >= 500 && a->status != 501);
    case HTTP_UNREACHED:
    case HTTP_UNTRUSTED:
    case HTTP_ASTRAY:
    case HTTP_MISUSED:
    case HTTP_FAILED: return false;
    default: return true;
  }
}

void s3_orphan_free(s3_upload *s) {
  while (s->found.count > 0) s3_texts_drop(&s->found, s->found.count - 1);
  mem_free(s->found.items);
  mem_free(s->bucket);
  mem_free(s->key);
}

/* ------------------------------------------------------------------
** What is stale
** ---------------------------------------------------------------- */

static bool is_missing(const upload_call *c, const http_answer *a) {
  return upload_call_is_good(c, a) ||
         (a->end == HTTP_WHOLE && a->status == 404);
}

static void next_stale(s3_upload *s);

static void on_abort(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  if (is_missing(c, a)) {
    s3_texts_drop(&s->m.stale, s->at);
    s3_remember(s);
  } else {
    s->at++; /* another time */
  }
  next_stale(s);
}

static void next_stale(s3_upload *s) {
  if (s->at >= s->m.stale.count) {
    s->then(s);
    return;
  }
  buffer_clear(&s->query);
  buffer_text(&s->query, "uploadId=");
  http_sign_escape(&s->query, s->m.stale.items[s->at], false);
  upload_call_free(&s->call);
  s->call = (upload_call){.u = &s->u,
                          .method = "DELETE",
                          .query = s->query.data,
                          .fields = BITS_S3_FEW,
                          .anyway = true,
                          .done = on_abort};
  if (s->u.stopped && s->u.over) return;
  if (s->query.failed)
    upload_fail_memory(&s->u);
  else
    upload_call_start(&s->call);
}

void s3_stale_abort(s3_upload *s) {
  s->at = 0;
  next_stale(s);
}

/* ------------------------------------------------------------------
** What is there
** ---------------------------------------------------------------- */

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

static char *unescaped(const char *text, size_t size) {
  char *copy = mem_bytes(text, size), *to = copy;
  if (copy == NULL) return NULL;
  for (size_t i = 0; i < size; i++) {
    int high = text[i] == '%' && i + 2 < size ? digit(text[i + 1]) : -1;
    int low = high >= 0 ? digit(text[i + 2]) : -1;
    *to++ = low >= 0 ? (char)(high * 16 + low) : text[i];
    if (low >= 0) i += 2;
  }
  *to = '\0';
  return copy;
}

/* "https://host/bucket" and the key, or, if the bucket is the host's,
   "https://host/" and all of the path. */
static bool find_bucket(s3_upload *s, bool in_host) {
  const char *url = s->u.file->url, *host = strstr(url, "://");
  mem_free(s->bucket);
  mem_free(s->key);
  s->bucket = s->key = NULL;
  if (host == NULL) return false;
  const char *path = host + 3 + strcspn(host + 3, "/?#");
  if (*path != '/') return false;
  const char *key = path + 1;
  if (!in_host) {
    key += strcspn(key, "/?#");
    if (*key != '/') return false;
    key++;
  }
  s->key = unescaped(key, strcspn(key, "?#"));
  s->bucket = mem_bytes(url, (size_t)(key - url) - !in_host);
  return s->key != NULL && s->bucket != NULL && s->key[0] != '\0';
}

/* "bucket.s3.…amazonaws.com" */
static bool is_in_host(const s3_upload *s) {
  const char *host = s->u.place.first;
  return strcasestr(host, ".amazonaws.com") != NULL &&
         strncasecmp(host, "s3.", 3) != 0 && strncasecmp(host, "s3-", 3) != 0;
}

/* "2026-11-22T11:58:52.000Z"; 0: it is none. */
static int64_t read_time(const char *text) {
  struct tm tm = {0};
  if (text == NULL ||
      sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
             &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
    return 0;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  return (int64_t)timegm(&tm);
}

static bool on_upload(void *context, char *const *texts) {
  s3_upload *s = context;
  if (texts[0] == NULL || texts[1] == NULL || strcmp(texts[0], s->key) != 0 ||
      texts[1][0] == '\0' || strlen(texts[1]) > S3_ID_MOST)
    return true;
  if (s->found.count == S3_OTHERS) {
    s->too_many = true;
    return true;
  }
  s->found_at[s->found.count] = read_time(texts[2]);
  return s3_texts_add(&s->found, texts[1]);
}

static void ask_uploads(s3_upload *s, const char *key, const char *id);

static void on_uploads(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  bits_result r = {0};
  if (c->u->over) return;
  s3_xml_list l = {
      .root = "ListMultipartUploadsResult",
      .record = "Upload",
      .of_record = {"Key", "UploadId", "Initiated"},
      .of_root = {"IsTruncated", "NextKeyMarker", "NextUploadIdMarker"},
      .each = on_upload,
      .context = s};
  if (upload_call_is_good(c, a) && s3_xml_read(&l, &c->answer)) {
    http_answer_date(a, &s->server_time);
    bool more = l.found[0] != NULL && strcmp(l.found[0], "true") == 0 &&
                l.found[1] != NULL && strcmp(l.found[1], s->key) == 0;
    if (more && ++s->page < PAGES) {
      ask_uploads(s, l.found[1], l.found[2] != NULL ? l.found[2] : "");
    } else {
      s->too_many |= more;
      s->found_then(s);
    }
    s3_xml_free(&l);
    return;
  }
  bits_s3_judge(a, &c->problem, 0, &r);
  if (!upload_call_is_good(c, a) && r.end != BITS_END_FAILED) {
    s3_refused(s, c, a, false);
  } else if (!s->tried_host && find_bucket(s, !is_in_host(s))) {
    s->tried_host = true; /* the other way round, then */
    s->page = 0;
    ask_uploads(s, NULL, NULL);
  } else {
    s->unlisted = true; /* nobody tells us */
    s->found_then(s);
  }
}

static void ask_uploads(s3_upload *s, const char *key, const char *id) {
  buffer_clear(&s->query);
  if (key != NULL && id != NULL) {
    buffer_text(&s->query, "key-marker=");
    http_sign_escape(&s->query, key, false);
    buffer_text(&s->query, "&upload-id-marker=");
    http_sign_escape(&s->query, id, false);
    buffer_byte(&s->query, '&');
  }
  buffer_text(&s->query, "prefix=");
  http_sign_escape(&s->query, s->key, false);
  buffer_text(&s->query, "&uploads=");
  upload_call_free(&s->call);
  s->call = (upload_call){.u = &s->u,
                          .method = "GET",
                          .url = s->bucket,
                          .query = s->query.data,
                          .fields = BITS_S3_FEW,
                          .most = S3_ANSWER,
                          .done = on_uploads};
  if (s->query.failed)
    upload_fail_memory(&s->u);
  else
    upload_call_start(&s->call);
}

static void find_uploads(s3_upload *s, s3_then then) {
  while (s->found.count > 0) s3_texts_drop(&s->found, s->found.count - 1);
  s->page = 0;
  s->too_many = s->unlisted = s->tried_host = false;
  s->found_then = then;
  s->server_time = (int64_t)time(NULL) - s->u.place.skew;
  if (find_bucket(s, is_in_host(s))) {
    ask_uploads(s, NULL, NULL);
  } else {
    s->unlisted = true;
    then(s);
  }
}

static void note_found(s3_upload *s) {
  s->noting = !s->unlisted && !s->too_many;
  for (unsigned i = 0; s->noting && i < s->found.count; i++)
    if (!s3_texts_add(&s->m.others, s->found.items[i])) {
      upload_fail_memory(&s->u);
      return;
    }
  s->then(s);
}

void s3_others_note(s3_upload *s) {
  s->noting = s->m.intent_count > 0; /* then they are noted already */
  if (s->noting) {
    s->server_time = (int64_t)time(NULL) - s->u.place.skew;
    s->then(s);
    return;
  }
  while (s->m.others.count > 0)
    s3_texts_drop(&s->m.others, s->m.others.count - 1);
  find_uploads(s, note_found);
}

/* ------------------------------------------------------------------
** What began, and nobody was told
** ---------------------------------------------------------------- */

static void next_found(s3_upload *s);

static bool may_be_ours(const s3_upload *s, unsigned i) {
  const char *id = s->found.items[i];
  if ((s->m.id != NULL && strcmp(s->m.id, id) == 0) ||
      s3_texts_have(&s->m.stale, id) || s3_texts_have(&s->m.others, id))
    return false;
  for (unsigned n = 0; n < s->m.intent_count; n++)
    if (s->found_at[i] >= s->m.intents[n] - EARLY &&
        s->found_at[i] <= s->m.intents[n] + LATE)
      return true;
  return false;
}

static bool on_any_part(void *context, char *const *texts) {
  (void)texts;
  *(bool *)context = true;
  return true;
}

static void on_parts(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  bool any = false;
  if (c->u->over) return;
  s3_xml_list l = {.root = "ListPartsResult",
                   .record = "Part",
                   .of_record = {"PartNumber"},
                   .each = on_any_part,
                   .context = &any};
  bool read = upload_call_is_good(c, a) && s3_xml_read(&l, &c->answer);
  s3_xml_free(&l);
  if (read && !any && !s3_texts_add(&s->m.stale, s->found.items[s->at])) {
    upload_fail_memory(&s->u);
    return;
  }
  s->at++;
  next_found(s);
}

/* A server may still be about to begin one: only what is old enough is over. */
static void done_sweeping(s3_upload *s) {
  unsigned kept = 0;
  for (unsigned i = 0; i < s->m.intent_count; i++)
    if (s->too_young || s->server_time - s->m.intents[i] < age())
      s->m.intents[kept++] = s->m.intents[i];
  s->m.intent_count = kept;
  s3_remember(s);
  s->then(s);
}

/* Those that may be ours: looked into, or left for another time. */
static void next_found(s3_upload *s) {
  for (; s->at < s->found.count; s->at++) {
    if (!may_be_ours(s, s->at)) continue;
    if (s->server_time - s->found_at[s->at] < age()) {
      s->too_young = true;
      continue;
    }
    buffer_clear(&s->query);
    buffer_text(&s->query, "max-parts=1&uploadId=");
    http_sign_escape(&s->query, s->found.items[s->at], false);
    upload_call_free(&s->call);
    s->call = (upload_call){.u = &s->u,
                            .method = "GET",
                            .query = s->query.data,
                            .fields = BITS_S3_FEW,
                            .most = S3_ANSWER,
                            .done = on_parts};
    if (s->query.failed)
      upload_fail_memory(&s->u);
    else
      upload_call_start(&s->call);
    return;
  }
  done_sweeping(s);
}

static void judge_found(s3_upload *s) {
  unsigned count = 0;
  for (unsigned i = 0; i < s->found.count; i++) count += may_be_ours(s, i);
  s->too_young = false;
  s->at = 0;
  if (s->unlisted || s->too_many || count > s->m.intent_count) {
    log_write(LOG_WARNING, "bits",
              "an upload to %s may have been left there, and which is ours "
              "cannot be told: a lifecycle rule of the bucket "
              "(AbortIncompleteMultipartUpload) takes it away",
              s->u.place.first);
    s->at = s->found.count;
  }
  next_found(s);
}

void s3_sweep(s3_upload *s) {
  if (s->m.intent_count == 0)
    s->then(s);
  else
    find_uploads(s, judge_found);
}

/* ------------------------------------------------------------------
** Orphans: what is left when nobody goes on with it
** ---------------------------------------------------------------- */

void s3_leave_rest(s3_upload *s) {
  bool empty = s3_memory_is_empty(&s->m);
  char *json = empty ? NULL : s3_memory_write(&s->m, s->u.file, s->u.terms);
  if (empty ||
      (json != NULL && bits_file_orphan(s->u.file, json, s->u.terms))) {
    s3_memory_free(&s->m);
    bits_file_upload(s->u.file, NULL);
  } else {
    s3_remember(s);
  }
  mem_free(json);
}
