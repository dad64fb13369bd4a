/*
** The one function table of this engine. csrc/lua puts its functions in.
*/
#ifndef SAROS_API_TABLE_H
#define SAROS_API_TABLE_H

#include "saros.h"

extern saros_api api_table;

#endif
