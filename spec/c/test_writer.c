/*
** Writers: names of events, references, the register, and what a writer may
** say about itself.
*/
#include <sys/wait.h>

#include "gate.h"
#include "vss/writer.h"

#define ID "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f01"
#define OTHER "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f02"

static int released;

static void release(writer *w) {
  (void)w;
  released++;
}

static const writer_way way = {.name = "test", .release = release};

static writer *make(const char *id, const char *instance) {
  error *e = NULL;
  writer *w = writer_make(&way, id, instance, "app", NULL, &e);
  CHECK(w != NULL);
  error_unref(e);
  return w;
}

static value *read_json(const char *text) {
  error *e = NULL;
  value *v = json_read(text, strlen(text), NULL, &e);
  if (v == NULL) printf("%s: %s\n", text, e->message);
  CHECK(v != NULL);
  error_unref(e);
  return v;
}

TEST(event_names_go_both_ways) {
  for (unsigned i = 0; i < EVENTS; i++)
    CHECK_INT(writer_event_of(writer_event_name((writer_event)i)), i);
  CHECK_TEXT(writer_event_name(EVENT_PREPARE_SNAPSHOT), "prepare_snapshot");
  CHECK_INT(writer_event_of("Freeze"), EVENTS);
  CHECK_INT(writer_event_of(""), EVENTS);
  CHECK_INT(writer_event_of(NULL), EVENTS);
}

TEST(a_writer_has_guids_in_lower_case) {
  long before = mem_blocks();
  writer *w = make("{6B0C9D5A-7B1F-4A59-9D53-5D6A0D6C1F01}", NULL);
  guid g;
  CHECK_TEXT(w->id, ID);
  CHECK(guid_parse(w->instance, &g));
  writer *again = make(ID, NULL);
  CHECK(strcmp(w->instance, again->instance) != 0);
  writer_unref(again);
  released = 0;
  writer_ref(w);
  writer_unref(w);
  CHECK_INT(released, 0);
  writer_unref(w);
  CHECK_INT(released, 1);
  writer_unref(NULL);
  CHECK_INT(mem_blocks(), before);
}

static void check_no_writer(const char *id, const char *instance) {
  error *e = NULL;
  CHECK(writer_make(&way, id, instance, NULL, NULL, &e) == NULL);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
}

TEST(ids_that_are_none_are_refused) {
  check_no_writer(NULL, NULL);
  check_no_writer("", NULL);
  check_no_writer("app", NULL);
  check_no_writer("00000000-0000-0000-0000-000000000000", NULL);
  check_no_writer(ID, "");
  check_no_writer(ID, "one");
}

static size_t count_local(const writer *first) {
  writer_list list;
  CHECK(writer_local(&list));
  size_t n = list.count;
  if (n > 0) CHECK(list.items[0] == first);
  writer_list_free(&list);
  return n;
}

TEST(the_same_instance_twice_is_refused) {
  gate_counts before = gate_count();
  writer *a = make(ID, OTHER), *b = make(ID, OTHER), *c = make(ID, NULL);
  CHECK(writer_subscribe(a) == NULL);
  error *e = writer_subscribe(b);
  CHECK(e != NULL && e->code == VSS_E_WRITER_ALREADY_SUBSCRIBED);
  error_unref(e);
  e = writer_subscribe(a);
  CHECK(e != NULL && e->code == VSS_E_WRITER_ALREADY_SUBSCRIBED);
  error_unref(e);
  CHECK(writer_subscribe(c) == NULL);
  CHECK_INT(count_local(a), 2);
  writer_unsubscribe(b); /* it never was */
  CHECK_INT(count_local(a), 2);
  writer_unsubscribe(a);
  writer_unsubscribe(a);
  CHECK_INT(count_local(c), 1);
  CHECK(writer_subscribe(b) == NULL);
  writer_unsubscribe(b);
  writer_unsubscribe(c);
  writer_unref(a);
  writer_unref(b);
  writer_unref(c);
  CHECK(gate_back_to(before));
}

TEST(the_register_keeps_a_writer) {
  writer *w = make(ID, NULL);
  released = 0;
  CHECK(writer_subscribe(w) == NULL);
  writer_unref(w);
  CHECK_INT(released, 0);
  CHECK_INT(count_local(w), 1);
  writer_unsubscribe(w);
  CHECK_INT(released, 1);
}

TEST(a_forked_child_has_no_writers) {
  writer *w = make(ID, NULL);
  CHECK(writer_subscribe(w) == NULL);
  CHECK_INT(fork_prepare(), 0);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    check_bad = 0;
    CHECK_INT(count_local(NULL), 0);
    error *e = writer_subscribe(w);
    CHECK(e != NULL && e->code == SAROS_E_FORKED);
    error_unref(e);
    writer *mine = make(ID, w->instance);
    CHECK(writer_subscribe(mine) == NULL); /* it is another process's name */
    CHECK_INT(count_local(mine), 1);
    writer_unsubscribe(w);
    CHECK_INT(count_local(mine), 1);
    writer_unsubscribe(mine);
    fflush(stdout);
    _exit(check_bad > 0);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK_INT(count_local(w), 1);
  writer_unsubscribe(w);
  writer_unref(w);
}

TEST(lists_without_memory) {
  writer *w[5];
  for (int i = 0; i < 5; i++) {
    w[i] = make(ID, NULL);
    CHECK(writer_subscribe(w[i]) == NULL);
  }
  long before = mem_blocks();
  int failures = 0;
  for (long n = 1;; n++) {
    writer_list list;
    mem_fail_at(n);
    bool good = writer_local(&list);
    mem_fail_at(0);
    if (good) CHECK_INT(list.count, 5);
    if (!good) CHECK_INT(list.count, 0);
    writer_list_free(&list);
    CHECK_INT(mem_blocks(), before);
    if (good) break;
    failures++;
  }
  CHECK_INT(failures, 4); /* at 1, 2, 4 and 8 */
  for (int i = 0; i < 5; i++) {
    CHECK_INT(atomic_load(&w[i]->refs), 2);
    writer_unsubscribe(w[i]);
    writer_unref(w[i]);
  }
}


/* ------------------------------------------------------------------
** Metadata
** ---------------------------------------------------------------- */

TEST(metadata_is_completed) {
  value *said = read_json(
      "{\"name\":\"app\",\"instance\":\"6B0C9D5A-7B1F-4A59-9D53-5D6A0D6C1F02\","
      "\"components\":[{\"type\":\"database\",\"name\":\"main\","
      "\"files\":[\"/srv/a.db\"]},{\"type\":\"filegroup\",\"name\":\"x\","
      "\"files\":{}}],\"port\":5432}");
  error *e = NULL;
  value *m = writer_metadata(said, ID, &e);
  CHECK(m != NULL && e == NULL);
  CHECK_TEXT(value_chars(value_get(m, "id"), NULL), ID);
  CHECK_TEXT(value_chars(value_get(m, "instance"), NULL), OTHER);
  CHECK_TEXT(value_chars(value_get(m, "level"), NULL), "front_end");
  CHECK(value_get(m, "freeze_timeout")->as.real == 60.0);
  CHECK_INT(value_integer(value_get(m, "port"), 0), 5432);
  const value *components = value_get(m, "components");
  CHECK_INT(components->count, 2);
  CHECK_INT(value_get(components->as.items[1], "files")->type, VALUE_LIST);
  value_free(m);
  value_free(said);
}

static void check_refused(const char *text, const char *because) {
  long before = mem_blocks();
  value *said = read_json(text);
  error *e = NULL;
  value *m = writer_metadata(said, ID, &e);
  CHECK(m == NULL);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  if (e != NULL && strstr(e->message, because) == NULL) {
    printf("\"%s\" does not say \"%s\"\n", e->message, because);
    CHECK(false);
  }
  error_unref(e);
  value_free(m);
  value_free(said);
  CHECK_INT(mem_blocks(), before);
}

TEST(what_is_wrong_is_said) {
  check_refused("[]", "no map");
  check_refused("null", "no map");
  check_refused("{}", "no name");
  check_refused("{\"name\":7}", "must be a text");
  check_refused("{\"name\":\"\"}", "empty");
  check_refused("{\"name\":\"a\\nb\"}", "control");
  check_refused("{\"name\":\"a\",\"id\":\"x\"}", "id must be a GUID");
  check_refused("{\"name\":\"a\",\"id\":\"" OTHER "\"}", "another one");
  check_refused("{\"name\":\"a\",\"instance\":3}", "instance must be");
  check_refused("{\"name\":\"a\",\"usage\":\"fun\"}", "user_data");
  check_refused("{\"name\":\"a\",\"source\":\"x\"}", "transacted_db");
  check_refused("{\"name\":\"a\",\"level\":3}", "back_end");
  check_refused("{\"name\":\"a\",\"guard\":\"dog\"}", "expiry");
  check_refused("{\"name\":\"a\",\"freeze_timeout\":0}", "freeze_timeout");
  check_refused("{\"name\":\"a\",\"freeze_timeout\":601}", "freeze_timeout");
  check_refused("{\"name\":\"a\",\"freeze_timeout\":\"9\"}", "freeze_timeout");
  check_refused("{\"name\":\"a\",\"components\":7}", "must be a list");
  check_refused("{\"name\":\"a\",\"components\":{\"a\":1}}", "must be a list");
  check_refused("{\"name\":\"a\",\"components\":[1]}", "must be a map");
  check_refused("{\"name\":\"a\",\"components\":[{\"name\":\"m\"}]}", "type");
  check_refused("{\"name\":\"a\",\"components\":[{\"type\":\"database\"}]}",
                "no name");
  check_refused(
      "{\"name\":\"a\",\"components\":[{\"type\":\"table\",\"name\":"
      "\"m\"}]}",
      "filegroup");
  check_refused(
      "{\"name\":\"a\",\"components\":[{\"type\":\"database\","
      "\"name\":\"m\",\"files\":[\"a.db\"]}]}",
      "absolute");
  check_refused(
      "{\"name\":\"a\",\"components\":[{\"type\":\"database\","
      "\"name\":\"m\",\"files\":[\"/a\\u0000b\"]}]}",
      "list of paths");
  check_refused(
      "{\"name\":\"a\",\"components\":[{\"type\":\"database\","
      "\"name\":\"m\"},{\"type\":\"filegroup\",\"name\":\"m\"}]}",
      "same name");
  check_refused("{\"name\":\"a\",\"x\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}",
                "deep");
}

TEST(metadata_is_bounded) {
  value *said = value_map();
  CHECK(value_put(said, "name", value_text("app")));
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < 65537; i++) buffer_byte(&b, 'x');
  CHECK(value_put(said, "note", value_string(b.data, b.size)));
  error *e = NULL;
  CHECK(writer_metadata(said, ID, &e) == NULL);
  CHECK(e != NULL && strstr(e->message, "64 KiB") != NULL);
  error_unref(e);
  e = NULL;
  CHECK(value_put(said, "note", value_string(b.data, 65000)));
  value *m = writer_metadata(said, ID, &e);
  CHECK(m != NULL);
  value_free(m);
  value_free(said);
  buffer_free(&b);
}

TEST(metadata_without_memory) {
  value *said = read_json(
      "{\"name\":\"app\",\"components\":[{\"type\":"
      "\"database\",\"name\":\"main\"}]}");
  long before = mem_blocks();
  int failures = 0;
  for (long n = 1; failures < 1000; n++) {
    error *e = NULL;
    mem_fail_at(n);
    value *m = writer_metadata(said, ID, &e);
    mem_fail_at(0);
    CHECK((m == NULL) == (e != NULL));
    if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    bool good = m != NULL;
    value_free(m);
    error_unref(e);
    CHECK_INT(mem_blocks(), before);
    if (good) break;
    failures++;
  }
  CHECK(failures > 10 && failures < 1000);
  value_free(said);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(event_names_go_both_ways);
  GATE_RUN(a_writer_has_guids_in_lower_case);
  GATE_RUN(ids_that_are_none_are_refused);
  GATE_RUN(the_same_instance_twice_is_refused);
  GATE_RUN(the_register_keeps_a_writer);
  GATE_RUN(a_forked_child_has_no_writers);
  GATE_RUN(lists_without_memory);
  GATE_RUN(metadata_is_completed);
  GATE_RUN(what_is_wrong_is_said);
  GATE_RUN(metadata_is_bounded);
  GATE_RUN(metadata_without_memory);
  return check_end();
}
