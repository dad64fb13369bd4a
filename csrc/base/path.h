/*
** Paths and names as bytes. Nothing here touches a file system, except
** path_directory.
*/
#ifndef SAROS_BASE_PATH_H
#define SAROS_BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/value.h"

/* "a" + "b" with exactly one slash; an absolute `name` wins. Allocated. */
char *path_join(const char *directory, const char *name);
/* Without "." and empty parts and trailing slashes; ".." is kept, because
   removing it is wrong across symbolic links. Allocated. */
char *path_clean(const char *path);
/* What is behind the last slash; "/" for the root. Points into `path` and
   gives the length (trailing slashes are left out). */
const char *path_base(const char *path, size_t *size);
/* What is before it: "." when there is none. Allocated. */
char *path_parent(const char *path);
/* Whether `path` is `directory` or lies in it, by its text alone. */
bool path_within(const char *path, const char *directory);

/* Whether the bytes are UTF-8 (no surrogates, nothing over U+10FFFF,
   shortest forms). */
bool text_is_utf8(const char *data, size_t size);
/* The bytes (1 to 4) of the UTF-8 character that `data` begins with; 0 when
   it begins with none. */
size_t text_utf8(const char *data, size_t size);
/* A character as one to four bytes of UTF-8. */
void text_put_utf8(buffer *b, uint32_t c);
/* For a person, a terminal or a log: control characters (also C1 and DEL),
   backslashes and bytes that are not UTF-8 as \n, \t, \xHH. */
void text_escape(buffer *b, const char *data, size_t size);
/* Base64 with padding. */
void text_base64(buffer *b, const void *data, size_t size);
/* False, with nothing added, when the text is not base64 in its shortest form
   (or memory ran out: then the buffer failed). */
bool text_unbase64(buffer *b, const char *text, size_t size);
/* Puts "path" (escaped) into a map, and "path_b64" beside it when the bytes
   are not UTF-8. False when memory ran out. */
bool path_put(value *map, const char *path);

/* The directories saros keeps things in: system ones for root, else the
   user's (XDG), else a checked 0700 directory in /tmp; below `base` when
   that is given. Makes what is missing with mode 0700 (0755 for root's).
   Refuses, with the reason, a directory that another user could write to
   or that is a symbolic link of another user. Allocated; NULL sets *e. */
typedef enum path_kind { PATH_STATE, PATH_RUNTIME } path_kind;
char *path_directory(path_kind kind, const char *base, error **e);
/* The same of one that is there, which is checked. Nothing is made: NULL, and
   no error, when it is not. */
char *path_directory_there(path_kind kind, const char *base, error **e);

#endif
