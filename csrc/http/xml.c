/*
** The XML of S3's answers.
*/
#include "http/xml.h"

#include <string.h>

void http_xml_begin(http_xml *x, const char *data, size_t size) {
  memset(x, 0, sizeof *x);
  x->data = data;
  x->size = size;
  if (size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0) x->at = 3;
}

void http_xml_end(http_xml *x) {
  buffer_free(&x->text);
}

bool http_xml_is(const http_xml *x, const char *name) {
  return strlen(name) == x->name.size &&
         memcmp(name, x->name.text, x->name.size) == 0;
}

const char *http_xml_text(const http_xml *x) {
  return x->text.size > 0 ? x->text.data : "";
}

/* ------------------------------------------------------------------
** Characters
** ---------------------------------------------------------------- */

static bool more(const http_xml *x) {
  return x->at < x->size;
}

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(http_xml *x) {
  while (more(x) && is_space(x->data[x->at])) x->at++;
}

static bool take(http_xml *x, const char *text) {
  size_t size = strlen(text);
  if (x->size - x->at < size || memcmp(x->data + x->at, text, size) != 0)
    return false;
  x->at += size;
  return true;
}

/* Skips until behind it. */
static bool skip_to(http_xml *x, const char *text) {
  const char *found =
      memmem(x->data + x->at, x->size - x->at, text, strlen(text));
  if (found == NULL) return false;
  x->at = (size_t)(found - x->data) + strlen(text);
  return true;
}

static bool is_name(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':')
    return true;
  return !first && ((c >= '0' && c <= '9') || c == '-' || c == '.');
}

static bool read_name(http_xml *x, http_xml_name *n) {
  n->text = x->data + x->at;
  n->size = 0;
  while (more(x) && is_name(x->data[x->at], n->size == 0)) {
    x->at++;
    n->size++;
  }
  return n->size > 0;
}

/* Characters that XML cannot say may not be said by reference either. */
static bool put_character(buffer *b, uint32_t c) {
  if (c < 0x20 ? c != '\t' && c != '\n' && c != '\r'
               : c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) || c == 0xFFFE ||
                     c == 0xFFFF)
    return false;
  text_put_utf8(b, c);
  return true;
}

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

static bool read_number(http_xml *x) {
  int base = take(x, "x") ? 16 : 10;
  uint32_t c = 0;
  size_t from = x->at;
  while (more(x) && digit(x->data[x->at]) < base) {
    c = c * (uint32_t)base + (uint32_t)digit(x->data[x->at++]);
    if (c > 0x10FFFF) return false;
  }
  return x->at > from && take(x, ";") && put_character(&x->text, c);
}

/* Behind its ampersand. */
static bool read_entity(http_xml *x) {
  static const struct {
    const char *name;
    char c;
  } entities[] = {{"lt;", '<'},
                  {"gt;", '>'},
                  {"amp;", '&'},
                  {"quot;", '"'},
                  {"apos;", '\''}};
  if (take(x, "#")) return read_number(x);
  for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++)
    if (take(x, entities[i].name)) {
      buffer_byte(&x->text, entities[i].c);
      return true;
    }
  return false;
}

/* Up to the next tag. Outside of the root there is only white space. */
static bool read_text(http_xml *x) {
  while (more(x) && x->data[x->at] != '<') {
    char c = x->data[x->at++];
    if (x->depth == 0) {
      if (!is_space(c)) return false;
    } else if (c == '&') {
      if (!read_entity(x)) return false;
    } else {
      if ((unsigned char)c < 0x20 && !is_space(c)) return false;
      buffer_byte(&x->text, c);
    }
    if (x->text.failed || x->text.size > HTTP_XML_TEXT) return false;
  }
  return true;
}

/* ------------------------------------------------------------------
** Tags
** ---------------------------------------------------------------- */

static bool skip_attributes(http_xml *x) {
  http_xml_name n;
  for (;;) {
    size_t before = x->at;
    skip_space(x);
    if (!more(x)) return false;
    if (x->data[x->at] == '>' || x->data[x->at] == '/') return true;
    if (x->at == before || !read_name(x, &n)) return false;
    skip_space(x);
    if (!take(x, "=")) return false;
    skip_space(x);
    if (!more(x)) return false;
    char quote = x->data[x->at++];
    if (quote != '"' && quote != '\'') return false;
    while (more(x) && x->data[x->at] != quote)
      if (x->data[x->at++] == '<') return false;
    if (!more(x)) return false;
    x->at++;
  }
}

static bool open_tag(http_xml *x) {
  if (x->depth == HTTP_XML_DEPTH || (x->depth == 0 && x->had_root) ||
      !read_name(x, &x->name) || !skip_attributes(x))
    return false;
  x->closes = take(x, "/");
  if (!take(x, ">")) return false;
  x->open[x->depth++] = x->name;
  x->had_root = true;
  buffer_clear(&x->text); /* it was its parent's */
  return true;
}

static bool close_tag(http_xml *x) {
  if (x->depth == 0 || !read_name(x, &x->name)) return false;
  skip_space(x);
  const http_xml_name *open = &x->open[x->depth - 1];
  if (!take(x, ">") || open->size != x->name.size ||
      memcmp(open->text, x->name.text, open->size) != 0)
    return false;
  x->depth--;
  return true;
}

/* Comments, and what begins a document. False: neither. */
static bool skip_other(http_xml *x, bool *skipped) {
  *skipped = true;
  if (take(x, "!--")) return skip_to(x, "-->");
  if (take(x, "?")) return x->depth == 0 && skip_to(x, "?>");
  *skipped = false;
  return true;
}

static http_xml_event bad(http_xml *x) {
  x->bad = true;
  x->name.size = 0;
  buffer_clear(&x->text);
  return HTTP_XML_BAD;
}

http_xml_event http_xml_next(http_xml *x) {
  bool skipped;
  if (x->bad) return HTTP_XML_BAD;
  buffer_clear(&x->text);
  if (x->closes) {
    x->closes = false;
    x->name = x->open[--x->depth];
    return HTTP_XML_CLOSE;
  }
  do {
    if (!read_text(x)) return bad(x);
    if (!more(x)) break;
    x->at++; /* the < */
    if (!skip_other(x, &skipped)) return bad(x);
  } while (skipped);
  if (!more(x))
    return x->depth == 0 && x->had_root && x->data[x->size - 1] != '<'
               ? HTTP_XML_END
               : bad(x);
  if (take(x, "/")) return close_tag(x) ? HTTP_XML_CLOSE : bad(x);
  return open_tag(x) ? HTTP_XML_OPEN : bad(x);
}
