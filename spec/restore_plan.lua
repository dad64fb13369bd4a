--- Following a restore plan: what it says is run by a shell that finds no Lua, as
--- a person would.

local app = require "spec.backup_app"

local outside, shared = app.outside, app.shared

-- The commands of a plan: the lines with four spaces in front.
local function commands(text)
  local lines = {}
  for line in text:gmatch "([^\n]*)\n" do
    lines[#lines + 1] = line:match "^    (.*)$"
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Every program there is, but for Lua: made once, and gone with this process.
local function made()
  local pipe <close> = assert(io.popen(
    "mktemp -d /tmp/saros-${SAROS_SUITE:-spec}-XXXXXX"))
  local bin = assert(pipe:read "l")
  assert(bin:find "^/tmp/saros%-")
  assert(os.execute(("cd %s && for d in /bin /usr/bin /usr/sbin; do "
    .. "ln -sf $d/* . 2>/dev/null; done; rm -f lua* busted* saros*")
    :format(bin)))
  return setmetatable({ bin = bin }, { __gc = function()
    os.execute("rm -rf " .. bin)
  end })
end

local programs

--- Follows the plan of a version, as restic gives it; returns what it said.
local function follow(t, v, root)
  local plan = t.restic("dump", v.id, "/.saros/restore-plan.txt")
  local text = commands(plan):gsub("PATH=%$PATH:/usr/sbin:/sbin\n", "")
  assert(text:find("restic restore", 1, true) and not text:find("PATH=", 1, true))
  outside.write(t.root .. "/plan.sh", text)
  assert(os.execute(("rm -rf %s/stage && mkdir %s/stage && chmod 755 %s/stage")
    :format(t.root, t.root, t.root)))
  programs = programs or made()
  local said, how, status = outside.run("env", "-i", "-C", "/",
    "PATH=" .. programs.bin, "HOME=/", "RESTIC_REPOSITORY=" .. t.location,
    "RESTIC_PASSWORD=" .. shared.PASSWORD, "STAGE=" .. t.root .. "/stage",
    "ROOT=" .. (root or ""), "RESTIC_CACHE_DIR=" .. t.root .. "/cache",
    "sh", t.root .. "/plan.sh")
  assert(how == "exit" and status == 0, said)
  assert(not plan:find(shared.PASSWORD, 1, true))
  return said
end

return follow
