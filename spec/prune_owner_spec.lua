-- Several hosts share a repository, and one of them prunes it.
local helper = require "spec.helper"
local outside = require "spec.outside"
local shared = require "spec.repository"

local code = helper.saros.code

if shared.missing then
  describe("the owner of prune", function() pending(shared.missing) end)
  return
end

local it_has_restic = outside.installed "restic" and it or function(name)
  pending(name .. " (no restic)")
end

local function with(f)
  shared.with(function(p)
    shared.fill(p)
    outside.write(p.root .. "/password", shared.PASSWORD .. "\n")
    function p.backup(host)
      return assert(p.repo:backup { paths = { p.src }, host = host }:wait()).id
    end
    function p.restic(...)
      local said, how, status = outside.run("restic", "--no-cache", "-r",
        p.root .. "/r", "--password-file", p.root .. "/password", ...)
      assert.same({ "exit", 0 }, { how, status }, said)
      return said
    end
    f(p)
  end)
end

local function refused(op, ...)
  local ok, err = op:wait()
  assert.is_nil(ok)
  assert.equal(code.SAROS_E_REFUSED, err.code, tostring(err))
  for _, word in ipairs { ... } do assert.matches(word, err.message, 1, true) end
end

describe("the owner of prune", function()
  it("is nobody until somebody claims it", function()
    with(function(p)
      p.backup "web1"
      assert.is_nil(p.repo:prune_owner())
      assert(p.repo:prune { host = "web1" }:wait())
      assert(p.repo:prune { host = "web2" }:wait())
      assert.is_nil(p.repo:prune_owner())
    end)
  end)

  it("prunes, and the others are told who does", function()
    with(function(p)
      local owner = assert(p.repo:claim_prune { host = "web1" }:wait())
      assert.equal("web1", owner.host)
      assert.same(owner, p.repo:prune_owner())
      assert(p.repo:prune { host = "web1" }:wait())
      refused(p.repo:prune { host = "web2" }, "web1 prunes this repository",
        owner.time, "force", "claim_prune")
      refused(p.repo:prune(), "web1") -- of this machine's name
      assert(p.repo:prune { host = "web2", dry_run = true }:wait())
      assert(p.repo:prune { host = "web2", force = true }:wait())
      assert.equal("web1", p.repo:prune_owner().host)
    end)
  end)

  it("is left what the others forget", function()
    with(function(p)
      p.backup "web2"
      p.put("more", "of it")
      p.backup "web2"
      assert(p.repo:claim_prune { host = "web1" }:wait())
      local r = assert(p.repo:forget { keep_last = 1, host = "web2",
        prune = { host = "web2" } }:wait())
      assert.equal(1, #r.removed)
      assert.is_nil(r.prune)
      assert.equal("web1", r.prune_left_to.hostname)
      p.put("more", "and more")
      p.backup "web2"
      r = assert(p.repo:forget { keep_last = 1, prune = { host = "web1" } }:wait())
      assert.equal(1, #r.removed)
      assert.is_nil(r.prune_left_to)
      assert.is_truthy(r.prune.packs)
    end)
  end)

  it("stays it, until another is forced on it", function()
    with(function(p)
      local first = assert(p.repo:claim_prune { host = "web1" }:wait())
      -- Claimed anew it is the same: nothing is written.
      assert.same(first, assert(p.repo:claim_prune { host = "web1" }:wait()))
      refused(p.repo:claim_prune { host = "web2" }, "web1 prunes", "force")
      local second = assert(p.repo:claim_prune { host = "web2",
        force = true }:wait())
      assert.equal("web2", second.host)
      assert.same(second, p.repo:prune_owner())
      refused(p.repo:prune { host = "web1" }, "web2 prunes")
      assert.equal(1, #p.repo:versions { tags = "saros-prune-owner" })
    end)
  end)

  it("is not lost to a clock that was set back", function()
    with(function(p)
      local future = assert(p.repo:backup { paths = { p.src }, host = "web1",
        tags = { "saros-prune-owner" }, time = os.time() + 86400 * 400 }:wait())
      assert.equal(future.id, p.repo:prune_owner().id)
      assert(p.repo:claim_prune { host = "web2", force = true }:wait())
      assert.equal("web2", p.repo:prune_owner().host)
    end)
  end)

  it("renews what says so, before rules by age would take it", function()
    with(function(p)
      local old = assert(p.repo:backup { paths = { p.src }, host = "web1",
        tags = { "saros-prune-owner" }, time = os.time() - 86400 * 8 }:wait())
      local new = assert(p.repo:claim_prune { host = "web1" }:wait())
      assert.not_equal(old.id, new.id)
      assert.equal(1, #p.repo:versions { tags = "saros-prune-owner" })
    end)
  end)

  it("is one of two who claim it in the same moment", function()
    for _ = 1, 3 do
      with(function(p)
        local ops = {}
        for i = 1, 2 do
          ops[i] = p.repo:claim_prune { host = "web" .. i }
        end
        local won = 0
        for i = 1, 2 do
          local ok, err = ops[i]:wait()
          if ok then
            won = won + 1
          else
            assert.is_true(err.code == code.SAROS_E_REFUSED
              or err.code == code.SAROS_E_LOCKED, tostring(err))
          end
        end
        assert.is_true(won >= 1)
        local owner = p.repo:prune_owner().host
        refused(p.repo:prune { host = owner == "web1" and "web2" or "web1" },
          owner)
        assert(p.repo:prune { host = owner }:wait())
      end)
    end
  end)

  it("is not forgotten by a rule", function()
    with(function(p)
      local owner = assert(p.repo:claim_prune { host = "web1" }:wait())
      for i = 1, 3 do
        p.put("more", ("more"):rep(i))
        p.backup "web1"
      end
      local r = assert(p.repo:forget { keep_last = 1, group_by = {} }:wait())
      assert.equal(2, #r.removed)
      assert(p.repo:forget { keep_within = "1h", host = "web1" }:wait())
      assert.same(owner, p.repo:prune_owner())
      -- By its id it goes.
      assert(p.repo:forget { ids = { owner.id } }:wait())
      assert.is_nil(p.repo:prune_owner())
    end)
  end)

  it("takes the place of no version, and is no group of the user's", function()
    with(function(p)
      local mine = p.backup "web1"
      local owner = assert(p.repo:claim_prune { host = "web1" }:wait())
      for _, by in ipairs { { "host" }, { "tags" }, {} } do
        local r = assert(p.repo:forget { keep_last = 1, group_by = by }:wait())
        assert.same({}, r.removed)
        assert.equal(2, #r.groups)
        for _, group in ipairs(r.groups) do
          local is_note = group.keep[1].id == owner.id
          assert.equal(is_note or nil, group.own)
        end
        local said = tostring(r)
        assert.matches(mine:sub(1, 8), said, 1, true)
        assert.is_nil(said:find(owner.id:sub(1, 8), 1, true), said)
        assert.matches("notes for itself 1 kept", said, 1, true)
      end
      assert.same(owner, p.repo:prune_owner())
    end)
  end)

  it("is known to rules, as is what belongs to a version", function()
    with(function(p)
      local ids, lates = {}, {}
      for i = 1, 3 do
        p.put("more", ("more"):rep(i))
        ids[i] = assert(p.repo:backup { paths = { p.src }, host = "web1",
          tags = i == 1 and { "dear" } or nil, time = 1e9 + i }:wait()).id
        lates[i] = assert(p.repo:backup { host = "web1", force = true,
          tags = { "saros-late:" .. i }, time = 1e9 + i,
          sources = { { path = p.src,
            origin = { path = "/.saros-late/a" } } } }:wait()).id
      end
      local r = assert(p.repo:forget { keep_tags = { "dear" },
        dry_run = true }:wait())
      assert.equal(4, #r.removed)
      r = assert(p.repo:forget { keep_tags = { "dear" }, keep_last = 1,
        group_by = { "host" } }:wait())
      table.sort(r.removed)
      local gone = { ids[2], lates[2] }
      table.sort(gone)
      assert.same(gone, r.removed)
      local said = tostring(r)
      assert.matches("\n1 version removed", said)
      assert.matches("itself 2 kept, 1 removed", said, 1, true)
    end)
  end)

  it("may be called whatever a host is called", function()
    with(function(p)
      assert(p.repo:claim_prune { host = "a\27[2Jb" }:wait())
      local ok, err = p.repo:prune { host = "web2" }:wait()
      assert.is_nil(ok)
      assert.is_nil(err.message:find "\27")
      ok, err = p.repo:claim_prune { host = "web2" }:wait()
      assert.is_nil(ok)
      assert.is_nil(err.message:find "\27")
      assert.has_error(function() p.repo:claim_prune { hosts = "x" } end)
    end)
  end)

  it_has_restic("survives restic, which shows it", function()
    with(function(p)
      local owner = assert(p.repo:claim_prune { host = "web1" }:wait())
      p.backup "web1"
      p.restic("backup", p.src, "--host", "web2")
      assert.matches("saros%-prune%-owner", p.restic "snapshots")
      p.restic("forget", "--keep-last", "1", "--prune")
      p.restic "check"
      assert.same(owner, p.repo:prune_owner())
      refused(p.repo:prune { host = "web2" }, "web1 prunes")
      -- Written anew, with another id, it says the same.
      p.restic("tag", "--add", "kept", owner.id)
      assert.not_equal(owner.id, p.repo:prune_owner().id)
      assert.equal("web1", p.repo:prune_owner().host)
      assert(p.repo:prune { host = "web1" }:wait())
      -- Without it anybody may, as before.
      p.restic("forget", p.repo:prune_owner().id)
      assert(p.repo:prune { host = "web2" }:wait())
      p.restic "check"
    end)
  end)
end)
