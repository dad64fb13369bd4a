/*
** text: bytes that should be text, and text that stands for bytes. Declared
** in path.h, because names of files are what needs it.
*/
#include <string.h>

#include "base/path.h"

static bool is_tail(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}


size_t text_utf8(const char *data, size_t size) {
  const unsigned char *b = (const unsigned char *)data;
  if (size == 0) return 0;
  if (b[0] < 0x80) return 1;
  if (b[0] < 0xC2) return 0; /* a tail, or two bytes for what fits in one */
  if (b[0] < 0xE0) return size > 1 && is_tail(b[1]) ? 2 : 0;
  if (b[0] < 0xF0) {
    if (size < 3 || !is_tail(b[1]) || !is_tail(b[2])) return 0;
    if (b[0] == 0xE0 && b[1] < 0xA0) return 0; /* three bytes for two */
    if (b[0] == 0xED && b[1] > 0x9F) return 0; /* a surrogate */
    return 3;
  }
  if (b[0] > 0xF4 || size < 4) return 0;
  if (!is_tail(b[1]) || !is_tail(b[2]) || !is_tail(b[3])) return 0;
  if (b[0] == 0xF0 && b[1] < 0x90) return 0; /* four bytes for three */
  if (b[0] == 0xF4 && b[1] > 0x8F) return 0; /* over U+10FFFF */
  return 4;
}


void text_put_utf8(buffer *b, uint32_t c) {
  if (c < 0x80) {
    buffer_byte(b, (char)c);
    return;
  }
  if (c < 0x800) {
    buffer_byte(b, (char)(0xC0 | c >> 6));
  } else {
    if (c < 0x10000) {
      buffer_byte(b, (char)(0xE0 | c >> 12));
    } else {
      buffer_byte(b, (char)(0xF0 | c >> 18));
      buffer_byte(b, (char)(0x80 | (c >> 12 & 0x3F)));
    }
    buffer_byte(b, (char)(0x80 | (c >> 6 & 0x3F)));
  }
  buffer_byte(b, (char)(0x80 | (c & 0x3F)));
}


bool text_is_utf8(const char *data, size_t size) {
  while (size > 0) {
    size_t length = text_utf8(data, size);
    if (length == 0) return false;
    data += length;
    size -= length;
  }
  return true;
}


/* Whether the character may be shown as it is. */
static bool is_plain(const char *data, size_t length) {
  const unsigned char *b = (const unsigned char *)data;
  if (length == 1) return b[0] >= 0x20 && b[0] != 0x7F && b[0] != '\\';
  /* U+0080 to U+009F are C1: some terminals obey them. */
  return length > 0 && !(b[0] == 0xC2 && b[1] < 0xA0);
}


static void escape_byte(buffer *b, unsigned char byte) {
  switch (byte) {
    case '\n': buffer_text(b, "\\n"); break;
    case '\t': buffer_text(b, "\\t"); break;
    case '\\': buffer_text(b, "\\\\"); break;
    default: buffer_format(b, "\\x%02x", (unsigned)byte);
  }
}


void text_escape(buffer *b, const char *data, size_t size) {
  size_t plain = 0; /* bytes before `data` that are not yet put */
  while (size > 0) {
    size_t length = text_utf8(data, size);
    if (is_plain(data, length)) {
      plain += length;
    } else {
      buffer_put(b, data - plain, plain);
      plain = 0;
      if (length == 0) length = 1;
      for (size_t i = 0; i < length; i++)
        escape_byte(b, (unsigned char)data[i]);
    }
    data += length;
    size -= length;
  }
  buffer_put(b, data - plain, plain);
}


/* ------------------------------------------------------------------
** Base64 (RFC 4648, section 4)
** ---------------------------------------------------------------- */

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";


void text_base64(buffer *b, const void *data, size_t size) {
  const unsigned char *from = data;
  while (size > 0) {
    char *to = buffer_room(b, 4);
    if (to == NULL) return;
    size_t taken = size < 3 ? size : 3;
    unsigned second = size > 1 ? from[1] : 0;
    unsigned third = size > 2 ? from[2] : 0;
    to[0] = alphabet[from[0] >> 2];
    to[1] = alphabet[(from[0] & 3u) << 4 | second >> 4];
    to[2] = size > 1 ? alphabet[(second & 15u) << 2 | third >> 6] : '=';
    to[3] = size > 2 ? alphabet[third & 63u] : '=';
    to[4] = '\0';
    b->size += 4;
    from += taken;
    size -= taken;
  }
}


static int digit64(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}


/* Four characters, of which the last ones may be padding. The bytes in it, 0
   when it is wrong. Bits that stand for nothing must be zero: there is one
   way only to write some bytes. */
static size_t unbase64_four(const char *text, bool last, char bytes[3]) {
  int d[4];
  size_t count = 3;
  if (last && text[3] == '=') count = text[2] == '=' ? 1 : 2;
  for (size_t i = 0; i < 4; i++) {
    d[i] = i <= count ? digit64(text[i]) : 0;
    if (d[i] < 0) return 0;
  }
  if ((count == 1 && (d[1] & 15) != 0) || (count == 2 && (d[2] & 3) != 0))
    return 0;
  bytes[0] = (char)(d[0] << 2 | d[1] >> 4);
  bytes[1] = (char)((d[1] & 15) << 4 | d[2] >> 2);
  bytes[2] = (char)((d[2] & 3) << 6 | d[3]);
  return count;
}


bool text_unbase64(buffer *b, const char *text, size_t size) {
  size_t before = b->size;
  bool good = size % 4 == 0;
  for (size_t i = 0; i < size && good; i += 4) {
    char bytes[3];
    size_t count = unbase64_four(text + i, i + 4 == size, bytes);
    good = count > 0;
    buffer_put(b, bytes, count);
  }
  if (good && !b->failed) return true;
  b->size = before;
  if (b->data != NULL) b->data[before] = '\0';
  return false;
}
