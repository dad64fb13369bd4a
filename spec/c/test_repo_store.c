/*
** The local store: what it makes of names, files and folders, and what it says
** when a disk is full, fails, is read-only, or is gone.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "gate.h"
#include "repository/store/local_parts.h"
#include "store_case.h"

static repo_store *open_new(store_place *p) {
  store_place_make(p);
  repo_store *s = store_open_at(store_path(p, "r"));
  CHECK_INT(store_code(s->way->create(s)), 0);
  return s;
}

static void end(repo_store *s, store_place *p) {
  repo_store_close(s);
  store_place_end(p);
}

static mode_t mode_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static const char *pack_path(const store_place *p, const repo_id *id) {
  char text[REPO_ID_TEXT], below[100];
  repo_id_format(id, text);
  snprintf(below, sizeof below, "r/data/%.2s/%s", text, text);
  return store_path(p, below);
}

static const char *file_path(const store_place *p, const char *folder,
                             const repo_id *id) {
  char text[REPO_ID_TEXT], below[100];
  repo_id_format(id, text);
  snprintf(below, sizeof below, "r/%s/%s", folder, text);
  return store_path(p, below);
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  if (fd >= 0) close(fd);
}

static bool holds(repo_store *s, repo_file kind, const repo_id *id,
                  const char *text) {
  buffer b = BUFFER_EMPTY;
  uint64_t size = 0;
  char part[3] = "";
  CHECK_INT(store_code(s->way->load(s, kind, id, 1000, &b, NULL)), 0);
  CHECK_INT(store_code(s->way->size(s, kind, id, &size, NULL)), 0);
  CHECK_INT(store_code(s->way->read(s, kind, id, 1, 2, part, NULL)), 0);
  bool good = b.size == strlen(text) && memcmp(b.data, text, b.size) == 0 &&
              size == b.size && memcmp(part, text + 1, 2) == 0;
  buffer_free(&b);
  return good;
}

static long entries(const char *path) {
  return gate_entries(path);
}


/* ------------------------------------------------------------------
** What it does
** ---------------------------------------------------------------- */

static void round_trip(void) {
  store_place p;
  repo_id ids[REPO_FILES], none;
  uint64_t size;
  repo_store *s = open_new(&p);
  for (int kind = REPO_CONFIG; kind < REPO_FILES; kind++)
    CHECK_INT(
        store_code(store_put(s, (repo_file)kind, "what it is", &ids[kind])), 0);
  for (int kind = REPO_CONFIG; kind < REPO_FILES; kind++) {
    CHECK(holds(s, (repo_file)kind, &ids[kind], "what it is"));
    if (kind != REPO_CONFIG) CHECK_INT(store_count(s, (repo_file)kind), 1);
  }
  CHECK_INT(mode_of(pack_path(&p, &ids[REPO_PACKS])), 0400);
  CHECK_INT(mode_of(store_path(&p, "r/config")), 0400);
  CHECK_INT(entries(store_path(&p, "r/keys")), 1); /* and no other name */
  CHECK_INT(entries(store_path(&p, "r")), 6);
  for (int kind = REPO_CONFIG; kind < REPO_FILES; kind++) {
    CHECK_INT(store_code(s->way->remove(s, (repo_file)kind, &ids[kind], NULL)),
              0);
    CHECK_INT(store_code(s->way->remove(s, (repo_file)kind, &ids[kind], NULL)),
              0);
    CHECK_INT(
        store_number(s->way->size(s, (repo_file)kind, &ids[kind], &size, NULL)),
        ENOENT);
  }
  memset(&none, 7, sizeof none);
  char byte;
  CHECK_INT(store_number(s->way->read(s, REPO_PACKS, &none, 0, 1, &byte, NULL)),
            ENOENT);
  end(s, &p);
}

TEST(round_trip) {
  round_trip();
}

TEST(round_trip_with_temporary_names) {
  repo_local_plain = true;
  round_trip();
  repo_local_plain = false;
}

TEST(many_pieces) {
  enum { PIECES = 3000 };
  static char bytes[PIECES * 3];
  static repo_piece pieces[PIECES];
  store_place p;
  repo_id id;
  buffer b = BUFFER_EMPTY;
  size_t used = 0;
  repo_store *s = open_new(&p);
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
  for (size_t i = 0; i < PIECES; i++) {
    pieces[i] = (repo_piece){bytes + used, i % 5}; /* some are empty */
    used += i % 5;
  }
  repo_id_of(&id, bytes, used);
  CHECK_INT(
      store_code(s->way->save(s, REPO_PACKS, &id, pieces, PIECES, false, NULL)),
      0);
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, &id, used, &b, NULL)), 0);
  CHECK(b.size == used && memcmp(b.data, bytes, used) == 0);
  buffer_free(&b);
  end(s, &p);
}

/* What others have put there: editors, copying programs, people. */
TEST(junk_is_passed_over) {
  store_place p;
  repo_id id, empty, moved;
  char text[REPO_ID_TEXT], below[200];
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(store_code(store_put(s, REPO_INDEXES, "one", &id)), 0);
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "one", &id)), 0);
  repo_id_format(&id, text);
  write_file(store_path(&p, "r/index/notes.txt"), "x");
  write_file(store_path(&p, "r/data/stray"), "x");
  snprintf(below, sizeof below, "r/index/%s-tmp-1234", text);
  write_file(store_path(&p, below), "x");
  snprintf(below, sizeof below, "r/index/%.60sABCD", text);
  write_file(store_path(&p, below), "x");
  memset(&moved, 0x55, sizeof moved); /* a pack in another's folder */
  repo_id_format(&moved, text);
  snprintf(below, sizeof below, "r/data/66/%s", text);
  write_file(store_path(&p, below), "x");
  snprintf(below, sizeof below, "r/index/%s", text);
  CHECK_INT(mkdir(store_path(&p, below), 0700), 0);
  CHECK_INT(mkdir(store_path(&p, "r/data/abc"), 0700), 0);
  memset(&empty, 0x77, sizeof empty);
  write_file(file_path(&p, "locks", &empty), "");
  write_file(file_path(&p, "snapshots", &empty), "");
  CHECK_INT(store_count(s, REPO_PACKS), 1);
  CHECK_INT(store_count(s, REPO_INDEXES), 1);
  CHECK_INT(store_count(s, REPO_LOCKS), 1);
  CHECK_INT(store_count(s, REPO_SNAPSHOTS), 1);
  end(s, &p);
}

/* git keeps no empty directories, and so do many who copy. */
TEST(missing_folders_are_made) {
  store_place p;
  repo_id id;
  store_place_make(&p);
  CHECK_INT(mkdir(store_path(&p, "r"), 0700), 0);
  repo_store *s = store_open_at(store_path(&p, "r"));
  for (int kind = REPO_KEYS; kind < REPO_FILES; kind++)
    CHECK_INT(store_count(s, (repo_file)kind), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "one", &id)), 0);
  CHECK_INT(store_count(s, REPO_PACKS), 1);
  CHECK_INT(mode_of(store_path(&p, "r/locks")), 0700);
  end(s, &p);
}

TEST(modes_are_the_config_s) {
  store_place p;
  repo_id id;
  mode_t before = umask(077);
  repo_store *s = open_new(&p);
  write_file(store_path(&p, "r/config"), "config");
  chmod(store_path(&p, "r/config"), 0440);
  CHECK_INT(rmdir(store_path(&p, "r/locks")), 0);
  CHECK_INT(chmod(store_path(&p, "r"), 02770), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(mode_of(pack_path(&p, &id)), 0440);
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "one", &id)), 0);
  CHECK_INT(mode_of(store_path(&p, "r/locks")), 02770);
  umask(before);
  end(s, &p);
}

TEST(what_is_there_stays) {
  store_place p;
  repo_id id;
  struct stat first, second;
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(stat(pack_path(&p, &id), &first), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(stat(pack_path(&p, &id), &second), 0);
  CHECK_INT(second.st_ino, first.st_ino);
  /* Cut off, as some file systems leave it when a machine fails. */
  chmod(pack_path(&p, &id), 0600);
  write_file(pack_path(&p, &id), "on");
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK(holds(s, REPO_PACKS, &id, "one"));
  CHECK_INT(store_count(s, REPO_PACKS), 1);
  end(s, &p);
}

static void config_is_not_replaced(void) {
  store_place p;
  repo_piece one = {"one", 3}, two = {"two", 3};
  repo_store *s = open_new(&p);
  CHECK_INT(
      store_code(s->way->save(s, REPO_CONFIG, NULL, &one, 1, false, NULL)), 0);
  CHECK_INT(
      store_number(s->way->save(s, REPO_CONFIG, NULL, &two, 1, false, NULL)),
      EEXIST);
  CHECK(holds(s, REPO_CONFIG, NULL, "one"));
  CHECK_INT(store_code(s->way->save(s, REPO_CONFIG, NULL, &two, 1, true, NULL)),
            0);
  CHECK(holds(s, REPO_CONFIG, NULL, "two"));
  CHECK_INT(entries(store_path(&p, "r")), 6);
  end(s, &p);
}

TEST(config_is_not_replaced) {
  config_is_not_replaced();
  repo_local_plain = true;
  config_is_not_replaced();
  repo_local_plain = false;
}

TEST(create_refuses_what_is_there) {
  static const repo_file kinds[] = {REPO_CONFIG, REPO_KEYS, REPO_SNAPSHOTS};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    store_place p;
    repo_id id;
    repo_store *s = open_new(&p);
    CHECK_INT(store_code(s->way->create(s)), 0); /* still empty */
    CHECK_INT(store_code(store_put(s, kinds[i], "one", &id)), 0);
    CHECK_INT(store_code(s->way->create(s)), SAROS_E_REFUSED);
    end(s, &p);
  }
}

TEST(create_makes_the_way_there) {
  store_place p;
  store_place_make(&p);
  repo_store *s = store_open_at(store_path(&p, "a/b/c"));
  CHECK_INT(store_code(s->way->create(s)), 0);
  CHECK_INT(entries(store_path(&p, "a/b/c/data")), 256);
  end(s, &p);
}

TEST(relative_to_where_it_was_opened) {
  store_place p;
  char before[4096];
  repo_id id;
  CHECK(getcwd(before, sizeof before) != NULL);
  store_place_make(&p);
  CHECK_INT(chdir(p.path), 0);
  repo_store *s = store_open_at("./x//r/");
  CHECK_TEXT(s->location, "./x//r/");
  CHECK_INT(chdir(before), 0);
  CHECK_INT(store_code(s->way->create(s)), 0);
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "one", &id)), 0);
  CHECK_INT(entries(store_path(&p, "x/r/locks")), 1);
  end(s, &p);
}

TEST(locations) {
  error *e;
  repo_store *s = repo_store_open("local:/nowhere/at/all", NULL, &e);
  CHECK(s != NULL && strcmp(s->way->name, "local") == 0);
  repo_store_close(s);
  CHECK(repo_store_open("", NULL, &e) == NULL);
  CHECK_INT(store_code(e), SAROS_E_INVALIDARG);
  /* What follows may be a password. */
  CHECK(repo_store_open("sftp://me:hunter2@host/", NULL, &e) == NULL);
  CHECK(e != NULL && strstr(e->message, "hunter2") == NULL);
  CHECK(store_says(e, "there is no store sftp:"));
}


/* ------------------------------------------------------------------
** What is wrong with a file
** ---------------------------------------------------------------- */

TEST(short_and_long_files) {
  store_place p;
  repo_id id;
  char bytes[10];
  buffer b = BUFFER_EMPTY;
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "12345", &id)), 0);
  CHECK(store_says(s->way->read(s, REPO_PACKS, &id, 2, 4, bytes, NULL),
                   "ends after 5 bytes, and 6 are needed"));
  CHECK_INT(
      store_code(s->way->read(s, REPO_PACKS, &id, 1u << 30, 1, bytes, NULL)),
      SAROS_E_DAMAGED);
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, &id, 4, &b, NULL)),
            SAROS_E_DAMAGED);
  CHECK_INT(b.size, 0);
  buffer_put(&b, "x", 1); /* it is appended */
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, &id, 5, &b, NULL)), 0);
  CHECK_TEXT(b.data, "x12345");
  buffer_free(&b);
  end(s, &p);
}

/* Nobody writes into it: opened plainly it would keep us waiting for ever. */
TEST(a_fifo_is_no_pack) {
  store_place p;
  repo_id id;
  char byte;
  memset(&id, 0x33, sizeof id);
  repo_store *s = open_new(&p);
  CHECK_INT(mkfifo(pack_path(&p, &id), 0600), 0);
  CHECK_INT(store_code(s->way->read(s, REPO_PACKS, &id, 0, 1, &byte, NULL)),
            SAROS_E_DAMAGED);
  CHECK_INT(store_count(s, REPO_PACKS), 0);
  end(s, &p);
}

/* Of versions the directory says what is a file; where it does not, or says
   that something else is there, it is looked at. */
TEST(only_files_are_versions) {
  store_place p;
  char name[80];
  repo_id id;
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_SNAPSHOTS, "one", &id)), 0);
  for (int i = 0; i < 3; i++) {
    memset(name, 'a' + i, sizeof name);
    snprintf(name, 13, "r/snapshots/");
    name[12] = (char)('a' + i);
    name[76] = '\0';
    const char *path = store_path(&p, name);
    if (i == 0) CHECK_INT(mkfifo(path, 0600), 0);
    if (i == 1) CHECK_INT(mkdir(path, 0700), 0);
    if (i == 2) CHECK_INT(symlink("../config", path), 0); /* not there */
  }
  CHECK_INT(store_count(s, REPO_SNAPSHOTS), 1);
  CHECK_INT(store_code(store_put(s, REPO_SNAPSHOTS, "two", &id)), 0);
  CHECK_INT(store_count(s, REPO_SNAPSHOTS), 2);
  end(s, &p);
}

static bool at_once(const repo_stop *stop) {
  (void)stop;
  return true;
}

TEST(stopped) {
  static const repo_stop stop = {at_once};
  store_place p;
  repo_id id;
  long count = 0;
  repo_piece piece = {"one", 3};
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "two", &id)), 0);
  repo_id_of(&id, "one", 3);
  CHECK_INT(
      store_code(s->way->save(s, REPO_LOCKS, &id, &piece, 1, false, &stop)),
      SAROS_E_CANCELLED);
  CHECK_INT(
      store_code(s->way->list(s, REPO_LOCKS, store_count_one, &count, &stop)),
      SAROS_E_CANCELLED);
  CHECK_INT(entries(store_path(&p, "r/locks")), 1);
  end(s, &p);
}

static error *enough(void *context, const repo_id *id, uint64_t size) {
  (void)id, (void)size;
  ++*(long *)context;
  return repo_error(SAROS_E_FAIL, "enough");
}

TEST(an_error_ends_a_listing) {
  store_place p;
  repo_id id;
  long count = 0;
  repo_store *s = open_new(&p);
  for (int i = 0; i < 20; i++) {
    char text[2] = {(char)('a' + i), '\0'};
    CHECK_INT(store_code(store_put(s, REPO_PACKS, text, &id)), 0);
  }
  CHECK_INT(store_code(s->way->list(s, REPO_PACKS, enough, &count, NULL)),
            SAROS_E_FAIL);
  CHECK_INT(count, 1);
  CHECK_INT(store_count(s, REPO_PACKS), 20);
  end(s, &p);
}


/* ------------------------------------------------------------------
** What is wrong with a disk
** ---------------------------------------------------------------- */

/* Whatever fails in the middle: it says so, nothing of it is left, and the next
   time it works. */
static void fails_with(int number, const char *says) {
  store_place p;
  repo_id id;
  repo_store *s = open_new(&p);
  repo_local_fault = number;
  CHECK(store_says(store_put(s, REPO_PACKS, "one", &id), says));
  CHECK_INT(repo_local_fault, 0);
  CHECK_INT(store_count(s, REPO_PACKS), 0);
  char text[REPO_ID_TEXT], below[40];
  repo_id_format(&id, text);
  snprintf(below, sizeof below, "r/data/%.2s", text);
  CHECK_INT(entries(store_path(&p, below)), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK(holds(s, REPO_PACKS, &id, "one"));
  end(s, &p);
}

TEST(it_says_what_to_do) {
  for (int plain = 0; plain < 2; plain++) {
    repo_local_plain = plain != 0;
    fails_with(ENOSPC, "make room there");
    fails_with(EDQUOT, "make room there");
    fails_with(EIO, "the kernel's log");
    fails_with(EROFS, "mounted read-only");
    fails_with(ESTALE, "its file system is gone");
    fails_with(ENODEV, "its file system is gone");
  }
  repo_local_plain = false;
}

/* In a child with mounts of its own: 0 when all was as it should be. */
static int in_child_with_mounts(int (*body)(const store_place *p)) {
  store_place p;
  store_place_make(&p);
  CHECK_INT(mkdir(store_path(&p, "m"), 0700), 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int bad = check_bad;
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("saros", store_path(&p, "m"), "tmpfs", 0, "size=2m") != 0)
      _exit(77);
    int r = body(&p);
    fflush(stdout);
    _exit(r != 0 || check_bad != bad);
  }
  int status = -1;
  waitpid(child, &status, 0);
  store_place_end(&p);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define WITH_MOUNTS(body)                                                \
  do {                                                                   \
    int r = in_child_with_mounts(body);                                  \
    if (r == 77) SKIP("mounting needs root, in a namespace of its own"); \
    CHECK_INT(r, 0);                                                     \
  } while (0)

static int full_disk(const store_place *p) {
  static char bytes[256 << 10];
  repo_piece piece = {bytes, sizeof bytes};
  repo_id id;
  error *e = NULL;
  repo_store *s = store_open_at(store_path(p, "m/r"));
  CHECK_INT(store_code(s->way->create(s)), 0);
  long stored = 0;
  for (; e == NULL && stored < 100; stored++) {
    bytes[0] = (char)stored;
    repo_id_of(&id, bytes, sizeof bytes);
    e = s->way->save(s, REPO_PACKS, &id, &piece, 1, false, NULL);
  }
  CHECK(e != NULL && e->code == code_of_errno(ENOSPC));
  CHECK(store_says(e, "make room there"));
  CHECK_INT(store_count(s, REPO_PACKS), stored - 1);
  /* What is removed makes room again: nothing without a name takes it. */
  bytes[0] = 0;
  repo_id_of(&id, bytes, sizeof bytes);
  CHECK_INT(store_code(s->way->remove(s, REPO_PACKS, &id, NULL)), 0);
  CHECK_INT(
      store_code(s->way->save(s, REPO_PACKS, &id, &piece, 1, false, NULL)), 0);
  repo_store_close(s);
  return 0;
}

TEST(disk_full) {
  WITH_MOUNTS(full_disk);
}

static int read_only(const store_place *p) {
  repo_id id, other;
  repo_store *s = store_open_at(store_path(p, "m/r"));
  CHECK_INT(store_code(s->way->create(s)), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(mount(NULL, store_path(p, "m"), NULL, MS_REMOUNT | MS_RDONLY, NULL),
            0);
  CHECK(holds(s, REPO_PACKS, &id, "one"));
  CHECK_INT(store_count(s, REPO_PACKS), 1);
  CHECK_INT(store_number(store_put(s, REPO_PACKS, "two", &other)), EROFS);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(store_number(s->way->remove(s, REPO_PACKS, &id, NULL)), EROFS);
  repo_store_close(s);
  return 0;
}

TEST(mounted_read_only) {
  WITH_MOUNTS(read_only);
}

/* The directory below the mount must get nothing. */
static int taken_away(const store_place *p) {
  repo_id id, one;
  buffer b = BUFFER_EMPTY;
  long count = 0;
  char place[300];
  snprintf(place, sizeof place, "%s", store_path(p, "m"));
  repo_store *s = store_open_at(place);
  CHECK_INT(store_code(s->way->create(s)), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &one)), 0);
  CHECK_INT(umount2(place, MNT_DETACH), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "two", &id)), SAROS_E_CHANGED);
  CHECK_INT(store_code(s->way->remove(s, REPO_PACKS, &id, NULL)),
            SAROS_E_CHANGED);
  CHECK_INT(
      store_code(s->way->list(s, REPO_PACKS, store_count_one, &count, NULL)),
      SAROS_E_CHANGED);
  CHECK_INT(count, 0);
  CHECK_INT(entries(place), 0);
  /* What was there can be read, and of what was not it is said why. */
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, &one, 100, &b, NULL)), 0);
  CHECK_TEXT(b.data, "one");
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, &id, 100, &b, NULL)),
            SAROS_E_CHANGED);
  buffer_free(&b);
  /* Something else in its place. */
  CHECK_INT(mount("other", place, "tmpfs", 0, NULL), 0);
  CHECK(store_says(store_put(s, REPO_PACKS, "two", &id),
                   "something was mounted there"));
  CHECK_INT(entries(place), 0);
  repo_store_close(s);
  return 0;
}

TEST(mount_taken_away) {
  WITH_MOUNTS(taken_away);
}

TEST(directory_renamed) {
  store_place p;
  repo_id id;
  repo_store *s = open_new(&p);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(rename(store_path(&p, "r"), store_path(&p, "elsewhere")), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "two", &id)), SAROS_E_CHANGED);
  CHECK_INT(rename(store_path(&p, "elsewhere"), store_path(&p, "r")), 0);
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "two", &id)), 0);
  end(s, &p);
}

TEST(not_there) {
  store_place p;
  repo_id id;
  long count = 0;
  store_place_make(&p);
  repo_store *s = store_open_at(store_path(&p, "none"));
  CHECK_INT(store_number(store_put(s, REPO_PACKS, "one", &id)), ENOENT);
  CHECK_INT(
      store_number(s->way->list(s, REPO_PACKS, store_count_one, &count, NULL)),
      ENOENT);
  end(s, &p);
}


/* ------------------------------------------------------------------
** Kills, threads, memory
** ---------------------------------------------------------------- */

static error *is_whole(void *context, const repo_id *id, uint64_t size) {
  repo_store *s = context;
  buffer b = BUFFER_EMPTY;
  repo_id is;
  CHECK_INT(store_code(s->way->load(s, REPO_PACKS, id, 1u << 20, &b, NULL)), 0);
  repo_id_of(&is, b.data, b.size);
  CHECK(repo_id_equal(&is, id));
  CHECK_INT(b.size, size);
  buffer_free(&b);
  return NULL;
}

/* Stores until it is killed. */
static void store_for_ever(repo_store *s, int tell, uint64_t seed) {
  static char bytes[64 << 10];
  for (uint64_t n = 0;; n++) {
    repo_id id;
    size_t size = 1 + gate_random(&seed) % sizeof bytes;
    for (size_t i = 0; i < size; i += 8) {
      uint64_t r = gate_random(&seed);
      memcpy(bytes + i, &r, size - i < 8 ? size - i : 8);
    }
    repo_piece pieces[2] = {{bytes, size / 2},
                            {bytes + size / 2, size - size / 2}};
    repo_id_of(&id, bytes, size);
    error_unref(s->way->save(s, REPO_PACKS, &id, pieces, 2, false, NULL));
    if (write(tell, "x", 1) != 1) _exit(1);
  }
}

TEST(killed_while_it_stores) {
  store_place p;
  repo_store *s = open_new(&p);
  long rounds = gate_loops(60), before = 0;
  for (long i = 0; i < rounds; i++) {
    int fds[2];
    char byte;
    repo_local_plain = i % 2 != 0;
    CHECK_INT(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0) store_for_ever(s, fds[1], (uint64_t)i);
    close(fds[1]);
    for (long k = 0; k <= i % 7; k++) CHECK_INT(read(fds[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(fds[0]);
    long now = store_count(s, REPO_PACKS);
    CHECK(now > before);
    before = now;
  }
  repo_local_plain = false;
  CHECK_INT(store_code(s->way->list(s, REPO_PACKS, is_whole, s, NULL)), 0);
  end(s, &p);
}

typedef struct storm {
  repo_store *s;
  _Atomic int next;
} storm;

static void *stores_and_looks(void *argument) {
  storm *all = argument;
  uint64_t seed = (uint64_t)all->next++;
  for (long i = 0; i < gate_loops(200); i++) {
    char text[16];
    repo_id id;
    long count = 0;
    snprintf(text, sizeof text, "no %u", (unsigned)gate_random(&seed) % 60);
    CHECK_INT(store_code(store_put(all->s, REPO_INDEXES, text, &id)), 0);
    CHECK(holds(all->s, REPO_INDEXES, &id, text));
    if (i % 8 == 0)
      CHECK_INT(store_code(all->s->way->list(all->s, REPO_INDEXES,
                                             store_count_one, &count, NULL)),
                0);
  }
  return NULL;
}

TEST(many_threads) {
  enum { THREADS = 6 };
  pthread_t threads[THREADS];
  store_place p;
  storm all = {.s = open_new(&p)};
  for (int i = 0; i < THREADS; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, stores_and_looks, &all), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK(store_count(all.s, REPO_INDEXES) <= 60);
  CHECK_INT(entries(store_path(&p, "r/index")),
            store_count(all.s, REPO_INDEXES));
  end(all.s, &p);
}

TEST(without_memory) {
  store_place p;
  long before = mem_blocks();
  repo_store *good = open_new(&p);
  for (long n = 1; n < 40; n++) {
    error *e = NULL;
    repo_id id;
    buffer b = BUFFER_EMPTY;
    mem_fail_at(n);
    repo_store *s = repo_store_open(store_path(&p, "r"), NULL, &e);
    if (s != NULL) e = store_put(s, REPO_KEYS, "one", &id);
    if (e == NULL) e = s->way->load(s, REPO_KEYS, &id, 1000, &b, NULL);
    if (e == NULL) e = s->way->remove(s, REPO_KEYS, &id, NULL);
    mem_fail_at(0);
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
    buffer_free(&b);
    repo_store_close(s);
  }
  end(good, &p);
  CHECK_INT(mem_blocks(), before);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  GATE_RUN(round_trip);
  GATE_RUN(round_trip_with_temporary_names);
  GATE_RUN(many_pieces);
  GATE_RUN(junk_is_passed_over);
  GATE_RUN(missing_folders_are_made);
  GATE_RUN(modes_are_the_config_s);
  GATE_RUN(what_is_there_stays);
  GATE_RUN(config_is_not_replaced);
  GATE_RUN(create_refuses_what_is_there);
  GATE_RUN(create_makes_the_way_there);
  GATE_RUN(relative_to_where_it_was_opened);
  GATE_RUN(locations);
  GATE_RUN(short_and_long_files);
  GATE_RUN(a_fifo_is_no_pack);
  GATE_RUN(only_files_are_versions);
  GATE_RUN(stopped);
  GATE_RUN(an_error_ends_a_listing);
  GATE_RUN(it_says_what_to_do);
  GATE_RUN(disk_full);
  GATE_RUN(mounted_read_only);
  GATE_RUN(mount_taken_away);
  GATE_RUN(directory_renamed);
  GATE_RUN(not_there);
  GATE_RUN(killed_while_it_stores);
  GATE_RUN(many_threads);
  GATE_RUN(without_memory);
  return check_end();
}
