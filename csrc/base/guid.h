/*
** GUIDs, version 4, as text "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx".
*/
#ifndef SAROS_BASE_GUID_H
#define SAROS_BASE_GUID_H

#include <stdbool.h>
#include <stdint.h>

#define GUID_TEXT 37 /* with the NUL */

typedef struct guid {
  uint8_t bytes[16]; /* in the order of the text */
} guid;

/* From getrandom(2); false only when the kernel has none. */
bool guid_make(guid *g);
/* Lower case. */
void guid_format(const guid *g, char text[GUID_TEXT]);
/* Takes either case, with or without braces; nothing else around it. */
bool guid_parse(const char *text, guid *g);
bool guid_equal(const guid *a, const guid *b);
bool guid_is_null(const guid *g);

#endif
