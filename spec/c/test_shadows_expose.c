/*
** Shadows at a place of the user's choice: mounted read-only, and unmounted
** again, and nothing else.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/statvfs.h>

#include "record_case.h"

static places *p;
static value *shadow_; /* persistent, saved */
static char at[700];   /* does not exist yet */

/* False: it cannot be tried here. */
static bool begin(void) {
  static unsigned number;
  if (!has_mounts) return false;
  p = open_places();
  use_provider();
  shadow_ = record_new(NULL);
  make_persistent(shadow_);
  CHECK_CODE(record_save(p, shadow_), 0);
  snprintf(at, sizeof at, "%s", in("exposed%u", ++number));
  return true;
}

static void end(void) {
  value_free(shadow_);
  places_unref(p);
}

#define BEGIN \
  if (!begin()) SKIP("needs root and a mount namespace")

static value *now(void) {
  error *e = NULL;
  value *r = record_load(p, id_of(shadow_), &e);
  CHECK_CODE(e, 0);
  return r;
}

static bool is_exposed(void) {
  value *r = now();
  bool is = strcmp(record_text(r, "exposed"), at) == 0;
  int64_t bits = value_integer(value_get(r, "attributes"), 0);
  CHECK_INT((bits & VSS_ATTR_EXPOSED_LOCALLY) != 0, is);
  value_free(r);
  return is;
}

static bool is_mounted(void) {
  char path[800];
  snprintf(path, sizeof path, "%s/content", at);
  return there(path);
}

static error *expose(void) {
  return shadows_expose(p, id_of(shadow_), at);
}

static error *unexpose(void) {
  return shadows_unexpose(p, id_of(shadow_));
}

static uint32_t delete_it(bool force) {
  unsigned deleted;
  char not [GUID_TEXT];
  error *e =
      shadows_delete(p, id_of(shadow_), false, force, NULL, &deleted, not );
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  return code;
}


TEST(exposed_to_be_read) {
  BEGIN;
  char path[800];
  CHECK_CODE(expose(), 0);
  CHECK(is_exposed() && is_mounted());
  snprintf(path, sizeof path, "%s/new", at);
  CHECK(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EROFS);
  struct statvfs fs;
  CHECK_INT(statvfs(at, &fs), 0);
  CHECK_INT(fs.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV),
            ST_RDONLY | ST_NOSUID | ST_NODEV);
  /* The shadow itself is as it was. */
  CHECK(put_file(in("%s/content", id_of(shadow_)), "new", 3));
  value *list = NULL;
  CHECK_CODE(shadows_query(p, NULL, NULL, &list), 0);
  CHECK_TEXT(record_text(list->as.items[0], "exposed"), at);
  CHECK_TEXT(record_text(list->as.items[0], "exposed_path"), at);
  value_free(list);
  CHECK_CODE(expose(), VSS_E_OBJECT_ALREADY_EXISTS);
  CHECK_CODE(unexpose(), 0);
  CHECK(!is_exposed() && !there(at)); /* we made the directory */
  CHECK_CODE(unexpose(), VSS_E_OBJECT_NOT_FOUND);
  mkdir(at, 0755);
  CHECK_CODE(expose(), 0);
  CHECK(is_mounted());
  CHECK_CODE(unexpose(), 0);
  CHECK(there(at) && !is_mounted()); /* and that time we did not */
  end();
}

TEST(where_nothing_is_exposed) {
  BEGIN;
  char path[800];
  CHECK_CODE(shadows_expose(p, id_of(shadow_), "here"), SAROS_E_INVALIDARG);
  CHECK_CODE(shadows_expose(p, id_of(shadow_), NULL), SAROS_E_INVALIDARG);
  CHECK_CODE(shadows_expose(p, id_of(shadow_), ""), SAROS_E_INVALIDARG);
  snprintf(path, sizeof path, "%s/in", record_text(shadow_, "path"));
  CHECK_CODE(shadows_expose(p, id_of(shadow_), path), SAROS_E_INVALIDARG);
  CHECK_CODE(shadows_expose(p, "0f0f0f0f-0000-4000-8000-000000000000", at),
             VSS_E_OBJECT_NOT_FOUND);
  mkdir(at, 0755);
  snprintf(path, sizeof path, "%s/mine", at);
  put_file(path, "x", 1);
  CHECK_CODE(expose(), VSS_E_OBJECT_ALREADY_EXISTS); /* not empty */
  CHECK(there(path));
  unlink(path);
  CHECK_INT(mount("t", at, "tmpfs", 0, NULL), 0);
  CHECK_CODE(expose(), VSS_E_OBJECT_ALREADY_EXISTS); /* an empty mount */
  umount(at);
  rmdir(at);
  put_file(at, "x", 1);
  error *e = expose();
  CHECK(e != NULL && e->number == ENOTDIR);
  error_unref(e);
  unlink(at);
  CHECK_INT(symlink("/mnt", at), 0);
  e = expose();
  CHECK(e != NULL && (e->number == ENOTDIR || e->number == ELOOP));
  error_unref(e);
  unlink(at);
  snprintf(path, sizeof path, "%s/too/deep", at);
  e = shadows_expose(p, id_of(shadow_), path);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  CHECK(!is_exposed() && !there(at));
  value_put(shadow_, "persistent", value_bool(false));
  CHECK_CODE(record_save(p, shadow_), 0);
  CHECK_CODE(expose(), VSS_E_UNSUPPORTED_CONTEXT);
  make_persistent(shadow_);
  record_put_text(shadow_, "state", "deleting");
  CHECK_CODE(record_save(p, shadow_), 0);
  CHECK_CODE(expose(), VSS_E_OBJECT_NOT_FOUND);
  record_put_text(shadow_, "state", "created");
  CHECK_CODE(record_save(p, shadow_), 0);
  wipe(record_text(shadow_, "path")); /* behind our back */
  CHECK_CODE(expose(), VSS_E_OBJECT_NOT_FOUND);
  CHECK(!there(at));
  end();
}

TEST(exposed_and_deleted) {
  BEGIN;
  CHECK_CODE(expose(), 0);
  CHECK_INT(delete_it(false), VSS_E_VOLUME_IN_USE);
  CHECK(is_mounted());
  CHECK_INT(delete_it(true), 0);
  CHECK(!there(at) && !is_made(shadow_));
  end();
}

TEST(exposed_and_in_use) {
  BEGIN;
  char path[800];
  CHECK_CODE(expose(), 0);
  snprintf(path, sizeof path, "%s/content", at);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  error *e = unexpose();
  CHECK(e != NULL && strstr(e->message, "open there") != NULL);
  CHECK_CODE(e, VSS_E_VOLUME_IN_USE);
  CHECK(is_exposed() && is_mounted());
  CHECK_INT(delete_it(true), 0); /* with force also that */
  CHECK(!there(at) && !is_made(shadow_));
  close(fd);
  end();
}

/* Somebody unmounted it, or mounted something else there. */
TEST(unexposed_is_what_we_exposed) {
  BEGIN;
  CHECK_CODE(expose(), 0);
  CHECK_INT(umount(at), 0);
  CHECK_CODE(unexpose(), 0);
  CHECK(!is_exposed());
  CHECK_CODE(expose(), 0);
  CHECK_INT(mount("t", at, "tmpfs", 0, NULL), 0);
  CHECK_CODE(unexpose(), VSS_E_VOLUME_IN_USE);
  CHECK_INT(delete_it(true), VSS_E_VOLUME_IN_USE);
  CHECK(is_exposed() && is_made(shadow_));
  CHECK_INT(umount(at), 0);
  CHECK(is_mounted());
  CHECK_INT(umount(at), 0);
  CHECK_INT(mount("t", at, "tmpfs", 0, NULL), 0); /* instead of it */
  CHECK_CODE(unexpose(), VSS_E_VOLUME_IN_USE);
  CHECK_INT(umount(at), 0);
  rmdir(at);
  CHECK_CODE(unexpose(), 0); /* even the directory is gone */
  CHECK(!is_exposed());
  end();
}

static unsigned reexposed(void) {
  value *report = NULL;
  CHECK_CODE(shadows_reap(p, NULL, &report), 0);
  CHECK_INT(value_get(report, "failed")->count, 0);
  unsigned count = value_get(report, "exposed")->count;
  value_free(report);
  return count;
}

TEST(exposed_again_after_a_restart) {
  BEGIN;
  CHECK_CODE(expose(), 0);
  CHECK_INT(reexposed(), 0);
  CHECK_INT(umount(at), 0);
  CHECK_INT(reexposed(), 0); /* that was somebody's will */
  CHECK(!is_mounted());
  value *r = now();
  record_put_text(r, "exposed_boot", "11111111-1111-4111-8111-111111111111");
  CHECK_CODE(record_save(p, r), 0);
  value_free(r);
  CHECK_INT(reexposed(), 1);
  CHECK(is_exposed() && is_mounted());
  CHECK_INT(reexposed(), 0);
  CHECK_CODE(unexpose(), 0);
  end();
}

static int expose_or_fail(void *unused) {
  (void)unused;
  return expose() != NULL;
}

static int unexpose_or_fail(void *unused) {
  (void)unused;
  return unexpose() != NULL;
}

/* What is mounted is always written down, and can be undone. */
TEST(killed_while_it_exposes) {
  BEGIN;
  if (!can_step()) SKIP("valgrind's children cannot be stepped");
  unsigned n = 1, mounted = 0, not_mounted = 0;
  for (bool ended = false; !ended && n < 5000; n++) {
    ended = killed_at(n, expose_or_fail, NULL);
    is_mounted() ? mounted++ : not_mounted++;
    CHECK(!is_mounted() || is_exposed());
    if (is_exposed()) CHECK_CODE(unexpose(), 0);
    CHECK(!is_mounted());
    rmdir(at); /* one that was made just before stays */
  }
  CHECK(mounted > 2 && not_mounted > 10);
  n = 1;
  for (bool ended = false; !ended && n < 5000; n++) {
    CHECK_CODE(expose(), 0);
    ended = killed_at(n, unexpose_or_fail, NULL);
    CHECK(!is_mounted() || is_exposed());
    if (is_exposed()) CHECK_CODE(unexpose(), 0);
    CHECK(!there(at));
  }
  end();
}

/* Who may not mount is told what is missing. */
static int expose_as_nobody(void *unused) {
  error *e = NULL;
  (void)unused;
  if (setgid(65534) != 0 || setuid(65534) != 0) return 9;
  places *mine = places_open(in("nobody/base"), &e);
  value *r = record_new(NULL);
  record_put_text(r, "path", in("nobody/base"));
  make_persistent(r);
  record_put_text(r, "provider", "poor"); /* which verifies nothing */
  if (mine == NULL || record_save(mine, r) != NULL) return 8;
  e = shadows_expose(mine, id_of(r), in("nobody/at"));
  if (e == NULL || e->code != SAROS_E_ACCESSDENIED) return 7;
  if (strstr(e->message, "CAP_SYS_ADMIN") == NULL) return 6;
  value *now_ = record_load(mine, id_of(r), &e);
  return *record_text(now_, "exposed") == 0 && !there(in("nobody/at")) ? 0 : 5;
}

TEST(exposed_by_nobody) {
  if (!has_mounts) SKIP("needs root and a mount namespace");
  use_provider();
  mkdir(in("nobody"), 0755);
  CHECK_INT(chown(in("nobody"), 65534, 65534), 0);
  chmod(scratch, 0755);
  CHECK_INT(in_child(expose_as_nobody, NULL), 0);
  chmod(scratch, 0700);
}


static void all(void) {
  RUN(exposed_to_be_read);
  RUN(where_nothing_is_exposed);
  RUN(exposed_and_deleted);
  RUN(exposed_and_in_use);
  RUN(unexposed_is_what_we_exposed);
  RUN(exposed_again_after_a_restart);
  RUN(killed_while_it_exposes);
  RUN(exposed_by_nobody);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
