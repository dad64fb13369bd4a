/*
** base: the ground floor. What every other room stands on: memory, result
** codes, errors, values, JSON, GUIDs, paths, the log, and the register of
** the devices saros writes to. It knows neither operations nor Lua, starts
** no thread, keeps no file open, and needs nothing but libc. Everything
** here may be called from any thread.
*/
#ifndef SAROS_BASE_H
#define SAROS_BASE_H

#include "base/buffer.h"
#include "base/codes.h"
#include "base/devices.h"
#include "base/error.h"
#include "base/guid.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/value.h"

#endif
