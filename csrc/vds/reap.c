/*
** reap: what dead owners left, by their records. Each kind of record is taken
** care of by who writes it; what nobody knows stays.
*/
#include "vds/attach.h"
#include "vds/listing.h"
#include "vds/record.h"

error *vds_work_reap(vds_call *c) {
  error *e = NULL;
  char *at = vds_records_at(vds_text(c, "state_dir"), &e);
  value *records = at != NULL ? vds_record_list(at, &e) : NULL;
  c->output = value_map();
  static const char *const lists[] = {"detached", "forgotten", "busy"};
  if (e == NULL && c->output == NULL) e = error_no_memory();
  for (size_t i = 0; e == NULL && i < 3; i++)
    if (!value_put(c->output, lists[i], value_list())) e = error_no_memory();
  if (e == NULL) e = vds_attach_reap(c, at, records, c->output);
  value_free(records);
  mem_free(at);
  return e;
}
