-- A script of examples/host/host.c. It waits as if there were nothing else to
-- do; the program around it goes on meanwhile.
local saros = require "saros"

local path = ...

-- The program's own operation, like any other: progress, result, error.
local sum = host.checksum(path, "checksum")
for s in sum:progress() do
  io.write(("%s: %s %d%%\n"):format(path, s.state, s.percent))
end
local result = assert(sum:wait())
print(("adler32 %s of %d bytes"):format(result.adler32, result.bytes))

-- One that would never end. Five heartbeats later it is cancelled; if
-- the wait stopped the program, there would be none.
local endless <close> = host.checksum "/dev/zero"
for i = 1, 5 do
  assert(host.heartbeat():wait())
  print(("beat %d: %s"):format(i, endless:done() and "over" or "still reading"))
end
endless:cancel()
local _, err = endless:wait()
print(tostring(err))

-- A failure is a value with a message.
print(select(2, host.checksum "/does/not/exist":wait()))

-- Several at once, the program's own and those of saros.
print(#assert(saros.all {
  host.checksum(path), host.heartbeat(), saros.sleep(0.001),
}:wait()) .. " at once")
