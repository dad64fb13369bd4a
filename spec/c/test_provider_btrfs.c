/*
** provider btrfs, on a real one: what is in a shadow, and what it costs.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "btrfs_case.h"


/* ------------------------------------------------------------------
** Taking one
** ---------------------------------------------------------------- */

TEST(whole_subvolume) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  int open_file = open(P("%s/late", home), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(open_file, "not synced", 10), 10);
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK_INT(write(open_file, " and more", 9), 9);
  case_put(P("%s/file", home), "changed");
  unlink(P("%s/dir/inner", home));
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  CHECK_TEXT(case_get(P("%s/dir/inner", s->path)), "as it was inside");
  CHECK_TEXT(case_get(P("%s/late", s->path)), "not synced");
  CHECK_INT(open(P("%s/file", s->path), O_RDWR | O_CLOEXEC), -1);
  CHECK_INT(errno, EROFS);
  CHECK(begins(s->path, P("%s/.saros-shadows/", top)));
  CHECK_TEXT(s->device, s->path);
  CHECK_INT(s->warnings->count, 0);
  struct stat st;
  CHECK(stat(P("%s/.saros-shadows", top), &st) == 0);
  CHECK_INT(st.st_mode & 07777, 0700);
  CHECK_INT(st.st_ino, 256);
  DONE(case_verify(&provider_btrfs));
  close(open_file);
  case_drop(s);
  DONE(case_destroy(&provider_btrfs)); /* again: it is gone, that is all */
  CHECK(case_says(case_verify(&provider_btrfs), VSS_E_OBJECT_NOT_FOUND,
                  "deleted behind our back"));
  end();
}

TEST(counterpart_of_what_was_given) {
  char path[900], link[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(link, sizeof link, "%s", volumes_in("to-inner"));
  CHECK(symlink(P("%s/dir/inner", home), link) == 0);
  shadow *s = case_shadow(&provider_btrfs, link);
  case_put(P("%s/dir/inner", home), "changed");
  CHECK_TEXT(case_get(s->path), "as it was inside");
  CHECK(strlen(s->path) > 10 &&
        strcmp(s->path + strlen(s->path) - 10, "/dir/inner") == 0);
  unlink(link);
  case_drop(s);
  end();
}

/* Where the subvolume is what is mounted its shadows lie in it; and a second
   one does not hold the first. */
TEST(of_the_mounted_subvolume) {
  char path[900], at[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("at"));
  mkdir(at, 0755);
  CHECK(mount(disk->device, at, "btrfs", 0, "subvol=home") == 0);
  shadow *a = case_shadow(&provider_btrfs, at);
  char first[700];
  snprintf(first, sizeof first, "%s", case_file);
  CHECK(begins(a->path, P("%s/.saros-shadows/", at)));
  value *keep = case_keep(case_file);
  shadow *b = case_shadow(&provider_btrfs, P("%s/dir", at));
  CHECK_INT(b->warnings->count, 0);
  CHECK_TEXT(case_get(P("%s/inner", b->path)), "as it was inside");
  CHECK_INT(case_entries(P("%s/../.saros-shadows", b->path)), 0);
  DONE(provider_btrfs.destroy(keep, NULL));
  DONE(case_verify(&provider_btrfs));
  CHECK_INT(case_entries(P("%s/.saros-shadows", at)), 1);
  value_free(keep);
  shadow_free(a);
  case_drop(b);
  CHECK_INT(case_entries(P("%s/.saros-shadows", at)), -1);
  umount2(at, 0);
  rmdir(at);
  end();
}

TEST(nested_are_named) {
  char path[900], nested[500], deep[600];
  if (!begin()) SKIP(volumes_missing);
  snprintf(nested, sizeof nested, "%s/dir/nested", home);
  CHECK(subvolume(nested));
  snprintf(deep, sizeof deep, "%s/dir/nested/deep", home);
  CHECK(subvolume(deep));
  mkdir(P("%s/other", home), 0755);
  case_put(P("%s/x", nested), "x");
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK_INT(s->warnings->count, 1);
  CHECK_INT(
      case_warned(s, P("nested subvolume %s is not in the shadow", nested)), 1);
  CHECK_INT(case_entries(P("%s/dir/nested", s->path)), 0);
  case_drop(s);
  s = case_shadow(&provider_btrfs, P("%s/other", home));
  CHECK_INT(s->warnings->count, 0); /* it was not asked for */
  case_drop(s);
  s = case_shadow(&provider_btrfs, nested);
  CHECK_TEXT(case_get(P("%s/x", s->path)), "x");
  CHECK_INT(case_warned(s, deep), 1);
  case_drop(s);
  for (int i = 0; i < 600; i++) CHECK(subvolume(P("%s/other/%d", home, i)));
  s = case_shadow(&provider_btrfs, home);
  CHECK_INT(s->warnings->count, 601);
  case_drop(s);
  for (int i = 0; i < 600; i += 100)
    CHECK_INT(volumes_run("btrfs -q subvolume delete %s/other/%d? "
                          "%s/other/%d?? >/dev/null 2>&1; true",
                          home, i / 100, home, i / 100),
              0);
  volumes_run(
      "for i in %s/other/*; do btrfs -q subvolume delete $i "
      ">/dev/null; done",
      home);
  CHECK(unsubvolume(deep) && unsubvolume(nested));
  end();
}

static atomic_int writing; /* lines that are written, and one */
static atomic_bool stop;

static void *append(void *context) {
  int fd = open(context, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  char line[64];
  for (unsigned i = 0; !stop; i++) {
    snprintf(line, sizeof line, "%08u\n", i);
    if (write(fd, line, 9) != 9) break;
    writing = (int)i + 2;
  }
  close(fd);
  return NULL;
}

/* Lines in their order, `least` at least. After those there may be a part of
   one, and zeros: of a file that grows while it is taken btrfs can have a size
   that is ahead of what it has written. */
static void check_log(const char *name, unsigned least) {
  FILE *f = fopen(name, "re");
  char line[9], wanted[64];
  unsigned n = 0, bad = 0;
  bool whole = true;
  size_t size;
  while (f != NULL && (size = fread(line, 1, sizeof line, f)) > 0) {
    size_t same = 0, zeros = 0;
    snprintf(wanted, sizeof wanted, "%08u\n", n);
    while (whole && same < size && line[same] == wanted[same]) same++;
    while (same + zeros < size && line[same + zeros] == 0) zeros++;
    if (same + zeros != size) bad++;
    whole = whole && same == sizeof line;
    if (whole) n++;
  }
  if (f != NULL) fclose(f);
  if (n < least)
    printf("%u lines are whole, of %u that were written before\n", n, least);
  CHECK(f != NULL && n >= least);
  CHECK_INT(bad, 0);
}

/* What was written before is whole in it, to the last line; nobody freezes,
   so of what is written meanwhile nothing is promised but that it is not
   something else. */
TEST(under_a_writer) {
  char path[900], file[500];
  pthread_t thread;
  if (!begin()) SKIP(volumes_missing);
  snprintf(file, sizeof file, "%s/log", home);
  writing = 1;
  stop = false;
  CHECK(pthread_create(&thread, NULL, append, file) == 0);
  while (writing < 2) sched_yield();
  for (int i = 0; i < 10; i++) {
    error *e = NULL;
    shadow *s = case_plan(&provider_btrfs, home, &e);
    DONE(e);
    DONE(provider_btrfs.prepare(s, NULL));
    int written = writing;
    DONE(provider_btrfs.commit(s));
    DONE(provider_btrfs.finish(s, NULL));
    DONE(shadow_note(s));
    check_log(P("%s/log", s->path), (unsigned)written - 1);
    DONE(case_verify(&provider_btrfs));
    case_drop(s);
  }
  stop = true;
  pthread_join(thread, NULL);
  end();
}

/* Cleaning up what was unlinked and open does not count as a change. */
TEST(unlinked_and_open) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  int fd = open(P("%s/tmp", home), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(fd, "x", 1), 1);
  unlink(path);
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK(access(P("%s/tmp", s->path), F_OK) != 0);
  DONE(case_verify(&provider_btrfs));
  volumes_run("sync -f '%s'", top);
  DONE(case_verify(&provider_btrfs));
  close(fd);
  case_drop(s);
  end();
}


/* ------------------------------------------------------------------
** What it costs
** ---------------------------------------------------------------- */

/* Transactions that this file system has committed; -1: it does not say. */
static long long commits(void) {
  struct btrfs_ioctl_fs_info_args info = {0};
  char path[200], line[100], id[GUID_TEXT];
  long long n = -1;
  int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool known = fd >= 0 && ioctl(fd, BTRFS_IOC_FS_INFO, &info) >= 0;
  if (fd >= 0) close(fd);
  if (!known) return -1;
  btrfs_uuid_text(info.fsid, id);
  FILE *f = fopen(P("/sys/fs/btrfs/%s/commit_stats", id), "re");
  while (f != NULL && n < 0 && fgets(line, sizeof line, f) != NULL)
    sscanf(line, "commits %lld", &n);
  if (f != NULL) fclose(f);
  return n;
}

/* The place is in the snapshot's own transaction. The kernel may commit one by
   itself at any time, so the least of several counts. */
TEST(one_transaction) {
  error *e = NULL;
  long long least = 100;
  if (!begin()) SKIP(volumes_missing);
  bool tells = commits() >= 0;
  for (int i = 0; tells && i < 10 && least > 1; i++) {
    volumes_run("sync -f '%s'", top);
    shadow *s = case_plan(&provider_btrfs, home, &e);
    DONE(e);
    long long before = commits();
    DONE(provider_btrfs.prepare(s, NULL));
    DONE(provider_btrfs.commit(s));
    DONE(provider_btrfs.finish(s, NULL));
    long long took = commits() - before;
    if (took < least) least = took;
    case_drop(s);
  }
  if (tells) CHECK_INT(least, 1);
  end();
  if (!tells) SKIP("this kernel does not count what btrfs commits");
}

/* Its record goes to disk beside prepare. */
TEST(nothing_is_made_before_commit) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  CHECK(provider_btrfs.late);
  shadow *s = case_plan(&provider_btrfs, home, &e);
  DONE(e);
  DONE(provider_btrfs.prepare(s, NULL));
  CHECK_INT(subvolumes(), 1);
  CHECK_INT(case_entries(top), 1);
  case_drop(s);
  end();
}


/* ------------------------------------------------------------------
** The register
** ---------------------------------------------------------------- */

TEST(nothing_was_planned) {
  value *keep = value_map();
  DONE(provider_btrfs.destroy(keep, NULL));
  DONE(provider_image.destroy(keep, NULL));
  value_free(keep);
}

TEST(by_name) {
  for (size_t i = 0; providers[i] != NULL; i++) {
    const provider *p = providers[i];
    guid id;
    CHECK(guid_parse(p->id, &id));
    CHECK(provider_named(p->name) == p);
    CHECK(provider_named(p->id) == p);
    CHECK(p->worth != NULL && p->commit != NULL && p->destroy != NULL);
    if (i > 0) CHECK(providers[i - 1]->rank >= p->rank);
  }
  CHECK(provider_named("nobody") == NULL);
  CHECK(provider_named("{5B0F8C4E-5A0D-4B39-9C0B-2F7B6C1D9E41}") ==
        &provider_btrfs);
  CHECK_TEXT(provider_atomic_name(ATOMIC_SUBVOLUME), "subvolume");
}

TEST(chosen) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  origin *from = origin_find(home, &e);
  CHECK(provider_choose(from, &e) == &provider_btrfs);
  CHECK(e == NULL);
  origin_free(from);
  from = origin_find("/proc", &e);
  CHECK(provider_choose(from, &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED, "btrfs: /proc is not on"));
  origin_free(from);
  end();
}

static void all(void) {
  RUN(by_name);
  RUN(nothing_was_planned);
  RUN(chosen);
  RUN(whole_subvolume);
  RUN(counterpart_of_what_was_given);
  RUN(of_the_mounted_subvolume);
  RUN(nested_are_named);
  RUN(under_a_writer);
  RUN(unlinked_and_open);
  RUN(one_transaction);
  RUN(nothing_is_made_before_commit);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
