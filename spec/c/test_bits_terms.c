/*
** Terms: what is usual, copies that share nothing, and nothing that stays.
*/
#include "bits/terms.h"

#include "check.h"
#include "saros.h"

__attribute__((weak)) const saros_api *saros_api_table;

TEST(what_is_usual) {
  bits_terms *t = bits_terms_new();
  CHECK_INT(t->durability, BITS_DURABLE_GROUP);
  CHECK(t->length_required && t->restart_changed);
  CHECK(!t->overwrite && !t->dynamic && t->headers == NULL);
  CHECK_INT(t->connect_ms, 30000);
  CHECK_INT(t->stall_ms, 60000);
  CHECK_INT(t->redirects, 10);
  CHECK_INT(t->per_host, 6);
  CHECK(t->method == NULL && t->proxy == NULL && t->s3_key == NULL);
  bits_terms_unref(t);
  bits_terms_unref(NULL);
}

static bits_terms *full(void) {
  bits_terms *t = bits_terms_new();
  char **texts[] = {&t->method,      &t->cacert,    &t->proxy,
                    &t->proxy_login, &t->s3_key,    &t->s3_secret,
                    &t->s3_token,    &t->s3_region, &t->s3_reference};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    char text[] = "a text of its own";
    text[0] = (char)('a' + i);
    *texts[i] = mem_text(text);
  }
  t->headers = mem_zero(2 * sizeof *t->headers);
  t->header_count = 2;
  t->headers[0] = (bits_header){.name = mem_text("Authorization"),
                                .value = mem_text("Basic x"),
                                .reference = mem_text("env:X"),
                                .secret = true};
  t->headers[1] = (bits_header){.name = mem_text("Cookie"), .secret = true};
  t->durability = BITS_DURABLE_FILE;
  t->overwrite = t->dynamic = true;
  t->length_required = t->restart_changed = false;
  t->connect_ms = 1;
  t->stall_ms = 2;
  t->redirects = 3;
  t->most = 4;
  t->part_size = 5;
  t->per_host = 6;
  return t;
}

static void check_full(const bits_terms *t) {
  CHECK_TEXT(t->method, "a text of its own");
  CHECK_TEXT(t->cacert, "b text of its own");
  CHECK_TEXT(t->proxy, "c text of its own");
  CHECK_TEXT(t->proxy_login, "d text of its own");
  CHECK_TEXT(t->s3_key, "e text of its own");
  CHECK_TEXT(t->s3_secret, "f text of its own");
  CHECK_TEXT(t->s3_token, "g text of its own");
  CHECK_TEXT(t->s3_region, "h text of its own");
  CHECK_TEXT(t->s3_reference, "i text of its own");
  CHECK_INT(t->header_count, 2);
  CHECK_TEXT(t->headers[0].name, "Authorization");
  CHECK_TEXT(t->headers[0].value, "Basic x");
  CHECK_TEXT(t->headers[0].reference, "env:X");
  CHECK(t->headers[0].secret && t->headers[1].secret);
  CHECK(t->headers[1].value == NULL && t->headers[1].reference == NULL);
  CHECK_INT(t->durability, BITS_DURABLE_FILE);
  CHECK(t->overwrite && t->dynamic);
  CHECK(!t->length_required && !t->restart_changed);
  CHECK_INT(t->connect_ms, 1);
  CHECK_INT(t->stall_ms, 2);
  CHECK_INT(t->redirects, 3);
  CHECK_INT(t->most, 4);
  CHECK_INT(t->part_size, 5);
  CHECK_INT(t->per_host, 6);
}

TEST(a_copy_shares_nothing) {
  long blocks = mem_blocks();
  bits_terms *t = full();
  CHECK(bits_terms_ref(t) == t);
  bits_terms_unref(t);
  check_full(t);
  bits_terms *c = bits_terms_copy(t);
  bits_terms_unref(t);
  check_full(c);
  bits_terms_unref(c);
  CHECK_INT(mem_blocks(), blocks);
}

TEST(memory_runs_out_in_a_copy) {
  bits_terms *t = full();
  long blocks = mem_blocks(), n = 1;
  for (;; n++) {
    mem_fail_at(n);
    bits_terms *c = bits_terms_copy(t);
    bool done = mem_fail_left() > 0;
    mem_fail_at(0);
    CHECK(done == (c != NULL));
    bits_terms_unref(c);
    CHECK_INT(mem_blocks(), blocks);
    if (done) break;
  }
  CHECK(n > 10);
  bits_terms_unref(t);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(what_is_usual);
  RUN(a_copy_shares_nothing);
  RUN(memory_runs_out_in_a_copy);
  return check_end();
}
