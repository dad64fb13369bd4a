/*
** restore_rest: what has no content, further names, what is to be removed, and
** last the metadata of directories: until then their times would change, and
** we might not be allowed to write to them any more.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "repository/restore_parts.h"

static void failed(restore *r, uint32_t i, const char *what, int number) {
  repo_restore_failed(r, i, repo_place_error(what, number));
}

static void tell_item(restore *r, uint32_t i, error *e) {
  char *path = repo_restore_path(r, r->items[i].folder, r->items[i].name);
  repo_restore_tell(r, path, e);
  mem_free(path);
}

/* Under the name that it is made under. */
static void give_metadata(restore *r, uint32_t i, int dir, const char *name) {
  unsigned lacks;
  repo_node n = repo_restore_node(&r->items[i]);
  error *e = repo_node_restore((repo_at){dir, name}, &n, &lacks);
  if (e != NULL) tell_item(r, i, e);
  repo_out_tell_lacks(r, i, lacks);
}

/* What is there already, unless it has got other names since it was looked at:
   whose they are nobody knows. */
static void give_same(restore *r, uint32_t i, int dir) {
  unsigned lacks = 0;
  struct stat st;
  const item *it = &r->items[i];
  repo_node n = repo_restore_node(it);
  int fd = openat(dir, it->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) {
    failed(r, i, "it cannot be opened again", errno);
  } else if (repo_look_is_shared(it, &st)) {
    repo_restore_failed(r, i,
                        repo_error(SAROS_E_CHANGED,
                                   "it has got another name meanwhile, and was "
                                   "left alone; restore it again"));
  } else {
    error *e = repo_node_restore((repo_at){fd, NULL}, &n, &lacks);
    if (e != NULL) tell_item(r, i, e);
    repo_out_tell_lacks(r, i, lacks);
    atomic_fetch_add(&r->same, 1);
  }
  if (fd >= 0) close(fd);
}

/* Moves it into its place; false when it was told. */
static bool put_in_place(restore *r, uint32_t i, int dir, const char *name) {
  const item *it = &r->items[i];
  int number = it->there ? repo_place_clear(r, dir, it->name, false) : 0;
  if (number == 0 && renameat(dir, name, dir, it->name) != 0) number = errno;
  if (number == 0) return true;
  unlinkat(dir, name, 0);
  failed(r, i, "it cannot be put in its place", number);
  return false;
}

/* A link, a device, a fifo: made, given its metadata, and put in its place. */
static void make(restore *r, uint32_t i, int dir) {
  char name[64];
  item *it = &r->items[i];
  repo_node n = repo_restore_node(it);
  repo_out_temp_name(r, i, name);
  error *e = repo_node_create(dir, name, &n);
  if (e != NULL) {
    repo_restore_failed(r, i, e);
    return;
  }
  give_metadata(r, i, dir, name);
  if (!put_in_place(r, i, dir, name)) return;
  atomic_store(&it->state, ITEM_DONE);
  atomic_fetch_add(&r->restored, 1);
  atomic_fetch_add(&r->others, 1);
}

void repo_rest_item(restore *r, crew_mate *m, uint32_t i) {
  item *it = &r->items[i];
  if (it->type == REPO_NODE_DIRECTORY || it->link != NO_ITEM) return;
  bool planned = it->state == ITEM_PLANNED;
  if (!planned && it->state != ITEM_SAME) return;
  if (planned && it->type == REPO_NODE_FILE) {
    if (it->uses == 0) repo_out_write_whole(r, m, i, "", 0);
    repo_restore_progress(r, 0, i);
    return;
  }
  int dir = repo_place_open(m, it->folder);
  if (dir < 0) {
    failed(r, i, "its directory cannot be opened", errno);
  } else if (planned) {
    make(r, i, dir);
  } else {
    give_same(r, i, dir);
  }
  repo_restore_progress(r, 0, i);
}


/* ------------------------------------------------------------------
** Further names
** ---------------------------------------------------------------- */

static bool is_same_file(int a_dir, const char *a, int b_dir, const char *b) {
  struct stat x, y;
  return fstatat(a_dir, a, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
         fstatat(b_dir, b, &y, AT_SYMLINK_NOFOLLOW) == 0 &&
         x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool repo_rest_is_linked(restore *r, uint32_t i) {
  const item *it = &r->items[i], *first = &r->items[it->link];
  if (!it->there || first->state != ITEM_SAME) return false;
  int from = repo_place_open_once(r, first->folder, O_PATH | O_DIRECTORY);
  int dir = repo_place_open_once(r, it->folder, O_PATH | O_DIRECTORY);
  bool same =
      from >= 0 && dir >= 0 && is_same_file(from, first->name, dir, it->name);
  if (from >= 0) close(from);
  if (dir >= 0) close(dir);
  return same;
}

/* The first may have the same slot of the directories that are open: it is
   opened on its own. */
static void link_to(restore *r, crew_mate *m, uint32_t i, const item *first) {
  char name[64];
  item *it = &r->items[i];
  int from = repo_place_open_once(r, first->folder, O_PATH | O_DIRECTORY);
  int number = errno;
  int dir = from >= 0 ? repo_place_open(m, it->folder) : -1;
  if (from >= 0) number = errno;
  bool same =
      dir >= 0 && it->there && is_same_file(from, first->name, dir, it->name);
  bool done = same;
  repo_out_temp_name(r, i, name);
  if (dir < 0)
    failed(r, i, "its directory cannot be opened", number);
  else if (!done && linkat(from, first->name, dir, name, 0) != 0)
    failed(r, i, "it cannot be made another name of what it was", errno);
  else if (!done)
    done = put_in_place(r, i, dir, name);
  if (from >= 0) close(from);
  if (!done) return;
  atomic_store(&it->state, ITEM_DONE);
  atomic_fetch_add(same ? &r->same : &r->restored, 1);
}

void repo_rest_link(restore *r, crew_mate *m, uint32_t i) {
  const item *it = &r->items[i];
  if (it->link == NO_ITEM || it->state != ITEM_PLANNED) return;
  const item *first = &r->items[it->link];
  if (first->state == ITEM_DONE || first->state == ITEM_SAME)
    link_to(r, m, i, first);
  else if (repo_restore_goes_on(r))
    repo_restore_failed(r, i,
                        repo_error(SAROS_E_DAMAGED,
                                   "it is another name of a file that could "
                                   "not be restored"));
}


/* ------------------------------------------------------------------
** What the version does not have
** ---------------------------------------------------------------- */

void repo_rest_remove(restore *r) {
  crew_mate m = {.r = r};
  for (uint32_t i = 0; i < r->extra_count && repo_restore_goes_on(r); i++) {
    const plan_extra *x = &r->extras[i];
    char *path = repo_restore_path(r, x->folder, x->name);
    int dir = repo_place_open(&m, x->folder);
    int number = dir >= 0 ? 0 : errno;
    if (path != NULL) repo_restore_list_path(r, path, "remove", NULL);
    if (number == 0 && !r->dry_run) number = repo_place_remove(dir, x->name);
    if (number == 0)
      atomic_fetch_add(&r->removed, 1);
    else
      repo_restore_tell(
          r, path,
          repo_place_error("it should not be there, and could not be "
                           "removed",
                           number));
    mem_free(path);
  }
  repo_place_forget(&m);
}


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

static void give_folder(restore *r, uint32_t f) {
  const folder *o = &r->folders[f];
  if (!o->made || o->failed || (!o->is_asked && !o->fresh)) return;
  if (!o->fresh && r->overwrite == OVERWRITE_NEVER) return;
  int fd = repo_place_open_once(r, f, O_RDONLY | O_DIRECTORY);
  if (fd < 0) fd = repo_place_open_once(r, f, O_PATH | O_DIRECTORY);
  if (fd < 0) {
    failed(r, o->item, "this directory cannot be opened again", errno);
    return;
  }
  unsigned lacks;
  repo_node n = repo_restore_node(&r->items[o->item]);
  error *e = repo_node_restore((repo_at){fd, NULL}, &n, &lacks);
  close(fd);
  if (e != NULL) tell_item(r, o->item, e);
  repo_out_tell_lacks(r, o->item, lacks);
}

/* Those inside first: each was noted before what is in it. */
void repo_rest_folders(restore *r) {
  for (uint32_t f = r->folder_count; f-- > 1 && repo_restore_goes_on(r);)
    give_folder(r, f);
}
