/*
** Strings that are not UTF-8 on their way through JSON, which has only text:
** "x" becomes "x" (escaped, for a person) and "x_b64" (the bytes), and back.
*/
#ifndef SAROS_VSS_BYTES_H
#define SAROS_VSS_BYTES_H

#include "base/base.h"

/* A value that JSON can hold exactly: `v` itself when it is one already (the
   caller frees what is not `v`), else a new one. NULL when memory ran out, or
   when it is too deep. */
const value *bytes_out(const value *v, bool *too_deep);
/* The way back: takes over `v`. NULL when memory ran out. A pair whose halves
   do not say the same is somebody else's business and stays as it is. */
value *bytes_in(value *v);

#endif
