/*
** version: finding one by what a person wrote, and what is at a path in it.
*/
#include "repository/version.h"

#include <errno.h>
#include <string.h>

/* ------------------------------------------------------------------
** The filter
** ---------------------------------------------------------------- */

static bool has_all(const value *list, const value *wanted) {
  for (uint32_t i = 0; i < wanted->count; i++) {
    const char *text = value_chars(wanted->as.items[i], "");
    bool found = false;
    for (uint32_t k = 0; list != NULL && k < list->count && !found; k++)
      found = strcmp(value_chars(list->as.items[k], ""), text) == 0;
    if (!found) return false;
  }
  return true;
}

static const value *list_in(const value *map, const char *name) {
  const value *v = value_get(map, name);
  return v != NULL && v->type == VALUE_LIST ? v : NULL;
}

bool repo_version_is_wanted(const repo_snapshot *s, const value *filter) {
  const char *host = value_chars(value_get(filter, "host"), NULL);
  const value *tags = list_in(filter, "tags");
  const value *paths = list_in(filter, "paths");
  const char *theirs = s->hostname != NULL ? s->hostname : "";
  if (host != NULL && strcmp(theirs, host) != 0) return false;
  if (tags != NULL && !repo_snapshot_has_tags(s, tags)) return false;
  return paths == NULL || has_all(s->paths, paths);
}


/* ------------------------------------------------------------------
** By what was written
** ---------------------------------------------------------------- */

/* The newest, or the one so many before it. What is ahead of the clock comes
   after all the others: nobody knows when that was. */
static error *find_latest(repo *r, unsigned before, const value *filter,
                          repo_snapshot **found, const repo_stop *stop) {
  repo_snapshot **all;
  size_t count;
  error *e = repo_versions(r, &all, &count, stop);
  if (e != NULL) return e;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  for (int ahead = 0; ahead < 2; ahead++)
    for (size_t i = count; i-- > 0 && *found == NULL;) {
      if (repo_snapshot_is_ahead(all[i], now) != (ahead == 1)) continue;
      if (!repo_version_is_wanted(all[i], filter) || before-- > 0) continue;
      *found = all[i];
      memmove(&all[i], &all[i + 1], (count - i) * sizeof all[0]);
    }
  repo_versions_free(all);
  if (*found != NULL) return NULL;
  return repo_error(code_of_errno(ESRCH),
                    count == 0
                        ? "there is no version in the repository yet"
                        : "there is no version of this host, these tags and "
                          "paths, or none so old; repo:versions lists those "
                          "that are there");
}

/* "latest", or "latest~2": the one before the one before it. */
static bool is_latest(const char *text, size_t size, unsigned *before) {
  *before = 0;
  if (size < 6 || strncmp(text, "latest", 6) != 0) return false;
  if (size == 6) return true;
  if (text[6] != '~' || size == 7 || size > 13) return false;
  for (size_t i = 7; i < size; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    *before = *before * 10 + (unsigned)(text[i] - '0');
  }
  return true;
}

typedef struct matching {
  const char *prefix;
  size_t size, count;
  repo_id id;
} matching;

static error *match(void *context, const repo_id *id, uint64_t size) {
  matching *m = context;
  char text[REPO_ID_TEXT];
  (void)size;
  repo_id_format(id, text);
  if (strncmp(text, m->prefix, m->size) == 0) {
    m->count++;
    m->id = *id;
  }
  return NULL;
}

static error *load_one(repo *r, const repo_id *id, repo_snapshot **found,
                       const repo_stop *stop) {
  buffer b = BUFFER_EMPTY;
  error *e = repo_tools_load(repo_tools_of(r), repo_store_of(r), REPO_SNAPSHOTS,
                             id, REPO_SNAPSHOT_FILE_MOST, &b, stop);
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) *found = repo_snapshot_read(b.data, b.size, &e);
  if (*found != NULL) (*found)->id = *id;
  buffer_free(&b);
  return e;
}

static error *find_prefix(repo *r, const char *text, size_t size,
                          repo_snapshot **found, const repo_stop *stop) {
  repo_store *s = repo_store_of(r);
  matching m = {text, size, 0, {{0}}};
  if (size == 0 || size >= REPO_ID_TEXT ||
      strspn(text, "0123456789abcdef") < size)
    return repo_error(code_of_errno(ESRCH),
                      "\"%.*s\" is no version: \"latest\", \"latest~1\" or "
                      "the beginning of an id expected",
                      (int)(size < 100 ? size : 100), text);
  error *e = s->way->list(s, REPO_SNAPSHOTS, match, &m, stop);
  if (e != NULL) return e;
  if (m.count == 1) return load_one(r, &m.id, found, stop);
  return repo_error(m.count == 0 ? code_of_errno(ESRCH) : SAROS_E_INVALIDARG,
                    m.count == 0 ? "there is no version %.*s in the repository"
                                 : "there are several versions whose ids begin "
                                   "with %.*s; write more of it",
                    (int)size, text);
}

error *repo_version_find(repo *r, const char *text, const value *filter,
                         repo_version *v, const repo_stop *stop) {
  error *e = repo_check_open(r);
  memset(v, 0, sizeof *v);
  if (e != NULL) return e;
  if (text == NULL) text = "latest";
  size_t size = strcspn(text, ":");
  v->folder = mem_text(text[size] == ':' ? text + size + 1 : "");
  if (v->folder == NULL) return error_no_memory();
  unsigned before;
  if (is_latest(text, size, &before))
    e = find_latest(r, before, filter, &v->snapshot, stop);
  else
    e = find_prefix(r, text, size, &v->snapshot, stop);
  if (e == NULL)
    v->tree = v->snapshot->tree;
  else
    repo_version_clear(v);
  return e;
}

void repo_version_clear(repo_version *v) {
  repo_snapshot_free(v->snapshot);
  mem_free(v->folder);
  memset(v, 0, sizeof *v);
}


/* ------------------------------------------------------------------
** A path in a tree
** ---------------------------------------------------------------- */

/* The node of one name, given to `found`; *subtree when it is a directory. */
static error *find_name(repo_blobs *blobs, const repo_id *tree,
                        const char *name, size_t size, bool last,
                        error *(*found)(void *context, const repo_node *n),
                        void *context, repo_id *subtree, bool *is_there,
                        const repo_stop *stop) {
  repo_bytes *bytes;
  repo_node n;
  *is_there = false;
  error *e = repo_blobs_load(blobs, REPO_TREE, tree, &bytes, stop);
  if (e != NULL) return e;
  repo_tree_reader *r = repo_tree_reader_new(bytes->data, bytes->size);
  if (r == NULL) e = error_no_memory();
  while (e == NULL && repo_tree_reader_next(r, &n, &e)) {
    int order = repo_node_name_compare(n.name, n.name_size, name, size);
    if (order < 0) continue;
    if (order > 0) break;
    if (!last) {
      *is_there = n.type == REPO_NODE_DIRECTORY && n.has_subtree;
      if (*is_there) *subtree = n.subtree;
    } else {
      *is_there = true;
      e = found(context, &n);
    }
    break;
  }
  repo_tree_reader_free(r);
  repo_bytes_free(blobs, bytes);
  return e;
}

error *repo_tree_look_up(repo_blobs *blobs, const repo_id *tree,
                         const char *path,
                         error *(*found)(void *context, const repo_node *n),
                         void *context, bool *is_there, const repo_stop *stop) {
  repo_id here = *tree;
  error *e = NULL;
  *is_there = false;
  path += strspn(path, "/");
  while (e == NULL && *path != '\0') {
    size_t size = strcspn(path, "/");
    const char *next = path + size + strspn(path + size, "/");
    if (size == 1 && *path == '.') {
      path = next;
      continue;
    }
    e = find_name(blobs, &here, path, size, *next == '\0', found, context,
                  &here, is_there, stop);
    if (!*is_there) break;
    path = next;
  }
  return e;
}

typedef struct entering {
  repo_version *v;
  bool is_folder;
} entering;

static error *enter(void *context, const repo_node *n) {
  entering *at = context;
  at->is_folder = n->type == REPO_NODE_DIRECTORY && n->has_subtree;
  if (at->is_folder) at->v->tree = n->subtree;
  return NULL;
}

error *repo_version_enter(repo_version *v, repo_blobs *blobs,
                          const repo_stop *stop) {
  entering at = {v, false};
  bool is_there;
  v->tree = v->snapshot->tree;
  if (strspn(v->folder, "/.") == strlen(v->folder)) return NULL;
  error *e = repo_tree_look_up(blobs, &v->snapshot->tree, v->folder, enter, &at,
                               &is_there, stop);
  if (e != NULL || (is_there && at.is_folder)) return e;
  return repo_error(is_there ? SAROS_E_INVALIDARG : code_of_errno(ESRCH),
                    is_there ? "%.1000s is no directory in this version; "
                               "name the one that it is in, and it with include"
                             : "there is no %.1000s in this version",
                    v->folder);
}
