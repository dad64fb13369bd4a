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
/* unicode.IsPrint, as strconv has it. */
bool repo_go_is_print(uint32_t character);

/* RFC3339Nano. `zone`: seconds east of UTC. Years before 0 and after 9999
   are written as those. The second one returns how long it is, and writes no
   NUL. */
#define REPO_GO_TIME 40
void repo_go_time(buffer *b, struct timespec t, int32_t zone);
size_t repo_go_time_text(char text[REPO_GO_TIME], struct timespec t,
                         int32_t zone);
int32_t repo_go_zone(time_t t); /* here, then; thread-safe */
bool repo_go_time_read(const char *text, size_t size, struct timespec *t,
                       int32_t *zone);

/* A clock on the wall. */
typedef struct repo_civil {
  int64_t year;
  int month, day; /* from 1 */
  int hour, minute, second;
  int weekday; /* 0: Sunday */
} repo_civil;
void repo_go_civil(int64_t seconds, repo_civil *c);
/* Days since 1970. Months and days that are too many or too few count on into
   the next or back, as in Go's time.Date. */
int64_t repo_go_days(int64_t year, int64_t month, int64_t day);

/* os.FileMode of a st_mode, and back: with the type's bits, 0 for one that has
   none here. *known is false when there are bits that mean nothing here. */
uint32_t repo_go_mode(uint32_t st_mode);
uint32_t repo_go_mode_read(uint32_t mode, bool *known);

#endif
