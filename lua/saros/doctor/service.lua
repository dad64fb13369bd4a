---@private
-- What starts it at night, and who is told.

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

local function systemd(d)
  local result, err = d.run({ "systemctl", "is-system-running" },
    { timeout = 15 })
  if not result then
    return "missing", err.message, "use cron, or whatever starts jobs here"
  end
  local said = d.last(result.stdout) or "?"
  if said == "running" or said == "degraded" or said == "starting" then
    return "works", said
  end
  return "missing", "systemd does not run here: " .. said,
    "use cron, or whatever starts jobs here"
end

local function journal(d)
  local result, err = d.run({ "journalctl", "-n", "0", "-q", "--no-pager" },
    { timeout = 15 })
  if result and result.status == 0 and exists "/run/systemd/journal" then
    return "works"
  end
  return "missing", result and (d.last(result.stdout)
    or "no journal runs here") or err.message,
    "messages go to the error output"
end

local function mail(d)
  local result, err = d.run({ "/usr/sbin/sendmail", "-bV" }, { timeout = 15 })
  if result then return "works", "sendmail is there; no mail was sent" end
  return "missing", err.message, "install a mailer (Debian: msmtp-mta, or "
    .. "another), or be told by a URL or a command"
end

return function(d)
  d:try("systemd", "runs by a timer", function() return systemd(d) end)
  d:try("journal", "messages in the journal", function() return journal(d) end)
  d:try("mail", "alerts by mail", function() return mail(d) end)
end
