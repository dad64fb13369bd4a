-- The suites of PostgreSQL once more, with an older server and a newer one than
-- this machine's: of other Debians, fetched, and gone afterwards. What differs is
-- how backup mode is called, what looks at a copy, and what psql prints.
--
-- Without spec.helper: these take longer than one test may.
local SUITES <const> = { "postgres_modes", "postgres_torn", "postgres_faults",
  "recover_postgres" }
local VERSIONS <const> = { { 13, "bullseye" }, { 17, "trixie" } }

local function lines_of(command, ...)
  local pipe <close> = assert(io.popen(command:format(...)))
  local list = {}
  for line in pipe:lines() do list[#list + 1] = line end
  local _, _, status = pipe:close()
  return list, status
end

for _, one in ipairs(VERSIONS) do
  local version <const>, release <const> = table.unpack(one)
  describe(("PostgreSQL %d"):format(version), function()
    if not os.getenv "SAROS_LONG" then
      pending "it is fetched and tried with SAROS_LONG=1"
      return
    end
    local bin, missing, root

    setup(function()
      -- Not where a cell has a place of its own.
      root = lines_of("mktemp -d /opt/saros-postgres-XXXXXX")[1]
      local said, status = lines_of("spec/servers/postgres-of %s %d %s 2>&1",
        release, version, root)
      if status == 0 then bin = said[#said] else missing = said[#said] end
      assert(status == 0 or status == 77, table.concat(said, "\n"))
    end)

    teardown(function() os.execute(("rm -rf '%s'*"):format(root)) end)

    for _, suite in ipairs(SUITES) do
      it("passes " .. suite, function()
        if missing then
          pending(missing)
          return
        end
        local said, status = lines_of("PATH=%s:$PATH SAROS_LONG= "
          .. "SAROS_POSTGRES=%s SAROS_SUITE=%s_%d ${LUA:-lua5.4} "
          .. "$(command -v busted) -o spec/output.lua spec/%s_spec.lua 2>&1",
          bin, bin, suite, version, suite)
        local text = table.concat(said, "\n")
        assert(status == 0, text)
        assert.matches("^%d+ passed, 0 failed, %d skipped$", said[#said], 1)
        assert.truthy(tonumber(said[#said]:match "^%d+") > 3, text)
      end)
    end
  end)
end
