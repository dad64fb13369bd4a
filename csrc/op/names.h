/*
** The register of names, as op.c sees it. The public half is in op.h.
*/
#ifndef SAROS_OP_NAMES_H
#define SAROS_OP_NAMES_H

#include "op/op.h"

/* Puts an operation whose extra has this name in; an old one of that name
   that is over is dropped. 0, SAROS_E_BUSY_NAME or SAROS_E_OUTOFMEMORY. */
uint32_t names_put(saros_op *op, const char *name);

#endif
