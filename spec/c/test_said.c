/*
** What writers say beyond yes: what is fit to be kept, how it is added to what
** was said before, and how it comes over the wire.
*/
#include "vss/telling.h"
#include "wire_requester_case.h"

static value *parsed(const char *text) {
  error *e = NULL;
  const json_limits limits = {.depth = 100};
  value *v = json_read(text, strlen(text), &limits, &e);
  CHECK(v != NULL);
  error_unref(e);
  return v;
}

static bool is(const value *v, const char *text) {
  value *wanted = parsed(text);
  bool same = v != NULL && value_equal(v, wanted);
  value_free(wanted);
  return same;
}

/* Takes over `said`. */
static void check_wrong(value *said, const char *says) {
  value *all = parsed("{\"a\":1}");
  check_error(said_check(said), VSS_E_WRITERERROR_NONRETRYABLE, says);
  check_error(said_add(&all, said), VSS_E_WRITERERROR_NONRETRYABLE, says);
  CHECK(is(all, "{\"a\":1}"));
  value_free(all);
  value_free(said);
}

TEST(what_is_not_fit) {
  check_wrong(parsed("7"), "no map");
  check_wrong(parsed("\"yes\""), "no map");
  check_wrong(parsed("[1]"), "no map");
  check_wrong(parsed("true"), "no map");
  check_wrong(parsed("{\"a\":{\"__class\":\"saros.vds.disk\"}}"), "__");
  value *v = value_map();
  CHECK(value_put(v, "a", value_real(1.0 / 0.0)));
  check_wrong(v, "number that is none");
  v = value_map();
  CHECK(value_put(v, "a", value_string("\xFF", 1)));
  check_wrong(v, "not UTF-8");
  v = value_map();
  CHECK(value_put_bytes(v, "\xFF", 1, value_null()));
  check_wrong(v, "not UTF-8");
}

/* `depth` maps inside each other. */
static value *nested(unsigned depth) {
  value *v = value_int(1);
  for (unsigned i = 0; i < depth; i++) {
    value *outer = value_map();
    CHECK(value_put(outer, "a", v));
    v = outer;
  }
  return v;
}

/* As JSON so many bytes long. */
static value *long_one(const char *name, size_t size) {
  char *text = calloc(1, size + 1);
  size_t rest = strlen("{\"\":\"\"}") + strlen(name);
  memset(text, 'x', size - rest);
  value *v = value_map();
  CHECK(value_put(v, name, value_text(text)));
  free(text);
  return v;
}

TEST(how_much_is_fit) {
  value *v = nested(16);
  CHECK(said_check(v) == NULL);
  value_free(v);
  check_wrong(nested(17), "16 deep");
  check_wrong(nested(900), "16 deep");
  v = long_one("b", 65536);
  CHECK(said_check(v) == NULL);
  value_free(v);
  check_wrong(long_one("b", 65537), "64 KiB");
  value *list = value_list();
  for (int i = 0; i < 10000; i++) CHECK(value_add(list, value_int(0)));
  v = value_map();
  CHECK(value_put(v, "a", list));
  check_wrong(v, "10,000 values");
}

TEST(said_anew) {
  value *all = NULL;
  value *nothing[] = {NULL, parsed("null"), parsed("[]"), parsed("{}")};
  for (int i = 0; i < 3; i++) CHECK(said_add(&all, nothing[i]) == NULL);
  CHECK(all == NULL);
  value *a = parsed("{\"a\":1,\"b\":{\"c\":2}}");
  value *b = parsed("{\"b\":{\"d\":3},\"e\":null}");
  CHECK(said_add(&all, a) == NULL);
  CHECK(is(all, "{\"a\":1,\"b\":{\"c\":2}}"));
  CHECK(said_add(&all, b) == NULL); /* the names at the top, and no deeper */
  CHECK(is(all, "{\"a\":1,\"b\":{\"d\":3},\"e\":null}"));
  for (int i = 0; i < 4; i++) {
    CHECK(said_add(&all, nothing[i]) == NULL);
    value_free(nothing[i]);
  }
  CHECK(is(all, "{\"a\":1,\"b\":{\"d\":3},\"e\":null}"));
  value_free(a);
  value_free(b);
  value_free(all);
}

/* Each is fit, and both together are too much. */
TEST(all_of_it_counts) {
  value *all = NULL;
  value *a = long_one("a", 40000), *b = long_one("b", 40000);
  value *less = parsed("{\"a\":\"\"}");
  CHECK(said_add(&all, a) == NULL);
  check_error(said_add(&all, b), VSS_E_WRITERERROR_NONRETRYABLE, "64 KiB");
  CHECK(value_equal(all, a));
  CHECK(said_add(&all, less) == NULL);
  CHECK(said_add(&all, b) == NULL);
  value_free(a);
  value_free(b);
  value_free(less);
  value_free(all);
}

TEST(memory_runs_out) {
  value *all = parsed("{\"a\":1}"), *more = parsed("{\"b\":[1,{\"c\":2}]}");
  int failed = 0;
  for (long n = 1; n < 100; n++) {
    mem_fail_at(n);
    error *e = said_add(&all, more);
    mem_fail_at(0);
    if (e == NULL) break;
    failed++;
    CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    CHECK(is(all, "{\"a\":1}"));
    error_unref(e);
  }
  CHECK(failed > 3);
  CHECK(is(all, "{\"a\":1,\"b\":[1,{\"c\":2}]}"));
  value_free(all);
  value_free(more);
}


/* ------------------------------------------------------------------
** Over the wire
** ---------------------------------------------------------------- */

/* What came with the consent, whatever it is: who has told looks at it. */
static void check_heard(const char *said, const char *heard) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_FREEZE, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":true%s%s}\n", (long long)n,
      said != NULL ? ",\"said\":" : "", said != NULL ? said : "");
  CHECK_INT(ended(op), 0);
  const value *output = op_output(op);
  if (heard != NULL)
    CHECK(is(output, heard));
  else
    CHECK(output == NULL);
  saros_op_unref(op);
  end(&s);
}

TEST(heard_with_a_consent) {
  check_heard(NULL, NULL);
  check_heard("{\"position\":\"0/16\"}", "{\"position\":\"0/16\"}");
  check_heard("[1]", "[1]");
  check_heard("7", "7");
  check_heard("null", "null");
}

/* With a refusal it says nothing, and at identify its metadata are all. */
TEST(not_heard_otherwise) {
  scene s = begin();
  int64_t n;
  saros_op *op = ask(&s, EVENT_FREEZE, FOR_EVER, &n);
  say(s.fd, "{\"n\":%lld,\"ok\":false,\"said\":{\"a\":1}}\n", (long long)n);
  ends_with(op, VSS_E_WRITERERROR_NONRETRYABLE, "said no");
  op = ask(&s, EVENT_IDENTIFY, FOR_EVER, &n);
  say(s.fd,
      "{\"n\":%lld,\"ok\":true,\"said\":{\"a\":1},"
      "\"metadata\":{\"name\":\"app\"}}\n",
      (long long)n);
  CHECK_INT(ended(op), 0);
  CHECK_TEXT(value_chars(value_get(op_output(op), "name"), NULL), "app");
  CHECK(value_get(op_output(op), "a") == NULL);
  saros_op_unref(op);
  end(&s);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  RUN(what_is_not_fit);
  RUN(how_much_is_fit);
  RUN(said_anew);
  RUN(all_of_it_counts);
  RUN(memory_runs_out);
  GATE_RUN(heard_with_a_consent);
  GATE_RUN(not_heard_otherwise);
  place_gone();
  return check_end();
}
