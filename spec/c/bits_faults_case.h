/*
** Jobs that meet faults: each a row, at a host of its own, begun together and
** told to go on at once whenever they wait to try again.
*/
#ifndef SAROS_SPEC_BITS_FAULTS_CASE_H
#define SAROS_SPEC_BITS_FAULTS_CASE_H

#include <openssl/evp.h>

#include "bits_case.h"
#include "bits_server_case.h"

#define ROWS 2000
#define SIZE 20000u
#define PATIENCE 3 /* so often it is told where it shall always be so */

typedef struct row {
  char name[64], query[600], options[200], wanted[200];
  unsigned host;
  size_t size;     /* of the file */
  unsigned newest; /* version of it that there is */
  bits_job *job;
  bits_state over; /* BITS_QUEUED: not yet */
  unsigned resumes;
  char why[300]; /* when it waited first */
} row;

static row rows[ROWS];
static unsigned row_count;
static bits_manager *manager;

/* ------------------------------------------------------------------
** A job
** ---------------------------------------------------------------- */

static inline bool is_upload(const row *r) {
  return strncmp(r->query, "put:", 4) == 0;
}

static inline void make_url(const row *r, char url[4096]) {
  static const char *const ports[] = {"tls:", "name:", "over:", "nobody:"};
  const char *query = strchr(r->query, ':');
  const char *plan = strstr(r->query, "plan="), *all = strstr(r->query, "all=");
  const char *first = all != NULL && (plan == NULL || all < plan) ? all : plan;
  char path[400];
  const char *before = "";
  if (first == NULL) abort();
  size_t mark = query != NULL && query < first ? (size_t)(query - r->query) : 0;
  char redirect[32] = "";
  if (strncmp(r->query, "to/", 3) == 0) {
    snprintf(redirect, sizeof redirect, "%.*s/", (int)mark, r->query);
    before = redirect;
  }
  snprintf(path, sizeof path, "%s%s/r%u.?size=%zu&%s", before,
           is_upload(r) ? "u" : "f", r->host, r->size, first);
  if (strncmp(r->query, "plain:", 6) == 0) { /* https to where none is */
    snprintf(url, 4096, "https%s", strstr(at_host(r->host, path), ":"));
    return;
  }
  if (strncmp(r->query, "refused:", 8) == 0) {
    snprintf(url, 4096, "http://127.0.0.1:1/%s", path);
    return;
  }
  for (unsigned i = 0; i < 4; i++)
    if (strncmp(r->query, ports[i], strlen(ports[i])) == 0) {
      strcpy(url, at_port((faults_port)(FAULTS_TLS + i), path));
      return;
    }
  strcpy(url, at_host(r->host, path));
}

static inline void content_name(const row *r, char name[32]) {
  snprintf(name, 32, "r%u.", r->host);
}

static inline void local_name(const row *r, char name[32]) {
  snprintf(name, 32, "row-%u", r->host);
}

static inline void hex_of(const void *data, size_t size, char hex[65]) {
  unsigned char digest[32];
  unsigned used = 32;
  EVP_Digest(data, size, digest, &used, EVP_sha256(), NULL);
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static inline void put_source(const row *r) {
  char name[32], local[32];
  content_name(r, name);
  local_name(r, local);
  unsigned char *data = server_content(name, r->size, 0);
  FILE *f = fopen(in_world(local), "wb");
  if (f == NULL || fwrite(data, 1, r->size, f) != r->size) abort();
  fclose(f);
  free(data);
}

/* The fourth failure in a row is waited out for so long that the state it
   leaves is the one that is looked at in the end. */
static inline void begin(row *r) {
  char options[600], url[4096], local[32], sha256[100] = "";
  const char *more = r->options[0] == '{' ? r->options + 1 : "}";
  make_url(r, url);
  local_name(r, local);
  if (strcmp(r->options, "sha256") == 0) {
    char name[32], hex[65];
    content_name(r, name);
    unsigned char *data = server_content(name, r->size, 0);
    hex_of(data, r->size, hex);
    free(data);
    snprintf(sha256, sizeof sha256, ",'sha256':'%s'", hex);
  }
  const char *durable =
      strstr(more, "durability") == NULL ? ",'durability':'none'" : "";
  snprintf(options, sizeof options,
           "{'name':'row %u','type':'%s','proxy':'','retry_delay':600"
           "%s%s%s%s%s%s",
           r->host, is_upload(r) ? "upload" : "download",
           faults_ca[0] != '\0' ? ",'cacert':'" : "", faults_ca,
           faults_ca[0] != '\0' ? "'" : "", durable, more[0] == '}' ? "" : ",",
           more);
  if (is_upload(r)) put_source(r);
  r->job = make_job(manager, options);
  value *v =
      json_of("{'url':'%s','path':'%s'%s}", url, in_world(local), sha256);
  CHECK(is_fine(bits_job_add_file(r->job, v)));
  value_free(v);
  CHECK(is_fine(bits_job_resume(r->job)));
}

static inline void remember(row *r) {
  uint32_t code;
  value *v = bits_job_error(r->job, &code);
  const value *why = v != NULL ? value_get(v, "message") : NULL;
  if (why != NULL && r->why[0] == '\0')
    snprintf(r->why, sizeof r->why, "%s", why->as.string.data);
  value_free(v);
}

/* True: it is over, or has been told often enough. */
static inline bool step(row *r) {
  if (r->job == NULL) return false;
  bits_state state = bits_job_state(r->job);
  if (state == BITS_TRANSFERRED || state == BITS_ERROR) {
    r->over = state;
    return true;
  }
  if (state != BITS_TRANSIENT_ERROR) return false;
  if (strncmp(r->wanted, "again", 5) == 0 && r->resumes == PATIENCE) {
    r->over = state;
    return true;
  }
  if (r->resumes++ == 0) remember(r);
  error *e = bits_job_resume(r->job);
  error_unref(e); /* it may be over meanwhile */
  return false;
}

/* Until no more than so many are left. */
static inline void go_on(unsigned most) {
  unsigned left = 0;
  for (unsigned i = 0; i < row_count; i++) left += rows[i].over == BITS_QUEUED;
  for (int n = 0; left > most && n < 60000; n++) {
    for (unsigned i = 0; i < row_count; i++)
      if (rows[i].over == BITS_QUEUED && step(&rows[i])) left--;
    usleep(1000);
  }
  for (unsigned i = 0; left > most && i < row_count; i++)
    if (rows[i].over == BITS_QUEUED && rows[i].job != NULL) {
      check_bad++;
      printf("\"%s\" never ends: it is in state %d\n", rows[i].name,
             (int)bits_job_state(rows[i].job));
    }
}

static inline void differs(const row *r, const char *what, const char *is,
                           const char *should) {
  check_bad++;
  printf("\"%s\": %s is %s, not %s\n", r->name, what, is, should);
}

static inline char *whole_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  char *data = malloc(1 << 20);
  *size = 0;
  if (f == NULL || data == NULL) {
    free(data);
    return NULL;
  }
  *size = fread(data, 1, 1 << 20, f);
  fclose(f);
  return data;
}

static inline void check_nothing_appeared(const row *r) {
  char local[32];
  local_name(r, local);
  if (!is_upload(r) && is_there(local))
    differs(r, "a file that is not whole", "there", "nowhere");
}

static inline void end_all(void) {
  for (unsigned i = 0; i < row_count; i++) {
    uint32_t code;
    char local[32];
    error *e = bits_job_cancel(rows[i].job, &code);
    error_unref(e); /* it was completed */
    bits_job_unref(rows[i].job);
    local_name(&rows[i], local);
    unlink(in_world(local));
  }
  server_reset();
}

#endif
