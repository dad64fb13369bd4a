/*
** The keys of an S3 store: given, or read from where a reference says: a file
** (or a variable) of two lines, KEY and SECRET, and a third if there is a
** TOKEN; or, of "env:AWS", the variables AWS_ACCESS_KEY_ID and so on.
*/
#include <stdlib.h>
#include <string.h>

#include "base/traces.h"
#include "bits/job_parts.h"

typedef struct keys {
  char *key, *secret, *token; /* to be wiped */
} keys;

static void keys_free(keys *k) {
  bits_secret_free(k->key);
  bits_secret_free(k->secret);
  bits_secret_free(k->token);
}

/* What may stand in a header. */
static bool is_plain(const char *text) {
  for (; *text != '\0'; text++)
    if (*text <= ' ' || *text == 0x7F || (unsigned char)*text > 0x7F)
      return false;
  return true;
}

/* The next line of *text, or NULL at its end. */
static char *next_line(const char **text) {
  if (**text == '\0') return NULL;
  size_t size = strcspn(*text, "\r\n");
  char *line = mem_bytes(*text, size);
  *text += size;
  *text += strspn(*text, "\r\n");
  return line;
}

static error *split(const char *reference, const char *text, keys *k) {
  const char *rest = text;
  k->key = next_line(&rest);
  k->secret = next_line(&rest);
  k->token = next_line(&rest);
  if (k->key != NULL && k->secret != NULL && *rest == '\0') return NULL;
  return bits_fail(SAROS_E_INVALIDARG,
                   "%s has to have two lines: the access key, and the secret "
                   "key (and a third for a session token)",
                   reference);
}

static error *variable(const char *prefix, const char *suffix, bool needed,
                       char **text) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s%s", prefix, suffix);
  const char *found = b.failed ? NULL : getenv(b.data);
  buffer_free(&b);
  if (found == NULL)
    return needed ? bits_fail(SAROS_E_INVALIDARG, "the environment has no %s%s",
                              prefix, suffix)
                  : NULL;
  *text = mem_text(found);
  return *text != NULL ? NULL : error_no_memory();
}

static error *from_variables(const char *prefix, keys *k) {
  error *e = variable(prefix, "_ACCESS_KEY_ID", true, &k->key);
  if (e == NULL) e = variable(prefix, "_SECRET_ACCESS_KEY", true, &k->secret);
  return e != NULL ? e : variable(prefix, "_SESSION_TOKEN", false, &k->token);
}

static error *dereference(const char *reference, keys *k) {
  if (reference[0] == 'e' && getenv(reference + strlen("env:")) == NULL)
    return from_variables(reference + strlen("env:"), k);
  error *e;
  char *text = bits_reference_read(reference, &e);
  if (e == NULL) e = split(reference, text, k);
  bits_secret_free(text);
  return e;
}

static error *read_keys(const bits_draft *d, const value *v, keys *k) {
  const char *reference = value_chars(value_get(v, "reference"), NULL);
  const char *key = value_chars(value_get(v, "access_key"), NULL);
  const char *secret = value_chars(value_get(v, "secret_key"), NULL);
  const char *token = value_chars(value_get(v, "session_token"), NULL);
  if (reference != NULL) {
    if (key != NULL || secret != NULL || token != NULL)
      return bits_fail(SAROS_E_INVALIDARG, "s3: keys or a reference, not both");
    if (!bits_reference_is(reference) ||
        !text_is_utf8(reference, strlen(reference)))
      return bits_fail(SAROS_E_INVALIDARG,
                       "s3: a reference is 'env:NAME' or 'file:/path'");
    return d->looks ? NULL : dereference(reference, k);
  }
  if (key == NULL || secret == NULL)
    return d->stored ? NULL
                     : bits_fail(SAROS_E_INVALIDARG,
                                 "s3 has an access_key and a secret_key, or a "
                                 "reference");
  k->key = mem_text(key);
  k->secret = mem_text(secret);
  k->token = mem_text(token);
  return k->key == NULL || k->secret == NULL ||
                 (token != NULL && k->token == NULL)
             ? error_no_memory()
             : NULL;
}

static error *check_keys(const keys *k) {
  const char *const texts[] = {k->key, k->secret, k->token};
  for (size_t i = 0; i < 3; i++)
    if (texts[i] != NULL && (texts[i][0] == '\0' || !is_plain(texts[i])))
      return bits_fail(SAROS_E_INVALIDARG,
                       "s3: a key is one word of plain characters");
  return NULL;
}

static error *check_fields(const value *v) {
  static const char *const names[] = {"access_key", "secret_key",
                                      "session_token", "region", "reference"};
  if (v->type != VALUE_MAP) return bits_fail(SAROS_E_INVALIDARG, "s3 is a map");
  for (uint32_t i = 0; i < v->count; i++) {
    const value_field *f = &v->as.fields[i];
    bool known = strcmp(f->name, "secret") == 0; /* as it is shown */
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
      if (strcmp(names[n], f->name) == 0)
        known = f->item->type == VALUE_STRING &&
                strlen(f->item->as.string.data) == f->item->as.string.size;
    if (!known)
      return bits_fail(SAROS_E_INVALIDARG,
                       "s3 has access_key, secret_key, session_token, region "
                       "and reference, all texts, but no '%s'",
                       f->name);
  }
  return NULL;
}

static error *read_region(const value *v, char **region) {
  const char *text = value_chars(value_get(v, "region"), NULL);
  *region = NULL;
  if (text == NULL) return NULL;
  if (text[0] == '\0' || strlen(text) > 64 || !is_plain(text) ||
      strchr(text, '/') != NULL)
    return bits_fail(SAROS_E_INVALIDARG, "s3: a region is one word");
  *region = mem_text(text);
  return *region != NULL ? NULL : error_no_memory();
}

/* Who takes an upload back later has to find the keys again. */
static error *read_reference(const value *v, char **reference) {
  const char *text = value_chars(value_get(v, "reference"), NULL);
  *reference = mem_text(text);
  return *reference != NULL || text == NULL ? NULL : error_no_memory();
}

static void keep(bits_terms *t, keys *k, char *region, char *reference) {
  bits_secret_free(t->s3_key);
  bits_secret_free(t->s3_secret);
  bits_secret_free(t->s3_token);
  mem_free(t->s3_region);
  mem_free(t->s3_reference);
  t->s3_key = k->key;
  t->s3_secret = k->secret;
  t->s3_token = k->token;
  t->s3_region = region;
  t->s3_reference = reference;
  *k = (keys){0};
}

static bool show(const value *v, value **shown) {
  static const char *const seen[] = {"region", "reference"};
  *shown = value_map();
  if (*shown == NULL || v->count == 0) return *shown != NULL;
  for (size_t i = 0; i < 2; i++) {
    const value *item = value_get(v, seen[i]);
    if (item != NULL && !value_put(*shown, seen[i], value_copy(item)))
      return false;
  }
  return value_put(*shown, "secret", value_bool(true));
}

static error *read_s3(bits_draft *d, const value *v, value **shown) {
  char *region = NULL, *reference = NULL;
  keys k = {0};
  error *e = v->count > 0 ? read_keys(d, v, &k) : NULL;
  if (e == NULL) e = check_keys(&k);
  if (e != NULL && d->stored) { /* lost: no reason to go without */
    log_write(LOG_WARNING, "bits", "a job's keys: %s", e->message);
    error_unref(e);
    e = NULL;
    keys_free(&k);
    k = (keys){0};
  }
  if (e == NULL) e = read_reference(v, &reference);
  if (e == NULL) e = read_region(v, &region);
  if (e == NULL)
    keep(d->terms, &k, region, reference);
  else
    mem_free(reference);
  keys_free(&k);
  traces_wipe_few();
  if (e != NULL) return e;
  return show(v, shown) ? NULL : error_no_memory();
}

error *bits_secret_s3(bits_draft *d, const value *v, value **shown) {
  if (v->type == VALUE_LIST && v->count == 0) {
    keys none = {0};
    keep(d->terms, &none, NULL, NULL);
    *shown = value_map();
    return *shown != NULL ? NULL : error_no_memory();
  }
  error *e = check_fields(v);
  return e != NULL ? e : read_s3(d, v, shown);
}

/* ------------------------------------------------------------------
** What was lost
** ---------------------------------------------------------------- */

static bool is_set(const value *properties, const char *name) {
  const value *v = value_get(properties, name);
  return v != NULL && v->count > 0 &&
         (v->type == VALUE_MAP || v->type == VALUE_LIST);
}

const char *bits_secret_lost(const bits_terms *t, const value *properties) {
  bool credentials = is_set(properties, "credentials");
  for (uint32_t i = 0; i < t->header_count; i++)
    if (t->headers[i].secret && t->headers[i].value == NULL)
      return i == 0 && credentials ? "credentials" : "headers";
  if (is_set(properties, "proxy_credentials") && t->proxy_login == NULL)
    return "proxy_credentials";
  if (is_set(properties, "s3") && t->s3_secret == NULL) return "s3";
  return NULL;
}
