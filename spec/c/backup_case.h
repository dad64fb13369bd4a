/*
** backup_case: what the suites about backups share: a place below the root
** directory, whose own directories nobody else changes; a tree with everything
** that a file system may hold; backups from options as JSON; and restic, asked
** what it finds.
*/
#ifndef SAROS_BACKUP_CASE_H
#define SAROS_BACKUP_CASE_H

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "gate.h"
#include "repository/backup_parts.h"
#include "repository/repo_parts.h"
#include "restic_case.h"
#include "store_case.h"

#define PASSWORD "x"

static store_place place;

/* A folder that no sibling of ours shares: the version has the metadata of all
   directories above what it holds. */
static inline void place_make(void) {
  strcpy(place.path,
         geteuid() == 0 ? "/saros-spec-XXXXXX" : "/tmp/saros-spec-XXXXXX");
  CHECK(mkdtemp(place.path) != NULL);
  /* What is made later would change the directory that has them. */
  static const char *const names[] = {"src", "tmp", "shadow", "r", "other"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char path[100];
    snprintf(path, sizeof path, "%s/%s", place.path, names[i]);
    CHECK(mkdir(path, 0755) == 0);
  }
}

static inline void place_end(void) {
  if (place.path[0] != '\0') store_place_end(&place);
  place.path[0] = '\0';
}

static inline const char *at(const char *below) {
  return store_path(&place, below);
}

static inline void put_bytes(const char *below, const void *data, size_t size) {
  int fd = open(at(below), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  if (fd >= 0) close(fd);
}

static inline void put_text(const char *below, const char *text) {
  put_bytes(below, text, strlen(text));
}

/* `seed` says which bytes. */
static inline void put_random(const char *below, uint64_t seed, size_t size) {
  uint64_t *data = malloc(size + 8);
  for (size_t i = 0; i <= size / 8; i++) data[i] = gate_random(&seed);
  put_bytes(below, data, size);
  free(data);
}

static inline void put_time(const char *below, time_t seconds, long nanos) {
  struct timespec t[2] = {{seconds, nanos}, {seconds, nanos}};
  CHECK(utimensat(AT_FDCWD, at(below), t, AT_SYMLINK_NOFOLLOW) == 0);
}

static inline void make_directory(const char *below) {
  CHECK(mkdir(at(below), 0755) == 0);
}


/* ------------------------------------------------------------------
** Everything
** ---------------------------------------------------------------- */

static inline void put_names(void) {
  static const char *const names[] = {
      "src/plain",       "src/a b",      "src/\xC3\xA9\xE2\x82\xAC",
      "src/bad\xFF\xFE", "src/<&>\"\\'", "src/tab\there\nline\x7F\x01",
      "src/-x",          "src/.hidden",  "src/\xE2\x80\xA8sep",
      "src/B",           "src/a",        "src/\xF0\x9F\x8C\x91"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    put_text(names[i], names[i]);
}

static inline void put_sizes(void) {
  put_text("src/zero", "");
  put_random("src/one chunk", 1, 524288);
  put_random("src/one more", 2, 524289);
  put_random("src/large", 3, 20000001);
  CHECK(truncate(at("src/plain"), 11) == 0);
  put_text("src/hole", "begin");
  CHECK(truncate(at("src/hole"), 9000001) == 0);
  int fd = open(at("src/hole"), O_WRONLY | O_CLOEXEC);
  CHECK(pwrite(fd, "middle", 6, 3333333) == 6);
  close(fd);
  put_text("src/all hole", "");
  CHECK(truncate(at("src/all hole"), 3 << 20) == 0);
  char text[3000];
  memset(text, 'x', sizeof text);
  put_bytes("src/compresses", text, sizeof text);
}

static inline void put_attributes(void) {
  static const unsigned char acl[] = {
      2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
      0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
      6, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
  CHECK(setxattr(at("src/plain"), "user.b", "two", 3, 0) == 0);
  CHECK(setxattr(at("src/plain"), "user.a", "\0\1\377", 3, 0) == 0);
  CHECK(setxattr(at("src/large"), "user.large", "l", 1, 0) == 0);
  CHECK(setxattr(at("src"), "user.folder", "f", 1, 0) == 0);
  if (setxattr(at("src/a"), "system.posix_acl_access", acl, sizeof acl, 0) != 0)
    CHECK_INT(errno, EOPNOTSUPP);
}

static inline void put_kinds(void) {
  CHECK(symlink("plain", at("src/link")) == 0);
  CHECK(symlink("nowhere/\xC3\xA9<", at("src/broken link")) == 0);
  CHECK(mkfifo(at("src/fifo"), 0640) == 0);
  CHECK(link(at("src/plain"), at("src/second name")) == 0);
  CHECK(chmod(at("src/B"), 04755) == 0);
  CHECK(chmod(at("src/a b"), 0) == 0);
  if (geteuid() == 0) {
    CHECK(mknod(at("src/block"), S_IFBLK | 0660, makedev(7, 300)) == 0);
    CHECK(mknod(at("src/character"), S_IFCHR | 0620, makedev(1, 3)) == 0);
    CHECK(chown(at("src/-x"), 12345, 54321) == 0);
  }
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof a.sun_path, "%s", at("src/socket"));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
  close(fd);
}

static inline void put_everything(void) {
  put_names();
  put_sizes();
  put_attributes();
  put_kinds();
  make_directory("src/empty");
  make_directory("src/deep");
  make_directory("src/deep/er");
  make_directory("src/deep/er/still");
  put_text("src/deep/er/still/file", "deep");
  put_text("src/deep/z", "z");
  CHECK(chmod(at("src/deep"), 02750) == 0);
  put_time("src/.hidden", -86400, 123456789);
  put_time("src/zero", (time_t)1 << 32, 5);
  put_time("src/empty", 0, 0);
  put_time("src/link", 1700000000, 120000000);
}


/* ------------------------------------------------------------------
** Backups
** ---------------------------------------------------------------- */

static inline value *json_of(const char *text) {
  error *e = NULL;
  value *v = json_read(text, strlen(text), NULL, &e);
  if (e != NULL) printf("%s: %s\n", text, e->message);
  CHECK(v != NULL);
  error_unref(e);
  return v;
}

/* What is @ in it stands for the place. */
static inline value *options_of(const char *format) {
  buffer b = BUFFER_EMPTY;
  for (; *format != '\0'; format++)
    if (*format == '@')
      buffer_text(&b, place.path);
    else
      buffer_byte(&b, *format);
  value *v = json_of(b.data);
  buffer_free(&b);
  return v;
}

static inline repo *repo_open_at(const char *below) {
  value *o = options_of("{\"password\":\"x\",\"durable\":false}");
  error *e;
  value_put(o, "location", value_text(at(below)));
  repo *r = repo_new(o, &e);
  CHECK(r != NULL);
  error_unref(e);
  value_free(o);
  repo_lock_time.settle = 1;
  return r;
}

/* A repository of this version, whose key costs little. */
static inline repo *repo_made(const char *below, unsigned version) {
  repo *r = repo_open_at(below);
  r->version = version;
  repo_cost_test = &store_cheap;
  CHECK_INT(store_code(repo_create(r, NULL)), 0);
  return r;
}

static inline saros_op *begin(repo *r, const char *options) {
  uint32_t why = 0;
  saros_op *op = repo_call_begin(r, repo_work_find("backup"),
                                 options_of(options), NULL, &why);
  CHECK(op != NULL);
  return op;
}

static inline void show_error(saros_op *op) {
  error *e = op_error(op);
  if (e != NULL) printf("  0x%x %s\n", e->code, e->message);
  error_unref(e);
}

/* The operation, ended, with that code. */
static inline saros_op *backed_up(repo *r, const char *options, uint32_t code) {
  saros_op *op = begin(r, options);
  CHECK(saros_op_wait(op, GATE_BOUND_MS * 10));
  CHECK_INT(saros_op_code(op), code);
  if (saros_op_code(op) != code) show_error(op);
  const value *errors = value_get(op_output(op), "errors");
  for (uint32_t i = 0; code == 0 && errors != NULL && i < errors->count; i++)
    printf("  %s: %s\n",
           value_chars(value_get(errors->as.items[i], "path"), ""),
           value_chars(value_get(errors->as.items[i], "message"), ""));
  return op;
}

static inline int64_t number_in(saros_op *op, const char *name) {
  return value_integer(value_get(op_output(op), name), -1);
}

static inline const char *text_in(saros_op *op, const char *name) {
  return value_chars(value_get(op_output(op), name), "");
}

/* Whether a message that failed says that. */
static inline bool failed_says(saros_op *op, const char *text) {
  error *e = op_error(op);
  bool says = e != NULL && strstr(e->message, text) != NULL;
  if (!says) printf("says: %s\n", e != NULL ? e->message : "nothing");
  error_unref(e);
  return says;
}


/* ------------------------------------------------------------------
** restic
** ---------------------------------------------------------------- */

static inline bool has_restic(void) {
  return system("command -v restic >/dev/null 2>&1") == 0;
}

#define RESTIC "TMPDIR=%s/tmp RESTIC_PASSWORD=x restic --no-cache -q -r "

static inline bool restic_checks(const char *repository) {
  return run_shell(
      NULL,
      RESTIC
      "%s check --read-data >%s/tmp/check 2>&1 || { cat %s/tmp/check; "
      "false; }",
      place.path, at(repository), place.path, place.path);
}

/* The summary of a backup by restic: what it added. */
static inline value *restic_backup(const char *repository,
                                   const char *arguments) {
  char command[1000];
  snprintf(command, sizeof command,
           "cd %s && TMPDIR=%s/tmp RESTIC_PASSWORD=x restic --no-cache -r %s "
           "backup --json %s | tail -n 1",
           at("src"), place.path, at(repository), arguments);
  value *v = restic_json(command);
  CHECK(v != NULL);
  return v;
}

#endif
