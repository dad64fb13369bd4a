/*
** Result codes: 32 bits, as the four original services have them, plus the
** vocabulary `saros`. Names are looked up per facade, because VSS and VDS
** gave the same numbers to different things (0x80042400 to 0x80042417).
*/
#ifndef SAROS_BASE_CODES_H
#define SAROS_BASE_CODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "saros.h" /* saros_facade, and the codes that embedders need */

typedef struct code_entry {
  uint32_t code;
  const char *name; /* "VSS_E_BAD_STATE" */
  const char *text; /* one sentence for a person, or NULL */
  uint8_t retryable;
} code_entry;

/* The entry of a code as this facade names it; falls back to the codes that
   all share (S_OK, E_INVALIDARG, Win32 errors, HTTP). NULL when unknown. */
const code_entry *code_find(saros_facade facade, uint32_t code);
/* The name, never NULL: an unknown code is "0x8004XXXX" in a buffer of the
   caller's of at least 11 bytes. */
const char *code_name(saros_facade facade, uint32_t code, char buf[11]);
/* The number of a name, in any facade. */
bool code_value(const char *name, uint32_t *code);
/* Walks every entry of a facade's own table: NULL ends it. */
const code_entry *code_at(saros_facade facade, size_t index);

/* HRESULT_FROM_WIN32 of an errno. 0 stays 0. */
uint32_t code_of_errno(int error);
/* The Win32 error of an errno (ENOSPC: 112), 31 when there is none. */
uint32_t code_win32_of_errno(int error);
#define code_of_win32(win32) \
  ((win32) == 0 ? 0u : (0x80070000u | ((uint32_t)(win32)&0xFFFFu)))

/* Bit 31. Not a test for "ended": see the vocabularies. */
#define code_failed(code) (((code)&0x80000000u) != 0)

#endif
