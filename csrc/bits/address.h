/*
** URLs and local names, as they come from outside: held against what they may
** be, and shown to a person without what is secret in them.
*/
#ifndef SAROS_BITS_ADDRESS_H
#define SAROS_BITS_ADDRESS_H

#include "base/base.h"

#define BITS_URL_MOST 2200

/* NULL, or E_INVALIDARG / BG_E_STRING_TOO_LONG … with a sentence: http or
   https, legal characters only, no user and password in it, a host, a port. */
error *bits_address_check(const char *url);
/* A local name: absolute, no "..", no empty last part, no control characters
   that a terminal would obey are shown raw, the last part at most 255 bytes.
   What touches the disk is asked elsewhere. */
error *bits_address_check_path(const char *path);
/* One of the queue's own files, all of whose jobs would be lost, is none. Both
   are clean. */
error *bits_address_check_apart(const char *path, const char *queue);
/* For a log or a person: what is secret in its query (signatures, tokens,
   keys) is replaced by "…". Appended. */
void bits_address_show(buffer *b, const char *url);
/* "https://host:443", allocated; NULL: it is none, or no memory. */
char *bits_address_origin(const char *url);
/* `url` with the prefix `from` replaced by `to`: allocated; NULL: it does not
   begin with it (*no_memory tells). */
char *bits_address_replace(const char *url, const char *from, const char *to,
                           bool *no_memory);

#endif
