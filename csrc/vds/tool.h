/*
** Somebody else's program, run on the lane thread of a call: found in the
** directories such programs are in, in a group of its own, with an empty signal
** mask, LC_ALL=C, and no descriptor of ours but its lock.
**
** What it says comes piece by piece, cut at newlines, carriage returns and runs
** of backspaces, to who understands its progress. A cancel asks its group to
** end (TERM), 5 s later kills it (KILL), and waits: when this returns nothing
** of it runs. It is let finish when we die (it would leave half a file system
** otherwise), and holds the record's lock until then, which reap waits for.
*/
#ifndef SAROS_VDS_TOOL_H
#define SAROS_VDS_TOOL_H

#include "vds/call.h"

typedef struct vds_tool {
  const char *const *argv;
  const char *package; /* that it is in: for the error without it */
  int lock;            /* vds_record_lock's, or -1 */
  bool ignore_cancel;  /* it has to come to its end */
  bool lines;          /* it says nothing that matters before its line ends */
  unsigned good;       /* bit n: status n is no failure; 0: 1u << 0 */
  void (*said)(void *context, int which, const char *text, size_t size);
  void *context;
} vds_tool;

/* NULL: it ended well; *status (may be NULL) says how. Errors have the last 600
   bytes of what it said on standard error. Without the program: Win32's file
   not found, and "install <package>". VDS_E_OPERATION_CANCELED. */
error *vds_tool_run(vds_call *c, const vds_tool *tool, int *status);
/* Whether it is here; no error. */
bool vds_tool_is_here(const char *name);
/* The error that a run without it would have, before anything is lost; NULL: it
   is here. */
error *vds_tool_missing(const char *name, const char *package);

/* Progress of mke2fs, e2fsck -C 1, resize2fs -p, xfs_repair and btrfs check,
   from the pieces that they say (progress.c; fuzzed). Each gives 0..1000 of the
   whole work, never less than before, or -1: it was about something else. `s`
   begins as { 0 }. */
typedef struct vds_saying {
  unsigned pass;
  unsigned bar; /* of resize2fs: how much of it is drawn */
  int at;
} vds_saying;
int vds_saying_mke2fs(vds_saying *s, const char *text, size_t size);
int vds_saying_e2fsck(vds_saying *s, const char *text, size_t size);
int vds_saying_resize2fs(vds_saying *s, const char *text, size_t size);
int vds_saying_xfs(vds_saying *s, const char *text, size_t size);
int vds_saying_btrfs(vds_saying *s, const char *text, size_t size);

#endif
