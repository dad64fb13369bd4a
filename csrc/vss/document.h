/*
** The backup components document: what save() gives and initialize_for_… takes.
** It may have been damaged, or made to hurt.
*/
#ifndef SAROS_VSS_DOCUMENT_H
#define SAROS_VSS_DOCUMENT_H

#include "vss/vss.h"

/* VSS_E_CORRUPT_XML_DOCUMENT: it is no JSON; VSS_E_INVALID_XML_DOCUMENT: it is
   not one of ours, and where. */
value *document_parse(const char *text, size_t size, error **e);
error *document_write(const value *document, buffer *out);

#endif
