/*
** secret: memory for what nobody else may see. Each piece is a mapping of its
** own, so that it can be kept out of swap, of core dumps and of the children
** that fork makes; and randomness, of which secrets are made.
*/
#include <errno.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "repository/crypto.h"
#include "repository/secret.h"

/* In front of what the caller gets; it keeps that aligned. */
typedef union head {
  void *counted; /* a block of mem_alloc: so mem_fail_at reaches us, too */
  max_align_t aligned;
} head;


void repo_wipe(void *bytes, size_t size) {
  if (size > 0) OPENSSL_cleanse(bytes, size);
}


static size_t whole_pages(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (size + page - 1) / page * page;
}


void *repo_secret_map(size_t size, bool *gone_in_child) {
  if (size > SIZE_MAX / 2) return NULL;
  size_t whole = whole_pages(size + sizeof(head));
  void *counted = mem_alloc(1);
  if (counted == NULL) return NULL;
  void *mapping = mmap(NULL, whole, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    mem_free(counted);
    return NULL;
  }
  /* Each is done where it can be: a limit of locked memory that is used up is
     no reason to make no backup. */
  (void)mlock(mapping, whole);
  (void)madvise(mapping, whole, MADV_DONTDUMP);
  *gone_in_child = madvise(mapping, whole, MADV_WIPEONFORK) == 0;
  head *h = mapping;
  h->counted = counted;
  return h + 1;
}


void *repo_secret_new(size_t size) {
  bool gone_in_child;
  return repo_secret_map(size, &gone_in_child);
}


/* In a child of fork the head is wiped, too: then the size says how much it
   is, and the block that was counted stays the parent's. */
void repo_secret_free(void *secret, size_t size) {
  if (secret == NULL) return;
  head *h = (head *)secret - 1;
  size_t whole = whole_pages(size + sizeof(head));
  mem_free(h->counted);
  repo_wipe(h, whole);
  munmap(h, whole);
}


error *repo_random(void *bytes, size_t size) {
  uint8_t *at = bytes;
  while (size > 0) {
    ssize_t got = getrandom(at, size, 0);
    if (got < 0 && errno != EINTR)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "the kernel gives no random bytes", NULL);
    if (got <= 0) continue;
    at += got;
    size -= (size_t)got;
  }
  return NULL;
}
