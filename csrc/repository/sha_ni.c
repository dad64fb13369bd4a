/*
** sha_ni: SHA-256 with the instructions that x86 has for it. Each of them waits
** for the one before; two streams in one loop wait in each other's time.
*/
#include "repository/sha_parts.h"

#if defined(__x86_64__)

/* The order below is the one that is fast; gcc's own costs a tenth. */
#if !defined(__clang__)
#pragma GCC optimize("no-schedule-insns2")
#endif

#include <cpuid.h>
#include <immintrin.h>

#define NI static __attribute__((target("sha,sse4.1,ssse3")))
#define NI_INLINE NI inline __attribute__((always_inline))

bool repo_sha_can_ni(void) {
  unsigned a, b, c, d;
  return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") &&
         __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 29 & 1) != 0;
}


static const uint32_t constants[64] __attribute__((aligned(64))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
    0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
    0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
    0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
    0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* A state as the instructions want it: words ABEF and CDGH. */
typedef struct halves {
  __m128i abef, cdgh;
} halves;

NI_INLINE halves take(const uint32_t state[8]) {
  __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const void *)state), 0xB1);
  __m128i efgh =
      _mm_shuffle_epi32(_mm_loadu_si128((const void *)(state + 4)), 0x1B);
  return (halves){_mm_alignr_epi8(abcd, efgh, 8),
                  _mm_blend_epi16(efgh, abcd, 0xF0)};
}


NI_INLINE void give(uint32_t state[8], halves h) {
  __m128i feba = _mm_shuffle_epi32(h.abef, 0x1B);
  __m128i dchg = _mm_shuffle_epi32(h.cdgh, 0xB1);
  _mm_storeu_si128((void *)state, _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128((void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}


NI_INLINE __m128i words(const uint8_t *data) {
  const __m128i swap =
      _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
  return _mm_shuffle_epi8(_mm_loadu_si128((const void *)data), swap);
}


/* Words come four at a time, m[i % 4] for the rounds 4 * i. Those of 16 rounds
   later take their place in two steps, as soon as what each needs is there. */
NI_INLINE void load(__m128i m[4], const uint8_t *data, int i) {
  if (i < 4) m[i] = words(data + 16 * i);
}


NI_INLINE void begin_words(__m128i m[4], int i) {
  if (i >= 1 && i < 13)
    m[(i + 3) & 3] = _mm_sha256msg1_epu32(m[(i + 3) & 3], m[i & 3]);
}


NI_INLINE void end_words(__m128i m[4], int i) {
  if (i < 3 || i == 15) return;
  __m128i back = _mm_alignr_epi8(m[i & 3], m[(i + 3) & 3], 4);
  __m128i *next = &m[(i + 1) & 3];
  *next = _mm_sha256msg2_epu32(_mm_add_epi32(*next, back), m[i & 3]);
}


NI_INLINE __m128i with_constants(const __m128i m[4], int i) {
  return _mm_add_epi32(m[i & 3],
                       _mm_load_si128((const void *)(constants + 4 * i)));
}


NI_INLINE void two_rounds(halves *h, __m128i k) {
  __m128i abef = _mm_sha256rnds2_epu32(h->cdgh, h->abef, k);
  h->cdgh = h->abef;
  h->abef = abef;
}


NI_INLINE void sum(halves *h, const halves *before) {
  h->abef = _mm_add_epi32(h->abef, before->abef);
  h->cdgh = _mm_add_epi32(h->cdgh, before->cdgh);
}


__attribute__((target("sha,sse4.1,ssse3"))) void repo_sha_ni_one(
    uint32_t state[8], const uint8_t *data, size_t count) {
  halves h = take(state);
  for (; count > 0; count--, data += 64) {
    const halves before = h;
    __m128i m[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
      load(m, data, i);
      __m128i k = with_constants(m, i);
      two_rounds(&h, k);
      end_words(m, i);
      two_rounds(&h, _mm_shuffle_epi32(k, 0x0E));
      begin_words(m, i);
    }
    sum(&h, &before);
  }
  give(state, h);
}


__attribute__((target("sha,sse4.1,ssse3"))) void repo_sha_ni_two(
    uint32_t state[8], const uint8_t *data, uint32_t other[8],
    const uint8_t *other_data, size_t count) {
  halves h = take(state), g = take(other);
  for (; count > 0; count--, data += 64, other_data += 64) {
    const halves h_before = h, g_before = g;
    __m128i m[4], n[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
      load(m, data, i);
      load(n, other_data, i);
      __m128i k = with_constants(m, i), j = with_constants(n, i);
      two_rounds(&h, k);
      two_rounds(&g, j);
      end_words(m, i);
      end_words(n, i);
      two_rounds(&h, _mm_shuffle_epi32(k, 0x0E));
      two_rounds(&g, _mm_shuffle_epi32(j, 0x0E));
      begin_words(m, i);
      begin_words(n, i);
    }
    sum(&h, &h_before);
    sum(&g, &g_before);
  }
  give(state, h);
  give(other, g);
}

#else

bool repo_sha_can_ni(void) {
  return false;
}


/* Never called: it is no form here. */
void repo_sha_ni_one(uint32_t state[8], const uint8_t *data, size_t count) {
  (void)state, (void)data, (void)count;
}


void repo_sha_ni_two(uint32_t state[8], const uint8_t *data, uint32_t other[8],
                     const uint8_t *other_data, size_t count) {
  (void)state, (void)data, (void)other, (void)other_data, (void)count;
}

#endif
