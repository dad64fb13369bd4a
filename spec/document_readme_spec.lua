-- README.md, block by block.
require "spec.documents"(_ENV, "README.md")
