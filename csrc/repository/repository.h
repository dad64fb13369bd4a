/*
** repository: restic's format, read and written in C. By subject: id and
** crypto, chunker, compress, pack, index, tree, snapshot, key, lock; over them
** the long calls backup, restore, check, forget, prune, copy, repair, mount,
** each an operation with threads of its own; under them `store`, which only
** knows files.
** A module of its own (OpenSSL, libzstd, libcurl): it has the engine through
** saros.h, and base compiled in. Every name from here begins with repo_.
**
** Lock order, outermost first: repository, index, crew, packer, store.
*/
#ifndef SAROS_REPOSITORY_H
#define SAROS_REPOSITORY_H

#include "base/base.h"
#include "saros.h"

/* Makes every error of this folder. */
#define repo_error(code, ...) error_make(SAROS_FACADE_SAROS, code, __VA_ARGS__)

/* Asked by whatever may take long: true when it shall end early, which is then
   no failure but SAROS_E_CANCELLED. NULL: never. */
typedef struct repo_stop {
  bool (*asked)(const struct repo_stop *stop);
} repo_stop;
#define repo_stopped(s) ((s) != NULL && (s)->asked(s))
/* Sleeps. False: it was asked to end. */
bool repo_pause(const repo_stop *stop, uint64_t ms);
/* Milliseconds, of a clock that goes on while the machine is suspended. */
uint64_t repo_clock(void);

/* Another number in the child of a fork: what has the parent's is the
   parent's. */
unsigned repo_generation(void);

#endif
