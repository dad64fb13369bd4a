---@private
-- Units of systemd for workflows: a service that runs one, hardened to what that
-- needs, and a timer.

local systemd = {}

-- Each right, and what asks for it. What is not here is nobody's: no module is
-- loaded, no clock set, no port below 1024 listened on, nothing traced.
systemd.capabilities = {
  { "CAP_SYS_ADMIN", "freezing, snapshots, loop devices, mounts, cells" },
  { "CAP_DAC_OVERRIDE", "reading everything, and the sockets of databases" },
  { "CAP_CHOWN", "copies belong to whom the originals do" },
  { "CAP_FOWNER", "and have their modes and times" },
  { "CAP_FSETID", "set-group-ID too" },
  { "CAP_SETFCAP", "and their capabilities" },
  { "CAP_MKNOD", "and devices are devices" },
  { "CAP_SETUID", "a database that is tried runs as its owner" },
  { "CAP_SETGID", "likewise" },
  { "CAP_SETPCAP", "and gives up every right" },
  { "CAP_NET_ADMIN", "the loopback of a cell" },
  { "CAP_KILL", "programs of others that are to hold still" },
}

-- What a service of root's and one of a user's have in common.
local SERVICE <const> = [[
# Written by '%s systemd'. What one workflow differs in stands in
# saros@NAME.service.d.
[Unit]
Description=saros run %%i
Documentation=man:saros(1)
%s
[Service]
Type=oneshot
ExecStart=%s run %%i
# Whatever was killed, and however: what was frozen is thawed, what was stopped
# goes on.
ExecStopPost=-%s systemd --reap %%i
NotifyAccess=main
Nice=5
IOSchedulingClass=best-effort
IOSchedulingPriority=7

# One signal, to the program alone: it undoes what it has begun, and its helpers
# see that it ends. It asks for more time while it does. When that is over, or
# when it was killed, all of them are, its guard too: that has let go by then, or
# ExecStopPost does. (While the program cannot die, because it sleeps in a write
# to what it has frozen, and its guard was killed with it, that comes when the
# service is stopped, after twice this time.)
KillMode=mixed
TimeoutStopSec=2min
%s]]

local NETWORK <const> = [[
Wants=network-online.target
After=network-online.target local-fs.target
]]

local HARDENED <const> = [[

Environment=HOME=/root
# Its guard, which thaws, is not to wait behind anybody.
LimitNICE=-20

# Where it writes: here, and where the workflow's own file says.
ProtectSystem=strict
StateDirectory=saros
StateDirectoryMode=0755
# What is frozen is noted there, and must outlive the service.
RuntimeDirectory=saros
RuntimeDirectoryPreserve=yes
ReadWritePaths=/tmp /var/tmp
# By which a freeze does not wait for the kernel's grace periods.
ReadWritePaths=-/sys/kernel/rcu_expedited

CapabilityBoundingSet=%s
AmbientCapabilities=
NoNewPrivileges=yes
DevicePolicy=closed
DeviceAllow=/dev/loop-control rw
DeviceAllow=block-loop rw
DeviceAllow=block-device-mapper rwm
DeviceAllow=/dev/mapper/control rw
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=mnt net pid ipc uts
SystemCallArchitectures=native
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM
ProtectKernelLogs=yes
ProtectKernelTunables=yes
ProtectHostname=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
PrivateMounts=yes
LockPersonality=yes
RestrictRealtime=yes
# And why not more: all of this would hide files that are to be backed up, or
# sockets of databases (PrivateTmp, ProtectHome, ProtectKernelModules), or loop
# devices (PrivateDevices), keep a copy from being one (RestrictSUIDSGID), or a
# database that is tried from compiling its queries (MemoryDenyWriteExecute).
]]

local OWN <const> = [[

# A user has no right to give away, and what would need one is not tried.
NoNewPrivileges=yes
]]

local TIMER <const> = [[
# Written by '%s systemd'. When one workflow runs stands in saros@NAME.timer.d.
[Unit]
Description=When saros runs %%i
Documentation=man:saros(1)

[Timer]
OnCalendar=daily
# Not all machines at once; and what was missed while this one was off is made up
# for.
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
]]

-- As a unit's file has it: no specifier, no variable, no quote of its own.
local function quoted(path)
  return '"' .. path:gsub('[\\"]', "\\%0"):gsub("%%", "%%%%"):gsub("%$", "$$")
    .. '"'
end

-- A path in a list, which knows no variables.
local function listed(path)
  return '"' .. path:gsub('[\\"]', "\\%0"):gsub("%%", "%%%%") .. '"'
end

--- Whether a workflow can be called so as an instance of a unit.
function systemd.is_name(name)
  return #name <= 200 and name:find "^[%w][%w:_.-]*$" ~= nil
end

local function rights()
  local names = {}
  for i, one in ipairs(systemd.capabilities) do names[i] = one[1] end
  return table.concat(names, " ")
end

--- The text of saros@.service. `program`: the absolute path of saros. `own`: of
--- a user, for a service manager that is only his.
function systemd.service(program, own)
  local p <const> = quoted(program)
  return SERVICE:format(program, own and "" or NETWORK, p, p,
    own and OWN or HARDENED:format(rights()))
end

--- The text of saros@.timer.
function systemd.timer(program) return TIMER:format(program) end

--- What one workflow's service differs in: where it writes (`paths`), and
--- which configuration it reads.
function systemd.of_service(o)
  local lines = { "[Service]" }
  if o.paths.disks then
    lines[2] = "# LVM reads and writes its disks by itself."
    lines[3] = "DeviceAllow=block-* rw"
  end
  for _, path in ipairs(o.own and {} or o.paths) do
    -- With "-": what is not there now may be mounted later.
    lines[#lines + 1] = "ReadWritePaths=-" .. listed(path)
  end
  if o.config then
    lines[#lines + 1] = "ExecStart="
    lines[#lines + 1] = ("ExecStart=%s run --config %s %%i"):format(
      quoted(o.program), quoted(o.config))
    lines[#lines + 1] = "ExecStopPost="
    lines[#lines + 1] = ("ExecStopPost=-%s systemd --config %s --reap %%i")
      :format(quoted(o.program), quoted(o.config))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- When it runs; nil: as the timer says.
function systemd.of_timer(o)
  if not o.calendar and not o.delay then return nil end
  local lines = { "[Timer]" }
  if o.calendar then
    lines[#lines + 1] = "OnCalendar="
    lines[#lines + 1] = "OnCalendar=" .. o.calendar
  end
  if o.delay then
    lines[#lines + 1] = ("RandomizedDelaySec=%gs"):format(o.delay)
  end
  return table.concat(lines, "\n") .. "\n"
end

return systemd
