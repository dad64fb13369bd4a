/*
** A bucket as a store: where it is, and who may use it.
**
**     s3:https://host[:port]/bucket/prefix
**     s3:host/bucket/prefix    s3://host/bucket/prefix    (https)
**
** Options, besides those of every store: access_key, secret_key, session_token
** (or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), region (or
** AWS_REGION, AWS_DEFAULT_REGION; else it is learned), profile (s3_profile.c),
** bucket_lookup ("path", "dns"), multipart_size (64 MiB; 0: never), object_lock
** (s3_lock.c), and those of every store over HTTP (remote.h).
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "repository/store/s3_parts.h"

#define ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static void close_s3(repo_store *store) {
  s3 *s = (s3 *)store;
  repo_remote_end(&s->net);
  repo_secret_free(s->secret, sizeof *s->secret);
  pthread_mutex_destroy(&s->lock);
  mem_free(s->location);
  mem_free(s->scheme);
  mem_free(s->endpoint);
  mem_free(s->bucket);
  mem_free(s->prefix);
  mem_free(s);
}

static const repo_store_way way = {.name = "s3",
                                   .create = repo_s3_create,
                                   .list = repo_s3_list,
                                   .read = repo_s3_read,
                                   .load = repo_s3_load,
                                   .save = repo_s3_save,
                                   .size = repo_s3_size,
                                   .remove = repo_s3_remove,
                                   .tidy = repo_s3_tidy,
                                   .close = close_s3};

static error *wrong(const char *why) {
  return repo_error(SAROS_E_INVALIDARG,
                    "the location of the repository is none: %s; it is written "
                    "s3:https://host/bucket/prefix",
                    why);
}

/* ------------------------------------------------------------------
** The location
** ---------------------------------------------------------------- */

static bool copy(char **to, const char *from, size_t size) {
  *to = mem_bytes(from, size);
  return *to != NULL;
}

static bool ends_with(const char *text, const char *end) {
  size_t size = strlen(text), n = strlen(end);
  return size >= n && strcasecmp(text + size - n, end) == 0;
}

/* A default port is not said: libcurl leaves it out of what is signed. */
static void drop_default_port(s3 *s) {
  const char *port = strcmp(s->scheme, "https") == 0 ? ":443" : ":80";
  if (ends_with(s->endpoint, port))
    s->endpoint[strlen(s->endpoint) - strlen(port)] = '\0';
}

static error *read_location(s3 *s, const char *text) {
  const char *why;
  if (strncmp(text, "s3:", 3) == 0) text += 3;
  const char *scheme = "https";
  if (strncasecmp(text, "http://", 7) == 0) {
    scheme = "http";
    text += 7;
  } else if (strncasecmp(text, "https://", 8) == 0) {
    text += 8;
  } else if (strncmp(text, "//", 2) == 0) {
    text += 2;
  }
  for (const char *c = text; *c != '\0'; c++)
    if ((unsigned char)*c < ' ' || *c == 0x7F)
      return wrong("there are control characters in it");
  size_t host = strcspn(text, "/"), bucket;
  if (memchr(text, '@', host) != NULL)
    return wrong(
        "keys do not belong there, but into access_key and secret_key "
        "or the environment");
  if (!repo_remote_is_host(text, host)) return wrong("it names no host");
  if (!copy(&s->scheme, scheme, strlen(scheme)) ||
      !copy(&s->endpoint, text, host))
    return error_no_memory();
  drop_default_port(s);
  text += host;
  text += strspn(text, "/");
  bucket = strcspn(text, "/");
  if (bucket < 3 || bucket > 63 ||
      strspn(text, ALPHABET DIGITS ".-_") < bucket || text[0] == '.')
    return wrong("its bucket is none (3 to 63 letters, digits, . and -)");
  if (!copy(&s->bucket, text, bucket)) return error_no_memory();
  s->prefix = repo_remote_clean_path(text + bucket, &why);
  if (s->prefix == NULL) return why != NULL ? wrong(why) : error_no_memory();
  if (strlen(s->prefix) > 800) return wrong("its prefix is too long");
  buffer b = BUFFER_EMPTY, shown = BUFFER_EMPTY;
  buffer_format(&b, "s3:%s://%s/%s%s%s", s->scheme, s->endpoint, s->bucket,
                s->prefix[0] != '\0' ? "/" : "", s->prefix);
  if (!b.failed) text_escape(&shown, b.data, b.size);
  buffer_free(&b);
  s->location = buffer_take(&shown);
  return s->location != NULL ? NULL : error_no_memory();
}

/* ------------------------------------------------------------------
** Options
** ---------------------------------------------------------------- */

/* What would end a line of a header is in no key. */
static error *secret_option(char *to, size_t room, const char *text,
                            const char *name) {
  size_t size = text != NULL ? strlen(text) : 0;
  bool fit = size < room;
  for (size_t i = 0; i < size; i++)
    if ((unsigned char)text[i] <= ' ' || text[i] == 0x7F) fit = false;
  if (!fit)
    return repo_error(SAROS_E_INVALIDARG,
                      "the %s of the S3 store is none: it is too long, or "
                      "there are spaces in it",
                      name);
  if (text != to) snprintf(to, room, "%s", text != NULL ? text : "");
  return NULL;
}

static error *nobody(const s3 *s) {
  return repo_error(
      SAROS_E_INVALIDARG,
      "nobody says who uses %s: give access_key and secret_key, or set "
      "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or have a profile in "
      "~/.aws/credentials",
      s->location);
}

static error *check_secrets(s3_secret *k) {
  error *e = secret_option(k->access_key, sizeof k->access_key, k->access_key,
                           "access key");
  if (e == NULL)
    e = secret_option(k->secret_key, sizeof k->secret_key, k->secret_key,
                      "secret key");
  if (e == NULL)
    e = secret_option(k->token, sizeof k->token, k->token, "session token");
  return e;
}

static error *read_secrets(s3 *s, const value *options) {
  s3_secret *k = s->secret;
  /* A profile that is asked for comes before the environment. */
  bool asked = repo_remote_text(options, "profile", NULL) != NULL;
  const char *access = repo_remote_text(options, "access_key",
                                        asked ? NULL : "AWS_ACCESS_KEY_ID");
  const char *secret = repo_remote_text(options, "secret_key",
                                        asked ? NULL : "AWS_SECRET_ACCESS_KEY");
  /* The environment's token is that of the environment's key. */
  bool own = repo_remote_text(options, "access_key", NULL) != NULL;
  const char *token = repo_remote_text(
      options, "session_token", own || asked ? NULL : "AWS_SESSION_TOKEN");
  if (access == NULL && secret == NULL) {
    bool found;
    error *e = repo_s3_profile(options, k, s->profile_region, &found);
    if (e == NULL && !found) e = nobody(s);
    return e != NULL ? e : check_secrets(k);
  }
  if (access == NULL || secret == NULL) return nobody(s);
  error *e =
      secret_option(k->access_key, sizeof k->access_key, access, "access key");
  if (e == NULL)
    e = secret_option(k->secret_key, sizeof k->secret_key, secret,
                      "secret key");
  if (e == NULL)
    e = secret_option(k->token, sizeof k->token, token, "session token");
  return e;
}

/* "s3.eu-west-1.amazonaws.com" says it. */
static void region_of_host(s3 *s) {
  const char *host = s->endpoint;
  if (strncasecmp(host, "s3.", 3) != 0 && strncasecmp(host, "s3-", 3) != 0)
    return;
  size_t size = strcspn(host + 3, ".");
  if (strcasecmp(host + 3 + size, ".amazonaws.com") != 0 || size == 0 ||
      size >= REPO_S3_REGION ||
      strcasecmp(host, "s3-external-1.amazonaws.com") == 0)
    return;
  memcpy(s->region, host + 3, size);
  s->region[size] = '\0';
}

static error *read_region(s3 *s, const value *options) {
  const char *region = repo_remote_text(options, "region", "AWS_REGION");
  if (region == NULL) region = repo_remote_text(NULL, "", "AWS_DEFAULT_REGION");
  if (region == NULL && s->profile_region[0] != '\0')
    region = s->profile_region;
  snprintf(s->region, sizeof s->region, "us-east-1");
  s->amazon = ends_with(s->endpoint, ".amazonaws.com");
  if (region == NULL) {
    if (s->amazon) region_of_host(s);
    return NULL;
  }
  if (strlen(region) >= sizeof s->region ||
      strspn(region, ALPHABET DIGITS "-_") != strlen(region))
    return repo_error(SAROS_E_INVALIDARG, "the region of %s is none",
                      s->location);
  snprintf(s->region, sizeof s->region, "%s", region);
  s->region_given = true;
  return NULL;
}

/* Amazon wants the bucket in the host's name; others seldom have names for
   it, and a dot in it fits no certificate. */
static error *read_lookup(s3 *s, const value *options) {
  const char *lookup = repo_remote_text(options, "bucket_lookup", NULL);
  bool fits = strspn(s->bucket, "abcdefghijklmnopqrstuvwxyz" DIGITS "-") ==
              strlen(s->bucket);
  if (lookup == NULL || strcmp(lookup, "auto") == 0)
    s->in_host = s->amazon && fits;
  else if (strcmp(lookup, "dns") == 0)
    s->in_host = true;
  else if (strcmp(lookup, "path") != 0)
    return repo_error(SAROS_E_INVALIDARG,
                      "bucket_lookup is \"auto\", \"path\" or \"dns\"");
  return NULL;
}

static error *read_options(s3 *s, const value *options) {
  error *e = repo_remote_options(&s->net, options, "an S3 store");
  s->store.connections = s->net.connections;
  if (e == NULL) e = read_secrets(s, options);
  if (e == NULL) e = read_region(s, options);
  if (e == NULL) e = read_lookup(s, options);
  if (e == NULL) e = repo_s3_multipart_option(s, options);
  if (e == NULL) e = repo_s3_lock_option(s, options);
  return e;
}

repo_store *repo_store_s3(const char *location, const value *options,
                          error **e) {
  s3 *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  repo_remote_begin(&s->net);
  pthread_mutex_init(&s->lock, NULL);
  s->secret = repo_secret_new(sizeof *s->secret);
  *e = s->secret != NULL ? read_location(s, location) : error_no_memory();
  if (*e == NULL) *e = read_options(s, options);
  if (*e != NULL) {
    close_s3(&s->store);
    return NULL;
  }
  s->store.way = &way;
  s->store.location = s->location;
  s->net.kept = http_keep();
  return &s->store;
}
