---@private
-- What to do, in a sentence, by what went wrong. An error's own message says
-- more; this is for somebody who was woken by it.

local advice <const> = {
  ERROR_DISK_FULL = "Make room where the message says, or let old versions go: "
    .. "`saros forget --prune`. What was stored so far is found again by the "
    .. "next run.",
  E_ACCESSDENIED = "Run it as root, or give this user leave to read what the "
    .. "message names. `saros doctor` says what this user can do here.",
  SAROS_E_LOCKED = "Somebody else works on the repository. When nobody does "
    .. "any more, `saros unlock` takes the lock away.",
  SAROS_E_WRONG_PASSWORD = "The password that is configured opens no key of "
    .. "this repository. Was it changed, or is it another repository?",
  SAROS_E_DAMAGED = "Do not prune. `saros check --read-data` says what is "
    .. "damaged; older versions and other repositories may be whole.",
  SAROS_E_TIMEOUT = "It took longer than it may. Look whether what the message "
    .. "names hangs, or allow it more time.",
  SAROS_E_SIGNAL = "A program was killed. When the machine was short of "
    .. "memory, the kernel's log says so (`journalctl -k`).",
  SAROS_E_EXIT = "A program failed; what it said is in the message. Run it by "
    .. "hand to see more.",
  SAROS_E_CANCELLED = "Somebody stopped it. Nothing is left behind; run it "
    .. "again when you like.",
  VSS_E_UNEXPECTED_WRITER_ERROR = "An application refused to hold still, or "
    .. "was too slow. Its own log says more; `saros writers` asks all of them.",
  VSS_E_FLUSH_WRITES_TIMEOUT = "Writing could not be held in time: the disk "
    .. "was busy. Run it at a quieter hour, or allow more (`hold`).",
  VSS_E_INSUFFICIENT_STORAGE = "There is no room for the shadow's changes. "
    .. "`saros shadows prune` removes old ones.",
  VSS_E_VOLUME_NOT_SUPPORTED = "No provider can shadow that path. `saros "
    .. "doctor` says which could, and what they lack.",
  ERROR_FILE_NOT_FOUND = "What is named does not exist (any more). Is it "
    .. "mounted?",
  ERROR_HOST_UNREACHABLE = "There is no way to that host. Is the network up?",
  ERROR_NETWORK_UNREACHABLE = "There is no way to that host. Is the network "
    .. "up?",
  ERROR_CONNECTION_REFUSED = "Nobody listens there. Is the server running?",
  ERROR_IO_DEVICE = "The disk has failed to read or write. The kernel's log "
    .. "says more (`journalctl -k`); look at the disk before anything else.",
}

return advice
