/*
** aes: every form against OpenSSL, in every length, in pieces and in place, and
** where the counter overflows.
**
** not under valgrind: it does not know all instructions; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include "repository/aes.h"

#include <openssl/evp.h>

#include "repo_case.h"
#include "repository/crypto.h"

enum { MOST = 70000 };

static uint8_t noise[MOST + 64];
static const repo_aes_form *forms;
static size_t form_count;

/* What OpenSSL makes of it. */
static void right_count(const uint8_t key[32], const uint8_t iv[16],
                        const uint8_t *in, size_t size, uint8_t *out) {
  EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
  int put = 0;
  CHECK(EVP_EncryptInit_ex(c, EVP_aes_256_ctr(), NULL, key, iv) == 1 &&
        EVP_EncryptUpdate(c, out, &put, in, (int)size) == 1 &&
        put == (int)size);
  EVP_CIPHER_CTX_free(c);
}

typedef struct under_test {
  repo_aes aes;
  repo_aes_keys keys;
} under_test;

static void open_one(under_test *t, size_t form, unsigned seed) {
  for (unsigned i = 0; i < 32; i++) t->keys.big[i] = noise[seed + i];
  for (unsigned i = 0; i < 16; i++) t->keys.small[i] = noise[seed + 40 + i];
  repo_aes_use(&forms[form]);
  CHECK(repo_aes_open(&t->aes, &t->keys));
  CHECK(t->aes.form == &forms[form]);
  repo_aes_use(NULL);
}

/* FIPS 197, and SP 800-38A. */
TEST(known) {
  for (size_t f = 0; f < form_count; f++) {
    under_test t;
    uint8_t in[16], out[64], wanted[64], iv[16];
    memset(&t, 0, sizeof t);
    hex(t.keys.big,
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    hex(t.keys.small, "000102030405060708090a0b0c0d0e0f");
    repo_aes_use(&forms[f]);
    CHECK(repo_aes_open(&t.aes, &t.keys));
    hex(in, "00112233445566778899aabbccddeeff");
    hex(wanted, "69c4e0d86a7b0430d8cdb78070b4c55a");
    CHECK(t.aes.form->block(&t.aes, in, out));
    CHECK(memcmp(out, wanted, 16) == 0);
    hex(iv, "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    hex(out,
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    hex(wanted,
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    CHECK(t.aes.form->begin(&t.aes, iv));
    CHECK(t.aes.form->count(&t.aes, out, out, 64));
    t.aes.form->end(&t.aes);
    CHECK(memcmp(out, wanted, 64) == 0);
    repo_aes_close(&t.aes);
  }
  repo_aes_use(NULL);
}

/* Behind what is written nothing is touched. */
static size_t wrong_lengths(under_test *t, const uint8_t iv[16]) {
  static uint8_t out[1400], wanted[1400];
  size_t bad = 0;
  for (size_t size = 0; size <= 1200; size++) {
    memset(out, 0x5a, sizeof out);
    right_count(t->keys.big, iv, noise, size, wanted);
    bool good = t->aes.form->begin(&t->aes, iv) &&
                t->aes.form->count(&t->aes, noise, out, size);
    t->aes.form->end(&t->aes);
    for (size_t i = size; i < sizeof out; i++) good = good && out[i] == 0x5a;
    bad += !good || memcmp(out, wanted, size) != 0;
  }
  return bad;
}

TEST(all_lengths) {
  for (size_t f = 0; f < form_count; f++) {
    under_test t;
    open_one(&t, f, 7);
    CHECK_INT(wrong_lengths(&t, noise + 100), 0);
    repo_aes_close(&t.aes);
  }
}

/* In its lower half, in both, and in the middle of what is done at once. */
TEST(the_counter_overflows) {
  for (size_t f = 0; f < form_count; f++) {
    under_test t;
    open_one(&t, f, 3);
    for (unsigned back = 0; back < 80; back++) {
      uint8_t iv[16], out[1500], wanted[1500];
      memset(iv, 0xff, 16);
      if (back % 3 == 0) iv[3] = 7;
      if (back % 5 == 0) memset(iv + 8, 0, 4);
      iv[15] = (uint8_t)(0xff - back);
      right_count(t.keys.big, iv, noise, sizeof out, wanted);
      CHECK(t.aes.form->begin(&t.aes, iv));
      CHECK(t.aes.form->count(&t.aes, noise, out, 1024));
      CHECK(t.aes.form->count(&t.aes, noise + 1024, out + 1024, 476));
      t.aes.form->end(&t.aes);
      CHECK(memcmp(out, wanted, sizeof out) == 0);
    }
    repo_aes_close(&t.aes);
  }
}

TEST(in_pieces_and_in_place) {
  static uint8_t out[MOST + 16], wanted[MOST];
  for (size_t f = 0; f < form_count; f++) {
    under_test t;
    open_one(&t, f, 11);
    for (size_t step = 16; step < 40000; step = step * 3 / 16 * 16 + 16) {
      size_t skew = step / 16 % 16;
      right_count(t.keys.big, noise + 64, noise, MOST, wanted);
      memcpy(out + skew, noise, MOST);
      CHECK(t.aes.form->begin(&t.aes, noise + 64));
      for (size_t at = 0; at < MOST; at += step)
        CHECK(t.aes.form->count(&t.aes, out + skew + at, out + skew + at,
                                MOST - at < step ? MOST - at : step));
      t.aes.form->end(&t.aes);
      CHECK(memcmp(out + skew, wanted, MOST) == 0);
    }
    repo_aes_close(&t.aes);
  }
}

/* What one form seals all others unseal, and see what was changed. */
TEST(forms_agree) {
  repo_key key;
  memcpy(&key, noise, sizeof key);
  for (size_t f = 0; f < form_count * form_count; f++) {
    error *e = NULL;
    uint8_t out[3000 + REPO_SEAL], back[3000];
    repo_aes_use(&forms[f % form_count]);
    repo_sealer *one = repo_sealer_new(&key, &e);
    repo_aes_use(&forms[f / form_count]);
    repo_sealer *other = repo_sealer_new(&key, &e);
    CHECK_GOOD(e);
    for (size_t size = 0; size < 3000; size += 37) {
      CHECK_GOOD(repo_seal(one, noise, size, out));
      CHECK_GOOD(repo_unseal(other, out, size + REPO_SEAL, back));
      CHECK(memcmp(noise, back, size) == 0);
      out[size / 2] ^= 1;
      CHECK_ERROR(repo_unseal(other, out, size + REPO_SEAL, back),
                  SAROS_E_DAMAGED);
      /* A failure leaves nothing behind for the next one. */
      CHECK_GOOD(repo_seal(other, noise, size, out));
      CHECK_GOOD(repo_unseal(one, out, size + REPO_SEAL, back));
    }
    repo_sealer_free(one);
    repo_sealer_free(other);
  }
  repo_aes_use(NULL);
}

int main(int argc, char **argv) {
  uint64_t seed = 0x2545F4914F6CDD1D;
  check_begin(argc, argv);
  for (size_t i = 0; i < sizeof noise; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    noise[i] = (uint8_t)(seed >> 56);
  }
  forms = repo_aes_forms(&form_count);
  for (size_t i = 0; i < form_count; i++) printf("%s\n", forms[i].name);
  RUN(known);
  RUN(all_lengths);
  RUN(the_counter_overflows);
  RUN(in_pieces_and_in_place);
  RUN(forms_agree);
  return check_end();
}
