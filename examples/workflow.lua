-- A PostgreSQL cluster, a SQLite file and two directories to two repositories:
-- saros run workflow.lua. (The environment may say where they are.)
local saros = require "saros"
local function at(name, usual) return os.getenv(name) or usual end
return saros.workflow { name = "nightly", state_dir = os.getenv "SAROS_STATE",
  writers = { postgres = { conninfo = at("CONNINFO", "host=/run/postgresql") },
    sqlite = { databases = { at("SRV", "/srv") .. "/app.db" } } },
  sources = { at("PGDATA", "/var/lib/postgresql"), at("SRV", "/srv"),
    at("ETC", "/etc") },
  to = { at("ONE", "/mnt/one"), at("TWO", "/mnt/two") },
  password = { file = at("PASSWORD", "/etc/saros/password") },
  keep = { daily = 7, weekly = 5, monthly = 12 }, verify = "5%",
  drill = "weekly", retry = { tries = 3, delay = 60 } }
