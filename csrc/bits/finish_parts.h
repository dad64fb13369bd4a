/*
** What the files of the finish share.
*/
#ifndef SAROS_BITS_FINISH_PARTS_H
#define SAROS_BITS_FINISH_PARTS_H

#include <sys/types.h>

#include "bits/part.h"
#include "bits/parts.h"

/* The part, to be read; -1, and the result says why: it is not the one, not as
   long as it should be, or not for good what came; or (WHOLE) it has its name
   already. */
int bits_finish_open(bits_file *f, bits_result *r);
/* All of it is on the disk, for good. */
bool bits_finish_is_durable(bits_file *f);
/* The name belongs to what was the part. */
bool bits_finish_is_named(const bits_file *f);
/* It is the part, whole, with this mode: it need not be opened. */
bool bits_finish_is_ready(const bits_file *f, mode_t mode);
/* What a file that this process makes may have, but for its umask. */
#define FINISH_MODE 0666
/* small.c: of one that lies in memory the part is made. r is left alone where
   all is well; else nothing is here any more. */
void bits_small_land(bits_file *f, bits_result *r);
void bits_finish_local(const bits_file *f, int number, const char *what,
                       bits_result *r);
/* Nothing is known of it any more, and nothing is here; r says why. Twice is
   too often. */
void bits_finish_again(bits_file *f, uint32_t code, bits_result *r);

#endif
