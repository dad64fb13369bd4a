/*
** What passes remember: for a million entries some 32 MB, for more than there
** is room for nothing, which is slow and not wrong.
*/
#include <string.h>
#include <sys/random.h>

#include "vss/provider/tree_parts.h"

#define SEEN_FIRST ((size_t)1024)
#define SEEN_MOST ((size_t)1 << 24) /* 256 MB */

#ifdef SAROS_TEST
_Atomic size_t seen_most;
#endif

static size_t most(void) {
#ifdef SAROS_TEST
  size_t n = atomic_load(&seen_most);
  if (n != 0) return n;
#endif
  return SEEN_MOST;
}

bool seen_init(seen *s) {
  memset(s, 0, sizeof *s);
  pthread_mutex_init(&s->lock, NULL);
  return getrandom(s->secret, sizeof s->secret, 0) == (ssize_t)sizeof s->secret;
}

void seen_free(seen *s) {
  mem_free(s->slots);
  s->slots = NULL;
  s->room = s->count = 0;
  pthread_mutex_destroy(&s->lock);
}


/* ------------------------------------------------------------------
** SipHash-1-3
** ---------------------------------------------------------------- */

#define ROTATE(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static void stir(uint64_t v[4]) {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = ROTATE(v[1], 13) ^ v[0];
  v[3] = ROTATE(v[3], 16) ^ v[2];
  v[0] = ROTATE(v[0], 32);
  v[2] += v[1];
  v[0] += v[3];
  v[1] = ROTATE(v[1], 17) ^ v[2];
  v[3] = ROTATE(v[3], 21) ^ v[0];
  v[2] = ROTATE(v[2], 32);
}

static void take(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  stir(v);
  v[0] ^= word;
}

static uint64_t hash(const seen *s, uint64_t first, const void *bytes,
                     size_t size) {
  uint64_t v[4] = {
      s->secret[0] ^ 0x736f6d6570736575u, s->secret[1] ^ 0x646f72616e646f6du,
      s->secret[0] ^ 0x6c7967656e657261u, s->secret[1] ^ 0x7465646279746573u};
  const char *at = bytes;
  take(v, first);
  uint64_t word;
  size_t left = size;
  for (; left >= 8; left -= 8, at += 8) {
    memcpy(&word, at, 8);
    take(v, word);
  }
  word = 0;
  memcpy(&word, at, left);
  take(v, word | ((uint64_t)size << 56));
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) stir(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t seen_key(const seen *s, uint64_t above, const char *name) {
  uint64_t key = hash(s, above, name, strlen(name));
  return key != 0 ? key : 1;
}

uint64_t seen_print(const seen *s, const struct stat *st) {
  const uint64_t words[] = {(uint64_t)st->st_ino,
                            (uint64_t)st->st_size,
                            (uint64_t)st->st_mtim.tv_sec,
                            (uint64_t)st->st_mtim.tv_nsec,
                            (uint64_t)st->st_ctim.tv_sec,
                            (uint64_t)st->st_ctim.tv_nsec,
                            (uint64_t)st->st_nlink,
                            (uint64_t)st->st_mode,
                            ((uint64_t)st->st_uid << 32) | st->st_gid,
                            (uint64_t)st->st_rdev};
  uint64_t print = hash(s, (uint64_t)st->st_dev, words, sizeof words);
  return (print & ~(uint64_t)SEEN_BITS) | 4;
}


/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

static seen_slot *find(seen_slot *slots, size_t room, uint64_t key) {
  size_t i = (size_t)key & (room - 1);
  while (slots[i].key != 0 && slots[i].key != key) i = (i + 1) & (room - 1);
  return &slots[i];
}

static bool grow(seen *s) {
  size_t room = s->room == 0 ? SEEN_FIRST : s->room * 2;
  if (room > most()) return false;
  seen_slot *slots = mem_zero(room * sizeof *slots);
  if (slots == NULL) return false;
  for (size_t i = 0; i < s->room; i++)
    if (s->slots[i].key != 0) *find(slots, room, s->slots[i].key) = s->slots[i];
  mem_free(s->slots);
  s->slots = slots;
  s->room = room;
  return true;
}

void seen_put(seen *s, uint64_t key, uint64_t print) {
  pthread_mutex_lock(&s->lock);
  bool roomy = (s->count + 1) * 4 <= s->room * 3;
  seen_slot *slot = s->room > 0 ? find(s->slots, s->room, key) : NULL;
  if (slot != NULL && slot->key == key) {
    slot->print = print;
  } else if (print != 0 && (roomy || grow(s))) {
    slot = find(s->slots, s->room, key);
    *slot = (seen_slot){key, print};
    s->count++;
  }
  pthread_mutex_unlock(&s->lock);
}

uint64_t seen_get(seen *s, uint64_t key) {
  pthread_mutex_lock(&s->lock);
  uint64_t print = s->room > 0 ? find(s->slots, s->room, key)->print : 0;
  pthread_mutex_unlock(&s->lock);
  return print;
}
