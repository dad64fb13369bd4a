/*
** What the sealer has to know of secret memory besides crypto.h.
*/
#ifndef SAROS_REPOSITORY_SECRET_H
#define SAROS_REPOSITORY_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* As repo_secret_new; all zero at first. *gone_in_child: it is so again in a
   child of fork. */
void *repo_secret_map(size_t size, bool *gone_in_child);

#endif
