/*
** The transfer queue: made, written, read; who may open it, and what is
** refused.
*/
#include "bits_queue_case.h"

/* ------------------------------------------------------------------
** Made
** ---------------------------------------------------------------- */

TEST(made_when_there_is_none) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  struct stat st;
  static const char *const all[] = {"", "-wal", "-shm", ".owner"};
  for (int i = 0; i < 4; i++) {
    CHECK_INT(lstat(beside(all[i]), &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
  }
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.jobs + l.files + l.orphans, 0);
  bits_queue_close(q);
  CHECK(!is_there(".new"));
  CHECK(!is_there("-wal"));
  bits_queue_close(open_sound_queue());
}

TEST(rows_come_back_as_they_were_put) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  loaded before = {0}, after = {0};
  fill(q, 3, 20);
  queue_orphan orphan = {.what = "{\"upload\":\"x\"}"}, other = orphan;
  CHECK(is_fine(bits_queue_begin(q, true)));
  CHECK(is_fine(bits_queue_put_orphan(q, &orphan)));
  CHECK(is_fine(bits_queue_put_orphan(q, &other)));
  CHECK(is_fine(bits_queue_put_setting(q, "limits", "{\"down\":1}")));
  CHECK(is_fine(bits_queue_commit(q)));
  CHECK(orphan.id > 0 && other.id > orphan.id);
  CHECK(load(q, &before));
  CHECK_INT(before.jobs, 3);
  CHECK_INT(before.files, 60);
  CHECK_INT(before.orphans, 2);
  CHECK(strstr(before.text.data,
               "file 3 3 https://example.com/3/file-3.bin "
               "/srv/mirror/3/file-3.bin 0 2 30 4096 {") != NULL);
  bits_queue_close(q);
  q = open_sound_queue();
  CHECK(load(q, &after));
  CHECK_TEXT(after.text.data, before.text.data);
  buffer b = BUFFER_EMPTY;
  CHECK(is_fine(bits_queue_get_setting(q, "limits", &b)));
  CHECK_TEXT(b.data, "{\"down\":1}");
  buffer_clear(&b);
  CHECK(is_fine(bits_queue_get_setting(q, "other", &b)));
  CHECK_INT(b.size, 0);
  buffer_free(&b);
  bits_queue_close(q);
  buffer_free(&before.text);
  buffer_free(&after.text);
}

TEST(rows_are_changed_and_dropped) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  loaded l = {0};
  fill(q, 3, 5);
  CHECK(is_fine(bits_queue_begin(q, false)));
  CHECK(put_job(q, 2, BITS_TRANSFERRED));
  CHECK(put_file(q, 2, 4, 4096));
  CHECK(is_fine(bits_queue_drop_file(q, 2, 0)));
  CHECK(is_fine(bits_queue_drop_job(q, 3)));
  queue_orphan orphan = {.what = "{}"};
  CHECK(is_fine(bits_queue_put_orphan(q, &orphan)));
  CHECK(is_fine(bits_queue_drop_orphan(q, orphan.id)));
  CHECK(is_fine(bits_queue_commit(q)));
  CHECK(load(q, &l));
  CHECK_INT(l.jobs, 2);
  CHECK_INT(l.files, 9);
  CHECK_INT(l.orphans, 0);
  CHECK_INT(l.last_have, 4096);
  /* What is undone never was. */
  CHECK(is_fine(bits_queue_begin(q, false)));
  CHECK(is_fine(bits_queue_drop_job(q, 1)));
  bits_queue_undo(q);
  loaded again = {0};
  CHECK(load(q, &again));
  CHECK_TEXT(again.text.data, l.text.data);
  bits_queue_undo(q); /* once more is no harm */
  /* A guid is one job's. */
  CHECK(is_fine(bits_queue_begin(q, false)));
  queue_job same = {.id = 9, .guid = guid_of(1), .properties = "{}"};
  error *e = bits_queue_put_job(q, &same);
  CHECK(e != NULL);
  error_unref(e);
  bits_queue_undo(q);
  /* Without begin nothing is written. */
  e = bits_queue_drop_job(q, 1);
  CHECK(e != NULL);
  error_unref(e);
  bits_queue_close(q);
  buffer_free(&l.text);
  buffer_free(&again.text);
}

/* Paths are bytes. */
TEST(bytes_that_are_no_text) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  loaded l = {0};
  queue_file row = {.job = 1,
                    .url = "https://example.com/%FF",
                    .path = "/srv/\xFF\xC0\x80/\xE2\x82\xAC",
                    .size = -1};
  CHECK(is_fine(bits_queue_begin(q, false)));
  CHECK(put_job(q, 1, BITS_QUEUED));
  CHECK(is_fine(bits_queue_put_file(q, &row)));
  CHECK(is_fine(bits_queue_commit(q)));
  bits_queue_close(q);
  q = open_sound_queue();
  CHECK(load(q, &l));
  CHECK(strstr(l.text.data, " /srv/\xFF\xC0\x80/\xE2\x82\xAC 0 0 0 -1 - -") !=
        NULL);
  bits_queue_close(q);
  buffer_free(&l.text);
}

static error *stop_at_file(void *context, const queue_file *row) {
  (void)row;
  ++*(int *)context;
  return error_make(SAROS_FACADE_BITS, BG_E_TOO_LARGE, "enough");
}

TEST(loading_stops_with_an_error_of_the_caller) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 2);
  static const queue_calls calls = {.file = stop_at_file};
  int count = 0;
  error *e = bits_queue_load(q, &calls, &count);
  CHECK(e != NULL && e->code == BG_E_TOO_LARGE);
  CHECK_INT(count, 1);
  error_unref(e);
  loaded l = {0};
  CHECK(load(q, &l)); /* and goes on as if nothing had been */
  CHECK_INT(l.files, 4);
  fill(q, 2, 3);
  bits_queue_close(q);
  buffer_free(&l.text);
}


/* ------------------------------------------------------------------
** Refused
** ---------------------------------------------------------------- */

static void write_bytes(const char *path, const char *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK_INT(write(fd, bytes, size), (ssize_t)size);
  close(fd);
}

TEST(places_that_cannot_be) {
  buffer why = BUFFER_EMPTY;
  char path[400];
  snprintf(path, sizeof path, "%s/none/queue.db", queue_folder);
  CHECK(refused(path, true, &why) != 0);
  CHECK(strstr(why.data, "does not exist") != NULL);
  CHECK(refused("/proc/self/status/queue.db", true, NULL) != 0);
  CHECK(refused(queue_folder, true, &why) != 0);
  CHECK(strstr(why.data, "not a file") != NULL);
  CHECK(refused("/", true, NULL) != 0);
  CHECK(refused("", true, NULL) != 0);
  CHECK(refused("/tmp/..", true, NULL) != 0);
  CHECK_INT(refused("/proc/saros-queue.db", true, &why) != 0, 1);
  memset(path, 'x', sizeof path - 1);
  path[sizeof path - 1] = '\0';
  CHECK(refused(path, true, NULL) != 0);
  buffer_free(&why);
}

TEST(symbolic_links_are_not_followed) {
  static const char *const all[] = {"", "-wal", "-shm", ".owner", "-journal"};
  buffer why = BUFFER_EMPTY;
  char target[400];
  snprintf(target, sizeof target, "%s/victim", queue_folder);
  for (int i = 0; i < 5; i++) {
    folder_empty(queue_folder);
    CHECK_INT(symlink(target, beside(all[i])), 0);
    CHECK_INT(refused(queue_path, true, &why), SAROS_E_REFUSED);
    CHECK(strstr(why.data, "symbolic link") != NULL);
    CHECK(access(target, F_OK) != 0);
  }
  /* But where the directory is may be said by one. */
  folder_empty(queue_folder);
  char link[300], through[400];
  snprintf(link, sizeof link, "%s/link", queue_folder);
  CHECK_INT(symlink(".", link), 0);
  snprintf(through, sizeof through, "%s/queue.db", link);
  CHECK_INT(refused(through, true, NULL), 0);
  CHECK(is_there(".owner"));
  buffer_free(&why);
}

TEST(what_is_no_queue_stays_as_it_is) {
  buffer why = BUFFER_EMPTY;
  folder_empty(queue_folder);
  char thesis[9000];
  memset(thesis, 'T', sizeof thesis);
  write_bytes(queue_path, thesis, sizeof thesis);
  CHECK_INT(refused(queue_path, true, &why), SAROS_E_INVALIDARG);
  CHECK(strstr(why.data, "no queue") != NULL);
  CHECK_INT(refused(queue_path, false, &why), SAROS_E_INVALIDARG);
  CHECK(!is_there(".owner"));
  struct stat st;
  CHECK(lstat(queue_path, &st) == 0 && st.st_size == sizeof thesis);
  folder_empty(queue_folder);
  CHECK(sqlite_does("PRAGMA journal_mode = WAL; CREATE TABLE letters(a)"));
  CHECK_INT(refused(queue_path, true, &why), SAROS_E_INVALIDARG);
  CHECK(!is_there(".owner"));
  /* A newer one, and a file without a byte. */
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  CHECK(sqlite_does("PRAGMA user_version = 2"));
  CHECK_INT(refused(queue_path, true, &why), SAROS_E_REFUSED);
  CHECK(strstr(why.data, "newer") != NULL);
  CHECK_INT(refused(queue_path, false, &why), SAROS_E_REFUSED);
  CHECK(sqlite_does("PRAGMA user_version = 1"));
  bits_queue_close(open_sound_queue());
  folder_empty(queue_folder);
  write_bytes(queue_path, "", 0);
  bits_queue_close(open_sound_queue());
  buffer_free(&why);
}

TEST(another_users_is_refused) {
  if (geteuid() != 0) SKIP("only root can give files away");
  static const char *const all[] = {"", "-wal", ".owner"};
  buffer why = BUFFER_EMPTY;
  for (int i = 0; i < 3; i++) {
    folder_empty(queue_folder);
    bits_queue_close(open_sound_queue());
    if (i == 1) write_bytes(beside("-wal"), "x", 1);
    CHECK_INT(chown(beside(all[i]), 65534, 65534), 0);
    CHECK_INT(refused(queue_path, true, &why), SAROS_E_ACCESSDENIED);
    CHECK(strstr(why.data, "another user") != NULL);
    CHECK_INT(refused(queue_path, false, &why), SAROS_E_ACCESSDENIED);
  }
  buffer_free(&why);
}

/* As somebody who may not, in a process of his own. */
static int in_anothers_shoes(void) {
  buffer why = BUFFER_EMPTY;
  check_bad = 0;
  if (setgid(65534) != 0 || setuid(65534) != 0) return 1;
  CHECK_INT(refused(queue_path, true, &why), SAROS_E_ACCESSDENIED);
  CHECK(strstr(why.data, "may not write") != NULL);
  buffer_free(&why);
  return check_bad > 0;
}

TEST(a_directory_that_is_not_ours) {
  if (geteuid() != 0) SKIP("only root can be somebody else");
  folder_empty(queue_folder);
  CHECK_INT(chmod(queue_folder, 0755), 0);
  pid_t child = fork();
  if (child == 0) _exit(in_anothers_shoes());
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK_INT(chmod(queue_folder, 0700), 0);
}

TEST(others_may_not_read_it) {
  folder_empty(queue_folder);
  bits_queue_close(open_sound_queue());
  CHECK_INT(chmod(queue_path, 0666), 0);
  bits_queue_close(open_sound_queue());
  struct stat st;
  CHECK(lstat(queue_path, &st) == 0 && (st.st_mode & 07777) == 0600);
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

/* Wherever memory runs out: an error, nothing left behind, and the next time it
   works. */
TEST(memory_runs_out) {
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  fill(q, 2, 2);
  bits_queue_close(q);
  long before = mem_blocks();
  bool failed = true;
  for (long n = 1; failed && n < 1000; n++) {
    mem_fail_at(n);
    bool owner = true;
    error *told = NULL, *e = NULL;
    q = bits_queue_open(queue_path, &owner, &told, &e);
    failed = mem_fail_left() == 0;
    mem_fail_at(0);
    CHECK(q != NULL || (e != NULL && e->code == SAROS_E_OUTOFMEMORY));
    bits_queue_close(q);
    error_unref(told);
    error_unref(e);
    CHECK_INT(mem_blocks(), before);
  }
  CHECK(!failed);
  loaded l = {0};
  q = open_sound_queue();
  CHECK(load(q, &l));
  CHECK_INT(l.files, 4);
  bits_queue_close(q);
  buffer_free(&l.text);
}


/* ------------------------------------------------------------------
** Much
** ---------------------------------------------------------------- */

static double cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The figures are for who asks (SAROS_TIMES=1); no test depends on them. */
TEST(many_rows) {
  bool tells = getenv("SAROS_TIMES") != NULL;
  uint32_t files = gate_is_quick ? 500 : 20000;
  folder_empty(queue_folder);
  bits_queue *q = open_sound_queue();
  for (int round = 0; round < 2; round++) {
    double before = cpu();
    CHECK(is_fine(bits_queue_begin(q, false)));
    CHECK(put_job(q, 1, BITS_QUEUED));
    for (uint32_t i = 0; i < files; i++)
      CHECK(put_file(q, 1, i, round * 100 + 1));
    CHECK(is_fine(bits_queue_commit(q)));
    if (tells)
      printf("%u rows, %s: %.1f ms\n", files, round == 0 ? "new" : "changed",
             (cpu() - before) * 1e3);
  }
  double before = cpu();
  loaded l = {0};
  CHECK(load(q, &l));
  CHECK_INT(l.files, files);
  if (tells) printf("load: %.1f ms\n", (cpu() - before) * 1e3);
  before = cpu();
  for (uint32_t i = 0; i < files / 2; i++) {
    CHECK(is_fine(bits_queue_begin(q, false)));
    CHECK(put_file(q, 1, i * 7919 % files, 500));
    CHECK(is_fine(bits_queue_commit(q)));
  }
  if (tells)
    printf("%u commits of one row: %.1f us each\n", files / 2,
           (cpu() - before) / (files / 2) * 1e6);
  bits_queue_close(q);
  before = cpu();
  q = open_sound_queue();
  if (tells) printf("open: %.1f ms\n", (cpu() - before) * 1e3);
  bits_queue_close(q);
  buffer_free(&l.text);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  folder_make();
  GATE_RUN(made_when_there_is_none);
  GATE_RUN(rows_come_back_as_they_were_put);
  GATE_RUN(rows_are_changed_and_dropped);
  GATE_RUN(bytes_that_are_no_text);
  GATE_RUN(loading_stops_with_an_error_of_the_caller);
  GATE_RUN(places_that_cannot_be);
  GATE_RUN(symbolic_links_are_not_followed);
  GATE_RUN(what_is_no_queue_stays_as_it_is);
  GATE_RUN(another_users_is_refused);
  GATE_RUN(a_directory_that_is_not_ours);
  GATE_RUN(others_may_not_read_it);
  GATE_RUN(memory_runs_out);
  GATE_RUN(many_rows);
  return check_end();
}
