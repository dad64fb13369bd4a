/*
** Text as Go's libraries write it: what they do to the byte decides a hash.
*/
#ifndef SAROS_REPOSITORY_GO_H
#define SAROS_REPOSITORY_GO_H

#include <time.h>

#include "repository/repository.h"

/* encoding/json, with its HTML escapes, and quotes around it. */
void repo_go_string(buffer *b, const char *text, size_t size);
/* strconv.Quote without its quotes, then that. */
void repo_go_name(buffer *b, const char *name, size_t size);
/* The other way round, from what a JSON reader gave. False: it is none. */
bool repo_go_unquote(buffer *b, const char *text, size_t size);
/* RFC3339Nano. `zone`: seconds east of UTC. */
void repo_go_time(buffer *b, struct timespec t, int32_t zone);
int32_t repo_go_zone(time_t t); /* here, then; thread-safe */
bool repo_go_time_read(const char *text, size_t size, struct timespec *t,
                       int32_t *zone);
/* os.FileMode of a st_mode, and back. */
uint32_t repo_go_mode(uint32_t st_mode);
uint32_t repo_go_mode_read(uint32_t mode, bool *known);

#endif
