std = "lua54"
max_line_length = 100
max_code_line_length = 80
exclude_files = { "build" }

-- The annotations of what is written in C: definitions without bodies.
files["lua/saros/meta.lua"] = { ignore = { "211", "212", "241", "111", "112", "113", "631" } }

files["spec/**/*_spec.lua"] = { std = "+busted" }
files["**/*.rockspec"] = { std = "+rockspec" }
files[".busted"] = { std = "lua54" }
