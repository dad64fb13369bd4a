/*
** Who prunes. Several hosts may back up to one repository, and one of them
** prunes it. It says so in a version of its own, with a tag: that goes where
** the repository goes, and restic shows it like any other.
*/
#include "repository/prune_owner.h"

#include <string.h>
#include <unistd.h>

static bool has_tag(const repo_snapshot *s, const char *tag) {
  for (uint32_t i = 0; s->tags != NULL && i < s->tags->count; i++)
    if (strcmp(value_chars(s->tags->as.items[i], ""), tag) == 0) return true;
  return false;
}

static bool is_newer(const repo_snapshot *a, const repo_snapshot *b) {
  if (a->time.tv_sec != b->time.tv_sec) return a->time.tv_sec > b->time.tv_sec;
  if (a->time.tv_nsec != b->time.tv_nsec)
    return a->time.tv_nsec > b->time.tv_nsec;
  return memcmp(&a->id, &b->id, sizeof a->id) > 0;
}

static size_t newest(repo_snapshot *const *all, size_t count, const char *tag) {
  size_t found = count;
  for (size_t i = 0; i < count; i++)
    if (has_tag(all[i], tag) &&
        (found == count || is_newer(all[i], all[found])))
      found = i;
  return found;
}

bool repo_is_note(repo_snapshot *const *all, size_t count, size_t i) {
  static const char *const tags[] = {REPO_PRUNE_OWNER, "saros-learned"};
  for (size_t t = 0; t < sizeof tags / sizeof *tags; t++)
    if (has_tag(all[i], tags[t]) && newest(all, count, tags[t]) == i)
      return true;
  return false;
}


static bool is_this_host(const char *host, const value *options) {
  char name[256] = "";
  const char *ours = value_chars(value_get(options, "host"), NULL);
  if (ours == NULL && gethostname(name, sizeof name - 1) == 0) ours = name;
  return ours != NULL && strcmp(host, ours) == 0;
}

error *repo_prune_other(repo_hold *h, const value *options, value **other) {
  repo_snapshot **all = NULL;
  size_t count = 0;
  *other = NULL;
  if (value_boolean(value_get(options, "force"), false)) return NULL;
  error *e = repo_versions(h->r, &all, &count, &h->stop);
  if (e != NULL) return e;
  size_t at = newest(all, count, REPO_PRUNE_OWNER);
  const char *host = at < count ? all[at]->hostname : NULL;
  if (host != NULL && !is_this_host(host, options)) {
    *other = repo_snapshot_value(all[at]);
    if (*other == NULL) e = error_no_memory();
  }
  repo_versions_free(all);
  return e;
}

error *repo_prune_refused(const value *other) {
  buffer b = BUFFER_EMPTY;
  const char *host = value_chars(value_get(other, "hostname"), "");
  const char *time = value_chars(value_get(other, "time"), "");
  text_escape(&b, host, strlen(host));
  error *e = repo_error(
      SAROS_E_REFUSED,
      "%s prunes this repository (since %s): leave it to that host, or prune "
      "all the same (force); if it is gone, claim_prune with `force` lets this "
      "one prune from now on",
      b.failed || b.size == 0 ? "another host" : b.data, time);
  buffer_free(&b);
  return e;
}
