/*
** Which kind of store a location means, and what all of them share. A further
** kind has its line here.
*/
#include <string.h>

#include "repository/store.h"

/* What other programs keep repositories in, and this one does not: else their
   names would become directories. */
static const char *const foreign[] = {"sftp",  "b2",     "azure",  "gs",
                                      "swift", "rclone", "opendal"};

static bool has_scheme(const char *location, const char *scheme) {
  size_t size = strlen(scheme);
  return strncmp(location, scheme, size) == 0 && location[size] == ':';
}

/* Those on servers have a limit for each request; this one needs another. */
static repo_store *open_local(const char *path, const value *options,
                              error **e) {
  int64_t up = value_integer(value_get(options, "limit_upload"), 0);
  int64_t down = value_integer(value_get(options, "limit_download"), 0);
  repo_store *s = repo_store_local(path, options, e);
  if (s == NULL) return NULL;
  repo_store *limited = repo_store_limit(s, (uint64_t)up, (uint64_t)down);
  if (limited != NULL) return limited;
  s->way->close(s);
  *e = error_no_memory();
  return NULL;
}

/* Who asks for it must not believe to have it. */
static bool has_lock(const value *options) {
  return options != NULL && value_get(options, "object_lock") != NULL;
}

repo_store *repo_store_open(const char *location, const value *options,
                            error **e) {
  *e = NULL;
  if (*location == '\0') {
    *e = repo_error(SAROS_E_INVALIDARG,
                    "the location of the repository is empty; give a "
                    "directory, s3:https://host/bucket/prefix, or "
                    "rest:https://host:8000/path/");
    return NULL;
  }
  if (has_scheme(location, "s3")) return repo_store_s3(location, options, e);
  if (has_lock(options)) {
    *e = repo_error(SAROS_E_INVALIDARG,
                    "object_lock: only an S3 server can keep what is stored "
                    "from being removed; leave it out, or take "
                    "s3:https://host/bucket/prefix");
    return NULL;
  }
  if (has_scheme(location, "rest"))
    return repo_store_rest(location, options, e);
  if (has_scheme(location, "local"))
    return open_local(location + strlen("local:"), options, e);
  for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
    if (!has_scheme(location, foreign[i])) continue;
    /* Without the rest of it: there may be a password in it. */
    *e = repo_error(SAROS_E_INVALIDARG,
                    "there is no store %s: here; a repository is in a "
                    "directory (put ./ before one that is called so), in "
                    "s3:https://host/bucket/prefix or on "
                    "rest:https://host:8000/path/",
                    foreign[i]);
    return NULL;
  }
  return open_local(location, options, e);
}

void repo_store_close(repo_store *s) {
  if (s != NULL) s->way->close(s);
}

void repo_file_describe(repo_file kind, const repo_id *id, char text[96]) {
  static const char *const words[REPO_FILES] = {"config",   "key",   "lock",
                                                "snapshot", "index", "pack"};
  size_t size = strlen(words[kind]);
  memcpy(text, words[kind], size + 1);
  if (kind == REPO_CONFIG || id == NULL) return;
  text[size] = ' ';
  repo_id_format(id, text + size + 1);
}

const char *repo_file_folder(repo_file kind) {
  static const char *const folders[REPO_FILES] = {"",          "keys",  "locks",
                                                  "snapshots", "index", "data"};
  return folders[kind];
}
