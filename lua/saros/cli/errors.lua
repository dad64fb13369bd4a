---@private
-- What an error is to who called the program: a number, and some lines.

local shown = require "saros.text"

local errors = {}

--- The exit codes, as `saros help exit-codes` tells them.
errors.codes = {
  { 0, "all of it was done" },
  { 1, "it failed" },
  { 2, "wrong usage, or a mistake in the configuration" },
  { 3, "done in part: something could not be read or written, a check found "
    .. "damage, one of several targets failed" },
  { 4, "what was named is not there: no such version, file or workflow" },
  { 10, "there is no repository" },
  { 11, "the repository is locked by somebody else" },
  { 12, "the password is wrong" },
  { 13, "not permitted: another user, or root, may" },
  { 14, "a program or library that is needed is not installed" },
  { 130, "interrupted (Ctrl-C, SIGTERM), and undone" },
  { 141, "nobody reads the output any more" },
}

local by_name <const> = {
  E_INVALIDARG = 2, E_ACCESSDENIED = 13,
  SAROS_E_LOCKED = 11, SAROS_E_WRONG_PASSWORD = 12,
  ERROR_NOT_FOUND = 4, ERROR_FILE_NOT_FOUND = 4, ERROR_PATH_NOT_FOUND = 4,
  VSS_E_OBJECT_NOT_FOUND = 4, SAROS_E_DAMAGED = 3,
  SAROS_E_CANCELLED = 130, ERROR_CANCELLED = 130,
}

--- An end of the program that a verb has chosen: its code, and what is said.
---@class saros.cli.end
local End = { __name = "saros.cli.end",
  __tostring = function(self) return self.message or "" end }

--- Makes one. `extra` is what --json tells beside it.
function errors.ending(code, message, extra)
  return setmetatable({ exit = code, message = message, extra = extra }, End)
end

-- What a task raised, when that was no error object.
local function inner(err)
  if type(err) == "table" and getmetatable(err) ~= End
    and getmetatable(err.value) == End
  then
    return err.value
  end
  return err
end

--- Whether it says that there is no repository.
function errors.is_absent(err)
  return type(err) == "table" and err.name == "ERROR_FILE_NOT_FOUND"
    and tostring(err.message):find("no repository", 1, true) ~= nil
end

-- Of those whose name says too little.
local function special(err)
  if errors.is_absent(err) then return 10 end
  if err.name == "ERROR_FILE_NOT_FOUND"
    and tostring(err.message):find "^cannot start "
  then
    return 14
  end
end

local function named(err) return by_name[err.name] end

--- The exit code of an error.
function errors.exit_code(err)
  err = inner(err)
  if type(err) ~= "table" then return 1 end
  if err.exit then return err.exit end
  -- The first that says what kind it is.
  for _, kind_of in ipairs { special, named } do
    local e = err
    while e do
      if kind_of(e) then return kind_of(e) end
      e = type(e.cause) == "table" and e.cause or nil
    end
  end
  return 1
end

local LONGEST <const> = 4000 -- bytes of a line

-- What somebody has given may be as long as a command line.
local function short(line)
  if #line <= LONGEST then return line end
  return shown.lines(line:sub(1, LONGEST // 2)) .. " … "
    .. shown.lines(line:sub(-LONGEST // 4))
end

--- The lines of an error: what happened, then why.
function errors.lines(err)
  err = inner(err)
  if type(err) ~= "table" then return { short(shown.safe(err)) } end
  local lines, said = {}, {}
  local e = err
  while e and #lines < 8 do
    local safe = getmetatable(e) == End and shown.lines or shown.safe
    local text = short(safe(e.message or tostring(e)))
    local before = lines[#lines]
    if not said[text] and not (before and before:find(text, 1, true)) then
      lines[#lines + 1] = (#lines > 0 and "because: " or "") .. text
      said[text] = true
    end
    e = type(e.cause) == "table" and e.cause or nil
  end
  return lines
end

--- The same for a program.
function errors.record(err)
  err = inner(err)
  if type(err) ~= "table" then
    return { exit_code = 1, message = tostring(err) }
  end
  local record = { exit_code = errors.exit_code(err), name = err.name,
    code = err.code, message = err.message or tostring(err), path = err.path }
  for name, value in pairs(err.extra or {}) do record[name] = value end
  if type(err.cause) == "table" then record.cause = errors.record(err.cause) end
  return record
end

return errors
