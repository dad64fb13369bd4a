--- How the specs of the report read a page: strictly, so that whatever a browser
--- would mend is a mistake.

local shared = {}

local void <const> = { meta = true, br = true, link = true, path = true,
  circle = true, img = true, rect = true }

--- Walks all tags of a page and fails where they do not nest, an attribute has
--- no quotes, or a name is no name of HTML. Returns the elements: { tag,
--- attributes, text }.
function shared.elements(page)
  assert(utf8.len(page), "it is no UTF-8")
  local list, open, at = {}, {}, 1
  page = page:gsub("^<!DOCTYPE html>\n", "")
  while true do
    local first, last, slash, tag, rest =
      page:find("<(/?)(%a[%w]*)([^<>]*)>", at)
    local before = page:sub(at, (first or 0) - 1)
    assert(not before:find "[<>]", "loose: " .. before:sub(1, 200))
    for _, e in ipairs(open) do e.text = e.text .. before end
    if not first then break end
    at = last + 1
    if slash == "/" then
      local top = table.remove(open)
      assert(top and top.tag == tag, ("</%s> closes <%s>"):format(tag,
        top and top.tag or "nothing"))
    else
      local e = { tag = tag, text = "", attributes = {}, above = open[#open] }
      local left = rest:gsub('%s+([%w:-]+)="([^"]*)"', function(name, value)
        assert(not e.attributes[name], name .. " twice")
        e.attributes[name] = value
        return ""
      end):gsub("%s+([%w-]+)", function(name)
        e.attributes[name] = ""
        return ""
      end)
      assert(left == "" or left == "/", ("<%s%s>"):format(tag, rest))
      list[#list + 1] = e
      if tag == "script" or tag == "style" then
        local stop = assert(page:find("</" .. tag .. ">", at, true))
        e.text = page:sub(at, stop - 1)
        at = stop + #tag + 3
      elseif left ~= "/" and not void[tag] then
        open[#open + 1] = e
      end
    end
  end
  assert(#open == 0, "not closed: " .. (open[1] and open[1].tag or ""))
  return list
end

--- Those with this tag, and a class if that is given.
function shared.all(list, tag, class)
  local found = {}
  for _, e in ipairs(list) do
    local has = " " .. (e.attributes.class or "") .. " "
    if e.tag == tag and (not class or has:find(" " .. class .. " ", 1, true)) then
      found[#found + 1] = e
    end
  end
  return found
end

--- What has to hold of every page, whatever is in the records.
function shared.check(page)
  local list = shared.elements(page)
  local ids = {}
  for _, e in ipairs(list) do
    local id = e.attributes.id
    assert(not id or not ids[id], "an id twice: " .. tostring(id))
    if id then ids[id] = e end
    for name, value in pairs(e.attributes) do
      assert(not name:find "^on", name .. " is code")
      assert(name ~= "style", "a style that the policy forbids")
      assert(name ~= "src" and (name ~= "href" or value:sub(1, 1) == "#"),
        ("%s=%q leads out of the page"):format(name, value))
    end
  end
  for _, a in ipairs(shared.all(list, "a")) do
    local to = a.attributes.href
    assert(not to or ids[to:sub(2)], "nothing is called " .. tostring(to))
  end
  for _, t in ipairs(shared.all(list, "table")) do
    local captions, heads = 0, 0
    for _, e in ipairs(list) do
      if e.tag == "caption" and e.above == t then captions = captions + 1 end
      if e.tag == "th" then
        assert(e.attributes.scope == "col" or e.attributes.scope == "row")
        heads = heads + 1
      end
    end
    assert(captions == 1 and heads > 0, "a table without a caption")
  end
  local scripts = shared.all(list, "script")
  assert(#scripts == 2, #scripts .. " scripts")
  assert(scripts[1].attributes.type == "application/json")
  local policy = page:match 'http%-equiv="Content%-Security%-Policy" content="([^"]*)"'
  local nonce = assert(policy:match "script%-src 'nonce%-(%x+)'")
  assert(policy:find("default-src 'none'", 1, true))
  assert(scripts[2].attributes.nonce == nonce)
  assert(not scripts[1].text:find "[<>&]")
  return list, ids, nonce
end

return shared
