/*
** The fault table (spec/bits_faults.txt), each row through a job of its own,
*all
** of them at once; and a storm: plans by chance, from a seed. What is called
** whole is compared byte by byte. A job that waits to try again is told to do
*so
** at once.
**
** not under valgrind: a hundred and fifty jobs, and their time-outs
*/
#include <openssl/evp.h>

#include "bits_case.h"
#include "bits_server_case.h"

#define ROWS 300
#define SIZE 20000u
#define PATIENCE 3 /* so often it is told where it shall always be so */

typedef enum outcome { WHOLE, ERRONEOUS, AGAIN } outcome;

typedef struct row {
  char name[64], query[200], options[200], wanted[200];
  unsigned host;
  bits_job *job;
  bits_state over; /* BITS_QUEUED: not yet */
  unsigned resumes;
} row;

static row rows[ROWS];
static unsigned row_count;
static bits_manager *manager;

/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

static char *trim(char *text) {
  text += strspn(text, " \t");
  size_t size = strlen(text);
  while (size > 0 && strchr(" \t\n", text[size - 1]) != NULL) size--;
  text[size] = '\0';
  return text;
}

static void read_row(char *line) {
  row *r = &rows[row_count];
  char *rest = line, *part[4];
  for (int i = 0; i < 4; i++) {
    char *text = strsep(&rest, "|");
    if (text == NULL) abort();
    part[i] = trim(text);
  }
  memset(r, 0, sizeof *r);
  snprintf(r->name, sizeof r->name, "%s", part[0]);
  snprintf(r->query, sizeof r->query, "%s", part[1]);
  snprintf(r->options, sizeof r->options, "%s", part[2]);
  snprintf(r->wanted, sizeof r->wanted, "%s", part[3]);
  r->host = ++row_count;
}

static void read_table(void) {
  FILE *f = fopen("spec/bits_faults.txt", "r");
  char line[600];
  row_count = 0;
  if (f == NULL) abort();
  while (fgets(line, sizeof line, f) != NULL && row_count < ROWS)
    if (strchr(line, '|') != NULL && line[0] != '#') read_row(line);
  fclose(f);
}

/* "gets=2" of the outcome; false: it says nothing of it. */
static bool wants(const row *r, const char *name, char *text, size_t size) {
  char key[32];
  snprintf(key, sizeof key, " %s=", name);
  const char *at = strstr(r->wanted, key);
  if (at == NULL) return false;
  at += strlen(key);
  snprintf(text, size, "%.*s", (int)strcspn(at, " "), at);
  return true;
}

static long wants_number(const row *r, const char *name, long usual) {
  char text[32];
  return wants(r, name, text, sizeof text) ? strtol(text, NULL, 0) : usual;
}

static bool wants_word(const row *r, const char *word) {
  const char *at = strstr(r->wanted, word);
  return at != NULL && (at[strlen(word)] == ' ' || at[strlen(word)] == '\0');
}

/* ------------------------------------------------------------------
** A job
** ---------------------------------------------------------------- */

static bool is_upload(const row *r) {
  return strncmp(r->query, "put:", 4) == 0;
}

static void make_url(const row *r, char url[4096]) {
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
  snprintf(path, sizeof path, "%s%s/r%u.?size=%u&%s", before,
           is_upload(r) ? "u" : "f", r->host, SIZE, first);
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

static void content_name(const row *r, char name[32]) {
  snprintf(name, 32, "r%u.", r->host);
}

static void local_name(const row *r, char name[32]) {
  snprintf(name, 32, "row-%u", r->host);
}

static void hex_of(const void *data, size_t size, char hex[65]) {
  unsigned char digest[32];
  unsigned used = 32;
  EVP_Digest(data, size, digest, &used, EVP_sha256(), NULL);
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static void put_source(const row *r) {
  char name[32], local[32];
  content_name(r, name);
  local_name(r, local);
  unsigned char *data = server_content(name, SIZE, 0);
  FILE *f = fopen(in_world(local), "wb");
  if (f == NULL || fwrite(data, 1, SIZE, f) != SIZE) abort();
  fclose(f);
  free(data);
}

static void begin(row *r) {
  char options[600], url[4096], local[32], sha256[100] = "";
  const char *more = r->options[0] == '{' ? r->options + 1 : "}";
  make_url(r, url);
  local_name(r, local);
  if (strcmp(r->options, "sha256") == 0) {
    char name[32], hex[65];
    content_name(r, name);
    unsigned char *data = server_content(name, SIZE, 0);
    hex_of(data, SIZE, hex);
    free(data);
    snprintf(sha256, sizeof sha256, ",'sha256':'%s'", hex);
  }
  snprintf(options, sizeof options,
           "{'name':'row %u','type':'%s','durability':'none','proxy':'',"
           "'retry_delay':5,'cacert':'%s'%s%s",
           r->host, is_upload(r) ? "upload" : "download", faults_ca,
           more[0] == '}' ? "" : ",", more);
  if (is_upload(r)) put_source(r);
  r->job = make_job(manager, options);
  value *v =
      json_of("{'url':'%s','path':'%s'%s}", url, in_world(local), sha256);
  CHECK(is_fine(bits_job_add_file(r->job, v)));
  value_free(v);
  CHECK(is_fine(bits_job_resume(r->job)));
}

/* True: it is over, or has been told often enough. */
static bool step(row *r) {
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
  r->resumes++;
  error *e = bits_job_resume(r->job);
  error_unref(e); /* it may be over meanwhile */
  return false;
}

static void run_all(void) {
  unsigned left = row_count;
  for (unsigned i = 0; i < row_count; i++) begin(&rows[i]);
  for (int n = 0; left > 0 && n < 60000; n++) {
    for (unsigned i = 0; i < row_count; i++)
      if (rows[i].over == BITS_QUEUED && step(&rows[i])) left--;
    usleep(1000);
  }
  for (unsigned i = 0; i < row_count; i++)
    if (rows[i].over == BITS_QUEUED) {
      check_bad++;
      printf("\"%s\" never ends: it is in state %d\n", rows[i].name,
             (int)bits_job_state(rows[i].job));
    }
}

/* ------------------------------------------------------------------
** What became of it
** ---------------------------------------------------------------- */

static void differs(const row *r, const char *what, const char *is,
                    const char *should) {
  check_bad++;
  printf("\"%s\": %s is %s, not %s\n", r->name, what, is, should);
}

static void check_long(const row *r, const char *what, long is, long should) {
  char a[32], b[32];
  if (is == should) return;
  snprintf(a, sizeof a, what[0] == 'c' ? "0x%lX" : "%ld", (unsigned long)is);
  snprintf(b, sizeof b, what[0] == 'c' ? "0x%lX" : "%ld",
           (unsigned long)should);
  differs(r, what, a, b);
}

static char *whole_file(const char *path, size_t *size) {
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

static void check_content(const row *r, long version, long size, bool zip) {
  char name[32], local[32], hex[65] = "", what[200];
  size_t have;
  content_name(r, name);
  local_name(r, local);
  char *data = whole_file(in_world(local), &have);
  if (data == NULL) {
    differs(r, "the file", "not there", "whole");
    return;
  }
  hex_of(data, have, hex);
  snprintf(what, sizeof what, "!sha256/%s?size=%ld&version=%ld%s", name, size,
           version, zip ? "&gzip" : "");
  char *right = server_told(what);
  if (strcmp(right, hex) != 0) {
    snprintf(what, sizeof what, "%zu other bytes", have);
    differs(r, "the file", what, "what the server has");
  }
  free(right);
  free(data);
}

static void check_stored(const row *r) {
  char name[32], what[100], hex[65], right[100];
  content_name(r, name);
  unsigned char *data = server_content(name, SIZE, 0);
  hex_of(data, SIZE, hex);
  free(data);
  snprintf(what, sizeof what, "!stored/%s", name);
  snprintf(right, sizeof right, "%u %s", SIZE, hex);
  char *stored = server_told(what);
  if (strcmp(stored, right) != 0) differs(r, "what is stored", stored, right);
  free(stored);
}

static bool file_says(const row *r, const char *what) {
  value *files = bits_job_files(r->job, 0, 1);
  const value *file =
      files != NULL && files->count > 0 ? files->as.items[0] : NULL;
  const value *v = file != NULL ? value_get(file, what) : NULL;
  bool says = v != NULL && v->type == VALUE_BOOL && v->as.boolean;
  value_free(files);
  return says;
}

static void check_whole(const row *r) {
  uint32_t code = 1, flags, win32, transport, retries;
  bool unproven = file_says(r, "unproven");
  if (unproven != wants_word(r, "unproven"))
    differs(r, "it", unproven ? "unproven" : "proven", "that");
  CHECK_INT(bits_job_get_status(r->job, &flags, &win32, &transport, &retries),
            0);
  CHECK(flags == 0x04 && win32 == 0 && transport == 0 && retries == 0);
  CHECK(is_fine(bits_job_complete(r->job, &code)));
  CHECK_INT(code, 0);
  if (is_upload(r) && !wants_word(r, "nothing"))
    check_stored(r);
  else if (!is_upload(r))
    check_content(r, wants_number(r, "version", 0),
                  wants_number(r, "size", SIZE), wants_word(r, "gzip"));
}

static long field(const value *v, const char *name) {
  const value *item = v != NULL ? value_get(v, name) : NULL;
  return item != NULL && item->type == VALUE_INT ? (long)item->as.integer : -1;
}

static void check_error(const row *r, bool again) {
  uint32_t code = 0, flags, win32 = 0, transport = 0, retries;
  value *v = bits_job_error(r->job, &code);
  const value *message = v != NULL ? value_get(v, "message") : NULL;
  if (message == NULL || message->type != VALUE_STRING ||
      strlen(message->as.string.data) < 10)
    differs(r, "the error", "without a sentence", "with one");
  CHECK_INT(bits_job_get_status(r->job, &flags, &win32, &transport, &retries),
            0);
  check_long(r, "code", field(v, "code"), wants_number(r, "code", -1));
  check_long(r, "context", field(v, "context"),
             wants_number(r, "context", field(v, "context")));
  check_long(r, "transport", transport, wants_number(r, "transport", 0));
  check_long(r, "win32", win32, wants_number(r, "win32", win32));
  check_long(r, "flags", flags, again ? 0x18 : 0x10);
  value_free(v);
}

static void check_asked(const row *r) {
  char what[100], wanted[64];
  const char *method = is_upload(r) ? "PUT" : "GET";
  snprintf(what, sizeof what, "!count?of=/r%u.&method=%s", r->host, method);
  char *count = server_told(what);
  long gets = wants_number(r, "gets", -1);
  if (gets >= 0) check_long(r, "gets", strtol(count, NULL, 10), gets);
  free(count);
  if (!wants(r, "range", wanted, sizeof wanted)) return;
  snprintf(what, sizeof what, "!range?of=/r%u.&method=%s", r->host, method);
  char *range = server_told(what);
  if (strcmp(range, wanted) != 0) differs(r, "the last range", range, wanted);
  free(range);
}

static void check_nothing_appeared(const row *r) {
  char local[32];
  local_name(r, local);
  if (!is_upload(r) && is_there(local))
    differs(r, "a file that is not whole", "there", "nowhere");
}

static void check_row(const row *r) {
  static const char *const words[] = {"whole", "error", "again"};
  bits_state states[] = {BITS_TRANSFERRED, BITS_ERROR, BITS_TRANSIENT_ERROR};
  int wanted = -1, is = -1;
  for (int i = 0; i < 3; i++) {
    if (strncmp(r->wanted, words[i], strlen(words[i])) == 0) wanted = i;
    if (r->over == states[i]) is = i;
  }
  if (wanted < 0) abort();
  check_nothing_appeared(r);
  if (is != wanted) {
    value *v = bits_job_status(r->job);
    buffer text = BUFFER_EMPTY;
    json_write(&text, v, JSON_COMPACT);
    differs(r, "it", is < 0 ? "nothing" : words[is], words[wanted]);
    printf("    %s\n", text.data != NULL ? text.data : "");
    buffer_free(&text);
    value_free(v);
  }
  if (is == 0)
    check_whole(r);
  else if (is == wanted)
    check_error(r, is == 2);
  if (is == wanted) check_asked(r);
}

static void end_all(void) {
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

TEST(the_table) {
  read_table();
  run_all();
  for (unsigned i = 0; i < row_count; i++) check_row(&rows[i]);
  end_all();
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!faults_start(true) || s.more[1] == 0) {
    printf("0 passed, 0 failed, 1 skipped\n");
    faults_stop();
    return 0;
  }
  world_make();
  manager = open_queue("{\"connections\":64}");
  GATE_RUN(the_table);
  shut_queue(manager);
  http_settle();
  faults_stop();
  return check_end();
}
