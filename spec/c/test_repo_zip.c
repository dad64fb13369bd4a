/*
** zstd: levels, habits, frames as others write them, bombs, what is hopeless.
**
** not under valgrind: it packs hundreds of megabytes; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include "repository/compress.h"

#include <sys/mman.h>
#include <zstd.h>

#include "repo_case.h"
#include "repository/crypto.h"
#include "test_base_sweep.h"

enum { SIZE = 1 << 20 };

/* What people have on disks, made here: words, rows, pages, noise. */
static void fill_text(char *to, size_t size) {
  static const char *const words[] = {
      "the ",       "backup ", "of ",    "a ",    "moon's ", "shadow ",
      "returned, ", "and ",    "every ", "file ", "was ",    "there.\n"};
  uint32_t seed = 1;
  for (size_t i = 0; i < size;) {
    seed = seed * 1664525u + 1013904223u;
    const char *w = words[(seed >> 16) % 12];
    for (; *w != '\0' && i < size; w++) to[i++] = *w;
  }
}

static void fill_noise(void *to, size_t size) {
  CHECK_GOOD(repo_random(to, size));
}

/* Database pages: a header, rows with random keys, and a gap. */
static void fill_pages(char *to, size_t size) {
  memset(to, 0, size);
  for (size_t page = 0; page + 4096 <= size; page += 4096) {
    snprintf(to + page, 64, "page %zu of the table", page / 4096);
    for (size_t row = 64; row < 3500; row += 100) {
      fill_noise(to + page + row, 16);
      snprintf(to + page + row + 16, 84, "user%zu@example.org;active", row);
    }
  }
}

/* As a JPEG: entropy coded, each 0xff is followed by a zero. */
static void fill_jpeg(uint8_t *to, size_t size) {
  fill_noise(to, size);
  for (size_t i = 0; i + 1 < size; i++)
    if (to[i] == 0xff) to[++i] = 0;
}

static void fill_base64(char *to, size_t size) {
  static const char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  fill_noise(to, size);
  for (size_t i = 0; i < size; i++) to[i] = digits[(uint8_t)to[i] & 63];
}

static repo_zip *new_zip(void) {
  repo_zip *z = repo_zip_new();
  CHECK(z != NULL);
  return z;
}

/* What of it remains; it is read back in both ways. */
static size_t packed(repo_zip *z, repo_level level, const void *data,
                     size_t size) {
  size_t used = repo_zip_bound(size);
  char *out = malloc(used), *back = malloc(size + 1);
  buffer b = BUFFER_EMPTY;
  CHECK_GOOD(repo_zip_pack(z, level, data, size, out, &used));
  CHECK_GOOD(repo_zip_unpack(z, out, used, back, size));
  CHECK(memcmp(back, data, size) == 0);
  buffer_text(&b, "before");
  CHECK_GOOD(repo_zip_unpack_all(z, out, used, size, &b));
  CHECK_INT(b.size, size + 6);
  CHECK(memcmp(b.data + 6, data, size) == 0);
  CHECK_INT(b.data[b.size], 0);
  CHECK_INT(used > 4 ? out[4] & 0x04 : 0, 0); /* no checksum */
  buffer_free(&b);
  free(out);
  free(back);
  return used;
}

TEST(levels) {
  repo_zip *z = new_zip();
  char *text = malloc(SIZE);
  fill_text(text, SIZE);
  size_t fastest = packed(z, REPO_LEVEL_FASTEST, text, SIZE);
  size_t automatic = packed(z, REPO_LEVEL_AUTO, text, SIZE);
  size_t better = packed(z, REPO_LEVEL_BETTER, text, SIZE);
  size_t most = packed(z, REPO_LEVEL_MAX, text, SIZE);
  CHECK(fastest < SIZE / 3);
  CHECK(better < automatic && most < better);
  CHECK_INT(packed(z, REPO_LEVEL_OFF, text, SIZE), automatic);
  /* The context is as new each time. */
  CHECK_INT(packed(z, REPO_LEVEL_FASTEST, text, SIZE), fastest);
  for (size_t n = 0; n < 300; n += 7) packed(z, REPO_LEVEL_AUTO, text, n);
  free(text);
  repo_zip_free(z);
  repo_zip_free(NULL);
}

/* What is large is compressed with tables of our own: that loses next to
   nothing. What is small is as zstd has it, to the byte. */
TEST(tables_of_our_own) {
  repo_zip *z = new_zip();
  char *data = malloc(SIZE), *out = malloc(ZSTD_compressBound(SIZE));
  for (int pages = 0; pages < 2; pages++) {
    (pages ? fill_pages : fill_text)(data, SIZE);
    size_t plain = ZSTD_compress(out, ZSTD_compressBound(SIZE), data, SIZE, 3);
    size_t ours = packed(z, REPO_LEVEL_AUTO, data, SIZE);
    CHECK(ours < plain + plain / 33);
    CHECK(!pages || ours != plain);
    size_t small = SIZE / 4;
    CHECK_INT(packed(z, REPO_LEVEL_AUTO, data, small),
              ZSTD_compress(out, ZSTD_compressBound(SIZE), data, small, 3));
    CHECK_INT(packed(z, REPO_LEVEL_FASTEST, data, SIZE),
              ZSTD_compress(out, ZSTD_compressBound(SIZE), data, SIZE, 1));
  }
  free(data);
  free(out);
  repo_zip_free(z);
}

/* From a pack of restic's: no content size stands in the frame. */
TEST(frame_without_a_size) {
  uint8_t frame[32], back[12];
  size_t size = hex(frame, "28b52ffd0000590000");
  memcpy(frame + size, "inner\nmore\n", 11);
  size += 11;
  repo_zip *z = new_zip();
  buffer b = BUFFER_EMPTY;
  CHECK_GOOD(repo_zip_unpack(z, frame, size, back, 11));
  CHECK(memcmp(back, "inner\nmore\n", 11) == 0);
  CHECK_ERROR(repo_zip_unpack(z, frame, size, back, 12), SAROS_E_DAMAGED);
  CHECK_ERROR(repo_zip_unpack(z, frame, size, back, 10), SAROS_E_DAMAGED);
  CHECK_GOOD(repo_zip_unpack_all(z, frame, size, 11, &b));
  CHECK_TEXT(b.data, "inner\nmore\n");
  CHECK_ERROR(repo_zip_unpack_all(z, frame, size, 10, &b), SAROS_E_DAMAGED);
  CHECK_TEXT(b.data, "inner\nmore\n"); /* nothing was added */
  for (size_t n = 0; n < size; n++) {
    CHECK_ERROR(repo_zip_unpack(z, frame, n, back, 11), SAROS_E_DAMAGED);
    CHECK_ERROR(repo_zip_unpack_all(z, frame, n, 11, &b), SAROS_E_DAMAGED);
  }
  frame[size] = 'x'; /* what is behind it is no frame */
  CHECK_ERROR(repo_zip_unpack_all(z, frame, size + 1, 100, &b),
              SAROS_E_DAMAGED);
  buffer_free(&b);
  repo_zip_free(z);
}

/* As others write them: in a stream, with a checksum, with a large window. */
static size_t stream(char *out, size_t room, const void *data, size_t size,
                     int window) {
  ZSTD_CCtx *c = ZSTD_createCCtx();
  ZSTD_inBuffer in = {data, size, 0};
  ZSTD_outBuffer to = {out, room, 0};
  ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
  if (window > 0) ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, window);
  size_t half = size / 2;
  ZSTD_inBuffer first = {data, half, 0};
  CHECK(!ZSTD_isError(ZSTD_compressStream2(c, &to, &first, ZSTD_e_continue)));
  in.pos = first.pos;
  while (ZSTD_compressStream2(c, &to, &in, ZSTD_e_end) != 0) {
    CHECK(to.pos < to.size);
    if (to.pos == to.size) break;
  }
  ZSTD_freeCCtx(c);
  return to.pos;
}

TEST(frames_of_others) {
  repo_zip *z = new_zip();
  char *text = malloc(SIZE), *out = malloc(2 * SIZE);
  buffer b = BUFFER_EMPTY;
  fill_text(text, SIZE);
  size_t size = stream(out, SIZE, text, SIZE, 23);
  CHECK_GOOD(repo_zip_unpack_all(z, out, size, SIZE, &b));
  CHECK(b.size == SIZE && memcmp(b.data, text, SIZE) == 0);
  buffer_clear(&b);
  CHECK_ERROR(repo_zip_unpack_all(z, out, size, SIZE - 1, &b), SAROS_E_DAMAGED);
  CHECK_INT(b.size, 0);
  out[size - 1] ^= 1; /* its checksum is checked */
  CHECK_ERROR(repo_zip_unpack_all(z, out, size, SIZE, &b), SAROS_E_DAMAGED);
  size = stream(out, SIZE, text, SIZE, 27); /* 128 MiB of window: no */
  CHECK_ERROR(repo_zip_unpack_all(z, out, size, SIZE, &b), SAROS_E_DAMAGED);
  /* And after all that it still works. */
  packed(z, REPO_LEVEL_AUTO, text, 1000);
  buffer_free(&b);
  free(text);
  free(out);
  repo_zip_free(z);
}

/* Words that hardly come twice. */
static void fill_names(char *to, size_t size, uint32_t seed) {
  for (size_t i = 0; i < size; i++) {
    if (i % 6 == 0) seed = seed * 1664525u + 1013904223u;
    uint32_t word = (seed >> 8) % 5000 * 2654435761u;
    to[i] = i % 6 == 5 ? ' ' : (char)('a' + (word >> i % 6 * 5) % 26);
  }
}

static size_t packed_next(repo_zip *z, repo_level level, const void *data,
                          size_t size) {
  size_t used = repo_zip_bound(size);
  char *out = malloc(used), *back = malloc(size + 1);
  CHECK_GOOD(repo_zip_pack_data(z, level, data, size, out, &used));
  CHECK_GOOD(repo_zip_unpack(z, out, used, back, size));
  CHECK(memcmp(back, data, size) == 0);
  free(out);
  free(back);
  return used;
}

/* Of which little was saved again and again is compressed in another way, and
   loses next to nothing. What gives much is as zstd has it, to the byte, also
   in between. */
TEST(habits) {
  enum { FILE_SIZE = 12000 };
  repo_zip *z = new_zip();
  char *poor = malloc(FILE_SIZE), *rich = malloc(FILE_SIZE);
  size_t usual = 0, ours = 0, same = 0;
  fill_text(rich, FILE_SIZE);
  size_t good = packed(z, REPO_LEVEL_AUTO, rich, FILE_SIZE);
  for (uint32_t i = 0; i < 200; i++) {
    fill_names(poor, FILE_SIZE, i);
    size_t as_zstd = packed(z, REPO_LEVEL_AUTO, poor, FILE_SIZE);
    size_t as_ours = packed_next(z, REPO_LEVEL_AUTO, poor, FILE_SIZE);
    CHECK(as_zstd > FILE_SIZE / 2);
    CHECK(i >= 8 || as_ours == as_zstd); /* that is no habit yet */
    usual += as_zstd;
    ours += as_ours;
    same += as_ours == as_zstd;
    if (i % 50 != 49) continue;
    for (int j = 0; j < 3; j++)
      CHECK_INT(packed_next(z, REPO_LEVEL_AUTO, rich, FILE_SIZE), good);
    CHECK_INT(packed_next(z, REPO_LEVEL_AUTO, poor, FILE_SIZE), as_zstd);
  }
  CHECK(same < 60);
  CHECK(ours < usual + usual / 50);
  /* Other levels have none; nor has what is large. */
  for (int i = 0; i < 20; i++) {
    CHECK_INT(packed_next(z, REPO_LEVEL_BETTER, poor, FILE_SIZE),
              packed(z, REPO_LEVEL_BETTER, poor, FILE_SIZE));
    CHECK_INT(packed_next(z, REPO_LEVEL_AUTO, "", 0), 9);
  }
  char *noise = malloc(SIZE);
  fill_base64(noise, SIZE);
  CHECK_INT(packed_next(z, REPO_LEVEL_AUTO, noise, SIZE),
            packed(z, REPO_LEVEL_AUTO, noise, SIZE));
  free(noise);
  free(poor);
  free(rich);
  repo_zip_free(z);
}

/* A gigabyte of zeros in 32 KiB, with and without its size in front. */
TEST(bombs) {
  size_t size = (size_t)1 << 30, room = (size_t)1 << 20;
  char *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *out = malloc(room), back[1000];
  repo_zip *z = new_zip();
  buffer b = BUFFER_EMPTY;
  CHECK(zeros != MAP_FAILED);
  for (int sized = 0; sized < 2; sized++) {
    size_t used = room;
    if (sized == 1)
      CHECK_GOOD(repo_zip_pack(z, REPO_LEVEL_FASTEST, zeros, size, out, &used));
    else
      used = stream(out, room, zeros, size, 0);
    CHECK(used < 128 << 10);
    CHECK_ERROR(repo_zip_unpack_all(z, out, used, SIZE, &b), SAROS_E_DAMAGED);
    CHECK(b.capacity <= 4 * SIZE); /* it did not grow with the bomb */
    CHECK_ERROR(repo_zip_unpack(z, out, used, back, sizeof back),
                SAROS_E_DAMAGED);
  }
  buffer_free(&b);
  munmap(zeros, size);
  free(out);
  repo_zip_free(z);
}

TEST(flipped_bits_never_crash) {
  repo_zip *z = new_zip();
  char text[3000], back[3000];
  char *out = malloc(repo_zip_bound(sizeof text));
  size_t used = repo_zip_bound(sizeof text);
  buffer b = BUFFER_EMPTY;
  fill_text(text, sizeof text);
  CHECK_GOOD(repo_zip_pack(z, REPO_LEVEL_AUTO, text, sizeof text, out, &used));
  for (size_t bit = 0; bit < 8 * used; bit++) {
    out[bit / 8] ^= (char)(1u << bit % 8);
    char *exact = malloc(used);
    memcpy(exact, out, used);
    error *e = repo_zip_unpack(z, exact, used, back, sizeof back);
    if (e != NULL) CHECK_ERROR(e, SAROS_E_DAMAGED);
    buffer_clear(&b);
    e = repo_zip_unpack_all(z, exact, used, sizeof back, &b);
    if (e != NULL) CHECK_ERROR(e, SAROS_E_DAMAGED);
    free(exact);
    out[bit / 8] ^= (char)(1u << bit % 8);
  }
  buffer_free(&b);
  free(out);
  repo_zip_free(z);
}


/* ------------------------------------------------------------------
** Hopeless
** ---------------------------------------------------------------- */

/* At any length and from any place on. */
static bool any_hopeless(const char *data) {
  bool any = false;
  for (size_t at = 0; at < SIZE / 2; at += SIZE / 16 + 77)
    for (size_t n = 256 << 10; n <= SIZE - at; n += 100003)
      any = any || repo_zip_is_hopeless(data + at, n);
  return any;
}

TEST(what_compresses_is_not_hopeless) {
  char *data = malloc(SIZE);
  fill_text(data, SIZE);
  CHECK(!any_hopeless(data));
  fill_pages(data, SIZE);
  CHECK(!any_hopeless(data));
  fill_base64(data, SIZE);
  CHECK(!any_hopeless(data));
  memset(data, 0, SIZE);
  CHECK(!any_hopeless(data));
  for (size_t i = 0; i < SIZE; i++) data[i] = (char)i; /* all alike, in order */
  CHECK(!any_hopeless(data));
  fill_noise(data, 4096); /* a page again and again */
  for (size_t i = 4096; i < SIZE; i++) data[i] = data[i - 4096];
  CHECK(!any_hopeless(data));
  fill_noise(data, SIZE); /* noise, a third of it with a tenth of text */
  for (size_t i = 0; i < SIZE; i += SIZE / 8) fill_text(data + i, SIZE / 8 / 4);
  CHECK(!any_hopeless(data));
  free(data);
}


TEST(noise_is_hopeless) {
  char *data = malloc(SIZE);
  int random = 0, jpeg = 0;
  for (int i = 0; i < 200; i++) {
    fill_noise(data, SIZE);
    random += repo_zip_is_hopeless(data, SIZE);
    fill_jpeg((uint8_t *)data, SIZE);
    jpeg += repo_zip_is_hopeless(data, SIZE);
  }
  CHECK_INT(random, 200);
  CHECK_INT(jpeg, 200);
  /* Too little to be worth a look, and nothing at all. */
  CHECK(!repo_zip_is_hopeless(data, 100000));
  CHECK(!repo_zip_is_hopeless(NULL, 0));
  free(data);
}

/* Whatever the share of text is: when it says hopeless, zstd gains nothing
   worth having. */
TEST(it_errs_by_little) {
  repo_zip *z = new_zip();
  char *data = malloc(SIZE), *out = malloc(repo_zip_bound(SIZE));
  int hopeless = 0;
  for (int share = 0; share <= 64; share++) {
    fill_noise(data, SIZE);
    size_t text = (size_t)share * SIZE / 256, used = repo_zip_bound(SIZE);
    fill_text(data + (SIZE - text) * (size_t)(share % 8) / 8, text);
    CHECK_GOOD(repo_zip_pack(z, REPO_LEVEL_AUTO, data, SIZE, out, &used));
    if (!repo_zip_is_hopeless(data, SIZE)) continue;
    hopeless++;
    CHECK(used > SIZE - SIZE / 16);
  }
  CHECK(hopeless > 0 && hopeless < 20);
  free(data);
  free(out);
  repo_zip_free(z);
}

#ifdef SAROS_TEST
static bool unpack_something(void) {
  static const uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0,   0,
                                  0x19, 0,    0,    'a',  'b', 'c'};
  repo_zip *z = repo_zip_new();
  buffer b = BUFFER_EMPTY;
  error *e = z != NULL ? repo_zip_unpack_all(z, frame, sizeof frame, 9, &b)
                       : error_no_memory();
  bool whole = e == NULL;
  CHECK(!whole || (b.size == 3 && memcmp(b.data, "abc", 4) == 0));
  CHECK(whole || e->code == SAROS_E_OUTOFMEMORY);
  error_unref(e);
  buffer_free(&b);
  repo_zip_free(z);
  return whole;
}
#endif

TEST(without_memory) {
#ifdef SAROS_TEST
  SWEEP(unpack_something, 3);
#else
  SKIP("needs -DSAROS_TEST");
#endif
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(levels);
  RUN(tables_of_our_own);
  RUN(habits);
  RUN(frame_without_a_size);
  RUN(frames_of_others);
  RUN(bombs);
  RUN(flipped_bits_never_crash);
  RUN(what_compresses_is_not_hopeless);
  RUN(noise_is_hopeless);
  RUN(it_errs_by_little);
  RUN(without_memory);
  return check_end();
}
