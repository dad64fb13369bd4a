/*
** Documents that lie: shadows of real file systems whose records are gone, and
** what somebody says of them who wants others' directories mounted, exposed or
** deleted. None of it gets into a record, and nothing is touched.
**
** not under valgrind: it mounts real file systems; ASan runs it
*/
#include "real_case.h"
#include "vss/mounts.h"

#define MORE "ln -s /etc link && mkfifo pipe"

typedef struct victim {
  real x;
  value *records; /* as the document has them */
  places *other;  /* where nothing is known */
  size_t mounts;
  unsigned loops;
} victim;

static size_t mounts_now(void) {
  error *e = NULL;
  mount_table *t = mount_table_read(&e);
  DONE(e);
  size_t count = t != NULL ? t->count : 0;
  mount_table_free(t);
  return count;
}

static bool begin(victim *v, volumes_kind kind, const provider *by) {
  static unsigned number;
  error *e = NULL;
  real_more = MORE;
  if (!make(&v->x, kind, by)) return false;
  v->records = record_list(v->x.p, &e);
  DONE(e);
  v->other = places_open(volumes_in("other-%s%u", by->name, ++number), &e);
  DONE(e);
  v->mounts = mounts_now();
  v->loops = (unsigned)volumes_loops(false);
  return true;
}

/* It is there all the same, and its maker can take it away. */
static void end(victim *v) {
  unsigned deleted = 0;
  char not [37];
  CHECK_TEXT(said(v->x.path), "old");
  CHECK_TEXT(said(v->x.source), "new");
  DONE(shadows_delete(v->x.p, v->x.id, false, false, NULL, &deleted, not ));
  CHECK_INT(deleted, 1);
  value_free(v->records);
  places_unref(v->other);
  places_unref(v->x.p);
}

static unsigned known(const victim *v) {
  error *e = NULL;
  value *list = record_list(v->other, &e);
  DONE(e);
  unsigned count = list != NULL ? list->count : 99;
  value_free(list);
  return count;
}

/* The record in the list, to be changed. */
static value *lie_in(value *list) {
  return list->as.items[0];
}

static value *keep_in(value *list) {
  return (value *)(uintptr_t)value_get(lie_in(list), "keep");
}

/* Takes over the list: it is refused, because of this. */
static void refused(victim *v, value *list, const char *because) {
  uint32_t code = 7;
  error *e = shadows_import(v->other, list, &code);
  CHECK(case_says(e, VSS_E_NO_SNAPSHOTS_IMPORTED, because));
  CHECK_INT(known(v), 0);
  CHECK_INT(mounts_now(), v->mounts);
  CHECK_INT(volumes_loops(false), (int)v->loops);
  CHECK_TEXT(said(v->x.path), "old");
  value_free(list);
}

/* The same with another path. */
static void no_path(victim *v, const char *path, const char *because) {
  value *list = value_copy(v->records);
  record_put_text(lie_in(list), "path", path);
  refused(v, list, because);
}

static void no_place(victim *v, const char *place, const char *because) {
  value *list = value_copy(v->records);
  char below[900];
  snprintf(below, sizeof below, "%s/x", place);
  CHECK(value_put(keep_in(list), "place", value_text(place)));
  record_put_text(lie_in(list), "path", below);
  refused(v, list, because);
}

static const char *place_of(const victim *v) {
  static char text[900];
  char *path = NULL;
  DONE(keep_path(keep_in(v->records), "place", &path));
  snprintf(text, sizeof text, "%s", path != NULL ? path : "");
  mem_free(path);
  return text;
}

static void lies_about_its_path(victim *v) {
  char path[1200];
  no_path(v, "/", "does not lie in its place");
  no_path(v, "/etc", "does not lie in its place");
  snprintf(path, sizeof path, "%sx", place_of(v));
  no_path(v, path, "does not lie in its place");
  snprintf(path, sizeof path, "%s/../../etc", v->x.path);
  no_path(v, path, "does not lie in its place");
  snprintf(path, sizeof path, "%s//word", v->x.path);
  no_path(v, path, "does not lie in its place");
  snprintf(path, sizeof path, "%s/nowhere", v->x.path);
  no_path(v, path, "is not there");
  snprintf(path, sizeof path, "%s/word/more", v->x.path);
  no_path(v, path, "is not there");
  /* By a link that was in the original. */
  snprintf(path, sizeof path, "%s/link", v->x.path);
  no_path(v, path, "neither a directory nor a file");
  snprintf(path, sizeof path, "%s/link/passwd", v->x.path);
  no_path(v, path, "is not there");
  snprintf(path, sizeof path, "%s/pipe", v->x.path);
  no_path(v, path, "neither a directory nor a file");
}

static void lies_about_its_place(victim *v) {
  char path[1200];
  const char *id = v->x.id;
  no_place(v, "/etc", "no place of it");
  no_place(v, "etc", "not an absolute path");
  snprintf(path, sizeof path, "/etc/../etc/%s", id);
  no_place(v, path, "no place of it");
  snprintf(path, sizeof path, "/nowhere/at/all/%s", id);
  no_place(v, path, "is not there");
  snprintf(path, sizeof path, "%s/11111111-2222-4333-8444-555555555555",
           place_of(v)); /* of somebody else */
  no_place(v, path, "no place of it");
  /* What others made for us, and called it right. */
  char above[1000];
  snprintf(above, sizeof above, "%s", place_of(v));
  for (int i = 0; i < 2; i++) *strrchr(above, '/') = 0;
  strcat(above, "/above");
  CHECK_INT(volumes_run("mkdir -m 1777 '%s' && mkdir -m 700 '%s/%s'", above,
                        above, id),
            0);
  snprintf(path, sizeof path, "%s/%s", above, id);
  no_place(v, path, "others could have put it there");
  CHECK_INT(volumes_run("chmod 755 '%s' && chown 7 '%s'", above, above), 0);
  no_place(v, path, "others could have put it there");
  CHECK_INT(volumes_run("chown 0 '%s' && chmod 755 '%s'", above, path), 0);
  no_place(v, path, "not a directory of ours alone");
  CHECK_INT(volumes_run("chmod 700 '%s' && chown 7 '%s'", path, path), 0);
  no_place(v, path, "not a directory of ours alone");
  CHECK_INT(volumes_run("chown 0 '%s'", path), 0);
  no_place(v, path, "delete");
  CHECK_INT(volumes_run("rm -r '%s'", above), 0);
}

static void lies(volumes_kind kind, const provider *by) {
  victim v;
  if (!begin(&v, kind, by)) SKIP(volumes_missing);
  lies_about_its_path(&v);
  lies_about_its_place(&v);
  /* What it leaves out or makes up is not believed either. */
  value *list = value_copy(v.records);
  CHECK(value_put(keep_in(list), "place", value_null()));
  refused(&v, list, "no path \"place\"");
  list = value_copy(v.records);
  CHECK(value_put(lie_in(list), "keep", value_map()));
  refused(&v, list, "cannot tell whether it is there");
  end(&v);
}

TEST(lies_of_btrfs) {
  lies(BTRFS, &provider_btrfs);
}

TEST(lies_of_an_image) {
  lies(EXT4_ON_XFS, &provider_image);
}

TEST(lies_of_a_copy) {
  lies(EXT4, &provider_copy);
}

TEST(lies_of_a_reflink) {
  lies(XFS, &provider_reflink);
}

/* The truth is taken, and what was only true elsewhere is left out. */
static void truth(volumes_kind kind, const provider *by) {
  victim v;
  uint32_t code = 7;
  if (!begin(&v, kind, by)) SKIP(volumes_missing);
  value *list = value_copy(v.records), *found = NULL;
  record_put_text(lie_in(list), "exposed", "/etc");
  value_put(lie_in(list), "exposed_made", value_bool(true));
  value_put(lie_in(list), "loosening", value_bool(true));
  value_put(lie_in(list), "attributes",
            value_int(VSS_ATTR_PERSISTENT | VSS_ATTR_EXPOSED_LOCALLY));
  DONE(shadows_import(v.other, list, &code));
  CHECK_INT(code, 0);
  DONE(shadows_find(v.other, v.x.id, NULL, &found));
  CHECK_TEXT(record_text(found, "path"), v.x.path);
  CHECK_TEXT(record_text(found, "missing"), "");
  CHECK_TEXT(record_text(found, "exposed"), "");
  CHECK_INT(value_integer(value_get(found, "attributes"), 0),
            VSS_ATTR_PERSISTENT | VSS_ATTR_IMPORTED);
  value_free(found);
  value_free(list);
  end(&v);
}

TEST(truth_of_btrfs) {
  truth(BTRFS, &provider_btrfs);
}

TEST(truth_of_an_image) {
  truth(EXT4_ON_XFS, &provider_image);
}

TEST(truth_of_a_copy) {
  truth(EXT4, &provider_copy);
}

/* What others may have changed meanwhile is nobody's shadow. */
TEST(made_writable) {
  victim v;
  if (!begin(&v, EXT4, &provider_copy)) SKIP(volumes_missing);
  char root[1000];
  snprintf(root, sizeof root, "%s/root", place_of(&v));
  CHECK_INT(umount2(root, 0), 0);
  v.mounts--;
  value *list = value_copy(v.records);
  CHECK(value_put(keep_in(list), "mounted", value_bool(false)));
  refused(&v, list, "it can be written to");
  end(&v);
  if (!begin(&v, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  CHECK_INT(volumes_run("btrfs property set '%s' ro false", v.x.path), 0);
  refused(&v, value_copy(v.records), "made writable");
  CHECK_INT(volumes_run("btrfs property set '%s' ro true", v.x.path), 0);
  end(&v);
}

/* The original of a revert is what it says, or it is not taken. */
TEST(another_original) {
  victim v;
  if (!begin(&v, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  value *list = value_copy(v.records);
  record_put_text(lie_in(list), "original", "/etc");
  refused(&v, list, "not what it is a shadow copy of");
  end(&v);
}

/* Of nothing that lies in a directory of ours: the original itself. */
TEST(live_is_nothing_to_take_over) {
  victim v;
  if (!begin(&v, EXT4, &provider_copy)) SKIP(volumes_missing);
  value *list = value_copy(v.records), *keep = value_map();
  record_put_text(lie_in(list), "provider", "live");
  record_put_text(lie_in(list), "path", "/etc");
  record_put_text(keep, "path", "/etc");
  CHECK(value_put(lie_in(list), "keep", keep));
  refused(&v, list, "cannot tell whether it is there");
  end(&v);
}

static void all(void) {
  RUN(lies_of_btrfs);
  RUN(lies_of_an_image);
  RUN(lies_of_a_copy);
  RUN(lies_of_a_reflink);
  RUN(truth_of_btrfs);
  RUN(truth_of_an_image);
  RUN(truth_of_a_copy);
  RUN(made_writable);
  RUN(another_original);
  RUN(live_is_nothing_to_take_over);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
