/*
** fs: the file systems that there are here, and what is asked of any of them.
*/
#include "vds/fs.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "vds/format.h"
#include "vds/fs_parts.h"

static const vds_fs *const systems[] = {
    &vds_fs_ext4, &vds_fs_xfs, &vds_fs_btrfs, &vds_fs_vfat, &vds_fs_swap};

enum { SYSTEMS = sizeof systems / sizeof *systems };


const vds_fs *vds_fs_find(const char *name) {
  for (size_t i = 0; i < SYSTEMS; i++)
    if (strcmp(systems[i]->name, name) == 0) return systems[i];
  return NULL;
}


void vds_fs_names(buffer *b) {
  for (size_t i = 0; i < SYSTEMS; i++) {
    if (i > 0) buffer_text(b, i + 1 < SYSTEMS ? ", " : " and ");
    buffer_text(b, systems[i]->name);
  }
}


/* ------------------------------------------------------------------
** Labels
** ---------------------------------------------------------------- */

static error *bad_label(const vds_fs *fs, const char *why) {
  return vds_error(VDS_E_BAD_LABEL, "the label cannot be one of %s: %s",
                   fs->name, why);
}


/* What a label must not have wherever it is: it is shown in terminals, and is a
   name below /dev/disk. */
error *vds_fs_check_label(const vds_fs *fs, const char *label) {
  char why[80];
  size_t size = strlen(label);
  if (size > fs->label_most) {
    snprintf(why, sizeof why, "it has %zu bytes, and %zu is the most", size,
             fs->label_most);
    return bad_label(fs, why);
  }
  if (!text_is_utf8(label, size)) return bad_label(fs, "it is not UTF-8");
  for (size_t i = 0; i < size; i++) {
    unsigned char c = (unsigned char)label[i];
    if (c < ' ' || c == 127) return bad_label(fs, "it has a control character");
    if (fs->label_not == NULL) continue;
    if (c > 127) return bad_label(fs, "it has more than ASCII");
    if (strchr(fs->label_not, c) == NULL) continue;
    snprintf(why, sizeof why, "it has a '%c'", c);
    return bad_label(fs, why);
  }
  if (fs->label_not != NULL && *label == ' ')
    return bad_label(fs, "it begins with a space");
  return NULL;
}


/* A script's string may have zeros in it, and would end at the first one. */
error *vds_fs_label(const vds_call *c, const vds_fs *fs, const char **label) {
  const value *v = value_get(c->options, "label");
  *label = value_chars(v, NULL);
  if (*label == NULL) return NULL;
  if (strlen(*label) != v->as.string.size)
    return bad_label(fs, "it has a control character");
  return vds_fs_check_label(fs, *label);
}


/* ------------------------------------------------------------------
** Identities
** ---------------------------------------------------------------- */

/* FAT has four bytes for it. */
void vds_fs_uuid(const vds_fs *fs, const guid *g, char uuid[GUID_TEXT]) {
  guid_format(g, uuid);
  if (strcmp(fs->name, "vfat") != 0) return;
  char short_one[10];
  for (size_t i = 0; i < 4; i++) short_one[i] = (char)toupper(uuid[i]);
  short_one[4] = '-';
  for (size_t i = 4; i < 8; i++) short_one[i + 1] = (char)toupper(uuid[i]);
  short_one[9] = '\0';
  snprintf(uuid, GUID_TEXT, "%s", short_one);
}


/* ------------------------------------------------------------------
** Their programs
** ---------------------------------------------------------------- */

error *vds_fs_run(vds_call *c, vds_target *t, const vds_tool *tool,
                  int *status) {
  bool alone = t->only >= 0;
  vds_target_share(t);
  error *e = vds_format_explain(t, vds_tool_run(c, tool, status)),
        *again = NULL;
  if (alone) again = vds_target_again(t);
  if (e == NULL) return again;
  error_unref(again);
  return e;
}
