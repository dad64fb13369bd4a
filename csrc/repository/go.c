/*
** go: text as encoding/json and strconv of Go 1.19 write it, which is what
** the restic of Debian 12 was built with. (Go 1.22 writes \b and \f where 1.19
** writes \u0008 and \u000c: both read the same.)
*/
#include "repository/go.h"

#include <string.h>

static const char hex[] = "0123456789abcdef";


/* ------------------------------------------------------------------
** Characters
** ---------------------------------------------------------------- */

/* What a UTF-8 character of `length` bytes means. */
static uint32_t decode(const char *text, size_t length) {
  const unsigned char *b = (const unsigned char *)text;
  if (length == 1) return b[0];
  uint32_t c = b[0] & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; i++) c = c << 6 | (b[i] & 0x3Fu);
  return c;
}

static void encode(buffer *b, uint32_t c) {
  if (c < 0x80) {
    buffer_byte(b, (char)c);
  } else if (c < 0x800) {
    buffer_byte(b, (char)(0xC0 | c >> 6));
    buffer_byte(b, (char)(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    buffer_byte(b, (char)(0xE0 | c >> 12));
    buffer_byte(b, (char)(0x80 | (c >> 6 & 0x3F)));
    buffer_byte(b, (char)(0x80 | (c & 0x3F)));
  } else {
    buffer_byte(b, (char)(0xF0 | c >> 18));
    buffer_byte(b, (char)(0x80 | (c >> 12 & 0x3F)));
    buffer_byte(b, (char)(0x80 | (c >> 6 & 0x3F)));
    buffer_byte(b, (char)(0x80 | (c & 0x3F)));
  }
}

/* A prefix, and so many hex digits. */
static void put_hex(buffer *b, const char *prefix, uint32_t c, int digits) {
  buffer_text(b, prefix);
  while (digits-- > 0) buffer_byte(b, hex[c >> (4 * digits) & 15]);
}

/* Whether JSON and Go's quotes both leave it alone. */
static bool is_plain(unsigned char c) {
  return c >= ' ' && c < 0x7F && c != '"' && c != '\\' && c != '<' &&
         c != '>' && c != '&';
}

static size_t plain_length(const char *text, size_t size) {
  size_t n = 0;
  while (n < size && is_plain((unsigned char)text[n])) n++;
  return n;
}


/* ------------------------------------------------------------------
** Writing strings
** ---------------------------------------------------------------- */

/* One character as encoding/json writes it, escaped as for HTML. */
static void put_json(buffer *b, const char *text, size_t length) {
  uint32_t c = decode(text, length);
  switch (c) {
    case '"': buffer_text(b, "\\\""); return;
    case '\\': buffer_text(b, "\\\\"); return;
    case '\n': buffer_text(b, "\\n"); return;
    case '\r': buffer_text(b, "\\r"); return;
    case '\t': buffer_text(b, "\\t"); return;
    case '<':
    case '>':
    case '&':
    case 0x2028:
    case 0x2029: put_hex(b, "\\u", c, 4); return;
    default: break;
  }
  if (c < ' ')
    put_hex(b, "\\u", c, 4);
  else
    buffer_put(b, text, length);
}

void repo_go_string(buffer *b, const char *text, size_t size) {
  buffer_byte(b, '"');
  while (size > 0) {
    size_t n = plain_length(text, size);
    if (n > 0) {
      buffer_put(b, text, n);
    } else if ((n = text_utf8(text, size)) > 0) {
      put_json(b, text, n);
    } else {
      buffer_text(b, "\\ufffd");
      n = 1;
    }
    text += n;
    size -= n;
  }
  buffer_byte(b, '"');
}


/* One character as strconv.Quote writes it, and then as JSON does: each of
   Quote's backslashes is two. */
static void put_quoted(buffer *b, const char *text, size_t length) {
  static const char letters[] = "abtnvfr"; /* from 7 to 13 */
  uint32_t c = decode(text, length);
  if (c == '"')
    buffer_text(b, "\\\\\\\"");
  else if (c == '\\')
    buffer_text(b, "\\\\\\\\");
  else if (repo_go_is_print(c))
    put_json(b, text, length);
  else if (c >= 7 && c <= 13)
    buffer_format(b, "\\\\%c", letters[c - 7]);
  else if (c < ' ' || c == 0x7F)
    put_hex(b, "\\\\x", c, 2);
  else if (c < 0x10000)
    put_hex(b, "\\\\u", c, 4);
  else
    put_hex(b, "\\\\U", c, 8);
}

void repo_go_name(buffer *b, const char *name, size_t size) {
  buffer_byte(b, '"');
  while (size > 0) {
    size_t n = plain_length(name, size);
    if (n > 0) {
      buffer_put(b, name, n);
    } else if ((n = text_utf8(name, size)) > 0) {
      put_quoted(b, name, n);
    } else {
      put_hex(b, "\\\\x", (unsigned char)*name, 2);
      n = 1;
    }
    name += n;
    size -= n;
  }
  buffer_byte(b, '"');
}


/* ------------------------------------------------------------------
** Reading what Quote wrote
** ---------------------------------------------------------------- */

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* `count` digits to a base. False: they are not all there. */
static bool number(const char *text, size_t size, size_t count, int base,
                   uint32_t *n) {
  if (size < count) return false;
  *n = 0;
  for (size_t i = 0; i < count; i++) {
    int d = digit(text[i]);
    if (d < 0 || d >= base) return false;
    *n = *n * (uint32_t)base + (uint32_t)d;
  }
  return true;
}

static bool is_character(uint32_t c) {
  return c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
}

/* What follows a backslash. How long it is; 0: it is none. */
static size_t unescape(buffer *b, const char *text, size_t size) {
  static const char letters[] = "abtnvfr";
  uint32_t c;
  if (size == 0) return 0;
  const char *letter = text[0] != '\0' ? strchr(letters, text[0]) : NULL;
  if (letter != NULL) {
    buffer_byte(b, (char)(7 + (letter - letters)));
    return 1;
  }
  size_t digits = text[0] == 'u' ? 4 : 8;
  switch (text[0]) {
    case '\\':
    case '"': buffer_byte(b, text[0]); return 1;
    case 'x':
      if (!number(text + 1, size - 1, 2, 16, &c)) return 0;
      buffer_byte(b, (char)c);
      return 3;
    case 'u':
    case 'U':
      if (!number(text + 1, size - 1, digits, 16, &c)) return 0;
      if (!is_character(c)) return 0;
      encode(b, c);
      return 1 + digits;
    default:
      if (!number(text, size, 3, 8, &c) || c > 255) return 0;
      buffer_byte(b, (char)c);
      return 3;
  }
}

bool repo_go_unquote(buffer *b, const char *text, size_t size) {
  while (size > 0) {
    size_t n = 0;
    while (n < size && text[n] != '\\' && text[n] != '"' && text[n] != '\n')
      n++;
    buffer_put(b, text, n);
    text += n;
    size -= n;
    if (size == 0) break;
    if (*text != '\\') return false;
    n = unescape(b, text + 1, size - 1);
    if (n == 0) return false;
    text += n + 1;
    size -= n + 1;
  }
  return true;
}


/* ------------------------------------------------------------------
** Modes
** ---------------------------------------------------------------- */

#define GO_DIRECTORY (1u << 31)
#define GO_SYMLINK (1u << 27)
#define GO_DEVICE (1u << 26)
#define GO_FIFO (1u << 25)
#define GO_SOCKET (1u << 24)
#define GO_SETUID (1u << 23)
#define GO_SETGID (1u << 22)
#define GO_CHARACTER (1u << 21)
#define GO_STICKY (1u << 20)
#define GO_IRREGULAR (1u << 19)

static const struct {
  uint32_t go, here;
} types[] = {
    {GO_DIRECTORY, 0040000},
    {GO_SYMLINK, 0120000},
    {GO_DEVICE, 0060000},
    {GO_DEVICE | GO_CHARACTER, 0020000},
    {GO_FIFO, 0010000},
    {GO_SOCKET, 0140000},
    {0, 0100000},
    {GO_IRREGULAR, 0},
};
#define TYPES (sizeof types / sizeof types[0])

uint32_t repo_go_mode(uint32_t st_mode) {
  uint32_t mode = st_mode & 0777;
  for (size_t i = 0; i < TYPES; i++)
    if ((st_mode & 0170000) == types[i].here) mode |= types[i].go;
  if (st_mode & 04000) mode |= GO_SETUID;
  if (st_mode & 02000) mode |= GO_SETGID;
  if (st_mode & 01000) mode |= GO_STICKY;
  return mode;
}

uint32_t repo_go_mode_read(uint32_t mode, bool *known) {
  const uint32_t others = 0777 | GO_SETUID | GO_SETGID | GO_STICKY;
  uint32_t here = mode & 0777;
  *known = false;
  for (size_t i = 0; i < TYPES; i++)
    if ((mode & ~others) == types[i].go) {
      here |= types[i].here;
      *known = true;
    }
  if (mode & GO_SETUID) here |= 04000;
  if (mode & GO_SETGID) here |= 02000;
  if (mode & GO_STICKY) here |= 01000;
  return here;
}
