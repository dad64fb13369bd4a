/*
** sha_ni: SHA-256 with the instructions that x86 has for it. Each of them waits
** for the one before; two streams in one loop wait in each other's time.
*/
#include "repository/sha_parts.h"

#if defined(__x86_64__)

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


/* Four rounds with the words m[i % 4], and those words 16 rounds later. */
NI_INLINE void rounds(halves *h, __m128i m[4], int i) {
  __m128i w = m[i & 3];
  __m128i k =
      _mm_add_epi32(w, _mm_load_si128((const void *)(constants + 4 * i)));
  h->cdgh = _mm_sha256rnds2_epu32(h->cdgh, h->abef, k);
  h->abef = _mm_sha256rnds2_epu32(h->abef, h->cdgh, _mm_shuffle_epi32(k, 0x0E));
  if (i >= 12) return;
  __m128i next = _mm_sha256msg1_epu32(w, m[(i + 1) & 3]);
  next =
      _mm_add_epi32(next, _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
  m[i & 3] = _mm_sha256msg2_epu32(next, m[(i + 3) & 3]);
}


__attribute__((target("sha,sse4.1,ssse3"))) void repo_sha_ni_one(
    uint32_t state[8], const uint8_t *data, size_t count) {
  halves h = take(state);
  for (; count > 0; count--, data += 64) {
    halves before = h;
    __m128i m[4];
    for (int i = 0; i < 4; i++) m[i] = words(data + 16 * i);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) rounds(&h, m, i);
    h.abef = _mm_add_epi32(h.abef, before.abef);
    h.cdgh = _mm_add_epi32(h.cdgh, before.cdgh);
  }
  give(state, h);
}


__attribute__((target("sha,sse4.1,ssse3"))) void repo_sha_ni_two(
    uint32_t state[8], const uint8_t *data, uint32_t other[8],
    const uint8_t *other_data, size_t count) {
  halves h = take(state), g = take(other);
  for (; count > 0; count--, data += 64, other_data += 64) {
    halves h_before = h, g_before = g;
    __m128i m[4], n[4];
    for (int i = 0; i < 4; i++) {
      m[i] = words(data + 16 * i);
      n[i] = words(other_data + 16 * i);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
      rounds(&h, m, i);
      rounds(&g, n, i);
    }
    h.abef = _mm_add_epi32(h.abef, h_before.abef);
    h.cdgh = _mm_add_epi32(h.cdgh, h_before.cdgh);
    g.abef = _mm_add_epi32(g.abef, g_before.abef);
    g.cdgh = _mm_add_epi32(g.cdgh, g_before.cdgh);
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
