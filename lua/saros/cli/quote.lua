---@private
-- Commands that are told to a person, who copies them into a shell.

local quote = {}

--- A word as a shell takes it; what cannot be shown as it is stands in $'…'.
function quote.word(text)
  text = tostring(text)
  if text ~= "" and not text:find "[^%w_@%%+=:,./-]" then return text end
  local valid = utf8.len(text) and not text:find "[%c]"
    and require "saros.text".safe(text) == text
  if valid then return "'" .. text:gsub("'", "'\\''") .. "'" end
  return "$'" .. text:gsub("[\\']", "\\%0"):gsub("[^ -~]", function(c)
    return ("\\x%02x"):format(c:byte())
  end) .. "'"
end

--- A command.
function quote.command(...)
  local words = {}
  for i, word in ipairs { ... } do words[i] = quote.word(word) end
  return table.concat(words, " ")
end

return quote
