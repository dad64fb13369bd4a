/*
** What a repository is told: by its caller, else by the environment, with the
** names that restic and Amazon's tools have made usual.
*/
#include <stdlib.h>
#include <string.h>

#include "repository/repo_parts.h"

const char *repo_option(const value *options, const char *name,
                        const char *variable) {
  const char *text = value_chars(value_get(options, name), NULL);
  if (text != NULL || variable == NULL) return text;
  text = getenv(variable);
  return text != NULL && *text != '\0' ? text : NULL;
}

/* By the name of the option: what the environment calls it, in this order. */
static const struct {
  const char *name, *first, *second;
} known[] = {{"access_key", "AWS_ACCESS_KEY_ID", NULL},
             {"secret_key", "AWS_SECRET_ACCESS_KEY", NULL},
             {"session_token", "AWS_SESSION_TOKEN", NULL},
             {"region", "AWS_DEFAULT_REGION", "AWS_REGION"},
             {"cacert", "RESTIC_CACERT", "AWS_CA_BUNDLE"}};

static bool put(value *map, const char *name, const char *text) {
  return text == NULL || value_put(map, name, value_text(text));
}

static bool fill(value *map, const value *options) {
  static const char *const plain[] = {
      "connections",   "retry_seconds", "stall_seconds", "durable",
      "bucket_lookup", "rest_username", "rest_password", "multipart_size",
      "object_lock",   "profile"};
  /* A key and its secret belong together: not one from here and one from
     there. */
  bool own_key = value_get(options, "access_key") != NULL ||
                 value_get(options, "profile") != NULL;
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    bool alone = own_key && i < 3;
    const char *text =
        repo_option(options, known[i].name, alone ? NULL : known[i].first);
    if (text == NULL && known[i].second != NULL)
      text = repo_option(options, known[i].name, known[i].second);
    if (!put(map, known[i].name, text)) return false;
  }
  for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
    const value *v = value_get(options, plain[i]);
    if (v != NULL && !value_put(map, plain[i], value_copy(v))) return false;
  }
  return true;
}

value *repo_store_options(const value *options, error **e) {
  value *map = value_map();
  *e = NULL;
  if (map != NULL && fill(map, options)) return map;
  value_wipe(map);
  *e = error_no_memory();
  return NULL;
}
