/*
** The XML of S3's answers, and no other: elements, text, the five entities and
** character references. No document type, so no entities of its own; bounded
** in depth and in the length of a text. The bytes may be hostile.
*/
#ifndef SAROS_HTTP_XML_H
#define SAROS_HTTP_XML_H

#include "base/base.h"

#define HTTP_XML_DEPTH 16
#define HTTP_XML_TEXT ((size_t)64 << 10)

typedef enum http_xml_event {
  HTTP_XML_OPEN,  /* name; depth counts it */
  HTTP_XML_CLOSE, /* name, and the text since its tag or its last child's */
  HTTP_XML_END,   /* of the document, which was well formed */
  HTTP_XML_BAD    /* it was not; and ever after */
} http_xml_event;

typedef struct http_xml_name {
  const char *text;
  size_t size;
} http_xml_name;

typedef struct http_xml {
  const char *data;
  size_t size, at;
  http_xml_name open[HTTP_XML_DEPTH], name;
  unsigned depth;
  buffer text;
  bool bad, had_root, closes; /* closes: "<a/>" was opened */
} http_xml;

void http_xml_begin(http_xml *x, const char *data, size_t size);
http_xml_event http_xml_next(http_xml *x);
void http_xml_end(http_xml *x);
bool http_xml_is(const http_xml *x, const char *name);
/* The text, "" when there is none; a NUL ends it. */
const char *http_xml_text(const http_xml *x);

/* What a server says of a request that it refused: <Error><Code>…, and nothing
   in it matters else. */
typedef struct http_problem {
  char name[64];     /* "SlowDown", or "" */
  char message[256]; /* for a person, escaped; or "" */
  char region[64];   /* where it should have been asked, or "" */
} http_problem;

/* All empty when it is no such document. */
void http_problem_read(http_problem *p, const char *body, size_t size);

#endif
