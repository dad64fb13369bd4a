/*
** A password, from wherever it comes. It lies in secret memory, and stands in
** no error and no log; nor does a command's line, which may hold one.
*/
#ifndef SAROS_REPOSITORY_PASSWORD_H
#define SAROS_REPOSITORY_PASSWORD_H

#include "repository/repository.h"

#define REPO_PASSWORD_MOST ((size_t)16 << 10)

/* Starts as {0}. */
typedef struct repo_password {
  char *text; /* REPO_PASSWORD_MOST bytes of secret memory, or NULL */
  size_t size;
} repo_password;

void repo_password_clear(repo_password *p);

/* Each is SAROS_E_REFUSED when the password is empty: a variable that happens
   to be empty must not become one. Who wants the empty one takes a cleared
   repo_password. */
error *repo_password_text(repo_password *p, const char *text, size_t size);
/* The file without one newline at its end. */
error *repo_password_file(repo_password *p, const char *path);
/* What a program prints, without one newline at its end. No shell. */
error *repo_password_command(repo_password *p, const char *const argv[],
                             const repo_stop *stop);
error *repo_password_variable(repo_password *p, const char *name);
/* As restic does it: RESTIC_PASSWORD_FILE or RESTIC_PASSWORD_COMMAND, without
   white space around the password, else RESTIC_PASSWORD as it is. */
error *repo_password_restic(repo_password *p, const repo_stop *stop);

/* A string; or a map with one of {text}, {file}, {command}, {env}, {none =
   true}; NULL or null: as restic does it. A command is a list, or a string for
   the shell. */
error *repo_password_value(repo_password *p, const value *v,
                           const repo_stop *stop);

/* The words of a command line, as restic splits it: quotes, no shell. A list,
   or NULL and *e. */
value *repo_password_words(const char *line, error **e);

#endif
