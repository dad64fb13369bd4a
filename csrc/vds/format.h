/*
** { object (volume or disk), fs, label?, quick? (default true), block?, plan?,
** force? }: a file system. Output { volume }.
**
** Steps: open exclusively; permit (who cannot have it at once: permit, end what
** was forced, open, permit again); record "format" with the uuid that the new
** one will have; wipe what was there, and sync that (from here nothing of it
** can come back); full: zero all of it (0..90 %; a place that cannot be written
** is an error); share; the tool; again; probe: it must be what was asked for,
** with that uuid; sync; commit; record removed. Which sync is waited for when,
** and which not at all, stands in format.c.
** Cancel: until that commit; the tool's group is killed, signatures are wiped:
** the volume is raw, and status().cleanup says what was on it before, if
** anything was. Killed, or power lost: the record says it; reap asks the probe:
** whole with that uuid (the tool outlived us) or wiped. Until then the volume
** is listed with health "failed" and unfinished = "format".
** Errors: VDS_E_INVALID_FS_TYPE (with those that there are), VDS_E_VOLUME_TOO_
** SMALL, VDS_E_BAD_LABEL, VDS_E_IO_ERROR, Win32 112 (disk full under an image).
*/
#ifndef SAROS_VDS_FORMAT_H
#define SAROS_VDS_FORMAT_H

#include "vds/call.h"
#include "vds/object.h"
#include "vds/probe.h"

error *vds_work_format(vds_call *c);

/* format_why.c: a better error than the program's own, or that one. */
error *vds_format_explain(const vds_target *t, error *e);

/* format_reap.c. *mended: to be forgotten; it is whole, or raw, or gone. */
error *vds_format_reap(vds_call *c, const char *at, const value *record,
                       bool *mended);
/* Volumes whose format did not come to its end and was not reaped, by the
   records; to be freed, also after an error. */
#define VDS_UNFINISHED_MOST 64
typedef struct vds_half {
  dev_t dev;
  char fs[32], uuid[64];
} vds_half;
typedef struct vds_unfinished {
  vds_half items[VDS_UNFINISHED_MOST];
  unsigned count;
} vds_unfinished;
error *vds_format_unfinished(const char *state_dir, vds_unfinished **list);
/* Whether this is one, and not what somebody has made on it since. */
bool vds_is_unfinished(const vds_unfinished *u, dev_t dev, const vds_probe *p);

#endif
