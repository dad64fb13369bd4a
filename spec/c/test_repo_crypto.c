/*
** Sealing, scrypt, and memory for secrets.
**
** not under valgrind: deriving a key takes minutes; ASan runs it
*/
#include "repository/crypto.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repo_case.h"
#include "repository/key.h"
#include "test_base_sweep.h"

static repo_key test_key(void) {
  repo_key key;
  for (unsigned i = 0; i < 32; i++) key.encrypt[i] = (uint8_t)i;
  for (unsigned i = 0; i < 16; i++) key.k[i] = (uint8_t)(0x20 + i);
  for (unsigned i = 0; i < 16; i++) key.r[i] = (uint8_t)(0x30 + i);
  return key;
}

static repo_sealer *test_sealer(void) {
  repo_key key = test_key();
  error *e = NULL;
  repo_sealer *s = repo_sealer_new(&key, &e);
  CHECK_GOOD(e);
  return s;
}


/* ------------------------------------------------------------------
** Sealing
** ---------------------------------------------------------------- */

TEST(known_seal) {
  static const char plain[] = "hello saros\n";
  repo_sealer *s = test_sealer();
  uint8_t iv[16], wanted[64], out[64], back[64];
  size_t size = hex(wanted,
                    "404142434445464748494a4b4c4d4e4f cb1bb353f87ac98ee11411cd"
                    "96f670f63a00c6824cdf3550d523a33e");
  CHECK_INT(size, 12 + REPO_SEAL);
  hex(iv, "404142434445464748494a4b4c4d4e4f");
  CHECK_GOOD(repo_seal_with(s, iv, plain, 12, out));
  CHECK(memcmp(out, wanted, size) == 0);
  CHECK_GOOD(repo_unseal(s, wanted, size, back));
  CHECK(memcmp(back, plain, 12) == 0);
  repo_sealer_free(s);
}

/* A config file of restic's; its plain text, IV and tag are known. */
TEST(known_config) {
  static const char plain[] =
      "{\"version\":2,\"id\":\"ebe8808b5c25b59d818edbfe594c787e4b6406f01637b9f3"
      "9b8cdb0e8cc4c321\",\"chunker_polynomial\":\"3ff2f8c92e3f5b\"}";
  repo_key key;
  uint8_t iv[16], tag[16], out[256];
  error *e = NULL;
  hex(key.encrypt,
      "5075bfc9c94039b17a91a6c25542db731e032a81c720f79fc08ec4b50a7d31d8");
  hex(key.k, "0a9cfb26d9529ac85247c6331e0d8724");
  hex(key.r, "3f52550138620000c05a9709f0fd060e");
  hex(iv, "393dbb79f1716de83ddcbd84845768e3");
  hex(tag, "f156e907865d5e76459ed3067c609d99");
  repo_sealer *s = repo_sealer_new(&key, &e);
  CHECK_GOOD(e);
  CHECK_INT(strlen(plain) + REPO_SEAL, 155);
  CHECK_GOOD(repo_seal_with(s, iv, plain, strlen(plain), out));
  CHECK(memcmp(out + 155 - 16, tag, 16) == 0);
  repo_sealer_free(s);
  /* r as older versions store it and as newer ones do: one tag. */
  key.r[3] |= 0xf0;
  key.r[4] |= 3;
  s = repo_sealer_new(&key, &e);
  CHECK_GOOD(repo_seal_with(s, iv, plain, strlen(plain), out));
  CHECK(memcmp(out + 155 - 16, tag, 16) == 0);
  repo_sealer_free(s);
}

TEST(there_and_back) {
  static const size_t sizes[] = {0,     1,     15,    16,     17,
                                 32767, 32768, 32769, 100000, 1 << 20};
  repo_sealer *s = test_sealer();
  uint8_t *plain = malloc(1 << 20), *out = malloc((1 << 20) + REPO_SEAL);
  for (size_t i = 0; i < 1 << 20; i++) plain[i] = (uint8_t)(i * i >> 5);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    size_t n = sizes[i];
    CHECK_GOOD(repo_seal(s, plain, n, out));
    CHECK(n < 16 || memcmp(out + REPO_IV, plain, n) != 0);
    CHECK_GOOD(repo_unseal(s, out, n + REPO_SEAL, out + REPO_IV)); /* there */
    CHECK(memcmp(out + REPO_IV, plain, n) == 0);
    CHECK_GOOD(repo_seal(s, out + REPO_IV, n, out));
    uint8_t *apart = malloc(n + 1);
    CHECK_GOOD(repo_unseal(s, out, n + REPO_SEAL, apart));
    CHECK(memcmp(apart, plain, n) == 0);
    free(apart);
  }
  free(plain);
  free(out);
  repo_sealer_free(s);
}

TEST(every_flipped_bit_is_refused) {
  repo_sealer *s = test_sealer();
  uint8_t out[70 + REPO_SEAL], back[70];
  char plain[70];
  memset(plain, 'x', sizeof plain);
  CHECK_GOOD(repo_seal(s, plain, sizeof plain, out));
  memset(back, 0x5a, sizeof back);
  for (size_t bit = 0; bit < 8 * sizeof out; bit++) {
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    CHECK_ERROR(repo_unseal(s, out, sizeof out, back), SAROS_E_DAMAGED);
    out[bit / 8] ^= (uint8_t)(1u << bit % 8);
  }
  for (size_t i = 0; i < sizeof back; i++) /* nothing was decrypted */
    CHECK_INT(back[i], 0x5a);
  for (size_t n = 0; n < sizeof out; n++)
    CHECK_ERROR(repo_unseal(s, out, n, back), SAROS_E_DAMAGED);
  CHECK_GOOD(repo_unseal(s, out, sizeof out, back));
  repo_sealer_free(s);
}

TEST(an_iv_of_zeros_is_refused) {
  static const uint8_t iv[16];
  repo_sealer *s = test_sealer();
  uint8_t out[4 + REPO_SEAL], back[4];
  CHECK_GOOD(repo_seal_with(s, iv, "abcd", 4, out)); /* the tag is right */
  CHECK_ERROR(repo_unseal(s, out, sizeof out, back), SAROS_E_DAMAGED);
  repo_sealer_free(s);
}

TEST(keys_of_zeros_are_refused) {
  for (int part = 0; part < 3; part++) {
    repo_key key = test_key();
    error *e = NULL;
    if (part == 0) memset(key.encrypt, 0, sizeof key.encrypt);
    if (part == 1) memset(key.k, 0, sizeof key.k);
    if (part == 2) memset(key.r, 0, sizeof key.r);
    CHECK(!repo_key_is_valid(&key));
    CHECK(repo_sealer_new(&key, &e) == NULL);
    CHECK_ERROR(e, SAROS_E_DAMAGED);
  }
}

static int by_bytes(const void *a, const void *b) {
  return memcmp(a, b, REPO_IV);
}

/* From several sealers of one key, in turn. */
TEST(no_iv_comes_twice) {
  enum { N = 20000 };
  repo_sealer *s[3] = {test_sealer(), test_sealer(), test_sealer()};
  uint8_t(*ivs)[REPO_IV] = malloc(sizeof *ivs * N), zero[REPO_IV] = {0};
  for (int i = 0; i < N; i++) {
    uint8_t out[1 + REPO_SEAL];
    CHECK_GOOD(repo_seal(s[i % 3], "x", 1, out));
    memcpy(ivs[i], out, REPO_IV);
  }
  qsort(ivs, N, REPO_IV, by_bytes);
  CHECK(memcmp(ivs[0], zero, REPO_IV) != 0);
  for (int i = 1; i < N; i++) CHECK(memcmp(ivs[i - 1], ivs[i], REPO_IV) != 0);
  free(ivs);
  for (int i = 0; i < 3; i++) repo_sealer_free(s[i]);
}

/* In the child a sealer of the parent does nothing: it could only take the IVs
   that the parent takes. A key is none any more, and freeing harms nobody. */
TEST(after_a_fork) {
  repo_key *key = repo_secret_new(sizeof *key);
  *key = test_key();
  error *e = NULL;
  repo_sealer *s = repo_sealer_new(key, &e);
  uint8_t out[4 + REPO_SEAL], back[4];
  CHECK_GOOD(repo_seal(s, "abcd", 4, out));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int bad = check_bad;
    CHECK_ERROR(repo_seal(s, "abcd", 4, out), SAROS_E_FORKED);
    CHECK_ERROR(repo_unseal(s, out, sizeof out, back), SAROS_E_FORKED);
    CHECK(!repo_key_is_valid(key));
    CHECK(repo_sealer_new(key, &e) == NULL);
    CHECK_ERROR(e, SAROS_E_DAMAGED);
    repo_sealer_free(s);
    repo_secret_free(key, sizeof *key);
    repo_sealer *own = test_sealer();
    CHECK_GOOD(repo_seal(own, "abcd", 4, out));
    repo_sealer_free(own);
    fflush(stdout);
    _exit(check_bad != bad);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK_GOOD(repo_unseal(s, out, sizeof out, back)); /* here it goes on */
  repo_sealer_free(s);
  repo_secret_free(key, sizeof *key);
}

static void *seal_much(void *context) {
  repo_key key = test_key();
  error *e = NULL;
  repo_sealer *s = repo_sealer_new(&key, &e);
  bool good = s != NULL;
  (void)context;
  for (size_t n = 0; n < 2000 && good; n += 13) {
    uint8_t plain[2000], out[2000 + REPO_SEAL];
    memset(plain, (int)n, n);
    error_unref(e = repo_seal(s, plain, n, out));
    good = e == NULL;
    error_unref(e = repo_unseal(s, out, n + REPO_SEAL, out + REPO_IV));
    good = good && e == NULL && memcmp(out + REPO_IV, plain, n) == 0;
  }
  repo_sealer_free(s);
  return good ? context : NULL;
}

TEST(many_threads) {
  pthread_t threads[6];
  for (int i = 0; i < 6; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, seal_much, threads), 0);
  for (int i = 0; i < 6; i++) {
    void *good = NULL;
    pthread_join(threads[i], &good);
    CHECK(good != NULL);
  }
}


/* ------------------------------------------------------------------
** scrypt
** ---------------------------------------------------------------- */

TEST(known_scrypt) {
  uint8_t salt[64], wanted[64], out[64];
  hex(salt,
      "ce1b0570cf638583411be011a513b99691e5c11dd60f5d73b420452129c92183"
      "5550a1a88a1dbf336f622ce5aa73a8bf1f3d16f31f44b827a83a310b27f0a452");
  hex(wanted,
      "0d686ae559859eda23ea67273e914c2923b39e2444db3773df96c8bac0653bbc"
      "a2dcdcd27a023a1c1d268e326eca7493 686433f050ac509ce9ffbfe74cfdc6de");
  CHECK_GOOD(repo_scrypt("saros-fixture", 13, salt, 32768, 8, 8, out));
  CHECK(memcmp(out, wanted, 64) == 0);
}

TEST(scrypt_is_bounded) {
  static const uint64_t bad[][3] = {
      {0, 8, 1},
      {1, 8, 1},
      {3, 8, 1},
      {32769, 8, 8},
      {32768, 0, 8},
      {32768, 8, 0},
      {(uint64_t)1 << 26, 1, 1}, /* work */
      {(uint64_t)1 << 22, 8, 1}, /* memory: 4 GiB */
      {(uint64_t)1 << 63, 8, 1},
      {2, (uint64_t)1 << 62, 2},
      {2, 2, (uint64_t)1 << 62},
      {(uint64_t)1 << 32, (uint64_t)1 << 32, (uint64_t)1 << 32},
      {2, 1, (uint64_t)1 << 24}, /* memory: p blocks */
      {2, UINT64_MAX, UINT64_MAX},
  };
  uint8_t salt[64] = {0}, out[64];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CHECK_ERROR(repo_scrypt("x", 1, salt, bad[i][0], bad[i][1], bad[i][2], out),
                SAROS_E_DAMAGED);
  CHECK_GOOD(repo_scrypt("", 0, salt, 2, 1, 1, out));
  CHECK_GOOD(repo_scrypt(NULL, 0, salt, 2, 1, 1, out));
  /* What others take: 128 MiB with p = 1. */
  CHECK_GOOD(repo_scrypt("x", 1, salt, 131072, 8, 1, out));
}

TEST(calibrated_cost_is_within_bounds) {
  repo_cost cost;
  CHECK_GOOD(repo_cost_calibrate(&cost));
  CHECK(cost.n == 16384 || cost.n == 32768);
  CHECK_INT(cost.r, 8);
  CHECK(cost.p >= 1 && cost.p <= 8);
  CHECK(128 * cost.n * cost.r <= (uint64_t)60 << 20);
}


/* ------------------------------------------------------------------
** Secret memory
** ---------------------------------------------------------------- */

/* The flags of the mapping that this lies in, as smaps has them. */
static bool mapping_has(const void *at, const char *flag) {
  FILE *f = fopen("/proc/self/smaps", "r");
  char line[512];
  bool inside = false, has = false;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    unsigned long long from, to;
    if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
      inside = (uintptr_t)at >= from && (uintptr_t)at < to;
    if (inside && strncmp(line, "VmFlags:", 8) == 0)
      has = strstr(line, flag) != NULL;
  }
  if (f != NULL) fclose(f);
  return has;
}

TEST(secrets_are_kept_in) {
  char *secret = repo_secret_new(5000);
  CHECK(secret != NULL);
  if (secret == NULL) return;
  for (int i = 0; i < 5000; i++) CHECK_INT(secret[i], 0);
  CHECK_INT((uintptr_t)secret % sizeof(void *), 0);
  CHECK(mapping_has(secret, " dd"));     /* not in a core dump */
  CHECK(mapping_has(secret, " wf"));     /* not in a child */
  if (getenv("SAROS_SANITIZER") == NULL) /* they do not lock */
    CHECK(mapping_has(secret, " lo"));
  CHECK(mapping_has(secret + 4999, " dd"));
  repo_secret_free(secret, 5000);
  repo_secret_free(NULL, 7);
  CHECK(repo_secret_new(SIZE_MAX) == NULL);
  CHECK(repo_secret_new(SIZE_MAX / 2) == NULL);
}

TEST(random_is_random) {
  uint8_t a[1000] = {0}, b[1000] = {0};
  unsigned ones = 0;
  CHECK_GOOD(repo_random(a, sizeof a));
  CHECK_GOOD(repo_random(b, sizeof b));
  CHECK(memcmp(a, b, sizeof a) != 0);
  for (size_t i = 0; i < sizeof a; i++)
    ones += (unsigned)__builtin_popcount(a[i]);
  CHECK(ones > 3500 && ones < 4500); /* eleven sigma */
}

#ifdef SAROS_TEST
static bool make_and_seal(void) {
  repo_key key = test_key();
  uint8_t out[4 + REPO_SEAL];
  error *e = NULL;
  repo_sealer *s = repo_sealer_new(&key, &e);
  if (s != NULL) e = repo_seal(s, "abcd", 4, out);
  repo_sealer_free(s);
  bool whole = e == NULL;
  CHECK(whole || e->code == SAROS_E_OUTOFMEMORY);
  error_unref(e);
  return whole;
}
#endif

TEST(without_memory) {
#ifdef SAROS_TEST
  SWEEP(make_and_seal, 3);
#else
  SKIP("needs -DSAROS_TEST");
#endif
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(known_seal);
  RUN(known_config);
  RUN(there_and_back);
  RUN(every_flipped_bit_is_refused);
  RUN(an_iv_of_zeros_is_refused);
  RUN(keys_of_zeros_are_refused);
  RUN(no_iv_comes_twice);
  RUN(after_a_fork);
  RUN(many_threads);
  RUN(known_scrypt);
  RUN(scrypt_is_bounded);
  RUN(calibrated_cost_is_within_bounds);
  RUN(secrets_are_kept_in);
  RUN(random_is_random);
  RUN(without_memory);
  return check_end();
}
