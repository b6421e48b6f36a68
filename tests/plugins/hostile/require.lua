-- Other modules, C ones among them.
-- expects: error
require("os")
