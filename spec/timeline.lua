--- What the specs of the report share: records as a night leaves them, written
--- by the module that writes real ones, at times of the spec's own.

local core = require "saros.core"
local record = require "saros.record"

local shared = {}

--- Calls f while the clocks are those of `at`, which has `wall` (seconds since
--- 1970) and `ms` (since the record was begun).
local function with_clock(at, f)
  local clocks <const> = core.clocks
  core.clocks = function() return at.wall + at.ms / 1000, at.ms / 1000 end
  local _ <close> = setmetatable({}, { __close = function()
    core.clocks = clocks
  end })
  return f()
end

--- Writes a record. `night`: { wall =, name =, kind =, ops = { { lane, name, from,
--- to, parent =, err =, detail =, samples = { { at, bytes }, … } }, … }, held =,
--- log = { { at, level, text }, … }, ended =, err =, result = }. An operation
--- without its end goes on; a record without an end is left as by a process that
--- was killed.
---@return string path
function shared.write(state_dir, night)
  local at = { wall = night.wall, ms = 0 }
  return with_clock(at, function()
    local r = record.begin { kind = night.kind or "workflow",
      name = night.name, state_dir = state_dir, host = night.host,
      argv = { "saros", "run", night.name } }
    local events, begun = {}, {}
    local function when(ms, f)
      events[#events + 1] = { ms = ms, n = #events, f = f }
    end
    for i, op in ipairs(night.ops or {}) do
      local lane, name, from, to = op[1], op[2], op[3], op[4]
      when(from, function()
        begun[i] = r:op { lane = lane, name = name,
          parent = op.parent and begun[op.parent] }
      end)
      for _, s in ipairs(op.samples or {}) do
        when(s[1], function() begun[i]:sample(s[2], op.total) end)
      end
      if to then when(to, function() begun[i]:done(op.err, op.detail) end) end
    end
    for _, l in ipairs(night.log or {}) do
      when(l[1], function() r:log(l[2], l[3]) end)
    end
    local held = night.held
    if held then when(held.to * 1000, function() r:held(held.set) end) end
    table.sort(events, function(a, b)
      if a.ms ~= b.ms then return a.ms < b.ms end
      return a.n < b.n
    end)
    for _, event in ipairs(events) do
      at.ms = event.ms
      event.f()
    end
    if night.ended then
      at.ms = night.ended
      r:done(night.err, night.result)
    end
    return r.path
  end)
end

--- The held window of a set, from `from` ms on.
function shared.held(from, writers, volumes)
  local times = { writers = {}, volumes = {} }
  local last = from
  for i, w in ipairs(writers) do
    times.writers[i] = { name = w[1], asked = from / 1000,
      from = (from + w[2]) / 1000, to = (from + w[3]) / 1000 }
    last = math.max(last, from + w[3])
  end
  for i, v in ipairs(volumes) do
    times.volumes[i] = { path = v[1], frozen = true,
      from = (from + v[2]) / 1000, to = (from + v[3]) / 1000 }
    last = math.max(last, from + v[3])
  end
  return { to = last / 1000, set = { times = times,
    skew = { { seconds = 0.0004 } }, held = (last - from) / 1000 } }
end

local function rise(from, to, bytes)
  local list, n = {}, math.max(2, (to - from) // 600)
  for i = 0, n do
    local share = i / n
    list[#list + 1] = { from + (to - from) * i // n,
      math.floor(bytes * (share ^ 1.3)) }
  end
  return list
end
shared.rise = rise

--- A night that went well, at about the size of a small company.
function shared.good(wall, more)
  more = more or {}
  local factor = more.factor or 1
  local held = shared.held(2310, {
    { "postgres 15-main", 0.4, 38.2 }, { "sqlite app.db", 1.1, 37.4 },
    { "redis", 0.9, 31.9 } },
    { { "/srv", 9.8, 27.6 }, { "/var/lib/postgresql", 10.1, 28.9 } })
  local added = math.floor(184e6 * factor)
  local night = { wall = wall, name = "nightly", host = "web1",
    held = held, ended = 214000,
    ops = {
      { "step", "shadow", 120, 2900 },
      { "writer:postgres 15-main", "prepare", 180, 2290, parent = 1 },
      { "writer:sqlite app.db", "prepare", 190, 460, parent = 1 },
      { "writer:redis", "prepare", 190, 240, parent = 1 },
      { "writer:postgres 15-main", "hold", 2310, 2349, parent = 1 },
      { "writer:sqlite app.db", "hold", 2311, 2348, parent = 1 },
      { "writer:redis", "hold", 2311, 2342, parent = 1 },
      { "volume:/srv", "shadow", 2318, 2480, parent = 1 },
      { "volume:/var/lib/postgresql", "shadow", 2320, 2620, parent = 1 },
      { "step", "check", 2950, 31000 },
      { "writer:postgres 15-main", "pg_amcheck", 3000, 30900, parent = 10 },
      { "writer:sqlite app.db", "integrity_check", 3000, 9100, parent = 10 },
      { "step", "backup", 31050, 160000 },
      { "target:/mnt/a", "backup", 31100, 96000, parent = 13,
        samples = rise(31100, 96000, added) },
      { "target:s3:https://s3.example.org/backup", "backup", 31100, 159800,
        parent = 13, samples = rise(31100, 159800, added) },
      { "step", "verify", 160100, 171000 },
      { "target:/mnt/a", "verify", 160150, 164000, parent = 16 },
      { "target:s3:https://s3.example.org/backup", "verify", 160150, 170900,
        parent = 16 },
      { "step", "forget", 171050, 173000 },
      { "target:/mnt/a", "forget", 171060, 171900, parent = 19 },
      { "target:s3:https://s3.example.org/backup", "forget", 171060, 172950,
        parent = 19 },
      { "step", "drill", 173100, 213800 },
      { "drill:postgres 15-main", "restore", 173200, 198000, parent = 22 },
      { "drill:postgres 15-main", "start", 198000, 205000, parent = 22 },
      { "drill:postgres 15-main", "verify", 205000, 213700, parent = 22 },
    },
    log = { { 2350, "notice", "held for 38.2 ms" },
      { 31000, "warning", "sqlite app.db: 3 free pages" } },
    result = { consistency = "application", held = 0.0378, skew = 0.0004,
      versions = {
        { location = "/mnt/a", id = more.id or "46006b7f21aa", files = 18204,
          bytes_added = added, bytes_stored = added * 6 // 10,
          bytes = more.total or 55 * (1 << 30) },
        { location = "s3:https://s3.example.org/backup",
          id = more.id2 or "9c01d8e0b7c1", files = 18204, bytes_added = added,
          bytes_stored = added * 6 // 10,
          bytes = more.total or 55 * (1 << 30) } } } }
  for name, item in pairs(more.night or {}) do night[name] = item end
  return night
end

--- An error as operations have it.
function shared.failure(code, message, cause)
  local err = core.failure("saros", code, message)
  err.cause = cause
  return err
end

--- The night in which a disk ran full: one target has its version, the other
--- has not.
function shared.full(wall)
  local E = require "saros.code"
  local night = shared.good(wall)
  local deep = shared.failure(E.ERROR_DISK_FULL,
    "write /mnt/a/data/4f/4f8a01…: No space left on device")
  local err = shared.failure(E.ERROR_DISK_FULL, "the repository /mnt/a has no "
    .. "room left for this backup: 1.2 GiB are missing (make room there, or "
    .. "let old versions go, then start again)", deep)
  local whole = shared.failure(E.ERROR_DISK_FULL,
    "backing up to /mnt/a failed", err)
  local ops = { table.unpack(night.ops, 1, 15) }
  ops[13] = { "step", "backup", 31050, 61200, err = whole }
  ops[14] = { "target:/mnt/a", "backup", 31100, 61000, parent = 13, err = err,
    samples = rise(31100, 60500, 91000000) }
  ops[15] = { "target:s3:https://s3.example.org/backup", "backup", 31100, 61190,
    parent = 13, samples = rise(31100, 61000, 60000000),
    detail = { state = "cancelled" } }
  night.ops, night.ended, night.err, night.result = ops, 61300, whole, nil
  night.log = { { 2350, "notice", "held for 38.2 ms" },
    { 31000, "warning", "sqlite app.db: 3 free pages" },
    { 54000, "warning", "/mnt/a: less than 2 GiB left" },
    { 61000, "error", "/mnt/a: No space left on device" } }
  return night
end

return shared
