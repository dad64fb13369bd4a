/*
** A pack's header: entries, one after the other, sealed; then its length.
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

#endif
