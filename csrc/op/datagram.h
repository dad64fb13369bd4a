/*
** One message to a socket that somebody else listens on: the journal's, the
** service manager's.
*/
#ifndef SAROS_OP_DATAGRAM_H
#define SAROS_OP_DATAGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* 0 or an errno. `path` begins with '@' when it is in the abstract space. What
   does not fit into a datagram goes as a sealed file in memory, where the one
   who listens knows of that (`large`). Waits a second at most. */
int datagram_send(const char *path, const char *data, size_t size, bool large);

#endif
