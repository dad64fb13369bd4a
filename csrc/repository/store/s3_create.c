/*
** A bucket for a new repository, if there is none.
*/
#include <string.h>

#include "repository/store/s3_parts.h"

static error *bucket_is_there(s3 *s, bool *there) {
  s3_call c = {.doing = "look for the bucket"};
  error *e = repo_s3_head(s, &c, there);
  /* One may have a key that can use a bucket, and may not look at it. */
  if (e != NULL && strcmp(c.trouble.name, "AccessDenied") == 0) {
    error_unref(e);
    *there = true;
    e = NULL;
  }
  return e;
}

static error *put_bucket(s3 *s, bool with_region, s3_call *c) {
  buffer b = BUFFER_EMPTY;
  char payload[HTTP_SIGN_HEX];
  if (with_region)
    buffer_format(&b,
                  "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/"
                  "doc/2006-03-01/\"><LocationConstraint>%s"
                  "</LocationConstraint></CreateBucketConfiguration>",
                  s->region);
  repo_piece piece = {b.data != NULL ? b.data : "", b.size};
  *c = (s3_call){.doing = "make the bucket",
                 .method = "PUT",
                 .pieces = &piece,
                 .piece_count = 1,
                 .payload = payload,
                 .makes_locked = s->lock_days > 0};
  error *e = b.failed || !repo_s3_sha256(&piece, 1, payload)
                 ? error_no_memory()
                 : repo_s3_call(s, c);
  buffer_free(&b);
  c->pieces = NULL;
  c->payload = NULL;
  return e;
}

static error *make_bucket(s3 *s) {
  s3_call c;
  bool with_region = strcmp(s->region, "us-east-1") != 0;
  error *e = put_bucket(s, with_region, &c);
  /* Regions of other servers are names, and not places. */
  if (e != NULL && with_region && !s->amazon && c.status == 400) {
    error_unref(e);
    e = put_bucket(s, false, &c);
  }
  if (e != NULL && c.trouble.fate == S3_EXISTS) { /* ours: by somebody else */
    error_unref(e);
    e = NULL;
  }
  return e;
}

error *repo_s3_create(repo_store *store) {
  s3 *s = (s3 *)store;
  bool there = false;
  error *e = repo_s3_forked(s);
  if (e == NULL) e = bucket_is_there(s, &there);
  if (e == NULL && !there) return make_bucket(s);
  if (e != NULL) return e;
  char *key = repo_s3_key(s, REPO_CONFIG, NULL);
  if (key == NULL) return error_no_memory();
  s3_call c = {.doing = "look for a repository", .key = key};
  e = repo_s3_head(s, &c, &there);
  mem_free(key);
  if (e != NULL || !there) return e;
  return repo_error(SAROS_E_REFUSED,
                    "there is a repository in %s already: nothing was changed",
                    s->location);
}
