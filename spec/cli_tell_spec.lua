--- What the command line leaves behind for others: the page, the figures, and a
--- word to whom the configuration names.

require "spec.helper"
local cli = require "spec.cli"
local html = require "spec.timeline_page"
local outside = require "spec.outside"
local records = require "spec.timeline"

local CONFIG <const> = [[
repository = "%s/repo"
password = { file = "%s/password" }
metrics = "%s"
notify = { command = { "sh", "-c", "echo $SAROS_EVENT $SAROS_NAME >>%s/said" } }
workflow "nightly" { sources = { "/etc" } }
workflow "quiet" { sources = { "/etc" }, notify = { command = "false" } }
]]

local function with(f)
  return outside.directory(function(root)
    assert(os.execute(("chmod 700 '%s'; mkdir -m 700 '%s/state' '%s/src'")
      :format(root, root, root)))
    local p = { root = root, state = root .. "/state" }
    function p.configure(metrics)
      outside.write(root .. "/config.lua", CONFIG:format(root, root, metrics, root))
      os.execute(("chmod 644 '%s/config.lua'"):format(root))
    end
    function p.run(code, ...)
      local argv = { ... }
      table.insert(argv, 2, "--config=" .. root .. "/config.lua")
      return cli.ends(code, argv, { env = { SAROS_STATE_DIR = p.state, TMPDIR = root } })
    end
    p.configure(root .. "/saros.prom")
    outside.write(root .. "/password", "secret-4711\n")
    os.execute(("chmod 600 '%s/password'"):format(root))
    return f(p)
  end)
end

describe("the command line", function()
  it("tells of a failure once, and says who could not be told", function()
    with(function(p)
      records.write(p.state, records.full(os.time() - 3600))
      local quiet = records.full(os.time() - 3600)
      quiet.name = "quiet"
      records.write(p.state, quiet)
      local r = cli.run({ "status", "--tell", "--config", p.root .. "/config.lua" },
        { env = { SAROS_STATE_DIR = p.state } })
      assert.equal(2, r.code) -- neither has ever succeeded
      assert.truthy(r.err:find "quiet: command: false ended with status 1")
      p.run(2, "status", "--tell")
      assert.equal("failed nightly\n", outside.content(p.root .. "/said"))
    end)
  end)

  it("says nothing when it is only asked", function()
    with(function(p)
      records.write(p.state, records.full(os.time() - 3600))
      p.run(2, "status")
      assert.is_nil(outside.content(p.root .. "/said"))
    end)
  end)

  it("writes the figures after a run, and fails none for their sake", function()
    with(function(p)
      outside.write(p.root .. "/src/a", "a")
      p.run(0, "hold", p.root .. "/src", "--provider", "copy", "--", "true")
      local text = assert(outside.content(p.root .. "/saros.prom"))
      assert.truthy(text:find('saros_last_success{name="hold",kind="hold"} 1', 1, true))
      p.configure(p.root .. "/nowhere/saros.prom")
      local r = p.run(0, "hold", p.root .. "/src", "--provider", "copy", "--", "true")
      assert.truthy(r.err:find "metrics: .*nowhere")
    end)
  end)

  it("says what a run has stored that was interrupted then", function()
    with(function(p)
      local shared = require "spec.repository"
      shared.cheap_at(p.root .. "/repo", shared.PASSWORD)
      outside.write(p.root .. "/password", shared.PASSWORD)
      outside.write(p.root .. "/src/a", "a")
      os.execute(("chmod 755 '%s'"):format(p.root)) -- copies go through it
      local function run(more)
        outside.write(p.root .. "/w.lua", ([[
          return require "saros".workflow { name = "nightly",
            sources = { "%s/src" }, to = { "%s/repo" }, provider = "copy",
            password = { file = "%s/password" }, %s
            finally = { "sh", "-c", "kill -INT $PPID; exec sleep 1000" } }]])
          :format(p.root, p.root, p.root, more))
        return cli.ends(130, { "run", p.root .. "/w.lua" },
          { env = { SAROS_STATE_DIR = p.state, TMPDIR = p.root } }).err
      end
      local said = run ""
      local id = cli.ends(0, { "versions", "--repo", p.root .. "/repo", "-p",
        p.root .. "/password" }).out:match "\n(%x+)"
      assert.truthy(said:find(("%s/repo has the version %s"):format(p.root, id),
        1, true), said)
      -- And why it was that it had failed before.
      said = run 'before = { "sh", "-c", "echo no room >&2; exit 1" },'
      assert.matches("the hook 'before' of the run failed: .*no room", said)
      local last = require "saros.record".list { limit = 1,
        state_dir = p.state }[1]
      assert.equal("cancelled", last.state)
      assert.matches("no room", last.error.cause.message)
    end)
  end)

  it("makes the page of what it has done", function()
    with(function(p)
      outside.write(p.root .. "/src/a", "a")
      p.run(0, "hold", p.root .. "/src", "--provider", "copy", "--", "true")
      local page = p.run(0, "report").out
      html.check(page)
      assert.truthy(page:find("<bdi>hold</bdi> <em>succeeded</em>", 1, true))
      assert.is_nil(page:find("secret-4711", 1, true))
    end)
  end)
end)
