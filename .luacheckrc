std = "lua54"
max_line_length = 80
max_comment_line_length = false -- an annotation is one line
max_string_line_length = false
exclude_files = { "build" }

-- The annotations of what is written in C: definitions without bodies.
local meta = { ignore = { "211", "212", "241", "111", "112", "113", "631" } }
files["lua/saros/meta.lua"] = meta
files["lua/saros/bits/meta.lua"] = meta
files["lua/saros/client/meta.lua"] = meta
files["lua/saros/repository/meta.lua"] = meta

-- The host gives its script this table.
files["examples/host/script.lua"] = { globals = { "host" } }

-- A loop that is left at once is how an iterator's closing is tested.
files["spec"] = { max_line_length = 110, ignore = { "512", "331", "231" } }
files["spec/**/*_spec.lua"] = { std = "+busted" }
files["**/*.rockspec"] = { std = "+rockspec" }
files[".busted"] = { std = "lua54" }
