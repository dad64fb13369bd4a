/*
** What is for those who work with keys themselves, besides crypto.h.
*/
#ifndef SAROS_REPOSITORY_SECRET_H
#define SAROS_REPOSITORY_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* As repo_secret_new; all zero at first. *gone_in_child: it is so again in a
   child of fork. */
void *repo_secret_map(size_t size, bool *gone_in_child);

/* What functions that have returned have left on the stack, and in the
   registers of vectors. After all that has computed with a key. */
void repo_wipe_traces(void);
/* After one blob: not as deep. */
void repo_wipe_blob_traces(void);

#endif
