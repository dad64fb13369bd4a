---@private
-- Bytes of a terminal as keys.

local keys = {}

local finals <const> = { A = "up", B = "down", C = "right", D = "left",
  H = "home", F = "end", Z = "backtab" }
local numbers <const> = { ["1"] = "home", ["7"] = "home", ["4"] = "end",
  ["8"] = "end", ["3"] = "delete", ["200"] = "paste" }
local controls <const> = { ["\r"] = "enter", ["\n"] = "enter", ["\t"] = "tab",
  ["\b"] = "backspace", ["\x7F"] = "backspace" }

-- "\27[1;5C"
local function sequence(parameters, final)
  local first, modifier = parameters:match "^(%d*);?(%d*)"
  local name = final == "~" and numbers[first] or finals[final]
  if not name then return "nothing" end
  local moved = tonumber(modifier)
  if moved and moved > 1 and (name == "left" or name == "right") then
    return "word-" .. name
  end
  return name
end

-- How many bytes a character has that begins so.
local function length_of(lead)
  return lead < 0xC2 and 1 or lead < 0xE0 and 2 or lead < 0xF0 and 3
    or lead < 0xF5 and 4 or 1
end

--- The first key: its name, or nil and a text that was typed; and the bytes
--- behind it. Nothing: more bytes have to come. An escape that nothing follows
--- is the key of that name when `alone`.
---@param bytes string
---@param alone boolean
---@return string? name
---@return string? text
---@return string? rest
function keys.take(bytes, alone)
  local c = bytes:sub(1, 1)
  if c == "" then return nil end
  if c == "\27" then
    local parameters, final, at = bytes:match "^\27%[([0-?]*)[ -/]*([@-~])()"
    if not parameters then
      parameters, final, at = "", bytes:match "^\27O([@-~])()"
    end
    if final then return sequence(parameters, final), nil, bytes:sub(at) end
    if bytes == "\27" or bytes:find "^\27[%[O]" then
      if not alone then return nil end
      return "escape", nil, bytes:sub(2)
    end
    local name, text, rest = keys.take(bytes:sub(2), alone)
    if not rest then return nil end
    return "M-" .. (name or text), nil, rest
  end
  if controls[c] then return controls[c], nil, bytes:sub(2) end
  if c < " " then
    return "C-" .. string.char(c:byte() + 96), nil, bytes:sub(2)
  end
  -- What was typed together is put in together.
  local plain = bytes:match "^[ -~]+"
  if plain then return nil, plain, bytes:sub(#plain + 1) end
  local size = length_of(c:byte())
  if #bytes < size and not alone then return nil end
  return nil, bytes:sub(1, size), bytes:sub(size + 1)
end

--- What was pasted: the text, and the bytes behind it; nil while it goes on.
--- Nothing but lines and tabs is taken of what is no text.
---@param bytes string
---@return string? text
---@return string? rest
function keys.pasted(bytes)
  local first, last = bytes:find("\27[201~", 1, true)
  if not first then return nil end
  local text = bytes:sub(1, first - 1):gsub("\r\n?", "\n")
  text = text:gsub("[\0-\8\11-\31\127]", "")
  return text, bytes:sub(last + 1)
end

return keys
