/*
** codes_tables: the tables behind codes.c, one a facade and one that all
** share. Private to base. Each is sorted by code, which a test proves.
*/
#ifndef SAROS_BASE_CODES_TABLES_H
#define SAROS_BASE_CODES_TABLES_H

#include "base/codes.h"

typedef struct code_table {
  const code_entry *entries;
  size_t count;
} code_table;

#define CODE_TABLE(array) \
  { array, sizeof(array) / sizeof((array)[0]) }

extern const code_table code_table_common;
extern const code_table code_table_saros;
extern const code_table code_table_vss;
extern const code_table code_table_wsb;
extern const code_table code_table_vds;
extern const code_table code_table_bits;

#endif
