/*
** What is kept on a disk or said on a wire outlives the program that wrote it.
** Each such thing has a version, a whole number, and says which program wrote
** it. A newer program reads what an older one wrote; an older one refuses what
** it does not know, says who wrote that, and leaves it as it is.
*/
#ifndef SAROS_BASE_FORMAT_H
#define SAROS_BASE_FORMAT_H

#include "base/error.h"
#include "base/value.h"

#define SAROS_RELEASE "saros scm"

/* Puts "version" and "program". False: no memory. */
bool format_stamp(value *map, int64_t version);
/* NULL when the map says no version above `known`; else that it was written by
   a newer program. `what`: "the record X". */
error *format_newer(saros_facade facade, uint32_t code, const value *map,
                    int64_t known, const char *what);

#endif
