/*
** Questions to LVM: `lvs` in JSON. Its options and fields are the same since
** 2.02.158 (2016).
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vss/provider/lvm_parts.h"

#define FIELDS                                                              \
  "vg_name,vg_uuid,lv_name,lv_uuid,lv_tags,origin,segtype,lv_attr,lv_size," \
  "vg_free,lv_dm_path"
#define ASK_SECONDS 60

void lvm_name(const char *id, char name[LVM_NAME]) {
  snprintf(name, LVM_NAME, "saros_%s", id);
}

/* One line of a file in sysfs; false when there is none. */
static bool read_line(const char *path, char *line, size_t room) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, line, room - 1) : -1;
  if (fd >= 0) close(fd);
  if (n < 0) return false;
  line[n] = '\0';
  line[strcspn(line, "\n")] = '\0';
  return true;
}

char *lvm_device(dev_t disk) {
  char path[100], text[300];
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/dm/uuid", major(disk),
           minor(disk));
  if (!read_line(path, text, sizeof text) || strncmp(text, "LVM-", 4) != 0)
    return NULL;
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/dm/name", major(disk),
           minor(disk));
  if (!read_line(path, text, sizeof text) || text[0] == '\0') return NULL;
  return path_join("/dev/mapper", text);
}


/* ------------------------------------------------------------------
** lvs
** ---------------------------------------------------------------- */

/* { "report": [ { "lv": [ { … }, … ] } ] } */
static const value *first_volume(const value *answer) {
  const value *list = value_get(answer, "report");
  if (list == NULL || list->type != VALUE_LIST || list->count == 0) return NULL;
  list = value_get(list->as.items[0], "lv");
  if (list == NULL || list->type != VALUE_LIST || list->count == 0) return NULL;
  return list->as.items[0];
}

static const char *text_of(const value *lv, const char *name) {
  return value_chars(value_get(lv, name), "");
}

static void take(lvm_volume *v, value *answer, const value *lv) {
  v->answer = answer;
  v->vg = text_of(lv, "vg_name");
  v->vg_uuid = text_of(lv, "vg_uuid");
  v->lv = text_of(lv, "lv_name");
  v->uuid = text_of(lv, "lv_uuid");
  v->tags = text_of(lv, "lv_tags");
  v->origin = text_of(lv, "origin");
  v->segtype = text_of(lv, "segtype");
  v->attr = text_of(lv, "lv_attr");
  v->path = text_of(lv, "lv_dm_path");
  v->size = strtoull(text_of(lv, "lv_size"), NULL, 10);
  v->vg_free = strtoull(text_of(lv, "vg_free"), NULL, 10);
}

error *lvm_ask(const char *what, const char *select, saros_op *op,
               lvm_volume *out) {
  const char *argv[16];
  size_t n = 0;
  argv[n++] = "lvs";
  argv[n++] = "--reportformat";
  argv[n++] = "json";
  argv[n++] = "--units";
  argv[n++] = "b";
  argv[n++] = "--nosuffix";
  argv[n++] = "-o";
  argv[n++] = FIELDS;
  if (select != NULL) argv[n++] = "--select";
  if (select != NULL) argv[n++] = select;
  argv[n++] = what;
  argv[n] = NULL;
  *out = (lvm_volume){0};
  tool_call call = {.argv = argv, .lock = -1, .seconds = ASK_SECONDS, .op = op};
  char *text;
  error *e = tool_run(&call, &text);
  if (e != NULL) return e;
  value *answer = json_read(text, strlen(text), NULL, &e);
  mem_free(text);
  if (answer == NULL)
    return error_because(vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR,
                                   "the answer of lvs is no JSON"),
                         e);
  const value *lv = first_volume(answer);
  if (lv != NULL) {
    take(out, answer, lv);
    return NULL;
  }
  value_free(answer);
  if (select != NULL) return NULL;
  return vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR,
                   "lvs knows no logical volume %s", what);
}
