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


/* How deep the stack is wiped. OpenSSL's Poly1305 keeps a table of powers
   there: 0.9 KiB were seen for a blob, 3.4 KiB when the dynamic linker saved
   all registers on the way, or with scrypt. */
enum { FEW = 4 << 10, MANY = 16 << 10 };

__attribute__((noinline, no_sanitize("address"))) static void wipe_few(void) {
  uint8_t below[FEW];
  explicit_bzero(below, sizeof below);
}


__attribute__((noinline, no_sanitize("address"))) static void wipe_many(void) {
  uint8_t below[MANY];
  explicit_bzero(below, sizeof below);
}


/* Vectors of 512 bits have sixteen registers that nobody else uses. */
#if defined(__x86_64__)
__attribute__((noinline, target("avx512f"))) static void wipe_upper(void) {
  __asm__ volatile(
      ".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
      "vpxord %%zmm\\n,%%zmm\\n,%%zmm\\n\n"
      ".endr" ::
          : "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",
            "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29",
            "xmm30", "xmm31");
}


__attribute__((noinline, target("avx"))) static void wipe_whole(void) {
  __asm__ volatile("vzeroall" ::
                       : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                         "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                         "xmm13", "xmm14", "xmm15");
}


__attribute__((noinline)) static void wipe_old(void) {
  __asm__ volatile(
      ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
      "pxor %%xmm\\n,%%xmm\\n\n"
      ".endr" ::
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
            "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
            "xmm15");
}
#endif


/* A core dump has them, too. (Elsewhere they are left to be overwritten.) */
static void wipe_registers(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) wipe_upper();
  if (__builtin_cpu_supports("avx"))
    wipe_whole();
  else
    wipe_old();
#endif
}


/* In this order: to find the function that wipes the stack the dynamic linker
   may save the registers below it. */
void repo_wipe_traces(void) {
  wipe_registers();
  wipe_many();
}


void repo_wipe_blob_traces(void) {
  wipe_registers();
  wipe_few();
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
