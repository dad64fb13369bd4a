/*
** Digests of what is sent, which is in pieces.
*/
#include <openssl/evp.h>

#include "repository/store/s3_parts.h"

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
                    char hex[HTTP_SIGN_HEX]) {
  uint8_t bytes[32];
  if (!hash("SHA256", pieces, count, bytes)) return false;
  http_sign_hex(hex, bytes, sizeof bytes);
  return true;
}
