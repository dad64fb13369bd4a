/*
** Adopting: packs that a backup had stored when it was killed, and that no
** index file names, are named. What is in them need not be stored again.
*/
#ifndef SAROS_REPOSITORY_ADOPT_H
#define SAROS_REPOSITORY_ADOPT_H

#include "repository/repo.h"

/* All packs that `index` does not know, and in which there is something that it
   does not know either. They may be those of somebody who lives: then they are
   named twice, which is no harm. *packs: how many. One that is damaged, or that
   cannot be read, is passed over. */
error *repo_adopt(repo_hold *h, repo_index *index, uint64_t *packs);

#endif
