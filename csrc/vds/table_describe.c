/*
** table_describe: a table as a script sees it; of hostile ones, too.
*/
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vds/probe.h"
#include "vds/table_parts.h"


static value *type_of(struct fdisk_partition *p, value *map) {
  struct fdisk_parttype *type = fdisk_partition_get_type(p);
  char code[8];
  if (type == NULL) return map;
  const char *text = fdisk_parttype_get_string(type);
  const char *name = fdisk_parttype_get_name(type);
  if (text == NULL || *text == '\0') {
    snprintf(code, sizeof code, "%02x", fdisk_parttype_get_code(type) & 0xFF);
    text = code;
  }
  map = vds_with(map, "type", value_text(text));
  return name != NULL ? vds_with(map, "type_name", value_text(name)) : map;
}


static value *partition(const vds_table *t, struct fdisk_partition *p,
                        unsigned number) {
  uint64_t start = fdisk_partition_get_start(p) * t->sector;
  uint64_t size = fdisk_partition_get_size(p) * t->sector;
  const char *label = fdisk_partition_get_name(p);
  const char *uuid = fdisk_partition_get_uuid(p);
  value *map = vds_with(value_map(), "number", value_int(number));
  map = vds_with(map, "offset", value_int((int64_t)start));
  map = vds_with(map, "size", value_int((int64_t)size));
  if (label != NULL && *label != '\0')
    map = vds_with(map, "label", value_text(label));
  if (uuid != NULL) map = vds_with(map, "uuid", value_text(uuid));
  if (fdisk_partition_is_container(p))
    map = vds_with(map, "extended", value_bool(true));
  return type_of(p, map);
}


/* What lies beyond the end of the disk is none, and is said. */
static bool inside(const vds_table *t, struct fdisk_partition *p) {
  uint64_t sectors = t->size / t->sector;
  uint64_t start = fdisk_partition_get_start(p);
  return start < sectors && fdisk_partition_get_size(p) <= sectors - start;
}


static value *partitions(vds_table *t) {
  value *list = value_list();
  size_t n = fdisk_get_npartitions(t->fdisk);
  for (size_t i = 0; list != NULL && i < n; i++) {
    struct fdisk_partition *p = vds_table_find(t, (unsigned)i + 1);
    bool good = p == NULL || inside(t, p);
    if (!good && t->said[0] == '\0')
      snprintf(t->said, sizeof t->said,
               "partition %zu reaches beyond the end of the disk", i + 1);
    if (p != NULL && good &&
        !value_add(list, partition(t, p, (unsigned)i + 1))) {
      value_free(list);
      list = NULL;
    }
    fdisk_unref_partition(p);
  }
  return list;
}


static value *extents(const vds_table *t) {
  vds_extent all[VDS_EXTENTS_MOST];
  value *list = value_list();
  size_t n = vds_table_free_extents(t, all, VDS_EXTENTS_MOST);
  for (size_t i = 0; list != NULL && i < n; i++) {
    value *map =
        vds_with(vds_with(value_map(), "offset", value_int((int64_t)all[i].at)),
                 "size", value_int((int64_t)all[i].size));
    if (value_add(list, map)) continue;
    value_free(list);
    return NULL;
  }
  return list;
}


static bool describe(vds_table *t, value *disk) {
  char *id = NULL;
  bool good = true;
  if (t->style[0] == '\0') return true;
  if (!value_put(disk, "style", value_text(t->style))) return false;
  if (fdisk_get_disklabel_id(t->fdisk, &id) == 0 && id != NULL)
    good = value_put(disk, "table_uuid", value_text(id));
  free(id);
  fdisk_verify_disklabel(t->fdisk); /* what it finds is in `said` */
  return good && value_put(disk, "table", partitions(t)) &&
         value_put(disk, "free", extents(t));
}


static bool is_bad(value *disk, const char *why) {
  return value_put(disk, "health", value_text("failing")) &&
         value_put(disk, "error", value_text(why));
}


error *vds_table_describe(int fd, value *disk) {
  vds_table *t = mem_alloc(sizeof *t);
  if (t == NULL) return error_no_memory();
  bool good = true;
  error *e = vds_table_copy(fd, t);
  /* As if it were written to, which only the copy is: what has been added to
     the disk is free. */
  if (e == NULL) e = vds_table_read(fd, t, false);
  if (e == NULL) good = describe(t, disk);
  if (e == NULL && good && t->said[0] != '\0') good = is_bad(disk, t->said);
  if (e != NULL && (e->code == VDS_E_CORRUPT_PARTITION_INFO ||
                    e->code == VDS_E_PARTITION_STYLE_MISMATCH)) {
    if (t->style[0] != '\0')
      good = value_put(disk, "style", value_text(t->style));
    if (good) good = is_bad(disk, e->message);
    error_unref(e);
    e = NULL;
  }
  vds_table_free(t);
  mem_free(t);
  return e != NULL || good ? e : error_no_memory();
}
