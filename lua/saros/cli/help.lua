---@private
-- What --help says, made from the verbs' tables.

local options = require "saros.cli.options"
local verbs = require "saros.cli.verbs"

local help = {}

local WIDTH <const> = 80

--- Lines of a text, wrapped; those that begin with a space stay as they are.
function help.wrap(text, indent, width)
  local lines, line = {}, nil
  local most = (width or WIDTH) - #indent
  local function done()
    if line then lines[#lines + 1] = indent .. line end
    line = nil
  end
  for row in (text .. "\n"):gmatch "([^\n]*)\n" do
    if row == "" or row:sub(1, 1) == " " then
      done()
      lines[#lines + 1] = row == "" and "" or indent .. row
    else
      for word in row:gmatch "%S+" do
        if line and utf8.len(line) + 1 + utf8.len(word) > most then done() end
        line = line and line .. " " .. word or word
      end
    end
  end
  done()
  while lines[#lines] == "" do lines[#lines] = nil end
  return lines
end

local function add(lines, more)
  table.move(more, 1, #more, #lines + 1, lines)
end

--- "-r, --repo LOCATION"
function help.names(option)
  local text = "--" .. option[1]
  text = option[2] and "-" .. option[2] .. ", " .. text or "    " .. text
  return option.value and text .. " " .. option.value or text
end

--- What an option is for, with all that is to be known.
function help.meaning(option)
  local text = option.help
  if option.choices then
    text = text .. ": " .. table.concat(option.choices, ", ")
  end
  if option.list and not text:find("several", 1, true) then
    text = text .. " (may be given several times)"
  end
  if option.env then text = text .. " [" .. option.env .. "]" end
  return text
end

local function of_options(lines, title, list)
  if #list == 0 then return end
  add(lines, { "", title .. ":" })
  for _, option in ipairs(list) do
    local names = "  " .. help.names(option)
    local text = help.wrap(help.meaning(option), (" "):rep(26))
    if #names <= 24 then
      text[1] = names .. text[1]:sub(#names + 1)
    else
      table.insert(text, 1, names)
    end
    add(lines, text)
  end
end

--- The help of a verb.
function help.of(verb)
  local usage = "saros " .. verb.name .. " " .. (verb.usage or "[options]")
  local lines = { "Usage: " .. usage, "" }
  local summary = verb.summary or verbs.summary[verb.name]
  add(lines, help.wrap(summary:sub(1, 1):upper() .. summary:sub(2) .. ".", ""))
  if verb.help then
    add(lines, { "" })
    add(lines, help.wrap(verb.help, ""))
  end
  if verb.examples and #verb.examples > 0 then
    add(lines, { "", "Examples:" })
    for _, example in ipairs(verb.examples) do
      add(lines, { "  " .. example[1] })
      add(lines, help.wrap(example[2], "      "))
    end
  end
  for _, group in ipairs(options.groups(verb)) do
    of_options(lines, group[1], group[2])
  end
  return table.concat(lines, "\n") .. "\n"
end

--- All verbs.
function help.all()
  local lines = { "Usage: saros VERB …", "",
    "Shadow copies, backups of applications, and versions in repositories that "
      .. "restic", "reads, too.", "", "Begin with:",
    "  saros backup /etc --repo /mnt/x",
    "  saros versions --repo /mnt/x", "  saros VERB --help" }
  for _, group in ipairs(verbs.groups) do
    add(lines, { "", group[1] .. ":" })
    for _, verb in ipairs(group[2]) do
      lines[#lines + 1] = ("  %-12s %s"):format(verb[1], verb[2])
    end
  end
  add(lines, { "", "Topics: saros help exit-codes, json, configuration" })
  return table.concat(lines, "\n") .. "\n"
end

--- What somebody sees who says nothing.
function help.short()
  return "saros: say what to do, such as\n"
    .. "  saros backup /etc --repo /mnt/x\n"
    .. "'saros help' lists all verbs\n"
end

return help
