/*
** codes: looking result codes up, by number and by name.
*/
#include "base/codes.h"

#include <stdio.h>
#include <string.h>

#include "base/codes_tables.h"

static const code_table *const tables[SAROS_FACADES] = {
    [SAROS_FACADE_SAROS] = &code_table_saros,
    [SAROS_FACADE_VSS] = &code_table_vss,
    [SAROS_FACADE_WSB] = &code_table_wsb,
    [SAROS_FACADE_VDS] = &code_table_vds,
    [SAROS_FACADE_BITS] = &code_table_bits,
};

/* Second names. A number is printed under its first one. */
static const struct {
  const char *name;
  uint32_t code;
} aliases[] = {
    {"SAROS_S_OK", SAROS_S_OK},
    {"SAROS_S_FALSE", SAROS_S_FALSE},
    {"SAROS_E_NOTIMPL", SAROS_E_NOTIMPL},
    {"SAROS_E_FAIL", SAROS_E_FAIL},
    {"SAROS_E_UNEXPECTED", SAROS_E_UNEXPECTED},
    {"SAROS_E_ACCESSDENIED", SAROS_E_ACCESSDENIED},
    {"SAROS_E_OUTOFMEMORY", SAROS_E_OUTOFMEMORY},
    {"SAROS_E_INVALIDARG", SAROS_E_INVALIDARG},
    {"ERROR_ACCESS_DENIED", SAROS_E_ACCESSDENIED},
    {"ERROR_OUTOFMEMORY", SAROS_E_OUTOFMEMORY},
    {"ERROR_INVALID_PARAMETER", SAROS_E_INVALIDARG},
    /* As codes these two are S_FALSE and nothing at all. */
    {"QM_STATUS_FILE_COMPLETE", 0x1u},
    {"QM_STATUS_FILE_INCOMPLETE", 0x2u},
};


/* SAROS_FACADES stands for the table that all share. */
static const code_table *table_of(saros_facade facade) {
  /* Through unsigned: whether an enum has negative values is the compiler's
     affair, and embedders hand in what they like. */
  unsigned index = (unsigned)facade;
  if (index < SAROS_FACADES) return tables[index];
  return index == SAROS_FACADES ? &code_table_common : NULL;
}


static const code_entry *find(const code_table *table, uint32_t code) {
  size_t low = 0, high = table->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const code_entry *entry = &table->entries[middle];
    if (entry->code == code) return entry;
    if (entry->code < code)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}


/* 0x25A5xxxx and 0xA5A5xxxx are nobody else's, so each facade may answer them:
   that it is locked, closed, forked. */
static bool is_ours(uint32_t code) {
  return (code & 0x7FFF0000u) == 0x25A50000u;
}


const code_entry *code_find(saros_facade facade, uint32_t code) {
  const code_table *table = table_of(facade);
  const code_entry *entry = table != NULL ? find(table, code) : NULL;
  if (entry == NULL) entry = find(&code_table_common, code);
  return entry != NULL || !is_ours(code) ? entry
                                         : find(&code_table_saros, code);
}


const char *code_name(saros_facade facade, uint32_t code, char buf[11]) {
  const code_entry *entry = code_find(facade, code);
  if (entry != NULL) return entry->name;
  snprintf(buf, 11, "0x%08X", (unsigned)code);
  return buf;
}


static const code_entry *find_name(const code_table *table, const char *name) {
  for (size_t i = 0; i < table->count; i++)
    if (strcmp(table->entries[i].name, name) == 0) return &table->entries[i];
  return NULL;
}


bool code_value(const char *name, uint32_t *code) {
  if (name == NULL) return false;
  for (unsigned facade = 0; facade <= SAROS_FACADES; facade++) {
    const code_entry *entry = find_name(table_of((saros_facade)facade), name);
    if (entry == NULL) continue;
    *code = entry->code;
    return true;
  }
  for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
    if (strcmp(aliases[i].name, name) != 0) continue;
    *code = aliases[i].code;
    return true;
  }
  return false;
}


const code_entry *code_at(saros_facade facade, size_t index) {
  const code_table *table = table_of(facade);
  if (table == NULL || index >= table->count) return NULL;
  return &table->entries[index];
}
