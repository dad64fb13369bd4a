-- What keeps a repository in order: checked, mended, and not larger than it has
-- to be.

local arguments = require "saros.arguments"
local calls = require "saros.repository.calls"
local core = require "saros.repository.core"

local check, need = arguments.check, arguments.need
local with, without_name = calls.with, calls.without_name

---@class saros.repository.handle
local handle = core.methods

---@class saros.repository.check
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
---@field read_data? boolean|string|integer also read what is in the packs: all (`true`), a share by chance (`"10%"`), as many bytes (`"5G"`), or the n-th of t parts (`"1/7"`: one a day, and all are read in a week)
---@field name? string of the operation

---@class saros.repository.finding
---@field kind string `pack_missing`, `pack_size`, `pack_damaged`, `blob_missing`, `tree_damaged`, `copy_damaged`, `index_damaged`, `index_contradicts`, `version_damaged`, `key_damaged`, `config_damaged`
---@field message string
---@field id? string of what it is about
---@field blobs? table[] of a pack: the pieces that are bad, each with id, type, offset, length and message; `blob_count` of them
---@field versions? string[] the versions that are hit; `version_count` of them
---@field paths? string[] what is hit in them; `path_count` in all versions together

---@class saros.repository.check_report
---@field versions integer
---@field trees integer directories, each counted once
---@field packs integer
---@field blobs integer
---@field index_files integer
---@field packs_read integer
---@field bytes_read integer
---@field findings saros.repository.finding[] what is damaged, the first thousand
---@field finding_count integer all of them
---@field hints table[] what is no damage: kind, message, id
---@field hint_count integer
---@field impact_is_whole boolean whether `versions` and `paths` of the findings are all that are hit

--- Whether everything that the versions need is there, and is what it was.
--- Nothing is changed, and backups may go on meanwhile.
---
--- When something is damaged it fails with SAROS_E_DAMAGED, and the report is in
--- the status of the operation:
---
--- ```lua
--- local ok, err = repo:check { read_data = "10%" }:wait()
--- if not ok and err.name == "SAROS_E_DAMAGED" then
---   for _, f in ipairs(err.op:status().findings) do print(f.message) end
--- end
--- ```
---@param options? saros.repository.check
---@return saros.operation op its result: `saros.repository.check_report`
function handle:check(options)
  options = check("repo:check", options,
    { read_data = "boolean|string|integer", retry_lock = "number",
      name = "string" })
  return self:_call("check", without_name(options), options.name)
end

---@class saros.repository.prune
---@field max_unused? string|integer how much of what is not needed may stay: `"5%"` (the default), `"unlimited"`, bytes, `"1G"`
---@field max_repack_size? string|integer bytes that are copied at most
---@field pack_size? string|integer of new packs: 16 MiB
---@field repack_small? boolean also put small packs together
---@field repack_uncompressed? boolean also compress what is not
---@field repack_trees_only? boolean only copy packs with directories
---@field dry_run? boolean only say what would be done
---@field force? boolean also where another host prunes
---@field host? string the name of this host (the machine's)
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
---@field name? string of the operation

---@class saros.repository.prune_report
---@field packs integer by the index, before
---@field packs_kept integer
---@field packs_repacked integer what is needed of them was copied
---@field packs_removed integer nothing in them was needed
---@field packs_unreferenced integer no index named them
---@field packs_missing integer the index named them, and nobody needs them
---@field packs_new integer
---@field blobs_used integer
---@field blobs_unused integer
---@field blobs_duplicate integer
---@field bytes_freed integer about how much smaller it is
---@field bytes_unused_after integer what is not needed, and stays

local prune_options = {
  max_unused = "integer|string", max_repack_size = "integer|string",
  pack_size = "integer|string", repack_small = "boolean",
  repack_uncompressed = "boolean", repack_trees_only = "boolean",
  dry_run = "boolean", host = "string", force = "boolean",
  retry_lock = "number", name = "string",
}

--- Removes what no version needs any more. Nobody else may use the repository
--- meanwhile. It can be ended at any moment, and begun again: nothing that is
--- needed is ever gone. Where another host prunes (`repo:claim_prune`) it fails
--- with SAROS_E_REFUSED, which names that.
---@param options? saros.repository.prune
---@return saros.operation op its result: `saros.repository.prune_report`
function handle:prune(options)
  options = check("repo:prune", options, prune_options)
  return self:_call("prune", without_name(options), options.name)
end

--- What the rules keep stays. A version that is ahead of the clock by more than 26
--- hours stays, too, and is not counted: else it would be the newest for ever.
---@class saros.repository.forget
---@field keep_last? integer|string so many of the latest; `"unlimited"`: all
---@field keep_hourly? integer|string the latest of each of so many hours
---@field keep_daily? integer|string
---@field keep_weekly? integer|string
---@field keep_monthly? integer|string
---@field keep_yearly? integer|string
---@field keep_within? string all that are no older than that, before the latest: `"1y5m7d2h"`
---@field keep_within_hourly? string the latest of each hour of that span
---@field keep_within_daily? string
---@field keep_within_weekly? string
---@field keep_within_monthly? string
---@field keep_within_yearly? string
---@field keep_tags? (string|string[])[] those with one of these tags, or with all of a list
---@field group_by? string|string[] the rules count in each group by itself: `{ "host", "paths" }`; also `"tags"`
---@field host? string only this host's versions are looked at
---@field tags? string|string[] only those with all of these tags
---@field paths? string|string[] only those of all of these paths
---@field ids? string|string[] these, or the beginnings of their ids, and no rules
---@field dry_run? boolean only say what would be done
---@field prune? boolean|saros.repository.prune also remove what they alone needed
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
---@field unsafe_allow_remove_all? boolean rules may keep nothing of a group; without rules all that the filter lets through goes
---@field name? string of the operation

---@class saros.repository.forget_group
---@field host? string
---@field paths? string[]
---@field tags? string[]
---@field own? boolean it is of what saros stores for itself: the newest note of a kind stays, and what belongs to a version as long as that does
---@field keep saros.repository.version[] with `reasons`, a list of texts
---@field remove saros.repository.version[]

---@class saros.repository.forget_report
---@field groups saros.repository.forget_group[]
---@field removed string[] the ids
---@field kept? integer how many
---@field dry_run boolean
---@field prune? saros.repository.prune_report
---@field prune_left_to? saros.repository.version the note of the other host that prunes here: it has not been done

local forget_options = {
  keep_last = "integer|string", keep_hourly = "integer|string",
  keep_daily = "integer|string", keep_weekly = "integer|string",
  keep_monthly = "integer|string", keep_yearly = "integer|string",
  keep_within = "string", keep_within_hourly = "string",
  keep_within_daily = "string", keep_within_weekly = "string",
  keep_within_monthly = "string", keep_within_yearly = "string",
  keep_tags = "table", group_by = "list", host = "string", tags = "list",
  paths = "list", ids = "list", dry_run = "boolean",
  prune = "boolean|table", unsafe_allow_remove_all = "boolean",
  retry_lock = "number",
  name = "string",
}

--- Removes the versions that no rule keeps. What they alone needed stays until
--- the next prune. Without rules nothing is removed.
---@param options? saros.repository.forget
---@return saros.operation op its result: `saros.repository.forget_report`
function handle:forget(options)
  options = check("repo:forget", options, forget_options)
  if type(options.prune) == "table" then
    options.prune = check("repo:forget (prune)", options.prune, prune_options)
  end
  return self:_call("forget", without_name(options), options.name)
end

---@class saros.repository.repair
---@field what "index"|"packs"|"versions" index: a new one is made from the packs that there are. packs: that, and all packs are read; what is good of those that are damaged is stored anew. versions: they are written once more, without what is lost. After damage: first packs (or index), then versions
---@field packs? string|string[] of packs: only these are read, by their ids
---@field read_all_packs? boolean of index: ask all packs what they have, not only those that the index is wrong about
---@field versions? string|string[] of versions: only these, by ids or their beginnings
---@field host? string of versions: only this host's
---@field tags? string|string[] of versions: only those with all of these tags
---@field paths? string|string[] of versions: only those of all of these paths
---@field forget? boolean of versions: the old ones go; else they stay, and the new ones have the tag "repaired"
---@field dry_run? boolean only say what would be done
---@field retry_lock? number seconds to wait while others have it locked (as it was opened)
---@field name? string of the operation

---@class saros.repository.repaired
---@field changed boolean something was, or would be
---@field packs integer
---@field packs_read integer from end to end
---@field packs_added integer that no index file named
---@field packs_missing integer that the index named
---@field packs_damaged integer what was good of them is in other packs now
---@field packs_unreadable integer nobody can say what was in them; they stay
---@field packs_removed integer of the damaged ones
---@field blobs_saved integer pieces of damaged packs that there still are
---@field blobs_lost integer pieces that there are no more
---@field blobs_unread integer pieces that the disk did not give this time; they stay
---@field index_files_damaged integer
---@field index_files_new integer
---@field index_files_removed integer
---@field findings table[] the first thousand: kind (`index_damaged`, `pack_missing`, `pack_added`, `pack_other`, `pack_damaged`, `pack_unreadable`, `blob_lost`, `blob_unread`), message, id
---@field finding_count integer

---@class saros.repository.versions_repaired
---@field versions table[] those of which something is lost: { version, id, removed, lost, lost_count }: id of the new one, if there is anything left; lost: the first hundred of { path, type, missing }
---@field whole integer versions of which nothing is
---@field unreadable table[] { version, message }: forget them by their ids

--- Repairs what is damaged. Nothing old goes before what takes its place is
--- there, so it can be ended at any moment, and begun again. Nobody else may use
--- the repository meanwhile. When something is lost the operation's code is
--- SAROS_S_PARTIAL.
---
--- ```lua
--- local r = assert(repo:repair { what = "packs" }:wait())
--- if r.blobs_lost > 0 then
---   for _, v in ipairs(assert(repo:repair { what = "versions", forget = true }
---       :wait()).versions) do
---     for _, item in ipairs(v.lost) do print(v.version, item.path) end
---   end
--- end
--- ```
---@param options saros.repository.repair
---@return saros.operation op its result: `saros.repository.repaired`, or of versions `saros.repository.versions_repaired`
function handle:repair(options)
  options = check("repo:repair", options, with { packs = "list",
    what = { "index", "packs", "versions" }, versions = "list",
    read_all_packs = "boolean",
    forget = "boolean", dry_run = "boolean", retry_lock = "number",
    name = "string" })
  need("repo:repair", options, "what", "\"index\", \"packs\" or \"versions\"")
  return self:_call("repair", without_name(options), options.name)
end
