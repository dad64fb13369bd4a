/*
** The document in which S3 says what it did not like.
*/
#include <stdio.h>
#include <string.h>

#include "http/xml.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* A child of the root. */
static void take(http_problem *p, const http_xml *x) {
  const char *text = http_xml_text(x);
  if (http_xml_is(x, "Code")) {
    if (strlen(text) < sizeof p->name &&
        strspn(text, LETTERS "0123456789._") == strlen(text))
      snprintf(p->name, sizeof p->name, "%s", text);
  } else if (http_xml_is(x, "Message")) {
    buffer b = BUFFER_EMPTY;
    text_escape(&b, text, strnlen(text, 200));
    snprintf(p->message, sizeof p->message, "%.250s",
             b.data != NULL && !b.failed ? b.data : "");
    buffer_free(&b);
  } else if (http_xml_is(x, "Region")) {
    snprintf(p->region, sizeof p->region, "%.63s", text);
  }
}

void http_problem_read(http_problem *p, const char *body, size_t size) {
  http_xml x;
  http_xml_event event;
  bool is_error = false;
  memset(p, 0, sizeof *p);
  if (size == 0) return;
  http_xml_begin(&x, body, size);
  while ((event = http_xml_next(&x)) != HTTP_XML_END && event != HTTP_XML_BAD) {
    if (event == HTTP_XML_OPEN && x.depth == 1)
      is_error = http_xml_is(&x, "Error");
    if (event == HTTP_XML_CLOSE && x.depth == 1 && is_error) take(p, &x);
  }
  http_xml_end(&x);
}
