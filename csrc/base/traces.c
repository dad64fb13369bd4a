/*
** traces: the stack and the registers, wiped. A core dump has both: of a thread
** that does nothing now it has what it did last.
*/
#include "base/traces.h"

#include <stdint.h>
#include <string.h>

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
void traces_wipe(void) {
  wipe_registers();
  wipe_many();
}

void traces_wipe_few(void) {
  wipe_registers();
  wipe_few();
}
