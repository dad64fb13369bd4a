/*
** Records: what is on the disk of a shadow, who made it, and the lock of the
** one creation at a time.
*/
#include <sys/file.h>
#include <sys/statvfs.h>

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


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

static buffer text_of(const value *r) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, r, JSON_INDENTED);
  return b;
}

/* Puts this text where the record is: it must be refused as damaged, and be
   set aside by a list, which has the good one still. */
static void check_damaged(const places *p, const value *good, const char *id,
                          const char *text, size_t size) {
  error *e = NULL;
  char aside[1000];
  put_file(file_of(p, id), text, size);
  value *r = record_load(p, id, &e);
  CHECK(r == NULL);
  CHECK_CODE(e, SAROS_E_DAMAGED);
  e = NULL;
  value *list = record_list(p, &e);
  CHECK(list != NULL && list->count == 1);
  if (list != NULL && list->count == 1)
    CHECK_TEXT(id_of(list->as.items[0]), id_of(good));
  value_free(list);
  CHECK(!there(file_of(p, id)));
  snprintf(aside, sizeof aside, "%s.damaged", file_of(p, id));
  CHECK(there(aside));
  unlink(aside);
}

TEST(damaged_ones_are_set_aside) {
  places *p = open_places();
  value *good = record_new(NULL), *bad = record_new(NULL);
  CHECK_CODE(record_save(p, good), 0);
  char id[GUID_TEXT];
  memcpy(id, id_of(bad), GUID_TEXT);
  static const char *const needed[] = {
      "version", "id",         "set",      "count", "state",   "provider",
      "keep",    "attributes", "original", "path",  "created", "created_100ns",
      "owner",   "persistent"};
  for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
    for (int how = 0; how < 4; how++) {
      if (how == 2 && strcmp(needed[i], "provider") == 0) continue; /* any */
      value *r = value_copy(bad);
      value_put(r, needed[i],
                how == 0   ? value_null()
                : how == 1 ? value_list()
                : how == 2 ? value_text("\x01 nonsense")
                           : value_int(-7));
      buffer b = text_of(r);
      check_damaged(p, good, id, b.data, b.size);
      buffer_free(&b);
      value_free(r);
    }
  }
  value *r = value_copy(bad); /* another's id in the file of this name */
  record_put_text(r, "id", id_of(good));
  buffer b = text_of(r);
  check_damaged(p, good, id, b.data, b.size);
  buffer_free(&b);
  value_free(r);
  buffer deep = BUFFER_EMPTY, huge = BUFFER_EMPTY;
  for (int i = 0; i < 100000; i++) buffer_byte(&deep, '[');
  check_damaged(p, good, id, deep.data, deep.size);
  for (size_t i = 0; i <= RECORD_SIZE_MOST; i++) buffer_byte(&huge, ' ');
  check_damaged(p, good, id, huge.data, huge.size);
  check_damaged(p, good, id, "", 0);
  check_damaged(p, good, id, "\0\0\0\0", 4);
  buffer_free(&deep);
  buffer_free(&huge);
  CHECK(is_made(bad)); /* nothing of it was touched */
  value_free(good);
  value_free(bad);
  places_unref(p);
}

TEST(truncated_and_flipped_anywhere) {
  value *r = record_new(NULL);
  record_put_text(r, "original", "/a\xFF");
  bool deep;
  const value *outside = bytes_out(r, &deep);
  buffer b = BUFFER_EMPTY;
  json_write(&b, outside, JSON_COMPACT);
  for (size_t i = 0; i < b.size; i++) {
    error *e = NULL;
    value *v = record_parse(b.data, i, id_of(r), &e);
    CHECK(v == NULL);
    CHECK_CODE(e, SAROS_E_DAMAGED);
  }
  unsigned same = 0, other = 0;
  for (size_t i = 0; i < b.size; i++) {
    for (int bit = 0; bit < 8; bit++) {
      error *e = NULL;
      b.data[i] = (char)(b.data[i] ^ (1 << bit));
      value *v = record_parse(b.data, b.size, id_of(r), &e);
      if (v == NULL) {
        CHECK(e->code == SAROS_E_DAMAGED || e->code == VSS_E_NOT_SUPPORTED);
      } else { /* then it is a right one, if another */
        buffer why = BUFFER_EMPTY;
        CHECK(e == NULL && record_fits(v, id_of(r), &why));
        buffer_free(&why);
        value_equal(v, r) ? same++ : other++;
      }
      error_unref(e);
      value_free(v);
      b.data[i] = (char)(b.data[i] ^ (1 << bit));
    }
  }
  CHECK(other > 0);
  CHECK_INT(same, 0);
  value_free((value *)(uintptr_t)outside);
  value_free(r);
  buffer_free(&b);
}

TEST(a_newer_one_stays) {
  places *p = open_places();
  value *r = record_new(NULL);
  error *e = NULL;
  value_put(r, "version", value_int(2));
  value_put(r, "keep", value_text("something new"));
  buffer b = text_of(r);
  put_file(file_of(p, id_of(r)), b.data, b.size);
  CHECK(record_load(p, id_of(r), &e) == NULL);
  CHECK_CODE(e, VSS_E_NOT_SUPPORTED);
  e = NULL;
  value *list = record_list(p, &e);
  CHECK(list != NULL && list->count == 0);
  CHECK(there(file_of(p, id_of(r))));
  value_free(list);
  buffer_free(&b);
  value_free(r);
  places_unref(p);
}

/* What has a record's name and is none. */
TEST(no_files_and_files_of_others) {
  places *p = open_places();
  value *r = record_new(NULL);
  char target[700];
  error *e = NULL;
  buffer b = text_of(r);
  snprintf(target, sizeof target, "%s", in("elsewhere.json"));
  put_file(target, b.data, b.size);
  for (int how = 0; how < 6; how++) {
    const char *path = file_of(p, id_of(r));
    if (how == 0) CHECK_INT(symlink(target, path), 0);
    if (how == 1) CHECK_INT(mkfifo(path, 0600), 0);
    if (how == 2) CHECK_INT(mkdir(path, 0700), 0);
    if (how >= 3) put_file(path, b.data, b.size);
    if (how == 3) chmod(path, 0602);
    if (how == 4) chmod(path, 0660);
    if (how == 5 && chown(path, 65534, 65534) != 0) break;
    CHECK(record_load(p, id_of(r), &e) == NULL);
    CHECK_CODE(e, SAROS_E_DAMAGED);
    e = NULL;
    value *list = record_list(p, &e);
    CHECK(list != NULL && list->count == 0);
    value_free(list);
    CHECK(!there(path));
  }
  CHECK(there(target));
  CHECK(has_hidden(p, ".json.damaged") && has_hidden(p, ".json.3.damaged"));
  put_file(in("at/../x"), "", 0);
  char name[1000];
  snprintf(name, sizeof name, "%s/shadows/README", p->state);
  put_file(name, "x", 1); /* is nobody's business */
  value *list = record_list(p, &e);
  CHECK(list != NULL && list->count == 0 && there(name));
  value_free(list);
  buffer_free(&b);
  value_free(r);
  places_unref(p);
}


/* ------------------------------------------------------------------
** Full disks and sudden ends
** ---------------------------------------------------------------- */

static void fill(const char *path) {
  static char block[4096];
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  while (write(fd, block, sizeof block) > 0) continue;
  close(fd);
}

TEST(full_disk) {
  if (!has_mounts) SKIP("needs root and a mount namespace");
  mkdir(in("full"), 0755);
  CHECK_INT(mount("t", in("full"), "tmpfs", 0, "size=64k"), 0);
  error *e = NULL;
  places *p = places_open(in("full/base"), &e);
  value *old = record_new(NULL), *new = record_new(NULL);
  CHECK_CODE(record_save(p, old), 0);
  fill(in("full/rubbish"));
  e = record_save(p, new);
  CHECK(e != NULL && e->retryable == false &&
        strstr(e->message, "no space left") != NULL && e->cause != NULL);
  CHECK_CODE(e, VSS_E_INSUFFICIENT_STORAGE);
  value *changed = value_copy(old);
  record_put_text(changed, "device", "another");
  CHECK_CODE(record_save(p, changed), VSS_E_INSUFFICIENT_STORAGE);
  check_loads(p, old);
  CHECK_INT(entries_of(p), 1);
  CHECK(!has_hidden(p, ".tmp"));
  CHECK_CODE(record_remove(p, id_of(old)), 0); /* that is always possible */
  places_unref(p);
  umount2(in("full"), MNT_DETACH);
  value_free(old);
  value_free(new);
  value_free(changed);
}

typedef struct saving {
  const places *p;
  const value *r;
} saving;

static int save(void *with) {
  saving *s = with;
  error *e = record_save(s->p, s->r);
  return e != NULL;
}

/* Killed between any two system calls. */
TEST(killed_while_it_saves) {
  if (!can_step()) SKIP("valgrind's children cannot be stepped");
  places *p = open_places();
  value *old = record_new(NULL), *new = value_copy(old);
  record_put_text(new, "device", "another");
  saving s = {p, new};
  unsigned n = 1, olds = 0, news = 0, rubbish = 0;
  for (bool ended = false; !ended && n < 5000; n++) {
    error *e = NULL;
    CHECK_CODE(record_save(p, old), 0);
    ended = killed_at(n, save, &s);
    if (has_hidden(p, ".tmp")) rubbish++;
    value *r = record_load(p, id_of(old), &e);
    CHECK_CODE(e, 0);
    if (value_equal(r, old)) olds++;
    if (value_equal(r, new)) news++;
    value_free(r);
    record_tidy(p);
    CHECK(!has_hidden(p, ".tmp"));
  }
  CHECK_INT(olds + news, n - 1);
  CHECK(olds > 4 && news > 2 && rubbish > 2);
  value_free(old);
  value_free(new);
  places_unref(p);
}

/* What is being written is not tidied away. */
TEST(tidy_leaves_the_living) {
  places *p = open_places();
  char path[1000];
  snprintf(path, sizeof path, "%s/shadows/.x.tmp", p->state);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(flock(fd, LOCK_EX), 0);
  record_tidy(p);
  CHECK(there(path));
  close(fd);
  record_tidy(p);
  CHECK(!there(path));
  places_unref(p);
}

static places *sweep_places;
static value *sweep_record;

static bool save_and_list(void) {
  error *e = record_save(sweep_places, sweep_record);
  value *list = e == NULL ? record_list(sweep_places, &e) : NULL;
  bool good = list != NULL;
  CHECK(!good ||
        (list->count == 1 && value_equal(list->as.items[0], sweep_record)));
  CHECK(good || e->code == SAROS_E_OUTOFMEMORY);
  error_unref(e);
  value_free(list);
  return good;
}

static bool open_once(void) {
  error *e = NULL;
  places *p = places_open(in("swept"), &e);
  set_lock *l = p != NULL ? set_lock_take(p, &e) : NULL;
  bool good = l != NULL;
  CHECK(good || e->code == SAROS_E_OUTOFMEMORY);
  set_lock_give(l);
  places_unref(p);
  error_unref(e);
  return good;
}

TEST(memory_runs_out) {
  sweep_places = open_places();
  sweep_record = record_new(NULL);
  record_put_text(sweep_record, "original", "/\xFF");
  SWEEP(save_and_list, 200);
  CHECK(!has_hidden(sweep_places, ".tmp") &&
        !has_hidden(sweep_places, ".damaged"));
  SWEEP(open_once, 10);
  value_free(sweep_record);
  places_unref(sweep_places);
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
  RUN(damaged_ones_are_set_aside);
  RUN(truncated_and_flipped_anywhere);
  RUN(a_newer_one_stays);
  RUN(no_files_and_files_of_others);
  RUN(full_disk);
  RUN(killed_while_it_saves);
  RUN(tidy_leaves_the_living);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
