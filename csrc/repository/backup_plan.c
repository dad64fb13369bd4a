/*
** backup_plan: the sources as one tree. As restic does it: what is given
** absolute has the directories above it in the tree, with their metadata; of
** what is given relative only its own parts are there. What has no name ("/",
** ".", "..") is there as what is in it.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/backup_parts.h"


void repo_backup_plan_free(plan *p) {
  if (p == NULL) return;
  for (size_t i = 0; i < p->count; i++) repo_backup_plan_free(p->items[i]);
  mem_free(p->items);
  mem_free(p->name);
  mem_free(p->path);
  mem_free(p->leaf_path);
  mem_free(p->shown);
  mem_free(p);
}


/* ------------------------------------------------------------------
** Paths
** ---------------------------------------------------------------- */

/* Without "." and, by the text alone, without ".." where something is before
   it: what restic does to what it is given. */
static char *clean(const char *path) {
  buffer b = BUFFER_EMPTY;
  bool absolute = path[0] == '/';
  size_t fixed = absolute; /* what must not be taken back */
  if (absolute) buffer_byte(&b, '/');
  while (*path != '\0') {
    size_t n = strcspn(path, "/");
    bool up = n == 2 && path[0] == '.' && path[1] == '.';
    bool nothing = n == 0 || (n == 1 && path[0] == '.');
    if (up && b.size > fixed) {
      while (b.size > fixed && b.data[b.size - 1] != '/') b.size--;
      if (b.size > fixed) b.size--;
      b.data[b.size] = '\0';
    } else if (!nothing && !(up && absolute)) {
      if (b.size > (absolute ? 1 : 0)) buffer_byte(&b, '/');
      buffer_put(&b, path, n);
      if (up) fixed = b.size;
    }
    path += n + (path[n] == '/');
  }
  if (b.size == 0) buffer_byte(&b, '.');
  return buffer_take(&b);
}

static char *absolute_of(const char *path) {
  if (path[0] == '/') return clean(path);
  char here[PATH_MAX];
  if (getcwd(here, sizeof here) == NULL) return NULL;
  char *joined = path_join(here, path);
  char *result = joined != NULL ? clean(joined) : NULL;
  mem_free(joined);
  return result;
}

value *repo_backup_plan_paths(const backup_options *o) {
  value *list = value_list();
  for (size_t i = 0; list != NULL && i < o->count; i++) {
    const backup_source *s = &o->sources[i];
    char *path =
        s->path != NULL ? absolute_of(s->shown) : path_join("/", s->shown);
    bool good = path != NULL && value_add(list, value_text(path));
    mem_free(path);
    if (good) continue;
    value_free(list);
    return NULL;
  }
  return list;
}


/* ------------------------------------------------------------------
** Items
** ---------------------------------------------------------------- */

static error *overlap(const backup_source *s) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, s->shown, strlen(s->shown));
  error *e = repo_error(SAROS_E_INVALIDARG,
                        "%s is given twice, or is a part of another source, "
                        "and is not read from the same place: leave out one "
                        "of them",
                        b.failed || b.data == NULL ? "a source" : b.data);
  buffer_free(&b);
  return e;
}

static size_t place_of(const plan *p, const char *name, bool *there) {
  size_t low = 0, high = p->count;
  *there = false;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int r = strcmp(name, p->items[middle]->name);
    if (r == 0) *there = true;
    if (r <= 0)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

static bool same_text(const char *a, const char *b) {
  return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* The item of this name that is `shown` so: another one of the same name is
   somewhere else, so this one's gets a number. */
static plan *item_of(plan *p, const char *name, size_t size, const char *shown,
                     bool *is_new) {
  char *text = mem_bytes(name, size);
  plan *found = NULL;
  *is_new = false;
  for (unsigned n = 1; text != NULL && found == NULL; n++) {
    bool there;
    size_t at = place_of(p, text, &there);
    if (there && same_text(p->items[at]->shown, shown)) {
      found = p->items[at];
    } else if (there) {
      buffer b = BUFFER_EMPTY;
      buffer_format(&b, "%.*s-%u", (int)size, name, n);
      mem_free(text);
      text = buffer_take(&b);
    } else {
      if (p->count == p->room) {
        size_t room = p->room * 2 + 8;
        plan **items = mem_grow(p->items, room * sizeof *items);
        if (items == NULL) break;
        p->items = items;
        p->room = room;
      }
      found = mem_zero(sizeof *found);
      if (found == NULL) break;
      found->name = text;
      found->shown = mem_text(shown);
      text = NULL;
      memmove(p->items + at + 1, p->items + at,
              (p->count - at) * sizeof *p->items);
      p->items[at] = found;
      p->count++;
      *is_new = true;
      if (found->shown == NULL) return NULL; /* freed with the plan */
    }
  }
  mem_free(text);
  return found;
}

/* Two that lie one in the other are read once, if they are read at the same
   place anyway. */
static bool is_plain(const backup_source *s) {
  return s->path != NULL && s->path == s->shown;
}

static error *set_leaf(plan *item, bool is_new, const backup_source *s,
                       const char *path) {
  if (!is_new && item->leaf == NULL) { /* on the way to others */
    if (!is_plain(s)) return overlap(s);
    for (size_t i = 0; i < item->count; i++)
      repo_backup_plan_free(item->items[i]);
    item->count = 0;
  } else if (!is_new) {
    return is_plain(s) && is_plain(item->leaf) ? NULL : overlap(s);
  }
  item->leaf = s;
  item->leaf_path = path != NULL ? mem_text(path) : NULL;
  return path != NULL && item->leaf_path == NULL ? error_no_memory() : NULL;
}

/* `tree` is which names it has, `shown` the same as an absolute path, `path`
   where it is read (NULL: a stream). */
static error *add(plan *p, const backup_source *s, const char *tree,
                  const char *shown, const char *path) {
  size_t shown_base = strlen(shown) - strlen(tree + strspn(tree, "/"));
  const char *begin = tree, *shown_begin = shown;
  bool relative = tree[0] != '/';
  if (relative) {
    /* What leads out of here is no name. */
    while (strncmp(tree, "../", 3) == 0) tree += 3;
    shown_base = strlen(shown) - strlen(tree);
  }
  const char *at = tree + strspn(tree, "/");
  while (*at != '\0') {
    size_t n = strcspn(at, "/");
    size_t upto = (size_t)(at + n - (tree + strspn(tree, "/")));
    bool is_new, last = at[n] == '\0';
    char *name = mem_bytes(shown_begin, shown_base + upto);
    plan *item = name != NULL ? item_of(p, at, n, name, &is_new) : NULL;
    mem_free(name);
    if (item == NULL) return error_no_memory();
    if (last) return set_leaf(item, is_new, s, path);
    if (item->leaf != NULL)
      return is_plain(s) && is_plain(item->leaf) ? NULL : overlap(s);
    if (is_new) {
      item->path = mem_bytes(begin, (size_t)(at + n - begin));
      if (item->path == NULL) return error_no_memory();
    }
    p = item;
    at += n + 1;
  }
  return NULL;
}

/* What has no name: all that is in it. */
static error *add_contents(plan *p, const backup_source *s, const char *tree,
                           const char *shown, const char *path) {
  listing l = {0};
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot open", path);
  error *e = repo_backup_list(fd, &l);
  close(fd);
  for (size_t i = 0; i < l.count && e == NULL; i++) {
    const char *name = l.names + l.entries[i].name;
    char *names[3] = {path_join(tree, name), path_join(shown, name),
                      path_join(path, name)};
    /* Only the name itself is in the tree. */
    const char *below = names[0];
    if (below != NULL && tree[0] != '/') below = name;
    e = names[0] == NULL || names[1] == NULL || names[2] == NULL
            ? error_no_memory()
            : add(p, s, below, names[1], names[2]);
    for (int k = 0; k < 3; k++) mem_free(names[k]);
  }
  repo_backup_list_free(&l);
  return e;
}

static bool has_no_name(const char *tree) {
  const char *base = strrchr(tree, '/');
  base = base != NULL ? base + 1 : tree;
  return *base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0;
}

static error *add_source(plan *p, const backup_source *s) {
  char *tree = s->path != NULL ? clean(s->shown) : NULL, *shown = NULL;
  if (s->path == NULL) {
    char *joined = path_join("/", s->shown);
    tree = joined != NULL ? clean(joined) : NULL;
    mem_free(joined);
  }
  if (tree != NULL) shown = absolute_of(tree);
  error *e = NULL;
  const char *path = is_plain(s) ? tree : s->path;
  if (tree == NULL || shown == NULL)
    e = error_no_memory();
  else if (!has_no_name(tree))
    e = add(p, s, tree, shown, path);
  else if (s->path != NULL)
    e = add_contents(p, s, tree, shown, path);
  else
    e = repo_error(SAROS_E_INVALIDARG, "a stream needs a name of its own");
  mem_free(tree);
  mem_free(shown);
  return e;
}

error *repo_backup_plan_make(const backup_options *o, plan **root) {
  error *e = NULL;
  plan *p = *root = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  for (size_t i = 0; i < o->count && e == NULL; i++)
    e = add_source(p, &o->sources[i]);
  if (e == NULL) return NULL;
  repo_backup_plan_free(p);
  *root = NULL;
  return e;
}
