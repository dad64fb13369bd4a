/*
** sha: every form against OpenSSL, in every length and in pieces.
**
** not under valgrind: the same, hashed; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "repository/sha.h"

static uint64_t seed = 0x2545F4914F6CDD1D;

static uint64_t next(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}


static bool is_right(const void *data, size_t size, const repo_id *id) {
  uint8_t right[REPO_ID];
  unsigned length;
  return EVP_Digest(data, size, right, &length, EVP_sha256(), NULL) == 1 &&
         length == REPO_ID && memcmp(right, id->bytes, REPO_ID) == 0;
}


static const repo_sha_form *forms;
static size_t form_count;
static uint8_t noise[300000], others[300000];

static void fill(void) {
  for (size_t i = 0; i < sizeof noise; i++) {
    noise[i] = (uint8_t)next();
    others[i] = (uint8_t)next();
  }
}


TEST(known) {
  repo_sha s;
  repo_id id;
  char text[REPO_ID_TEXT];
  repo_sha_begin(&s);
  repo_sha_add(&s, "hello saros\n", 12);
  repo_sha_end(&s, &id);
  repo_id_format(&id, text);
  CHECK_TEXT(
      text, "378fa093c62ce97660fcadbddefcdad0ac3fb9700766f02c1045992f74351aa2");
}


TEST(all_lengths) {
  for (size_t f = 0; f < form_count; f++) {
    size_t bad = 0;
    repo_sha_use(&forms[f]);
    for (size_t size = 0; size <= 300; size++) {
      repo_sha s;
      repo_id id;
      repo_sha_begin(&s);
      repo_sha_add(&s, size > 0 ? noise + size : NULL, size);
      repo_sha_end(&s, &id);
      bad += !is_right(noise + size, size, &id);
    }
    CHECK_INT(bad, 0);
  }
  repo_sha_use(NULL);
}


TEST(all_pairs_of_lengths) {
  for (size_t f = 0; f < form_count; f++) {
    size_t bad = 0;
    repo_sha_use(&forms[f]);
    for (size_t a = 0; a <= 200; a++)
      for (size_t b = 0; b <= 200; b++) {
        repo_sha s, t;
        repo_id id, other;
        repo_sha_begin(&s);
        repo_sha_begin(&t);
        repo_sha_add_two(&s, noise + b, a, &t, others + a, b);
        repo_sha_end(&s, &id);
        repo_sha_end(&t, &other);
        bad += !is_right(noise + b, a, &id) || !is_right(others + a, b, &other);
      }
    CHECK_INT(bad, 0);
  }
  repo_sha_use(NULL);
}


/* Pieces of any size, alone and together, the two streams out of step. */
TEST(random_pieces) {
  for (size_t f = 0; f < form_count; f++) {
    size_t bad = 0;
    repo_sha_use(&forms[f]);
    for (int round = 0; round < 60; round++) {
      size_t a = next() % sizeof noise, b = next() % sizeof others;
      size_t at = 0, bt = 0;
      repo_sha s, t;
      repo_id id, other;
      repo_sha_begin(&s);
      repo_sha_begin(&t);
      while (at < a || bt < b) {
        size_t most = (size_t)1 << next() % 17;
        size_t x = next() % most, y = next() % most;
        if (x > a - at) x = a - at;
        if (y > b - bt) y = b - bt;
        if (next() % 4 != 0) {
          repo_sha_add_two(&s, noise + at, x, &t, others + bt, y);
        } else {
          repo_sha_add(&s, noise + at, x);
          repo_sha_add(&t, others + bt, y);
        }
        at += x, bt += y;
      }
      repo_sha_end(&s, &id);
      repo_sha_end(&t, &other);
      bad += !is_right(noise, a, &id) || !is_right(others, b, &other);
    }
    CHECK_INT(bad, 0);
  }
  repo_sha_use(NULL);
}


/* A copy goes its own way. */
TEST(copies) {
  repo_sha s, t;
  repo_id id, other;
  repo_sha_begin(&s);
  repo_sha_add(&s, noise, 1000);
  t = s;
  repo_sha_add(&s, noise + 1000, 77);
  repo_sha_end(&s, &id);
  repo_sha_end(&t, &other);
  CHECK(is_right(noise, 1077, &id));
  CHECK(is_right(noise, 1000, &other));
}


TEST(forms_of_this_machine) {
  CHECK_TEXT(forms[form_count - 1].name, "openssl");
  if (strcmp(forms[0].name, "sha-ni") != 0)
    SKIP("this processor lacks SHA-NI: only OpenSSL's form is tested");
}


int main(int argc, char **argv) {
  check_begin(argc, argv);
  forms = repo_sha_forms(&form_count);
  fill();
  RUN(known);
  RUN(all_lengths);
  RUN(all_pairs_of_lengths);
  RUN(random_pieces);
  RUN(copies);
  RUN(forms_of_this_machine);
  return check_end();
}
