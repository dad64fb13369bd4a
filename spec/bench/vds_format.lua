-- make bench: format and quick clean beside the bare tools, on one virtual disk
-- at a time, with the same options. They take turns. All of these tools sync what
-- they wrote, as ours do; what was written before is synced before each.
--   lua5.4 spec/bench/vds_format.lua [ROUNDS [MIB …]]

local ok, vds = pcall(require, "saros.vds")
local figures = dofile "spec/bench/figures.lua"
local saros = require "saros"

local rounds = tonumber(arg[1]) or 7
local sizes = {}
for i = 2, #arg do sizes[i - 1] = math.tointeger(tonumber(arg[i])) end
if #sizes == 0 then sizes = { 512, 16 << 10 } end

if not ok then return end -- vds.lua has said so

local root = io.popen "mktemp -d /tmp/saros-bench-XXXXXX":read "l"
assert(os.execute(("mkdir -m 700 '%s/state'"):format(root)))
vds.config { state_dir = root .. "/state" }

local _ <close> = setmetatable({}, { __close = function()
  for _, v in ipairs(vds.virtual_disks()) do v:detach():wait() end
  os.execute(("rm -rf --one-file-system '%s'"):format(root))
end })

-- Its path: a shell that looks for it would be measured, too. Or nil.
local function tool(name)
  for _, at in ipairs { "/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/" } do
    local file = io.open(at .. name)
    if file then
      file:close()
      return at .. name
    end
  end
end

local function elapsed(op)
  local good, err = op:wait()
  assert(good, tostring(err))
  return op:status().elapsed * 1000
end

local function run(...)
  return elapsed(saros.process { argv = { ... } })
end

-- ms of processor that this process and its children had: in ticks of the
-- kernel's, and so only good for a sum.
local function used()
  local file <close> = assert(io.open "/proc/self/stat")
  local rest = file:read "a":match "%) (.*)"
  local sum, n = 0, 0
  for word in rest:gmatch "%S+" do
    n = n + 1
    if n >= 12 and n <= 15 then sum = sum + tonumber(word) end
  end
  return sum * 10
end

-- One column: what is prepared is not measured.
local function column(name, prepare, work)
  return { name, {}, prepare = prepare, work = work, cpu = 0 }
end

local function compare(what, columns, ratios)
  for i = 0, rounds do
    for _, c in ipairs(columns) do
      c.prepare()
      local before = used()
      local took = c.work()
      if i > 0 then -- the first one warms up
        c[2][i] = took
        c.cpu = c.cpu + used() - before
      end
    end
  end
  figures.tell(what, "ms", columns, ratios)
  local parts = {}
  for _, c in ipairs(columns) do
    parts[#parts + 1] = ("%s %.1f"):format(c[1], c.cpu / rounds)
  end
  print("  of a processor " .. table.concat(parts, "; ") .. " (means)")
end


-- ------------------------------------------------------------------
-- Formats
-- ------------------------------------------------------------------

-- Each is told its uuid, as ours is: what that costs is not the same for all
-- (mkfs.btrfs looks whether any device of the machine has it already).
local systems = {
  { "ext4", { "mke2fs", "-F", "-t", "ext4", "-U" } },
  { "xfs", { "mkfs.xfs", "-q", "-f", "-m" }, "uuid=" },
  { "btrfs", { "mkfs.btrfs", "-q", "-f", "-U" } },
  { "vfat", { "mkfs.vfat", "-I", "-i" }, short = true },
  { "swap", { "mkswap", "--lock=no", "-f", "-U" } },
}

local function new_uuid(s)
  local file <close> = assert(io.open "/proc/sys/kernel/random/uuid")
  local uuid = file:read "l"
  return s.short and uuid:sub(1, 8) or (s[3] or "") .. uuid
end

local function settle(disk)
  return function() assert(os.execute("sync '" .. disk.path .. "'")) end
end

-- What a careful script does before, so that a power cut in the middle leaves
-- nothing that looks like the old one: a format of ours promises that.
local function wiped(disk)
  return run(tool "wipefs", "-q", "-a", disk.path)
    + run(tool "sync" or "/bin/sync", disk.path)
end

local function formats(disk, name)
  for _, s in ipairs(systems) do
    local fs, argv = s[1], { table.unpack(s[2]) }
    argv[1] = tool(argv[1])
    if argv[1] then
      local n = #argv
      local function bare()
        argv[n + 1], argv[n + 2] = new_uuid(s), disk.path
        return run(table.unpack(argv))
      end
      local columns = {
        column("vds", settle(disk), function()
          return elapsed(disk:format { fs = fs })
        end),
        column(s[2][1], settle(disk), bare),
        column("wiped, " .. s[2][1], settle(disk), function()
          return wiped(disk) + bare()
        end),
      }
      compare(("format %s, %s"):format(fs, name), columns,
        { { "vds / bare", 1, 2, 1.1 }, { "vds / wiped, bare", 1, 3, 1.1 } })
    end
  end
end


-- ------------------------------------------------------------------
-- Quick clean
-- ------------------------------------------------------------------

-- Anew before each round, and everything that a disk was told before is written.
local systems_on = "mke2fs -q -F '%s' 190M >/dev/null 2>&1; sync '%s'"
local table_on = [[
  printf 'label: gpt\nsize=200M\nsize=200M\n' |
    sfdisk -q --no-reread -f '%s' >/dev/null 2>&1; sync '%s']]

local function clean(disk, name, before)
  local path = disk.path
  local function fresh()
    assert(os.execute("PATH=$PATH:/usr/sbin:/sbin; "
      .. before:format(path, path)))
  end
  compare("clean, quick, " .. name, {
    column("vds", fresh, function() return elapsed(disk:clean()) end),
    column("wipefs -a", fresh, function()
      return run(tool "wipefs", "-q", "-a", path)
    end),
  }, { { "vds / bare", 1, 2, 1.1 } })
end

-- (Of a table wipefs tells the kernel, and sleeps for 250 ms before.)
local function cleans(disk, name)
  clean(disk, "an ext4, " .. name, systems_on)
  clean(disk, "a table, " .. name, table_on)
end


for _, mib in ipairs(sizes) do
  local name = mib % 1024 == 0 and (mib >> 10) .. " GiB" or mib .. " MiB"
  local path = ("%s/%d.img"):format(root, mib)
  local v = assert(vds.create_vdisk { path = path, size = mib << 20 }:wait())
  local disk, why = v:attach():wait()
  if not disk then
    print("\ndisks: no virtual disks can be had here: " .. tostring(why))
    return
  end
  formats(disk, name)
  if mib == sizes[1] then cleans(disk, name) end
  assert(v:detach():wait())
  os.remove(path)
end
