/*
** Ids: SHA-256, whole, in pieces and from many threads, and its text.
*/
#include "repository/id.h"

#include <pthread.h>

#include "check.h"

static const char *const vectors[][2] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"hello saros\n",
     "378fa093c62ce97660fcadbddefcdad0ac3fb9700766f02c1045992f74351aa2"},
    {"{\"nodes\":[]}\n",
     "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"},
};

TEST(known_hashes) {
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
    repo_id id;
    char text[REPO_ID_TEXT];
    repo_id_of(&id, vectors[i][0], strlen(vectors[i][0]));
    repo_id_format(&id, text);
    CHECK_TEXT(text, vectors[i][1]);
  }
  repo_id id;
  char text[REPO_ID_TEXT], *zero = calloc(1, 512 << 10);
  repo_id_of(&id, zero, 512 << 10);
  repo_id_format(&id, text);
  CHECK_TEXT(
      text, "07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541");
  free(zero);
}

TEST(in_pieces) {
  repo_hash *h = repo_hash_new();
  CHECK(h != NULL);
  if (h == NULL) return;
  for (int again = 0; again < 3; again++) {
    repo_id pieces, whole;
    char data[1000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7);
    repo_hash_add(h, data, 1);
    repo_hash_add(h, data + 1, 0);
    repo_hash_add(h, data + 1, 699);
    repo_hash_add(h, data + 700, 300);
    repo_hash_end(h, &pieces);
    repo_id_of(&whole, data, sizeof data);
    CHECK(repo_id_equal(&pieces, &whole));
    repo_hash_end(h, &pieces); /* as new: of nothing */
    repo_id_of(&whole, "", 0);
    CHECK(repo_id_equal(&pieces, &whole));
  }
  repo_hash_free(h);
  repo_hash_free(NULL);
}

TEST(text_is_strict) {
  static const char good[] =
      "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
  repo_id id, before;
  char text[REPO_ID_TEXT], bad[66];
  CHECK(repo_id_parse(&id, good, 64));
  repo_id_format(&id, text);
  CHECK_TEXT(text, good);
  CHECK_INT(id.bytes[10], 0xaa);
  before = id;
  CHECK(!repo_id_parse(&id, good, 63));
  CHECK(!repo_id_parse(&id, good, 65));
  CHECK(!repo_id_parse(&id, good, 0));
  for (int at = 0; at < 64; at++) {
    static const char wrong[] = {'g', 'A', '/', ':', '`', ' ', '\0', '\xFF'};
    for (size_t i = 0; i < sizeof wrong; i++) {
      memcpy(bad, good, 65);
      bad[at] = wrong[i];
      CHECK(!repo_id_parse(&id, bad, 64));
    }
  }
  CHECK(repo_id_equal(&id, &before)); /* a failure leaves it alone */
}

TEST(order) {
  repo_id a = {{0}}, b = {{0}};
  CHECK_INT(repo_id_compare(&a, &b), 0);
  b.bytes[31] = 0x80;
  CHECK(repo_id_compare(&a, &b) < 0);
  a.bytes[0] = 0xff;
  CHECK(repo_id_compare(&a, &b) > 0);
  CHECK(!repo_id_equal(&a, &b));
}

static void *hash_much(void *unused) {
  static _Thread_local char data[3000];
  (void)unused;
  for (size_t n = 0; n < sizeof data; n += 7) {
    repo_id one, two;
    repo_hash *h = repo_hash_new();
    memset(data, (int)n, n);
    repo_id_of(&one, data, n);
    repo_hash_add(h, data, n);
    repo_hash_end(h, &two);
    repo_hash_free(h);
    if (!repo_id_equal(&one, &two)) return data;
  }
  return NULL;
}

TEST(many_threads) {
  for (int round = 0; round < 3; round++) {
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
      CHECK_INT(pthread_create(&threads[i], NULL, hash_much, NULL), 0);
    for (int i = 0; i < 8; i++) {
      void *bad = NULL;
      pthread_join(threads[i], &bad);
      CHECK(bad == NULL);
    }
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(known_hashes);
  RUN(in_pieces);
  RUN(text_is_strict);
  RUN(order);
  RUN(many_threads);
  return check_end();
}
