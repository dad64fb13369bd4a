/*
** chunker_sliced: the scan at 64 places at once, with AVX-512 and GFNI.
**
** Fingerprints are kept in slices: a register has the same byte of all 64. To
** shift them by a byte is then to rename registers, and to reduce what comes
** out on top is to multiply it by a bit matrix, for which there is an
** instruction. Places lie a stride apart; 64 bytes of each are turned into 64
** registers of one byte of each, and those that leave the window are the ones
** that were turned before.
*/
#include "repository/chunker_parts.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define WAYS ((size_t)64)
/* An odd number of lines: with an even one the places share few cache sets. */
#define STRIDE ((size_t)(17 * 64))

#define SLICED static __attribute__((target("avx512f,avx512bw,gfni")))

bool repo_chunker_can_slice(void) {
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("gfni");
}


/* One line of each of four places 16 ways apart, 16 bytes of it. */
SLICED inline __m512i gather(const uint8_t *p, size_t stride) {
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
  for (int q = 1; q < 4; q++)
    v = _mm512_mask_broadcast_i32x4(
        v, (__mmask16)(0xF << 4 * q),
        _mm_loadu_si128((const void *)(p + (size_t)q * 16 * stride)));
  return v;
}


/* out[i] has byte i of all places. */
SLICED void turn(const uint8_t *data, size_t stride, __m512i out[64]) {
  for (size_t part = 0; part < 4; part++) {
    __m512i a[16], b[16];
    for (size_t i = 0; i < 16; i++)
      a[i] = gather(data + i * stride + part * 16, stride);
    /* Four times: rows i and i + 8, byte by byte in turn. */
    for (size_t i = 0; i < 8; i++) {
      b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
      b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
    }
    for (size_t i = 0; i < 8; i++) {
      a[2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
      a[2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
    }
    for (size_t i = 0; i < 8; i++) {
      b[2 * i] = _mm512_unpacklo_epi8(a[i], a[i + 8]);
      b[2 * i + 1] = _mm512_unpackhi_epi8(a[i], a[i + 8]);
    }
    for (size_t i = 0; i < 8; i++) {
      out[part * 16 + 2 * i] = _mm512_unpacklo_epi8(b[i], b[i + 8]);
      out[part * 16 + 2 * i + 1] = _mm512_unpackhi_epi8(b[i], b[i + 8]);
    }
  }
}


#define TIMES(v, m) _mm512_gf2p8affine_epi64_epi8(v, m, 0)
#define SUM(a, b, c) _mm512_ternarylogic_epi64(a, b, c, 0x96)
/* 64 more bytes of each; `s` is the fingerprints. Which ways had one that cuts,
   in any of them. */
SLICED uint64_t advance(const repo_chunker *c, __m512i s[7],
                        const __m512i enter[64], const __m512i leave[64]) {
  const __m512i low7 = _mm512_set1_epi8(0x7F);
  const __m512i e0 = _mm512_set1_epi64((long long)c->enter_bits[0]);
  const __m512i e1 = _mm512_set1_epi64((long long)c->enter_bits[1]);
  __m512i a[7], r[7], least = _mm512_set1_epi8(-1);
  __m512i s0 = s[0], s1 = s[1], s2 = s[2], s3 = s[3], s4 = s[4], s5 = s[5],
          s6 = s[6];
  for (int k = 0; k < 7; k++) {
    a[k] = _mm512_set1_epi64((long long)c->append_bits[k]);
    r[k] = _mm512_set1_epi64((long long)c->remove_bits[k]);
  }
  for (size_t i = 0; i < 64; i++) {
    const __m512i in = enter[i], out = leave[i], top = s6;
    s6 = SUM(s5, TIMES(out, r[6]), TIMES(top, a[6]));
    s5 = SUM(s4, TIMES(out, r[5]), TIMES(top, a[5]));
    s4 = SUM(s3, TIMES(out, r[4]), TIMES(top, a[4]));
    s3 = SUM(s2, TIMES(out, r[3]), TIMES(top, a[3]));
    s2 = SUM(s1, TIMES(out, r[2]), TIMES(top, a[2]));
    s1 = SUM(_mm512_xor_si512(s0, TIMES(in, e1)), TIMES(out, r[1]),
             TIMES(top, a[1]));
    s0 = SUM(TIMES(in, e0), TIMES(out, r[0]), TIMES(top, a[0]));
    /* Bits 3 to 22: all of s0, whose lowest are zero, s1, and 7 of s2. */
    least = _mm512_min_epu8(
        least, _mm512_ternarylogic_epi64(_mm512_or_si512(s0, s1), s2, low7,
                                         0xF0 | (0xCC & 0xAA)));
  }
  s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3, s[4] = s4, s[5] = s5, s[6] = s6;
  return _mm512_testn_epi8_mask(least, least);
}


/* From places `from` + way * stride, stride (a multiple of 64) each. */
SLICED size_t sliced(const repo_chunker *c, const uint8_t *data, size_t from,
                     size_t stride) {
  __m512i turned[2][64], s[7];
  const uint8_t *at = data + from - REPO_CHUNK_WINDOW;
  uint64_t ways = ~(uint64_t)0;
  size_t found = 0;
  for (int k = 0; k < 7; k++) s[k] = _mm512_setzero_si512();
  for (size_t i = 0; i < 64; i++) turned[1][i] = _mm512_setzero_si512();
  turn(at, stride, turned[0]);
  advance(c, s, turned[0], turned[1]);
  /* That was place `from` of each, which the caller looks at for the first of
     them, and the way before for the others. */
  for (size_t block = 1; block <= stride / 64 && ways != 0; block++) {
    turn(at + block * 64, stride, turned[block & 1]);
    uint64_t hit = ways & advance(c, s, turned[block & 1], turned[~block & 1]);
    if (hit == 0) continue;
    /* The first way is all that counts: what is behind it comes later. */
    size_t way = (size_t)__builtin_ctzll(hit);
    size_t end = from + way * stride + block * 64;
    found = repo_chunker_scan_one(c, data, end - 63, end);
    ways &= ((uint64_t)1 << way) - 1;
  }
  return found;
}


size_t repo_chunker_scan_sliced(const repo_chunker *c, const uint8_t *data,
                                size_t from, size_t to) {
  if (from > to) return 0;
  size_t n = repo_chunker_scan_one(c, data, from, from);
  while (n == 0 && from < to) {
    size_t stride = (to - from) / WAYS / 64 * 64;
    if (stride > STRIDE) stride = STRIDE;
    if (stride < 128) return repo_chunker_scan_eight(c, data, from + 1, to);
    n = sliced(c, data, from, stride);
    from += WAYS * stride; /* this place has been looked at */
  }
  return n;
}

#else

bool repo_chunker_can_slice(void) {
  return false;
}


size_t repo_chunker_scan_sliced(const repo_chunker *c, const uint8_t *data,
                                size_t from, size_t to) {
  return repo_chunker_scan_eight(c, data, from, to);
}

#endif
