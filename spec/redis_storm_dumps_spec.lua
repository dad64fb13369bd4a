-- A Redis without a log that many write to, while it is shadowed.
require "spec.redis_storm" ("btrfs", false, 5)
