/*
** restore_extra: what is in a directory and not in the version, when that is to
** be removed.
*/
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/restore_plan_parts.h"

/* ------------------------------------------------------------------
** Names that the version does not have
** ---------------------------------------------------------------- */

error *repo_plan_note(planning *g, const repo_node *n) {
  names *s = &g->stack[g->depth - 1];
  if (s->count == s->room) {
    size_t room = s->room > 0 ? s->room * 2 : 64;
    const char **at = mem_grow(s->at, room * sizeof *at);
    if (at == NULL) return error_no_memory();
    s->at = at;
    s->room = room;
  }
  s->at[s->count] = repo_plan_text(g->r, n->name, n->name_size);
  return s->at[s->count++] != NULL ? NULL : error_no_memory();
}

error *repo_plan_names_push(planning *g) {
  if (!g->r->removes) return NULL;
  if (g->depth == g->room) {
    size_t room = g->room > 0 ? g->room * 2 : 16;
    names *stack = mem_grow(g->stack, room * sizeof *stack);
    if (stack == NULL) return error_no_memory();
    g->stack = stack;
    g->room = room;
  }
  g->stack[g->depth++] = (names){0};
  return NULL;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

error *repo_plan_select(restore *r, const char *path, size_t size,
                        bool *selected, bool *enter) {
  bool matched = false;
  error *e = NULL;
  *selected = true;
  if (r->exclude != NULL) {
    e = repo_exclude_path(r->exclude, path, size, &matched);
    if (matched) *selected = *enter = false;
  }
  if (e == NULL && *selected && r->include != NULL) {
    e = repo_exclude_path(r->include, path, size, &matched);
    *selected = matched;
  }
  return e;
}

static error *add_extra(restore *r, uint32_t f, const char *name) {
  bool selected, enter = true;
  char *path = repo_restore_path(r, f, name);
  if (path == NULL) return error_no_memory();
  error *e = repo_plan_select(r, path, strlen(path), &selected, &enter);
  mem_free(path);
  if (e != NULL || !selected) return e;
  if (!repo_plan_more(&r->extras, r->extra_count, &r->extra_room,
                      sizeof *r->extras))
    return error_no_memory();
  name = repo_plan_text(r, name, strlen(name));
  if (name == NULL) return error_no_memory();
  r->extras[r->extra_count++] = (plan_extra){f, name};
  return NULL;
}

/* What is in a directory that was there, against what its tree has. Of one
   that could not be read whole nobody knows what it should have. */
static error *find_extras(planning *g, uint32_t f) {
  restore *r = g->r;
  const names *s = &g->stack[g->depth - 1];
  const folder *o = &r->folders[f];
  error *e = NULL;
  if (o->fresh || o->half || o->failed || r->root < 0) return NULL;
  int fd = repo_place_open_once(r, f, O_RDONLY | O_DIRECTORY);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    if (fd >= 0) close(fd);
    return NULL; /* it is not there, or it was told already */
  }
  for (struct dirent *entry; e == NULL && (entry = readdir(d)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    if (s->count > 0 &&
        bsearch(&name, s->at, s->count, sizeof *s->at, compare_names) != NULL)
      continue;
    e = add_extra(r, f, name);
  }
  closedir(d);
  return e;
}

error *repo_plan_names_pop(planning *g, uint32_t f) {
  if (!g->r->removes) return NULL;
  error *e = find_extras(g, f);
  mem_free(g->stack[--g->depth].at);
  return e;
}
