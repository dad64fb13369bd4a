-- Under the unit, in a guest: something is held, and stays so until this one is
-- ended.
--   process        a program is stopped
--   busy           the same, and from then on, when it is told to by a file,
--                  this one computes and hears nothing
--   frozen MOUNT   that is frozen; and with it /mnt/z, which sleeps in the
--                  kernel, because somebody has frozen where its image lies
--   own MOUNT      the same, and then, when it is told to by a file, this one
--                  writes there
--   late MOUNT     the same, but what sleeps is a shadow of /mnt/b
local saros = require "saros"
local what, mount = ...

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function await(path)
  while not exists(path) do saros.sleep(0.1):wait() end
end

local function stops()
  local _ <close> = require "saros.writers.process".writer {
    command = "sleeper 100000", files = { "/mnt/x/data" } }
  local _ <close> = saros.vss.writer { name = "waiter", level = "system",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d22", freeze_timeout = 600,
    freeze = function() saros.sleep(590):wait() end }
  local _ <close> = assert(saros.vss.shadow { paths = { "/mnt/x/data" },
    provider = "reflink", timeouts = { freeze = 600 } }:wait())
end

local function freezes()
  local other <const> = what == "late" and "/mnt/b" or "/mnt/y"
  local with <const> = what == "late" and "/mnt/b/sub" or "/mnt/z"
  local _ <close> = saros.vss.writer { name = "freezer", level = "system",
    id = "0f7c2f0e-52b5-4a4b-a1f7-0a4b8f6f8d23", freeze_timeout = 600,
    freeze = function()
      assert(saros.process { argv = { "fsfreeze", "-f", other } }:wait())
      say "freezes"
    end }
  local _ <close> = assert(saros.vss.shadow { paths = { mount, with },
    provider = { [mount] = "image", [with] = what == "late" and "btrfs"
      or "image" }, timeouts = { freeze = 600 } }:wait())
end

saros.run(function()
  if what == "busy" then
    saros.spawn(function()
      local _ <close> = saros.process { argv = { "sh", "-c",
        "trap 'echo told' TERM; echo helper; while :; do sleep 1; done" },
        stdout = "inherit" }
      await "/tmp/busy"
      say "busy"
      while true do end
    end)
  elseif what == "own" or what == "late" then
    saros.spawn(function()
      await "/tmp/own"
      say "writes"
      local _ <close> = io.open(mount .. "/own", "w")
    end)
  end
  if mount then freezes() else stops() end
  say "it was not ended"
end)
