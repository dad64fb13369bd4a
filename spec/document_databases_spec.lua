-- examples/databases.md, block by block.
require "spec.documents"(_ENV, "examples/databases.md")
