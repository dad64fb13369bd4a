-- examples/getting-started.md, block by block.
require "spec.documents"(_ENV, "examples/getting-started.md")
