-- examples/cookbook.md, block by block.
require "spec.documents"(_ENV, "examples/cookbook.md")
