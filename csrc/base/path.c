/*
** path: paths by their text alone.
*/
#include "base/path.h"

#include <string.h>

#include "base/memory.h"

/* The next part of a path that is neither empty nor ".": its start, its size
   in *size, and *at behind it. NULL at the end. */
static const char *next_part(const char **at, size_t *size) {
  for (;;) {
    const char *start = *at + strspn(*at, "/");
    *size = strcspn(start, "/");
    *at = start + *size;
    if (*size == 0) return NULL;
    if (*size > 1 || *start != '.') return start;
  }
}


static bool is_up(const char *part, size_t size) {
  return size == 2 && part[0] == '.' && part[1] == '.';
}


/* Its length without the slashes at the end; 0 for the root. */
static size_t trimmed(const char *path) {
  size_t size = strlen(path);
  while (size > 0 && path[size - 1] == '/') size--;
  return size;
}


char *path_join(const char *directory, const char *name) {
  if (*name == '/' || *directory == '\0') return mem_text(name);
  if (*name == '\0') return mem_text(directory);
  buffer b = BUFFER_EMPTY;
  buffer_put(&b, directory, trimmed(directory));
  buffer_byte(&b, '/');
  buffer_text(&b, name);
  return buffer_take(&b);
}


char *path_clean(const char *path) {
  buffer b = BUFFER_EMPTY;
  const char *at = path, *part;
  size_t size;
  bool slash = *path == '/';
  while ((part = next_part(&at, &size)) != NULL) {
    if (slash) buffer_byte(&b, '/');
    buffer_put(&b, part, size);
    slash = true;
  }
  if (b.size == 0) buffer_byte(&b, slash ? '/' : '.');
  return buffer_take(&b);
}


const char *path_base(const char *path, size_t *size) {
  size_t end = trimmed(path);
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  *size = end - start;
  if (end == 0 && *path == '/') *size = 1;
  return path + start;
}


char *path_parent(const char *path) {
  size_t end = trimmed(path);
  while (end > 0 && path[end - 1] != '/') end--;
  while (end > 0 && path[end - 1] == '/') end--;
  if (end > 0) return mem_bytes(path, end);
  return mem_text(*path == '/' ? "/" : ".");
}


bool path_within(const char *path, const char *directory) {
  if ((*path == '/') != (*directory == '/')) return false;
  const char *part, *wanted;
  size_t size, wanted_size;
  while ((wanted = next_part(&directory, &wanted_size)) != NULL) {
    part = next_part(&path, &size);
    if (part == NULL || size != wanted_size) return false;
    if (memcmp(part, wanted, size) != 0) return false;
  }
  /* One that goes up again may be anywhere. */
  while ((part = next_part(&path, &size)) != NULL)
    if (is_up(part, size)) return false;
  return true;
}


bool path_put(value *map, const char *path) {
  if (path == NULL) return value_put(map, "path", value_null());
  size_t size = strlen(path);
  buffer b = BUFFER_EMPTY;
  text_escape(&b, path, size);
  bool good = !b.failed;
  good = good && value_put(map, "path", value_string(b.data, b.size));
  buffer_clear(&b);
  if (good && !text_is_utf8(path, size)) {
    text_base64(&b, path, size);
    good =
        !b.failed && value_put(map, "path_b64", value_string(b.data, b.size));
  }
  buffer_free(&b);
  return good;
}
