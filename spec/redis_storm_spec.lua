-- A Redis with a log of its own that many write to, while it is shadowed.
require "spec.redis_storm" ("btrfs", true, 3)
