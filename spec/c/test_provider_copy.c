/*
** The provider `copy`, as the coordinator leads it: what is in a shadow, what
** is
** not and said so, and what is taken away.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "copy_pass_case.h"

/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

TEST(all_that_a_tree_has) {
  unsigned volumes = 0;
  VOLUMES_EACH(v) {
    volumes++;
    make_tree(fresh_source(v));
    shadow *s = case_shadow(&provider_copy, from);
    if (s == NULL) continue;
    CHECK_INT(compare(from, s->path), 0);
    CHECK_INT(s->warnings->count, 0);
    DONE(case_verify(&provider_copy));
    char place[700];
    snprintf(place, sizeof place, "%s", s->place);
    CHECK_INT(case_entries(place), 1); /* nothing of ours beside it */
    case_drop(s);
    CHECK_INT(case_entries(place), -1);
  }
  if (volumes == 0) SKIP(volumes_missing);
}

TEST(root_cannot_write_to_it_by_accident) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  shadow *s = case_shadow(&provider_copy, from);
  int fd = open(IN("%s/new", s->id), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  CHECK(fd >= 0); /* the place is ours */
  close(fd);
  unlink(IN("%s/new", s->id));
  CHECK(open(IN("%s/root/new", s->id), O_CREAT | O_WRONLY, 0600) < 0);
  CHECK_INT(errno, EROFS);
  CHECK(open(IN("%s/root/nothing", s->id), O_WRONLY) < 0);
  CHECK_INT(errno, EROFS);
  struct stat st;
  CHECK_INT(stat(IN("%s", s->id), &st), 0);
  CHECK_INT(st.st_mode & 07777, 0700);
  case_drop(s);
}


/* ------------------------------------------------------------------
** What is not copied, and said so
** ---------------------------------------------------------------- */

TEST(mounts_are_not_entered) {
  const volume *v = volumes_get(XFS);
  if (v == NULL) SKIP(volumes_missing);
  char p[1000];
  make_tree(fresh_source(v));
  CHECK_INT(mount("none", P("%s/empty", from), "tmpfs", 0, NULL), 0);
  put_file(P("%s/empty/elsewhere", from), 10, 1);
  shadow *s = case_shadow(&provider_copy, from);
  CHECK_INT(case_entries(P("%s/empty", s->path)), 0);
  CHECK_INT(case_warned(s, "mounted"), 1);
  CHECK_INT(case_warned(s, "/empty"), 1);
  case_drop(s);
  umount2(P("%s/empty", from), MNT_DETACH);
}

/* Its place, and another shadow beside it, lie in what is copied. */
TEST(not_into_itself) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  error *e = NULL;
  char p[1000], other[200];
  make_tree(fresh_source(v));
  snprintf(other, sizeof other, "%s",
           P("%s/empty/44444444-2222-4333-8444-555555555555", from));
  mkdir(other, 0700);
  shadow *s = case_plan(&provider_copy, from, &e);
  CHECK(s != NULL && shadow_place(s, P("%s/empty", from)));
  DONE(s->provider->plan(s));
  DONE(shadow_note(s));
  DONE(case_take(s));
  CHECK_INT(case_entries(P("%s/empty", s->path)), 0);
  CHECK_INT(case_entries(P("%s/d0", s->path)), 31);
  case_drop(s);
  CHECK_INT(case_entries(P("%s/empty", from)), 1);
}


/* ------------------------------------------------------------------
** A single file
** ---------------------------------------------------------------- */

static void rewrite_single(void) {
  put_file(from, 70000, 99);
}

static void remove_single(void) {
  unlink(from);
}

TEST(a_single_file) {
  VOLUMES_EACH(v) {
    char p[1000];
    make_tree(fresh_source(v));
    size_t n = strlen(from);
    snprintf(from + n, sizeof from - n, "/linked");
    shadow *s = shadow_with("live", rewrite_single);
    CHECK_INT(s->warnings->count, 0);
    CHECK_TEXT(strrchr(s->path, '/'), "/linked");
    CHECK(volumes_run("cmp '%s' '%s'", from, s->path) == 0);
    CHECK_INT(case_entries(P("%s/root", s->place)), 1);
    case_drop(s);
    error *e = NULL;
    s = case_plan(&provider_copy, from, &e);
    set_between("live", remove_single);
    DONE(s->provider->prepare(s, NULL));
    CHECK(case_says(s->provider->commit(s), SAROS_E_CHANGED, from));
    set_between(NULL, NULL);
    case_drop(s);
  }
}


/* ------------------------------------------------------------------
** Probe, verify, destroy
** ---------------------------------------------------------------- */

TEST(what_cannot_be_copied) {
  error *e = NULL;
  CHECK(case_plan(&provider_copy, "/proc/self", &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "no data"));
  CHECK(case_plan(&provider_copy, "/dev/null", &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "/dev/null"));
}

TEST(what_came_in_its_place) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_many(fresh_source(v), 12, 4, 100);
  shadow *s = case_shadow(&provider_copy, from);
  char place[700], root[800];
  snprintf(place, sizeof place, "%s", s->place);
  snprintf(root, sizeof root, "%s/root", place);
  DONE(case_verify(&provider_copy));
  s->provider->forget(s);
  umount2(root, MNT_DETACH);
  CHECK_INT(rename(root, volumes_in("aside")), 0);
  CHECK(case_says(case_verify(&provider_copy), VSS_E_OBJECT_NOT_FOUND, place));
  mkdir(root, 0700);
  CHECK(case_says(case_verify(&provider_copy), VSS_E_OBJECT_NOT_FOUND, place));
  CHECK_INT(rmdir(root), 0);
  CHECK_INT(rename(volumes_in("aside"), root), 0);
  /* Somebody else's is not touched, and neither is what a link points to. */
  CHECK_INT(chown(place, 1234, 1234), 0);
  CHECK(case_says(case_destroy(&provider_copy), SAROS_E_REFUSED, place));
  CHECK_INT(case_entries(root), 3);
  CHECK_INT(chown(place, 0, 0), 0);
  CHECK_INT(rename(place, volumes_in("aside")), 0);
  CHECK_INT(symlink(volumes_in("aside"), place), 0);
  error *e = case_destroy(&provider_copy);
  CHECK(e != NULL);
  error_unref(e);
  CHECK_INT(case_entries(volumes_in("aside/root")), 3);
  unlink(place);
  CHECK_INT(rename(volumes_in("aside"), place), 0);
  /* What is not ours in it stays, and is named. */
  put_file(volumes_in("%s/other", s->id), 10, 1);
  CHECK(case_says(case_destroy(&provider_copy), SAROS_E_REFUSED, place));
  unlink(volumes_in("%s/other", s->id));
  DONE(case_destroy(&provider_copy));
  CHECK_INT(case_entries(place), -1);
  shadow_free(s);
}

static void replace_source(void) {
  char p[1000];
  snprintf(p, sizeof p, "%s-old", from);
  rename(from, p);
  mkdir(from, 0755);
}

TEST(another_directory_in_its_place) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  error *e = NULL;
  make_many(fresh_source(v), 12, 4, 100);
  shadow *s = case_plan(&provider_copy, from, &e);
  set_between("live", replace_source);
  DONE(s->provider->prepare(s, NULL));
  set_between(NULL, NULL);
  CHECK(case_says(s->provider->commit(s), SAROS_E_CHANGED, from));
  case_drop(s);
}

static void all(void) {
  engine_acquire();
  RUN(all_that_a_tree_has);
  RUN(root_cannot_write_to_it_by_accident);
  RUN(mounts_are_not_entered);
  RUN(not_into_itself);
  RUN(a_single_file);
  RUN(what_cannot_be_copied);
  RUN(what_came_in_its_place);
  RUN(another_directory_in_its_place);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
