-- What a copy of files lacks is known by its files: it bars the components whose
-- they are, and no others.
local app = require "spec.backup_app"
local outside = app.outside

if app.missing then
  describe("what changes while it is copied", function() pending(app.missing) end)
  return
end

local wsb = app.wsb
local component = app.component

local function group(name, files, more)
  local c = { type = "filegroup", name = name, files = files }
  for field, item in pairs(more or {}) do c[field] = item end
  return c
end

-- Somebody whom nobody asks to hold still writes to a file all the time.
local function filler(path)
  local p = outside.start(outside.lua, "-e", ("local path = %q"):format(path)
    .. [[

    local file = assert(io.open(path, "r+b"))
    file:setvbuf "no"
    for i = 0, math.huge do
      file:seek("set", i * 4096 % (48 << 20))
      file:write "x"
      if i == 0 then io.stdout:write "writing\n" io.stdout:flush() end
    end]])
  p:expect "writing"
  return p
end

-- Data where files cannot be cloned: then they take their time.
local function with(f)
  return app.with(function(t)
    return outside.directory(function(data)
      t.own = t.data
      t.data = data
      assert(os.execute(("chmod 700 '%s'; cd '%s' && mkdir -p a/s b && echo x |"
        .. " tee a/f a/s/f >b/f && dd if=/dev/zero of=a/s/big bs=1M count=48 "
        .. "2>/dev/null"):format(data, data)))
      return f(t)
    end, outside.memory)
  end)
end

-- Versions until one has torn what is written to: that is by chance, but soon.
local function torn(t, more)
  while true do
    local v = t.backup(more)
    for _, c in ipairs(v.components) do
      if c.why then return v end
    end
  end
end

describe("a file that is written to while it is copied", function()
  it("bars whose it is, unless that is mended or left out", function()
    with(function(t)
      local a, b = t.data .. "/a", t.data .. "/b"
      local _ <close> = app.writer(1, { components = {
        group("whose", { a }),
        group("other", { b }),
        group("left out", { a }, { exclude = { "big" } }),
        group("so", { a }, { exclude = { a .. "/s" } }),
        group("all", { a }, { mends = true }),
        group("some", { a }, { mends = { "*.db", "s/b*" } }),
        group("absolute", { a }, { mends = { a .. "/s" } }),
        group("another", { a }, { mends = { "f", b .. "/**" } }),
        group("no", { a .. "/s/big", a .. "/f" }, { mends = false }),
      } })
      local v
      do
        local _ <close> = filler(a .. "/s/big")
        v = torn(t)
      end
      local fine = {}
      for _, c in ipairs(v.components) do
        fine[#fine + 1] = c.recoverable and c.name or nil
        if not c.recoverable then
          assert.equal(a .. "/s/big changed while being copied, when all should "
            .. "have held still: let its writer hold all that writes there, or "
            .. "use a provider that is atomic", c.why)
          assert.equal("none", c.consistency)
          assert.equal("untried", c.check.state == "none" and "untried"
            or c.check.state)
        end
      end
      assert.same({ "other", "left out", "so", "all", "some", "absolute" }, fine)
      assert.equal("none", v.consistency)
      -- Whoever asks the repository is told the same, and gets none of it.
      local items = t.items()
      assert.matches("/s/big changed while being copied", tostring(items))
      assert.is_false(component(items, "whose").recoverable)
      local r, err = wsb.recover { repository = t.repo, component = "whose",
        target = t.root .. "/back" }:wait()
      assert.is_nil(r)
      assert.matches("/s/big changed while being copied", err.message)
      assert(wsb.recover { repository = t.repo, component = "other",
        target = t.root .. "/back" }:wait())
      assert.equal("x\n", outside.content(t.root .. "/back" .. b .. "/f"))
      -- Nobody writes any more.
      v = t.backup()
      for _, c in ipairs(v.components) do assert.is_true(c.recoverable) end
      assert.equal("application", v.consistency)
    end)
  end)

  it("has any name, also through a link", function()
    with(function(t)
      local odd = "a/b\195\164r[1]*\1\255\nx"
      assert(os.execute(([[cd '%s' && mv a/s/big "$(printf %s)" && ln -s a l &&
        ln -s a/s m]]):format(t.data, "'a/b\\303\\244r[1]*\\001\\377\\nx'")))
      local _ <close> = app.writer(1, { components = {
        group("whose", { t.data .. "/l" }),
        group("left out", { t.data .. "/l" },
          { exclude = { t.data .. "/l/b*" } }),
        group("other", { t.data .. "/m" }) } })
      local _ <close> = filler(t.data .. "/" .. odd)
      local v = torn(t)
      assert.is_false(component(v, "whose").recoverable)
      assert.is_true(component(v, "left out").recoverable)
      assert.is_true(component(v, "other").recoverable)
      assert.is_false(component(t.items(), "whose").recoverable)
      assert.matches("a/b\195\164r", tostring(t.items()), 1, true)
      assert.is_nil(tostring(t.items()):find "[\1\255]")
    end)
  end)
end)

-- Nobody may open it, whoever he is, for as long as this lives.
local function leased(path)
  local p = outside.start("python3", "-uc", [[
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
f = open(sys.argv[1], "r+b")
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased")
while True: signal.pause()]], path)
  p:expect "leased"
  return p
end

describe("a file that cannot be read when the shadow is made", function()
  it("bars whose it is, also what mends itself", function()
    if not outside.installed "python3" then return pending "no python3" end
    with(function(t)
      local a, b = t.data .. "/a", t.data .. "/b"
      local _ <close> = app.writer(1, { components = {
        group("whose", { a }), group("other", { b }),
        group("mends", { a }, { mends = true }),
        group("left out", { a }, { exclude = { "s/f" } }) } })
      local _ <close> = leased(a .. "/s/f")
      local v = t.backup()
      assert.equal(a .. "/s/f could not be read when the shadow was made",
        component(v, "whose").why)
      assert.is_true(component(v, "other").recoverable)
      assert.is_false(component(v, "mends").recoverable)
      assert.is_true(component(v, "left out").recoverable)
      assert.is_false(component(t.items(), "mends").recoverable)
    end)
  end)

  it("is anybody's when too many are to be named", function()
    if not outside.installed "python3" then return pending "no python3" end
    with(function(t)
      local a, b = t.data .. "/a", t.data .. "/b"
      local _ <close> = app.writer(1, { components = {
        group("other", { b }), group("elsewhere", { t.own }) } })
      local p <close> = outside.start("python3", "-uc", [[
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
all = [open("%s/%d" % (sys.argv[1], i), "w+b") for i in range(101)]
for f in all: fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased")
while True: signal.pause()]], a)
      p:expect "leased"
      local v = t.backup { paths = { t.data, t.own } }
      assert.equal("1 files, some of its own perhaps among them, could not be "
        .. "read when the shadow was made", component(v, "other").why)
      assert.is_true(component(v, "elsewhere").recoverable)
    end)
  end)
end)

describe("what a writer says that it mends", function()
  it("is true, false, or patterns", function()
    with(function(t)
      for _, wrong in ipairs { "all", 1, { 1 }, { "" } } do
        local good, err = pcall(app.writer, 1, { components = {
          group("a", { t.data .. "/a" }, { mends = wrong }) } })
        assert.is_false(good)
        assert.matches("mends of a component must be", tostring(err))
      end
    end)
  end)
end)
