-- Writes the reference as one page: what saros.annotations read, poured into
-- spec/docs/page.html.
local parse = require "saros.annotations"

local M = {}

local ids = {} -- name -> id of its place in the page


local function escape(s)
  return (s:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;",
    ['"'] = "&quot;" }))
end


local function link(name, label)
  if not ids[name] then return escape(label or name) end
  return ('<a href="#%s">%s</a>'):format(ids[name], escape(label or name))
end


-- ------------------------------------------------------------------
-- Text
-- ------------------------------------------------------------------

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local
  nil not or repeat return then true until while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

local function span(class, s)
  return ('<span class="%s">%s</span>'):format(class, escape(s))
end


local function long_bracket(s, at)
  local level = s:match("^%[(=*)%[", at)
  if not level then return end
  local _, last = s:find("]" .. level .. "]", at, true)
  return last or #s
end


local function short_string(s, at)
  local quote, i = s:sub(at, at), at + 1
  while i <= #s do
    local c = s:sub(i, i)
    if c == "\\" then
      i = i + 1
    elseif c == quote or c == "\n" then
      return i
    end
    i = i + 1
  end
  return #s
end


function M.highlight(s)
  local out, at = {}, 1
  while at <= #s do
    local stop, class
    if s:find("^%-%-", at) then
      stop = long_bracket(s, at + 2) or (s:find("\n", at, true) or #s + 1) - 1
      class = "c"
    elseif s:find("^[\"']", at) then
      stop, class = short_string(s, at), "s"
    elseif s:find("^%[=*%[", at) then
      stop, class = long_bracket(s, at), "s"
    elseif s:find("^%d", at) then
      stop, class = s:match("^0[xX]%x+()", at) or s:match("^[%d%.]+()", at), "n"
      stop = stop - 1
    else
      stop = (s:match("^[%a_][%w_]*()", at) or at + 1) - 1
      class = KEYWORDS[s:sub(at, stop)] and "w"
    end
    local part = s:sub(at, stop)
    table.insert(out, class and span(class, part) or escape(part))
    at = stop + 1
  end
  return table.concat(out)
end


-- `code`, **strong**, *emphasis* and [text](address). A name in `code` that
-- stands in this page leads there.
local function inline(s)
  local kept = {}
  local function keep(html)
    table.insert(kept, html)
    return "\1" .. #kept .. "\2"
  end
  s = s:gsub("`([^`]+)`", function(code)
    local name = code:gsub("%b()$", "")
    if not ids[name] then name = name:gsub(":", ".") end
    return keep("<code>" .. link(name, code) .. "</code>")
  end)
  s = s:gsub("%[([^%]]+)%]%((%a[^%s%)]*)%)", function(text, address)
    return keep(('<a href="%s"><u>%s</u></a>'):format(escape(address),
      escape(text)))
  end)
  s = escape(s)
  s = s:gsub("%*%*([^%*]+)%*%*", "<strong>%1</strong>")
  s = s:gsub("%f[%*%w]%*([^%*%s][^%*]-)%*%f[^%*%w]", "<em>%1</em>")
  s = s:gsub("\1(%d+)\2", function(i) return kept[tonumber(i)] end)
  return s
end


local function text(s)
  local out, paragraph, list, code = {}, {}, nil, nil
  local function flush()
    if #paragraph > 0 then
      local words = inline(table.concat(paragraph, "\n"))
      table.insert(out, "<p>" .. words .. "</p>")
      paragraph = {}
    end
    if list then
      for i, item in ipairs(list) do
        list[i] = "<li>" .. inline(item) .. "</li>"
      end
      table.insert(out, "<ul>" .. table.concat(list) .. "</ul>")
      list = nil
    end
  end
  for line in (s .. "\n"):gmatch "(.-)\n" do
    local item = line:match "^%s*[%-%*]%s+(.*)$"
    if line:find "^%s*```" then
      flush()
      if code then
        table.insert(out, "<pre><code>" .. M.highlight(table.concat(code, "\n"))
          .. "</code></pre>")
      end
      code = not code and {} or nil
    elseif code then
      table.insert(code, line)
    elseif line:find "^%s*$" then
      flush()
    elseif item then
      if #paragraph > 0 then flush() end
      list = list or {}
      table.insert(list, item)
    elseif list and line:find "^%s" then
      list[#list] = list[#list] .. "\n" .. line
    else
      if list then flush() end
      table.insert(paragraph, line)
    end
  end
  flush()
  return table.concat(out, "\n")
end


local function type_of(s)
  local linked = s:gsub("[%a_][%w_%.]*", function(name)
    return ids[name] and "\1" .. name .. "\2" or name
  end)
  linked = escape(linked):gsub("\1(.-)\2", function(name) return link(name) end)
  return '<code class="type">' .. linked .. "</code>"
end


-- ------------------------------------------------------------------
-- Functions and classes
-- ------------------------------------------------------------------

local function label(f)
  if f.method then return f.variable:lower() .. ":" .. f.name end
  return f.owner .. "." .. f.name
end


local function signature(f, anchor)
  local params, by_name = {}, {}
  for _, p in ipairs(f.params) do by_name[p.name] = p end
  for _, name in ipairs(f.args) do
    local p = by_name[name]
    table.insert(params, p and p.optional and "[" .. name .. "]" or name)
  end
  local returns = {}
  for _, r in ipairs(f.returns) do
    table.insert(returns, r.name and r.name ~= "..." and #f.returns > 1
      and escape(r.name) .. " " .. type_of(r.type) or type_of(r.type))
  end
  return ('<div class="sig">%s<b>%s</b>(%s)%s</div>'):format(
    anchor and ('<a class="anchor" href="#%s" aria-label="Link">#</a>')
      :format(anchor) or "",
    escape(label(f)), escape(table.concat(params, ", ")),
    #returns > 0 and " <i>→</i> " .. table.concat(returns, "<i>,</i> ") or "")
end


local function row(out, name, entry)
  table.insert(out, ("<dt>%s%s</dt><dd>%s%s</dd>"):format(escape(name),
    entry.optional and " <small>?</small>" or "", type_of(entry.type),
    inline(entry.text)))
end


local function render_function(f, out)
  local id = ids[f.owner .. "." .. f.name]
  table.insert(out, ('<article id="%s">'):format(id))
  table.insert(out, signature(f, id))
  for _, overload in ipairs(f.overloads) do
    local other = parse.read_function(overload)
    if other then
      other.name, other.owner = f.name, f.owner
      other.method, other.variable = f.method, f.variable
      table.insert(out, signature(other))
    end
  end
  table.insert(out, '<div class="body">')
  if f.deprecated then table.insert(out, '<p class="old">Deprecated.</p>') end
  table.insert(out, text(f.text))
  local explained = false
  for _, r in ipairs(f.returns) do explained = explained or r.text ~= "" end
  if #f.params > 0 or explained then
    table.insert(out, "<dl>")
    if #f.params > 0 then
      table.insert(out, '<div class="head">Takes</div>')
      for _, p in ipairs(f.params) do
        row(out, p.name, p)
      end
    end
    if explained then
      table.insert(out, '<div class="head">Gives</div>')
      for i, r in ipairs(f.returns) do
        row(out, r.name or tostring(i), r)
      end
    end
    table.insert(out, "</dl>")
  end
  table.insert(out, "</div></article>")
end


local function render_fields(class, out)
  local plain = {}
  for _, field in ipairs(class.fields) do
    if not class.as_function[field.name] then table.insert(plain, field) end
  end
  if #plain == 0 then return end
  table.insert(out, '<dl><div class="head">Fields</div>')
  for _, field in ipairs(plain) do
    row(out, field.name, field)
  end
  table.insert(out, "</dl>")
end


-- ------------------------------------------------------------------
-- The page
-- ------------------------------------------------------------------

local function sorted(map)
  local names = {}
  for name in pairs(map) do table.insert(names, name) end
  table.sort(names)
  return names
end


-- The module that a class or alias belongs to: the longest that its name begins
-- with, else the root.
local function home(docs, name, root)
  local best = root
  for module in pairs(docs.classes) do
    if docs.classes[module].module and #module > #best
      and name:sub(1, #module + 1) == module .. "." then
      best = module
    end
  end
  return best
end


local function give_ids(docs)
  for name, class in pairs(docs.classes) do
    ids[name] = name
    for _, f in ipairs(class.functions) do
      ids[name .. "." .. f.name] = name .. "." .. f.name
      if f.variable then
        local short = f.variable .. "." .. f.name
        ids[short] = ids[short] or name .. "." .. f.name
      end
    end
  end
  for name in pairs(docs.aliases) do ids[name] = name end
end


local function render_class(class, out, nav)
  table.insert(out, ('<h2 id="%s">%s%s</h2>'):format(class.name,
    escape(class.name), #class.parents > 0
      and " <small>a " .. link(class.parents[1]) .. "</small>" or ""))
  table.insert(out, text(class.text))
  render_fields(class, out)
  table.insert(nav, ('<li class="class"><a href="#%s" title="%s">%s</a></li>')
    :format(class.name, class.name, escape(class.name)))
  for _, f in ipairs(class.functions) do
    render_function(f, out)
    table.insert(nav, ('<li><a href="#%s.%s" title="%s.%s">%s</a></li>'):format(
      class.name, f.name, class.name, f.name, escape(label(f))))
  end
end


local function render_alias(alias, out, nav)
  table.insert(out, ('<h2 id="%s">%s <small>one of</small></h2>'):format(
    alias.name, escape(alias.name)))
  table.insert(out, text(alias.text))
  if alias.type ~= "" then
    table.insert(out, "<p>" .. type_of(alias.type) .. "</p>")
  end
  if #alias.values > 0 then
    table.insert(out, "<dl>")
    for _, value in ipairs(alias.values) do
      table.insert(out, ("<dt>%s</dt><dd>%s</dd>"):format(type_of(value.type),
        inline(value.text)))
    end
    table.insert(out, "</dl>")
  end
  table.insert(nav, ('<li class="class"><a href="#%s" title="%s">%s</a></li>')
    :format(alias.name, alias.name, escape(alias.name)))
end


function M.write(docs, root, path)
  give_ids(docs)
  local contents, out, count = {}, {}, 0

  local modules = {}
  for name, class in pairs(docs.classes) do
    if class.module and (class.text ~= "" or #class.functions > 0) then
      modules[name] = { classes = {}, aliases = {} }
    end
    count = count + #class.functions
  end
  modules[root] = modules[root] or { classes = {}, aliases = {} }
  for _, name in ipairs(sorted(docs.classes)) do
    if not docs.classes[name].module then
      local place = modules[home(docs, name, root)] or modules[root]
      table.insert(place.classes, docs.classes[name])
    end
  end
  for _, name in ipairs(sorted(docs.aliases)) do
    local place = modules[home(docs, name, root)] or modules[root]
    table.insert(place.aliases, docs.aliases[name])
  end

  for _, name in ipairs(sorted(modules)) do
    local class = docs.classes[name]
    local nav = {}
    table.insert(out, ('<section><h1 id="%s">%s</h1>'):format(name, name))
    if class then
      table.insert(out, text(class.text))
      render_fields(class, out)
      for _, f in ipairs(class.functions) do
        render_function(f, out)
        table.insert(nav, ('<li><a href="#%s.%s" title="%s.%s">%s</a></li>')
          :format(name, f.name, name, f.name, escape(f.name)))
      end
    end
    for _, inner in ipairs(modules[name].classes) do
      render_class(inner, out, nav)
    end
    for _, alias in ipairs(modules[name].aliases) do
      render_alias(alias, out, nav)
    end
    table.insert(out, "</section>")
    table.insert(contents, ('<details%s><summary><a href="#%s">%s</a></summary>'
      .. "<ul>%s</ul></details>"):format(name == root and " open" or "", name,
      name, table.concat(nav)))
  end

  local template = assert(io.open("spec/docs/page.html")):read "a"
  local values = { title = root .. ": the reference", name = root,
    nav = table.concat(contents, "\n"), main = table.concat(out, "\n"),
    count = ("%d functions, written from the annotations of the sources.")
      :format(count) }
  local page = template:gsub("{{(%w+)}}", values)
  local f = assert(io.open(path, "w"))
  assert(f:write(page))
  assert(f:close())
  return count
end


return M
