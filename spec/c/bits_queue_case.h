/*
** What tests of the queue share: a directory, rows, and a way to hold what is
** in a queue against what should be.
*/
#ifndef SAROS_BITS_QUEUE_CASE_H
#define SAROS_BITS_QUEUE_CASE_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bits/bits.h"
#include "bits/queue_parts.h"
#include "gate.h"

static char queue_folder[200], queue_path[300];

static inline void folder_empty(const char *path) {
  DIR *d = opendir(path);
  const struct dirent *entry;
  while (d != NULL && (entry = readdir(d)) != NULL)
    if (entry->d_name[0] != '.') unlinkat(dirfd(d), entry->d_name, 0);
  if (d != NULL) closedir(d);
}

static inline void folder_remove(void) {
  folder_empty(queue_folder);
  rmdir(queue_folder);
}

/* Only of the process that made it. */
static pid_t folder_owner;
static inline void folder_leave(void) {
  if (getpid() == folder_owner) folder_remove();
}

/* In memory where there is such a place: what is synced there takes no time. */
static inline void folder_make(void) {
  const char *room = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(queue_folder, sizeof queue_folder, "%s/saros-queue-XXXXXX", room);
  if (mkdtemp(queue_folder) == NULL) abort();
  snprintf(queue_path, sizeof queue_path, "%s/queue.db", queue_folder);
  folder_owner = getpid();
  atexit(folder_leave);
}

static inline const char *beside(const char *suffix) {
  static char path[8][400];
  static int next;
  char *at = path[next++ % 8];
  snprintf(at, sizeof path[0], "%s%s", queue_path, suffix);
  return at;
}

static inline bool is_there(const char *suffix) {
  struct stat st;
  return lstat(beside(suffix), &st) == 0;
}

/* The first name in the folder that begins with the queue's and this. */
static inline bool find_beside(const char *prefix, char *suffix, size_t size) {
  char begins[300];
  snprintf(begins, sizeof begins, "queue.db%s", prefix);
  DIR *d = opendir(queue_folder);
  const struct dirent *entry;
  bool found = false;
  while (d != NULL && !found && (entry = readdir(d)) != NULL) {
    found = strncmp(entry->d_name, begins, strlen(begins)) == 0;
    if (found) snprintf(suffix, size, "%s", entry->d_name + 8);
  }
  if (d != NULL) closedir(d);
  return found;
}

static inline void put_bytes(const char *path, const buffer *b) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK_INT(write(fd, b->data, b->size), (ssize_t)b->size);
  close(fd);
}

static inline void get_bytes(const char *path, buffer *b) {
  char room[65536];
  ssize_t n;
  int fd = open(path, O_RDONLY);
  while (fd >= 0 && (n = read(fd, room, sizeof room)) > 0)
    buffer_put(b, room, (size_t)n);
  if (fd >= 0) close(fd);
}

/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

static inline bool is_fine(error *e) {
  if (e != NULL) printf("%s (0x%x)\n", e->message, e->code);
  error_unref(e);
  return e == NULL;
}

/* As owner, sound, or the test has failed. */
static inline bits_queue *open_sound_queue(void) {
  bool owner = true;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(queue_path, &owner, &told, &e);
  CHECK(is_fine(told));
  CHECK(is_fine(e));
  CHECK(q == NULL || owner);
  return q;
}

/* The code with which it is refused; 0: it was opened, and is closed. */
static inline uint32_t refused(const char *path, bool wish, buffer *why) {
  bool owner = wish;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(path, &owner, &told, &e);
  uint32_t code = e != NULL ? e->code : 0;
  if (e != NULL && why != NULL) {
    buffer_clear(why);
    buffer_text(why, e->message);
  }
  error_unref(told);
  error_unref(e);
  bits_queue_close(q);
  return code;
}

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

static inline const char *guid_of(int64_t id) {
  static char text[8][37];
  static int next;
  char *at = text[next++ % 8];
  snprintf(at, 37, "%08llx-0000-4000-8000-%012llx",
           (unsigned long long)(id * 2654435761 % 0xFFFFFFFF),
           (unsigned long long)id);
  return at;
}

static inline bool put_job(bits_queue *q, int64_t id, int state) {
  char properties[64];
  snprintf(properties, sizeof properties, "{\"name\":\"job %lld\"}",
           (long long)id);
  queue_job row = {.id = id,
                   .guid = guid_of(id),
                   .state = state,
                   .type = BITS_DOWNLOAD,
                   .priority = BITS_NORMAL,
                   .properties = properties};
  return is_fine(bits_queue_put_job(q, &row));
}

static inline bool put_file(bits_queue *q, int64_t of, uint32_t number,
                            int64_t have) {
  char url[100], path[100], known[300];
  snprintf(url, sizeof url, "https://example.com/%lld/file-%u.bin",
           (long long)of, number);
  snprintf(path, sizeof path, "/srv/mirror/%lld/file-%u.bin", (long long)of,
           number);
  snprintf(known, sizeof known,
           "{\"etag\":\"\\\"%lld-%u-%lld\\\"\",\"total\":4096,\"boot\":"
           "\"11111111-2222-3333-4444-555555555555\",\"durable\":%lld}",
           (long long)of, number, (long long)have, (long long)have);
  queue_file row = {.job = of,
                    .number = number,
                    .url = url,
                    .path = path,
                    .state = have >= 4096 ? BITS_FILE_DONE : BITS_FILE_WAITS,
                    .marks = BITS_FILE_VERIFIED,
                    .have = have,
                    .size = 4096,
                    .known = have > 0 ? known : NULL,
                    .extra = number % 7 == 3 ? "{\"sha256\":\"00\"}" : NULL};
  return is_fine(bits_queue_put_file(q, &row));
}

/* What was loaded, as one text, and counted. */
typedef struct loaded {
  buffer text;
  int jobs, files, orphans, torn;
  int64_t last_have;
} loaded;

static inline error *load_job(void *context, const queue_job *row) {
  loaded *l = context;
  l->jobs++;
  l->torn += row->torn;
  buffer_format(&l->text, "job %lld %s %d %d %d %s\n", (long long)row->id,
                row->guid, row->state, row->type, row->priority,
                row->properties);
  return NULL;
}

static inline error *load_file(void *context, const queue_file *row) {
  loaded *l = context;
  l->files++;
  l->last_have = row->have;
  buffer_format(&l->text, "file %lld %u %s %s %d %u %lld %lld %s %s\n",
                (long long)row->job, row->number, row->url, row->path,
                row->state, row->marks, (long long)row->have,
                (long long)row->size, row->known != NULL ? row->known : "-",
                row->extra != NULL ? row->extra : "-");
  return NULL;
}

static inline error *load_orphan(void *context, const queue_orphan *row) {
  loaded *l = context;
  l->orphans++;
  buffer_format(&l->text, "orphan %lld %s\n", (long long)row->id, row->what);
  return NULL;
}

static inline bool load(bits_queue *q, loaded *l) {
  static const queue_calls calls = {load_job, load_file, load_orphan};
  buffer_free(&l->text);
  memset(l, 0, sizeof *l);
  return is_fine(bits_queue_load(q, &calls, l));
}

/* A few jobs with their files, in one transaction. */
static inline void fill(bits_queue *q, int jobs, int files) {
  CHECK(is_fine(bits_queue_begin(q, false)));
  for (int i = 1; i <= jobs; i++) {
    CHECK(put_job(q, i, BITS_SUSPENDED));
    for (int j = 0; j < files; j++) CHECK(put_file(q, i, (uint32_t)j, j * 10));
  }
  CHECK(is_fine(bits_queue_commit(q)));
}

/* Something that only SQLite itself can do to a queue that is closed. */
static inline bool sqlite_does(const char *sql) {
  sqlite3 *db = NULL;
  char *said = NULL;
  int r = sqlite3_open(queue_path, &db);
  if (r == SQLITE_OK) r = sqlite3_exec(db, sql, NULL, NULL, &said);
  if (r != SQLITE_OK) printf("%s: %s\n", sql, said != NULL ? said : "?");
  sqlite3_free(said);
  sqlite3_close(db);
  return r == SQLITE_OK;
}

/* ------------------------------------------------------------------
** Other processes
** ---------------------------------------------------------------- */

/* A child that does this, and says with one byte when it may be looked at;
   then it waits to be killed. */
static inline pid_t child_that(void (*does)(int tell)) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) abort();
  pid_t child = fork();
  if (child == 0) {
    alarm(60);
    close(ends[0]);
    does(ends[1]);
    for (;;) pause();
  }
  close(ends[1]);
  char byte;
  CHECK_INT(read(ends[0], &byte, 1), 1);
  close(ends[0]);
  return child;
}

static inline void child_end(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
}

#endif
