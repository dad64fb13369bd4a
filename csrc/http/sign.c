/*
** The signer: see sign.h. A date and a region make a key of the secret one;
** the key signs a digest of the request.
*/
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "base/traces.h"
#include "http/sign.h"

const char http_sign_empty[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

void http_sign_hex(char *text, const uint8_t *bytes, size_t size) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < size; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  text[2 * size] = '\0';
}

void http_sign_escape(buffer *b, const char *text, bool slashes_kept) {
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

bool http_sign_sha256(const void *data, size_t size, char hex[HTTP_SIGN_HEX]) {
  uint8_t bytes[32];
  if (EVP_Digest(data, size, bytes, NULL, EVP_sha256(), NULL) != 1)
    return false;
  http_sign_hex(hex, bytes, sizeof bytes);
  return true;
}

static bool hmac(const uint8_t *key, size_t size, const char *text,
                 uint8_t out[32]) {
  unsigned length = 0;
  return HMAC(EVP_sha256(), key, (int)size, (const uint8_t *)text, strlen(text),
              out, &length) != NULL &&
         length == 32;
}

bool http_sign_key(const char *secret, const char *day, const char *region,
                   const char *service, uint8_t key[32]) {
  char first[4 + HTTP_SIGN_SECRET];
  uint8_t a[32], b[32];
  int size = snprintf(first, sizeof first, "AWS4%s", secret);
  bool good = size > 0 && (size_t)size < sizeof first &&
              hmac((const uint8_t *)first, (size_t)size, day, a) &&
              hmac(a, 32, region, b) && hmac(b, 32, service, a) &&
              hmac(a, 32, "aws4_request", key);
  http_wipe(first, sizeof first);
  http_wipe(a, sizeof a);
  http_wipe(b, sizeof b);
  traces_wipe();
  return good;
}

/* ------------------------------------------------------------------
** The signature
** ---------------------------------------------------------------- */

static void put_names(buffer *b, const http_signature *s) {
  for (size_t i = 0; i < s->field_count; i++) {
    if (i > 0) buffer_byte(b, ';');
    buffer_text(b, s->fields[i].name);
  }
}

/* Values are ours: they neither begin nor end with a space. */
static void put_request(buffer *b, const http_signature *s) {
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

bool http_sign(const http_signature *s, buffer *b) {
  buffer request = BUFFER_EMPTY, to_sign = BUFFER_EMPTY;
  char hex[HTTP_SIGN_HEX], scope[160];
  uint8_t signature[32];
  snprintf(scope, sizeof scope, "%.8s/%s/%s/aws4_request", s->date, s->region,
           s->service);
  put_request(&request, s);
  bool good =
      !request.failed && http_sign_sha256(request.data, request.size, hex);
  if (good)
    buffer_format(&to_sign, "AWS4-HMAC-SHA256\n%s\n%s\n%s", s->date, scope,
                  hex);
  good =
      good && !to_sign.failed && hmac(s->signing, 32, to_sign.data, signature);
  if (good) {
    http_sign_hex(hex, signature, sizeof signature);
    buffer_format(b, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=",
                  s->access_key, scope);
    put_names(b, s);
    buffer_format(b, ",Signature=%s", hex);
  }
  /* A session token is in the request. */
  if (request.data != NULL) http_wipe(request.data, request.size);
  buffer_free(&request);
  buffer_free(&to_sign);
  return good && !b->failed;
}
