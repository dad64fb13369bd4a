/*
** Records: what is on the disk of a shadow, who made it, and the lock of the
** one creation at a time.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "record_case.h"
#include "test_base_sweep.h"
#include "vss/bytes.h"


/* ------------------------------------------------------------------
** Places
** ---------------------------------------------------------------- */

static unsigned mode_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

TEST(places_are_made) {
  error *e = NULL;
  places *p = places_open(in("fresh/base"), &e);
  CHECK(p != NULL);
  if (p == NULL) return;
  CHECK_TEXT(p->state, in("fresh/base/state"));
  CHECK_TEXT(p->runtime, in("fresh/base/run"));
  CHECK_TEXT(p->writers, in("fresh/base/run/writers"));
  CHECK_INT(mode_of(in("fresh/base/state/shadows")), 0700);
  CHECK_INT(mode_of(p->writers), geteuid() == 0 ? 0755 : 0700);
  places *again = places_ref(p);
  places_unref(p);
  CHECK_TEXT(again->state, in("fresh/base/state"));
  places_unref(again);
  p = places_open(in("fresh/base"), &e); /* and used as they are */
  CHECK(p != NULL);
  places_unref(p);
}

static void check_refused(const char *base, const char *word) {
  error *e = NULL;
  places *p = places_open(base, &e);
  CHECK(p == NULL && e != NULL);
  if (e != NULL && strstr(e->message, word) == NULL)
    printf("'%s' is not in: %s\n", word, e->message);
  CHECK(e != NULL && strstr(e->message, word) != NULL && e->path != NULL);
  CHECK_CODE(e, SAROS_E_ACCESSDENIED);
  places_unref(p);
}

TEST(places_of_others_are_refused) {
  char base[300];
  snprintf(base, sizeof base, "%s", in("others"));
  mkdir(base, 0755);
  mkdir(in("others/state"), 0755);
  chmod(in("others/state"), 0777);
  check_refused(base, "chmod go-w");
  chmod(in("others/state"), 0755);
  mkdir(in("others/state/shadows"), 0755);
  chmod(in("others/state/shadows"), 0770);
  check_refused(base, "chmod go-w");
  rmdir(in("others/state/shadows"));
  CHECK_INT(symlink("/tmp", in("others/state/shadows")), 0);
  check_refused(base, "symbolic link");
  unlink(in("others/state/shadows"));
  put_file(in("others/state/shadows"), "x", 1);
  check_refused(base, "something else");
  unlink(in("others/state/shadows"));
  if (geteuid() != 0) SKIP("only root can make what belongs to others");
  mkdir(in("others/state/shadows"), 0700);
  CHECK_INT(chown(in("others/state/shadows"), 65534, 65534), 0);
  check_refused(base, "belongs to user 65534");
  CHECK_INT(chown(in("others/state/shadows"), 0, 0), 0);
  CHECK_INT(chown(in("others/state"), 65534, 65534), 0);
  check_refused(base, "belongs to user 65534");
  rmdir(in("others/state/shadows"));
  rmdir(in("others/state"));
  CHECK_INT(symlink("/var", in("others/state")), 0);
  CHECK_INT(lchown(in("others/state"), 65534, 65534), 0);
  check_refused(base, "symbolic link of user 65534");
}

static int as_nobody(void *base) {
  error *e = NULL;
  if (setgid(65534) != 0 || setuid(65534) != 0) return 9;
  places *p = places_open(base, &e);
  if (p != NULL) return 8;
  uint32_t code = e->code;
  error_unref(e);
  return code == SAROS_E_ACCESSDENIED ? 0 : 7;
}

TEST(places_of_root_are_not_nobodys) {
  if (geteuid() != 0) SKIP("needs root");
  places *p = open_places();
  char base[700];
  snprintf(base, sizeof base, "%.*s", (int)(strlen(p->state) - 6), p->state);
  chmod(scratch, 0755);
  CHECK_INT(in_child(as_nobody, base), 0);
  chmod(scratch, 0700);
  places_unref(p);
}

TEST(places_read_only) {
  if (!has_mounts) SKIP("needs root and a mount namespace");
  mkdir(in("ro"), 0755);
  CHECK_INT(mount("t", in("ro"), "tmpfs", 0, "size=1m"), 0);
  error *e = NULL;
  places *p = places_open(in("ro/base"), &e);
  value *r = record_new(NULL);
  CHECK_CODE(record_save(p, r), 0);
  CHECK_INT(mount(NULL, in("ro"), NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
  places_unref(p);
  p = places_open(in("ro/base"), &e); /* to look is possible */
  CHECK(p != NULL);
  value *list = record_list(p, &e);
  CHECK(list != NULL && list->count == 1);
  value_free(list);
  e = record_save(p, r);
  CHECK(e != NULL && strstr(e->message, "read-only") != NULL);
  CHECK_CODE(e, SAROS_E_ACCESSDENIED);
  CHECK_CODE(record_remove(p, id_of(r)), SAROS_E_ACCESSDENIED);
  places_unref(p);
  e = NULL;
  p = places_open(in("ro/another"), &e); /* to make is not */
  CHECK(p == NULL && e != NULL && e->number == EROFS);
  error_unref(e);
  umount2(in("ro"), MNT_DETACH);
  value_free(r);
}


/* ------------------------------------------------------------------
** Writing and reading
** ---------------------------------------------------------------- */

static unsigned entries_of(const places *p) {
  char path[900];
  snprintf(path, sizeof path, "%s/shadows", p->state);
  return (unsigned)gate_entries(path);
}

static bool has_hidden(const places *p, const char *ending) {
  char path[900];
  snprintf(path, sizeof path, "%s/shadows", p->state);
  DIR *d = opendir(path);
  bool found = false;
  for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;)
    if (strstr(f->d_name, ending) != NULL) found = true;
  closedir(d);
  return found;
}

static void check_loads(const places *p, const value *r) {
  error *e = NULL;
  value *back = record_load(p, id_of(r), &e);
  CHECK_CODE(e, 0);
  CHECK(value_equal(back, r));
  value_free(back);
}

TEST(record_comes_back) {
  places *p = open_places();
  value *r = record_new(NULL);
  CHECK_CODE(record_save(p, r), 0);
  check_loads(p, r);
  CHECK_INT(mode_of(file_of(p, id_of(r))), 0600);
  value_put(r, "skew", value_real(0.001));
  CHECK_CODE(record_save(p, r), 0); /* again, over it */
  check_loads(p, r);
  CHECK_INT(entries_of(p), 1);
  CHECK(!has_hidden(p, ".tmp"));
  char braced[50];
  error *e = NULL;
  snprintf(braced, sizeof braced, "{%s}", id_of(r));
  value *back = record_load(p, braced, &e);
  CHECK(back != NULL);
  value_free(back);
  CHECK_CODE(record_remove(p, id_of(r)), 0);
  CHECK_CODE(record_remove(p, id_of(r)), VSS_E_OBJECT_NOT_FOUND);
  CHECK(record_load(p, id_of(r), &e) == NULL);
  CHECK_CODE(e, VSS_E_OBJECT_NOT_FOUND);
  e = NULL;
  CHECK(record_load(p, "../../x", &e) == NULL);
  CHECK_CODE(e, SAROS_E_INVALIDARG);
  CHECK_CODE(record_remove(p, "x"), SAROS_E_INVALIDARG);
  CHECK_INT(entries_of(p), 0);
  value_free(r);
  places_unref(p);
}

TEST(record_keeps_every_byte) {
  places *p = open_places();
  value *r = record_new(NULL), *list = value_list(), *keep = value_map();
  static const char odd[] = "/srv/\xFF\xFE\\a\nb\x01\xC3";
  record_put_text(r, "original", odd);
  record_put_text(r, "path", "/x\\\xFF");
  value_add(list, value_text("plain"));
  value_add(list, value_text("\x80 odd"));
  record_put_text(keep, "dir", odd);
  record_put_text(keep, "back\\slash", "a\\b\n\x7F");
  value_put(keep, "list", list);
  value_put(keep, "nul", value_string("a\0b", 3));
  value_put(r, "keep", keep);
  value_put(r, "big", value_int(INT64_MAX));
  value_put(r, "small", value_real(0.1));
  CHECK_CODE(record_save(p, r), 0);
  check_loads(p, r);
  char text[8192];
  int fd = open(file_of(p, id_of(r)), O_RDONLY | O_CLOEXEC);
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  text[n > 0 ? n : 0] = '\0';
  CHECK(text_is_utf8(text, strlen(text)));
  CHECK(strstr(text, "\"original_b64\"") != NULL);
  CHECK(strstr(text, "\"text_b64\"") != NULL);
  value_free(r);
  places_unref(p);
}

TEST(bytes_leave_pairs_of_others_alone) {
  value *v = value_map(), *list = value_list(), *inner = value_map();
  bool deep;
  record_put_text(v, "a", "x");
  record_put_text(v, "a_b64", "eHg="); /* "xx" */
  record_put_text(v, "b_b64", "/w==");
  record_put_text(v, "c", "\\xff");
  record_put_text(v, "c_b64", "not base64");
  record_put_text(inner, "text", "x");
  record_put_text(inner, "text_b64", "eA==");
  value_add(list, inner);
  value_put(v, "list", list);
  CHECK(bytes_out(v, &deep) == v && !deep);
  value *copy = value_copy(v);
  v = bytes_in(v);
  CHECK(value_equal(v, copy));
  record_put_text(v, "c", "\xFF"); /* the stale half goes */
  const value *out = bytes_out(v, &deep);
  CHECK(out != v && out != NULL);
  CHECK_TEXT(record_text(out, "c_b64"), "/w==");
  value *back = bytes_in(value_copy(out));
  CHECK_TEXT(record_text(back, "c"), "\xFF");
  CHECK(value_get(back, "c_b64") == NULL);
  value_free(back);
  value_free((value *)(uintptr_t)out);
  value_free(copy);
  value_free(v);
  v = value_list();
  for (int i = 0; i < 100; i++) {
    list = value_list();
    value_add(list, v);
    v = list;
  }
  CHECK(bytes_out(v, &deep) == NULL && deep);
  value_free(v);
}

TEST(what_is_no_record_is_not_saved) {
  places *p = open_places();
  value *r = record_new(NULL);
  record_put_text(r, "state", "half");
  error *e = record_save(p, r);
  CHECK(e != NULL && strstr(e->message, "state is 'half'") != NULL);
  CHECK_CODE(e, VSS_E_UNEXPECTED);
  record_put_text(r, "state", "created");
  char *big = malloc(60000);
  memset(big, 'x', 60000);
  value *list = value_list();
  for (int i = 0; i < 20; i++) value_add(list, value_string(big, 60000));
  free(big);
  value_put(r, "warnings", list); /* more than could be read again */
  e = record_save(p, r);
  CHECK(e != NULL);
  error_unref(e);
  CHECK_INT(entries_of(p), 0);
  value_free(r);
  places_unref(p);
}

TEST(list_is_sorted) {
  places *p = open_places();
  char ids[5][GUID_TEXT];
  for (int i = 0; i < 5; i++) {
    value *r = record_new(NULL);
    struct timespec when = {.tv_sec = 1700000000 + (i * 3) % 5};
    record_stamp(r, &when);
    memcpy(ids[(i * 3) % 5], id_of(r), GUID_TEXT);
    CHECK_CODE(record_save(p, r), 0);
    value_free(r);
  }
  error *e = NULL;
  value *list = record_list(p, &e);
  CHECK(list != NULL && list->count == 5);
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    CHECK_TEXT(id_of(list->as.items[i]), ids[i]);
  value_free(list);
  places_unref(p);
}

TEST(times_are_times) {
  char text[40];
  struct timespec when = {.tv_sec = 0, .tv_nsec = 123456700};
  setenv("TZ", "XXX-5:30", 1); /* east of Greenwich */
  tzset();
  CHECK(record_time(&when, text) == 116444736000000000 + 1234567);
  CHECK_TEXT(text, "1970-01-01T05:30:00.123+05:30");
  setenv("TZ", "XXX3:15", 1);
  tzset();
  record_time(&when, text);
  CHECK_TEXT(text, "1969-12-31T20:45:00.123-03:15");
  unsetenv("TZ");
  tzset();
  value *v = value_text(text);
  buffer why = BUFFER_EMPTY;
  CHECK(shape_fits(v, &shape_time, &why));
  value_free(v);
  static const char *const wrong[] = {"",
                                      "2026-11-21",
                                      "2026-11-21T14:30:49",
                                      "2026-11-21T14:30:49.Z",
                                      "2026-11-21 14:30:49Z",
                                      "2026-11-21T14:30:49+1:00",
                                      "2026-11-21T14:30:49+01:00x",
                                      "2026-11-21T14:30:49+01"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    v = value_text(wrong[i]);
    CHECK(!shape_fits(v, &shape_time, &why));
    value_free(v);
  }
  buffer_free(&why);
}


static void all(void) {
  RUN(places_are_made);
  RUN(places_of_others_are_refused);
  RUN(places_of_root_are_not_nobodys);
  RUN(places_read_only);
  RUN(record_comes_back);
  RUN(record_keeps_every_byte);
  RUN(bytes_leave_pairs_of_others_alone);
  RUN(what_is_no_record_is_not_saved);
  RUN(list_is_sorted);
  RUN(times_are_times);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
