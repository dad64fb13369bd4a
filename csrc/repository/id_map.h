/*
** Which ids were seen: each gets a number, counted from 0 as they come, so that
** who asks can keep what he likes about it in an array of his own. Some forty
** bytes an id. Not for several threads at once.
*/
#ifndef SAROS_REPOSITORY_ID_MAP_H
#define SAROS_REPOSITORY_ID_MAP_H

#include "repository/pack.h"

typedef struct repo_id_map repo_id_map;

typedef struct repo_known {
  repo_id id;
  uint8_t type; /* repo_blob_type; whatever it is, it is a part of the name */
  uint8_t mark; /* the caller's; 0 at first */
} repo_known;

repo_id_map *repo_id_map_new(void); /* NULL: no memory */
void repo_id_map_free(repo_id_map *m);
size_t repo_id_map_count(const repo_id_map *m);
/* *fresh when it was not there. False: no memory (or 2^32 of them). */
bool repo_id_map_put(repo_id_map *m, uint8_t type, const repo_id *id,
                     uint32_t *number, bool *fresh);
bool repo_id_map_find(const repo_id_map *m, uint8_t type, const repo_id *id,
                      uint32_t *number);
/* Stays where it is until the next is put. */
repo_known *repo_id_map_at(const repo_id_map *m, uint32_t number);

#endif
