--- Recovery: an application, a component of one, or files come back from a
--- version, to where they were or somewhere else.
---
--- ```lua
--- local r = assert(wsb.recover { repository = repo, application = "sqlite" }:wait())
--- print(r)   -- what was laid where, and under which name what was there is kept
--- ```
---
--- Everything is made ready beside its place first. It comes to its place by
--- renames, all of it or nothing, and never while the application runs. What was
--- there is never deleted.

local core = require "saros.core"
local arguments = require "saros.arguments"
local between = require "saros.wsb.between"
local catalogue = require "saros.wsb.catalogue"
local exchange = require "saros.wsb.exchange"
local files = require "saros.wsb.files"
local kind = require "saros.writers.kind"
local lay = require "saros.wsb.lay"
local print_out = require "saros.wsb.print"
local some_files = require "saros.wsb.recover_files"

local fail, finish = files.fail, files.finish

local WHAT <const> = "wsb.recover"


-- ------------------------------------------------------------------
-- Which components
-- ------------------------------------------------------------------

local function is_application(c, name)
  local lower = name:lower()
  return c.writer.name == name or c.kind == name or c.writer.id == lower
    or c.writer.instance == lower
end

local function names_of(list)
  local names = {}
  for i, c in ipairs(list) do
    names[i] = ("%s %s (%s)"):format(c.writer.name, c.name, c.writer.instance)
  end
  return #names > 0 and table.concat(names, ", ") or "none"
end

local function choose(m, o)
  local list = {}
  for _, c in ipairs(m.components) do
    if (not o.application or is_application(c, o.application))
      and (not o.component or c.name == o.component)
    then
      list[#list + 1] = c
    end
  end
  if #list == 0 then
    fail("E_INVALIDARG", "version %s has no such component; it has: %s",
      m.id:sub(1, 8), names_of(m.components))
  end
  if o.component and #list > 1 then
    fail("E_INVALIDARG", "version %s has several components %s: %s; say whose "
      .. "by application = the instance", m.id:sub(1, 8), o.component,
      names_of(list))
  end
  return list
end

-- A component that is barred may still have files that somebody needs.
local function check_recoverable(list, o, r)
  for _, c in ipairs(list) do
    if not c.recoverable then
      local text = ("%s %s cannot be recovered from this version: %s")
        :format(c.writer.name, c.name, c.why or "?")
      if not o.force then
        fail("SAROS_E_REFUSED", "%s; another version may be whole, and `force` "
          .. "lays this one all the same", text)
      end
      r.warnings[#r.warnings + 1] = text
    end
  end
end


-- ------------------------------------------------------------------
-- Where to
-- ------------------------------------------------------------------

-- The place where it will lie: below `root`, where it was when that is "".
local function place_of(root, c)
  local place = { root = root, owner = { uid = 0, gid = 0 } }
  function place:at(path)
    if not files.is_path(path) then return nil end
    local here = self.root .. files.plain(path)
    return files.step("look", here) and here or nil
  end
  for _, path in ipairs(c.files) do
    local found = files.step("look", root .. path)
    if found then
      place.owner = { uid = found.uid, gid = found.gid }
      break
    end
  end
  return place
end

-- What processes have open: by its path, who. All of it at once: there is no
-- quicker way to ask for one.
local function open_files()
  local op = core.process { any_status = true, limit = 256 << 20,
    argv = { "sh", "-c", "find /proc/[0-9]*/fd -maxdepth 1 -type l -printf "
      .. "'%p\\0%l\\0' 2>/dev/null" } }
  local list = {}
  for link, path in finish(op).stdout:gmatch "([^\0]*)\0([^\0]*)\0" do
    if path:sub(1, 1) == "/" and not path:find("/.saros-recovery", 1, true) then
      list[path] = link:match "^/proc/(%d+)/"
    end
  end
  return list
end

-- Somebody has something of it open. `open` keeps what was found out for all
-- that are looked at.
local function opened(c, place, open)
  local there, own = {}, {}
  for _, path in ipairs(c.files) do
    local here = place:at(path)
    if here then there[#there + 1] = { here, path } end
  end
  if #there == 0 then return nil end
  local list = {}
  for i, one in ipairs(there) do list[i] = one[1] end
  local real = files.real(list)
  for _, one in ipairs(there) do own[real[one[1]]] = one[2] end
  open.list = open.list or open_files()
  for path, pid in pairs(open.list) do
    local at = path
    while not own[at] and at ~= "/" do at = files.parent(at) end
    if own[at] then
      return ("process %s has %s open"):format(pid, own[at])
    end
  end
end

local function busy(c, root, open)
  local k, err = kind.of(c.writer.id)
  if err then error(err, 0) end
  return (k and k.busy or opened)(c, place_of(root, c), open)
end

local function check_busy(list, root)
  local open = {}
  for _, c in ipairs(list) do
    local why = busy(c, root, open)
    if why then
      fail("SAROS_E_LOCKED", "%s %s is in use: %s. Nothing is laid over an "
        .. "application that runs: stop it, or have it stopped by pre_restore "
        .. "of a wsb.application", c.writer.name, c.name, tostring(why))
    end
  end
end

local function settle(list, root)
  for _, c in ipairs(list) do
    local k = kind.of(c.writer.id)
    if k and k.settle then
      local ok, err = k.settle(c, place_of(root, c))
      if not ok and err ~= nil then error(err, 0) end
    end
  end
end

-- Links that lead to what is recovered, too, lead to that, before they come
-- anywhere where somebody finds them: never to what runs.
local function turn_links(list, stage, root)
  if root == "" then return end
  local own = {}
  for _, c in ipairs(list) do
    for _, path in ipairs(c.files) do own[path] = true end
  end
  for _, c in ipairs(list) do
    for _, path in ipairs(files.outermost(c.files)) do
      local here = stage .. path
      local links = files.step("look", here) and files.run("find", here,
        "-type", "l", "-lname", "/*", "-printf", "%p\\0%l\\0") or ""
      for link, target in links:gmatch "([^\0]+)\0([^\0]+)\0" do
        target = files.plain(target)
        if files.is_path(target) and files.inside(target, own) then
          local seen = files.step("look", link)
          files.run("ln", "-sfn", "--", root .. target, link)
          files.run("chown", "-h", ("%d:%d"):format(seen.uid, seen.gid), "--",
            link)
        end
      end
    end
  end
end

-- Paths of a component, and what there was of them in the version.
local function tops_of(c)
  local absent, list = {}, {}
  for _, path in ipairs(c.absent or {}) do absent[path] = true end
  for i, path in ipairs(files.outermost(c.files)) do
    list[i] = { path = path, absent = absent[path] }
  end
  return list
end

-- What each is to be laid over; with "skip" a component stays as it is, if there
-- is anything of it.
local function targets_of(list, root, o, r)
  local chosen = {}
  for _, c in ipairs(list) do
    local targets, there = tops_of(c), false
    for _, t in ipairs(targets) do
      t.to = root .. t.path
      t.seen = files.step("look", t.to)
      there = there or t.seen and not t.absent
    end
    local skipped = o.overwrite == "skip" and there or nil
    if not skipped then chosen[#chosen + 1] = { c = c, targets = targets } end
    for _, t in ipairs(targets) do
      if not t.absent then
        local one = { path = t.path, to = t.to, skipped = skipped,
          component = c.name }
        t.told = one
        r.laid[#r.laid + 1] = one
      end
    end
  end
  return chosen
end


-- ------------------------------------------------------------------
-- The files
-- ------------------------------------------------------------------

local function is_ours(name)
  return name == "lost+found" or name:find "^%.saros%-" ~= nil
end

-- What something is mounted on cannot come to another name: what is in it does.
local function add_entries(x, from, t)
  local kept = t.to .. "/.saros-kept"
  while files.step("look", kept) do kept = kept .. "+" end
  local names, is = files.step("names", t.to), {}
  local old = false
  for _, name in ipairs(names) do old = old or not is_ours(name) end
  if old then
    x:make(kept)
    t.told.kept = kept
  end
  for _, name in ipairs(from and files.step("names", from) or {}) do
    is[name] = true
    x:add(from .. "/" .. name, t.to .. "/" .. name, kept .. "/" .. name)
  end
  for _, name in ipairs(names) do
    if not is[name] and not is_ours(name) then
      x:add(nil, t.to .. "/" .. name, kept .. "/" .. name)
    end
  end
end

local function add(x, one)
  for _, t in ipairs(one.targets) do
    local from = x.stage .. t.path
    local found = files.step("look", from)
    if not found and not t.absent then
      fail("SAROS_E_DAMAGED", "%s is not in the version, where it should be",
        t.path)
    end
    if t.seen and t.seen.mounted and t.seen.type == "dir" then
      add_entries(x, found and from, t)
    else
      x:add(found and from or nil, t.to)
      local item = x.items[#x.items]
      if item and item.to == t.to and item.kept then
        if t.told then
          t.told.kept = item.kept
        else
          -- What the version did not have, and would not go with the rest.
          x.more[#x.more + 1] = { path = t.path, to = t.to, kept = item.kept,
            gone = true }
        end
      end
    end
  end
end

-- The directory itself stayed: it gets the owner and mode of the one that it
-- stands for.
local function dress_mounted(x, one)
  for _, t in ipairs(one.targets) do
    local like = x.stage .. t.path
    if t.seen and t.seen.mounted and files.step("look", like) then
      files.run("chown", "--reference", like, "--", t.to)
      files.run("chmod", "--reference", like, "--", t.to)
    end
  end
end

local function places_of(chosen)
  local places = {}
  for _, one in ipairs(chosen) do
    for _, t in ipairs(one.targets) do
      places[#places + 1] = t.seen and t.seen.mounted and { inside = t.to }
        or t.to
    end
  end
  return places
end

local function replace(o, m, chosen, root, r)
  local list = {}
  for i, one in ipairs(chosen) do list[i] = one.c end
  local x <close> = exchange.begin(places_of(chosen), { version = m.id,
    began = os.date "!%Y-%m-%dT%H:%M:%SZ" })
  r.found, x.more = x.found, r.laid
  core.report { phase = "restore", done = 10, total = 100 }
  for _, one in ipairs(chosen) do lay(o.repository, m, one.c, x.stage) end
  turn_links(list, x.stage, root)
  for _, one in ipairs(chosen) do add(x, one) end
  x:dress(root)
  core.report { phase = "exchange", done = 90, total = 100 }
  check_busy(list, root)
  local ok, err = pcall(function()
    x:swap()
    for _, one in ipairs(chosen) do dress_mounted(x, one) end
    settle(list, root)
  end)
  if not ok then error(x:undone(err), 0) end
end


-- ------------------------------------------------------------------
-- The task
-- ------------------------------------------------------------------

-- Beside the first of its files, a directory with all of them.
local function copy_root(root, list)
  return exchange.free(root .. tops_of(list[1])[1].path, "copy")
end

local function recover_components(o, m, r)
  local list = choose(m, o)
  check_recoverable(list, o, r)
  list = finish(require "saros.wsb".order_components(list))
  local root = o.target and files.plain(o.target) or ""
  if root == "/" then root = "" end
  if o.overwrite == "copy" then root = copy_root(root, list) end
  r.root = root ~= "" and root or nil
  local chosen = targets_of(list, root, o, r)
  if o.dry_run then
    for i, c in ipairs(list) do
      local why = busy(c, root, {})
      if why then
        r.warnings[#r.warnings + 1] = ("%s %s is in use now: %s"):format(
          list[i].writer.name, c.name, tostring(why))
      end
    end
    return
  end
  if #chosen == 0 then return end
  list = {}
  for i, one in ipairs(chosen) do list[i] = one.c end
  local function work()
    check_busy(list, root)
    replace(o, m, chosen, root, r)
  end
  -- Somewhere else, nobody has to stop.
  if root ~= "" then return work() end
  between(m, list, o, r, work)
end

local function recover(o)
  local m = catalogue.read(o.repository, o.version or "latest",
    o.host and { host = o.host } or nil)
  local r = { version = m.id, guid = m.guid, laid = {}, found = {},
    warnings = {}, dry_run = o.dry_run or false }
  if o.files then
    some_files(o, m, r, check_busy)
  else
    recover_components(o, m, r)
  end
  return print_out.recovered(r)
end

local kinds <const> = { repository = "userdata", version = "string",
  host = "string", application = "string", component = "string",
  files = "list", target = "string", writers = "table",
  timeouts = "table", state_dir = "string",
  overwrite = { "overwrite", "copy", "skip" }, no_roll_forward = "boolean",
  dry_run = "boolean", force = "boolean", name = "string" }

---@class saros.wsb.recover.options
---@field repository saros.repository.handle
---@field version? string "latest" (the default), an id or its beginning, or a guid
---@field host? string what "latest" means: only this host's
---@field application? string all its components: the name of a writer or of a kind, or a GUID
---@field component? string this one alone; with `application`, of that one
---@field files? string|string[] instead of components: these, with what is in them; where a link of the version is on the way, what it leads to
---@field target? string a directory to have it below, instead of where it was
---@field overwrite? "overwrite"|"copy"|"skip" what is there is kept aside (the default); or stays, and the copy lies beside it; or stays, and nothing is laid there
---@field no_roll_forward? boolean to this point in time: what the hooks are told
---@field writers? saros.vss.choice those without which it fails, and those that are not told
---@field timeouts? table of the session of vss
---@field state_dir? string of the session of vss
---@field dry_run? boolean only say what would be done
---@field force? boolean also a component that is barred
---@field name? string of the operation

--- Recovers an application, a component, or files. Components come back in the
--- order that their applications want, between `pre_restore` and `post_restore`
--- of these, and of the writers that run; whatever happens, who was told the
--- first is told the second. One that says no before ends it, and nothing is laid;
--- an application that fails afterwards fails it, what a writer does is told in
--- the result. Of what is laid elsewhere, and of files, nobody is told: nobody has
--- to let go of anything. What runs there refuses it.
---@param options saros.wsb.recover.options
---@return saros.operation op its result: `{ version, laid = { { path, to, kept } }, writers, found, warnings }`
local function start(options)
  local o = arguments.check(WHAT, options, kinds)
  arguments.need(WHAT, o, "repository", "an open one", 3)
  if o.files and (o.application or o.component) then
    error(WHAT .. ": files, or an application and its component, not both", 2)
  elseif not (o.files or o.application or o.component) then
    error(WHAT .. ": say what to recover: application = \"postgres\", "
      .. "component = \"15-main\" or files = { \"/etc/fstab\" }", 2)
  end
  if o.target and not files.is_path(o.target) then
    error(WHAT .. ": option 'target': an absolute path expected", 2)
  end
  for i, path in ipairs(o.files or {}) do
    if not files.is_path(path) then
      error(("%s: option 'files'[%d]: an absolute path expected"):format(WHAT,
        i), 2)
    end
    o.files[i] = files.plain(path)
  end
  o.overwrite = o.overwrite or "overwrite"
  return core.spawn_as(WHAT, o.name, recover, o)
end

return start
