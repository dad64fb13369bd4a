/*
** What a backup leaves out, by the rules that restic's users know: patterns,
** files that mark a directory, size. Everything is compiled once; then any
** number of threads may ask. What a pattern costs to ask is bounded by its
** length times the path's, whatever is in it.
**
** A pattern without a slash in front matches at any depth; one that matches a
** directory matches all in it. In a component * ? [a-z] [^a-z] and \x are as
** in filepath.Match; the component ** is any number of components. A pattern
** that begins with ! takes back what those before it left out.
*/
#ifndef SAROS_REPOSITORY_EXCLUDE_H
#define SAROS_REPOSITORY_EXCLUDE_H

#include <sys/types.h>

#include "repository/repository.h"

typedef struct repo_exclude repo_exclude;
repo_exclude *repo_exclude_new(void); /* NULL: no memory */
void repo_exclude_free(repo_exclude *x);

/* A pattern, behind those that were added before. `fold`: whether capitals
   make no difference; such patterns are a list of their own. The empty one is
   passed over; one that is malformed is SAROS_E_INVALIDARG. */
error *repo_exclude_pattern(repo_exclude *x, const char *pattern, bool fold);
/* The text of a file of patterns: one a line, without the space around it;
   lines that begin with # are comments; $NAME and ${NAME} are asked of
   `variable` (NULL from it is the empty text), $$ is a dollar. A byte order
   mark is taken off, and UTF-16 with one is understood. */
typedef const char *(*repo_variable)(void *context, const char *name);
error *repo_exclude_text(repo_exclude *x, const char *text, size_t size,
                         bool fold, repo_variable variable, void *context);
/* "NAME" or "NAME:HEADER": what is in a directory with a file of this name,
   which begins with that header, is left out, but for that file. At most 64 of
   them. */
error *repo_exclude_if_present(repo_exclude *x, const char *rule);
error *repo_exclude_caches(repo_exclude *x); /* CACHEDIR.TAG */
/* Files that are larger. "10M" to bytes: a number and b, k, m, g or t. */
void repo_exclude_larger_than(repo_exclude *x, uint64_t size);
bool repo_exclude_read_size(const char *text, uint64_t *size);

/* Whether a path is left out by a pattern. */
error *repo_exclude_path(const repo_exclude *x, const char *path, size_t size,
                         bool *excluded);
/* Which rules mark this open directory, a bit each; asked once for each.
   *partial tells of a marking file that could not be read (then it does not
   mark). */
uint64_t repo_exclude_marks(const repo_exclude *x, int directory,
                            error **partial);
/* Whether a name in a directory with these marks is left out. */
bool repo_exclude_marked(const repo_exclude *x, uint64_t marks,
                         const char *name);
/* Whether a file of this mode and size is too large. */
bool repo_exclude_size(const repo_exclude *x, uint32_t st_mode, uint64_t size);

#endif
