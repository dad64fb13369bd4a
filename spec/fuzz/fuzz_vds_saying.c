/*
** What programs say of how far they are: the first byte is who speaks, the rest
** is cut as a run of a program cuts it. Nothing is more than the whole, nothing
** goes back.
*/
#include <string.h>

#include "vds/tool.h"

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
  int (*read)(vds_saying *s, const char *text, size_t size);
} readers[] = {{vds_saying_mke2fs},
               {vds_saying_e2fsck},
               {vds_saying_resize2fs},
               {vds_saying_xfs},
               {vds_saying_btrfs}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  size_t who = data[0] % (sizeof readers / sizeof *readers);
  vds_saying s = {0};
  int last = 0;
  for (size_t from = 1, to = 1; to <= size; to++) {
    if (to < size && strchr("\n\r\b|", data[to]) == NULL) continue;
    /* By itself, so that a byte too many is seen. */
    char *piece = mem_alloc(to > from ? to - from : 1);
    if (piece == NULL) return 0;
    memcpy(piece, data + from, to - from);
    int at = readers[who].read(&s, piece, to - from);
    mem_free(piece);
    if (at < -1 || at > 1000 || (at >= 0 && at < last)) __builtin_trap();
    if (at >= 0) last = at;
    from = to + 1;
  }
  return 0;
}
