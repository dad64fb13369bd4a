---@private
-- What is laid where something was: it is made beside its place, comes there by
-- one rename, and what was there is kept under another name. All of it comes, or
-- none; what somebody died over is found and told.
--
-- In the directory of each place, or in one that it lies in, there is a claim
-- meanwhile, locked by a process that ends with this one: so two exclude each
-- other.

local core = require "saros.core"
local files = require "saros.wsb.files"
local format = require "saros.format"
local others = require "saros.wsb.others"
local surely = require "saros.surely"

local exchange = {}

local fail, finish = files.fail, files.finish

local NAME <const> = others.NAME

-- So many claims at most: each has a process that holds it.
local MOST <const> = 64

-- Waits for steps that cannot be cancelled, until it is known how they ended. A
-- cancel that came meanwhile is in `pending`.
local function take(self, steps)
  local result, err, cancelled = surely.wait(core.entries(steps))
  self.pending = cancelled or self.pending
  return result, err
end

-- The same of one step; raises why it failed.
local function must(self, ...)
  local ok, err = take(self, { { ... } })
  if not ok then error(err, 0) end
end

local function go_on(self)
  if self.pending then error(self.pending, 0) end
end

-- Ends with this process, however that is, and the lock with it.
local HOLD <const> = "echo held; exec sleep 2147483647"

local methods = {}
methods.__index = methods


-- ------------------------------------------------------------------
-- Claims
-- ------------------------------------------------------------------

local function stamp() return os.date "!%Y%m%dT%H%M%SZ" end

--- A name beside a path where nothing is.
function exchange.free(path, word)
  local base = files.base(path)
  if #base > 200 then base = base:sub(1, 200) end
  local first = ("%s/%s.saros-%s-%s"):format(path:match "^(.*)/", base, word,
    stamp())
  local name, n = first, 1
  while files.step("look", name) do
    n = n + 1
    name = ("%s-%d"):format(first, n)
  end
  return name
end

-- What became of each thing that a dead one was about to lay.
local function fates(left, claim)
  local journal = core.json_read(files.content(left .. "/journal.json") or "")
  local newer = format.newer("the journal of this recovery", journal,
    format.exchange)
  if newer then return { newer.message } end
  local list = {}
  for _, item in ipairs(type(journal) == "table" and journal.items or {}) do
    local now = files.is_path(item.to) and files.step("look", item.to)
    local was = type(item.was) == "string" and item.was
    local fate
    if was and now and now.id == was or not was and not now then
      fate = ("%s is what it was"):format(item.to)
    elseif was and item.kept and files.step("look", item.kept) then
      fate = ("%s was replaced; what was there: %s"):format(item.to, item.kept)
    elseif was and item.from then
      fate = ("%s was replaced; what was there: %s"):format(item.to,
        (item.from:gsub("^" .. claim:gsub("%p", "%%%0"),
          (left:gsub("%%", "%%%%")))))
    else
      fate = ("%s was laid where nothing was"):format(item.to)
    end
    list[#list + 1] = fate
  end
  return list
end

-- Who moves it holds its lock, and what is there is still what he has locked.
local ASIDE <const> = [[exec 9<"$1/lock" || exit 2
  flock -n 9 || exit 3
  test "$1/lock" -ef /proc/$$/fd/9 || exit 2
  mv -T -n -- "$1" "$2"]]

-- Somebody died here: what he left stays, under another name. false: he lives.
local function set_aside(self, claim)
  local left = exchange.free(claim, "left")
  local op <close> = core.process { any_status = true,
    argv = { "sh", "-c", ASIDE, "sh", claim, left } }
  local status = finish(op).status
  if status == 0 and files.step("look", left) then
    self.found[#self.found + 1] = { path = left, items = fates(left, claim) }
  end
  return status ~= 3
end

-- A directory of ours, locked before anybody finds it by its name.
local function claim(self, directory)
  local temporary = ("%s%s-%s"):format(directory, NAME, core.guid())
  local at = #self.claims + 1
  self.claims[at] = temporary
  must(self, "make", temporary)
  go_on(self)
  files.write(temporary .. "/lock", "")
  others.describe(temporary, self.places, self.about)
  local holder = core.process { stdout = "lines", argv = { "flock", "-n", "-F",
    temporary .. "/lock", "sh", "-c", HOLD } }
  self.holders[#self.holders + 1] = holder
  local next_line = holder:lines()
  if next_line() ~= "held" then
    local _, err = holder:wait()
    if err then error(err, 0) end
    fail("E_FAIL", "%s cannot be locked", temporary)
  end
  local name = directory .. NAME
  for _ = 1, 16 do
    local ok, err = take(self, { { "move", temporary, name } })
    if ok then self.claims[at] = name end
    go_on(self)
    if ok then return name end
    if not files.step("look", name) then error(err, 0) end
    if not set_aside(self, name) then others.refuse(name) end
  end
  fail("SAROS_E_LOCKED", "others recover in %s all the time", directory)
end

-- The directories above a path that are not there are made; they get the owner
-- of those in the version when the files are laid.
-- A link of somebody who could have put it there to have his files laid where he
-- may not is not followed.
local function make_way(self, directory)
  local list, links, at = {}, {}, ""
  for name in directory:gmatch "[^/]+" do
    at = at .. "/" .. name
    list[#list + 1] = { "follow", at }
    links[#links + 1] = { "look", at }
  end
  local me = files.step("follow", "/proc/self")
  for i, found in ipairs(files.steps(links)) do
    if found and found.type == "symlink" and found.uid ~= 0
      and not (me and found.uid == me.uid)
    then
      fail("SAROS_E_REFUSED", "%s is a link of user %d, who may have it lead "
        .. "anywhere; make it one of root's (chown -h), or name a target",
        links[i][2], found.uid)
    end
  end
  for i, found in ipairs(files.steps(list)) do
    if not found then
      self:make(list[i][2])
    elseif found.type ~= "dir" then
      fail("SAROS_E_REFUSED", "%s is a %s, where a directory was expected",
        list[i][2], found.type)
    end
  end
end

--- A directory that goes when it comes to nothing.
function methods:make(path)
  must(self, "make", path)
  self.made[#self.made + 1] = path
  go_on(self)
end

local function device(id) return id:match "^%d+:%d+" end

-- Each once, without those that lie in others on the same device.
local function outermost(list, devices)
  local kept, is = {}, {}
  table.sort(list)
  for _, directory in ipairs(list) do
    local at, inside = directory, is[directory]
    while not inside and at ~= "/" do
      at = files.parent(at)
      inside = is[at] and devices[at] == devices[directory]
    end
    if not inside then kept[#kept + 1], is[directory] = directory, true end
  end
  return kept
end

-- The devices of more directories.
local function look_at(list, devices)
  local looks = {}
  for i, directory in ipairs(list) do looks[i] = { "follow", directory } end
  for i, found in ipairs(files.steps(looks)) do
    devices[list[i]] = found and device(found.id) or "?"
  end
end

-- Where to claim what lies in these directories: there, or, when they are too
-- many, in those that these lie in, on the same device.
local function spots(list, devices)
  list = outermost(list, devices)
  while #list > MOST do
    local parents, depths, deepest = {}, {}, 0
    for i, directory in ipairs(list) do parents[i] = files.parent(directory) end
    look_at(parents, devices)
    for i, directory in ipairs(list) do
      local _, depth = directory:gsub("/[^/]+", "")
      depths[i] = devices[parents[i]] == devices[directory] and depth or 0
      deepest = math.max(deepest, depths[i])
    end
    for i in ipairs(deepest > 0 and list or {}) do
      if depths[i] == deepest then list[i] = parents[i] end
    end
    if deepest == 0 then
      fail("SAROS_E_REFUSED", "it lies in %d directories of as many file "
        .. "systems, %s among them: at most %d", #list, list[1], MOST)
    end
    list = outermost(list, devices)
  end
  return list
end

-- Each directory has its claim: in itself, or above it.
local function find_claims(self, list, claimed, devices)
  for _, directory in ipairs(list) do
    local at = directory
    while not (claimed[at] and devices[at] == devices[directory]) do
      at = files.parent(at)
    end
    self.by[directory] = claimed[at]
  end
end

-- The directory of a place.
local function directory_of(place)
  return type(place) == "table" and place.inside or files.parent(place)
end

-- The real paths of places; each is what it is itself, also when it is a link.
local function real_places(places, directories)
  local list, real = {}, files.real(directories)
  for i, place in ipairs(places) do
    local directory = real[directory_of(place)]
    list[i] = type(place) == "table" and directory
      or files.join(directory, "/" .. files.base(place))
  end
  return files.outermost(list)
end

-- Those of ours, by their real paths.
local function own_of(self)
  local own = {}
  for _, path in pairs(files.real(self.claims)) do own[path] = true end
  return own
end

local function claim_all(self, places)
  local list, is = {}, {}
  for _, place in ipairs(places) do
    local directory = directory_of(place)
    if not is[directory] then
      is[directory], list[#list + 1] = true, directory
    end
  end
  -- Before anything is made where somebody else is at work.
  self.places = real_places(places, list)
  others.check_above(self.places, {})
  for _, directory in ipairs(list) do make_way(self, directory) end
  self.places = real_places(places, list)
  local devices, claimed = {}, {}
  look_at(list, devices)
  for _, directory in ipairs(spots(list, devices)) do
    claimed[directory] = claim(self, directory == "/" and "" or directory)
  end
  find_claims(self, list, claimed, devices)
  local own = own_of(self)
  others.check_above(self.places, own)
  others.check_within(self.places, own)
end

--- Claims the directories of these places, and makes `stage`, an empty directory
--- on the file system of the first. Raises.
---@param places (string|{ inside: string })[] what is laid; inside: in a directory that stays
---@param about table plain: what it is for
function exchange.begin(places, about)
  local self = setmetatable({ claims = {}, holders = {}, made = {}, found = {},
    items = {}, done = {}, by = {}, about = about }, methods)
  local ok, err = pcall(function()
    claim_all(self, places)
    self.stage = self.claims[1] .. "/new"
    must(self, "make", self.stage)
    go_on(self)
  end)
  if ok then return self end
  self:close()
  error(err, 0)
end


-- ------------------------------------------------------------------
-- Items
-- ------------------------------------------------------------------

--- Something that comes to `to`: `from`, which lies in `stage`, or nothing, when
--- what is there shall only go. `kept`: what that is called then.
function methods:add(from, to, kept)
  local steps = { { "look", to }, { "follow", files.parent(to) },
    { "look", self.stage } }
  if from then steps[4] = { "look", from } end
  local seen = files.steps(steps)
  if not from and not seen[1] then return end
  if from and seen[2] and device(seen[2].id) ~= device(seen[3].id) then
    -- Another file system: a rename does not reach it.
    local near = ("%s/c%d"):format(self.by[files.parent(to)]
      or fail("E_FAIL", "%s is on a file system of its own", to),
      #self.items + 1)
    finish(core.copy { from = from, to = near })
    from = near
  end
  self.items[#self.items + 1] = { from = from, to = to,
    was = seen[1] and seen[1].id or nil,
    kept = seen[1] and (kept or exchange.free(to, "kept")) or nil }
end

local function one(self, item)
  local done = { item = item }
  if item.from and item.was then
    local ok, err = take(self, { { "exchange", item.from, item.to } })
    if ok then
      -- What was there lies where the new one was.
      done.undo = { { "exchange", item.from, item.to } }
      self.done[#self.done + 1] = done
      must(self, "move", item.from, item.kept)
      done.undo = { { "exchange", item.kept, item.to },
        { "move", item.kept, item.from } }
      return
    end
    -- Not every file system can do that.
    if err.errno ~= 22 and err.errno ~= 38 and err.errno ~= 95 then
      error(err, 0)
    end
  end
  if item.was then
    must(self, "move", item.to, item.kept)
    done.undo = { { "move", item.kept, item.to } }
    self.done[#self.done + 1] = done
  end
  if item.from then
    must(self, "move", item.from, item.to)
    done.undo = done.undo or {}
    table.insert(done.undo, 1, { "move", item.to, item.from })
    if not item.was then self.done[#self.done + 1] = done end
  end
end

--- Puts everything into its place. When that fails, or is cancelled, all is as it
--- was; when even that cannot be, the error says where things lie. Raises.
function methods:swap()
  local steps = { { "sync", self.stage } }
  for _, path in ipairs(self.claims) do
    steps[#steps + 1] = { "sync", path }
    files.write(path .. "/journal.json", core.json_write(format.stamp({
      about = self.about, items = self.items }, format.exchange), true))
  end
  files.steps(steps)
  for _, item in ipairs(self.items) do
    one(self, item)
    go_on(self)
  end
  files.steps(steps)
end

--- Puts back what was there; nil, text when something could not be.
function methods:undo()
  local wrong = {}
  for i = #self.done, 1, -1 do
    local done = self.done[i]
    local ok, err = take(self, done.undo)
    if not ok then
      self.stays = true
      wrong[#wrong + 1] = ("%s could not be put back (%s): it lies at %s")
        :format(done.item.to, err and err.message or "?", done.item.kept
          and files.step("look", done.item.kept) and done.item.kept
          or done.item.from or "?")
    end
  end
  self.done = {}
  if #wrong == 0 then return true end
  return nil, table.concat(wrong, "; ")
end

--- The same; an error with where things lie, when something could not be.
function methods:undone(err)
  local back, where = self:undo()
  if back then return err end
  local text = ("%s; %s"):format(type(err) == "table" and err.message
    or tostring(err), where)
  if type(err) == "table" and err.cancelled then
    warn("saros: wsb.recover: " .. text) -- nobody hears what is raised
  end
  local failure = core.failure("saros", 0x80004005, text)
  failure.cause = type(err) == "table" and err or nil
  return failure
end

--- Directories that were made on the way, like those in the version; `root`:
--- below which they are the same.
function methods:dress(root)
  for _, path in ipairs(self.made) do
    local like = self.stage .. path:sub(#root + 1)
    if #path <= #root then
      files.run("chmod", "755", "--", path)
    elseif files.step("look", like) then
      files.run("chown", "--reference", like, "--", path)
      files.run("chmod", "--reference", like, "--", path)
    end
  end
end

--- Takes away what it was made with, and lets go.
function methods:close()
  local kept = next(self.done) ~= nil
  -- What could not be put back may lie in there: the next one finds it.
  for _, path in ipairs(self.stays and {} or self.claims) do
    pcall(surely.remove, path)
  end
  if not kept and not self.stays then
    for i = #self.made, 1, -1 do
      take(self, { { "remove", self.made[i] } })
    end
  end
  for _, holder in ipairs(self.holders) do
    holder:cancel()
    surely.wait(holder)
  end
  self.claims, self.holders, self.made = {}, {}, {}
end

methods.__close = methods.close

return exchange
