/*
** Records: what is set aside as damaged and what is not, and that a reap goes
** by what is in them when it takes hold of something.
*/
#include <sys/resource.h>

#include "vds_left_case.h"

typedef struct drawer {
  char *at;
  char id[2][GUID_TEXT];
} drawer;

/* A state directory with two records of ours. */
static drawer drawer_of(const char *name) {
  error *e = NULL;
  drawer d = {0};
  mkdir(place(name), 0700);
  d.at = vds_records_at(place(name), &e);
  CHECK(d.at != NULL);
  for (int i = 0; i < 2; i++) {
    value *record = vds_record_new("table");
    snprintf(d.id[i], sizeof d.id[i], "%s", vds_record_text(record, "id"));
    e = vds_record_save(d.at, record);
    CHECK(e == NULL);
    error_unref(e);
    value_free(record);
  }
  return d;
}

static bool has(const drawer *d, const char *id, const char *end) {
  char path[5000];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s%s", d->at, id, end);
  return lstat(path, &st) == 0;
}

static bool is_whole(const drawer *d) {
  bool whole = true;
  for (int i = 0; i < 2; i++)
    whole = whole && has(d, d->id[i], ".json") &&
            !has(d, d->id[i], ".json.damaged");
  return whole;
}

/* How many are read; -1 with an error. */
static int count_of(const drawer *d, uint32_t *code) {
  error *e = NULL;
  value *list = vds_record_list(d->at, &e);
  int count = list != NULL ? (int)list->count : -1;
  CHECK((list == NULL) == (e != NULL));
  *code = e != NULL ? e->code : 0;
  error_unref(e);
  value_free(list);
  return count;
}

TEST(without_memory_no_record_is_damaged) {
  drawer d = drawer_of("memory");
  uint32_t code = 0;
  int failed = 0, count = -1;
  for (long n = 1; count < 0 && n < 10000; n++) {
    mem_fail_at(n);
    count = count_of(&d, &code);
    mem_fail_at(0);
    CHECK(is_whole(&d));
    if (count < 0) failed++;
    if (count < 0) CHECK_INT(code, error_no_memory()->code);
  }
  CHECK_INT(count, 2);
  CHECK(failed > 4);
  mem_free(d.at);
}

TEST(without_descriptors_no_record_is_damaged) {
  drawer d = drawer_of("descriptors");
  struct rlimit was = {0}, few;
  uint32_t code = 0;
  int free_one = open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(free_one >= 0 && getrlimit(RLIMIT_NOFILE, &was) == 0);
  close(free_one);
  few = was;
  few.rlim_cur = (rlim_t)free_one + 1; /* the directory has it */
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
  int count = count_of(&d, &code);
  CHECK_INT(setrlimit(RLIMIT_NOFILE, &was), 0);
  CHECK_INT(count, -1);
  CHECK(is_whole(&d));
  CHECK_INT(count_of(&d, &code), 2);
  mem_free(d.at);
}

static void write_text(const drawer *d, const char *name, const char *text) {
  char path[5000];
  snprintf(path, sizeof path, "%s/%s", d->at, name);
  FILE *f = fopen(path, "we");
  CHECK(f != NULL && fputs(text, f) >= 0);
  if (f != NULL) fclose(f);
}

TEST(a_newer_version_is_not_damage) {
  static const char id[] = "00000000-0000-4000-8000-000000000000";
  drawer d = drawer_of("newer");
  uint32_t code = 0;
  char name[60];
  snprintf(name, sizeof name, "%s.json", id);
  write_text(&d, name, "{\"version\":2,\"called\":\"otherwise\"}");
  CHECK_INT(count_of(&d, &code), 2);
  CHECK(is_whole(&d));
  CHECK(has(&d, id, ".json"));
  CHECK(!has(&d, id, ".json.damaged"));
  mem_free(d.at);
}

TEST(what_is_no_record_is_set_aside) {
  drawer d = drawer_of("none");
  uint32_t code = 0;
  char path[5000];
  write_text(&d, "empty.json", "");
  write_text(&d, "half.json", "{\"version\":1,");
  write_text(&d, "zero.json", "{\"version\":0}");
  snprintf(path, sizeof path, "%s/link.json", d.at);
  CHECK_INT(symlink("half.json", path), 0);
  snprintf(path, sizeof path, "%s/pipe.json", d.at);
  CHECK_INT(mkfifo(path, 0600), 0);
  snprintf(path, sizeof path, "%s/directory.json", d.at);
  CHECK_INT(mkdir(path, 0700), 0);
  CHECK_INT(count_of(&d, &code), 2);
  CHECK(is_whole(&d));
  static const char *const names[] = {"empty", "half", "zero",
                                      "link",  "pipe", "directory"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    CHECK(has(&d, names[i], ".json.damaged") && !has(&d, names[i], ".json"));
  mem_free(d.at);
}

TEST(a_record_is_read_again) {
  drawer d = drawer_of("again");
  error *e = NULL;
  value *list = vds_record_list(d.at, &e);
  CHECK(list != NULL && list->count == 2);
  if (list == NULL) return;
  value *one = vds_record_again(d.at, list->as.items[0], &e);
  CHECK(one != NULL && e == NULL);
  CHECK(value_put(one, "state", value_text("failed")));
  CHECK(vds_record_save(d.at, one) == NULL);
  value *now = vds_record_again(d.at, list->as.items[0], &e);
  CHECK_TEXT(vds_record_text(now, "state"), "failed");
  CHECK(vds_record_remove(d.at, one) == NULL);
  CHECK(vds_record_again(d.at, list->as.items[0], &e) == NULL && e == NULL);
  value_free(now);
  value_free(one);
  value_free(list);
  mem_free(d.at);
}

/* He lived when the list was read: what he made to stay since then stays. */
TEST(an_owner_who_ended_well_while_reaped_is_not_undone) {
  NEED_DISKS();
  const char *path = make_image(8);
  halfway h = halfway_to("attach: kept", NULL);
  if (h.child == 0) {
    answer a = ask("attach", "{'path':'%s','persistent':true}", path);
    _exit(a.code == 0 ? 0 : 1);
  }
  hold_at("reap: listed");
  saros_op *op = begin("reap", "{}");
  await_held();
  halfway_end(&h, false);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(volumes_loops(false), 1);
  CHECK_INT(records_left(), 1);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  CHECK_INT(records_left(), 0);
}

static void all(void) {
  RUN(without_memory_no_record_is_damaged);
  RUN(without_descriptors_no_record_is_damaged);
  RUN(a_newer_version_is_not_damage);
  RUN(what_is_no_record_is_set_aside);
  RUN(a_record_is_read_again);
  RUN(an_owner_who_ended_well_while_reaped_is_not_undone);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
