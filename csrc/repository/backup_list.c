/*
** backup_list: the names of a directory, many at a call, sorted by their bytes.
*/
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "repository/backup_parts.h"

#define BYTES 65536

/* As the kernel gives them. */
typedef struct raw_name {
  uint64_t inode;
  int64_t offset;
  unsigned short size;
  unsigned char type;
  char name[];
} raw_name;

void repo_backup_list_free(listing *l) {
  for (size_t i = 0; i < l->count; i++) mem_free(l->entries[i].piece);
  mem_free(l->names);
  mem_free(l->entries);
  memset(l, 0, sizeof *l);
}

static bool room_for(listing *l, size_t size) {
  if (l->names_size + size > l->names_room) {
    size_t room = l->names_room * 2 + 1024 + size;
    char *names = mem_grow(l->names, room);
    if (names == NULL) return false;
    l->names = names;
    l->names_room = room;
  }
  if (l->count == l->room) {
    size_t room = l->room * 2 + 32;
    entry *entries = mem_grow(l->entries, room * sizeof *entries);
    if (entries == NULL) return false;
    l->entries = entries;
    l->room = room;
  }
  return true;
}

error *repo_backup_list_add(listing *l, const char *name, size_t size,
                            uint8_t type) {
  if (!room_for(l, size + 1)) return error_no_memory();
  l->entries[l->count++] =
      (entry){.name = l->names_size, .size = (uint32_t)size, .type = type};
  memcpy(l->names + l->names_size, name, size + 1);
  l->names_size += size + 1;
  return NULL;
}

static int by_name(const void *a, const void *b, void *names) {
  const entry *x = a, *y = b;
  return strcmp((const char *)names + x->name, (const char *)names + y->name);
}

/* A directory that changes while it is read may name something twice. */
static void drop_doubles(listing *l) {
  size_t kept = 0;
  for (size_t i = 0; i < l->count; i++) {
    if (kept > 0 && strcmp(l->names + l->entries[kept - 1].name,
                           l->names + l->entries[i].name) == 0)
      continue;
    l->entries[kept++] = l->entries[i];
  }
  l->count = kept;
}

error *repo_backup_list(int fd, listing *l) {
  _Alignas(raw_name) char bytes[BYTES];
  for (;;) {
    long n = syscall(SYS_getdents64, fd, bytes, sizeof bytes);
    if (n == 0) break;
    if (n < 0)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "cannot list the directory", NULL);
    for (long at = 0; at < n;) {
      const raw_name *r = (const raw_name *)(const void *)(bytes + at);
      at += r->size;
      if (strcmp(r->name, ".") == 0 || strcmp(r->name, "..") == 0) continue;
      error *e = repo_backup_list_add(l, r->name, strlen(r->name), r->type);
      if (e != NULL) return e;
    }
  }
  if (l->count > 1)
    qsort_r(l->entries, l->count, sizeof *l->entries, by_name, l->names);
  drop_doubles(l);
  return NULL;
}
