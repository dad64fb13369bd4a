/*
** The XML of S3's answers, and no other: elements, text, the five entities and
** character references. No document type, so no entities of its own; bounded
** in depth and in the length of a text. The bytes may be hostile.
*/
#ifndef SAROS_REPOSITORY_STORE_S3_XML_H
#define SAROS_REPOSITORY_STORE_S3_XML_H

#include "base/base.h"

#define REPO_XML_DEPTH 16
#define REPO_XML_TEXT ((size_t)64 << 10)

typedef enum repo_xml_event {
  REPO_XML_OPEN,  /* name; depth counts it */
  REPO_XML_CLOSE, /* name, and the text since its tag or its last child's */
  REPO_XML_END,   /* of the document, which was well formed */
  REPO_XML_BAD    /* it was not; and ever after */
} repo_xml_event;

typedef struct repo_xml_name {
  const char *text;
  size_t size;
} repo_xml_name;

typedef struct repo_xml {
  const char *data;
  size_t size, at;
  repo_xml_name open[REPO_XML_DEPTH], name;
  unsigned depth;
  buffer text;
  bool bad, had_root, closes; /* closes: "<a/>" was opened */
} repo_xml;

void repo_xml_begin(repo_xml *x, const char *data, size_t size);
repo_xml_event repo_xml_next(repo_xml *x);
void repo_xml_end(repo_xml *x);
bool repo_xml_is(const repo_xml *x, const char *name);
/* The text, "" when there is none; a NUL ends it. */
const char *repo_xml_text(const repo_xml *x);

#endif
