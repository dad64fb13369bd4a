/*
** Records that are damaged, strange or cut off: none is believed, nothing is
** deleted for it, and a sudden end or a full disk leaves the old one or the new
** one.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/file.h>

#include "record_case.h"
#include "test_base_sweep.h"
#include "vss/bytes.h"


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
  e = NULL;
  while (e == NULL) e = record_save_loose(p, changed);
  CHECK_CODE(e, VSS_E_INSUFFICIENT_STORAGE);
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

/* ------------------------------------------------------------------
** What is put behind another
** ---------------------------------------------------------------- */

static ino_t inode_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_ino : 0;
}

static size_t read_all(const char *path, char *text, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, room) : -1;
  if (fd >= 0) close(fd);
  CHECK(n > 0 && (size_t)n < room);
  return n > 0 ? (size_t)n : 0;
}

/* What a power cut leaves of the second: a part, zeros, a part behind zeros.
   Then it is the first, and never damaged. */
TEST(behind_another_whole_or_not_there) {
  static char text[20000], cut[20000];
  places *p = open_places();
  value *old = record_new(NULL), *new = value_copy(old);
  record_put_text(new, "device", "another");
  CHECK_CODE(record_save(p, old), 0);
  const char *file = file_of(p, id_of(old));
  ino_t was = inode_of(file);
  size_t first = read_all(file, text, sizeof text);
  CHECK_CODE(record_save_loose(p, new), 0);
  CHECK(inode_of(file) == was); /* so it has been put behind */
  size_t both = read_all(file, text, sizeof text);
  check_loads(p, new);
  for (size_t n = first; n < both - 2; n++) {
    memcpy(cut, text, n);
    put_file(file, cut, n);
    check_loads(p, old);
    memset(cut + n, 0, both - n);
    put_file(file, cut, both);
    check_loads(p, old);
    memset(cut + first, 0, n - first);
    memcpy(cut + n, text + n, both - n);
    if (n > first) put_file(file, cut, both);
    check_loads(p, old);
  }
  CHECK(!has_hidden(p, ".damaged"));
  /* A third is put behind what is left, and a durable one replaces all. */
  CHECK_CODE(record_save_loose(p, new), 0);
  check_loads(p, new);
  CHECK_CODE(record_save(p, old), 0);
  CHECK_INT(read_all(file, text, sizeof text), first);
  check_loads(p, old);
  value_free(old);
  value_free(new);
  places_unref(p);
}

/* It does not grow for ever; and where there is none it is made. */
TEST(behind_another_or_in_its_place) {
  places *p = open_places();
  value *r = record_new(NULL);
  struct stat st;
  unsigned replaced = 0;
  CHECK_CODE(record_save_loose(p, r), 0);
  check_loads(p, r);
  const char *file = file_of(p, id_of(r));
  for (int i = 0; i < 3000; i++) {
    ino_t was = inode_of(file);
    CHECK_CODE(record_save_loose(p, r), 0);
    CHECK(stat(file, &st) == 0 && st.st_size <= (off_t)RECORD_SIZE_MOST);
    if (inode_of(file) != was) replaced++;
    if (i % 500 == 0) check_loads(p, r);
  }
  CHECK(replaced > 0);
  value_free(r);
  places_unref(p);
}

static places *sweep_places;
static value *sweep_record;

static bool save_and_list(void) {
  error *e = record_save(sweep_places, sweep_record);
  if (e == NULL) e = record_save_loose(sweep_places, sweep_record);
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
  RUN(damaged_ones_are_set_aside);
  RUN(truncated_and_flipped_anywhere);
  RUN(a_newer_one_stays);
  RUN(no_files_and_files_of_others);
  RUN(full_disk);
  RUN(killed_while_it_saves);
  RUN(behind_another_whole_or_not_there);
  RUN(behind_another_or_in_its_place);
  RUN(tidy_leaves_the_living);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
