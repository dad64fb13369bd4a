/*
** aes_ni: AES with the instructions that x86 has for it. A round of one block
** waits for the one before, so eight blocks go at once; or eight vectors with
** four blocks in each. No table is looked into, and nothing depends on a key
** but data: it takes as long whatever the key is.
*/
#include "repository/aes_parts.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define NI static __attribute__((target("aes,sse4.1,ssse3")))
#define NI_INLINE NI inline __attribute__((always_inline))
#define WIDE_TARGET \
  target("vaes,avx512f,avx512bw,avx512vl,avx2,aes,sse4.1,ssse3")
#define WIDE static __attribute__((WIDE_TARGET))
#define WIDE_INLINE static inline __attribute__((always_inline, WIDE_TARGET))

enum { AT_ONCE = 8 };

/* ------------------------------------------------------------------
** Round keys
** ---------------------------------------------------------------- */

/* FIPS 197, word by word. The instruction gives the substituted word, and
   turned by a byte. */
NI void expand_one(const uint8_t *key, unsigned words, uint8_t *out,
                   unsigned all) {
  uint32_t w[60], round = 1;
  memcpy(w, key, (size_t)words * 4);
  for (unsigned i = words; i < all; i++) {
    uint32_t t = w[i - 1];
    __m128i s = _mm_aeskeygenassist_si128(_mm_set1_epi32((int)t), 0);
    if (i % words == 0) {
      t = (uint32_t)_mm_extract_epi32(s, 1) ^ round;
      round = round << 1 ^ (round >> 7) * 0x11b;
    } else if (words == 8 && i % words == 4) {
      t = (uint32_t)_mm_extract_epi32(s, 0);
    }
    w[i] = w[i - words] ^ t;
  }
  memcpy(out, w, (size_t)all * 4);
  /* The caller wipes the stack. */
}


NI void ni_expand(repo_aes_keys *keys) {
  expand_one(keys->big, 8, keys->rounds[0], 60);
  expand_one(keys->small, 4, keys->fewer[0], 44);
}


NI_INLINE __m128i load(const void *at) {
  return _mm_loadu_si128(at);
}


NI bool ni_block(repo_aes *a, const uint8_t in[16], uint8_t out[16]) {
  __m128i x = _mm_xor_si128(load(in), load(a->keys->fewer[0]));
  for (int i = 1; i < 10; i++) x = _mm_aesenc_si128(x, load(a->keys->fewer[i]));
  x = _mm_aesenclast_si128(x, load(a->keys->fewer[10]));
  _mm_storeu_si128((void *)out, x);
  return true;
}


/* ------------------------------------------------------------------
** The counter
** ---------------------------------------------------------------- */

static bool ni_begin(repo_aes *a, const uint8_t iv[16]) {
  memcpy(a->keys->counter, iv, 16);
  return true;
}


static void ni_end(repo_aes *a) {
  (void)a;
}


/* One number of 128 bits, the greatest byte first. */
typedef struct number {
  uint64_t high, low;
} number;

static number counter_get(const uint8_t counter[16]) {
  number n;
  memcpy(&n, counter, 16);
  return (number){__builtin_bswap64(n.high), __builtin_bswap64(n.low)};
}


static void counter_put(uint8_t counter[16], number n) {
  n = (number){__builtin_bswap64(n.high), __builtin_bswap64(n.low)};
  memcpy(counter, &n, 16);
}


static number plus(number n, uint64_t more) {
  uint64_t low = n.low + more;
  return (number){n.high + (low < more), low};
}


NI_INLINE __m128i block_of(number n) {
  return _mm_set_epi64x((long long)__builtin_bswap64(n.low),
                        (long long)__builtin_bswap64(n.high));
}


/* ------------------------------------------------------------------
** Eight blocks
** ---------------------------------------------------------------- */

NI_INLINE void eight(const repo_aes_keys *keys, number n, __m128i x[AT_ONCE]) {
  __m128i key = load(keys->rounds[0]);
#pragma GCC unroll 8
  for (unsigned i = 0; i < AT_ONCE; i++)
    x[i] = _mm_xor_si128(block_of(plus(n, i)), key);
#pragma GCC unroll 13
  for (unsigned r = 1; r < 14; r++) {
    key = load(keys->rounds[r]);
#pragma GCC unroll 8
    for (unsigned i = 0; i < AT_ONCE; i++) x[i] = _mm_aesenc_si128(x[i], key);
  }
  key = load(keys->rounds[14]);
#pragma GCC unroll 8
  for (unsigned i = 0; i < AT_ONCE; i++) x[i] = _mm_aesenclast_si128(x[i], key);
}


NI bool ni_count(repo_aes *a, const uint8_t *in, uint8_t *out, size_t size) {
  enum { STEP = AT_ONCE * 16 };
  number n = counter_get(a->keys->counter);
  __m128i x[AT_ONCE];
  for (; size >= STEP; size -= STEP, in += STEP, out += STEP) {
    eight(a->keys, n, x);
#pragma GCC unroll 8
    for (unsigned i = 0; i < AT_ONCE; i++)
      _mm_storeu_si128((void *)(out + 16 * i),
                       _mm_xor_si128(x[i], load(in + 16 * i)));
    n = plus(n, AT_ONCE);
  }
  if (size > 0) {
    uint8_t stream[STEP];
    eight(a->keys, n, x);
    for (unsigned i = 0; i < AT_ONCE; i++)
      _mm_storeu_si128((void *)(stream + 16 * i), x[i]);
    for (size_t i = 0; i < size; i++) out[i] = in[i] ^ stream[i];
    n = plus(n, (size + 15) / 16);
  }
  counter_put(a->keys->counter, n);
  return true;
}


/* ------------------------------------------------------------------
** Eight vectors
** ---------------------------------------------------------------- */

WIDE_INLINE __m512i all_four(const void *at) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(at));
}


/* The counters of four blocks, from the first one's. */
WIDE_INLINE __m512i four_of(number n) {
  __m512i v = _mm512_castsi128_si512(block_of(n));
  v = _mm512_inserti32x4(v, block_of(plus(n, 1)), 1);
  v = _mm512_inserti32x4(v, block_of(plus(n, 2)), 2);
  return _mm512_inserti32x4(v, block_of(plus(n, 3)), 3);
}


/* Thirty-two blocks. Where the lower half of the counter does not overflow in
   them they are made by adding; it hardly ever does. */
WIDE_INLINE void wide_counters(number n, __m512i x[AT_ONCE]) {
  const __m512i swap = _mm512_broadcast_i32x4(
      _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __m512i four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
  if (n.low <= UINT64_MAX - 4 * AT_ONCE) {
    __m512i v = _mm512_add_epi64(_mm512_broadcast_i32x4(_mm_set_epi64x(
                                     (long long)n.high, (long long)n.low)),
                                 _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0));
#pragma GCC unroll 8
    for (unsigned i = 0; i < AT_ONCE; i++) {
      x[i] = _mm512_shuffle_epi8(v, swap);
      v = _mm512_add_epi64(v, four);
    }
  } else {
    for (unsigned i = 0; i < AT_ONCE; i++) x[i] = four_of(plus(n, 4 * i));
  }
}


WIDE_INLINE void wide_rounds(const repo_aes_keys *keys, __m512i x[AT_ONCE]) {
  __m512i key = all_four(keys->rounds[0]);
#pragma GCC unroll 8
  for (unsigned i = 0; i < AT_ONCE; i++) x[i] = _mm512_xor_si512(x[i], key);
#pragma GCC unroll 13
  for (unsigned r = 1; r < 14; r++) {
    key = all_four(keys->rounds[r]);
#pragma GCC unroll 8
    for (unsigned i = 0; i < AT_ONCE; i++)
      x[i] = _mm512_aesenc_epi128(x[i], key);
  }
  key = all_four(keys->rounds[14]);
#pragma GCC unroll 8
  for (unsigned i = 0; i < AT_ONCE; i++)
    x[i] = _mm512_aesenclast_epi128(x[i], key);
}


/* The bytes of a vector that are among those which are left. */
WIDE_INLINE __mmask64 within(size_t left) {
  return left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
}


WIDE bool wide_count(repo_aes *a, const uint8_t *in, uint8_t *out,
                     size_t size) {
  enum { STEP = AT_ONCE * 64 };
  number n = counter_get(a->keys->counter);
  __m512i x[AT_ONCE];
  for (; size >= STEP; size -= STEP, in += STEP, out += STEP) {
    wide_counters(n, x);
    wide_rounds(a->keys, x);
#pragma GCC unroll 8
    for (unsigned i = 0; i < AT_ONCE; i++)
      _mm512_storeu_si512(
          out + 64 * i,
          _mm512_xor_si512(x[i], _mm512_loadu_si512(in + 64 * i)));
    n = plus(n, 4 * AT_ONCE);
  }
  if (size > 0) {
    wide_counters(n, x);
    wide_rounds(a->keys, x);
    n = plus(n, (size + 15) / 16);
#pragma GCC unroll 8
    for (size_t i = 0; i < AT_ONCE; i++) {
      size_t from = 64 * i;
      if (size <= from) break;
      __mmask64 m = within(size - from);
      __m512i v = _mm512_maskz_loadu_epi8(m, in + from);
      _mm512_mask_storeu_epi8(out + from, m, _mm512_xor_si512(x[i], v));
    }
  }
  counter_put(a->keys->counter, n);
  return true;
}


/* ------------------------------------------------------------------
** Which
** ---------------------------------------------------------------- */

/* __builtin_cpu_supports has no name for these in every compiler. */
static bool has_aes(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_AES) != 0;
}


static bool has_vaes(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 9 & 1) != 0;
}


size_t repo_aes_ni_forms(repo_aes_form forms[2]) {
  size_t n = 0;
  if (!has_aes() || !__builtin_cpu_supports("sse4.1") ||
      !__builtin_cpu_supports("ssse3"))
    return 0;
  if (has_vaes() && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    forms[n++] = (repo_aes_form){"vaes",   ni_expand,  ni_block,
                                 ni_begin, wide_count, ni_end};
  forms[n++] = (repo_aes_form){"aes-ni", ni_expand, ni_block,
                               ni_begin, ni_count,  ni_end};
  return n;
}

#else

size_t repo_aes_ni_forms(repo_aes_form forms[2]) {
  (void)forms;
  return 0;
}

#endif
