/*
** Uploads in parts to a real S3 server: Ceph's. Only with SAROS_LONG=1 and
** where its packages are (spec/deps s3); spec/s3/up starts it. Killed at random
** a hundred times: the object is whole, and no upload is left.
**
** not under valgrind: it has a real server; ASan runs the same elsewhere
** not under thread: it forks, and its children have threads
*/
#include "bits/job_parts.h"
#include "bits/s3_upload.h"
#include "bits_case.h"
#include "bits_server_case.h"

#define SIZE ((size_t)26 << 20) /* six parts of 5 MiB */
#define OLD 4 /* seconds that it may take to begin an upload, at most */

static char ceph_folder[64], access_key[64], secret_key[64];

static bool start_ceph(void) {
  char command[200];
  int osd;
  strcpy(ceph_folder, "/tmp/saros-ceph-XXXXXX");
  if (mkdtemp(ceph_folder) == NULL) return false;
  snprintf(command, sizeof command, "spec/s3/up %s/ceph", ceph_folder);
  FILE *f = popen(command, "r");
  int n = f != NULL ? fscanf(f, "%d %63s %63s %d", &s.port, access_key,
                             secret_key, &osd)
                    : 0;
  return f != NULL && pclose(f) == 0 && n == 4;
}

static void stop_ceph(void) {
  char command[200];
  snprintf(command, sizeof command, "spec/s3/down %s/ceph", ceph_folder);
  if (ceph_folder[0] == '\0' || system(command) != 0)
    printf("could not stop it\n");
  rmdir(ceph_folder);
}

/* ------------------------------------------------------------------
** What is there, asked by requests of our own
** ---------------------------------------------------------------- */

static bits_terms *keys(void) {
  bits_terms *t = bits_terms_new();
  mem_free(t->proxy);
  t->proxy = mem_text("");
  t->s3_key = mem_text(access_key);
  t->s3_secret = mem_text(secret_key);
  return t;
}

/* Its status; what came is in the buffer of `t`. */
static unsigned ask_ceph(const char *method, const char *path,
                         const char *query, told *t) {
  bits_terms *terms = keys();
  bits_s3_place place;
  bits_s3_letter l;
  char url[300];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", s.port, path);
  bits_s3_place_begin(&place, terms, url);
  CHECK(bits_s3_write(
      &place, terms,
      &(bits_s3_ask){.method = method, .url = url, .query = query}, &l));
  http_ask ask = {.method = method, .fields = l.fields, .field_count = l.count};
  http_request *r = go(l.url, &ask, t);
  unsigned status = t->status;
  http_unref(r);
  bits_s3_letter_free(&l);
  bits_s3_place_end(&place);
  bits_terms_unref(terms);
  return status;
}

static bool any_upload(void) {
  told t;
  CHECK_INT(ask_ceph("GET", "uploads", "uploads=", &t), 200);
  bool any = t.body.data == NULL || strstr(t.body.data, "<Upload>") != NULL;
  buffer_free(&t.body);
  return any;
}

static bool is_stored(const char *name, size_t size) {
  told t;
  char path[64];
  snprintf(path, sizeof path, "uploads/%s", name);
  bool same = ask_ceph("GET", path, NULL, &t) == 200 &&
              is_content(t.body.data, t.body.size, name, size, 0);
  if (!same) printf("%s: %u, %zu bytes\n", name, t.status, t.body.size);
  buffer_free(&t.body);
  return same;
}

/* ------------------------------------------------------------------
** Killed
** ---------------------------------------------------------------- */

static void add_object(bits_job *j, const char *name) {
  char path[100];
  snprintf(path, sizeof path, "uploads/%s", name);
  CHECK(add_file(j, at(path), name));
}

static bits_job *make_upload(bits_manager *m, const char *name) {
  bits_job *j = make_job(m,
                         "{'type':'upload','part_size':5242880,'proxy':'',"
                         "'retry_delay':0,"
                         "'s3':{'reference':'env:SAROS_TEST_KEYS'}}");
  add_object(j, name);
  return j;
}

static _Noreturn void child(const char *name) {
  alarm(120);
  s3_orphan_age = OLD;
  bits_retry_least_ms = 20;
  bits_manager *m = open_queue("{}");
  size_t count;
  bits_job **jobs = bits_manager_jobs(m, &count);
  bits_job *j = count > 0 ? jobs[0] : make_upload(m, name);
  if (j->file_count == 0) add_object(j, name); /* killed just then */
  if (bits_job_state(j) == BITS_SUSPENDED && !is_fine(bits_job_resume(j)))
    _exit(3);
  for (bits_state state; (state = bits_job_state(j)) != BITS_TRANSFERRED;) {
    if (state == BITS_ERROR) _exit(4);
    usleep(1000);
  }
  shut_queue(m);
  _exit(0);
}

static int end_of(pid_t pid) {
  int status;
  while (waitpid(pid, &status, 0) != pid) continue;
  return status;
}

static pid_t begin_child(const char *name) {
  pid_t pid = fork();
  if (pid == 0) child(name);
  return pid;
}

TEST(killed_a_hundred_times) {
  uint64_t random = gate_seed("uploads");
  unsigned kills = 0, files = 0;
  told t;
  char both[200];
  CHECK_INT(ask_ceph("PUT", "uploads", NULL, &t), 200);
  buffer_free(&t.body);
  snprintf(both, sizeof both, "%s\n%s\n", access_key, secret_key);
  setenv("SAROS_TEST_KEYS", both, 1);
  while (kills < 100 && files < 60) {
    char name[32];
    snprintf(name, sizeof name, "file%u", files++);
    unsigned char *data = server_content(name, SIZE, 0);
    FILE *f = fopen(in_world(name), "wb");
    CHECK(f != NULL && fwrite(data, 1, SIZE, f) == SIZE);
    if (f != NULL) fclose(f);
    free(data);
    world_next();
    int status = -1;
    for (unsigned n = 0; n < 8 && status != 0; n++) {
      pid_t pid = begin_child(name);
      usleep((1 + gate_below(&random, 300)) * 1000);
      kill(pid, SIGKILL);
      status = end_of(pid);
      kills += status != 0;
    }
    if (status != 0) CHECK_INT(end_of(begin_child(name)), 0);
    CHECK(is_stored(name, SIZE));
    unlink(in_world(name));
    s3_orphan_age = OLD;
    bits_manager *m = open_queue("{}");
    AWAIT(!any_upload());
    shut_queue(m);
    http_settle();
  }
  printf("%u files, killed %u times\n", files, kills);
  CHECK(kills >= 100);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  if (getenv("SAROS_LONG") == NULL) {
    printf("SKIPPED: only with SAROS_LONG=1\n");
    check_skipped++;
  } else if (!start_ceph()) {
    printf("SKIPPED: there is no Ceph here (spec/deps s3)\n");
    check_skipped++;
    stop_ceph();
  } else {
    RUN(killed_a_hundred_times);
    stop_ceph();
  }
  return check_end();
}
