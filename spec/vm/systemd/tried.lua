-- What is tried of the hardened unit: { STEP, SETTING;… }, a unit with these
-- settings more, in which that step (steps.lua) fails.
local tried = {}

--- Each capability, and a step that fails without it.
tried.rights = {
  SYS_ADMIN = "image", DAC_OVERRIDE = "same", CHOWN = "same",
  FOWNER = "same", FSETID = "same", SETFCAP = "same", MKNOD = "same",
  SETUID = "cell", SETGID = "cell", SETPCAP = "cell",
  NET_ADMIN = "cell", KILL = "process" }

local function namespaces(words)
  return "RestrictNamespaces=;RestrictNamespaces=" .. words
end
local function families(words)
  return "RestrictAddressFamilies=;RestrictAddressFamilies=" .. words
end

--- What is left out, or left open, and what would fail else.
tried.out = {
  PrivateDevices = { "image", "PrivateDevices=yes" },
  loops = { "image", "DeviceAllow=;DeviceAllow=/dev/loop-control rw" },
  disks = { "lvm", "DeviceAllow=;DeviceAllow=/dev/mapper/control rw" },
  RestrictSUIDSGID = { "same", "RestrictSUIDSGID=yes" },
  PrivateTmp = { "tmp", "PrivateTmp=yes" },
  ProtectHome = { "home", "ProtectHome=yes" },
  ProtectKernelModules = { "modules", "ProtectKernelModules=yes" },
  ProtectProc = { "process", "ProtectProc=ptraceable" },
  ProcSubset = { "machine", "ProcSubset=pid" },
  User = { "image", "User=redis;StateDirectory=;RuntimeDirectory=" },
  PrivateUsers = { "image", "PrivateUsers=yes" },
  PrivateNetwork = { "tcp", "PrivateNetwork=yes" },
  IPAddressDeny = { "tcp", "IPAddressDeny=any" },
  UMask = { "readable", "UMask=0077" },
  mnt = { "cell", namespaces "net pid ipc uts" },
  net = { "cell", namespaces "mnt pid ipc uts" },
  pid = { "cell", namespaces "mnt net ipc uts" },
  ipc = { "cell", namespaces "mnt net pid uts" },
  uts = { "cell", namespaces "mnt net pid ipc" },
  unix = { "socket", families "AF_INET AF_INET6 AF_NETLINK" },
  inet = { "tcp", families "AF_UNIX AF_NETLINK" },
  mount = { "image", "SystemCallFilter=~@mount" },
  privileged = { "same", "SystemCallFilter=~@privileged" },
  resources = { "guard", "SystemCallFilter=~@resources" },
  nice = { "guard", "LimitNICE=0" },
  readonly = { "image", "ReadWritePaths=" },
  expedited = { "expedited", "ReadWritePaths=;ReadWritePaths=/tmp" },
}

--- What is in: without it, something could be done that must not be.
tried.within = {
  system = { "elsewhere", "ProtectSystem=no" },
  tunables = { "tunable", "ProtectKernelTunables=no" },
  groups = { "cgroup", "ProtectControlGroups=no" },
  hostname = { "hostname", "ProtectHostname=no" },
  personality = { "personality", "LockPersonality=no" },
  users = { "users", "RestrictNamespaces=no" },
  processes = { "processes", "ProtectProc=default" },
  devices = { "disk", "DevicePolicy=auto;DeviceAllow=" },
  filter = { "swap", "SystemCallFilter=" },
}

return tried
