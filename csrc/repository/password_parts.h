/*
** What the files password*.c share.
*/
#ifndef SAROS_REPOSITORY_PASSWORD_PARTS_H
#define SAROS_REPOSITORY_PASSWORD_PARTS_H

#include "repository/password.h"

/* Empty, with memory. */
error *password_begin(repo_password *p);
/* Returns `e`, or that it is empty; then it is cleared. `origin` for a
   sentence: "the password <in the file> is empty". */
error *password_end(repo_password *p, error *e, const char *origin);
error *password_too_long(const char *origin);
/* All that comes from there, appended. */
error *password_read(repo_password *p, int fd);
/* What the program prints, appended, untouched. */
error *password_run(repo_password *p, const char *const argv[],
                    const repo_stop *stop);

#endif
