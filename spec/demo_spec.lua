-- `make demo`: it runs to its end wherever it is shown, to whom it may be, and
-- leaves nothing but its page, however it ends.
local outside = require "spec.outside"
local volumes = require "spec.volumes"
require "spec.helper"

local term = require "saros.term"

local build <const> = os.getenv "SAROS_BUILD" or os.getenv "PWD" .. "/build"
local CTRL_C <const> = "\3"

if not (pcall(require, "saros.repository")
  and pcall(require, "saros.client.sqlite") and outside.installed "python3"
  and outside.installed "setpriv")
then
  describe("the demo", function()
    pending "saros.repository, saros.client.sqlite, python3 or setpriv is missing"
  end)
  return
end

local is_root = volumes.run "id -u" == "0\n"

-- A build with the program alone, which anybody may read and run, as it would be
-- in a checkout of one's own; its pages lie in demo.
local SETUP <const> = [[set -e; umask 022
  mkdir -m 1777 "$1/tmp"; mkdir -m 777 "$1/build" "$1/build/demo"
  mkdir "$1/build/bin" "$1/build/saros"
  cp -R lua examples "$1"
  for f in core.so term.so cell over client repository vds bits; do
    [ ! -e "$2/saros/$f" ] || cp -R "$2/saros/$f" "$1/build/saros/"
  done
  sed -e "s|^local lua, c = .*|local lua, c = '$1/lua', '$1/build'|" \
    "$2/bin/saros" >"$1/build/bin/saros"; chmod 755 "$1/build/bin/saros"
  chmod -R a+rX "$1"]]

local number = 0

-- What is left of a demo: files in its TMPDIR, and processes.
local function left(d)
  return (volumes.run([[find '%s/tmp' -mindepth 1 -ls; for p in $(grep -lzsxF 'DEMO_MARK=%s' \
    /proc/[0-9]*/environ); do tr '\0' ' ' <"${p%%/*}/cmdline"; echo; done]],
    d.at, d.mark))
end

-- The kernel, or who waits for our end, may still be about it.
local function gone(d, text)
  local still
  for _ = 1, outside.patience do
    still = left(d)
    if still == "" then return end
    outside.system.read(-1, 250) -- sleeps; there is no such descriptor
  end
  error("this is left: " .. still .. tostring(text), 2)
end

local function with(f)
  local at = volumes.scratch()
  local _ <close> = setmetatable({}, { __close = function()
    os.execute(("rm -rf '%s'"):format(at))
  end })
  assert(os.execute(("chmod 755 '%s'; set -- '%s' '%s'; %s"):format(at, at,
    build, SETUP)))
  number = number + 1
  return f { at = at, mark = ("%s-%d"):format(at, number) }
end

-- Starts it: by `how` ("start", "terminal"), as `user` if there is one.
local function start(d, how, o)
  o = o or {}
  return outside[how]("sh", "-c", ([[cd '%s'; %s exec %s env -u NO_COLOR \
    DEMO_MARK='%s' \
    TMPDIR='%s/tmp' SAROS_BUILD=build HOME=/nonexistent %s \
    LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/?.so;;' \
    '%s' examples/demo.lua]]):format(d.at,
      how == "terminal" and ("stty cols %d;"):format(o.columns or 80) or "",
      o.user and is_root
        and "setpriv --reuid=65534 --regid=65534 --clear-groups" or "",
      d.mark, d.at, how == "terminal" and "TERM=xterm "
        .. (o.env or "") or "TERM=dumb", outside.lua))
end

local function ended(text, wanted, code)
  assert.equal("exit0", wanted .. code, text)
  assert.matches("the ledger%s+agrees: orders 1 to %d+ are back", text)
  assert.matches("drill%s+passed", text)
  assert.is_nil(text:find("✗", 1, true), text)
end

local function page(d)
  local text = assert(outside.content(d.at .. "/build/demo/report.html"))
  assert.matches("<html", text)
  assert.matches("shop", text)
  assert.equal("", left(d))
end

describe("the demo", function()
  it("is plain where there is no terminal", function()
    with(function(d)
      local p <close> = start(d, "start")
      local text, how, code = p:finish()
      ended(text, how, code)
      assert.is_nil(text:find("\27", 1, true))
      if outside.installed "restic" then
        assert.matches("restic%s+reads what saros wrote", text)
      end
      page(d)
    end)
  end)

  it("fits a narrow terminal without colours, for any user", function()
    with(function(d)
      local p <close> = start(d, "terminal", { user = true, columns = 40,
        env = "NO_COLOR=1" })
      local text, how, code = p:finish()
      text = text:gsub("\r\n", "\n")
      ended(text, how, code)
      assert.is_nil(text:find "\27%[%d[%d;]*m")
      -- What it says itself; a word (a path) may be longer than a line.
      local said = text:match "^.-Every night" .. text:match "What there was.*"
      for line in said:gmatch "[^\n]+" do
        if line:find "%S%s+%S" then
          assert.is_true(term.columns(line) <= 40, line)
        end
      end
      page(d)
    end)
  end)

  for _, user in ipairs { false, true } do
    local whose = user and "any user's" or "root's"
    local function interrupted(at)
      with(function(d)
        local p <close> = start(d, "terminal", { user = user })
        p:expect(at)
        p:write(CTRL_C)
        local text, how, code = p:finish()
        assert.equal("exit130", how .. code, text)
        gone(d, text)
      end)
    end

    it("goes with a key: " .. whose, function()
      interrupted "saros run shop.lua"
    end)

    it("goes when it is killed: " .. whose, function()
      with(function(d)
        local p <close> = start(d, "start", { user = user })
        p:expect "$ saros run shop.lua"
        outside.system.kill(p.pid, 9)
        gone(d, (p:finish()))
      end)
    end)
  end
end)
