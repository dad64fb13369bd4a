-- A real lighttpd with mod_magnet: a script cannot wait there, because that
-- would stop the whole server. It starts an operation under a name, returns,
-- and finds it again on the next request.
local outside = require "spec.outside"

local script = [[
package.path, package.cpath = %q, %q
local saros = require "saros"

-- What each path of a request does; each is one run of this script.
local what = {}

function what.start()
  saros.sleep(1000, { name = "long" })
  return tostring(saros.get "long")
end

function what.look()
  local op = saros.get "long"
  return op and op:status().state or "not found"
end

function what.cancel()
  return ("0x%%08X"):format(saros.get "long":cancel())
end

function what.copy()
  local op = saros.get "copy"
  if op then return op:status().state end
  op = saros.copy { from = %q, to = %q, name = "copy" }
  return "started"
end

-- Longer than nothing, shorter than a visitor's patience.
function what.wait() return tostring(saros.sleep(0.001):wait()) end

function what.task()
  if not saros.get "task" then
    saros.spawn({ name = "task" }, function()
      saros.sleep(0.001):wait()
      return "task"
    end)
  end
  saros.step(0) -- nobody else turns the loop here
  local op = saros.get "task"
  return op:done() and op:wait() or "pending"
end

local path = lighty.env["uri.path"]:sub(2)
local ok, text = pcall(what[path])
lighty.header["Content-Type"] = "text/plain"
lighty.content = { text }
return ok and 200 or 500
]]

local config = [[
server.modules = ("mod_magnet")
server.document-root = "ROOT"
server.bind = "DIR/socket"
server.upload-dirs = ("ROOT")
magnet.attract-raw-url-to = ("ROOT/script.lua")
]]

describe("lighttpd", function()
  if not outside.installed "lighttpd" then
    it("finds operations again", function()
      pending "lighttpd is not installed"
    end)
    return
  end

  -- Runs a server; f(get) with get(path) --> body.
  local function server(dir, text, f)
    outside.write(dir .. "/lighttpd.conf", text)
    local p <close> = outside.start("sh", "-c",
      "PATH=$PATH:/usr/sbin; exec lighttpd -D -f " .. dir .. "/lighttpd.conf")
    local socket = dir .. "/socket"
    local function get(path)
      local answer, why = outside.system.talk(socket,
        ("GET /%s HTTP/1.0\r\nHost: x\r\n\r\n"):format(path))
      if not answer or answer == "" then return nil, why end
      local code, body = answer:match "^HTTP/%S+ (%d+).-\r\n\r\n(.*)$"
      if code ~= "200" then
        error(("%s: %s"):format(path, answer), 0)
      end
      return body
    end
    outside.eventually("lighttpd's socket", function()
      if outside.system.talk(socket, "GET / HTTP/0.9\r\n\r\n") then return true end
      if outside.system.wait(p.pid, 0) then
        p.ended = true
        error("lighttpd: " .. select(2, pcall(p.expect, p, "\0")), 0)
      end
    end)
    f(get)
    outside.system.kill(p.pid, 2) -- its graceful end
    local said, how, code = p:finish()
    assert.same({ "exit", 0 }, { how, code }, said)
  end

  local function requests(get)
    assert.matches("pending", get "start")
    assert.equal("running", get "look")
    assert.equal("true", get "wait")
    assert.equal("0x00000000", get "cancel")
    assert.equal("cancelled", get "look")
    assert.equal("started", get "copy")
    outside.eventually("the copy's end", function()
      return get "copy" == "succeeded"
    end)
    outside.eventually("the task's end", function() return get "task" == "task" end)
    -- And one is left in flight when the server ends.
    get "start"
  end

  it("finds an operation again on the next request", function()
    outside.directory(function(dir)
      outside.write(dir .. "/from", "content")
      outside.write(dir .. "/script.lua", script:format(outside.lua_path,
        outside.lua_cpath, dir .. "/from", dir .. "/to"))
      server(dir, (config:gsub("ROOT", dir):gsub("DIR", dir)), requests)
      assert.equal("content", outside.content(dir .. "/to"))
    end)
  end)

  it("finds it in a chroot, as nobody, where there is only libc", function()
    if os.getenv "SAROS_SANITIZER" == "address" then
      pending "the sanitizer's runtime is not in the chroot"
    end
    local core = outside.module "saros.core"
    local needed = outside.run("sh", "-c",
      ("readelf -d '%s' | grep NEEDED"):format(core))
    for name in needed:gmatch "%[(.-)%]" do
      assert.is_truthy(name == "libc.so.6" or name:find "^ld%-linux", name)
    end
    local user = outside.run("id", "-u")
    if tonumber(user) ~= 0 then pending "only root may chroot" end
    outside.directory(function(dir)
      local root = dir .. "/root"
      local lua = package.searchpath("saros", outside.lua_path):gsub("/init.lua$", "")
      assert(os.execute(("mkdir -p '%s/lua' '%s/so/saros' && cp -r '%s' '%s/lua' "
        .. "&& cp '%s' '%s/so/saros' && chmod -R a+rX '%s' && chown nobody '%s'")
        :format(root, root, lua, root, core, root, root, root)))
      outside.write(root .. "/from", "content")
      outside.write(root .. "/script.lua", script:format(
        "/lua/?.lua;/lua/?/init.lua", "/so/?.so", "/from", "/to"))
      local text = config:gsub("ROOT", ""):gsub('document%-root = ""', 'document-root = "/"')
        :gsub('upload%-dirs = %(""%)', 'upload-dirs = ("/")'):gsub("DIR", dir)
        .. ('server.chroot = "%s"\nserver.username = "nobody"\n'):format(root)
      server(dir, text, requests)
      assert.equal("content", outside.content(root .. "/to"))
    end)
  end)
end)
