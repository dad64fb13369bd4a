-- Files that are recovered by way of links: those of the version lead where they
-- led then, those that others may have made since lead nowhere.
local app = require "spec.backup_app"

if app.missing then
  describe("recovery through links", function() pending(app.missing) end)
  return
end

local outside, wsb = app.outside, app.wsb
local root = outside.run("id", "-u") == "0\n"

-- Directories with links to each other, in a version.
local function with(f)
  return app.with(function(t)
    assert(os.execute(([[set -e; cd '%s'; mkdir -p d/e b; echo one >d/f
      echo back >b/slash; ln -s d l; ln -s '%s/d' abs; ln -s nowhere dangling
      ln -s loop loop; ln -s ../../.. up; ln -s ../../l d/e/u; ln -s l chain
      odd=$(printf 'o\377\001\134dd'); mkdir "$odd"; echo odd >"$odd/f"
      ln -s "$odd" odd]]):format(t.data, t.data)))
    t.version = t.backup()
    function t.begin(path, more)
      local o = { repository = t.repo, version = t.version.id,
        files = { t.data .. path } }
      for name, item in pairs(more or {}) do o[name] = item end
      return wsb.recover(o)
    end
    return f(t)
  end)
end

describe("recovery of files", function()
  it("follows the links that the version has", function()
    with(function(t)
      local to = t.root .. "/to"
      for path, expected in pairs { ["/l/f"] = "/d/f", ["/abs/f"] = "/d/f",
        ["/d/e/u/f"] = "/d/f", ["/chain/e/u/f"] = "/d/f",
        ["/odd/f"] = "/o\255\1\\dd/f" }
      do
        local r = assert(t.begin(path, { target = to }):wait())
        assert.equal(1, #r.laid)
        assert.equal(t.data .. expected, r.laid[1].path)
        assert.equal(1, #r.warnings)
        assert.equal("is a link", r.warnings[1]:match "is a link$")
        assert.is_nil(tostring(r):find "[\1\255]")
        assert.equal(outside.content(t.data .. expected),
          outside.content(to .. t.data .. expected))
        assert(os.execute("rm -r " .. to))
      end
      -- To where it was, whatever the link is by now.
      assert(os.execute(("cd %s; echo now >d/f; ln -sfn b l; echo b >b/f")
        :format(t.data)))
      assert(t.begin "/l/f":wait())
      assert.equal("one\n", outside.content(t.data .. "/d/f"))
      assert.equal("b\n", outside.content(t.data .. "/b/f"))
    end)
  end)

  it("takes a link that is named itself as a link", function()
    with(function(t)
      assert(os.execute(("rm %s/l"):format(t.data)))
      local r = assert(t.begin "/l":wait())
      assert.same({}, r.warnings)
      assert.equal("d\n", (outside.run("readlink", t.data .. "/l")))
    end)
  end)

  it("says of one that leads to nothing where it leads", function()
    with(function(t)
      for path, why in pairs {
        ["/dangling/f"] = "/dangling is a link there, which leads to .*/nowhere/f",
        ["/loop/f"] = "/loop is a link that cannot be followed",
        ["/up/etc/passwd"] = "/up is a link there, which leads to /.*etc/passwd",
        ["/l/nothing"] = "/l is a link there, which leads to .*/d/nothing",
        ["/d/f/x"] = "/d/f/x is not in version",
        ["/gone/x"] = "/gone/x is not in version",
      } do
        local r, err = t.begin(path, { target = t.root .. "/to" }):wait()
        assert.is_nil(r)
        assert.equal("E_INVALIDARG", err.name)
        assert.matches(why, err.message)
        assert.is_false(os.execute("test -e " .. t.root .. "/to") == true)
      end
    end)
  end)

  it("does not go through a link that somebody else has made", function()
    if not root then return pending "only root lays others' files" end
    with(function(t)
      -- Whose directory it is has it lead elsewhere since.
      assert(os.execute(([[set -e; cd '%s'; mkdir '%s/etc'; echo safe >'%s/etc/f'
        rm -r d; ln -s '%s/etc' d; chown -h 65534 d]]):format(t.data, t.root,
        t.root, t.root)))
      local r, err = t.begin "/d/f":wait()
      assert.is_nil(r)
      assert.equal("SAROS_E_REFUSED", err.name)
      assert.matches("/d is a link of user 65534", err.message)
      assert.equal("safe\n", outside.content(t.root .. "/etc/f"))
      assert.equal("f\n", (outside.run("ls", "-A", t.root .. "/etc")))
      -- One of root's is where it shall lie.
      assert(os.execute(("chown -h 0 '%s/d'"):format(t.data)))
      assert(t.begin "/d/f":wait())
      assert.equal("one\n", outside.content(t.root .. "/etc/f"))
    end)
  end)
end)
