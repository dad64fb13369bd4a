-- A Redis that many write to, while its files are copied one after the other.
require "spec.redis_storm" ("copy", true, 2)
