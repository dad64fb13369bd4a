/*
** What the files of packs share. A pack's header: entries, one after the other,
** sealed; then its length.
*/
#ifndef SAROS_REPOSITORY_PACK_PARTS_H
#define SAROS_REPOSITORY_PACK_PARTS_H

#include "repository/pack.h"

/* An entry: type, length, the length unpacked if it is, id. */
#define REPO_ENTRY_PLAIN ((size_t)37)
#define REPO_ENTRY_PACKED ((size_t)41)
#define REPO_ENTRY_IS_PACKED 2 /* in its type */
/* All of them: readers take no more, with what seals them. */
#define REPO_HEADER_PLAIN_MOST (REPO_HEADER_MOST - 4 - REPO_SEAL)

/* The memory of one: zeroed at first. */
typedef struct repo_pages {
  uint8_t *data;
  size_t size;
  void *counted;
} repo_pages;

/* It may move. False: no memory; it is as it was. */
bool repo_pages_grow(repo_pages *p, size_t size);
/* What is behind the first so many bytes may be gone, and is given back. */
void repo_pages_let_go(repo_pages *p, size_t keep);
void repo_pages_free(repo_pages *p);
bool repo_pages_are_large(void);

#endif
