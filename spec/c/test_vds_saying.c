/*
** How far a program is, by what it says: what real ones have said, in pieces as
** they come.
*/
#include "check.h"

#include "vds/tool.h"

__attribute__((weak)) const saros_api *saros_api_table;

typedef int reader(vds_saying *s, const char *text, size_t size);

/* Cut as a run of a program cuts it; "|" is where it stopped for a moment. All
   that was understood, one number after the other. */
static const char *heard(reader *read, const char *text) {
  static char all[400];
  vds_saying s = {0};
  int last = 0;
  all[0] = '\0';
  while (*text != '\0') {
    size_t size = strcspn(text, "\n\r\b|");
    int at = size > 0 ? read(&s, text, size) : -1;
    size_t n = strlen(all);
    if (at >= 0)
      snprintf(all + n, sizeof all - n, "%s%d", n > 0 ? " " : "", at);
    if (at >= 0) CHECK(at >= last && at <= 1000);
    if (at >= 0) last = at;
    text += size + (text[size] != '\0');
  }
  return all;
}

TEST(mke2fs) {
  CHECK_TEXT(
      heard(
          vds_saying_mke2fs,
          "mke2fs 1.47.0 (5-Feb-2023)\n"
          "Discarding device blocks:     0/65536\b\b\b\b\b\b\b\b\b\b\b       "
          "    \b\b\b\b\b\b\b\b\b\b\bdone                            \n"
          "Creating filesystem with 65536 1k blocks and 16384 inodes\n"
          "Filesystem UUID: 6cb5e1d6-6bb2-46ac-a703-0419a309810b\n"
          "Superblock backups stored on blocks: \n\t8193, 24577\n\n"
          "Allocating group tables: 0/8\b\b\b   \b\b\bdone                \n"
          "Writing inode tables: 0/8\b\b\b2/8\b\b\b4/8\b\b\b   \b\b\bdone   \n"
          "Creating journal (4096 blocks): done\n"
          "Writing superblocks and filesystem accounting information: 0/8\b\b"
          "\b   \b\b\bdone\n\n"),
      "0 300 300 350 350 462 575 800 900 900 1000");
  CHECK_TEXT(heard(vds_saying_mke2fs, "5/8\bdone\n8193, 24577\n"), "");
  CHECK_TEXT(heard(vds_saying_mke2fs,
                   "Writing inode tables: \b9/8\b0/0\b99999999999999999999/1"),
             "350 800");
}

TEST(e2fsck) {
  CHECK_TEXT(heard(vds_saying_e2fsck,
                   "Pass 1: Checking inodes, blocks, and sizes\n"
                   "1 0 8 /dev/loop0\n1 4 8 /dev/loop0\n1 8 8 /dev/loop0\n"
                   "Pass 2: Checking directory structure\n"
                   "2 1 2 /dev/loop0\n2 1 0 x\n6 1 2 x\n0 1 2 x\n3 3 2 x\n"
                   "5 32 32 /dev/loop0\n"),
             "0 350 700 800 1000");
}

TEST(resize2fs) {
  CHECK_TEXT(heard(vds_saying_resize2fs,
                   "resize2fs 1.47.0 (5-Feb-2023)\n"
                   "XXXX|Begin pass 2 (max = 32)\n"
                   "Relocating blocks             "
                   "----------------------------------------\b\b\b\b"
                   "XXXXXXXXXX|XXXXXXXXXX|XXXXXXXXXXXXXXXXXXXX\n"
                   "Begin pass 3 (max = 8)\nScanning inode table          ---"
                   "\b\b\bXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\n"
                   "The filesystem on a is now 32768 (1k) blocks long.\n"),
             "50 225 400 750 750 900");
}

TEST(xfs_repair) {
  CHECK_TEXT(heard(vds_saying_xfs,
                   "Phase 1 - find and verify superblock...\n"
                   "Phase 2 - using internal log\n        - zero log...\n"
                   "Phase 7 - verify and correct link counts...\nPhase 8 - x\n"
                   "done\n"),
             "0 142 857");
}

TEST(btrfs_check) {
  CHECK_TEXT(heard(vds_saying_btrfs,
                   "Opening filesystem to check...\n"
                   "[1/7] checking root items   (0:00:00 elapsed, 13 items "
                   "checked)\r[2/7] checking extents\n[7/7] x\n[9/7] x\n[0/7]\n"
                   "[1/0]\n"),
             "0 142 857");
}

int main(void) {
  RUN(mke2fs);
  RUN(e2fsck);
  RUN(resize2fs);
  RUN(xfs_repair);
  RUN(btrfs_check);
  return check_end();
}
