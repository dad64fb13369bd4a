/*
** overlay: "rw,lowerdir=/a:/b,upperdir=/c,workdir=/d", or with a
** "lowerdir+=/a" for each, and data layers behind "::" or by "datadir+=". What
** would end a name early stands behind a backslash.
*/
#include "vds/overlay.h"

#include <string.h>


static bool is_layer(const char *at, size_t *size) {
  static const char *const names[] = {
      "lowerdir=", "lowerdir+=", "upperdir=", "datadir+="};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    *size = strlen(names[i]);
    if (strncmp(at, names[i], *size) == 0) return true;
  }
  return false;
}


/* One name into `path`, without its backslashes; what it ended with. */
static const char *take(const char *at, bool many, char *path) {
  for (; *at != '\0' && *at != ',' && (*at != ':' || !many); at++) {
    if (*at == '\\' && at[1] != '\0') at++;
    *path++ = *at;
  }
  *path = '\0';
  return at;
}


static const char *skip(const char *at) {
  for (; *at != '\0' && *at != ','; at++)
    if (*at == '\\' && at[1] != '\0') at++;
  return *at == ',' ? at + 1 : at;
}


bool vds_overlay_layers(const char *options,
                        void (*each)(void *context, const char *path),
                        void *context) {
  char *path = mem_alloc(strlen(options) + 1);
  if (path == NULL) return false;
  for (const char *at = options; *at != '\0'; at = skip(at)) {
    size_t name;
    if (!is_layer(at, &name)) continue;
    bool many = strncmp(at, "lowerdir=", name) == 0;
    at = take(at + name, many, path);
    if (path[0] == '/') each(context, path);
    while (*at == ':') {
      at = take(at + 1, many, path);
      if (path[0] == '/') each(context, path);
    }
  }
  mem_free(path);
  return true;
}
