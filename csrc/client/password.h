/*
** Where a client's password comes from: a file, the environment, a program
** that prints it. It is fetched by the thread that logs in, just before it
** does, and wiped just after.
*/
#ifndef SAROS_CLIENT_PASSWORD_H
#define SAROS_CLIENT_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWORD_MOST 4096

/* Where it is to be had from: one of these, or none. */
typedef struct password_source {
  char *file;
  char *text;     /* as it was in the environment */
  char **command; /* NULL-terminated */
} password_source;

typedef struct password {
  char text[PASSWORD_MOST + 1];
  size_t size;
} password;

/* A copy of its own; false: no memory. */
bool password_source_copy(password_source *to, const password_source *from);
void password_source_free(password_source *s);
bool password_is_given(const password_source *s);

/* Fetches it: without the newline at its end. 0 or a code, and why. `stopped`
   is asked now and then, and ends a program that takes its time. */
uint32_t password_fetch(password *p, const password_source *s,
                        bool (*stopped)(void *), void *argument, char *why,
                        size_t room);
void password_wipe(password *p);

#endif
