/*
** Restoring what restic has backed up: everything is there again, to the byte,
** as restic itself restores it; what is there already is treated as was asked;
** and whatever ends it early, no file is there that is not whole.
**
** not under valgrind: it asks restic; ASan runs it
*/
/* A child that ends has an engine of its own, whose thread is not joined. */
#define GATE_TSAN_OPTIONS "die_after_fork=0:report_thread_leaks=0"

#include <sched.h>
#include <sys/mount.h>

#include "restore_case.h"

static char base[100], origin[120], folder[140];
static repo *opened[3]; /* by the version of the format */

static const char *at(const char *name) {
  static char texts[8][300];
  static unsigned next;
  char *text = texts[next++ % 8];
  snprintf(text, sizeof texts[0], "%s/%s", base, name);
  return text;
}

#define SHELL(...) CHECK(run_shell(NULL, __VA_ARGS__))

/* The default ACL of a directory, and one of a file: user 1234 may read. */
static void set_acl(const char *path, const char *name) {
  static const unsigned char acl[] = {
      2, 0,   0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
      0, 210, 4,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
      4, 0,   255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
  CHECK(lsetxattr(path, name, acl, sizeof acl, 0) == 0);
}

static void set_times(const char *path, int64_t seconds, long ns) {
  struct timespec t[2] = {{seconds, ns}, {seconds, ns}};
  CHECK(utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW) == 0);
}

static void make_source(void) {
  SHELL("mkdir -p '%s/d/sub/empty' '%s/many'", origin, origin);
  SHELL(
      "cd '%s' && head -c 12000000 /dev/urandom >d/large && "
      "head -c 700000 /dev/urandom >part && cat part part part >twice && "
      "ln d/large d/sub/other && ln d/large also && "
      "ln -s d/large link && ln -s 'to \xc3\xa9 nowhere' bad && "
      "mkfifo -m 640 fifo && mknod -m 660 null c 1 3 && "
      "mknod -m 600 disk b 7 77 && : >nothing && ln nothing nothing2 && "
      "truncate -s 20000000 hole && "
      "printf x | dd of=hole bs=1 seek=9000001 conv=notrunc status=none && "
      "printf odd >'new\nline' && printf raw >'raw\xff\x01' && "
      "printf quote >'q\"\\u' && i=0; while [ $i -lt 300 ]; do "
      "echo $i >many/$i; i=$((i+1)); done",
      origin);
  char path[200];
  const char *const modes[] = {"nothing", "part", "d/sub", "also"};
  const mode_t mode[] = {04755, 02711, 03777, 0};
  for (int i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "%s/%s", origin, modes[i]);
    CHECK(lchown(path, 1000 + (uid_t)i, 2000) == 0);
    CHECK(chmod(path, mode[i]) == 0);
  }
  snprintf(path, sizeof path, "%s/link", origin);
  CHECK(lchown(path, 77, 88) == 0);
  set_times(path, 1234567890, 987654321);
  snprintf(path, sizeof path, "%s/part", origin);
  CHECK(lsetxattr(path, "user.text", "a\0b", 3, 0) == 0);
  CHECK(lsetxattr(path, "trusted.t", "x", 1, 0) == 0);
  set_acl(path, "system.posix_acl_access");
  set_times(path, -1000000000, 1);
  snprintf(path, sizeof path, "%s/twice", origin);
  set_times(path, 4102444800, 999999999);
  snprintf(path, sizeof path, "%s/d", origin);
  set_acl(path, "system.posix_acl_default");
  set_times(path, 5000000000, 0);
  snprintf(path, sizeof path, "%s/many", origin);
  CHECK(chmod(path, 0500) == 0);
}

/* A repository of each version, made by restic, of the same source; and what
   restic makes of it. */
static bool begin_all(void) {
  static bool begun, good;
  if (begun) return good;
  begun = true;
  if (geteuid() != 0 || system("command -v restic >/dev/null 2>&1") != 0)
    return false;
  strcpy(base, "/tmp/saros-restore.XXXXXX");
  if (mkdtemp(base) == NULL) return false;
  snprintf(origin, sizeof origin, "%s/source", base);
  make_source();
  setenv("RESTIC_PASSWORD", "x", 1);
  for (int v = 1; v <= 2; v++) {
    cheap_repository(at(v == 1 ? "r1" : "r2"), "x", (unsigned)v);
    SHELL("cd '%s' && restic -q --no-cache -r '%s/r%d' backup .", origin, base,
          v);
    opened[v] = restore_open(at(v == 1 ? "r1" : "r2"), "x");
  }
  SHELL("restic -q --no-cache -r '%s/r2' restore latest --target '%s/theirs'",
        base, base);
  snprintf(folder, sizeof folder, "%s/out", base);
  return good = true;
}

static void end_all(void) {
  for (int v = 1; v <= 2; v++) repo_unref(opened[v]);
  if (base[0] != '\0')
    run_shell(NULL, "chmod -R u+rwx '%s'; rm -rf '%s'", base, base);
}

#define NEEDED "needs root and restic"

static void wipe(void) {
  SHELL("rm -rf '%s'", folder);
}

static call_result restore_now(repo *r, const char *more) {
  return call_now(r, "restore",
                  json_options("{'target':'%s'%s}", folder, more));
}

/* To a place where nothing is. */
static call_result restored(repo *r, const char *more) {
  wipe();
  return restore_now(r, more);
}

static void expect(call_result c, uint32_t code, int64_t files,
                   int64_t unchanged, int line) {
  if (c.code != code || (files >= 0 && call_number(&c, "files") != files) ||
      (unchanged >= 0 && call_number(&c, "unchanged") != unchanged)) {
    check_bad++;
    printf("line %d: code 0x%x (%s), %lld files, %lld unchanged\n", line,
           c.code, c.message, (long long)call_number(&c, "files"),
           (long long)call_number(&c, "unchanged"));
    setenv("V", "1", 1);
    call_errors(&c);
    unsetenv("V");
  }
  call_free(&c);
}
#define EXPECT(c, code, files, unchanged) \
  expect(c, code, files, unchanged, __LINE__)

/* 14 in the root with their further names, 2 in d, 300 in many. */
#define ALL 316

/* Nothing there is wrong: what has its name is whole. */
static void check_nothing_wrong(void) {
  CHECK(run_shell(NULL,
                  "! LC_ALL=C diff -rq --no-dereference -x '.saros-restore-*' "
                  "-x fifo -x null -x disk '%s' '%s' | grep '^Files .* differ'",
                  folder, origin));
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

TEST(everything) {
  if (!begin_all()) SKIP(NEEDED);
  for (int v = 1; v <= 2; v++) {
    call_result c = restored(opened[v], "");
    CHECK_INT(c.code, 0);
    CHECK_INT(call_errors(&c), 0);
    EXPECT(c, 0, ALL, 0);
    CHECK(same_trees(origin, folder));
    /* restic knows of further names of files alone; all here are. */
    CHECK(same_trees(at("theirs"), folder));
  }
}

TEST(sparse_and_verified) {
  if (!begin_all()) SKIP(NEEDED);
  struct stat st;
  char path[200];
  EXPECT(restored(opened[2], ",'sparse':true,'verify':true"), 0, ALL, 0);
  CHECK(same_trees(origin, folder));
  snprintf(path, sizeof path, "%s/hole", folder);
  CHECK(stat(path, &st) == 0 && st.st_size == 20000000 && st.st_blocks < 200);
  EXPECT(restored(opened[2], ",'verify':true"), 0, ALL, 0);
  CHECK(same_trees(origin, folder));
}

TEST(again) {
  if (!begin_all()) SKIP(NEEDED);
  EXPECT(restored(opened[2], ""), 0, ALL, 0);
  EXPECT(restore_now(opened[2], ""), 0, 0, ALL);
  CHECK(same_trees(origin, folder));
  /* Metadata alone, a changed byte, one too long, another type, one gone. */
  SHELL(
      "cd '%s' && chmod 600 twice && setfattr -x user.text part && "
      "setfattr -n user.more -v 1 many/7 && chown 5:5 d/sub && "
      "printf ZZZZ | dd of=d/large bs=1 seek=11000000 conv=notrunc status=none "
      "&& echo more >>many/8 && rm many/9 && mkdir many/9 && "
      "rm link && echo file >link && rm fifo null && mkfifo null && "
      "rm many/10 && ln -s ../d many/10",
      folder);
  call_result c = restore_now(opened[2], "");
  CHECK_INT(call_errors(&c), 0);
  EXPECT(c, 0, -1, -1);
  CHECK(same_trees(origin, folder));
}

/* Of a large file only what is wrong is read from the repository. */
TEST(what_is_right_is_kept) {
  if (!begin_all()) SKIP(NEEDED);
  faulty_store f;
  repo *r = opened[2];
  repo_store *inner = r->store;
  EXPECT(restored(r, ",'include':'/d/large'"), 0, 1, 0);
  SHELL("printf ZZZZ | dd of='%s/d/large' bs=1 seek=3 conv=notrunc status=none",
        folder);
  r->store = faulty_around(&f, inner);
  f.calls = STORE_READ;
  f.kinds = 1u << REPO_PACKS;
  EXPECT(restore_now(r, ",'include':'/d/large'"), 0, 1, 0);
  long seen = f.seen;
  wipe();
  atomic_store(&f.seen, 0);
  EXPECT(restore_now(r, ",'include':'/d/large'"), 0, 1, 0);
  CHECK(seen < f.seen);
  r->store = inner;
  check_nothing_wrong();
}


/* ------------------------------------------------------------------
** A part of it
** ---------------------------------------------------------------- */

#define NOT_FOUND 0x80070490u /* ERROR_NOT_FOUND */

TEST(parts) {
  if (!begin_all()) SKIP(NEEDED);
  EXPECT(restored(opened[2], ",'include':['/d/sub','*\\n*','/many/1?']"), 0, 12,
         0);
  CHECK(run_shell(NULL,
                  "cd '%s' && cmp d/sub/other ../source/d/large && "
                  "test -d d/sub/empty && test -f many/19 && "
                  "test ! -e many/2 && test ! -e d/large && "
                  "test ! -e hole",
                  folder));
  EXPECT(restored(opened[2], ",'exclude':['many','/d/large']"), 0, ALL - 301,
         0);
  CHECK(run_shell(NULL,
                  "cd '%s' && test ! -e many && test ! -e d/large && "
                  "test also -ef d/sub/other",
                  folder));
  EXPECT(restored(opened[2], ",'version':'latest:/d/sub/'"), 0, 1, 0);
  CHECK(run_shell(NULL, "cd '%s' && cmp other ../source/also && test -d empty",
                  folder));
  EXPECT(restored(opened[2], ",'version':'latest:nowhere'"), NOT_FOUND, -1, -1);
  EXPECT(restored(opened[2], ",'version':'latest:part'"), SAROS_E_INVALIDARG,
         -1, -1);
  EXPECT(restored(opened[2], ",'host':'nobody'"), NOT_FOUND, -1, -1);
  EXPECT(restored(opened[2], ",'version':'0123456789'"), NOT_FOUND, -1, -1);
  EXPECT(restored(opened[2], ",'version':'x'"), NOT_FOUND, -1, -1);
  EXPECT(restored(opened[2], ",'overwrite':'x'"), SAROS_E_INVALIDARG, -1, -1);
  CHECK(access(folder, F_OK) != 0);
}


/* ------------------------------------------------------------------
** What is there
** ---------------------------------------------------------------- */

static void make_three(void) {
  wipe();
  SHELL(
      "mkdir -p '%s/many' && cd '%s/many' && echo older >1 && "
      "echo newer >2 && printf '3\\n' >3 && touch -d 1999-01-01 1 && "
      "touch -d 2099-01-01 2 && touch -r '%s/many/3' 3 && chmod 600 3",
      folder, folder, origin);
}

static void check_three(const char *one, const char *two) {
  CHECK(run_shell(NULL,
                  "cd '%s/many' && test \"$(cat 1)\" = '%s' && "
                  "test \"$(cat 2)\" = '%s' && test \"$(cat 3)\" = 3",
                  folder, one, two));
}

TEST(overwriting) {
  if (!begin_all()) SKIP(NEEDED);
  const char *const three = ",'include':['/many/1','/many/2','/many/3','part']";
  char more[300];
  static const struct {
    const char *mode, *one, *two;
    int files, unchanged, skipped;
  } all[] = {{"always", "1", "2", 3, 1, 0},
             {"if-changed", "1", "2", 3, 1, 0},
             {"if-newer", "1", "newer", 2, 0, 2},
             {"never", "older", "newer", 1, 0, 3}};
  for (unsigned i = 0; i < 4; i++) {
    make_three();
    snprintf(more, sizeof more, "%s,'overwrite':'%s','dry_run':true", three,
             all[i].mode);
    char *before = described(folder);
    call_result c = restore_now(opened[2], more);
    CHECK_INT(call_number(&c, "skipped"), all[i].skipped);
    EXPECT(c, 0, all[i].files, all[i].unchanged);
    CHECK(same_text(before, described(folder)));
    snprintf(more, sizeof more, "%s,'overwrite':'%s'", three, all[i].mode);
    c = restore_now(opened[2], more);
    CHECK_INT(call_number(&c, "skipped"), all[i].skipped);
    EXPECT(c, 0, all[i].files, all[i].unchanged);
    check_three(all[i].one, all[i].two);
  }
}

/* The same size and time, but not the same. */
TEST(if_changed_looks_at_no_content) {
  if (!begin_all()) SKIP(NEEDED);
  make_three();
  SHELL("cd '%s/many' && rm 1 2 && printf 'X\\n' >3 && touch -r '%s/many/3' 3",
        folder, origin);
  EXPECT(
      restore_now(opened[2], ",'include':'/many/3','overwrite':'if-changed'"),
      0, 0, 1);
  CHECK(run_shell(NULL, "grep -q X '%s/many/3'", folder));
  EXPECT(restore_now(opened[2], ",'include':'/many/3'"), 0, 1, 0);
  check_nothing_wrong();
}

TEST(never_leaves_names_alone) {
  if (!begin_all()) SKIP(NEEDED);
  wipe();
  SHELL(
      "mkdir -p '%s' && cd '%s' && echo mine >d && echo mine >also && "
      "mkdir part",
      folder, folder);
  call_result c = restore_now(opened[2], ",'overwrite':'never'");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/d", "in its place"));
  CHECK_INT(call_number(&c, "skipped"), 2);
  call_free(&c);
  CHECK(run_shell(NULL,
                  "cd '%s' && grep -q mine d && grep -q mine also && "
                  "test -d part && cmp twice ../source/twice",
                  folder));
}

TEST(what_is_too_much) {
  if (!begin_all()) SKIP(NEEDED);
  EXPECT(restored(opened[2], ""), 0, ALL, 0);
  SHELL(
      "cd '%s' && mkdir -p much/more many/dir/x && echo >much/more/file && "
      "ln -s ../source much/out && ln -s ../source out && echo >d/sub/x && "
      "rm part && mkdir -p part/full && echo >part/full/y && echo >part/z",
      folder);
  call_result c = restore_now(opened[2], "");
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_tells(&c, "/part", "other files"));
  call_free(&c);
  CHECK(run_shell(NULL, "test -e '%s/much/more/file'", folder));
  c = restore_now(opened[2], ",'delete':true,'dry_run':true");
  CHECK_INT(call_number(&c, "removed"), 4);
  EXPECT(c, 0, 1, ALL - 1);
  CHECK(run_shell(NULL, "test -e '%s/much/more/file'", folder));
  c = restore_now(opened[2], ",'delete':true,'include':'/d'");
  CHECK_INT(call_number(&c, "removed"), 1);
  EXPECT(c, 0, 0, 2);
  c = restore_now(opened[2], ",'delete':true");
  CHECK_INT(call_number(&c, "removed"), 3);
  EXPECT(c, 0, 1, ALL - 1);
  CHECK(same_trees(origin, folder));
  CHECK(access(at("source/many"), F_OK) == 0);
}


/* ------------------------------------------------------------------
** Links that are in the way
** ---------------------------------------------------------------- */

static void links_are_planted(void) {
  wipe();
  SHELL(
      "mkdir -p '%s' '%s/victim/sub' && cd '%s' && ln -s '%s/victim' d && "
      "ln -s '%s/victim/new' part && ln -s '%s/victim/file' also && "
      "echo precious >'%s/victim/file'",
      folder, base, folder, base, base, base, base);
  EXPECT(restore_now(opened[2], ""), 0, ALL, 0);
  CHECK(same_trees(origin, folder));
  CHECK(run_shell(NULL,
                  "cd '%s/victim' && test \"$(find . | wc -l)\" = 3 && "
                  "test \"$(cat file)\" = precious",
                  base));
  SHELL("rm -rf '%s/victim'", base);
}

extern bool repo_place_test_in_steps; /* restore_parts.h */

/* Also by name, where the kernel knows no better way. */
static void both_ways(void (*test)(void)) {
  for (int steps = 0; steps < 2; steps++) {
    repo_place_test_in_steps = steps;
    test();
  }
  repo_place_test_in_steps = false;
}

TEST(planted_links) {
  if (!begin_all()) SKIP(NEEDED);
  both_ways(links_are_planted);
}

typedef struct planting {
  _Atomic int count;
} planting;

/* While packs are read somebody moves a directory away, and puts a link to
   elsewhere in its place. */
static void plant(void *context, unsigned call, repo_file kind) {
  planting *p = context;
  char path[200];
  if (call != STORE_READ || kind != REPO_PACKS) return;
  snprintf(path, sizeof path, "%s/many", folder);
  if (access(path, F_OK) != 0 || atomic_fetch_add(&p->count, 1) != 0) return;
  run_shell(NULL, "cd '%s' && mv many moved && ln -s '%s/victim' many", folder,
            base);
}

static void link_is_planted_meanwhile(void) {
  faulty_store f;
  planting p = {0};
  repo *r = opened[2];
  repo_store *inner = r->store;
  SHELL("mkdir -p '%s/victim'", base);
  wipe();
  r->store = faulty_around(&f, inner);
  f.before = plant;
  f.context = &p;
  call_result c = restore_now(r, "");
  CHECK(p.count > 0);
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  CHECK(call_errors(&c) > 0);
  call_free(&c);
  r->store = inner;
  CHECK(run_shell(NULL, "test -z \"$(ls -A '%s/victim')\"", base));
  SHELL("rm -rf '%s/victim'", base);
}

TEST(planted_meanwhile) {
  if (!begin_all()) SKIP(NEEDED);
  both_ways(link_is_planted_meanwhile);
}


/* ------------------------------------------------------------------
** Ended early
** ---------------------------------------------------------------- */

typedef struct cancelling {
  saros_op *_Atomic op;
  _Atomic long left;
} cancelling;

static void cancel_then(void *context, unsigned call, repo_file kind) {
  cancelling *c = context;
  if (call != STORE_READ || kind != REPO_PACKS) return;
  if (atomic_fetch_sub(&c->left, 1) != 1) return;
  while (c->op == NULL) sched_yield();
  saros_op_cancel(c->op);
}

TEST(cancelled_and_repeated) {
  if (!begin_all()) SKIP(NEEDED);
  repo *r = opened[2];
  repo_store *inner = r->store;
  bool temps;
  long step = getenv("SAROS_LONG") != NULL ? 3 : 11;
  for (long n = 1 + (long)getpid() % 3; n < 40; n += step) {
    faulty_store f;
    cancelling c = {.left = n};
    wipe();
    r->store = faulty_around(&f, inner);
    f.before = cancel_then;
    f.context = &c;
    c.op = call_begin(r, "restore", json_options("{'target':'%s'}", folder));
    call_result e = call_end(c.op);
    bool ended = c.left > 0;
    CHECK_INT(e.code, ended ? 0 : SAROS_E_CANCELLED);
    call_free(&e);
    r->store = inner;
    if (access(folder, F_OK) == 0) {
      mem_free(described_with(folder, &temps));
      CHECK(!temps);
      check_nothing_wrong();
    }
    EXPECT(restore_now(r, ""), 0, -1, -1);
    CHECK(same_trees(origin, folder));
    if (ended) break;
  }
}

static void killed_at(long n) {
  pid_t pid = fork();
  if (pid == 0) {
    faulty_store f;
    repo *r = restore_open(at("r2"), "x");
    r->store = faulty_around(&f, r->store);
    f.calls = STORE_READ;
    f.kinds = 1u << REPO_PACKS;
    faulty_at(&f, STORE_KILLS, STORE_READ, n);
    call_result c = restore_now(r, "");
    _exit(c.code == 0 ? 0 : 1);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL
                            : WEXITSTATUS(status) == 0);
}

TEST(killed_and_repeated) {
  if (!begin_all()) SKIP(NEEDED);
  for (long n = 2; n < 18; n += getenv("SAROS_LONG") != NULL ? 3 : 7) {
    bool temps = false;
    wipe();
    killed_at(n);
    if (access(folder, F_OK) == 0) check_nothing_wrong();
    EXPECT(restore_now(opened[2], ""), 0, -1, -1);
    CHECK(same_text(described(origin), described_with(folder, &temps)));
    CHECK(!temps);
  }
}

TEST(disk_full) {
  if (!begin_all()) SKIP(NEEDED);
  static const char *const sizes[] = {"size=3M", "size=20M",
                                      "size=40M,nr_inodes=50"};
  for (int i = 0; i < 3; i++) {
    bool temps;
    wipe();
    CHECK(mkdir(folder, 0700) == 0);
    if (mount("none", folder, "tmpfs", 0, sizes[i]) != 0)
      SKIP("needs a tmpfs to be mounted");
    call_result c = restore_now(opened[2], "");
    CHECK_INT(c.code, 0x80070070u);
    CHECK(strstr(c.message, "make room") != NULL);
    call_free(&c);
    mem_free(described_with(folder, &temps));
    CHECK(!temps);
    check_nothing_wrong();
    CHECK(umount2(folder, MNT_DETACH) == 0);
  }
}

/* Two at once into the same place would be in each other's way. */
static void restore_too(void *context, unsigned call, repo_file kind) {
  _Atomic uint32_t *code = context;
  static _Atomic bool once;
  if (call != STORE_READ || kind != REPO_PACKS || atomic_exchange(&once, true))
    return;
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  if (fd < 0) {
    atomic_store(&once, false);
    return;
  }
  close(fd);
  call_result c = restore_now(opened[1], "");
  *code = c.code;
  call_free(&c);
}

TEST(two_at_once) {
  if (!begin_all()) SKIP(NEEDED);
  faulty_store f;
  _Atomic uint32_t code = 1;
  repo *r = opened[2];
  repo_store *inner = r->store;
  wipe();
  r->store = faulty_around(&f, inner);
  f.before = restore_too;
  f.context = &code;
  EXPECT(restore_now(r, ""), 0, ALL, 0);
  r->store = inner;
  CHECK_INT(code, SAROS_E_LOCKED);
  CHECK(same_trees(origin, folder));
}


/* ------------------------------------------------------------------
** Without being root
** ---------------------------------------------------------------- */

TEST(unprivileged) {
  if (!begin_all()) SKIP(NEEDED);
  SHELL("chmod 755 '%s' && chmod -R a+rX '%s/r2'", base, base);
  char place[200];
  snprintf(place, sizeof place, "%s/home", base);
  CHECK(mkdir(place, 0755) == 0 && chown(place, 65534, 65534) == 0);
  pid_t pid = fork();
  if (pid == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(9);
    check_bad = 0;
    value *o = json_options(
        "{'location':'%s/r2','password':'x','no_lock':true}", base);
    error *e;
    repo *r = repo_new(o, &e);
    if (r == NULL || repo_open(r, NULL) != NULL) _exit(8);
    call_result c =
        call_now(r, "restore", json_options("{'target':'%s/home/out'}", base));
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK(!call_tells(&c, "/nothing", "owner"));
    CHECK(call_number(&c, "not_given_away") > 0);
    CHECK(call_tells(&c, "/part", "extended attributes"));
    CHECK(call_tells(&c, "/disk", "cannot make"));
    _exit(check_bad != 0);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  struct stat st;
  CHECK(stat(at("home/out/nothing"), &st) == 0);
  CHECK_INT(st.st_mode & 07777, 0755); /* no set-uid of somebody else's */
  CHECK(run_shell(NULL,
                  "cd '%s/home/out' && cmp d/large ../../source/also && "
                  "cmp hole ../../source/hole && test also -ef d/large",
                  base));
  SHELL("rm -rf '%s'", place);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  /* What is mounted is gone with this program. */
  if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
  GATE_RUN(everything);
  GATE_RUN(sparse_and_verified);
  GATE_RUN(again);
  GATE_RUN(what_is_right_is_kept);
  GATE_RUN(parts);
  GATE_RUN(overwriting);
  GATE_RUN(if_changed_looks_at_no_content);
  GATE_RUN(never_leaves_names_alone);
  GATE_RUN(what_is_too_much);
  GATE_RUN(planted_links);
  GATE_RUN(planted_meanwhile);
  GATE_RUN(cancelled_and_repeated);
  GATE_RUN(killed_and_repeated);
  GATE_RUN(disk_full);
  GATE_RUN(two_at_once);
  GATE_RUN(unprivileged);
  end_all();
  return check_end();
}
