/*
** restore_look: what has an item's name already. It stays, or is replaced, as
** was asked; a file whose content is what it should be is not written again,
** and of one that is nearly so what is right is taken from it.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "repository/restore_parts.h"

static void skip(restore *r, uint32_t i) {
  atomic_store(&r->items[i].state, ITEM_SKIPPED);
  atomic_fetch_add(&r->skipped, 1);
}

static int compare_times(const item *it, const struct stat *st) {
  if (it->mtime != st->st_mtim.tv_sec)
    return it->mtime < st->st_mtim.tv_sec ? -1 : 1;
  long ns = (long)it->mtime_ns;
  return (ns > st->st_mtim.tv_nsec) - (ns < st->st_mtim.tv_nsec);
}

/* A part of the open file, into `text`; *is whether it is this blob. */
static bool is_blob(crew_mate *m, int fd, const plan_blob *b, uint64_t offset) {
  return repo_verify_part(m, fd, b, offset);
}

/* What is right in it is taken over. */
static void take_parts(restore *r, crew_mate *m, uint32_t i, int fd) {
  const item *it = &r->items[i];
  uint64_t offset = 0;
  uint32_t use = it->use, uses = it->uses;
  for (uint32_t k = use; k < use + uses && repo_restore_goes_on(r); k++) {
    const plan_blob *b = &r->blobs_of[r->uses[k]];
    size_t size = b->plain_length ? b->plain_length : b->length - REPO_SEAL;
    if (is_blob(m, fd, b, offset)) {
      r->uses[k] |= USE_HAS;
      repo_out_write_part(r, m, i, offset, m->text.data, size);
      repo_restore_progress(r, size, i);
    }
    offset += size;
  }
}

static bool has_all(restore *r, crew_mate *m, uint32_t i, int fd,
                    bool *has_some) {
  const item *it = &r->items[i];
  uint64_t offset = 0;
  for (uint32_t k = it->use; k < it->use + it->uses; k++) {
    const plan_blob *b = &r->blobs_of[r->uses[k]];
    if (!repo_restore_goes_on(r) || !is_blob(m, fd, b, offset)) return false;
    *has_some = true;
    offset += b->plain_length ? b->plain_length : b->length - REPO_SEAL;
  }
  return true;
}

static void same(restore *r, uint32_t i) {
  atomic_store(&r->items[i].state, ITEM_SAME);
  repo_restore_progress(r, r->items[i].size, i);
}

/* It has other names, and is not ours alone: it is made anew. One that is to
   have others is kept; but they may not be those that it has. So root does not
   give it to somebody else: the other name may be another's password file. */
bool repo_look_is_shared(const item *it, const struct stat *st) {
  if (st->st_nlink < 2 || S_ISDIR(st->st_mode)) return false;
  if (!it->is_linked) return true;
  return geteuid() == 0 && (st->st_uid != it->uid || st->st_gid != it->gid ||
                            (st->st_mode & 07777u) != (it->mode & 07777u));
}

/* Its content. */
static void compare_files(restore *r, crew_mate *m, uint32_t i, int dir,
                          const struct stat *st) {
  const item *it = &r->items[i];
  bool shared = repo_look_is_shared(it, st);
  bool has_some = false;
  if (r->overwrite == OVERWRITE_IF_CHANGED && !shared &&
      (uint64_t)st->st_size == it->size && compare_times(it, st) == 0) {
    same(r, i);
    return;
  }
  int fd = openat(dir, it->name,
                  O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat now;
  if (fd < 0) return;
  if (fstat(fd, &now) == 0 && S_ISREG(now.st_mode) &&
      now.st_ino == st->st_ino) {
    bool all = has_all(r, m, i, fd, &has_some);
    if (all && !shared && (uint64_t)st->st_size == it->size)
      same(r, i);
    else if (it->uses > 1 && !r->dry_run && (has_some || st->st_size > 0))
      take_parts(r, m, i, fd);
  }
  close(fd);
}

static void compare_others(restore *r, uint32_t i, int dir,
                           const struct stat *st) {
  const item *it = &r->items[i];
  const item_more *more = it->more;
  char target[4097];
  if (repo_look_is_shared(it, st)) return;
  if (it->type == REPO_NODE_SYMLINK) {
    ssize_t n = readlinkat(dir, it->name, target, sizeof target);
    if (more != NULL && n >= 0 && (size_t)n == more->target_size &&
        memcmp(target, more->target, (size_t)n) == 0)
      same(r, i);
  } else if (it->type == REPO_NODE_FIFO ||
             (more != NULL ? more->device : 0) == st->st_rdev) {
    same(r, i);
  }
}

static void look(restore *r, crew_mate *m, uint32_t i, int dir) {
  item *it = &r->items[i];
  struct stat st;
  if (fstatat(dir, it->name, &st, AT_SYMLINK_NOFOLLOW) != 0) return;
  it->there = true;
  if (r->overwrite == OVERWRITE_NEVER ||
      (r->overwrite == OVERWRITE_IF_NEWER && compare_times(it, &st) <= 0)) {
    skip(r, i);
    return;
  }
  if (repo_node_type_of_mode(st.st_mode) != it->type || it->link != NO_ITEM)
    return;
  if (it->type == REPO_NODE_FILE)
    compare_files(r, m, i, dir, &st);
  else
    compare_others(r, i, dir, &st);
}

void repo_look_at(restore *r, crew_mate *m, uint32_t i) {
  const item *it = &r->items[i];
  const folder *f = &r->folders[it->folder];
  if (it->type == REPO_NODE_DIRECTORY || it->state != ITEM_PLANNED) return;
  if (f->fresh || !f->made) return;
  int dir = repo_place_open(m, it->folder);
  if (dir >= 0) look(r, m, i, dir);
}
