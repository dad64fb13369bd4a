-- The other chapters, block by block.
require "spec.documents"(_ENV)
