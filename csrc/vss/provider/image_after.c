/*
** provider image: what its record alone can do: take a shadow away, and see
** whether it is still what was made.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "vss/mounts.h"
#include "vss/provider/image_parts.h"

static error *not_ours(const char *place, const char *what) {
  return error_at(vss_error(SAROS_E_REFUSED,
                            "%s in %s is not what was made there, and was left "
                            "alone; look at it and take it away",
                            what, place),
                  place);
}


void image_let_go(image_remains *r) {
  if (r->place >= 0) close(r->place);
  if (r->clone >= 0) close(r->clone);
  mem_free(r->place_path);
  mem_free(r->tree);
}


/* Before its inode was noted a clone is an empty file. */
static error *open_clone(image_remains *r, const value *keep) {
  r->clone = openat(r->place, IMAGE_CLONE,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (r->clone < 0 && errno == ENOENT) return NULL;
  if (r->clone < 0 && errno != ELOOP)
    return error_of_errno(SAROS_FACADE_VSS, errno, "the clone cannot be opened",
                          r->place_path);
  bool noted = value_get(keep, "clone") != NULL;
  if (r->clone >= 0 && fstat(r->clone, &r->st) == 0 && S_ISREG(r->st.st_mode) &&
      (noted ? keep_is_file(keep, "clone", r->clone) : r->st.st_size == 0))
    return NULL;
  return not_ours(r->place_path, IMAGE_CLONE);
}


error *image_look(const value *keep, image_remains *r) {
  size_t length;
  *r = (image_remains){.place = -1, .clone = -1};
  error *e = keep_path(keep, "place", &r->place_path);
  if (e == NULL) e = keep_path_in(keep, "place", IMAGE_TREE, &r->tree);
  if (e == NULL) e = place_open(keep, &r->place);
  if (e == NULL && r->place >= 0) e = open_clone(r, keep);
  if (e != NULL || r->clone < 0) return e;
  r->id = path_base(r->place_path, &length);
  r->count = image_loops(&r->st, r->id, r->loops, IMAGE_LOOPS);
  return NULL;
}


bool image_is_loop(const image_remains *r, dev_t dev) {
  for (size_t i = 0; i < r->count; i++)
    if (r->loops[i] == dev) return true;
  return false;
}


/* ------------------------------------------------------------------
** Unmounting
** ---------------------------------------------------------------- */

static error *in_use(const image_remains *r, const char *how,
                     const char *where) {
  return error_at(vss_error(VSS_E_VOLUME_IN_USE, "the shadow copy %s %s%s",
                            r->tree, how, where),
                  r->tree);
}


/* How often ours is mounted on its tree. Nothing is touched when something
   else is, or ours is mounted elsewhere too. */
static error *count_mounts(const image_remains *r, size_t *count) {
  error *e = NULL;
  mount_table *t = mount_table_read(&e);
  *count = 0;
  for (size_t i = 0; t != NULL && e == NULL && i < t->count; i++) {
    const mount_entry *m = &t->items[i];
    bool here = strcmp(m->point, r->tree) == 0;
    bool ours = image_is_loop(r, m->dev);
    if (here && !ours)
      e = not_ours(r->place_path, "what is mounted on " IMAGE_TREE);
    else if (ours && !here)
      e = in_use(r, "is also mounted at ", m->point);
    else if (here)
      ++*count;
    else if (path_within(m->point, r->tree))
      e = in_use(r, "has something mounted in it, at ", m->point);
  }
  mount_table_free(t);
  return e;
}


static error *unmount(const image_remains *r) {
  size_t count;
  error *e = count_mounts(r, &count);
  for (; e == NULL && count > 0; count--) {
    if (umount2(r->tree, UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EBUSY)
      e = in_use(r, "is in use: somebody has a file open in it, or works there",
                 "");
    else
      e = error_of_errno(SAROS_FACADE_VSS, errno,
                         "the shadow copy cannot be unmounted", r->tree);
  }
  return e;
}


/* ------------------------------------------------------------------
** Destroying
** ---------------------------------------------------------------- */

static error *remove_one(const image_remains *r, const char *name, int flags) {
  if (unlinkat(r->place, name, flags) == 0 || errno == ENOENT) return NULL;
  if (errno == ENOTEMPTY || errno == ENOTDIR || errno == EEXIST)
    return not_ours(r->place_path, name);
  return error_of_errno(SAROS_FACADE_VSS, errno,
                        "the shadow copy's files cannot be removed",
                        r->place_path);
}


error *image_sink(const image_remains *r) {
  error *e = unmount(r);
  provider_step();
  for (size_t i = 0; e == NULL && i < r->count; i++)
    e = image_detach(r->loops[i], &r->st, r->tree);
  provider_step();
  return e;
}


error *image_remove_tree(const image_remains *r) {
  return remove_one(r, IMAGE_TREE, AT_REMOVEDIR);
}


static error *take_away(const image_remains *r) {
  error *e = image_sink(r);
  if (e == NULL) e = image_remove_tree(r);
  provider_step();
  if (e == NULL && r->clone >= 0) e = remove_one(r, IMAGE_CLONE, 0);
  provider_step();
  return e;
}


error *image_destroy(const value *keep, saros_op *op) {
  image_remains r;
  (void)op; /* nothing here takes long */
  if (!place_planned(keep)) return NULL;
  error *e = image_look(keep, &r);
  if (e == NULL && r.place >= 0) e = take_away(&r);
  image_let_go(&r);
  return e != NULL ? e : place_remove(keep);
}


/* ------------------------------------------------------------------
** Verifying
** ---------------------------------------------------------------- */

static bool describe_state(int clone, char text[100]) {
  struct stat st;
  if (fstat(clone, &st) != 0) return false;
  snprintf(text, 100, "%lld bytes at %lld.%09ld", (long long)st.st_size,
           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
  return true;
}


bool image_put_state(value *keep, int clone) {
  char text[100];
  return describe_state(clone, text) &&
         value_put(keep, "state", value_text(text));
}


error *image_changed(const image_remains *r, const char *how) {
  return error_at(
      vss_error(VSS_E_OBJECT_NOT_FOUND, "the shadow copy %s %s", r->tree, how),
      r->tree);
}


error *image_unchanged(const image_remains *r, const value *keep) {
  char text[100];
  const char *kept = value_chars(value_get(keep, "state"), "");
  if (r->clone < 0) return image_changed(r, "was deleted behind our back");
  if (!describe_state(r->clone, text) || strcmp(kept, text) != 0)
    return image_changed(r, "was changed behind our back");
  return NULL;
}


static error *check(const image_remains *r, const value *keep) {
  size_t mounts = 0;
  error *e = image_unchanged(r, keep);
  if (e != NULL) return e;
  mount_table *t = mount_table_read(&e);
  for (size_t i = 0; t != NULL && i < t->count; i++) {
    /* The last one of a name is what is seen there. */
    if (strcmp(t->items[i].point, r->tree) == 0)
      mounts = image_is_loop(r, t->items[i].dev) ? 1 : 2;
  }
  mount_table_free(t);
  if (e != NULL || mounts == 1) return e;
  return image_changed(r, mounts == 0
                              ? "is there, but not mounted any more"
                              : "is hidden: something else is mounted there");
}


error *image_verify(const value *keep) {
  image_remains r;
  error *e = image_look(keep, &r);
  if (e != NULL && e->code == SAROS_E_REFUSED) {
    error_unref(e);
    e = image_changed(&r, "was replaced by something else behind our back");
  } else if (e == NULL) {
    e = check(&r, keep);
  }
  image_let_go(&r);
  return e;
}
