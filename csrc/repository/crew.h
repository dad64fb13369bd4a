/*
** A crew: the threads of one long operation, and the jobs they take. A thread
** takes the oldest urgent job, else the oldest plain one, else the deepest:
** what was begun last is finished first, so that little is ever open.
*/
#ifndef SAROS_REPOSITORY_CREW_H
#define SAROS_REPOSITORY_CREW_H

#include "repository/repository.h"

typedef struct crew crew;

/* Its memory is its owner's; run may free it. `hand` is what the thread's own
   begin returned. */
typedef struct crew_job {
  struct crew_job *next;
  void (*run)(struct crew_job *job, void *hand);
} crew_job;

typedef enum crew_rank { CREW_URGENT, CREW_PLAIN, CREW_DEEP } crew_rank;

typedef struct crew_way {
  /* On its thread: what each needs of its own. NULL sets *e. */
  void *(*begin)(void *context, error **e);
  void (*end)(void *context, void *hand);
} crew_way;

/* NULL sets *e. Fewer threads than wanted are no error, none is. */
crew *repo_crew_new(unsigned threads, const crew_way *way, void *context,
                    error **e);
void repo_crew_push(crew *c, crew_job *job, crew_rank rank);
/* Whether a thread has nothing to do, so that a job would be begun at once. */
bool repo_crew_has_idle(const crew *c);
/* Whether each of the others has something to do, and one job more to begin
   when it is done with it: whoever makes jobs is busy for long with one that it
   does itself, and nobody should wait for the next one meanwhile. */
bool repo_crew_has_room(const crew *c);
/* Runs an urgent job, if there is one: instead of waiting for it. */
bool repo_crew_help(crew *c, void *hand);
/* Until there is no job, and none is running. */
void repo_crew_wait(crew *c);
/* No job may be left. */
void repo_crew_free(crew *c);

#endif
