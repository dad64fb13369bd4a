/*
** AWS Signature Version 4. What is signed is what is sent, to the byte: paths
** and queries are escaped here once, and libcurl passes them on as they are.
*/
#ifndef SAROS_HTTP_SIGN_H
#define SAROS_HTTP_SIGN_H

#include "http/http.h"

#define HTTP_SIGN_HEX 65
#define HTTP_SIGN_SECRET 1024 /* no secret key is as long */

typedef struct http_signature {
  const char *method;
  const char *path;  /* escaped, as it is sent */
  const char *query; /* "a=b&c=", sorted and escaped; "" for none */
  /* Every field that is signed, lower case and sorted, "host" among them. */
  const http_field *fields;
  size_t field_count;
  const char *payload; /* SHA-256 of the body, in hex, or what stands for it */
  const char *date;    /* "20130524T000000Z" */
  const char *region, *service;
  const char *access_key;
  const uint8_t *signing; /* 32 bytes: http_sign_key */
} http_signature;

/* `day`: "20130524". False: the secret is too long, or there is no OpenSSL. */
bool http_sign_key(const char *secret, const char *day, const char *region,
                   const char *service, uint8_t key[32]);
/* Appends the value of Authorization. False: no memory, or no OpenSSL. */
bool http_sign(const http_signature *s, buffer *b);
/* What has to be escaped is; slashes only when they are not `kept`. */
void http_sign_escape(buffer *b, const char *text, bool slashes_kept);
/* Two lower case digits a byte, and a NUL. */
void http_sign_hex(char *text, const uint8_t *bytes, size_t size);
bool http_sign_sha256(const void *data, size_t size, char hex[HTTP_SIGN_HEX]);
extern const char http_sign_empty[]; /* SHA-256 of nothing */

#endif
