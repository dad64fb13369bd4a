--- What the prompt shows of results: each figure that a person must not
--- overlook is in the text when it is not zero.

require "spec.helper"
local shared = require "spec.repository"

-- Figures that are left to scripts.
local quiet = {
  backup = "dirs_new dirs_changed dirs_unmodified data_blobs tree_blobs",
  prune = "packs_kept packs_new blobs_used blobs_unused blobs_duplicate "
    .. "index_files_new index_files_removed",
  repair = "packs_read packs_removed index_files_damaged index_files_new "
    .. "index_files_removed finding_count",
  versions = "",
  diff = "",
  check = "finding_count index_files packs_read unreferenced_packs", -- hints
}

-- The figures that are nowhere in the text, by name.
local function hidden(kind, r)
  local silent, missing = {}, {}
  for name in quiet[kind]:gmatch "%S+" do silent[name] = true end
  for name, n in pairs(r) do
    local bytes = tostring(name):match "bytes"
    if math.type(n) == "integer" and not bytes and not silent[name] then
      r[name] = 7654321
      local text = tostring(r)
      if not text:find("7654321", 1, true) then missing[#missing + 1] = name end
      r[name] = n
    end
  end
  table.sort(missing)
  return missing
end

describe("at the prompt", function()
  if shared.missing then
    pending(shared.missing)
    return
  end

  it("no figure that counts is left out", function()
    shared.with(function(p)
      shared.fill(p)
      local repo = p.repo
      local from = assert(repo:backup { paths = { p.src } }:wait())
      p.put("more", "more")
      local to = assert(repo:backup { paths = { p.src } }:wait())
      local results = {
        backup = to,
        diff = assert(repo:diff { from = from.id, to = to.id }:wait()),
        check = assert(repo:check():wait()),
        prune = assert(repo:prune { dry_run = true }:wait()),
        repair = assert(repo:repair { what = "packs", dry_run = true }:wait()),
        versions = assert(repo:repair { what = "versions", dry_run = true }
          :wait()),
      }
      local all = {}
      for kind, r in pairs(results) do
        for _, name in ipairs(hidden(kind, r)) do
          all[#all + 1] = kind .. "." .. name
        end
      end
      assert.same({}, all)

      local r = results.repair
      r.changed, r.blobs_unread = true, 3
      assert.matches("would be repaired: .*, 3 not read this time, which stay",
        tostring(r))
      r = results.versions
      r.unreadable = { { version = "0123456789", message = "is\27 no JSON" } }
      assert.matches("1 unreadable %(a dry run%)\n  01234567 cannot be read: "
        .. "is\\x1b no JSON", tostring(r))
      r = assert(repo:stats():wait())
      r.errors = { { path = "/gone", message = "is not there" } }
      assert.matches("\n  /gone: is not there", tostring(r))
    end)
  end)
end)
