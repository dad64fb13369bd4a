/*
** fs_check: the programs that check and mend, and what their ends mean.
*/
#include <unistd.h>

#include "vds/fs_parts.h"
#include "vds/mount.h"

enum { MESSAGES_MOST = 40, MESSAGE_MOST = 200 };

typedef struct checking {
  vds_call *c;
  vds_saying saying;
  int (*progress)(vds_saying *s, const char *text, size_t size);
  value *messages;
} checking;


/* Its first words are worth most. Names of files may be in them: any bytes. */
static void keep(checking *k, const char *text, size_t size) {
  buffer b = BUFFER_EMPTY;
  if (k->messages == NULL || k->messages->count >= MESSAGES_MOST) return;
  text_escape(&b, text, size < MESSAGE_MOST ? size : MESSAGE_MOST);
  if (!b.failed && b.size > 0) value_add(k->messages, value_text(b.data));
  buffer_free(&b);
}


static void said(void *context, int which, const char *text, size_t size) {
  checking *k = context;
  int at = which == 1 && k->progress != NULL
               ? k->progress(&k->saying, text, size)
               : -1;
  if (at >= 0)
    vds_progress(k->c, (uint64_t)at, 1000);
  else if (size > 0)
    keep(k, text, size);
}


/* `good`: the ends that mean something; *status is one of them. */
static error *run(checking *k, vds_target *t, const char *const *argv,
                  const char *package, unsigned good, int lock, int *status) {
  const vds_tool tool = {.argv = argv,
                         .package = package,
                         .lock = lock,
                         .lines = true,
                         .good = good,
                         .said = said,
                         .context = k};
  return vds_fs_run(k->c, t, &tool, status);
}


static error *put(checking *k, value *found, bool clean, bool repaired) {
  value *messages = k->messages;
  k->messages = NULL;
  bool good = value_put(found, "messages", messages);
  good = good && value_put(found, "clean", value_bool(clean)) &&
         value_put(found, "repaired", value_bool(repaired));
  return good ? NULL : error_no_memory();
}


static error *damaged_still(const vds_target *t) {
  return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                   "%s could not be mended as a whole; what is readable "
                   "should be copied away",
                   t->path);
}


/* One program that says by its end: 0 clean, `mended` it has mended all, `bad`
   there is damage. */
typedef struct checker {
  const char *const *argv;
  const char *package;
  int mended, bad; /* 0: has no such end */
  int (*progress)(vds_saying *s, const char *text, size_t size);
} checker;


static error *check(vds_call *c, vds_target *t, const checker *how,
                    value *found, int lock) {
  int status = 0;
  checking k = {.c = c, .progress = how->progress, .messages = value_list()};
  if (k.messages == NULL) return error_no_memory();
  unsigned good = 1u | 1u << how->mended | 1u << how->bad;
  error *e = run(&k, t, how->argv, how->package, good, lock, &status);
  bool bad = status != 0 && status == how->bad;
  if (e == NULL && bad && how->mended != 0) e = damaged_still(t);
  if (e == NULL) e = put(&k, found, !bad, status != 0 && status == how->mended);
  value_free(k.messages);
  return e;
}


/* ------------------------------------------------------------------
** One by one
** ---------------------------------------------------------------- */

error *vds_ext4_check(vds_call *c, vds_target *t, bool repair, value *found,
                      int lock) {
  const char *const argv[] = {"e2fsck", "-f", repair ? "-y" : "-n", "-C", "1",
                              t->path,  NULL};
  const checker how = {argv, "e2fsprogs", repair ? 1 : 0, 4, vds_saying_e2fsck};
  return check(c, t, &how, found, lock);
}


/* What is in the log has to be on the disk before it can be mended: mounting
   does that. */
static error *replay(vds_target *t) {
  int directory = -1;
  bool alone = t->only >= 0;
  vds_target_share(t);
  error *e = vds_mount_hidden(t, "xfs", &directory);
  if (directory >= 0) close(directory);
  if (e == NULL && alone) e = vds_target_again(t);
  return e;
}


error *vds_xfs_check(vds_call *c, vds_target *t, bool repair, value *found,
                     int lock) {
  const char *const argv[] = {"xfs_repair", repair ? "-e" : "-n", t->path,
                              NULL};
  const checker how = {argv, "xfsprogs", repair ? 4 : 0, repair ? 2 : 1, NULL};
  error *e = check(c, t, &how, found, lock);
  if (!repair || e == NULL || e->code != VDS_E_VOLUME_NOT_HEALTHY) return e;
  error *why = replay(t);
  if (why != NULL) {
    error_unref(why);
    return e;
  }
  error_unref(e);
  return check(c, t, &how, found, lock);
}


error *vds_btrfs_check(vds_call *c, vds_target *t, bool repair, value *found,
                       int lock) {
  const char *const argv[] = {"btrfs", "check", "--readonly",
                              "-p",    t->path, NULL};
  const checker how = {argv, "btrfs-progs", 0, 1, vds_saying_btrfs};
  if (repair)
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "btrfs has no repair that makes nothing worse; what it "
                     "can mend it mends while it is mounted (btrfs scrub)");
  return check(c, t, &how, found, lock);
}


/* fsck.fat ends with 1 for both: found, and mended; what was mended is known by
   a second look. */
error *vds_vfat_check(vds_call *c, vds_target *t, bool repair, value *found,
                      int lock) {
  const char *const look[] = {"fsck.vfat", "-n", t->path, NULL};
  const char *const mend[] = {"fsck.vfat", "-a", "-w", t->path, NULL};
  const checker looks = {look, "dosfstools", 0, 1, NULL};
  const checker mends = {mend, "dosfstools", 0, 1, NULL};
  error *e = check(c, t, repair ? &mends : &looks, found, lock);
  if (e != NULL || !repair) return e;
  bool mended = !value_boolean(value_get(found, "clean"), true);
  if (!mended) return NULL;
  value *messages = value_copy(value_get(found, "messages"));
  e = check(c, t, &looks, found, lock);
  if (e == NULL && !value_boolean(value_get(found, "clean"), false))
    e = damaged_still(t);
  if (messages == NULL || !value_put(found, "messages", messages) ||
      !value_put(found, "repaired", value_bool(true)))
    return e != NULL ? e : error_no_memory();
  return e;
}
