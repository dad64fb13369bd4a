/*
** Jobs and their files: how they are made, and what may be added. Nothing is
** transferred.
*/
#include <malloc.h>

#include "bits_job_case.h"

static uint32_t create(const char *options) {
  value *v = json_of("%s", options);
  error *e = NULL;
  bits_job *j = bits_job_create(m, v, &e);
  value_free(v);
  if (j != NULL) drop(j);
  return code_of(e);
}

/* ------------------------------------------------------------------
** Made
** ---------------------------------------------------------------- */

TEST(made) {
  CHECK_INT(create("{}"), 0);
  CHECK_INT(create("{'type':'download','name':'x','priority':'low'}"), 0);
  CHECK_INT(create("{'type':'upload'}"), 0);
  CHECK_INT(create("{'type':'upload_reply'}"), SAROS_E_NOTIMPL);
  CHECK_INT(create("{'type':1}"), SAROS_E_INVALIDARG);
  CHECK_INT(create("{'type':'sideload'}"), SAROS_E_INVALIDARG);
  CHECK_INT(create("{'id':'x'}"), SAROS_E_INVALIDARG);
  CHECK_INT(create("{'group':'x'}"), SAROS_E_INVALIDARG);
  CHECK_INT(create("{'retries':3}"), SAROS_E_INVALIDARG);
  CHECK_INT(create("{'owner':'me'}"), SAROS_E_NOTIMPL);
  CHECK_INT(create("[]"), SAROS_E_INVALIDARG);
}

TEST(with_an_id_of_its_own) {
  bits_job *j = make_job(m, "{'id':'{ABCDEF01-0000-4000-8000-000000000001}'}");
  CHECK_TEXT(bits_job_id(j), "abcdef01-0000-4000-8000-000000000001");
  CHECK_INT(create("{'id':'abcdef01-0000-4000-8000-000000000001'}"),
            SAROS_E_INVALIDARG);
  drop(j);
  CHECK_INT(create("{'id':'abcdef01-0000-4000-8000-000000000001'}"), 0);
}

TEST(of_a_group) {
  bits_job *j = make_job(m, "{'group':'ABCDEF01-0000-4000-8000-000000000002'}");
  value *v = bits_job_status(j);
  CHECK_TEXT(text_of(v, "group"), "abcdef01-0000-4000-8000-000000000002");
  CHECK((j->marks & BITS_JOB_GROUP) != 0);
  value_free(v);
  drop(j);
}

/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static const struct {
  const char *options;
  uint32_t code;
} files[] = {
    {"{'url':'http://h/a','path':'$/a'}", 0},
    {"{'url':'https://h:8443/a?b=c','path':'$/b'}", 0},
    {"{}", SAROS_E_INVALIDARG},
    {"[]", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a'}", SAROS_E_INVALIDARG},
    {"{'path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':7,'path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/c','size':7}", SAROS_E_INVALIDARG},
    {"{'url':'ftp://h/a','path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://u:p@h/a','path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a b','path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a\\u0000b','path':'$/c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/../c'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/c/'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/a\\u0000b'}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/d','sha256':'" HEX32 HEX32 "'}", 0},
    {"{'url':'http://h/a','path':'$/e','sha256':'" HEX32 "'}",
     SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/e','sha256':'" HEX32 HEX32 "0'}",
     SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/e','sha256':7}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/f','ranges':[{'offset':0}]}", 0},
    {"{'url':'http://h/a','path':'$/g','ranges':[{'offset':5,'length':5},"
     "{'offset':0,'length':5},{'offset':10}]}",
     0},
    {"{'url':'http://h/a','path':'$/h','ranges':[]}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/h','ranges':[7]}", SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'length':1}]}",
     SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':-1}]}",
     SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':1.5}]}",
     SAROS_E_INVALIDARG},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':1,'length':0}]}",
     BG_E_INVALID_RANGE},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':1,"
     "'length':9223372036854775807}]}",
     BG_E_INVALID_RANGE},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':0,'length':6},"
     "{'offset':5,'length':5}]}",
     BG_E_OVERLAPPING_RANGES},
    {"{'url':'http://h/a','path':'$/h','ranges':[{'offset':0},"
     "{'offset':5,'length':5}]}",
     BG_E_OVERLAPPING_RANGES},
};

TEST(each_file_is_answered) {
  bits_job *j = make_job(m, "{}");
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
    uint32_t code = add(j, files[i].options);
    if (code != files[i].code) printf("%s\n", files[i].options);
    CHECK_INT(code, files[i].code);
  }
  CHECK_INT(j->file_count, 5);
  const bits_extra *x = j->files[4]->extra;
  CHECK(x->range_count == 3 && x->ranges[0].offset == 0 &&
        x->ranges[1].offset == 5 && x->ranges[2].length == BITS_UNKNOWN);
  CHECK_TEXT(
      j->files[2]->extra->sha256,
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
  drop(j);
}

TEST(a_url_has_its_length) {
  bits_job *j = make_job(m, "{}");
  for (size_t size = 2200; size <= 2201; size++) {
    char url[2300];
    memset(url, 'x', sizeof url);
    memcpy(url, "http://h/", 9);
    url[size] = '\0';
    value *v = value_map();
    value_put(v, "url", value_text(url));
    value_put(v, "path", value_text(in_world("long")));
    CHECK_INT(code_of(bits_job_add_file(j, v)),
              size == 2200 ? 0 : BG_E_STRING_TOO_LONG);
    value_free(v);
  }
  drop(j);
}

TEST(a_name_once_in_a_job) {
  bits_job *j = make_job(m, "{}"), *other = make_job(m, "{}");
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/same'}"), 0);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/same'}"), SAROS_E_INVALIDARG);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$//./same'}"),
            SAROS_E_INVALIDARG);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/Same'}"), 0);
  CHECK_INT(add(other, "{'url':'http://h/b','path':'$/same'}"), 0);
  drop(j);
  drop(other);
}

/* Whoever overwrites it has lost all jobs. */
TEST(the_queue_is_no_destination) {
  static const char *const own[] = {"",       "-wal", "-shm",   "-journal",
                                    ".owner", ".new", ".mended"};
  bits_job *j = make_job(m, "{'overwrite':true}");
  bits_job *up = make_job(m, "{'type':'upload'}");
  char text[4400];
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
    snprintf(text, sizeof text, "{'url':'http://h/a','path':'%s%s'}", m->path,
             own[i]);
    CHECK_INT(add(j, text), SAROS_E_INVALIDARG);
  }
  snprintf(text, sizeof text, "{'url':'http://h/a','path':'%s.gz'}", m->path);
  CHECK_INT(add(j, text), 0);
  CHECK_INT(j->file_count, 1);
  snprintf(text, sizeof text, "{'url':'http://h/a','path':'%s'}", m->path);
  CHECK_INT(add(up, text), 0); /* it is only read */
  drop(j);
  drop(up);
}

TEST(an_upload_has_one_file) {
  bits_job *j = make_job(m, "{'type':'upload'}");
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/u','ranges':[{'offset':1}]}"),
            SAROS_E_NOTIMPL);
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/u'}"), 0);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/v'}"), BG_E_TOO_MANY_FILES);
  drop(j);
}

TEST(dynamic_has_no_ranges) {
  bits_job *j = make_job(m, "{'dynamic':true}"), *other = make_job(m, "{}");
  const char *ranged =
      "{'url':'http://h/a','path':'$/r',"
      "'ranges':[{'offset':1}]}";
  CHECK_INT(add(j, ranged), SAROS_E_INVALIDARG);
  CHECK_INT(add(other, ranged), 0);
  value *v = json_of("{'dynamic':true}");
  CHECK_INT(code_of(bits_job_set(other, v)), SAROS_E_INVALIDARG);
  value_free(v);
  drop(j);
  drop(other);
}

TEST(five_hundred_ranges) {
  bits_job *j = make_job(m, "{}");
  for (unsigned count = 500; count <= 501; count++) {
    value *v = value_map(), *list = value_list();
    for (unsigned i = 0; i < count; i++) {
      value *r = value_map();
      value_put(r, "offset", value_int(10 * i));
      value_put(r, "length", value_int(10));
      value_add(list, r);
    }
    value_put(v, "url", value_text("http://h/a"));
    value_put(v, "path", value_text(in_world(count == 500 ? "r1" : "r2")));
    value_put(v, "ranges", list);
    CHECK_INT(code_of(bits_job_add_file(j, v)),
              count == 500 ? 0 : BG_E_TOO_MANY_RANGES_IN_FILE);
    value_free(v);
  }
  drop(j);
}

static void add_many(bits_job *j, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char url[80], path[120];
    snprintf(url, sizeof url, "http://files.example.org/many/%06u.bin", i);
    snprintf(path, sizeof path, "%s/many-%06u.bin", world_folder, i);
    value *v = value_map();
    value_put(v, "url", value_text(url));
    value_put(v, "path", value_text(path));
    error *e = bits_job_add_file(j, v);
    value_free(v);
    if (e != NULL) CHECK(is_fine(e));
  }
}

/* Each costs the same, however many there are: what one is compared with is
   counted by looking at the table that finds them. */
TEST(twenty_thousand_files) {
  bits_job *j = make_job(m, "{}");
  struct mallinfo2 before = mallinfo2();
  add_many(j, 20000);
  struct mallinfo2 after = mallinfo2();
  CHECK_INT(j->file_count, 20000);
  CHECK(j->name_room > 40000);
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/many-012345.bin'}"),
            SAROS_E_INVALIDARG);
  size_t used = after.uordblks - before.uordblks;
  if (getenv("SAROS_SANITIZER") == NULL && used > 8u << 20)
    printf("%zu bytes for 20,000 files\n", used);
  if (getenv("SAROS_SANITIZER") == NULL) CHECK(used <= 8u << 20);
  drop(j);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  RUN(made);
  RUN(with_an_id_of_its_own);
  RUN(of_a_group);
  RUN(each_file_is_answered);
  RUN(a_url_has_its_length);
  RUN(a_name_once_in_a_job);
  RUN(the_queue_is_no_destination);
  RUN(an_upload_has_one_file);
  RUN(dynamic_has_no_ranges);
  RUN(five_hundred_ranges);
  RUN(twenty_thousand_files);
  shut_queue(m);
  return check_end();
}
