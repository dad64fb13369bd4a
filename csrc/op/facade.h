/*
** The five vocabularies over one operation. Each facade answers in a file of
** its own (op/vocabulary.c, vss/status.c, wsb/status.c, vds/status.c,
** bits/status.c); this table lets the floor speak any of them without
** knowing them: each registers itself when the library is put together
** (api.c).
*/
#ifndef SAROS_OP_FACADE_H
#define SAROS_OP_FACADE_H

#include "op/op.h"

typedef struct facade {
  const char *name;
  uint32_t pending;    /* the code of a pending one, for a wait without time */
  uint32_t unexpected; /* of one that ended with what is no outcome */
  uint32_t (*query)(saros_op *op, uint32_t *percent);
  uint32_t (*cancel)(saros_op *op);
} facade;

extern const facade facade_saros, facade_vss, facade_wsb, facade_vds,
    facade_bits;
extern const facade *const facades[SAROS_FACADES]; /* api.c */
const facade *facade_of(const saros_op *op);

/* An out parameter that can be written to. */
#define facade_can_write(pointer) \
  ((pointer) != NULL && (uintptr_t)(pointer) % _Alignof(uint32_t) == 0)

/* What the access hook of the operation says; 0 when there is none. */
uint32_t facade_access(saros_op *op);
/* The next query finds something broken (in test builds). */
bool facade_fault(saros_op *op, const char *where);

#endif
