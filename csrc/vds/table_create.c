/*
** table_create: a new partition, in the table and then in the kernel.
*/
#include "vds/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/refuse.h"
#include "vds/step.h"
#include "vds/table_parts.h"

static error *has_partition(void *context, const vds_about *a) {
  (void)a;
  *(bool *)context = true;
  return NULL;
}


/* Who has the whole disk for himself is found out where none of its partitions
   can be the reason. */
static error *open_disk(const vds_identity *who, vds_target *t) {
  bool any = false;
  error *e = vds_about_partitions(who->dev, has_partition, &any);
  unsigned how = VDS_OPEN_WRITE | (any ? 0 : VDS_OPEN_EXCLUSIVE);
  return e == NULL ? vds_target_open(who, how, t) : e;
}


typedef struct making {
  vds_table_job *j;
  vds_extent place;
  unsigned number;
  struct fdisk_parttype *type;
} making;


static error *check_label(const vds_call *c, const char *style) {
  const char *label = vds_text(c, "label");
  size_t units = 0;
  if (label == NULL || *label == '\0') return NULL;
  if (strcmp(style, "gpt") != 0)
    return vds_error(VDS_E_BAD_LABEL,
                     "label: partitions of an MBR have none; of a GPT they do");
  size_t size = strlen(label);
  const value *given = value_get(c->options, "label");
  if (given->as.string.size != size || !text_is_utf8(label, size))
    return vds_error(VDS_E_BAD_LABEL, "label: it is no UTF-8");
  for (const unsigned char *s = (const unsigned char *)label; *s != 0; s++) {
    if (*s < 0x20 || *s == 0x7F)
      return vds_error(VDS_E_BAD_LABEL, "label: it has a control character");
    if ((*s & 0xC0) != 0x80) units += *s >= 0xF0 ? 2 : 1;
  }
  if (units <= 36) return NULL;
  return vds_error(VDS_E_BAD_LABEL,
                   "label: a GPT has room for 36 UTF-16 units, this has %zu",
                   units);
}


/* The library says by a number alone what is wrong with one. */
static error *check_uuid(const vds_call *c, const char *style) {
  guid g;
  const char *uuid = vds_text(c, "uuid");
  if (uuid == NULL) return NULL;
  if (strcmp(style, "gpt") != 0)
    return vds_error(SAROS_E_INVALIDARG,
                     "uuid: partitions of an MBR have none; of a GPT they do");
  if (*uuid != '{' && guid_parse(uuid, &g)) return NULL;
  return vds_error(SAROS_E_INVALIDARG, "uuid: '%.60s' is no id of a partition",
                   uuid);
}


/* Names that people use, and libfdisk has otherwise. */
static const char *type_name(const char *name) {
  if (strcmp(name, "efi") == 0 || strcmp(name, "esp") == 0) return "uefi";
  return name;
}


/* libfdisk makes a type of every word: of one that it does not know, what it is
   must be said as the table has it. */
static bool is_type(struct fdisk_parttype *type, const char *name, bool mbr) {
  guid g;
  unsigned code = fdisk_parttype_get_code(type);
  if (!mbr) return !fdisk_parttype_is_unknown(type) || guid_parse(name, &g);
  return code > 0 && code <= 0xFF &&
         (!fdisk_parttype_is_unknown(type) ||
          (strlen(name) <= 2 &&
           strspn(name, "0123456789abcdefABCDEF") == strlen(name)));
}


static error *read_type(making *m, const char *style) {
  const char *name = vds_text(m->j->c, "type");
  bool mbr = strcmp(style, "mbr") == 0;
  if (name == NULL) name = "linux";
  m->type = fdisk_label_advparse_parttype(
      fdisk_get_label(m->j->table.fdisk, NULL), type_name(name),
      FDISK_PARTTYPE_PARSE_DATA | FDISK_PARTTYPE_PARSE_ALIAS |
          FDISK_PARTTYPE_PARSE_NAME);
  if (m->type == NULL || !is_type(m->type, name, mbr))
    return vds_error(VDS_E_INVALID_PARTITION_TYPE,
                     "type: '%.60s' is none of a table of the kind %s; linux, "
                     "swap, efi, raid, lvm, or its %s",
                     name, style, mbr ? "number, as \"83\"" : "GUID");
  unsigned code = fdisk_parttype_get_code(m->type);
  if (mbr && (code == 0x05 || code == 0x0F || code == 0x85))
    return vds_error(VDS_E_INVALID_PARTITION_TYPE,
                     "type: extended partitions are not made; a GPT has room "
                     "for more than four");
  return NULL;
}


static error *limit(size_t most, const char *style) {
  return vds_error(VDS_E_PARTITION_LIMIT_REACHED,
                   "a table of the kind %s has room for %zu partitions", style,
                   most);
}


static error *choose_number(making *m) {
  const vds_table *t = &m->j->table;
  size_t most = fdisk_get_npartitions(t->fdisk);
  int64_t wanted = vds_integer(m->j->c, "number", 0);
  if (strcmp(t->style, "mbr") == 0) most = 4;
  if (most > VDS_PARTITIONS_MOST) most = VDS_PARTITIONS_MOST;
  if (wanted < 0)
    return vds_error(SAROS_E_INVALIDARG, "number: from 1, or none");
  if (wanted > (int64_t)most) return limit(most, t->style);
  if (wanted > 0 && fdisk_is_partition_used(t->fdisk, (size_t)wanted - 1))
    return vds_error(VDS_E_OBJECT_EXISTS,
                     "number: there is a partition %lld already",
                     (long long)wanted);
  m->number = (unsigned)wanted;
  for (size_t i = 0; m->number == 0 && i < most; i++)
    if (!fdisk_is_partition_used(t->fdisk, i)) m->number = (unsigned)i + 1;
  return m->number > 0 ? NULL : limit(most, t->style);
}


static error *add_to_table(making *m) {
  vds_table *t = &m->j->table;
  const char *label = vds_text(m->j->c, "label");
  const char *uuid = vds_text(m->j->c, "uuid");
  size_t number = m->number - 1;
  struct fdisk_partition *p = fdisk_new_partition();
  if (p == NULL) return error_no_memory();
  int r = fdisk_partition_set_partno(p, number);
  if (r == 0) r = fdisk_partition_set_start(p, m->place.at / t->sector);
  if (r == 0) r = fdisk_partition_set_size(p, m->place.size / t->sector);
  if (r == 0) r = fdisk_partition_size_explicit(p, 1);
  if (r == 0) r = fdisk_partition_set_type(p, m->type);
  if (r == 0 && label != NULL && *label != '\0')
    r = fdisk_partition_set_name(p, label);
  if (r == 0 && uuid != NULL) r = fdisk_partition_set_uuid(p, uuid);
  t->said[0] = '\0';
  if (r == 0) r = fdisk_add_partition(t->fdisk, p, &number);
  fdisk_unref_partition(p);
  if (r == -ERANGE || r == -ENOSPC)
    return vds_table_error(t, VDS_E_INVALID_SPACE,
                           "the partition has no place there", r);
  if (r != 0)
    return vds_table_error(t, SAROS_E_INVALIDARG,
                           "the partition cannot be entered into the table", r);
  return NULL;
}


/* Without a table there is one now. A disk that is itself a file system has
   none either, and is not taken for empty. */
static error *need_table(vds_table_job *j) {
  if (j->table.style[0] != '\0') return NULL;
  if (j->probe.fs[0] != '\0' || j->probe.ambivalent)
    return vds_error(VDS_E_OPERATION_DENIED,
                     "there is no table on the disk, but %s on all of it; "
                     "initialize or clean it first, which loses that",
                     j->probe.ambivalent ? "a file system" : j->probe.fs);
  vds_table_free(&j->table);
  error *e = vds_table_copy(j->w.fd, &j->table);
  return e == NULL ? vds_table_anew(j, "gpt") : e;
}


static error *prepare(making *m) {
  vds_table *t = &m->j->table;
  error *e = need_table(m->j);
  if (e == NULL) e = vds_table_sound(m->j);
  if (e == NULL) e = check_label(m->j->c, t->style);
  if (e == NULL) e = check_uuid(m->j->c, t->style);
  if (e == NULL) e = read_type(m, t->style);
  if (e == NULL) e = choose_number(m);
  if (e == NULL) e = vds_table_place(m->j->c, t, &m->place);
  if (e == NULL)
    e = vds_changes_wipe(m->j->w.fd, t, m->place.at, m->place.size,
                         &m->j->w.changes);
  if (e == NULL) e = add_to_table(m);
  return e;
}


/* Raw: what was there is wiped. */
static error *volume_of(vds_table_job *j, unsigned number, vds_about *a,
                        value **map) {
  static const vds_probe raw;
  vds_world *world = NULL;
  char node[80];
  bool is = false;
  error *e = vds_world_read(&world);
  if (e == NULL) e = vds_table_partition(j->disk.dev, number, a, &is);
  if (e == NULL && is) *map = vds_volume_map(a, world, &raw);
  if (e == NULL && is) e = vds_about_node(a->dev, node);
  vds_world_free(world);
  return e;
}


/* The id that its table gave it, as the original tells that of the volume. */
static value *with_id(value *map, const vds_table *t, unsigned number) {
  struct fdisk_partition *p = vds_table_find(t, number);
  const char *id = p != NULL ? fdisk_partition_get_uuid(p) : NULL;
  if (id != NULL) map = vds_with(map, "id", value_text(id));
  fdisk_unref_partition(p);
  return map;
}


/* It is there, whatever cannot be told of it: its node has not come, or memory
   ran out. */
static void put_partition(const making *m, vds_table_job *j) {
  value *part = NULL;
  vds_about *a = mem_zero(sizeof *a);
  error *e = a != NULL ? volume_of(j, m->number, a, &part) : NULL;
  part = vds_with(part, "transition", value_text("stable")); /* it is over */
  value *map = vds_with(value_map(), "offset", value_int((int64_t)m->place.at));
  map = vds_with(map, "size", value_int((int64_t)m->place.size));
  map = vds_with(map, "number", value_int(m->number));
  map = with_id(map, &j->table, m->number);
  if (e != NULL || part == NULL) j->c->code = VDS_S_NO_NOTIFICATION;
  j->c->output = part != NULL ? vds_with(map, "volume", part) : map;
  error_unref(e);
  mem_free(a);
}


static error *create(making *m, const vds_target *t) {
  vds_slot slot;
  vds_table_job *j = m->j;
  error *e = vds_table_job_read(j, t);
  if (e == NULL) e = prepare(m);
  if (e == NULL) e = vds_table_job_begin(j);
  if (e == NULL) e = vds_writing_do(&j->w);
  slot = (vds_slot){m->number, m->place.at, m->place.size};
  if (e == NULL) e = vds_blkpg_add(j->w.fd, &slot);
  vds_step("create partition: told");
  return vds_writing_end(&j->w, e);
}


static const vds_verb creating = {VDS_LOSES_NOTHING,
                                  VDS_DANGER_MOUNTED | VDS_DANGER_SWAP};


error *vds_work_create_partition(vds_call *c) {
  vds_identity who;
  vds_target t = VDS_TARGET_NONE;
  unsigned forced;
  bool go = false;
  error *e = vds_table_disk(c, &who);
  if (e == NULL) e = vds_permit(c, &who, &creating, &forced, &go);
  if (e == NULL && go) e = open_disk(&who, &t);
  if (e != NULL || !go) return e;
  making m = {.j = vds_table_job_new(c, &who)};
  if (m.j != NULL) {
    e = create(&m, &t);
    if (e == NULL) put_partition(&m, m.j);
  } else {
    e = error_no_memory();
  }
  fdisk_unref_parttype(m.type);
  vds_table_job_free(m.j);
  vds_target_close(&t);
  return e;
}
