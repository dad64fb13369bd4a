/*
** guid: GUIDs as text and as bytes.
*/
#include "base/guid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>


bool guid_make(guid *g) {
  size_t have = 0;
  while (have < sizeof g->bytes) {
    ssize_t got = getrandom(g->bytes + have, sizeof g->bytes - have, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    have += (size_t)got;
  }
  g->bytes[6] = (uint8_t)((g->bytes[6] & 0x0F) | 0x40); /* version 4 */
  g->bytes[8] = (uint8_t)((g->bytes[8] & 0x3F) | 0x80); /* RFC 9562's */
  return true;
}


/* Whether a hyphen stands before this byte. */
static bool hyphen_before(size_t index) {
  return index == 4 || index == 6 || index == 8 || index == 10;
}


void guid_format(const guid *g, char text[GUID_TEXT]) {
  static const char digits[] = "0123456789abcdef";
  char *to = text;
  for (size_t i = 0; i < sizeof g->bytes; i++) {
    if (hyphen_before(i)) *to++ = '-';
    *to++ = digits[g->bytes[i] >> 4];
    *to++ = digits[g->bytes[i] & 15];
  }
  *to = '\0';
}


static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}


bool guid_parse(const char *text, guid *g) {
  if (text == NULL) return false;
  guid read;
  bool braces = *text == '{';
  if (braces) text++;
  for (size_t i = 0; i < sizeof read.bytes; i++) {
    if (hyphen_before(i) && *text++ != '-') return false;
    /* The first is looked at first: a short text ends here, at its NUL. */
    int high = digit(text[0]);
    int low = high < 0 ? -1 : digit(text[1]);
    if (low < 0) return false;
    read.bytes[i] = (uint8_t)(high << 4 | low);
    text += 2;
  }
  if (braces && *text++ != '}') return false;
  if (*text != '\0') return false;
  *g = read; /* only now: a text that is none leaves it alone */
  return true;
}


bool guid_equal(const guid *a, const guid *b) {
  return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}


bool guid_is_null(const guid *g) {
  static const guid null;
  return guid_equal(g, &null);
}
