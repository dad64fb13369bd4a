/*
** The server with every fault (spec/bits/server.py says how it is asked), in a
** process of its own, and what ought to come from it.
**
**     TEST(dropped) {
**       char *url = mem_text(at("f/a?size=9000&plan=drop:1000,ok"));
**       …
**       CHECK(is_content(data, size, "a", 9000, 0));
**       CHECK_INT(server_count("/f/a"), 2);
**     }
**     int main(int argc, char **argv) {
**       gate_begin(argc, argv);
**       if (!faults_start(false)) return server_missing();
**       GATE_RUN(dropped);
**       faults_stop();
**       return check_end();
**     }
**
** `at` (http_case.h) has a buffer of its own for each thread: the next call
** writes over it.
*/
#ifndef SAROS_SPEC_BITS_SERVER_CASE_H
#define SAROS_SPEC_BITS_SERVER_CASE_H

#include <dirent.h>
#include <openssl/evp.h>

#include "http_case.h"

/* Which of its ports. */
typedef enum faults_port {
  FAULTS_PLAIN,
  FAULTS_AWAY,  /* another origin */
  FAULTS_TLS,   /* right: the certificate is faults_ca's */
  FAULTS_NAME,  /* another name's */
  FAULTS_OVER,  /* it is over */
  FAULTS_NOBODY /* signed by itself */
} faults_port;

static char faults_folder[64], faults_ca[80]; /* "": without TLS */

/* False: there is no python3 (or no openssl, with tls). */
static inline bool faults_start(bool tls) {
  const char *argv[] = {"python3", "spec/bits/server.py", "--hosts", NULL, NULL,
                        NULL};
  faults_folder[0] = faults_ca[0] = '\0';
  if (tls) {
    strcpy(faults_folder, "/tmp/saros-bits-tls-XXXXXX");
    if (mkdtemp(faults_folder) == NULL) return false;
    snprintf(faults_ca, sizeof faults_ca, "%s/ca.pem", faults_folder);
    argv[3] = "--tls";
    argv[4] = faults_folder;
  }
  return server_start(&s, argv);
}

static inline void faults_stop(void) {
  server_stop(&s);
  DIR *d = faults_folder[0] != '\0' ? opendir(faults_folder) : NULL;
  if (d == NULL) return;
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    unlinkat(dirfd(d), e->d_name, 0);
  closedir(d);
  rmdir(faults_folder);
}

/* "f/a?size=9" of one of its ports. */
static inline const char *at_port(faults_port which, const char *path) {
  static _Thread_local char url[4096];
  snprintf(url, sizeof url, "%s://127.0.0.1:%d/%s",
           which < FAULTS_TLS ? "http" : "https",
           which == FAULTS_PLAIN ? s.port : s.more[which - 1], path);
  return url;
}

/* The same server as one of many hosts, 1 to 60000. */
static inline const char *at_host(unsigned host, const char *path) {
  static _Thread_local char url[4096];
  snprintf(url, sizeof url, "http://127.0.%u.%u:%d/%s", host / 250,
           host % 250 + 1, s.port, path);
  return url;
}

/* What it says of itself ("!count", "!log?of=/f/a", …); to be freed. */
static inline char *server_told(const char *what) {
  char path[1024];
  snprintf(path, sizeof path, "/%s", what);
  return server_ask(&s, "GET", path, "");
}

/* How often URLs with this in them were asked for; "": all. */
static inline long server_count(const char *part) {
  char what[512];
  snprintf(what, sizeof what, "!count?of=%s", part);
  char *text = server_told(what);
  long n = strtol(text, NULL, 10);
  free(text);
  return n;
}

/* Waits until so many are stalled; then they can be released. */
static inline bool server_stalled(long count) {
  char what[64];
  snprintf(what, sizeof what, "!stalled?count=%ld", count);
  char *text = server_told(what);
  long n = strtol(text, NULL, 10);
  free(text);
  return n >= count;
}

static inline void server_release(void) {
  free(server_told("!release"));
}

/* Forgets what was asked, counted and stored. */
static inline void server_reset(void) {
  free(server_told("!reset"));
}

/* The bytes behind a name: SHAKE-256 of "name:size:version". To be freed. */
static inline unsigned char *server_content(const char *name, size_t size,
                                            unsigned version) {
  char seed[512];
  unsigned char *data = malloc(size + 1);
  EVP_MD_CTX *c = EVP_MD_CTX_new();
  snprintf(seed, sizeof seed, "%s:%zu:%u", name, size, version);
  if (data == NULL || c == NULL) abort();
  if (EVP_DigestInit_ex(c, EVP_shake256(), NULL) != 1 ||
      EVP_DigestUpdate(c, seed, strlen(seed)) != 1 ||
      EVP_DigestFinalXOF(c, data, size) != 1)
    abort();
  EVP_MD_CTX_free(c);
  return data;
}

static inline bool is_content(const void *data, size_t have, const char *name,
                              size_t size, unsigned version) {
  unsigned char *right = server_content(name, size, version);
  bool same = have == size && memcmp(data, right, size) == 0;
  free(right);
  return same;
}

/* Of a file on the disk. */
static inline bool is_content_file(const char *path, const char *name,
                                   size_t size, unsigned version) {
  FILE *f = fopen(path, "rb");
  unsigned char *data = malloc(size + 1);
  bool same = false;
  if (f != NULL && data != NULL) {
    size_t have = fread(data, 1, size + 1, f);
    same = is_content(data, have, name, size, version);
  }
  if (f != NULL) fclose(f);
  free(data);
  return same;
}

#endif
