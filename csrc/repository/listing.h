/*
** What the calls that look into versions share: a version with its blobs, and
** nodes as a script sees them.
*/
#ifndef SAROS_REPOSITORY_LISTING_H
#define SAROS_REPOSITORY_LISTING_H

#include "repository/budget.h"
#include "repository/call.h"
#include "repository/version.h"
#include "repository/walk.h"

typedef struct listing {
  repo_call *c;
  repo_hold *h;
  repo_blobs *blobs;
  value *errors; /* what could not be read: a list, taken by who tells it */
  repo_budget budget; /* of what is told */
} listing;

/* A lock, the index, and blobs of it; and back, with how it went. Versions are
   to be found between the lock and the index. */
error *repo_listing_lock(listing *l, repo_call *c);
error *repo_listing_begin(listing *l);
error *repo_listing_end(listing *l, error *e);
/* Notes what is damaged at a path, which makes the outcome partial; takes over
   `e`. */
error *repo_listing_tell(listing *l, const char *path, error *e);

/* One more of them; takes it over. NULL: no memory. SAROS_E_REFUSED: there are
   too many for this machine. */
error *repo_listing_add(listing *l, value *items, value *item);

/* "path" and "type"; `full`: all else that there is of it. NULL: no memory. */
value *repo_node_value(const char *path, const repo_node *n, bool full);

#endif
