/*
** What is fetched from S3: each request signed, also those that go on; a region
** that was wrong, keys that are; and no secret in what is said.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits_fetch_case.h"

#define SECRET "sEcReT/canary+key"
#define TOKEN "tOkEn/canary=="

static bed b;
static char content[50001];

static void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

static void make(const char *key) {
  char url[256];
  control("/!clear", "");
  snprintf(url, sizeof url, "/!object/bucket/%s", key);
  free(server_ask(&s, "PUT", url, content));
  bed_make(&b, "file", "");
  mem_free(b.f->url);
  snprintf(url, sizeof url, "bucket/%s", key);
  b.f->url = mem_text(at(url));
  b.terms->s3_key = mem_text("AKTEST");
  b.terms->s3_secret = mem_text(SECRET);
}

static bool comes(unsigned tries) {
  bits_end end = bed_carry(&b, tries);
  if (end == BITS_END_WHOLE) end = bed_finish(&b);
  if (end != BITS_END_WHOLE) printf("%d %s\n", (int)end, b.result.why);
  return end == BITS_END_WHOLE && file_has(b.path, content, strlen(content));
}

TEST(it_is_signed) {
  make("a%20key+of/it");
  CHECK(comes(1));
  bed_end(&b);
  make("token");
  control("/!set", "{\"token\": true}");
  b.terms->s3_token = mem_text(TOKEN);
  CHECK(comes(1));
  bed_end(&b);
}

TEST(it_is_gone_on_with) {
  make("on");
  control("/!plan", "[{\"fault\": \"half\"}]");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(atomic_load(&b.f->have), 25000);
  CHECK(comes(1));
  bed_end(&b);
}

TEST(another_region) {
  make("region");
  control("/!set", "{\"region\": \"eu-somewhere-7\"}");
  CHECK(comes(1)); /* the server says which */
  bed_end(&b);
}

TEST(what_is_refused) {
  make("key");
  mem_free(b.terms->s3_secret);
  b.terms->s3_secret = mem_text("another secret");
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_INVALID_CREDENTIALS);
  CHECK_INT(b.result.transport, 403);
  CHECK(strstr(b.result.why, "SignatureDoesNotMatch") != NULL);
  CHECK(strstr(b.result.why, "another secret") == NULL);
  CHECK(strstr(b.result.why, "AKTEST") == NULL);
  bed_end(&b);
  make("there");
  mem_free(b.f->url);
  b.f->url = mem_text(at("bucket/not-there"));
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_FILE_NOT_FOUND);
  CHECK_INT(place_names(&b.p), 0);
  bed_end(&b);
  make("slow");
  control("/!plan",
          "[{\"fault\": \"status\", \"status\": 503, \"code\": \"SlowDown\", "
          "\"after\": 3}]");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(b.result.gate_host && b.result.wait_ms == 3000);
  CHECK(comes(1));
  bed_end(&b);
}

int main(int argc, char **argv) {
  const char *const command[] = {"python3", "spec/s3/server.py", NULL};
  gate_begin(argc, argv);
  for (size_t i = 0; i + 1 < sizeof content; i++)
    content[i] = (char)('a' + i * 7 % 26);
  if (!server_start(&s, command)) return server_missing();
  bed_suite_count();
  GATE_RUN(it_is_signed);
  GATE_RUN(it_is_gone_on_with);
  GATE_RUN(another_region);
  GATE_RUN(what_is_refused);
  return bed_suite_end();
}
