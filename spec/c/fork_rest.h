/*
** fork_rest: a fork while all other threads sleep. What one of them has at that
** instant of a sanitizer's memory, as its lock, nobody lets go in the child,
** which would wait for it for ever. (The C library sees to its own.)
*/
#ifndef SAROS_FORK_REST_H
#define SAROS_FORK_REST_H

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FORK_REST_MS = 60000 }; /* reached only when somebody never sleeps */

static inline bool fork_others_rest(void) {
  bool rest = true;
  DIR *d = opendir("/proc/self/task");
  for (struct dirent *one; rest && d != NULL && (one = readdir(d)) != NULL;) {
    char path[300], text[300];
    if (one->d_name[0] == '.' || atoi(one->d_name) == gettid()) continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/stat", one->d_name);
    FILE *f = fopen(path, "re");
    if (f == NULL) continue;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *state = strrchr(text, ')');
    rest = state == NULL || state[1] != ' ' || state[2] == 'S';
  }
  if (d != NULL) closedir(d);
  return rest;
}

/* Also what pthread_atfork may call before each. */
static inline void fork_until_rest(void) {
  for (int i = 0; i < FORK_REST_MS && !fork_others_rest(); i++)
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static inline pid_t fork_at_rest(void) {
  fflush(stdout);
  fork_until_rest();
  return fork();
}

#endif
