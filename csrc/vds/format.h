/*
** { object (volume or disk), fs, label?, quick? (default true), block?, plan?,
** force? }: a file system. Output { volume }.
**
** Steps: permit; record "format" with the uuid the new one will have; open
** exclusively, wipe what was there (from here nothing of it can come back);
** full: zero it all, reading back errors (0..90 %); share; mkfs; again; probe:
** it must
** be what was asked for, with that uuid; sync; record removed.
** Cancel: until mkfs has ended; its group is killed, signatures are wiped: the
** volume is raw, and status().cleanup says what was on it before, if anything
** was. Killed, or power lost: the record says it; reap asks the probe: whole
** with that uuid (the tool outlived us) or wiped. Until then the volume is
** listed with health "failed" and unfinished = "format".
** Errors: VDS_E_INVALID_FS_TYPE (with those that there are), VDS_E_VOLUME_TOO_
** SMALL, VDS_E_BAD_LABEL, VDS_E_IO_ERROR, Win32 112 (disk full under an image).
*/
#ifndef SAROS_VDS_FORMAT_H
#define SAROS_VDS_FORMAT_H

#include "vds/call.h"

error *vds_work_format(vds_call *c);
error *vds_format_reap(vds_call *c, const char *at, const value *record,
                       bool *mended);

#endif
