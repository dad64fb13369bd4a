-- A repository in a bucket with object lock: what is stored is kept, what is
-- large goes in parts, and who must not remove anything is told until when.
local helper = require "spec.helper"
local outside = require "spec.outside"

local saros = helper.saros
local there, repository = pcall(require, "saros.repository")

if not there then
  describe("a repository with object lock", function()
    pending("saros.repository was left out of this build")
  end)
  return
end

-- POSTs a text, and prints the answer.
local POST = [[
import sys, urllib.request as u
opener = u.build_opener(u.ProxyHandler({}))
print(opener.open(sys.argv[1], sys.argv[2].encode()).read().decode(), end="")
]]

-- Calls f(options, directory, ask) beside a server.
local function with_server(f)
  return outside.directory(function(directory)
    local server <close> = outside.start("sh", "-c",
      "sleep 100000 | exec python3 -u spec/s3/server.py")
    local port = tonumber((server:expect "\n"))
    local function ask(what, text)
      local output, how, status = outside.run("python3", "-c", POST,
        ("http://127.0.0.1:%d/!%s"):format(port, what), text or "")
      assert.same({ "exit", 0 }, { how, status })
      return output
    end
    assert(os.execute(("mkdir '%s/src'"):format(directory)))
    assert(os.execute(("head -c 7000000 /dev/urandom >'%s/src/large'")
      :format(directory)))
    local options = {
      location = ("s3:http://127.0.0.1:%d/kept/r"):format(port),
      password = "x", access_key = "AKTEST", secret_key = "sEcReT/canary+key",
      multipart_size = 5 << 20,
      object_lock = { mode = "GOVERNANCE", days = 7 },
    }
    return f(options, directory, ask)
  end)
end

describe("a repository with object lock", function()
  if not outside.installed "python3" then
    pending "there is no python3 here to serve with"
    return
  end

  it("is kept, also from those who forget and prune", function()
    with_server(function(options, directory, ask)
      local repo <close> = repository.init(options)
      local src = { paths = { directory .. "/src" } }
      assert(repo:backup(src):wait())
      assert.matches("?partNumber=2&uploadId=", ask "log", 1, true)
      outside.write(directory .. "/src/large", "small")
      assert(repo:backup(src):wait())
      local kept = ask "kept"
      for _, folder in ipairs { "config", "keys/", "snapshots/", "index/",
        "data/" } do
        assert.matches("r/" .. folder .. "%S* GOVERNANCE 2", kept)
      end
      assert.is_nil(kept:find "r/locks/")

      ask("set", '{"refuse":true}')
      local ok, err = repo:forget { keep_last = 1 }:wait()
      assert.is_nil(ok)
      assert.equal(saros.code.SAROS_E_ACCESSDENIED, err.code)
      assert.matches("0 of 1 versions were removed.*locked until 20%d%d%-.*"
        .. "GOVERNANCE", err.message)
      assert.equal(2, #repo:versions())
      assert.equal(0, #repo:locks())

      -- A server that hides what is removed, as most do.
      ask("set", '{"refuse":false}')
      assert(repo:forget { keep_last = 1 }:wait())
      ask("set", '{"refuse":true}')
      ok, err = repo:prune { max_unused = 0 }:wait()
      assert.is_nil(ok)
      assert.equal(saros.code.SAROS_E_ACCESSDENIED, err.code)
      assert.matches("locked until 20%d%d%-", err.message)
      assert(repo:check { read_data = true }:wait())
      ask("set", '{"refuse":false}')
      assert(repo:prune { max_unused = 0 }:wait())
      assert(repo:check { read_data = true }:wait())
      assert.equal("", ask "uploads")
    end)
  end)

  it("is misused with a sentence", function()
    with_server(function(options)
      options.object_lock = { mode = "FOREVER", days = 1 }
      local ok, err = pcall(repository.open, options)
      assert.is_false(ok)
      assert.matches("object_lock: its mode", err.message)
    end)
  end)
end)
