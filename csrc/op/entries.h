/*
** The entries of directories: what they are, and how they come to other names.
** One operation does a list of such steps in order, on the lane.
*/
#ifndef SAROS_OP_ENTRIES_H
#define SAROS_OP_ENTRIES_H

#include "op/op.h"

/* `steps` (taken over, also on an error) is a list of lists of texts:
     look PATH         what it is, itself when it is a link; false: not there
     follow PATH       the same of what a link leads to
     names PATH        what is in the directory, sorted
     make PATH         a directory that was not there, for its owner alone
     move FROM TO      where nothing is, within a file system
     exchange ONE TWO  each comes to the other's name, at once
     remove PATH       a directory that is empty
     sync PATH         all of its file system is on the disk
     flush PATH        what was written to it is on the disk
     store PATH TEXT   a file that was not there, for its owner alone; it is on
                       the disk
   The result has an item for each. It ends at the first that fails; those
   before it were done. NULL and *e. */
saros_op *entries_start(value *steps, error **e);

#endif
