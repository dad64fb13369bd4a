/*
** key_file: the text of a key file, and the text in its seal. The inner one is
** read and written in secret memory only, so not by what reads other JSON.
*/
#include <openssl/evp.h>
#include <string.h>

#include "base/traces.h"
#include "repository/key_parts.h"


void repo_key_file_clear(repo_key_file *file) {
  mem_free(file->created);
  mem_free(file->username);
  mem_free(file->hostname);
  buffer_free(&file->sealed);
  *file = (repo_key_file){0};
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static error *damaged(const char *what) {
  return repo_error(SAROS_E_DAMAGED, "the key file is damaged: %s", what);
}


/* A text that is there, or an empty one. No NUL, no nonsense length. */
static error *get_text(const value *map, const char *name, char **text) {
  const value *v = value_get(map, name);
  if (v != NULL && v->type != VALUE_NULL && v->type != VALUE_STRING)
    return damaged("a text is something else");
  size_t size = v != NULL && v->type == VALUE_STRING ? v->as.string.size : 0;
  if (size > 1024) return damaged("a text is too long");
  if (size > 0 && memchr(v->as.string.data, '\0', size) != NULL)
    return damaged("a text has a NUL");
  *text = mem_bytes(size > 0 ? v->as.string.data : "", size);
  return *text != NULL ? NULL : error_no_memory();
}


static error *get_number(const value *map, const char *name, uint64_t *n) {
  const value *v = value_get(map, name);
  if (v == NULL || v->type != VALUE_INT || v->as.integer <= 0)
    return damaged("a cost of scrypt is no positive number");
  *n = (uint64_t)v->as.integer;
  return NULL;
}


static error *get_bytes(const value *map, const char *name, buffer *b) {
  const value *v = value_get(map, name);
  if (v == NULL || v->type != VALUE_STRING)
    return damaged("the salt or the data is not there");
  if (text_unbase64(b, v->as.string.data, v->as.string.size)) return NULL;
  if (b->failed) return error_no_memory();
  return damaged("the salt or the data is not base64");
}


static error *get_salt(const value *map, uint8_t salt[64]) {
  buffer b = BUFFER_EMPTY;
  error *e = get_bytes(map, "salt", &b);
  if (e == NULL && b.size != 64) e = damaged("its salt is not of 64 bytes");
  if (e == NULL && b.data != NULL) memcpy(salt, b.data, 64);
  buffer_free(&b);
  return e;
}


static error *get_all(repo_key_file *file, const value *map) {
  error *e = NULL;
  if (map->type != VALUE_MAP) return damaged("it is no JSON object");
  if (strcmp(value_chars(value_get(map, "kdf"), ""), "scrypt") != 0)
    return damaged("its \"kdf\" is not scrypt");
  if (e == NULL) e = get_text(map, "created", &file->created);
  if (e == NULL) e = get_text(map, "username", &file->username);
  if (e == NULL) e = get_text(map, "hostname", &file->hostname);
  if (e == NULL) e = get_number(map, "N", &file->cost.n);
  if (e == NULL) e = get_number(map, "r", &file->cost.r);
  if (e == NULL) e = get_number(map, "p", &file->cost.p);
  if (e == NULL) e = get_salt(map, file->salt);
  if (e == NULL) e = get_bytes(map, "data", &file->sealed);
  return e;
}


error *repo_key_file_read(repo_key_file *file, const char *json, size_t size) {
  static const json_limits limits = {
      .depth = 4, .size = REPO_KEY_FILE_MOST, .values = 256};
  error *e = NULL;
  *file = (repo_key_file){0};
  value *map = json_read(json, size, &limits, &e);
  if (map != NULL) {
    e = get_all(file, map);
    value_free(map);
  } else if (e->code != SAROS_E_OUTOFMEMORY) {
    e = error_because(damaged("it is no JSON"), e);
  }
  if (e != NULL) repo_key_file_clear(file);
  return e;
}


error *repo_key_file_write(const repo_key_file *file, buffer *json) {
  buffer_text(json, "{\"created\":");
  json_write_string(json, file->created, strlen(file->created));
  buffer_text(json, ",\"username\":");
  json_write_string(json, file->username, strlen(file->username));
  buffer_text(json, ",\"hostname\":");
  json_write_string(json, file->hostname, strlen(file->hostname));
  buffer_format(json,
                ",\"kdf\":\"scrypt\",\"N\":%llu,\"r\":%llu,\"p\":%llu,"
                "\"salt\":\"",
                (unsigned long long)file->cost.n,
                (unsigned long long)file->cost.r,
                (unsigned long long)file->cost.p);
  text_base64(json, file->salt, sizeof file->salt);
  buffer_text(json, "\",\"data\":\"");
  text_base64(json, file->sealed.data, file->sealed.size);
  buffer_text(json, "\"}");
  return json->failed ? error_no_memory() : NULL;
}


/* ------------------------------------------------------------------
** The master key
** ---------------------------------------------------------------- */

/* A place in the text; NULL when it went wrong. */
static const char *skip(const char *at, const char *end) {
  while (at != NULL && at < end &&
         (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
    at++;
  return at;
}


/* What must stand here, and white space around it. */
static const char *expect(const char *at, const char *end, const char *text) {
  size_t size = strlen(text);
  at = skip(at, end);
  if (at == NULL || (size_t)(end - at) < size || memcmp(at, text, size) != 0)
    return NULL;
  return skip(at + size, end);
}


/* A string of base64 that says exactly `size` bytes, at most 32. */
static const char *take(const char *at, const char *end, uint8_t *bytes,
                        size_t size) {
  uint8_t room[48];
  size_t length = (size + 2) / 3 * 4, padding = (3 - size % 3) % 3;
  if (at == NULL || at >= end || *at != '"') return NULL;
  at++;
  if ((size_t)(end - at) <= length || at[length] != '"') return NULL;
  /* It skips white space in front, and does not count the padding. */
  int put = at[0] > ' '
                ? EVP_DecodeBlock(room, (const uint8_t *)at, (int)length)
                : -1;
  bool good = put == (int)(size + padding);
  for (size_t i = 0; i < length && good; i++)
    good = (at[i] == '=') == (i >= length - padding);
  if (good) memcpy(bytes, room, size);
  repo_wipe(room, sizeof room);
  return good ? skip(at + length + 1, end) : NULL;
}


/* {"k":…,"r":…}, in any order. */
static const char *take_mac(const char *at, const char *end, repo_key *key) {
  int seen = 0;
  at = expect(at, end, "{");
  for (int i = 0; i < 2 && at != NULL; i++) {
    if (i > 0) at = expect(at, end, ",");
    const char *then = expect(at, end, "\"k\"");
    int which = then != NULL ? 1 : 2;
    if (then == NULL) then = expect(at, end, "\"r\"");
    then = expect(then, end, ":");
    at = take(then, end, which == 1 ? key->k : key->r, 16);
    seen |= which;
  }
  return seen == 3 ? expect(at, end, "}") : NULL;
}


bool repo_key_text_read(repo_key *key, const char *text, size_t size) {
  const char *at = text, *end = text + size;
  int seen = 0;
  at = expect(at, end, "{");
  for (int i = 0; i < 2 && at != NULL; i++) {
    if (i > 0) at = expect(at, end, ",");
    const char *then = expect(at, end, "\"mac\"");
    int which = then != NULL ? 1 : 2;
    if (then == NULL) then = expect(at, end, "\"encrypt\"");
    then = expect(then, end, ":");
    at = which == 1 ? take_mac(then, end, key)
                    : take(then, end, key->encrypt, sizeof key->encrypt);
    seen |= which;
  }
  at = expect(at, end, "}");
  return seen == 3 && at == end && repo_key_is_valid(key);
}


static char *put(char *at, const char *text) {
  size_t size = strlen(text);
  for (size_t i = 0; i < size; i++) at[i] = text[i];
  return at + size;
}


void repo_key_text_write(const repo_key *key, char text[REPO_KEY_TEXT + 1]) {
  char *at = put(text, "{\"mac\":{\"k\":\"");
  at += EVP_EncodeBlock((uint8_t *)at, key->k, sizeof key->k);
  at = put(at, "\",\"r\":\"");
  at += EVP_EncodeBlock((uint8_t *)at, key->r, sizeof key->r);
  at = put(at, "\"},\"encrypt\":\"");
  at += EVP_EncodeBlock((uint8_t *)at, key->encrypt, sizeof key->encrypt);
  at = put(at, "\"}");
  *at = '\0';
}


/* ------------------------------------------------------------------
** With a password
** ---------------------------------------------------------------- */

/* What is secret while a key file is sealed or opened. */
typedef struct desk {
  repo_key user;
  uint8_t derived[64];
  char text[4096];
} desk;


static repo_sealer *user_sealer(const repo_key_file *file, desk *d,
                                const repo_password *password, error **e) {
  *e = repo_scrypt(password->text, password->size, file->salt, file->cost.n,
                   file->cost.r, file->cost.p, d->derived);
  if (*e != NULL) return NULL;
  memcpy(d->user.encrypt, d->derived, 32);
  memcpy(d->user.k, d->derived + 32, 16);
  memcpy(d->user.r, d->derived + 48, 16);
  return repo_sealer_new(&d->user, e);
}


error *repo_key_file_seal(repo_key_file *file, const repo_key *master,
                          const repo_password *password) {
  error *e = NULL;
  desk *d = repo_secret_new(sizeof *d);
  char *room = buffer_room(&file->sealed, REPO_KEY_TEXT + REPO_SEAL);
  repo_sealer *s = NULL;
  if (d == NULL || room == NULL)
    e = error_no_memory();
  else
    s = user_sealer(file, d, password, &e);
  if (s != NULL) {
    repo_key_text_write(master, d->text);
    e = repo_seal(s, d->text, REPO_KEY_TEXT, room);
    if (e == NULL) file->sealed.size += REPO_KEY_TEXT + REPO_SEAL;
    repo_sealer_free(s);
  }
  repo_secret_free(d, sizeof *d);
  traces_wipe();
  return e;
}


error *repo_key_file_open(const repo_key_file *file, repo_key *master,
                          const repo_password *password) {
  error *e = NULL;
  size_t size = file->sealed.size;
  if (size < REPO_SEAL || size - REPO_SEAL > sizeof((desk *)0)->text)
    return damaged("its data has a length that cannot be");
  desk *d = repo_secret_new(sizeof *d);
  if (d == NULL) return error_no_memory();
  repo_sealer *s = user_sealer(file, d, password, &e);
  if (s != NULL) {
    e = repo_unseal(s, file->sealed.data, size, d->text);
    if (e != NULL && e->code == SAROS_E_DAMAGED) {
      error_unref(e);
      e = repo_error(SAROS_E_WRONG_PASSWORD, "the password is wrong");
    } else if (e == NULL &&
               !repo_key_text_read(master, d->text, size - REPO_SEAL)) {
      e = damaged("what is sealed in it is no key");
    }
    repo_sealer_free(s);
  }
  repo_secret_free(d, sizeof *d);
  traces_wipe();
  return e;
}
