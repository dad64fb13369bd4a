/*
** AWS Signature Version 4. What is signed is what is sent, to the byte: paths
** and queries are escaped here once, and libcurl passes them on as they are.
*/
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base/traces.h"
#include "repository/store/s3_parts.h"

const char repo_s3_empty[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

void repo_s3_hex(char *text, const uint8_t *bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < size; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  text[2 * size] = '\0';
}

void repo_s3_escape(buffer *b, const char *text, bool slashes_kept) {
  static const char digits[] = "0123456789ABCDEF";
  for (; *text != '\0'; text++) {
    unsigned char c = (unsigned char)*text;
    if ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
        c == '~' || (c == '/' && slashes_kept)) {
      buffer_byte(b, (char)c);
    } else {
      buffer_byte(b, '%');
      buffer_byte(b, digits[c >> 4]);
      buffer_byte(b, digits[c & 15]);
    }
  }
}

/* ------------------------------------------------------------------
** Hashes
** ---------------------------------------------------------------- */

static bool hash(const char *name, const repo_piece *pieces, size_t count,
                 uint8_t *out) {
  EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  bool good = md != NULL && context != NULL &&
              EVP_DigestInit_ex2(context, md, NULL) == 1;
  for (size_t i = 0; good && i < count; i++)
    good = EVP_DigestUpdate(context, pieces[i].data, pieces[i].size) == 1;
  good = good && EVP_DigestFinal_ex(context, out, NULL) == 1;
  EVP_MD_CTX_free(context);
  EVP_MD_free(md);
  return good;
}

bool repo_s3_md5(const repo_piece *pieces, size_t count, uint8_t md5[16]) {
  return hash("MD5", pieces, count, md5);
}

bool repo_s3_sha256(const repo_piece *pieces, size_t count,
                    char hex[REPO_S3_HEX]) {
  uint8_t bytes[32];
  if (!hash("SHA256", pieces, count, bytes)) return false;
  repo_s3_hex(hex, bytes, sizeof bytes);
  return true;
}

static bool hmac(const uint8_t *key, size_t size, const char *text,
                 uint8_t out[32]) {
  unsigned length = 0;
  return HMAC(EVP_sha256(), key, (int)size, (const uint8_t *)text, strlen(text),
              out, &length) != NULL &&
         length == 32;
}

bool repo_s3_signing_key(const char *secret, const char *day,
                         const char *region, const char *service,
                         uint8_t key[32]) {
  char first[4 + sizeof((s3_secret *)0)->secret_key];
  uint8_t a[32], b[32];
  int size = snprintf(first, sizeof first, "AWS4%s", secret);
  bool good = size > 0 && (size_t)size < sizeof first &&
              hmac((const uint8_t *)first, (size_t)size, day, a) &&
              hmac(a, 32, region, b) && hmac(b, 32, service, a) &&
              hmac(a, 32, "aws4_request", key);
  repo_wipe(first, sizeof first);
  repo_wipe(a, sizeof a);
  repo_wipe(b, sizeof b);
  traces_wipe();
  return good;
}

/* ------------------------------------------------------------------
** The signature
** ---------------------------------------------------------------- */

static void put_names(buffer *b, const s3_signature *s) {
  for (size_t i = 0; i < s->field_count; i++) {
    if (i > 0) buffer_byte(b, ';');
    buffer_text(b, s->fields[i].name);
  }
}

/* Values are ours: they neither begin nor end with a space. */
static void put_request(buffer *b, const s3_signature *s) {
  buffer_format(b, "%s\n%s\n%s\n", s->method, s->path, s->query);
  for (size_t i = 0; i < s->field_count; i++) {
    buffer_text(b, s->fields[i].name);
    buffer_byte(b, ':');
    buffer_text(b, s->fields[i].value);
    buffer_byte(b, '\n');
  }
  buffer_byte(b, '\n');
  put_names(b, s);
  buffer_byte(b, '\n');
  buffer_text(b, s->payload);
}

bool repo_s3_sign(const s3_signature *s, buffer *b) {
  buffer request = BUFFER_EMPTY, to_sign = BUFFER_EMPTY;
  char hex[REPO_S3_HEX], scope[160];
  uint8_t signature[32];
  snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", s->date, s->region,
           s->service);
  put_request(&request, s);
  repo_piece whole = {request.data, request.size};
  bool good = !request.failed && repo_s3_sha256(&whole, 1, hex);
  if (good)
    buffer_format(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", s->date, scope,
                  hex);
  good =
      good && !to_sign.failed && hmac(s->signing, 32, to_sign.data, signature);
  if (good) {
    repo_s3_hex(hex, signature, sizeof signature);
    buffer_format(b, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=",
                  s->access_key, scope);
    put_names(b, s);
    buffer_format(b, ",Signature=%s", hex);
  }
  /* A session token is in the request. */
  if (request.data != NULL) repo_wipe(request.data, request.size);
  buffer_free(&request);
  buffer_free(&to_sign);
  return good && !b->failed;
}
