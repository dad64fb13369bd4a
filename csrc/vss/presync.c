/*
** presync: writing out before a hold, so that little is left for it.
*/
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/engine.h"
#include "vss/place.h"

enum {
  ROUNDS = 10,             /* a busy writer is never caught up with */
  SLICE = 64 << 20,        /* bytes of a file between two looks */
  SHORT = 50 * 1000 * 1000 /* nanoseconds: that is little */
};


error *cancelled_error(saros_op *op) {
  if (op == NULL || !saros_op_cancelled(op)) return NULL;
  return vss_error(SAROS_E_CANCELLED, "the shadow copy was cancelled");
}


static error *failed(int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "what is not written yet could not be written", NULL);
}


/* In slices: the whole of a big file can take minutes. */
static error *sync_file(int file, saros_op *op) {
  struct stat st;
  if (fstat(file, &st) != 0) return failed(errno);
  for (off_t at = 0; at < st.st_size; at += SLICE) {
    error *e = cancelled_error(op);
    if (e != NULL) return e;
    /* A file system may not have this: fdatasync does it then. */
    if (sync_file_range(file, at, SLICE,
                        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                            SYNC_FILE_RANGE_WAIT_AFTER) != 0)
      break;
  }
  return fdatasync(file) == 0 ? NULL : failed(errno);
}


error *presync(int fs, int file, saros_op *op) {
  for (int round = 0; round < ROUNDS; round++) {
    uint64_t begun = engine_clock();
    error *e = cancelled_error(op);
    if (e != NULL) return e;
    if (syncfs(fs) != 0) return failed(errno);
    if (file >= 0) e = sync_file(file, op);
    if (e != NULL) return e;
    if (engine_clock() - begun < SHORT) break;
  }
  return cancelled_error(op);
}
