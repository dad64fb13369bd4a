---@private
-- What amcheck does not look at: whether each entry of an index leads to
-- something. It makes sure that what is in a table is in its indexes; a table
-- that is older than they are, cut short, or has lost a page passes that. But
-- an entry is taken out of an index before what it leads to is: one that leads
-- to nothing was written after the table was copied.

local files = require "saros.writers.postgres_kind.files"

local pages = {}

local SHOWN <const> = 20

--- What is asked of a module of PostgreSQL's, and what that needs before: its
--- functions are found where it lies. Rolled back: nothing stays in the copy.
function pages.around(module, ...)
  local list = { "BEGIN", "SET LOCAL client_min_messages = error",
    "SET LOCAL work_mem = '64MB'",
    ("CREATE EXTENSION IF NOT EXISTS %s WITH SCHEMA pg_catalog"):format(module),
    ("ALTER EXTENSION %s UPDATE"):format(module),
    ([[SELECT set_config('search_path',
      'pg_catalog, ' || quote_ident(nspname), true)
    FROM pg_catalog.pg_extension e
    JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE extname = '%s']]):format(module), ... }
  list[#list + 1] = "ROLLBACK"
  return list
end

-- Every entry of every leaf, by the page of the table that it leads to; then
-- what is there.
local LEADS <const> = [[
  WITH trees AS (
    SELECT i.indexrelid::regclass::text AS index,
      i.indrelid::regclass::text AS heap,
      pg_relation_size(i.indexrelid)
        / current_setting('block_size')::int AS pages,
      pg_relation_size(i.indrelid)
        / current_setting('block_size')::int AS heap_pages
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_am a ON a.oid = x.relam JOIN pg_class h ON h.oid = i.indrelid
    JOIN pg_am ha ON ha.oid = h.relam
    WHERE a.amname = 'btree' AND ha.amname = 'heap' AND x.relkind = 'i'
      AND i.indisvalid AND h.relpersistence = 'p'),
  leaves AS (
    SELECT t.index, t.heap, t.heap_pages, s.blkno, s.btpo_next
    FROM trees t, generate_series(1, t.pages - 1) n,
      LATERAL bt_page_stats(t.index, n::PAGE) s
    WHERE s.type = 'l'
      OR s.type = 'r' AND (SELECT level FROM bt_metap(t.index)) = 0),
  entries AS (
    SELECT l.index, l.heap, l.heap_pages, tid
    FROM leaves l, LATERAL bt_page_items(l.index, l.blkno::PAGE) i,
      LATERAL unnest(coalesce(i.tids, ARRAY[i.htid])) tid
    WHERE NOT i.dead AND (i.itemoffset > 1 OR l.btpo_next = 0)),
  targets AS (
    SELECT index, heap, heap_pages, (tid::text::point)[0]::bigint AS page,
      array_agg((tid::text::point)[1]::int) AS lines
    FROM entries WHERE tid IS NOT NULL GROUP BY 1, 2, 3, 4)
  SELECT format('saros:%s: its page %s has nothing where %s leads to', heap,
      page, index)
  FROM targets t
  WHERE t.page >= t.heap_pages OR NOT lines <@ (
    SELECT coalesce(array_agg(lp::int), '{}')
    FROM heap_page_items(get_raw_page(t.heap, 'main', t.page::PAGE))
    WHERE lp_flags <> 0)
  ORDER BY heap, page LIMIT 100]]

-- pageinspect says what it is asked since then.
local SINCE <const> = 13

-- What one database has; or why nothing is known of it.
local function look(sql, name, ask, missing)
  local lines, status = ask(sql, name)
  local found = {}
  for _, line in ipairs(lines) do
    local one = line:match "^saros:(.*)"
    -- Another version of the module is no damage.
    if status ~= 0 and line:find "ERROR.* does not exist" then
      return nil, line
    elseif one or status ~= 0 and line:find ":" then
      found[#found + 1] = ("%s: %s"):format(name, one or line)
    end
  end
  if status == 0 then return found end
  local why = #found == 0 and "psql failed, and said nothing" or missing(lines)
  if why then return nil, why end
  return found
end

--- Raises where an entry leads to nothing. `ask(sql, database)` are the lines
--- of psql, and its status; `missing(lines)` says why it could not be asked.
function pages.check(cluster, databases, ask, missing)
  local version = tonumber(cluster.version)
  if version < SINCE then return "not looked at" end
  -- Pages had shorter numbers once.
  local sql = pages.around("pageinspect",
    (LEADS:gsub("PAGE", version < 14 and "int" or "bigint")))
  local problems = {}
  for _, name in ipairs(databases) do
    local found, why = look(sql, name, ask, missing)
    if not found then error(files.untried("%s", why), 0) end
    table.move(found, 1, #found, #problems + 1, problems)
  end
  if #problems == 0 then return "passed" end
  error(files.damaged(table.move(problems, 1, SHOWN, 1, {}), "tables in the "
    .. "copy of %s are not those of their indexes: %s", cluster.original,
    problems[1]), 0)
end

return pages
