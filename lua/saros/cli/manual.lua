---@private
-- The man page, made from the verbs' tables:
--   lua5.4 lua/saros/cli/manual.lua man

local help = require "saros.cli.help"
local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"

local manual = {}

-- ------------------------------------------------------------------
-- The page
-- ------------------------------------------------------------------

-- What roff would take for its own.
local function plain(text)
  text = text:gsub("\\", "\\e"):gsub("%-", "\\-")
  return (text:gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

local function add(lines, ...)
  for _, line in ipairs { ... } do lines[#lines + 1] = line end
end

-- Paragraphs; lines that begin with a space stay as they are.
local function paragraphs(lines, text)
  local literal = false
  for row in (text .. "\n"):gmatch "([^\n]*)\n" do
    local is = row:sub(1, 1) == " "
    if is ~= literal then
      add(lines, is and ".nf" or ".fi")
      literal = is
    end
    add(lines, row == "" and ".PP" or plain(row))
  end
  if literal then add(lines, ".fi") end
end

local function option_lines(lines, list)
  for _, option in ipairs(list) do
    local names = option[2] and ("\\fB\\-%s\\fR, "):format(option[2]) or ""
    names = names .. "\\fB" .. plain("--" .. option[1]) .. "\\fR"
    if option.value then names = names .. " \\fI" .. option.value .. "\\fR" end
    add(lines, ".TP", names, plain(help.meaning(option)))
  end
end

local function of_verb(lines, verb)
  add(lines, ".SS " .. plain("saros " .. verb.name .. " "
    .. (verb.usage or "[options]")))
  local summary = verb.summary or verbs.summary[verb.name]
  add(lines, plain(summary:sub(1, 1):upper() .. summary:sub(2) .. "."))
  if verb.help then
    add(lines, ".PP")
    paragraphs(lines, verb.help)
  end
  option_lines(lines, verb.options or {})
  for _, example in ipairs(verb.examples or {}) do
    add(lines, ".PP", ".nf", "    " .. plain(example[1]), ".fi",
      ".RS 8", plain(example[2]) .. (example[2]:find "[.?]$" and "" or "."),
      ".RE")
  end
end

--- saros(1), as roff.
function manual.page()
  local lines = { '.TH SAROS 1 "" "saros" "User commands"', ".SH NAME",
    "saros \\- shadow copies, backups of applications, and versions of files",
    ".SH SYNOPSIS", "\\fBsaros\\fR \\fIVERB\\fR …", ".SH DESCRIPTION" }
  paragraphs(lines, "Shadow copies of what is being written to, backups of "
    .. "them and of databases that hold still meanwhile, into repositories "
    .. "that restic reads, too; drills that prove that they can be restored.")
  add(lines, ".SH VERBS")
  for _, name in ipairs(verbs.names) do of_verb(lines, verbs.load(name)) end
  local shared = options.groups { filter = true, repository = true }
  for i = 2, #shared do
    add(lines, ".SH " .. plain("OPTIONS: " .. shared[i][1]:upper()))
    option_lines(lines, shared[i][2])
  end
  local topics = require "saros.cli.topics"
  add(lines, ".SH CONFIGURATION")
  paragraphs(lines, topics.configuration())
  add(lines, ".SH JSON")
  paragraphs(lines, topics.json())
  add(lines, ".SH EXIT STATUS")
  for _, code in ipairs(require "saros.cli.errors".codes) do
    add(lines, ".TP", tostring(code[1]), plain(code[2]) .. ".")
  end
  add(lines, ".SH SEE ALSO", "restic(1)")
  return table.concat(lines, "\n") .. "\n"
end

-- As a program of the Makefile.
if ... == "man" then io.write(manual.page()) end

return manual
