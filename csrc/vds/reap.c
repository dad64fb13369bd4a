/*
** reap: what dead owners left, by their records. Each kind of record is taken
** care of by who writes it; what nobody knows stays.
*/
#include <string.h>

#include "vds/attach.h"
#include "vds/format.h"
#include "vds/listing.h"
#include "vds/plex.h"
#include "vds/record.h"
#include "vds/resize.h"
#include "vds/step.h"
#include "vds/table.h"

static error *reap_table(vds_call *c, const char *at, const value *record,
                         bool *mended) {
  (void)at;
  return vds_table_reap(c, record, mended);
}


/* In this order: a table is whole before what lies in its partitions is looked
   at. Virtual disks are attach's own, and come after what lies on them. */
static const struct {
  const char *kind;
  error *(*reap)(vds_call *c, const char *at, const value *record,
                 bool *mended);
} kinds[] = {
    {"table", reap_table},       {"plex", vds_plex_reap},
    {"format", vds_format_reap}, {"extend", vds_resize_reap},
    {"shrink", vds_resize_reap},
};


static bool add_text(value *report, const char *name, const char *text) {
  const value *list = value_get(report, name);
  value *copy = list != NULL ? value_copy(list) : value_list();
  return copy != NULL && value_add(copy, value_text(text)) &&
         value_put(report, name, copy);
}


/* What it is about, for a person. */
static const char *what_of(const value *record) {
  const char *path = vds_record_text(record, "path");
  return *path != '\0' ? path : vds_record_text(record, "kind");
}


/* One that cannot be mended now keeps its record, and the others are not kept
   waiting for it. */
static error *reap_one(vds_call *c, const char *at, const value *record,
                       size_t i) {
  bool mended = false;
  error *e = kinds[i].reap(c, at, record, &mended);
  if (e != NULL) {
    log_write(LOG_WARNING, "vds", "what a process that died left (%s): %s",
              kinds[i].kind, e->message);
    mended = false;
  }
  error_unref(e);
  e = mended ? vds_record_remove(at, record) : NULL;
  if (e == NULL &&
      !add_text(c->output, mended ? "forgotten" : "busy", what_of(record)))
    e = error_no_memory();
  return e;
}


static bool is_left(const value *record) {
  return strcmp(vds_record_text(record, "state"), "failed") == 0 ||
         !vds_owner_is_alive(record);
}


/* An owner who lived when the list was read may have come to his end since:
   what he had written then is old. */
static error *reap_kind(vds_call *c, const char *at, const value *records,
                        size_t kind) {
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < records->count; i++) {
    const value *old = records->as.items[i];
    if (strcmp(vds_record_text(old, "kind"), kinds[kind].kind) != 0 ||
        !is_left(old))
      continue;
    if (vds_stopped(c, &e)) break;
    value *record = vds_record_again(at, old, &e);
    if (record != NULL && is_left(record)) e = reap_one(c, at, record, kind);
    value_free(record);
  }
  return e;
}


static error *reap_all(vds_call *c, const char *at, const value *records) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < sizeof kinds / sizeof *kinds; i++)
    e = reap_kind(c, at, records, i);
  return e;
}


error *vds_work_reap(vds_call *c) {
  error *e = NULL;
  char *at = vds_records_at(vds_text(c, "state_dir"), &e);
  value *records = at != NULL ? vds_record_list(at, &e) : NULL;
  vds_step("reap: listed");
  c->output = value_map();
  static const char *const lists[] = {"detached", "forgotten", "busy"};
  if (e == NULL && c->output == NULL) e = error_no_memory();
  for (size_t i = 0; e == NULL && i < 3; i++)
    if (!value_put(c->output, lists[i], value_list())) e = error_no_memory();
  if (e == NULL && records != NULL) e = reap_all(c, at, records);
  if (e == NULL && records != NULL)
    e = vds_attach_reap(c, at, records, c->output);
  value_free(records);
  mem_free(at);
  return e;
}
