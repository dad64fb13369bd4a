/*
** The backup components document: what a session leaves to those that come
** after it, to restore by or to import from. JSON, although the codes of the
** original speak of XML:
**
**   { format = "saros.backup_components", version = 1, mode = "backup",
**     context, attributes, machine, created, set?,
**     backup = { type = "full", select_components, bootable_system_state,
**                partial_files },
**     snapshots = { record, … },
**     writers = { { id, instance, name, metadata?, components = {
**       { name, logical_path?, type = "database", selected, succeeded?,
**         options?, stamp?, restore = { … }? }, … } }, … } }
**
** In memory its strings are bytes, as in a record.
*/
#ifndef SAROS_VSS_DOCUMENT_H
#define SAROS_VSS_DOCUMENT_H

#include "vss/record.h"

/* Strict. NULL and *e: VSS_E_CORRUPT_XML_DOCUMENT when it is no JSON,
   VSS_E_INVALID_XML_DOCUMENT when it is not such a document, with where and
   what. */
value *document_parse(const char *text, size_t size, error **e);
/* What document_parse reads back as an equal value; the same for the same
   one. Refuses, as document_parse would, what is no such document. */
error *document_write(const value *doc, buffer *out);

#endif
