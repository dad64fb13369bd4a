/*
** Copies of saros do not see each other's symbols (hosts load modules
** RTLD_LOCAL). What they can see is the list of loaded objects, so each copy
** carries an ELF note that leads to its claim.
*/
#include "op/only.h"

#include <elf.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

/* 1 while this copy's engine runs. */
static _Atomic int claim __asm__("saros_engine_claim") __attribute__((used));

/* A note of owner "saros", type 1: the distance from itself to the claim. */
__asm__(
    ".pushsection .note.saros, \"a\", %note\n"
    ".balign 4\n"
    ".long 6, 8, 1\n"
    ".asciz \"saros\"\n"
    ".balign 4\n"
    ".quad saros_engine_claim - .\n"
    ".popsection\n");

static bool claimed_by_note(const char *at, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    memcpy(&note, at, sizeof note);
    size_t name = (note.n_namesz + 3u) & ~(size_t)3;
    size_t content = (note.n_descsz + 3u) & ~(size_t)3;
    if (size - sizeof note < name || size - sizeof note - name < content)
      return false;
    const char *text = at + sizeof note;
    if (note.n_type == 1 && note.n_namesz == 6 && note.n_descsz == 8 &&
        memcmp(text, "saros", 6) == 0) {
      int64_t distance;
      memcpy(&distance, text + name, sizeof distance);
      _Atomic int *other = (_Atomic int *)(uintptr_t)(text + name + distance);
      if (other != &claim && atomic_load(other) != 0) return true;
    }
    at += sizeof note + name + content;
    size -= sizeof note + name + content;
  }
  return false;
}

static int look(struct dl_phdr_info *info, size_t size, void *found) {
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    if (p->p_type != PT_NOTE) continue;
    const char *at = (const char *)(info->dlpi_addr + p->p_vaddr);
    if (claimed_by_note(at, p->p_memsz)) {
      *(bool *)found = true;
      return 1;
    }
  }
  return 0;
}

/* Claims first and looks then: of two that start at once both may be refused,
   but never both run. */
bool only_claim(void) {
  bool found = false;
  atomic_store(&claim, 1);
  dl_iterate_phdr(look, &found);
  if (found) atomic_store(&claim, 0);
  return !found;
}

void only_let_go(void) {
  atomic_store(&claim, 0);
}

void only_forked(void) {
  atomic_store(&claim, 0);
}
