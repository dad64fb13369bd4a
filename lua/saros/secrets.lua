---@private
-- What nobody is told: passwords, as the environment, an address or a workflow
-- has them, are taken out of a text before it is kept or sent.

local files = require "saros.wsb.files"

local secrets = {}

--- What is known to be secret in the environment.
secrets.variables = { "RESTIC_PASSWORD", "RESTIC_REST_PASSWORD",
  "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD", "MYSQL_PWD",
  "REDISCLI_AUTH" }

local HIDDEN <const> = "…"

local function replace_all(text, secret)
  local from, parts = 1, {}
  while true do
    local first, last = text:find(secret, from, true)
    if not first then break end
    parts[#parts + 1] = text:sub(from, first - 1) .. HIDDEN
    from = last + 1
  end
  return table.concat(parts) .. text:sub(from)
end

--- The text without passwords in URLs, signatures, and what the environment and
--- `more` (a list) say is secret.
function secrets.scrub(text, more)
  for _, name in ipairs(secrets.variables) do
    local secret = os.getenv(name)
    if secret and #secret >= 4 then text = replace_all(text, secret) end
  end
  for _, secret in ipairs(more or {}) do
    if #secret >= 4 then text = replace_all(text, secret) end
  end
  text = text:gsub("(%a[%w+.-]*://)[^/%s@]*@", "%1" .. HIDDEN .. "@")
  return (text:gsub("([?&][^=&%s]*)=([^&%s]*)", function(name)
    local low = name:lower()
    for _, word in ipairs { "signature", "token", "secret", "password",
      "credential", "key" } do
      if low:find(word, 1, true) then return name .. "=" .. HIDDEN end
    end
    return nil
  end))
end


--- What must not be said of an address that is secret: all of it, and without
--- its query, as whoever was asked says it.
---@param url? string
function secrets.of_url(url)
  return { url, url and url:match "^%a+://[^/?#]+/[^?#]+" }
end

-- One newline at its end is not part of it. What is no plain file is read once,
-- by whom it is for.
local function content(path)
  local real = files.real({ path })[path]
  local found = real and files.step("look", real)
  if not found or found.type ~= "file" then return nil end
  local text = files.content(real)
  return text and #text < 4096 and text:gsub("\r?\n$", "") or nil
end

local function password(given)
  if type(given) ~= "table" then return given end
  return given.text or given.env and os.getenv(given.env)
    or given.file and content(given.file) or nil
end

--- Takes out of a text what opens these repositories. Waits.
---@param targets { open: saros.repository.options }[]
---@return fun(text: string): string
function secrets.hider(targets)
  local list = {}
  for _, t in ipairs(targets) do
    local good, text = pcall(password, t.open.password)
    list[#list + 1] = good and text or nil
    list[#list + 1] = t.open.secret_key
    list[#list + 1] = t.open.session_token
    list[#list + 1] = t.open.rest_password
  end
  return function(text) return secrets.scrub(text, list) end
end

return secrets
