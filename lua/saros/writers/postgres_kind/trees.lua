---@private
-- What pg_amcheck does, for servers that are older than it is: every table is
-- read, and every btree of it is looked at, with what should be in it.

local files = require "saros.writers.postgres_kind.files"
local pages = require "saros.writers.postgres_kind.pages"

local trees = {}

-- pg_amcheck is of this one, and so is what it asks of tables.
trees.UNTIL = 14

local READ <const> = [[
  SELECT count(query_to_xml(format('SELECT count(*) FROM ONLY %s',
      c.oid::regclass), false, true, ''))
    FROM pg_class c
    WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p']]

-- Also whether all that is in the table is in the index, which it says since 11.
local LOOK <const> = [[
  SELECT count(bt_index_parent_check(x.oid%s)::text)
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_am a ON a.oid = x.relam
    WHERE a.amname = 'btree' AND x.relkind = 'i' AND i.indisvalid
      AND i.indisready AND x.relpersistence = 'p']]

--- Raises where something of a database cannot be read, or is not in its index.
--- `ask(sql, database)` are the lines of psql, and its status; `missing(lines)`
--- says why it could not be asked.
function trees.check(cluster, databases, ask, missing)
  local sql = pages.around("amcheck", READ,
    LOOK:format(tonumber(cluster.version) >= 11 and ", true" or ""))
  for _, name in ipairs(databases) do
    local lines, status = ask(sql, name)
    if status ~= 0 then
      local why, problems = missing(lines), {}
      for _, line in ipairs(lines) do
        if line:find ":" then problems[#problems + 1] = line end
        -- Another version of the module is no damage.
        if line:find "ERROR:%s+function .* does not exist" then
          why = why or line
        end
      end
      if #problems == 0 then why = "psql failed, and said nothing" end
      if why then error(files.untried("%s", why), 0) end
      error(files.damaged(problems, "amcheck found in the database %s of the "
        .. "copy of %s: %s", name, cluster.original, problems[1]), 0)
    end
  end
end

return trees
