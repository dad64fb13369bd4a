/*
** Gives a repository another key, which costs nothing to derive, and takes the
** first one away: what a benchmark wants to know would be lost in the noise of
** half a second that is meant to be spent. restic opens it as well.
**   repo_cheap DIR PASSWORD
*/
#include <stdio.h>
#include <string.h>

#include "repository/key.h"
#include "repository/repo.h"

/* In the objects that this is linked with; saros.h has it for hosts. */
const saros_api *saros_api_own(void);

static bool good(error *e) {
  if (e != NULL) fprintf(stderr, "repo_cheap: %s\n", e->message);
  error_unref(e);
  return e == NULL;
}

static bool change(repo *r, const char *text) {
  static const repo_cost cheap = {16, 8, 1};
  repo_password password = {0};
  repo_id first = repo_key_id(r);
  error *e = repo_password_text(&password, text, strlen(text));
  if (e == NULL)
    e = repo_key_change(repo_store_of(r), repo_key_of(r), &password, &cheap,
                        &first, NULL);
  repo_password_clear(&password);
  return good(e);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  saros_api_table = saros_api_own();
  value *options = value_map();
  error *e = NULL;
  if (options == NULL || !value_put(options, "location", value_text(argv[1])) ||
      !value_put(options, "password", value_text(argv[2])))
    return 1;
  repo *r = repo_new(options, &e);
  bool done = r != NULL && good(repo_open(r, NULL)) && change(r, argv[2]);
  good(e);
  if (r != NULL) repo_close(r);
  if (r != NULL) repo_unref(r);
  value_free(options);
  return done ? 0 : 1;
}
